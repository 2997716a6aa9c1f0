//! `WORKDIR`s that are built above the linked `COPY`s before them.
//!
//! BuildKit makes the folder of every `WORKDIR` (`dispatchWorkdir` in dockerfile2llb), and has to have all layers below for
//! that, the linked ones too. Above the copies the step does not depend on what they copy, so that the cache has it from
//! the second build on. The tree is the same: the folder is there below, and the step changes nothing; or the copies make
//! it, and as layers of their own they give it the mode and the owner that they give it without the step.

use crate::model::outcome::StageOutcome;
use crate::model::parent_state::Link;
use crate::plan::link::trailing::{Does, End};

/// Steps of a stage that are built in another order than they are written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The stage.
    pub stage: String,
    /// The number of the first of them.
    pub first: usize,
    /// The numbers that they have in the Dockerfile, in the order in which they are built.
    pub written: Vec<usize>,
}

impl Order {
    /// Gives steps that were built the numbers that they have in the Dockerfile.
    pub fn restore(&self, stages: &mut [StageOutcome]) {
        for stage in stages.iter_mut().filter(|stage| stage.name.eq_ignore_ascii_case(&self.stage)) {
            for step in &mut stage.steps {
                let place = (step.number as usize).checked_sub(self.first);
                let written = place.and_then(|place| self.written.get(place));
                step.number = written.and_then(|number| u32::try_from(*number).ok()).unwrap_or(step.number);
            }
            stage.steps.sort_by_key(|step| step.number);
        }
    }
}

/// The place of the first step that is not left as it is written, and why those before it are. `left`: the reasons of
/// those that have one; what is below one of those is unpacked anyway.
pub(super) fn first(ends: &[End<'_>], mut left: Vec<Option<String>>) -> (usize, Option<String>) {
    loop {
        let last = left.iter().rposition(Option::is_some);
        let from = last.map_or(0, |last| last + 1);
        let from = from + ends[from..].iter().take_while(|end| end.enters()).count();
        match obstacle(&ends[from..]) {
            Some((at, reason)) => left[from + at] = Some(reason.to_owned()),
            None => return (from, last.and_then(|last| left[last].take())),
        }
    }
}

/// The first `WORKDIR` that cannot be built above the first of these steps, and why.
fn obstacle(ends: &[End<'_>]) -> Option<(usize, &'static str)> {
    let enters = ends.iter().enumerate().filter(|(_, end)| end.enters());
    enters.into_iter().find_map(|(at, end)| {
        let before = &ends[..at];
        let is_relative = |end: &End<'_>| matches!(end.does, Does::Copies(copy) if copy.is_relative);
        if before.iter().any(|other| other.stage.name != end.stage.name) {
            return Some((at, "WORKDIR stands in another stage than the COPYs before it"));
        }
        before.iter().any(is_relative).then_some((at, "WORKDIR changes where a COPY before it goes"))
    })
}

/// What of these steps is built otherwise than it is written, and in which order.
pub(super) fn links(ends: &[End<'_>]) -> (Vec<Link>, Option<Order>) {
    let Some(first) = ends.first() else { return (Vec::new(), None) };
    let links = ends.iter().filter(|end| !end.is_linked()).map(|end| {
        let above = end.enters().then_some(first.step.line);
        Link { line: end.step.line, step: end.step.digest.clone(), above }
    });
    let order = ends.iter().rposition(End::enters).map(|last| {
        let (risen, others): (Vec<&End<'_>>, Vec<&End<'_>>) =
            ends[..=last].iter().partition(|end| end.enters());
        let written = risen.into_iter().chain(others).map(|end| end.step.number).collect();
        Order { stage: first.stage.name.clone(), first: first.step.number, written }
    });
    (links.collect(), order)
}

/// These steps by stage and number, as they are built in this order; without the user's own links.
pub(super) fn built(ends: &[End<'_>], order: Option<&Order>) -> Vec<(String, usize)> {
    let own = ends.iter().filter(|end| !end.is_linked());
    let place = |end: &End<'_>| {
        let number = end.step.number;
        let moved = order.filter(|order| order.stage == end.stage.name);
        let at = moved.and_then(|it| Some(it.first + it.written.iter().position(|other| *other == number)?));
        (end.stage.name.clone(), at.unwrap_or(number))
    };
    own.map(place).collect()
}
