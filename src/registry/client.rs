//! The client: options, and what all its requests share.
//!
//! A [`Client`] is cheap to clone; clones share connections, tokens, the pace of each host and the counters. The verbs
//! are in `manifests`, `blobs`, `uploads` and `tags`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::Url;
use reqwest::redirect::Policy;
use rustls::RootCertStore;

use crate::base::env::{self, Environment};
use crate::registry::auth::Tokens;
use crate::registry::credentials::Keychain;
use crate::registry::error::Error;
use crate::registry::host::{self, origin_name};
use crate::registry::retry::Pace;
use crate::registry::tls::{self, HostFiles};

/// A registry that does not even accept a connection in this time is no help to a build.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// What a cache question may cost, with all retries, unless the caller says otherwise.
const DEFAULT_BUDGET: Duration = Duration::from_secs(10);

/// How a client is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Registries, with or without port, that are spoken to in plain HTTP. Loopback hosts always are.
    pub insecure: Vec<String>,
    /// The longest time that one question may take, retries included, and the longest sum of pauses in a transfer.
    pub budget: Duration,
    /// Files with further roots, in PEM.
    pub roots: Vec<PathBuf>,
    /// Folder with certificates per host, laid out as Docker's `certs.d`.
    pub certificates: PathBuf,
    /// Where credentials come from.
    pub keychain: Keychain,
}

impl Options {
    /// What the environment offers: its credentials and, on a self-managed GitLab, its roots.
    pub fn new(environment: &Environment) -> Self {
        let roots = environment.get(env::CI_SERVER_TLS_CA_FILE).map(PathBuf::from);
        Options {
            insecure: Vec::new(),
            budget: DEFAULT_BUDGET,
            roots: roots.into_iter().filter(|file| file.is_file()).collect(),
            certificates: tls::DOCKER_CERTIFICATES.into(),
            keychain: Keychain::new(environment),
        }
    }
}

/// What went over the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests sent, those to token servers and repeated ones included.
    pub requests: u64,
    /// Bytes of bodies received.
    pub bytes_in: u64,
}

/// How a registry is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// In plain HTTP.
    pub is_plain: bool,
    /// It is on this machine.
    pub is_loopback: bool,
    /// Files with roots, beside the machine's own.
    pub roots: Vec<PathBuf>,
    /// A client certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A client for all registries.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) budget: Duration,
}

#[derive(Debug)]
pub(super) struct Shared {
    insecure: Vec<String>,
    certificates: PathBuf,
    root_files: Vec<PathBuf>,
    /// Trust for all hosts. Reading a machine's roots takes longer than a registry's answer: only HTTPS waits for it.
    ordinary: OnceLock<(RootCertStore, reqwest::Client)>,
    /// For plain HTTP: what it would trust does not matter.
    plain: reqwest::Client,
    /// Per host, the transport with the host's own certificates, or the ordinary one.
    transports: Mutex<HashMap<String, reqwest::Client>>,
    pub(super) keychain: Keychain,
    pub(super) tokens: Tokens,
    pub(super) pace: Pace,
    pub(super) requests: AtomicU64,
    pub(super) bytes_in: AtomicU64,
}

impl Client {
    /// Sets up a client. Connects to nothing and reads no roots yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        let shared = Shared {
            insecure: options.insecure,
            certificates: options.certificates,
            root_files: options.roots,
            ordinary: OnceLock::new(),
            plain: build(&tls::bundled(), &HostFiles::default())?,
            transports: Mutex::default(),
            keychain: options.keychain,
            tokens: Tokens::default(),
            pace: Pace::default(),
            requests: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
        };
        Ok(Client { shared: Arc::new(shared), budget: options.budget })
    }

    /// The same client with another budget, for work that matters more, or less, than a cache question.
    pub fn with_budget(&self, budget: Duration) -> Self {
        Client { shared: Arc::clone(&self.shared), budget }
    }

    /// What this client and its clones have sent and received.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.shared.requests.load(Ordering::Relaxed),
            bytes_in: self.shared.bytes_in.load(Ordering::Relaxed),
        }
    }

    /// How a registry is spoken to, for programs that speak to it too.
    pub fn trust(&self, registry: &str) -> Trust {
        let endpoint = host::endpoint(registry);
        let is_plain = self.is_plain(registry);
        let files = HostFiles::find(&self.shared.certificates, endpoint).filter(|_| !is_plain);
        let HostFiles { mut roots, identity } = files.unwrap_or_default();
        if !is_plain {
            roots.extend(self.shared.root_files.iter().cloned());
        }
        Trust { is_plain, is_loopback: host::is_loopback(endpoint), roots, identity }
    }

    fn is_plain(&self, registry: &str) -> bool {
        let endpoint = host::endpoint(registry);
        host::is_listed(registry, &self.shared.insecure)
            || host::is_loopback(endpoint) && HostFiles::find(&self.shared.certificates, endpoint).is_none()
    }

    /// Where a registry listens: `https://ghcr.io/`.
    pub(super) fn base(&self, registry: &str) -> Result<Url, Error> {
        let endpoint = host::endpoint(registry);
        let scheme = if self.is_plain(registry) { "http" } else { "https" };
        format!("{scheme}://{endpoint}/")
            .parse()
            .map_err(|_| Error::malformed(registry, "not the name of a host"))
    }

    /// Whether a registry is spoken to over plain HTTP.
    pub fn speaks_plainly(&self, registry: &str) -> bool {
        self.base(registry).is_ok_and(|base| base.scheme() == "http")
    }

    /// The transport for an address: the ordinary one, unless its host has certificates of its own.
    pub(super) fn transport(&self, url: &Url) -> Result<reqwest::Client, Error> {
        if url.scheme() == "http" {
            return Ok(self.shared.plain.clone());
        }
        let name = origin_name(url);
        let mut transports = self.shared.transports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(transport) = transports.get(&name) {
            return Ok(transport.clone());
        }
        let transport = match HostFiles::find(&self.shared.certificates, &name) {
            Some(files) => build(&self.ordinary()?.0, &files)?,
            None => self.ordinary()?.1.clone(),
        };
        transports.insert(name, transport.clone());
        Ok(transport)
    }

    /// The roots, and the transport that trusts them. Fails where a file with roots cannot be used.
    fn ordinary(&self) -> Result<&(RootCertStore, reqwest::Client), Error> {
        if let Some(made) = self.shared.ordinary.get() {
            return Ok(made);
        }
        let roots = tls::roots(&self.shared.root_files)?;
        let transport = build(&roots, &HostFiles::default())?;
        Ok(self.shared.ordinary.get_or_init(|| (roots, transport)))
    }
}

/// Redirects are followed by `http`, which knows where `Authorization` may go. Stalls are watched there as well:
/// reqwest's read timeout would end every upload that takes longer.
fn build(roots: &RootCertStore, files: &HostFiles) -> Result<reqwest::Client, Error> {
    reqwest::Client::builder()
        .user_agent(concat!("layerlift/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls::settings(roots.clone(), files)?)
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_LIMIT)
        .pool_idle_timeout(Duration::from_secs(30))
        .tcp_nodelay(true)
        .build()
        .map_err(|source| Error::Setup { what: "HTTP".to_owned(), source: source.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gitlabs_roots_are_used_where_they_exist() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let path = file.path().to_str().expect("UTF-8");
        for (value, expected) in [(path, vec![file.path().to_owned()]), ("missing.pem", vec![])] {
            let environment = [("CI_SERVER_TLS_CA_FILE", value)].into_iter().collect();
            assert_eq!(Options::new(&environment).roots, expected, "{value}");
        }
    }

    #[test]
    fn schemes_follow_the_host() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir(folder.path().join("localhost:5443")).expect("created");
        std::fs::write(folder.path().join("localhost:5443/ca.crt"), "").expect("written");
        let client = Client::new(Options {
            insecure: vec!["registry.lan:5000".into()],
            certificates: folder.path().to_owned(),
            ..Options::new(&Environment::default())
        })
        .expect("client");
        for (registry, expected) in [
            ("docker.io", "https://registry-1.docker.io/"),
            ("localhost:5000", "http://localhost:5000/"),
            ("localhost:5443", "https://localhost:5443/"),
            ("registry.lan:5000", "http://registry.lan:5000/"),
            ("registry.lan", "https://registry.lan/"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/"),
        ] {
            assert_eq!(client.base(registry).expect("address").as_str(), expected);
        }
        assert!(client.base("bad host").is_err());
    }
}
