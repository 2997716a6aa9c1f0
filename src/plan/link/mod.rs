//! Which `COPY`s are made layers of their own (`COPY --link`). Pure.
//!
//! A `COPY` on top of cached layers makes BuildKit fetch and unpack all of them, only to look at the destination; with
//! `--link` it does not. The `COPY`s at the end of the target are rewritten where nobody needs the merged tree afterwards,
//! the steps below are in the cache, and what lies below is known well enough to prove that the tree is the same
//! ([`writes`]). What lies below is learnt from the layers once, and kept in the record, by the digest of the step that
//! left it ([`ParentState`]). No knowledge, no link.
//!
//! A `WORKDIR` makes BuildKit unpack everything as well, only to find its folder there. One that stands behind a linked
//! `COPY` is built above it ([`rising`]).
//!
//! A linked `COPY` has another cache key. One that the cache has as it was written stays as it was written, until it
//! changes; one that the cache has as a layer of its own stays so. Where that cannot be, it runs once more, and it is said
//! why.

mod carried;
mod rising;
mod trailing;
mod tree;
mod writes;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cachefmt::{Cache, Held};
use crate::dockerfile::Graph;
use crate::model::engine::{Driver, Frontend, ManifestForm};
use crate::model::inputs::{File, Inputs, PartKind};
use crate::model::parent_state::{Link, ParentState, Unlinked};
use crate::model::reference::Digest;
use crate::model::request::{Context, Request, csv_fields};
use crate::model::settings::{Settings, Strategy};
use crate::plan::explain::{Links, Recorded, Situation};
use crate::plan::steps::{Decision, Facts};
use trailing::{Does, End, Trailing, places, trailing};
use tree::Tree;
use writes::Effect;

pub use carried::{carried, carried_unlinked};
pub use rising::Order;

/// What decisions of this module are about.
pub const TOPIC: &str = "link";

/// How often it may take too long to learn what lies below a step, until that is given up.
const MOST_TRIES: u32 = 3;

/// The end of a target, and what was decided of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Linking {
    /// What is built otherwise than it is written, in the Dockerfile's order.
    pub links: Vec<Link>,
    /// The same steps by stage and number, as they are built.
    pub built: Vec<(String, usize)>,
    /// The order in which the steps are built, where it is another one than that of the Dockerfile.
    pub order: Option<Order>,
    /// What lies below, where it is known. With links, the image must have just these layers there.
    pub state: Option<Arc<ParentState>>,
    /// What later builds would have to know; `None` where it is known, or of no use.
    pub wanted: Option<Wanted>,
    /// How many layers lie on what lies below: one for each step.
    pub layers: usize,
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
    /// How often that took too long.
    pub tries: u32,
}

/// Why it was not learnt what lies below; a fragment of a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Vain {
    /// It would be so again.
    #[error("{0}")]
    Lasting(String),
    /// It need not be so the next time.
    #[error("{0}")]
    Passing(String),
    /// It took too long. The next build has twice the time: every build that does not know takes more than that.
    #[error("that would take too long")]
    Slow,
}

impl Vain {
    /// What would be so again.
    pub fn lasting(reason: impl ToString) -> Self {
        Vain::Lasting(reason.to_string())
    }

    /// What need not be so the next time.
    pub fn passing(reason: impl ToString) -> Self {
        Vain::Passing(reason.to_string())
    }
}

/// Decides, where a link could be of use: for an image of one platform that is only pushed, by an engine that can make
/// layers of their own.
pub fn linking(
    request: &Request,
    settings: &Settings,
    facts: &Facts,
    strategy: Strategy,
    (situation, imported): (Situation<'_>, Option<&Cache>),
    decisions: &mut Vec<Decision>,
) -> Linking {
    let (Ok(graph), Ok(inputs)) = (&facts.graph, &facts.inputs) else { return Linking::default() };
    let (records, cached) = situation.cache().unwrap_or_default();
    let known = Known { graph, inputs, all: &facts.records, records: &records, cached: &cached, imported };
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
    // Docker's own BuildKit stores and unpacks what it pushes, unless it is told not to.
    let is_stored = engine.driver == Driver::Docker && !engine.can_push_unstored()
        || has(request, "output", &["store=true", "unpack=true"]);
    // A Dockerfile that comes over standard input cannot be replaced.
    let is_on_disk = matches!(request.context, Context::Folder(_)) && request.last("file") != Some("-");
    let told = told(request, inputs);
    let reason = match () {
        () if settings.auto_link == Some(false) => "it was turned off",
        () if !is_able => "this builder is not known to make layers of their own",
        () if !is_only_pushed => "the image is not only pushed, so that the layers below are fetched anyway",
        () if is_stored => "the engine stores what it pushes, so that the layers below are fetched anyway",
        () if !is_on_disk => "the Dockerfile is no file in a folder",
        () if facts.platforms.len() != 1 => "it is built for several platforms",
        () if request.has("no-cache-filter") => "`--no-cache-filter` runs steps that are in the cache",
        () if told.is_some() => told.unwrap_or_default(),
        () => return facts.not_linked.clone(),
    };
    Some(reason.to_owned())
}

/// Whether one of the values of a flag has one of these fields.
fn has(request: &Request, flag: &str, fields: &[&str]) -> bool {
    request.all(flag).flat_map(csv_fields).any(|field| fields.contains(&field.trim()))
}

/// What of the image would tell that it was built from another Dockerfile, or would depend on what the cache has.
fn told(request: &Request, inputs: &Inputs) -> Option<&'static str> {
    // buildx labels the image with the Dockerfile's path, where that lies in the work tree.
    if inputs.image.iter().any(|part| part.kind == PartKind::Option && part.name == "BUILDX_GIT_LABELS") {
        return Some("BUILDX_GIT_LABELS names the Dockerfile");
    }
    if ["provenance", "attest"].iter().any(|flag| has(request, flag, &["mode=max"])) {
        return Some("provenance with mode=max has the Dockerfile in it");
    }
    // The times of folders are what else differs.
    has(request, "output", &["rewrite-timestamp=true", "rewrite-timestamp=1"])
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
    /// What is in that cache; `None` where nobody has looked into it.
    imported: Option<&'a Cache>,
}

fn decide(situation: Known<'_>, decisions: &mut Vec<Decision>) -> Linking {
    let Some(trailing) = trailing(situation.graph, situation.inputs) else { return Linking::default() };
    let destinations = places(&trailing);
    let vain = unlinked(situation.all, &trailing.below.digest, &destinations);
    let tries = vain.and_then(|it| it.tries).unwrap_or(0);
    let wanted = Wanted { step: trailing.below.digest.clone(), destinations, tries };
    let mut linking = Linking { layers: trailing.ends.len(), ..Linking::default() };
    let mut say = |choice: String, reason: &str| {
        decisions.push(Decision { topic: TOPIC, choice, reason: reason.to_owned() });
        Some(reason.to_owned())
    };
    // A base image's layers are those of its digest. Those of a step are what it left when it last ran.
    let is_base = trailing.lower.len() == 1;
    let held = |state: &ParentState| match situation.imported {
        _ if is_base => Held::Alone,
        Some(cache) => cache.holds(&state.layers),
        None => Held::Not,
    };
    let is_known = |state: &&ParentState| {
        state.step == wanted.step && wanted.destinations.iter().all(|place| state.known.contains(place))
    };
    let known: Vec<&ParentState> =
        situation.all.iter().flat_map(|it| &it.record.parent_states).filter(is_known).collect();
    let state = known.iter().copied().find(|state| held(state) == Held::Alone);
    if let Some(vain) = vain.filter(|it| it.destinations.is_empty() || state.is_none() && it.tries.is_none())
    {
        linking.reason = say("nothing".to_owned(), &vain.reason);
        return linking;
    }
    let Some(state) = state else {
        let is_one_of_several = known.iter().any(|state| held(state) == Held::AmongOthers);
        let reason = match known.is_empty() {
            true => "what lies below the last steps is not known yet",
            false if is_one_of_several => "the cache has several results of the last step below",
            false => "the cache has other layers below than those that are known",
        };
        linking.reason = say("nothing".to_owned(), reason);
        // Nobody can know which of several it will be.
        linking.wanted = (!is_one_of_several).then_some(wanted);
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
    let (from, reason) = rising::first(&trailing.ends, left);
    let (as_written, ends) = trailing.ends.split_at(from);
    if let Some(reason) = reason {
        let choice = match (ends.is_empty(), as_written.last()) {
            (false, Some(last)) => format!("nothing up to line {}", last.step.line),
            _ => "nothing".to_owned(),
        };
        linking.reason = say(choice, &reason);
    }
    (linking.links, linking.order) = rising::links(ends);
    linking.built = rising::built(ends, linking.order.as_ref());
    let lines = |is_risen: bool| {
        let lines: Vec<usize> =
            linking.links.iter().filter(|link| link.above.is_some() == is_risen).map(|it| it.line).collect();
        (!lines.is_empty()).then(|| format!("line {}", joined(&lines)))
    };
    if let Some(lines) = lines(false) {
        say(lines, "built as COPY --link: the tree is the same, and no layer below is fetched");
    }
    if let (Some(lines), Some(first)) = (lines(true), ends.first()) {
        let reason = "the folder is there already, so that nothing has to be fetched to look for it";
        say(format!("{lines} above line {}", first.step.line), reason);
    }
    linking
}

/// Of each step at the end, why it is left as it is written, if it is.
fn left_as_written(
    situation: Known<'_>,
    trailing: &Trailing<'_>,
    state: &ParentState,
) -> Vec<Option<String>> {
    let records = situation.records.iter();
    let linked: BTreeSet<&Digest> =
        records.flat_map(|recorded| &recorded.record.linked).map(|link| &link.step).collect();
    let mut tree = Tree::new(state);
    let reason = |End { step, does, .. }: &End<'_>| {
        if let Some(unknown) = situation.inputs.unknown.iter().find(|unknown| unknown.line == step.line) {
            tree.blur("/");
            return Some(unknown.what.clone());
        }
        let (effect, is_linked) = match does {
            Does::Copies(copy) => {
                let files: Vec<&File> = situation.inputs.files_of(step).collect();
                (writes::copy(&mut tree, copy, &files), copy.link)
            }
            Does::Enters(path) => (writes::enter(&mut tree, path), false),
        };
        let is_as_written = situation.cached.contains(&step.digest) && !linked.contains(&step.digest);
        match effect {
            // As a layer of the user's own, it needs nothing of what is below, whatever it does.
            _ if is_linked => None,
            Effect::Same if is_as_written => Some("the cache has it as it is written".to_owned()),
            Effect::Same => None,
            Effect::Bounded(reason) | Effect::Unbounded(reason) => Some(reason),
        }
    };
    trailing.ends.iter().map(reason).collect()
}

/// What an earlier build found, if that was that nothing can be linked there, or that it takes long to find out.
fn unlinked<'a>(records: &'a [Recorded], step: &Digest, destinations: &[String]) -> Option<&'a Unlinked> {
    let mut known = records.iter().flat_map(|recorded| &recorded.record.unlinked);
    known.find(|it| it.step == *step && it.destinations.iter().all(|at| destinations.contains(at)))
}

fn joined(lines: &[usize]) -> String {
    lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Linking {
    /// As an explanation needs it.
    pub fn links(&self) -> Links<'_> {
        Links { made: &self.links, reason: self.reason.as_deref() }
    }

    /// Where that lies which is to be learnt, or which may have to be learnt anew.
    pub fn places(&self) -> impl Iterator<Item = &String> {
        let wanted = self.wanted.iter().flat_map(|wanted| &wanted.destinations);
        wanted.chain(self.state.iter().flat_map(|state| &state.known))
    }

    /// Nothing is linked after all, for a reason that is a fragment of a sentence.
    pub fn forget(&mut self, reason: &str) {
        self.links.clear();
        self.order = None;
        self.built.clear();
        self.reason = Some(reason.to_owned());
    }

    /// The same, because a build with the links failed, or its image does not stand on what was known. It is to be learnt
    /// what lies below, unless that was so before.
    pub fn refute(&mut self, reason: &str) {
        self.forget(reason);
        let Some(state) = self.state.take() else { return };
        self.wanted = (!state.again).then(|| Wanted {
            step: state.step.clone(),
            destinations: state.known.clone(),
            tries: 0,
        });
        self.refuted = Some(state);
    }

    /// What later builds are to know where it was not learnt what lies below. `vain`: why not, if that was tried.
    pub fn unlinked(&self, vain: Option<&Vain>) -> Option<Unlinked> {
        let unlinked = |step: &Digest, destinations: &[String], reason: String, tries| {
            Some(Unlinked { step: step.clone(), destinations: destinations.to_vec(), reason, tries })
        };
        match (&self.refuted, &self.wanted) {
            (Some(refuted), None) => {
                let reason = "twice the layers below were others than was expected";
                unlinked(&refuted.step, &[], reason.to_owned(), None)
            }
            (refuted, Some(wanted)) => {
                let vain = vain?;
                let reason = format!("what lies below the last steps cannot be learnt: {vain}");
                let tries = match vain {
                    // Otherwise each build would be built twice.
                    _ if refuted.is_some() => None,
                    Vain::Passing(_) => return None,
                    Vain::Lasting(_) => None,
                    Vain::Slow => Some(wanted.tries + 1).filter(|tries| *tries < MOST_TRIES),
                };
                unlinked(&wanted.step, &wanted.destinations, reason, tries)
            }
            (None, None) => None,
        }
    }
}
