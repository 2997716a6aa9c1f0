//! Telling the outcome, to everybody who wants to know.

use std::path::Path;

use crate::base::clock;
use crate::base::env;
use crate::model::outcome::{GroupOutcome, Outcome};
use crate::model::record::Explanation;
use crate::model::request::Request;
use crate::model::settings::Settings;
use crate::report::file::{self, check_writable};
use crate::report::text::{self, Style};
use crate::report::{explanation, github, gitlab, group as report_group, html, json, line};
use crate::workflow::error::Error;
use crate::workflow::world::World;

/// Columns of a log that is no terminal.
const LOG_WIDTH: usize = 110;

/// Checks, before anything is built, that the reports that were asked for can be written.
pub fn check(world: &World, settings: &Settings) -> Result<(), Error> {
    for path in [&settings.report, &settings.html, &settings.dotenv].into_iter().flatten() {
        check_writable(&world.folder.join(path))?;
    }
    Ok(())
}

/// Tells, before a build, which steps will run. `name`: of one image among several.
pub fn prediction(world: &World, name: Option<&str>, explanation: &Explanation) {
    let text = explanation::prediction(explanation);
    match name {
        Some(name) if !text.is_empty() => {
            world.printer.message(&format!("layerlift: image {}\n{text}", line::clean(name)));
        }
        _ => world.printer.message(&text),
    }
}

/// Writes every report of a request's build, as [`of_build`] does.
pub fn outcome(
    world: &World,
    request: &Request,
    settings: &Settings,
    outcome: &Outcome,
) -> Result<(), Error> {
    of_build(world, request.is_on("quiet") || request.is_question(), settings, outcome)
}

/// Writes every report. What CI systems offer by themselves (step summary, outputs) is a warning when it fails; what was
/// asked for is an error. `quiet`: the log is told nothing.
pub fn of_build(world: &World, quiet: bool, settings: &Settings, outcome: &Outcome) -> Result<(), Error> {
    if !quiet {
        let style = Style { color: world.printer.color, width: LOG_WIDTH };
        world.printer.message(&text::summary(outcome, style));
    }
    if let Some(path) = &settings.report {
        json::write(&world.folder.join(path), outcome)?;
    }
    if let Some(path) = &settings.html {
        html::write(&world.folder.join(path), &html::of_outcome(outcome, clock::now()))?;
    }
    if let Some(path) = &settings.dotenv {
        gitlab::write_dotenv(&world.folder.join(path), outcome)?;
    }
    let summary = |path: &Path| github::write_step_summary(path, outcome);
    offer(world, summary, |path: &Path| github::write_outputs(path, outcome));
    Ok(())
}

/// The same for several images that were built together.
pub fn group(world: &World, settings: &Settings, quiet: bool, group: &GroupOutcome) -> Result<(), Error> {
    if !quiet {
        let style = Style { color: world.printer.color, width: LOG_WIDTH };
        world.printer.message(&report_group::summary(group, style));
    }
    if let Some(path) = &settings.report {
        json::write_group(&world.folder.join(path), group)?;
    }
    if let Some(path) = &settings.html {
        html::write(&world.folder.join(path), &html::of_group(group, clock::now()))?;
    }
    if let Some(path) = &settings.dotenv {
        report_group::write_dotenv(&world.folder.join(path), group)?;
    }
    let summary = |path: &Path| report_group::write_step_summary(path, group);
    offer(world, summary, |path: &Path| report_group::write_outputs(path, group));
    Ok(())
}

/// Writes into the files that GitHub offers.
fn offer(
    world: &World,
    summary: impl Fn(&Path) -> Result<(), file::Error>,
    outputs: impl Fn(&Path) -> Result<(), file::Error>,
) {
    let offered = |variable, write: &dyn Fn(&Path) -> Result<(), file::Error>| {
        if let Some(path) = world.environment.get(variable)
            && let Err(error) = write(Path::new(path))
        {
            world.printer.warning(&error.to_string());
        }
    };
    if world.environment.is_true(env::GITHUB_ACTIONS) {
        offered(env::GITHUB_STEP_SUMMARY, &summary);
        offered(env::GITHUB_OUTPUT, &outputs);
    }
}
