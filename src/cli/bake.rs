//! `layerlift bake`: the line, the way, the exit code.

use std::time::Instant;

use crate::base::process::Command;
use crate::cli::app::BakeArgs;
use crate::cli::build::exit_code;
use crate::cli::failure::Failure;
use crate::cli::group;
use crate::engine::probe::Probe;
use crate::invocation::bake_line;
use crate::model::outcome::StepStatus;
use crate::workflow::error::Error;
use crate::workflow::group::decide::{self, Act};
use crate::workflow::group::{define, run as engine_run};
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
        let (defined, start) =
            tokio::join!(define::of_bake(world, line), decide::start(world, &settings, wanted));
        Ok::<_, Error>((defined, start?))
    };
    let (defined, start) = world.unless_interrupted(asked).await?;
    let defined = match defined {
        Ok(defined) => defined,
        Err(untouched) => return Err(group::untouched(world, &original(), untouched)),
    };
    let act = if arguments.dry_run { Act::Suppose } else { Act::Give(begun) };
    let decided = match decide::decide(world, &settings, &defined, start, act).await? {
        Ok(decided) => decided,
        Err(_) => {
            let untouched = defined.untouched("this engine has no bake".to_owned());
            return Err(group::untouched(world, &original(), untouched));
        }
    };
    if arguments.dry_run {
        group::show_bake(world, &settings, &defined, &decided);
        return Ok(0);
    }
    let outcome = engine_run::run(world, &settings, &defined, decided, begun).await?;
    let ran = outcome.count(StepStatus::Run);
    exit_code(outcome.status, outcome.exit_code, &outcome.all_warnings(), ran, &settings)
}
