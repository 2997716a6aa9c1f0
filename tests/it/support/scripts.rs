//! Shell scripts, in files of their own and within YAML, as shellcheck sees them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::program::{Finished, run};

/// Every `run` (a text, or a `command` below it) of a CI system's file.
#[track_caller]
pub fn in_yaml(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let value: Value = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    let mut found = Vec::new();
    collect(&value, &mut found);
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("run", Value::String(script)) => found.push(script.clone()),
                    ("run", Value::Object(step)) => found.extend(step["command"].as_str().map(str::to_owned)),
                    _ => collect(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// Checks a script in a shell's language.
#[track_caller]
pub fn check(shell: &str, script: &str) {
    let mut command = Command::new("shellcheck");
    command.args(["--shell", shell, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let finished = Finished::from(child.wait_with_output().unwrap());
    assert_eq!(finished.code, 0, "{script}\n{}", finished.all());
}

/// Checks scripts that name their own shell.
#[track_caller]
pub fn check_files(files: &[PathBuf]) {
    let _ = run(Command::new("shellcheck").args(files)).ok();
}
