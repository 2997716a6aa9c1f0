//! Outcomes that the tests of every form share.

use std::time::Duration;

use crate::model::engine::{Driver, Engine, Frontend, Store, Version};
use crate::model::modes::Modes;
use crate::model::outcome::{
    BuildStatus, CandidateOutcome, GroupOutcome, MemberOutcome, Outcome, StageOutcome, StepOutcome,
    StepStatus, Traffic, Written,
};
use crate::model::pipeline::{ChangeKind, Pipeline, Provider, Trigger, Trust};
use crate::model::platform::Platform;
use crate::model::record::{Against, Cause, Explanation, Miss};
use crate::model::reuse::Reused;

use StepStatus::{Cached, Failed, Run, Skipped};

const MAIN: &str = "localhost:5000/app/cache:branch-main";
const DIGEST: &str = "sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a";

fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(value)
}

fn stage(name: &str, steps: &[(StepStatus, f64, &str)]) -> StageOutcome {
    let of = steps.len() as u32;
    let steps = steps.iter().zip(1..).map(|((status, time, instruction), number)| StepOutcome {
        number,
        of,
        instruction: (*instruction).to_owned(),
        platform: None,
        status: *status,
        started: Some(seconds(f64::from(number))),
        duration: seconds(*time),
    });
    StageOutcome { name: name.to_owned(), steps: steps.collect() }
}

fn stages(build: [StepStatus; 5], last: [StepStatus; 2], times: [f64; 3]) -> Vec<StageOutcome> {
    let time = |status, time| if status == Cached || status == Skipped { 0.0 } else { time };
    vec![
        stage(
            "build",
            &[
                (build[0], 0.0, "FROM docker.io/library/golang:1.26"),
                (build[1], time(build[1], 0.1), "COPY go.mod go.sum ./"),
                (build[2], time(build[2], times[0]), "RUN go mod download"),
                (build[3], time(build[3], 0.2), "COPY . ."),
                (build[4], time(build[4], times[1]), "RUN go build -trimpath -o /out/app ./cmd/app"),
            ],
        ),
        stage(
            "stage-1",
            &[
                (last[0], 0.0, "FROM docker.io/library/alpine:3.22"),
                (last[1], time(last[1], times[2]), "COPY --from=build /out/app /usr/bin/app"),
            ],
        ),
    ]
}

fn candidate(scope: &str, verdict: &str) -> CandidateOutcome {
    CandidateOutcome {
        reference: format!("localhost:5000/app/cache:{scope}"),
        scope: scope.to_owned(),
        verdict: verdict.to_owned(),
    }
}

fn written(what: &str, reference: &str, digest: Option<&str>) -> Written {
    Written { what: what.to_owned(), reference: reference.to_owned(), digest: digest.map(str::to_owned) }
}

/// Nothing was there to read.
pub(crate) fn cold() -> Outcome {
    Outcome {
        status: BuildStatus::Succeeded,
        exit_code: 0,
        pipeline: Pipeline {
            provider: Provider::GitLab,
            trigger: Trigger::Branch { name: "main".to_owned() },
            default_branch: Some("main".to_owned()),
            trust: Trust::Trusted,
            commit: Some("5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689".to_owned()),
            url: Some("https://gitlab.example/app/-/pipelines/7".to_owned()),
            image_repository: Some("localhost:5000/app".to_owned()),
            project_folder: None,
        },
        engine: Some(Engine {
            client: Some(Version(28, 5, 2)),
            server: Some(Version(28, 5, 2)),
            buildx: Some(Version(0, 29, 1)),
            frontend: Frontend::Buildx,
            builder: "default".to_owned(),
            driver: Driver::Docker,
            store: Store::Containerd,
            buildkit: Some(Version(0, 25, 0)),
            platform: Platform::new("linux", "amd64", None),
            remote: Some("tcp://docker:2376".to_owned()),
        }),
        scope: Some("branch-main".to_owned()),
        strategy: "registry".to_owned(),
        cache_from: Vec::new(),
        cache_to: Some(MAIN.to_owned()),
        candidates: vec![candidate("branch-main", "not found")],
        stages: stages([Run; 5], [Run; 2], [21.4, 38.25, 0.4]),
        digest: Some(DIGEST.to_owned()),
        tags: vec!["localhost:5000/app:latest".to_owned()],
        inputs: None,
        reused: None,
        linked: Vec::new(),
        parent_states: Vec::new(),
        unlinked: Vec::new(),
        explanation: None,
        modes: Modes { normalized: true, reason: "a CI job".to_owned(), tracked: 340, different: 0 },
        traffic: Traffic { context: 1_240_000, fetched: 341_000_000, asked: 412 },
        duration: seconds(64.8),
        preparation: seconds(0.31),
        cache_export: seconds(3.2),
        written: vec![
            written("image", "localhost:5000/app:latest", Some(DIGEST)),
            written("cache", MAIN, None),
        ],
        pending: None,
        warnings: Vec::new(),
    }
}

/// Every step came from the cache.
pub(crate) fn full_hit() -> Outcome {
    Outcome {
        cache_from: vec![MAIN.to_owned()],
        candidates: vec![candidate("branch-main", "used")],
        stages: stages([Cached; 5], [Cached; 2], [0.0; 3]),
        traffic: Traffic { context: 1200, fetched: 0, asked: 48_300 },
        duration: seconds(1.34),
        cache_export: Duration::ZERO,
        written: vec![written("image", "localhost:5000/app:latest", Some(DIGEST))],
        ..cold()
    }
}

/// An image that was there answered the build.
pub(crate) fn reused() -> Outcome {
    let inputs = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    Outcome {
        engine: None,
        strategy: "reuse".to_owned(),
        cache_to: None,
        candidates: Vec::new(),
        stages: Vec::new(),
        inputs: Some(inputs.to_owned()),
        reused: Some(Reused {
            reference: format!("{MAIN}--image-0123456789abcdef0123456789abcdef"),
            digest: DIGEST.to_owned(),
            scope: "branch-main".to_owned(),
            created: "2026-11-23T10:00:00Z".parse().ok(),
            age: Some(seconds(7260.0)),
            commit: Some("5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689".to_owned()),
            pipeline_url: Some("https://gitlab.example/app/-/pipelines/6".to_owned()),
        }),
        traffic: Traffic { context: 0, fetched: 0, asked: 3_100 },
        duration: seconds(0.21),
        preparation: seconds(0.21),
        cache_export: Duration::ZERO,
        written: vec![written("image", "localhost:5000/app:latest", Some(DIGEST))],
        ..cold()
    }
}

/// A merge request touched one source file.
pub(crate) fn one_file_changed() -> Outcome {
    let mut outcome = Outcome {
        cache_from: vec!["localhost:5000/app/cache:mr-12".to_owned()],
        cache_to: Some("localhost:5000/app/cache:mr-12".to_owned()),
        scope: Some("mr-12".to_owned()),
        candidates: vec![candidate("mr-12", "merged"), candidate("branch-main", "merged")],
        stages: stages([Cached, Cached, Cached, Run, Run], [Cached, Run], [0.0, 10.2, 0.4]),
        traffic: Traffic { context: 84_000, fetched: 34_000_000, asked: 96_100 },
        duration: seconds(14.2),
        cache_export: seconds(0.9),
        ..cold()
    };
    outcome.stages[0].steps[2].duration = seconds(2.6);
    outcome.pipeline.trigger =
        Trigger::Change { change: ChangeKind::MergeRequest, number: 12, target: Some("main".to_owned()) };
    outcome.modes.different = 12;
    outcome.written[1].reference = "localhost:5000/app/cache:mr-12".to_owned();
    outcome
}

/// The same, and it is known why.
pub(crate) fn explained() -> Outcome {
    let cause =
        |text: &str, advice: Option<&str>| Cause { text: text.to_owned(), advice: advice.map(str::to_owned) };
    let miss = |stage: &str, number, line, instruction: &str, causes| Miss {
        stage: stage.to_owned(),
        platform: None,
        number,
        line,
        instruction: instruction.to_owned(),
        causes,
    };
    let explanation = Explanation {
        against: Some(Against {
            reference: format!("{MAIN}--record"),
            scope: Some("branch-main".to_owned()),
            commit: Some("5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689".to_owned()),
            created: "2026-11-23T12:00:00Z".parse().unwrap(),
        }),
        predicted: Some((3, 7)),
        misses: vec![
            miss(
                "build",
                4,
                5,
                "COPY . .",
                vec![
                    cause("`src/app.py` changed (+12 bytes)", None),
                    cause("file `tmp/log` entered the context", Some("add it to .dockerignore")),
                ],
            ),
            miss(
                "stage-1",
                2,
                9,
                "COPY --from=build /out/app /usr/bin/app",
                vec![cause("stage `build` changed", None)],
            ),
        ],
        notes: vec!["no cache ref existed for merge request 12; main's was read".to_owned()],
        surprises: vec!["step 3 of stage `build`, `RUN go mod download`, ran although the record has it: layers of the cache are gone from the registry".to_owned()],
    };
    Outcome { explanation: Some(explanation), ..one_file_changed() }
}

/// The compiler found something.
pub(crate) fn failed_step() -> Outcome {
    Outcome {
        status: BuildStatus::Failed,
        exit_code: 1,
        stages: stages([Cached, Cached, Cached, Run, Failed], [Skipped, Skipped], [0.0, 4.5, 0.0]),
        digest: None,
        duration: seconds(6.1),
        cache_export: Duration::ZERO,
        written: Vec::new(),
        ..full_hit()
    }
}

/// A pull request from a fork reads the target's cache and writes none; the registry was unwell.
pub(crate) fn fork() -> Outcome {
    let mut outcome = Outcome {
        cache_to: None,
        scope: Some("pr-7".to_owned()),
        candidates: vec![
            candidate("pr-7", "dropped: 503 Service Unavailable"),
            candidate("branch-main", "used"),
        ],
        cache_from: vec![MAIN.to_owned()],
        written: Vec::new(),
        warnings: vec![
            "localhost:5000/app/cache:pr-7: 503 Service Unavailable after 3 attempts".to_owned(),
            "Dockerfile line 4: JSON arguments recommended for CMD".to_owned(),
        ],
        ..one_file_changed()
    };
    outcome.pipeline.provider = Provider::GitHub;
    outcome.pipeline.trust = Trust::Fork { evidence: "the pull request comes from someone/app".to_owned() };
    outcome.pipeline.trigger =
        Trigger::Change { change: ChangeKind::PullRequest, number: 7, target: Some("main".to_owned()) };
    outcome
}

/// Every text from outside is an attack, and the platform is told.
pub(crate) fn hostile() -> Outcome {
    let mut outcome = failed_step();
    outcome.stages[0].name = "::error::stage\u{1b}[2J".to_owned();
    outcome.stages[0].steps[0].instruction =
        "RUN echo a\n::set-output name=digest::evil\n::error::boo".to_owned();
    outcome.stages[0].steps[1].instruction =
        "RUN \u{1b}[0Ksection_start:1:x[collapsed=true]\r\u{1b}[0Kgone".to_owned();
    outcome.stages[0].steps[2].instruction =
        "RUN echo '| </code><img src=x> `a` [x](http://evil) ##[group]'".to_owned();
    outcome.stages[0].steps[3].platform = Some("linux/arm64".to_owned());
    outcome.stages[0].steps[4].instruction = format!("RUN {}", "very-long ".repeat(30));
    outcome.candidates[0].verdict = "dropped:\n::warning::no".to_owned();
    outcome.warnings = vec!["::add-mask::x\r\n| <script>alert(1)</script>".to_owned()];
    outcome.digest = Some("sha256:x\nlayerlift_EOF\ncache-hit=true".to_owned());
    outcome
}

/// One text in every place that takes a text from outside.
pub(crate) fn everywhere(text: &str) -> Outcome {
    let mut outcome = fork();
    for stage in &mut outcome.stages {
        stage.name = text.to_owned();
        for step in &mut stage.steps {
            step.instruction = text.to_owned();
            step.platform = Some(text.to_owned());
        }
    }
    for candidate in &mut outcome.candidates {
        candidate.reference = text.to_owned();
        candidate.scope = text.to_owned();
        candidate.verdict = text.to_owned();
    }
    outcome.explanation = explained().explanation;
    if let Some(explanation) = &mut outcome.explanation {
        for miss in &mut explanation.misses {
            miss.stage = text.to_owned();
            miss.instruction = text.to_owned();
            for cause in &mut miss.causes {
                *cause = Cause { text: text.to_owned(), advice: Some(text.to_owned()) };
            }
        }
        explanation.notes = vec![text.to_owned()];
        explanation.surprises = vec![text.to_owned()];
    }
    outcome.status = BuildStatus::Failed;
    outcome.stages[0].steps[4].status = Failed;
    outcome.written = vec![written(text, text, Some(text))];
    outcome.warnings = vec![text.to_owned()];
    outcome.pipeline.trust = Trust::Fork { evidence: text.to_owned() };
    outcome.cache_from = vec![text.to_owned()];
    outcome.digest = Some(text.to_owned());
    outcome
}

/// Fifty steps, two of which ran.
pub(crate) fn huge() -> Outcome {
    let names: Vec<String> = (1..=50).map(|number| format!("RUN step-{number}")).collect();
    let steps: Vec<_> = names
        .iter()
        .zip(1..)
        .map(|(name, number)| match number {
            30 | 31 => (Run, 1.5, name.as_str()),
            _ => (Cached, 0.0, name.as_str()),
        })
        .collect();
    Outcome { stages: vec![stage("stage-0", &steps)], ..full_hit() }
}

fn of_members(members: Vec<(&str, Outcome)>) -> GroupOutcome {
    let status = members.last().map_or(BuildStatus::Succeeded, |(_, outcome)| outcome.status);
    let exit_code = members.last().map_or(0, |(_, outcome)| outcome.exit_code);
    let members =
        members.into_iter().map(|(name, outcome)| MemberOutcome { name: name.to_owned(), outcome }).collect();
    GroupOutcome {
        status,
        exit_code,
        members,
        traffic: Traffic { context: 84_000, fetched: 34_000_000, asked: 96_100 },
        duration: seconds(14.2),
        preparation: seconds(0.31),
        cache_export: seconds(0.9),
        warnings: Vec::new(),
    }
}

/// Two services, one of which was touched.
pub(crate) fn group() -> GroupOutcome {
    of_members(vec![("api", one_file_changed()), ("web", full_hit())])
}

/// One of two fails.
pub(crate) fn failed_group() -> GroupOutcome {
    let mut group = of_members(vec![("api", full_hit()), ("web", failed_step())]);
    group.warnings.push("a push was tried again".to_owned());
    group
}

/// One text in every place of a group that takes a text from outside.
pub(crate) fn group_everywhere(text: &str) -> GroupOutcome {
    let mut group = of_members(vec![(text, everywhere(text)), (text, everywhere(text))]);
    group.warnings = vec![text.to_owned()];
    group
}
