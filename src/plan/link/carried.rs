//! What earlier builds knew of lower layers, as far as it still holds: a build that learns nothing hands it on.
//!
//! A state is known by the digest of its step, so that what is true of the step in one build is true of it in another, as
//! long as the step did not run again: then it may have left something else. Without this, a build that is not pushed, or
//! for which links are turned off, would take the knowledge away from those after it.

use std::collections::BTreeSet;

use crate::dockerfile::Graph;
use crate::model::inputs::Inputs;
use crate::model::outcome::{StageOutcome, StepStatus};
use crate::model::parent_state::{ParentState, Unlinked};
use crate::model::reference::Digest;
use crate::plan::explain::{Recorded, ended};
use crate::plan::link::Linking;
use crate::plan::link::trailing::{Standing, chain};

/// The most entries of trees that are handed on, all together.
const MOST_ENTRIES: usize = 5_000;

/// The states that still hold, at most one for each stage that the target stands on, from the nearest record that has one.
/// `linking`: what this build was decided from, and what of it is known not to hold, so that none of its step is believed;
/// `done`: the steps as they went; `own`: what this build knows itself.
pub fn carried(
    graph: &Graph,
    inputs: &Inputs,
    records: &[Recorded],
    linking: &Linking,
    done: &[StageOutcome],
    own: &[ParentState],
) -> Vec<ParentState> {
    let ran = |it: &Standing<'_>| {
        matches!(ended(done, it.stage, it.step.number), Some(StepStatus::Run | StepStatus::Failed))
    };
    // What stands on a step that ran stands on other layers than before.
    let steps = chain(graph, inputs).unwrap_or_default().into_iter();
    let steps: Vec<Standing<'_>> = steps.take_while(|it| !ran(it)).collect();
    let stage_of = |state: &ParentState| {
        let found = steps.iter().find(|it| it.step.digest == state.step)?;
        Some(found.stage.name.as_str())
    };
    let mut stages: BTreeSet<&str> = own.iter().filter_map(stage_of).collect();
    let mut left = MOST_ENTRIES;
    let mut carried = Vec::new();
    let known = records.iter().flat_map(|recorded| &recorded.record.parent_states);
    for state in linking.state.as_deref().into_iter().chain(known) {
        let Some(stage) = stage_of(state) else { continue };
        let is_refuted = linking.refuted.as_ref().is_some_and(|refuted| refuted.step == state.step);
        if !is_refuted && state.entries.len() <= left && stages.insert(stage) {
            left -= state.entries.len();
            carried.push(state.clone());
        }
    }
    carried
}

/// What still holds of the steps that nothing is linked on top of: for each that the target stands on, the newest that is
/// known. `own`: what this build found itself.
pub fn carried_unlinked(
    graph: &Graph,
    inputs: &Inputs,
    records: &[Recorded],
    own: Option<Unlinked>,
) -> Vec<Unlinked> {
    let steps = chain(graph, inputs).unwrap_or_default();
    let mut left: BTreeSet<&Digest> = steps.iter().map(|it| &it.step.digest).collect();
    let known = records.iter().flat_map(|recorded| recorded.record.unlinked.iter().cloned());
    own.into_iter().chain(known).filter(|it| left.remove(&it.step)).collect()
}
