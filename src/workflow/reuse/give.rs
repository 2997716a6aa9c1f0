//! Giving an image as the answer: under the names that were asked for, in the engine where it is to be, with the files and
//! the report that a build would leave.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::engine::docker::Docker;
use crate::engine::login::Login;
use crate::model::modes::Modes;
use crate::model::outcome::{BuildStatus, Outcome, Written};
use crate::model::pipeline::Pipeline;
use crate::model::reference::{Reference, Repository};
use crate::model::request::Request;
use crate::plan::reuse::Wanted;
use crate::plan::scope::Scope;
use crate::registry::{Client, Error, Image};
use crate::workflow::build;
use crate::workflow::reuse::files;
use crate::workflow::reuse::look::Answer;
use crate::workflow::world::World;

/// The longest sum of pauses while blobs move: who pushes an image waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who asks, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The request.
    pub request: &'a Request,
    /// What it wants.
    pub wanted: &'a Wanted,
    /// The registry.
    pub client: &'a Client,
    /// Where this runs.
    pub pipeline: &'a Pipeline,
    /// The scope of this build.
    pub scope: Option<&'a Scope>,
    /// When the first question was asked.
    pub begun: Instant,
}

/// Gives the image. What was named when this fails is named again by the build that follows.
///
/// # Errors
///
/// Why it cannot be given, as a fragment of a sentence.
pub async fn give(world: &World, asked: Asked<'_>, answer: &Answer) -> Result<Outcome, String> {
    let Asked { request, wanted, .. } = asked;
    let client = asked.client.with_budget(PATIENCE);
    push(&client, answer, &wanted.push).await.map_err(|error| error.to_string())?;
    if !wanted.load.is_empty() {
        load(world, &client, answer, wanted).await?;
    }
    let names = if wanted.push.is_empty() { &wanted.load } else { &wanted.push };
    files::write(request, &world.folder, &answer.root, names).map_err(|error| error.to_string())?;
    if request.is_on("quiet") {
        world.printer.data(&format!("{}\n", files::image_id(&answer.root)));
    }
    let written = |name: &Reference| Written {
        what: "image".to_owned(),
        reference: name.to_string(),
        digest: Some(answer.root.digest.to_string()),
    };
    let outcome = Outcome::without_engine(asked.pipeline.clone(), Modes::untouched("nothing was built"));
    Ok(Outcome {
        status: BuildStatus::Succeeded,
        scope: asked.scope.map(ToString::to_string),
        digest: Some(answer.root.digest.to_string()),
        tags: request.tags(),
        inputs: Some(answer.inputs.clone()),
        reused: Some(answer.reused.clone()),
        written: wanted.push.iter().map(written).collect(),
        traffic: crate::model::outcome::Traffic { asked: asked.client.traffic().bytes_in, ..outcome.traffic },
        duration: asked.begun.elapsed(),
        preparation: asked.begun.elapsed(),
        ..outcome
    })
}

/// Puts the names on, each repository's blobs first.
async fn push(client: &Client, answer: &Answer, names: &[Reference]) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let image: Image = client.image_below(&answer.reference, answer.root.clone()).await?;
    let mut repositories: BTreeMap<&Repository, Vec<&Reference>> = BTreeMap::new();
    for name in names {
        repositories.entry(name.repository()).or_default().push(name);
    }
    try_join_all(repositories.keys().map(|repository| client.bring(&image, repository, u64::MAX))).await?;
    client.name(&image, &names.iter().collect::<Vec<_>>()).await
}

/// Brings the image into the engine, under its names alone.
async fn load(world: &World, client: &Client, answer: &Answer, wanted: &Wanted) -> Result<(), String> {
    let pushed = wanted.push.first();
    let repository = pushed.unwrap_or(&answer.reference).repository();
    let login = match build::lent(client, repository).await {
        Some(credential) => Login::new(&world.environment, &[credential]).ok(),
        None => None,
    };
    let docker = Docker { login };
    let mut interrupts = world.interrupts.clone();
    let source = repository.with_digest(&answer.root.digest).to_string();
    docker.pull(&source, &mut interrupts).await.map_err(|error| error.to_string())?;
    for name in &wanted.load {
        docker.tag(&source, &name.to_string()).await.map_err(|error| error.to_string())?;
    }
    // The name by digest would stay behind in the engine's list.
    docker.forget(&[source]).await;
    Ok(())
}
