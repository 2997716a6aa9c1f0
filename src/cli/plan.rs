//! `layerlift plan`: facts, decisions with their reasons, and the exact commands. Runs nothing and writes nothing.
//!
//! Keys of `--format json`:
//!
//! | key | meaning |
//! |---|---|
//! | `version` | of this form; it rises when a key goes or means something else |
//! | `facts.pipeline` | where this runs: `provider`, `trigger`, `default_branch`, `trust`, ... |
//! | `facts.engine` | what builds: versions, `frontend`, `builder`, `driver`, `store`, ...; null where an image answers |
//! | `facts.platforms` | what is built for |
//! | `facts.candidates` | the chain, the nearest first: `reference`, `scope`, `verdict` |
//! | `facts.settings` | the settings that were given, each with the place that it came from |
//! | `strategy` | how the cache travels; `reuse` where an image that is there answers the build |
//! | `scope` | the scope of this build, or null |
//! | `cache_from` | the one ref that is read, or null |
//! | `decisions` | `topic`, `choice`, `reason`, in the order in which they were made |
//! | `prediction` | which steps will run and why, as `explanation` in the report of a build |
//! | `warnings` | what `build` would warn of before it starts |
//! | `commands` | `command`, `purpose`, in the order in which they are run |

use std::fmt::Write;

use serde_json::{Value, json};

use crate::base::process::Command;
use crate::cli::answered_plan;
use crate::cli::app::{Format, PlanArgs};
use crate::cli::failure::Failure;
use crate::engine::line::Line;
use crate::model::engine::{Driver, Engine, Frontend, Store};
use crate::model::pipeline::{ChangeKind, Pipeline, Provider, Trigger, Trust};
use crate::model::request::Request;
use crate::model::settings::Settings;
use crate::plan::command::{Build, export_build};
use crate::plan::export::{Cover, Deferred};
use crate::plan::steps::{Keep, StageImage};
use crate::report::explanation;
use crate::report::json::ExplanationPart;
use crate::workflow::decide::{self, Decided, Prepared};
use crate::workflow::world::World;

/// Version of the JSON form.
pub(super) const VERSION: u32 = 1;

/// Runs it.
pub async fn run(arguments: PlanArgs, world: &World) -> Result<u8, Failure> {
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    show(&arguments.engine.into_request(), &settings, arguments.format, world).await
}

/// Prints the plan of a request.
pub async fn show(
    request: &Request,
    settings: &Settings,
    format: Format,
    world: &World,
) -> Result<u8, Failure> {
    let text = match (decide::prepare(world, request, settings).await?, format) {
        (Decided::Build(prepared), Format::Text) => text(&prepared, settings),
        (Decided::Build(prepared), Format::Json) => format!("{:#}\n", as_json(&prepared, settings)),
        (Decided::Answer(answered), Format::Text) => answered_plan::text(&answered, settings),
        (Decided::Answer(answered), Format::Json) => {
            format!("{:#}\n", answered_plan::as_json(&answered, settings))
        }
    };
    world.printer.data(&text);
    Ok(0)
}

/// Prints the plan of a build that was decided on already.
pub(super) fn show_prepared(prepared: &Prepared, settings: &Settings, world: &World) {
    world.printer.data(&text(prepared, settings));
}

/// How the Dockerfile with names is shown: it has no path until it is needed.
const NAMED_DOCKERFILE: &str = "<Dockerfile with names>";

/// What is run, in order, as one would type it, and what it is for.
pub(super) fn commands(prepared: &Prepared, line: Line<'_>) -> Vec<(String, String)> {
    let (facts, plan) = (&prepared.facts, &prepared.plan);
    let mut commands = Vec::new();
    let mut run = |command: String, purpose: &str| commands.push((command, purpose.to_owned()));
    let docker = |words: &[&str]| Command::new("docker", words.iter().copied()).to_string();
    let shown = |build: &Build| line.shown(&facts.engine, build).to_string();
    for (command, purpose) in facts.builder.iter().flat_map(|builder| &builder.commands) {
        run(command.clone(), purpose);
    }
    if let Some(put) = &plan.chain.put {
        let sources: Vec<String> = put.sources.iter().map(ToString::to_string).collect();
        run(format!("(registry) put {} from {}", put.reference, sources.join(" + ")), "merge the chain");
    }
    for image in &plan.pull {
        run(docker(&["pull", "--quiet", &image.to_string()]), "read the chain");
    }
    run(shown(&plan.build), "build");
    for image in &plan.push {
        run(docker(&["push", image]), "push the image");
    }
    if let (Some(place), Some(name)) = (&plan.store, plan.build.tags().first()) {
        run(format!("(registry) put {} from {name}", place.image), "answer later builds of the same inputs");
    }
    match &plan.keep {
        Keep::Nothing => {}
        Keep::GivenUp => run("(registry) put the record".to_owned(), "tell how long the steps took"),
        Keep::Export(reference) => {
            run(format!("(registry) annotate {reference}"), "tell what made the cache");
        }
        Keep::Deferred(deferred) => deferred_export(deferred, &plan.build, shown, &mut run),
        Keep::Inline { stages, merged, .. } => {
            let names: Vec<String> = stages.iter().filter(|stage| stage.unnamed).map(named_as).collect();
            if !names.is_empty() {
                let names = names.join(", ");
                run(
                    format!("(file) {NAMED_DOCKERFILE}: a copy with {names}"),
                    "give stages without a name one, for --target",
                );
            }
            for stage in stages {
                let build = &stage.build;
                let build = if stage.unnamed { build.reading(NAMED_DOCKERFILE) } else { build.clone() };
                run(shown(&build), &keep_purpose(stage));
                if !build.pushes() {
                    run(docker(&["push", &stage.reference.to_string()]), &keep_purpose(stage));
                }
            }
            run(format!("(registry) put {merged} from the stage images"), "merge the stages");
        }
        Keep::Classic(stages) => {
            for stage in stages {
                let reference = stage.reference.to_string();
                run(docker(&["tag", "<image of the stage>", &reference]), &keep_purpose(stage));
                run(docker(&["push", &reference]), &keep_purpose(stage));
            }
        }
        Keep::Folder { fresh, place } => run(
            format!("(folder) {} takes the place of {}", fresh.display(), place.display()),
            "keep only what this build used",
        ),
    }
    commands
}

/// An export that is no part of the build.
fn deferred_export(
    deferred: &Deferred,
    build: &Build,
    shown: impl Fn(&Build) -> String,
    run: &mut impl FnMut(String, &str),
) {
    let Deferred { own, to, covered, detached } = deferred;
    if let Some(Cover::Other { reference, .. }) = covered {
        run(format!("(registry) put {own} from {reference}"), "keep the cache, if no step runs");
    }
    let purpose = match (covered, detached) {
        (_, true) => "export the cache, in `layerlift cache flush`",
        (Some(_), false) => "export the cache, if a step runs",
        (None, false) => "export the cache",
    };
    run(shown(&export_build(build, to)), purpose);
    run(format!("(registry) annotate {own}"), "tell what made the cache");
}

fn keep_purpose(stage: &StageImage) -> String {
    match stage.holds.iter().filter(|held| **held != stage.label).map(String::as_str).collect::<Vec<_>>() {
        below if below.is_empty() => format!("keep stage {}, if one of its steps ran", stage.label),
        below => format!("keep stage {} and in it {}, if a step ran", stage.label, below.join(", ")),
    }
}

fn named_as(stage: &StageImage) -> String {
    format!("`AS {}`", stage.label)
}

pub(super) fn pipeline_line(pipeline: &Pipeline) -> String {
    let provider = match pipeline.provider {
        Provider::GitLab => "GitLab",
        Provider::GitHub => "GitHub",
        Provider::OtherCi => "CI",
        Provider::Local => "no CI",
    };
    let into =
        |target: &Option<String>| target.as_ref().map(|it| format!(" into `{it}`")).unwrap_or_default();
    let trigger = match &pipeline.trigger {
        Trigger::Branch { name } => format!("branch `{name}`"),
        Trigger::Change { change: ChangeKind::MergeRequest, number, target } => {
            format!("merge request {number}{}", into(target))
        }
        Trigger::Change { change: ChangeKind::PullRequest, number, target } => {
            format!("pull request {number}{}", into(target))
        }
        Trigger::Tag { name } => format!("tag `{name}`"),
        Trigger::Schedule { branch } => {
            format!("a schedule{}", branch.as_ref().map(|it| format!(" on `{it}`")).unwrap_or_default())
        }
        Trigger::MergeQueue { target } => format!("a merge queue{}", into(target)),
        Trigger::Unknown => "no branch is known".to_owned(),
    };
    let default = pipeline.default_branch.as_ref().map(|it| format!(", default branch `{it}`"));
    let fork = match &pipeline.trust {
        Trust::Fork { evidence } => format!(", a fork: {evidence}"),
        Trust::Trusted | Trust::Unknown => String::new(),
    };
    format!("{provider}, {trigger}{}{fork}", default.unwrap_or_default())
}

pub(super) fn engine_line(engine: &Engine) -> String {
    let remote = engine.remote.as_ref().map(|address| format!(", at {address}")).unwrap_or_default();
    if engine.frontend == Frontend::Buildctl {
        let version = engine.buildkit.map(|version| format!(" {version}")).unwrap_or_default();
        return format!("BuildKit{version}, by buildctl, {}{remote}", engine.platform);
    }
    let server = engine.server.map_or_else(|| "no engine".to_owned(), |version| format!("Docker {version}"));
    let buildx = engine.buildx.map_or_else(|| "no buildx".to_owned(), |version| format!("buildx {version}"));
    let store = match (&engine.driver, engine.store) {
        (_, Store::Containers) => "containers store",
        (Driver::Docker, Store::Containerd) => "containerd store",
        (Driver::Docker, Store::GraphDriver) => "graph driver store",
        (Driver::DockerContainer, _) => "BuildKit in a container",
        (Driver::Kubernetes, _) => "BuildKit in Kubernetes",
        (Driver::Remote, _) => "a remote BuildKit",
        (Driver::Other(name), _) => name,
    };
    format!("{server}, {buildx}, builder `{}`, {store}, {}{remote}", engine.builder, engine.platform)
}

/// A setting's flag: `LAYERLIFT_CACHE_REPO` is `--cache-repo`.
pub(super) fn setting_name(variable: &str) -> String {
    let name = variable.trim_start_matches("LAYERLIFT_").to_ascii_lowercase().replace('_', "-");
    format!("--{name}")
}

fn text(prepared: &Prepared, settings: &Settings) -> String {
    let (facts, plan) = (&prepared.facts, &prepared.plan);
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{text}");
    };
    line(format_args!("facts"));
    line(format_args!("  pipeline    {}", pipeline_line(&facts.pipeline)));
    line(format_args!("  engine      {}", engine_line(&facts.engine)));
    for candidate in &plan.chain.verdicts {
        line(format_args!("  cache ref   {}\n{:14}({})", candidate.reference, "", candidate.verdict));
    }
    for (name, origin) in &settings.origins {
        line(format_args!("  setting     {} by {origin}", setting_name(name)));
    }
    line(format_args!("\ndecisions"));
    for decision in &plan.decisions {
        line(format_args!("  {:<11} {}\n{:14}({})", decision.topic, decision.choice, "", decision.reason));
    }
    for warning in &plan.warnings {
        line(format_args!("  warning     {warning}"));
    }
    let forecast = explanation::forecast(&plan.explanation);
    if !forecast.is_empty() {
        line(format_args!("\nprediction"));
        forecast.iter().for_each(|said| line(format_args!("  {said}")));
    }
    line(format_args!("\ncommands"));
    for (command, purpose) in commands(prepared, Line::of(prepared.buildctl.as_ref())) {
        line(format_args!("  # {purpose}\n  {command}"));
    }
    line(match prepared.buildctl {
        Some(_) => {
            format_args!("\nThe build itself gets --progress and --metadata-file, to learn what was built.")
        }
        None => format_args!(
            "\n`build` adds --iidfile and, with buildx, --metadata-file where you give none, to learn what was built."
        ),
    });
    out
}

fn as_json(prepared: &Prepared, settings: &Settings) -> Value {
    let (facts, plan) = (&prepared.facts, &prepared.plan);
    let commands = commands(prepared, Line::of(prepared.buildctl.as_ref()));
    json!({
        "version": VERSION,
        "facts": {
            "pipeline": facts.pipeline,
            "engine": facts.engine,
            "platforms": facts.platforms,
            "candidates": plan.chain.verdicts,
            "settings": settings.origins,
        },
        "strategy": plan.strategy,
        "scope": facts.scopes.own,
        "cache_from": plan.chain.read.as_ref().map(ToString::to_string),
        "decisions": plan.decisions.iter().map(|decision| json!({
            "topic": decision.topic, "choice": decision.choice, "reason": decision.reason,
        })).collect::<Vec<_>>(),
        "prediction": ExplanationPart::new(&plan.explanation),
        "warnings": plan.warnings,
        "commands": commands.into_iter().map(|(command, purpose)| json!({
            "command": command, "purpose": purpose,
        })).collect::<Vec<_>>(),
    })
}
