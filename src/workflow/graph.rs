//! The Dockerfile's stages, from its text and what a request says.

use std::collections::BTreeMap;

use crate::base::env::Environment;
use crate::dockerfile::{self, Dockerfile, Graph, Inputs};
use crate::model::platform::Platform;
use crate::model::request::Request;
use crate::plan::steps::Unnamed;
use crate::workflow::error::Error;
use crate::workflow::source::{Source, Text};

/// What the target needs. A Dockerfile that cannot be looked at, or that another frontend reads, is unknown, which is no
/// error.
pub fn graph(
    request: &Request,
    source: &Source,
    platforms: &[Platform],
    build_platform: &Platform,
    environment: &Environment,
) -> Result<Result<(Graph, Unnamed), String>, Error> {
    let bytes = match &source.dockerfile {
        Text::Known(bytes) => bytes,
        Text::Unknown(reason) => return Ok(Err(reason.clone())),
    };
    let text = || String::from_utf8_lossy(bytes).into_owned();
    let dockerfile = match Dockerfile::parse(bytes) {
        Ok(dockerfile) => dockerfile,
        Err(error) if error.certain => {
            return Err(Error::Dockerfile { name: source.name.clone(), text: text(), error: error.into() });
        }
        Err(error) => return Ok(Err(error.to_string())),
    };
    // As docker reads it: an argument without a value has that of the variable of its name.
    let build_args: BTreeMap<String, Option<String>> = request
        .build_args()
        .map(|(name, value)| {
            (name.to_owned(), value.or_else(|| environment.by_name(name)).map(str::to_owned))
        })
        .collect();
    let contexts =
        request.build_contexts().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let inputs = Inputs {
        build_args,
        target: request.last("target").map(str::to_owned),
        platform: platforms.first().unwrap_or(build_platform).clone(),
        build_platform: build_platform.clone(),
        contexts,
    };
    match dockerfile::graph(&dockerfile, &inputs) {
        Ok(graph) => {
            let unnamed = unnamed(bytes, source, &dockerfile, &graph);
            Ok(Ok((graph, unnamed)))
        }
        Err(error) if error.is_certain() => {
            Err(Error::Graph { name: source.name.clone(), text: text(), error: error.into() })
        }
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// The stages without a name that the target needs, and the Dockerfile that gives them one.
fn unnamed(bytes: &[u8], source: &Source, dockerfile: &Dockerfile, graph: &Graph) -> Unnamed {
    let nameless = |index: usize| index != graph.target && dockerfile.stages[index].name.is_none();
    let stages = || graph.stages.iter().filter(|stage| nameless(stage.index));
    // Line 0 is the file as a whole: a frontend of which nothing is known.
    let unknown = stages().flat_map(|stage| &stage.opaque).find(|opaque| opaque.line == 0);
    let named = if source.in_archive {
        Err("its Dockerfile is in an archive on standard input".to_owned())
    } else if let Some(opaque) = unknown {
        Err(format!("what the Dockerfile means is not known: {}", opaque.what))
    } else {
        let indices: Vec<usize> = stages().map(|stage| stage.index).collect();
        dockerfile::named(bytes, dockerfile, &indices).map_err(|taken| taken.to_string())
    };
    Unnamed { stages: stages().map(|stage| stage.label.clone()).collect(), named }
}
