//! What is learnt of a group before any engine is asked: where we run, what every member is made from, and whether its
//! image is there already. The registry is asked for all members at once.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use crate::base::env;
use crate::model::member::Member;
use crate::model::pipeline::Pipeline;
use crate::model::reference::Reference;
use crate::model::settings::Settings;
use crate::plan::reuse::{self, Looked, Wanted};
use crate::registry::Client;
use crate::workflow::before::{self, Before, Names};
use crate::workflow::error::Error;
use crate::workflow::facts::{self, Surroundings};
use crate::workflow::group::define::Group;
use crate::workflow::group::targets::{self, Described, Known};
use crate::workflow::inputs::Targets;
use crate::workflow::reuse::look::{self, Answer, Early, Search, Where};
use crate::workflow::source::{self, Source};
use crate::workflow::world::World;

/// A member, and what was learnt of it.
#[derive(Debug)]
pub struct Learnt {
    /// The member.
    pub member: Member,
    /// The settings, as they hold for it.
    pub settings: Settings,
    /// Its Dockerfile.
    pub source: Source,
    /// Where we run, and the search for its image.
    pub before: Before,
}

impl Learnt {
    /// The image that answers for it, and what it is wanted for.
    pub fn answer(&self) -> Option<(&Wanted, &Answer)> {
        match &self.before.search {
            Search { wanted: Ok(wanted), early: Some(Early { found: Ok(answer), .. }) } => {
                Some((wanted, answer))
            }
            _ => None,
        }
    }

    /// As far as its inputs need it.
    pub fn described(&self) -> Described<'_> {
        Described {
            member: &self.member,
            settings: &self.settings,
            source: &self.source,
            pipeline: &self.before.surroundings.pipeline,
        }
    }
}

/// Learns it.
pub async fn learn(
    world: &World,
    settings: &Settings,
    group: &Group,
    surroundings: &Surroundings,
    client: &Client,
) -> Result<Vec<Learnt>, Error> {
    let members = &group.members;
    let named: Vec<Vec<Reference>> =
        members.iter().map(|member| facts::images(&member.request)).collect::<Result<_, _>>()?;
    let mut again: BTreeMap<&str, String> = BTreeMap::new();
    let mut all = Vec::new();
    for (index, member) in members.iter().enumerate() {
        // A member without a name of its own, such as a base, keeps its cache beside the others'.
        let others = named.iter().enumerate().filter(|(other, _)| *other != index).flat_map(|(_, it)| it);
        let images = named[index].iter().chain(others).cloned().collect();
        let settings = Settings { member: Some(member.name.clone()), ..settings.clone() };
        let source = source::read(&member.request, member.inline.as_deref().unwrap_or_default().as_bytes())?;
        let wanted = wanted(group, member, &settings, &surroundings.pipeline, &mut again);
        // `docker build` heeds it, bake does not (buildx `commands/build.go`), compose says itself what it makes of it.
        let default = world.environment.get(env::DOCKER_DEFAULT_PLATFORM);
        let wanted = match default.filter(|_| member.request.platforms().is_empty()) {
            Some(_) => Err("what DOCKER_DEFAULT_PLATFORM means for it is not known".to_owned()),
            None => wanted,
        };
        let surroundings = Surroundings { images, ..surroundings.clone() };
        let search = Search { wanted, early: None };
        let before = Before { surroundings, search, targets: Targets::new() };
        all.push(Learnt { member: member.clone(), settings, source, before });
    }
    look(world, group, client, &mut all).await;
    Ok(all)
}

/// What of a member an image that is there can answer. `again`: members that are built anew, and why.
fn wanted<'a>(
    group: &Group,
    member: &'a Member,
    settings: &Settings,
    pipeline: &Pipeline,
    again: &mut BTreeMap<&'a str, String>,
) -> Result<Wanted, String> {
    let request = &member.request;
    let own = match (request.is_on("no-cache"), request.has("no-cache-filter")) {
        (true, _) => Some("--no-cache was given".to_owned()),
        (false, true) => Some("--no-cache-filter was given".to_owned()),
        (false, false) => None,
    };
    let needed = || member.needs.iter().find(|needed| again.contains_key(needed.as_str()));
    let of_needed = || needed().map(|it| format!("target `{it}`, which it builds on, is built anew"));
    let anew = own.or_else(of_needed);
    again.extend(anew.clone().map(|reason| (member.name.as_str(), reason)));
    if group.bake.address().is_some() {
        return Err("its definition is at an address, which only the engine fetches".to_owned());
    }
    if !member.asked {
        return Err("nobody but other targets needs it".to_owned());
    }
    if let Some(key) = member.unknown.first() {
        return Err(format!("`{key}` of its definition is not known to layerlift"));
    }
    let wanted = reuse::wanted(request, settings, pipeline)?;
    Ok(Wanted { anew, ..wanted })
}

/// Looks for the images of those members whose platform is known without the engine.
async fn look(world: &World, group: &Group, client: &Client, members: &mut [Learnt]) {
    let mut plain: BTreeSet<String> = BTreeSet::new();
    for it in members.iter() {
        let Member { name, request, needs, .. } = &it.member;
        let is_told = !facts::platforms(request, world, &mut Vec::new()).is_empty();
        let is_here = || before::is_this_machine(request, &it.settings, &world.environment);
        let is_plain = is_told || !group.has_builder && is_here();
        if is_plain && needs.iter().all(|needed| plain.contains(needed)) {
            plain.insert(name.clone());
        }
    }
    let is_open = |it: &Learnt| {
        let is_wanted = it.before.search.wanted.as_ref().is_ok_and(|wanted| wanted.anew.is_none());
        is_wanted && plain.contains(&it.member.name)
    };
    let open: Vec<&str> = members.iter().filter(|it| is_open(it)).map(|it| it.member.name.as_str()).collect();
    let machine = facts::this_machine();
    let described: Vec<Described<'_>> = members.iter().map(Learnt::described).collect();
    let Known { inputs: known, targets } = targets::inputs(world, client, &described, &open, &machine).await;
    let searches = members.iter().map(|it| async {
        let Learnt { member: Member { name, request, .. }, settings, source, before } = it;
        let inputs = known.get(name)?.clone();
        let Before { surroundings, search, .. } = before;
        let wanted = match &search.wanted {
            Ok(wanted) => wanted,
            Err(reason) => return Some(Early { inputs, found: Err(Looked::not(reason.clone())) }),
        };
        let names = Names::of(world, request, settings, surroundings, &mut Vec::new());
        let keys = names.keys(world, request, settings, source, surroundings, &names.guessed);
        let scopes = &surroundings.scopes;
        let place = Where { request, client, repo: &names.cache_repo, scopes, keys: &keys };
        let found = look::seek(place, wanted, &inputs, settings).await;
        Some(Early { inputs, found: found.map(Box::new) })
    });
    let found: Vec<Option<Early>> = join_all(searches).await;
    for (it, early) in members.iter_mut().zip(found) {
        it.before.search.early = early;
        it.before.targets.clone_from(&targets);
    }
}
