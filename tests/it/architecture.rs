//! The layers of `src/`, held true: who imports whom, and which outside doors exist.
//!
//! Comments are left out, string literals are not; a rule that trips over one is told apart by the file it names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The folders of `src/` from the top floor to the ground. Those in one line import neither each other nor upwards.
const FLOORS: [&[&str]; 9] = [
    &["cli"],
    &["workflow"],
    &["report"],
    &["engine", "registry"],
    &["context", "pipeline"],
    &["plan"],
    &["cachefmt", "ciconfig", "dockerfile", "invocation"],
    &["model"],
    &["base"],
];

/// What only one place may use, and the place: a folder, or a file. `base/` doors are the sole callers of their library.
const DOORS: [(&[&str], &str); 6] = [
    (&["reqwest::"], "registry/"),
    (&["serde_yaml::"], "base/yaml.rs"),
    (&["process::Command::new", "tokio::process::"], "base/process/"),
    (&["env::var(", "env::var_os(", "env::vars(", "env::vars_os("], "base/env.rs"),
    (&["indicatif::"], "report/"),
    (&["hyper::"], "engine/probe/api.rs"),
];

/// Folders that neither read nor write, and what they therefore do not name.
const PURE: [&str; 6] = ["plan", "dockerfile", "cachefmt", "ciconfig", "invocation", "model"];
const IMPURE: [&str; 6] = ["std::fs", "std::net", "std::process", "tokio::", "reqwest::", "SystemTime::now"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every file below `src/` with its path from there and its text without comment lines.
fn files() -> Vec<(String, String)> {
    let mut folders = vec![source()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                let name = path.strip_prefix(source()).unwrap().to_str().unwrap().to_owned();
                found.push((name, code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    assert!(found.len() > 10, "the sources were found");
    found
}

fn floor(folder: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&folder))
}

/// The folders that a text names after `crate::`, alone or in braces.
fn imports(code: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let end = list.find(|character| {
                depth += i32::from(character == '{') - i32::from(character == '}');
                depth < 0
            });
            let list = &list[..end.unwrap_or(list.len())];
            let mut depth = 0;
            let names = list.split(|character| {
                depth += i32::from(character == '{') - i32::from(character == '}');
                depth == 0 && character == ','
            });
            found.extend(names.map(|name| first_word(name.trim())));
        } else {
            found.insert(first_word(rest));
        }
    }
    found
}

fn first_word(text: &str) -> &str {
    text.split(|character: char| !character.is_alphanumeric() && character != '_').next().unwrap_or_default()
}

/// What a file names although it must not: the first of the words that stands in it.
fn named<'a>(code: &str, words: &[&'a str]) -> Option<&'a str> {
    words.iter().copied().find(|word| code.contains(word))
}

#[test]
fn imports_are_found_in_every_form() {
    let code = "use crate::base::{a, b};\nuse crate::{model::{x, y}, plan};\nlet z = crate::cachefmt::z();";
    assert_eq!(imports(code).into_iter().collect::<Vec<_>>(), ["base", "cachefmt", "model", "plan"]);
}

#[test]
fn lib_declares_the_floors_from_the_top_to_the_ground() {
    let text = std::fs::read_to_string(source().join("lib.rs")).unwrap();
    let declared = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    assert_eq!(declared.collect::<Vec<_>>(), FLOORS.concat());
}

#[test]
fn a_folder_imports_only_from_floors_below_it() {
    let mut wrong = Vec::new();
    for (file, code) in files() {
        let Some((folder, _)) = file.split_once('/') else { continue };
        let own = floor(folder).unwrap_or_else(|| panic!("src/{folder} is on no floor"));
        for import in imports(&code) {
            if import != folder && floor(import).is_some_and(|other| other <= own) {
                wrong.push(format!("src/{file} imports crate::{import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_outside_door_is_a_single_one() {
    let mut wrong = Vec::new();
    for (file, code) in files() {
        for (words, door) in DOORS {
            if let Some(word) = named(&code, words)
                && !file.starts_with(door)
            {
                wrong.push(format!("src/{file} uses {word}, whose door is src/{door}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn progress_bars_are_drawn_in_one_file() {
    let drawing: Vec<String> =
        files().into_iter().filter(|(_, code)| code.contains("indicatif::")).map(|(file, _)| file).collect();
    assert!(drawing.len() <= 1, "{drawing:?}");
}

#[test]
fn pure_folders_touch_nothing_outside() {
    let mut wrong = Vec::new();
    for (file, code) in files() {
        let folder = file.split('/').next().unwrap_or_default();
        if PURE.contains(&folder)
            && let Some(word) = named(&code, &IMPURE)
        {
            wrong.push(format!("src/{file} names {word}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
