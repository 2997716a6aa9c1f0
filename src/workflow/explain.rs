//! What is known of earlier builds: the last one here, those of a scope, the one that wrote a cache ref or an image.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use crate::model::inputs::{Inputs, StepRules};
use crate::model::platform::Platform;
use crate::model::record::{Explanation, Record};
use crate::model::reference::Reference;
use crate::model::request::Request;
use crate::model::reuse::AnsweredBuild;
use crate::model::settings::Settings;
use crate::plan::cache_repo::cache_repo;
use crate::plan::explain::{Reading, Recorded, Situation};
use crate::plan::keys::{self, Keys, Named};
use crate::plan::scope::Scope;
use crate::registry::{self, Client};
use crate::workflow::cache_refs::{self, CacheRefs, sort};
use crate::workflow::error::Error as BuildError;
use crate::workflow::last_build::LastBuilds;
use crate::workflow::source::Source;
use crate::workflow::world::World;
use crate::workflow::{facts, graph, records, sequential, source};

/// Questions under way at once.
const AT_ONCE: usize = 8;

/// The most records that are read to find one of them.
const MOST: usize = 200;

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No build was recorded in this folder.
    #[error("no build of this folder is known on this machine")]
    NothingHere,
    /// The cache repo has no record of the kind.
    #[error("{place} holds no record of {wanted}")]
    NotFound {
        /// The cache repo.
        place: String,
        /// What was looked for.
        wanted: String,
        /// The scopes that have records there.
        present: Vec<String>,
    },
    /// There is something by that name which cannot be used.
    #[error("{place} cannot be used: {reason}")]
    Unusable {
        /// The ref.
        place: Reference,
        /// Why.
        reason: String,
    },
    /// What would be built cannot be told.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The cache repo is not known, or the registry failed.
    #[error(transparent)]
    CacheRepo(#[from] cache_refs::Error),
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        Error::CacheRepo(error.into())
    }
}

/// The builds of the last run in the working folder, where images answered them.
pub fn answered(world: &World) -> Vec<AnsweredBuild> {
    LastBuilds::of(&world.environment, &world.folder).map(|last| last.answered()).unwrap_or_default()
}

/// The last build of the working folder that an engine made.
pub fn last(world: &World) -> Result<Recorded, Error> {
    LastBuilds::of(&world.environment, &world.folder).and_then(|last| last.latest()).ok_or(Error::NothingHere)
}

/// The records of what a word means, the newest first: a scope or a branch, a cache ref or its record, or an image that
/// was pushed.
pub async fn of(
    world: &World,
    settings: &Settings,
    client: Client,
    word: &str,
) -> Result<Vec<Recorded>, Error> {
    // A scope has neither, and every ref of a cache repo has a tag.
    match word.parse::<Reference>() {
        Ok(reference)
            if word.contains('/') && (reference.tag().is_some() || reference.digest().is_some()) =>
        {
            of_reference(world, settings, client, &reference).await
        }
        _ => {
            let refs = CacheRefs::find(world, settings, client).await?;
            of_scope(&refs, word).await
        }
    }
}

/// What would be built now, compared with the last build of a scope. No engine is asked.
pub async fn against(
    world: &World,
    request: &Request,
    settings: &Settings,
    word: &str,
) -> Result<Explanation, Error> {
    let source = source::read(request, std::io::stdin().lock()).map_err(BuildError::from)?;
    let inputs = facts::inputs_without_engine(world, request, settings, &source).await?;
    let client = facts::registry(world, settings)?;
    let refs = match facts::images(request)?.as_slice() {
        [] => CacheRefs::find(world, settings, client).await?,
        images => CacheRefs::beside(world, settings, client, images).await?,
    };
    let pipeline = crate::pipeline::detect(&world.environment, &world.folder).await.pipeline;
    let platforms = facts::guessed(&facts::platforms(request, world, &mut Vec::new()));
    let (project, repo) = (pipeline.project_folder.as_deref(), Some(&refs.repo));
    let keys = facts::keys(request, &source, project, &world.folder, &platforms, None, repo);
    let recorded = of_image(&refs, &keys, word).await?;
    let rules = recorded.record.inputs.as_ref().map_or(StepRules::BuildKit, |inputs| inputs.rules);
    let (inputs, uncounted) = counted(world, request, &source, &platforms, inputs, rules)?;
    let inputs = facts::veil(request, &world.environment).inputs(&Arc::new(inputs));
    let sources: Vec<String> = recorded.scope.iter().cloned().collect();
    let situation = Situation {
        inputs: Ok(&inputs),
        uncounted: uncounted.as_deref(),
        reading: Reading::Chain,
        records: std::slice::from_ref(&recorded),
        folder: None,
        sources: &sources,
        candidates: &[],
        own: None,
        is_empty: true,
        links: None,
    };
    Ok(situation.explain(None))
}

/// What would be built, with the steps as the builder of the record counts them, and why their number is not known.
fn counted(
    world: &World,
    request: &Request,
    source: &Source,
    platforms: &[Platform],
    inputs: Inputs,
    rules: StepRules,
) -> Result<(Inputs, Option<String>), BuildError> {
    if rules == StepRules::BuildKit {
        return Ok((inputs, None));
    }
    let machine = facts::this_machine();
    let found = graph::graph(request, source, platforms, &machine, &world.environment)?;
    let (graph, _) = found.map_err(BuildError::Inputs)?;
    sequential::inputs(inputs, request, source, &graph, rules).map_err(BuildError::Inputs)
}

/// The record of a scope's last build of one image.
async fn of_image(refs: &CacheRefs, keys: &Keys, word: &str) -> Result<Recorded, Error> {
    for scope in scopes(word) {
        let tag = keys.record_tag(&scope);
        let Ok(place) = refs.repo.repository.with_tag(&tag) else { continue };
        match records::read(&refs.client, &place).await {
            Ok(Ok(record)) => return Ok(recorded(&place, Some(scope.as_str()), record)),
            Ok(Err(reason)) => return Err(Error::Unusable { place, reason }),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(not_found(refs, word, all(refs).await?))
}

/// The scopes that a word may mean: itself, or a branch of that name.
fn scopes(word: &str) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = Scope::parse(word).into_iter().collect();
    scopes.push(Scope::branch(word));
    scopes
}

async fn of_scope(refs: &CacheRefs, word: &str) -> Result<Vec<Recorded>, Error> {
    let present = all(refs).await?;
    let wanted = scopes(word);
    let places = present.iter().filter(|(named, _)| wanted.contains(&named.scope)).cloned().collect();
    match fetched(refs, places).await {
        found if found.is_empty() => Err(not_found(refs, word, present)),
        found => Ok(found),
    }
}

async fn of_reference(
    world: &World,
    settings: &Settings,
    client: Client,
    reference: &Reference,
) -> Result<Vec<Recorded>, Error> {
    let tag = reference.tag().unwrap_or_default();
    let itself = reference.clone();
    let beside = reference.repository().with_tag(&keys::record_tag(tag)).ok();
    // The record itself, or the one beside a cache ref.
    for place in [Some(itself), beside].into_iter().flatten() {
        match records::read(&client, &place).await {
            Ok(Ok(record)) => return Ok(vec![recorded(&place, None, record)]),
            Ok(Err(reason)) if keys::is_record_tag(place.tag().unwrap_or_default()) => {
                return Err(Error::Unusable { place, reason });
            }
            Ok(Err(_)) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    // An image: the build that pushed it knows its name and its digest.
    let refs = match CacheRefs::find(world, settings, client.clone()).await {
        Err(cache_refs::Error::NoRepository) => {
            CacheRefs::beside(world, settings, client.clone(), std::slice::from_ref(reference)).await?
        }
        refs => refs?,
    };
    let digest = match reference.digest() {
        Some(digest) => Some(digest.clone()),
        None => client.head_manifest(reference).await?.map(|descriptor| descriptor.digest),
    };
    let present = all(&refs).await?;
    let name = reference.to_string();
    let is_of = |it: &Recorded| {
        it.record.digest.as_deref().is_some_and(|one| digest.as_ref().is_some_and(|it| it.as_str() == one))
    };
    let mut found = fetched(&refs, present.clone()).await;
    // A build in which no step ran leaves the record of the one before it, whose image may have another digest.
    match found.iter().any(is_of) {
        true => found.retain(is_of),
        false => found.retain(|it| it.record.tags.contains(&name)),
    }
    if found.is_empty() { Err(not_found(&refs, &name, present)) } else { Ok(found) }
}

/// The tags of all records in the cache repo.
async fn all(refs: &CacheRefs) -> Result<Vec<(Named, String)>, Error> {
    let tags = refs.client.list_tags(&refs.repo.repository).await?;
    let (named, _) = sort(refs.repo.tag_prefix, tags);
    Ok(named.into_iter().filter(|(named, _)| named.record).collect())
}

/// The records behind tags, the newest first. What cannot be used is left out.
async fn fetched(refs: &CacheRefs, places: Vec<(Named, String)>) -> Vec<Recorded> {
    let asked = places.into_iter().take(MOST).map(|(named, tag)| async move {
        let place = refs.repo.repository.with_tag(&tag).ok()?;
        let record = records::read(&refs.client, &place).await.ok()?.ok()?;
        Some(recorded(&place, Some(named.scope.as_str()), record))
    });
    let mut found: Vec<Recorded> =
        stream::iter(asked).buffered(AT_ONCE).filter_map(std::future::ready).collect().await;
    found.sort_by_key(|it| std::cmp::Reverse(it.record.created));
    found
}

fn recorded(place: &Reference, scope: Option<&str>, record: Record) -> Recorded {
    Recorded { reference: place.to_string(), scope: scope.map(str::to_owned), record: Arc::new(record) }
}

fn not_found(refs: &CacheRefs, wanted: &str, present: Vec<(Named, String)>) -> Error {
    let mut scopes: Vec<String> = present.into_iter().map(|(named, _)| named.scope.to_string()).collect();
    scopes.dedup();
    let (place, wanted) = (refs.repo.repository.to_string(), wanted.to_owned());
    Error::NotFound { place, wanted, present: scopes }
}

impl CacheRefs {
    /// Finds the cache repo that a build of these images would have.
    async fn beside(
        world: &World,
        settings: &Settings,
        client: Client,
        images: &[Reference],
    ) -> Result<Self, Error> {
        let pipeline = crate::pipeline::detect(&world.environment, &world.folder).await.pipeline;
        let repo = cache_repo(settings.cache_repo.as_ref(), &pipeline, images)
            .map_err(|_| cache_refs::Error::NoRepository)?;
        let settings = Settings { cache_repo: Some(repo.repository.clone()), ..settings.clone() };
        let found = CacheRefs::find(world, &settings, client).await?;
        Ok(CacheRefs { repo, ..found })
    }
}
