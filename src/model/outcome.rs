//! What a finished build was: the value that every report prints.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::engine::Engine;
use crate::model::modes::Modes;
use crate::model::parent_state::{Link, ParentState, Unlinked};
use crate::model::pipeline::Pipeline;
use crate::model::record::Explanation;
use crate::model::reuse::Reused;
use crate::model::settings::Strategy;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// Answered from the cache.
    Cached,
    /// Executed.
    Run,
    /// Executed, and failed.
    Failed,
    /// Not reached: an earlier step failed, or nothing needed it.
    Skipped,
}

/// One step of a stage: a `FROM`, `RUN`, `COPY`, `ADD` or `WORKDIR`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// Its number in the stage, from 1, as the engine counts.
    pub number: u32,
    /// How many steps the stage has.
    pub of: u32,
    /// The instruction: `RUN make`.
    pub instruction: String,
    /// The platform, where the engine names it (several platforms, or another than the builder's).
    pub platform: Option<String>,
    /// How it ended.
    pub status: StepStatus,
    /// When it was first worked on, in seconds since the engine began; `None` where the engine does not tell.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "some_seconds",
        deserialize_with = "of_some_seconds"
    )]
    pub started: Option<Duration>,
    /// Time spent in it, in seconds.
    #[serde(serialize_with = "seconds", deserialize_with = "of_seconds")]
    pub duration: Duration,
}

/// The steps of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageOutcome {
    /// Its name; `stage-1` where it has none, as BuildKit says.
    pub name: String,
    /// Its steps, in the Dockerfile's order.
    pub steps: Vec<StepOutcome>,
}

impl StageOutcome {
    /// How many of its steps ended so.
    pub fn count(&self, status: StepStatus) -> usize {
        self.steps.iter().filter(|step| step.status == status).count()
    }
}

/// Bytes that crossed the wire, as far as the engine tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// The build context that was sent to the engine.
    pub context: u64,
    /// Layers that the engine fetched.
    pub fetched: u64,
    /// What layerlift itself has read: manifests and configs of caches, and layers to learn what lies below the last
    /// steps.
    pub asked: u64,
}

/// What became of one candidate cache ref.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateOutcome {
    /// The ref.
    pub reference: String,
    /// The scope that it belongs to.
    pub scope: String,
    /// `used`, `merged`, or why not: `not found`, `forbidden`, ...
    pub verdict: String,
}

/// Something that was written to a registry or a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// `image`, `cache`, `stage cache`, `record`.
    pub what: String,
    /// Where.
    pub reference: String,
    /// Its digest, where it is known.
    pub digest: Option<String>,
}

/// How the whole ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildStatus {
    /// The image was built and, if asked for, pushed.
    Succeeded,
    /// The engine failed.
    Failed,
    /// A signal ended it.
    Interrupted,
}

/// Everything that a report can tell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// How it ended.
    pub status: BuildStatus,
    /// The engine's exit code.
    pub exit_code: i32,
    /// Where it ran.
    pub pipeline: Pipeline,
    /// What built; `None` where nothing did, since an image that was there answered the build.
    pub engine: Option<Engine>,
    /// The scope that this build belongs to: `branch-main`.
    pub scope: Option<String>,
    /// The strategy's name; `reuse` where an image that was there answered the build.
    pub strategy: String,
    /// What the engine was given to read from: one ref or none; for the classic builder, stage images; for
    /// buildah, repositories.
    pub cache_from: Vec<String>,
    /// Where the cache was to be written; `None` when nothing may be.
    pub cache_to: Option<String>,
    /// All candidates, in the chain's order.
    pub candidates: Vec<CandidateOutcome>,
    /// The stages, in the Dockerfile's order.
    pub stages: Vec<StageOutcome>,
    /// The image's digest.
    pub digest: Option<String>,
    /// The image's names.
    pub tags: Vec<String>,
    /// The input digest, where it is known.
    pub inputs: Option<String>,
    /// The image that answered the build, where no engine had to build.
    pub reused: Option<Reused>,
    /// Why steps ran.
    pub explanation: Option<Explanation>,
    /// The `COPY`s that were built as layers of their own although they are not written so.
    pub linked: Vec<Link>,
    /// What lies below the last steps, as far as the record is to know it.
    #[serde(skip)]
    pub parent_states: Vec<ParentState>,
    /// The steps that nothing is linked on top of any more, as far as the record is to know it.
    #[serde(skip)]
    pub unlinked: Vec<Unlinked>,
    /// The modes of the files that were built.
    pub modes: Modes,
    /// Bytes moved.
    pub traffic: Traffic,
    /// From the first question to the end, in seconds.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
    /// The part of it that layerlift spent before the engine started, in seconds.
    #[serde(serialize_with = "seconds")]
    pub preparation: Duration,
    /// The part of it that went into cache images after the user's build, in seconds.
    #[serde(serialize_with = "seconds")]
    pub cache_export: Duration,
    /// What was written where.
    pub written: Vec<Written>,
    /// The cache ref that `layerlift cache flush` is to write.
    pub pending: Option<String>,
    /// Every warning, in the order of its coming.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// Nothing has happened yet.
    pub fn begun(pipeline: Pipeline, engine: Engine, strategy: Strategy, modes: Modes) -> Outcome {
        let outcome = Outcome::without_engine(pipeline, modes);
        Outcome { engine: Some(engine), strategy: strategy.to_string(), ..outcome }
    }

    /// Nothing has happened yet, and no engine is going to build.
    pub fn without_engine(pipeline: Pipeline, modes: Modes) -> Outcome {
        Outcome {
            status: BuildStatus::Failed,
            exit_code: 0,
            pipeline,
            engine: None,
            scope: None,
            strategy: "reuse".to_owned(),
            cache_from: Vec::new(),
            cache_to: None,
            candidates: Vec::new(),
            stages: Vec::new(),
            digest: None,
            tags: Vec::new(),
            inputs: None,
            reused: None,
            explanation: None,
            linked: Vec::new(),
            parent_states: Vec::new(),
            unlinked: Vec::new(),
            modes,
            traffic: Traffic::default(),
            duration: Duration::ZERO,
            preparation: Duration::ZERO,
            cache_export: Duration::ZERO,
            written: Vec::new(),
            pending: None,
            warnings: Vec::new(),
        }
    }

    /// Steps that ended so, over all stages.
    pub fn count(&self, status: StepStatus) -> usize {
        self.stages.iter().map(|stage| stage.count(status)).sum()
    }

    /// `true` when every step was answered from the cache, or all of them by an image that was there. `FROM` alone is no
    /// step.
    pub fn is_full_hit(&self) -> bool {
        let all_cached = self.count(StepStatus::Run) == 0 && self.count(StepStatus::Cached) > 0;
        self.status == BuildStatus::Succeeded && (self.reused.is_some() || all_cached)
    }

    /// The cache refs that were read or written, each once; the one that was read comes first.
    pub fn cache_refs(&self) -> Vec<&str> {
        let written =
            self.written.iter().filter(|written| !matches!(written.what.as_str(), "image" | "record"));
        let mut refs: Vec<&str> = Vec::new();
        let read = self.reused.iter().map(|reused| &reused.reference).chain(&self.cache_from);
        for reference in read.chain(written.map(|written| &written.reference)) {
            if !refs.contains(&reference.as_str()) {
                refs.push(reference);
            }
        }
        refs
    }
}

/// What several images came to that were built together.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupOutcome {
    /// How it ended.
    pub status: BuildStatus,
    /// The engine's exit code.
    pub exit_code: i32,
    /// The images, each after those that it needs. Their durations are of the whole where one run built them all.
    pub members: Vec<MemberOutcome>,
    /// Bytes moved. A layer that two images share was fetched once.
    pub traffic: Traffic,
    /// From the first question to the end.
    pub duration: Duration,
    /// The part of it that layerlift spent before the engine started.
    pub preparation: Duration,
    /// The part of it that went into cache images after the builds.
    pub cache_export: Duration,
    /// Warnings that concern no single image.
    pub warnings: Vec<String>,
}

/// One of several images.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberOutcome {
    /// The compose service or bake target.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

impl GroupOutcome {
    /// Steps that ended so, over all images. A stage that two images share counts in both.
    pub fn count(&self, status: StepStatus) -> usize {
        self.members.iter().map(|member| member.outcome.count(status)).sum()
    }

    /// `true` when every step of every image was answered from the cache, or all of an image by one that was there.
    pub fn is_full_hit(&self) -> bool {
        self.status == BuildStatus::Succeeded
            && self.count(StepStatus::Run) == 0
            && self.count(StepStatus::Cached) + self.reused() > 0
    }

    /// How many images were there already.
    pub fn reused(&self) -> usize {
        self.members.iter().filter(|member| member.outcome.reused.is_some()).count()
    }

    /// The cache refs that were read or written, each once.
    pub fn cache_refs(&self) -> Vec<&str> {
        let mut refs: Vec<&str> = Vec::new();
        for reference in self.members.iter().flat_map(|member| member.outcome.cache_refs()) {
            if !refs.contains(&reference) {
                refs.push(reference);
            }
        }
        refs
    }

    /// Every warning: those of the whole, then each image's behind its name.
    pub fn all_warnings(&self) -> Vec<String> {
        let of = |member: &MemberOutcome| -> Vec<String> {
            member.outcome.warnings.iter().map(|warning| format!("{}: {warning}", member.name)).collect()
        };
        self.warnings.iter().cloned().chain(self.members.iter().flat_map(of)).collect()
    }
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

fn of_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn some_seconds<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

fn of_some_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = Option::<f64>::deserialize(deserializer)?;
    seconds.map(Duration::try_from_secs_f64).transpose().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read_as_it_was_written() {
        let mut step = StepOutcome {
            number: 2,
            of: 3,
            instruction: "RUN make".to_owned(),
            platform: None,
            status: StepStatus::Run,
            started: Some(Duration::from_millis(1500)),
            duration: Duration::from_millis(250),
        };
        let read = |step: &StepOutcome| -> StepOutcome {
            serde_json::from_str(&serde_json::to_string(step).expect("written")).expect("read")
        };
        assert_eq!(read(&step), step);
        step.started = None;
        assert_eq!(read(&step), step);
        let early =
            r#"{"number":2,"of":3,"instruction":"RUN make","platform":null,"status":"run","duration":0.25}"#;
        assert_eq!(serde_json::from_str::<StepOutcome>(early).expect("read"), step);
        let never = early.replace("0.25", "-1.0");
        assert!(serde_json::from_str::<StepOutcome>(&never).is_err(), "a time that is none");
    }
}
