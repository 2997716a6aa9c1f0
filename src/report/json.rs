//! The JSON report: what `--report FILE` writes, for programs.
//!
//! The structs here are the format and nothing else: `schema.json` describes it, and a test holds the two together.
//! Additions keep the version; a field that goes or changes its meaning raises it. Texts are given as they came, since
//! JSON escapes what a log could not take.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::model::engine::{Driver, Engine, Frontend, Store};
use crate::model::modes::Modes;
use crate::model::outcome::{
    BuildStatus, CandidateOutcome, GroupOutcome, Outcome, StageOutcome, StepOutcome, StepStatus, Traffic,
    Written,
};
use crate::model::parent_state::Link;
use crate::model::pipeline::{Pipeline, Provider, Trigger, Trust};
use crate::model::record::{Against, Explanation, Miss};
use crate::model::reuse::Reused;
use crate::report::file;

/// The format's version.
pub const VERSION: u32 = 1;

/// The whole document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    /// [`VERSION`].
    version: u32,
    /// The layerlift that wrote it.
    layerlift: &'static str,
    /// `succeeded`, `failed`, `interrupted`.
    status: BuildStatus,
    /// The engine's exit code.
    exit_code: i32,
    /// Where it ran.
    pipeline: PipelinePart<'a>,
    /// What built; null where nothing did, since an image that was there answered the build.
    engine: Option<EnginePart<'a>>,
    /// The image that answered the build; null where an engine built.
    reused: Option<&'a Reused>,
    /// What was read from and written to.
    cache: CachePart<'a>,
    /// How many steps ended how.
    steps: Counts,
    /// The stages, in the Dockerfile's order.
    stages: Vec<StagePart<'a>>,
    /// What was built.
    image: ImagePart<'a>,
    /// Why steps ran; null where nothing is known.
    explanation: Option<ExplanationPart<'a>>,
    linked: &'a [Link],
    /// The modes of the files that it was built from.
    modes: &'a Modes,
    /// Bytes that crossed the wire.
    bytes: Traffic,
    /// Where the time went.
    seconds: Times,
    /// What was written where.
    written: &'a [Written],
    /// Every warning, in the order of its coming.
    warnings: &'a [String],
}

/// The document of several images that were built together.
#[derive(Debug, Serialize)]
struct GroupDocument<'a> {
    /// [`VERSION`].
    version: u32,
    /// The layerlift that wrote it.
    layerlift: &'static str,
    /// `succeeded`, `failed`, `interrupted`.
    status: BuildStatus,
    /// The engine's exit code.
    exit_code: i32,
    /// The images, each after those that it needs.
    members: Vec<MemberPart<'a>>,
    /// How many steps ended how, over all images.
    steps: Counts,
    /// Bytes that crossed the wire.
    bytes: Traffic,
    /// Where the time went.
    seconds: Times,
    /// Warnings that concern no single image.
    warnings: &'a [String],
}

/// One of several images.
#[derive(Debug, Serialize)]
struct MemberPart<'a> {
    /// The compose service or bake target.
    name: &'a str,
    /// Its report, as if it had been built alone.
    report: Document<'a>,
}

/// Where a build ran.
#[derive(Debug, Serialize)]
struct PipelinePart<'a> {
    /// `gitlab`, `github`, `otherci`, `local`.
    provider: Provider,
    /// What the build was for.
    trigger: &'a Trigger,
    /// What showed that the code comes from a fork; null where it does not.
    fork: Option<&'a str>,
    /// The project's default branch.
    default_branch: Option<&'a str>,
    /// The commit that was built.
    commit: Option<&'a str>,
    /// Address of the pipeline or run.
    url: Option<&'a str>,
}

/// What built.
#[derive(Debug, Serialize)]
struct EnginePart<'a> {
    /// Version of the Docker client, or of buildah or podman; null where it was not asked.
    client: Option<String>,
    /// Version of the engine; null where the builder needs none.
    server: Option<String>,
    /// Version of buildx, where it is there.
    buildx: Option<String>,
    /// Version of BuildKit, where it is known.
    buildkit: Option<String>,
    /// `classic`, `build-kit`, `buildx`, `buildah`.
    frontend: Frontend,
    /// The builder's name.
    builder: &'a str,
    /// `docker`, `docker-container`, `kubernetes`, `remote`, or what buildx calls it.
    driver: &'a str,
    /// `containerd`, `graph-driver`, `containers`.
    store: Store,
    /// The builder's own platform: `linux/amd64`.
    platform: String,
    /// The engine's address, where it is not this machine's socket.
    remote: Option<&'a str>,
}

/// What was read from and written to.
#[derive(Debug, Serialize)]
struct CachePart<'a> {
    /// Whether every step was answered from the cache.
    hit: bool,
    /// How the cache travelled.
    strategy: &'a str,
    /// What the build belongs to: `branch-main`.
    scope: Option<&'a str>,
    /// The one ref that the engine was given to read.
    from: &'a [String],
    /// Where the cache was to be written; null when nothing may be.
    to: Option<&'a str>,
    /// The ref that `layerlift cache flush` is to write; null where nothing is left to it.
    pending: Option<&'a str>,
    /// All candidates, in the chain's order, each with what became of it.
    candidates: &'a [CandidateOutcome],
}

/// How many steps ended how.
#[derive(Debug, Serialize)]
struct Counts {
    cached: usize,
    run: usize,
    failed: usize,
    skipped: usize,
}

/// A stage.
#[derive(Debug, Serialize)]
struct StagePart<'a> {
    /// Its name; `stage-1` where it has none.
    name: &'a str,
    /// Its steps, in the Dockerfile's order.
    steps: Vec<StepPart<'a>>,
}

/// A step.
#[derive(Debug, Serialize)]
struct StepPart<'a> {
    /// Its number in the stage, from 1.
    number: u32,
    /// How many steps the stage has.
    of: u32,
    /// The instruction.
    instruction: &'a str,
    /// The platform, where the engine names it.
    platform: Option<&'a str>,
    /// `cached`, `run`, `failed`, `skipped`.
    status: StepStatus,
    /// Time spent in it.
    seconds: f64,
    /// The ref that the hit came from; null for steps that were not cached, or found in the engine itself.
    cache: Option<&'a str>,
}

/// Why steps ran. `layerlift plan` and `layerlift explain` write the same.
#[derive(Debug, Serialize)]
pub struct ExplanationPart<'a> {
    /// The build that this one was compared with; null where there was none.
    against: Option<&'a Against>,
    /// What was said before the build; null where nothing could be said.
    predicted: Option<PredictedPart>,
    /// The first miss of each stage.
    misses: &'a [Miss],
    /// What concerns no single step.
    notes: &'a [String],
    /// Where the build did otherwise than was said before it.
    surprises: &'a [String],
}

/// How many steps were to run.
#[derive(Debug, Serialize)]
struct PredictedPart {
    /// So many.
    run: usize,
    /// Of so many.
    of: usize,
}

/// What was built.
#[derive(Debug, Serialize)]
struct ImagePart<'a> {
    /// Its digest, where it is known.
    digest: Option<&'a str>,
    /// Its names.
    tags: &'a [String],
    /// The digest of all that it was made from, where that is known.
    inputs: Option<&'a str>,
}

/// Where the time went.
#[derive(Debug, Serialize)]
struct Times {
    /// From the first question to the end.
    total: f64,
    /// Before the engine started.
    preparation: f64,
    /// Cache images after the user's build.
    cache_export: f64,
}

/// The report as a text that ends with a newline.
pub fn report(outcome: &Outcome) -> String {
    let mut text = serde_json::to_string_pretty(&Document::new(outcome))
        .expect("the structs above hold no maps and no values that JSON cannot express");
    text.push('\n');
    text
}

/// Writes the report, whole or not at all.
pub fn write(path: &Path, outcome: &Outcome) -> Result<(), file::Error> {
    file::replace(path, report(outcome).as_bytes())
}

/// The report of several images, as a text that ends with a newline.
pub fn group_report(group: &GroupOutcome) -> String {
    let document = GroupDocument {
        version: VERSION,
        layerlift: env!("CARGO_PKG_VERSION"),
        status: group.status,
        exit_code: group.exit_code,
        members: group
            .members
            .iter()
            .map(|member| MemberPart { name: &member.name, report: Document::new(&member.outcome) })
            .collect(),
        steps: Counts {
            cached: group.count(StepStatus::Cached),
            run: group.count(StepStatus::Run),
            failed: group.count(StepStatus::Failed),
            skipped: group.count(StepStatus::Skipped),
        },
        bytes: group.traffic,
        seconds: Times {
            total: seconds(group.duration),
            preparation: seconds(group.preparation),
            cache_export: seconds(group.cache_export),
        },
        warnings: &group.warnings,
    };
    let mut text = serde_json::to_string_pretty(&document)
        .expect("the structs above hold no maps and no values that JSON cannot express");
    text.push('\n');
    text
}

/// Writes the report of several images, whole or not at all.
pub fn write_group(path: &Path, group: &GroupOutcome) -> Result<(), file::Error> {
    file::replace(path, group_report(group).as_bytes())
}

impl<'a> Document<'a> {
    fn new(outcome: &'a Outcome) -> Self {
        Document {
            version: VERSION,
            layerlift: env!("CARGO_PKG_VERSION"),
            status: outcome.status,
            exit_code: outcome.exit_code,
            pipeline: PipelinePart::new(&outcome.pipeline),
            engine: outcome.engine.as_ref().map(EnginePart::new),
            reused: outcome.reused.as_ref(),
            cache: CachePart {
                hit: outcome.is_full_hit(),
                strategy: &outcome.strategy,
                scope: outcome.scope.as_deref(),
                from: &outcome.cache_from,
                to: outcome.cache_to.as_deref(),
                pending: outcome.pending.as_deref(),
                candidates: &outcome.candidates,
            },
            steps: Counts {
                cached: outcome.count(StepStatus::Cached),
                run: outcome.count(StepStatus::Run),
                failed: outcome.count(StepStatus::Failed),
                skipped: outcome.count(StepStatus::Skipped),
            },
            stages: outcome.stages.iter().map(|stage| StagePart::new(stage, &outcome.cache_from)).collect(),
            image: ImagePart {
                digest: outcome.digest.as_deref(),
                tags: &outcome.tags,
                inputs: outcome.inputs.as_deref(),
            },
            explanation: outcome.explanation.as_ref().map(ExplanationPart::new),
            linked: &outcome.linked,
            modes: &outcome.modes,
            bytes: outcome.traffic,
            seconds: Times {
                total: seconds(outcome.duration),
                preparation: seconds(outcome.preparation),
                cache_export: seconds(outcome.cache_export),
            },
            written: &outcome.written,
            warnings: &outcome.warnings,
        }
    }
}

impl<'a> ExplanationPart<'a> {
    /// Of an explanation.
    pub fn new(explanation: &'a Explanation) -> Self {
        let Explanation { against, predicted, misses, notes, surprises } = explanation;
        let predicted = predicted.map(|(run, of)| PredictedPart { run, of });
        ExplanationPart { against: against.as_ref(), predicted, misses, notes, surprises }
    }
}

impl<'a> PipelinePart<'a> {
    fn new(pipeline: &'a Pipeline) -> Self {
        PipelinePart {
            provider: pipeline.provider,
            trigger: &pipeline.trigger,
            fork: match &pipeline.trust {
                Trust::Trusted | Trust::Unknown => None,
                Trust::Fork { evidence } => Some(evidence),
            },
            default_branch: pipeline.default_branch.as_deref(),
            commit: pipeline.commit.as_deref(),
            url: pipeline.url.as_deref(),
        }
    }
}

impl<'a> EnginePart<'a> {
    fn new(engine: &'a Engine) -> Self {
        EnginePart {
            client: engine.client.map(String::from),
            server: engine.server.map(String::from),
            buildx: engine.buildx.map(String::from),
            buildkit: engine.buildkit.map(String::from),
            frontend: engine.frontend,
            builder: &engine.builder,
            driver: match &engine.driver {
                Driver::Docker => "docker",
                Driver::DockerContainer => "docker-container",
                Driver::Kubernetes => "kubernetes",
                Driver::Remote => "remote",
                Driver::Other(name) => name,
            },
            store: engine.store,
            platform: engine.platform.to_string(),
            remote: engine.remote.as_deref(),
        }
    }
}

impl<'a> StagePart<'a> {
    fn new(stage: &'a StageOutcome, cache: &'a [String]) -> Self {
        // Of several images of the classic builder, it does not say which one answered.
        let cache = match cache {
            [only] => Some(only.as_str()),
            _ => None,
        };
        let step = |step: &'a StepOutcome| StepPart {
            number: step.number,
            of: step.of,
            instruction: &step.instruction,
            platform: step.platform.as_deref(),
            status: step.status,
            seconds: seconds(step.duration),
            cache: cache.filter(|_| step.status == StepStatus::Cached),
        };
        StagePart { name: &stage.name, steps: stage.steps.iter().map(step).collect() }
    }
}

/// Seconds with three digits: more would be noise.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests;
