//! Which credential a repository has, and where it was found.
//!
//! Places, first match wins: `DOCKER_AUTH_CONFIG`, as the docker CLI has it; Docker's `config.json`, where
//! `credHelpers` comes before `credsStore` before `auths`; podman's `auth.json`; at last the CI job's own token, only
//! for the CI's own registry. Keys may name a repository or a group of them: the longest match wins (containers-auth
//! .json(5)). Nothing is written, and nobody is logged in.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::base::env::{self, Environment};
use crate::base::process::{self, Command, Input};
use crate::base::secret::Secret;
use crate::model::reference::Repository;
use crate::registry::host;

/// How long a credential helper may take.
const HELPER_LIMIT: Duration = Duration::from_secs(10);

/// No credential file is larger.
const LARGEST_FILE: u64 = 1 << 20;

/// Docker Hub's key in credential files and helpers.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The user name that marks a secret as an identity token (docker-credential-helpers).
const IDENTITY_TOKEN: &str = "<token>";

/// Where a credential came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `docker-credential-<name>`.
    CredentialHelper(String),
    /// `auths` of Docker's `config.json`.
    DockerConfig,
    /// `auths` of the variable `DOCKER_AUTH_CONFIG`.
    DockerAuthConfig,
    /// Podman's `auth.json`.
    Podman,
    /// The CI job's own token; the engine's docker configuration need not have it.
    CiJobToken,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::CredentialHelper(name) => write!(formatter, "the credential helper `{name}`"),
            Source::DockerConfig => formatter.write_str("Docker's config.json"),
            Source::DockerAuthConfig => formatter.write_str("DOCKER_AUTH_CONFIG"),
            Source::Podman => formatter.write_str("podman's auth.json"),
            Source::CiJobToken => formatter.write_str("the CI job's token"),
        }
    }
}

/// A credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The user name; `<token>` where the secret is an identity token.
    pub username: String,
    /// Password or identity token.
    pub secret: Secret,
    /// Where it was found.
    pub source: Source,
}

impl Found {
    /// Whether the secret is an identity token, to be exchanged by OAuth2 and never sent as a password.
    pub fn is_identity_token(&self) -> bool {
        self.username == IDENTITY_TOKEN
    }
}

/// Why a place that should hold credentials could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file exists and cannot be read.
    #[error("{place} cannot be read")]
    File {
        /// The file.
        place: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file or variable is no credential file in JSON. The position is kept, the text is not.
    #[error("{place} is malformed at line {line}, column {column}")]
    Malformed {
        /// The file or variable.
        place: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// A helper could not be run, or did not answer in time.
    #[error("the credential helper `{name}` did not work")]
    Helper {
        /// Its name without `docker-credential-`.
        name: String,
        /// What happened.
        #[source]
        source: process::Error,
    },
    /// A helper failed by its own account, or answered nonsense. Its words are not kept: they may hold the secret.
    #[error("the credential helper `{name}` gave no answer ({status})")]
    HelperAnswer {
        /// Its name without `docker-credential-`.
        name: String,
        /// How it ended.
        status: String,
    },
}

/// Docker's `config.json`, as far as it is about credentials.
#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// Values may be secrets.
impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Entry {
    /// The credential of an entry. `auth` wins over `username` and `password`, an identity token over both.
    fn credential(&self) -> Option<(String, Secret)> {
        let filled = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.identitytoken) {
            return Some((IDENTITY_TOKEN.to_owned(), Secret::new(token)));
        }
        if let Some(auth) = filled(&self.auth) {
            let auth = auth.trim();
            let decoded = STANDARD.decode(auth).or_else(|_| STANDARD_NO_PAD.decode(auth)).ok()?;
            let text = String::from_utf8(decoded).ok()?;
            // Old clients padded passwords with NUL (docker/cli, decodeAuth).
            let (username, password) = text.split_once(':')?;
            return Some((username.to_owned(), Secret::new(password.trim_end_matches('\0'))));
        }
        Some((filled(&self.username)?, Secret::new(filled(&self.password)?)))
    }
}

/// Everything that the environment offers in credentials, looked up when it is needed and then remembered.
#[derive(Clone, Default)]
pub struct Keychain {
    environment: Environment,
    remembered: Arc<Mutex<HashMap<Repository, Option<Found>>>>,
}

/// The environment holds secrets in plain text.
impl fmt::Debug for Keychain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Keychain(***)")
    }
}

impl Keychain {
    /// The credentials of this environment. Reads nothing yet.
    pub fn new(environment: &Environment) -> Self {
        Keychain { environment: environment.clone(), remembered: Arc::default() }
    }

    /// The credential for a repository, if there is one.
    pub async fn find(&self, repository: &Repository) -> Result<Option<Found>, Error> {
        // The lock is held meanwhile, so that a slow helper is asked once.
        let mut remembered = self.remembered.lock().await;
        if let Some(known) = remembered.get(repository) {
            return Ok(known.clone());
        }
        let found = self.look_up(repository).await?;
        remembered.insert(repository.clone(), found.clone());
        Ok(found)
    }

    async fn look_up(&self, repository: &Repository) -> Result<Option<Found>, Error> {
        if let Some(text) = self.environment.get(env::DOCKER_AUTH_CONFIG) {
            let file = parse(env::DOCKER_AUTH_CONFIG.name, text.as_bytes())?;
            if let Some(found) = self.in_file(&file, repository, Source::DockerAuthConfig).await? {
                return Ok(Some(found));
            }
        }
        let places =
            [(Some(self.docker_config()), Source::DockerConfig), (self.podman_auth(), Source::Podman)];
        for (path, source) in places {
            let Some(file) = path.as_deref().map(read).transpose()?.flatten() else { continue };
            if let Some(found) = self.in_file(&file, repository, source).await? {
                return Ok(Some(found));
            }
        }
        Ok(self.ci_job_token(repository.registry()))
    }

    async fn in_file(
        &self,
        file: &File,
        repository: &Repository,
        source: Source,
    ) -> Result<Option<Found>, Error> {
        let registry = repository.registry();
        let own_helper = file.helpers.iter().find(|(key, _)| normal(key) == normal(registry));
        if let Some(name) = own_helper.map(|(_, name)| name).or(file.store.as_ref())
            && let Some(found) = self.ask_helper(name, registry).await?
        {
            return Ok(Some(found));
        }
        for key in keys(repository) {
            let entry = file.auths.iter().find(|(name, _)| normal(name) == key);
            if let Some((username, secret)) = entry.and_then(|(_, entry)| entry.credential()) {
                return Ok(Some(Found { username, secret, source }));
            }
        }
        Ok(None)
    }

    /// The protocol of docker-credential-helpers: the server on standard input, JSON on standard output.
    async fn ask_helper(&self, name: &str, registry: &str) -> Result<Option<Found>, Error> {
        #[derive(Deserialize)]
        struct Reply {
            #[serde(rename = "Username")]
            username: String,
            #[serde(rename = "Secret")]
            secret: String,
        }
        let broken = |status: String| Error::HelperAnswer { name: name.to_owned(), status };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            return Err(broken("not a helper's name".to_owned()));
        }
        let server = if host::is_docker_hub(registry) { DOCKER_HUB_KEY } else { registry };
        let mut command = Command::new(&format!("docker-credential-{name}"), ["get"]);
        command.input = Input::Bytes(Bytes::copy_from_slice(server.as_bytes()));
        if let Some(path) = self.environment.get(env::PATH) {
            command = command.with_variable(env::PATH.name, path);
        }
        let answer = process::capture(&command, HELPER_LIMIT)
            .await
            .map_err(|source| Error::Helper { name: name.to_owned(), source })?;
        // The fixed text of docker-credential-helpers, the only way in which a helper says no.
        if answer.stdout.trim() == "credentials not found in native keychain" {
            return Ok(None);
        }
        if !answer.status.success() {
            return Err(broken(answer.status.to_string()));
        }
        let reply: Reply =
            serde_json::from_str(&answer.stdout).map_err(|_| broken("malformed answer".to_owned()))?;
        Ok((!reply.secret.is_empty()).then(|| Found {
            username: reply.username,
            secret: Secret::new(reply.secret),
            source: Source::CredentialHelper(name.to_owned()),
        }))
    }

    fn docker_config(&self) -> PathBuf {
        self.environment.docker_folder().join("config.json")
    }

    fn podman_auth(&self) -> Option<PathBuf> {
        if let Some(file) = self.environment.get(env::REGISTRY_AUTH_FILE) {
            return Some(file.into());
        }
        Some(Path::new(self.environment.get(env::XDG_RUNTIME_DIR)?).join("containers/auth.json"))
    }

    fn ci_job_token(&self, registry: &str) -> Option<Found> {
        let value = |variable| self.environment.get(variable);
        let (username, secret) = if value(env::CI_REGISTRY).is_some_and(|own| normal(own) == normal(registry))
        {
            (value(env::CI_REGISTRY_USER)?, value(env::CI_REGISTRY_PASSWORD)?)
        } else if registry == "ghcr.io" && self.environment.is_true(env::GITHUB_ACTIONS) {
            (value(env::GITHUB_ACTOR)?, value(env::GITHUB_TOKEN)?)
        } else {
            return None;
        };
        let username = username.to_owned();
        Some(Found { username, secret: Secret::new(secret), source: Source::CiJobToken })
    }
}

/// A key without scheme, version and closing slash; Docker Hub's many names become one.
fn normal(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    let (host, path) = key.split_once('/').map_or((key, None), |(host, path)| (host, Some(path)));
    let host = if host::is_docker_hub(host) { "docker.io" } else { host };
    path.map_or_else(|| host.to_owned(), |path| format!("{host}/{path}"))
}

/// The keys under which a repository's credential may stand, longest first, in their normal form.
fn keys(repository: &Repository) -> impl Iterator<Item = String> {
    let whole = normal(&repository.to_string());
    std::iter::successors(Some(whole), |key| key.rsplit_once('/').map(|(shorter, _)| shorter.to_owned()))
}

fn read(path: &Path) -> Result<Option<File>, Error> {
    let place = path.display().to_string();
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    match opened.and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut bytes)) {
        Ok(_) if bytes.trim_ascii().is_empty() => Ok(None),
        Ok(_) => parse(&place, &bytes).map(Some),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { place, source }),
    }
}

fn parse(place: &str, bytes: &[u8]) -> Result<File, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Malformed {
        place: place.to_owned(),
        line: error.line(),
        column: error.column(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auths(entries: &[(&str, &str)]) -> String {
        let entries: Vec<String> = entries
            .iter()
            .map(|(key, credential)| format!(r#""{key}":{{"auth":"{}"}}"#, STANDARD.encode(credential)))
            .collect();
        format!(r#"{{"auths":{{{}}}}}"#, entries.join(","))
    }

    async fn find(environment: &[(&str, &str)], repository: &str) -> Option<(String, String, Source)> {
        let keychain = Keychain::new(&environment.iter().copied().collect());
        let found = keychain.find(&repository.parse().expect("repository")).await.expect("readable");
        found.map(|found| (found.username, found.secret.expose().to_owned(), found.source))
    }

    fn expect(username: &str, secret: &str, source: Source) -> Option<(String, String, Source)> {
        Some((username.to_owned(), secret.to_owned(), source))
    }

    #[tokio::test]
    async fn the_longest_key_wins() {
        let text = auths(&[("r.io", "a:1"), ("r.io/group", "b:2"), ("https://r.io/group/app/", "c:3")]);
        let environment = [("DOCKER_AUTH_CONFIG", text.as_str())];
        for (repository, username, secret) in [
            ("r.io/x", "a", "1"),
            ("r.io/group/x", "b", "2"),
            ("r.io/group/app", "c", "3"),
            ("r.io/grouped", "a", "1"),
        ] {
            let expected = expect(username, secret, Source::DockerAuthConfig);
            assert_eq!(find(&environment, repository).await, expected, "{repository}");
        }
        assert_eq!(find(&environment, "other.io/x").await, None);
    }

    #[tokio::test]
    async fn docker_hub_has_many_names() {
        for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"] {
            let text = auths(&[(key, "me:pass:word")]);
            let found = find(&[("DOCKER_AUTH_CONFIG", &text)], "busybox").await;
            assert_eq!(found, expect("me", "pass:word", Source::DockerAuthConfig), "{key}");
        }
    }

    #[tokio::test]
    async fn files_come_in_dockers_order() {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        write("config.json", r#"{"auths":{"a.io":{"identitytoken":"t"},"b.io":{}}}"#);
        write(
            "podman.json",
            r#"{"auths":{"a.io":{"username":"p","password":"w"},"b.io":{"username":"p","password":"w"}}}"#,
        );
        let (config, podman) = (path(""), path("podman.json"));
        let environment = [
            ("DOCKER_CONFIG", config.as_str()),
            ("REGISTRY_AUTH_FILE", podman.as_str()),
            ("CI_REGISTRY", "c.io"),
            ("CI_REGISTRY_USER", "gitlab-ci-token"),
            ("CI_REGISTRY_PASSWORD", "job"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_ACTOR", "octocat"),
            ("GITHUB_TOKEN", "ghs"),
        ];
        assert_eq!(find(&environment, "a.io/x").await, expect("<token>", "t", Source::DockerConfig));
        assert_eq!(find(&environment, "b.io/x").await, expect("p", "w", Source::Podman));
        assert_eq!(find(&environment, "c.io/x").await, expect("gitlab-ci-token", "job", Source::CiJobToken));
        assert_eq!(find(&environment, "ghcr.io/a/b").await, expect("octocat", "ghs", Source::CiJobToken));
        assert_eq!(find(&environment, "c.io.evil.example/x").await, None);
        assert_eq!(find(&environment[..5], "ghcr.io/a/b").await, None);
    }

    #[tokio::test]
    async fn broken_places_are_named_without_their_content() {
        let keychain =
            Keychain::new(&[("DOCKER_AUTH_CONFIG", r#"{"auths": hunter2}"#)].into_iter().collect());
        let error = keychain.find(&"a.io/x".parse().expect("repository")).await.expect_err("malformed");
        assert_eq!(error.to_string(), "DOCKER_AUTH_CONFIG is malformed at line 1, column 11");
        assert!(!format!("{error:?}").contains("hunter2"));

        let text = r#"{"credsStore":"../../bin/x"}"#;
        let keychain = Keychain::new(&[("DOCKER_AUTH_CONFIG", text)].into_iter().collect());
        let error = keychain.find(&"a.io/x".parse().expect("repository")).await.expect_err("refused");
        assert!(matches!(error, Error::HelperAnswer { .. }), "{error}");

        let text = r#"{"credHelpers":{"a.io":"no-such-helper"}}"#;
        let keychain = Keychain::new(&[("DOCKER_AUTH_CONFIG", text)].into_iter().collect());
        let error = keychain.find(&"a.io/x".parse().expect("repository")).await.expect_err("missing");
        assert_eq!(error.to_string(), "the credential helper `no-such-helper` did not work");
        assert!(keychain.find(&"b.io/x".parse().expect("repository")).await.expect("readable").is_none());
    }

    #[tokio::test]
    async fn helpers_are_asked_in_dockers_way() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("folder");
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let install = |name: &str, script: &str| {
            let file = folder.path().join(format!("docker-credential-{name}"));
            std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("written");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("executable");
        };
        install("echo", r#"server=$(cat); echo "{\"Username\":\"$1\",\"Secret\":\"for $server\"}""#);
        install("none", "echo credentials not found in native keychain; exit 1");
        install("sick", "echo hunter2; exit 3");
        let config = r#"{"credsStore":"none","credHelpers":{"a.io":"echo","docker.io":"echo","s.io":"sick"},
            "auths":{"a.io":{"auth":"YTpi"},"n.io":{"auth":"YTpi"}}}"#;
        let environment = [("DOCKER_AUTH_CONFIG", config), ("PATH", path.as_str())];
        let echo = || Source::CredentialHelper("echo".to_owned());
        assert_eq!(find(&environment, "a.io/x").await, expect("get", "for a.io", echo()));
        let hub = "for https://index.docker.io/v1/";
        assert_eq!(find(&environment, "busybox").await, expect("get", hub, echo()));
        assert_eq!(find(&environment, "n.io/x").await, expect("a", "b", Source::DockerAuthConfig));
        assert_eq!(find(&environment, "m.io/x").await, None);
        let keychain = Keychain::new(&environment.into_iter().collect());
        let error = keychain.find(&"s.io/x".parse().expect("repository")).await.expect_err("sick");
        assert_eq!(error.to_string(), "the credential helper `sick` gave no answer (exit status: 3)");
    }

    #[test]
    fn entries_in_every_form() {
        let read = |text: &str| {
            let entry: Entry = serde_json::from_str(text).expect("entry");
            entry.credential().map(|(username, secret)| format!("{username}/{}", secret.expose()))
        };
        let padded = format!(r#"{{"auth":"{}"}}"#, STANDARD.encode("a:b\0\0"));
        let cases = [
            (r#"{"auth":"YTpi"}"#, Some("a/b")),
            (r#"{"auth":"YTpiYw"}"#, Some("a/bc")),
            (&padded, Some("a/b")),
            (r#"{"auth":"!"}"#, None),
            (r#"{"auth":""}"#, None),
            (r#"{"username":"a","password":"b"}"#, Some("a/b")),
            (r#"{"auth":"YTpi","identitytoken":"t"}"#, Some("<token>/t")),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }
}
