//! The last `COPY`s as layers of their own: the Dockerfile that is built instead, what lies below them, and the check that
//! the image stands on just that.

mod check;
pub(super) mod layers;
pub(super) mod learn;

use std::time::Duration;

use futures_util::future::join_all;

use crate::dockerfile::{Dockerfile, linked};
use crate::model::inputs::{Inputs, StepInputs};
use crate::model::outcome::Outcome;
use crate::model::parent_state::ParentState;
use crate::model::request::{Flag, Request};
use crate::plan::link::{Vain, carried, carried_unlinked};
use crate::plan::steps::{Facts, Keep, Plan};
use crate::report::explanation;
use crate::workflow::decide::Prepared;
use crate::workflow::error::Error;
use crate::workflow::link::layers::pushed;
use crate::workflow::link::learn::Reading;
use crate::workflow::named::NamedDockerfile;
use crate::workflow::pushed::Beside;
use crate::workflow::records;
use crate::workflow::source::Text;
use crate::workflow::world::World;

/// The longest time to learn in: this, or a part of the build's own where that is more.
const PATIENCE: Duration = Duration::from_secs(3);
const SHARE: u32 = 33;

pub(super) use check::{Again, check};

/// A Dockerfile with links in it, which is there as long as this value, and the flags that named the user's.
pub(super) struct Rewritten {
    dockerfile: NamedDockerfile,
    as_written: Vec<Flag>,
}

impl Rewritten {
    /// What is in it.
    pub(super) fn text(&self) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.dockerfile.path())
    }
}

/// Gives the plan a Dockerfile with the links in it. Where that does not work, nothing is linked.
pub(super) fn rewrite(prepared: &mut Prepared) -> Option<Rewritten> {
    if prepared.plan.link.links.is_empty() {
        return None;
    }
    let written = write(prepared);
    let plan = &mut prepared.plan;
    match written {
        Ok(dockerfile) => {
            let as_written = plan.build.flags.iter().filter(|flag| flag.name == "file").cloned().collect();
            plan.build = plan.build.reading(&dockerfile.path().to_string_lossy());
            Some(Rewritten { dockerfile, as_written })
        }
        Err(reason) => {
            plan.explanation.notes.push(format!("nothing was linked: {reason}"));
            plan.link.forget(&reason);
            None
        }
    }
}

/// The build as the user wrote it, for a reason.
pub(super) fn restore(plan: &mut Plan, rewritten: &Rewritten, reason: &Again) {
    plan.build.flags.retain(|flag| flag.name != "file");
    plan.build.flags.extend(rewritten.as_written.iter().cloned());
    match reason {
        Again::Failed(reason) => plan.link.forget(reason),
        Again::Refuted(reason) => plan.link.refute(reason),
    }
}

fn write(prepared: &Prepared) -> Result<NamedDockerfile, String> {
    let plan = &prepared.plan;
    let text = match &prepared.source.dockerfile {
        Text::Known(text) => text,
        Text::Unknown(reason) => return Err(reason.clone()),
    };
    let file = Dockerfile::parse(text).map_err(|error| error.to_string())?;
    let copy = linked(text, &file, &plan.link.links).ok_or("the Dockerfile cannot be rewritten")?;
    NamedDockerfile::write(&copy, &prepared.source).map_err(|error| error.to_string())
}

/// Says in the report what was linked. Steps are told as they are written.
pub(super) fn tell(inputs: Option<&Inputs>, outcome: &mut Outcome) {
    for (stage, step) in inputs.iter().flat_map(|inputs| steps(inputs)) {
        if outcome.linked.iter().any(|link| link.step == step.digest) {
            let told = outcome.stages.iter_mut().filter(|told| told.name.eq_ignore_ascii_case(stage));
            let told =
                told.flat_map(|told| &mut told.steps).filter(|told| told.number as usize == step.number);
            told.for_each(|told| told.instruction = told.instruction.replacen(" --link", "", 1));
        }
    }
    if let Some(told) = explanation::linked(&outcome.linked) {
        // An engine that stores what it pushes fetches them for that.
        let fetched = if outcome.traffic.fetched == 0 { "; no layer below was fetched" } else { "" };
        outcome.explanation.get_or_insert_default().notes.push(format!("{told}{fetched}"));
    }
}

fn steps(inputs: &Inputs) -> impl Iterator<Item = (&str, &StepInputs)> {
    inputs.stages.iter().flat_map(|stage| stage.steps.iter().map(|step| (stage.name.as_str(), step)))
}

/// A build that succeeded.
pub(super) struct Done<'a> {
    pub(super) request: &'a Request,
    pub(super) prepared: &'a Prepared,
    /// With its steps as they went.
    pub(super) outcome: &'a mut Outcome,
}

/// Takes into the outcomes of builds, where there will be records of them, what is known of lower layers: what the links
/// stand on, what is learnt now, from all at once, and what earlier builds knew that still holds. `beside`: what is being
/// read of the images since they were pushed; `lasted`: how long the builds took together. An interrupt ends it.
pub(super) async fn remember(world: &World, mut builds: Vec<Done<'_>>, beside: Beside, lasted: Duration) {
    builds.retain(|Done { prepared: Prepared { facts, plan, .. }, outcome, .. }| {
        // Where the cache is given up, every step runs, and nothing is gained.
        plan.keep != Keep::GivenUp && records::place(facts, plan, outcome).is_some()
    });
    let patience = PATIENCE.max(lasted / SHARE);
    let all = async {
        join_all(builds.into_iter().map(|it| one(it, beside.reading(), patience))).await;
        Ok::<_, Error>(())
    };
    // Whoever goes on from here heeds it.
    let _ = world.unless_interrupted(all).await;
}

async fn one(Done { request, prepared, outcome }: Done<'_>, reading: &Reading, patience: Duration) {
    let linking = &prepared.plan.link;
    if !linking.links.is_empty() {
        // The image was checked to stand on it.
        outcome.parent_states.extend(linking.state.as_deref().cloned());
    }
    let image = pushed(request, outcome.digest.as_deref());
    let mut vain = None;
    if let (Some(wanted), Some(image)) = (&linking.wanted, image) {
        let client = &prepared.client;
        let learning = async {
            let layers = reading.layers(client, &image).await.map_err(Vain::passing)?;
            reading.learn(client, image.repository(), &layers, wanted, linking.layers).await
        };
        let learnt = tokio::time::timeout(patience * wanted.tries.saturating_add(1).min(2), learning).await;
        match learnt.unwrap_or(Err(Vain::Slow)) {
            Ok(state) => {
                let again = linking.refuted.is_some();
                outcome.parent_states.push(ParentState { again, ..state });
            }
            Err(reason) => {
                let note = format!("what lies below the last steps was not learnt: {reason}");
                outcome.explanation.get_or_insert_default().notes.push(note);
                vain = Some(reason);
            }
        }
    }
    let Facts { graph, inputs, records, .. } = &prepared.facts;
    if let (Ok(graph), Ok(inputs)) = (graph, inputs) {
        let own = &outcome.parent_states;
        let carried = carried(graph, inputs, records, linking, &outcome.stages, own);
        outcome.parent_states.extend(carried);
        outcome.unlinked = carried_unlinked(graph, inputs, records, linking.unlinked(vain.as_ref()));
    }
}
