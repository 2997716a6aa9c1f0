//! `layerlift build`: the request, the way, the exit code.

use crate::cli::app::BuildArgs;
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::plan;
use crate::model::outcome::BuildStatus;
use crate::model::settings::Settings;
use crate::workflow::build;
use crate::workflow::world::World;

/// Runs it.
pub async fn run(arguments: BuildArgs, world: &World) -> Result<u8, Failure> {
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    let request = arguments.engine.into_request();
    if arguments.dry_run {
        return plan::show(&request, &settings, crate::cli::app::Format::Text, world).await;
    }
    let outcome = build::build(world, &request, &settings).await?;
    exit_code(outcome.status, outcome.exit_code, &outcome.warnings, &settings)
}

/// The engine's own code, or ours where `--strict` wants more.
pub(super) fn exit_code(
    status: BuildStatus,
    code: i32,
    warnings: &[String],
    settings: &Settings,
) -> Result<u8, Failure> {
    if status == BuildStatus::Succeeded && settings.strict && !warnings.is_empty() {
        let message = format!("the build succeeded, but not its cache: {}", warnings.join("; "));
        return Err(Failure::new(ExitCode::STRICT, message).with_hint("without --strict these are warnings"));
    }
    // Exit codes are bytes; a code that does not fit is still a failure.
    Ok(u8::try_from(code).unwrap_or(1))
}
