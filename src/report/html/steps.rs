//! The waterfall: a table for each stage, a row for each step, a bar on an axis that all tables share.

use std::time::Duration;

use crate::base::units::{duration, plural};
use crate::model::outcome::{StageOutcome, StepOutcome, StepStatus};
use crate::model::record::Miss;
use crate::report::html::markup::Markup;
use crate::report::html::view::View;
use crate::report::line::{clean, columns, cut};
use crate::report::rows;

/// Longer instructions are folded.
const LONG_INSTRUCTION: usize = 150;

/// Distances of the axis' marks, in seconds; the first that gives no more than [`MOST_MARKS`] is taken.
const DISTANCES: [f64; 19] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
    14400.0, 43200.0,
];

const MOST_MARKS: f64 = 6.0;

/// Time, from the build's begin to its end or to the end of its last step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    /// Seconds.
    whole: f64,
    /// Seconds from one mark to the next.
    distance: f64,
    /// Seconds before the engine began: steps count from there.
    before: f64,
}

impl Axis {
    pub(super) fn of(view: &View<'_>) -> Self {
        let before = view.preparation.as_secs_f64();
        let end = |step: &StepOutcome| Some(step.started?.as_secs_f64() + step.duration.as_secs_f64());
        let ends = view.stages.iter().flat_map(|stage| &stage.steps).filter_map(end);
        let last = ends.fold(0.0, f64::max) + before;
        let whole = last.max(view.duration.as_secs_f64()).max(0.05);
        let fits = |distance: &&f64| whole / **distance <= MOST_MARKS;
        let distance = DISTANCES.iter().find(fits).copied().unwrap_or(whole / MOST_MARKS);
        Axis { whole, distance, before }
    }

    /// The marks, with their places as shares of the whole.
    fn marks(self) -> impl Iterator<Item = (f64, String)> {
        // One at the very end would have no room.
        let all = (0..=MOST_MARKS as u32).map(move |number| f64::from(number) * self.distance);
        all.filter(move |at| *at < self.whole * 0.95).map(move |at| (at / self.whole, label(at)))
    }

    fn share(self, seconds: f64) -> f64 {
        seconds / self.whole
    }
}

/// `0`, `0.5s`, `15s`, `2m`, `1m30s`, `1h`.
fn label(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds == 0.0 => "0".to_owned(),
        _ if seconds < 1.0 || seconds.fract() != 0.0 => format!("{seconds:.1}s"),
        0..60 => format!("{whole}s"),
        60..3600 if whole.is_multiple_of(60) => format!("{}m", whole / 60),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ if whole.is_multiple_of(3600) => format!("{}h", whole / 3600),
        _ => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
    }
}

/// The address of a step's row within the page. `member`: which of the page's builds.
pub(super) fn anchor(markup: &mut Markup, member: usize, stage: usize, row: usize) {
    markup.raw("step-").number(member).raw("-").number(stage).raw("-").number(row);
}

/// The whole build, from layerlift's first question to the last cache image.
pub(super) fn waterfall(markup: &mut Markup, member: usize, view: &View<'_>) {
    let axis = Axis::of(view);
    markup.raw("<div class=\"box\">\n<table class=\"steps\" role=\"table\" aria-label=\"Steps over time\" style=\"--tick:");
    markup.percent(axis.share(axis.distance)).raw("\">\n");
    head(markup, axis);
    let (before, after) = around(view, axis);
    phases(markup, axis, &before);
    for (index, stage) in view.stages.iter().enumerate() {
        markup.raw("<tbody role=\"rowgroup\">\n<tr role=\"row\" class=\"stage\"><th colspan=\"4\" scope=\"rowgroup\" role=\"rowheader\">");
        markup.text(&stage.name).raw(" <span>").text(&summary(stage)).raw("</span></th>");
        markup.raw("<td role=\"cell\" class=\"line\"></td></tr>\n");
        for (number, step) in stage.steps.iter().enumerate() {
            markup.raw("<tr role=\"row\" id=\"");
            anchor(markup, member, index, number);
            markup.raw("\">");
            row(markup, axis, step, miss(view, stage, step));
            markup.raw("</tr>\n");
        }
        markup.raw("</tbody>\n");
    }
    phases(markup, axis, &after);
    markup.raw("</table>\n");
    legend(markup, view);
    markup.raw("</div>\n");
}

/// What the bars mean, as far as there are such.
fn legend(markup: &mut Markup, view: &View<'_>) {
    let meanings = [
        (StepStatus::Cached, "cached; a long one is the fetching of its layers"),
        (StepStatus::Run, "run"),
        (StepStatus::Failed, "failed"),
    ];
    markup.raw("<ul class=\"keys\">");
    for (status, meaning) in meanings.into_iter().filter(|(status, _)| view.count(*status) > 0) {
        markup.raw("<li><span aria-hidden=\"true\" class=\"bar ").raw(class(status)).raw("\"></span>");
        markup.raw(meaning).raw("</li>");
    }
    markup.raw("<li><span aria-hidden=\"true\" class=\"bar around\"></span>not a step</li></ul>\n");
}

fn head(markup: &mut Markup, axis: Axis) {
    markup.raw("<thead role=\"rowgroup\"><tr role=\"row\">");
    for (class, name) in [("number", "Step"), ("what", "Instruction"), ("result", "Result"), ("time", "Time")]
    {
        markup
            .raw("<th scope=\"col\" role=\"columnheader\" class=\"")
            .raw(class)
            .raw("\">")
            .raw(name)
            .raw("</th>");
    }
    markup.raw("<th scope=\"col\" role=\"columnheader\" class=\"line\"><span class=\"unseen\">When</span>");
    for (place, label) in axis.marks() {
        markup.raw("<span class=\"tick\" aria-hidden=\"true\" style=\"left:").percent(place);
        markup.raw("\">").text(&label).raw("</span>");
    }
    markup.raw("</th></tr></thead>\n");
}

/// What is no step: a name, begin and end in seconds.
type Phase = (&'static str, f64, f64);

/// What happened before the first step and after the last one, as far as it took its time. Where no step tells when it
/// began, the engine's time is one.
fn around(view: &View<'_>, axis: Axis) -> (Vec<Phase>, Vec<Phase>) {
    let whole = view.duration.as_secs_f64();
    let engine_ends = (whole - view.cache_export.as_secs_f64()).max(axis.before);
    let steps = || view.stages.iter().flat_map(|stage| &stage.steps).filter(|step| is_placed(step));
    let begin = |step: &StepOutcome| step.started.unwrap_or_default().as_secs_f64() + axis.before;
    let first = steps().map(begin).fold(f64::INFINITY, f64::min);
    let last = steps().map(|step| begin(step) + step.duration.as_secs_f64()).fold(0.0, f64::max);
    let mut before = vec![("layerlift finds out and decides", 0.0, axis.before)];
    let mut after = Vec::new();
    if last == 0.0 {
        before.push(("the engine", axis.before, engine_ends));
    } else {
        before.push(("base images, build context, cache manifest", axis.before, first));
        after.push(("result and cache are stored and pushed", last, engine_ends));
    }
    after.push(("cache images", engine_ends, whole));
    let told =
        |phases: Vec<Phase>| phases.into_iter().filter(|(_, begin, end)| end - begin >= 0.05).collect();
    (told(before), told(after))
}

/// Whether a step has a place on the axis.
fn is_placed(step: &StepOutcome) -> bool {
    step.started.is_some() && step.status != StepStatus::Skipped
}

fn phases(markup: &mut Markup, axis: Axis, phases: &[Phase]) {
    if phases.is_empty() {
        return;
    }
    markup.raw("<tbody role=\"rowgroup\" class=\"around\">\n");
    for (name, begin, end) in phases {
        markup
            .raw("<tr role=\"row\"><td role=\"cell\" class=\"number\"></td><td role=\"cell\" class=\"what\">")
            .raw(name);
        markup.raw("</td><td role=\"cell\" class=\"result\"></td><td role=\"cell\" class=\"time\">");
        markup.text(&duration(length(end - begin))).raw("</td>");
        bar(markup, axis, "around", *begin, end - begin);
        markup.raw("</tr>\n");
    }
    markup.raw("</tbody>\n");
}

/// The cell with a bar, and its place in words.
fn bar(markup: &mut Markup, axis: Axis, class: &'static str, begin: f64, took: f64) {
    let spoken = format!("from {} to {}", duration(length(begin)), duration(length(begin + took)));
    markup.raw("<td role=\"cell\" class=\"line\" title=\"").text(&spoken).raw("\"><span class=\"unseen\">");
    markup.text(&spoken).raw("</span><span aria-hidden=\"true\" class=\"bar ").raw(class);
    // Even the shortest at the end is seen.
    let place = axis.share(begin).min(0.99);
    markup.raw("\" style=\"left:").percent(place);
    markup.raw(";width:").percent(axis.share(took).min(1.0 - place)).raw("\"></span></td>");
}

/// What made a step run, where it is the first miss of its stage.
fn miss<'a>(view: &View<'a>, stage: &StageOutcome, step: &StepOutcome) -> Option<&'a Miss> {
    let missed = matches!(step.status, StepStatus::Run | StepStatus::Failed);
    let misses = view.explanation.filter(|_| missed).map(|it| it.misses.as_slice()).unwrap_or_default();
    misses.iter().find(|miss| miss.stage == stage.name && miss.number == step.number as usize)
}

/// `4 steps, 1 run, 12.0s`.
fn summary(stage: &StageOutcome) -> String {
    let mut parts = vec![plural(stage.steps.len(), "step")];
    for status in [StepStatus::Cached, StepStatus::Run, StepStatus::Failed, StepStatus::Skipped] {
        match stage.count(status) {
            0 => {}
            all if all == stage.steps.len() && all > 1 => parts.push(format!("all {}", rows::word(status))),
            some => parts.push(format!("{some} {}", rows::word(status))),
        }
    }
    let time = stage.steps.iter().fold(Duration::ZERO, |sum, step| sum.saturating_add(step.duration));
    if time >= Duration::from_millis(50) {
        parts.push(duration(time));
    }
    parts.join(", ")
}

fn row(markup: &mut Markup, axis: Axis, step: &StepOutcome, miss: Option<&Miss>) {
    markup
        .raw("<td role=\"cell\" class=\"number\">")
        .number(step.number as usize)
        .raw("/")
        .number(step.of as usize);
    markup.raw("</td><td role=\"cell\" class=\"what\">");
    instruction(markup, step);
    if let Some(cause) = miss.and_then(|miss| miss.causes.first().map(|cause| (miss, cause))) {
        let (miss, cause) = cause;
        markup.raw("<span class=\"because\">because ").prose(&cause.text);
        if miss.causes.len() > 1 {
            markup.text(&format!(", and {} more", miss.causes.len() - 1));
        }
        markup.raw("</span>");
    }
    markup.raw("</td><td role=\"cell\" class=\"result\">");
    badge(markup, step.status);
    markup.raw("</td><td role=\"cell\" class=\"time\">");
    let worth_telling = matches!(step.status, StepStatus::Run | StepStatus::Failed)
        || step.duration >= Duration::from_millis(50);
    if worth_telling {
        markup.text(&duration(step.duration));
    }
    markup.raw("</td>");
    match step.started.filter(|_| is_placed(step)) {
        Some(started) => {
            let begin = started.as_secs_f64() + axis.before;
            bar(markup, axis, class(step.status), begin, step.duration.as_secs_f64());
        }
        None => {
            markup.raw("<td role=\"cell\" class=\"line\"></td>");
        }
    }
}

fn length(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// An instruction, its name in bold; a long one is folded.
pub(super) fn instruction(markup: &mut Markup, step: &StepOutcome) {
    let whole = match &step.platform {
        Some(platform) => clean(&format!("{} [{platform}]", step.instruction)),
        None => clean(&step.instruction),
    };
    if columns(&whole) > LONG_INSTRUCTION {
        markup.raw("<details><summary>");
        named(markup, &cut(&whole, LONG_INSTRUCTION - 30));
        markup.raw("</summary>");
        named(markup, &whole);
        markup.raw("</details>");
    } else {
        named(markup, &whole);
    }
}

fn named(markup: &mut Markup, instruction: &str) {
    let (name, rest) = instruction.split_once(' ').unwrap_or((instruction, ""));
    markup.raw("<code><b>").text(name).raw("</b> ").text(rest).raw("</code>");
}

/// How a step ended: a sign, a word and a colour, each of which says it alone.
pub(super) fn badge(markup: &mut Markup, status: StepStatus) {
    let sign = match status {
        StepStatus::Cached => "✓",
        StepStatus::Run => "▶",
        StepStatus::Failed => "✕",
        StepStatus::Skipped => "–",
    };
    markup.raw("<span class=\"badge ").raw(class(status)).raw("\"><span aria-hidden=\"true\">");
    markup.raw(sign).raw("</span>").raw(rows::word(status)).raw("</span>");
}

/// The class of a step's bar and badge.
pub(super) fn class(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Cached => "cached",
        StepStatus::Run => "run",
        StepStatus::Failed => "failed",
        StepStatus::Skipped => "off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use jiff::Timestamp;

    #[test]
    fn the_axis_has_few_round_marks() {
        let marks = |seconds: f64| {
            let mut outcome = samples::cold();
            outcome.stages.clear();
            outcome.duration = Duration::from_secs_f64(seconds);
            let axis = Axis::of(&View::of_outcome(&outcome, Timestamp::UNIX_EPOCH));
            axis.marks().map(|(_, label)| label).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(marks(0.0), "0 0.1s 0.2s", "as long as it took to decide");
        assert_eq!(marks(0.7), "0 0.2s 0.4s 0.6s");
        assert_eq!(marks(14.2), "0 5s 10s");
        assert_eq!(marks(80.0), "0 15s 30s 45s 1m 1m15s");
        assert_eq!(marks(9000.0), "0 30m 1h 1h30m 2h");
        assert_eq!(marks(1e9).split(' ').count(), 6);
    }

    #[test]
    fn a_step_that_outlasts_the_build_stretches_the_axis() {
        let mut outcome = samples::full_hit();
        outcome.stages[0].steps[1].started = Some(Duration::from_secs(100));
        outcome.stages[0].steps[1].duration = Duration::from_secs(20);
        let axis = Axis::of(&View::of_outcome(&outcome, Timestamp::UNIX_EPOCH));
        assert!((axis.whole - 120.31).abs() < 0.001, "{axis:?}");
    }
}
