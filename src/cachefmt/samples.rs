//! Caches that real engines wrote, and a text form of a cache to look at. The Dockerfile: stage `tools` with
//! a `RUN`; stage `build` with `WORKDIR`, `COPY`, `RUN`, `COPY`, `RUN`; a last stage with `COPY
//! --from=tools`, `COPY --link`, `COPY --from=build`, `RUN`. 28: Docker 28.5.2 with containerd's store; 20:
//! Docker 20.10.24 (without `--link`).

use std::fmt::Write as _;

use crate::cachefmt::Cache;
use crate::cachefmt::cache::Layer;

/// A manifest, and the config that it names.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) manifest: &'static [u8],
    pub(crate) config: &'static [u8],
}

macro_rules! sample {
    ($manifest:literal, $config:literal) => {
        Sample {
            manifest: include_bytes!(concat!("samples/", $manifest, ".manifest.json")),
            config: include_bytes!(concat!("samples/", $config, ".config.json")),
        }
    };
}

pub(crate) const INLINE_BUILD: Sample = sample!("28c-build", "28c-build");
pub(crate) const INLINE_FINAL: Sample = sample!("28c-final", "28c-final");
pub(crate) const INLINE_FINAL_20: Sample = sample!("20-final", "20-final");
/// Docker 26.1.5: `COPY f /f` in one stage, `COPY --from` of the same file to the same place in the next.
pub(crate) const INLINE_LOOP: Sample = sample!("26g-loop", "26g-loop");
pub(crate) const MODE_MAX: Sample = sample!("28c-max", "28c-max");
pub(crate) const MODE_MAX_INDEX: Sample = sample!("28c-maxindex", "28c-max");

pub(crate) fn read(sample: Sample) -> Cache {
    Cache::read(sample.manifest, sample.config).expect("sample")
}

/// The blobs of a layer, bottom first.
pub(crate) fn stack(cache: &Cache, layer: usize) -> Vec<&str> {
    let mut blobs = Vec::new();
    let mut next = Some(layer);
    while let Some(Layer { parent, blob }) = next.map(|index| &cache.layers[index]) {
        blobs.push(&blob.hex()[..4]);
        next = *parent;
    }
    blobs.reverse();
    blobs
}

/// One line for each record: digest, keys of every input as `selector>record`, results as stacks of blobs.
pub(crate) fn show(cache: &Cache) -> String {
    let short = |text: &str| text.strip_prefix("sha256:").unwrap_or(text).chars().take(4).collect::<String>();
    let mut text = String::new();
    for (index, record) in cache.records.iter().enumerate() {
        let _ = write!(text, "{index} {}", short(&record.digest));
        for keys in &record.inputs {
            let keys: Vec<_> =
                keys.iter().map(|link| format!("{}>{}", short(&link.selector), link.record)).collect();
            let _ = write!(text, " ({})", keys.join(" or "));
        }
        for layer in record.results.keys() {
            let _ = write!(text, " = {}", stack(cache, *layer).join("/"));
        }
        text.push('\n');
    }
    text
}
