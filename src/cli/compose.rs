//! `layerlift compose`: builds the services, then lets compose start them where it was to.

use std::time::Instant;

use crate::base::process::Handover;
use crate::cli::app::ComposeArgs;
use crate::cli::build::exit_code;
use crate::cli::failure::Failure;
use crate::cli::group;
use crate::engine::bake;
use crate::invocation::{ComposeLine, ComposeVerb, compose_line};
use crate::model::outcome::StepStatus;
use crate::model::settings::Settings;
use crate::workflow::group::compose::{self, Way};
use crate::workflow::group::{prepare, run as engine_run, singly};
use crate::workflow::tell;
use crate::workflow::world::World;

/// Runs it.
pub async fn run(arguments: ComposeArgs, world: &World) -> Result<u8, Failure> {
    let begun = Instant::now();
    let original = || bake::compose(arguments.standalone, &[], &[], &arguments.line);
    let line = match compose_line(&arguments.line) {
        Ok(line) => line,
        Err(left) => return Err(group::leave(world, &original(), left)),
    };
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    tell::check(world, &settings)?;
    let way = match compose::define(world, &line, arguments.standalone).await? {
        Ok(way) => way,
        Err(untouched) => return Err(group::untouched(world, &original(), untouched)),
    };
    let code = match build(world, &settings, way, arguments.dry_run, begun).await? {
        None => return Ok(0),
        Some(code) => code,
    };
    if code != 0 || line.verb == ComposeVerb::Build {
        return Ok(code);
    }
    Err(start(&line, arguments.standalone))
}

/// Builds, or shows how; the exit code, where something was built.
async fn build(
    world: &World,
    settings: &Settings,
    way: Way,
    dry_run: bool,
    begun: Instant,
) -> Result<Option<u8>, Failure> {
    let outcome = match way {
        Way::Bake(defined, engine) => {
            let prepared = prepare::prepare(world, settings, defined.members.clone(), *engine).await?;
            if dry_run {
                group::show_bake(world, settings, &defined, &prepared);
                return Ok(None);
            }
            engine_run::run(world, settings, &defined, prepared, begun).await?
        }
        Way::Singly(services) => {
            if dry_run {
                let prepared = singly::prepare(world, settings, &services).await?;
                group::show_services(world, settings, &prepared);
                return Ok(None);
            }
            singly::run(world, settings, &services, begun).await?
        }
    };
    let ran = outcome.count(StepStatus::Run);
    exit_code(outcome.status, outcome.exit_code, &outcome.all_warnings(), ran, settings).map(Some)
}

/// Becomes the compose that starts what was built; returns where that is not possible.
fn start(line: &ComposeLine, standalone: bool) -> Failure {
    let progress: Vec<String> = line.progress.iter().map(|value| format!("--progress={value}")).collect();
    let globals = [line.globals.as_slice(), &progress].concat();
    let command = bake::compose(standalone, &globals, &[line.verb.name()], &line.afterwards);
    Failure::of_handover(&Handover::from(&command).replace())
}
