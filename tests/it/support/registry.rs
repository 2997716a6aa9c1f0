//! Real registries: the shared one of the testbed, and private ones that ask for a login.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::program::{Finished, run, testbed};
use super::token::TokenService;

/// The name and the password that every private registry accepts.
pub const USER: &str = "robot";
pub const PASSWORD: &str = "s3cr3t-of-the-robot";

/// Where registries listen, unless containers are to reach them. Its name is `localhost`, as in references.
const LOOPBACK: &str = "127.0.0.1";

/// A registry that answers; a private one ends with the value.
#[derive(Debug)]
pub struct Registry {
    /// `localhost:PORT`, or the address that it was asked to listen at.
    pub address: String,
    process: Option<Child>,
    tokens: Option<TokenService>,
    /// Configuration and storage of a private one; for each, the credentials that crane uses.
    folder: TempDir,
    crane: String,
}

impl Registry {
    /// The testbed's registry, which asks for no login and keeps what it is given.
    #[track_caller]
    pub fn shared() -> Registry {
        let said =
            testbed(r#"registry_up && echo "$REGISTRY" "$TESTBED/engines/tools/usr/bin/crane""#, &[], &[]);
        let said = said.ok().text();
        let (address, crane) = said.split_once(' ').unwrap();
        let folder = tempfile::tempdir().unwrap();
        Registry { address: address.to_owned(), process: None, tokens: None, folder, crane: crane.to_owned() }
    }

    /// A private one that wants name and password.
    #[track_caller]
    pub fn basic() -> Registry {
        Registry::basic_at(LOOPBACK)
    }

    /// The same at one of this machine's addresses.
    #[track_caller]
    pub fn basic_at(host: &str) -> Registry {
        Registry::private(host, |folder| {
            let users = folder.join("htpasswd");
            let _ =
                run(Command::new("htpasswd").args(["-Bbc", users.to_str().unwrap(), USER, PASSWORD])).ok();
            (json!({"htpasswd": {"realm": "test", "path": users}}), None)
        })
    }

    /// A private one that wants bearer tokens with scopes, which live for a time.
    #[track_caller]
    pub fn token(lifetime: Duration) -> Registry {
        Registry::private(LOOPBACK, |folder| {
            let service = TokenService::start(folder, lifetime);
            let auth = json!({"token": {
                "realm": service.realm(), "service": "registry", "issuer": "test",
                "rootcertbundle": folder.join("certificate.pem"),
            }});
            (auth, Some(service))
        })
    }

    #[track_caller]
    fn private(host: &str, auth: impl Fn(&Path) -> (Value, Option<TokenService>)) -> Registry {
        let shared = Registry::shared();
        let folder = tempfile::tempdir().unwrap();
        let (auth, tokens) = auth(folder.path());
        // The port is free when we ask, and nearly always still free when the registry takes it.
        let port = TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port();
        let settings = json!({
            "version": "0.1", "log": {"level": "error"}, "auth": auth,
            "http": {"addr": format!("{host}:{port}")},
            "storage": {"filesystem": {"rootdirectory": folder.path().join("storage")}, "delete": {"enabled": true}},
        });
        // JSON is YAML.
        let file = folder.path().join("registry.yml");
        std::fs::write(&file, settings.to_string()).unwrap();
        let program = Path::new(&shared.crane).with_file_name("docker-registry");
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process =
            Command::new(program).arg("serve").arg(&file).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let address = format!("{}:{port}", if host == LOOPBACK { "localhost" } else { host });
        let registry =
            Registry { address, process: Some(process), tokens, folder, crane: shared.crane.clone() };
        std::fs::write(registry.folder.path().join("config.json"), registry.docker_config()).unwrap();
        let begin = Instant::now();
        while registry.ask("GET", "/v2/", &[]).0 == 0 {
            assert!(begin.elapsed() < Duration::from_secs(20), "the registry did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        registry
    }

    /// A repository name that no other test uses. A whole run comes round to the same process ids, so the time is in it.
    pub fn unique(&self, test: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        format!("it/{test}-{now:x}-{}-{number}", std::process::id())
    }

    /// An image of this registry: `localhost:PORT/NAME`.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Docker's `config.json` with the credentials of a private registry.
    pub fn docker_config(&self) -> String {
        let login = STANDARD.encode(format!("{USER}:{PASSWORD}"));
        json!({"auths": {&self.address: {"auth": login}}}).to_string()
    }

    /// The scopes that the token service was asked for, in their order.
    pub fn asked_scopes(&self) -> Vec<String> {
        self.tokens.as_ref().map(TokenService::asked).unwrap_or_default()
    }

    /// A token for one scope, as a client would get it.
    #[track_caller]
    pub fn ask_for_token(&self, scope: &str) -> String {
        let realm = self.tokens.as_ref().unwrap().realm();
        let url = format!("{realm}?service=registry&scope={scope}");
        let answer = run(Command::new("curl").args(["-fsS", "-u", &format!("{USER}:{PASSWORD}"), &url])).ok();
        serde_json::from_str::<Value>(&answer.text()).unwrap()["token"].as_str().unwrap().to_owned()
    }

    /// The status of a `GET` with a token.
    pub fn status_with_token(&self, path: &str, token: &str) -> u16 {
        self.ask("GET", path, &[&format!("Authorization: Bearer {token}")]).0
    }

    /// Runs crane, the independent client.
    #[track_caller]
    pub fn crane(&self, arguments: &[&str]) -> Finished {
        run(Command::new(&self.crane)
            .arg("--insecure")
            .args(arguments)
            .env("DOCKER_CONFIG", self.folder.path()))
    }

    /// The digest that a reference has here.
    #[track_caller]
    pub fn digest(&self, reference: &str) -> String {
        self.crane(&["digest", reference]).ok().text()
    }

    /// Every tag of a repository and of those below it, with its digest.
    #[track_caller]
    pub fn tags(&self, root: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let catalog = self.crane(&["catalog", &self.address]).ok().text();
        let below = format!("{root}/");
        for repository in catalog.lines().filter(|name| *name == root || name.starts_with(&below)) {
            let tags = self.crane(&["ls", &self.reference(repository)]);
            for tag in tags.text().lines() {
                let name = format!("{repository}:{tag}");
                let digest = self.digest(&self.reference(&name));
                found.insert(name, digest);
            }
        }
        found
    }

    /// The digests of all layers below a repository: of images, and of caches in either form.
    #[track_caller]
    pub fn layers(&self, root: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for name in self.tags(root).keys() {
            let text = self.crane(&["manifest", &self.reference(name)]).ok().text();
            let manifest: Value = serde_json::from_str(&text).unwrap();
            // The older form of a cache is an index whose entries are blobs.
            let entries =
                ["layers", "manifests"].iter().filter_map(|list| manifest[list].as_array()).flatten();
            let layers = entries.filter(|entry| {
                entry["mediaType"]
                    .as_str()
                    .is_some_and(|kind| kind.contains("tar") || kind.contains("rootfs"))
            });
            found.extend(layers.filter_map(|layer| layer["digest"].as_str().map(str::to_owned)));
        }
        found
    }

    /// A file of an image, read from its layers, without white space around it.
    #[track_caller]
    pub fn file(&self, reference: &str, path: &str) -> String {
        let exported = self.crane(&["export", reference, "-"]).ok().stdout;
        for entry in tar::Archive::new(exported.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap() == Path::new(path) {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
                return text.trim().to_owned();
            }
        }
        panic!("no {path} in {reference}")
    }

    /// The status and the body of a request; status 0 when there was no answer.
    fn ask(&self, method: &str, path: &str, headers: &[&str]) -> (u16, Vec<u8>) {
        ask(&self.address, method, path, headers)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// One HTTP request by curl: its status (0 when there was no answer) and as much of the body as came.
pub fn ask(address: &str, method: &str, path: &str, headers: &[&str]) -> (u16, Vec<u8>) {
    let mut command = Command::new("curl");
    command.args(["-s", "-m", "20", "-X", method, "-w", "%{stderr}%{http_code}"]);
    for header in headers {
        command.args(["-H", header]);
    }
    let answer = run(command.arg(format!("http://{address}{path}")));
    (answer.stderr.trim().parse().unwrap_or(0), answer.stdout)
}
