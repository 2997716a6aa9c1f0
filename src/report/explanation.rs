//! Why steps ran, in words: the same for the log before the build, for the summary after it, and for `explain`.
//!
//! Records come from a registry and instructions from a Dockerfile: every text of theirs goes through `line`, and none
//! begins a line.

use crate::base::units::plural;
use crate::model::outcome::{StageOutcome, StepOutcome, StepStatus};
use crate::model::parent_state::Link;
use crate::model::record::{Against, Cause, Explanation, Miss};
use crate::report::line::{clean, fit};

/// The longest instruction beside a miss.
const INSTRUCTION: usize = 80;

/// The longest cause with its advice.
const CAUSE: usize = 400;

/// The most stages whose misses are told in full; a Dockerfile with more is read in the JSON report.
const MOST_MISSES: usize = 12;

/// What was built otherwise than it is written; `None` where that is nothing.
pub fn linked(links: &[Link]) -> Option<String> {
    let lines = |is_risen: bool| {
        let lines = links.iter().filter(move |link| link.above.is_some() == is_risen);
        lines.map(|link| link.line.to_string()).collect::<Vec<_>>().join(", ")
    };
    let above = links.iter().find_map(|link| link.above);
    let told = [
        (lines(false), "built as COPY --link".to_owned()),
        (lines(true), format!("built above line {}", above.unwrap_or(0))),
    ];
    let told = told.into_iter().filter(|(lines, _)| !lines.is_empty());
    let told: Vec<String> = told.map(|(lines, how)| format!("line {lines}: {how}")).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// What is said before the build, each line ended; empty where nothing can be said.
pub fn prediction(explanation: &Explanation) -> String {
    let line = |line: String| match line.starts_with(' ') {
        true => format!("{line}\n"),
        false => format!("layerlift: {line}\n"),
    };
    forecast(explanation).into_iter().map(line).collect()
}

/// The same in lines: how many steps will run, then why, indented, then notes.
pub fn forecast(explanation: &Explanation) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((run, of)) = explanation.predicted {
        lines.push(format!("{}{}", will_run(run, of), compared(explanation.against.as_ref())));
    } else if !explanation.misses.is_empty() {
        lines.push(format!("steps will run{}", compared(explanation.against.as_ref())));
    }
    lines.extend(misses(&explanation.misses).into_iter().map(|line| format!("  {line}")));
    lines.extend(explanation.notes.iter().map(|note| clean(note)));
    lines
}

/// `2 of 11 steps will run`.
fn will_run(run: usize, of: usize) -> String {
    match run {
        0 => format!("none of {} will run", plural(of, "step")),
        _ if run == of => format!("all {} will run", plural(of, "step")),
        _ => format!("{run} of {} will run", plural(of, "step")),
    }
}

fn compared(against: Option<&Against>) -> String {
    against.map(|against| format!(", compared with {}", build(against))).unwrap_or_default()
}

/// An earlier build: `branch-main at 5e1c309d`.
pub fn build(against: &Against) -> String {
    let scope = against.scope.as_deref().map_or_else(|| clean(&against.reference), clean);
    match &against.commit {
        Some(commit) => format!("{scope} at {}", fit(&commit.chars().take(8).collect::<String>(), 8)),
        None => scope,
    }
}

/// What is said after the build, as lines with the label that each stands under.
pub fn told(explanation: &Explanation, stages: &[StageOutcome]) -> Vec<(&'static str, String)> {
    let mut lines: Vec<(&str, String)> =
        misses(&explanation.misses).into_iter().map(|line| ("why", line)).collect();
    lines.extend(explanation.notes.iter().map(|note| ("note", clean(note))));
    lines.extend(fared(explanation, stages).map(|fared| ("forecast", fared)));
    lines.extend(explanation.surprises.iter().map(|surprise| ("surprise", clean(surprise))));
    lines
}

/// The misses: a line for each, and one for each of its causes.
pub fn misses(misses: &[Miss]) -> Vec<String> {
    let mut lines = Vec::new();
    for miss in misses.iter().take(MOST_MISSES) {
        lines.push(format!("{}  {}", place(miss), fit(&miss.instruction, INSTRUCTION)));
        lines.extend(miss.causes.iter().map(|it| format!("  because {}", cause(it))));
        if miss.causes.is_empty() {
            lines.push("  for a reason that the record does not tell".to_owned());
        }
    }
    if misses.len() > MOST_MISSES {
        lines.push(format!("and {}", plural(misses.len() - MOST_MISSES, "more stage")));
    }
    lines
}

/// `build 4, line 12`.
pub fn place(miss: &Miss) -> String {
    let platform = miss.platform.as_deref().map(|platform| format!(" for {}", clean(platform)));
    format!("{} {}, line {}{}", clean(&miss.stage), miss.number, miss.line, platform.unwrap_or_default())
}

/// What differs, and what to do about it.
pub fn cause(cause: &Cause) -> String {
    match &cause.advice {
        Some(advice) => fit(&format!("{}: {advice}", cause.text), CAUSE),
        None => fit(&cause.text, CAUSE),
    }
}

/// How the prediction fared: `3 of 6 steps were to run, and did`. `None` where there was none, or nothing was built.
pub fn fared(explanation: &Explanation, stages: &[StageOutcome]) -> Option<String> {
    let (run, of) = explanation.predicted?;
    let has_run = |step: &&StepOutcome| matches!(step.status, StepStatus::Run | StepStatus::Failed);
    let ran = stages.iter().flat_map(|stage| &stage.steps).filter(has_run).count();
    if stages.is_empty() {
        return None;
    }
    let said = match run {
        0 => format!("none of {} was to run", plural(of, "step")),
        _ => format!("{run} of {} were to run", plural(of, "step")),
    };
    Some(match ran {
        _ if ran == run && run == 0 => format!("{said}, and none did"),
        _ if ran == run => format!("{said}, and did"),
        0 => format!("{said}, none did"),
        _ => format!("{said}, {ran} did"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn before_the_build() {
        let explained = samples::explained().explanation.unwrap();
        insta::assert_snapshot!(prediction(&explained), @r"
        layerlift: 3 of 7 steps will run, compared with branch-main at 5e1c309d
          build 4, line 5  COPY . .
            because `src/app.py` changed (+12 bytes)
            because file `tmp/log` entered the context: add it to .dockerignore
          stage-1 2, line 9  COPY --from=build /out/app /usr/bin/app
            because stage `build` changed
        layerlift: no cache ref existed for merge request 12; main's was read
        ");
        assert_eq!(prediction(&Explanation::default()), "");
        assert_eq!(will_run(0, 1), "none of 1 step will run");
        assert_eq!(will_run(7, 7), "all 7 steps will run");
    }

    #[test]
    fn after_the_build() {
        let outcome = samples::explained();
        let with = |predicted| {
            let explanation = Explanation { predicted, ..Explanation::default() };
            fared(&explanation, &outcome.stages)
        };
        assert_eq!(with(Some((3, 7))).unwrap(), "3 of 7 steps were to run, and did");
        assert_eq!(with(Some((2, 7))).unwrap(), "2 of 7 steps were to run, 3 did");
        assert_eq!(with(Some((0, 7))).unwrap(), "none of 7 steps was to run, 3 did");
        assert_eq!(with(None), None);
        let none = Explanation { predicted: Some((0, 7)), ..Explanation::default() };
        assert_eq!(fared(&none, &[]), None);
        assert_eq!(
            fared(&none, &samples::full_hit().stages).unwrap(),
            "none of 7 steps was to run, and none did"
        );
    }

    #[test]
    fn hostile_texts_stay_in_their_lines() {
        let mut explained = samples::explained().explanation.unwrap();
        explained.misses[0].instruction = "RUN a\n::error::x\u{1b}[2J".to_owned();
        explained.misses[0].causes[0].text = "x\r\n::set-output name=a::b".to_owned();
        explained.notes[0] = "\n::warning::x".to_owned();
        let text = prediction(&explained);
        assert!(text.lines().all(|line| line.starts_with("layerlift: ") || line.starts_with("  ")), "{text}");
        let many = vec![explained.misses[0].clone(); 40];
        assert_eq!(misses(&many).last().unwrap(), "and 28 more stages");
    }
}
