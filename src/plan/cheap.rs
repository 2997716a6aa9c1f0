//! Stages that cost less to rebuild than to keep, where every stage that is kept costs a build and a push of an image.
//!
//! A build that finds everything unchanged needs no result of a stage that is only copied from: the cache keys of its steps
//! stand in the images of those that copy. Its result is needed where a step that copies from it has to run, or where one
//! of its own steps has changed; then all its steps run. Such a run may come out otherwise than before (a date, a version
//! from the network), and then everything misses that takes from it. So a stage is left out only where it is cheap
//! *together with every step that depends on it*: in the worst case nothing is lost that would have been noticed.
//!
//! - The target is always kept, and so is what takes from a stage that is kept: fetching that one is part of its price, and
//!   no record tells how long it takes.
//! - A step of which nobody knows how long it takes is not cheap.
//! - What is left out stays so until it takes [`UNTIL`], so that a time about the limit changes nothing.

use std::collections::HashSet;
use std::time::Duration;

use crate::dockerfile::{Base, Graph};
use crate::model::inputs::{Inputs, PartKind, StepInputs};
use crate::model::settings::Strategy;
use crate::plan::explain::{Recorded, is_base};
use crate::plan::stage_images::Head;
use crate::plan::worth::{Times, nearest};

/// What takes less is left out. An image of next to nothing costs a call of the engine and a push: 0.4 to 1.1 s, measured on
/// Docker 20.10, 26 and 28 with the registry on loopback (2026-11-24).
const LESS_THAN: Duration = Duration::from_secs(1);

/// What is left out is kept again when it takes as much.
const UNTIL: Duration = Duration::from_secs(2);

/// A stage that is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cheap {
    /// What it is called.
    pub(super) label: String,
    /// It, and those that only its image would hold.
    pub(super) holds: Vec<String>,
    /// What it takes with all that depends on it.
    pub(super) takes: Duration,
}

/// Those among the stages with an image that are cheap. `records`: all that were found, the nearest first.
pub(super) fn cheap(graph: &Graph, inputs: &Inputs, records: &[Recorded], heads: &[Head<'_>]) -> Vec<Cheap> {
    let times = Times::of(records);
    let left_out = |label: &str| {
        nearest(records, Strategy::Inline)
            .is_some_and(|last| last.record.left_out.iter().any(|other| other == label))
    };
    let candidates = heads.iter().filter(|head| !head.is_target && stands_alone(graph, &head.holds));
    candidates
        .filter_map(|head| {
            let takes = with_all_after(graph, inputs, &times, &head.holds)?;
            let limit = if left_out(head.label) { UNTIL } else { LESS_THAN };
            let (label, holds) = (head.label.to_owned(), head.holds.clone());
            (takes < limit).then_some(Cheap { label, holds, takes })
        })
        .collect()
}

/// Whether these stages take nothing from others.
fn stands_alone(graph: &Graph, labels: &[String]) -> bool {
    let label_of = |index: &usize| graph.stages.iter().find(|stage| stage.index == *index);
    let own = graph.stages.iter().filter(|stage| labels.contains(&stage.label));
    own.flat_map(|stage| &stage.depends_on)
        .all(|index| label_of(index).is_some_and(|stage| labels.contains(&stage.label)))
}

/// What the steps of these stages take, and all steps that depend on them.
fn with_all_after(graph: &Graph, inputs: &Inputs, times: &Times<'_>, labels: &[String]) -> Option<Duration> {
    let mut anew: HashSet<&str> = labels.iter().map(String::as_str).collect();
    let mut sum = Duration::ZERO;
    // A stage comes after those that it takes from.
    for node in &graph.stages {
        let stands_upon =
            |index| graph.stages.iter().any(|it| it.index == index && anew.contains(&*it.label));
        let is_whole =
            anew.contains(&*node.label) || matches!(node.base, Base::Stage(index) if stands_upon(index));
        let mut depends = is_whole;
        for stage in inputs.stages.iter().filter(|stage| stage.name == node.label) {
            let takes = |step: &StepInputs| is_whole || takes_from(step, &anew);
            for step in stage.steps.iter().skip_while(|step| !takes(step)).filter(|step| !is_base(step)) {
                sum = sum.checked_add(times.of_step(stage, step)?)?;
                depends = true;
            }
        }
        if depends {
            anew.insert(&node.label);
        }
    }
    Some(sum)
}

/// Whether a step takes from one of these stages.
fn takes_from(step: &StepInputs, stages: &HashSet<&str>) -> bool {
    step.parts.iter().any(|part| part.kind == PartKind::Stage && stages.contains(part.name.as_str()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::dockerfile::{self, Dockerfile};
    use crate::model::inputs::{Part, StageInputs, StepRules};
    use crate::model::platform::Platform;
    use crate::model::record::Record;
    use crate::model::reference::Digest;
    use crate::plan::stage_images;

    fn graph(text: &str) -> Graph {
        let platform = Platform::new("linux", "amd64", None);
        let inputs = dockerfile::Inputs {
            build_args: BTreeMap::new(),
            target: None,
            platform: platform.clone(),
            build_platform: platform,
            contexts: BTreeMap::new(),
        };
        dockerfile::graph(&Dockerfile::parse(text.as_bytes()).expect("Dockerfile"), &inputs).expect("graph")
    }

    /// The inputs of the Dockerfile; a step's digest is of nothing but its text and place.
    fn inputs(graph: &Graph) -> Inputs {
        let from = |text: &str| {
            let name = text.strip_prefix("COPY --from=")?.split(' ').next()?;
            let part = Part { kind: PartKind::Stage, name: name.to_owned(), value: String::new() };
            Some(part)
        };
        let stages = graph.stages.iter().map(|stage| StageInputs {
            name: stage.label.clone(),
            platform: None,
            steps: stage
                .steps
                .iter()
                .map(|step| StepInputs {
                    number: step.number,
                    line: step.line,
                    instruction: step.text.clone(),
                    digest: Digest::of(format!("{} {}", stage.label, step.text).as_bytes()),
                    parts: from(&step.text).into_iter().collect(),
                    files: Vec::new(),
                })
                .collect(),
        });
        Inputs {
            digest: Digest::of(b"image"),
            unknown: Vec::new(),
            rules: StepRules::BuildKit,
            stages: stages.collect(),
            image: Vec::new(),
            files: Vec::new(),
        }
    }

    /// `label seconds` of every stage that is left out. `RUN 0.5` takes half a second, a `COPY` a tenth.
    fn left_out(text: &str, before: &[&str]) -> String {
        let graph = graph(text);
        let inputs = inputs(&graph);
        let steps = inputs.stages.iter().flat_map(|stage| &stage.steps);
        let time = |step: &StepInputs| match step.instruction.strip_prefix("RUN ") {
            Some("?") => None,
            Some(seconds) => seconds.parse().ok(),
            None => Some(0.1),
        };
        let record = Record {
            strategy: "inline".to_owned(),
            times: steps.filter_map(|step| Some((step.digest.clone(), time(step)?))).collect(),
            inputs: Some(inputs.clone()),
            left_out: before.iter().map(|label| (*label).to_owned()).collect(),
            ..Record::sample()
        };
        let scope = Some("branch-main".to_owned());
        let records = [Recorded { reference: String::new(), scope, record: Arc::new(record) }];
        let heads = stage_images::heads(&graph, false, &[]);
        let shown = |it: &Cheap| format!("{} {:.1}", it.holds.join("+"), it.takes.as_secs_f64());
        cheap(&graph, &inputs, &records, &heads).iter().map(shown).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_stage_is_left_out_where_all_that_depends_on_it_is_cheap() {
        let text = |own: &str, before: &str, after: &str| {
            format!(
                "FROM x AS certs\nRUN {own}\nFROM y AS final\nRUN {before}\nCOPY --from=certs / /\nRUN {after}\n"
            )
        };
        assert_eq!(left_out(&text("0.2", "60", "0.3"), &[]), "certs 0.6");
        assert_eq!(left_out(&text("0.2", "0.1", "60"), &[]), "", "what comes after it is not");
        assert_eq!(left_out(&text("0.9", "0.1", "0.3"), &[]), "", "all together are not");
        assert_eq!(left_out(&text("?", "0.1", "0.3"), &[]), "", "nobody knows");
        assert_eq!(left_out(&text("0.2", "0.1", "?"), &[]), "", "nobody knows");
        assert_eq!(left_out(&text("0.2", "?", "0.3"), &[]), "certs 0.6", "what comes before does not matter");
        // About the limit it stays what it is.
        assert_eq!(left_out(&text("0.9", "0.1", "0.3"), &["certs"]), "certs 1.3");
        assert_eq!(left_out(&text("0.9", "0.1", "1.1"), &["certs"]), "");
    }

    #[test]
    fn what_depends_is_followed_through_other_stages() {
        let through = "FROM x AS a\nRUN 0.1\n\
            FROM y AS b\nCOPY --from=a / /\nRUN 0.1\n\
            FROM b AS c\nENV A=b\n\
            FROM z\nCOPY --from=c / /\nRUN 60\n";
        assert_eq!(left_out(through, &[]), "");
        // `b` takes from `a`, and is kept: fetching `a` would be part of its price.
        assert_eq!(left_out(&through.replace("RUN 60", "RUN 0.1"), &[]), "a 0.5");
    }

    #[test]
    fn stages_that_stand_upon_each_other_go_together() {
        let text = "FROM x AS a\nRUN 0.1\nFROM a AS b\nRUN 0.2\nFROM z\nCOPY --from=b / /\n";
        assert_eq!(left_out(text, &[]), "b+a 0.4");
        assert_eq!(left_out("FROM x AS a\nRUN 0.1\nFROM a\nRUN 0.1\n", &[]), "", "the target is kept");
    }
}
