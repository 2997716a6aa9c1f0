//! What comes from elsewhere: lists of packages, downloads, the frontend. And what is not known at all.

use crate::dockerfile::{CopySource, StageNode};
use crate::plan::lint::course::Act;
use crate::plan::lint::{Advice, Rule, Subject};

/// Programs with a list of packages, what fetches it, and what uses it.
const LISTS: [(&str, &[&str]); 3] = [
    ("apt-get", &["install", "upgrade", "dist-upgrade", "build-dep", "download", "source", "satisfy"]),
    ("apt", &["install", "upgrade", "full-upgrade", "build-dep", "download"]),
    ("apk", &["add", "upgrade", "fetch"]),
];

/// Looks at one stage.
pub(super) fn look(subject: Subject<'_>, node: &StageNode, course: &[Act<'_>], advice: &mut Vec<Advice>) {
    for (place, act) in course.iter().enumerate() {
        if let Some(command) = act.command() {
            let later: Vec<&str> = course[place + 1..].iter().filter_map(Act::command).collect();
            advice.extend(update_alone(act, command, &later));
        }
        for source in act.copy().filter(|copy| copy.is_add).iter().flat_map(|copy| &copy.sources) {
            let CopySource::Remote(address) = source else { continue };
            let checked = act.copy().is_some_and(|copy| {
                copy.options.iter().any(|(name, value)| name == "checksum" && !value.text.is_empty())
            });
            if !checked && !is_pinned(&address.text) {
                advice.push(unverified(act, &address.text));
            }
        }
    }
    let lines = subject.text.lines().count();
    for opaque in node.opaque.iter().filter(|opaque| opaque.line <= lines) {
        advice.push(Advice {
            line: opaque.line.max(1),
            rule: Rule::Unknown,
            text: format!(
                "layerlift does not know this {}: the image is never reused, always built",
                opaque.what
            ),
            help: "nothing needs to be done; the engine builds it as it is".to_owned(),
            costs: None,
        });
    }
}

/// `apt-get update` in a step of its own.
fn update_alone(act: &Act<'_>, command: &str, later: &[&str]) -> Option<Advice> {
    let calls = |text: &str, program: &str, subcommands: &[&str]| {
        let parts = text.split(['\n', ';', '&', '|', '(', ')']);
        parts.map(|part| part.split_whitespace().collect::<Vec<_>>()).any(|words| {
            let at = words.iter().position(|word| *word == program);
            at.is_some_and(|at| words[at..].iter().any(|word| subcommands.contains(word)))
        })
    };
    let (program, _) = LISTS.into_iter().find(|(program, uses)| {
        calls(command, program, &["update"])
            && !calls(command, program, uses)
            && later.iter().any(|later| calls(later, program, uses) && !calls(later, program, &["update"]))
    })?;
    Some(Advice {
        line: act.line(),
        rule: Rule::UpdateAlone,
        text: format!(
            "`{program} update` is a step of its own: it stays cached while the packages move on, and a later step asks for ones that are gone"
        ),
        help: format!(
            "update and install in one step: `RUN {program} update && {program} {} ...`",
            if program == "apk" { "add" } else { "install -y" }
        ),
        costs: None,
    })
}

/// Whether an address of git names a commit.
fn is_pinned(address: &str) -> bool {
    let commit = address.rsplit_once('#').map(|(_, fragment)| fragment.split(':').next().unwrap_or_default());
    commit.is_some_and(|commit| {
        [40, 64].contains(&commit.len()) && commit.bytes().all(|it| it.is_ascii_hexdigit())
    })
}

fn unverified(act: &Act<'_>, address: &str) -> Advice {
    let is_git = address.contains(".git")
        || address.starts_with("git@")
        || address.starts_with("git://")
        || address.starts_with("ssh://");
    let shown = address.split_once("://").map_or(address, |(_, rest)| rest);
    let name = shown.split(['?', '#']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let help = match is_git {
        true => "name the commit: `ADD https://host/project.git#<commit> ...`",
        false => "say what it must be: `ADD --checksum=sha256:... <address> ...` (dockerfile 1.6 and later)",
    };
    Advice {
        line: act.line(),
        rule: Rule::UnverifiedDownload,
        text: format!(
            "nobody knows whether `{name}` is the same tomorrow: the image is never reused, always built"
        ),
        help: help.to_owned(),
        costs: None,
    }
}

/// The `# syntax=` directive.
pub(super) fn look_at_frontend(subject: Subject<'_>, advice: &mut Vec<Advice>) {
    let Some(image) = &subject.dockerfile.syntax else { return };
    let name = image.rsplit('/').next().unwrap_or_default();
    let moves = !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    let is_directive = |line: &str| {
        let line: String = line.chars().filter(|letter| !letter.is_whitespace()).collect();
        line.to_ascii_lowercase().starts_with("#syntax=") || line.starts_with("//syntax=")
    };
    let line = subject.text.lines().position(is_directive);
    if let Some(line) = line.filter(|_| moves) {
        let base = image.strip_suffix(":latest").unwrap_or(image);
        advice.push(Advice {
            line: line + 1,
            rule: Rule::MovingFrontend,
            text: format!(
                "`{image}` is another frontend after each of its releases, and with it the image's identity"
            ),
            help: format!("name the version: `# syntax={base}:1`"),
            costs: None,
        });
    }
}
