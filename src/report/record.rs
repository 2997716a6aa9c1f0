//! The record of a build, for `layerlift explain`: what it was, and why its steps ran.

use std::fmt::Write;
use std::time::Duration;

use crate::base::units::duration;
use crate::model::outcome::BuildStatus;
use crate::model::record::Record;
use crate::model::reuse::AnsweredBuild;
use crate::report::line::clean;
use crate::report::{explanation, text};

/// A build that an image answered, in a line.
pub fn answered(build: &AnsweredBuild) -> String {
    let (at, tags) = (build.at.strftime("%Y-%m-%d %H:%M:%S UTC"), clean(&build.tags.join(", ")));
    format!("answered  {at}, {tags}: {}, {}\n", text::answer(&build.image), clean(&build.image.reference))
}

/// The record in lines, a label before each. `place`: where it was read.
pub fn text(record: &Record, place: &str) -> String {
    let mut out = String::new();
    let mut line = |label: &str, words: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{label:<8}  {words}");
    };
    line("record", &clean(place));
    line("build", &build(record));
    if let Some(url) = &record.pipeline_url {
        line("pipeline", &clean(url));
    }
    line("engine", &engine(record));
    for image in record.tags.iter().map(String::as_str).chain(record.digest.as_deref()) {
        line("image", &clean(image));
    }
    match &record.inputs {
        Some(inputs) => line("inputs", inputs.digest.as_str()),
        None => line("inputs", "not known"),
    }
    line("steps", &text::counts(|status| record.stages.iter().map(|stage| stage.count(status)).sum()));
    if let Some(explained) = &record.explanation {
        if let Some(against) = &explained.against {
            line("against", &explanation::build(against));
        }
        explanation::told(explained, &record.stages).iter().for_each(|(label, words)| line(label, words));
    }
    out
}

/// When, of what, and how it ended.
fn build(record: &Record) -> String {
    let mut words = vec![record.created.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()];
    words.extend(record.scope.as_ref().map(|scope| format!("scope {}", clean(scope))));
    words.extend(record.commit.as_ref().map(|commit| format!("commit {}", clean(commit))));
    let ended = match record.status {
        BuildStatus::Succeeded => "succeeded",
        BuildStatus::Failed => "failed",
        BuildStatus::Interrupted => "interrupted",
    };
    // A record is somebody's word, also where it says a number that is none.
    let lasted = Duration::try_from_secs_f64(record.duration).unwrap_or_default();
    words.push(format!("{ended} after {}", duration(lasted)));
    words.join(", ")
}

fn engine(record: &Record) -> String {
    let engine = &record.engine;
    let buildkit = engine.buildkit.as_ref().map(|version| format!("BuildKit {}, ", clean(version)));
    let (version, builder) = (clean(&engine.version), clean(&engine.builder));
    let buildkit = buildkit.unwrap_or_default();
    format!("{version}, {buildkit}builder {builder}, strategy {}", clean(&record.strategy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{RecordedEngine, VERSION};
    use crate::report::samples;

    fn record() -> Record {
        let outcome = samples::explained();
        Record {
            version: VERSION,
            created: "2026-11-23T12:00:00Z".parse().unwrap(),
            layerlift: "0.1.0".to_owned(),
            engine: RecordedEngine {
                version: "28.5.2".to_owned(),
                buildkit: Some("0.25.0".to_owned()),
                builder: "default".to_owned(),
            },
            strategy: outcome.strategy,
            scope: outcome.scope,
            commit: outcome.pipeline.commit,
            pipeline_url: outcome.pipeline.url,
            status: outcome.status,
            candidates: Vec::new(),
            cache_from: outcome.cache_from,
            cache_to: outcome.cache_to,
            tags: outcome.tags,
            digest: outcome.digest,
            traffic: crate::model::outcome::Traffic::default(),
            duration: 14.2,
            preparation: 0.3,
            cache_export: 0.9,
            stages: outcome.stages,
            inputs: None,
            linked: Vec::new(),
            parent_states: Vec::new(),
            unlinked: Vec::new(),
            cache_costs: Vec::new(),
            times: std::collections::BTreeMap::new(),
            given_up: false,
            left_out: Vec::new(),
            explanation: outcome.explanation,
        }
    }

    #[test]
    fn a_record_in_lines() {
        insta::assert_snapshot!(text(&record(), "localhost:5000/app/cache:mr-12--record"), @r"
        record    localhost:5000/app/cache:mr-12--record
        build     2026-11-23 12:00:00 UTC, scope mr-12, commit 5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689, succeeded after 14.2s
        pipeline  https://gitlab.example/app/-/pipelines/7
        engine    28.5.2, BuildKit 0.25.0, builder default, strategy registry
        image     localhost:5000/app:latest
        image     sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a
        inputs    not known
        steps     4 of 7 steps cached, 3 run
        against   branch-main at 5e1c309d
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
    fn an_answer_in_a_line() {
        let image = samples::reused().reused.unwrap();
        let (at, tags) = ("2026-11-23T12:00:00Z".parse().unwrap(), vec!["localhost:5000/app:2".to_owned()]);
        insta::assert_snapshot!(answered(&AnsweredBuild { at, tags, image }), @"answered  2026-11-23 12:00:00 UTC, localhost:5000/app:2: reused sha256:9f2c1d0e8b7a of branch-main, built 2h ago from commit 5e1c309dae7f, localhost:5000/app/cache:branch-main--image-0123456789abcdef0123456789abcdef");
    }

    #[test]
    fn a_hostile_record_stays_in_its_lines() {
        let hostile = "x\n::error::y\u{1b}[2J";
        let record = Record {
            scope: Some(hostile.to_owned()),
            commit: Some(hostile.to_owned()),
            tags: vec![hostile.to_owned()],
            strategy: hostile.to_owned(),
            duration: f64::NAN,
            ..record()
        };
        let text = text(&record, hostile);
        assert!(!text.contains('\u{1b}') && !text.lines().any(|line| line.starts_with("::")), "{text}");
    }
}
