//! What is told of a build: before it what follows from the plan, after it why its steps ran, and its record.

use std::time::Duration;

use crate::base::clock;
use crate::engine::progress::{Steps, TransferKind};
use crate::model::outcome::{Outcome, Written};
use crate::model::record::{CacheCost, Explanation, Record};
use crate::model::request::Request;
use crate::model::reuse::AnsweredBuild;
use crate::plan::chain::Finding;
use crate::plan::explain::Suspect;
use crate::plan::steps::{Facts, Keep, Plan};
use crate::plan::worth::{self, Loss};
use crate::workflow::decide::Prepared;
use crate::workflow::last_build::{self, LastBuilds};
use crate::workflow::records::{self, About, Place};
use crate::workflow::world::World;

/// The outcome before anything has run: what is known from the plan.
pub(super) fn planned(request: &Request, prepared: &Prepared) -> Outcome {
    let (facts, plan) = (&prepared.facts, &prepared.plan);
    Outcome {
        scope: facts.scopes.own.as_ref().map(ToString::to_string),
        cache_from: cache_from(plan),
        cache_to: cache_to(&plan.keep),
        candidates: plan.chain.verdicts.clone(),
        tags: request.tags(),
        inputs: facts.inputs.as_ref().ok().map(|inputs| inputs.digest.to_string()),
        linked: plan.link.links.clone(),
        ..Outcome::begun(facts.pipeline.clone(), facts.engine.clone(), plan.strategy, facts.modes.clone())
    }
}

/// Why steps ran, and what went otherwise than was said before the build.
pub(super) fn conclusion(prepared: &Prepared, outcome: &Outcome) -> Explanation {
    let (facts, plan) = (&prepared.facts, &prepared.plan);
    let buildkit = facts.engine.buildkit.map(String::from);
    let reads = plan.build.flags.iter().any(|flag| flag.name == "cache-from");
    let suspect = Suspect {
        buildkit: buildkit.as_deref(),
        without_cache: plan.chain.read.is_some() && !reads,
        layers_gone: facts
            .candidates
            .iter()
            .any(|candidate| matches!(&candidate.finding, Finding::Found(found) if !found.gone.is_empty())),
        own_store: false,
    };
    let mut explanation = plan.situation(facts).conclude(&outcome.stages, suspect);
    explanation.notes.extend(plan.loss.map(Loss::note));
    explanation
}

/// Keeps the record of a build for `layerlift explain`, also of one that failed. It is no one's loss where that does not work.
pub(super) fn remember(world: &World, facts: &Facts, outcome: &Outcome) {
    remember_image(world, facts.keys.image(), facts.into(), outcome);
}

/// The same. `image`: its part of tags.
pub(super) fn remember_image(world: &World, image: &str, about: About<'_>, outcome: &Outcome) {
    if !outcome.stages.is_empty()
        && let Some(last) = LastBuilds::of(&world.environment, &world.folder)
    {
        let _ = last.write(image, &records::of(about, outcome));
    }
}

/// Remembers for `layerlift explain` which builds of a run were answered by images. It is no one's loss either.
pub(super) fn remember_answers<'a>(world: &World, outcomes: impl Iterator<Item = &'a Outcome>) {
    let answered = |outcome: &Outcome| {
        let image = outcome.reused.clone()?;
        Some(AnsweredBuild { at: clock::now(), tags: outcome.tags.clone(), image })
    };
    let builds: Vec<AnsweredBuild> = outcomes.filter_map(answered).collect();
    if !builds.is_empty()
        && let Some(last) = LastBuilds::of(&world.environment, &world.folder)
    {
        let _ = last.write_answered(&builds);
    }
}

/// Writes the record of a build. That it cannot be written harms nothing, and is a note.
pub(super) async fn record(
    place: Option<&Place>,
    prepared: &Prepared,
    outcome: &Outcome,
    steps: &Steps,
) -> Option<Result<Written, String>> {
    let place = place?;
    let record = whole(prepared, outcome, steps);
    let written = match place {
        Place::Registry(reference) => match records::write(&prepared.client, reference, &record).await {
            Ok(digest) => Ok(Some(digest.to_string())),
            Err(error) => Err(error.to_string()),
        },
        Place::Folder { file, before } => {
            let record = before.as_deref().unwrap_or(&record);
            // Whoever may read the cache may read what it was made from.
            last_build::write_file(file, record, 0o644).map(|()| None).map_err(|error| error.to_string())
        }
    };
    let written =
        written.map(|digest| Written { what: "record".to_owned(), reference: place.to_string(), digest });
    Some(written.map_err(|error| format!("the record of this build was not written: {error}")))
}

/// The record with what the cache took, and with the times of steps that did not run.
pub(super) fn whole(prepared: &Prepared, outcome: &Outcome, steps: &Steps) -> Record {
    let (facts, plan) = (&prepared.facts, &prepared.plan);
    let record = records::of(facts.into(), outcome);
    let Ok(inputs) = &facts.inputs else { return record };
    let cache_costs = match &plan.keep {
        Keep::GivenUp => worth::costs(&facts.records, plan.strategy, None),
        Keep::Export(_) | Keep::Inline { .. } | Keep::Deferred(_) => {
            let took = |kind| -> Duration {
                let transfers = steps.transfers().into_iter().filter(|transfer| transfer.kind == kind);
                transfers.map(|transfer| transfer.duration).sum()
            };
            // What is exported after the build. Nobody waits for what is left to a flush.
            let after = match plan.keep {
                Keep::Inline { .. } | Keep::Deferred(_) => outcome.cache_export,
                _ => Duration::ZERO,
            };
            let cost = CacheCost {
                measured: record.created,
                export: (took(TransferKind::CacheExport) + after).as_secs_f64(),
                import: took(TransferKind::CacheImport).as_secs_f64(),
            };
            worth::costs(&facts.records, plan.strategy, Some(cost))
        }
        Keep::Nothing | Keep::Classic(_) | Keep::Folder { .. } => Vec::new(),
    };
    let times = worth::carried(inputs, &facts.records, &outcome.stages);
    let left_out = match &plan.keep {
        Keep::Inline { left_out, .. } => left_out.clone(),
        _ => Vec::new(),
    };
    Record { cache_costs, times, given_up: plan.keep == Keep::GivenUp, left_out, ..record }
}

pub(super) fn labels(facts: &Facts) -> Vec<String> {
    facts.graph.iter().flat_map(|graph| graph.stages.iter().map(|stage| stage.label.clone())).collect()
}

fn cache_from(plan: &Plan) -> Vec<String> {
    let folder =
        plan.build.flags.iter().filter(|flag| flag.name == "cache-from").find_map(|flag| flag.value.text());
    match (&plan.chain.read, plan.pull.as_slice()) {
        (Some(reference), _) => vec![reference.to_string()],
        (None, []) => folder.map(str::to_owned).into_iter().collect(),
        (None, images) => images.iter().map(ToString::to_string).collect(),
    }
}

fn cache_to(keep: &Keep) -> Option<String> {
    match keep {
        Keep::Nothing | Keep::GivenUp => None,
        Keep::Export(reference) | Keep::Inline { merged: reference, .. } => Some(reference.to_string()),
        Keep::Deferred(deferred) => Some(deferred.own.to_string()),
        Keep::Classic(stages) => stages.last().map(|stage| stage.reference.to_string()),
        Keep::Folder { place, .. } => Some(place.display().to_string()),
    }
}
