//! A build's record: what a finished build knew about its inputs, and how it went. Kept beside the cache ref, so that a
//! later build can say what differs.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::inputs::Inputs;
use crate::model::outcome::{BuildStatus, CandidateOutcome, StageOutcome, Traffic};
use crate::model::parent_state::{Link, ParentState, Unlinked};
use crate::model::reference::Digest;

/// Version of the form. A reader takes no record of another version.
pub const VERSION: u32 = 1;

/// The record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// When the build began.
    pub created: Timestamp,
    /// The layerlift that built: `0.1.0`.
    pub layerlift: String,
    /// The engine that built.
    pub engine: RecordedEngine,
    /// How the cache travelled.
    pub strategy: String,
    /// The scope that the build belongs to.
    pub scope: Option<String>,
    /// The commit that was built, whole.
    pub commit: Option<String>,
    /// The page of the pipeline.
    pub pipeline_url: Option<String>,
    /// How it ended.
    pub status: BuildStatus,
    /// All candidate cache refs, in the chain's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<CandidateOutcome>,
    /// What the engine read from.
    pub cache_from: Vec<String>,
    /// Where the cache was written.
    pub cache_to: Option<String>,
    /// The image's names.
    pub tags: Vec<String>,
    /// The image's digest.
    pub digest: Option<String>,
    /// Bytes moved.
    #[serde(default)]
    pub traffic: Traffic,
    /// The whole, in seconds.
    pub duration: f64,
    /// The part before the engine started.
    pub preparation: f64,
    /// The part that went into cache images after the build.
    pub cache_export: f64,
    /// The steps, as they went.
    pub stages: Vec<StageOutcome>,
    /// What it was made from; `None` where that was not known.
    pub inputs: Option<Inputs>,
    /// Why its steps ran.
    pub explanation: Option<Explanation>,
    /// The steps that were made layers of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<Link>,
    /// What lies below the last steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_states: Vec<ParentState>,
    /// The steps that nothing is linked on top of any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlinked: Vec<Unlinked>,
    /// What the cache took in this build, and before it in the one before, where these are known. Where the cache is given
    /// up, what it took when it was not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_costs: Vec<CacheCost>,
    /// How long steps took when they last ran, of those that this build did not run: in seconds, by their digests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub times: BTreeMap<Digest, f64>,
    /// The build kept no cache, since one takes longer than what it saves. What lies beside the record is older.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
    /// The stages whose results were not kept, since they cost less to build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// What a cache took beside everything else.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CacheCost {
    /// When the build began.
    pub measured: Timestamp,
    /// Seconds in which it was written.
    pub export: f64,
    /// Seconds in which it was looked up. Layers are fetched in the time of the step that needs them.
    pub import: f64,
}

impl CacheCost {
    /// Both together; nothing where that is no time.
    pub fn total(&self) -> Duration {
        Duration::try_from_secs_f64(self.export + self.import).unwrap_or_default()
    }
}

impl Record {
    /// Whether its build made the step of this digest a layer of its own.
    pub fn links(&self, step: &Digest) -> bool {
        self.linked.iter().any(|link| link.step == *step)
    }
}

/// The engine, as far as it explains something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedEngine {
    /// Docker's version, or buildah's.
    pub version: String,
    /// BuildKit's version.
    pub buildkit: Option<String>,
    /// The builder's name.
    pub builder: String,
}

/// Why steps run, or ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The build that this one was compared with; `None` where no record could be read.
    pub against: Option<Against>,
    /// How many steps were said to run before the build, of how many; `None` where nothing could be said.
    pub predicted: Option<(usize, usize)>,
    /// The first miss of each stage, in the Dockerfile's order, with what made it one.
    pub misses: Vec<Miss>,
    /// What concerns no single step: `no cache ref existed for branch x; main's was read`.
    pub notes: Vec<String>,
    /// Where the build did otherwise than was said before it.
    pub surprises: Vec<String>,
}

/// An earlier build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Against {
    /// Where its record was read.
    pub reference: String,
    /// Its scope.
    pub scope: Option<String>,
    /// The commit that it built.
    pub commit: Option<String>,
    /// When it began.
    pub created: Timestamp,
}

/// A step that the cache cannot answer, although those before it in its stage are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// The stage.
    pub stage: String,
    /// The platform, where the stage misses for one of several alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The step's number.
    pub number: usize,
    /// Its line in the Dockerfile.
    pub line: usize,
    /// The instruction.
    pub instruction: String,
    /// What differs; empty where that is not known.
    pub causes: Vec<Cause>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What differs: `src/app.py changed (+12 bytes)`.
    pub text: String,
    /// What to do about it, where something can be done: `add it to .dockerignore`.
    pub advice: Option<String>,
}

#[cfg(test)]
impl Record {
    /// A build of which nothing is known but that it succeeded.
    pub fn sample() -> Self {
        Record {
            version: VERSION,
            created: "2026-11-23T12:00:00Z".parse().expect("a time"),
            layerlift: "0.1.0".to_owned(),
            engine: RecordedEngine {
                version: "28.5.2".to_owned(),
                buildkit: Some("0.25.0".to_owned()),
                builder: "default".to_owned(),
            },
            strategy: "registry".to_owned(),
            scope: None,
            commit: None,
            pipeline_url: None,
            status: BuildStatus::Succeeded,
            candidates: Vec::new(),
            cache_from: Vec::new(),
            cache_to: None,
            tags: Vec::new(),
            digest: None,
            traffic: Traffic::default(),
            duration: 1.0,
            preparation: 0.1,
            cache_export: 0.0,
            stages: Vec::new(),
            inputs: None,
            explanation: None,
            linked: Vec::new(),
            parent_states: Vec::new(),
            unlinked: Vec::new(),
            cache_costs: Vec::new(),
            times: BTreeMap::new(),
            given_up: false,
            left_out: Vec::new(),
        }
    }
}
