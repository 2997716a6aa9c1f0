//! Running a plugin of the Docker client directly, as the client would run it.
//!
//! Before it runs a plugin, the client starts every plugin that it finds to ask what it is, which takes longer than most
//! answers (Docker 28.5, two plugins, two cores, 2026-11-23: `docker buildx inspect` 135 ms, the plugin itself 57 ms;
//! `docker compose build --print` 130 ms and 75 ms). So the plugin's file is found here. Started with the client's own
//! variable it behaves as it does below the client: it reads the same contexts, TLS settings and configuration. What the
//! client alone knows (`cliPluginsExtraDirs`) is left to it: a plugin that is not found here is asked for through `docker`.

use std::path::{Path, PathBuf};

use crate::base::env::Environment;
use crate::base::process::Command;

/// Where the Docker client looks for plugins besides the user's folder (cli, cli-plugins/manager).
const FOLDERS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// How a plugin is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its file; without one, the Docker client is left to find it.
    pub file: Option<PathBuf>,
}

impl Plugin {
    /// Looks for a plugin, such as `buildx`, where the Docker client does.
    pub fn find(name: &str, environment: &Environment) -> Self {
        Plugin::in_folder(name, &environment.docker_folder())
    }

    /// Looks for a plugin where the Docker client does whose configuration is in this folder.
    pub fn in_folder(name: &str, folder: &Path) -> Self {
        let user = folder.join("cli-plugins");
        let folders = std::iter::once(user).chain(FOLDERS.iter().map(PathBuf::from));
        let file = folders.map(|folder| folder.join(format!("docker-{name}"))).find(|file| file.is_file());
        Plugin { file }
    }

    /// Makes of a `docker NAME ...` the plugin's own command.
    pub fn direct(&self, command: Command) -> Command {
        match self.file.as_deref().and_then(Path::to_str) {
            Some(file) => Command { program: file.to_owned(), ..command }
                .with_variable("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "docker"),
            None => command,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_plugin_in_the_users_folder() {
        let folder = tempfile::tempdir().expect("folder");
        let plugins = folder.path().join("cli-plugins");
        std::fs::create_dir(&plugins).expect("folder");
        let plugin = plugins.join("docker-buildx");
        std::fs::write(&plugin, "").expect("file");
        let set = folder.path().to_str().expect("text").to_owned();
        let environment: Environment = [("DOCKER_CONFIG", set)].into_iter().collect();
        assert_eq!(Plugin::find("buildx", &environment).file, Some(plugin));
        let asked = Command::new("docker", ["buildx", "version"]);
        assert_eq!(Plugin { file: None }.direct(asked.clone()), asked);
    }
}
