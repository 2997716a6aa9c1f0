//! `--builder-auto`: whether a builder of our own is wanted, and what it is made from.
//!
//! The recipe is written beside the builder as a file, which is BuildKit's configuration with what buildx has to know in
//! comments above it. A builder whose file says something else was made for something else and is left alone: somebody
//! may be building with it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::model::engine::{Driver, Engine, Frontend};
use crate::model::reference::Digest;
use crate::model::request::Request;
use crate::model::settings::{BuilderNode, Settings, Strategy};

/// The name of our builder, and how the names of further ones begin.
pub const NAME: &str = "layerlift";

/// Whether a builder of our own is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The default builder cannot do what one of our own can.
    Yes,
    /// It would be of no use, and why.
    No(&'static str),
    /// It would be of use, and cannot be had: a warning.
    Impossible(&'static str),
}

/// Decides. Nobody is asked who builds where the user has chosen.
pub fn wanted(request: &Request, settings: &Settings, engine: &Engine) -> Wanted {
    if request.has("builder") {
        Wanted::No("your own --builder stands")
    } else if request.is_question() {
        Wanted::No("the request asks a question about the Dockerfile")
    } else if matches!(settings.strategy, Some(Strategy::Inline | Strategy::Classic | Strategy::Off)) {
        Wanted::No("the strategy that was asked for needs no other builder")
    } else if engine.can_export_cache() {
        Wanted::No("this builder can export a cache")
    } else if engine.driver != Driver::Docker {
        Wanted::No("a builder was chosen already")
    } else {
        match engine.frontend {
            Frontend::Buildx => Wanted::Yes,
            Frontend::Buildctl => Wanted::No("buildctl speaks to a BuildKit of its own"),
            Frontend::BuildKit => {
                Wanted::Impossible("--builder-auto needs buildx, which the Docker client does not have")
            }
            Frontend::Buildah => Wanted::No("buildah needs no builder"),
            Frontend::Classic => Wanted::Impossible(
                "--builder-auto makes no classic builder, and DOCKER_BUILDKIT=0 asks for it",
            ),
        }
    }
}

/// What came of `--builder-auto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoBuilder {
    /// The builder that builds; `None`: the default one.
    pub name: Option<String>,
    /// Why.
    pub reason: String,
    /// What is still to be run before it can build, as one would type it, and what for. Only where nothing may be run.
    pub commands: Vec<(String, String)>,
}

/// Where the engine is that the builder's container runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// What Docker's client uses by itself: an address, or a context's name.
    Current(String),
    /// An address with TLS by variables. buildx keeps no certificates of its own and refuses it ("could not create a
    /// builder instance with TLS data loaded from environment", docker/buildx#413, #2520): a context must hold them.
    Tls {
        /// `DOCKER_HOST`.
        host: String,
        /// `DOCKER_CERT_PATH`.
        certificates: String,
    },
}

impl Endpoint {
    /// What buildx has in its list as the node's endpoint.
    pub fn listed(&self, builder: &str) -> String {
        match self {
            Endpoint::Current(endpoint) => endpoint.clone(),
            Endpoint::Tls { .. } => context(builder),
        }
    }
}

/// The name of the context that a builder of this name has. Not the builder's own: every context is a builder to buildx,
/// under its name.
pub fn context(builder: &str) -> String {
    format!("{builder}-engine")
}

/// How BuildKit is to speak to a registry: a table `[registry."host"]` of its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    /// What is asked before it, `host[:port][/path]`.
    pub mirrors: Vec<String>,
    /// Plain HTTP.
    pub http: bool,
    /// HTTPS with whoever answers.
    pub insecure: bool,
    /// Files with roots, of this machine: buildx copies them into the container.
    pub roots: Vec<PathBuf>,
    /// A client certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Everything that a builder is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Where the first node is.
    pub endpoint: Endpoint,
    /// BuildKit's image; `None`: the one that buildx takes.
    pub image: Option<String>,
    /// The container is in the machine's own network: a registry on loopback is not to be reached from any other.
    pub host_network: bool,
    /// Registries that are not reached in the ordinary way.
    pub registries: BTreeMap<String, Registry>,
    /// Digests of the files that `registries` name.
    pub files: BTreeMap<PathBuf, Digest>,
    /// Further nodes.
    pub nodes: Vec<BuilderNode>,
}

impl Recipe {
    /// The file: BuildKit's configuration, below comments that tell the rest.
    pub fn text(&self) -> String {
        let mut text = format!(
            "# What layerlift made a builder from (--builder-auto); `layerlift builder rm` removes both.\n# {}\n",
            match &self.endpoint {
                Endpoint::Current(endpoint) => format!("endpoint {}", quoted(endpoint)),
                Endpoint::Tls { host, certificates } =>
                    format!("endpoint {}, TLS by {}", quoted(host), quoted(certificates)),
            }
        );
        let mut line = |content: String| text.extend([content.as_str(), "\n"]);
        if let Some(image) = &self.image {
            line(format!("# image {}", quoted(image)));
        }
        if self.host_network {
            line("# network of the host".to_owned());
        }
        for node in &self.nodes {
            let platforms: Vec<String> = node.platforms.iter().map(ToString::to_string).collect();
            line(format!(
                "# node {} at {} for {}",
                quoted(&node.name),
                quoted(&node.endpoint),
                quoted(&platforms.join(","))
            ));
        }
        for (path, digest) in &self.files {
            line(format!("# file {} {digest}", quoted(&path.to_string_lossy())));
        }
        for (host, registry) in &self.registries {
            let path = |path: &PathBuf| quoted(&path.to_string_lossy());
            line(format!("\n[registry.{}]", quoted(host)));
            if !registry.mirrors.is_empty() {
                line(format!("  mirrors = {}", list(registry.mirrors.iter().map(|it| quoted(it)))));
            }
            if registry.http {
                line("  http = true".to_owned());
            }
            if registry.insecure {
                line("  insecure = true".to_owned());
            }
            if !registry.roots.is_empty() {
                line(format!("  ca = {}", list(registry.roots.iter().map(path))));
            }
            if let Some((certificate, key)) = &registry.identity {
                line(format!("  [[registry.{}.keypair]]", quoted(host)));
                line(format!("    cert = {}\n    key = {}", path(certificate), path(key)));
            }
        }
        text
    }

    /// Tells it from other recipes, in a name.
    pub fn fingerprint(&self) -> String {
        Digest::of(self.text().as_bytes()).hex().chars().take(8).collect()
    }

    /// Whether BuildKit has to be told anything: without a file buildx takes the user's own, where there is one.
    pub fn configures(&self) -> bool {
        !self.registries.is_empty()
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A basic string of TOML, in one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::engine::{Store, Version};
    use crate::model::request::{Context, Flag};
    use crate::plan::strategy::tests::engine;

    #[test]
    fn is_wanted_where_nothing_else_can_export() {
        let graph = engine(Version(28, 5, 2), Store::GraphDriver, Frontend::Buildx);
        let containerd = engine(Version(28, 5, 2), Store::Containerd, Frontend::Buildx);
        let old = engine(Version(20, 10, 24), Store::GraphDriver, Frontend::BuildKit);
        let classic = engine(Version(28, 5, 2), Store::GraphDriver, Frontend::Classic);
        let other = Engine { driver: Driver::Other("cloud".into()), ..graph.clone() };
        let answer = |engine: &Engine, flags: Vec<Flag>, strategy| {
            let settings = Settings { strategy, ..Settings::default() };
            wanted(&Request { flags, context: Context::Stdin }, &settings, engine)
        };
        assert_eq!(answer(&graph, vec![], None), Wanted::Yes);
        assert_eq!(answer(&graph, vec![], Some(Strategy::Registry)), Wanted::Yes);
        let useless = [
            answer(&containerd, vec![], None),
            answer(&graph, vec![Flag::text("builder", "default")], None),
            answer(&graph, vec![Flag::text("call", "targets")], None),
            answer(&graph, vec![], Some(Strategy::Inline)),
            answer(&other, vec![], None),
        ];
        assert!(useless.iter().all(|it| matches!(it, Wanted::No(_))), "{useless:?}");
        let impossible = [answer(&old, vec![], None), answer(&classic, vec![], None)];
        assert!(impossible.iter().all(|it| matches!(it, Wanted::Impossible(_))), "{impossible:?}");
    }

    fn plain() -> Recipe {
        Recipe {
            endpoint: Endpoint::Current("unix:///var/run/docker.sock".into()),
            image: None,
            host_network: false,
            registries: BTreeMap::new(),
            files: BTreeMap::new(),
            nodes: Vec::new(),
        }
    }

    #[test]
    fn the_file_is_buildkits_configuration() {
        let ca = PathBuf::from("/etc/docker/certs.d/r.lan/ca.crt");
        let hub = Registry { mirrors: vec!["mirror.lan:5000".into()], ..Registry::default() };
        let mirror = Registry { http: true, insecure: true, ..Registry::default() };
        let own = Registry {
            roots: vec![ca.clone()],
            identity: Some(("/c/client.cert".into(), "/c/a \"key\"".into())),
            ..Registry::default()
        };
        let named = [("docker.io", hub), ("mirror.lan:5000", mirror), ("r.lan", own)];
        let recipe = Recipe {
            endpoint: Endpoint::Tls {
                host: "tcp://docker:2376".into(),
                certificates: "/certs/client".into(),
            },
            image: Some("r.lan/buildkit:1".into()),
            host_network: true,
            registries: named.into_iter().map(|(host, it)| (host.to_owned(), it)).collect(),
            files: [(ca, Digest::of(b""))].into_iter().collect(),
            nodes: vec![BuilderNode {
                name: "arm".into(),
                endpoint: "ssh://arm.lan".into(),
                platforms: vec!["linux/arm64".parse().expect("platform")],
            }],
        };
        insta::assert_snapshot!(recipe.text(), @r#"
        # What layerlift made a builder from (--builder-auto); `layerlift builder rm` removes both.
        # endpoint "tcp://docker:2376", TLS by "/certs/client"
        # image "r.lan/buildkit:1"
        # network of the host
        # node "arm" at "ssh://arm.lan" for "linux/arm64"
        # file "/etc/docker/certs.d/r.lan/ca.crt" sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

        [registry."docker.io"]
          mirrors = ["mirror.lan:5000"]

        [registry."mirror.lan:5000"]
          http = true
          insecure = true

        [registry."r.lan"]
          ca = ["/etc/docker/certs.d/r.lan/ca.crt"]
          [[registry."r.lan".keypair]]
            cert = "/c/client.cert"
            key = "/c/a \"key\""
        "#);
        assert!(recipe.configures() && !plain().configures());
        assert_eq!(plain().text().lines().count(), 2);
        assert_ne!(recipe.fingerprint(), plain().fingerprint());
    }

    #[test]
    fn no_value_leaves_its_line() {
        assert_eq!(quoted("a\nb\\\u{7f}\u{85}"), "\"a\\u000Ab\\\\\\u007F\\u0085\"");
    }
}
