//! How layerlift itself is to behave: every setting resolved, with the place that it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::platform::Platform;
use crate::model::reference::Repository;

/// How the cache travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// BuildKit exports to and imports from a registry.
    Registry,
    /// Per-stage cache images with inline metadata, merged into one ref.
    Inline,
    /// Per-stage images, pulled before and pushed after, for the classic builder.
    Classic,
    /// A folder, for GitLab's `cache:` and `actions/cache`.
    Local,
    /// No cache; the build is run and reported.
    Off,
}

/// How the layers are packed that only the cache has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheCompression {
    /// As the image's layers, where that was asked for; else gzip.
    Auto,
    /// With gzip.
    Gzip,
    /// With zstd: whoever reads an image that may be made with them can read that.
    Zstd,
}

impl fmt::Display for Strategy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Strategy::Registry => "registry",
            Strategy::Inline => "inline",
            Strategy::Classic => "classic",
            Strategy::Local => "local",
            Strategy::Off => "off",
        })
    }
}

/// Where a setting's value came from, in the order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A flag.
    Flag,
    /// A `LAYERLIFT_*` variable.
    Variable(&'static str),
    /// The settings file.
    File(PathBuf),
    /// What the CI system makes the default.
    CiDefault,
    /// Nobody said anything.
    BuiltIn,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => formatter.write_str("flag"),
            Origin::Variable(name) => formatter.write_str(name),
            Origin::File(path) => write!(formatter, "{}", path.display()),
            Origin::CiDefault => formatter.write_str("CI default"),
            Origin::BuiltIn => formatter.write_str("default"),
        }
    }
}

/// The builder that `builder_auto` makes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderSettings {
    /// BuildKit's image; `None`: the one that buildx takes.
    pub image: Option<String>,
    /// Mirrors of Docker Hub, beside those of the engine: `host[:port]`, or an address.
    pub mirrors: Vec<String>,
    /// Nodes beside the engine's own: a build farm.
    pub nodes: Vec<BuilderNode>,
}

/// A node of a builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderNode {
    /// Its name.
    pub name: String,
    /// A context's name, or an engine's address: `ssh://arm.lan`.
    pub endpoint: String,
    /// What it is to build for; none: what it can.
    pub platforms: Vec<Platform>,
}

/// All settings of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Repository of the cache refs; `None`: found from the surroundings.
    pub cache_repo: Option<Repository>,
    /// How the cache travels; `None`: chosen from the engine.
    pub strategy: Option<Strategy>,
    /// The scope to write and read first; `None`: found from the pipeline.
    pub scope: Option<String>,
    /// Scopes to read after the chain's own.
    pub fallback: Vec<String>,
    /// `Some(true)`: never write; `Some(false)`: write although this is no CI job; `None`: write in CI only.
    pub read_only: Option<bool>,
    /// Warnings are failures.
    pub strict: bool,
    /// A build in which a step ran is a failure, once everything is pushed and kept.
    pub fail_on_miss: bool,
    /// A pushed image stays in the engine's store as well.
    pub keep_image: bool,
    /// `Some(true)`: tracked files are built with the modes that git records; `Some(false)`: with those that they have;
    /// `None`: the former in CI only.
    pub normalize_modes: Option<bool>,
    /// `Some(true)`: an image that was made from the same inputs answers a build; `Some(false)`: none does; `None`: it
    /// does so for pushes in CI.
    pub reuse: Option<bool>,
    /// `Some(false)`: no `COPY` is made a layer of its own. `None`: where the tree is provably the same.
    pub auto_link: Option<bool>,
    /// How the layers are packed that only the cache has.
    pub cache_compression: CacheCompression,
    /// `Some(false)`: every stage and the whole cache are kept, whatever that takes. `None`: unless it takes longer than what
    /// it saves.
    pub weigh_cache: Option<bool>,
    /// The cache is exported by `layerlift cache flush`, not before the build ends.
    pub detach_cache: bool,
    /// The oldest image that may answer a build; `None`: any.
    pub max_age: Option<Duration>,
    /// File for the JSON report.
    pub report: Option<PathBuf>,
    /// File for the HTML report.
    pub html: Option<PathBuf>,
    /// File for the GitLab dotenv variables.
    pub dotenv: Option<PathBuf>,
    /// Folder of the `local` strategy.
    pub cache_dir: PathBuf,
    /// Longest time for one cache question to a registry, retries included.
    pub registry_timeout: Duration,
    /// Registries that are spoken to over plain HTTP, as `host` or `host:port`.
    pub insecure_registries: Vec<String>,
    /// Registries that have what Docker Hub has: `host[:port]`, or an address. They are asked before it, as engines do.
    pub registry_mirrors: Vec<String>,
    /// What the image is called among those that are built together: a compose service, a bake target. It is part of the
    /// names of its cache refs. `None` for an image of its own. No one sets it; it comes with the definition.
    pub member: Option<String>,
    /// Where the default builder cannot export a cache, one of our own is made.
    pub builder_auto: bool,
    /// What that one is made from.
    pub builder: BuilderSettings,
    /// Where each came from, by the setting's name.
    #[serde(skip)]
    pub origins: BTreeMap<&'static str, Origin>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            cache_repo: None,
            strategy: None,
            scope: None,
            fallback: Vec::new(),
            read_only: None,
            strict: false,
            fail_on_miss: false,
            keep_image: false,
            normalize_modes: None,
            reuse: None,
            auto_link: None,
            cache_compression: CacheCompression::Auto,
            weigh_cache: None,
            detach_cache: false,
            max_age: None,
            report: None,
            html: None,
            dotenv: None,
            cache_dir: PathBuf::from(".layerlift/cache"),
            registry_timeout: Duration::from_secs(10),
            insecure_registries: Vec::new(),
            registry_mirrors: Vec::new(),
            member: None,
            builder_auto: false,
            builder: BuilderSettings::default(),
            origins: BTreeMap::new(),
        }
    }
}
