//! Cache manifests with a config of `application/vnd.buildkit.cacheconfig.v0`: what BuildKit's registry
//! exporter writes, and what we author.
//!
//! Two forms carry the same config. The image form has the blobs as its layers; BuildKit before 0.12 does not
//! know it (20.10 fails the build). The index form lists blobs where an index has manifests; some registries
//! refuse it.

use std::collections::BTreeMap;

use oci_distribution::manifest as oci;
use serde::Serialize;

use crate::cachefmt::cache::{Blob, Cache, Record};
use crate::cachefmt::manifest::{CONFIG_LIMIT, Descriptor, read_json};
use crate::cachefmt::record::{WireConfig, WireLayer, WireLink, WireRecord, WireResult};
use crate::cachefmt::{Error, mediatype};
use crate::model::engine::ManifestForm;
use crate::model::reference::Digest;

/// Bytes that BuildKit reads of a cache manifest, and of a cache config: a larger one is ignored with a warning
/// (cache/remotecache/import.go readBlob; moby/buildkit#3719).
pub const IMPORT_LIMIT: usize = 1 << 20;

/// A cache, ready to be pushed: blobs first, then the config as a blob, then the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authored {
    /// The cache config's bytes.
    pub config: Vec<u8>,
    /// Its digest.
    pub config_digest: Digest,
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// Its digest.
    pub manifest_digest: Digest,
    /// Its media type.
    pub manifest_media_type: &'static str,
    /// The layer blobs that must be in the repository before the manifest is put, with their sizes in bytes.
    pub blobs: Vec<(Digest, u64)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageManifest<'a> {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexManifest<'a> {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// Writes the cache. Equal caches and annotations give equal bytes. It does not look at [`IMPORT_LIMIT`]; that is
/// [`prune`](super::prune())'s work.
pub fn write(cache: &Cache, form: ManifestForm, annotations: &BTreeMap<String, String>) -> Authored {
    let config = config_bytes(cache);
    let config_digest = Digest::of(&config);
    let config_descriptor = Descriptor {
        media_type: mediatype::CACHE_CONFIG.to_owned(),
        digest: config_digest.clone(),
        size: config.len() as u64,
        annotations: BTreeMap::new(),
    };
    let mut blobs: Vec<Descriptor> = cache.blobs.iter().map(descriptor).collect();
    let (manifest, manifest_media_type) = match form {
        ManifestForm::Image => {
            let media_type = oci::OCI_IMAGE_MEDIA_TYPE;
            let config = config_descriptor;
            let manifest =
                ImageManifest { schema_version: 2, media_type, config, layers: blobs, annotations };
            (bytes(&manifest), media_type)
        }
        ManifestForm::Index => {
            let media_type = oci::OCI_IMAGE_INDEX_MEDIA_TYPE;
            blobs.push(config_descriptor);
            (
                bytes(&IndexManifest { schema_version: 2, media_type, manifests: blobs, annotations }),
                media_type,
            )
        }
    };
    Authored {
        config,
        config_digest,
        manifest_digest: Digest::of(&manifest),
        manifest,
        manifest_media_type,
        blobs: cache.blobs().map(|(digest, size)| (digest.clone(), size)).collect(),
    }
}

/// The cache config's bytes.
pub(crate) fn config_bytes(cache: &Cache) -> Vec<u8> {
    let layer = |layer: &super::cache::Layer| WireLayer { blob: layer.blob.clone(), parent: layer.parent };
    bytes(&WireConfig {
        layers: cache.layers.iter().map(layer).collect(),
        records: cache.records.iter().map(wire_record).collect(),
    })
}

/// The cache in a cache manifest, from its blobs and its config.
pub(crate) fn read(blobs: Vec<Descriptor>, config: &[u8]) -> Result<Cache, Error> {
    let config: WireConfig = read_json("cache config", config, CONFIG_LIMIT)?;
    Cache::from_wire(&config.layers, config.records, blobs)
}

fn wire_record(record: &Record) -> WireRecord {
    let results = record.results.iter();
    let inputs = record.inputs.iter();
    WireRecord {
        layers: results.map(|(&layer, found)| WireResult { layer, created_at: found.created_at }).collect(),
        chains: Vec::new(),
        digest: record.digest.clone(),
        inputs: inputs
            .map(|keys| {
                keys.iter()
                    .map(|link| WireLink { selector: link.selector.clone(), link: link.record })
                    .collect()
            })
            .collect(),
    }
}

fn descriptor((digest, blob): (&Digest, &Blob)) -> Descriptor {
    Descriptor {
        media_type: blob.media_type.to_owned(),
        digest: digest.clone(),
        size: blob.size,
        annotations: blob.annotations.clone(),
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("structs with text keys always have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cachefmt::merge::tests::cache;
    use crate::cachefmt::samples::{MODE_MAX, MODE_MAX_INDEX, Sample, read, show};
    use crate::cachefmt::{Kind, classify};

    #[test]
    fn both_forms_hold_the_same_cache() {
        let (image, index) = (read(MODE_MAX), read(MODE_MAX_INDEX));
        assert_eq!(config_bytes(&image), config_bytes(&index));
        insta::assert_snapshot!(show(&image), @r"
        0 0990
        1 0d58
        2 12f2
        3 1bd1
        4 6b9d
        5 6ef0
        6 95ce
        7 57a5 (>3) = 78a7/3118/e6df
        8 70a0 (>4) = 551f
        9 747f (8a5e>0 or 8a5e>3) = 78a7/3118/a6c8
        10 0dd2 (>3) (>5 or 1491>9) = 78a7/3118/a6c8
        11 1163 (>7) (>2) = 78a7/3118/e6df/f9bb
        12 5dbf (>10) (>8) = 78a7/3118/a6c8/551f
        13 6f5c (8a5e>11) = 78a7/3118/e6df/f9bb/5d94
        14 9bf2 (>13) (>1) = 78a7/3118/e6df/f9bb/5d94/5ab1
        15 9264 (8a5e>14) = 78a7/3118/e6df/f9bb/5d94/5ab1/3313
        16 d95b (>12) (>6 or c016>15) = 78a7/3118/a6c8/551f/318d
        17 1484 (8a5e>16) = 78a7/3118/a6c8/551f/318d/49aa
        ");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let cache = read(MODE_MAX);
        let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        for form in [ManifestForm::Image, ManifestForm::Index] {
            let authored = write(&cache, form, &annotations);
            assert_eq!(authored, write(&cache, form, &annotations));
            assert_eq!(Cache::read(&authored.manifest, &authored.config).expect("read"), cache);
            assert_eq!(authored.config_digest, Digest::of(&authored.config));
            assert_eq!(authored.manifest_digest, Digest::of(&authored.manifest));
            assert_eq!(authored.blobs.len(), cache.blobs.len());
            let kind = classify(&authored.manifest).expect("kind");
            assert_eq!(matches!(kind, Kind::CacheIndex { .. }), form == ManifestForm::Index);
        }
    }

    #[test]
    fn golden_bytes() {
        let cache = cache("root\nrun 0@part =a/b");
        let pretty = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
            text.replace(r#"},{""#, "},\n{\"").replace(r#"","annotations"#, "\",\n\"annotations")
        };
        let authored =
            write(&cache, ManifestForm::Image, &BTreeMap::from([("key".to_owned(), "value".to_owned())]));
        insta::assert_snapshot!(pretty(&authored.config), @r#"
        {"layers":[{"blob":"sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb","parent":-1},
        {"blob":"sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d","parent":0}],"records":[{"digest":"root"},
        {"layers":[{"layer":1,"createdAt":"0001-01-01T00:00:00Z"}],"digest":"run","inputs":[[{"selector":"part","link":0}]]}]}
        "#);
        insta::assert_snapshot!(pretty(&authored.manifest), @r#"
        {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"sha256:111dcd871440f6b390ac3adc7a0e1b19443a423f6dc070723b861f709e6df73a","size":348},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d","size":1,"annotations":{"containerd.io/uncompressed":"sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"}},
        {"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb","size":1,"annotations":{"containerd.io/uncompressed":"sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}}],"annotations":{"key":"value"}}
        "#);
        let authored = write(&Cache::default(), ManifestForm::Index, &BTreeMap::new());
        insta::assert_snapshot!(pretty(&authored.config), @"{}");
        insta::assert_snapshot!(pretty(&authored.manifest), @r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}]}"#);
    }

    #[test]
    fn refuses_loops_and_dangling_indices() {
        let blob = format!(r#""blob":"{}""#, Digest::of(b"blob"));
        let text = |config: String| {
            let config = config.replace("BLOB", &blob);
            let manifest = format!(
                r#"{{"config":{{"mediaType":"{}","digest":"{}","size":{}}}}}"#,
                mediatype::CACHE_CONFIG,
                Digest::of(config.as_bytes()),
                config.len()
            );
            let sample = Sample { manifest: manifest.leak().as_bytes(), config: config.leak().as_bytes() };
            Cache::read(sample.manifest, sample.config)
                .map_or_else(|error| error.to_string(), |cache| show(&cache))
        };
        let record = |rest: &str| format!(r#"{{"records":[{{"digest":"a"{rest}}}]}}"#);
        assert_eq!(text(record("")), "0 a\n");
        assert_eq!(text(record(r#","inputs":[[{"link":1}]]"#)), "cache record 1 does not exist");
        assert_eq!(text(record(r#","inputs":[[{"link":0}]]"#)), "cache records form a loop");
        assert_eq!(text(record(r#","inputs":[[{"link":-1}]]"#)), "malformed cache config");
        assert_eq!(text(record(r#","inputs":[[]]"#)), "cache record 0 has an input without keys");
        assert_eq!(text(record(r#","layers":[{"layer":0}]"#)), "cache layer 0 does not exist");
        assert_eq!(text(record(r#","chains":[{"layers":[0]}]"#)), "cache layer 0 does not exist");
        assert_eq!(text(r#"{"layers":[{BLOB,"parent":1},{BLOB}]}"#.to_owned()), "cache layers form a loop");
        assert_eq!(text(r#"{"layers":[{BLOB}]}"#.to_owned()), "cache layers form a loop");
        assert_eq!(text(r#"{"layers":[{BLOB,"parent":3}]}"#.to_owned()), "cache layer 3 does not exist");
        let many = vec!["{}"; (1 << 15) + 1].join(",");
        assert_eq!(
            text(format!(r#"{{"records":[{many}]}}"#)),
            "cache has 32769 records, more than the 32768 that are read"
        );
        let unusable = r#"{"layers":[{BLOB,"parent":-1}],"records":[{"digest":"a","layers":[{"layer":0}]}]}"#;
        assert_eq!(text(unusable.to_owned()), "0 a\n");
    }
}
