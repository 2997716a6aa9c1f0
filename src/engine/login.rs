//! A login for the engine's client, in a Docker configuration of our own that lives as long as this value.
//!
//! CI systems hand a job credentials for their own registry, which a `docker login` would write into the user's
//! configuration. layerlift needs them only while it runs: it makes a private folder (mode 0700) with a `config.json`
//! (mode 0600) that adds the credentials to the user's own, and links to everything else of the user's folder
//! (contexts, plugins), so that nothing else changes for the client. No credential is ever put on a command line.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::base::env::{BUILDX_CONFIG, Environment};
use crate::base::process::Command;
use crate::base::secret::Secret;

/// The largest Docker configuration that is read.
const LARGEST_CONFIG: u64 = 4 << 20;

/// Credentials for one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Host and, where given, port.
    pub registry: String,
    /// The login name.
    pub username: String,
    /// The password or token.
    pub secret: Secret,
}

/// The folder; it is deleted with this value.
#[derive(Debug)]
pub struct Login {
    folder: TempDir,
    buildx: PathBuf,
}

impl Login {
    /// Makes the folder.
    pub fn new(environment: &Environment, credentials: &[Credential]) -> std::io::Result<Login> {
        Login::in_folder(&environment.docker_folder(), environment.get(BUILDX_CONFIG), credentials)
    }

    /// Makes the folder from another one than the environment's. `buildx` is the folder of buildx's state, where that is
    /// not in it.
    pub fn in_folder(own: &Path, buildx: Option<&str>, credentials: &[Credential]) -> std::io::Result<Login> {
        // Links to it stand in another folder.
        let own = std::path::absolute(own).unwrap_or_else(|_| own.to_owned());
        let folder = tempfile::Builder::new().prefix("layerlift-").tempdir()?;
        let mut config = read_config(&own.join("config.json"))?;
        // Where `docker build` is handed to layerlift, our own `docker build` must not be.
        if let Some(aliases) = config.get_mut("aliases").and_then(Value::as_object_mut) {
            aliases.retain(|name, value| name != "builder" || *value != json!("layerlift"));
        }
        add(&mut config, credentials);
        write_private(&folder.path().join("config.json"), &config)?;
        if let Ok(entries) = std::fs::read_dir(&own) {
            for entry in entries.flatten().filter(|entry| entry.file_name() != "config.json") {
                symlink(entry.path(), folder.path().join(entry.file_name()))?;
            }
        }
        let buildx = buildx.map_or_else(|| own.join("buildx"), PathBuf::from);
        Ok(Login { folder, buildx })
    }

    /// The folder: what `DOCKER_CONFIG` is to name.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a command use it. buildx keeps its builders where they were.
    pub fn applied(&self, command: Command) -> Command {
        command
            .with_variable("DOCKER_CONFIG", self.folder.path())
            .with_variable("BUILDX_CONFIG", &self.buildx)
    }
}

/// Adds credentials to a configuration, in the place of those that it has for the same registries.
pub(super) fn add(config: &mut Map<String, Value>, credentials: &[Credential]) {
    let auths = config.entry("auths").or_insert_with(|| json!({}));
    if !auths.is_object() {
        *auths = json!({});
    }
    for credential in credentials {
        let pair = format!("{}:{}", credential.username, credential.secret.expose());
        auths[&credential.registry] = json!({ "auth": STANDARD.encode(pair) });
    }
}

/// Writes a configuration that nobody else may read, into a folder of ours.
pub(super) fn write_private(path: &Path, config: &Map<String, Value>) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    serde_json::to_writer(&mut file, config)?;
    file.flush()
}

/// Reads a configuration; one that is not there, or is none, is empty.
pub(super) fn read_config(path: &Path) -> std::io::Result<Map<String, Value>> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(error) => return Err(error),
        Ok(metadata) if metadata.len() > LARGEST_CONFIG => return Ok(Map::new()),
        Ok(_) => {}
    }
    // The client itself complains about a configuration that is no JSON; there is nothing to keep of it here.
    let parsed = serde_json::from_slice(&std::fs::read(path)?);
    Ok(parsed.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn adds_to_the_users_configuration_and_leaves_it_alone() {
        let own = tempfile::tempdir().expect("folder");
        let before = r#"{"auths":{"other":{"auth":"eA=="}},"currentContext":"x"}"#;
        std::fs::write(own.path().join("config.json"), before).expect("written");
        std::fs::create_dir(own.path().join("contexts")).expect("made");
        let environment: Environment =
            [("DOCKER_CONFIG", own.path().to_string_lossy())].into_iter().collect();
        let credential =
            Credential { registry: "r:5000".into(), username: "ci".into(), secret: Secret::new("token") };
        let login = Login::new(&environment, &[credential]).expect("made");
        let path = login.folder.path().join("config.json");
        let config: Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
        assert_eq!(config["auths"]["r:5000"]["auth"], STANDARD.encode("ci:token"));
        assert_eq!(
            (&config["auths"]["other"]["auth"], &config["currentContext"]),
            (&json!("eA=="), &json!("x"))
        );
        assert!(login.folder.path().join("contexts").is_dir());
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(own.path().join("config.json")).expect("read"), before);
        let shown = login.applied(Command::new("docker", ["push", "x"])).to_string();
        assert!(shown.contains("DOCKER_CONFIG=") && !shown.contains("token"), "{shown}");
        let gone = path.clone();
        drop(login);
        assert!(!gone.exists());
    }
}
