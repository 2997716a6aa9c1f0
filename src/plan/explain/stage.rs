//! The first miss of a stage: which step it is, which step of the record stands in its place, and what differs.

use std::collections::HashSet;
use std::time::Duration;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::model::inputs::{Inputs, PartKind, StageInputs, StepInputs, StepRules};
use crate::model::outcome::{StageOutcome, StepStatus};
use crate::model::record::{Cause, Miss, Record};
use crate::model::reference::Digest;
use crate::plan::explain::{Links, answered, files, is_base, order, parts};

/// What is compared.
#[derive(Clone, Copy)]
pub(super) struct Compared<'a> {
    pub(super) inputs: &'a Inputs,
    /// The inputs of the record.
    pub(super) before: &'a Inputs,
    pub(super) record: &'a Record,
    /// The steps of this build as they went.
    pub(super) done: Option<&'a [StageOutcome]>,
    pub(super) links: Option<Links<'a>>,
}

/// The stage's first step that no record has; `None` where they have all.
pub(super) fn miss(stage: &StageInputs, known: &HashSet<&Digest>, compared: Compared<'_>) -> Option<Miss> {
    let at = stage.steps.iter().position(|step| !known.contains(&step.digest))?;
    let step = &stage.steps[at];
    Some(Miss {
        stage: stage.name.clone(),
        platform: stage.platform.clone(),
        number: step.number,
        line: step.line,
        instruction: step.instruction.clone(),
        causes: causes(stage, at, compared),
    })
}

fn causes(stage: &StageInputs, at: usize, compared: Compared<'_>) -> Vec<Cause> {
    let Compared { inputs, before, record, done, links } = compared;
    let step = &stage.steps[at];
    let plain = |text: String| Cause { text, advice: None };
    let Some(old) = counterpart(stage, inputs, before) else {
        return vec![plain(format!("stage `{}` is new", stage.name))];
    };
    let aligned = Aligned::new(&stage.steps, &old.steps);
    let mut causes: Vec<Cause> = Vec::new();
    for removed in &aligned.removed_before(at).to_vec() {
        let (number, text) = (old.steps[*removed].number, parts::cut(&old.steps[*removed].instruction));
        causes.push(plain(format!("`{text}` was removed, which was step {number}")));
    }
    let Some(other) = aligned.old_of(at).map(|index| &old.steps[index]) else {
        causes.push(plain(format!("`{}` is new", parts::cut(&step.instruction))));
        return causes;
    };
    let took = |index: usize| {
        let of_now = done.and_then(|done| took(done, stage, stage.steps[index].number));
        let of_record = || took(&record.stages, old, old.steps[aligned.old_of(index)?].number);
        of_now.or_else(of_record)
    };
    let before_of = |index: usize| aligned.old_of(index).map(|index| &old.steps[index]);
    causes.extend(parts::causes(step, other, is_base(step)));
    causes.extend(order::causes(&order::Place { stage, at, before: &before_of, took: &took }));
    let files = files::causes(inputs.files_of(step), before.files_of(other));
    causes.extend(if files.is_empty() { parts::sources(step, other) } else { files });
    causes.extend(parts::stages(step, other));
    if causes.is_empty() {
        let is_linked_no_more = |links: &Links<'_>| record.links(&step.digest) && !links.has(&step.digest);
        let cause = match links.filter(is_linked_no_more) {
            Some(Links { reason, .. }) => Some(no_more(step, reason)),
            None => unchanged(stage, step, inputs.rules, record),
        };
        causes.extend(cause.map(plain));
    }
    causes
}

/// Why a step runs that was built otherwise, and so has another cache key.
fn no_more(step: &StepInputs, reason: Option<&str>) -> String {
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let how = if word(step) == "WORKDIR" { "above the `COPY`s before it" } else { "as `COPY --link`" };
    format!("it was built {how}, and is built as it is written now{reason}")
}

/// Why a step runs that is the same as in the record.
fn unchanged(stage: &StageInputs, step: &StepInputs, rules: StepRules, record: &Record) -> Option<String> {
    if record.left_out.contains(&stage.name) {
        return Some(format!("stage `{}` was not kept: it costs less to build", stage.name));
    }
    if answered::is_lost(rules, step) {
        let text = "this version finds no `ARG` in a registry, and runs all below it; buildah 1.29 and podman 4.4 do";
        return Some(text.to_owned());
    }
    let stage = step.parts.iter().find(|part| part.kind == PartKind::Stage)?;
    Some(format!("stage `{}` is made anew", stage.name))
}

/// The stage of the record that this one was: of the same name, else the one that has most in common with it.
fn counterpart<'a>(stage: &StageInputs, inputs: &Inputs, before: &'a Inputs) -> Option<&'a StageInputs> {
    let named = || before.stages.iter().filter(|old| old.name.eq_ignore_ascii_case(&stage.name));
    let of_platform = named().find(|old| old.platform == stage.platform);
    of_platform.or_else(|| named().next()).or_else(|| {
        let is_free =
            |old: &&StageInputs| !inputs.stages.iter().any(|own| own.name.eq_ignore_ascii_case(&old.name));
        let texts: HashSet<&str> = stage.steps.iter().map(text).collect();
        let common = |old: &&StageInputs| old.steps.iter().filter(|step| texts.contains(text(step))).count();
        before.stages.iter().filter(is_free).filter(|old| common(old) > 0).max_by_key(common)
    })
}

/// How long a step took, where it ran.
pub(in crate::plan) fn took(stages: &[StageOutcome], stage: &StageInputs, number: usize) -> Option<Duration> {
    let step = answered::told(stages, stage, number).into_iter().next()?;
    (step.status == StepStatus::Run).then_some(step.duration)
}

/// The steps of a stage, each with the one of the record that stands in its place.
struct Aligned {
    /// By index of the new step.
    old: Vec<Option<usize>>,
    /// Steps of the record that are gone, with the index of the new step that follows them.
    removed: Vec<(usize, Vec<usize>)>,
}

impl Aligned {
    fn new(now: &[StepInputs], before: &[StepInputs]) -> Self {
        let (own, old) =
            (now.iter().map(text).collect::<Vec<_>>(), before.iter().map(text).collect::<Vec<_>>());
        let mut aligned = Aligned { old: vec![None; now.len()], removed: Vec::new() };
        for op in capture_diff_slices(Algorithm::Myers, &old, &own) {
            match op {
                DiffOp::Equal { old_index, new_index, len } => {
                    (0..len).for_each(|offset| aligned.old[new_index + offset] = Some(old_index + offset));
                }
                DiffOp::Insert { .. } => {}
                DiffOp::Delete { old_index, old_len, new_index } => {
                    aligned.removed.push((new_index, (old_index..old_index + old_len).collect()));
                }
                DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                    let both = old_len.min(new_len);
                    (0..both).for_each(|offset| aligned.old[new_index + offset] = Some(old_index + offset));
                    if old_len > both {
                        let rest = old_index + both..old_index + old_len;
                        aligned.removed.push((new_index + both, rest.collect()));
                    }
                }
            }
        }
        // Another instruction in the same place is no counterpart: a COPY does not become a RUN.
        for (index, place) in aligned.old.iter_mut().enumerate() {
            if place.is_some_and(|old| word(&now[index]) != word(&before[old])) {
                *place = None;
            }
        }
        aligned
    }

    fn old_of(&self, index: usize) -> Option<usize> {
        self.old.get(index).copied().flatten()
    }

    fn removed_before(&self, index: usize) -> &[usize] {
        let found = self.removed.iter().find(|(before, _)| *before == index);
        found.map_or(&[], |(_, removed)| removed)
    }
}

/// What a step is known by: its instruction as written.
fn text(step: &StepInputs) -> &str {
    &step.instruction
}

/// `RUN`, `COPY`.
fn word(step: &StepInputs) -> String {
    step.instruction.split_whitespace().next().unwrap_or_default().to_ascii_uppercase()
}
