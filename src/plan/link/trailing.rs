//! The `COPY`s at the end of a target, and the steps that they stand on.

use std::collections::BTreeSet;

use crate::dockerfile::{Base, Copy, Graph, Operation, StageNode};
use crate::model::inputs::{Inputs, StageInputs, StepInputs};
use crate::plan::link::writes;

/// The end of a target that only copies.
pub(super) struct Trailing<'a> {
    /// The last step that does something else.
    pub(super) below: &'a StepInputs,
    /// It and all steps before it.
    pub(super) lower: Vec<&'a StepInputs>,
    /// The copies, in order.
    pub(super) copies: Vec<(&'a StepInputs, &'a Copy)>,
}

pub(super) fn trailing<'a>(graph: &'a Graph, inputs: &'a Inputs) -> Option<Trailing<'a>> {
    let mut steps = chain(graph, inputs)?;
    let mut copies = Vec::new();
    while let Some(Standing { step, operation, .. }) = steps.last().copied() {
        // What a trigger of the base does stands in no line of the Dockerfile.
        match operation {
            Operation::Copy(copy) if !step.instruction.to_uppercase().starts_with("ONBUILD ") => {
                copies.push((step, copy.as_ref()));
                steps.pop();
            }
            _ => break,
        }
    }
    copies.reverse();
    let below = steps.last()?.step;
    let is_of_use = copies.iter().any(|(_, copy)| !copy.link);
    is_of_use.then(|| Trailing { below, lower: steps.into_iter().map(|it| it.step).collect(), copies })
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

/// Where the copies go.
pub(super) fn destinations(trailing: &Trailing<'_>) -> Vec<String> {
    let clear = trailing.copies.iter().filter(|(_, copy)| copy.destination.unclear.is_none());
    let places: BTreeSet<String> = clear.map(|(_, copy)| writes::destination(copy)).collect();
    places.into_iter().collect()
}
