//! buildx's commands for a builder of our own, and what it answers.

use std::path::Path;

use serde::Deserialize;

use crate::base::process::Command;
use crate::engine::buildx::Buildx;
use crate::model::engine::Driver;
use crate::model::settings::BuilderNode;
use crate::plan::builder::{Endpoint, Recipe, context};

/// What the context of a builder says of itself: what does not say so is somebody else's.
const DESCRIPTION: &str = "made by layerlift for its builder";

/// A builder of ours, by its name.
#[derive(Debug, Clone, Copy)]
pub struct Builder<'a> {
    /// How buildx is run.
    pub buildx: &'a Buildx,
    /// The builder's name.
    pub name: &'a str,
}

impl Builder<'_> {
    /// Asks what is there. Starts nothing.
    pub fn inspect(self) -> Command {
        self.buildx.command(["inspect", "--", self.name])
    }

    /// Starts what is not running, and pulls BuildKit's image where it is not there.
    pub fn bootstrap(self) -> Command {
        self.buildx.command(["inspect", "--bootstrap", "--", self.name])
    }

    /// Makes it, with its first node. `config`: the recipe's file.
    pub fn create(self, recipe: &Recipe, config: &Path) -> Command {
        let mut words = self.making(recipe, config);
        if let Endpoint::Tls { .. } = recipe.endpoint {
            words.extend(["--".to_owned(), context(self.name)]);
        }
        self.buildx.command(words.iter().map(String::as_str))
    }

    /// Adds a node.
    pub fn append(self, recipe: &Recipe, config: &Path, node: &BuilderNode) -> Command {
        let mut words = self.making(recipe, config);
        words.extend(["--append".to_owned(), "--node".to_owned(), node.name.clone()]);
        let platforms: Vec<String> = node.platforms.iter().map(ToString::to_string).collect();
        if !platforms.is_empty() {
            words.extend(["--platform".to_owned(), platforms.join(",")]);
        }
        words.extend(["--".to_owned(), node.endpoint.clone()]);
        self.buildx.command(words.iter().map(String::as_str))
    }

    fn making(self, recipe: &Recipe, config: &Path) -> Vec<String> {
        let mut words = vec!["create", "--name", self.name, "--driver", "docker-container"];
        // What `docker build --network=host` needs; buildx before 0.14 does not allow it by itself.
        words.extend(["--buildkitd-flags", "--allow-insecure-entitlement=network.host"]);
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        if recipe.configures() {
            words.extend(["--buildkitd-config".to_owned(), config.to_string_lossy().into_owned()]);
        }
        let options = recipe.image.iter().map(|image| format!("image={image}"));
        let network = recipe.host_network.then(|| "network=host".to_owned());
        for option in options.chain(network) {
            words.extend(["--driver-opt".to_owned(), option]);
        }
        words
    }

    /// Removes it with its containers and its cache.
    pub fn remove(self) -> Command {
        self.buildx.command(["rm", "--force", "--", self.name])
    }

    /// Makes it the builder that buildx takes by itself.
    pub fn choose(self) -> Command {
        self.buildx.command(["use", "--", self.name])
    }

    /// Makes a context of what the variables say: address and certificates.
    pub fn create_context(self) -> Command {
        Command::new("docker", ["context", "create", "--description", DESCRIPTION, &context(self.name)])
    }

    /// Asks what the context is.
    pub fn inspect_context(self) -> Command {
        Command::new("docker", ["context", "inspect", &context(self.name)])
    }

    /// Removes the context.
    pub fn remove_context(self) -> Command {
        Command::new("docker", ["context", "rm", "--force", &context(self.name)])
    }
}

/// One command on the way to a builder that builds.
#[derive(Debug, Clone)]
pub struct Step {
    /// What is run.
    pub command: Command,
    /// What for.
    pub kind: StepKind,
}

/// What a step is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepKind {
    /// A broken builder makes room.
    Remove,
    /// The engine's certificates are put where buildx can keep them.
    Context,
    /// The builder is made.
    Create,
    /// A further node joins, of this name.
    Append(String),
    /// What does not run is started.
    Start,
}

impl StepKind {
    /// In words, for the plan.
    pub fn purpose(&self) -> &'static str {
        match self {
            StepKind::Remove => "remove the builder, which is broken",
            StepKind::Context => "keep the engine's certificates where a builder finds them",
            StepKind::Create => "make the builder",
            StepKind::Append(_) => "add a node to the builder",
            StepKind::Start => "start the builder",
        }
    }
}

impl Builder<'_> {
    /// What leads from what is there to a builder that runs: nothing where it does. `config`: the recipe's file.
    ///
    /// Nodes only join a builder that is being made: one that cannot be reached would spoil it (see [`Present::broken`]).
    pub fn steps(self, recipe: &Recipe, config: &Path, present: Option<&Present>) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut step = |kind, command| steps.push(Step { command, kind });
        let kept = present.filter(|present| present.is_usable());
        if present.is_some() && kept.is_none() {
            step(StepKind::Remove, self.remove());
        }
        if kept.is_none() {
            if let Endpoint::Tls { .. } = recipe.endpoint {
                step(StepKind::Context, self.create_context());
            }
            step(StepKind::Create, self.create(recipe, config));
            for node in &recipe.nodes {
                step(StepKind::Append(node.name.clone()), self.append(recipe, config, node));
            }
        }
        if !kept.and_then(|kept| kept.nodes.first()).is_some_and(|node| node.is_running) {
            step(StepKind::Start, self.bootstrap());
        }
        steps
    }
}

/// Whether a context is one of ours, by the answer to [`Builder::inspect_context`].
pub fn is_our_context(stdout: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Context {
        metadata: Metadata,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Metadata {
        description: String,
    }
    let contexts: Vec<Context> = serde_json::from_str(stdout).unwrap_or_default();
    contexts.iter().any(|context| context.metadata.description == DESCRIPTION)
}

/// A builder that buildx knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its kind; `None` where buildx could not tell.
    pub driver: Option<Driver>,
    /// Its nodes; the first one decides whether it builds.
    pub nodes: Vec<Node>,
    /// Why it cannot be used.
    pub error: Option<String>,
}

impl Present {
    /// One that has to be made anew.
    ///
    /// Not only what fails to start is: where buildx refuses a node (`create --append`), it puts back what was there before
    /// from a copy without the other nodes' flags, platforms and configuration (store.Node.Copy; 0.29.1, 2026-11-23).
    pub fn broken(reason: String) -> Self {
        Present { driver: Some(Driver::DockerContainer), nodes: Vec::new(), error: Some(reason) }
    }

    /// Whether it can be used as it is, or started.
    pub fn is_usable(&self) -> bool {
        self.error.is_none()
    }
}

/// One of its nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// An address, or a context's name.
    pub endpoint: String,
    /// Whether its BuildKit runs.
    pub is_running: bool,
}

/// Reads the answer of `buildx inspect NAME`; `None`: there is no such builder.
pub fn present(stdout: &str) -> Option<Present> {
    let mut present = Present { driver: None, nodes: Vec::new(), error: None };
    let mut in_nodes = false;
    let mut is_there = false;
    for line in stdout.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        let is_of_first = present.nodes.len() < 2;
        match (key, present.nodes.last_mut()) {
            ("Nodes", _) => in_nodes = true,
            ("Name", _) if in_nodes => {
                present.nodes.push(Node { name: value.to_owned(), ..Node::default() });
            }
            ("Name", _) => is_there = true,
            ("Driver", None) => {
                present.driver = (value == "docker-container")
                    .then_some(Driver::DockerContainer)
                    .or_else(|| (!value.is_empty()).then(|| Driver::Other(value.to_owned())));
            }
            ("Endpoint", Some(node)) => value.clone_into(&mut node.endpoint),
            ("Status", Some(node)) => node.is_running = value == "running",
            // What fails on another node than the first does not keep the builder from building.
            ("Error", _) if is_of_first => present.error = Some(value.to_owned()),
            _ => {}
        }
    }
    is_there.then_some(present)
}

/// Registries as the engine is configured: those that its own builder knows, and a container does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineRegistries {
    /// Mirrors of Docker Hub: `http://mirror:5000/`.
    pub mirrors: Vec<String>,
    /// Hosts that need not prove who they are.
    pub insecure: Vec<String>,
}

/// Asks for them.
pub fn engine_registries() -> Command {
    Command::new("docker", ["info", "--format", "{{json .RegistryConfig}}"])
}

/// Reads the answer; nothing where it is none.
pub fn read_engine_registries(stdout: &str) -> EngineRegistries {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Config {
        // Engines write `null` for an empty list.
        mirrors: Option<Vec<String>>,
        index_configs: Option<std::collections::BTreeMap<String, Index>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Index {
        secure: bool,
    }
    let config: Config = serde_json::from_str(stdout.trim()).unwrap_or_default();
    let hosts = config.index_configs.unwrap_or_default().into_iter();
    EngineRegistries {
        mirrors: config.mirrors.unwrap_or_default(),
        insecure: hosts.filter(|(_, index)| !index.secure).map(|(host, _)| host).collect(),
    }
}

/// Whether BuildKit's image could not be had, from what [`Builder::bootstrap`] said: to do it all again would be the same
/// failure once more. A container is only made after the pull.
pub fn lacks_image(said: &str) -> bool {
    said.contains("pulling image") && !said.contains("creating container")
}

/// The reason in what buildx or Docker's client said: its last line.
pub fn reason(said: &str) -> String {
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no reason given");
    last.trim_start_matches("ERROR: ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(endpoint: Endpoint) -> Recipe {
        Recipe {
            endpoint,
            image: None,
            host_network: false,
            registries: std::collections::BTreeMap::new(),
            files: std::collections::BTreeMap::new(),
            nodes: Vec::new(),
        }
    }

    #[test]
    fn every_command_has_its_line() {
        let builder = Builder { buildx: &Buildx::of_client(), name: "layerlift" };
        let shown = |command: Command| command.to_string();
        let plain = recipe(Endpoint::Current("unix:///var/run/docker.sock".into()));
        let tls = Endpoint::Tls { host: "tcp://docker:2376".into(), certificates: "/certs/client".into() };
        let mut full = Recipe { image: Some("r/buildkit:1".into()), host_network: true, ..recipe(tls) };
        full.registries.insert("r".into(), crate::plan::builder::Registry::default());
        let node = BuilderNode {
            name: "arm".into(),
            endpoint: "-ssh".into(),
            platforms: ["linux/arm64", "linux/arm/v7"].iter().flat_map(|it| it.parse()).collect(),
        };
        let path = Path::new("/d/layerlift.toml");
        insta::assert_snapshot!(shown(builder.create(&plain, path)),
            @"docker buildx create --name layerlift --driver docker-container --buildkitd-flags '--allow-insecure-entitlement=network.host'");
        insta::assert_snapshot!(shown(builder.create(&full, path)),
            @"docker buildx create --name layerlift --driver docker-container --buildkitd-flags '--allow-insecure-entitlement=network.host' --buildkitd-config /d/layerlift.toml --driver-opt 'image=r/buildkit:1' --driver-opt 'network=host' -- layerlift-engine");
        insta::assert_snapshot!(shown(builder.append(&plain, path, &node)),
            @"docker buildx create --name layerlift --driver docker-container --buildkitd-flags '--allow-insecure-entitlement=network.host' --append --node arm --platform 'linux/arm64,linux/arm/v7' -- -ssh");
        insta::assert_snapshot!(shown(builder.bootstrap()), @"docker buildx inspect --bootstrap -- layerlift");
        insta::assert_snapshot!(shown(builder.remove()), @"docker buildx rm --force -- layerlift");
        insta::assert_snapshot!(shown(builder.create_context()),
            @"docker context create --description 'made by layerlift for its builder' layerlift-engine");
    }

    #[test]
    fn reads_builders_as_buildx_tells_of_them() {
        let waiting = "Name:          layerlift\nDriver:        docker-container\nLast Activity: 2026-11-23 12:46:30 +0000 UTC\n\n\
            Nodes:\nName:                  layerlift0\nEndpoint:              tcp://docker:2375\nStatus:                inactive\n\
            BuildKit daemon flags: --allow-insecure-entitlement=network.host\n\n\
            Name:     arm\nEndpoint: arm\nError:    unable to parse docker host `arm`\n";
        let node = |name: &str, endpoint: &str, is_running| Node {
            name: name.into(),
            endpoint: endpoint.into(),
            is_running,
        };
        let expected = Present {
            driver: Some(Driver::DockerContainer),
            nodes: vec![node("layerlift0", "tcp://docker:2375", false), node("arm", "arm", false)],
            error: None,
        };
        assert_eq!(present(waiting), Some(expected));
        let broken = "Name:          layerlift\nDriver:        docker-container\n\nNodes:\nName:     layerlift0\n\
            Endpoint: layerlift\nError:    unable to parse docker host `layerlift`\n";
        let broken = present(broken).expect("there");
        assert_eq!(broken.error.as_deref(), Some("unable to parse docker host `layerlift`"));
        let running = "Name: layerlift\nDriver: remote\n\nNodes:\nName: r0\nStatus: running\n";
        let running = present(running).expect("there");
        assert_eq!(running.driver, Some(Driver::Other("remote".into())));
        assert!(running.nodes[0].is_running);
        assert_eq!(present("ERROR: no builder \"layerlift\" found\n"), None);
    }

    #[test]
    fn does_only_what_is_left_to_do() {
        let tls = Endpoint::Tls { host: "tcp://docker:2376".into(), certificates: "/certs/client".into() };
        let node = BuilderNode { name: "arm".into(), endpoint: "arm".into(), platforms: Vec::new() };
        let recipe = Recipe { nodes: vec![node], ..recipe(tls) };
        let buildx = Buildx::of_client();
        let kinds = |present: Option<Present>| {
            let steps = Builder { buildx: &buildx, name: "layerlift" }.steps(
                &recipe,
                Path::new("/d"),
                present.as_ref(),
            );
            steps.into_iter().map(|step| step.kind).collect::<Vec<_>>()
        };
        let there = |names: &[&str], is_running: bool, error: Option<&str>| {
            let node = |name: &&str| Node { name: (*name).into(), endpoint: String::new(), is_running };
            let nodes = names.iter().map(node).collect();
            let driver = Some(Driver::DockerContainer);
            Some(Present { driver, nodes, error: error.map(str::to_owned) })
        };
        use StepKind::{Append, Context, Create, Remove, Start};
        let append = Append("arm".to_owned());
        assert_eq!(kinds(None), [Context, Create, append.clone(), Start]);
        assert_eq!(kinds(there(&["layerlift0", "arm"], true, None)), []);
        assert_eq!(kinds(there(&["layerlift0", "arm"], false, None)), [Start]);
        let broken = there(&["layerlift0", "arm"], false, Some("unable to parse docker host"));
        assert_eq!(kinds(broken), [Remove, Context, Create, append, Start]);
    }

    #[test]
    fn reads_the_engines_registries() {
        // Docker 26.1 and 28.5, and an engine that has none.
        let answer = r#"{"AllowNondistributableArtifactsCIDRs":null,"InsecureRegistryCIDRs":["127.0.0.0/8"],"IndexConfigs":{"docker.io":{"Name":"docker.io","Mirrors":["http://mirror.lan:5000/"],"Secure":true,"Official":true},"r.lan:5177":{"Name":"r.lan:5177","Mirrors":[],"Secure":false,"Official":false}},"Mirrors":["http://mirror.lan:5000/"]}"#;
        let expected = EngineRegistries {
            mirrors: vec!["http://mirror.lan:5000/".into()],
            insecure: vec!["r.lan:5177".into()],
        };
        assert_eq!(read_engine_registries(answer), expected);
        assert_eq!(
            read_engine_registries(r#"{"Mirrors":null,"IndexConfigs":{}}"#),
            EngineRegistries::default()
        );
        assert_eq!(read_engine_registries("Cannot connect"), EngineRegistries::default());
    }

    #[test]
    fn knows_its_own_context() {
        // Docker 26.1 and 28.5.
        let answer = r#"[{"Name":"layerlift-engine","Metadata":{"Description":"made by layerlift for its builder"},"Endpoints":{"docker":{"Host":"tcp://docker:2376","SkipTLSVerify":false}},"TLSMaterial":{}}]"#;
        assert!(is_our_context(answer));
        assert!(!is_our_context(&answer.replace("by layerlift", "by hand")));
        assert!(!is_our_context(r#"[{"Name":"x","Metadata":{}}]"#) && !is_our_context("[]\n"));
    }

    #[test]
    fn knows_an_image_that_cannot_be_had() {
        let said = "#1 [internal] booting buildkit\n#1 pulling image moby/buildkit:buildx-stable-1 0.0s done\n\
            #1 ERROR: Error response from daemon: no such host\n------\n > [internal] booting buildkit:\n------\n\
            ERROR: Error response from daemon: no such host\n\n";
        assert!(lacks_image(said));
        assert_eq!(reason(said), "Error response from daemon: no such host");
        assert!(!lacks_image(
            "#1 pulling image x 1s done\n#1 creating container buildx_buildkit_layerlift0\nERROR: y"
        ));
        assert!(!lacks_image("ERROR: cannot start"));
    }
}
