//! Deciding what is to be done: an image that is there answers, or there is a plan for the engine.

use std::sync::Arc;

use crate::invocation::BuildctlLine;
use crate::model::request::{Flag, Request};
use crate::model::settings::Settings;
use crate::plan::reuse::{Looked, Wanted};
use crate::plan::steps::{self, Decision, Facts, Plan};
use crate::registry::Client;
use crate::workflow::before::{self, Before};
use crate::workflow::builder::Act;
use crate::workflow::contexts::Contexts;
use crate::workflow::error::Error;
use crate::workflow::facts::{self, Gathered, Surroundings};
use crate::workflow::reuse::look::{Answer, Early, Search};
use crate::workflow::source::{self, Source};
use crate::workflow::world::World;

/// What was decided, with what it was decided from.
#[derive(Debug)]
pub struct Prepared {
    /// The facts.
    pub facts: Facts,
    /// The plan.
    pub plan: Plan,
    /// The image that answers the build, where only the engine could tell what is built for.
    pub answer: Option<Box<Answer>>,
    /// The line of buildctl that is run in the place of docker's.
    pub buildctl: Option<BuildctlLine>,
    /// The folders that files come from.
    pub(super) contexts: Arc<Contexts>,
    pub(super) source: Source,
    pub(super) client: Client,
}

/// What is to be done.
#[derive(Debug)]
pub enum Decided {
    /// An image that is there answers the build; no engine was asked.
    Answer(Box<Answered>),
    /// The engine is asked.
    Build(Box<Prepared>),
}

/// An image that answers, and what it was found from.
#[derive(Debug)]
pub struct Answered {
    /// Where we run.
    pub surroundings: Surroundings,
    /// What the request wants.
    pub wanted: Wanted,
    /// The image.
    pub answer: Box<Answer>,
}

impl Answered {
    /// Every decision, in the order of the way.
    pub fn decisions(&self) -> Vec<Decision> {
        let looked = Looked::found(&self.answer.reused);
        vec![steps::scope_decision(&self.surroundings.scopes), looked.decision()]
    }
}

/// Gathers facts and decides. `layerlift plan` ends here.
pub async fn prepare(world: &World, request: &Request, settings: &Settings) -> Result<Decided, Error> {
    let source = source::read(request, std::io::stdin().lock())?;
    let client = facts::registry(world, settings)?;
    let before = world.unless_interrupted(before::learn(world, request, settings, &source, &client)).await?;
    let Before { surroundings, search, targets } = before;
    if let Search { wanted: Ok(wanted), early: Some(Early { found: Ok(answer), .. }) } = search {
        return Ok(Decided::Answer(Box::new(Answered { surroundings, wanted, answer })));
    }
    let before = Before { surroundings, search, targets };
    let way = Way { source, client, before, act: Act::Suppose };
    Ok(Decided::Build(Box::new(prepare_after(world, request, settings, way).await?)))
}

/// The same with a Dockerfile that was read already, up to what an engine would do. `act`: whether a builder may be made.
pub(super) async fn prepare_source(
    world: &World,
    request: &Request,
    settings: &Settings,
    source: Source,
    act: Act,
) -> Result<Prepared, Error> {
    let client = facts::registry(world, settings)?;
    let before = world.unless_interrupted(before::learn(world, request, settings, &source, &client)).await?;
    prepare_after(world, request, settings, Way { source, client, before, act }).await
}

/// What is known when the engine's turn comes.
pub(super) struct Way {
    /// The Dockerfile.
    pub(super) source: Source,
    /// The registry.
    pub(super) client: Client,
    /// What was learnt before.
    pub(super) before: Before,
    /// Whether a builder may be made.
    pub(super) act: Act,
}

/// Asks the engine, and decides.
pub(super) async fn prepare_after(
    world: &World,
    request: &Request,
    settings: &Settings,
    way: Way,
) -> Result<Prepared, Error> {
    let Way { source, client, before, act } = way;
    let gathered = facts::gather(world, request, settings, &source, &client, before, act);
    let Gathered { facts, contexts, answer } = world.unless_interrupted(gathered).await?;
    let builder = facts.builder.as_ref().and_then(|builder| builder.name.as_ref());
    let mut flags = request.flags.clone();
    flags.extend(builder.map(|name| Flag::text("builder", name)));
    if facts.reuse.from_nothing {
        flags.extend([Flag::on("no-cache"), Flag::on("pull")]);
    }
    let chosen = Request { flags, context: request.context.clone() };
    let plan = steps::plan(&chosen, settings, &facts)?;
    Ok(Prepared { facts, plan, answer, contexts, source, client, buildctl: None })
}
