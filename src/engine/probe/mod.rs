//! Finds out what builds here: the client, the engine, buildx, the builder in effect and its store.
//!
//! Where nothing points away from the default builder, the engine is asked itself ([`api`]) beside `buildx version`.
//! Otherwise there are three questions, asked at once: `docker version`, `buildx version` and `buildx inspect`. `docker
//! info` is never asked, because it starts every plugin.
//!
//! The builder is the one of `--builder`, of `BUILDX_BUILDER`, or buildx's current one, in this order. `DOCKER_BUILDKIT=0`
//! means the classic builder, as it does to Docker, unless the request can be answered by buildx alone. Where Docker 20.10
//! would take the classic builder by default, layerlift takes BuildKit.
//!
//! An engine behind `tcp://` that refuses the connection is asked again for [`PATIENCE`]: `docker:dind` starts beside the
//! job and needs some seconds. A socket of this machine is not waited for.

pub(super) mod answers;
mod api;
mod error;

use std::time::Duration;

use tokio::time::Instant;

use self::answers::{Builder, Trouble, Versions};
pub use self::api::is_here;
pub use self::error::Error;
use crate::base::env::{self, Environment};
use crate::base::process::{self, Captured, Command};
use crate::engine::buildx::Buildx;
use crate::model::engine::{Driver, Engine, Frontend, Store, Version, buildkit_of_docker};
use crate::model::platform::Platform;

/// The oldest engine that can be used: the first with BuildKit.
pub const OLDEST_ENGINE: Version = Version(18, 9, 0);

/// How long an engine behind `tcp://` may take until it accepts connections.
pub const PATIENCE: Duration = Duration::from_secs(15);

const PAUSE: Duration = Duration::from_millis(500);

/// How long one answer may take. buildx itself gives a builder 20 s.
const LIMIT: Duration = Duration::from_secs(30);

/// The first Docker client that builds through buildx, and knows only the classic builder without it.
const CLIENT_OF_BUILDX: Version = Version(23, 0, 0);

/// What is to be known beforehand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// The builder that `--builder` names.
    pub builder: Option<String>,
    /// What cannot be done without buildx, in words: "`--push`".
    pub needs_buildx: Option<String>,
}

/// Finds out what builds here.
pub async fn probe(environment: &Environment, request: &Probe) -> Result<Engine, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask(environment, request).await {
            Err(Error::NotRunning { address, .. }) if waits_for(&address, deadline) => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

fn waits_for(address: &str, deadline: Instant) -> bool {
    address.starts_with("tcp://") && Instant::now() < deadline
}

async fn ask(environment: &Environment, request: &Probe) -> Result<Engine, Error> {
    let buildx = Buildx::find(environment);
    let wants_buildx = !asks_for_classic(environment) || reason_for_buildx(request).is_some();
    if wants_buildx
        && request.builder.is_none()
        && let Some(found) = ask_engine(environment, &buildx).await
    {
        return engine(environment, request, &found);
    }
    ask_clients(environment, request, &buildx, wants_buildx).await
}

/// Asks the engine itself about its own builder, where that is the one in effect.
async fn ask_engine(environment: &Environment, buildx: &Buildx) -> Option<Found> {
    let address = api::address(environment).filter(|_| buildx.is_found())?;
    environment.find_program("docker")?;
    let (version, answer) = tokio::join!(buildx.version(LIMIT), api::ask(address));
    let answer = answer?;
    Some(Found {
        versions: Versions { client: None, context: String::new(), server: Some(answer.server) },
        buildx: Some(version?),
        builder: Some(Builder {
            name: "default".into(),
            driver: Some(Driver::Docker),
            has_snapshotter: answer.has_snapshotter,
            buildkit: None,
            platform: None,
            error: None,
        }),
        address: address.into(),
    })
}

/// Asks Docker's clients.
async fn ask_clients(
    environment: &Environment,
    request: &Probe,
    buildx: &Buildx,
    wants_buildx: bool,
) -> Result<Engine, Error> {
    let version = Command::new("docker", ["version", "--format", "{{json .}}"]);
    let builder = async {
        if !wants_buildx {
            return (None, None);
        }
        let (version, inspected) = tokio::join!(buildx.version(LIMIT), async {
            let arguments = ["inspect", "--"].into_iter().chain(request.builder.as_deref());
            process::capture(&buildx.command(arguments), LIMIT).await
        });
        (version, Some(inspected))
    };
    let (version, (buildx_version, inspected)) = tokio::join!(process::capture(&version, LIMIT), builder);
    let version = version.map_err(|source| match source {
        process::Error::NotFound { .. } => Error::ClientMissing(source),
        source => Error::Call(source),
    })?;
    let versions = answers::versions(&version.stdout);
    let address = match &versions {
        Some(versions) => address(environment, &versions.context).await,
        None => environment.get(env::DOCKER_HOST).unwrap_or(DEFAULT_ADDRESS).to_owned(),
    };
    let builder = match (buildx_version, inspected) {
        (Some(_), Some(Ok(answer))) => Some(answer),
        (Some(_), Some(Err(source))) => return Err(Error::Call(source)),
        _ => None,
    };
    let inspected = builder.as_ref().and_then(|answer| answers::builder(&answer.stdout));
    // A builder elsewhere needs no engine. Every other trouble with the engine explains the builder's.
    let needs_engine = !inspected
        .as_ref()
        .is_some_and(|builder| matches!(builder.driver, Some(Driver::Remote | Driver::Kubernetes)));
    let Some(versions) = versions.filter(|versions| versions.server.is_some() || !needs_engine) else {
        return Err(unreachable(address, &version.stderr));
    };
    if let (Some(answer), None) = (&builder, &inspected) {
        return Err(unknown_builder(buildx, environment, request, answer).await);
    }
    engine(environment, request, &Found { versions, buildx: buildx_version, builder: inspected, address })
}

/// The answers to all questions.
struct Found {
    versions: Versions,
    buildx: Option<Version>,
    builder: Option<Builder>,
    address: String,
}

/// Makes one value of the answers. Pure.
fn engine(environment: &Environment, request: &Probe, found: &Found) -> Result<Engine, Error> {
    let server = found.versions.server.as_ref();
    if let Some(server) = server.filter(|server| server.version < OLDEST_ENGINE) {
        return Err(Error::TooOld { server: server.version });
    }
    let frontend = frontend(environment, request, found.versions.client, found.buildx)?;
    let builder = found.builder.as_ref().filter(|_| frontend == Frontend::Buildx);
    let driver = match builder {
        Some(Builder { driver: None, error, .. }) => {
            return Err(Error::Builder { said: words(error.as_deref().unwrap_or_default()) });
        }
        Some(Builder { driver: Some(driver), .. }) => driver.clone(),
        None => Driver::Docker,
    };
    let buildkit = builder.and_then(|builder| builder.buildkit).or_else(|| match driver {
        Driver::Docker => server.map(|server| buildkit_of_docker(server.version)),
        _ => None,
    });
    let default = environment.get(env::DOCKER_DEFAULT_PLATFORM).and_then(|platform| platform.parse().ok());
    let platform = default
        .or_else(|| builder.and_then(|builder| builder.platform.clone()))
        .or_else(|| server.map(|server| server.platform.clone()))
        .unwrap_or_else(|| Platform::new("linux", std::env::consts::ARCH, None));
    let has_containerd_store =
        driver == Driver::Docker && builder.is_some_and(|builder| builder.has_snapshotter);
    Ok(Engine {
        client: found.versions.client,
        server: server.map(|server| server.version),
        buildx: found.buildx,
        frontend,
        builder: builder.map_or("default", |builder| builder.name.as_str()).to_owned(),
        driver,
        // Without buildx nothing depends on the store, and other drivers do not build in it.
        store: if has_containerd_store { Store::Containerd } else { Store::GraphDriver },
        buildkit,
        platform,
        remote: Some(found.address.clone()).filter(|address| is_remote(address)),
    })
}

fn frontend(
    environment: &Environment,
    request: &Probe,
    client: Option<Version>,
    buildx: Option<Version>,
) -> Result<Frontend, Error> {
    let why = reason_for_buildx(request);
    if asks_for_classic(environment) && why.is_none() {
        return Ok(Frontend::Classic);
    }
    if buildx.is_some() {
        return Ok(Frontend::Buildx);
    }
    if let Some(why) = why {
        return Err(Error::NeedsBuildx { why });
    }
    if client < Some(CLIENT_OF_BUILDX) {
        return Ok(Frontend::BuildKit);
    }
    match environment.get(env::DOCKER_BUILDKIT) {
        Some(value) => Err(Error::NeedsBuildx { why: format!("DOCKER_BUILDKIT={value}") }),
        None => Ok(Frontend::Classic),
    }
}

/// Whether `DOCKER_BUILDKIT` says no, in one of the ways that Go's `ParseBool` knows.
/// Whether the classic builder is asked for, as Docker takes the variable.
pub fn asks_for_classic(environment: &Environment) -> bool {
    environment
        .get(env::DOCKER_BUILDKIT)
        .is_some_and(|value| ["0", "f", "F", "false", "FALSE", "False"].contains(&value))
}

fn reason_for_buildx(request: &Probe) -> Option<String> {
    request.needs_buildx.clone().or_else(|| request.builder.as_ref().map(|_| "`--builder`".to_owned()))
}

const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";

/// The engine's address. Only a context that is not the default one has to be asked for.
async fn address(environment: &Environment, context: &str) -> String {
    let host = environment.get(env::DOCKER_HOST);
    if host.is_some() || matches!(context, "" | "default") {
        return host.unwrap_or(DEFAULT_ADDRESS).to_owned();
    }
    let question =
        Command::new("docker", ["context", "inspect", "--format", "{{.Endpoints.docker.Host}}", context]);
    match process::capture(&question, LIMIT).await {
        Ok(answer) if answer.status.success() => answer.stdout.trim().to_owned(),
        _ => format!("the context `{context}`"),
    }
}

fn is_remote(address: &str) -> bool {
    address.contains("://")
        && !["unix://", "npipe://", "fd://"].iter().any(|local| address.starts_with(local))
}

fn unreachable(address: String, stderr: &str) -> Error {
    let said = words(stderr);
    match answers::trouble(stderr) {
        Trouble::Refused => Error::NotRunning { address, said },
        Trouble::UnknownHost => Error::UnknownHost { address, said },
        Trouble::Forbidden => Error::Forbidden { address },
        Trouble::Tls => Error::Tls { address, said },
        Trouble::Other => Error::Unusable { address, said },
    }
}

async fn unknown_builder(
    buildx: &Buildx,
    environment: &Environment,
    request: &Probe,
    answer: &Captured,
) -> Error {
    let name = request.builder.as_deref().or_else(|| environment.get(env::BUILDX_BUILDER));
    match name.filter(|_| answer.stderr.contains("no builder")) {
        Some(name) => {
            let list = process::capture(&buildx.command(["ls"]), LIMIT).await;
            let known = list.map(|list| answers::builder_names(&list.stdout)).unwrap_or_default();
            Error::UnknownBuilder { name: name.to_owned(), known }
        }
        None => Error::Builder { said: words(&answer.stderr) },
    }
}

/// What a program said, in one line that is not too long.
fn words(said: &str) -> String {
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
    line.trim_start_matches("ERROR: ").chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(client: Version, server: Option<Version>) -> Versions {
        let platform = Platform::new("linux", "amd64", None);
        let server = server.map(|version| answers::Server { version, platform });
        Versions { client: Some(client), context: "default".into(), server }
    }

    fn found(answer: &str, buildx: Option<Version>, builder: Option<&str>) -> Found {
        Found {
            versions: answers::versions(answer).expect("versions"),
            buildx,
            builder: builder.and_then(answers::builder),
            address: DEFAULT_ADDRESS.into(),
        }
    }

    const VERSION_20: &str = include_str!("samples/version-20.json");
    const VERSION_26: &str = include_str!("samples/version-26c.json");
    const VERSION_28: &str = include_str!("samples/version-28c.json");
    const BUILDX_26: Version = Version(0, 13, 1);
    const BUILDX_28: Version = Version(0, 29, 1);

    #[test]
    fn makes_one_value_of_real_answers() {
        let inspect = |name: &str| match name {
            "26g" => include_str!("samples/inspect-26g.txt"),
            "26c" => include_str!("samples/inspect-26c.txt"),
            "28g" => include_str!("samples/inspect-28g.txt"),
            _ => include_str!("samples/inspect-28c.txt"),
        };
        let buildx = Frontend::Buildx;
        let (containerd, graph) = (Store::Containerd, Store::GraphDriver);
        let cases = [
            ("20", found(VERSION_20, None, None), (Frontend::BuildKit, graph, Version(0, 8, 3))),
            (
                "26g",
                found(VERSION_26, Some(BUILDX_26), Some(inspect("26g"))),
                (buildx, graph, Version(0, 13, 2)),
            ),
            (
                "26c",
                found(VERSION_26, Some(BUILDX_26), Some(inspect("26c"))),
                (buildx, containerd, Version(0, 13, 2)),
            ),
            (
                "28g",
                found(VERSION_28, Some(BUILDX_28), Some(inspect("28g"))),
                (buildx, graph, Version(0, 25, 0)),
            ),
            (
                "28c",
                found(VERSION_28, Some(BUILDX_28), Some(inspect("28c"))),
                (buildx, containerd, Version(0, 25, 0)),
            ),
        ];
        for (name, found, expected) in cases {
            let engine = engine(&Environment::default(), &Probe::default(), &found).expect(name);
            assert_eq!((engine.frontend, engine.store), (expected.0, expected.1), "{name}");
            assert_eq!(engine.buildkit, Some(expected.2), "{name}");
            assert_eq!(engine.platform.to_string(), "linux/amd64", "{name}");
            assert_eq!(
                (engine.builder.as_str(), &engine.driver, engine.remote),
                ("default", &Driver::Docker, None)
            );
        }
    }

    #[test]
    fn takes_the_front_that_is_there() {
        use Frontend::{BuildKit, Buildx, Classic};
        let (old, new) = (Version(20, 10, 24), Version(28, 5, 2));
        type Case =
            (&'static str, &'static str, Version, bool, Option<&'static str>, Result<Frontend, &'static str>);
        let cases: &[Case] = &[
            ("20 as it is", "", old, false, None, Ok(BuildKit)),
            ("20 told to", "1", old, false, None, Ok(BuildKit)),
            ("20 told not to", "0", old, false, None, Ok(Classic)),
            ("20 with buildx", "", old, true, None, Ok(Buildx)),
            ("20 that needs buildx", "", old, false, Some("`--push`"), Err("`--push`")),
            ("28 as it is", "", new, true, None, Ok(Buildx)),
            ("28 told not to", "false", new, true, None, Ok(Classic)),
            ("28 told not to, but needs buildx", "0", new, true, Some("`--push`"), Ok(Buildx)),
            ("28 without buildx", "", new, false, None, Ok(Classic)),
            ("28 without buildx, told to", "1", new, false, None, Err("DOCKER_BUILDKIT=1")),
            ("28 without buildx that needs it", "0", new, false, Some("`--push`"), Err("`--push`")),
        ];
        for (name, variable, client, has_buildx, needs, expected) in cases {
            let environment: Environment = [("DOCKER_BUILDKIT", *variable)].into_iter().collect();
            let request = Probe { needs_buildx: needs.map(str::to_owned), ..Probe::default() };
            let answer = frontend(&environment, &request, Some(*client), has_buildx.then_some(BUILDX_28));
            let answer = answer.map_err(|error| error.to_string());
            let expected =
                expected.map_err(|why| format!("{why} needs buildx, which the Docker client does not have"));
            assert_eq!(answer, expected, "{name}");
        }
    }

    #[test]
    fn refuses_engines_that_are_too_old() {
        let versions = versions(Version(18, 6, 3), Some(Version(18, 6, 3)));
        let found = Found { versions, buildx: None, builder: None, address: DEFAULT_ADDRESS.into() };
        let error = engine(&Environment::default(), &Probe::default(), &found).expect_err("too old");
        assert_eq!(error.to_string(), "the Docker engine is 18.6.3; 18.09 is the oldest that can be used");
    }

    #[test]
    fn a_builder_elsewhere_needs_no_engine() {
        let answer = "Name: r\nDriver: remote\n\nNodes:\nStatus: running\nBuildKit version: v0.11.6\nPlatforms: linux/arm64\n";
        let versions = versions(Version(28, 5, 2), None);
        let builder = answers::builder(answer);
        let found = Found { versions, buildx: Some(BUILDX_28), builder, address: "tcp://docker:2375".into() };
        let engine = engine(&Environment::default(), &Probe::default(), &found).expect("an engine");
        assert_eq!((engine.server, engine.buildkit), (None, Some(Version(0, 11, 6))));
        assert_eq!(engine.platform.to_string(), "linux/arm64");
        assert_eq!(engine.remote.as_deref(), Some("tcp://docker:2375"));
        assert!(engine.can_export_cache());
    }

    #[test]
    fn the_default_platform_is_the_users() {
        let environment: Environment = [("DOCKER_DEFAULT_PLATFORM", "linux/arm64")].into_iter().collect();
        let engine =
            engine(&environment, &Probe::default(), &found(VERSION_20, None, None)).expect("an engine");
        assert_eq!(engine.platform.to_string(), "linux/arm64");
    }

    #[test]
    fn tells_a_way_out() {
        let address = || "tcp://docker:2376".to_owned();
        let refused =
            "Cannot connect to the Docker daemon at tcp://docker:2376. Is the docker daemon running?\n";
        let error = unreachable(address(), refused);
        insta::assert_snapshot!(error, @"no Docker engine answers at tcp://docker:2376: Cannot connect to the Docker daemon at tcp://docker:2376. Is the docker daemon running?");
        assert!(
            error.hint().is_some_and(|hint| hint.contains("docker:dind") && hint.contains("DOCKER_HOST"))
        );
        let local = unreachable(DEFAULT_ADDRESS.into(), "Cannot connect to the Docker daemon");
        assert!(local.hint().is_some_and(|hint| hint.starts_with("start the engine")));
        let tls = unreachable(
            address(),
            "unable to resolve docker endpoint: open /certs/client/ca.pem: no such file",
        );
        assert!(matches!(&tls, Error::Tls { .. }) && tls.hint().is_some_and(|hint| hint.contains("2376")));
        let known = vec!["default".to_owned(), "ci".to_owned()];
        let unknown = Error::UnknownBuilder { name: "cy".into(), known };
        assert_eq!(unknown.hint().as_deref(), Some("these exist: default, ci"));
    }

    #[test]
    fn only_engines_over_tcp_are_waited_for() {
        let soon = Instant::now() + PATIENCE;
        assert!(waits_for("tcp://docker:2375", soon));
        assert!(!waits_for(DEFAULT_ADDRESS, soon));
        assert!(!waits_for("tcp://docker:2375", Instant::now()));
    }
}
