//! What differs between the parts of two steps that stand in the same place.

use crate::model::inputs::{Part, PartKind, StepInputs};
use crate::model::record::Cause;

/// Digits of a digest that are shown.
const DIGITS: usize = 12;

/// The longest text of an instruction in a cause.
const LONGEST: usize = 120;

/// One kind and name, with the values that it has and had; `None`: it is not there.
struct Difference<'a> {
    kind: PartKind,
    name: &'a str,
    now: Option<&'a str>,
    before: Option<&'a str>,
}

/// What the parts tell, without files and without build args, which have files of their own (`files`, `order`).
pub(super) fn causes(now: &StepInputs, before: &StepInputs, is_base: bool) -> Vec<Cause> {
    let differences = differences(&now.parts, &before.parts);
    let noun = if is_base { "base" } else { "image" };
    let mut causes = Vec::new();
    causes.extend(images(&differences, "frontend", PartKind::Frontend));
    causes.extend(images(&differences, noun, PartKind::Image));
    causes.extend(of_kind(&differences, PartKind::Context).map(|it| match (it.now, it.before) {
        (Some(_), None) => format!("named context `{}` is given, it was not", it.name),
        (None, _) => format!("named context `{}` is not given any more", it.name),
        _ => format!("named context `{}` changed", it.name),
    }));
    // A base's text is its image's name, which is told above.
    if !(is_base && !causes.is_empty()) {
        causes.extend(instruction(now, before));
    }
    for it in of_kind(&differences, PartKind::State) {
        causes.push(format!("{} is {}, it was {}", it.name, shown(it.now), shown(it.before)));
    }
    for it in of_kind(&differences, PartKind::Option) {
        causes.push(format!("`{}` is {}, it was {}", it.name, shown(it.now), shown(it.before)));
    }
    causes.into_iter().map(|text| Cause { text, advice: None }).collect()
}

/// The build args, or the variables, whose values differ.
pub(super) fn names(now: &StepInputs, before: &StepInputs, kind: PartKind) -> Vec<String> {
    let differences = differences(&now.parts, &before.parts);
    of_kind(&differences, kind).map(|it| it.name.to_owned()).collect()
}

/// The stages that came to another result.
pub(super) fn stages(now: &StepInputs, before: &StepInputs) -> Vec<Cause> {
    let differences = differences(&now.parts, &before.parts);
    let changed = |it: &Difference<'_>| it.now.map(|_| format!("stage `{}` changed", it.name));
    let texts = of_kind(&differences, PartKind::Stage).filter_map(changed);
    texts.map(|text| Cause { text, advice: None }).collect()
}

/// Which sources differ, where the files in them are not known one by one.
pub(super) fn sources(now: &StepInputs, before: &StepInputs) -> Vec<Cause> {
    let differences = differences(&now.parts, &before.parts);
    let texts = of_kind(&differences, PartKind::Files).map(|it| format!("files of `{}` changed", it.name));
    texts.map(|text| Cause { text, advice: None }).collect()
}

/// What differs in an image's own settings.
pub(super) fn of_image(now: &[Part], before: &[Part]) -> Vec<Cause> {
    let differences = differences(now, before);
    let text = |it: &Difference<'_>| match (it.kind, it.now, it.before) {
        (PartKind::Instruction, Some(now), Some(before)) => {
            format!("`{}`, it was `{}`", cut(now), cut(before))
        }
        (PartKind::Instruction, Some(now), None) => format!("`{}` is new", cut(now)),
        (PartKind::Instruction, None, before) => format!("`{}` is gone", cut(before.unwrap_or_default())),
        (_, now, before) => format!("`{}` is {}, it was {}", it.name, shown(now), shown(before)),
    };
    differences.iter().map(|it| Cause { text: text(it), advice: None }).collect()
}

/// The instruction itself. `None` where it is the same.
fn instruction(now: &StepInputs, before: &StepInputs) -> Option<String> {
    let (own, old) = (text(now), text(before));
    if own == old {
        return None;
    }
    if now.instruction != before.instruction {
        let (is, was) = (cut(&now.instruction), cut(&before.instruction));
        return Some(format!("the instruction is `{is}`, it was `{was}`"));
    }
    // The engine shows one line; what differs stands below it, as in a heredoc, or in a value that is not shown.
    let line = own.lines().zip(old.lines()).find(|(own, old)| own != old);
    Some(match line {
        Some((own, _)) if !own.starts_with(super::veil::MARK) => {
            format!("the instruction's text changed, at `{}`", cut(own))
        }
        Some(_) => "a value in the instruction changed, which is not shown".to_owned(),
        None => "the instruction's text changed".to_owned(),
    })
}

/// What the instruction says, which two steps are compared by.
pub(super) fn text(step: &StepInputs) -> &str {
    let part = step.parts.iter().find(|part| part.kind == PartKind::Instruction);
    part.map_or(&step.instruction, |part| &part.value)
}

/// Images that moved, and images that took another's place.
fn images(differences: &[Difference<'_>], noun: &str, kind: PartKind) -> Vec<String> {
    let mut texts: Vec<String> = of_kind(differences, kind).filter_map(|it| moved(noun, it)).collect();
    let mut gone = of_kind(differences, kind).filter(|it| it.now.is_none());
    for it in of_kind(differences, kind).filter(|it| it.before.is_none()) {
        texts.push(match gone.next() {
            Some(old) => format!("{noun} is `{}`, it was `{}`", it.name, old.name),
            None => format!("{noun} `{}` is new", it.name),
        });
    }
    texts
}

/// `base python:3.12 moved from sha256:ab.. to sha256:cd..`.
fn moved(noun: &str, it: &Difference<'_>) -> Option<String> {
    let (now, before) = (it.now?, it.before?);
    Some(format!("{noun} `{}` moved from {} to {}", it.name, digest(before), digest(now)))
}

fn differences<'a>(now: &'a [Part], before: &'a [Part]) -> Vec<Difference<'a>> {
    let same = |one: &Part, other: &Part| one.kind == other.kind && one.name == other.name;
    let mut found = Vec::new();
    for part in now {
        // A name that stands there twice has all of its values compared.
        let mut old = before.iter().filter(|other| same(part, other)).peekable();
        let first = old.peek().map(|old| old.value.as_str());
        if !old.any(|old| old.value == part.value) {
            let Part { kind, name, value } = part;
            found.push(Difference { kind: *kind, name, now: Some(value), before: first });
        }
    }
    for part in before.iter().filter(|part| !now.iter().any(|own| same(own, part))) {
        let Part { kind, name, value } = part;
        found.push(Difference { kind: *kind, name, now: None, before: Some(value) });
    }
    found
}

fn of_kind<'a, 'b>(
    differences: &'b [Difference<'a>],
    kind: PartKind,
) -> impl Iterator<Item = &'b Difference<'a>> {
    differences.iter().filter(move |it| it.kind == kind)
}

fn shown(value: Option<&str>) -> String {
    match value {
        None | Some("") => "not set".to_owned(),
        Some(value) if value.starts_with("sha256:") => digest(value),
        Some(value) => format!("`{}`", cut(value)),
    }
}

/// `sha256:0123456789ab..`.
fn digest(value: &str) -> String {
    match value.strip_prefix("sha256:").and_then(|hex| hex.get(..DIGITS)) {
        Some(digits) => format!("sha256:{digits}.."),
        None => cut(value),
    }
}

/// The text, short enough to be read.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
