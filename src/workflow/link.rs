//! The last `COPY`s as layers of their own: the Dockerfile that is built instead, what lies below them, and the check that
//! the image stands on just that.

mod learn;

use std::time::Duration;

use futures_util::future::join_all;

use crate::cachefmt::{self, ImageLayer, Kind};
use crate::dockerfile::{Dockerfile, linked};
use crate::model::inputs::{Inputs, StepInputs};
use crate::model::outcome::Outcome;
use crate::model::parent_state::ParentState;
use crate::model::reference::Reference;
use crate::model::request::{Flag, Request};
use crate::plan::link::{Linking, carried, carried_unlinked};
use crate::plan::steps::{Facts, Keep, Plan};
use crate::registry::Client;
use crate::workflow::decide::Prepared;
use crate::workflow::engine_run::Built;
use crate::workflow::link::learn::{NotLearnt, Reading};
use crate::workflow::named::NamedDockerfile;
use crate::workflow::records;
use crate::workflow::source::Text;

/// The longest time to learn in: this, or a part of the build's own where that is more.
const PATIENCE: Duration = Duration::from_secs(3);
const SHARE: u32 = 33;

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

/// The build as the user wrote it: for this reason, what lies below is not what the links were decided from.
pub(super) fn restore(plan: &mut Plan, rewritten: &Rewritten, reason: &str) {
    plan.build.flags.retain(|flag| flag.name != "file");
    plan.build.flags.extend(rewritten.as_written.iter().cloned());
    plan.link.refute(reason);
}

fn write(prepared: &Prepared) -> Result<NamedDockerfile, String> {
    let plan = &prepared.plan;
    let lines: Vec<usize> = plan.link.links.iter().map(|link| link.line).collect();
    let text = match &prepared.source.dockerfile {
        Text::Known(text) => text,
        Text::Unknown(reason) => return Err(reason.clone()),
    };
    let file = Dockerfile::parse(text).map_err(|error| error.to_string())?;
    let copy = linked(text, &file, &lines).ok_or("the Dockerfile cannot be rewritten")?;
    NamedDockerfile::write(&copy, &prepared.source).map_err(|error| error.to_string())
}

/// Checks that the image that was pushed stands on the layers that the links were decided from, and that what failed is
/// the build itself. `Err`: why that may not be so.
pub(super) async fn check(
    client: &Client,
    request: &Request,
    built: &Built,
    linking: &Linking,
    rewritten: &Rewritten,
) -> Result<(), String> {
    let Built { code, errors, results, .. } = built;
    if *code != 0 {
        let path = rewritten.dockerfile.path();
        let folder = path.parent().unwrap_or(&path);
        return rejected(errors, &folder.to_string_lossy()).map_or(Ok(()), |reason| Err(reason.to_owned()));
    }
    let Some(state) = &linking.state else { return Ok(()) };
    let digest = results.digest.as_ref().map(ToString::to_string);
    let image = pushed(request, digest.as_deref()).ok_or("the engine does not tell the image's digest")?;
    let layers = layers(client, &image).await?;
    let below = layers.iter().map(|layer| &layer.diff_id).take(state.layers.len());
    match layers.len() == state.layers.len() + linking.copies && below.eq(&state.layers) {
        true => Ok(()),
        false => Err("the layers below are others than was expected".to_owned()),
    }
}

/// Why a build failed, if the reason is the Dockerfile of ours. `folder`: where that is.
fn rejected(errors: &[String], folder: &str) -> Option<&'static str> {
    let of_engine = errors.iter().filter(|error| !error.contains("did not complete successfully"));
    of_engine.map(|error| (error.contains(folder), error.to_ascii_lowercase())).find_map(|(names, error)| {
        match () {
            () if error.contains("unknown flag: link") || error.contains("unknown flag: --link") => {
                Some("the Dockerfile's frontend does not know `--link`")
            }
            // A client in a container, or from a snap, does not see every folder.
            () if error.contains("failed to read dockerfile")
                || (names && ["lstat", "no such file", "denied"].iter().any(|it| error.contains(it))) =>
            {
                Some("the engine cannot read the Dockerfile with the links")
            }
            () => None,
        }
    })
}

/// The layers of an image of one platform.
async fn layers(client: &Client, image: &Reference) -> Result<Vec<ImageLayer>, String> {
    let read = async {
        let mut manifest = client.get_manifest(image).await?;
        if let Ok(Kind::Index { children }) = cachefmt::classify(&manifest.bytes)
            && let [child] = children.as_slice()
        {
            let child = image.repository().with_digest(&child.descriptor.digest);
            manifest = client.get_manifest(&child).await?;
        }
        let config = match cachefmt::classify(&manifest.bytes) {
            Ok(Kind::Image { config }) => {
                client.get_blob(image.repository(), &config.digest, cachefmt::CONFIG_LIMIT as u64).await?
            }
            _ => bytes::Bytes::new(),
        };
        Ok::<_, crate::registry::Error>((manifest, config))
    };
    let (manifest, config) = read.await.map_err(|error| error.to_string())?;
    cachefmt::image_layers(&manifest.bytes, &config).map_err(|error| error.to_string())
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
    let lines: Vec<String> = outcome.linked.iter().map(|link| link.line.to_string()).collect();
    if !lines.is_empty() {
        // An engine that stores what it pushes fetches them for that.
        let fetched = if outcome.traffic.fetched == 0 { "; no layer below was fetched" } else { "" };
        let note = format!("line {}: built as COPY --link{fetched}", lines.join(", "));
        outcome.explanation.get_or_insert_default().notes.push(note);
    }
}

fn steps(inputs: &Inputs) -> impl Iterator<Item = (&str, &StepInputs)> {
    inputs.stages.iter().flat_map(|stage| stage.steps.iter().map(|step| (stage.name.as_str(), step)))
}

/// The image that a build has pushed, by its digest.
fn pushed(request: &Request, digest: Option<&str>) -> Option<Reference> {
    let name: Reference = request.tags().first()?.parse().ok()?;
    Some(name.repository().with_digest(&digest?.parse().ok()?))
}

/// A build that succeeded.
pub(super) struct Done<'a> {
    pub(super) request: &'a Request,
    pub(super) prepared: &'a Prepared,
    /// With its steps as they went.
    pub(super) outcome: &'a mut Outcome,
}

/// Takes into the outcomes of builds, where there will be records of them, what is known of lower layers: what the links
/// stand on, what is learnt now, from all at once, and what earlier builds knew that still holds. `lasted`: how long they
/// took together.
pub(super) async fn remember(mut builds: Vec<Done<'_>>, lasted: Duration) {
    builds.retain(|Done { prepared: Prepared { facts, plan, .. }, outcome, .. }| {
        // Where the cache is given up, every step runs, and nothing is gained.
        plan.keep != Keep::GivenUp && records::place(facts, plan, outcome).is_some()
    });
    let wanted = builds.iter().filter_map(|it| it.prepared.plan.link.wanted.as_ref());
    let reading = Reading::of(wanted);
    let patience = PATIENCE.max(lasted / SHARE);
    join_all(builds.into_iter().map(|it| one(it, &reading, patience))).await;
}

async fn one(Done { request, prepared, outcome }: Done<'_>, reading: &Reading, patience: Duration) {
    let linking = &prepared.plan.link;
    if !linking.links.is_empty() {
        // The image was checked to stand on it.
        outcome.parent_states.extend(linking.state.as_deref().cloned());
    }
    let image = pushed(request, outcome.digest.as_deref());
    let mut not_learnt = None;
    if let (Some(wanted), Some(image)) = (&linking.wanted, image) {
        let learning = reading.learn(&prepared.client, &image, wanted, linking.copies);
        let learnt = tokio::time::timeout(patience, learning).await;
        match learnt.unwrap_or_else(|_| Err(NotLearnt::for_good("that would take too long"))) {
            Ok(state) => {
                let again = linking.refuted.is_some();
                outcome.parent_states.push(ParentState { again, ..state });
            }
            Err(NotLearnt { reason, lasts }) => {
                let note = format!("what lies below the last steps was not learnt: {reason}");
                outcome.explanation.get_or_insert_default().notes.push(note);
                // Otherwise each build would be built twice.
                not_learnt = (lasts || linking.refuted.is_some()).then_some(reason);
            }
        }
    }
    let Facts { graph, inputs, records, .. } = &prepared.facts;
    if let (Ok(graph), Ok(inputs)) = (graph, inputs) {
        let own = &outcome.parent_states;
        let carried = carried(graph, inputs, records, linking, &outcome.stages, own);
        outcome.parent_states.extend(carried);
        outcome.unlinked = carried_unlinked(graph, inputs, records, linking.unlinked(not_learnt.as_deref()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_our_dockerfile_is_to_blame_for() {
        let told = |error: &str| rejected(&["unrelated".to_owned(), error.to_owned()], "/tmp/layerlift-x");
        for error in [
            "failed to solve: dockerfile parse error on line 3: unknown flag: --link",
            "failed to solve with frontend dockerfile.v0: dockerfile parse error line 3: Unknown flag: link",
        ] {
            assert_eq!(told(error), Some("the Dockerfile's frontend does not know `--link`"), "{error}");
        }
        for error in [
            "failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory",
            "failed to build: resolve : lstat /tmp/layerlift-x: no such file or directory",
        ] {
            let reason = "the engine cannot read the Dockerfile with the links";
            assert_eq!(told(error), Some(reason), "{error}");
        }
        let own = "process \"tool --link # unknown flag: link\" did not complete successfully: exit code: 1";
        assert_eq!([told(own), told("lstat /app: no such file or directory")], [None, None]);
    }
}
