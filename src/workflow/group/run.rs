//! The runs of the engine that build a group, and what follows them for each member.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use crate::base::clock;
use crate::base::process;
use crate::engine::docker::Docker;
use crate::engine::line::Line;
use crate::model::outcome::{BuildStatus, GroupOutcome, MemberOutcome, Outcome, Traffic, Written};
use crate::model::pipeline::Provider;
use crate::model::settings::Settings;
use crate::registry::Client;
use crate::report::file;
use crate::report::section::Sections;
use crate::workflow::build;
use crate::workflow::engine_run::{Built, Runner};
use crate::workflow::error::Error;
use crate::workflow::group::bake_run::{self, Way};
use crate::workflow::group::decide::{AnsweredMember, DecidedGroup};
use crate::workflow::group::define::Group;
use crate::workflow::group::links::Links;
use crate::workflow::group::places;
use crate::workflow::group::prepare::{PreparedGroup, PreparedMember};
use crate::workflow::group::targets::{self, Known};
use crate::workflow::pushed::Beside;
use crate::workflow::reuse::files;
use crate::workflow::reuse::store::{self, NotKept};
use crate::workflow::tell;
use crate::workflow::world::World;
use crate::workflow::{account, link};

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
    let stand_ins = places::stand_ins(world, group, &mut prepared, &mut general).await;
    let links = Links::make(&mut prepared);
    let names: Vec<String> = prepared.members.iter().map(|it| it.member.name.clone()).collect();
    let preparation = begun.elapsed();
    outcome.preparation = preparation;
    if !group.quiet {
        for it in &prepared.members {
            tell::prediction(world, Some(&it.member.name), &it.prepared.plan.explanation);
        }
    }
    let plans = prepared.members.iter().map(|it| (&it.member.request, &it.prepared.plan));
    let beside = Beside::of(client, plans);
    let mut built: BTreeMap<usize, Built> = BTreeMap::new();
    let provider = prepared.members.first().map(|it| it.prepared.facts.pipeline.provider);
    let mut sections = Sections::new(provider.unwrap_or(Provider::Local));
    let mut waves: VecDeque<Vec<usize>> = prepared.waves().into();
    let is_whole = |members: &[usize]| members.len() == group.members.len();
    while let Some(members) = waves.pop_front() {
        let is_only = is_whole(&members);
        let way =
            Way { settings, group, docker: &docker, stand_ins: &stand_ins, pushed: beside.tell(), is_only };
        match bake_run::run(world, way, &members, &mut prepared, &mut sections, &mut general).await {
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
    });
    link::remember(world, done.collect(), beside, lasted).await;
    let places = places::places(world, &prepared, &stand_ins);
    for (index, ((it, warnings), member)) in
        prepared.members.iter().zip(&mut warnings).zip(&mut finished).enumerate()
    {
        if let Some(own) = built.get(&index) {
            let alone = prepared.alone(it, &group.bake, &places);
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
