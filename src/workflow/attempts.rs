//! The user's build, run until it is done: once more where reading the cache made it fail, or where a push may pass.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::printer::Printer;
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
const PUSH_TRIES: u32 = 3;

/// The runs of one build that have failed so far.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// Those that failed by a push.
    pushes: u32,
    /// What was done before a push failed.
    done: Steps,
}

impl Tries {
    /// The steps of the run that came last, as they went for the user.
    pub(super) fn whole(&self, steps: Steps) -> Steps {
        steps.after(&self.done)
    }

    /// Whether a run that failed is worth another one, of which `warn` tells; waits where a push may pass. `blamed`: cache
    /// refs that made it fail, which the next one does not read; `image`: what it makes.
    pub(super) async fn again(
        &mut self,
        blamed: &[Reference],
        (steps, errors): (&Steps, &[String]),
        image: &str,
        warn: impl FnOnce(String),
    ) -> bool {
        if !blamed.is_empty() {
            let blamed = blamed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            warn(format!("a layer behind {blamed} could not be read; building once more without it"));
            return true;
        }
        let left = PUSH_TRIES - 1;
        if self.pushes == left || !retry::push_may_pass(errors, &steps.push_failures()) {
            return false;
        }
        self.pushes += 1;
        warn(format!("{image} could not be pushed; trying again ({} of {left})", self.pushes));
        tokio::time::sleep(Duration::from_secs(u64::from(self.pushes))).await;
        self.done = steps.clone();
        true
    }
}

/// Says why a build failed that shows nothing: quiet is about what goes well, as with `docker build -q`.
pub(super) fn tell_failure(printer: Printer, errors: &[String]) {
    let said = errors.iter().map(|error| error.trim_end()).filter(|error| !error.is_empty());
    said.for_each(|error| printer.message(&format!("{error}\n")));
}

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
    let mut tries = Tries::default();
    loop {
        let display = Display::of(request, Format::of(engine), description.clone(), runner.world);
        let is_quiet = matches!(display, Display::Quiet);
        let run = async |display: &mut Display| runner.run(&plan.build, display).await;
        let mut built = display.during(printer, sections, run).await?;
        built.steps = tries.whole(built.steps);
        if built.code == 0 {
            return Ok(built);
        }
        let blamed = blamed(plan, facts, &built.errors);
        if blamed.is_some() {
            plan.forget_cache();
        }
        let warn = |warning: String| {
            printer.warning(&warning);
            warnings.push(warning);
        };
        if !tries.again(blamed.as_slice(), (&built.steps, &built.errors), "the image", warn).await {
            if is_quiet {
                tell_failure(printer, &built.errors);
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
