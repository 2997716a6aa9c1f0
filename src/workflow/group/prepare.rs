//! Facts and plan of every member that is built. Where we run and what builds is found out once; the registry is asked for
//! all members at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures_util::future::try_join_all;

use crate::engine::bake::{Bake, MemberBake};
use crate::model::engine::{Driver, Engine, Frontend};
use crate::model::member::Member;
use crate::model::request::Flag;
use crate::model::settings::{Settings, Strategy};
use crate::plan::command::CACHE_ONLY;
use crate::plan::group::{self, Dockerfiles, Planned};
use crate::plan::reuse::Looked;
use crate::plan::steps::{self, Decision, Facts, Keep, Plan};
use crate::registry::Client;
use crate::workflow::decide::Prepared;
use crate::workflow::error::Error;
use crate::workflow::facts::{self, Gathered};
use crate::workflow::group::define::Group;
use crate::workflow::group::learn::Learnt;
use crate::workflow::group::targets::{self, Described};
use crate::workflow::reuse::look::Answer;
use crate::workflow::world::World;

/// A member, and what was decided for it.
#[derive(Debug)]
pub struct PreparedMember {
    /// The member.
    pub member: Member,
    /// The settings, as they hold for it.
    pub settings: Settings,
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
    /// `general`: warnings that every member has.
    pub(super) fn new(engine: Engine, mut members: Vec<PreparedMember>, general: &[String]) -> Self {
        // What is true of all need not be said of each.
        for it in members.iter_mut().skip(1) {
            it.prepared.plan.warnings.retain(|warning| !general.contains(warning));
        }
        PreparedGroup { engine, members }
    }

    /// The runs of bake that build the group.
    pub fn waves(&self) -> Vec<Vec<usize>> {
        group::waves(&self.planned())
    }

    /// One of them, as the plans of its members stand now.
    pub fn wave(&self, members: &[usize]) -> Wave {
        let planned = self.planned();
        let own: Vec<Planned<'_>> = members.iter().map(|index| planned[*index]).collect();
        let is_own = |name: &&str| own.iter().any(|it| it.member.name == *name);
        let below = own.iter().flat_map(|it| it.member.below(planned.iter().map(|it| it.member)));
        let below: BTreeSet<&str> = below.map(|it| it.name.as_str()).filter(|it| !is_own(it)).collect();
        Wave {
            overrides: group::overrides(&own, &below.iter().copied().collect::<Vec<_>>()),
            targets: own.len() + below.len(),
            members: members.to_vec(),
        }
    }

    /// What bake is told of Dockerfiles that were written for members. `working`: the folder that it runs in.
    pub(super) fn dockerfiles(&self, working: &Path) -> Dockerfiles {
        group::dockerfiles(&self.planned(), working)
    }

    fn planned(&self) -> Vec<Planned<'_>> {
        self.members.iter().map(PreparedMember::planned).collect()
    }

    /// The folder of the `local` strategy, where a member uses it.
    pub fn cache_folder(&self, settings: &Settings) -> Option<PathBuf> {
        let is_local = self.members.iter().any(|it| it.prepared.plan.strategy == Strategy::Local);
        is_local.then(|| settings.cache_dir.clone())
    }

    /// The bake that builds a member again, where no line of `docker build` can. `places`: overrides of folders and
    /// Dockerfiles.
    pub fn alone<'a>(
        &'a self,
        of: &'a PreparedMember,
        bake: &Bake,
        places: &'a [String],
    ) -> Option<MemberBake<'a>> {
        let member = &of.member;
        let is_built_again = matches!(of.prepared.plan.keep, Keep::Deferred(_));
        let below = member.below(self.members.iter().map(|it| &it.member));
        (is_built_again && !member.beyond().is_empty()).then(|| MemberBake {
            bake: bake.of(std::slice::from_ref(&member.name)).without_outputs(),
            member,
            below: below.into_iter().map(|it| it.name.as_str()).collect(),
            places,
        })
    }

    /// The names of a wave's members.
    pub fn names(&self, members: &[usize]) -> Vec<String> {
        members.iter().map(|index| self.members[*index].member.name.clone()).collect()
    }
}

impl PreparedMember {
    /// It is built although there is an image that would answer for it.
    pub(super) fn is_needed(&mut self) {
        let looked = Looked::absent("a target that is built stands on it");
        let Prepared { facts, plan, .. } = &mut self.prepared;
        let decisions = plan.decisions.iter_mut().filter(|it| it.topic == "reuse");
        decisions.for_each(|decision| *decision = looked.decision());
        facts.reuse = Looked { from_nothing: facts.reuse.from_nothing, ..looked };
    }

    /// As far as its inputs need it.
    pub(super) fn described(&self) -> Described<'_> {
        let Prepared { facts, source, .. } = &self.prepared;
        Described { member: &self.member, settings: &self.settings, source, pipeline: &facts.pipeline }
    }

    fn planned(&self) -> Planned<'_> {
        Planned { member: &self.member, build: &self.prepared.plan.build }
    }
}

/// Gathers facts and decides, for members that one bake builds; what images were found that only the engine could tell of.
pub(super) async fn prepare(
    world: &World,
    client: &Client,
    engine: &Engine,
    group: &Group,
    mut members: Vec<Learnt>,
) -> Result<Vec<(PreparedMember, Option<Box<Answer>>)>, Error> {
    // Nobody has looked yet, or for another platform.
    let is_open = |it: &Learnt| {
        let is_asked_for = it.settings.strategy != Some(Strategy::Off);
        let is_known = it.before.search.early.is_some() && engine.platform == facts::this_machine();
        is_asked_for && !is_known
    };
    if members.iter().any(|it| is_open(it) && !it.member.needs.is_empty()) {
        let described: Vec<_> = members.iter().map(Learnt::described).collect();
        let needed = async {
            Ok::<_, Error>(targets::needed(world, client, &described, &engine.platform).await.targets)
        };
        let targets = world.unless_interrupted(needed).await?;
        members.iter_mut().for_each(|it| it.before.targets.clone_from(&targets));
    }
    let prepared =
        members.into_iter().map(|learnt| one(world, group, learnt, engine.clone(), client.clone()));
    world.unless_interrupted(try_join_all(prepared)).await
}

async fn one(
    world: &World,
    group: &Group,
    learnt: Learnt,
    engine: Engine,
    client: Client,
) -> Result<(PreparedMember, Option<Box<Answer>>), Error> {
    let Learnt { mut member, settings, source, before } = learnt;
    // Where `docker build` would load the image, bake leaves it in the builder.
    if !engine.loads_by_default() && !member.request.has("output") {
        member.request.flags.push(Flag::text("output", CACHE_ONLY));
    }
    let request = &member.request;
    let ready = std::future::ready(Ok(engine));
    let Gathered { mut facts, contexts, answer } =
        facts::of_image(world, request, &settings, &source, &client, before, ready).await?;
    let anew = member.below(group.members.iter()).into_iter().find(|below| below.is_made_anew());
    facts.not_linked = not_linked(group, &member, anew);
    // bake would ask again, read what may have moved, or make anew what it stands on.
    let is_another = group.is_to_check || group.bake.address().is_some() || anew.is_some();
    facts.exports_alone = member.beyond().is_empty() || !is_another;
    let plan = plan(&member, &settings, &facts)?;
    let prepared = Prepared { facts, plan, answer: None, contexts, source, client, buildctl: None };
    Ok((PreparedMember { member, settings, prepared }, answer))
}

fn plan(member: &Member, settings: &Settings, facts: &Facts) -> Result<Plan, Error> {
    let mut chosen = member.request.clone();
    if facts.reuse.from_nothing {
        chosen.flags.extend([Flag::on("no-cache"), Flag::on("pull")]);
    }
    let mut plan = steps::plan(&chosen, settings, facts)?;
    let beyond = member.beyond();
    if matches!(plan.keep, Keep::Inline { .. }) && !beyond.is_empty() {
        plan.keep = Keep::Nothing;
        plan.decisions.push(Decision {
            topic: "write",
            choice: "nothing".to_owned(),
            reason: format!(
                "its stages cannot be built one by one, as this engine's cache needs it: {}",
                beyond.join(", ")
            ),
        });
    }
    Ok(plan)
}

/// What a member stands on that is built from nothing is built so too: layers of it would be as old.
pub(super) fn from_nothing_down(members: &mut [PreparedMember]) -> Result<(), Error> {
    let mut below: BTreeSet<String> = BTreeSet::new();
    // Members come after those that they need.
    for PreparedMember { member, settings, prepared: Prepared { facts, plan: own, .. } } in
        members.iter_mut().rev()
    {
        if below.contains(&member.name) && !facts.reuse.from_nothing {
            facts.reuse = Looked::too_old("a target that stands on it is built from nothing");
            *own = plan(member, settings, facts)?;
        }
        if facts.reuse.from_nothing {
            below.extend(member.needs.iter().cloned());
        }
    }
    Ok(())
}

/// What keeps the `COPY`s of a member from being linked, beside what keeps those of any build. `below`: what it stands on
/// that is made anew each time.
fn not_linked(group: &Group, member: &Member, below: Option<&Member>) -> Option<String> {
    // What builds on it would have another cache key too, which its input digest does not tell.
    let above = group.members.iter().find(|other| other.needs.contains(&member.name));
    match (above, member.unknown.first()) {
        _ if group.bake.address().is_some() => Some("the definition is at an address".to_owned()),
        // A second bake, where the links turn out wrong, would stand on another one.
        _ if let Some(below) = below => Some(format!("target `{}` below is made anew each time", below.name)),
        (Some(above), _) => Some(format!("target `{}` builds on it", above.name)),
        (None, Some(key)) => Some(format!("`{key}` of its definition is not known to layerlift")),
        (None, None) => None,
    }
}

/// Whether one bake can build all of a compose project here.
pub(super) fn can_bake(engine: &Engine) -> bool {
    engine.frontend == Frontend::Buildx && !matches!(engine.driver, Driver::Other(_))
}
