//! What the Docker client and buildx answer when they are asked what is there, as values. Pure: the asking is in `probe`.
//!
//! The samples are the true answers of Docker 20.10, 26.1 and 28.5 with both image stores.

use serde::Deserialize;

use crate::model::engine::{Driver, Version};
use crate::model::platform::Platform;

/// `docker version --format '{{json .}}'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// The client's version, where it was asked.
    pub client: Option<Version>,
    /// The Docker context that the client uses; `default` whenever `DOCKER_HOST` is set.
    pub context: String,
    /// The engine, where one answered.
    pub server: Option<Server>,
}

/// The engine's part of [`Versions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its version.
    pub version: Version,
    /// Its own platform.
    pub platform: Platform,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawVersions {
    client: RawClient,
    server: Option<RawServer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawClient {
    version: String,
    #[serde(default)]
    context: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawServer {
    version: String,
    os: String,
    arch: String,
}

/// Reads the answer of `docker version --format '{{json .}}'`; `None` if it is none.
pub fn versions(stdout: &str) -> Option<Versions> {
    let raw: RawVersions = serde_json::from_str(stdout.trim()).ok()?;
    let server = raw.server.and_then(|server| {
        let platform = Platform::new(&server.os, &server.arch, None);
        Some(Server { version: server.version.parse().ok()?, platform })
    });
    Some(Versions { client: Some(raw.client.version.parse().ok()?), context: raw.client.context, server })
}

/// Reads the answer of `buildx version`: `github.com/docker/buildx v0.29.1 <revision>`.
pub fn buildx_version(stdout: &str) -> Option<Version> {
    let mut words = stdout.split_whitespace();
    words.next().filter(|word| word.contains("buildx"))?;
    words.next()?.parse().ok()
}

/// `buildx inspect`: the builder in effect, its first node speaking for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builder {
    /// Its name.
    pub name: String,
    /// Its kind; `None` where buildx could not find out, which `error` explains.
    pub driver: Option<Driver>,
    /// Whether its BuildKit works on containerd's snapshots. Of the `docker` driver that says which image store the
    /// engine has (buildx, driver/docker/driver.go).
    pub has_snapshotter: bool,
    /// Its BuildKit, where it says so; distributions build engines that do not.
    pub buildkit: Option<Version>,
    /// The platform that it builds for first.
    pub platform: Option<Platform>,
    /// Why it does not answer.
    pub error: Option<String>,
}

/// Reads the answer of `buildx inspect`; `None` if it is none.
pub fn builder(stdout: &str) -> Option<Builder> {
    let value = |keys: &[&str]| {
        stdout.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            Some(value.trim()).filter(|value| keys.contains(&key) && !value.is_empty())
        })
    };
    let driver = value(&["Driver"]).map(|driver| match driver {
        "docker" => Driver::Docker,
        "docker-container" => Driver::DockerContainer,
        "kubernetes" => Driver::Kubernetes,
        "remote" => Driver::Remote,
        other => Driver::Other(other.to_owned()),
    });
    let label = "org.mobyproject.buildkit.worker.snapshotter:";
    let platform = value(&["Platforms"]).and_then(|list| list.split(',').next());
    Some(Builder {
        name: value(&["Name"])?.to_owned(),
        driver,
        has_snapshotter: stdout.lines().any(|line| line.trim_start().starts_with(label)),
        buildkit: value(&["BuildKit version", "Buildkit version", "Buildkit"])
            .and_then(|version| version.parse().ok())
            .filter(|version| *version > Version(0, 0, 0)),
        // An asterisk marks what a person configured.
        platform: platform.and_then(|platform| platform.trim_end_matches('*').parse().ok()),
        error: value(&["Error"]).map(str::to_owned),
    })
}

/// Reads the builders' names from `buildx ls`; nodes are indented.
pub fn builder_names(stdout: &str) -> Vec<String> {
    let lines = stdout.lines().skip(1).filter(|line| !line.starts_with([' ', '\t']));
    let names =
        lines.filter_map(|line| Some(line.split_whitespace().next()?.trim_end_matches('*').to_owned()));
    names.filter(|name| !name.is_empty()).collect()
}

/// Why an engine does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody listens there: it is not running, or not yet.
    Refused,
    /// The host's name means nothing.
    UnknownHost,
    /// The user may not use the socket.
    Forbidden,
    /// One side speaks TLS and the other does not, or they do not trust each other.
    Tls,
    /// Something else; the client's words tell.
    Other,
}

/// Reads what the client said instead of an answer.
pub fn trouble(said: &str) -> Trouble {
    let said = said.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
    if has(&["permission denied"]) {
        Trouble::Forbidden
    } else if has(&["no such host", "name resolution", "server misbehaving"]) {
        Trouble::UnknownHost
    } else if has(&[
        "tls:",
        "x509:",
        "ca.pem",
        "cert.pem",
        "key.pem",
        "http response to https",
        "http request to an https",
    ]) {
        Trouble::Tls
    } else if has(&["cannot connect to the docker daemon", "connection refused", "i/o timeout"]) {
        Trouble::Refused
    } else {
        Trouble::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! sample {
        ($name:literal) => {
            include_str!(concat!("samples/", $name))
        };
    }

    #[test]
    fn reads_the_versions_of_real_engines() {
        let cases = [
            (sample!("version-20.json"), Version(20, 10, 24)),
            (sample!("version-26g.json"), Version(26, 1, 5)),
            (sample!("version-26c.json"), Version(26, 1, 5)),
            (sample!("version-28g.json"), Version(28, 5, 2)),
            (sample!("version-28c.json"), Version(28, 5, 2)),
        ];
        for (answer, version) in cases {
            let server = Server { version, platform: Platform::new("linux", "amd64", None) };
            let expected =
                Versions { client: Some(version), context: "default".into(), server: Some(server) };
            assert_eq!(versions(answer), Some(expected));
        }
        let without = versions(r#"{"Client":{"Version":"28.5.2","Context":"x"},"Server":null}"#);
        let expected = Versions { client: Some(Version(28, 5, 2)), context: "x".into(), server: None };
        assert_eq!(without, Some(expected));
        assert_eq!(versions("Cannot connect"), None);
    }

    #[test]
    fn reads_buildx_versions() {
        let cases = [
            (
                "github.com/docker/buildx v0.29.1 a32761aeb3debd39be1eca514af3693af0db334b\n",
                Some(Version(0, 29, 1)),
            ),
            ("github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3\n", Some(Version(0, 13, 1))),
            ("", None),
            ("docker: 'buildx' is not a docker command.", None),
        ];
        for (answer, version) in cases {
            assert_eq!(buildx_version(answer), version, "{answer}");
        }
    }

    #[test]
    fn reads_the_builders_of_real_engines() {
        let cases = [
            ("26g", sample!("inspect-26g.txt"), false),
            ("26c", sample!("inspect-26c.txt"), true),
            ("28g", sample!("inspect-28g.txt"), false),
            ("28c", sample!("inspect-28c.txt"), true),
        ];
        for (engine, answer, has_snapshotter) in cases {
            let expected = Builder {
                name: "default".into(),
                driver: Some(Driver::Docker),
                has_snapshotter,
                buildkit: None,
                platform: Some(Platform::new("linux", "amd64", None)),
                error: None,
            };
            assert_eq!(builder(answer), Some(expected), "{engine}");
        }
    }

    #[test]
    fn reads_builders_of_other_kinds() {
        let waiting = "Name:          cc\nDriver:        docker-container\nLast Activity: 2026-11-23 06:22:47 +0000 UTC\n\n\
            Nodes:\nName:                  cc0\nEndpoint:              unix:///var/run/docker.sock\nStatus:                inactive\n";
        let cut = |text: &str| builder(text).map(|builder| (builder.name, builder.driver, builder.error));
        assert_eq!(cut(waiting), Some(("cc".into(), Some(Driver::DockerContainer), None)));
        let gone =
            "Name:   default\nDriver: \nError:  Cannot connect to the Docker daemon at unix:///nope.\n";
        let error = Some("Cannot connect to the Docker daemon at unix:///nope.".to_owned());
        assert_eq!(cut(gone), Some(("default".into(), None, error)));
        let running = "Name: r\nDriver: remote\n\nNodes:\nName: r0\nStatus: running\nBuildKit version: v0.18.1\nPlatforms: linux/arm64*, linux/amd64\n";
        let running = builder(running).expect("a builder");
        assert_eq!(running.buildkit, Some(Version(0, 18, 1)));
        assert_eq!(running.platform, Some(Platform::new("linux", "arm64", None)));
        assert_eq!(builder("ERROR: no builder"), None);
    }

    #[test]
    fn reads_the_names_of_builders() {
        let answer = "NAME/NODE     DRIVER/ENDPOINT      STATUS\ncc            docker-container\n \\_ cc0        \\_ unix:///s   inactive\n\
            default*      docker\n \\_ default    \\_ default    running\n";
        assert_eq!(builder_names(answer), ["cc", "default"]);
        assert_eq!(builder_names(""), [""; 0]);
    }

    #[test]
    fn knows_troubles_by_the_clients_words() {
        let cases = [
            (
                "Cannot connect to the Docker daemon at unix:///nope. Is the docker daemon running?",
                Trouble::Refused,
            ),
            (
                "error during connect: Get \"http://docker:2375/v1.51/version\": dial tcp: lookup docker on 10.0.0.1:53: no such host",
                Trouble::UnknownHost,
            ),
            (
                "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: connect: permission denied",
                Trouble::Forbidden,
            ),
            (
                "Failed to initialize: unable to resolve docker endpoint: open /certs/client/ca.pem: no such file or directory",
                Trouble::Tls,
            ),
            ("Error response from daemon: Client sent an HTTP request to an HTTPS server.", Trouble::Tls),
            (
                "error during connect: tls: failed to verify certificate: x509: unknown authority",
                Trouble::Tls,
            ),
            ("Error response from daemon: client version 1.41 is too old.", Trouble::Other),
        ];
        for (said, expected) in cases {
            assert_eq!(trouble(said), expected, "{said}");
        }
    }
}
