//! Media types: what a cache config is called, and which layers travel in a cache.

use oci_distribution::manifest as oci;

/// BuildKit's cache config (cache/remotecache/v1/types/spec.go).
pub const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// The OCI type of a layer, whose Docker type may be given. `None` for everything that cannot be pulled from
/// a registry and unpacked by any BuildKit: foreign, encrypted and unknown layers.
pub fn layer(media_type: &str) -> Option<&'static str> {
    match media_type {
        oci::IMAGE_LAYER_MEDIA_TYPE | oci::IMAGE_DOCKER_LAYER_TAR_MEDIA_TYPE => {
            Some(oci::IMAGE_LAYER_MEDIA_TYPE)
        }
        oci::IMAGE_LAYER_GZIP_MEDIA_TYPE | oci::IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE => {
            Some(oci::IMAGE_LAYER_GZIP_MEDIA_TYPE)
        }
        ZSTD | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Some(ZSTD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_layers_become_oci_layers() {
        assert_eq!(
            layer("application/vnd.docker.image.rootfs.diff.tar.gzip"),
            layer(oci::IMAGE_LAYER_GZIP_MEDIA_TYPE)
        );
        assert_eq!(layer("application/vnd.docker.image.rootfs.diff.tar"), Some(oci::IMAGE_LAYER_MEDIA_TYPE));
        assert_eq!(layer(ZSTD), Some(ZSTD));
        assert_eq!(layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), None);
        assert_eq!(layer(""), None);
    }
}
