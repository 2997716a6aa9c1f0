//! `layerlift buildctl`: the line, the way, the exit code.

use crate::base::process::Command;
use crate::cli::app::LineArgs;
use crate::cli::build::exit_code;
use crate::cli::failure::Failure;
use crate::cli::{group, plan};
use crate::invocation::{buildctl_line, with_subcommand};
use crate::model::outcome::StepStatus;
use crate::workflow::buildctl;
use crate::workflow::group::define::Untouched;
use crate::workflow::world::World;

/// Runs it.
pub async fn run(arguments: LineArgs, world: &World) -> Result<u8, Failure> {
    let original = || Command::new("buildctl", with_subcommand(&arguments.line));
    let line = match buildctl_line(&arguments.line) {
        Ok(line) => line,
        Err(left) => return Err(group::leave(world, &original(), left)),
    };
    let request = match &line.request {
        Ok(request) => request.clone(),
        Err(reason) => return Err(group::untouched(world, &original(), Untouched::because(*reason))),
    };
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    if arguments.dry_run {
        let prepared = buildctl::prepare(world, &line, &request, &settings).await?;
        plan::show_prepared(&prepared, &settings, world);
        return Ok(0);
    }
    let outcome = buildctl::build(world, &line, &request, &settings).await?;
    let ran = outcome.count(StepStatus::Run);
    exit_code(outcome.status, outcome.exit_code, &outcome.warnings, ran, &settings)
}
