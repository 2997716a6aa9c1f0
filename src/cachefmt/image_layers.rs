//! The layers of an image, each with the digest of what it unpacks to and the instruction that made it.

use serde::Deserialize;

use crate::cachefmt::manifest::{CONFIG_LIMIT, Descriptor, Manifest, null_is_empty, read_json};
use crate::cachefmt::{Error, mediatype};
use crate::model::reference::Digest;

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// The blob.
    pub blob: Descriptor,
    /// The digest of what it unpacks to: `rootfs.diff_ids` of the config.
    pub diff_id: Digest,
    /// What made it, as the history tells: `COPY . /app # buildkit`.
    pub created_by: String,
}

impl ImageLayer {
    /// Whether the blob can be unpacked here: a plain archive, or one in gzip or zstd.
    pub fn is_readable(&self) -> bool {
        mediatype::layer(&self.blob.media_type).is_some()
    }
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
    #[serde(default, deserialize_with = "null_is_empty")]
    history: Vec<History>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "null_is_empty")]
    diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct History {
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    empty_layer: bool,
}

/// Reads them, the lowest first. Errors: manifest and config do not fit together, or their history does not.
pub fn image_layers(manifest: &[u8], config: &[u8]) -> Result<Vec<ImageLayer>, Error> {
    let blobs = Manifest::parse(manifest)?.layers;
    let config: Config = read_json("image config", config, CONFIG_LIMIT)?;
    let diff_ids = config.rootfs.diff_ids;
    let history: Vec<String> =
        config.history.into_iter().filter(|entry| !entry.empty_layer).map(|entry| entry.created_by).collect();
    if diff_ids.len() != blobs.len() || history.len() != blobs.len() {
        return Err(Error::LayerCount { layers: blobs.len(), diff_ids: diff_ids.len().min(history.len()) });
    }
    let each = blobs.into_iter().zip(diff_ids).zip(history);
    Ok(each.map(|((blob, diff_id), created_by)| ImageLayer { blob, diff_id, created_by }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(history: &str) -> Result<Vec<ImageLayer>, Error> {
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{one}","size":2}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{one}","size":1}},
            {{"mediaType":"application/vnd.oci.image.layer.v1.tar+x","digest":"{other}","size":1}}]}}"#
        );
        let config = format!(r#"{{"rootfs":{{"diff_ids":["{other}","{one}"]}},"history":{history}}}"#);
        image_layers(manifest.as_bytes(), config.as_bytes())
    }

    #[test]
    fn a_layer_knows_what_made_it() {
        let layers =
            read(r#"[{"created_by":"base"},{"empty_layer":true},{"created_by":"COPY a b"}]"#).expect("read");
        let made: Vec<(&str, bool)> =
            layers.iter().map(|layer| (layer.created_by.as_str(), layer.is_readable())).collect();
        assert_eq!(made, [("base", true), ("COPY a b", false)]);
        assert_eq!((&layers[0].blob.digest, &layers[0].diff_id), (&Digest::of(b"1"), &Digest::of(b"2")));
        let error = read(r#"[{"created_by":"base"}]"#).expect_err("too short");
        assert_eq!(error.to_string(), "manifest has 2 layers, image config has 1");
    }
}
