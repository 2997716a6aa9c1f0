//! buildx, run without the Docker client before it.

use std::path::Path;
use std::time::Duration;

use crate::base::env::Environment;
use crate::base::process::{self, Command};
use crate::engine::plugin::Plugin;
use crate::engine::probe::answers;
use crate::model::engine::Version;

/// How buildx is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buildx(Plugin);

impl Buildx {
    /// Looks for the plugin where the Docker client does.
    pub fn find(environment: &Environment) -> Self {
        Buildx(Plugin::find("buildx", environment))
    }

    /// Looks for the plugin where the Docker client does whose configuration is in this folder.
    pub fn in_folder(folder: &Path) -> Self {
        Buildx(Plugin::in_folder("buildx", folder))
    }

    /// As a person runs it: for commands that are shown.
    pub fn of_client() -> Self {
        Buildx(Plugin { file: None })
    }

    /// Whether the plugin's file was found.
    pub fn is_found(&self) -> bool {
        self.0.file.is_some()
    }

    /// As the Docker client runs it, so that it reads the same settings: `DOCKER_TLS_VERIFY`, contexts, the config file.
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        self.direct(Command::new("docker", std::iter::once("buildx").chain(arguments)))
    }

    /// Makes of a `docker buildx ...` the plugin's own command.
    pub fn direct(&self, command: Command) -> Command {
        self.0.direct(command)
    }

    /// Its version; `None` where there is no buildx that works.
    pub async fn version(&self, limit: Duration) -> Option<Version> {
        let answer = process::capture(&self.command(["version"]), limit).await.ok()?;
        answers::buildx_version(&answer.stdout)
    }
}
