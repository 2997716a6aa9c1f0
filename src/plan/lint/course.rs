//! The instructions on the way to the end of a stage: those of the stages that it stands on, then its own.

use std::time::Duration;

use crate::dockerfile::{Base, Copy, Instruction, Kind, Operation, Run, StageNode, Step};
use crate::model::outcome::{StageOutcome, StepStatus};
use crate::plan::lint::Subject;
use crate::plan::wanted;

/// More stages than a chain of bases has.
const LONGEST_CHAIN: usize = 200;

/// One instruction.
#[derive(Debug)]
pub(super) struct Act<'a> {
    pub(super) instruction: &'a Instruction,
    /// Its step, where it makes one.
    pub(super) step: Option<&'a Step>,
    /// How long it took when it last ran.
    pub(super) took: Option<Duration>,
}

impl<'a> Act<'a> {
    pub(super) fn line(&self) -> usize {
        self.instruction.span.first
    }

    /// The command of a `RUN`, its heredocs included.
    pub(super) fn command(&self) -> Option<&'a str> {
        self.run().map(|run| run.command.as_str())
    }

    pub(super) fn run(&self) -> Option<&'a Run> {
        match &self.step?.operation {
            Operation::Run(run) => Some(run),
            _ => None,
        }
    }

    /// A `COPY` or `ADD`.
    pub(super) fn copy(&self) -> Option<&'a Copy> {
        match &self.step?.operation {
            Operation::Copy(copy) => Some(copy),
            _ => None,
        }
    }

    /// The instruction as it is quoted in a message.
    pub(super) fn quoted(&self) -> String {
        let text = &self.instruction.text;
        let short: String = text.chars().take(60).collect();
        if short.len() < text.len() { format!("{short}…") } else { short }
    }

    /// The places of the context's entries that it takes, with the source that takes them; `None` where nobody looked.
    pub(super) fn takes<'b>(&self, subject: Subject<'b>) -> Option<Vec<(String, &'b [usize])>> {
        let files = subject.files?;
        let sources = wanted::taken(&self.step?.operation).into_iter().filter(|(from, _)| from.is_none());
        let found = sources.map(|(_, selector)| {
            let places = files.selected.get(&selector).map(Vec::as_slice).unwrap_or_default();
            (selector.source, places)
        });
        Some(found.collect())
    }
}

/// The whole way to the end of a stage.
pub(super) fn of<'a>(subject: Subject<'a>, node: &'a StageNode) -> Vec<Act<'a>> {
    let mut chain = vec![node];
    while let Some(Base::Stage(index)) = chain.last().map(|node| &node.base)
        && let Some(below) = subject.graph.stages.iter().find(|node| node.index == *index)
        && chain.len() < LONGEST_CHAIN
    {
        chain.push(below);
    }
    let mut acts = Vec::new();
    for node in chain.into_iter().rev().filter(|node| !node.replaced) {
        let Some(stage) = subject.dockerfile.stages.get(node.index) else { continue };
        let past = subject.past.iter().find(|stage| stage.name == node.label);
        for instruction in &stage.instructions {
            let own = |step: &&Step| step.line == instruction.span.first && !step.is_base;
            let step = node.steps.iter().find(own).filter(|_| !matches!(instruction.kind, Kind::Onbuild(_)));
            let took = step.and_then(|step| took(step, past?));
            acts.push(Act { instruction, step, took });
        }
    }
    acts
}

/// How long a step took when it ran. Numbers change when a file does, the instruction tells the step.
fn took(step: &Step, past: &StageOutcome) -> Option<Duration> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let wanted = words(&step.text);
    let found = past.steps.iter().find(|step| words(&step.instruction) == wanted)?;
    (found.status == StepStatus::Run).then_some(found.duration)
}

/// The sum of what is known; `None` where nothing is.
pub(super) fn sum(times: impl IntoIterator<Item = Option<Duration>>) -> Option<Duration> {
    times
        .into_iter()
        .flatten()
        .reduce(Duration::saturating_add)
        .filter(|sum| *sum >= Duration::from_millis(50))
}
