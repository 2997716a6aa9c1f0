//! Why steps run: the inputs of this build, compared with the records of the builds whose caches it reads.
//!
//! A step's digest stands for everything that its result depends on, so a step whose digest is in a record of what is read
//! will be answered from there (`answered`). Where several refs were merged, a step may be in any of their records. The
//! first step of a stage that is in none is its *miss*; it is compared with the step of the record that stands in its place
//! (`stage`), part by part (`parts`) and file by file (`files`), and what differs is its *cause*, in words that a developer
//! acts on. What follows a miss in its stage is not explained again.
//!
//! The same comparison is made before the build, as a prediction, and after it, with what each step took; where the two
//! differ, `surprise` says so. Nothing that is built depends on any of it; what links depend on is checked after the build
//! (`plan::link`).

mod answered;
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

use crate::model::inputs::{Inputs, StageInputs, StepInputs};
use crate::model::outcome::StageOutcome;
use crate::model::parent_state::Link;
use crate::model::record::{Against, Cause, Explanation, Miss, Record};
use crate::model::reference::Digest;
use answered::answered;
use notes::{Circumstances, notes};
use surprise::surprises;

pub(in crate::plan) use answered::ended;
pub(in crate::plan) use order::may_name;
pub use predict::{Reading, Situation};
pub(in crate::plan) use stage::took;
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

/// The steps that a build makes layers of their own ([`link`](crate::plan::link)). A step has another cache key so.
#[derive(Debug, Clone, Copy)]
pub struct Links<'a> {
    /// They.
    pub made: &'a [Link],
    /// Why it makes no others so; `None` where there are no others.
    pub reason: Option<&'a str>,
}

impl Links<'_> {
    /// Whether the step of this digest is one of them.
    fn has(&self, step: &Digest) -> bool {
        self.made.iter().any(|link| link.step == *step)
    }
}

/// Compares. `records`: those of what is read, the nearest first. `done`: the steps as they went, after the build. `links`:
/// what this build links; `None` where it does not matter how the cache has a step.
pub fn explain(
    inputs: &Inputs,
    records: &[&Recorded],
    done: Option<&[StageOutcome]>,
    links: Option<Links<'_>>,
) -> Explanation {
    let known = answered(inputs, records, links);
    let (misses, all) = missed(inputs, &known);
    let mut explanation = Explanation { predicted: Some((misses, all)), ..Explanation::default() };
    let Some((nearest, before)) = nearest(inputs, records) else { return explanation };
    explanation.against = Some(nearest.against());
    let compared = stage::Compared { inputs, before, record: &nearest.record, done, links };
    let misses_of = |stage: &StageInputs| stage::miss(stage, &known, compared);
    explanation.misses = of_platforms(inputs, inputs.stages.iter().filter_map(misses_of));
    if misses == 0 && inputs.digest != before.digest {
        explanation.notes.extend(image_notes(inputs, before));
    }
    explanation
}

/// How many steps are not answered, of how many. One that is the same for several platforms is one.
fn missed(inputs: &Inputs, known: &HashSet<&Digest>) -> (usize, usize) {
    let steps = inputs.stages.iter().flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)));
    let counted = steps.filter(|(_, step)| !is_base(step));
    let counted: HashSet<(&str, usize, &Digest)> =
        counted.map(|(stage, step)| (stage.name.as_str(), step.number, &step.digest)).collect();
    (counted.iter().filter(|(.., digest)| !known.contains(digest)).count(), counted.len())
}

/// Misses of several platforms: what is the same for all that the stage is built for is told once.
fn of_platforms(inputs: &Inputs, misses: impl Iterator<Item = Miss>) -> Vec<Miss> {
    let platforms = |name: &str| inputs.stages.iter().filter(|stage| stage.name == name).count();
    let mut told: Vec<(Miss, usize)> = Vec::new();
    for miss in misses {
        let is_same = |other: &Miss| {
            Miss { platform: None, ..other.clone() } == Miss { platform: None, ..miss.clone() }
        };
        match told.iter_mut().find(|(other, _)| is_same(other)) {
            Some((_, count)) => *count += 1,
            None => told.push((miss, 1)),
        }
    }
    let of_all = |(miss, count): (Miss, usize)| match count == platforms(&miss.stage) {
        true => Miss { platform: None, ..miss },
        false => miss,
    };
    told.into_iter().map(of_all).collect()
}

/// Whether the step is the base image, which executes nothing and is not counted.
pub(in crate::plan) fn is_base(step: &StepInputs) -> bool {
    step.instruction.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case("FROM "))
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
