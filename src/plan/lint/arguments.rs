//! Arguments that are others in every build, above steps that do not use them. BuildKit gives every `ARG` in scope to every
//! `RUN` below it, as part of its cache key.

use std::time::Duration;

use crate::dockerfile::Kind;
use crate::plan::lint::course::{Act, sum};
use crate::plan::lint::installs::installs;
use crate::plan::lint::order::mentions;
use crate::plan::lint::{Advice, Rule};

/// Names of values that change with every commit or pipeline.
const VOLATILE: [&str; 24] = [
    "BUILD_DATE",
    "BUILD_ID",
    "BUILD_NUMBER",
    "BUILD_TIME",
    "BUILD_TIMESTAMP",
    "BUILD_VERSION",
    "COMMIT",
    "COMMIT_HASH",
    "COMMIT_ID",
    "COMMIT_SHA",
    "DATE",
    "GITHUB_SHA",
    "GIT_BRANCH",
    "GIT_COMMIT",
    "GIT_DESCRIBE",
    "GIT_HASH",
    "GIT_REF",
    "GIT_REV",
    "GIT_REVISION",
    "GIT_SHA",
    "REVISION",
    "TIMESTAMP",
    "VCS_REF",
    "VERSION",
];

/// Names that begin so are a pipeline's own.
const VOLATILE_BEGINS: [&str; 5] = ["CI_COMMIT_", "CI_PIPELINE_", "CI_JOB_", "GITHUB_RUN_", "CIRCLE_SHA"];

fn is_volatile(name: &str) -> bool {
    VOLATILE.contains(&name)
        || name == "APP_VERSION"
        || VOLATILE_BEGINS.iter().any(|begin| name.starts_with(begin))
}

/// Looks at one way.
pub(super) fn look(course: &[Act<'_>], advice: &mut Vec<Advice>) {
    for (place, act) in course.iter().enumerate() {
        let Kind::Arg(arguments) = &act.instruction.kind else { continue };
        let volatile = arguments.iter().filter(|argument| is_volatile(&argument.name));
        advice.extend(volatile.filter_map(|argument| judge(act, &course[place + 1..], &argument.name)));
    }
}

fn judge(act: &Act<'_>, after: &[Act<'_>], name: &str) -> Option<Advice> {
    // Variables that hold its value.
    let mut names = vec![name.to_owned()];
    let mut used = None;
    let mut between: Vec<&Act<'_>> = Vec::new();
    for act in after {
        if let Kind::Env(pairs) = &act.instruction.kind {
            let holds = |value: &str| names.iter().any(|name| mentions(value, name));
            let fresh: Vec<String> =
                pairs.iter().filter(|(_, value)| holds(value)).map(|(name, _)| name.clone()).collect();
            names.extend(fresh);
            continue;
        }
        let text = act.command().unwrap_or(&act.instruction.text);
        if act.step.is_some() && names.iter().any(|name| mentions(text, name)) {
            used = Some(act.line());
            break;
        }
        between.extend(act.command().map(|_| act));
    }
    if used.is_none() {
        // A program may read its environment; those that install what others have made do not.
        between.retain(|act| act.command().is_some_and(|command| !installs(command).is_empty()));
    }
    let costs: Option<Duration> = sum(between.iter().map(|act| act.took));
    let first = between.first()?.line();
    let steps = match between.len() {
        1 => format!("the step in line {first} runs"),
        count => format!("{count} steps from line {first} on run"),
    };
    let help = match used {
        Some(line) => format!("move it to line {line}, above the first step that uses it"),
        None => format!("move it below line {}", between.last()?.instruction.span.last),
    };
    Some(Advice {
        line: act.line(),
        rule: Rule::VolatileArgument,
        text: format!("with every new `{name}`, {steps} again without using it"),
        help,
        costs,
    })
}
