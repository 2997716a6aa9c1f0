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
    if !is_base || causes.is_empty() {
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

/// What differs in an image's own settings. Their values are not known, only whether they are the same.
pub(super) fn of_image(now: &[Part], before: &[Part]) -> Vec<Cause> {
    let differences = differences(now, before);
    let word = |text: &str| text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    let mut gone: Vec<&str> = of_kind(&differences, PartKind::Instruction)
        .filter(|it| it.now.is_none())
        .map(|it| it.name)
        .collect();
    let mut texts = Vec::new();
    for it in differences.iter().filter(|it| it.now.is_some()) {
        let old = gone.iter().position(|old| it.kind == PartKind::Instruction && word(old) == word(it.name));
        texts.push(match (old, it.before) {
            (_, Some(_)) if it.kind == PartKind::Instruction => {
                format!("what the variables in `{}` stand for differs", cut(it.name))
            }
            (_, Some(_)) => format!("`{}` differs", it.name),
            (Some(old), None) => format!("`{}`, it was `{}`", cut(it.name), cut(gone.remove(old))),
            (None, None) => format!("`{}` is new", cut(it.name)),
        });
    }
    let others = differences.iter().filter(|it| it.now.is_none() && it.kind != PartKind::Instruction);
    texts.extend(others.map(|it| it.name).chain(gone).map(|name| format!("`{}` is gone", cut(name))));
    texts.into_iter().map(|text| Cause { text, advice: None }).collect()
}

/// The instruction itself. `None` where it is the same.
fn instruction(now: &StepInputs, before: &StepInputs) -> Option<String> {
    if value(now) == value(before) {
        return None;
    }
    if now.instruction != before.instruction {
        let (is, was) = (cut(&now.instruction), cut(&before.instruction));
        return Some(format!("the instruction is `{is}`, it was `{was}`"));
    }
    // What differs does not stand in the text: it is in a heredoc, or in what a variable stands for.
    let is_argument = |kind| !names(now, before, kind).is_empty();
    if now.instruction.contains("<<") {
        Some("its heredoc changed".to_owned())
    } else if is_argument(PartKind::Argument) || is_argument(PartKind::Variable) {
        None
    } else {
        Some("what its variables stand for changed".to_owned())
    }
}

/// What the instruction comes to. The base's is its image.
fn value(step: &StepInputs) -> Option<&str> {
    let part = step.parts.iter().find(|part| part.kind == PartKind::Instruction);
    part.map(|part| part.value.as_str())
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
