//! What `bake` and `compose` share: lines that are run as they stand, and the plan of a group.

use std::fmt::Write;

use crate::base::process::{Command, Handover};
use crate::cli::failure::Failure;
use crate::cli::plan::{commands, engine_line, pipeline_line, setting_name};
use crate::engine::bake;
use crate::invocation::Left;
use crate::model::member::Member;
use crate::model::settings::Settings;
use crate::workflow::decide::Prepared;
use crate::workflow::group::define::{Group, Untouched};
use crate::workflow::group::prepare::PreparedGroup;
use crate::workflow::group::run::cache_folder;
use crate::workflow::world::World;

/// Becomes the line's own program; returns where that is not possible.
pub fn leave(world: &World, original: &Command, left: Left) -> Failure {
    match left {
        Left::NoBuild => {}
        Left::Unknown(flag) => say(world, original, &format!("`{flag}` is not known to layerlift")),
        Left::Because(reason) => say(world, original, &reason),
    }
    Failure::of_handover(&Handover::from(original).replace())
}

/// The same where it turned out later.
pub fn untouched(world: &World, original: &Command, untouched: Untouched) -> Failure {
    say(world, original, &untouched.reason);
    Failure::of_handover(&Handover::from(original).replace_reading(untouched.stdin))
}

fn say(world: &World, original: &Command, reason: &str) {
    let name = name(original);
    world.printer.message(&format!("layerlift: `{name}` runs as it stands: {reason}\n"));
}

/// The program, without arguments that may hold anything.
fn name(command: &Command) -> String {
    let plugin = command.arguments.first().filter(|_| command.program == "docker");
    plugin.map_or(command.program.clone(), |plugin| format!("{} {plugin}", command.program))
}

/// Prints the plan of members that one bake builds.
pub fn show_bake(world: &World, settings: &Settings, group: &Group, prepared: &PreparedGroup) {
    let members = prepared.members.iter().map(|it| (&it.member, &it.prepared));
    let mut out = text(members, settings, |_| Vec::new());
    let folder = cache_folder(settings, prepared);
    let _ = writeln!(out, "\ncommands");
    let mut command = |command: &str, purpose: &str| {
        let _ = writeln!(out, "  # {purpose}\n  {command}");
    };
    for it in &prepared.members {
        let name = &it.member.name;
        for (line, purpose) in commands(&it.prepared) {
            if purpose == "build" {
                break;
            }
            command(&line, &format!("{name}: {purpose}"));
        }
    }
    let waves = prepared.waves();
    for (number, members) in waves.iter().enumerate() {
        let wave = prepared.wave(members);
        let added = bake::added(&prepared.engine, &wave.overrides, folder.as_deref());
        match waves.len() {
            1 => command(&group.bake.shown(added).to_string(), "build all"),
            of => {
                let names = prepared.names(members);
                let purpose = format!("build {} ({} of {of})", names.join(", "), number + 1);
                command(&group.bake.of(&names).shown(added).to_string(), &purpose);
            }
        }
    }
    for it in &prepared.members {
        let name = &it.member.name;
        let all = commands(&it.prepared).into_iter();
        for (line, purpose) in all.skip_while(|(_, purpose)| purpose != "build").skip(1) {
            command(&line, &format!("{name}: {purpose}"));
        }
    }
    world.printer.data(&out);
}

/// Prints the plan of services that are built one after the other.
pub fn show_services(world: &World, settings: &Settings, prepared: &[(Member, Prepared)]) {
    let members = prepared.iter().map(|(member, prepared)| (member, prepared));
    world.printer.data(&text(members, settings, commands));
}

fn text<'a>(
    members: impl Iterator<Item = (&'a Member, &'a Prepared)>,
    settings: &Settings,
    commands: impl Fn(&Prepared) -> Vec<(String, String)>,
) -> String {
    let mut out = String::new();
    for (index, (member, prepared)) in members.enumerate() {
        let (facts, plan) = (&prepared.facts, &prepared.plan);
        if index == 0 {
            let _ = writeln!(out, "facts\n  pipeline    {}", pipeline_line(&facts.pipeline));
            let _ = writeln!(out, "  engine      {}", engine_line(&facts.engine));
            for (name, origin) in &settings.origins {
                let _ = writeln!(out, "  setting     {} by {origin}", setting_name(name));
            }
        }
        let _ = writeln!(out, "\nimage {}", member.name);
        for candidate in &plan.chain.verdicts {
            let _ = writeln!(out, "  cache ref   {}\n{:14}({})", candidate.reference, "", candidate.verdict);
        }
        for decision in &plan.decisions {
            let (topic, choice) = (decision.topic, &decision.choice);
            let _ = writeln!(out, "  {topic:<11} {choice}\n{:14}({})", "", decision.reason);
        }
        for warning in &plan.warnings {
            let _ = writeln!(out, "  warning     {warning}");
        }
        for (command, purpose) in commands(prepared) {
            let _ = writeln!(out, "  # {purpose}\n  {command}");
        }
    }
    out
}
