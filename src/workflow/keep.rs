//! After the build: what the next one will read is put in its place. The user's image is safe by now, so nothing here
//! fails a build; what does not work is a warning.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::task::JoinSet;

use crate::base::clock;
use crate::cachefmt::{self, Cache, IMPORT_LIMIT, Kind, Provenance};
use crate::engine::docker::{self, Docker};
use crate::model::outcome::{StageOutcome, StepStatus, Written};
use crate::model::reference::Reference;
use crate::model::request::Flag;
use crate::plan::chain::Put;
use crate::plan::command::Build;
use crate::plan::steps::{Facts, Keep, StageImage};
use crate::registry::{Client, Error};
use crate::workflow::engine_run::{Built, Runner};
use crate::workflow::named::NamedDockerfile;
use crate::workflow::source::Source;
use crate::workflow::{export, lookup, prepare};

/// What became of the cache.
#[derive(Debug, Default)]
pub struct Kept {
    /// What was written where.
    pub written: Vec<Written>,
    /// What is left to `layerlift cache flush`.
    pub pending: Option<Reference>,
    /// What did not work.
    pub warnings: Vec<String>,
}

impl Kept {
    pub(super) fn wrote(&mut self, what: &str, reference: &Reference, digest: Option<String>) {
        self.written.push(Written { what: what.to_owned(), reference: reference.to_string(), digest });
    }

    pub(super) fn warn(&mut self, reference: &Reference, error: impl std::fmt::Display) {
        self.warnings.push(format!("the cache was not written to {reference}: {error}"));
    }
}

/// What is at hand when the build has ended.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// What the build did, stage by stage.
    pub stages: &'a [StageOutcome],
    /// The build.
    pub built: &'a Built,
    /// What was run for it.
    pub build: &'a Build,
    /// What was known before.
    pub facts: &'a Facts,
    /// The cache that it read, where it could be looked into.
    pub imported: Option<&'a Cache>,
    /// The Dockerfile.
    pub source: &'a Source,
    /// Runs further builds.
    pub runner: Runner<'a>,
    /// Moves images.
    pub docker: &'a Arc<Docker>,
    /// The registry.
    pub client: &'a Client,
}

/// Keeps what the plan wants kept.
pub async fn keep(keep: &Keep, finished: Finished<'_>) -> Kept {
    let mut kept = Kept::default();
    match keep {
        Keep::Nothing | Keep::GivenUp => {}
        Keep::Export(reference) => match finished.built.steps.cache_export_error() {
            Some(error) => kept.warn(reference, error),
            None => {
                export::sign(reference, finished.built, finished.client, finished.facts, &mut kept).await;
            }
        },
        Keep::Deferred(deferred) => export::settle(deferred, finished, &mut kept).await,
        Keep::Folder { fresh, place } => match swap(fresh, place) {
            Ok(true) => kept.written.push(Written {
                what: "cache".to_owned(),
                reference: place.display().to_string(),
                digest: None,
            }),
            Ok(false) => kept.warnings.push(format!("the engine wrote no cache to {}", fresh.display())),
            Err(error) => {
                kept.warnings.push(format!("the cache folder {} is not in place: {error}", place.display()))
            }
        },
        Keep::Inline { stages, merged, .. } => inline(stages, merged, finished, &mut kept).await,
        Keep::Classic(stages) => {
            let images = finished.built.steps.images();
            settle(stages, finished, &mut kept, |stage| images.get(&stage.label).cloned()).await;
        }
    }
    kept
}

/// What the annotations of a cache say of the build that wrote it.
pub(super) fn provenance(facts: &Facts) -> Provenance {
    Provenance {
        generation: Some(facts.engine.generation()),
        buildkit: facts.engine.buildkit,
        platforms: facts.platforms.clone(),
        created: Some(clock::now()),
    }
}

/// Puts the folder that was written in the place of the old one. False where nothing was written.
fn swap(fresh: &Path, place: &Path) -> std::io::Result<bool> {
    if !fresh.join("index.json").is_file() {
        return Ok(false);
    }
    let old = place.with_file_name(format!("{}.old", place.file_name().unwrap_or_default().display()));
    let absent_is_fine = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    absent_is_fine(std::fs::remove_dir_all(&old))?;
    absent_is_fine(std::fs::rename(place, &old))?;
    std::fs::rename(fresh, place)?;
    // A remainder costs space, not correctness.
    let _ = std::fs::remove_dir_all(&old);
    Ok(true)
}

/// Stage images with inline records, then the one ref that unites them.
async fn inline(stages: &[StageImage], merged: &Reference, finished: Finished<'_>, kept: &mut Kept) {
    let repository = merged.repository();
    match finished.client.head_manifest(merged).await {
        Ok(_) => {}
        Err(Error::Unreachable { .. }) => return unseen(stages, merged, finished, kept).await,
        // A registry that fails now would make every push wait, for a cache that cannot be completed anyway.
        Err(error) => return kept.warn(merged, error),
    }
    match with_names(stages, finished) {
        // A Dockerfile from standard input is replaced there.
        Ok(Some((named, stages))) => {
            let path = named.path();
            let spooled = finished.runner.spooled.and(Some(path.as_path()));
            let runner = Runner { spooled, ..finished.runner };
            settle(&stages, Finished { runner, ..finished }, kept, |_| None).await;
        }
        Ok(None) => settle(stages, finished, kept, |_| None).await,
        Err(error) => return kept.warn(merged, error),
    }
    let mut caches: Vec<Cache> = Vec::new();
    let platforms = &finished.facts.platforms;
    let reads = stages.iter().map(|stage| async {
        let manifest = finished.client.get_manifest(&stage.reference).await?;
        lookup::read(finished.client, repository, &manifest, platforms).await
    });
    for found in join_all(reads).await {
        match found {
            Ok(Ok(found)) => caches.push(found.cache),
            // A stage on which nothing depends may have no record that matches a layer; nothing is lost with it.
            Ok(Err(_)) | Err(Error::NotFound { .. }) => {}
            Err(error) => return kept.warn(merged, error),
        }
    }
    let mut united = cachefmt::merge(&caches.iter().collect::<Vec<_>>());
    if united.is_empty() {
        return;
    }
    if let Some(imported) = finished.imported {
        united = cachefmt::merge(&[&united, &cachefmt::within(imported, &united)]);
    }
    let (united, _) = cachefmt::prune(&united, IMPORT_LIMIT);
    let form = finished.facts.engine.manifest_form();
    let authored = cachefmt::write(&united, form, &provenance(finished.facts).annotations());
    if is_current(finished.client, merged, &authored).await {
        return;
    }
    let put = Put { reference: merged.clone(), authored, sources: Vec::new(), otherwise: None };
    match prepare::put(finished.client, &put).await {
        Ok(()) => kept.wrote("cache", merged, Some(put.authored.manifest_digest.to_string())),
        Err(error) => kept.warn(merged, error),
    }
}

/// The Dockerfile that stages without a name are built from, and all stages with the builds that read it. `None` where
/// every stage has a name.
fn with_names(
    stages: &[StageImage],
    finished: Finished<'_>,
) -> std::io::Result<Option<(NamedDockerfile, Vec<StageImage>)>> {
    let Some(text) =
        finished.facts.unnamed.named.as_ref().ok().filter(|_| stages.iter().any(|stage| stage.unnamed))
    else {
        return Ok(None);
    };
    let named = NamedDockerfile::write(text, finished.source)?;
    let path = named.path().to_string_lossy().into_owned();
    let reading = |stage: &StageImage| match stage.unnamed {
        true => StageImage { build: stage.build.reading(&path), ..stage.clone() },
        false => stage.clone(),
    };
    let stages = stages.iter().map(reading).collect();
    Ok(Some((named, stages)))
}

/// Whether the ref holds this cache already; only the time in its annotations would differ.
async fn is_current(client: &Client, reference: &Reference, authored: &cachefmt::Authored) -> bool {
    let Ok(manifest) = client.get_manifest(reference).await else { return false };
    matches!(
        cachefmt::classify(&manifest.bytes),
        Ok(Kind::CacheImage { config } | Kind::CacheIndex { config }) if config.digest == authored.config_digest
    )
}

/// The registry cannot be seen from here, but from the engine: the target alone is kept, under the ref that is read.
async fn unseen(stages: &[StageImage], merged: &Reference, finished: Finished<'_>, kept: &mut Kept) {
    let Some(target) = stages.last() else { return };
    let mut build = target.build.clone();
    build.flags.retain(|flag| flag.name != "tag");
    build.flags.push(Flag::text("tag", merged.to_string()));
    match export::run(finished.runner, &build).await {
        Ok(_) => push(finished.docker, merged, finished.runner, kept).await,
        Err(error) => kept.warn(merged, error),
    }
}

async fn push(docker: &Docker, reference: &Reference, runner: Runner<'_>, kept: &mut Kept) {
    let mut interrupts = runner.world.interrupts.clone();
    match docker.push(&reference.to_string(), &mut interrupts, |_| {}).await {
        Ok(digest) => kept.wrote("cache", reference, digest.map(|digest| digest.to_string())),
        Err(error) => kept.warn(reference, error),
    }
}

/// Brings every stage's image under its own ref: those in which a step ran are made and pushed, one being pushed while
/// the next is made; the others are there already, or are given the name by one manifest.
async fn settle(
    stages: &[StageImage],
    finished: Finished<'_>,
    kept: &mut Kept,
    image: impl Fn(&StageImage) -> Option<String>,
) {
    // Nobody waits for one answer after the other.
    let looked = join_all(stages.iter().map(|stage| async {
        match has_run(stage, finished.stages) {
            true => Known::Nowhere,
            false => known(stage, finished.client).await.unwrap_or(Known::Nowhere),
        }
    }));
    let mut pushes: JoinSet<(Reference, Result<Option<String>, docker::Error>)> = JoinSet::new();
    let mut names = Vec::new();
    for (stage, known) in stages.iter().zip(looked.await) {
        match known {
            Known::Own => continue,
            Known::Retagged(digest) => {
                kept.wrote("stage cache", &stage.reference, Some(digest));
                continue;
            }
            Known::Nowhere => {}
        }
        let name = stage.reference.to_string();
        let made = match image(stage) {
            Some(id) => finished.docker.tag(&id, &name).await.map_err(|error| error.to_string()),
            None => export::run(finished.runner, &stage.build).await.map(drop),
        };
        if let Err(error) = made {
            kept.warn(&stage.reference, error);
            continue;
        }
        if stage.build.pushes() {
            kept.wrote("stage cache", &stage.reference, None);
            continue;
        }
        names.push(name.clone());
        let (docker, reference) = (Arc::clone(finished.docker), stage.reference.clone());
        let mut interrupts = finished.runner.world.interrupts.clone();
        pushes.spawn(async move {
            let pushed = docker.push(&name, &mut interrupts, |_| {}).await;
            (reference, pushed.map(|digest| digest.map(|digest| digest.to_string())))
        });
    }
    while let Some(pushed) = pushes.join_next().await {
        match pushed {
            Ok((reference, Ok(digest))) => kept.wrote("stage cache", &reference, digest),
            Ok((reference, Err(error))) => kept.warn(&reference, error),
            Err(error) => kept.warnings.push(format!("a push was given up: {error}")),
        }
    }
    // An engine that lives on would fill up with names that nobody asked for.
    finished.docker.forget(&names).await;
}

/// Whether a step ran that the image holds. Where the stages are not known, any step counts.
fn has_run(stage: &StageImage, outcomes: &[StageOutcome]) -> bool {
    let is_held = |name: &String| stage.holds.is_empty() || stage.holds.contains(name);
    outcomes.iter().any(|outcome| is_held(&outcome.name) && outcome.count(StepStatus::Run) > 0)
}

enum Known {
    /// Under its own ref.
    Own,
    /// Under another scope's ref; it now has its own as well.
    Retagged(String),
    /// In no scope of the chain.
    Nowhere,
}

async fn known(stage: &StageImage, client: &Client) -> Result<Known, Error> {
    if !stage.is_old && client.head_manifest(&stage.reference).await?.is_some() {
        return Ok(Known::Own);
    }
    for reference in &stage.elsewhere {
        match client.get_manifest(reference).await {
            Ok(manifest) => {
                client.put_manifest(&stage.reference, &manifest.media_type, manifest.bytes).await?;
                return Ok(Known::Retagged(manifest.digest.to_string()));
            }
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Known::Nowhere)
}
