//! The `COPY`s at the end of a target, with the `WORKDIR`s among and behind them, and the steps that they stand on.

use std::collections::BTreeSet;

use crate::dockerfile::{Base, Copy, Graph, Operation, Source, StageNode, absolute};
use crate::model::inputs::{Inputs, StageInputs, StepInputs};
use crate::model::parent_state::{folders_above, is_within};
use crate::plan::link::writes;

/// The end of a target that only copies.
pub(super) struct Trailing<'a> {
    /// The last step that does something else.
    pub(super) below: &'a StepInputs,
    /// It and all steps before it.
    pub(super) lower: Vec<&'a StepInputs>,
    /// What comes after it, in order; the first one copies.
    pub(super) ends: Vec<End<'a>>,
}

/// One step of the end.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) stage: &'a StageInputs,
    pub(super) step: &'a StepInputs,
    pub(super) does: Does<'a>,
}

impl End<'_> {
    /// Whether it is a `WORKDIR`.
    pub(super) fn enters(&self) -> bool {
        matches!(self.does, Does::Enters(_))
    }

    /// Whether it copies as a layer of its own already, as it is written.
    pub(super) fn is_linked(&self) -> bool {
        matches!(self.does, Does::Copies(copy) if copy.link)
    }
}

/// What it does.
#[derive(Clone, Copy)]
pub(super) enum Does<'a> {
    /// It copies.
    Copies(&'a Copy),
    /// It is the `WORKDIR` of this path, from `/`.
    Enters(&'a str),
}

pub(super) fn trailing<'a>(graph: &'a Graph, inputs: &'a Inputs) -> Option<Trailing<'a>> {
    let steps = chain(graph, inputs)?;
    let mut ends: Vec<End<'a>> = Vec::new();
    for (index, it) in steps.iter().enumerate().rev() {
        // Linked, it would have another cache key for those others too; and what runs there needs the merged tree.
        if !is_own(graph, it.stage) {
            break;
        }
        let is_last = ends.iter().all(End::enters);
        let does = match it.operation {
            // What a trigger of the base does stands in no line of the Dockerfile.
            _ if it.step.instruction.to_uppercase().starts_with("ONBUILD ") => None,
            Operation::Copy(copy) => Some(Does::Copies(copy)),
            // Among copies, what nobody is known to have made is rather learnt with what lies below.
            Operation::Workdir(_) => entered(it.step)
                .filter(|path| is_last || steps[..index].iter().any(|before| makes(before, path)))
                .map(Does::Enters),
            _ => None,
        };
        let Some(does) = does else { break };
        ends.push(End { stage: it.stage, step: it.step, does });
    }
    while ends.pop_if(|end| end.enters()).is_some() {}
    ends.reverse();
    let lower: Vec<&StepInputs> = steps[..steps.len() - ends.len()].iter().map(|it| it.step).collect();
    ends.iter().any(|end| !end.is_linked()).then_some(Trailing { below: lower.last()?, lower, ends })
}

/// Whether a stage of the target's chain is needed for nothing but what stands on it there.
fn is_own(graph: &Graph, stage: &StageInputs) -> bool {
    let Some(node) = graph.stages.iter().find(|node| node.label == stage.name) else { return false };
    let mut needing = graph.stages.iter().filter(|other| other.depends_on.contains(&node.index));
    match (needing.next(), needing.next()) {
        (None, _) => true,
        (Some(upper), None) => upper.base == Base::Stage(node.index) && !takes_from(upper, node.index),
        (Some(_), Some(_)) => false,
    }
}

/// Whether a step of a stage takes files from another one.
fn takes_from(stage: &StageNode, index: usize) -> bool {
    let is_it = |source: Option<&Source>| source == Some(&Source::Stage(index));
    stage.steps.iter().any(|step| match &step.operation {
        Operation::Copy(copy) => is_it(copy.from.as_ref()),
        Operation::Run(run) => {
            run.mounts.iter().filter_map(|it| it.files.as_ref()).any(|(from, _)| is_it(from.as_ref()))
        }
        Operation::Base | Operation::Workdir(_) | Operation::Nothing => false,
    })
}

/// The path of a `WORKDIR`, where it means the same wherever the instruction stands: from `/`, and without variables.
fn entered(step: &StepInputs) -> Option<&str> {
    let mut words = step.instruction.split_ascii_whitespace().skip(1);
    let path = words.next().filter(|path| path.starts_with('/') && words.next().is_none())?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let path = path.trim_end_matches('/');
    (path.bytes().all(is_plain) && absolute(path) == path).then_some(path)
}

/// Whether a step is likely to make a folder, or one in it, unless it is there.
fn makes(it: &Standing<'_>, folder: &str) -> bool {
    match it.operation {
        Operation::Workdir(_) => entered(it.step).is_some_and(|path| is_within(path, folder)),
        Operation::Copy(copy) if copy.destination.unclear.is_none() => {
            let (destination, is_folder) = writes::destination(copy);
            let is_there = (is_folder || copy.from.is_none()) && destination == folder;
            is_there || folders_above(&destination).any(|above| above == folder)
        }
        _ => false,
    }
}

/// A step, in its place.
#[derive(Clone, Copy)]
pub(super) struct Standing<'a> {
    pub(super) stage: &'a StageInputs,
    pub(super) step: &'a StepInputs,
    pub(super) operation: &'a Operation,
}

/// The steps of the target and of the stages that it stands on, the lowest first. `None` where a stage is not understood,
/// or stands on what has no layers of its own.
pub(super) fn chain<'a>(graph: &'a Graph, inputs: &'a Inputs) -> Option<Vec<Standing<'a>>> {
    let mut nodes: Vec<&StageNode> = Vec::new();
    let mut next = Some(graph.target);
    while let Some(index) = next {
        let node = graph.stages.iter().find(|node| node.index == index)?;
        if !node.opaque.is_empty() || node.replaced {
            return None;
        }
        nodes.push(node);
        next = match node.base {
            // A base stands before its stage in the file, so that this ends.
            Base::Stage(base) => Some(base),
            Base::Image(_) => None,
            Base::Scratch | Base::Context(_) => return None,
        };
    }
    let mut steps = Vec::new();
    for node in nodes.into_iter().rev() {
        let stage = inputs.stages.iter().find(|stage| stage.name == node.label)?;
        for step in &node.steps {
            if step.operation == Operation::Nothing {
                return None;
            }
            let operation = &step.operation;
            let step = stage.steps.iter().find(|known| known.number == step.number)?;
            steps.push(Standing { stage, step, operation });
        }
    }
    Some(steps)
}

/// Where something must be known: where the copies go, and what is entered.
pub(super) fn places(trailing: &Trailing<'_>) -> Vec<String> {
    let place = |end: &End<'_>| match end.does {
        Does::Copies(copy) => copy.destination.unclear.is_none().then(|| writes::destination(copy).0),
        Does::Enters(path) => Some(path.to_owned()),
    };
    let places: BTreeSet<String> = trailing.ends.iter().filter_map(place).collect();
    places.into_iter().collect()
}
