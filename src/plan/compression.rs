//! How the layers are packed that only the cache has. Those that the image has too are packed already when BuildKit exports
//! the cache, and stay as the image has them (seen on Docker 28 with gzip, zstd and uncompressed images).
//!
//! | the image | these layers | why |
//! |---|---|---|
//! | `compression=zstd` was asked for | zstd | whoever reads the image reads them |
//! | `force-compression=true` too | the same, forced | else the base image's layers would be kept twice |
//! | an image | gzip, level 1 | see below |
//! | none | as BuildKit does | the layers of a later image may be among them |
//!
//! **zstd is not chosen by itself**: a layer that the cache has in zstd stays so in an image that is made with it later, of
//! another target or once a last stage is gone, unless that is forced (seen on Docker 28). Who reads *images* is not known:
//! Docker before 23 and containerd before 1.5 cannot. `--cache-compression zstd` says that all can.
//!
//! **Levels**: the export of a stage of 186 MB (programs and libraries) on Docker 28 and two cores, the base image's push
//! within:
//!
//! | | gzip 6 (default) | gzip 1 | zstd 3 (default) | zstd 1 | zstd 7 |
//! |---|---|---|---|---|---|
//! | size | 76 MB | 85 MB | 64 MB | 71 MB | 60 MB |
//! | CPU | 5.1 s | 3.1 s | 3.0 s | 2.8 s | 4.9 s |
//! | time | 4.8 s | 3.0 s | 2.5 s | 2.3 s | 4.1 s |
//!
//! gzip 1 is the faster one from 5 MB/s on, and a layer that only the cache has is seldom fetched again. zstd has its best
//! at its own default.

use crate::model::engine::{Engine, Frontend, Version};
use crate::model::request::{OutputSpec, Request};
use crate::model::settings::CacheCompression;

/// How layers are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As BuildKit does where nothing is said: gzip, level 6.
    Default,
    /// gzip, level 1.
    FastGzip,
    /// zstd, level 3. `forced`: layers that are packed otherwise are packed anew.
    Zstd {
        /// Whether that is so.
        forced: bool,
    },
}

impl Compression {
    /// As fields of `--cache-to` (all since BuildKit 0.10).
    pub fn fields(self) -> &'static str {
        match self {
            Compression::Default => "",
            Compression::FastGzip => ",compression-level=1",
            Compression::Zstd { forced: false } => ",compression=zstd",
            Compression::Zstd { forced: true } => ",compression=zstd,force-compression=true",
        }
    }

    /// As a decision; `None` where nothing was decided.
    pub fn named(self) -> Option<String> {
        match self {
            Compression::Default => None,
            Compression::FastGzip => Some("gzip, level 1".to_owned()),
            Compression::Zstd { .. } => Some("zstd".to_owned()),
        }
    }
}

/// Chooses, and says why.
pub fn choose(request: &Request, asked: CacheCompression, engine: &Engine) -> (Compression, &'static str) {
    let outputs = request.outputs();
    let is_image =
        |output: &OutputSpec| ["image", "registry", "docker", "oci"].contains(&output.kind.as_str());
    let makes_image = match outputs.as_slice() {
        [] => engine.frontend == Frontend::Buildx || request.pushes(),
        outputs => outputs.iter().all(is_image),
    };
    let zstd = |output: &&OutputSpec| output.compression.as_deref() == Some("zstd");
    let image = outputs.iter().find(zstd);
    match (asked, image) {
        // A builder that was never started does not tell; one of today is started.
        _ if engine.buildkit.is_some_and(|buildkit| buildkit < Version(0, 10, 0)) => {
            (Compression::Default, "")
        }
        // Every BuildKit that reads our refs has the keys of this one (`Engine::generation`), and knows zstd.
        (CacheCompression::Auto, Some(image)) => {
            (Compression::Zstd { forced: image.forced }, "the image's layers are packed so")
        }
        (CacheCompression::Zstd, image) => {
            (Compression::Zstd { forced: image.is_some_and(|image| image.forced) }, "asked for")
        }
        _ if makes_image => (Compression::FastGzip, "layers that only the cache has need no better"),
        _ => (Compression::Default, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::engine::Store;
    use crate::model::request::{Context, Flag};
    use crate::plan::strategy::tests::engine;

    fn chosen(flags: Vec<Flag>, asked: CacheCompression, buildkit: Option<Version>) -> &'static str {
        let mut engine = engine(Version(28, 5, 2), Store::Containerd, Frontend::Buildx);
        engine.buildkit = buildkit;
        choose(&Request { flags, context: Context::Stdin }, asked, &engine).0.fields()
    }

    #[test]
    fn cache_layers_are_packed_as_the_images_are() {
        use CacheCompression::{Auto, Gzip, Zstd};
        let modern = Some(Version(0, 25, 0));
        let output = |text: &str| vec![Flag::text("output", text)];
        assert_eq!(chosen(vec![Flag::on("push")], Auto, modern), ",compression-level=1");
        assert_eq!(chosen(vec![Flag::on("push")], Zstd, modern), ",compression=zstd");
        assert_eq!(chosen(output("type=registry,compression=zstd"), Auto, modern), ",compression=zstd");
        let forced = output("type=registry,compression=zstd,force-compression=true");
        assert_eq!(chosen(forced.clone(), Auto, modern), ",compression=zstd,force-compression=true");
        assert_eq!(chosen(forced, Gzip, modern), ",compression-level=1");
        assert_eq!(chosen(output("type=image,compression=estargz"), Auto, modern), ",compression-level=1");
        assert_eq!(chosen(output("type=local,dest=out"), Auto, modern), "");
        assert_eq!(chosen(vec![Flag::on("push")], Zstd, Some(Version(0, 9, 3))), "");
        assert_eq!(chosen(vec![Flag::on("push")], Zstd, None), ",compression=zstd");
    }
}
