//! Credentials for buildah in a file of our own (mode 0600), which lives as long as this value.
//!
//! buildah knows neither the CI job's token nor `DOCKER_AUTH_CONFIG`. Where it is given a file with credentials it may
//! look into no other (containers-auth.json(5)), so that all those that it would have read are united in this one.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::base::env::{self, Environment};
use crate::base::process::Command;
use crate::engine::login::{self, Credential};

/// What a credential file says that buildah reads.
const PARTS: [&str; 2] = ["auths", "credHelpers"];

/// The file; it is deleted with this value.
#[derive(Debug)]
pub struct AuthFile {
    folder: TempDir,
}

impl AuthFile {
    /// Writes it: these credentials, and the user's own for all other registries.
    pub fn new(environment: &Environment, credentials: &[Credential]) -> std::io::Result<AuthFile> {
        let mut united = Map::new();
        for path in files(environment).iter().rev() {
            // A file that cannot be read is none to buildah either.
            let config = login::read_config(path).unwrap_or_default();
            for part in PARTS {
                let Some(Value::Object(entries)) = config.get(part) else { continue };
                let entry = united.entry(part).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(all) = entry {
                    all.extend(entries.clone());
                }
            }
        }
        // A helper would be asked before what is added here.
        if let Some(Value::Object(helpers)) = united.get_mut("credHelpers") {
            credentials.iter().for_each(|credential| drop(helpers.remove(&credential.registry)));
        }
        login::add(&mut united, credentials);
        let file = AuthFile { folder: tempfile::Builder::new().prefix("layerlift-").tempdir()? };
        login::write_private(&file.path(), &united)?;
        Ok(file)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("auth.json")
    }

    /// Makes a command read it. `--authfile` of the user would win over it.
    pub fn applied(&self, command: Command) -> Command {
        command.with_variable(env::REGISTRY_AUTH_FILE.name, self.path())
    }
}

/// The files that buildah reads, the first one first (containers/image, pkg/docker/config, `getAuthFilePaths`).
fn files(environment: &Environment) -> Vec<PathBuf> {
    let get = |variable| environment.get(variable).map(PathBuf::from);
    let home = get(env::HOME).unwrap_or_else(|| "/root".into());
    let runtime = get(env::XDG_RUNTIME_DIR)
        .unwrap_or_else(|| Path::new("/run/containers").join(rustix::process::getuid().as_raw().to_string()));
    let in_runtime = match environment.get(env::XDG_RUNTIME_DIR) {
        Some(_) => runtime.join("containers/auth.json"),
        None => runtime.join("auth.json"),
    };
    let configuration = get(env::XDG_CONFIG_HOME).unwrap_or_else(|| home.join(".config"));
    [
        get(env::REGISTRY_AUTH_FILE).unwrap_or(in_runtime),
        configuration.join("containers/auth.json"),
        environment.docker_folder().join("config.json"),
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;
    use crate::base::secret::Secret;

    #[test]
    fn the_users_own_are_kept_and_the_nearest_file_wins() {
        let home = tempfile::tempdir().expect("folder");
        let write = |name: &str, config: Value| {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("made");
            std::fs::write(&path, config.to_string()).expect("written");
            path.to_string_lossy().into_owned()
        };
        let own = write("own.json", json!({"auths": {"a.io": {"auth": "own"}, "r:5000": {"auth": "stale"}}}));
        write(
            ".docker/config.json",
            json!({
                "auths": {"a.io": {"auth": "docker"}, "d.io": {"auth": "docker"}},
                "credHelpers": {"h.io": "pass", "r:5000": "pass"}, "credsStore": "desktop",
            }),
        );
        let environment: Environment =
            [("HOME", home.path().to_str().expect("text")), ("REGISTRY_AUTH_FILE", own.as_str())]
                .into_iter()
                .collect();
        let credential =
            Credential { registry: "r:5000".into(), username: "ci".into(), secret: Secret::new("token") };
        let file = AuthFile::new(&environment, &[credential]).expect("made");
        let text = std::fs::read_to_string(file.path()).expect("read");
        let config: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            config,
            json!({
                "auths": {"a.io": {"auth": "own"}, "d.io": {"auth": "docker"}, "r:5000": {"auth": "Y2k6dG9rZW4="}},
                "credHelpers": {"h.io": "pass"},
            })
        );
        let mode = std::fs::metadata(file.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let shown = file.applied(Command::new("buildah", ["build"])).to_string();
        assert!(shown.starts_with("REGISTRY_AUTH_FILE=") && !shown.contains("token"), "{shown}");
        let gone = file.path();
        drop(file);
        assert!(!gone.exists());
    }
}
