//! Which `COPY`s are made layers of their own (`COPY --link`). Pure.
//!
//! A `COPY` on top of cached layers makes BuildKit fetch and unpack all of them, only to look at the destination; with
//! `--link` it does not. The `COPY`s at the end of the target are rewritten where nobody needs the merged tree afterwards,
//! the steps below are in the cache, and what lies below is known well enough to prove that the tree is the same
//! ([`writes`]). What lies below is learnt from the layers once, and kept in the record, by the digest of the step that
//! left it ([`ParentState`]). No knowledge, no link.
//!
//! A linked `COPY` has another cache key. One that the cache has as it was written stays as it was written, until it
//! changes; one that the cache has as a layer of its own stays so. Where that cannot be, it runs once more, and it is said
//! why.

mod carried;
mod trailing;
mod tree;
mod writes;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::dockerfile::{Copy, Graph};
use crate::model::engine::{Frontend, ManifestForm};
use crate::model::inputs::{File, Inputs, PartKind, StepInputs};
use crate::model::parent_state::{Link, ParentState, Unlinked};
use crate::model::reference::Digest;
use crate::model::request::{Context, Request, csv_fields};
use crate::model::settings::{Settings, Strategy};
use crate::plan::explain::{Links, Recorded, Situation};
use crate::plan::steps::{Decision, Facts};
use trailing::{Trailing, destinations, trailing};
use tree::Tree;
use writes::Effect;

pub use carried::{carried, carried_unlinked};

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
    /// Why not all of the `COPY`s at the end are rewritten, as a fragment of a sentence.
    pub reason: Option<String>,
    /// What was taken to lie below, and does not.
    pub refuted: Option<Arc<ParentState>>,
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
    let (records, cached) = situation.cache().unwrap_or_default();
    let known = Known { graph, inputs, all: &facts.records, records: &records, cached: &cached };
    let mut linking = match obstacle(request, settings, facts, strategy, inputs) {
        None => decide(known, decisions),
        Some(reason) => {
            if settings.auto_link == Some(false) {
                let choice = "nothing".to_owned();
                decisions.push(Decision { topic: TOPIC, choice, reason: reason.clone() });
            }
            Linking { reason: Some(reason), ..Linking::default() }
        }
    };
    let lines = no_longer(known, &linking);
    if !lines.is_empty() {
        let other = || "what follows needs the merged tree, or is not understood".to_owned();
        let reason = linking.reason.get_or_insert_with(other);
        let choice = format!("line {} no longer", joined(&lines));
        let reason = format!("{reason}; so it runs once more, since a linked COPY has another cache key");
        decisions.push(Decision { topic: TOPIC, choice, reason });
    }
    linking
}

/// What keeps all of a build's `COPY`s from being linked, whatever they are.
fn obstacle(
    request: &Request,
    settings: &Settings,
    facts: &Facts,
    strategy: Strategy,
    inputs: &Inputs,
) -> Option<String> {
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
    let told = told(request, inputs);
    let reason = match () {
        () if settings.auto_link == Some(false) => "it was turned off",
        () if !is_able => "this builder is not known to make layers of their own",
        () if !is_only_pushed => "the image is not only pushed, so that the layers below are fetched anyway",
        () if !is_on_disk => "the Dockerfile is no file in a folder",
        () if facts.platforms.len() != 1 => "it is built for several platforms",
        () if request.has("no-cache-filter") => "`--no-cache-filter` runs steps that are in the cache",
        () if told.is_some() => told.unwrap_or_default(),
        () => return facts.not_linked.clone(),
    };
    Some(reason.to_owned())
}

/// What of the image would tell that it was built from another Dockerfile, or would depend on what the cache has.
fn told(request: &Request, inputs: &Inputs) -> Option<&'static str> {
    let has = |flag: &str, fields: &[&str]| {
        request.all(flag).flat_map(csv_fields).any(|field| fields.contains(&field.trim()))
    };
    // buildx labels the image with the Dockerfile's path, where that lies in the work tree.
    if inputs.image.iter().any(|part| part.kind == PartKind::Option && part.name == "BUILDX_GIT_LABELS") {
        return Some("BUILDX_GIT_LABELS names the Dockerfile");
    }
    if ["provenance", "attest"].iter().any(|flag| has(flag, &["mode=max"])) {
        return Some("provenance with mode=max has the Dockerfile in it");
    }
    // The times of folders are what else differs.
    has("output", &["rewrite-timestamp=true", "rewrite-timestamp=1"])
        .then_some("with rewrite-timestamp the image's digest would depend on the cache")
}

/// The lines of steps that the cache has as layers of their own alone, and that are not linked now.
fn no_longer(known: Known<'_>, linking: &Linking) -> Vec<usize> {
    let is_linked_no_more = |step: &Digest| {
        let holds = |it: &&&Recorded| {
            let steps =
                it.record.inputs.iter().flat_map(|inputs| &inputs.stages).flat_map(|stage| &stage.steps);
            steps.into_iter().any(|other| other.digest == *step)
        };
        let mut holders = known.records.iter().filter(holds).peekable();
        let is_linked = linking.links.iter().any(|link| link.step == *step);
        !is_linked && holders.peek().is_some() && holders.all(|it| it.record.links(step))
    };
    let steps = known.inputs.stages.iter().flat_map(|stage| &stage.steps);
    steps.filter(|step| is_linked_no_more(&step.digest)).map(|step| step.line).collect()
}

/// Whether the frontend knows `--link`: the engine's own does, `docker/dockerfile` since 1.4. Beside a digest, which wins, a
/// tag that moves says nothing.
fn knows_link(inputs: &Inputs) -> bool {
    let frontend = inputs.image.iter().find(|part| part.kind == PartKind::Frontend);
    frontend.is_none_or(|part| {
        let (name, is_pinned) =
            part.name.split_once('@').map_or((part.name.as_str(), false), |(name, _)| (name, true));
        let tag =
            name.rsplit('/').next().and_then(|last| last.split_once(':')).map_or("latest", |(_, tag)| tag);
        let minor = tag
            .strip_prefix("1.")
            .map(|rest| rest.split(['.', '-']).next().unwrap_or_default().parse::<u32>());
        match minor {
            Some(minor) => minor.is_ok_and(|minor| minor >= 4),
            None => !is_pinned && ["1", "latest"].contains(&tag),
        }
    })
}

/// What is known of the build.
#[derive(Debug, Clone, Copy)]
struct Known<'a> {
    graph: &'a Graph,
    inputs: &'a Inputs,
    /// All records that were found, the nearest first: what lies below a step is true whatever cache is read.
    all: &'a [Recorded],
    /// The records of the builds whose cache is read; none where nobody knows what is in it.
    records: &'a [&'a Recorded],
    /// The digests of the steps that are in that cache.
    cached: &'a BTreeSet<&'a Digest>,
}

fn decide(situation: Known<'_>, decisions: &mut Vec<Decision>) -> Linking {
    let Some(trailing) = trailing(situation.graph, situation.inputs) else { return Linking::default() };
    let wanted = Wanted { step: trailing.below.digest.clone(), destinations: destinations(&trailing) };
    let mut linking = Linking { copies: trailing.copies.len(), ..Linking::default() };
    let mut say = |choice: String, reason: &str| {
        decisions.push(Decision { topic: TOPIC, choice, reason: reason.to_owned() });
        Some(reason.to_owned())
    };
    if let Some(known) = unlinked(situation.all, &wanted) {
        linking.reason = say("nothing".to_owned(), &known.reason);
        return linking;
    }
    let is_known = |state: &&ParentState| {
        state.step == wanted.step && wanted.destinations.iter().all(|place| state.known.contains(place))
    };
    let mut states = situation.all.iter().flat_map(|recorded| &recorded.record.parent_states);
    let Some(state) = states.find(is_known) else {
        linking.reason = say("nothing".to_owned(), "what lies below the last steps is not known yet");
        linking.wanted = Some(wanted);
        return linking;
    };
    if !trailing.lower.iter().all(|step| situation.cached.contains(&step.digest)) {
        // What they make may be something else than the last time.
        linking.reason = say("nothing".to_owned(), "steps below run, so that their layers are at hand");
        linking.wanted = Some(wanted);
        return linking;
    }
    linking.state = Some(Arc::new(state.clone()));
    let left = left_as_written(situation, &trailing, state);
    // Below a `COPY` that is left as it is, all is unpacked anyway.
    let last = left.iter().rposition(Option::is_some);
    let from = last.map_or(0, |last| last + 1);
    if let Some(last) = last
        && let Some(reason) = &left[last]
    {
        let choice = match from == left.len() {
            true => "nothing".to_owned(),
            false => format!("nothing up to line {}", trailing.copies[last].0.line),
        };
        linking.reason = say(choice, reason);
    }
    let own = trailing.copies[from..].iter().filter(|(_, copy)| !copy.link);
    linking.links = own.map(|(step, _)| Link { line: step.line, step: step.digest.clone() }).collect();
    if !linking.links.is_empty() {
        let lines: Vec<usize> = linking.links.iter().map(|link| link.line).collect();
        let reason = "built as COPY --link: the tree is the same, and no layer below is fetched";
        say(format!("line {}", joined(&lines)), reason);
    }
    linking
}

/// Of each `COPY` at the end, why it is left as it is written, if it is.
fn left_as_written(
    situation: Known<'_>,
    trailing: &Trailing<'_>,
    state: &ParentState,
) -> Vec<Option<String>> {
    let records = situation.records.iter();
    let linked: BTreeSet<&Digest> =
        records.flat_map(|recorded| &recorded.record.linked).map(|link| &link.step).collect();
    let mut tree = Tree::new(state);
    let reason = |(step, copy): &(&StepInputs, &Copy)| {
        if let Some(unknown) = situation.inputs.unknown.iter().find(|unknown| unknown.line == step.line) {
            tree.blur("/");
            return Some(unknown.what.clone());
        }
        let files: Vec<&File> = situation.inputs.files_of(step).collect();
        let is_as_written = situation.cached.contains(&step.digest) && !linked.contains(&step.digest);
        match writes::copy(&mut tree, copy, &files) {
            Effect::Same if !copy.link && is_as_written => {
                Some("the cache has it as it is written".to_owned())
            }
            Effect::Same => None,
            Effect::Bounded(reason) | Effect::Unbounded(reason) => Some(reason),
        }
    };
    trailing.copies.iter().map(reason).collect()
}

/// What an earlier build found, if that was that nothing can be linked there.
fn unlinked<'a>(records: &'a [Recorded], wanted: &Wanted) -> Option<&'a Unlinked> {
    let mut known = records.iter().flat_map(|recorded| &recorded.record.unlinked);
    known.find(|it| {
        it.step == wanted.step && it.destinations.iter().all(|at| wanted.destinations.contains(at))
    })
}

fn joined(lines: &[usize]) -> String {
    lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Linking {
    /// As an explanation needs it.
    pub fn links(&self) -> Links<'_> {
        Links { made: &self.links, reason: self.reason.as_deref() }
    }

    /// Nothing is linked after all, for a reason that is a fragment of a sentence.
    pub fn forget(&mut self, reason: &str) {
        self.links.clear();
        self.reason = Some(reason.to_owned());
    }

    /// The same, because a build with the links failed, or its image does not stand on what was known. It is to be learnt
    /// what lies below, unless that was so before.
    pub fn refute(&mut self, reason: &str) {
        self.forget(reason);
        let Some(state) = self.state.take() else { return };
        self.wanted =
            (!state.again).then(|| Wanted { step: state.step.clone(), destinations: state.known.clone() });
        self.refuted = Some(state);
    }

    /// What later builds are to know where it was not learnt what lies below: nothing is linked there any more. `not_learnt`:
    /// the reason, if that would be so again.
    pub fn unlinked(&self, not_learnt: Option<&str>) -> Option<Unlinked> {
        let unlinked = |step: &Digest, destinations: &[String], reason: &str| Unlinked {
            step: step.clone(),
            destinations: destinations.to_vec(),
            reason: reason.to_owned(),
        };
        match (&self.refuted, &self.wanted) {
            (Some(refuted), None) => {
                Some(unlinked(&refuted.step, &[], "twice the layers below were others than was expected"))
            }
            (_, Some(wanted)) => {
                let reason = format!("what lies below the last steps cannot be learnt: {}", not_learnt?);
                Some(unlinked(&wanted.step, &wanted.destinations, &reason))
            }
            (None, None) => None,
        }
    }
}
