//! README's console blocks, run as they stand: every `$ ` line is a command, the lines below it are what it prints. `...`
//! stands for anything within a line, and, alone, for any lines. Also: the tables of README against the code.

use std::path::Path;
use std::process::Command;

use layerlift::base::env;

use crate::support::cli::TestEnv;
use crate::support::engine::{Engine, Kind};
use crate::support::program::run;
use crate::support::registry::Registry;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The commands of all console blocks, each with the lines that it is to print.
fn commands(text: &str) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for block in text.split("```console\n").skip(1) {
        for line in block.split("\n```").next().unwrap().lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
                (None, Some((_, expected))) => expected.push(line.to_owned()),
                (None, None) => panic!("a console block begins with a command: {line}"),
            }
        }
    }
    commands
}

/// Whether a line is what is written, with `...` for anything.
fn fits(expected: &str, line: &str) -> bool {
    let mut parts = expected.split("...");
    let Some(mut rest) = parts.next().and_then(|begin| line.strip_prefix(begin)) else { return false };
    let mut ended = true;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        ended = part.is_empty();
    }
    if expected.ends_with("...") {
        ended
    } else {
        rest.is_empty() || expected.contains("...") && line.ends_with(rest)
    }
}

/// The first line that is written and not printed, in order.
fn missing<'a>(expected: &'a [String], printed: &[&str]) -> Option<&'a str> {
    let mut printed = printed.iter();
    let mut anything = false;
    for line in expected {
        if line == "..." {
            anything = true;
            continue;
        }
        let found = if anything {
            printed.any(|it| fits(line, it))
        } else {
            printed.next().is_some_and(|it| fits(line, it))
        };
        anything = false;
        if !found {
            return Some(line);
        }
    }
    None
}

#[test]
fn console_blocks_print_what_they_say() {
    let engine = Engine::start(Kind::Docker28Containerd);
    let registry = Registry::shared();
    let mut test = TestEnv::new(&engine);
    test.set("REGISTRY", &registry.reference(&registry.unique("readme")));
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_layerlift"), test.path("bin/layerlift")).unwrap();
    let commands = commands(&readme());
    assert!(commands.len() > 4, "{commands:?}");
    for (command, expected) in commands {
        // The environment is that of the test's own command; the program is a shell, as for a reader of the README.
        let template = test.command(Path::new(env!("CARGO_MANIFEST_DIR")), &[]);
        let mut shell = Command::new("sh");
        shell.env_clear().current_dir(env!("CARGO_MANIFEST_DIR")).args(["-c", &format!("{command} 2>&1")]);
        shell.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let finished = run(&mut shell);
        assert_eq!(finished.code, 0, "{command}\n{}", finished.all());
        let text = finished.text();
        let printed: Vec<&str> = text.lines().collect();
        assert_eq!(missing(&expected, &printed), None, "{command}\n{}", finished.all());
    }
}

#[test]
fn every_setting_stands_in_the_readme() {
    let text = readme();
    let settings = env::ALL.iter().filter(|variable| variable.name.starts_with("LAYERLIFT_"));
    let absent: Vec<_> =
        settings.map(|it| it.name).filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(absent.is_empty(), "{absent:?}");
}

#[test]
fn the_picture_of_the_floors_is_that_of_the_code() {
    let code = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let floors = code.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let text = readme();
    let picture = text.split("\n## Architecture\n").nth(1).unwrap();
    let drawn = picture.lines().filter_map(|line| line.strip_prefix("    ")?.split('/').next());
    assert_eq!(floors.collect::<Vec<_>>(), drawn.collect::<Vec<_>>());
}
