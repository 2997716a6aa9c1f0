//! `layerlift cache flush`: carries out the exports that were left for later.
//!
//! Each is planned anew from what the user asked for, so that what may be written is decided by the job that writes; what
//! another job has left is left. It is carried out only by the engine that built, and only while what the image was made
//! from is what it was then: in any other case steps would run once more, for another cache.

use std::io::Write;
use std::sync::Arc;

use jiff::Timestamp;

use crate::base::units::plural;
use crate::engine::docker::Docker;
use crate::engine::line::Line;
use crate::model::inputs::{Inputs, Unknown};
use crate::model::outcome::{StepStatus, Written};
use crate::model::reference::Reference;
use crate::model::settings::Settings;
use crate::plan::chain::Finding;
use crate::plan::command::Build;
use crate::plan::steps::{Facts, Keep};
use crate::workflow::builder::Act;
use crate::workflow::decide::{self, Prepared};
use crate::workflow::engine_run::Runner;
use crate::workflow::export::pending::{Folder, Pending};
use crate::workflow::keep::Kept;
use crate::workflow::named::NamedDockerfile;
use crate::workflow::reuse::store;
use crate::workflow::source::{self, Source, Text};
use crate::workflow::world::World;
use crate::workflow::{account, build, export, records};

/// Times that an export is tried.
const TRIES: u32 = 3;

/// What was done with an export.
#[derive(Debug)]
pub struct Flushed {
    /// The cache ref.
    pub own: String,
    /// What was written where.
    pub written: Vec<Written>,
    /// Why nothing was done, where nothing is wrong with that.
    pub left: Option<String>,
    /// What did not work.
    pub warnings: Vec<String>,
}

enum Failed {
    /// It is not this job's.
    Another(String),
    /// A later build has written the ref.
    Overtaken,
    /// It will never work.
    Useless(String),
    /// It may work the next time.
    Now(String),
}

/// Carries out all exports that wait for the project of the working folder, in their order. `begin` is told the ref of
/// each before it is written.
pub async fn flush(world: &World, begin: impl Fn(&str)) -> Vec<Flushed> {
    let Some(folder) = Folder::of(world).await else { return Vec::new() };
    let mut all = Vec::new();
    for mut pending in folder.all() {
        let own = pending.own().to_owned();
        let world = &World { folder: pending.folder.clone(), ..world.clone() };
        let mut is_counted = true;
        let done = match planned(world, &pending).await {
            Ok(planned) => {
                begin(&own);
                // Counted before: what ends this process must not end every one that follows.
                pending.tries += 1;
                is_counted = folder.update(&pending).is_ok();
                carry_out(world, &pending, planned).await
            }
            Err(failed) => Err(failed),
        };
        let (written, left, warnings, is_over) = match done {
            Ok(kept) => (kept.written, None, kept.warnings, true),
            Err(Failed::Another(reason)) => {
                (Vec::new(), Some(format!("it waits for its own job: {reason}")), Vec::new(), false)
            }
            Err(Failed::Overtaken) => {
                (Vec::new(), Some("a later build has written it".to_owned()), Vec::new(), true)
            }
            Err(Failed::Useless(reason)) => (Vec::new(), None, vec![not_written(&own, &reason, "")], true),
            Err(Failed::Now(reason)) => {
                let is_over = !is_counted || pending.tries >= TRIES;
                let next = if is_over { "; it is given up" } else { "; the next flush tries again" };
                (Vec::new(), None, vec![not_written(&own, &reason, next)], is_over)
            }
        };
        if is_over {
            folder.remove(&pending);
        }
        all.push(Flushed { own, written, left, warnings });
    }
    all
}

fn not_written(own: &str, reason: &str, next: &str) -> String {
    format!("the cache was not written to {own}: {reason}{next}")
}

struct Planned {
    build: Build,
    prepared: Prepared,
}

const UNKNOWN: &str = "it was left by another version of layerlift";

/// Plans it anew, as far as it is this job's, and possible.
async fn planned(world: &World, pending: &Pending) -> Result<Planned, Failed> {
    let useless = |reason: String| Failed::Useless(reason);
    // Paths of the line count from there, for the engine's client too.
    std::env::set_current_dir(&world.folder)
        .map_err(|error| useless(format!("{}: {error}", world.folder.display())))?;
    let (Some(request), Some(build)) = (pending.request(), pending.build()) else {
        return Err(useless(UNKNOWN.to_owned()));
    };
    let source = match pending.given() {
        Some(text) => given(text).map_err(|error| Failed::Now(error.to_string()))?,
        None => source::read(&request, std::io::empty()).map_err(|error| useless(error.to_string()))?,
    };
    // Nobody wants an image now.
    let settings = Settings { reuse: Some(false), max_age: None, ..pending.settings.clone() };
    let prepared = decide::prepare_source(world, &request, &settings, source, Act::Suppose).await;
    let prepared = prepared.map_err(|error| Failed::Now(error.to_string()))?;
    is_own(pending, &prepared.facts)?;
    is_the_same(pending, &prepared)?;
    Ok(Planned { build, prepared })
}

async fn carry_out(world: &World, pending: &Pending, planned: Planned) -> Result<Kept, Failed> {
    let Planned { mut build, mut prepared } = planned;
    let own = pending.own().parse().map_err(|_| Failed::Useless(UNKNOWN.to_owned()))?;
    let mut kept = Kept::default();
    let docker = Arc::new(Docker { login: build::login(world, &prepared, &mut kept.warnings).await });
    let stand_in = build::stand_in(world, &mut prepared, &mut kept.warnings).await;
    let linked = match pending.linked() {
        Some(text) => {
            let written = NamedDockerfile::write(&text, &prepared.source);
            Some(written.map_err(|error| Failed::Now(error.to_string()))?)
        }
        None => None,
    };
    if let Some(linked) = &linked {
        build = build.reading(&linked.path().to_string_lossy());
    }
    let Prepared { facts, client, source, .. } = &prepared;
    let runner = Runner {
        world,
        engine: &facts.engine,
        docker: &docker,
        line: Line::Docker,
        spooled: source.spooled.as_ref().map(tempfile::NamedTempFile::path),
        stand_in: &stand_in,
        to_stdout: false,
        pushed: None,
    };
    let built = export::run(runner, &build).await.map_err(Failed::Now)?;
    export::sign(&own, &built, client, facts, &mut kept).await;
    let stages = built.steps.stages(&account::labels(facts));
    let ran = stages.iter().map(|stage| stage.count(StepStatus::Run)).sum();
    if ran > 0 {
        // The record would tell of other results than those that are in the cache.
        kept.warnings
            .push(format!("the engine had forgotten what it built: {} ran again", plural(ran, "step")));
    } else if let Some((place, record)) = pending.record().filter(|_| kept.warnings.is_empty()) {
        match records::write(client, &place, record).await {
            Ok(digest) => kept.wrote("record", &place, Some(digest.to_string())),
            Err(error) => kept.warnings.push(format!("the record of the build was not written: {error}")),
        }
    }
    Ok(kept)
}

/// The Dockerfile that came over standard input.
fn given(text: Vec<u8>) -> std::io::Result<Source> {
    let mut spooled = tempfile::Builder::new().prefix("layerlift-").tempfile()?;
    spooled.write_all(&text)?;
    let dockerfile = Text::Known(text);
    Ok(Source { dockerfile, name: "-".to_owned(), in_archive: false, spooled: Some(spooled) })
}

/// Whether the ref is this job's to write.
fn is_own(pending: &Pending, facts: &Facts) -> Result<(), Failed> {
    let (allowed, reason) = &facts.may_write;
    if !allowed {
        return Err(Failed::Another(reason.clone()));
    }
    let scope = facts.scopes.own.as_ref().zip(facts.cache_repo.as_ref().ok());
    let own = scope.and_then(|(scope, repo)| repo.repository.with_tag(&facts.keys.cache_tag(scope)).ok());
    match own {
        Some(own) if own.to_string() == pending.own() => match written(facts, &own) {
            Some(time) if time > pending.left => Err(Failed::Overtaken),
            _ => Ok(()),
        },
        Some(own) => Err(Failed::Another(format!("this job writes to {own}"))),
        None => Err(Failed::Another("this job has no cache ref of its own".to_owned())),
    }
}

/// When the cache under a ref was exported.
fn written(facts: &Facts, reference: &Reference) -> Option<Timestamp> {
    facts.candidates.iter().find_map(|candidate| match &candidate.finding {
        Finding::Found(found) if candidate.reference == *reference => found.provenance.created,
        _ => None,
    })
}

/// Whether this is the engine that built, and what it built from.
fn is_the_same(pending: &Pending, prepared: &Prepared) -> Result<(), Failed> {
    let (facts, plan) = (&prepared.facts, &prepared.plan);
    if records::engine(&facts.engine) != pending.engine || facts.engine.remote != pending.remote {
        let at = pending.remote.as_deref().unwrap_or("this machine's socket");
        return Err(Failed::Useless(format!(
            "another engine built, `{}` at {at}; DOCKER_HOST and the like must be variables of the job, not of its script",
            pending.engine.builder
        )));
    }
    let inputs = facts.inputs.as_ref().map_err(|reason| Failed::Now(reason.clone()))?;
    let before: Option<&Inputs> = pending.record().and_then(|(_, record)| record.inputs.as_ref());
    if inputs.digest != pending.inputs {
        let was_known = |it: &&Unknown| before.is_some_and(|before| !before.unknown.contains(it));
        if let Some(unknown) = inputs.unknown.iter().find(was_known) {
            return Err(Failed::Now(unknown.to_string()));
        }
        let changed = before.and_then(|before| store::changed(&before.files, &inputs.files));
        return Err(Failed::Useless(match changed {
            Some(file) => format!("`{file}` changed after the build; .dockerignore keeps it out"),
            None => "a base image, a build arg or the Dockerfile is another one than in the build".to_owned(),
        }));
    }
    match &plan.keep {
        Keep::Deferred(deferred) if deferred.own.to_string() == pending.own() => Ok(()),
        _ => Err(Failed::Useless("the engine, or a setting, keeps the cache in another way".to_owned())),
    }
}
