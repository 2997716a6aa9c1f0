//! What the context holds, and a step takes, although no image needs it: version control, dependencies and results of
//! local builds, caches, logs, large files. What a source names itself is wanted.

use std::collections::{BTreeMap, HashMap};

use crate::base::units::{bytes, plural};
use crate::plan::lint::course::{Act, sum};
use crate::plan::lint::order::mentions;
use crate::plan::lint::{Advice, Files, Rule, Subject};

/// A single file above this is told.
const LARGE: u64 = 50_000_000;

/// Less than this is not worth a word, but for what changes by itself.
const WORTH_A_WORD: u64 = 100_000;

/// As many names as are told.
const MOST_NAMED: usize = 6;

/// Names of folders that are never part of an image.
const FOLDERS: [&str; 15] = [
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".tox",
    ".nox",
    ".idea",
    ".vscode",
    ".terraform",
    ".layerlift",
    ".gradle",
];

/// What is found, by the path that is to be left out.
#[derive(Debug, Default)]
struct Found {
    size: u64,
    files: usize,
}

/// Looks at one way.
pub(super) fn look(subject: Subject<'_>, course: &[Act<'_>], advice: &mut Vec<Advice>) {
    let Some(files) = subject.files else { return };
    for (place, act) in course.iter().enumerate() {
        if act.copy().is_none() {
            continue;
        }
        let commands: Vec<&str> = course[place..].iter().filter_map(Act::command).collect();
        let all: Vec<&str> = course.iter().filter_map(Act::command).collect();
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        let mut judge = Judge { files, commands: &all, folders: HashMap::new() };
        for (source, places) in act.takes(subject).unwrap_or_default() {
            for (path, size) in places.iter().filter_map(|place| files.entries.get(*place)) {
                let Some(root) = judge.junk(path, *size) else { continue };
                // What the source itself names, or lies in, was meant.
                let meant = source.trim_matches('/');
                if meant == root
                    || meant.starts_with(&format!("{root}/"))
                    || path.trim_end_matches('/') == meant
                {
                    continue;
                }
                let entry = found.entry(root).or_default();
                entry.size = entry.size.saturating_add(*size);
                entry.files += usize::from(!path.ends_with('/'));
            }
        }
        // A build that asks git about itself needs it.
        if commands.iter().any(|command| asks_git(command)) {
            found.remove(".git");
        }
        advice.extend(told(subject, course, place, found));
    }
}

fn asks_git(command: &str) -> bool {
    ["git", "setuptools_scm", "setuptools-scm", "hatch", "versioneer", "-buildvcs", "vergen"]
        .iter()
        .any(|word| mentions(command, word))
}

fn told(
    subject: Subject<'_>,
    course: &[Act<'_>],
    place: usize,
    found: BTreeMap<String, Found>,
) -> Option<Advice> {
    let act = &course[place];
    let volatile = found.contains_key(".git");
    let size = found.values().fold(0_u64, |sum, it| sum.saturating_add(it.size));
    if found.is_empty() || (size < WORTH_A_WORD && !volatile) {
        return None;
    }
    let mut found: Vec<(String, Found)> = found.into_iter().collect();
    found.sort_by_key(|(_, it)| std::cmp::Reverse(it.size));
    let more = found.len().saturating_sub(MOST_NAMED);
    let mut names: Vec<String> = found
        .iter()
        .take(MOST_NAMED)
        .map(|(name, it)| match it.files {
            0 | 1 => format!("`{name}` ({})", bytes(it.size)),
            files => format!("`{name}` ({}, {})", bytes(it.size), plural(files, "file")),
        })
        .collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let roots: Vec<String> = found.iter().map(|(name, _)| pattern(name)).collect();
    let mut patterns: Vec<String> = Vec::new();
    roots.into_iter().for_each(|root| {
        if !patterns.contains(&root) {
            patterns.push(root)
        }
    });
    let again = if volatile {
        "; `.git` changes with every commit, and this step and all after it run again"
    } else {
        ""
    };
    let costs = if volatile { sum(course[place..].iter().map(|act| act.took)) } else { None };
    Some(Advice {
        line: act.line(),
        rule: Rule::NeedlessFiles,
        text: format!("`{}` takes {}{again}", act.quoted(), names.join(", ")),
        help: format!("add to {}: {}", subject.ignore_file, patterns.join(" ")),
        costs,
    })
}

/// A name that comes at several places is left out everywhere.
fn pattern(root: &str) -> String {
    match root.rsplit_once('/') {
        Some((_, name)) if FOLDERS.contains(&name) || name == "node_modules" => format!("**/{name}"),
        Some(_) if root.ends_with(".log") => "**/*.log".to_owned(),
        _ => root.to_owned(),
    }
}

/// Tells what no image needs. Folders are judged once.
struct Judge<'a> {
    files: &'a Files,
    /// The commands of all steps on the way.
    commands: &'a [&'a str],
    folders: HashMap<String, bool>,
}

impl Judge<'_> {
    /// The path that is to be left out, if an entry is part of something that no image needs.
    fn junk(&mut self, path: &str, size: u64) -> Option<String> {
        let whole = path.trim_end_matches('/');
        let ends = whole.match_indices('/').map(|(at, _)| at).chain([whole.len()]);
        for end in ends {
            let is_folder = end < whole.len() || path.ends_with('/');
            if is_folder && self.is_needless(&whole[..end]) {
                return Some(whole[..end].to_owned());
            }
        }
        let name = whole.rsplit('/').next()?;
        let is_log = name.ends_with(".log") || name.ends_with(".pyc") || name == ".DS_Store";
        ((is_log || size >= LARGE) && !path.ends_with('/')).then(|| whole.to_owned())
    }

    fn is_needless(&mut self, folder: &str) -> bool {
        if let Some(known) = self.folders.get(folder) {
            return *known;
        }
        let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
        let needless = match name {
            // What is installed in the image anew takes its place.
            "node_modules" => self.runs(&["npm", "yarn", "pnpm", "bun"]),
            "venv" | "env" => self.has(folder, "pyvenv.cfg"),
            "target" => {
                self.has(above, "Cargo.toml") && self.runs(&["cargo"])
                    || self.has(above, "pom.xml") && self.runs(&["mvn", "mvnw"])
            }
            "dist" | ".next" | ".nuxt" => {
                self.has(above, "package.json") && self.runs(&["run build", "yarn build", "pnpm build"])
            }
            name => FOLDERS.contains(&name),
        };
        self.folders.insert(folder.to_owned(), needless);
        needless
    }

    fn has(&self, folder: &str, name: &str) -> bool {
        let wanted = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        self.files.entries.iter().any(|(path, _)| *path == wanted)
    }

    fn runs(&self, words: &[&str]) -> bool {
        self.commands.iter().any(|command| words.iter().any(|word| mentions(command, word)))
    }
}
