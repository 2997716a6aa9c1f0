//! Our own annotations on a cache manifest: what made it, so that the chain can be resolved without asking an
//! engine.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::cachefmt::Error;
use crate::cachefmt::manifest::{MANIFEST_LIMIT, Manifest, read_json};
use crate::model::engine::{Generation, Version};
use crate::model::platform::Platform;

/// Annotation: the generation of cache keys, in decimal.
pub const GENERATION: &str = "dev.layerlift.generation";
/// Annotation: the version of the BuildKit that made the cache: `0.25.0`.
pub const BUILDKIT: &str = "dev.layerlift.buildkit";
/// Annotation: the platforms that are in the cache, separated by commas: `linux/amd64,linux/arm64`.
pub const PLATFORMS: &str = "dev.layerlift.platforms";
/// Annotation of the OCI image specification: when the cache was put together, RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";

/// Where a cache comes from. Everything is optional: BuildKit's own caches and older ones of ours do not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Whose keys it holds.
    pub generation: Option<Generation>,
    /// The BuildKit that made it.
    pub buildkit: Option<Version>,
    /// What it is for; empty when unknown.
    pub platforms: Vec<Platform>,
    /// When it was put together.
    pub created: Option<Timestamp>,
}

impl Provenance {
    /// Reads it from any manifest. What is not there, or not understood, is `None`. Errors: those of
    /// [`classify`](super::classify).
    pub fn read(manifest: &[u8]) -> Result<Provenance, Error> {
        let annotations = Manifest::parse(manifest)?.annotations;
        let text = |key: &str| annotations.get(key).map(String::as_str);
        let platforms = text(PLATFORMS).unwrap_or_default().split(',');
        Ok(Provenance {
            generation: text(GENERATION).and_then(|text| text.parse().ok()).map(Generation),
            buildkit: text(BUILDKIT).and_then(|text| text.parse().ok()),
            platforms: platforms.filter_map(|text| text.parse().ok()).collect(),
            created: text(CREATED).and_then(|text| text.parse().ok()),
        })
    }

    /// As annotations of a manifest.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = BTreeMap::new();
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                annotations.insert(key.to_owned(), value);
            }
        };
        let platforms: Vec<String> = self.platforms.iter().map(Platform::to_string).collect();
        add(GENERATION, self.generation.map(|generation| generation.0.to_string()));
        add(BUILDKIT, self.buildkit.map(|version| version.to_string()));
        add(PLATFORMS, (!platforms.is_empty()).then(|| platforms.join(",")));
        add(CREATED, self.created.map(|time| time.to_string()));
        annotations
    }
}

/// The manifest with our annotations beside its own; everything else keeps its bytes. For caches that
/// BuildKit exported itself. Errors: those of [`classify`](super::classify).
pub fn annotate(manifest: &[u8], provenance: &Provenance) -> Result<Vec<u8>, Error> {
    let mut annotations = Manifest::parse(manifest)?.annotations;
    annotations.extend(provenance.annotations());
    let annotations = serde_json::value::to_raw_value(&annotations)
        .map_err(|source| Error::Json { what: "manifest annotations", source })?;
    let mut fields: BTreeMap<String, Box<RawValue>> = read_json("manifest", manifest, MANIFEST_LIMIT)?;
    fields.insert("annotations".to_owned(), annotations);
    serde_json::to_vec(&fields).map_err(|source| Error::Json { what: "manifest", source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance() -> Provenance {
        Provenance {
            generation: Some(Generation(2)),
            buildkit: Some(Version(0, 25, 1)),
            platforms: vec![Platform::new("linux", "amd64", None), Platform::new("linux", "arm", Some("v7"))],
            created: Some("2026-11-23T04:32:35Z".parse().expect("time")),
        }
    }

    #[test]
    fn annotating_keeps_the_rest() {
        let manifest = r#"{"schemaVersion":2,"config":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0, "unknown": 1.50},"annotations":{"a":"b"}}"#;
        let annotated = annotate(manifest.as_bytes(), &provenance()).expect("annotated");
        insta::assert_snapshot!(String::from_utf8_lossy(&annotated), @r#"{"annotations":{"a":"b","dev.layerlift.buildkit":"0.25.1","dev.layerlift.generation":"2","dev.layerlift.platforms":"linux/amd64,linux/arm/v7","org.opencontainers.image.created":"2026-11-23T04:32:35Z"},"config":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0, "unknown": 1.50},"schemaVersion":2}"#);
        assert_eq!(Provenance::read(&annotated).expect("read"), provenance());
        assert_eq!(annotate(&annotated, &provenance()).expect("again"), annotated);
    }

    #[test]
    fn nonsense_is_unknown() {
        let manifest = r#"{"manifests":[],"annotations":{"dev.layerlift.generation":"-1","dev.layerlift.buildkit":"new",
            "dev.layerlift.platforms":"linux/amd64,,x","org.opencontainers.image.created":"today"}}"#;
        let read = Provenance::read(manifest.as_bytes()).expect("read");
        let platforms = vec![Platform::new("linux", "amd64", None)];
        assert_eq!(read, Provenance { platforms, ..Provenance::default() });
        assert!(Provenance::read(b"[]").is_err());
    }
}
