//! Why bytes from a registry are no cache that this program can use. Every case means: drop the candidate,
//! build colder.

use crate::model::reference::Digest;

/// What is wrong with a manifest or a config. `what` names the document.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Larger than anything that is read.
    #[error("{what} has {size} bytes, more than the {limit} that are read")]
    TooLarge {
        /// The document.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The most that is read, in bytes.
        limit: usize,
    },
    /// More entries than are read.
    #[error("cache has {count} {what}, more than the {limit} that are read")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// The most that are read.
        limit: usize,
    },
    /// Not the JSON that it should be.
    #[error("malformed {what}")]
    Json {
        /// The document.
        what: &'static str,
        /// The parser's word.
        #[source]
        source: serde_json::Error,
    },
    /// The inline cache is not base64.
    #[error("malformed inline cache")]
    Base64(#[source] base64::DecodeError),
    /// Neither an image, an index, nor a cache; or several of them at once.
    #[error("unsupported manifest: {0}")]
    Unsupported(&'static str),
    /// A build's record that cannot be used.
    #[error("{0}")]
    Record(&'static str),
    /// An image without `moby.buildkit.cache.v0`: built without inline cache, or nothing in it could be cached.
    #[error("image has no cache metadata")]
    NoCache,
    /// Manifest and image config belong to different images.
    #[error("manifest has {layers} layers, image config has {diff_ids}")]
    LayerCount {
        /// Layers in the manifest.
        layers: usize,
        /// `rootfs.diff_ids` in the config.
        diff_ids: usize,
    },
    /// The config is not the one that the manifest names.
    #[error("config is {actual}, manifest names {expected}")]
    WrongConfig {
        /// What the manifest names.
        expected: Digest,
        /// What the bytes are.
        actual: Digest,
    },
    /// An index that points outside its list.
    #[error("cache {what} {index} does not exist")]
    Dangling {
        /// `layer` or `record`.
        what: &'static str,
        /// The index.
        index: usize,
    },
    /// Records or layers that lead back to themselves.
    #[error("cache {0} form a loop")]
    Loop(&'static str),
    /// An input without any key: BuildKit refuses the whole cache.
    #[error("cache record {0} has an input without keys")]
    EmptyInput(usize),
}
