//! `layerlift buildah` and `layerlift podman`: the line, the way, the exit code.

use std::fmt::Write;
use std::time::Instant;

use crate::base::process::Command;
use crate::cli::app::LineArgs;
use crate::cli::build::exit_code;
use crate::cli::failure::Failure;
use crate::cli::group;
use crate::cli::plan::{pipeline_line, setting_name};
use crate::engine::buildah::{self as engine, Tool};
use crate::invocation::buildah_line;
use crate::model::outcome::StepStatus;
use crate::model::settings::Settings;
use crate::report::explanation;
use crate::workflow::buildah::{self, Prepared};
use crate::workflow::tell;
use crate::workflow::world::World;

/// Runs it.
pub async fn run(tool: Tool, arguments: LineArgs, world: &World) -> Result<u8, Failure> {
    let begun = Instant::now();
    let original = || Command::new(tool.program(), arguments.line.iter().cloned());
    let line = match buildah_line(tool.program(), &arguments.line) {
        Ok(line) => line,
        Err(left) => return Err(group::leave(world, &original(), left)),
    };
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    tell::check(world, &settings)?;
    let prepared = match buildah::prepare(world, &settings, tool, line).await? {
        Ok(prepared) => prepared,
        Err(left) => return Err(group::leave(world, &original(), left)),
    };
    if arguments.dry_run {
        world.printer.data(&plan(&prepared, &settings));
        return Ok(0);
    }
    let outcome = buildah::build(world, &settings, prepared, begun).await?;
    let ran = outcome.count(StepStatus::Run);
    exit_code(outcome.status, outcome.exit_code, &outcome.warnings, ran, &settings)
}

/// Facts, decisions and the command.
fn plan(prepared: &Prepared, settings: &Settings) -> String {
    let (facts, plan) = (&prepared.facts, &prepared.plan);
    let version = facts.engine.client.map(|version| version.to_string()).unwrap_or_default();
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(out, "facts\n  pipeline    {}", pipeline_line(&facts.pipeline));
    let _ = writeln!(out, "  engine      {} {version}, {}", facts.engine.builder, facts.engine.platform);
    for candidate in &plan.verdicts {
        let _ = writeln!(out, "  cache ref   {}\n{:14}({})", candidate.reference, "", candidate.verdict);
    }
    for (name, origin) in &settings.origins {
        let _ = writeln!(out, "  setting     {} by {origin}", setting_name(name));
    }
    let _ = writeln!(out, "\ndecisions");
    for decision in &plan.decisions {
        let (topic, choice) = (decision.topic, &decision.choice);
        let _ = writeln!(out, "  {topic:<11} {choice}\n{:14}({})", "", decision.reason);
    }
    for warning in &plan.warnings {
        let _ = writeln!(out, "  warning     {warning}");
    }
    let forecast = explanation::forecast(&buildah::prediction(prepared));
    if !forecast.is_empty() {
        let _ = writeln!(out, "\nprediction");
        for said in forecast {
            let _ = writeln!(out, "  {said}");
        }
    }
    let command = engine::command(prepared.tool, &prepared.line, &plan.flags());
    let _ = writeln!(out, "\ncommands\n  # build\n  {command}");
    out
}
