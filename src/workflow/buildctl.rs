//! `buildctl build` with the cache of this branch: the same way as `docker build`, with another program at its end.

use std::time::{Duration, Instant};

use crate::base::env;
use crate::base::process;
use crate::engine::buildctl;
use crate::invocation::BuildctlLine;
use crate::model::engine::Engine;
use crate::model::modes::Modes;
use crate::model::outcome::Outcome;
use crate::model::request::Request;
use crate::model::settings::Settings;
use crate::plan::steps;
use crate::workflow::before::{self, Before};
use crate::workflow::build;
use crate::workflow::decide::Prepared;
use crate::workflow::error::Error;
use crate::workflow::facts::{self, Gathered, Surroundings};
use crate::workflow::inputs::Targets;
use crate::workflow::reuse::look::Search;
use crate::workflow::world::World;
use crate::workflow::{source, tell};

/// buildctl itself waits 5 s for a connection.
const LIMIT: Duration = Duration::from_secs(10);

/// Gathers facts and decides. `request`: what the line asks for.
pub async fn prepare(
    world: &World,
    line: &BuildctlLine,
    request: &Request,
    settings: &Settings,
) -> Result<Prepared, Error> {
    let source = source::read(request, std::io::empty())?;
    let client = facts::registry(world, settings)?;
    let images = facts::images(request)?;
    let surroundings = facts::surroundings(world, settings, before::folder(request, world)).await;
    let search = Search::none("what buildctl makes is always built");
    let surroundings = Surroundings { images, ..surroundings };
    let before = Before { surroundings, search, targets: Targets::new() };
    let engine = engine(world, line);
    // The folders are named in the line, which is run as it was given.
    let settings = Settings { normalize_modes: Some(false), ..settings.clone() };
    let facts = facts::of_image(world, request, &settings, &source, &client, before, engine);
    let Gathered { mut facts, contexts, .. } = world.unless_interrupted(facts).await?;
    facts.modes = Modes::untouched("the line of buildctl names its folders itself");
    let plan = steps::plan(request, &settings, &facts)?;
    Ok(Prepared { facts, plan, answer: None, contexts, source, client, buildctl: Some(line.clone()) })
}

/// Asks who builds. A BuildKit that does not answer is no error here: buildctl's own words explain it better.
async fn engine(world: &World, line: &BuildctlLine) -> Result<Engine, Error> {
    let address = line.address.as_deref().or_else(|| world.environment.get(env::BUILDKIT_HOST));
    let (question, workers) = (buildctl::version(), buildctl::workers(line));
    let (version, workers) =
        tokio::join!(process::capture(&question, LIMIT), process::capture(&workers, LIMIT));
    if let Err(missing @ process::Error::NotFound { .. }) = version {
        return Err(missing.into());
    }
    let version = version.ok().and_then(|answer| buildctl::read_version(&answer.stdout));
    let workers = workers.map_or_else(|_| String::new(), |answer| answer.stdout);
    Ok(buildctl::engine(&workers, version, address))
}

/// Builds. The outcome is reported already; what is left to the caller is the exit code.
pub async fn build(
    world: &World,
    line: &BuildctlLine,
    request: &Request,
    settings: &Settings,
) -> Result<Outcome, Error> {
    tell::check(world, settings)?;
    let begun = Instant::now();
    let prepared = prepare(world, line, request, settings).await?;
    let (outcome, failure) = build::carry_out_prepared(world, request, settings, prepared, begun).await?;
    tell::outcome(world, request, settings, &outcome)?;
    failure.map_or(Ok(outcome), Err)
}
