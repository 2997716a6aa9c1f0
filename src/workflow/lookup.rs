//! Asking the registry for the candidates of the chain: HEADs in parallel, then the JSON of what is there.
//!
//! Never an error: what cannot be used is a finding with its reason. Only manifests and configs are fetched, each below
//! a bound, and the layers are asked for by HEAD, because a cache whose blobs were collected would fail the build.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt};

use crate::cachefmt::{self, Cache, Child, Kind, Provenance};
use crate::model::platform::Platform;
use crate::model::reference::{Digest, Reference, Repository};
use crate::plan::chain::{Candidate, Finding, Found, FoundForm};
use crate::registry::{Client, Error, Manifest};

/// Questions under way at once.
const AT_ONCE: usize = 16;

/// A candidate before anybody asked for it.
#[derive(Debug, Clone)]
pub struct Named {
    /// The ref.
    pub reference: Reference,
    /// The scope that it belongs to.
    pub scope: String,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Caches: inline or exported.
    Caches,
    /// Images for the classic builder: that they are there is enough.
    Images,
}

/// Asks for all candidates at once and keeps their order.
pub async fn candidates(
    client: &Client,
    named: Vec<Named>,
    platforms: &[Platform],
    look: Look,
) -> Vec<Candidate> {
    let asked = named.into_iter().map(|Named { reference, scope }| async move {
        let finding = match look {
            Look::Caches => cache(client, &reference, platforms).await,
            Look::Images => image(client, &reference).await,
        };
        let finding = finding.unwrap_or_else(|error| of_error(&error, &reference));
        Candidate { reference, scope, finding }
    });
    futures_util::future::join_all(asked).await
}

/// What an error about a ref says, without the ref, for whoever names it before.
pub(super) fn reason(error: &Error, reference: &Reference) -> String {
    let text = error.to_string();
    text.strip_prefix(&format!("{reference}: ")).unwrap_or(&text).to_owned()
}

/// Why a candidate is of no use, in the words of the report, which names the candidate before them.
fn of_error(error: &Error, candidate: &Reference) -> Finding {
    let reason = reason(error, candidate);
    match error {
        Error::NotFound { .. } => Finding::Missing,
        Error::Unreachable { .. } => Finding::Unreachable(reason),
        _ => Finding::Unusable(reason),
    }
}

async fn image(client: &Client, reference: &Reference) -> Result<Finding, Error> {
    let descriptor = client.head_manifest(reference).await?;
    Ok(descriptor.map_or(Finding::Missing, |descriptor| Finding::Image { digest: descriptor.digest }))
}

/// Fetches what there is under a ref. A HEAD goes first: most candidates of a young project are not there, and a
/// registry counts GETs of manifests towards its limits.
async fn cache(client: &Client, reference: &Reference, platforms: &[Platform]) -> Result<Finding, Error> {
    let Some(descriptor) = client.head_manifest(reference).await? else { return Ok(Finding::Missing) };
    let repository = reference.repository();
    let fetched = async {
        let manifest = client.get_manifest(&repository.with_digest(&descriptor.digest)).await?;
        read(client, repository, &manifest, platforms).await
    };
    let read = match fetched.await {
        Ok(Ok(read)) => read,
        Ok(Err(reason)) => return Ok(Finding::Unusable(reason)),
        // The ref is there; something behind it is not.
        Err(error @ Error::NotFound { .. }) => return Ok(Finding::Unusable(error.to_string())),
        Err(error) => return Err(error),
    };
    let gone = gone(client, repository, &read.cache).await?;
    Ok(Finding::Found(Box::new(Found { gone, ..read })))
}

/// Reads a cache of any form. The inner error is a cache that cannot be used.
pub async fn read(
    client: &Client,
    repository: &Repository,
    manifest: &Manifest,
    platforms: &[Platform],
) -> Result<Result<Found, String>, Error> {
    let kind = match cachefmt::classify(&manifest.bytes) {
        Ok(kind) => kind,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let provenance = provenance(manifest);
    let form = FoundForm::of(&kind);
    let found = |cache, platforms, config_size| Found {
        digest: manifest.digest.clone(),
        cache,
        form,
        config_size,
        provenance,
        platforms,
        gone: BTreeSet::new(),
    };
    let (config, is_inline) = match kind {
        Kind::CacheImage { config } | Kind::CacheIndex { config } => (config, false),
        Kind::Image { config } => (config, true),
        Kind::Index { children } => {
            let parts = images_of(client, repository, &children, platforms).await?;
            return Ok(parts.map(|(caches, platforms)| {
                found(cachefmt::merge(&caches.iter().collect::<Vec<_>>()), platforms, 0)
            }));
        }
    };
    let bytes = client.get_blob(repository, &config.digest, cachefmt::CONFIG_LIMIT as u64).await?;
    Ok(Cache::read(&manifest.bytes, &bytes).map_err(|error| error.to_string()).map(|cache| {
        let of_config = is_inline.then(|| cachefmt::platform(&bytes).ok().flatten()).flatten();
        found(cache, of_config.into_iter().collect(), config.size)
    }))
}

/// The inline caches of an index's images, for the platforms that are built.
async fn images_of(
    client: &Client,
    repository: &Repository,
    children: &[Child],
    platforms: &[Platform],
) -> Result<Result<(Vec<Cache>, Vec<Platform>), String>, Error> {
    let mut caches = Vec::new();
    let mut known: Vec<Platform> = children.iter().filter_map(|child| child.platform.clone()).collect();
    let mut reason = "an index without an image for this platform".to_owned();
    let wanted =
        children.iter().filter(|child| child.platform.as_ref().is_none_or(|it| platforms.contains(it)));
    for child in wanted {
        let manifest = client.get_manifest(&repository.with_digest(&child.descriptor.digest)).await?;
        let Ok(Kind::Image { config }) = cachefmt::classify(&manifest.bytes) else { continue };
        let bytes = client.get_blob(repository, &config.digest, cachefmt::CONFIG_LIMIT as u64).await?;
        match Cache::read(&manifest.bytes, &bytes) {
            Ok(cache) => caches.push(cache),
            Err(error) => reason = error.to_string(),
        }
    }
    known.retain(|platform| platforms.contains(platform));
    Ok(if caches.is_empty() { Err(reason) } else { Ok((caches, known)) })
}

/// The blobs that the registry has no more. One that cannot be asked for counts as there: the engine will see.
pub async fn gone(
    client: &Client,
    repository: &Repository,
    cache: &Cache,
) -> Result<BTreeSet<Digest>, Error> {
    let asked = cache.blobs().map(|(digest, _)| async move {
        matches!(client.head_blob(repository, digest).await, Ok(None)).then(|| digest.clone())
    });
    Ok(stream::iter(asked).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await)
}

/// What a cache ref's annotations say; nothing where there are none.
pub fn provenance(manifest: &Manifest) -> Provenance {
    Provenance::read(&manifest.bytes).unwrap_or_default()
}
