//! `layerlift cache flush`: carries out the exports that were left for later.
//!
//! Each is planned anew from what the user asked for, so that what may be written is decided by the job that writes. It is
//! carried out only by the engine that built, and only while what the image was made from is what it was then: in any
//! other case steps would run once more, for another cache.

use std::io::Write;
use std::sync::Arc;

use crate::base::units::plural;
use crate::engine::docker::Docker;
use crate::model::inputs::Inputs;
use crate::model::outcome::{StepStatus, Written};
use crate::model::settings::Settings;
use crate::plan::steps::Keep;
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
    /// What did not work.
    pub warnings: Vec<String>,
}

enum Failed {
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
        begin(pending.own());
        // Counted before: what ends this process must not end every one that follows.
        pending.tries += 1;
        let counted = folder.write(&pending);
        let mut flushed =
            Flushed { own: pending.own().to_owned(), written: Vec::new(), warnings: Vec::new() };
        let mut is_over = counted.is_err() || pending.tries >= TRIES;
        match one(world, &pending).await {
            Ok(kept) => {
                is_over = true;
                (flushed.written, flushed.warnings) = (kept.written, kept.warnings);
            }
            Err(failed) => {
                let (reason, next) = match failed {
                    Failed::Useless(reason) => (reason, ""),
                    Failed::Now(reason) if is_over => (reason, "; it is given up"),
                    Failed::Now(reason) => (reason, "; the next flush tries again"),
                };
                is_over |= next.is_empty();
                flushed
                    .warnings
                    .push(format!("the cache was not written to {}: {reason}{next}", pending.own()));
            }
        }
        if is_over {
            folder.remove(&pending);
        }
        all.push(flushed);
    }
    all
}

async fn one(world: &World, pending: &Pending) -> Result<Kept, Failed> {
    let useless = |reason: &str| Failed::Useless(reason.to_owned());
    let world = &World { folder: pending.folder.clone(), ..world.clone() };
    // Paths of the line count from there, for the engine's client too.
    std::env::set_current_dir(&world.folder)
        .map_err(|error| Failed::Useless(format!("{}: {error}", world.folder.display())))?;
    let unknown = "it was left by another version of layerlift";
    let (Some(request), Some(mut build)) = (pending.request(), pending.build()) else {
        return Err(useless(unknown));
    };
    let source = match pending.given() {
        Some(text) => given(text).map_err(|error| Failed::Now(error.to_string()))?,
        None => {
            source::read(&request, std::io::empty()).map_err(|error| Failed::Useless(error.to_string()))?
        }
    };
    // Nobody wants an image now.
    let settings = Settings { reuse: Some(false), max_age: None, ..pending.settings.clone() };
    let prepared = decide::prepare_source(world, &request, &settings, source, Act::Suppose).await;
    let mut prepared = prepared.map_err(|error| Failed::Now(error.to_string()))?;
    is_the_same(pending, &prepared)?;

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
        buildctl: None,
        spooled: source.spooled.as_ref().map(tempfile::NamedTempFile::path),
        stand_in: &stand_in,
        to_stdout: false,
    };
    let steps = export::run(runner, &build).await.map_err(Failed::Now)?;
    let own = pending.own().parse().map_err(|_| useless(unknown))?;
    export::sign(&own, client, facts, &mut kept).await;
    let stages = steps.stages(&account::labels(facts));
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

/// Whether this is the engine that built, and what it built from.
fn is_the_same(pending: &Pending, prepared: &Prepared) -> Result<(), Failed> {
    let (facts, plan) = (&prepared.facts, &prepared.plan);
    match &plan.keep {
        Keep::Deferred(deferred) if deferred.own.to_string() == pending.own() => {}
        _ => return Err(Failed::Useless("this job may not write there".to_owned())),
    }
    if records::engine(&facts.engine) != pending.engine || facts.engine.remote != pending.remote {
        let at = pending.remote.as_deref().unwrap_or("this machine's socket");
        return Err(Failed::Useless(format!(
            "another engine built, `{}` at {at}; DOCKER_HOST and the like must be variables of the job, not of its script",
            pending.engine.builder
        )));
    }
    let inputs = facts.inputs.as_ref().map_err(|reason| Failed::Now(reason.clone()))?;
    if inputs.digest == pending.inputs {
        return Ok(());
    }
    let before: Option<&Inputs> = pending.record().and_then(|(_, record)| record.inputs.as_ref());
    Err(Failed::Useless(match before.and_then(|before| store::changed(&before.files, &inputs.files)) {
        Some(file) => format!("`{file}` changed after the build; .dockerignore keeps it out"),
        None => "a base image, a build arg or the Dockerfile is another one than in the build".to_owned(),
    }))
}
