//! Running buildah or podman, and telling what it did.

use std::time::Instant;

use crate::base::clock;
use crate::base::process::{self, Output};
use crate::engine::buildah;
use crate::engine::progress::{Format, Steps};
use crate::model::modes::Modes;
use crate::model::outcome::{BuildStatus, Outcome, StepStatus, Written};
use crate::model::settings::{Settings, Strategy};
use crate::plan::buildah::Cache;
use crate::report::section::Sections;
use crate::workflow::buildah::lend::Loan;
use crate::workflow::buildah::{Prepared, account};
use crate::workflow::display::Display;
use crate::workflow::engine_run;
use crate::workflow::error::Error;
use crate::workflow::tell;
use crate::workflow::world::World;

/// The program's exit code for failures of its own, in difference to those of a step's program.
const OWN_FAILURE: i32 = 125;

/// Builds what was prepared. The outcome is reported already; what is left to the caller is the exit code. `begun`: when
/// the first question was asked.
pub async fn build(
    world: &World,
    settings: &Settings,
    mut prepared: Prepared,
    begun: Instant,
) -> Result<Outcome, Error> {
    let mut warnings = std::mem::take(&mut prepared.plan.warnings);
    let mut loan = Loan::new(world, &prepared, &mut warnings).await;
    warnings.iter().for_each(|warning| world.printer.warning(warning));
    let mut outcome = planned(&prepared, &loan.flags);
    outcome.preparation = begun.elapsed();
    let is_quiet = prepared.line.switch("quiet") == Some(true);
    if !is_quiet {
        tell::prediction(world, None, &account::prediction(&prepared));
    }
    match run(world, &prepared, &mut loan, &mut warnings).await {
        Err(process::Error::Interrupted { signal }) => {
            outcome.status = BuildStatus::Interrupted;
            outcome.exit_code = 128 + signal;
        }
        Err(other) => return Err(other.into()),
        Ok(done) => {
            outcome.exit_code = done.code;
            outcome.stages = done.steps.stages(&prepared.labels);
            outcome.duration = begun.elapsed();
            let without_cache = loan.flags.from.is_empty() && !prepared.plan.cache.from.is_empty();
            if prepared.plan.strategy != Strategy::Off {
                outcome.explanation = Some(account::conclusion(&prepared, &outcome, without_cache));
            }
            if done.code == 0 {
                outcome.status = BuildStatus::Succeeded;
            }
            // A step that ran is pushed, and so is one that was in the local store only.
            let pushed = outcome.count(StepStatus::Run) > 0
                || done.messages.iter().any(|message| buildah::pushed(message));
            if let Some(to) = loan.flags.to.as_ref().filter(|_| pushed) {
                let reference = to.to_string();
                outcome.written.push(Written { what: "cache".to_owned(), reference, digest: None });
                let recorded = match outcome.status {
                    BuildStatus::Succeeded => account::record(&prepared, &outcome).await,
                    BuildStatus::Failed | BuildStatus::Interrupted => None,
                };
                match recorded {
                    Some(Ok(written)) => outcome.written.push(written),
                    Some(Err(note)) => {
                        outcome.explanation.iter_mut().for_each(|it| it.notes.push(note.clone()))
                    }
                    None => {}
                }
            }
        }
    }
    outcome.traffic.asked = prepared.client.traffic().bytes_in;
    outcome.warnings = warnings;
    outcome.duration = begun.elapsed();
    account::remember(world, &prepared, &outcome);
    tell::of_build(world, is_quiet, settings, &outcome)?;
    Ok(outcome)
}

/// The outcome before anything has run.
fn planned(prepared: &Prepared, flags: &Cache) -> Outcome {
    // Without flags nothing is read of what was found.
    let read = if flags.from.is_empty() { &[] } else { prepared.plan.cache.from.as_slice() };
    let (facts, plan) = (&prepared.facts, &prepared.plan);
    let modes = Modes::untouched("buildah and podman read the folders themselves");
    Outcome {
        scope: facts.scopes.own.as_ref().map(ToString::to_string),
        inputs: prepared.known.inputs.as_ref().ok().map(|inputs| inputs.digest.to_string()),
        cache_from: read.iter().map(ToString::to_string).collect(),
        cache_to: flags.to.as_ref().map(ToString::to_string),
        candidates: plan.verdicts.clone(),
        tags: prepared.line.all("tag").map(str::to_owned).collect(),
        ..Outcome::begun(facts.pipeline.clone(), facts.engine.clone(), plan.strategy, modes)
    }
}

/// What a run came to.
struct Done {
    code: i32,
    steps: Steps,
    messages: Vec<String>,
}

/// The build, shown as it runs; once more without the part of the cache that made it fail.
async fn run(
    world: &World,
    prepared: &Prepared,
    loan: &mut Loan,
    warnings: &mut Vec<String>,
) -> Result<Done, process::Error> {
    let printer = world.printer;
    // `--quiet` leaves the image's id alone on standard output, and shows no log.
    let is_quiet = prepared.line.switch("quiet") == Some(true);
    let is_result = prepared.line.writes_to_stdout() || is_quiet;
    let output = if is_result { Output::Inherited } else { Output::Lines };
    let mut sections = Sections::new(prepared.facts.pipeline.provider);
    loop {
        let command = loan.applied(buildah::command(prepared.tool, &prepared.line, &loan.flags));
        if !is_quiet {
            printer.message(&sections.open(clock::now()));
        }
        let watched =
            engine_run::watch(world, &command, Format::Buildah, output, &mut Display::Verbatim, None).await;
        printer.message(&sections.close(clock::now()));
        let (code, steps, messages) = watched?;
        let Some(warning) = blamed(code, &messages, &mut loan.flags) else {
            return Ok(Done { code, steps, messages });
        };
        printer.warning(&warning);
        warnings.push(warning);
    }
}

/// Takes out what made a build fail, if it was the cache, and tells of it.
///
/// A cache that cannot be read never fails a build (`pullCache` in imagebuildah/stage_executor.go), but one that cannot be
/// written does.
fn blamed(code: i32, messages: &[String], flags: &mut Cache) -> Option<String> {
    let is_error =
        |message: &&String| message.starts_with("Error: ") || message.starts_with("error building");
    let error = messages.iter().rev().find(is_error).filter(|_| code == OWN_FAILURE)?;
    let why = error.trim_end();
    if error.contains("failed pushing cache to") {
        let to = flags.to.take()?;
        return Some(format!(
            "the cache could not be written to {to}; building once more without that: {why}"
        ));
    }
    let read = flags.from.iter().find(|repository| error.contains(repository.path()))?.clone();
    flags.from.clear();
    Some(format!("the cache in {read} could not be read; building once more without it: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Cache {
        let main = "r.io/app/cache/branch-main".parse().expect("repository");
        Cache { layers: true, from: vec![main], to: "r.io/app/cache/mr-1".parse().ok() }
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_not_written_again() {
        let mut left = flags();
        let error =
            "Error: failed pushing cache to {{{\"r.io\" \"app/cache/mr-1\"} \"e87d1\"}}: denied".to_owned();
        assert!(blamed(125, std::slice::from_ref(&error), &mut left).is_some());
        assert_eq!(left, Cache { to: None, ..flags() });
        assert_eq!(blamed(125, &[error], &mut left), None);
    }

    #[test]
    fn a_cache_that_cannot_be_read_is_not_read_again() {
        let mut left = flags();
        let error = "Error: reading blob sha256:00: from docker://r.io/app/cache/branch-main: 500".to_owned();
        assert!(blamed(125, &[error], &mut left).is_some());
        assert_eq!(left, Cache { from: Vec::new(), ..flags() });
    }

    #[test]
    fn the_builds_own_failures_are_not_the_caches() {
        let errors = [
            (1, "Error: building at STEP \"RUN false\": while running runtime: exit status 1"),
            (1, "Error: failed pushing cache to the shed"),
            (125, "Error: creating build container: initializing source docker://r.io/app:1: not found"),
        ];
        for (code, error) in errors {
            assert_eq!(blamed(code, &[error.to_owned()], &mut flags()), None, "{error}");
        }
    }
}
