//! Which stages get a cache image of their own, for builders that put their cache into images.
//!
//! BuildKit's inline cache tells of every step whose layers are in the image, also of those of the stages that the image
//! stands upon (`FROM stage`). So a stage that another one with an image is built upon needs none: the upper image holds
//! both, and answers the lower stage's steps also where something else copies from it (seen on Docker 20.10, 26 and 28).
//! What is only copied from is in nobody else's image.
//!
//! The classic builder makes an image of every step anyway, and reads one image for a stage; it keeps all of them.

use std::collections::BTreeSet;

use crate::dockerfile::{Base, Graph, StageNode};
use crate::model::engine::Frontend;
use crate::model::inputs::Inputs;
use crate::model::reference::Reference;
use crate::model::request::Request;
use crate::plan::command::{self, Build};
use crate::plan::explain::Recorded;
use crate::plan::facts::Facts;
use crate::plan::scope::Scope;

/// A stage whose result becomes a cache image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageImage {
    /// What BuildKit calls the stage: its name, or `stage-1`.
    pub label: String,
    /// The stages whose steps the image holds: itself, and those that it stands upon. Empty where the stages are not known.
    pub holds: Vec<String>,
    /// The ref that it is kept under.
    pub reference: Reference,
    /// What lies under that ref by now was made by other steps, as the scope's record tells.
    pub is_old: bool,
    /// The refs under which other scopes of the chain may have it, the nearest first.
    pub elsewhere: Vec<Reference>,
    /// The build that makes it. The classic builder has the image already, after the user's build.
    pub build: Build,
    /// The stage has no name: its build reads [`Unnamed::named`](crate::plan::facts::Unnamed::named) in the place of the
    /// Dockerfile.
    pub unnamed: bool,
}

/// What a stage's image is called where the classic builder made it. BuildKit must not take it for one with inline cache,
/// nor the other way round; no stage has `/` in its name.
pub fn classic_stage(label: &str) -> String {
    format!("classic/{label}")
}

/// The stages that get an image, in the Dockerfile's order. `without`: labels of those that must not get one.
pub(super) fn stage_images(
    request: &Request,
    facts: &Facts,
    cache_from: &[String],
    without: &[String],
) -> Vec<StageImage> {
    let is_classic = facts.engine.frontend == Frontend::Classic;
    let reference = |scope: &Scope, label: &str| {
        let repo = facts.cache_repo.as_ref().ok()?;
        let name = if is_classic { classic_stage(label) } else { label.to_owned() };
        repo.repository.with_tag(&facts.keys.stage_tag(scope, &name)).ok()
    };
    let is_old = |scope: &Scope, label: &str| {
        facts.inputs.as_ref().is_ok_and(|now| is_old(now, &facts.records, scope, label))
    };
    let own = facts.scopes.own.as_ref();
    let others = || facts.scopes.read.iter().filter(move |scope| Some(*scope) != own);
    let heads = match &facts.graph {
        Ok(graph) => heads(graph, is_classic, without),
        Err(_) => vec![Head { label: "target", is_target: true, holds: Vec::new() }],
    };
    heads
        .into_iter()
        .filter_map(|Head { label, is_target, holds }| {
            let own = own?;
            let image = reference(own, label)?;
            let target = (!is_target).then_some(label);
            Some(StageImage {
                build: command::stage_build(request, &facts.engine, target, &image.to_string(), cache_from),
                reference: image,
                is_old: is_old(own, label),
                elsewhere: others()
                    .filter(|scope| !is_old(scope, label))
                    .filter_map(|scope| reference(scope, label))
                    .collect(),
                unnamed: !is_target && facts.unnamed.stages.iter().any(|unnamed| unnamed == label),
                label: label.to_owned(),
                holds,
            })
        })
        .collect()
}

/// Whether the last build of a scope made a stage of other steps.
fn is_old(now: &Inputs, records: &[Recorded], scope: &Scope, label: &str) -> bool {
    let last = records.iter().find(|it| it.scope.as_deref() == Some(scope.as_str()));
    let before = last.and_then(|it| it.record.inputs.as_ref());
    before.is_some_and(|before| now.last_steps(label) != before.last_steps(label))
}

/// A stage that gets an image.
pub(super) struct Head<'a> {
    /// What it is called.
    pub(super) label: &'a str,
    /// It is what is built.
    pub(super) is_target: bool,
    /// Itself, and the stages that it stands upon.
    pub(super) holds: Vec<String>,
}

/// Those that make layers and are not held by the image of another one. `each`: those that are held as well.
pub(super) fn heads<'a>(graph: &'a Graph, each: bool, without: &[String]) -> Vec<Head<'a>> {
    let makes_image = |stage: &&StageNode| stage.layer_steps() > 0 && !without.contains(&stage.label);
    let below = |stage: &StageNode| if each { Vec::new() } else { below(graph, stage) };
    let held: BTreeSet<usize> = graph
        .stages
        .iter()
        .filter(makes_image)
        .flat_map(|stage| below(stage).into_iter().map(|stage| stage.index))
        .collect();
    let heads = graph.stages.iter().filter(makes_image).filter(|stage| !held.contains(&stage.index));
    heads
        .map(|stage| Head {
            label: &stage.label,
            is_target: stage.index == graph.target,
            holds: std::iter::once(stage).chain(below(stage)).map(|stage| stage.label.clone()).collect(),
        })
        .collect()
}

/// The stages that a stage stands upon, the nearest first.
fn below<'a>(graph: &'a Graph, stage: &StageNode) -> Vec<&'a StageNode> {
    let base = |stage: &StageNode| {
        let Base::Stage(index) = stage.base else { return None };
        graph.stages.iter().find(|stage| stage.index == index)
    };
    std::iter::successors(base(stage), |stage| base(stage)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::dockerfile::{self, Dockerfile};
    use crate::model::inputs::{StageInputs, StepInputs, StepRules};
    use crate::model::platform::Platform;
    use crate::model::record::Record;
    use crate::model::reference::Digest;

    /// `label<what it holds` of every image.
    fn images(text: &str, each: bool, without: &[&str]) -> String {
        let platform = Platform::new("linux", "amd64", None);
        let inputs = dockerfile::Inputs {
            build_args: BTreeMap::new(),
            target: None,
            platform: platform.clone(),
            build_platform: platform,
            contexts: BTreeMap::new(),
        };
        let file = Dockerfile::parse(text.as_bytes()).expect("Dockerfile");
        let graph = dockerfile::graph(&file, &inputs).expect("graph");
        let without: Vec<String> = without.iter().map(|label| (*label).to_owned()).collect();
        let shown = |head: &Head<'_>| {
            let target = if head.is_target { "*" } else { "" };
            format!("{}{target} holds {}", head.label, head.holds.join(" "))
        };
        heads(&graph, each, &without).iter().map(shown).collect::<Vec<_>>().join("; ")
    }

    const TOOLS: &str = "\
        FROM x AS tools\nRUN a\n\
        FROM tools AS dependencies\nRUN b\n\
        FROM dependencies AS build\nRUN c\n\
        FROM x AS final\nCOPY --from=build / /\nCOPY --from=tools / /\n";

    #[test]
    fn a_stage_that_another_stands_upon_needs_no_image() {
        assert_eq!(images(TOOLS, false, &[]), "build holds build dependencies tools; final* holds final");
        let target = TOOLS.replace("FROM x AS final", "FROM tools AS final");
        assert_eq!(
            images(&target, false, &[]),
            "build holds build dependencies tools; final* holds final tools"
        );
    }

    #[test]
    fn without_the_upper_image_the_lower_one_is_needed() {
        assert_eq!(
            images(TOOLS, false, &["build"]),
            "dependencies holds dependencies tools; final* holds final"
        );
        // A stage that makes no layer has no image, and so holds nothing.
        let bare = "FROM x AS a\nRUN a\nFROM a AS b\nENV A=b\nFROM x\nCOPY --from=b / /\n";
        assert_eq!(images(bare, false, &[]), "a holds a; stage-2* holds stage-2");
        // A target without layers needs none either.
        assert_eq!(images("FROM x AS a\nRUN a\nFROM a\nCMD b\n", false, &[]), "a holds a");
    }

    #[test]
    fn the_classic_builder_keeps_each() {
        assert_eq!(
            images(TOOLS, true, &[]),
            "tools holds tools; dependencies holds dependencies; build holds build; final* holds final"
        );
    }

    #[test]
    fn an_image_of_other_steps_is_old() {
        let steps = |content: &[u8]| {
            let step = StepInputs {
                number: 1,
                line: 1,
                instruction: "RUN a".to_owned(),
                digest: Digest::of(content),
                parts: Vec::new(),
                files: Vec::new(),
            };
            Inputs {
                digest: Digest::of(content),
                unknown: Vec::new(),
                rules: StepRules::BuildKit,
                stages: vec![StageInputs { name: "deps".to_owned(), platform: None, steps: vec![step] }],
                image: Vec::new(),
                files: Vec::new(),
            }
        };
        let record = Arc::new(Record { inputs: Some(steps(b"one")), ..Record::sample() });
        let scope = Some("branch-x".to_owned());
        let records = [Recorded { reference: String::new(), scope, record }];
        let is_old = |now: &[u8], scope| is_old(&steps(now), &records, &Scope::branch(scope), "deps");
        assert!(!is_old(b"one", "x"));
        assert!(is_old(b"two", "x"));
        assert!(!is_old(b"two", "main"), "nobody knows");
    }
}
