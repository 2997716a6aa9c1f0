//! What a page tells of one build, whether it has just ended or comes from a record.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::outcome::{
    BuildStatus, CandidateOutcome, Outcome, StageOutcome, StepStatus, Traffic, Written,
};
use crate::model::record::{Explanation, Record};
use crate::report::text;

/// One build.
#[derive(Debug)]
pub(super) struct View<'a> {
    /// The compose service or bake target, among several.
    pub(super) name: Option<&'a str>,
    pub(super) status: BuildStatus,
    pub(super) created: Timestamp,
    pub(super) scope: Option<&'a str>,
    pub(super) commit: Option<&'a str>,
    pub(super) pipeline_url: Option<&'a str>,
    /// `28.5.2, BuildKit 0.25.0, builder default`.
    pub(super) engine: String,
    pub(super) strategy: &'a str,
    pub(super) cache_from: &'a [String],
    pub(super) cache_to: Option<&'a str>,
    pub(super) candidates: &'a [CandidateOutcome],
    pub(super) tags: &'a [String],
    pub(super) digest: Option<&'a str>,
    pub(super) inputs: Option<&'a str>,
    pub(super) reused: Option<String>,
    pub(super) stages: &'a [StageOutcome],
    pub(super) explanation: Option<&'a Explanation>,
    pub(super) traffic: Traffic,
    pub(super) written: &'a [Written],
    pub(super) warnings: &'a [String],
    pub(super) duration: Duration,
    pub(super) preparation: Duration,
    pub(super) cache_export: Duration,
}

impl<'a> View<'a> {
    /// A build that ended at `now`.
    pub(super) fn of_outcome(outcome: &'a Outcome, now: Timestamp) -> Self {
        let engine = outcome.engine.as_ref().map(|engine| {
            let version = engine.server.or(engine.client).map(String::from);
            engine_line(
                version.as_deref().unwrap_or_default(),
                engine.buildkit.map(String::from).as_deref(),
                &engine.builder,
            )
        });
        let length = jiff::SignedDuration::try_from(outcome.duration).unwrap_or_default();
        View {
            name: None,
            status: outcome.status,
            created: now.checked_sub(length).unwrap_or(now),
            scope: outcome.scope.as_deref(),
            commit: outcome.pipeline.commit.as_deref(),
            pipeline_url: outcome.pipeline.url.as_deref(),
            engine: engine.unwrap_or_else(|| "none was asked".to_owned()),
            strategy: &outcome.strategy,
            cache_from: &outcome.cache_from,
            cache_to: outcome.cache_to.as_deref(),
            candidates: &outcome.candidates,
            tags: &outcome.tags,
            digest: outcome.digest.as_deref(),
            inputs: outcome.inputs.as_deref(),
            reused: outcome.reused.as_ref().map(text::answer_whole),
            stages: &outcome.stages,
            explanation: outcome.explanation.as_ref(),
            traffic: outcome.traffic,
            written: &outcome.written,
            warnings: &outcome.warnings,
            duration: outcome.duration,
            preparation: outcome.preparation,
            cache_export: outcome.cache_export,
        }
    }

    /// A build that left a record.
    pub(super) fn of_record(record: &'a Record) -> Self {
        View {
            name: None,
            status: record.status,
            created: record.created,
            scope: record.scope.as_deref(),
            commit: record.commit.as_deref(),
            pipeline_url: record.pipeline_url.as_deref(),
            engine: engine_line(
                &record.engine.version,
                record.engine.buildkit.as_deref(),
                &record.engine.builder,
            ),
            strategy: &record.strategy,
            cache_from: &record.cache_from,
            cache_to: record.cache_to.as_deref(),
            candidates: &record.candidates,
            tags: &record.tags,
            digest: record.digest.as_deref(),
            inputs: record.inputs.as_ref().map(|inputs| inputs.digest.as_str()),
            reused: None,
            stages: &record.stages,
            explanation: record.explanation.as_ref(),
            traffic: record.traffic,
            written: &[],
            warnings: &[],
            duration: seconds(record.duration),
            preparation: seconds(record.preparation),
            cache_export: seconds(record.cache_export),
        }
    }

    /// Steps that ended so.
    pub(super) fn count(&self, status: StepStatus) -> usize {
        self.stages.iter().map(|stage| stage.count(status)).sum()
    }

    /// All steps.
    pub(super) fn steps(&self) -> usize {
        self.stages.iter().map(|stage| stage.steps.len()).sum()
    }

    /// Time spent in steps that were executed. Steps run side by side, so that it may be more than the whole.
    pub(super) fn worked(&self) -> Duration {
        let steps = self.stages.iter().flat_map(|stage| &stage.steps);
        let executed = steps.filter(|step| matches!(step.status, StepStatus::Run | StepStatus::Failed));
        executed.fold(Duration::ZERO, |sum, step| sum.saturating_add(step.duration))
    }

    /// The commit's page, as far as it follows from the pipeline's: GitLab's and GitHub's addresses are alike everywhere.
    pub(super) fn commit_url(&self) -> Option<String> {
        let commit = self.commit.filter(|commit| commit.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let url = self.pipeline_url?;
        let gitlab = url.find("/-/pipelines/").map(|at| format!("{}/-/commit/{commit}", &url[..at]));
        gitlab.or_else(|| url.find("/actions/runs/").map(|at| format!("{}/commit/{commit}", &url[..at])))
    }
}

/// A record's time; none where it makes no sense.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

fn engine_line(version: &str, buildkit: Option<&str>, builder: &str) -> String {
    let mut parts = Vec::new();
    if !version.is_empty() {
        parts.push(version.to_owned());
    }
    parts.extend(buildkit.map(|buildkit| format!("BuildKit {buildkit}")));
    if !builder.is_empty() {
        parts.push(format!("builder {builder}"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn the_commit_has_a_page() {
        let mut outcome = samples::cold();
        let url = |outcome: &Outcome| View::of_outcome(outcome, Timestamp::UNIX_EPOCH).commit_url();
        let commit = "5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689";
        assert_eq!(url(&outcome), Some(format!("https://gitlab.example/app/-/commit/{commit}")));
        outcome.pipeline.url = Some("https://github.com/a/b/actions/runs/7".to_owned());
        assert_eq!(url(&outcome), Some(format!("https://github.com/a/b/commit/{commit}")));
        outcome.pipeline.url = Some("https://ci.example/7".to_owned());
        assert_eq!(url(&outcome), None);
        outcome.pipeline.url = Some("https://github.com/a/b/actions/runs/7".to_owned());
        outcome.pipeline.commit = Some("../evil".to_owned());
        assert_eq!(url(&outcome), None);
    }

    #[test]
    fn hostile_times_are_none() {
        let times = [-1.0, f64::NAN, f64::INFINITY, 1e300].map(seconds);
        assert_eq!(times, [Duration::ZERO; 4]);
        assert_eq!(seconds(1.5), Duration::from_millis(1500));
    }
}
