//! The steps of a build by one of the builders that make an image of every instruction.

use crate::dockerfile::{Dockerfile, Graph};
use crate::model::inputs::{Inputs, StepRules};
use crate::model::request::Request;
use crate::plan::sequential;
use crate::workflow::source::{Source, Text};

/// Inputs with steps of these rules, and why it is not known how many of them will run, if so.
pub fn inputs(
    inputs: Inputs,
    request: &Request,
    source: &Source,
    graph: &Graph,
    rules: StepRules,
) -> Result<(Inputs, Option<String>), String> {
    let bytes = match &source.dockerfile {
        Text::Known(bytes) => bytes,
        Text::Unknown(reason) => return Err(reason.clone()),
    };
    let file = Dockerfile::parse(bytes).map_err(|error| error.to_string())?;
    let labels: Vec<&str> = request.all("label").collect();
    let needless = match rules {
        StepRules::Classic => sequential::needless(&file, graph),
        StepRules::BuildKit | StepRules::Buildah | StepRules::EarlyBuildah => Vec::new(),
    };
    let uncounted = (!needless.is_empty()).then(|| {
        let stages = needless.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        format!("how many steps will run is not known: the classic builder makes {stages} too, which the target does not need")
    });
    Ok((sequential::inputs(&inputs, &file, graph, rules, &labels), uncounted))
}
