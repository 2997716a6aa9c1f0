//! The steps of a stage as rows of a table, for the log and for Markdown alike. In a huge build, neighbours that were
//! cached, or not reached, share a row.

use std::time::Duration;

use crate::base::units;
use crate::model::outcome::{Outcome, StageOutcome, StepOutcome, StepStatus};

/// A build with more steps than this has its dull steps folded.
const FOLD_ABOVE: usize = 40;

/// Times shorter than this say nothing about a step that was not executed.
const WORTH_TELLING: Duration = Duration::from_millis(50);

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    /// `3/5`, or `3-17/20` where steps were folded.
    pub number: String,
    /// How it ended, all of it.
    pub status: StepStatus,
    /// The time, where it is worth telling; else empty.
    pub time: String,
    /// The step, or the first of several.
    pub first: &'a StepOutcome,
    /// How many steps the row stands for.
    pub count: usize,
}

impl Row<'_> {
    /// The instruction with its platform, or how many steps there are. Not cleaned.
    pub fn what(&self) -> String {
        if self.count > 1 {
            return units::plural(self.count, "step");
        }
        match &self.first.platform {
            Some(platform) => format!("{platform} {}", self.first.instruction),
            None => self.first.instruction.clone(),
        }
    }
}

/// Whether this build is so large that its dull steps are folded.
pub fn is_huge(outcome: &Outcome) -> bool {
    outcome.stages.iter().map(|stage| stage.steps.len()).sum::<usize>() > FOLD_ABOVE
}

/// The rows of a stage.
pub fn rows(stage: &StageOutcome, fold: bool) -> Vec<Row<'_>> {
    stage
        .steps
        .chunk_by(|one, next| {
            fold && one.status == next.status
                && matches!(one.status, StepStatus::Cached | StepStatus::Skipped)
        })
        .filter_map(|steps| {
            let (first, last) = (steps.first()?, steps.last()?);
            let span = if steps.len() > 1 {
                format!("{}-{}/{}", first.number, last.number, first.of)
            } else {
                format!("{}/{}", first.number, first.of)
            };
            let time: Duration = steps.iter().map(|step| step.duration).sum();
            let tell = matches!(first.status, StepStatus::Run | StepStatus::Failed) || time >= WORTH_TELLING;
            let time = if tell { units::duration(time) } else { String::new() };
            Some(Row { number: span, status: first.status, time, first, count: steps.len() })
        })
        .collect()
}

/// The word for a step's end.
pub fn word(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Cached => "cached",
        StepStatus::Run => "run",
        StepStatus::Failed => "failed",
        StepStatus::Skipped => "not reached",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn folds_neighbours_that_nothing_happened_to() {
        let outcome = samples::huge();
        assert!(is_huge(&outcome) && !is_huge(&samples::cold()));
        let folded: Vec<_> =
            rows(&outcome.stages[0], true).iter().map(|row| (row.number.clone(), row.what())).collect();
        assert_eq!(
            folded,
            [
                ("1-29/50".into(), "29 steps".into()),
                ("30/50".into(), "RUN step-30".into()),
                ("31/50".into(), "RUN step-31".into()),
                ("32-50/50".into(), "19 steps".into()),
            ]
            .map(|(number, what): (String, String)| (number, what))
        );
        assert_eq!(rows(&outcome.stages[0], false).len(), 50);
    }
}
