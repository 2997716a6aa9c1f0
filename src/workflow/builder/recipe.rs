//! What a builder of ours is made from: where the engine is, and how registries are spoken to.
//!
//! BuildKit in a container knows nothing of the engine's configuration or of this machine's certificates. It is told what
//! our own client goes by, and what the engine says of its mirrors and insecure registries.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::base::env::{self, Environment};
use crate::engine::builder::EngineRegistries;
use crate::model::reference::Digest;
use crate::model::settings::Settings;
use crate::plan::builder::{Endpoint, Recipe, Registry};
use crate::registry::Client;
use crate::workflow::docker_config::DockerConfig;

/// A recipe or a certificate is a page or two.
const LARGEST_FILE: u64 = 1 << 20;

const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";

/// Docker's client takes this one where TLS is asked for and no address is set.
const DEFAULT_TLS_ENDPOINT: &str = "tcp://localhost:2376";

const DOCKER_HUB: &str = "docker.io";

/// What a builder would be made from. `registries`: those that will be spoken to.
pub(super) fn of(
    environment: &Environment,
    settings: &Settings,
    client: &Client,
    registries: &BTreeSet<String>,
    of_engine: EngineRegistries,
) -> Recipe {
    let mut found = Registries { client, tables: BTreeMap::new(), host_network: false };
    registries.iter().chain(&settings.insecure_registries).for_each(|name| found.add(name));
    of_engine.mirrors.iter().chain(&settings.builder.mirrors).for_each(|it| found.add_mirror(it));
    for name in of_engine.insecure {
        let table = found.tables.entry(name).or_default();
        (table.http, table.insecure) = (true, true);
    }
    // Who has written a configuration for all builders gets it.
    if buildx_folder(environment).join("buildkitd.default.toml").exists() {
        found.tables.clear();
    }
    let files = found.tables.values().flat_map(|table| {
        let identity = table.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        table.roots.iter().chain(identity).cloned()
    });
    let digest = |path: PathBuf| Some((path.clone(), Digest::of(&bounded(&path)?)));
    Recipe {
        endpoint: endpoint(environment),
        image: settings.builder.image.clone(),
        host_network: found.host_network,
        files: files.filter_map(digest).collect(),
        registries: found.tables,
        nodes: settings.builder.nodes.clone(),
    }
}

/// Where buildx keeps its builders.
pub(super) fn buildx_folder(environment: &Environment) -> PathBuf {
    let own = || environment.docker_folder().join("buildx");
    environment.get(env::BUILDX_CONFIG).map_or_else(own, PathBuf::from)
}

/// Where the engine of Docker's client is.
fn endpoint(environment: &Environment) -> Endpoint {
    let host = environment.get(env::DOCKER_HOST);
    let context = environment
        .get(env::DOCKER_CONTEXT)
        .map(str::to_owned)
        .or_else(|| DockerConfig::read(&environment.docker_folder()).current_context)
        .filter(|name| name != "default" && host.is_none());
    if let Some(context) = context {
        return Endpoint::Current(context);
    }
    let tls = [env::DOCKER_TLS_VERIFY, env::DOCKER_TLS].iter().any(|it| environment.get(*it).is_some());
    if tls {
        let certificates = environment.get(env::DOCKER_CERT_PATH).map(str::to_owned);
        return Endpoint::Tls {
            host: host.unwrap_or(DEFAULT_TLS_ENDPOINT).to_owned(),
            certificates: certificates.unwrap_or_else(|| environment.docker_folder().display().to_string()),
        };
    }
    Endpoint::Current(host.unwrap_or(DEFAULT_ENDPOINT).to_owned())
}

/// The tables of BuildKit's configuration, as they come together.
struct Registries<'a> {
    client: &'a Client,
    tables: BTreeMap<String, Registry>,
    host_network: bool,
}

impl Registries<'_> {
    /// A registry that is spoken to as our own client speaks to it.
    fn add(&mut self, name: &str) {
        let trust = self.client.trust(name);
        self.host_network |= trust.is_loopback;
        if !trust.is_plain && trust.roots.is_empty() && trust.identity.is_none() {
            return;
        }
        let table = self.tables.entry(name.to_owned()).or_default();
        table.http |= trust.is_plain;
        table.roots = trust.roots;
        table.identity = trust.identity;
    }

    /// A mirror of Docker Hub, as Docker's daemon has it: `http://mirror.lan:5000/`, or without a scheme.
    fn add_mirror(&mut self, address: &str) {
        let (scheme, rest) = address.split_once("://").unwrap_or(("https", address));
        let mirror = rest.trim_end_matches('/');
        let host = mirror.split('/').next().unwrap_or(mirror);
        let mirrors = &mut self.tables.entry(DOCKER_HUB.to_owned()).or_default().mirrors;
        if !mirrors.iter().any(|it| it == mirror) {
            mirrors.push(mirror.to_owned());
        }
        self.add(host);
        if scheme == "http" {
            self.tables.entry(host.to_owned()).or_default().http = true;
        }
    }
}

/// A small file; `None` where it cannot be read.
pub(super) fn bounded(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(LARGEST_FILE).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Options;

    fn of(variables: &[(&str, &str)]) -> Endpoint {
        endpoint(&variables.iter().copied().collect())
    }

    #[test]
    fn finds_where_the_engine_is() {
        let folder = tempfile::tempdir().expect("folder");
        let config = folder.path().to_str().expect("text");
        let current = |text: &str| Endpoint::Current(text.to_owned());
        assert_eq!(of(&[("DOCKER_CONFIG", config)]), current("unix:///var/run/docker.sock"));
        assert_eq!(
            of(&[("DOCKER_CONFIG", config), ("DOCKER_HOST", "tcp://d:2375")]),
            current("tcp://d:2375")
        );
        assert_eq!(of(&[("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "far")]), current("far"));
        std::fs::write(folder.path().join("config.json"), r#"{"currentContext":"near"}"#).expect("written");
        assert_eq!(of(&[("DOCKER_CONFIG", config)]), current("near"));
        let tls = [
            ("DOCKER_CONFIG", config),
            ("DOCKER_HOST", "tcp://docker:2376"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", "/certs/client"),
        ];
        let expected =
            Endpoint::Tls { host: "tcp://docker:2376".into(), certificates: "/certs/client".into() };
        assert_eq!(of(&tls), expected);
    }

    #[test]
    fn registries_are_spoken_to_as_our_client_does() {
        let options = Options { insecure: vec!["plain.lan".into()], ..Options::new(&Environment::default()) };
        let client = Client::new(options).expect("client");
        let mut found = Registries { client: &client, tables: BTreeMap::new(), host_network: false };
        found.add("ghcr.io");
        found.add("plain.lan:5000");
        assert!(!found.host_network);
        found.add_mirror("http://mirror.lan:5000/");
        found.add_mirror("mirror.lan/hub");
        found.add("localhost:5177");
        assert!(found.host_network);
        let names: Vec<&str> = found.tables.keys().map(String::as_str).collect();
        assert_eq!(names, ["docker.io", "localhost:5177", "mirror.lan:5000", "plain.lan:5000"]);
        assert_eq!(found.tables["docker.io"].mirrors, ["mirror.lan:5000", "mirror.lan/hub"]);
        assert!(found.tables["mirror.lan:5000"].http && found.tables["plain.lan:5000"].http);
    }
}
