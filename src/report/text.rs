//! The summary at the end of a log: the answer in the first line, then the table of steps, then where bytes and time
//! went, what was written, and every warning.
//!
//! No line begins with a text from outside, so that none can be a command to a CI runner (`line`).

use std::fmt::Write;
use std::time::Duration;

use crate::base::units::{age as age_of, bytes, duration, plural};
use crate::model::outcome::{BuildStatus, Outcome, StepOutcome, StepStatus, Traffic};
use crate::model::pipeline::Trust;
use crate::model::reuse::Reused;
use crate::report::explanation;
use crate::report::line::{Paint, clean, columns, fit};
use crate::report::rows::{self, Row};

/// Narrower than this, a table is no longer read; longer lines are left to the terminal.
const NARROWEST: usize = 60;

/// The longest instruction in the first line.
const INSTRUCTION_IN_HEADLINE: usize = 60;

/// How much of a digest, its algorithm included, and of a commit stands in the first line.
const SHORT_DIGEST: usize = "sha256:".len() + 12;
const SHORT_COMMIT: usize = 12;

/// How a summary looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether to use colours. They never say more than the words.
    pub color: bool,
    /// Columns that a line may have. Refs and warnings are never cut.
    pub width: usize,
}

/// The first line: how the build ended, how much of it was cached, how long it took and what it read from.
pub fn headline(outcome: &Outcome) -> String {
    let failed = match (outcome.status, failed_step(outcome)) {
        (BuildStatus::Succeeded, _) => String::new(),
        (BuildStatus::Interrupted, _) => "interrupted, ".to_owned(),
        (BuildStatus::Failed, None) => format!("failed with exit code {}, ", outcome.exit_code),
        (BuildStatus::Failed, Some((stage, step))) => format!(
            "failed at [{} {}/{}] {}, ",
            clean(stage),
            step.number,
            step.of,
            fit(&step.instruction, INSTRUCTION_IN_HEADLINE)
        ),
    };
    if let Some(reused) = &outcome.reused {
        return format!("layerlift: {failed}{}, {}", answer(reused), duration(outcome.duration));
    }
    let cache = match source(outcome) {
        Some(source) => format!("cache: {source}"),
        None if outcome.strategy == "off" => "cache: off".to_owned(),
        None => "no cache to read".to_owned(),
    };
    format!(
        "layerlift: {failed}{}, {} ({cache})",
        counts(|status| outcome.count(status)),
        duration(outcome.duration)
    )
}

/// `reused sha256:9f2c1d0e8b7a of branch-main, built 2h ago from commit 1ecfd275763e`.
pub(super) fn answer(reused: &Reused) -> String {
    let start = |text: &str, length: usize| clean(text).chars().take(length).collect::<String>();
    let mut text = format!("reused {} of {}", start(&reused.digest, SHORT_DIGEST), clean(&reused.scope));
    if let Some(age) = reused.age {
        let _ = write!(text, ", built {} ago", age_of(age));
    }
    if let Some(commit) = &reused.commit {
        let _ = write!(text, " from commit {}", start(commit, SHORT_COMMIT));
    }
    text
}

/// The image that answered, whole, and the page of the pipeline that built it.
pub(super) fn answer_whole(reused: &Reused) -> String {
    let pipeline = reused.pipeline_url.as_ref().map(|url| format!(", built by {}", clean(url)));
    let pipeline = pipeline.unwrap_or_default();
    format!("{}@{}{pipeline}", clean(&reused.reference), clean(&reused.digest))
}

/// `9 of 11 steps cached, 2 run`.
pub(super) fn counts(of: impl Fn(StepStatus) -> usize) -> String {
    const ALL: [StepStatus; 4] =
        [StepStatus::Cached, StepStatus::Run, StepStatus::Failed, StepStatus::Skipped];
    let (cached, total) = (of(StepStatus::Cached), ALL.into_iter().map(&of).sum());
    match total {
        0 => return "no steps".to_owned(),
        _ if cached == total => return format!("all {} cached", plural(total, "step")),
        _ => {}
    }
    let mut text = format!("{cached} of {} cached", plural(total, "step"));
    for status in [StepStatus::Run, StepStatus::Failed, StepStatus::Skipped] {
        if of(status) > 0 {
            let _ = write!(text, ", {} {}", of(status), rows::word(status));
        }
    }
    text
}

pub(super) fn failed_step(outcome: &Outcome) -> Option<(&str, &StepOutcome)> {
    let mut steps =
        outcome.stages.iter().flat_map(|stage| stage.steps.iter().map(|step| (&*stage.name, step)));
    steps.find(|(_, step)| step.status == StepStatus::Failed)
}

/// Where the time went.
pub(super) fn times_of(outcome: &Outcome) -> String {
    match outcome.reused {
        Some(_) => format!("{} in all, nothing was built", duration(outcome.duration)),
        None => times(outcome.duration, outcome.preparation, outcome.cache_export),
    }
}

/// Where the time went that is not the engine's: `14.2s in all, 0.4s before the engine started, 2.1s for cache images`.
pub fn times(whole: Duration, preparation: Duration, cache_export: Duration) -> String {
    let mut text = format!("{} in all, {} before the engine started", duration(whole), duration(preparation));
    if !cache_export.is_zero() {
        let _ = write!(text, ", {} for cache images", duration(cache_export));
    }
    text
}

/// What crossed the wire.
pub fn traffic(traffic: Traffic) -> String {
    format!(
        "{} build context, {} layers fetched, {} read by layerlift",
        bytes(traffic.context),
        bytes(traffic.fetched),
        bytes(traffic.asked)
    )
}

/// What the engine was given to read: one ref, or the stage images of the classic builder.
pub(super) fn source(outcome: &Outcome) -> Option<String> {
    match outcome.cache_from.as_slice() {
        [] => None,
        [reference] => Some(clean(reference)),
        [nearest, others @ ..] => Some(format!("{} and {} more", clean(nearest), others.len())),
    }
}

/// Where the hits came from; `None` without hits.
pub fn cached_from(outcome: &Outcome) -> Option<String> {
    let source = source(outcome).unwrap_or_else(|| "the engine's own store".to_owned());
    (outcome.count(StepStatus::Cached) > 0).then_some(source)
}

/// Why no cache was written, where none may be: read-only, and what made it so.
pub fn read_only(outcome: &Outcome) -> Option<String> {
    match (&outcome.cache_to, &outcome.pipeline.trust) {
        (Some(_), _) => None,
        (None, _) if outcome.strategy == "off" || outcome.reused.is_some() => None,
        (None, Trust::Fork { evidence }) => Some(format!("no cache: {}", clean(evidence))),
        (None, Trust::Trusted | Trust::Unknown) => Some("no cache: read-only".to_owned()),
    }
}

/// The whole summary, each line ended.
pub fn summary(outcome: &Outcome, style: Style) -> String {
    let mut text = String::new();
    let (head, rest) = ("layerlift:", headline(outcome));
    let paint = if outcome.status == BuildStatus::Succeeded { Paint::Strong } else { Paint::Bad };
    let _ = writeln!(text, "{}{}", paint.on(head, style.color), rest.strip_prefix(head).unwrap_or(&rest));
    steps(&mut text, outcome, style);
    facts(&mut text, outcome, style);
    text
}

/// The table, stage by stage.
fn steps(text: &mut String, outcome: &Outcome, style: Style) {
    let fold = rows::is_huge(outcome);
    for stage in &outcome.stages {
        let rows = rows::rows(stage, fold);
        let _ =
            writeln!(text, "  {}", Paint::Strong.on(&format!("stage {}", clean(&stage.name)), style.color));
        let number = rows.iter().map(|row| row.number.len()).max().unwrap_or(0);
        let room = style.width.max(NARROWEST) - (4 + number + 2 + 11 + 2 + 7 + 2);
        for row in &rows {
            let Row { number: span, status, time, .. } = row;
            let word = format!("{:<11}", rows::word(*status));
            let _ = writeln!(
                text,
                "    {span:<number$}  {}  {time:>7}  {}",
                paint_of(*status).on(&word, style.color),
                fit(&row.what(), room)
            );
        }
    }
    if let Some(source) = cached_from(outcome) {
        let _ = writeln!(text, "  cached steps are from {source}");
    }
}

/// Everything that is not a step, a label before each line.
fn facts(text: &mut String, outcome: &Outcome, style: Style) {
    let mut fact = |label: &str, paint: Paint, words: &str| {
        let _ = writeln!(text, "  {}  {words}", paint.on(&format!("{label:<8}"), style.color));
    };
    if let Some(explained) = &outcome.explanation {
        for (label, line) in explanation::told(explained, &outcome.stages) {
            let paint = if label == "surprise" { Paint::Work } else { Paint::Strong };
            fact(label, paint, &line);
        }
    }
    let widest =
        |texts: &mut dyn Iterator<Item = &String>| texts.map(|text| columns(&clean(text))).max().unwrap_or(0);
    let scope = widest(&mut outcome.candidates.iter().map(|candidate| &candidate.scope));
    let verdict = widest(&mut outcome.candidates.iter().map(|candidate| &candidate.verdict));
    for candidate in &outcome.candidates {
        let words = format!(
            "{:<scope$}  {:<verdict$}  {}",
            clean(&candidate.scope),
            clean(&candidate.verdict),
            clean(&candidate.reference)
        );
        fact("cache", Paint::Strong, &words);
    }
    if let Some(reused) = &outcome.reused {
        fact("reused", Paint::Strong, &answer_whole(reused));
    }
    for written in &outcome.written {
        let digest = written.digest.as_ref().map_or(String::new(), |digest| format!("@{}", clean(digest)));
        fact(
            "written",
            Paint::Strong,
            &format!("{}: {}{digest}", clean(&written.what), clean(&written.reference)),
        );
    }
    if let Some(reference) = &outcome.pending {
        fact("pending", Paint::Strong, &format!("cache: {}, by `layerlift cache flush`", clean(reference)));
    }
    if let Some(reason) = read_only(outcome) {
        fact("written", Paint::Strong, &reason);
    }
    if outcome.modes.changes() {
        fact("modes", Paint::Strong, &format!("those that git records: {}", outcome.modes.count()));
    }
    fact("moved", Paint::Strong, &traffic(outcome.traffic));
    fact("time", Paint::Strong, &times_of(outcome));
    for warning in &outcome.warnings {
        fact("warning", Paint::Work, &clean(warning));
    }
}

pub(super) fn paint_of(status: StepStatus) -> Paint {
    match status {
        StepStatus::Cached => Paint::Good,
        StepStatus::Run => Paint::Work,
        StepStatus::Failed => Paint::Bad,
        StepStatus::Skipped => Paint::Faint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use insta::assert_snapshot;
    use proptest::prelude::*;

    const PLAIN: Style = Style { color: false, width: 100 };

    #[test]
    fn cold_build() {
        assert_snapshot!(summary(&samples::cold(), PLAIN), @r"
        layerlift: 0 of 7 steps cached, 7 run, 1m05s (no cache to read)
          stage build
            1/5  run             0.0s  FROM docker.io/library/golang:1.26
            2/5  run             0.1s  COPY go.mod go.sum ./
            3/5  run            21.4s  RUN go mod download
            4/5  run             0.2s  COPY . .
            5/5  run            38.2s  RUN go build -trimpath -o /out/app ./cmd/app
          stage stage-1
            1/2  run             0.0s  FROM docker.io/library/alpine:3.22
            2/2  run             0.4s  COPY --from=build /out/app /usr/bin/app
          cache     branch-main  not found  localhost:5000/app/cache:branch-main
          written   image: localhost:5000/app:latest@sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a
          written   cache: localhost:5000/app/cache:branch-main
          moved     1.2 MB build context, 341.0 MB layers fetched, 412 B read by layerlift
          time      1m05s in all, 0.3s before the engine started, 3.2s for cache images
        ");
    }

    #[test]
    fn full_hit() {
        assert_snapshot!(summary(&samples::full_hit(), PLAIN), @r"
        layerlift: all 7 steps cached, 1.3s (cache: localhost:5000/app/cache:branch-main)
          stage build
            1/5  cached                FROM docker.io/library/golang:1.26
            2/5  cached                COPY go.mod go.sum ./
            3/5  cached                RUN go mod download
            4/5  cached                COPY . .
            5/5  cached                RUN go build -trimpath -o /out/app ./cmd/app
          stage stage-1
            1/2  cached                FROM docker.io/library/alpine:3.22
            2/2  cached                COPY --from=build /out/app /usr/bin/app
          cached steps are from localhost:5000/app/cache:branch-main
          cache     branch-main  used  localhost:5000/app/cache:branch-main
          written   image: localhost:5000/app:latest@sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a
          moved     1.2 kB build context, 0 B layers fetched, 48.3 kB read by layerlift
          time      1.3s in all, 0.3s before the engine started
        ");
    }

    #[test]
    fn reused_image() {
        assert_snapshot!(summary(&samples::reused(), PLAIN), @"
        layerlift: reused sha256:9f2c1d0e8b7a of branch-main, built 2h ago from commit 5e1c309dae7f, 0.2s
          reused    localhost:5000/app/cache:branch-main--image-0123456789abcdef0123456789abcdef@sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a, built by https://gitlab.example/app/-/pipelines/6
          written   image: localhost:5000/app:latest@sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a
          moved     0 B build context, 0 B layers fetched, 3.1 kB read by layerlift
          time      0.2s in all, nothing was built
        ");
    }

    #[test]
    fn one_file_changed() {
        assert_snapshot!(summary(&samples::one_file_changed(), PLAIN), @r"
        layerlift: 4 of 7 steps cached, 3 run, 14.2s (cache: localhost:5000/app/cache:mr-12)
          stage build
            1/5  cached                FROM docker.io/library/golang:1.26
            2/5  cached                COPY go.mod go.sum ./
            3/5  cached          2.6s  RUN go mod download
            4/5  run             0.2s  COPY . .
            5/5  run            10.2s  RUN go build -trimpath -o /out/app ./cmd/app
          stage stage-1
            1/2  cached                FROM docker.io/library/alpine:3.22
            2/2  run             0.4s  COPY --from=build /out/app /usr/bin/app
          cached steps are from localhost:5000/app/cache:mr-12
          cache     mr-12        merged  localhost:5000/app/cache:mr-12
          cache     branch-main  merged  localhost:5000/app/cache:branch-main
          written   image: localhost:5000/app:latest@sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a
          written   cache: localhost:5000/app/cache:mr-12
          modes     those that git records: 12 of 340 tracked files and folders have another here
          moved     84.0 kB build context, 34.0 MB layers fetched, 96.1 kB read by layerlift
          time      14.2s in all, 0.3s before the engine started, 0.9s for cache images
        ");
    }

    #[test]
    fn steps_that_are_explained() {
        let text = summary(&samples::explained(), PLAIN);
        let (_, told) = text.split_once("cached steps are from").unwrap();
        let (told, _) = told.split_once("  cache     ").unwrap();
        assert_snapshot!(told.split_once('\n').unwrap().1, @r"
          why       build 4, line 5  COPY . .
          why         because `src/app.py` changed (+12 bytes)
          why         because file `tmp/log` entered the context: add it to .dockerignore
          why       stage-1 2, line 9  COPY --from=build /out/app /usr/bin/app
          why         because stage `build` changed
          note      no cache ref existed for merge request 12; main's was read
          forecast  3 of 7 steps were to run, and did
          surprise  step 3 of stage `build`, `RUN go mod download`, ran although the record has it: layers of the cache are gone from the registry
        ");
    }

    #[test]
    fn failed_step() {
        assert_snapshot!(summary(&samples::failed_step(), PLAIN), @r"
        layerlift: failed at [build 5/5] RUN go build -trimpath -o /out/app ./cmd/app, 3 of 7 steps cached, 1 run, 1 failed, 2 not reached, 6.1s (cache: localhost:5000/app/cache:branch-main)
          stage build
            1/5  cached                FROM docker.io/library/golang:1.26
            2/5  cached                COPY go.mod go.sum ./
            3/5  cached                RUN go mod download
            4/5  run             0.2s  COPY . .
            5/5  failed          4.5s  RUN go build -trimpath -o /out/app ./cmd/app
          stage stage-1
            1/2  not reached           FROM docker.io/library/alpine:3.22
            2/2  not reached           COPY --from=build /out/app /usr/bin/app
          cached steps are from localhost:5000/app/cache:branch-main
          cache     branch-main  used  localhost:5000/app/cache:branch-main
          moved     1.2 kB build context, 0 B layers fetched, 48.3 kB read by layerlift
          time      6.1s in all, 0.3s before the engine started
        ");
    }

    #[test]
    fn fork_read_only_with_warnings() {
        assert_snapshot!(summary(&samples::fork(), PLAIN), @r"
        layerlift: 4 of 7 steps cached, 3 run, 14.2s (cache: localhost:5000/app/cache:branch-main)
          stage build
            1/5  cached                FROM docker.io/library/golang:1.26
            2/5  cached                COPY go.mod go.sum ./
            3/5  cached          2.6s  RUN go mod download
            4/5  run             0.2s  COPY . .
            5/5  run            10.2s  RUN go build -trimpath -o /out/app ./cmd/app
          stage stage-1
            1/2  cached                FROM docker.io/library/alpine:3.22
            2/2  run             0.4s  COPY --from=build /out/app /usr/bin/app
          cached steps are from localhost:5000/app/cache:branch-main
          cache     pr-7         dropped: 503 Service Unavailable  localhost:5000/app/cache:pr-7
          cache     branch-main  used                              localhost:5000/app/cache:branch-main
          written   no cache: the pull request comes from someone/app
          modes     those that git records: 12 of 340 tracked files and folders have another here
          moved     84.0 kB build context, 34.0 MB layers fetched, 96.1 kB read by layerlift
          time      14.2s in all, 0.3s before the engine started, 0.9s for cache images
          warning   localhost:5000/app/cache:pr-7: 503 Service Unavailable after 3 attempts
          warning   Dockerfile line 4: JSON arguments recommended for CMD
        ");
    }

    #[test]
    fn hostile_strings() {
        assert_snapshot!(summary(&samples::hostile(), PLAIN), @r"
        layerlift: failed at [::error::stage 5/5] RUN very-long very-long very-long very-long very-long very-…, 3 of 7 steps cached, 1 run, 1 failed, 2 not reached, 6.1s (cache: localhost:5000/app/cache:branch-main)
          stage ::error::stage
            1/5  cached                RUN echo a ::set-output name=digest::evil ::error::boo
            2/5  cached                RUN section_start:1:x[collapsed=true] gone
            3/5  cached                RUN echo '| </code><img src=x> `a` [x](http://evil) # #[group]'
            4/5  run             0.2s  linux/arm64 COPY . .
            5/5  failed          4.5s  RUN very-long very-long very-long very-long very-long very-long very…
          stage stage-1
            1/2  not reached           FROM docker.io/library/alpine:3.22
            2/2  not reached           COPY --from=build /out/app /usr/bin/app
          cached steps are from localhost:5000/app/cache:branch-main
          cache     branch-main  dropped: ::warning::no  localhost:5000/app/cache:branch-main
          moved     1.2 kB build context, 0 B layers fetched, 48.3 kB read by layerlift
          time      6.1s in all, 0.3s before the engine started
          warning   ::add-mask::x | <script>alert(1)</script>
        ");
    }

    #[test]
    fn a_huge_build_is_folded() {
        assert_snapshot!(summary(&samples::huge(), PLAIN), @r"
        layerlift: 48 of 50 steps cached, 2 run, 1.3s (cache: localhost:5000/app/cache:branch-main)
          stage stage-0
            1-29/50   cached                29 steps
            30/50     run             1.5s  RUN step-30
            31/50     run             1.5s  RUN step-31
            32-50/50  cached                19 steps
          cached steps are from localhost:5000/app/cache:branch-main
          cache     branch-main  used  localhost:5000/app/cache:branch-main
          written   image: localhost:5000/app:latest@sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a
          moved     1.2 kB build context, 0 B layers fetched, 48.3 kB read by layerlift
          time      1.3s in all, 0.3s before the engine started
        ");
    }

    #[test]
    fn ends_without_steps() {
        let mut outcome = samples::cold();
        outcome.stages.clear();
        outcome.status = BuildStatus::Interrupted;
        assert_snapshot!(headline(&outcome), @"layerlift: interrupted, no steps, 1m05s (no cache to read)");
        outcome.status = BuildStatus::Failed;
        outcome.exit_code = 125;
        outcome.strategy = "off".to_owned();
        assert_snapshot!(headline(&outcome), @"layerlift: failed with exit code 125, no steps, 1m05s (cache: off)");
    }

    #[test]
    fn colours_only_repeat_the_words() {
        let colored = summary(&samples::failed_step(), Style { color: true, ..PLAIN });
        let stripped: Vec<_> = colored.lines().map(clean).collect();
        let plain: Vec<_> = summary(&samples::failed_step(), PLAIN).lines().map(clean).collect();
        assert!(colored.contains("\u{1b}[31mfailed     \u{1b}[0m"), "{colored}");
        assert_eq!(stripped, plain);
    }

    proptest! {
        #[test]
        fn nothing_from_outside_begins_a_line_or_escapes(text in "(::|##\\[|\u{1b}\\[|[\r\n]| |error|x)*") {
            let outcome = samples::everywhere(&text);
            for line in summary(&outcome, PLAIN).split('\n') {
                prop_assert!(!line.trim_start().starts_with("::"), "{}", line);
                prop_assert!(!line.contains("##[") && !line.chars().any(char::is_control), "{}", line);
            }
            let lines = summary(&outcome, PLAIN).lines().count();
            prop_assert_eq!(lines, summary(&samples::everywhere("x"), PLAIN).lines().count());
        }
    }
}
