//! Why steps run: the inputs of this build, compared with the records of the builds whose caches it reads.
//!
//! A step's digest stands for everything that its result depends on, so a step whose digest is in a record of what is read
//! will be answered from there. Where several refs were merged, a step may be in any of their records. The first step of
//! a stage that is in none is its *miss*; it is compared with the step of the record that stands in its place
//! (`stage`), part by part (`parts`) and file by file (`files`), and what differs is its *cause*, in words that a developer
//! acts on. What follows a miss in its stage is not explained again.
//!
//! The same comparison is made before the build, as a prediction, and after it, with what each step took; where the two
//! differ, `surprise` says so. Nothing that is built depends on any of it; what links depend on is checked after the build
//! (`plan::link`).

mod files;
mod notes;
mod order;
mod parts;
mod predict;
mod stage;
mod surprise;
mod veil;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::inputs::{Inputs, StepInputs};
use crate::model::outcome::{BuildStatus, StageOutcome, StepStatus};
use crate::model::record::{Against, Cause, Explanation, Record};
use crate::model::reference::Digest;
use notes::{Circumstances, notes};
use surprise::surprises;

pub use predict::{Reading, Situation};
pub use surprise::Suspect;
pub use veil::Veil;

/// A record of an earlier build.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Where it was read.
    pub reference: String,
    /// The scope that it was read for; `None`: it is of this machine's last build.
    pub scope: Option<String>,
    /// The record.
    pub record: Arc<Record>,
}

impl Recorded {
    /// What a report says of it.
    pub fn against(&self) -> Against {
        Against {
            reference: self.reference.clone(),
            scope: self.scope.clone().or_else(|| self.record.scope.clone()),
            commit: self.record.commit.clone(),
            created: self.record.created,
        }
    }
}

/// Compares. `records`: those of what is read, the nearest first. `done`: the steps as they went, after the build.
pub fn explain(inputs: &Inputs, records: &[&Recorded], done: Option<&[StageOutcome]>) -> Explanation {
    let known = known(records);
    let steps = || inputs.stages.iter().flat_map(|stage| &stage.steps).filter(|step| !is_base(step));
    let misses = steps().filter(|step| !known.contains(&step.digest)).count();
    let mut explanation =
        Explanation { predicted: Some((misses, steps().count())), ..Explanation::default() };
    let Some((nearest, before)) = nearest(inputs, records) else { return explanation };
    explanation.against = Some(nearest.against());
    let compared = stage::Compared { inputs, before, record: &nearest.record, done };
    explanation.misses =
        inputs.stages.iter().filter_map(|stage| stage::miss(stage, &known, compared)).collect();
    if misses == 0 && inputs.digest != before.digest {
        explanation.notes.extend(image_notes(inputs, before));
    }
    explanation
}

/// Whether the step is the base image, which executes nothing and is not counted.
fn is_base(step: &StepInputs) -> bool {
    step.instruction.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case("FROM "))
}

/// The digests of the steps that the records' builds have left in the cache.
fn known<'a>(records: &[&'a Recorded]) -> HashSet<&'a Digest> {
    let of_record = |recorded: &&'a Recorded| {
        let record: &'a Record = &recorded.record;
        let stages = record.inputs.iter().flat_map(|inputs| &inputs.stages);
        let steps = stages.flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)));
        let whole = record.status == BuildStatus::Succeeded;
        let left = move |stage: &str, step: &StepInputs| {
            let ended = ended(&record.stages, stage, step.number);
            whole || is_base(step) || matches!(ended, Some(StepStatus::Cached | StepStatus::Run))
        };
        steps.filter(move |(stage, step)| left(&stage.name, step)).map(|(_, step)| &step.digest)
    };
    records.iter().flat_map(of_record).collect()
}

/// How a step ended. Built for several platforms, it ran if it ran for any.
fn ended(stages: &[StageOutcome], stage: &str, number: usize) -> Option<StepStatus> {
    let stage = stages.iter().find(|outcome| outcome.name.eq_ignore_ascii_case(stage))?;
    let of_number = || stage.steps.iter().filter(|step| step.number as usize == number);
    let ran = of_number().find(|step| matches!(step.status, StepStatus::Run | StepStatus::Failed));
    ran.or_else(|| of_number().next()).map(|step| step.status)
}

/// The record that has most in common with this build; of several, the nearest.
fn nearest<'a>(inputs: &Inputs, records: &[&'a Recorded]) -> Option<(&'a Recorded, &'a Inputs)> {
    let own: HashSet<&Digest> =
        inputs.stages.iter().flat_map(|stage| &stage.steps).map(|step| &step.digest).collect();
    let common = |before: &Inputs| {
        let steps = before.stages.iter().flat_map(|stage| &stage.steps);
        steps.filter(|step| own.contains(&step.digest)).count()
    };
    let with_inputs =
        records.iter().filter_map(|recorded| Some((*recorded, recorded.record.inputs.as_ref()?)));
    // Of equal ones, `max_by_key` takes the last.
    with_inputs.rev().max_by_key(|(_, before)| common(before))
}

/// What changes the image and no step.
fn image_notes(inputs: &Inputs, before: &Inputs) -> Vec<String> {
    let causes = parts::of_image(&inputs.image, &before.image);
    causes
        .into_iter()
        .map(|Cause { text, .. }| format!("the image differs although no step does: {text}"))
        .collect()
}
