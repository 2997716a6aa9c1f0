//! Which failures of an engine are worth a second try.
//!
//! A missing or forbidden cache ref is only a warning to BuildKit, but a blob that vanished behind a good cache manifest
//! kills the build, because layers are fetched late (moby/buildkit#2836). The user's build must not pay for that: it is
//! run once more without the ref. Everything else that fails is the engine's own failure and stays it.

use std::collections::BTreeSet;

use crate::model::reference::{Digest, Reference};

/// Phrases of BuildKit, containerd and moby for "a layer could not be fetched", from failed builds of 20.10, 26 and 28.
const FETCH_FAILURES: [&str; 13] = [
    "failed to copy: httpreadseeker",
    "could not fetch content descriptor",
    "failed to fetch oci descriptor",
    "failed to get layer",
    "blob unknown",
    "unexpected commit digest",
    "failed to prepare extraction snapshot",
    "failed to extract layer",
    "failed size validation",
    "unexpected eof",
    "short read",
    "connection reset",
    "failed to do request",
];

/// Phrases for "the image could not be pushed" where trying again may help.
const TEMPORARY: [&str; 12] = [
    ": 429",
    ": 500",
    ": 502",
    ": 503",
    ": 504",
    "too many requests",
    "connection reset",
    "connection refused",
    "broken pipe",
    "timeout",
    "eof",
    "unavailable",
];

/// Whether reading the cache ref made the build fail. `errors`: what the engine said; `blobs`: the layers of the ref,
/// where they are known.
pub fn cache_is_to_blame(errors: &[String], reference: &Reference, blobs: &BTreeSet<Digest>) -> bool {
    errors.iter().any(|error| {
        // A program of the build that failed says `did not complete successfully`; its output may hold anything.
        if error.contains("did not complete successfully") || error.contains("returned a non-zero code") {
            return false;
        }
        let lower = error.to_ascii_lowercase();
        let repository = reference.repository();
        let fetches = FETCH_FAILURES.iter().any(|phrase| lower.contains(phrase));
        let names_blob = digests(error).any(|digest| blobs.contains(&digest));
        let names_repository = error.contains(&format!("/{}/blobs/", repository.path()));
        // A message that names neither a blob nor an address can only come from a layer that was being read.
        let names_nothing = !error.contains("sha256:") && !error.contains("/v2/");
        (fetches && (names_blob || names_repository || names_nothing || blobs.is_empty()))
            || (names_blob && lower.contains("not found"))
            || (names_repository && !lower.contains("push"))
    })
}

/// Whether a push of the image failed in a way that may pass. `errors`: what was said of the build; `pushes`: of pushes
/// that buildx has had the engine make, which do not say what they are.
pub fn push_may_pass(errors: &[String], pushes: &[String]) -> bool {
    let of_buildkit = errors.iter().filter(|error| error.to_ascii_lowercase().contains("failed to push"));
    of_buildkit.chain(pushes).any(|error| {
        let lower = error.to_ascii_lowercase();
        TEMPORARY.iter().any(|phrase| lower.contains(phrase))
    })
}

fn digests(text: &str) -> impl Iterator<Item = Digest> + '_ {
    text.match_indices("sha256:").filter_map(|(at, _)| text.get(at..at + 71)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blame(error: &str, blobs: &[Digest]) -> bool {
        let reference = "localhost:5000/app/cache:branch-main".parse().expect("reference");
        cache_is_to_blame(&[error.to_owned()], &reference, &blobs.iter().cloned().collect())
    }

    #[test]
    fn a_lost_blob_is_the_caches_fault() {
        let blob = Digest::of(b"layer");
        let lost = format!(
            "failed to solve: failed to copy: httpReadSeeker: failed open: could not fetch content descriptor {blob} \
             (application/vnd.oci.image.layer.v1.tar+gzip) from remote: not found"
        );
        assert!(blame(&lost, std::slice::from_ref(&blob)));
        let address =
            "unexpected status from GET request to http://localhost:5000/v2/app/cache/blobs/sha256:ab: 500";
        assert!(blame(address, &[]));
    }

    #[test]
    fn the_builds_own_failures_are_not() {
        let blob = Digest::of(b"layer");
        for error in [
            "process \"/bin/sh -c make\" did not complete successfully: exit code: 2",
            "failed to compute cache key: \"/missing\" not found",
            "failed to copy: httpReadSeeker: failed open: content at http://localhost:5000/v2/library/base/manifests/x not found: not found",
            "failed to push localhost:5000/app/cache:1: unexpected status from POST request to http://localhost:5000/v2/app/cache/blobs/uploads/: 500",
        ] {
            assert!(!blame(error, std::slice::from_ref(&blob)), "{error}");
        }
    }

    #[test]
    fn a_push_is_tried_again_unless_it_was_refused() {
        let push = |error: &str| push_may_pass(&[error.to_owned()], &[]);
        assert!(push(
            "failed to push r/a:1: unexpected status from PUT request to http://r/v2/a: 503 Service Unavailable"
        ));
        let of_engine =
            "unexpected status from HEAD request to http://r/v2/a/manifests/1: 500 Internal Server Error";
        assert!(push_may_pass(&[], &[of_engine.to_owned()]) && !push(of_engine));
        assert!(!push_may_pass(&[], &["denied: requested access to the resource is denied".to_owned()]));
        assert!(!push("failed to push r:5000/a:1: server message: insufficient_scope: authorization failed"));
        assert!(!push(
            "r/a:1: failed to resolve source metadata for r/a:1: unexpected status from HEAD request: 503"
        ));
        assert!(!push("process \"sh\" did not complete successfully: exit code: 500"));
    }
}
