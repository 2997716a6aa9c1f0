//! Records of builds beside their caches: in the cache repo beside a cache ref, in a cache folder beside its index.
//!
//! A record explains, and knows what lies below the last steps. One that is missing, broken or forbidden is no record, and
//! nobody is warned: the build goes its way without it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use crate::base::clock;
use crate::cachefmt::build_record::{self, READ_LIMIT};
use crate::model::engine::Engine;
use crate::model::inputs::Inputs;
use crate::model::outcome::{BuildStatus, Outcome, StepStatus};
use crate::model::parent_state::Link;
use crate::model::record::{Record, RecordedEngine, VERSION};
use crate::model::reference::{Digest, Reference};
use crate::plan::chain::Finding;
use crate::plan::explain::{Reading, Recorded, Veil};
use crate::plan::keys;
use crate::plan::scope::Scope;
use crate::plan::steps::{Facts, Keep, Plan};
use crate::registry::{Client, Content, Error};
use crate::workflow::last_build;
use crate::workflow::lookup::Named;

/// The longest time that records are waited for: no build waits long for words.
const PATIENCE: Duration = Duration::from_secs(5);

/// The record's name in a cache folder. Whoever reads an OCI layout passes over what its index does not name.
const FILE: &str = "layerlift-record";

/// The record in a cache folder, which belongs to a scope.
pub fn in_folder(folder: &Path, scope: &Scope) -> Option<Recorded> {
    let file = folder.join(FILE);
    let record = last_build::read_file(&file)?;
    Some(Recorded {
        reference: file.display().to_string(),
        scope: Some(scope.to_string()),
        record: Arc::new(record),
    })
}

/// Fetches the records that lie beside cache refs, all at once and in their order: a manifest and a blob for each.
pub async fn beside(client: &Client, named: &[Named]) -> Vec<Recorded> {
    let asked = named
        .iter()
        .map(|named| async move { tokio::time::timeout(PATIENCE, one(client, named)).await.ok().flatten() });
    join_all(asked).await.into_iter().flatten().collect()
}

async fn one(client: &Client, Named { reference, scope }: &Named) -> Option<Recorded> {
    let tag = keys::record_tag(reference.tag()?);
    let place = reference.repository().with_tag(&tag).ok()?;
    let record = read(client, &place).await.ok()?.ok()?;
    Some(Recorded { reference: place.to_string(), scope: Some(scope.clone()), record: Arc::new(record) })
}

/// Reads a record. The inner error is one that cannot be used.
pub async fn read(client: &Client, place: &Reference) -> Result<Result<Record, String>, Error> {
    let manifest = client.get_manifest(place).await?;
    let blob = match build_record::locate(&manifest.bytes) {
        Ok(blob) => blob,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let bytes = client.get_blob(place.repository(), &blob, READ_LIMIT as u64).await?;
    // A large one takes a while, and others are waiting.
    let decoded = tokio::task::spawn_blocking(move || build_record::decode(&bytes)).await;
    Ok(match decoded {
        Ok(Ok(record)) => Ok(record),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    })
}

/// Writes a record: both blobs at once, then the manifest.
pub async fn write(client: &Client, place: &Reference, record: &Record) -> Result<Digest, Error> {
    let artifact = build_record::write(record);
    let repository = place.repository();
    let (blob, config) =
        (Content::Bytes(artifact.blob.into()), Content::Bytes(artifact.config.to_vec().into()));
    tokio::try_join!(
        client.put_blob(repository, &artifact.blob_digest, &blob),
        client.put_blob(repository, &artifact.config_digest, &config)
    )?;
    client.put_manifest(place, artifact.manifest_media_type, artifact.manifest.into()).await
}

/// Where a record goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// Into a registry.
    Registry(Reference),
    /// Into a cache folder, which has just been written anew. The record that was in the one before is kept on where it
    /// says the same.
    Folder {
        /// The file.
        file: PathBuf,
        /// The record that says the same.
        before: Option<Arc<Record>>,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Registry(reference) => reference.fmt(formatter),
            Place::Folder { file, .. } => file.display().fmt(formatter),
        }
    }
}

/// Where the record of this build goes; `None` where it is not kept.
///
/// A record says what the cache beside it holds, so it is written only where that was written, by a build that succeeded:
/// BuildKit exports nothing of one that failed. One that would say the same as the record that is there, of a build in
/// which no step ran, is not written, so that the times in that one stay. Where the cache is given up, the record says that
/// nothing was kept.
pub fn place(facts: &Facts, plan: &Plan, outcome: &Outcome) -> Option<Place> {
    if plan.reading == Reading::Unknown || outcome.status != BuildStatus::Succeeded {
        return None;
    }
    let (inputs, scope) = (facts.inputs.as_ref().ok()?, facts.scopes.own.as_ref()?);
    let says_the_same = |there: &&Recorded| {
        let is_same = |it: &Inputs| it.digest == inputs.digest && it.rules == inputs.rules;
        let is_own = there.scope.as_deref() == Some(scope.as_str());
        let links = |linked: &[Link]| linked.iter().map(|link| link.step.clone()).collect::<BTreeSet<_>>();
        // Steps that are linked are others in the cache than those that are not.
        let is_own = is_own && links(&there.record.linked) == links(&outcome.linked);
        is_own && there.record.inputs.as_ref().is_some_and(is_same) && outcome.count(StepStatus::Run) == 0
    };
    match &plan.keep {
        Keep::Nothing => None,
        Keep::Folder { place, .. } => {
            let before =
                facts.folder.as_ref().and_then(|folder| folder.record.as_ref()).filter(says_the_same);
            let before = before.map(|recorded| Arc::clone(&recorded.record));
            Some(Place::Folder { file: place.join(FILE), before })
        }
        Keep::Export(_) | Keep::Deferred(_) | Keep::Inline { .. } | Keep::Classic(_) | Keep::GivenUp => {
            let is_unreachable = |finding: &Finding| matches!(finding, Finding::Unreachable(_));
            let is_hidden = facts.candidates.iter().any(|candidate| is_unreachable(&candidate.finding));
            if is_hidden || facts.records.iter().any(|there| says_the_same(&there)) {
                return None;
            }
            let repo = facts.cache_repo.as_ref().ok()?;
            repo.repository.with_tag(&facts.keys.record_tag(scope)).ok().map(Place::Registry)
        }
    }
}

/// What a record tells of a build beside its outcome.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// What built.
    pub engine: &'a Engine,
    /// What the image was made from, where that is known.
    pub inputs: Option<&'a Inputs>,
    /// What must not be shown of the build args.
    pub veil: &'a Veil,
}

impl<'a> From<&'a Facts> for About<'a> {
    fn from(facts: &'a Facts) -> Self {
        About { engine: &facts.engine, inputs: facts.inputs.as_deref().ok(), veil: &facts.veil }
    }
}

/// The record of a build.
pub fn of(about: About<'_>, outcome: &Outcome) -> Record {
    Record {
        version: VERSION,
        created: began(outcome),
        layerlift: env!("CARGO_PKG_VERSION").to_owned(),
        engine: engine(about.engine),
        strategy: outcome.strategy.clone(),
        scope: outcome.scope.clone(),
        commit: outcome.pipeline.commit.clone(),
        pipeline_url: outcome.pipeline.url.clone(),
        status: outcome.status,
        candidates: outcome.candidates.clone(),
        cache_from: outcome.cache_from.clone(),
        cache_to: outcome.cache_to.clone(),
        tags: outcome.tags.clone(),
        digest: outcome.digest.clone(),
        traffic: outcome.traffic,
        duration: outcome.duration.as_secs_f64(),
        preparation: outcome.preparation.as_secs_f64(),
        cache_export: outcome.cache_export.as_secs_f64(),
        stages: about.veil.stages(&outcome.stages),
        inputs: about.inputs.cloned(),
        explanation: outcome.explanation.clone(),
        linked: outcome.linked.clone(),
        parent_states: outcome.parent_states.clone(),
        unlinked: outcome.unlinked.clone(),
        cache_costs: Vec::new(),
        times: BTreeMap::new(),
        given_up: false,
        left_out: Vec::new(),
    }
}

/// The engine, as records know it.
pub fn engine(engine: &Engine) -> RecordedEngine {
    RecordedEngine {
        version: engine.server.or(engine.client).map(String::from).unwrap_or_default(),
        buildkit: engine.buildkit.map(String::from),
        builder: engine.builder.clone(),
    }
}

fn began(outcome: &Outcome) -> Timestamp {
    let lasted = SignedDuration::try_from(outcome.duration).unwrap_or(SignedDuration::ZERO);
    let now = clock::now();
    now.checked_sub(lasted).unwrap_or(now)
}
