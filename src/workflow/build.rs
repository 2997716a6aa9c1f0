//! The spine: request, facts, plan, run, outcome, report.

use std::sync::Arc;
use std::time::Instant;

use jiff::SignedDuration;

use crate::base::clock;
use crate::base::process;
use crate::engine::docker::Docker;
use crate::engine::line::Line;
use crate::engine::login::{Credential, Login};
use crate::model::modes::Modes;
use crate::model::outcome::{BuildStatus, Outcome, StageOutcome, Written};
use crate::model::reference::Repository;
use crate::model::request::Request;
use crate::model::settings::Settings;
use crate::plan::explain::Reading;
use crate::plan::reuse::{self, Looked};
use crate::plan::steps::Keep;
use crate::registry::{Client, Source as CredentialSource};
use crate::report::section::Sections;
use crate::workflow::before;
use crate::workflow::builder::Act;
use crate::workflow::decide::{Prepared, Way, prepare_after};
use crate::workflow::engine_run::{Built, Runner};
use crate::workflow::error::Error;
use crate::workflow::export::pending;
use crate::workflow::facts::{self, Surroundings};
use crate::workflow::inputs::NO_TARGETS;
use crate::workflow::keep::{self, Finished};
use crate::workflow::pushed::Beside;
use crate::workflow::reuse::give::{self, Asked};
use crate::workflow::reuse::look::{Answer, Search};
use crate::workflow::reuse::store::{self, NotKept};
use crate::workflow::source::{self, Source};
use crate::workflow::stand_in::{self, StandIn};
use crate::workflow::world::World;
use crate::workflow::{account, attempts, link, prepare, records, tell};

/// What the report gives as the exit code where the engine built and the image could not be pushed; see
/// `cli::failure::ExitCode::REGISTRY`.
const PUSH_FAILED: i32 = 74;

/// Builds. The outcome is reported already; what is left to the caller is the exit code.
pub async fn build(world: &World, request: &Request, settings: &Settings) -> Result<Outcome, Error> {
    tell::check(world, settings)?;
    let begun = Instant::now();
    let source = source::read(request, std::io::stdin().lock())?;
    let (outcome, failure) = carry_out(world, request, settings, source, begun).await?;
    tell::outcome(world, request, settings, &outcome)?;
    failure.map_or(Ok(outcome), Err)
}

/// Builds, or answers the build with an image that is there, and reports nothing. What fails after the image was built
/// comes beside the outcome.
pub(super) async fn carry_out(
    world: &World,
    request: &Request,
    settings: &Settings,
    source: Source,
    begun: Instant,
) -> Result<(Outcome, Option<Error>), Error> {
    let client = facts::registry(world, settings)?;
    let learnt = before::learn(world, request, settings, &source, &client);
    let mut before = world.unless_interrupted(learnt).await?;
    if let Search { wanted: Ok(wanted), early: Some(early) } = &mut before.search
        && let Ok(answer) = &early.found
    {
        let Surroundings { pipeline, scopes, warnings, .. } = &mut before.surroundings;
        let asked = Asked { request, wanted, client: &client, pipeline, scope: scopes.own.as_ref(), begun };
        match give(world, asked, answer, warnings).await? {
            Some(outcome) => return Ok((outcome, None)),
            None => early.found = Err(Looked::absent("the image of the same inputs could not be given")),
        }
    }
    let way = Way { source, client, before, act: Act::Make };
    let mut prepared = prepare_after(world, request, settings, way).await?;
    if let (Some(answer), Ok(wanted)) =
        (prepared.answer.take(), reuse::wanted(request, settings, &prepared.facts.pipeline))
    {
        let Prepared { facts, client, plan, .. } = &mut prepared;
        let (pipeline, scope) = (&facts.pipeline, facts.scopes.own.as_ref());
        let asked = Asked { request, wanted: &wanted, client, pipeline, scope, begun };
        if let Some(outcome) = give(world, asked, &answer, &mut plan.warnings).await? {
            return Ok((outcome, None));
        }
    }
    carry_out_prepared(world, request, settings, prepared, begun).await
}

/// Answers the build. Where that does not work, the engine builds, and a warning says why.
async fn give(
    world: &World,
    asked: Asked<'_>,
    answer: &Answer,
    warnings: &mut Vec<String>,
) -> Result<Option<Outcome>, Error> {
    let given = async { Ok::<_, Error>(give::give(world, asked, answer).await) };
    match world.unless_interrupted(given).await? {
        Ok(outcome) => {
            account::remember_answers(world, std::iter::once(&outcome));
            Ok(Some(Outcome { warnings: std::mem::take(warnings), ..outcome }))
        }
        Err(reason) => {
            warnings.push(format!("{} does not answer the build: {reason}", answer.reference));
            Ok(None)
        }
    }
}

/// The same, where it is decided already.
pub(super) async fn carry_out_prepared(
    world: &World,
    request: &Request,
    settings: &Settings,
    mut prepared: Prepared,
    begun: Instant,
) -> Result<(Outcome, Option<Error>), Error> {
    let began = clock::now() - SignedDuration::try_from(begun.elapsed()).unwrap_or_default();
    let mut warnings = std::mem::take(&mut prepared.plan.warnings);
    warnings.iter().for_each(|warning| world.printer.warning(warning));
    let docker = Arc::new(Docker { login: login(world, &prepared, &mut warnings).await });
    before(&mut prepared, &docker, &world.interrupts, &mut warnings).await;
    let stand_in = stand_in(world, &mut prepared, &mut warnings).await;
    let mut rewritten = link::rewrite(&mut prepared);
    let preparation = begun.elapsed();
    if is_told(request) {
        tell::prediction(world, None, &prepared.plan.explanation);
    }

    let beside = Beside::of(&prepared.client, std::iter::once((request, &prepared.plan)));
    let later = Runner {
        world,
        engine: &prepared.facts.engine,
        docker: &docker,
        line: Line::of(prepared.buildctl.as_ref()),
        spooled: prepared.source.spooled.as_ref().map(tempfile::NamedTempFile::path),
        stand_in: &stand_in,
        to_stdout: request.writes_to_stdout(),
        pushed: None,
    };
    let runner = Runner { pushed: Some(beside.tell()), ..later };
    let mut sections = Sections::new(prepared.facts.pipeline.provider);
    let (facts, plan) = (&prepared.facts, &mut prepared.plan);
    let mut built = attempts::run(request, facts, plan, runner, &mut sections, &mut warnings).await;
    if let Ok(done) = &built
        && let Some(ours) = &rewritten
        && let Err(reason) = link::check(&prepared.client, request, done, &plan.link, ours).await
        && let Some(rewritten) = rewritten.take()
    {
        let warning = format!("building once more without links: {reason}");
        world.printer.warning(&warning);
        warnings.push(warning);
        link::restore(plan, &rewritten, &reason);
        built = attempts::run(request, facts, plan, runner, &mut sections, &mut warnings).await;
    }
    let mut outcome = account::planned(request, &prepared);
    outcome.preparation = preparation;
    let mut failure = None;
    match built {
        Err(process::Error::Interrupted { signal }) => {
            outcome.status = BuildStatus::Interrupted;
            outcome.exit_code = 128 + signal;
        }
        Err(other) => return Err(other.into()),
        Ok(built) => {
            // As far as a record can tell.
            outcome.duration = begun.elapsed();
            take(&prepared, &built, &mut outcome);
            let lasted = outcome.duration;
            let done = link::Done { request, prepared: &prepared, outcome: &mut outcome };
            link::remember(world, vec![done], beside, lasted).await;
            failure =
                finish(request, &prepared, later, &docker, &built, &mut outcome, &mut warnings).await.err();
            if outcome.pending.is_some() && failure.is_none() {
                let left = pending::leave(
                    world,
                    settings,
                    request,
                    &prepared,
                    rewritten.as_ref(),
                    &outcome,
                    &built.steps,
                );
                if let Err(reason) = left.await {
                    outcome.pending = None;
                    let warning = format!("the cache cannot be left to `layerlift cache flush`: {reason}");
                    world.printer.warning(&warning);
                    warnings.push(warning);
                }
            }
            if let (Some(place), BuildStatus::Succeeded) = (&prepared.plan.store, outcome.status) {
                let finished = store::Built {
                    request,
                    settings,
                    source: &prepared.source,
                    facts: &prepared.facts,
                    client: &prepared.client,
                    docker: &docker,
                    steps: &built.steps,
                    stages: &outcome.stages,
                    digest: outcome.digest.as_deref(),
                    begun: began,
                    targets: &NO_TARGETS,
                    below: &[],
                };
                let kept = store::store(world, place, finished).await;
                stored(kept, &mut outcome, &mut warnings, |warning| world.printer.warning(warning));
            }
        }
    }
    outcome.traffic.asked = prepared.client.traffic().bytes_in;
    outcome.warnings = warnings;
    outcome.duration = begun.elapsed();
    account::remember(world, &prepared.facts, &outcome);
    Ok((outcome, failure))
}

/// Takes into the outcome what became of keeping the image for later builds.
pub(super) fn stored(
    kept: Result<Option<Written>, NotKept>,
    outcome: &mut Outcome,
    warnings: &mut Vec<String>,
    warn: impl Fn(&str),
) {
    match kept {
        Ok(written) => outcome.written.extend(written),
        // Nothing went wrong: it is not the image that its inputs would make again.
        Err(NotKept::Doubt(reason)) => {
            let note = format!("the image will not answer later builds: {reason}");
            outcome.explanation.get_or_insert_default().notes.push(note);
        }
        Err(NotKept::Registry(error)) => {
            let warning = format!("the image will not answer later builds: {error}");
            warn(&warning);
            warnings.push(warning);
        }
    }
}

/// Whether the log is told anything beside the result.
fn is_told(request: &Request) -> bool {
    let is_quiet = matches!(request.last("progress"), Some("quiet" | "none"));
    !request.is_on("quiet") && !request.is_question() && !is_quiet
}

/// What the engine is given in the place of folders whose modes are not those that git records.
pub(super) async fn stand_in(world: &World, prepared: &mut Prepared, warnings: &mut Vec<String>) -> StandIn {
    match stand_in::make(world, std::slice::from_ref(&prepared.contexts), warnings).await {
        Ok(mut made) => made.pop().unwrap_or_default(),
        Err(reason) => {
            prepared.facts.modes = Modes::untouched(reason);
            // It was to be kept as an image of other modes; with these, it may be another tree that is linked.
            prepared.plan.store = None;
            prepared.plan.link.forget("the modes of its files are not those that git records");
            StandIn::default()
        }
    }
}

/// Takes what the engine did into the outcome.
pub(super) fn take(prepared: &Prepared, built: &Built, outcome: &mut Outcome) {
    outcome.exit_code = built.code;
    outcome.stages = built.steps.stages(&account::labels(&prepared.facts));
    prepared.plan.link.order.iter().for_each(|order| order.restore(&mut outcome.stages));
    outcome.traffic = built.steps.traffic();
    outcome.digest = built.results.digest.as_ref().map(ToString::to_string);
    if prepared.plan.reading != Reading::Unknown {
        outcome.explanation = Some(account::conclusion(prepared, outcome));
    }
    if built.code == 0 {
        outcome.status = BuildStatus::Succeeded;
        link::tell(prepared.facts.inputs.as_deref().ok(), outcome);
    }
}

/// After a build that succeeded, whose outcome has what the engine did: pushes and keeps what is to be kept.
pub(super) async fn finish(
    request: &Request,
    prepared: &Prepared,
    runner: Runner<'_>,
    docker: &Arc<Docker>,
    built: &Built,
    outcome: &mut Outcome,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    if built.code != 0 {
        return Ok(());
    }
    let done = after(request, prepared, runner, docker, built, outcome, warnings).await;
    let signal = *runner.world.interrupts.borrow();
    if done.is_err() {
        outcome.status = BuildStatus::Failed;
        outcome.exit_code = PUSH_FAILED;
    } else if signal > 0 {
        // The image is there; what was to follow may not be.
        outcome.status = BuildStatus::Interrupted;
        outcome.exit_code = 128 + signal;
    }
    done
}

/// A login for the engine's client, where there is one that its own configuration lacks: the CI job's token, or
/// `DOCKER_AUTH_CONFIG`, which Docker clients before 28 do not read.
pub(super) async fn login(world: &World, prepared: &Prepared, warnings: &mut Vec<String>) -> Option<Login> {
    let repository = &prepared.facts.cache_repo.as_ref().ok()?.repository;
    let credential = lent(&prepared.client, repository).await?;
    match Login::new(&world.environment, &[credential]) {
        Ok(login) => Some(login),
        Err(error) => {
            warnings.push(format!("the engine gets no login of the CI job: {error}"));
            None
        }
    }
}

/// A credential that only layerlift knows, and lends to whoever builds: the CI job's token, or `DOCKER_AUTH_CONFIG`.
pub(super) async fn lent(client: &Client, repository: &Repository) -> Option<Credential> {
    let found = client.credential(repository).await.ok()??;
    if !matches!(found.source, CredentialSource::CiJobToken | CredentialSource::DockerAuthConfig) {
        return None;
    }
    let registry = repository.registry().to_owned();
    Some(Credential { registry, username: found.username, secret: found.secret })
}

/// Writes the merged ref and pulls stage images, as planned.
pub(super) async fn before(
    prepared: &mut Prepared,
    docker: &Docker,
    interrupts: &process::Interrupts,
    warnings: &mut Vec<String>,
) {
    let plan = &mut prepared.plan;
    if let Some(put) = &plan.chain.put
        && let Err(error) = prepare::put(&prepared.client, put).await
    {
        warnings.push(format!("the merged cache was not written to {}: {error}", put.reference));
        prepare::read_instead(&mut plan.build, &put.reference, put.otherwise.as_ref());
        plan.chain.read.clone_from(&put.otherwise);
        if let Keep::Deferred(deferred) = &mut plan.keep {
            deferred.covered = None;
        }
    }
    if !plan.pull.is_empty() {
        warnings.extend(prepare::pull(docker, &plan.pull, &mut plan.build, interrupts).await);
    }
}

/// After a build that succeeded: the image is pushed where the build could not, then the cache is kept.
async fn after(
    request: &Request,
    prepared: &Prepared,
    runner: Runner<'_>,
    docker: &Arc<Docker>,
    built: &Built,
    outcome: &mut Outcome,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    for image in &prepared.plan.push {
        let digest = attempts::push(image, docker, runner).await?;
        outcome.digest = digest.map(|digest| digest.to_string()).or(outcome.digest.take());
    }
    if request.is_on("quiet")
        && let Some(id) = &built.results.image_id
    {
        runner.world.printer.data(&format!("{id}\n"));
    }
    if request.pushes() {
        let image = |tag: String| Written {
            what: "image".to_owned(),
            reference: tag,
            digest: outcome.digest.clone(),
        };
        outcome.written = request.tags().into_iter().map(image).collect();
    }
    let begun = Instant::now();
    let stages: Vec<StageOutcome> = outcome.stages.clone();
    let (facts, source, client) = (&prepared.facts, &prepared.source, &prepared.client);
    let imported = prepared.plan.chain.cache.as_ref();
    let build = &prepared.plan.build;
    let finished =
        Finished { stages: &stages, built, build, facts, imported, source, runner, docker, client };
    let place = records::place(facts, &prepared.plan, outcome);
    // BuildKit has exported its cache by now, so that the record need not wait for what is left to do.
    let is_exported =
        matches!(prepared.plan.keep, Keep::Export(_)) && built.steps.cache_export_error().is_none();
    let early = place.as_ref().filter(|_| is_exported);
    let (kept, recorded) = tokio::join!(
        keep::keep(&prepared.plan.keep, finished),
        account::record(early, prepared, outcome, &built.steps)
    );
    outcome.cache_export = begun.elapsed();
    // What does not exist yet has no record.
    let is_there = !is_exported && kept.pending.is_none() && kept.warnings.is_empty();
    let late = place.as_ref().filter(|_| is_there);
    let recorded = recorded.or(account::record(late, prepared, outcome, &built.steps).await);
    outcome.written.extend(kept.written);
    outcome.pending = kept.pending.map(|reference| reference.to_string());
    match recorded {
        Some(Ok(written)) => outcome.written.push(written),
        Some(Err(note)) => outcome.explanation.iter_mut().for_each(|it| it.notes.push(note.clone())),
        None => {}
    }
    kept.warnings.iter().for_each(|warning| runner.world.printer.warning(warning));
    warnings.extend(kept.warnings);
    Ok(())
}
