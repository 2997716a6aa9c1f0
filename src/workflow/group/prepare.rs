//! Facts and plan of every member. Where we run and what builds is found out once; the registry is asked for all members
//! at once.

use futures_util::future::try_join_all;

use crate::model::engine::{Driver, Engine, Frontend};
use crate::model::member::Member;
use crate::model::reference::Reference;
use crate::model::request::Flag;
use crate::model::settings::Settings;
use crate::plan::group::{self, Planned};
use crate::plan::steps::{self, Decision, Keep};
use crate::registry::Client;
use crate::workflow::before::Before;
use crate::workflow::decide::Prepared;
use crate::workflow::error::Error;
use crate::workflow::facts::{self, Gathered, Surroundings};
use crate::workflow::reuse::look::Search;
use crate::workflow::source;
use crate::workflow::world::World;

/// A member, and what was decided for it.
#[derive(Debug)]
pub struct PreparedMember {
    /// The member.
    pub member: Member,
    /// Its facts and its plan.
    pub prepared: Prepared,
}

/// All members, and what they share.
#[derive(Debug)]
pub struct PreparedGroup {
    /// What builds.
    pub engine: Engine,
    /// The members, each after those that it needs.
    pub members: Vec<PreparedMember>,
    pub(super) client: Client,
}

/// One run of bake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// The places of the members that it builds.
    pub members: Vec<usize>,
    /// What it is told beside the definition.
    pub overrides: Vec<String>,
    /// How many targets it solves: its members, and what they need.
    pub targets: usize,
}

impl PreparedGroup {
    /// The runs of bake that build the group.
    pub fn waves(&self) -> Vec<Vec<usize>> {
        group::waves(&self.planned())
    }

    /// One of them, as the plans of its members stand now.
    pub fn wave(&self, members: &[usize]) -> Wave {
        let planned = self.planned();
        let own: Vec<Planned<'_>> = members.iter().map(|index| planned[*index]).collect();
        let is_own = |name: &str| own.iter().any(|it| it.member.name == name);
        let mut linked: Vec<&str> = Vec::new();
        let mut open: Vec<&Member> = own.iter().map(|it| it.member).collect();
        while let Some(member) = open.pop() {
            for needed in planned.iter().filter(|it| member.needs.contains(&it.member.name)) {
                let name = needed.member.name.as_str();
                if !is_own(name) && !linked.contains(&name) {
                    linked.push(name);
                    open.push(needed.member);
                }
            }
        }
        Wave {
            overrides: group::overrides(&own, &linked),
            targets: own.len() + linked.len(),
            members: members.to_vec(),
        }
    }

    fn planned(&self) -> Vec<Planned<'_>> {
        self.members.iter().map(PreparedMember::planned).collect()
    }

    /// The names of a wave's members.
    pub fn names(&self, members: &[usize]) -> Vec<String> {
        members.iter().map(|index| self.members[*index].member.name.clone()).collect()
    }
}

impl PreparedMember {
    fn planned(&self) -> Planned<'_> {
        Planned { member: &self.member, build: &self.prepared.plan.build }
    }
}

/// Gathers facts and decides, for members that one bake builds.
pub async fn prepare(
    world: &World,
    settings: &Settings,
    members: Vec<Member>,
    engine: Engine,
) -> Result<PreparedGroup, Error> {
    let client = facts::registry(world, settings)?;
    let surroundings = facts::surroundings(world, settings, &world.folder).await;
    let named: Vec<Vec<Reference>> =
        members.iter().map(|member| facts::images(&member.request)).collect::<Result<_, _>>()?;
    let prepared = members.into_iter().enumerate().map(|(index, member)| {
        // A member without a name of its own, such as a base, keeps its cache beside the others'.
        let others = named.iter().enumerate().filter(|(other, _)| *other != index).flat_map(|(_, it)| it);
        let images = named[index].iter().chain(others).cloned().collect();
        let surroundings = Surroundings { images, ..surroundings.clone() };
        one(world, settings, member, engine.clone(), client.clone(), surroundings)
    });
    let mut members = world.unless_interrupted(try_join_all(prepared)).await?;
    // What is true of all need not be said of each.
    for (index, it) in members.iter_mut().enumerate() {
        if index > 0 {
            it.prepared.plan.warnings.retain(|warning| !surroundings.warnings.contains(warning));
        }
    }
    Ok(PreparedGroup { engine, members, client })
}

async fn one(
    world: &World,
    settings: &Settings,
    mut member: Member,
    engine: Engine,
    client: Client,
    surroundings: Surroundings,
) -> Result<PreparedMember, Error> {
    let settings = Settings { member: Some(member.name.clone()), ..settings.clone() };
    // Where `docker build` would load the image, bake leaves it in the builder.
    if !engine.loads_by_default() && !member.request.has("output") {
        member.request.flags.push(Flag::text("output", "type=cacheonly"));
    }
    let request = &member.request;
    let source = source::read(request, member.inline.as_deref().unwrap_or_default().as_bytes())?;
    let ready = std::future::ready(Ok(engine));
    let search = Search::none("several images that are built together are always built");
    let before = Before { surroundings, search };
    let Gathered { facts, contexts, .. } =
        facts::of_image(world, request, &settings, &source, &client, before, ready).await?;
    let mut plan = steps::plan(request, &settings, &facts)?;
    if matches!(plan.keep, Keep::Inline { .. }) && !member.beyond.is_empty() {
        plan.keep = Keep::Nothing;
        plan.decisions.push(Decision {
            topic: "write",
            choice: "nothing".to_owned(),
            reason: format!(
                "its stages cannot be built one by one, as this engine's cache needs it: {}",
                member.beyond.join(", ")
            ),
        });
    }
    let prepared = Prepared { facts, plan, answer: None, contexts, source, client, buildctl: None };
    Ok(PreparedMember { prepared, member })
}

/// Whether one bake can build all of a compose project here.
pub(super) fn can_bake(engine: &Engine) -> bool {
    engine.frontend == Frontend::Buildx && !matches!(engine.driver, Driver::Other(_))
}
