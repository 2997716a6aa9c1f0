//! `layerlift compose`: builds the services, then lets compose start them where it was to.

use std::time::Instant;

use crate::base::process::Handover;
use crate::cli::app::ComposeArgs;
use crate::cli::build::exit_code;
use crate::cli::failure::Failure;
use crate::cli::group;
use crate::engine::bake;
use crate::invocation::{ComposeLine, ComposeVerb, compose_line};
use crate::model::engine::Engine;
use crate::model::outcome::StepStatus;
use crate::model::settings::Settings;
use crate::workflow::group::compose::{self, Way};
use crate::workflow::group::decide::{self, Act, DecidedGroup};
use crate::workflow::group::define::Group;
use crate::workflow::group::singly::Services;
use crate::workflow::group::{run as engine_run, singly};
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
    let way = match compose::define(world, &settings, &line, arguments.standalone).await? {
        Ok(way) => way,
        Err(untouched) => return Err(group::untouched(world, &original(), untouched)),
    };
    let way = match decided(world, &settings, way, arguments.dry_run, begun).await? {
        Ok(way) => way,
        // What is left to build is not built by a bake here.
        Err(engine) => match compose::singly(world, &line, arguments.standalone, &engine).await? {
            Ok(services) => Decided::Singly(services),
            Err(untouched) => return Err(group::untouched(world, &original(), untouched)),
        },
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

/// What is to be done.
enum Decided {
    /// A bake builds what no image answers for.
    Bake(Box<Group>, Box<DecidedGroup>),
    /// One service after the other.
    Singly(Services),
}

/// Decides. The inner error: the engine that cannot bake.
async fn decided(
    world: &World,
    settings: &Settings,
    way: Way,
    dry_run: bool,
    begun: Instant,
) -> Result<Result<Decided, Box<Engine>>, Failure> {
    match way {
        Way::Bake(defined, start) => {
            let act = if dry_run { Act::Suppose } else { Act::Give(begun) };
            let decided = decide::decide(world, settings, &defined, *start, act).await?;
            Ok(decided.map(|decided| Decided::Bake(defined, Box::new(decided))))
        }
        Way::Singly(services) => Ok(Ok(Decided::Singly(services))),
    }
}

/// Builds, or shows how; the exit code, where something was built.
async fn build(
    world: &World,
    settings: &Settings,
    way: Decided,
    dry_run: bool,
    begun: Instant,
) -> Result<Option<u8>, Failure> {
    let outcome = match way {
        Decided::Bake(defined, decided) => {
            if dry_run {
                group::show_bake(world, settings, &defined, &decided);
                return Ok(None);
            }
            engine_run::run(world, settings, &defined, *decided, begun).await?
        }
        Decided::Singly(services) => {
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
