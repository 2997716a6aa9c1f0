//! What `bake` and `compose` share: lines that are run as they stand, and the plan of a group.

use std::fmt::Write;

use crate::base::process::{Command, Handover};
use crate::cli::answered_plan;
use crate::cli::failure::Failure;
use crate::cli::plan::{commands, engine_line, pipeline_line, setting_name};
use crate::cli::settings::SettingsArgs;
use crate::engine::bake;
use crate::engine::line::Line;
use crate::invocation::Left;
use crate::model::engine::Engine;
use crate::model::member::Member;
use crate::model::pipeline::Pipeline;
use crate::model::settings::Settings;
use crate::plan::reuse::Looked;
use crate::plan::scope::Chain;
use crate::plan::steps::{Decision, scope_decision};
use crate::workflow::decide::Prepared;
use crate::workflow::group::decide::{AnsweredMember, DecidedGroup};
use crate::workflow::group::define::{Group, Untouched};
use crate::workflow::group::prepare::{PreparedGroup, PreparedMember};
use crate::workflow::world::World;

/// Becomes the line's own program; returns where that is not possible.
pub fn leave(world: &World, original: &Command, left: Left) -> Failure {
    match left {
        Left::NoBuild => {}
        Left::Unknown(flag) => say(world, original, &unknown(&flag)),
        Left::Because(reason) => say(world, original, &reason),
    }
    Failure::of_handover(&Handover::from(original).replace())
}

/// Why a flag makes layerlift leave a line alone.
fn unknown(flag: &str) -> String {
    let name = flag.split('=').next().unwrap_or_default();
    if SettingsArgs::has(name) {
        return format!("`{name}` is a setting of layerlift, which comes before the tool's own arguments");
    }
    format!("`{flag}` is not known to layerlift")
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

/// Prints the plan of members that one bake builds, and of those that images answer for.
pub fn show_bake(world: &World, settings: &Settings, group: &Group, decided: &DecidedGroup) {
    let mut out = String::new();
    let prepared = decided.built.as_ref();
    let members: Vec<&PreparedMember> = prepared.iter().flat_map(|it| &it.members).collect();
    facts(&mut out, &decided.surroundings.pipeline, prepared.map(|it| &it.engine), settings);
    let place = |name: &str| group.members.iter().position(|member| member.name == name);
    let mut shown: Vec<(&str, String)> = Vec::new();
    for it in &decided.answered {
        let mut text = String::new();
        answer(&mut text, it, &decided.surroundings.scopes);
        shown.push((&it.member.name, text));
    }
    for it in &members {
        let mut text = String::new();
        image(&mut text, &it.member, &it.prepared);
        shown.push((&it.member.name, text));
    }
    shown.sort_by_key(|(name, _)| place(name));
    shown.iter().for_each(|(_, text)| out.push_str(text));
    let _ = writeln!(out, "\ncommands");
    for it in &decided.answered {
        for (line, purpose) in answered_plan::commands(&it.wanted, &it.answer) {
            command(&mut out, &line, &format!("{}: {purpose}", it.member.name));
        }
    }
    let listed = members.iter().map(|it| {
        let alone = prepared.and_then(|prepared| prepared.alone(it, &group.bake, &[]));
        let all = commands(&it.prepared, alone.as_ref().map_or(Line::Docker, Line::Bake));
        (&it.member.name, all)
    });
    let listed: Vec<_> = listed.collect();
    let is_build = |(_, purpose): &&(String, String)| purpose == "build";
    for (name, all) in &listed {
        for (line, purpose) in all.iter().take_while(|it| !is_build(it)) {
            command(&mut out, line, &format!("{name}: {purpose}"));
        }
    }
    if let Some(prepared) = prepared {
        bakes(&mut out, settings, group, prepared);
    }
    for (name, all) in &listed {
        for (line, purpose) in all.iter().skip_while(|it| !is_build(it)).skip(1) {
            command(&mut out, line, &format!("{name}: {purpose}"));
        }
    }
    world.printer.data(&out);
}

/// The runs of bake.
fn bakes(out: &mut String, settings: &Settings, group: &Group, prepared: &PreparedGroup) {
    let folder = prepared.cache_folder(settings);
    let waves = prepared.waves();
    let is_whole = prepared.members.len() == group.members.len();
    for (number, members) in waves.iter().enumerate() {
        let wave = prepared.wave(members);
        let added = bake::added(&prepared.engine, &wave.overrides, folder.as_deref());
        if waves.len() == 1 && is_whole {
            command(out, &group.bake.shown(added).to_string(), "build all");
            continue;
        }
        let names = prepared.names(members);
        let purpose = match waves.len() {
            1 => format!("build {}", names.join(", ")),
            of => format!("build {} ({} of {of})", names.join(", "), number + 1),
        };
        command(out, &group.bake.of(&names).shown(added).to_string(), &purpose);
    }
}

/// Prints the plan of services that are built one after the other.
pub fn show_services(world: &World, settings: &Settings, prepared: &[(Member, Prepared)]) {
    let mut out = String::new();
    if let Some((_, Prepared { facts: known, .. })) = prepared.first() {
        facts(&mut out, &known.pipeline, Some(&known.engine), settings);
    }
    for (member, prepared) in prepared {
        image(&mut out, member, prepared);
        for (line, purpose) in commands(prepared, Line::Docker) {
            command(&mut out, &line, &purpose);
        }
    }
    world.printer.data(&out);
}

// Writing to a string does not fail.

fn command(out: &mut String, command: &str, purpose: &str) {
    let _ = writeln!(out, "  # {purpose}\n  {command}");
}

/// What is true of all.
fn facts(out: &mut String, pipeline: &Pipeline, engine: Option<&Engine>, settings: &Settings) {
    let _ = writeln!(out, "facts\n  pipeline    {}", pipeline_line(pipeline));
    let _ = writeln!(out, "  engine      {}", engine.map_or_else(|| "not asked".to_owned(), engine_line));
    for (name, origin) in &settings.origins {
        let _ = writeln!(out, "  setting     {} by {origin}", setting_name(name));
    }
}

fn image(out: &mut String, member: &Member, Prepared { plan, .. }: &Prepared) {
    let _ = writeln!(out, "\nimage {}", member.name);
    for candidate in &plan.chain.verdicts {
        let _ = writeln!(out, "  cache ref   {}\n{:14}({})", candidate.reference, "", candidate.verdict);
    }
    decisions(out, &plan.decisions);
    for warning in &plan.warnings {
        let _ = writeln!(out, "  warning     {warning}");
    }
}

fn answer(out: &mut String, it: &AnsweredMember, scopes: &Chain) {
    let _ = writeln!(out, "\nimage {}", it.member.name);
    let found = Looked::found(&it.answer.reused).decision();
    decisions(out, &[scope_decision(scopes), found]);
}

fn decisions(out: &mut String, decisions: &[Decision]) {
    for Decision { topic, choice, reason } in decisions {
        let _ = writeln!(out, "  {topic:<11} {choice}\n{:14}({reason})", "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_in_the_wrong_place_is_told_from_a_flag_that_nobody_knows() {
        assert!(unknown("--auto-link=off").starts_with("`--auto-link` is a setting of layerlift"));
        assert_eq!(unknown("--newest-flag=x"), "`--newest-flag=x` is not known to layerlift");
        assert_eq!(unknown("now"), "`now` is not known to layerlift");
    }
}
