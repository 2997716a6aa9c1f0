//! The making of builders: looks at what is there, and runs what leads from there to a builder that runs.
//!
//! Our files are in buildx's own folder, below `layerlift/`: the recipe of each builder, and a lock, since two jobs of one
//! machine may want the same builder at the same time.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::process::{self, Captured, Command};
use crate::engine::builder::{self, Builder, Present, StepKind};
use crate::engine::buildx::Buildx;
use crate::model::engine::Driver;
use crate::model::settings::Settings;
use crate::plan::builder::{NAME, Recipe};
use crate::registry::Client;
use crate::workflow::builder::{Error, causes, recipe};
use crate::workflow::world::World;

/// The longest time that a builder may take to be there. Its image is some 100 MB.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// What tidying up may take beyond it.
const GRACE: Duration = Duration::from_secs(10);

/// How often a lock is tried that another process has.
const PAUSE: Duration = Duration::from_millis(200);

/// Where builders are made. Its time begins when it is set up.
pub(super) struct Workshop<'a> {
    world: &'a World,
    settings: &'a Settings,
    buildx: Buildx,
    /// Our files.
    pub(super) folder: PathBuf,
    deadline: Instant,
}

impl<'a> Workshop<'a> {
    pub(super) fn new(world: &'a World, settings: &'a Settings) -> Self {
        Workshop {
            world,
            settings,
            buildx: Buildx::find(&world.environment),
            folder: recipe::buildx_folder(&world.environment).join(NAME),
            deadline: Instant::now() + LIMIT,
        }
    }

    pub(super) fn builder<'b>(&'b self, name: &'b str) -> Builder<'b> {
        Builder { buildx: &self.buildx, name }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }

    /// Finds out what a builder would be made from.
    pub(super) async fn recipe(
        &self,
        client: &Client,
        registries: &BTreeSet<String>,
    ) -> Result<Recipe, Error> {
        let answer = self.call(&builder::engine_registries()).await?;
        let of_engine = builder::read_engine_registries(&answer.stdout);
        Ok(recipe::of(&self.world.environment, self.settings, client, registries, of_engine))
    }

    /// The name of the builder for this recipe, and what is there of it. One that works and was made from another recipe
    /// stays as it is, since somebody may be building with it: ours has another name then.
    async fn find(&self, recipe: &Recipe) -> Result<(String, Option<Present>), Error> {
        let present = self.inspect(NAME).await?;
        let is_right = match &present {
            None => true,
            Some(present) if present.driver != Some(Driver::DockerContainer) => false,
            // Nobody builds with it, whatever it was made for.
            Some(present) if !present.is_usable() => true,
            Some(present) => match recipe::bounded(&self.file(NAME)) {
                Some(recorded) => recorded == recipe.text().as_bytes(),
                None => {
                    let endpoint = present.nodes.first().map(|node| node.endpoint.as_str());
                    endpoint == Some(recipe.endpoint.listed(NAME).as_str())
                }
            },
        };
        if is_right {
            return Ok((NAME.to_owned(), present));
        }
        let name = format!("{NAME}-{}", recipe.fingerprint());
        let present = self.inspect(&name).await?;
        match present {
            Some(Present { driver, .. }) if driver != Some(Driver::DockerContainer) => {
                Err(Error::Foreign { name })
            }
            present => Ok((name, present)),
        }
    }

    pub(super) async fn inspect(&self, name: &str) -> Result<Option<Present>, Error> {
        let answer = self.call(&self.builder(name).inspect()).await?;
        Ok(builder::present(&answer.stdout))
    }

    /// Whether the builder has a context that we made.
    pub(super) async fn has_context(&self, name: &str) -> Result<bool, Error> {
        let answer = self.call(&self.builder(name).inspect_context()).await?;
        Ok(builder::is_our_context(&answer.stdout))
    }

    /// What would be run to have the builder.
    pub(super) async fn supposed(&self, recipe: &Recipe) -> Result<(String, Vec<(String, String)>), Error> {
        let (name, present) = self.find(recipe).await?;
        let shown = Builder { buildx: &Buildx::of_client(), name: &name };
        let steps = shown.steps(recipe, &self.file(&name), present.as_ref());
        let commands =
            steps.iter().map(|step| (step.command.to_string(), step.kind.purpose().to_owned())).collect();
        Ok((name, commands))
    }

    /// Has the builder: as it is there, started, or made.
    pub(super) async fn ready(&self, recipe: &Recipe, warnings: &mut Vec<String>) -> Result<String, Error> {
        let _lock = self.lock().await?;
        let (name, mut present) = self.find(recipe).await?;
        // What is recorded is what was wanted, with the nodes that are left out.
        let record = recipe.text();
        let mut recipe = recipe.clone();
        loop {
            let Err(failed) = self.advance(&recipe, &name, present.as_ref(), &record).await else {
                return Ok(name);
            };
            let was_usable = present.as_ref().is_some_and(Present::is_usable);
            let reason = causes(&failed.error);
            match failed.again {
                Again::Without(node) => {
                    warnings.push(format!("a node of the builder is left out: {reason}"));
                    recipe.nodes.retain(|it| it.name != node);
                }
                // It was there, and does not start: once more from nothing.
                Again::FromNothing if was_usable => {}
                Again::FromNothing | Again::Never => {
                    if !was_usable {
                        self.unmake(&name).await;
                    }
                    return Err(failed.error);
                }
            }
            present = Some(Present::broken(reason));
        }
    }

    /// Runs what leads from what is there to a builder that runs. `record`: what our file is to hold.
    async fn advance(
        &self,
        recipe: &Recipe,
        name: &str,
        present: Option<&Present>,
        record: &str,
    ) -> Result<(), Failed> {
        let builder = self.builder(name);
        for step in builder.steps(recipe, &self.file(name), present) {
            let say = |said: &str| {
                self.world.printer.message(&format!("layerlift: builder `{name}` {said}\n"));
            };
            match step.kind {
                StepKind::Remove => say("is broken, and is made anew"),
                StepKind::Create => {
                    say("is made");
                    self.write(name, record)?;
                }
                // One of an earlier engine has the certificates of that.
                StepKind::Context if self.has_context(name).await? => {
                    self.run(&builder.remove_context()).await?;
                }
                StepKind::Context | StepKind::Append(_) => {}
                StepKind::Start => say("is started"),
            }
            let answer = self.call(&step.command).await?;
            if answer.status.success() {
                continue;
            }
            let error = refused(&step.command, &answer);
            let again = match step.kind {
                StepKind::Remove if self.inspect(name).await?.is_none() => continue,
                StepKind::Append(node) => Again::Without(node),
                StepKind::Start if builder::lacks_image(&answer.stderr) => {
                    return Err(Error::NoImage { reason: builder::reason(&answer.stderr) }.into());
                }
                _ => Again::FromNothing,
            };
            return Err(Failed { error, again });
        }
        Ok(())
    }

    /// Removes a builder. Where buildx cannot reach its engine, it complains, but forgets the builder.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Error> {
        let removed = self.run(&self.builder(name).remove()).await;
        if removed.is_err() && self.inspect(name).await?.is_none() { Ok(()) } else { removed }
    }

    /// Takes back what was begun. That it cannot be is no news.
    async fn unmake(&self, name: &str) {
        let builder = self.builder(name);
        let _ = process::capture(&builder.remove(), GRACE).await;
        let context = process::capture(&builder.inspect_context(), GRACE).await;
        if context.is_ok_and(|answer| builder::is_our_context(&answer.stdout)) {
            let _ = process::capture(&builder.remove_context(), GRACE).await;
        }
        let _ = std::fs::remove_file(self.file(name));
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.file(name);
        let written = std::fs::create_dir_all(&self.folder).and_then(|()| std::fs::write(&path, text));
        written.map_err(|source| Error::File { path, source })
    }

    /// One process at a time.
    async fn lock(&self) -> Result<std::fs::File, Error> {
        let path = self.folder.join("lock");
        let opened = std::fs::create_dir_all(&self.folder).and_then(|()| std::fs::File::create(&path));
        let file = opened.map_err(|source| Error::File { path: path.clone(), source })?;
        while Instant::now() < self.deadline {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
                Err(std::fs::TryLockError::Error(source)) => return Err(Error::File { path, source }),
            }
        }
        Err(Error::Locked)
    }

    /// Runs a command in what is left of the time.
    async fn call(&self, command: &Command) -> Result<Captured, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Ok(process::capture(command, left).await?)
    }

    /// Runs a command that has to succeed.
    pub(super) async fn run(&self, command: &Command) -> Result<(), Error> {
        let answer = self.call(command).await?;
        if answer.status.success() { Ok(()) } else { Err(refused(command, &answer)) }
    }
}

/// Why a builder is not there.
struct Failed {
    error: Error,
    again: Again,
}

/// Whether another attempt may come further.
enum Again {
    /// It would fail in the same way.
    Never,
    /// Where a builder is there already: made anew, it may do.
    FromNothing,
    /// Without this node.
    Without(String),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed { error, again: Again::Never }
    }
}

fn refused(command: &Command, answer: &Captured) -> Error {
    // The plugin's own path says nothing to anybody.
    let words = command.arguments.iter().take_while(|word| !word.starts_with("--"));
    let words: Vec<&str> = words.map(String::as_str).collect();
    let tool =
        if command.program == "docker" && words.first() != Some(&"buildx") { "docker" } else { "buildx" };
    let words = words.strip_prefix(&["buildx"][..]).unwrap_or(&words);
    Error::Refused { command: format!("{tool} {}", words.join(" ")), reason: builder::reason(&answer.stderr) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_command_in_short() {
        use std::os::unix::process::ExitStatusExt;
        let answer = Captured {
            status: std::process::ExitStatus::from_raw(256),
            stdout: String::new(),
            stderr: "#1 x\nERROR: no such host\n\n".to_owned(),
        };
        let plugin = Command::new("/p/docker-buildx", ["inspect", "--bootstrap", "layerlift"]);
        assert_eq!(refused(&plugin, &answer).to_string(), "`buildx inspect` failed: no such host");
        let client = Command::new("docker", ["context", "create", "--description", "x", "layerlift"]);
        assert_eq!(refused(&client, &answer).to_string(), "`docker context create` failed: no such host");
    }
}
