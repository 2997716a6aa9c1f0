//! Running buildx directly, as the Docker client would run it.
//!
//! Before it runs a plugin, the client starts every plugin that it finds to ask what it is, which takes longer than most
//! answers (Docker 28.5, two plugins, two cores, 2026-11-23: `docker buildx inspect` 135 ms, the plugin itself 57 ms). So
//! the plugin's file is found here. Started with the client's own variable it behaves as it does below the client: it
//! reads the same contexts, TLS settings and configuration. What the client alone knows (`cliPluginsExtraDirs`) is left
//! to it: a plugin that is not found here is asked for through `docker buildx`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::env::Environment;
use crate::base::process::{self, Command};
use crate::engine::probe::answers;
use crate::model::engine::Version;

/// Where the Docker client looks for plugins besides the user's folder (cli, cli-plugins/manager).
const PLUGIN_FOLDERS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// How buildx is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buildx {
    /// The plugin's file; without one, the Docker client is left to find it.
    plugin: Option<PathBuf>,
}

impl Buildx {
    /// Looks for the plugin where the Docker client does.
    pub fn find(environment: &Environment) -> Self {
        Buildx::in_folder(&environment.docker_folder())
    }

    /// Looks for the plugin where the Docker client does whose configuration is in this folder.
    pub fn in_folder(folder: &Path) -> Self {
        let user = folder.join("cli-plugins");
        let folders = std::iter::once(user).chain(PLUGIN_FOLDERS.iter().map(PathBuf::from));
        Buildx { plugin: folders.map(|folder| folder.join("docker-buildx")).find(|file| file.is_file()) }
    }

    /// Whether the plugin's file was found.
    pub fn is_found(&self) -> bool {
        self.plugin.is_some()
    }

    /// As the Docker client runs it, so that it reads the same settings: `DOCKER_TLS_VERIFY`, contexts, the config file.
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        self.direct(Command::new("docker", std::iter::once("buildx").chain(arguments)))
    }

    /// Makes of a `docker buildx ...` the plugin's own command.
    pub fn direct(&self, command: Command) -> Command {
        match self.plugin.as_deref().and_then(Path::to_str) {
            Some(plugin) => Command { program: plugin.to_owned(), ..command }
                .with_variable("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "docker"),
            None => command,
        }
    }

    /// Its version; `None` where there is no buildx that works.
    pub async fn version(&self, limit: Duration) -> Option<Version> {
        let answer = process::capture(&self.command(["version"]), limit).await.ok()?;
        answers::buildx_version(&answer.stdout)
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
        assert_eq!(Buildx::find(&environment).plugin, Some(plugin));
        let without = Buildx { plugin: None };
        assert_eq!(without.command(["version"]).to_string(), "docker buildx version");
    }
}
