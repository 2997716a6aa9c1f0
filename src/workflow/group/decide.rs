//! Deciding what becomes of every member: images that are there answer, one bake builds the rest.
//!
//! The registry is asked first. The engine is asked only where something is left to build, or where only it can tell what
//! is built for; then more images may be found.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;

use crate::engine::probe::{self, Probe};
use crate::model::engine::Engine;
use crate::model::member::Member;
use crate::model::outcome::Outcome;
use crate::model::settings::Settings;
use crate::plan::group::{Fate, fates};
use crate::plan::reuse::{self, Looked, Wanted};
use crate::registry::Client;
use crate::workflow::error::Error;
use crate::workflow::facts::{self, Surroundings};
use crate::workflow::group::define::Group;
use crate::workflow::group::learn::{Learnt, learn};
use crate::workflow::group::prepare::{self, PreparedGroup, PreparedMember, can_bake};
use crate::workflow::reuse::give::{self, Asked};
use crate::workflow::reuse::look::Answer;
use crate::workflow::world::World;

/// What is known when a group is looked at.
#[derive(Debug)]
pub struct Start {
    /// Where we run.
    pub surroundings: Surroundings,
    /// What builds; not asked for yet where images may answer.
    pub engine: Option<Engine>,
    /// How it is asked for.
    pub probe: Probe,
}

/// Finds it out.
pub async fn start(world: &World, settings: &Settings, probe: Probe) -> Result<Start, Error> {
    let surroundings = facts::surroundings(world, settings, &world.folder).await;
    let engine = match reuse::is_possible(settings, &surroundings.pipeline) {
        true => None,
        false => Some(probe::probe(&world.environment, &probe).await?),
    };
    Ok(Start { surroundings, engine, probe })
}

/// Whether answers are given, or only told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The images get their names. `0`: when the first question was asked.
    Give(Instant),
    /// Nothing is done.
    Suppose,
}

/// What was decided.
#[derive(Debug)]
pub struct DecidedGroup {
    /// Where we run, with what went wrong.
    pub surroundings: Surroundings,
    /// Members that images answer for.
    pub answered: Vec<AnsweredMember>,
    /// What one bake builds; `None` where nothing is left, so that no engine was asked.
    pub built: Option<PreparedGroup>,
    pub(super) client: Client,
}

/// A member that an image answers for.
#[derive(Debug)]
pub struct AnsweredMember {
    /// The member.
    pub member: Member,
    /// What it wants.
    pub wanted: Wanted,
    /// The image.
    pub answer: Box<Answer>,
    /// What came of it, where it was given.
    pub outcome: Option<Outcome>,
}

/// What is known of a member.
enum State {
    /// No engine was asked.
    Learnt(Box<Learnt>),
    /// The engine's part is known too, and so is an image that only then was found.
    Prepared(Box<PreparedMember>, Option<Box<Answer>>),
}

impl State {
    fn answer(&self, settings: &Settings) -> Option<(Wanted, Box<Answer>)> {
        match self {
            State::Learnt(learnt) => {
                learnt.answer().map(|(wanted, answer)| (wanted.clone(), Box::new(answer.clone())))
            }
            State::Prepared(it, answer) => {
                let wanted = reuse::wanted(&it.member.request, settings, &it.prepared.facts.pipeline).ok()?;
                answer.clone().map(|answer| (wanted, answer))
            }
        }
    }

    /// It is built after all.
    fn refuse(&mut self, warning: String) {
        match self {
            State::Learnt(learnt) => {
                learnt.before.surroundings.warnings.push(warning);
                if let Some(early) = &mut learnt.before.search.early {
                    early.found = Err(Looked::absent("the image of the same inputs could not be given"));
                }
            }
            State::Prepared(it, answer) => {
                it.prepared.plan.warnings.push(warning);
                *answer = None;
            }
        }
    }
}

/// Decides. The inner error: there is another way to build the group, and this engine asks for it.
pub async fn decide(
    world: &World,
    settings: &Settings,
    group: &Group,
    start: Start,
    act: Act,
) -> Result<Result<DecidedGroup, Box<Engine>>, Error> {
    let Start { surroundings, mut engine, probe } = start;
    let client = facts::registry(world, settings)?;
    let learning = learn(world, settings, group, &surroundings, &client);
    let learnt = world.unless_interrupted(learning).await?;
    let mut states: Vec<State> = learnt.into_iter().map(|it| State::Learnt(Box::new(it))).collect();
    let members: Vec<&Member> = group.members.iter().collect();
    let mut given: BTreeMap<usize, Outcome> = BTreeMap::new();
    let (fates, answers) = loop {
        let answers: Vec<_> = states.iter().map(|state| state.answer(settings)).collect();
        let found: Vec<bool> = answers.iter().map(Option::is_some).collect();
        let fates = fates(&members, &found);
        let is_open =
            |place: &usize| fates[*place] == Fate::Built && matches!(states[*place], State::Learnt(_));
        let open: Vec<usize> = (0..states.len()).filter(is_open).collect();
        if !open.is_empty() {
            let engine = match &engine {
                Some(engine) => engine,
                None => {
                    let asked = async { Ok::<_, Error>(probe::probe(&world.environment, &probe).await?) };
                    &*engine.insert(world.unless_interrupted(asked).await?)
                }
            };
            if group.has_other_way && !can_bake(engine) {
                return Ok(Err(Box::new(engine.clone())));
            }
            prepare_those(world, &client, engine, group, &open, &mut states).await?;
            // What the engine told may have shown further images.
            continue;
        }
        let Act::Give(begun) = act else { break (fates, answers) };
        let is_next = |place: &usize| fates[*place] == Fate::Answered && !given.contains_key(place);
        let next: Vec<usize> = (0..states.len()).filter(is_next).collect();
        let gifts = next.iter().filter_map(|place| Some((*place, answers[*place].as_ref()?))).map(
            |(place, (wanted, answer))| {
                let Surroundings { pipeline, scopes, .. } = &surroundings;
                let request = &group.members[place].request;
                let scope = scopes.own.as_ref();
                let asked = Asked { request, wanted, client: &client, pipeline, scope, begun };
                async move { (place, give::give(world, asked, answer).await, &answer.reference) }
            },
        );
        let gifts = async { Ok::<_, Error>(join_all(gifts).await) };
        let mut failed = false;
        for (place, outcome, reference) in world.unless_interrupted(gifts).await? {
            match outcome {
                Ok(outcome) => drop(given.insert(place, outcome)),
                Err(reason) => {
                    failed = true;
                    states[place].refuse(format!("{reference} does not answer the build: {reason}"));
                }
            }
        }
        if !failed {
            break (fates, answers);
        }
    };
    let (mut answered, mut built) = (Vec::new(), Vec::new());
    for (place, (state, answer)) in states.into_iter().zip(answers).enumerate() {
        match (fates[place], state, answer) {
            (Fate::Answered, _, Some((wanted, answer))) => {
                let (member, outcome) = (group.members[place].clone(), given.remove(&place));
                answered.push(AnsweredMember { member, wanted, answer, outcome });
            }
            (Fate::Built, State::Prepared(mut it, _), answer) => {
                if answer.is_some() {
                    it.is_needed();
                }
                built.push(*it);
            }
            _ => {}
        }
    }
    prepare::from_nothing_down(&mut built)?;
    let general = &surroundings.warnings;
    let built = engine.filter(|_| !built.is_empty()).map(|engine| PreparedGroup::new(engine, built, general));
    Ok(Ok(DecidedGroup { surroundings, answered, built, client }))
}

/// Makes the plans of members, by their places.
async fn prepare_those(
    world: &World,
    client: &Client,
    engine: &Engine,
    group: &Group,
    places: &[usize],
    states: &mut Vec<State>,
) -> Result<(), Error> {
    let (mut open, mut others) = (Vec::new(), Vec::new());
    for (place, state) in std::mem::take(states).into_iter().enumerate() {
        match state {
            State::Learnt(learnt) if places.contains(&place) => open.push((place, *learnt)),
            other => others.push((place, other)),
        }
    }
    let (open_places, learnt): (Vec<usize>, Vec<Learnt>) = open.into_iter().unzip();
    let prepared = prepare::prepare(world, client, engine, group, learnt).await?;
    let prepared = prepared.into_iter().map(|(it, answer)| State::Prepared(Box::new(it), answer));
    let mut all: BTreeMap<usize, State> = open_places.into_iter().zip(prepared).collect();
    all.extend(others);
    *states = all.into_values().collect();
    Ok(())
}
