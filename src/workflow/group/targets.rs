//! What the members of a group are made from. One that builds on the result of another has that one's input digest among
//! its inputs, so that it is gathered after that one.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use crate::model::inputs::Inputs;
use crate::model::member::Member;
use crate::model::pipeline::Pipeline;
use crate::model::platform::Platform;
use crate::model::reference::Digest;
use crate::model::settings::Settings;
use crate::registry::Client;
use crate::workflow::facts;
use crate::workflow::inputs::{self, Given, Targets};
use crate::workflow::source::Source;
use crate::workflow::world::World;

/// A member, as far as its inputs need it.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    /// The member.
    pub member: &'a Member,
    /// The settings, as they hold for it.
    pub settings: &'a Settings,
    /// Its Dockerfile.
    pub source: &'a Source,
    /// Where this runs.
    pub pipeline: &'a Pipeline,
}

impl Described<'_> {
    async fn inputs(
        self,
        world: &World,
        client: &Client,
        machine: &Platform,
        targets: &Targets,
    ) -> Result<Inputs, String> {
        let Described { member: Member { request, .. }, settings, source, pipeline } = self;
        let mut platforms = facts::platforms(request, world, &mut Vec::new());
        if platforms.is_empty() {
            platforms.push(machine.clone());
        }
        let given = Given {
            request,
            settings,
            source,
            pipeline,
            platforms: &platforms,
            build_platform: machine,
            targets,
        };
        inputs::gather(world, client, given).await
    }
}

/// What members are made from.
#[derive(Debug, Default)]
pub struct Known {
    /// By their names; the error: why it is not known.
    pub inputs: BTreeMap<String, Result<Inputs, String>>,
    /// The same, as those see it that build on them.
    pub targets: Targets,
}

/// What members are made from, and what those are made from that they need. `machine`: what builds. `all`: each after those that it needs.
pub async fn inputs(
    world: &World,
    client: &Client,
    all: &[Described<'_>],
    wanted: &[&str],
    machine: &Platform,
) -> Known {
    let mut left: Vec<Described<'_>> = Vec::new();
    for it in all.iter().rev() {
        let name = &it.member.name;
        if wanted.contains(&name.as_str()) || left.iter().any(|other| other.member.needs.contains(name)) {
            left.push(*it);
        }
    }
    let Known { inputs: mut known, mut targets } = Known::default();
    while !left.is_empty() {
        let names: BTreeSet<&String> = left.iter().map(|it| &it.member.name).collect();
        let is_ready = |it: &Described<'_>| !it.member.needs.iter().any(|needed| names.contains(needed));
        let (mut ready, waiting): (Vec<_>, Vec<_>) = left.into_iter().partition(is_ready);
        left = waiting;
        if ready.is_empty() {
            // They need each other, which bake refuses.
            ready = std::mem::take(&mut left);
        }
        let gathered = join_all(ready.iter().map(|it| it.inputs(world, client, machine, &targets))).await;
        for (it, found) in ready.into_iter().zip(gathered) {
            targets.insert(it.member.name.clone(), of_target(&found));
            known.insert(it.member.name.clone(), found);
        }
    }
    Known { inputs: known, targets }
}

/// What its inputs are to those that build on it.
fn of_target(inputs: &Result<Inputs, String>) -> Result<Digest, String> {
    let inputs = inputs.as_ref().map_err(String::clone)?;
    match inputs.unknown.first() {
        Some(unknown) => Err(unknown.to_string()),
        None => Ok(inputs.digest.clone()),
    }
}

/// What the targets are made from that members need, now. `machine`: what builds.
pub async fn needed(world: &World, client: &Client, all: &[Described<'_>], machine: &Platform) -> Known {
    let names: BTreeSet<&String> = all.iter().flat_map(|it| &it.member.needs).collect();
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    inputs(world, client, all, &names, machine).await
}

impl Known {
    /// What those are made from that a member stands on, also by way of others.
    pub fn below<'a>(&'a self, all: &[Described<'_>], member: &Member) -> Vec<&'a Inputs> {
        let mut names: BTreeSet<&String> = member.needs.iter().collect();
        for it in all.iter().rev().filter(|it| it.member.name != member.name) {
            if names.contains(&it.member.name) {
                names.extend(&it.member.needs);
            }
        }
        names.into_iter().filter_map(|name| self.inputs.get(name)?.as_ref().ok()).collect()
    }
}
