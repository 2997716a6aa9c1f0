//! The user's build, run until it is done: once more where reading the cache made it fail, or where a push may pass.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::clock;
use crate::base::process;
use crate::engine::docker::Docker;
use crate::engine::progress::{Format, Steps};
use crate::model::reference::{Digest, Reference};
use crate::model::request::Request;
use crate::plan::chain::Finding;
use crate::plan::retry;
use crate::plan::steps::{Facts, Plan};
use crate::report::section::Sections;
use crate::workflow::display::Display;
use crate::workflow::engine_run::{Built, Runner};
use crate::workflow::error::Error;

/// Times that a push of the user's image is tried.
pub(super) const PUSH_TRIES: u32 = 3;

/// The user's build, shown as it runs; once more where reading the cache made it fail, or a push may pass.
///
/// What made it fail is taken out of the plan, so that the builds of stage images do not meet it again.
pub(super) async fn run(
    request: &Request,
    facts: &Facts,
    plan: &mut Plan,
    runner: Runner<'_>,
    sections: &mut Sections,
    warnings: &mut Vec<String>,
) -> Result<Built, process::Error> {
    let engine = &facts.engine;
    let description = format!("building with \"{}\" instance", engine.builder);
    let printer = runner.world.printer;
    let mut pushes = 1;
    let mut number = 0;
    // What it did before a push failed.
    let mut done = Steps::default();
    loop {
        number += 1;
        let format = Format::of(engine);
        let mut display = Display::of(request, format, description.clone(), runner.world);
        let (is_log, is_quiet) = (display.is_log(), matches!(display, Display::Quiet));
        if is_log {
            printer.message(&sections.open(
                &format!("layerlift_build_{number}"),
                "layerlift: build",
                clock::now(),
            ));
        }
        let built = runner.run(&plan.build, &mut display).await;
        display.finish(printer);
        if is_log {
            printer.message(&sections.close(clock::now()));
        }
        let mut built = built?;
        built.steps = built.steps.after(&done);
        if built.code == 0 {
            return Ok(built);
        }
        let mut again = |warning: String| {
            printer.warning(&warning);
            warnings.push(warning);
        };
        if let Some(reference) = blamed(plan, facts, &built.errors) {
            again(format!("a layer behind {reference} could not be read; building once more without it"));
            plan.forget_cache();
        } else if retry::push_may_pass(&built.errors) && pushes < PUSH_TRIES {
            again(format!("the image could not be pushed; trying again ({pushes} of {})", PUSH_TRIES - 1));
            tokio::time::sleep(Duration::from_secs(u64::from(pushes))).await;
            pushes += 1;
            done = built.steps;
        } else {
            // Quiet is about what goes well, as with `docker build -q`.
            if is_quiet {
                let said =
                    built.errors.iter().map(|error| error.trim_end()).filter(|error| !error.is_empty());
                said.for_each(|error| printer.message(&format!("{error}\n")));
            }
            return Ok(built);
        }
    }
}

/// The cache ref that made a build fail, if it was one.
pub(super) fn blamed(plan: &Plan, facts: &Facts, errors: &[String]) -> Option<Reference> {
    let reference = plan.chain.read.as_ref()?;
    let reads = plan.build.flags.iter().any(|flag| flag.name == "cache-from");
    let blobs: BTreeSet<Digest> = facts
        .candidates
        .iter()
        .filter_map(|candidate| match &candidate.finding {
            Finding::Found(found) => Some(found.cache.blobs().map(|(digest, _)| digest.clone())),
            _ => None,
        })
        .flatten()
        .collect();
    (reads && retry::cache_is_to_blame(errors, reference, &blobs)).then(|| reference.clone())
}

/// Pushes the user's image. A failure is final only after some tries: it is what was asked for.
pub(super) async fn push(image: &str, docker: &Docker, runner: Runner<'_>) -> Result<Option<Digest>, Error> {
    let printer = runner.world.printer;
    let mut tries = 1;
    loop {
        let mut interrupts = runner.world.interrupts.clone();
        match docker.push(image, &mut interrupts, |line| printer.bytes(line)).await {
            Ok(digest) => return Ok(digest),
            Err(error) if tries >= PUSH_TRIES => return Err(Error::Push(error)),
            Err(crate::engine::docker::Error::Process(error)) => return Err(error.into()),
            Err(error) => {
                printer.warning(&format!("{error}; trying again ({tries} of {})", PUSH_TRIES - 1));
                tokio::time::sleep(Duration::from_secs(u64::from(tries))).await;
                tries += 1;
            }
        }
    }
}
