//! Cache refs to look at: what a cache repo holds, and what one ref holds. Values only; `cli` shows them.
//!
//! The cache repo and the scopes are found as for a build, but for the images that a build names with `-t`. A list costs
//! one manifest for each ref, and its config where the manifest does not tell an age; layers are never fetched.

use std::path::PathBuf;

use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;

use crate::base::units::plural;
use crate::cachefmt::manifest::Manifest as Contents;
use crate::cachefmt::{self, IMPORT_LIMIT, Kind, Provenance, Summary};
use crate::model::engine::Version;
use crate::model::platform::Platform;
use crate::model::reference::{Digest, Reference};
use crate::model::settings::Settings;
use crate::pipeline;
use crate::plan::cache_repo::{CacheRepo, cache_repo, tag_prefix};
use crate::plan::keys::{self, Finished, Named};
use crate::plan::scope::{self, Chain, Scope};
use crate::registry::{self, Client};
use crate::workflow::lookup;
use crate::workflow::world::World;

/// Questions under way at once.
const AT_ONCE: usize = 16;

/// The most refs of a cache repo that are looked at; a list that is longer tells nobody anything.
const MOST_REFS: usize = 2000;

/// Why cache refs could not be listed, inspected or moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing names a cache repo.
    #[error("no cache repository is set, and the CI system offers none")]
    NoRepository,
    /// No branch, no merge request, no setting.
    #[error("no scope is known here")]
    NoScope,
    /// None of the scopes that were looked for has refs there.
    #[error("{place} holds no cache of {}", names(wanted))]
    NothingThere {
        /// The repository or folder.
        place: String,
        /// What was looked for.
        wanted: Vec<Scope>,
        /// The scopes that are there.
        present: Vec<Scope>,
    },
    /// This pipeline may not write a cache.
    #[error("the cache repo is not written from here: {reason}")]
    ReadOnly {
        /// Why.
        reason: String,
        /// Whether `--read-only=false` would change that.
        can_be_told: bool,
    },
    /// The ref exists, and BuildKit could not read a cache from it.
    #[error("{reference} holds no cache that BuildKit could read: {reason}")]
    NoCache {
        /// The ref.
        reference: Reference,
        /// Why.
        reason: String,
    },
    /// The folder is not there, or is no image layout.
    #[error("there is no OCI image layout in {}", .0.display())]
    NoLayout(PathBuf),
    /// A registry, or a folder, failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
}

fn names(scopes: &[Scope]) -> String {
    scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(", ")
}

/// The cache repo, and what this job is to it.
#[derive(Debug)]
pub struct CacheRefs {
    /// The cache repo.
    pub repo: CacheRepo,
    pub(super) client: Client,
    pub(super) scopes: Chain,
    /// The user chose the own scope.
    pub(super) is_chosen: bool,
    /// Whether the own scope may be written, and why.
    pub(super) may_write: (bool, String),
    /// Whether `--read-only=false` would make it so.
    pub(super) can_be_told: bool,
}

impl CacheRefs {
    /// Finds the cache repo of these surroundings.
    pub async fn find(world: &World, settings: &Settings, client: Client) -> Result<Self, Error> {
        let pipeline = pipeline::detect(&world.environment, &world.folder).await.pipeline;
        let repo =
            cache_repo(settings.cache_repo.as_ref(), &pipeline, &[]).map_err(|_| Error::NoRepository)?;
        Ok(CacheRefs {
            repo,
            client,
            scopes: scope::scopes(&pipeline, settings.scope.as_deref(), &settings.fallback),
            is_chosen: settings.scope.is_some(),
            may_write: scope::may_write(&pipeline, settings.read_only),
            can_be_told: scope::may_write(&pipeline, Some(false)).0,
        })
    }

    /// Lists the cache refs by scope, image and stage.
    pub async fn list(&self) -> Result<Listing, Error> {
        let tags = self.client.list_tags(&self.repo.repository).await?;
        let (mut named, foreign) = sort(self.repo.tag_prefix, tags);
        // A note is shown with its image.
        named.retain(|(it, _)| !matches!(it.finished, Some(Finished::Note(_))));
        let all = named.len();
        named.retain(|(named, _)| !named.record);
        let records = all - named.len();
        let left_out = named.len().saturating_sub(MOST_REFS);
        named.truncate(MOST_REFS);
        let asked = named.into_iter().map(|(named, tag)| async move {
            let details = match self.repo.repository.with_tag(&tag) {
                Ok(reference) if named.finished.is_some() => self.finished(&reference, &named).await,
                Ok(reference) => self.details(&reference).await,
                Err(error) => return Listed { details: Err(error.to_string()), named, tag },
            };
            let details = details.map_err(|error| error.to_string());
            Listed { named, tag, details }
        });
        let refs = stream::iter(asked).buffered(AT_ONCE).collect().await;
        Ok(Listing { refs, records, foreign, left_out })
    }

    /// A finished image: its size, and when the note on it says that it was built.
    async fn finished(&self, reference: &Reference, named: &Named) -> Result<Details, registry::Error> {
        let note = async {
            let note = self.repo.repository.with_tag(&keys::note_of(self.repo.tag_prefix, named)?).ok()?;
            let manifest = self.client.get_manifest(&note).await.ok()?;
            cachefmt::read_note(&manifest.bytes).ok().flatten()
        };
        let (image, note) = tokio::join!(self.client.image(reference), note);
        let image = image?;
        let note = note.filter(|note| note.image == *image.digest());
        let form = cachefmt::classify(&image.root().bytes).map_or("unknown", |kind| form(&kind));
        Ok(Details {
            digest: image.digest().clone(),
            form,
            bytes: image.bytes(),
            created: note.map(|note| note.created),
            buildkit: None,
        })
    }

    async fn details(&self, reference: &Reference) -> Result<Details, registry::Error> {
        let manifest = self.client.get_manifest(reference).await?;
        let provenance = lookup::provenance(&manifest);
        let mut details = Details {
            digest: manifest.digest.clone(),
            form: "unknown",
            bytes: 0,
            created: provenance.created,
            buildkit: provenance.buildkit,
        };
        let Ok(contents) = Contents::parse(&manifest.bytes) else { return Ok(details) };
        details.form = form(&contents.kind);
        details.bytes = contents.layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
        let is_index = matches!(contents.kind, Kind::Index { .. });
        if is_index || details.created.is_none() {
            let platforms = platforms(&contents.kind);
            let read = lookup::read(&self.client, reference.repository(), &manifest, &platforms).await?;
            if let Ok(found) = read {
                let summary = found.cache.summary();
                details.created = details.created.or(summary.newest);
                details.bytes = if is_index { summary.blob_bytes } else { details.bytes };
            }
        }
        Ok(details)
    }
}

/// The tags that name cache refs, sorted by what they name, and how many do not.
pub(super) fn sort(tag_prefix: &str, tags: Vec<String>) -> (Vec<(Named, String)>, usize) {
    let count = tags.len();
    let read = |tag: String| keys::parse(tag_prefix, &tag).map(|named| (named, tag));
    let mut named: Vec<(Named, String)> = tags.into_iter().filter_map(read).collect();
    let foreign = count - named.len();
    named.sort_by(|(one, _), (other, _)| {
        let key = |it: &'_ Named| (it.scope.clone(), it.image.clone(), it.stage.clone(), it.finished.clone());
        key(one).cmp(&key(other))
    });
    named.dedup();
    (named, foreign)
}

/// What a cache repo holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The cache refs, by scope, image and stage.
    pub refs: Vec<Listed>,
    /// Records of builds beside them.
    pub records: usize,
    /// Tags that name neither.
    pub foreign: usize,
    /// Cache refs beyond those that are looked at.
    pub left_out: usize,
}

/// One cache ref of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What its tag names.
    pub named: Named,
    /// Its tag.
    pub tag: String,
    /// What its manifest tells, or why it could not be read.
    pub details: Result<Details, String>,
}

/// What the manifest of a listed ref tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// Its digest.
    pub digest: Digest,
    /// What it is: see [`Inspected::form`].
    pub form: &'static str,
    /// Size of its layers, in bytes.
    pub bytes: u64,
    /// When it was put together, or else its newest result was made.
    pub created: Option<Timestamp>,
    /// The BuildKit that made it.
    pub buildkit: Option<Version>,
}

/// What a ref holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// The ref.
    pub reference: Reference,
    /// Digest of its manifest.
    pub digest: Digest,
    /// `cache image`, `cache index`, `image`, `index`, each as it stands in the registry.
    pub form: &'static str,
    /// Size of the config in the registry, in bytes; 0 for an index of images, which has several.
    pub config_bytes: u64,
    /// The cache in numbers.
    pub summary: Summary,
    /// The stages, where tags tell them: its own, or those of the same scope and image beside it.
    pub stages: Vec<String>,
    /// What it is for, where that is known.
    pub platforms: Vec<Platform>,
    /// What made it.
    pub provenance: Provenance,
    /// Blobs that the registry no longer has.
    pub gone: Vec<Digest>,
}

impl Inspected {
    /// Whether BuildKit refuses to read it because of its size.
    pub fn is_too_large(&self) -> bool {
        self.config_bytes > IMPORT_LIMIT as u64
    }

    /// Why a build that reads it would be colder than it seems, one sentence's fragment for each reason.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if self.is_too_large() {
            troubles.push("its config is larger than BuildKit imports".to_owned());
        }
        if self.summary.records_with_results == 0 {
            troubles.push("no record has a result: nothing can be hit".to_owned());
        }
        if !self.gone.is_empty() {
            troubles.push(format!("the registry no longer has {}", plural(self.gone.len(), "blob")));
        }
        troubles
    }
}

/// Tells what a ref of any registry holds: an image with an inline cache, an index of such images, or a cache.
pub async fn inspect(client: &Client, reference: &Reference) -> Result<Inspected, Error> {
    let no_cache = |reason: String| Error::NoCache { reference: reference.clone(), reason };
    let manifest = client.get_manifest(reference).await?;
    let kind = cachefmt::classify(&manifest.bytes).map_err(|error| no_cache(error.to_string()))?;
    let repository = reference.repository();
    let found = lookup::read(client, repository, &manifest, &platforms(&kind)).await?.map_err(no_cache)?;
    let (gone, stages) =
        tokio::join!(lookup::gone(client, repository, &found.cache), stages(client, reference));
    let known = if found.platforms.is_empty() { &found.provenance.platforms } else { &found.platforms };
    Ok(Inspected {
        reference: reference.clone(),
        digest: found.digest,
        form: form(&kind),
        config_bytes: found.config_size,
        summary: found.cache.summary(),
        stages,
        platforms: known.clone(),
        provenance: found.provenance,
        gone: gone?.into_iter().collect(),
    })
}

/// The stages of a ref, by tags: a cache does not name them. None where the tags cannot be listed.
async fn stages(client: &Client, reference: &Reference) -> Vec<String> {
    let repository = reference.repository();
    let prefix = tag_prefix(repository);
    let Some(own) = reference.tag().and_then(|tag| keys::parse(prefix, tag)) else { return Vec::new() };
    if let Some(stage) = own.stage {
        return vec![stage];
    }
    if own.finished.is_some() {
        return Vec::new();
    }
    let (named, _) = sort(prefix, client.list_tags(repository).await.unwrap_or_default());
    let beside = named.into_iter().filter(|(it, _)| it.scope == own.scope && it.image == own.image);
    beside.filter_map(|(named, _)| named.stage).collect()
}

fn form(kind: &Kind) -> &'static str {
    match kind {
        Kind::CacheImage { .. } => "cache image",
        Kind::CacheIndex { .. } => "cache index",
        Kind::Image { .. } => "image",
        Kind::Index { .. } => "index",
    }
}

/// Every platform that an index names.
fn platforms(kind: &Kind) -> Vec<Platform> {
    match kind {
        Kind::Index { children } => children.iter().filter_map(|child| child.platform.clone()).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_sorted_by_what_they_name() {
        let tags = ["cache-mr-2--api", "v1", "cache-branch-main--stage-b", "cache-mr-2", "cache-branch-main"];
        let (named, foreign) = sort("cache-", tags.map(str::to_owned).to_vec());
        let order: Vec<&str> = named.iter().map(|(_, tag)| tag.as_str()).collect();
        assert_eq!(
            order,
            ["cache-branch-main", "cache-branch-main--stage-b", "cache-mr-2", "cache-mr-2--api"]
        );
        assert_eq!(foreign, 1);
    }

    #[test]
    fn troubles_are_named() {
        let good = Inspected {
            reference: "localhost:5000/app/cache:branch-main".parse().unwrap(),
            digest: Digest::of(b""),
            form: "cache image",
            config_bytes: IMPORT_LIMIT as u64,
            summary: Summary { records_with_results: 1, ..cachefmt::Cache::default().summary() },
            stages: Vec::new(),
            platforms: Vec::new(),
            provenance: Provenance::default(),
            gone: Vec::new(),
        };
        assert_eq!(good.troubles(), [""; 0]);
        let bad = Inspected {
            config_bytes: IMPORT_LIMIT as u64 + 1,
            summary: cachefmt::Cache::default().summary(),
            gone: vec![Digest::of(b"")],
            ..good
        };
        assert_eq!(
            bad.troubles(),
            [
                "its config is larger than BuildKit imports",
                "no record has a result: nothing can be hit",
                "the registry no longer has 1 blob"
            ]
        );
    }
}
