//! Whether a linked build came to what the same build would have come to as it is written.

use crate::engine::progress::{self, Failure};
use crate::model::request::Request;
use crate::plan::link::Linking;
use crate::registry::Client;
use crate::workflow::engine_run::Built;
use crate::workflow::link::Rewritten;
use crate::workflow::link::layers::{layers, pushed};

/// Why a build is to be run once more as it is written; a fragment of a sentence.
#[derive(Debug, thiserror::Error)]
pub(in crate::workflow) enum Again {
    /// It failed, and might not have failed so.
    #[error("{0}")]
    Failed(&'static str),
    /// The links were decided from what does not hold, or nothing can be linked here.
    #[error("{0}")]
    Refuted(String),
}

/// Checks that the image that was pushed stands on the layers that the links were decided from, or that what failed is the
/// user's own.
pub(in crate::workflow) async fn check(
    client: &Client,
    request: &Request,
    built: &Built,
    linking: &Linking,
    rewritten: &Rewritten,
) -> Result<(), Again> {
    if built.code != 0 {
        let path = rewritten.dockerfile.path();
        let folder = path.parent().unwrap_or(&path);
        if let Some(reason) = rejected(&built.errors, &folder.to_string_lossy()) {
            return Err(Again::Refuted(reason.to_owned()));
        }
        return failed(built, linking).map_or(Ok(()), |reason| Err(Again::Failed(reason)));
    }
    match differs(client, request, built, linking).await {
        Some(reason) => Err(Again::Refuted(reason)),
        None => Ok(()),
    }
}

/// Why the image may not stand on the layers that are known.
async fn differs(client: &Client, request: &Request, built: &Built, linking: &Linking) -> Option<String> {
    let state = linking.state.as_ref()?;
    let digest = built.results.digest.as_ref().map(ToString::to_string);
    let Some(image) = pushed(request, digest.as_deref()) else {
        return Some("the engine does not tell the image's digest".to_owned());
    };
    let layers = match layers(client, &image).await {
        Ok(layers) => layers,
        Err(reason) => return Some(reason),
    };
    let below = layers.iter().map(|layer| &layer.diff_id).take(state.layers.len());
    let is_same = layers.len() == state.layers.len() + linking.layers && below.eq(&state.layers);
    (!is_same).then(|| "the layers below are others than was expected".to_owned())
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

/// Why what failed might not fail as it is written, or is said of other lines than the user's.
fn failed(built: &Built, linking: &Linking) -> Option<&'static str> {
    let failures = built.steps.failures();
    if failures.iter().any(|failure| is_of(linking, failure)) {
        return Some("a step failed that is built otherwise than it is written");
    }
    // A command says nothing of lines; the frontend, where it refuses something, does.
    let is_commands = |error: &String| error.contains("did not complete successfully");
    let is_said_of_lines = linking.order.is_some() && !built.errors.iter().any(is_commands);
    is_said_of_lines.then_some("lines of the Dockerfile were moved")
}

/// Whether what failed is one of the steps that are built otherwise than they are written.
fn is_of(linking: &Linking, failure: &Failure) -> bool {
    let Some((stage, number)) = progress::place(&failure.vertex) else { return false };
    // In a file with one stage, the engine does not name it; of a bake's target, it names that before the stage.
    let is_stage = |own: &str| {
        stage.is_empty() || stage.rsplit(' ').next().is_some_and(|last| last.eq_ignore_ascii_case(own))
    };
    linking.built.iter().any(|(own, at)| *at == number && is_stage(own))
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
        let linking = Linking { built: vec![("stage-1".to_owned(), 3)], ..Linking::default() };
        let failed = |vertex: &str| {
            is_of(&linking, &Failure { vertex: vertex.to_owned(), error: "not found".to_owned() })
        };
        assert!(failed("[stage-1 3/3] COPY --link a b") && failed("[api stage-1 3/3] WORKDIR /app"));
        assert!(failed("[3/3] LINK COPY --link a b"));
        for other in ["[stage-1 2/3] COPY a b", "[build 3/3] COPY a b", "exporting to image"] {
            assert!(!failed(other), "{other}");
        }
    }
}
