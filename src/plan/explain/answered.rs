//! Which steps of a build are answered by the caches whose records were read.

use std::collections::HashSet;

use crate::model::inputs::{Inputs, PartKind, StageInputs, StepInputs, StepRules};
use crate::model::outcome::{BuildStatus, StageOutcome, StepOutcome, StepStatus};
use crate::model::parent_state::Link;
use crate::model::record::Record;
use crate::model::reference::Digest;
use crate::plan::explain::{Links, Recorded, is_base};

/// The digests of the steps that will be answered. There may be others among them which this build does not have.
/// `links`: what this build links; `None` where it does not matter how the cache has a step.
pub(super) fn answered<'a>(
    inputs: &'a Inputs,
    records: &[&'a Recorded],
    links: Option<Links<'_>>,
) -> HashSet<&'a Digest> {
    let left = left(records, links);
    let from_registry: Vec<&Recorded> = records.iter().copied().filter(|it| it.scope.is_some()).collect();
    match inputs.rules {
        StepRules::Classic if !from_registry.is_empty() => {
            let images = images(&from_registry);
            let steps = inputs.stages.iter().flat_map(|stage| of_images(stage, &images));
            let bases = inputs.stages.iter().flat_map(|stage| &stage.steps).filter(|step| is_base(step));
            bases.map(|step| &step.digest).filter(|digest| left.contains(digest)).chain(steps).collect()
        }
        StepRules::EarlyBuildah if !from_registry.is_empty() => above_arguments(inputs, &left),
        StepRules::BuildKit => {
            let mut known = without_left_out(inputs, left, records);
            known.extend(risen(inputs, records, links));
            known
        }
        _ => left,
    }
}

/// Whether the step is one that early versions of buildah do not find in a registry: an `ARG` with a value.
pub(super) fn is_lost(rules: StepRules, step: &StepInputs) -> bool {
    rules == StepRules::EarlyBuildah
        && step.instruction.starts_with("ARG ")
        && step.parts.iter().any(|part| part.kind == PartKind::Argument)
}

/// Those steps that stand above all that is lost in their stage, and take nothing from a stage that comes out anew.
fn above_arguments<'a>(inputs: &'a Inputs, left: &HashSet<&Digest>) -> HashSet<&'a Digest> {
    let mut anew: HashSet<&str> = HashSet::new();
    let mut found = HashSet::new();
    for stage in &inputs.stages {
        let takes_anew = |step: &StepInputs| {
            step.parts.iter().any(|part| part.kind == PartKind::Stage && anew.contains(part.name.as_str()))
        };
        let is_found = |step: &&StepInputs| {
            left.contains(&step.digest) && !is_lost(inputs.rules, step) && !takes_anew(step)
        };
        let above: Vec<&Digest> = stage.steps.iter().take_while(is_found).map(|step| &step.digest).collect();
        if above.len() < stage.steps.len() {
            anew.insert(&stage.name);
        }
        found.extend(above);
    }
    found
}

/// Without the steps of stages whose results were not kept and are needed: a step of their own has changed, or one that
/// takes from them runs. Where neither is so, BuildKit answers them by their keys.
fn without_left_out<'a>(
    inputs: &Inputs,
    mut left: HashSet<&'a Digest>,
    records: &[&'a Recorded],
) -> HashSet<&'a Digest> {
    if records.iter().all(|recorded| recorded.record.left_out.is_empty()) {
        return left;
    }
    let is_held = |record: &Record, stage: &StageInputs| !record.left_out.contains(&stage.name);
    let held: HashSet<&Digest> = records
        .iter()
        .flat_map(|it| {
            it.record.inputs.iter().flat_map(move |inputs| inputs.stages.iter().map(move |stage| (it, stage)))
        })
        .filter(|(it, stage)| is_held(&it.record, stage))
        .flat_map(|(_, stage)| stage.steps.iter().map(|step| &step.digest))
        .collect();
    // A stage comes after those that it takes from.
    for stage in inputs.stages.iter().rev() {
        let takes = |step: &&StepInputs| {
            step.parts.iter().any(|part| part.kind == PartKind::Stage && part.name == stage.name)
        };
        let mut takers = inputs.stages.iter().flat_map(|other| &other.steps).filter(takes);
        let is_needed = stage.steps.iter().any(|step| !left.contains(&step.digest))
            || takers.any(|step| !left.contains(&step.digest));
        if is_needed {
            for step in stage.steps.iter().filter(|step| !is_base(step) && !held.contains(&step.digest)) {
                left.remove(&step.digest);
            }
        }
    }
    left
}

/// The digests of the steps that the records' builds have left in the cache, in the form that this build makes them in.
fn left<'a>(records: &[&'a Recorded], links: Option<Links<'_>>) -> HashSet<&'a Digest> {
    let of_record = |recorded: &&'a Recorded| {
        let record = &recorded.record;
        let stages = record.inputs.iter().flat_map(|inputs| &inputs.stages);
        let steps = stages.flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)));
        let whole = record.status == BuildStatus::Succeeded;
        let is_same_form = move |step: &StepInputs| {
            links.is_none_or(|links| links.has(&step.digest) == record.links(&step.digest))
        };
        let left = move |stage: &StageInputs, step: &StepInputs| {
            let ended = ended(&record.stages, stage, step.number);
            whole || is_base(step) || matches!(ended, Some(StepStatus::Cached | StepStatus::Run))
        };
        steps
            .filter(move |(stage, step)| is_same_form(step) && left(stage, step))
            .map(|(_, step)| &step.digest)
    };
    records.iter().flat_map(of_record).collect()
}

/// The `WORKDIR`s that rise above the copies before them, as they did in a build of the records: up there they do not
/// depend on those copies, as their digests do.
fn risen<'a>(inputs: &'a Inputs, records: &[&'a Recorded], links: Option<Links<'_>>) -> Vec<&'a Digest> {
    let of_record = |it: &&'a Recorded| {
        let inputs = it.record.inputs.as_ref();
        inputs.map(|inputs| raised(inputs, &it.record.linked)).unwrap_or_default()
    };
    let text = |(stage, step): (&'a StageInputs, &'a StepInputs)| (&*stage.name, &*step.instruction);
    let before: HashSet<(&str, &str)> = records.iter().flat_map(of_record).map(text).collect();
    let now = raised(inputs, links.map(|links| links.made).unwrap_or_default());
    now.into_iter().filter(|it| before.contains(&text(*it))).map(|(_, step)| &step.digest).collect()
}

/// The steps that were raised.
fn raised<'a>(inputs: &'a Inputs, links: &[Link]) -> Vec<(&'a StageInputs, &'a StepInputs)> {
    let is_raised = |step: &StepInputs| links.iter().any(|it| it.above.is_some() && it.step == step.digest);
    let steps = inputs.stages.iter().flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)));
    steps.filter(|(_, step)| is_raised(step)).collect()
}

/// The stage images of the records, each as the digests of its steps, in the order in which the classic builder is given
/// them: the nearest scope's first, the last stage first.
fn images<'a>(records: &[&'a Recorded]) -> Vec<Vec<&'a Digest>> {
    let of_stage = |stage: &'a StageInputs| stage.steps.iter().map(|step| &step.digest).collect();
    let inputs = records.iter().filter_map(|recorded| recorded.record.inputs.as_ref());
    inputs.flat_map(|inputs| inputs.stages.iter().rev().map(of_stage)).collect()
}

/// The steps of a stage that the classic builder takes from images: once it has taken one that is not the image's last, it
/// looks at no other image for the rest of the stage (moby, `image/cache/cache.go`: "avoid jumping to different target").
fn of_images<'a>(stage: &'a StageInputs, images: &[Vec<&'a Digest>]) -> Vec<&'a Digest> {
    let mut chosen: Option<&Vec<&Digest>> = None;
    let mut found = Vec::new();
    for step in stage.steps.iter().filter(|step| !is_base(step)) {
        let has = |image: &&Vec<&Digest>| image.contains(&&step.digest);
        let Some(image) = chosen.filter(has).or_else(|| images.iter().find(has).filter(|_| chosen.is_none()))
        else {
            break;
        };
        found.push(&step.digest);
        if image.last() != Some(&&step.digest) {
            chosen = Some(image);
        }
    }
    found
}

/// How a step ended. What an engine tells under several names for one platform ran if any of them did.
pub(in crate::plan) fn ended(
    stages: &[StageOutcome],
    stage: &StageInputs,
    number: usize,
) -> Option<StepStatus> {
    let told = told(stages, stage, number);
    let ran = told.iter().find(|step| matches!(step.status, StepStatus::Run | StepStatus::Failed));
    ran.or(told.first()).map(|step| step.status)
}

/// What an engine told of a step. Built for several platforms it tells each, but those that are the same for several under
/// one of them alone, and the platform that is built for only below the `ARG` that declares it.
pub(super) fn told<'a>(
    stages: &'a [StageOutcome],
    stage: &StageInputs,
    number: usize,
) -> Vec<&'a StepOutcome> {
    let Some(outcome) = stages.iter().find(|outcome| outcome.name.eq_ignore_ascii_case(&stage.name)) else {
        return Vec::new();
    };
    let all: Vec<&StepOutcome> = outcome.steps.iter().filter(|step| step.number as usize == number).collect();
    let Some(platform) = &stage.platform else { return all };
    let on = platform.split("->").next();
    let whole: Vec<&StepOutcome> =
        all.iter().copied().filter(|step| step.platform.as_ref() == Some(platform)).collect();
    let built_on: Vec<&StepOutcome> =
        all.iter().copied().filter(|step| step.platform.as_deref() == on).collect();
    [whole, built_on].into_iter().find(|some| !some.is_empty()).unwrap_or(all)
}
