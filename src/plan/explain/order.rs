//! Build args and variables that differ, and what another place of the `ARG` would keep.
//!
//! Every `RUN` below an `ARG` has it in its environment, and so in its cache key, whether it uses it or not. Where the
//! steps that follow are the same but for that, the `ARG` could stand below them.

use std::time::Duration;

use crate::base::units::{self, plural};
use crate::model::inputs::{PartKind, StageInputs, StepInputs};
use crate::model::record::Cause;
use crate::plan::explain::parts;

/// Shorter times are not worth a word.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// A stage whose step at `at` misses, and what is known to compare it with.
pub(super) struct Place<'a> {
    pub(super) stage: &'a StageInputs,
    pub(super) at: usize,
    /// The step of the record that stands where a step of this stage stands, by index.
    pub(super) before: &'a dyn Fn(usize) -> Option<&'a StepInputs>,
    /// How long a step took when it ran, by index; `None` where that is not known.
    pub(super) took: &'a dyn Fn(usize) -> Option<Duration>,
}

/// The build args and variables that differ.
pub(super) fn causes(place: &Place<'_>) -> Vec<Cause> {
    let now = &place.stage.steps[place.at];
    let Some(before) = (place.before)(place.at) else { return Vec::new() };
    let arguments = parts::names(now, before, PartKind::Argument);
    let mut causes: Vec<Cause> =
        arguments.iter().map(|name| argument(name, &arguments, now, before, place)).collect();
    let variables = parts::names(now, before, PartKind::Variable);
    // An ENV that passes an ARG on differs because of it.
    let own = variables.iter().filter(|name| !arguments.contains(name));
    let text = |name: &String| format!("variable `{name}` of ENV differs, first used in {}", at(place));
    causes.extend(own.map(|name| Cause { text: text(name), advice: None }));
    causes
}

fn argument(
    name: &str,
    differing: &[String],
    now: &StepInputs,
    before: &StepInputs,
    place: &Place<'_>,
) -> Cause {
    let has = |step: &StepInputs| {
        step.parts.iter().any(|part| part.kind == PartKind::Argument && part.name == name)
    };
    let verb = match (has(now), has(before)) {
        (true, true) => "differs",
        (true, false) => "is set, it was not",
        (false, _) => "is not set any more",
    };
    let text = format!("build arg `{name}` {verb}, first used in {}", at(place));
    Cause { text, advice: advice(name, differing, place) }
}

fn at(place: &Place<'_>) -> String {
    format!("step {} of stage `{}`", place.stage.steps[place.at].number, place.stage.name)
}

/// What moving the `ARG` down would keep: the steps that have it in scope, do not name it, and are otherwise the same.
fn advice(name: &str, differing: &[String], place: &Place<'_>) -> Option<String> {
    let steps = &place.stage.steps;
    let keeps = |index: &usize| {
        (place.before)(*index).is_some_and(|before| {
            !may_name(&steps[*index].instruction, name) && is_same_but_for(&steps[*index], before, differing)
        })
    };
    let kept: Vec<usize> = (place.at..steps.len()).take_while(keeps).collect();
    let last = *kept.last()?;
    let took: Option<Duration> = kept.iter().map(|index| (place.took)(*index)).sum();
    let took = took.filter(|took| *took >= WORTH_TELLING);
    let took = took.map(|took| format!(" ({})", units::duration(took))).unwrap_or_default();
    let unless = if last + 1 == steps.len() { ", unless a program reads it" } else { "" };
    let (number, count) = (steps[last].number, plural(kept.len(), "step"));
    Some(format!("moving its ARG below step {number} would keep {count}{took}{unless}"))
}

/// Whether nothing but build args among the given ones makes two steps differ; what lies before them in the stage aside.
fn is_same_but_for(now: &StepInputs, before: &StepInputs, arguments: &[String]) -> bool {
    let counts = |part: &&crate::model::inputs::Part| {
        !(part.kind == PartKind::Argument && arguments.contains(&part.name))
    };
    let [now, before] = [now, before].map(|step| step.parts.iter().filter(counts).collect::<Vec<_>>());
    now == before
}

/// Whether an instruction names a variable: `$NAME`, `${NAME`. What stands in a heredoc is not known here.
pub(in crate::plan) fn may_name(text: &str, name: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    text.contains("<<")
        || text.match_indices('$').any(|(at, _)| {
            let rest = &text[at + 1..];
            let rest = rest.strip_prefix('{').unwrap_or(rest);
            rest.strip_prefix(name).is_some_and(|rest| !rest.starts_with(is_part))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_named_whole() {
        let cases = [
            ("echo $SHA", true),
            ("echo ${SHA}", true),
            ("echo ${SHA:-x}", true),
            ("echo $SHA1 ${SHAPE}", false),
            ("echo SHA", false),
            ("<<EOF", true),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(may_name(text, "SHA"), expected, "{text}");
        }
    }
}
