//! Telling the outcome, to everybody who wants to know.

use std::path::Path;

use crate::base::env;
use crate::model::outcome::Outcome;
use crate::model::request::Request;
use crate::model::settings::Settings;
use crate::report::file::{self, check_writable};
use crate::report::text::{self, Style};
use crate::report::{github, gitlab, json};
use crate::workflow::error::Error;
use crate::workflow::world::World;

/// Columns of a log that is no terminal.
const LOG_WIDTH: usize = 110;

/// Checks, before anything is built, that the reports that were asked for can be written.
pub fn check(world: &World, settings: &Settings) -> Result<(), Error> {
    for path in [&settings.report, &settings.dotenv].into_iter().flatten() {
        check_writable(&world.folder.join(path))?;
    }
    Ok(())
}

/// Writes every report. What CI systems offer by themselves (step summary, outputs) is a warning when it fails; what was
/// asked for is an error.
pub fn outcome(
    world: &World,
    request: &Request,
    settings: &Settings,
    outcome: &Outcome,
) -> Result<(), Error> {
    if !request.is_on("quiet") && !request.is_question() {
        let style = Style { color: world.printer.color, width: LOG_WIDTH };
        world.printer.message(&text::summary(outcome, style));
    }
    if let Some(path) = &settings.report {
        json::write(&world.folder.join(path), outcome)?;
    }
    if let Some(path) = &settings.dotenv {
        gitlab::write_dotenv(&world.folder.join(path), outcome)?;
    }
    let offered = |variable, write: fn(&Path, &Outcome) -> Result<(), file::Error>| {
        if let Some(path) = world.environment.get(variable)
            && let Err(error) = write(Path::new(path), outcome)
        {
            world.printer.warning(&error.to_string());
        }
    };
    if world.environment.is_true(env::GITHUB_ACTIONS) {
        offered(env::GITHUB_STEP_SUMMARY, github::write_step_summary);
        offered(env::GITHUB_OUTPUT, github::write_outputs);
    }
    Ok(())
}
