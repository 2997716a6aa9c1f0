//! What a registry answers for a ref: an image, an index, or a cache in one of its two forms.
//!
//! The rules are BuildKit's (util/imageutil DetectManifestBlobMediaType, cache/remotecache/import.go): the
//! content decides, a stated media type may not contradict it, and a manifest that could be both an image and
//! an index is refused. Bytes are never rewritten here.

use std::collections::BTreeMap;

use oci_distribution::manifest as oci;
use serde::{Deserialize, Deserializer, Serialize};

use crate::cachefmt::{Error, mediatype};
use crate::model::platform::Platform;
use crate::model::reference::Digest;

/// Bytes of a manifest that are read: what registries accept at most.
pub const MANIFEST_LIMIT: usize = 4 << 20;

/// Bytes of a config that are read. Above BuildKit's own import limit, so that a cache which BuildKit would
/// refuse can be read here, cut and used.
pub const CONFIG_LIMIT: usize = 8 << 20;

/// Images in an index that are looked at: platforms and their attestations.
const CHILD_LIMIT: usize = 64;

/// A pointer to a blob or a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its type; empty where the writer left it out.
    #[serde(default)]
    pub media_type: String,
    /// Its identity.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Free text beside it.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// One image of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Where its manifest is.
    pub descriptor: Descriptor,
    /// What it is for, where the index says so.
    pub platform: Option<Platform>,
}

/// What a manifest is, with what to fetch next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A cache as an image manifest: BuildKit 0.12 and later.
    CacheImage {
        /// The cache config.
        config: Descriptor,
    },
    /// A cache as an index of blobs: every BuildKit reads it, not every registry takes it.
    CacheIndex {
        /// The cache config.
        config: Descriptor,
    },
    /// An image, with or without inline cache.
    Image {
        /// The image config.
        config: Descriptor,
    },
    /// Images for several platforms, without attestations.
    Index {
        /// The images.
        children: Vec<Child>,
    },
}

/// What the manifest is. Errors: larger than [`MANIFEST_LIMIT`], no JSON, ambiguous, or of no known kind.
pub fn classify(manifest: &[u8]) -> Result<Kind, Error> {
    Ok(Manifest::parse(manifest)?.kind)
}

/// A manifest, read: its kind, and the descriptors of its layers (image forms) or blobs (cache index).
pub(crate) struct Manifest {
    pub(crate) kind: Kind,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<WireChild>>,
    #[serde(default, deserialize_with = "null_is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct WireChild {
    #[serde(flatten)]
    descriptor: Descriptor,
    platform: Option<WirePlatform>,
}

#[derive(Deserialize)]
struct WirePlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Manifest {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let wire: Wire = read_json("manifest", bytes, MANIFEST_LIMIT)?;
        let stated_index = match wire.media_type.as_deref() {
            Some(oci::OCI_IMAGE_INDEX_MEDIA_TYPE | oci::IMAGE_MANIFEST_LIST_MEDIA_TYPE) => Some(true),
            Some(oci::OCI_IMAGE_MEDIA_TYPE | oci::IMAGE_MANIFEST_MEDIA_TYPE) => Some(false),
            Some(_) => return Err(Error::Unsupported("its media type is neither an image's nor an index's")),
            None => None,
        };
        let (kind, layers) = match (wire.config, wire.layers, wire.manifests) {
            (Some(config), layers, None) if stated_index != Some(true) => {
                let is_cache = config.media_type == mediatype::CACHE_CONFIG;
                let kind = if is_cache { Kind::CacheImage { config } } else { Kind::Image { config } };
                (kind, layers.unwrap_or_default())
            }
            (None, None, Some(entries)) if stated_index != Some(false) => read_index(entries)?,
            (None, None, None) => return Err(Error::Unsupported("it names neither a config nor manifests")),
            _ => return Err(Error::Unsupported("it could be an image or an index")),
        };
        Ok(Manifest { kind, layers, annotations: wire.annotations })
    }
}

/// An index of blobs where one of them is a cache config, else an index of images.
fn read_index(entries: Vec<WireChild>) -> Result<(Kind, Vec<Descriptor>), Error> {
    let config = entries.iter().rfind(|entry| entry.descriptor.media_type == mediatype::CACHE_CONFIG);
    if let Some(config) = config {
        let config = config.descriptor.clone();
        let blobs = entries.into_iter().map(|entry| entry.descriptor);
        let layers = blobs.filter(|blob| blob.media_type != mediatype::CACHE_CONFIG).collect();
        return Ok((Kind::CacheIndex { config }, layers));
    }
    let children: Vec<Child> = entries.into_iter().filter_map(read_child).collect();
    if children.len() > CHILD_LIMIT {
        return Err(Error::TooMany { what: "images", count: children.len(), limit: CHILD_LIMIT });
    }
    Ok((Kind::Index { children }, Vec::new()))
}

/// `None` for attestations, which buildx marks with the platform `unknown/unknown`.
fn read_child(entry: WireChild) -> Option<Child> {
    let platform = entry.platform.filter(|platform| !platform.os.is_empty());
    if platform.as_ref().is_some_and(|platform| platform.os == "unknown") {
        return None;
    }
    let platform = platform.map(|it| Platform::new(&it.os, &it.architecture, it.variant.as_deref()));
    Some(Child { descriptor: entry.descriptor, platform })
}

/// Reads JSON of at most `limit` bytes; `what` names it in errors.
pub(crate) fn read_json<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
    limit: usize,
) -> Result<T, Error> {
    if bytes.len() > limit {
        return Err(Error::TooLarge { what, size: bytes.len(), limit });
    }
    serde_json::from_slice(bytes).map_err(|source| Error::Json { what, source })
}

/// Go writes `null` for an empty map or list.
pub(crate) fn null_is_empty<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> String {
        let digest = Digest::of(b"config");
        let text = text
            .replace("CONFIG", &format!(r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":6}}"#))
            .replace("CACHE", &format!(r#"{{"mediaType":"{}","digest":"{digest}","size":6}}"#, mediatype::CACHE_CONFIG))
            .replace("ENTRY", &format!(r#""digest":"{digest}","size":6"#));
        match classify(text.as_bytes()) {
            Ok(Kind::CacheImage { .. }) => "cache image".to_owned(),
            Ok(Kind::CacheIndex { .. }) => "cache index".to_owned(),
            Ok(Kind::Image { .. }) => "image".to_owned(),
            Ok(Kind::Index { children }) => {
                let name =
                    |child: &Child| child.platform.as_ref().map_or("any".to_owned(), Platform::to_string);
                format!("index {}", children.iter().map(name).collect::<Vec<_>>().join(" "))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn tells_what_a_manifest_is() {
        assert_eq!(kind(r#"{"config":CONFIG,"layers":null}"#), "image");
        assert_eq!(
            kind(r#"{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":CONFIG}"#),
            "image"
        );
        assert_eq!(kind(r#"{"config":CACHE,"layers":[],"annotations":null}"#), "cache image");
        assert_eq!(kind(r#"{"manifests":[{ENTRY},CACHE]}"#), "cache index");
        assert_eq!(
            kind(
                r#"{"manifests":[{ENTRY,"platform":{"os":"linux","architecture":"arm64","variant":"v8"}},
                {ENTRY,"platform":{"os":"unknown","architecture":"unknown"}},{ENTRY}]}"#
            ),
            "index linux/arm64 any"
        );
    }

    #[test]
    fn refuses_what_it_cannot_be_sure_of() {
        assert_eq!(
            kind(r#"{"config":CONFIG,"manifests":[]}"#),
            "unsupported manifest: it could be an image or an index"
        );
        assert_eq!(
            kind(r#"{"mediaType":"application/vnd.oci.image.index.v1+json","config":CONFIG}"#),
            "unsupported manifest: it could be an image or an index"
        );
        assert_eq!(
            kind(r#"{"schemaVersion":1}"#),
            "unsupported manifest: it names neither a config nor manifests"
        );
        assert_eq!(
            kind(r#"{"mediaType":"text/html","config":CONFIG}"#),
            "unsupported manifest: its media type is neither an image's nor an index's"
        );
        assert_eq!(kind("<html>"), "malformed manifest");
        assert_eq!(kind(r#"{"config":{"digest":"sha256:../../etc","size":1}}"#), "malformed manifest");
        let entries = vec!["{ENTRY}"; CHILD_LIMIT + 1].join(",");
        assert_eq!(
            kind(&format!(r#"{{"manifests":[{entries}]}}"#)),
            "cache has 65 images, more than the 64 that are read"
        );
        let large = classify(&vec![b' '; MANIFEST_LIMIT + 1]).expect_err("too large");
        assert_eq!(large.to_string(), "manifest has 4194305 bytes, more than the 4194304 that are read");
    }
}
