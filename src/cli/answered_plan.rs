//! The plan of a build that an image answers: no engine is asked, so that nothing is known of one.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::base::process::Command;
use crate::cli::plan::{VERSION, pipeline_line, setting_name};
use crate::model::settings::Settings;
use crate::plan::reuse::Wanted;
use crate::workflow::decide::Answered;
use crate::workflow::reuse::look::Answer;

pub(super) fn text(answered: &Answered, settings: &Settings) -> String {
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{text}");
    };
    line(format_args!("facts"));
    line(format_args!("  pipeline    {}", pipeline_line(&answered.surroundings.pipeline)));
    line(format_args!("  engine      not asked"));
    for (name, origin) in &settings.origins {
        line(format_args!("  setting     {} by {origin}", setting_name(name)));
    }
    line(format_args!("\ndecisions"));
    for decision in answered.decisions() {
        line(format_args!("  {:<11} {}\n{:14}({})", decision.topic, decision.choice, "", decision.reason));
    }
    for warning in &answered.surroundings.warnings {
        line(format_args!("  warning     {warning}"));
    }
    line(format_args!("\ncommands"));
    for (command, purpose) in commands(&answered.wanted, &answered.answer) {
        line(format_args!("  # {purpose}\n  {command}"));
    }
    out
}

/// What is run, in order, and what it is for.
pub(super) fn commands(wanted: &Wanted, answer: &Answer) -> Vec<(String, &'static str)> {
    let put = |name: &_| (format!("(registry) put {name} from {}", answer.reference), "name the image");
    let mut commands: Vec<_> = wanted.push.iter().map(put).collect();
    if !wanted.load.is_empty() {
        let source = wanted.push.first().unwrap_or(&answer.reference).repository();
        let source = source.with_digest(&answer.root.digest).to_string();
        let docker = |words: &[&str]| Command::new("docker", words.iter().copied()).to_string();
        commands.push((docker(&["pull", "--quiet", &source]), "load the image"));
        for name in &wanted.load {
            commands.push((docker(&["tag", &source, &name.to_string()]), "load the image"));
        }
    }
    commands
}

pub(super) fn as_json(answered: &Answered, settings: &Settings) -> Value {
    let surroundings = &answered.surroundings;
    json!({
        "version": VERSION,
        "facts": {
            "pipeline": surroundings.pipeline,
            "engine": null,
            "platforms": [],
            "candidates": [],
            "settings": settings.origins,
        },
        "strategy": "reuse",
        "scope": surroundings.scopes.own,
        "cache_from": null,
        "decisions": answered.decisions().iter().map(|decision| json!({
            "topic": decision.topic, "choice": decision.choice, "reason": decision.reason,
        })).collect::<Vec<_>>(),
        "warnings": surroundings.warnings,
        "commands": commands(&answered.wanted, &answered.answer).into_iter().map(|(command, purpose)| json!({
            "command": command, "purpose": purpose,
        })).collect::<Vec<_>>(),
    })
}
