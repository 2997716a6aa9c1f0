//! Which `COPY`s are made layers of their own (`COPY --link`). Pure.
//!
//! A `COPY` on top of cached layers makes BuildKit fetch and unpack all of them, only to look at the destination; with
//! `--link` it does not. The `COPY`s at the end of the target are rewritten where nobody needs the merged tree afterwards,
//! the steps below are in the cache, and what lies below is known well enough to prove that the tree is the same
//! ([`writes`]). What lies below is learnt from the layers once, and kept in the record, by the digest of the step that
//! left it ([`ParentState`]). No knowledge, no link.
//!
//! A linked `COPY` has another cache key. One that the cache has as it was written stays as it was written, until it
//! changes.

mod tree;
mod writes;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::dockerfile::{Base, Copy, Graph, Operation, StageNode};
use crate::model::engine::{Frontend, ManifestForm};
use crate::model::inputs::{File, Inputs, PartKind, StepInputs};
use crate::model::parent_state::{Link, ParentState};
use crate::model::reference::Digest;
use crate::model::request::{Context, Request};
use crate::model::settings::{Settings, Strategy};
use crate::plan::explain::{Recorded, Situation};
use crate::plan::steps::{Decision, Facts};
use tree::Tree;
use writes::Effect;

/// What decisions of this module are about.
pub const TOPIC: &str = "link";

/// The `COPY`s at the end of a target, and what was decided of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Linking {
    /// Those that are rewritten, in the Dockerfile's order.
    pub links: Vec<Link>,
    /// What lies below, where it is known. With links, the image must have just these layers there.
    pub state: Option<Arc<ParentState>>,
    /// What later builds would have to know; `None` where it is known, or of no use.
    pub wanted: Option<Wanted>,
    /// How many layers lie on what lies below: one for each `COPY`.
    pub copies: usize,
}

/// What is to be learnt of the image of this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The step below.
    pub step: Digest,
    /// Where they go, from `/`.
    pub destinations: Vec<String>,
}

/// Decides, where a link could be of use: for an image of one platform that is only pushed, by an engine that can make
/// layers of their own.
pub fn linking(
    request: &Request,
    settings: &Settings,
    facts: &Facts,
    strategy: Strategy,
    situation: Situation<'_>,
    decisions: &mut Vec<Decision>,
) -> Linking {
    let (Ok(graph), Ok(inputs)) = (&facts.graph, &facts.inputs) else { return Linking::default() };
    if settings.auto_link == Some(false) {
        let (choice, reason) = ("nothing".to_owned(), "it was turned off".to_owned());
        decisions.push(Decision { topic: TOPIC, choice, reason });
        return Linking::default();
    }
    let engine = &facts.engine;
    // BuildKit has had it for longer, but before 0.12 nobody has looked at what the copier did.
    let is_able = strategy == Strategy::Registry
        && engine.frontend == Frontend::Buildx
        && engine.manifest_form() == ManifestForm::Image
        // A log for people does not tell whether a linked step was cached.
        && engine.has_raw_progress()
        && knows_link(inputs);
    let is_only_pushed =
        request.pushes() && !request.is_on("load") && !settings.keep_image && request.outputs().len() < 2;
    // A Dockerfile that comes over standard input cannot be replaced.
    let is_on_disk = matches!(request.context, Context::Folder(_)) && request.last("file") != Some("-");
    if !is_able || !is_only_pushed || !is_on_disk || facts.platforms.len() != 1 {
        return Linking::default();
    }
    let (records, cached) = situation.cache().unwrap_or_default();
    decide(Known { graph, inputs, records: &records, cached: &cached }, decisions)
}

/// Whether the frontend knows `--link`: the engine's own does, `docker/dockerfile` since 1.4.
fn knows_link(inputs: &Inputs) -> bool {
    let frontend = inputs.image.iter().find(|part| part.kind == PartKind::Frontend);
    frontend.is_none_or(|part| {
        let name = part.name.split('@').next().unwrap_or_default();
        let tag =
            name.rsplit('/').next().and_then(|last| last.split_once(':')).map_or("latest", |(_, tag)| tag);
        let minor = tag
            .strip_prefix("1.")
            .map(|rest| rest.split(['.', '-']).next().unwrap_or_default().parse::<u32>());
        match minor {
            Some(minor) => minor.is_ok_and(|minor| minor >= 4),
            None => ["1", "latest"].contains(&tag),
        }
    })
}

/// What is known of the build.
#[derive(Debug, Clone, Copy)]
struct Known<'a> {
    graph: &'a Graph,
    inputs: &'a Inputs,
    /// The records of the builds whose cache is read; none where nobody knows what is in it.
    records: &'a [&'a Recorded],
    /// The digests of the steps that are in that cache.
    cached: &'a BTreeSet<&'a Digest>,
}

fn decide(situation: Known<'_>, decisions: &mut Vec<Decision>) -> Linking {
    let Some(trailing) = trailing(situation.graph, situation.inputs) else { return Linking::default() };
    let wanted = Wanted { step: trailing.below.digest.clone(), destinations: destinations(&trailing) };
    let copies = trailing.copies.len();
    let mut decide =
        |choice: String, reason: String| decisions.push(Decision { topic: TOPIC, choice, reason });
    let is_known = |state: &&Arc<ParentState>| {
        state.step == wanted.step && wanted.destinations.iter().all(|place| state.known.contains(place))
    };
    let states: Vec<Arc<ParentState>> = situation
        .records
        .iter()
        .flat_map(|recorded| recorded.record.parent_states.iter().cloned().map(Arc::new))
        .collect();
    let Some(state) = states.iter().find(is_known) else {
        decide("nothing".to_owned(), "what lies below the last steps is not known yet".to_owned());
        return Linking { wanted: Some(wanted), copies, ..Linking::default() };
    };
    if !trailing.lower.iter().all(|step| situation.cached.contains(&step.digest)) {
        // What they make may be something else than the last time.
        decide("nothing".to_owned(), "steps below run, so that their layers are at hand".to_owned());
        return Linking { wanted: Some(wanted), copies, ..Linking::default() };
    }
    let before: BTreeSet<&Digest> = situation
        .records
        .iter()
        .flat_map(|recorded| &recorded.record.linked)
        .map(|link| &link.step)
        .collect();
    let mut tree = Tree::new(state);
    let mut may: Vec<Result<(), String>> = Vec::new();
    for (step, copy) in &trailing.copies {
        let files: Vec<&File> = situation.inputs.files_of(step).collect();
        let effect = match situation.inputs.unknown.iter().find(|unknown| unknown.line == step.line) {
            Some(unknown) => Effect::Unbounded(unknown.what.clone()),
            None => writes::copy(&mut tree, copy, &files),
        };
        let is_as_written = situation.cached.contains(&step.digest) && !before.contains(&step.digest);
        may.push(match effect {
            Effect::Same if copy.link => Ok(()),
            Effect::Same if is_as_written => Err("the cache has it as it is written".to_owned()),
            Effect::Same => Ok(()),
            Effect::Bounded(reason) => Err(reason),
            Effect::Unbounded(reason) => {
                tree.blur("/");
                Err(reason)
            }
        });
    }
    // Below a `COPY` that is left as it is, all is unpacked anyway.
    let from = may.iter().rposition(Result::is_err).map_or(0, |last| last + 1);
    if let Some(((step, _), Err(reason))) =
        from.checked_sub(1).map(|last| (&trailing.copies[last], &may[last]))
    {
        let choice = match from == trailing.copies.len() {
            true => "nothing".to_owned(),
            false => format!("nothing up to line {}", step.line),
        };
        decide(choice, reason.clone());
    }
    let links: Vec<Link> = trailing.copies[from..]
        .iter()
        .filter(|(_, copy)| !copy.link)
        .map(|(step, _)| Link { line: step.line, step: step.digest.clone() })
        .collect();
    let linking = Linking { links, state: Some(Arc::clone(state)), wanted: None, copies };
    if linking.links.is_empty() {
        return linking;
    }
    let lines: Vec<String> = linking.links.iter().map(|link| link.line.to_string()).collect();
    decide(
        format!("line {}", lines.join(", ")),
        "built as COPY --link: the tree is the same, and no layer below is fetched".to_owned(),
    );
    linking
}

impl Linking {
    /// The image does not stand on what was known: nothing is linked, and it is to be learnt what lies below.
    pub fn forget(&mut self) {
        self.links.clear();
        let Some(state) = self.state.take() else { return };
        let destinations = state.known.clone();
        self.wanted = Some(Wanted { step: state.step.clone(), destinations });
    }
}

/// The end of a target that only copies.
struct Trailing<'a> {
    /// The last step that does something else.
    below: &'a StepInputs,
    /// It and all steps before it.
    lower: Vec<&'a StepInputs>,
    /// The copies, in order.
    copies: Vec<(&'a StepInputs, &'a Copy)>,
}

fn trailing<'a>(graph: &'a Graph, inputs: &'a Inputs) -> Option<Trailing<'a>> {
    let mut steps = chain(graph, inputs)?;
    let mut copies = Vec::new();
    while let Some((step, operation)) = steps.last().copied() {
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
    let below = steps.last()?.0;
    let is_of_use = copies.iter().any(|(_, copy)| !copy.link);
    is_of_use.then(|| Trailing { below, lower: steps.into_iter().map(|(step, _)| step).collect(), copies })
}

/// The steps of the target and of the stages that it stands on, the lowest first. `None` where a stage is not understood,
/// or stands on what has no layers of its own.
fn chain<'a>(graph: &'a Graph, inputs: &'a Inputs) -> Option<Vec<(&'a StepInputs, &'a Operation)>> {
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
        let known = inputs.stages.iter().find(|stage| stage.name == node.label)?;
        for step in &node.steps {
            if step.operation == Operation::Nothing {
                return None;
            }
            steps.push((known.steps.iter().find(|known| known.number == step.number)?, &step.operation));
        }
    }
    Some(steps)
}

fn destinations(trailing: &Trailing<'_>) -> Vec<String> {
    let clear = trailing.copies.iter().filter(|(_, copy)| copy.destination.unclear.is_none());
    let places: BTreeSet<String> = clear.map(|(_, copy)| writes::destination(copy)).collect();
    places.into_iter().collect()
}
