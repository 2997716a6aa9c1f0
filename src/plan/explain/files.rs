//! What differs between the files that a step reads now and those that it read then.
//!
//! The files that matter first come first: changed content, then files that came, then modes and kinds, then files that are
//! gone. Three are named, the rest is counted, below the folder that they have in common.

use std::collections::BTreeMap;

use crate::base::units::plural;
use crate::cachefmt::folded;
use crate::model::inputs::{File, FileKind};
use crate::model::record::Cause;

/// Files that are named.
const NAMED: usize = 3;

/// Names that builds, tools and editors leave behind, and images do not need.
const LITTER: [&str; 24] = [
    ".cache",
    ".coverage",
    ".ds_store",
    ".env",
    ".git",
    ".gradle",
    ".idea",
    ".mypy_cache",
    ".next",
    ".pytest_cache",
    ".terraform",
    ".venv",
    ".vscode",
    "__pycache__",
    "build",
    "coverage",
    "dist",
    "log",
    "logs",
    "node_modules",
    "target",
    "temp",
    "tmp",
    "venv",
];
const LITTER_ENDS: [&str; 8] = [".bak", ".log", ".orig", ".pid", ".pyc", ".swp", ".tmp", "~"];

/// A file that differs.
struct Difference<'a> {
    /// What matters less comes later.
    rank: u8,
    /// The path, as it is compared and shown.
    path: &'a str,
    /// The whole cause.
    cause: Cause,
}

/// What differs, as causes. Empty where nothing does.
pub(super) fn causes<'a>(
    now: impl Iterator<Item = &'a File>,
    before: impl Iterator<Item = &'a File>,
) -> Vec<Cause> {
    let before: Vec<&File> = before.collect();
    // What was gathered by folder in the record is gathered alike here.
    let gathered: Vec<File>;
    let now: Vec<&File> = match folded::depth(before.iter().copied()) {
        Some(depth) => {
            gathered = folded::gathered(now, depth);
            gathered.iter().collect()
        }
        None => now.collect(),
    };
    let by_path = |files: &[&'a File]| -> BTreeMap<(Option<&'a str>, &'a str), &'a File> {
        files.iter().map(|file| ((file.context.as_deref(), file.path.as_str()), *file)).collect()
    };
    let before = by_path(&before);
    let own: BTreeMap<(Option<&str>, &str), &File> =
        now.iter().map(|file| ((file.context.as_deref(), file.path.as_str()), *file)).collect();
    let mut differences: Vec<Difference<'_>> = Vec::new();
    for (key, file) in &own {
        let cause = match before.get(key) {
            Some(old) => changed(file, old),
            None => Some(entered(file)),
        };
        differences.extend(cause.map(|(rank, cause)| Difference { rank, path: key.1, cause }));
    }
    for (key, old) in before.iter().filter(|(key, _)| !own.contains_key(*key)) {
        let cause = Cause { text: format!("{} left the context", name(old)), advice: None };
        differences.push(Difference { rank: rank(old, 4), path: key.1, cause });
    }
    shortened(differences)
}

/// The three that matter first, and how many there are besides.
fn shortened(mut differences: Vec<Difference<'_>>) -> Vec<Cause> {
    // The order by path is kept within a rank.
    differences.sort_by_key(|difference| difference.rank);
    let all_modes = differences.len() > 1 && differences.iter().all(|it| it.rank == 3);
    let rest = differences.split_off(differences.len().min(NAMED));
    let mut causes: Vec<Cause> = differences.into_iter().map(|it| it.cause).collect();
    if all_modes && let Some(first) = causes.first_mut() {
        let advice = "a checkout under another umask has other modes: --normalize-modes=on builds with those that git records";
        first.advice = Some(advice.to_owned());
    }
    if !rest.is_empty() {
        let folder = common_folder(rest.iter().map(|it| it.path));
        let below = if folder.is_empty() { String::new() } else { format!(" below {folder}") };
        causes.push(Cause { text: format!("and {} more{below}", rest.len()), advice: None });
    }
    causes
}

/// An ignore file explains others, and a folder by itself next to nothing.
fn rank(file: &File, rank: u8) -> u8 {
    match file.kind {
        _ if file.path == ".dockerignore" || file.path.ends_with(".dockerignore") => 0,
        FileKind::Folder if !file.path.ends_with('/') => 5,
        _ => rank,
    }
}

fn changed(file: &File, old: &File) -> Option<(u8, Cause)> {
    let name = name(file);
    let plain = |text: String| Cause { text, advice: None };
    if file.kind != old.kind {
        let text = format!("{name} is {}, it was {}", kind(file.kind), kind(old.kind));
        return Some((rank(file, 1), plain(text)));
    }
    if file.link != old.link {
        let to = |file: &File| file.link.clone().unwrap_or_default();
        return Some((1, plain(format!("link {name} leads to `{}`, it led to `{}`", to(file), to(old)))));
    }
    if file.digest != old.digest || file.size != old.size {
        let verb = if file.path.ends_with('/') { "files below" } else { "" };
        let text = format!("{verb} {name} changed ({})", growth(file.size, old.size));
        return Some((rank(file, 1), plain(text.trim_start().to_owned())));
    }
    if file.mode != old.mode {
        let text = format!("{name} mode {:04o} → {:04o}", old.mode, file.mode);
        return Some((3, plain(text)));
    }
    None
}

fn entered(file: &File) -> (u8, Cause) {
    let what = match file.kind {
        FileKind::Folder if file.path.ends_with('/') => "files below",
        FileKind::Folder => "folder",
        FileKind::Symlink => "link",
        FileKind::File | FileKind::Other => "file",
    };
    let advice = match is_litter(&file.path) {
        true => "add it to .dockerignore",
        false => "if the image does not need it, add it to .dockerignore",
    };
    let cause =
        Cause { text: format!("{what} {} entered the context", name(file)), advice: Some(advice.to_owned()) };
    (rank(file, 2), cause)
}

/// The path, behind the named context that it is in.
fn name(file: &File) -> String {
    match &file.context {
        Some(context) => format!("`{}` of context `{context}`", file.path),
        None => format!("`{}`", file.path),
    }
}

fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "a file",
        FileKind::Folder => "a folder",
        FileKind::Symlink => "a link",
        FileKind::Other => "a special file",
    }
}

/// `+12 bytes`, `-1 byte`, `same size`.
fn growth(now: u64, before: u64) -> String {
    let count = |bytes: u64| plural(usize::try_from(bytes).unwrap_or(usize::MAX), "byte");
    match now.cmp(&before) {
        std::cmp::Ordering::Greater => format!("+{}", count(now - before)),
        std::cmp::Ordering::Less => format!("-{}", count(before - now)),
        std::cmp::Ordering::Equal => "same size".to_owned(),
    }
}

fn is_litter(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let mut names = path.split('/').filter(|name| !name.is_empty());
    names.any(|name| LITTER.contains(&name)) || LITTER_ENDS.iter().any(|end| path.ends_with(end))
}

/// The folder that all of the paths are below, with `/` at its end; empty where that is the context itself.
fn common_folder<'a>(mut paths: impl Iterator<Item = &'a str>) -> String {
    fn folder(path: &str) -> &str {
        path.trim_end_matches('/').rfind('/').map_or("", |end| &path[..=end])
    }
    let Some(first) = paths.next() else { return String::new() };
    let mut common = folder(first);
    for path in paths {
        while !path.starts_with(common) {
            common = folder(common);
        }
    }
    common.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, digest: &str, size: u64) -> File {
        File {
            context: None,
            path: path.to_owned(),
            kind: FileKind::File,
            mode: 0o644,
            size,
            digest: digest.to_owned(),
            link: None,
        }
    }

    fn told(now: &[File], before: &[File]) -> String {
        let line = |cause: Cause| match cause.advice {
            Some(advice) => format!("{}: {advice}\n", cause.text),
            None => format!("{}\n", cause.text),
        };
        causes(now.iter(), before.iter()).into_iter().map(line).collect()
    }

    #[test]
    fn every_sort_of_difference_has_its_words() {
        let link =
            |to: &str| File { kind: FileKind::Symlink, link: Some(to.to_owned()), ..file("current", "", 0) };
        let cases = [
            (file("src/app.py", "1", 100), file("src/app.py", "2", 88)),
            (file("a", "1", 9), file("a", "2", 10)),
            (file("a", "1", 9), file("a", "2", 9)),
            (File { mode: 0o755, ..file("setup.sh", "1", 9) }, file("setup.sh", "1", 9)),
            (link("2"), link("1")),
            (File { kind: FileKind::Folder, ..file("a", "", 0) }, file("a", "1", 9)),
            (
                File { context: Some("docs".to_owned()), ..file("x.md", "1", 9) },
                File { context: Some("docs".to_owned()), ..file("x.md", "2", 1) },
            ),
            (file("a", "1", 9), file("a", "1", 9)),
        ];
        let text: String = cases.map(|(now, before)| told(&[now], &[before])).concat();
        insta::assert_snapshot!(text, @r"
        `src/app.py` changed (+12 bytes)
        `a` changed (-1 byte)
        `a` changed (same size)
        `setup.sh` mode 0644 → 0755
        link `current` leads to `2`, it led to `1`
        `a` is a folder, it was a file
        `x.md` of context `docs` changed (+8 bytes)
        ");
    }

    #[test]
    fn files_that_come_are_for_the_ignore_file() {
        let now = [file("tmp/log", "1", 1), file("src/new.py", "1", 1)];
        insta::assert_snapshot!(told(&now, &[file("src/old.py", "1", 1)]), @r"
        file `src/new.py` entered the context: if the image does not need it, add it to .dockerignore
        file `tmp/log` entered the context: add it to .dockerignore
        `src/old.py` left the context
        ");
    }

    #[test]
    fn the_ignore_file_comes_first_and_many_are_counted() {
        let names: Vec<String> = (0..44).map(|number| format!("src/part/{number:02}.py")).collect();
        let version = |digest: &str, size| -> Vec<File> {
            let ignore = file(".dockerignore", digest, size);
            names.iter().map(|name| file(name, digest, 7)).chain([ignore]).collect()
        };
        insta::assert_snapshot!(told(&version("1", 12), &version("2", 4)), @r"
        `.dockerignore` changed (+8 bytes)
        `src/part/00.py` changed (same size)
        `src/part/01.py` changed (same size)
        and 42 more below src/part/
        ");
    }

    #[test]
    fn modes_alone_are_a_umask() {
        let now = [File { mode: 0o664, ..file("a", "1", 1) }, File { mode: 0o664, ..file("b", "1", 1) }];
        let text = told(&now, &[file("a", "1", 1), file("b", "1", 1)]);
        assert!(text.contains("`a` mode 0644 → 0664: a checkout under another umask"), "{text}");
    }

    #[test]
    fn a_gathered_record_names_folders() {
        let before = [file("a", "1", 1), file("src/x/b", "1", 5), file("src/y/c", "1", 5)];
        let folded = folded::gathered(before.iter(), 1);
        let now =
            [file("a", "1", 1), file("src/x/b", "2", 8), file("src/y/c", "1", 5), file("lib/z/d", "1", 1)];
        insta::assert_snapshot!(told(&now, &folded), @r"
        files below `src/` changed (+3 bytes)
        files below `lib/` entered the context: if the image does not need it, add it to .dockerignore
        ");
        assert_eq!(told(&before, &folded), "");
    }

    #[test]
    fn common_folders() {
        assert_eq!(common_folder(["a/b/c", "a/b/d", "a/e"].into_iter()), "a/");
        assert_eq!(common_folder(["a/b/", "a/b/d"].into_iter()), "a/");
        assert_eq!(common_folder(["a", "b"].into_iter()), "");
        assert_eq!(common_folder(std::iter::empty()), "");
    }
}
