//! The last `COPY`s as layers of their own: the Dockerfile that is built instead, what lies below them, and the check that
//! the image stands on just that.

use std::time::Duration;

use flate2::read::MultiGzDecoder;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio_util::io::SyncIoBridge;

use crate::cachefmt::{self, ImageLayer, Kind, LayerPart};
use crate::dockerfile::{Dockerfile, linked};
use crate::model::inputs::{Inputs, StepInputs};
use crate::model::outcome::Outcome;
use crate::model::parent_state::ParentState;
use crate::model::reference::{Reference, Repository};
use crate::model::request::{Flag, Request};
use crate::plan::link::{Linking, Wanted, carried};
use crate::plan::steps::{Facts, Plan};
use crate::registry::Client;
use crate::workflow::decide::Prepared;
use crate::workflow::engine_run::Results;
use crate::workflow::named::NamedDockerfile;
use crate::workflow::records;
use crate::workflow::source::Text;

/// Layers that are read at once.
const AT_ONCE: usize = 4;

/// The most that is fetched to learn what lies below, in bytes of compressed layers.
const MOST_FETCHED: u64 = 1 << 30;

/// The most entries that are kept of what lies below: a `COPY . /` would keep the whole tree.
const MOST_ENTRIES: usize = 5_000;

/// The longest time to learn in: this, or a part of the build's own where that is more.
const PATIENCE: Duration = Duration::from_secs(3);
const SHARE: u32 = 33;

/// A Dockerfile with links in it, which is there as long as this value, and the flags that named the user's.
pub(super) struct Rewritten {
    _dockerfile: NamedDockerfile,
    as_written: Vec<Flag>,
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
            Some(Rewritten { _dockerfile: dockerfile, as_written })
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

/// Checks that the image that was pushed stands on the layers that the links were decided from. `Err`: why it may not.
pub(super) async fn check(
    client: &Client,
    request: &Request,
    results: &Results,
    linking: &Linking,
) -> Result<(), String> {
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

/// Learns from the layers of a pushed image what lies below its last steps. `Err`: why that is not learnt.
async fn learn(
    client: &Client,
    image: &Reference,
    wanted: &Wanted,
    copies: usize,
) -> Result<ParentState, String> {
    let mut layers = layers(client, image).await?;
    let above = layers.split_off(layers.len().saturating_sub(copies));
    let is_copy =
        |layer: &ImageLayer| ["COPY ", "ADD "].iter().any(|name| layer.created_by.starts_with(name));
    if above.len() != copies || !above.iter().all(is_copy) {
        return Err("its last layers are not those of the last steps".to_owned());
    }
    if layers.iter().map(|layer| layer.blob.size).sum::<u64>() > MOST_FETCHED {
        return Err("the layers below are too large to be read".to_owned());
    }
    if !layers.iter().all(ImageLayer::is_readable) {
        return Err("the layers below are packed in a way that layerlift does not read".to_owned());
    }
    let repository = image.repository();
    let parts: Vec<LayerPart> = stream::iter(&layers)
        .map(|layer| part(client, repository, layer, &wanted.destinations))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let entries = cachefmt::overlaid(parts);
    if entries.len() > MOST_ENTRIES {
        return Err("too much lies where the last steps write".to_owned());
    }
    Ok(ParentState {
        step: wanted.step.clone(),
        layers: layers.into_iter().map(|layer| layer.diff_id).collect(),
        known: wanted.destinations.clone(),
        entries,
    })
}

/// The headers of one layer, read as it comes.
async fn part(
    client: &Client,
    repository: &Repository,
    layer: &ImageLayer,
    places: &[String],
) -> Result<LayerPart, String> {
    let (ours, mut theirs) = tokio::io::duplex(1 << 18);
    let (reader, places) = (SyncIoBridge::new(ours), places.to_vec());
    let is_gzip = layer.blob.media_type.ends_with("gzip");
    let read = tokio::task::spawn_blocking(move || match is_gzip {
        true => whole(MultiGzDecoder::new(reader), &places),
        false => whole(reader, &places),
    });
    let fetch = async {
        let fetched = client.fetch_blob(repository, &layer.blob.digest, layer.blob.size, &mut theirs).await;
        drop(theirs);
        fetched
    };
    let (fetched, read) = tokio::join!(fetch, read);
    // Only now is it known that the bytes were the blob's.
    fetched.map_err(|error| error.to_string())?;
    read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Reads a layer to its end, which may lie behind the end of the archive.
fn whole(mut layer: impl std::io::Read, places: &[String]) -> std::io::Result<LayerPart> {
    let part = cachefmt::layer_part(&mut layer, places);
    std::io::copy(&mut layer, &mut std::io::sink())?;
    part
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

/// Takes into the outcome of a build, where there will be a record of it, what is known of lower layers: what the links
/// stand on, what is learnt now, and what earlier builds knew that still holds. `built`: how long the build took, or all
/// that are remembered at once.
pub(super) async fn remember(request: &Request, prepared: &Prepared, outcome: &mut Outcome, built: Duration) {
    let plan = &prepared.plan;
    // Without a cache, every step runs, and nothing is gained.
    if plan.keep == Keep::GivenUp || records::place(&prepared.facts, plan, outcome).is_none() {
        return;
    }
    let linking = &plan.link;
    outcome.parent_states.extend(linking.state.as_deref().cloned());
    let image = pushed(request, outcome.digest.as_deref());
    if let (Some(wanted), Some(image)) = (&linking.wanted, image) {
        let learnt = tokio::time::timeout(
            PATIENCE.max(built / SHARE),
            learn(&prepared.client, &image, wanted, linking.copies),
        )
        .await;
        match learnt.unwrap_or_else(|_| Err("that would take too long".to_owned())) {
            Ok(state) => outcome.parent_states.push(state),
            Err(reason) => {
                let note = format!("what lies below the last steps was not learnt: {reason}");
                outcome.explanation.get_or_insert_default().notes.push(note);
            }
        }
    }
    let Facts { graph, inputs, records, .. } = &prepared.facts;
    if let (Ok(graph), Ok(inputs)) = (graph, inputs) {
        let (refuted, own) = (linking.refuted.as_deref(), &outcome.parent_states);
        let carried = carried(graph, inputs, records, refuted, &outcome.stages, own);
        outcome.parent_states.extend(carried);
    }
}
