//! `layerlift bake`: the line, the way, the exit code.

use std::time::Instant;

use crate::base::process::Command;
use crate::cli::app::BakeArgs;
use crate::cli::build::exit_code;
use crate::cli::failure::Failure;
use crate::cli::group;
use crate::engine::probe::{self, Probe};
use crate::invocation::bake_line;
use crate::model::outcome::StepStatus;
use crate::workflow::error::Error;
use crate::workflow::group::{define, prepare, run as engine_run};
use crate::workflow::tell;
use crate::workflow::world::World;

/// Runs it.
pub async fn run(arguments: BakeArgs, world: &World) -> Result<u8, Failure> {
    let begun = Instant::now();
    let original = || {
        let words = ["buildx", "bake"].into_iter().map(str::to_owned);
        Command::new("docker", words.chain(arguments.line.iter().cloned()))
    };
    let line = match bake_line(&arguments.line) {
        Ok(line) => line,
        Err(left) => return Err(group::leave(world, &original(), left)),
    };
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    tell::check(world, &settings)?;
    let needs_buildx = Some("`docker buildx bake`".to_owned());
    let wanted = Probe { builder: line.builder.clone(), needs_buildx };
    let asked = async {
        let (defined, engine) =
            tokio::join!(define::of_bake(world, line), probe::probe(&world.environment, &wanted));
        Ok::<_, Error>((defined, engine?))
    };
    let (defined, engine) = world.unless_interrupted(asked).await?;
    let defined = match defined {
        Ok(defined) => defined,
        Err(untouched) => return Err(group::untouched(world, &original(), untouched)),
    };
    let prepared = prepare::prepare(world, &settings, defined.members.clone(), engine).await?;
    if arguments.dry_run {
        group::show_bake(world, &settings, &defined, &prepared);
        return Ok(0);
    }
    let outcome = engine_run::run(world, &settings, &defined, prepared, begun).await?;
    let ran = outcome.count(StepStatus::Run);
    exit_code(outcome.status, outcome.exit_code, &outcome.all_warnings(), ran, &settings)
}
