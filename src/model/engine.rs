//! What builds: versions, builder, store; and what follows from them.
//!
//! Callers ask for capabilities ([`Engine::can_export_cache`]), never for names and versions: the tables of BUILDKIT.md
//! (1.5, 3) live here.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::model::platform::Platform;

/// A version's first three numbers. Distributions append to them (`0.29.1+ds1`, `28.5.2+dfsg4`); that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim().trim_start_matches('v');
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers = text[..end].split('.').map(str::parse::<u32>);
        let major = numbers.next().ok_or(())?.map_err(|_| ())?;
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        Ok(Version(major, next(), next()))
    }
}

/// Which program front is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frontend {
    /// `docker build` with `DOCKER_BUILDKIT=0`, or an engine before 18.09.
    Classic,
    /// `docker build` with `DOCKER_BUILDKIT=1`, without buildx (Docker 18.09 to 22).
    BuildKit,
    /// `docker buildx build`.
    Buildx,
    /// `buildctl build`, on a BuildKit that somebody runs.
    Buildctl,
    /// `buildah build` or `podman build`, which need no engine.
    Buildah,
}

/// The kind of a buildx builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// The engine's own BuildKit.
    Docker,
    /// BuildKit in a container.
    DockerContainer,
    /// BuildKit in pods.
    Kubernetes,
    /// A BuildKit that somebody runs.
    Remote,
    /// One that this program does not know.
    Other(String),
}

/// Where the engine keeps images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// containerd's image store.
    Containerd,
    /// A graph driver such as overlay2.
    GraphDriver,
    /// The store that buildah, podman and their kin share.
    Containers,
}

/// Which form of a cache manifest the engine's BuildKit reads and every reader of the same generation understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestForm {
    /// An OCI index that lists blobs: BuildKit before 0.12, the only form that it reads.
    Index,
    /// An OCI image manifest: BuildKit 0.12 and later.
    Image,
}

/// BuildKit versions whose cache keys agree. Caches of another generation are dropped from the chain (BUILDKIT.md 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Generation(pub u32);

/// What was found out about the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Engine {
    /// The version of the Docker client, where it had to be asked, or of buildctl, buildah or podman.
    pub client: Option<Version>,
    /// The engine's version; `None` where the builder needs no engine (a remote BuildKit).
    pub server: Option<Version>,
    /// buildx's version, where it is there.
    pub buildx: Option<Version>,
    /// Which front is spoken to.
    pub frontend: Frontend,
    /// The builder's name: `default`.
    pub builder: String,
    /// The builder's kind.
    pub driver: Driver,
    /// The engine's image store.
    pub store: Store,
    /// Version of the BuildKit that builds, from the engine's version or the builder's own word.
    pub buildkit: Option<Version>,
    /// What it builds for, unless told otherwise.
    pub platform: Platform,
    /// The engine's address, where it is not this machine's socket: `tcp://docker:2375`.
    pub remote: Option<String>,
}

impl Engine {
    /// Whether `--cache-to type=registry` and `type=local` work (BUILDKIT.md 1.5, 3).
    pub fn can_export_cache(&self) -> bool {
        matches!(self.frontend, Frontend::Buildx | Frontend::Buildctl)
            && match self.driver {
                Driver::Docker => self.store == Store::Containerd && self.server >= Some(Version(24, 0, 0)),
                Driver::DockerContainer | Driver::Kubernetes | Driver::Remote => true,
                Driver::Other(_) => false,
            }
    }

    /// Whether an image is in the engine after a build that names no output.
    pub fn loads_by_default(&self) -> bool {
        matches!(self.frontend, Frontend::Classic | Frontend::BuildKit) || self.driver == Driver::Docker
    }

    /// Whether `store=false,unpack=false` keeps a pushed image out of the engine's store (BUILDKIT.md 0.4).
    ///
    /// buildx before 0.22 pushes once more with the engine's own push, which fails as nothing was stored:
    /// `tag does not exist` (docker/buildx 4f7d145c0).
    pub fn can_push_unstored(&self) -> bool {
        self.frontend == Frontend::Buildx
            && self.driver == Driver::Docker
            && self.store == Store::Containerd
            && self.buildx >= Some(Version(0, 22, 0))
    }

    /// Whether `--progress rawjson` gives JSON without build details between it (buildx 0.13 and buildctl 0.13; BUILDKIT.md
    /// 4). buildx 0.13 spreads an object over lines; the reader knows.
    pub fn has_raw_progress(&self) -> bool {
        let client = match self.frontend {
            Frontend::Buildx => self.buildx,
            Frontend::Buildctl => self.client,
            Frontend::Classic | Frontend::BuildKit | Frontend::Buildah => None,
        };
        client >= Some(Version(0, 13, 0))
    }

    /// The cache manifest's form for this engine.
    pub fn manifest_form(&self) -> ManifestForm {
        match self.buildkit {
            Some(version) if version < Version(0, 12, 0) => ManifestForm::Index,
            _ => ManifestForm::Image,
        }
    }

    /// The generation of cache keys that this engine makes and understands.
    ///
    /// Since BuildKit 0.13.0 (moby/buildkit ab17c1dd9) the root of a `RUN` carries a selector, so that no `RUN` of an
    /// earlier BuildKit is found again. Measured: 20.10 and 26, 20.10 and 28 share 5 keys of 10, 26 and 28 all of them
    /// but what follows a `COPY --link`.
    pub fn generation(&self) -> Generation {
        match self.buildkit {
            Some(version) if version < Version(0, 13, 0) => Generation(1),
            _ => Generation(2),
        }
    }
}

/// The BuildKit that a Docker engine vendors (BUILDKIT.md 1.5; moby's go.mod at the tags). Distributions build engines
/// that do not tell it themselves.
pub fn buildkit_of_docker(server: Version) -> Version {
    const TABLE: &[(Version, Version)] = &[
        (Version(18, 9, 0), Version(0, 3, 3)),
        (Version(19, 3, 0), Version(0, 6, 4)),
        (Version(20, 10, 0), Version(0, 8, 3)),
        (Version(23, 0, 0), Version(0, 10, 6)),
        (Version(24, 0, 0), Version(0, 11, 6)),
        (Version(25, 0, 0), Version(0, 12, 5)),
        (Version(26, 0, 0), Version(0, 13, 1)),
        (Version(26, 1, 0), Version(0, 13, 2)),
        (Version(27, 0, 0), Version(0, 14, 1)),
        (Version(27, 1, 0), Version(0, 15, 0)),
        (Version(27, 2, 0), Version(0, 15, 2)),
        (Version(27, 3, 0), Version(0, 16, 0)),
        (Version(27, 5, 0), Version(0, 18, 2)),
        (Version(28, 0, 0), Version(0, 20, 0)),
        (Version(28, 1, 0), Version(0, 21, 0)),
        (Version(28, 2, 0), Version(0, 22, 0)),
        (Version(28, 3, 0), Version(0, 23, 2)),
        (Version(28, 4, 0), Version(0, 24, 0)),
        (Version(28, 5, 0), Version(0, 25, 0)),
        (Version(29, 0, 0), Version(0, 25, 2)),
        (Version(29, 1, 0), Version(0, 26, 2)),
        (Version(29, 2, 0), Version(0, 27, 0)),
        (Version(29, 3, 0), Version(0, 28, 0)),
        (Version(29, 4, 0), Version(0, 29, 0)),
        (Version(29, 5, 0), Version(0, 30, 0)),
    ];
    TABLE
        .iter()
        .rev()
        .find(|(docker, _)| *docker <= server)
        .map_or(Version(0, 3, 3), |(_, buildkit)| *buildkit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_as_distributions_write_them() {
        assert_eq!("0.29.1+ds1".parse(), Ok(Version(0, 29, 1)));
        assert_eq!("v0.13.2".parse(), Ok(Version(0, 13, 2)));
        assert_eq!("28.5.2+dfsg4-1".parse(), Ok(Version(28, 5, 2)));
        assert_eq!("29".parse(), Ok(Version(29, 0, 0)));
        assert_eq!("unknown".parse::<Version>(), Err(()));
    }

    #[test]
    fn knows_the_buildkit_of_an_engine() {
        assert_eq!(buildkit_of_docker(Version(20, 10, 24)), Version(0, 8, 3));
        assert_eq!(buildkit_of_docker(Version(26, 1, 5)), Version(0, 13, 2));
        assert_eq!(buildkit_of_docker(Version(31, 0, 0)), Version(0, 30, 0));
    }
}
