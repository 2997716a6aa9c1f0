//! Whether a cache is worth what it takes: decided from the records of earlier builds.
//!
//! What it takes is measured: the time in which a build read its cache and wrote the next one, beside everything else. What
//! it saves is at most what all steps of the build took when they last ran, since no hit saves more. So a cache loses for
//! certain where it takes longer than all steps together. Three rules keep that steady:
//!
//! - the last **two** builds must both have lost. The first build of a project carries every layer, those after it carry
//!   what is new; one slow day of a registry is no reason either;
//! - it is given up where it takes [`CLEARLY`] as long as the steps and [`AT_LEAST`] more, and taken up again only when the
//!   steps take as long as it did, so that a build in between changes nothing;
//! - while it is given up nothing is read, so that every step runs and is timed anew, and what the cache took is carried from
//!   record to record. After [`FORGOTTEN_AFTER`] it is tried again.
//!
//! A step of which nobody knows how long it takes is worth any cache. One is known by its digest, or by its instruction in
//! the stage: what a `RUN` of changed sources takes is about what it took before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::SignedDuration;

use crate::base::units;
use crate::model::inputs::{Inputs, StageInputs, StepInputs};
use crate::model::outcome::{StageOutcome, StepStatus};
use crate::model::record::CacheCost;
use crate::model::reference::Digest;
use crate::model::settings::Strategy;
use crate::plan::explain::{Recorded, ended, is_base, took};

/// How many times as long as the steps a cache must take to be given up.
const CLEARLY: f64 = 1.5;

/// How much longer than the steps it must take.
const AT_LEAST: Duration = Duration::from_secs(2);

/// When a measured cost counts no more.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How many costs must agree, and are kept.
const AGREEING: usize = 2;

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// For the cache to be read and written.
    Both,
    /// For it to be read: another job, or a later step, writes it.
    Reading,
}

/// A cache that takes longer than what it can save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// What the job waits for.
    pub waits: Waits,
    /// How long that took, in the build of the last two in which it took less.
    pub cost: Duration,
    /// What all steps took when they last ran.
    pub steps: Duration,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [cost, steps] = [self.cost, self.steps].map(units::duration);
        let what = if self.waits == Waits::Both { "read and write" } else { "read" };
        write!(formatter, "the cache took {cost} or more to {what}, all steps together take {steps}")
    }
}

impl Loss {
    /// What a report says of it.
    pub fn note(self) -> String {
        format!("no cache is read or kept: {self} (--weigh-cache=off keeps it)")
    }
}

/// Whether the cache loses. `records`: all that were found, the nearest first.
pub fn loss(inputs: &Inputs, records: &[Recorded], strategy: Strategy, waits: Waits) -> Option<Loss> {
    let last = &nearest(records, strategy)?.record;
    let counts = |cost: &&CacheCost| last.created.duration_since(cost.measured) <= FORGOTTEN_AFTER;
    let paid = |cost: &CacheCost| match waits {
        Waits::Both => cost.total(),
        Waits::Reading => CacheCost { export: 0.0, ..*cost }.total(),
    };
    let costs: Vec<Duration> = last.cache_costs.iter().filter(counts).map(paid).collect();
    let cost = costs.iter().take(AGREEING).min().copied().filter(|_| costs.len() >= AGREEING)?;
    let times = Times::of(records);
    let steps = inputs.stages.iter().flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)));
    let mut seen: HashSet<&Digest> = HashSet::new();
    let own = steps.filter(|(_, step)| !is_base(step) && seen.insert(&step.digest));
    let steps = own
        .map(|(stage, step)| times.of_step(stage, step))
        .try_fold(Duration::ZERO, |sum, time| sum.checked_add(time?))?;
    let loses = match last.given_up {
        true => cost > steps,
        false => cost.as_secs_f64() > steps.as_secs_f64() * CLEARLY && cost > steps.saturating_add(AT_LEAST),
    };
    loses.then_some(Loss { waits, cost, steps })
}

/// The record that tells what the cache of this strategy took.
pub(super) fn nearest(records: &[Recorded], strategy: Strategy) -> Option<&Recorded> {
    let of_strategy = |it: &&Recorded| it.scope.is_some() && it.record.strategy == strategy.to_string();
    records.iter().find(of_strategy)
}

/// What this build's record says of costs. `cost`: what its cache took; `None` where that was not measured, above all where
/// the cache is given up.
pub fn costs(records: &[Recorded], strategy: Strategy, cost: Option<CacheCost>) -> Vec<CacheCost> {
    let before = nearest(records, strategy).map(|last| &last.record);
    match (cost, before) {
        (Some(cost), Some(before)) if !before.given_up => {
            std::iter::once(cost).chain(before.cache_costs.iter().copied()).take(AGREEING).collect()
        }
        // What was known when it was given up is known no more: the cache is tried anew.
        (Some(cost), _) => vec![cost],
        (None, before) => before.map(|before| before.cache_costs.clone()).unwrap_or_default(),
    }
}

/// The times of steps that this build did not run, for its record: seconds by digest, as its own records have them.
pub fn carried(inputs: &Inputs, records: &[Recorded], done: &[StageOutcome]) -> BTreeMap<Digest, f64> {
    let times = Times::of(records);
    let steps = inputs.stages.iter().flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)));
    let not_run = steps
        .filter(|(stage, step)| !is_base(step) && ended(done, stage, step.number) != Some(StepStatus::Run));
    let known = not_run.filter_map(|(_, step)| {
        let time = times.by_digest.get(&step.digest)?;
        Some((step.digest.clone(), (time.as_secs_f64() * 1000.0).round() / 1000.0))
    });
    known.collect()
}

/// How long steps took when they last ran, as far as records tell.
#[derive(Debug, Default)]
pub struct Times<'a> {
    by_digest: HashMap<&'a Digest, Duration>,
    /// By stage and instruction, of the nearest record that tells.
    by_text: HashMap<(&'a str, &'a str), Duration>,
}

impl<'a> Times<'a> {
    /// Reads them. Of several records the nearest counts.
    pub fn of(records: &'a [Recorded]) -> Self {
        let mut times = Times::default();
        for Recorded { record, .. } in records {
            for stage in record.inputs.iter().flat_map(|inputs| &inputs.stages) {
                for step in stage.steps.iter().filter(|step| !is_base(step)) {
                    let carried = || record.times.get(&step.digest).copied();
                    let ran = took(&record.stages, stage, step.number);
                    let carried = || carried().and_then(|it| Duration::try_from_secs_f64(it).ok());
                    if let Some(time) = ran.or_else(carried) {
                        times.by_digest.entry(&step.digest).or_insert(time);
                        times.by_text.entry((&stage.name, &step.instruction)).or_insert(time);
                    }
                }
            }
        }
        times
    }

    /// How long a step will take, if it runs.
    pub fn of_step(&self, stage: &StageInputs, step: &StepInputs) -> Option<Duration> {
        let by_text = || self.by_text.get(&(stage.name.as_str(), step.instruction.as_str()));
        self.by_digest.get(&step.digest).or_else(by_text).copied()
    }
}

#[cfg(test)]
mod tests;
