//! Keeping the image of a build for later ones that have the same inputs.
//!
//! It is kept only where it is what its input digest says: files that changed while they were built, and base images of
//! the engine's own that are not the registry's, are found afterwards. The blobs are in the registry already; they are
//! mounted, and carried over only where that takes next to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::cachefmt::{self, EMPTY};
use crate::engine::docker::{self, Docker};
use crate::engine::progress::Steps;
use crate::model::engine::{Driver, Frontend};
use crate::model::inputs::{File, Inputs, PartKind};
use crate::model::outcome::{StageOutcome, Written};
use crate::model::reference::{Digest, Reference};
use crate::model::request::Request;
use crate::model::reuse::Note;
use crate::model::settings::Settings;
use crate::plan::reuse::Place;
use crate::plan::steps::Facts;
use crate::registry::{Client, Content, Error};
use crate::workflow::inputs::{self, Given, Targets};
use crate::workflow::source::Source;
use crate::workflow::world::World;

/// The most that is carried over to the cache repo where nothing mounts it: a build is not to take longer because it is
/// kept. Layers are there already, by the cache that the build left.
const MOST_CARRIED: u64 = 32 << 20;

/// The longest sum of pauses.
const PATIENCE: Duration = Duration::from_secs(20);

/// A build that succeeded and has pushed.
#[derive(Debug, Clone, Copy)]
pub struct Built<'a> {
    /// The request.
    pub request: &'a Request,
    /// The settings.
    pub settings: &'a Settings,
    /// The Dockerfile.
    pub source: &'a Source,
    /// What was known before.
    pub facts: &'a Facts,
    /// The registry.
    pub client: &'a Client,
    /// The engine's client.
    pub docker: &'a Docker,
    /// What it did.
    pub steps: &'a Steps,
    /// The same, stage by stage.
    pub stages: &'a [StageOutcome],
    /// The digest of what it pushed.
    pub digest: Option<&'a str>,
    /// When it began.
    pub begun: Timestamp,
    /// What the targets that it builds on are made from, now that it is built.
    pub targets: &'a Targets,
    /// What those are made from.
    pub below: &'a [&'a Inputs],
}

/// Why an image is not kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// A reason of the build's own.
    #[error("{0}")]
    Doubt(String),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] Error),
}

/// Keeps the image under its place in the cache repo. `None`: the registry cannot be seen from here.
pub async fn store(world: &World, place: &Place, built: Built<'_>) -> Result<Option<Written>, NotKept> {
    let doubt = |text: &str| NotKept::Doubt(text.to_owned());
    let before = built.facts.inputs.as_ref().map_err(|reason| doubt(reason))?;
    if let Some(trigger) = unforeseen(before, built.stages) {
        return Err(doubt(&format!("a base image has a trigger that layerlift does not see: {trigger}")));
    }
    let digest: Digest = built
        .digest
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| doubt("the engine does not tell its digest"))?;
    let pushed: Reference = built
        .request
        .tags()
        .first()
        .and_then(|name| name.parse().ok())
        .ok_or_else(|| doubt("it has no name"))?;
    let client = &built.client.with_budget(PATIENCE);
    let bring = async {
        let image = client.image(&pushed.repository().with_digest(&digest)).await?;
        client.bring(&image, place.image.repository(), MOST_CARRIED).await?;
        Ok::<_, NotKept>(image)
    };
    let checked = async {
        let after = unchanged(world, built, before).await.map_err(NotKept::Doubt)?;
        // Those before have lost the values of build args, which may be names of images.
        let all = std::iter::once(&after).chain(built.below.iter().copied());
        meant(built, &bases(all)).await.map_err(NotKept::Doubt)
    };
    let image = match tokio::try_join!(bring, checked) {
        Ok((image, ())) => image,
        // The engine sees it, and has pushed; layerlift does not.
        Err(NotKept::Registry(Error::Unreachable { .. })) => return Ok(None),
        Err(other) => return Err(other),
    };
    let note = Note {
        inputs: before.digest.clone(),
        image: digest.clone(),
        created: built.begun,
        commit: built.facts.pipeline.commit.clone(),
        pipeline_url: built.facts.pipeline.url.clone(),
    };
    // An image without its note is good; a note without its image would say something of an older one.
    client.name(&image, &[&place.image]).await?;
    put_note(client, place, &note).await?;
    Ok(Some(Written {
        what: "image to reuse".to_owned(),
        reference: place.image.to_string(),
        digest: Some(digest.to_string()),
    }))
}

/// An `ONBUILD` step that the engine did and the inputs do not have: what it takes is not in the digest.
fn unforeseen<'a>(inputs: &Inputs, stages: &'a [StageOutcome]) -> Option<&'a str> {
    let is_trigger = |text: &str| text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("ONBUILD "));
    stages.iter().find_map(|done| {
        let foreseen = inputs.stages.iter().filter(|stage| stage.name.eq_ignore_ascii_case(&done.name));
        let foreseen =
            foreseen.flat_map(|stage| &stage.steps).filter(|step| is_trigger(&step.instruction)).count();
        let mut triggers = done.steps.iter().filter(|step| is_trigger(&step.instruction));
        triggers.nth(foreseen).map(|step| step.instruction.as_str())
    })
}

async fn put_note(client: &Client, place: &Place, note: &Note) -> Result<(), Error> {
    let empty = Content::Bytes(bytes::Bytes::from_static(EMPTY));
    client.put_blob(place.note.repository(), &Digest::of(EMPTY), &empty).await?;
    let (manifest, media_type) = cachefmt::write_note(note);
    client.put_manifest(&place.note, media_type, manifest.into()).await.map(drop)
}

/// Looks at the inputs once more: they must be what they were before the build.
async fn unchanged(world: &World, built: Built<'_>, before: &Inputs) -> Result<Inputs, String> {
    let facts = built.facts;
    let given = Given {
        request: built.request,
        settings: built.settings,
        source: built.source,
        pipeline: &facts.pipeline,
        platforms: &facts.platforms,
        build_platform: &facts.engine.platform,
        targets: built.targets,
    };
    let after = inputs::gather(world, built.client, given).await?;
    if after.digest == before.digest {
        return Ok(after);
    }
    match changed(&before.files, &after.files) {
        Some(file) => Err(format!("`{file}` changed while it was built; .dockerignore keeps it out")),
        None => Err("a base image moved while it was built".to_owned()),
    }
}

/// The first path that is not the same in both.
pub(in crate::workflow) fn changed<'a>(before: &'a [File], after: &'a [File]) -> Option<&'a str> {
    let by_path = |files: &'a [File]| -> BTreeMap<_, &'a File> {
        files.iter().map(|file| ((&file.context, &file.path), file)).collect()
    };
    let (before, after) = (by_path(before), by_path(after));
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    paths.into_iter().find(|path| before.get(*path) != after.get(*path)).map(|(_, path)| path.as_str())
}

/// The images that the steps stand on or copy from, as the Dockerfile names them, with their digests.
pub(super) fn bases<'a>(inputs: impl Iterator<Item = &'a Inputs>) -> BTreeMap<&'a str, &'a str> {
    let steps = inputs.flat_map(|inputs| &inputs.stages).flat_map(|stage| &stage.steps);
    let parts = steps.flat_map(|step| &step.parts);
    let images = parts.filter(|part| part.kind == PartKind::Image);
    images.map(|part| (part.name.as_str(), part.value.as_str())).collect()
}

/// Checks that the engine built on the images that the registry has under their names. One that prefers its own copies
/// may have others.
async fn meant(built: Built<'_>, bases: &BTreeMap<&str, &str>) -> Result<(), String> {
    let digests: BTreeSet<&str> = bases.values().copied().collect();
    let other =
        |found: &str| format!("the engine built on {found}, and the registry has another image of that name");
    let resolved = |image: &&str| image.split_once('@').is_some_and(|(_, digest)| digests.contains(digest));
    if let Some(wrong) = built.steps.resolved_images().find(|image| !resolved(image)) {
        return Err(other(wrong));
    }
    let engine = &built.facts.engine;
    let has_own = engine.driver == Driver::Docker
        && !matches!(engine.frontend, Frontend::Buildctl | Frontend::Buildah)
        && !built.request.is_on("pull");
    let told: BTreeSet<&str> =
        built.steps.resolved_images().filter_map(|image| Some(image.split_once('@')?.1)).collect();
    // Docker's client takes longer to answer than all else here.
    if !has_own || digests.is_subset(&told) {
        return Ok(());
    }
    match own_base(built.docker, bases).await.map_err(|error| error.to_string())? {
        Some(own) => Err(other(&own)),
        None => Ok(()),
    }
}

/// What the engine has of its own under the name of a base, where that is not what the registry has.
pub(super) async fn own_base(
    docker: &Docker,
    bases: &BTreeMap<&str, &str>,
) -> Result<Option<String>, docker::Error> {
    let digests: BTreeSet<&str> = bases.values().copied().collect();
    let names: Vec<&str> = bases.keys().copied().collect();
    // Each image that the engine has of its own must be known to it by a digest of the registry's.
    let is_meant = |known: &Vec<String>| {
        known.iter().any(|name| name.split_once('@').is_some_and(|(_, digest)| digests.contains(digest)))
    };
    let own = docker.digests(&names).await?.into_iter().find(|known| !is_meant(known));
    Ok(own.map(|known| known.into_iter().next().unwrap_or_else(|| "an image of its own".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inputs::{FileKind, StageInputs, StepInputs, StepRules};
    use crate::model::outcome::{StepOutcome, StepStatus};

    #[test]
    fn the_file_that_changed_is_named() {
        let file = |path: &str, digest: &str| File {
            context: None,
            path: path.to_owned(),
            kind: FileKind::File,
            mode: 0o644,
            size: 1,
            digest: digest.to_owned(),
            link: None,
        };
        let before = [file("a", "1"), file("b", "1")];
        assert_eq!(changed(&before, &before), None);
        assert_eq!(changed(&before, &[file("a", "1"), file("b", "2")]), Some("b"));
        assert_eq!(changed(&before, &[file("a", "1"), file("b", "1"), file("c", "1")]), Some("c"));
    }

    #[test]
    fn a_trigger_of_a_base_image_is_seen_by_what_the_engine_did() {
        let step = |instruction: &str| StepOutcome {
            number: 1,
            of: 1,
            instruction: instruction.to_owned(),
            platform: None,
            status: StepStatus::Run,
            started: None,
            duration: Duration::ZERO,
        };
        let done = |texts: &[&str]| {
            [StageOutcome { name: "app".to_owned(), steps: texts.iter().map(|text| step(text)).collect() }]
        };
        let inputs = |texts: &[&str]| Inputs {
            digest: Digest::of(b""),
            unknown: Vec::new(),
            rules: StepRules::BuildKit,
            stages: vec![StageInputs {
                name: "app".to_owned(),
                platform: None,
                steps: texts
                    .iter()
                    .map(|text| StepInputs {
                        number: 1,
                        line: 1,
                        instruction: (*text).to_owned(),
                        digest: Digest::of(b""),
                        parts: Vec::new(),
                        files: Vec::new(),
                    })
                    .collect(),
            }],
            image: Vec::new(),
            files: Vec::new(),
        };
        assert_eq!(unforeseen(&inputs(&["RUN x"]), &done(&["RUN x"])), None);
        assert_eq!(unforeseen(&inputs(&["ONBUILD RUN x"]), &done(&["ONBUILD RUN x"])), None);
        assert_eq!(
            unforeseen(&inputs(&["RUN x"]), &done(&["ONBUILD COPY . /", "RUN x"])),
            Some("ONBUILD COPY . /")
        );
    }
}
