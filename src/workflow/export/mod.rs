//! The export of a cache that is no part of the build: one manifest where no step ran, else a second call that only
//! exports, right after the build or in `layerlift cache flush`. What does not work is a warning, as with every cache.
//!
//! The second call is the first one without the image, and with an output that makes nothing. Its steps are all cached in
//! the engine, and it exports what the first call would have exported: the same config, digest for digest (measured on
//! Docker 26.1 and 28.5, also where some steps had come from a cache).

pub mod flush;
pub mod pending;

use crate::cachefmt;
use crate::model::outcome::{StageOutcome, StepStatus, Written};
use crate::model::reference::{Digest, Reference};
use crate::plan::command::{self, Build};
use crate::plan::export::{Cover, Deferred};
use crate::plan::steps::Facts;
use crate::registry::{Client, Error};
use crate::workflow::display::Display;
use crate::workflow::engine_run::{Built, Runner};
use crate::workflow::keep::{Finished, Kept, provenance};

/// What reports say of a ref that was written by one manifest.
pub const RETAGGED: &str = "cache (retagged, nothing exported)";

/// Brings the cache of a build under the scope's own ref, or leaves that for later.
pub(super) async fn settle(deferred: &Deferred, finished: Finished<'_>, kept: &mut Kept) {
    let own = &deferred.own;
    if let Some(cover) = deferred.covered.as_ref().filter(|_| no_step_ran(finished.stages)) {
        match retag(cover, own, finished.client).await {
            Ok(None) => return,
            Ok(Some(digest)) => {
                let (what, reference, digest) =
                    (RETAGGED.to_owned(), own.to_string(), Some(digest.to_string()));
                return kept.written.push(Written { what, reference, digest });
            }
            // It may be gone by now. The engine has it all, too.
            Err(_) => {}
        }
    }
    if deferred.detached {
        kept.pending = Some(own.clone());
        return;
    }
    match run(finished.runner, &command::export_build(finished.build, &deferred.to)).await {
        Ok(built) => sign(own, &built, finished.client, finished.facts, kept).await,
        Err(reason) => kept.warn(own, reason),
    }
}

/// Whether all that is known of the build was cached.
fn no_step_ran(stages: &[StageOutcome]) -> bool {
    let count = |status| stages.iter().map(|stage| stage.count(status)).sum::<usize>();
    count(StepStatus::Cached) > 0 && count(StepStatus::Run) + count(StepStatus::Failed) == 0
}

/// Puts what was read under the scope's own ref. `None`: it is there already.
async fn retag(cover: &Cover, own: &Reference, client: &Client) -> Result<Option<Digest>, Error> {
    let Cover::Other { reference, digest } = cover else { return Ok(None) };
    // Not what the ref holds by now: what was looked at.
    let manifest = client.get_manifest(&reference.repository().with_digest(digest)).await?;
    client.put_manifest(own, &manifest.media_type, manifest.bytes).await.map(Some)
}

/// Runs a build of ours, which the user does not see. `Err`: why it, or its export of a cache, failed.
pub(super) async fn run(runner: Runner<'_>, build: &Build) -> Result<Built, String> {
    let built = runner.run(build, &mut Display::Quiet).await.map_err(|error| error.to_string())?;
    match (built.code, built.steps.cache_export_error()) {
        (0, None) => Ok(built),
        (_, Some(error)) => Err(error),
        (code, None) => {
            Err(built.errors.last().cloned().unwrap_or_else(|| format!("the engine ended with code {code}")))
        }
    }
}

/// BuildKit has exported. Its manifest gets our annotations, so that a reader knows the generation and the platform; not
/// that of another job that has written there since.
pub(super) async fn sign(
    reference: &Reference,
    built: &Built,
    client: &Client,
    facts: &Facts,
    kept: &mut Kept,
) {
    let exported = &built.results.cache_digest;
    let signed = async {
        let manifest = client.get_manifest(reference).await?;
        if exported.as_ref().is_some_and(|exported| *exported != manifest.digest) {
            return Ok(None);
        }
        let Ok(annotated) = cachefmt::annotate(&manifest.bytes, &provenance(facts)) else {
            return Ok(Some(manifest.digest));
        };
        client.put_manifest(reference, &manifest.media_type, annotated.into()).await.map(Some)
    };
    match signed.await {
        Ok(Some(digest)) => kept.wrote("cache", reference, Some(digest.to_string())),
        Ok(None) => {}
        // The engine has written it; that it is not annotated, or cannot be seen from here, does it no harm.
        Err(Error::Unreachable { .. }) => kept.wrote("cache", reference, None),
        Err(error) => kept.warn(reference, error),
    }
}
