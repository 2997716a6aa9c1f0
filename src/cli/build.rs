//! `layerlift build`: the request, the way, the exit code.

use crate::base::units::plural;
use crate::cli::app::BuildArgs;
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::plan;
use crate::model::outcome::{BuildStatus, StepStatus};
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
    let ran = outcome.count(StepStatus::Run);
    exit_code(outcome.status, outcome.exit_code, &outcome.warnings, ran, &settings)
}

/// The engine's own code, or ours where `--strict` or `--fail-on-miss` want more. `ran`: how many steps did.
pub(super) fn exit_code(
    status: BuildStatus,
    code: i32,
    warnings: &[String],
    ran: usize,
    settings: &Settings,
) -> Result<u8, Failure> {
    if status == BuildStatus::Succeeded && settings.strict && !warnings.is_empty() {
        let message = format!("the build succeeded, but not its cache: {}", warnings.join("; "));
        return Err(Failure::new(ExitCode::STRICT, message).with_hint("without --strict these are warnings"));
    }
    if status == BuildStatus::Succeeded && settings.fail_on_miss && ran > 0 {
        let message = format!("{} ran in a build that was to hit all", plural(ran, "step"));
        let hint = "`layerlift explain` tells why; without --fail-on-miss this is no failure";
        return Err(Failure::new(ExitCode::MISS, message).with_hint(hint));
    }
    // Exit codes are bytes; a code that does not fit is still a failure.
    Ok(u8::try_from(code).unwrap_or(1))
}
