//! The runs of the engine that build a group, and what follows them for each member.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use crate::base::clock;
use crate::base::process;
use crate::engine::bake;
use crate::engine::buildx::Buildx;
use crate::engine::docker::Docker;
use crate::engine::line::Line;
use crate::engine::progress::{Format, Steps};
use crate::model::modes::Modes;
use crate::model::outcome::{BuildStatus, GroupOutcome, MemberOutcome, Outcome, Traffic, Written};
use crate::model::pipeline::Provider;
use crate::model::request::{Context, Flag, Request};
use crate::model::settings::{Settings, Strategy};
use crate::plan::group::Dockerfiles;
use crate::plan::retry;
use crate::plan::steps::Facts;
use crate::registry::Client;
use crate::report::file;
use crate::report::section::Sections;
use crate::workflow::build;
use crate::workflow::decide::Prepared;
use crate::workflow::display::Display;
use crate::workflow::engine_run::{self, Built, Results, Runner};
use crate::workflow::error::Error;
use crate::workflow::group::decide::{AnsweredMember, DecidedGroup};
use crate::workflow::group::define::Group;
use crate::workflow::group::links::Links;
use crate::workflow::group::prepare::{PreparedGroup, PreparedMember};
use crate::workflow::group::targets::{self, Known};
use crate::workflow::reuse::files;
use crate::workflow::reuse::store::{self, NotKept};
use crate::workflow::stand_in::{self, StandIn};
use crate::workflow::tell;
use crate::workflow::world::World;
use crate::workflow::{account, attempts, link};

/// Builds what was decided to be built, and tells of the whole group. The outcome is reported already; what is left to the
/// caller is the exit code. `begun`: when the first question was asked.
pub async fn run(
    world: &World,
    settings: &Settings,
    group: &Group,
    decided: DecidedGroup,
    begun: Instant,
) -> Result<GroupOutcome, Error> {
    let DecidedGroup { surroundings, answered, built, client } = decided;
    let mut outcome = GroupOutcome {
        status: BuildStatus::Succeeded,
        exit_code: 0,
        members: Vec::new(),
        traffic: Traffic::default(),
        duration: Duration::ZERO,
        preparation: begun.elapsed(),
        cache_export: Duration::ZERO,
        warnings: Vec::new(),
    };
    let mut metadata = serde_json::Map::new();
    match built {
        Some(prepared) => {
            build_left(world, settings, group, prepared, &client, begun, (&mut outcome, &mut metadata))
                .await?;
        }
        None => outcome.warnings = surroundings.warnings,
    }
    for AnsweredMember { member, wanted, answer, outcome: given } in answered {
        metadata.insert(member.name.clone(), files::metadata(&answer.root, &wanted));
        let given = given.map(|given| MemberOutcome { name: member.name, outcome: given });
        outcome.members.extend(given);
    }
    account::remember_answers(world, outcome.members.iter().map(|it| &it.outcome));
    let place = |name: &str| group.members.iter().position(|member| member.name == name);
    outcome.members.sort_by_key(|it| place(&it.name));
    if let Some(path) = group.metadata_file.as_ref().filter(|_| outcome.status == BuildStatus::Succeeded) {
        let text = format!("{:#}", serde_json::Value::Object(metadata));
        file::replace(&world.folder.join(path), text.as_bytes())?;
    }
    outcome.traffic.asked = client.traffic().bytes_in;
    outcome.duration = begun.elapsed();
    tell::group(world, settings, group.quiet, &outcome)?;
    Ok(outcome)
}

/// Builds what no image answers for.
async fn build_left(
    world: &World,
    settings: &Settings,
    group: &Group,
    mut prepared: PreparedGroup,
    client: &Client,
    begun: Instant,
    (outcome, metadata): (&mut GroupOutcome, &mut serde_json::Map<String, serde_json::Value>),
) -> Result<(), Error> {
    let began = clock::now() - SignedDuration::try_from(begun.elapsed()).unwrap_or_default();
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
    let stand_ins = stand_ins(world, group, &mut prepared, &mut general).await;
    let links = Links::make(&mut prepared);
    let names: Vec<String> = prepared.members.iter().map(|it| it.member.name.clone()).collect();
    let preparation = begun.elapsed();
    outcome.preparation = preparation;
    if !group.quiet {
        for it in &prepared.members {
            tell::prediction(world, Some(&it.member.name), &it.prepared.plan.explanation);
        }
    }
    let mut built: BTreeMap<usize, Built> = BTreeMap::new();
    let mut sections = sections(&prepared);
    let mut waves: VecDeque<Vec<usize>> = prepared.waves().into();
    let is_whole = |members: &[usize]| members.len() == group.members.len();
    while let Some(members) = waves.pop_front() {
        let is_only = is_whole(&members);
        let way = Way { settings, group, docker: &docker, stand_ins: &stand_ins, is_only };
        match engine_runs(world, way, &members, &mut prepared, &mut sections, &mut general).await {
            Err(process::Error::Interrupted { signal }) => {
                outcome.status = BuildStatus::Interrupted;
                outcome.exit_code = 128 + signal;
            }
            Err(other) => return Err(other.into()),
            Ok(whole) => {
                outcome.exit_code = whole.code;
                if whole.code != 0 {
                    outcome.status = BuildStatus::Failed;
                }
                let traffic = whole.steps.traffic();
                outcome.traffic.context += traffic.context;
                outcome.traffic.fetched += traffic.fetched;
                for index in &members {
                    built.insert(*index, whole.of(&prepared.members[*index].member.name));
                }
                // buildx tells of what was only taken in, too, and of that without a digest.
                let is_own = |name: &String| {
                    let mut others = (0..names.len()).filter(|index| !members.contains(index));
                    !others.any(|index| names[index] == *name)
                };
                metadata.extend(whole.metadata.into_iter().filter(|(name, _)| is_own(name)));
                let others = links.refuted(client, &mut prepared, &members, &built, |index, warning| {
                    let name = &names[index];
                    world.printer.warning(&format!("{name}: {warning}"));
                    warnings[index].push(warning);
                });
                let others = others.await;
                if !others.is_empty() && whole.code != 0 {
                    // What does not fail by itself may have been ended by what does.
                    (outcome.status, outcome.exit_code) = (BuildStatus::Succeeded, 0);
                    waves.push_front(members);
                } else if !others.is_empty() {
                    waves.push_front(others);
                }
            }
        }
        if outcome.status != BuildStatus::Succeeded {
            break;
        }
    }
    let mut finished: Vec<Outcome> = Vec::new();
    for (index, it) in prepared.members.iter().enumerate() {
        let mut member = account::planned(&it.member.request, &it.prepared);
        (member.status, member.exit_code) = (outcome.status, outcome.exit_code);
        if let Some(own) = built.get(&index) {
            (member.preparation, member.duration) = (preparation, begun.elapsed());
            build::take(&it.prepared, own, &mut member);
            if own.code != 0 {
                member.status = BuildStatus::Failed;
            }
        }
        finished.push(member);
    }
    let lasted = begun.elapsed();
    let done = prepared.members.iter().zip(&mut finished).map(|(it, outcome)| link::Done {
        request: &it.member.request,
        prepared: &it.prepared,
        outcome,
        beside: None,
    });
    link::remember(world, done.collect(), lasted).await;
    let places = places(world, &prepared, &stand_ins);
    for (index, ((it, warnings), member)) in
        prepared.members.iter().zip(&mut warnings).zip(&mut finished).enumerate()
    {
        if let Some(own) = built.get(&index) {
            let alone = prepared.alone(&it.member, &group.bake, &places);
            let (line, spooled) = match &alone {
                Some(alone) => (Line::Bake(alone), None),
                None => (Line::Docker, it.prepared.source.spooled.as_ref()),
            };
            let runner = Runner {
                world,
                engine: &prepared.engine,
                docker: &docker,
                line,
                spooled: spooled.map(tempfile::NamedTempFile::path),
                stand_in: &stand_ins[index],
                to_stdout: false,
                pushed: None,
            };
            let (request, prepared) = (&it.member.request, &it.prepared);
            build::finish(request, prepared, runner, &docker, own, member, warnings).await?;
        }
    }
    let kept = store(world, client, &docker, &prepared, &built, &finished, began).await;
    for (((it, kept), mut member), mut warnings) in
        prepared.members.iter().zip(kept).zip(finished).zip(warnings)
    {
        let name = &it.member.name;
        let warn = |warning: &str| world.printer.warning(&format!("{name}: {warning}"));
        if let Some(kept) = kept {
            build::stored(kept, &mut member, &mut warnings, warn);
        }
        member.warnings = warnings;
        account::remember(world, &it.prepared.facts, &member);
        member.preparation = preparation;
        member.duration = begun.elapsed();
        outcome.cache_export += member.cache_export;
        if member.status == BuildStatus::Interrupted {
            (outcome.status, outcome.exit_code) = (member.status, member.exit_code);
        }
        outcome.members.push(MemberOutcome { name: name.clone(), outcome: member });
    }
    outcome.warnings = general;
    Ok(())
}

/// Keeps the images for later builds, all at once; what became of each.
async fn store(
    world: &World,
    client: &Client,
    docker: &Docker,
    prepared: &PreparedGroup,
    built: &BTreeMap<usize, Built>,
    finished: &[Outcome],
    begun: Timestamp,
) -> Vec<Option<Result<Option<Written>, NotKept>>> {
    let is_kept = |it: &PreparedMember, outcome: &Outcome| {
        it.prepared.plan.store.is_some() && outcome.status == BuildStatus::Succeeded
    };
    let described: Vec<_> = prepared.members.iter().map(PreparedMember::described).collect();
    let any = prepared.members.iter().zip(finished).any(|(it, outcome)| is_kept(it, outcome));
    let known = match any {
        true => targets::needed(world, client, &described, &prepared.engine.platform).await,
        false => Known::default(),
    };
    let stores = prepared.members.iter().zip(finished).enumerate().map(|(index, (it, outcome))| {
        let (known, below, member) = (&known, known.below(&described, &it.member), &it.prepared);
        async move {
            let place = member.plan.store.as_ref().filter(|_| is_kept(it, outcome))?;
            let built = store::Built {
                request: &it.member.request,
                settings: &it.settings,
                source: &member.source,
                facts: &member.facts,
                client,
                docker,
                steps: &built.get(&index)?.steps,
                stages: &outcome.stages,
                digest: outcome.digest.as_deref(),
                begun,
                targets: &known.targets,
                below: &below,
            };
            Some(store::store(world, place, built).await)
        }
    });
    join_all(stores).await
}

/// What is the same for every run.
#[derive(Clone, Copy)]
struct Way<'a> {
    settings: &'a Settings,
    group: &'a Group,
    docker: &'a Docker,
    /// What stands in for the folders of every member.
    stand_ins: &'a [StandIn],
    /// There is one run, which is the line as it was given.
    is_only: bool,
}

/// What one run did for its members.
struct Whole {
    code: i32,
    steps: Steps,
    errors: Vec<String>,
    /// What buildx tells of every target.
    metadata: serde_json::Map<String, serde_json::Value>,
    /// How many targets were solved.
    targets: usize,
}

impl Whole {
    /// What it did for one. bake puts a target's name before its steps only where it builds several.
    fn of(&self, member: &str) -> Built {
        let steps = match self.targets {
            1 => self.steps.clone(),
            _ => self.steps.of_target(member),
        };
        let results = Results::of_target(self.metadata.get(member));
        Built { code: self.code, steps, errors: self.errors.clone(), results }
    }
}

fn sections(prepared: &PreparedGroup) -> Numbered {
    let provider = prepared.members.first().map(|it| it.prepared.facts.pipeline.provider);
    Numbered { sections: Sections::new(provider.unwrap_or(Provider::Local)), number: 0 }
}

/// Sections of the log, each with a name of its own.
struct Numbered {
    sections: Sections,
    number: u32,
}

impl Numbered {
    fn open(&mut self) -> String {
        self.number += 1;
        let name = format!("layerlift_build_{}", self.number);
        self.sections.open(&name, "layerlift: build", clock::now())
    }
}

/// A run of bake, shown as it goes; once more where reading a cache made it fail, or a push may pass.
async fn engine_runs(
    world: &World,
    way: Way<'_>,
    members: &[usize],
    prepared: &mut PreparedGroup,
    sections: &mut Numbered,
    general: &mut Vec<String>,
) -> Result<Whole, process::Error> {
    let (printer, group) = (world.printer, way.group);
    let files = tempfile::Builder::new()
        .prefix("layerlift-")
        .tempdir()
        .map_err(|source| process::Error::Failed { program: "docker".to_owned(), source })?;
    let metadata = files.path().join("metadata.json");
    let buildx = Buildx::find(&world.environment);
    let folder = cache_folder(way.settings, prepared);
    let description = format!("building with \"{}\" instance", prepared.engine.builder);
    let format = match group.is_to_check {
        true => Format::Plain,
        false => Format::of(&prepared.engine),
    };
    let bake = match way.is_only {
        true => group.bake.clone(),
        false => group.bake.of(&prepared.names(members)),
    };
    let nothing = StandIn::default();
    let mut pushes = 1;
    // What it did before a push failed.
    let mut done = Steps::default();
    loop {
        let wave = prepared.wave(members);
        let overrides = [wave.overrides, places(world, prepared, way.stand_ins)].concat();
        let added = bake::added(&prepared.engine, &overrides, folder.as_deref());
        let for_us_alone = group.metadata_file.is_none();
        let mut command = way.docker.applied(bake.run(&buildx, format, added, &metadata, for_us_alone));
        command.environment.extend(variables(prepared, way.stand_ins));
        let mut display = Display::of(&shown(group), format, description.clone(), world);
        let (is_log, is_quiet) = (display.is_log(), matches!(display, Display::Quiet));
        if is_log {
            printer.message(&sections.open());
        }
        let runner = Runner {
            world,
            engine: &prepared.engine,
            docker: way.docker,
            line: Line::Docker,
            spooled: None,
            stand_in: &nothing,
            to_stdout: true,
            pushed: None,
        };
        let watched = runner.watch(&command, format, &mut display).await;
        display.finish(printer);
        if is_log {
            printer.message(&sections.sections.close(clock::now()));
        }
        let (code, steps, messages) = watched?;
        let steps = steps.after(&done);
        let mut errors: Vec<String> = steps.failures().into_iter().map(|failure| failure.error).collect();
        errors.extend(messages);
        if code == 0 {
            let metadata = engine_run::metadata(&metadata);
            return Ok(Whole { code, steps, errors, metadata, targets: wave.targets });
        }
        let mut again = |warning: String| {
            printer.warning(&warning);
            general.push(warning);
        };
        let mut blamed = Vec::new();
        for index in members {
            let it = &mut prepared.members[*index].prepared;
            if let Some(reference) = attempts::blamed(&it.plan, &it.facts, &errors) {
                blamed.push(reference.to_string());
                it.plan.forget_cache();
            }
        }
        if !blamed.is_empty() {
            again(format!(
                "a layer behind {} could not be read; building once more without it",
                blamed.join(", ")
            ));
        } else if retry::push_may_pass(&errors) && pushes < attempts::PUSH_TRIES {
            let left = attempts::PUSH_TRIES - 1;
            again(format!("an image could not be pushed; trying again ({pushes} of {left})"));
            tokio::time::sleep(Duration::from_secs(u64::from(pushes))).await;
            pushes += 1;
            done = steps;
        } else {
            if is_quiet {
                let said = errors.iter().map(|error| error.trim_end()).filter(|error| !error.is_empty());
                said.for_each(|error| printer.message(&format!("{error}\n")));
            }
            let metadata = serde_json::Map::new();
            return Ok(Whole { code, steps, errors, metadata, targets: wave.targets });
        }
    }
}

/// What the engine is given in the place of the members' folders, for each.
async fn stand_ins(
    world: &World,
    group: &Group,
    prepared: &mut PreparedGroup,
    general: &mut Vec<String>,
) -> Vec<StandIn> {
    let contexts: Vec<_> = prepared.members.iter().map(|it| it.prepared.contexts.clone()).collect();
    let made = match group.bake.address() {
        // Its folders are there, not here.
        Some(_) => Err("the definition is at an address".to_owned()),
        // It would be asked for the right to read a shadow, not for that to read what the shadow is of.
        None if group.is_to_check => Err("bake has to ask before it reads the folders".to_owned()),
        None => stand_in::make(world, &contexts, general).await,
    };
    made.unwrap_or_else(|reason| {
        for Prepared { facts: Facts { modes, .. }, plan, .. } in
            prepared.members.iter_mut().map(|it| &mut it.prepared).filter(|it| it.facts.modes.normalized)
        {
            if modes.changes() {
                // It was to be kept as an image of other modes.
                plan.store = None;
                plan.link.forget("the modes of its files are not those that git records");
            }
            *modes = Modes::untouched(reason.clone());
        }
        vec![StandIn::default(); contexts.len()]
    })
}

/// The members' Dockerfiles and folders, as overrides. A member that is built for another's sake reads the same ones.
fn places(world: &World, prepared: &PreparedGroup, stand_ins: &[StandIn]) -> Vec<String> {
    let all = prepared.members.iter().zip(stand_ins);
    let folders = all.flat_map(|(it, stand_in)| stand_in.overrides(&it.member.name)).collect();
    let Dockerfiles { own, replaced } = prepared.dockerfiles(&world.folder);
    // Of several for one target the last stands.
    [own, folders, replaced].concat()
}

/// Variables that tell git where the contexts belong, where that is one place for all.
fn variables(prepared: &PreparedGroup, stand_ins: &[StandIn]) -> Vec<(String, Option<OsString>)> {
    let mut each = stand_ins.iter().map(|stand_in| stand_in.variables(&prepared.engine));
    let first = each.next().unwrap_or_default();
    if each.all(|other| other == first) { first } else { Vec::new() }
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
