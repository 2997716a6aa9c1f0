//! Where the build did otherwise than was said before it.

use std::collections::HashSet;

use crate::model::inputs::{Inputs, PartKind, StageInputs, StepInputs};
use crate::model::outcome::{StageOutcome, StepStatus};
use crate::plan::explain::answered::{answered, ended};
use crate::plan::explain::{Links, Recorded, is_base, parts};

/// What may have made a difference, as far as that is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Suspect<'a> {
    /// The engine's BuildKit.
    pub buildkit: Option<&'a str>,
    /// The build was run once more without the cache.
    pub without_cache: bool,
    /// Layers of what was read are gone from the registry.
    pub layers_gone: bool,
    /// The records are of this machine's own builds, whose engine keeps what it likes.
    pub own_store: bool,
}

/// The first surprise of each stage; what follows from one in another stage is none.
pub(super) fn surprises(
    inputs: &Inputs,
    records: &[&Recorded],
    done: &[StageOutcome],
    links: Option<Links<'_>>,
    suspect: Suspect<'_>,
) -> Vec<String> {
    let known = answered(inputs, records, links);
    let mut surprised: HashSet<&str> = HashSet::new();
    let mut told = Vec::new();
    for stage in &inputs.stages {
        let differs = |(_, step): &(usize, &StepInputs)| {
            let expected = known.contains(&step.digest);
            match of_all_platforms(inputs, done, stage, step) {
                Some(StepStatus::Run | StepStatus::Failed) => expected,
                // As a layer of its own it does not depend on those before it, as its digest does.
                Some(StepStatus::Cached) => !expected && !links.is_some_and(|links| links.has(&step.digest)),
                Some(StepStatus::Skipped) | None => false,
            }
        };
        let steps = stage.steps.iter().enumerate().filter(|(_, step)| !is_base(step));
        let Some((index, step)) = steps.into_iter().find(differs) else { continue };
        let follows = stage.steps[..=index]
            .iter()
            .flat_map(|step| &step.parts)
            .any(|part| part.kind == PartKind::Stage && surprised.contains(part.name.as_str()));
        surprised.insert(&stage.name);
        if follows {
            continue;
        }
        let what =
            format!("step {} of stage `{}`, `{}`,", step.number, stage.name, parts::cut(&step.instruction));
        let line = if known.contains(&step.digest) {
            let moving = inputs.unknown.iter().find(|unknown| unknown.line == step.line);
            let why = moving.map_or_else(|| why_run(records, suspect), |unknown| unknown.what.clone());
            format!("{what} ran although the record has it: {why}")
        } else {
            format!("{what} did not have to run: {}", why_cached(stage, index))
        };
        if !told.contains(&line) {
            told.push(line);
        }
    }
    told
}

/// How a step ended. One that is the same for several platforms runs for one of them, and is cached, or not reached, for
/// the others.
fn of_all_platforms(
    inputs: &Inputs,
    done: &[StageOutcome],
    stage: &StageInputs,
    step: &StepInputs,
) -> Option<StepStatus> {
    let is_same = |it: &StepInputs| it.number == step.number && it.digest == step.digest;
    let others = inputs.stages.iter().filter(|it| it.name == stage.name && it.steps.iter().any(is_same));
    let ended: Vec<StepStatus> = others.filter_map(|it| ended(done, it, step.number)).collect();
    let ran = ended.iter().find(|status| matches!(status, StepStatus::Run | StepStatus::Failed));
    ran.or(ended.first()).copied()
}

fn why_run(records: &[&Recorded], suspect: Suspect<'_>) -> String {
    let maker = records.iter().find_map(|recorded| {
        let made = recorded.record.engine.buildkit.as_deref()?;
        let now = suspect.buildkit?;
        (made != now).then(|| format!("the cache was made by BuildKit {made}, this is {now}"))
    });
    if suspect.without_cache {
        "the build was run once more without the cache".to_owned()
    } else if suspect.layers_gone {
        "layers of the cache are gone from the registry".to_owned()
    } else if suspect.own_store {
        "the engine's own store has lost it".to_owned()
    } else {
        maker.unwrap_or_else(|| {
            "the cache was cut or written by another build since, or something counts that layerlift does not see"
                .to_owned()
        })
    }
}

fn why_cached(stage: &StageInputs, index: usize) -> String {
    let stages = stage.steps[index].parts.iter().filter(|part| part.kind == PartKind::Stage);
    let names: Vec<String> = stages.map(|part| format!("`{}`", part.name)).collect();
    match names.as_slice() {
        [] => "the engine's own store or an older build in the cache had it".to_owned(),
        names => format!("what it takes from stage {} came out the same", names.join(", ")),
    }
}
