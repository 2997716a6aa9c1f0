//! Asks the engine itself, over its HTTP API, what the default builder is.
//!
//! A client of Docker's takes 45 to 60 ms of CPU to start (28.5.2, two cores, 2026-11-23), which is most of what a warm
//! `layerlift plan` would take; the engine answers the same in 2 ms. So where nothing points elsewhere (no context, no
//! builder but the default one, no TLS) the engine is asked here. Any trouble is no answer: the clients are asked then,
//! whose words explain it.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::base::env::{self, Environment};
use crate::engine::probe::answers::Server;
use crate::model::platform::Platform;

/// The most that an answer may hold. That of `/info` grows with plugins and registries, to some KiB.
const LARGEST_ANSWER: usize = 1 << 20;

/// A busy engine takes some milliseconds. One that takes this long is left to the clients and their patience.
const LIMIT: Duration = Duration::from_secs(3);

/// What the engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Version and platform, from `/version`.
    pub server: Server,
    /// Whether images are in containerd's store, from `/info`: what buildx goes by (driver/docker/driver.go, Features).
    pub has_snapshotter: bool,
}

/// Where the default builder of Docker's client is, if it can be asked from here.
///
/// `None` wherever something may point elsewhere: a builder or context that was chosen, TLS, ssh.
pub fn address(environment: &Environment) -> Option<&str> {
    let tls = [env::DOCKER_TLS_VERIFY, env::DOCKER_TLS];
    let is_plain = tls.iter().all(|variable| environment.get(*variable).is_none());
    default_address(environment).filter(|_| is_plain)
}

/// Where the default builder of Docker's client is. `None` wherever a builder or a context was chosen.
fn default_address(environment: &Environment) -> Option<&str> {
    let folder = environment.docker_folder();
    let chosen = [env::BUILDX_BUILDER, env::DOCKER_CONTEXT];
    if chosen.iter().any(|variable| environment.get(*variable).is_some()) {
        return None;
    }
    let buildx = environment.get(env::BUILDX_CONFIG).map_or_else(|| folder.join("buildx"), PathBuf::from);
    if chooses_builder(&buildx) {
        return None;
    }
    let host = environment.get(env::DOCKER_HOST);
    if host.is_none() && chooses_context(&folder.join("config.json")) {
        return None;
    }
    Some(host.unwrap_or(super::DEFAULT_ADDRESS))
}

/// Whether the engine is plainly this machine's, by what is set and without asking: a socket, loopback, or the service
/// `docker` of a CI job, which runs beside it.
pub fn is_here(environment: &Environment) -> bool {
    let Some(address) = default_address(environment) else { return false };
    let Some((scheme, rest)) = address.split_once("://") else { return false };
    let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
    match scheme {
        "unix" => true,
        "tcp" | "http" | "https" => {
            matches!(host, "docker" | "localhost" | "[::1]") || host.starts_with("127.")
        }
        _ => false,
    }
}

/// Whether `buildx use` has named a builder (docker/buildx `store`, `Current`). Every build writes the file without a name.
fn chooses_builder(folder: &std::path::Path) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Current {
        name: String,
    }
    let is_named = match std::fs::read(folder.join("current")) {
        Ok(text) => serde_json::from_slice::<Current>(&text).map_or(true, |current| !current.name.is_empty()),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    };
    is_named || std::fs::read_dir(folder.join("defaults")).is_ok_and(|mut names| names.next().is_some())
}

/// Whether Docker's configuration names a context. One that cannot be read is left to the client.
fn chooses_context(config: &std::path::Path) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        current_context: Option<String>,
    }
    match std::fs::read(config) {
        Ok(text) => serde_json::from_slice::<Config>(&text).map_or(true, |config| {
            config.current_context.is_some_and(|name| !matches!(&*name, "" | "default"))
        }),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// Asks the engine at an address of the form `unix:///path` or `tcp://host:port`.
pub async fn ask(address: &str) -> Option<Answer> {
    let (version, info) = tokio::join!(get(address, "/version"), get(address, "/info"));
    answer(&version?, &info?)
}

/// Reads the two answers. Pure.
fn answer(version: &[u8], info: &[u8]) -> Option<Answer> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Version {
        version: String,
        os: String,
        arch: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Info {
        // An engine without any says `null`.
        driver_status: Option<Vec<(String, String)>>,
    }
    let version: Version = serde_json::from_slice(version).ok()?;
    let info: Info = serde_json::from_slice(info).ok()?;
    // The engine does not tell which ARM it is, its BuildKit does.
    if version.arch == "arm" {
        return None;
    }
    let platform = Platform::new(&version.os, &version.arch, None);
    let status = info.driver_status.unwrap_or_default();
    Some(Answer {
        server: Server { version: version.version.parse().ok()?, platform },
        has_snapshotter: status
            .iter()
            .any(|(key, value)| key == "driver-type" && value == "io.containerd.snapshotter.v1"),
    })
}

async fn get(address: &str, path: &str) -> Option<Bytes> {
    let asked = async {
        match address.split_once("://")? {
            ("unix", socket) => send(UnixStream::connect(socket).await.ok()?, path).await,
            ("tcp", host) => send(TcpStream::connect(host).await.ok()?, path).await,
            _ => None,
        }
    };
    tokio::time::timeout(LIMIT, asked).await.ok()?
}

async fn send(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, path: &str) -> Option<Bytes> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = hyper::Request::get(path).header(HOST, "docker").body(Empty::<Bytes>::new()).ok()?;
    let response = sender.send_request(request).await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    Some(Limited::new(response.into_body(), LARGEST_ANSWER).collect().await.ok()?.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_plainly_here_or_not() {
        let home = tempfile::tempdir().expect("folder");
        let at = |variables: &[(&str, &str)]| {
            let home = [("HOME", home.path().to_str().expect("UTF-8"))];
            is_here(&home.into_iter().chain(variables.iter().copied()).collect())
        };
        assert!(at(&[]), "the socket");
        for host in [
            "unix:///x/sock",
            "tcp://docker:2375",
            "tcp://127.0.0.1:1",
            "tcp://localhost:2376",
            "tcp://[::1]:1",
        ] {
            assert!(at(&[("DOCKER_HOST", host)]), "{host}");
        }
        assert!(at(&[("DOCKER_HOST", "tcp://docker:2376"), ("DOCKER_TLS_VERIFY", "1")]));
        for host in ["tcp://docker.example:2375", "ssh://docker", "tcp://10.0.0.1:2375", "docker"] {
            assert!(!at(&[("DOCKER_HOST", host)]), "{host}");
        }
        assert!(!at(&[("DOCKER_CONTEXT", "arm")]) && !at(&[("BUILDX_BUILDER", "farm")]));
    }
    use crate::model::engine::Version;

    #[test]
    fn reads_the_answers_of_real_engines() {
        let cases = [
            (
                &include_bytes!("samples/api-version-28.json")[..],
                &include_bytes!("samples/api-info-28c.json")[..],
                true,
            ),
            (
                include_bytes!("samples/api-version-28.json"),
                include_bytes!("samples/api-info-28g.json"),
                false,
            ),
        ];
        for (version, info, has_snapshotter) in cases {
            let server =
                Server { version: Version(28, 5, 2), platform: Platform::new("linux", "amd64", None) };
            assert_eq!(answer(version, info), Some(Answer { server, has_snapshotter }));
        }
        assert_eq!(answer(br#"{"Version":"28.5.2","Os":"linux","Arch":"arm"}"#, b"{}"), None);
        assert_eq!(answer(b"{}", b"{}"), None);
    }

    #[test]
    fn asks_only_where_nothing_points_elsewhere() {
        let folder = tempfile::tempdir().expect("folder");
        let config = folder.path().to_str().expect("text");
        let environment = |more: &[(&'static str, &'static str)]| -> Environment {
            [("DOCKER_CONFIG", config)].into_iter().chain(more.iter().copied()).collect()
        };
        assert_eq!(address(&environment(&[])), Some("unix:///var/run/docker.sock"));
        assert_eq!(address(&environment(&[("DOCKER_HOST", "tcp://d:2375")])), Some("tcp://d:2375"));
        for elsewhere in ["BUILDX_BUILDER", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY"] {
            assert_eq!(address(&environment(&[(elsewhere, "1")])), None, "{elsewhere}");
        }
        std::fs::write(folder.path().join("config.json"), r#"{"currentContext":"far"}"#).expect("file");
        assert_eq!(address(&environment(&[])), None);
        std::fs::write(folder.path().join("config.json"), r#"{"currentContext":"default"}"#).expect("file");
        assert!(address(&environment(&[])).is_some());
        std::fs::create_dir_all(folder.path().join("buildx/defaults")).expect("folder");
        for (current, is_chosen) in
            [(r#"{"Key":"unix:///run/x","Name":""}"#, false), (r#"{"Name":"farm"}"#, true), ("{", true)]
        {
            std::fs::write(folder.path().join("buildx/current"), current).expect("file");
            assert_eq!(address(&environment(&[])).is_none(), is_chosen, "{current}");
        }
        std::fs::remove_file(folder.path().join("buildx/current")).expect("file");
        std::fs::write(folder.path().join("buildx/defaults/0a"), "farm").expect("file");
        assert_eq!(address(&environment(&[])), None);
    }
}
