//! The builder of `--builder-auto`: BuildKit in a container, for engines whose own builder cannot export a cache.
//!
//! It is made when it is missing, used again when it is there, and made anew when it is broken. Whatever goes wrong, the
//! default builder builds, and the user reads why. buildx's current builder stays what it is: ours is named by a flag.

mod recipe;
mod workshop;

use std::collections::BTreeSet;
use std::path::PathBuf;

use self::workshop::Workshop;
use crate::base::process;
use crate::engine::builder::Present;
use crate::engine::probe::{self, Probe};
use crate::model::engine::{Driver, Engine, Store};
use crate::model::request::Request;
use crate::model::settings::Settings;
use crate::plan::builder::{AutoBuilder, NAME, Wanted, context, wanted};
use crate::registry::Client;
use crate::workflow::world::World;

/// Why there is no builder of ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program refused.
    #[error("`{command}` failed: {reason}")]
    Refused {
        /// What was run, as one would type it.
        command: String,
        /// Its words.
        reason: String,
    },
    /// There is nothing to make it from.
    #[error("BuildKit's image cannot be pulled: {reason}")]
    NoImage {
        /// The engine's words.
        reason: String,
    },
    /// The name is taken.
    #[error("buildx has a builder `{name}` that layerlift did not make")]
    Foreign {
        /// The builder's name.
        name: String,
    },
    /// Another process is at it.
    #[error("another process has been making a builder for {} s", workshop::LIMIT.as_secs())]
    Locked,
    /// Our own files cannot be written.
    #[error("{} cannot be written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is there, and does not answer.
    #[error(transparent)]
    Probe(#[from] probe::Error),
    /// A program could not be run to its end.
    #[error(transparent)]
    Process(#[from] process::Error),
}

/// Whether anything may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The builder is made.
    Make,
    /// It is only said how it would be made.
    Suppose,
}

/// What came of it.
#[derive(Debug)]
pub struct Chosen {
    /// What builds.
    pub engine: Engine,
    /// What is to be said about it; `None` where nobody asked for a builder.
    pub builder: Option<AutoBuilder>,
    /// What went wrong.
    pub warnings: Vec<String>,
}

/// Puts a builder of ours in the place of the default one, where that is asked for and of use. No trouble with it is more
/// than a warning. `registries`: those that will be spoken to.
pub async fn choose(
    world: &World,
    request: &Request,
    settings: &Settings,
    client: &Client,
    registries: &BTreeSet<String>,
    engine: Engine,
    act: Act,
) -> Chosen {
    let mut chosen = Chosen { engine, builder: None, warnings: Vec::new() };
    if !settings.builder_auto {
        return chosen;
    }
    let default = |reason: String| AutoBuilder { name: None, reason, commands: Vec::new() };
    match wanted(request, settings, &chosen.engine) {
        Wanted::Yes => {}
        Wanted::No(reason) => {
            chosen.builder = Some(default(reason.to_owned()));
            return chosen;
        }
        Wanted::Impossible(reason) => {
            chosen.warnings.push(reason.to_owned());
            chosen.builder = Some(default(reason.to_owned()));
            return chosen;
        }
    }
    let workshop = Workshop::new(world, settings);
    let mut warnings = Vec::new();
    let made = async {
        let recipe = workshop.recipe(client, registries).await?;
        let (name, commands) = match act {
            Act::Make => (workshop.ready(&recipe, &mut warnings).await?, Vec::new()),
            Act::Suppose => workshop.supposed(&recipe).await?,
        };
        let wanted = Probe { builder: Some(name.clone()), needs_buildx: None };
        let engine = match commands.is_empty() {
            true => Some(probe::probe(&world.environment, &wanted).await?),
            false => None,
        };
        Ok::<_, Error>((name, engine, commands))
    };
    match made.await {
        Ok((name, engine, commands)) => {
            chosen.engine = engine.unwrap_or_else(|| supposed_engine(&chosen.engine, &name));
            let reason = "--builder-auto: the default builder cannot export a cache".to_owned();
            chosen.builder = Some(AutoBuilder { name: Some(name), reason, commands });
        }
        Err(error) => {
            let reason = causes(&error);
            warnings.push(format!("no builder could be made, the default one builds: {reason}"));
            chosen.builder = Some(default(reason));
        }
    }
    chosen.warnings = warnings;
    chosen
}

/// Makes the builder that a build would use, and tells its name. `current`: it becomes buildx's current one.
pub async fn create(
    world: &World,
    settings: &Settings,
    client: &Client,
    registries: &BTreeSet<String>,
    current: bool,
) -> Result<(String, Vec<String>), Error> {
    let workshop = Workshop::new(world, settings);
    let mut warnings = Vec::new();
    let recipe = workshop.recipe(client, registries).await?;
    let name = workshop.ready(&recipe, &mut warnings).await?;
    if current {
        workshop.run(&workshop.builder(&name).choose()).await?;
    }
    Ok((name, warnings))
}

/// Removes every builder of ours with its context and its files; tells what was removed.
pub async fn remove(world: &World) -> Result<Vec<String>, Error> {
    let settings = Settings::default();
    let workshop = Workshop::new(world, &settings);
    let mut names = BTreeSet::from([NAME.to_owned()]);
    for entry in std::fs::read_dir(&workshop.folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let stem = path.file_stem().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        if path.extension().is_some_and(|it| it == "toml") && stem.starts_with(NAME) {
            names.insert(stem.to_owned());
        }
    }
    let mut removed = Vec::new();
    for name in &names {
        let builder = workshop.builder(name);
        let is_ours = |present: &Present| {
            present.driver == Some(Driver::DockerContainer) || workshop.file(name).exists()
        };
        if workshop.inspect(name).await?.as_ref().is_some_and(is_ours) {
            workshop.remove(name).await?;
            removed.push(format!("builder `{name}`"));
        }
        if workshop.has_context(name).await? {
            workshop.run(&builder.remove_context()).await?;
            removed.push(format!("context `{}`", context(name)));
        }
        if workshop.file(name).exists() {
            let path = workshop.file(name);
            std::fs::remove_file(&path).map_err(|source| Error::File { path: path.clone(), source })?;
            removed.push(path.display().to_string());
        }
    }
    if workshop.folder.is_dir() {
        // Whoever waits for the lock makes the folder anew.
        let _ = std::fs::remove_dir_all(&workshop.folder);
    }
    Ok(removed)
}

/// The engine as it will be with a builder that is not there yet.
fn supposed_engine(default: &Engine, name: &str) -> Engine {
    Engine {
        builder: name.to_owned(),
        driver: Driver::DockerContainer,
        store: Store::GraphDriver,
        buildkit: None,
        ..default.clone()
    }
}

/// An error with its causes, in one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
