//! What is told of a build by buildah or podman: before it which steps will run, after it why they ran, and its record.

use crate::model::outcome::{Outcome, StepStatus, Written};
use crate::model::record::Explanation;
use crate::model::settings::Strategy;
use crate::plan::buildah as plan;
use crate::plan::explain::{Reading, Situation, Suspect};
use crate::plan::scope::Scope;
use crate::workflow::account;
use crate::workflow::buildah::Prepared;
use crate::workflow::records::{self, About};
use crate::workflow::world::World;

/// What is known of the build before it. `sources`: [`sources`].
fn situation<'a>(prepared: &'a Prepared, sources: &'a [String]) -> Situation<'a> {
    let (facts, plan) = (&prepared.facts, &prepared.plan);
    Situation {
        inputs: prepared.known.inputs.as_deref().map_err(String::as_str),
        uncounted: None,
        reading: match plan.strategy {
            Strategy::Off => Reading::Unknown,
            _ if prepared.line.switch("no-cache") == Some(true) => Reading::Nothing,
            _ if !plan::reads(&prepared.line) => Reading::Elsewhere,
            _ => Reading::Chain,
        },
        records: &prepared.records,
        folder: None,
        sources,
        candidates: &plan.verdicts,
        own: facts.scopes.own.as_ref().map(Scope::as_str),
        is_empty: facts.pipeline.is_ci(),
        links: None,
    }
}

/// The scopes whose repositories are read.
fn sources(prepared: &Prepared) -> Vec<String> {
    let used = prepared.facts.candidates.iter().filter(|it| it.finding == plan::Finding::Found);
    used.map(|candidate| candidate.scope.clone()).collect()
}

/// Which steps will run, and why.
pub fn prediction(prepared: &Prepared) -> Explanation {
    situation(prepared, &sources(prepared)).explain(None)
}

/// Why steps ran, and what went otherwise than was said before the build. `without_cache`: what was read is read no more.
pub(super) fn conclusion(prepared: &Prepared, outcome: &Outcome, without_cache: bool) -> Explanation {
    let suspect = Suspect { without_cache, ..Suspect::default() };
    situation(prepared, &sources(prepared)).conclude(&outcome.stages, suspect)
}

fn about(prepared: &Prepared) -> About<'_> {
    let inputs = prepared.known.inputs.as_deref().ok();
    About { engine: &prepared.facts.engine, inputs, veil: &prepared.known.veil }
}

/// Keeps the record of a build for `layerlift explain`.
pub(super) fn remember(world: &World, prepared: &Prepared, outcome: &Outcome) {
    account::remember_image(world, prepared.facts.keys.image(), about(prepared), outcome);
}

/// Writes the record of a build whose steps were pushed, into the cache repo; the scope's repository lies below that.
pub(super) async fn record(prepared: &Prepared, outcome: &Outcome) -> Option<Result<Written, String>> {
    let facts = &prepared.facts;
    let inputs = prepared.known.inputs.as_ref().ok()?;
    let scope = facts.scopes.own.as_ref()?;
    let of_own = prepared.records.iter().find(|it| it.scope.as_deref() == Some(scope.as_str()));
    let there = of_own.and_then(|there| there.record.inputs.as_ref());
    let is_same = there.is_some_and(|there| there.digest == inputs.digest && there.rules == inputs.rules);
    if is_same && outcome.count(StepStatus::Run) == 0 {
        return None;
    }
    let place = facts.cache_repo.as_ref().ok()?.repository.with_tag(&facts.keys.record_tag(scope)).ok()?;
    let record = records::of(about(prepared), outcome);
    Some(match records::write(&prepared.client, &place, &record).await {
        Ok(digest) => Ok(Written {
            what: "record".to_owned(),
            reference: place.to_string(),
            digest: Some(digest.to_string()),
        }),
        Err(error) => Err(format!("the record of this build was not written: {error}")),
    })
}
