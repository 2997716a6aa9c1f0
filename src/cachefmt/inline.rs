//! Inline cache: records inside an image's config, whose layers are the image's own (`BUILDKIT_INLINE_CACHE=1`,
//! `--cache-to type=inline`).
//!
//! The rules are those of BuildKit's importer (cache/remotecache/import.go importInlineCache): layer N of a
//! record is the Nth entry of the manifest's `layers`, on top of the one before it, with the Nth
//! `rootfs.diff_ids` as its content.

use base64::Engine as _;
use jiff::Timestamp;
use serde::Deserialize;

use crate::cachefmt::Error;
use crate::cachefmt::cache::{CREATED_AT, Cache, DIFF_ID};
use crate::cachefmt::manifest::{CONFIG_LIMIT, Descriptor, null_is_empty, read_json};
use crate::cachefmt::record::{WireLayer, WireRecord};
use crate::model::platform::Platform;
use crate::model::reference::Digest;

#[derive(Deserialize)]
struct ImageConfig {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
    #[serde(default)]
    rootfs: RootFs,
    #[serde(default, deserialize_with = "null_is_empty")]
    history: Vec<History>,
    #[serde(rename = "moby.buildkit.cache.v0")]
    cache: Option<String>,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "null_is_empty")]
    diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct History {
    created: Option<String>,
    #[serde(default)]
    empty_layer: bool,
}

/// What an image is for, from its config. `None` where the config does not say.
pub fn platform(config: &[u8]) -> Result<Option<Platform>, Error> {
    let config: ImageConfig = read_json("image config", config, CONFIG_LIMIT)?;
    let known = !config.os.is_empty() && !config.architecture.is_empty();
    Ok(known.then(|| Platform::new(&config.os, &config.architecture, config.variant.as_deref())))
}

/// The cache in an image, from the manifest's layers and the config.
pub(crate) fn read(mut layers: Vec<Descriptor>, config: &[u8]) -> Result<Cache, Error> {
    let config: ImageConfig = read_json("image config", config, CONFIG_LIMIT)?;
    let encoded = config.cache.ok_or(Error::NoCache)?;
    let diff_ids = config.rootfs.diff_ids;
    if diff_ids.len() != layers.len() {
        return Err(Error::LayerCount { layers: layers.len(), diff_ids: diff_ids.len() });
    }
    let json = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(Error::Base64)?;
    let records: Vec<WireRecord> = read_json("inline cache", &json, CONFIG_LIMIT)?;

    let mut created =
        config.history.into_iter().filter(|entry| !entry.empty_layer).map(|entry| entry.created);
    for (layer, diff_id) in layers.iter_mut().zip(diff_ids) {
        layer.annotations.insert(DIFF_ID.to_owned(), diff_id.to_string());
        let created = created.next().flatten().and_then(|time| time.parse::<Timestamp>().ok());
        if let Some(created) = created {
            layer.annotations.insert(CREATED_AT.to_owned(), created.to_string());
        }
    }
    let stack = layers.iter().enumerate();
    let stack: Vec<WireLayer> = stack
        .map(|(index, layer)| WireLayer { blob: layer.digest.clone(), parent: index.checked_sub(1) })
        .collect();
    Cache::from_wire(&stack, records, layers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cachefmt::samples::{
        INLINE_BUILD, INLINE_FINAL, INLINE_FINAL_20, MODE_MAX, Sample, read, show,
    };

    /// A manifest for a changed config.
    fn with_config(sample: Sample, change: impl FnOnce(String) -> String) -> Result<Cache, Error> {
        let config = change(String::from_utf8(sample.config.to_vec()).expect("UTF-8"));
        let manifest = String::from_utf8(sample.manifest.to_vec()).expect("UTF-8");
        let old = Digest::of(sample.config);
        Cache::read(
            manifest.replace(old.as_str(), Digest::of(config.as_bytes()).as_str()).as_bytes(),
            config.as_bytes(),
        )
    }

    #[test]
    fn reads_an_image_of_a_stage() {
        insta::assert_snapshot!(show(&read(INLINE_BUILD)), @r"
        0 0990
        1 0d58
        2 12f2
        3 1bd1
        4 57a5 (>3) = 78a7/3118/e6df
        5 1163 (>4) (>2) = 78a7/3118/e6df/f9bb
        6 6f5c (8a5e>5) = 78a7/3118/e6df/f9bb/5d94
        7 9bf2 (>6) (>1) = 78a7/3118/e6df/f9bb/5d94/5ab1
        8 9264 (8a5e>7) = 78a7/3118/e6df/f9bb/5d94/5ab1/3313
        ");
    }

    #[test]
    fn a_merged_layer_becomes_a_stack_of_its_own() {
        insta::assert_snapshot!(show(&read(INLINE_FINAL)), @r"
        0 0990
        1 0d58
        2 12f2
        3 1bd1
        4 6b9d
        5 6ef0
        6 95ce
        7 57a5 (>3)
        8 70a0 (>4) = 551f
        9 747f (8a5e>0 or 8a5e>3) = 78a7/3118/a6c8
        10 0dd2 (>3) (>5 or 1491>9) = 78a7/3118/a6c8
        11 1163 (>7) (>2)
        12 5dbf (>10) (>8) = 78a7/3118/a6c8/551f
        13 6f5c (8a5e>11)
        14 9bf2 (>13) (>1)
        15 9264 (8a5e>14)
        16 d95b (>12) (>6 or c016>15) = 78a7/3118/a6c8/551f/318d
        17 1484 (8a5e>16) = 78a7/3118/a6c8/551f/318d/49aa
        ");
    }

    #[test]
    fn reads_what_docker_20_writes() {
        let cache = read(INLINE_FINAL_20);
        insta::assert_snapshot!(show(&cache), @r"
        0 0990
        1 0d58
        2 12f2
        3 1bd1
        4 6b9d
        5 6ef0
        6 95ce
        7 3fe7 (>0 or >3)
        8 57a5 (>3)
        9 0dd2 (>0 or >3) (>5 or 1491>7) = 20b8/6ec8/6c46
        10 1163 (>8) (>2)
        11 132a (>9) (>4) = 20b8/6ec8/6c46/303d
        12 9053 (>10)
        13 9bf2 (>12) (>1)
        14 c996 (>13)
        15 d95b (>11) (>6 or c016>14) = 20b8/6ec8/6c46/303d/42a8
        16 5ea8 (>15) = 20b8/6ec8/6c46/303d/42a8/e948
        ");
        assert!(cache.blobs.values().all(|blob| blob.media_type.starts_with("application/vnd.oci.")));
    }

    #[test]
    fn layers_know_content_and_time() {
        let cache = read(INLINE_BUILD);
        let annotations: Vec<_> = cache.blobs.values().flat_map(|blob| blob.annotations.keys()).collect();
        assert_eq!(annotations.len(), 2 * cache.blobs.len());
        assert!(annotations.iter().all(|key| *key == DIFF_ID || *key == CREATED_AT));
    }

    #[test]
    fn tells_the_platform() {
        assert_eq!(
            platform(INLINE_BUILD.config).expect("config"),
            Some(Platform::new("linux", "amd64", None))
        );
        assert_eq!(platform(b"{}").expect("config"), None);
        assert!(platform(b"").is_err());
    }

    #[test]
    fn refuses_what_buildkit_refuses() {
        let text = |result: Result<Cache, Error>| result.expect_err("refused").to_string();
        let key = "moby.buildkit.cache.v0";
        assert_eq!(
            text(with_config(INLINE_BUILD, |it| it.replace(key, "other"))),
            "image has no cache metadata"
        );
        let replace = |value: &'static str| {
            move |config: String| {
                let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
                config[key] = value.into();
                config.to_string()
            }
        };
        assert_eq!(text(with_config(INLINE_BUILD, replace("%"))), "malformed inline cache");
        assert_eq!(text(with_config(INLINE_BUILD, replace("e30="))), "malformed inline cache");
        let fewer = |config: String| config.replacen("\"diff_ids\":[", "\"diff_ids\":[],\"other\":[", 1);
        assert_eq!(text(with_config(INLINE_BUILD, fewer)), "manifest has 7 layers, image config has 0");
        assert!(matches!(
            Cache::read(INLINE_BUILD.manifest, MODE_MAX.config),
            Err(Error::WrongConfig { actual, .. }) if actual == Digest::of(MODE_MAX.config)
        ));
    }
}
