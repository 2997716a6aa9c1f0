//! Whether a linked build came to what the same build would have come to as it is written.

use crate::engine::progress::Failure;
use crate::model::request::Request;
use crate::plan::link::Linking;
use crate::registry::Client;
use crate::workflow::engine_run::Built;
use crate::workflow::link::Rewritten;
use crate::workflow::link::layers::{layers, pushed};

/// Checks that the image that was pushed stands on the layers that the links were decided from, or that what failed is the
/// user's own. `Err`: why the build is to be run once more as it is written.
pub(in crate::workflow) async fn check(
    client: &Client,
    request: &Request,
    built: &Built,
    linking: &Linking,
    rewritten: &Rewritten,
) -> Result<(), String> {
    if built.code != 0 {
        let path = rewritten.dockerfile.path();
        let folder = path.parent().unwrap_or(&path);
        let reason = rejected(&built.errors, &folder.to_string_lossy());
        let reason = reason.or_else(|| in_a_copy(&built.steps.failures()));
        return reason.map_or(Ok(()), |reason| Err(reason.to_owned()));
    }
    let Some(state) = &linking.state else { return Ok(()) };
    let digest = built.results.digest.as_ref().map(ToString::to_string);
    let image = pushed(request, digest.as_deref()).ok_or("the engine does not tell the image's digest")?;
    let layers = layers(client, &image).await?;
    let below = layers.iter().map(|layer| &layer.diff_id).take(state.layers.len());
    match layers.len() == state.layers.len() + linking.layers && below.eq(&state.layers) {
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

/// Where what failed is a step that may have been built otherwise than it is written: it may not fail so, and the engine's
/// message is to name the line that the user wrote. All before it is in the engine's store by now.
fn in_a_copy(failures: &[Failure]) -> Option<&'static str> {
    let copies = |failure: &Failure| {
        let step = failure.vertex.split_once("] ").map_or("", |(_, step)| step);
        ["COPY ", "ADD ", "WORKDIR ", "LINK "].iter().any(|name| step.starts_with(name))
    };
    failures
        .iter()
        .any(copies)
        .then_some("a step failed that may have been built otherwise than it is written")
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

    #[test]
    fn what_may_have_failed_for_being_linked() {
        let failed = |vertex: &str| Failure { vertex: vertex.to_owned(), error: "not found".to_owned() };
        for vertex in
            ["[2/3] COPY --link a b", "[api stage-1 3/3] WORKDIR /app", "[3/3] LINK COPY --link a b"]
        {
            assert!(in_a_copy(&[failed("[1/3] RUN x"), failed(vertex)]).is_some(), "{vertex}");
        }
        assert_eq!(in_a_copy(&[failed("[2/3] RUN COPY x"), failed("exporting to image")]), None);
    }
}
