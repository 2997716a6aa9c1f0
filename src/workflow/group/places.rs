//! What a group's bakes are told of the places of its members: folders with the modes that git records, and Dockerfiles with
//! links.

use std::ffi::OsString;

use crate::model::modes::Modes;
use crate::plan::group::Dockerfiles;
use crate::plan::steps::Facts;
use crate::workflow::decide::Prepared;
use crate::workflow::group::define::Group;
use crate::workflow::group::prepare::PreparedGroup;
use crate::workflow::stand_in::{self, StandIn};
use crate::workflow::world::World;

/// What the engine is given in the place of the members' folders, for each.
pub(super) async fn stand_ins(
    world: &World,
    group: &Group,
    prepared: &mut PreparedGroup,
    general: &mut Vec<String>,
) -> Vec<StandIn> {
    let contexts: Vec<_> = prepared.members.iter().map(|it| it.prepared.contexts.clone()).collect();
    let made = match group.bake.address() {
        // Its folders are there, not here.
        Some(_) => Err("the definition is at an address".to_owned()),
        // It would be asked for the right to read a shadow, not for that to read what the shadow is of.
        None if group.is_to_check => Err("bake has to ask before it reads the folders".to_owned()),
        None => stand_in::make(world, &contexts, general).await,
    };
    made.unwrap_or_else(|reason| {
        for Prepared { facts: Facts { modes, .. }, plan, .. } in
            prepared.members.iter_mut().map(|it| &mut it.prepared).filter(|it| it.facts.modes.normalized)
        {
            if modes.changes() {
                // It was to be kept as an image of other modes.
                plan.store = None;
                plan.link.forget("the modes of its files are not those that git records");
            }
            *modes = Modes::untouched(reason.clone());
        }
        vec![StandIn::default(); contexts.len()]
    })
}

/// The members' Dockerfiles and folders, as overrides. A member that is built for another's sake reads the same ones.
pub(super) fn places(world: &World, prepared: &PreparedGroup, stand_ins: &[StandIn]) -> Vec<String> {
    let all = prepared.members.iter().zip(stand_ins);
    let folders = all.flat_map(|(it, stand_in)| stand_in.overrides(&it.member.name)).collect();
    let Dockerfiles { own, replaced } = prepared.dockerfiles(&world.folder);
    // Of several for one target the last stands.
    [own, folders, replaced].concat()
}

/// Variables that tell git where the contexts belong, where that is one place for all.
pub(super) fn variables(prepared: &PreparedGroup, stand_ins: &[StandIn]) -> Vec<(String, Option<OsString>)> {
    let mut each = stand_ins.iter().map(|stand_in| stand_in.variables(&prepared.engine));
    let first = each.next().unwrap_or_default();
    if each.all(|other| other == first) { first } else { Vec::new() }
}
