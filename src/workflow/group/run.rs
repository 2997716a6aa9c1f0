//! One run of the engine for all members, and what follows it for each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::clock;
use crate::base::process;
use crate::engine::bake;
use crate::engine::buildx::Buildx;
use crate::engine::docker::Docker;
use crate::engine::progress::Format;
use crate::model::outcome::{BuildStatus, GroupOutcome, MemberOutcome, Traffic};
use crate::model::pipeline::Provider;
use crate::model::request::{Context, Flag, Request};
use crate::model::settings::{Settings, Strategy};
use crate::plan::retry;
use crate::report::section::Sections;
use crate::workflow::build;
use crate::workflow::display::Display;
use crate::workflow::engine_run::{self, Built, Results, Runner};
use crate::workflow::error::Error;
use crate::workflow::group::define::Group;
use crate::workflow::group::prepare::PreparedGroup;
use crate::workflow::tell;
use crate::workflow::world::World;

/// Builds a group that was prepared. The outcome is reported already; what is left to the caller is the exit code.
/// `begun`: when the first question was asked.
pub async fn run(
    world: &World,
    settings: &Settings,
    group: &Group,
    mut prepared: PreparedGroup,
    begun: Instant,
) -> Result<GroupOutcome, Error> {
    let mut warnings: Vec<Vec<String>> = Vec::new();
    for it in &mut prepared.members {
        let own = std::mem::take(&mut it.prepared.plan.warnings);
        own.iter().for_each(|warning| world.printer.warning(&format!("{}: {warning}", it.member.name)));
        warnings.push(own);
    }
    let mut general = Vec::new();
    let login = match prepared.members.first() {
        Some(first) => build::login(world, &first.prepared, &mut general).await,
        None => None,
    };
    let docker = Arc::new(Docker { login });
    for (it, warnings) in prepared.members.iter_mut().zip(&mut warnings) {
        build::before(&mut it.prepared, &docker, &world.interrupts, warnings).await;
    }
    let preparation = begun.elapsed();
    let built = engine_runs(world, settings, group, &mut prepared, &docker, &mut general).await;

    let mut outcome = GroupOutcome {
        status: BuildStatus::Failed,
        exit_code: 0,
        members: Vec::new(),
        traffic: Traffic::default(),
        duration: Duration::ZERO,
        preparation,
        cache_export: Duration::ZERO,
        warnings: Vec::new(),
    };
    let built = match built {
        Err(process::Error::Interrupted { signal }) => {
            outcome.status = BuildStatus::Interrupted;
            outcome.exit_code = 128 + signal;
            None
        }
        Err(other) => return Err(other.into()),
        Ok(built) => {
            outcome.exit_code = built.built.code;
            outcome.traffic = built.built.steps.traffic();
            if built.built.code == 0 {
                outcome.status = BuildStatus::Succeeded;
            }
            Some(built)
        }
    };
    let is_one = prepared.members.len() == 1;
    for (it, mut warnings) in prepared.members.iter().zip(warnings) {
        let mut member = build::planned(&it.member.request, &it.prepared);
        member.status = outcome.status;
        member.exit_code = outcome.exit_code;
        if let Some(whole) = &built {
            let runner = Runner {
                world,
                engine: &prepared.engine,
                docker: &docker,
                spooled: it.prepared.source.spooled.as_ref().map(tempfile::NamedTempFile::path),
                to_stdout: false,
            };
            let own = whole.of(&it.member.name, is_one);
            let (request, prepared) = (&it.member.request, &it.prepared);
            build::finish(request, prepared, runner, &docker, &own, &mut member, &mut warnings).await?;
        }
        member.warnings = warnings;
        member.preparation = preparation;
        member.duration = begun.elapsed();
        outcome.cache_export += member.cache_export;
        outcome.members.push(MemberOutcome { name: it.member.name.clone(), outcome: member });
    }
    outcome.traffic.asked = prepared.client.traffic().bytes_in;
    outcome.warnings = general;
    outcome.duration = begun.elapsed();
    tell::group(world, settings, group.quiet, &outcome)?;
    Ok(outcome)
}

/// What the engine did for all members.
struct Whole {
    built: Built,
    results: BTreeMap<String, Results>,
}

impl Whole {
    /// What it did for one. bake puts a target's name before its steps only where it builds several.
    fn of(&self, member: &str, is_one: bool) -> Built {
        let steps = match is_one {
            true => self.built.steps.clone(),
            false => self.built.steps.of_target(member),
        };
        Built {
            code: self.built.code,
            steps,
            errors: self.built.errors.clone(),
            results: self.results.get(member).cloned().unwrap_or_default(),
        }
    }
}

/// The engine's run, shown as it goes; once more where reading a cache made it fail, or a push may pass.
async fn engine_runs(
    world: &World,
    settings: &Settings,
    group: &Group,
    prepared: &mut PreparedGroup,
    docker: &Docker,
    general: &mut Vec<String>,
) -> Result<Whole, process::Error> {
    let printer = world.printer;
    let files = tempfile::Builder::new()
        .prefix("layerlift-")
        .tempdir()
        .map_err(|source| process::Error::Failed { program: "docker".to_owned(), source })?;
    let own_metadata = files.path().join("metadata.json");
    let metadata = group.metadata_file.as_deref();
    let buildx = Buildx::find(&world.environment);
    let provider = prepared.members.first().map(|it| it.prepared.facts.pipeline.provider);
    let mut sections = Sections::new(provider.unwrap_or(Provider::Local));
    let folder = cache_folder(settings, prepared);
    let description = format!("building with \"{}\" instance", prepared.engine.builder);
    let format = match group.is_to_check {
        true => Format::Plain,
        false => engine_run::format(&prepared.engine),
    };
    let (mut pushes, mut number) = (1, 0);
    loop {
        number += 1;
        let overrides = prepared.overrides();
        let own = metadata.is_none().then_some(own_metadata.as_path());
        let added = bake::added(&prepared.engine, &overrides, folder.as_deref());
        let command = docker.applied(group.bake.run(&buildx, format, added, own));
        let mut display = Display::of(&shown(group), format, description.clone(), world);
        let is_log = display.is_log();
        if is_log {
            let name = format!("layerlift_build_{number}");
            printer.message(&sections.open(&name, "layerlift: build", clock::now()));
        }
        let runner = Runner { world, engine: &prepared.engine, docker, spooled: None, to_stdout: true };
        let watched = runner.watch(&command, format, &mut display).await;
        let is_quiet = matches!(display, Display::Quiet);
        display.finish(printer);
        if is_log {
            printer.message(&sections.close(clock::now()));
        }
        let (code, steps, messages) = watched?;
        let mut errors: Vec<String> = steps.failures().into_iter().map(|failure| failure.error).collect();
        errors.extend(messages);
        let results = match code {
            0 => Results::of_bake(metadata.unwrap_or(&own_metadata)),
            _ => BTreeMap::new(),
        };
        let whole = Whole { built: Built { code, steps, errors, results: Results::default() }, results };
        if code == 0 {
            return Ok(whole);
        }
        let mut again = |warning: String| {
            printer.warning(&warning);
            general.push(warning);
        };
        let mut blamed = Vec::new();
        for it in &mut prepared.members {
            let plan = &mut it.prepared.plan;
            if let Some(reference) = build::blamed(plan, &it.prepared.facts, &whole.built) {
                blamed.push(reference.to_string());
                plan.forget_cache();
            }
        }
        if !blamed.is_empty() {
            again(format!(
                "a layer behind {} could not be read; building once more without it",
                blamed.join(", ")
            ));
        } else if retry::push_may_pass(&whole.built.errors) && pushes < build::PUSH_TRIES {
            let left = build::PUSH_TRIES - 1;
            again(format!("an image could not be pushed; trying again ({pushes} of {left})"));
            tokio::time::sleep(Duration::from_secs(u64::from(pushes))).await;
            pushes += 1;
        } else {
            if is_quiet {
                let said = whole.built.errors.iter().map(|error| error.trim_end());
                said.filter(|error| !error.is_empty())
                    .for_each(|error| printer.message(&format!("{error}\n")));
            }
            return Ok(whole);
        }
    }
}

/// What the display needs to know of the line.
fn shown(group: &Group) -> Request {
    let mut flags: Vec<Flag> =
        group.progress.iter().map(|value| Flag::text("progress", value.clone())).collect();
    if group.quiet {
        flags.push(Flag::on("quiet"));
    }
    Request { flags, context: Context::Folder(".".into()) }
}

/// The folder of the `local` strategy, where a member uses it.
pub fn cache_folder(settings: &Settings, prepared: &PreparedGroup) -> Option<PathBuf> {
    let is_local = prepared.members.iter().any(|it| it.prepared.plan.strategy == Strategy::Local);
    is_local.then(|| settings.cache_dir.clone())
}
