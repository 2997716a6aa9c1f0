//! What BuildKit's own tests of its content hash state (`checksum_test.go`), and what was read from its source.

use std::os::unix::fs::symlink;

use super::*;
use crate::context::walk::walk;

/// A context: paths that end in `/` are folders, `a -> b` is a link, the rest are files.
fn context(paths: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for path in paths {
        let (path, target) = path.split_once(" -> ").map_or((*path, None), |(path, to)| (path, Some(to)));
        let full = folder.path().join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        match target {
            Some(target) => symlink(target, full).unwrap(),
            None if path.ends_with('/') => std::fs::create_dir_all(full).unwrap(),
            None => std::fs::write(full, "").unwrap(),
        }
    }
    folder
}

fn copy(source: &str) -> Selector {
    let source = source.to_owned();
    Selector { context: None, source, wildcard: true, parents: false, excludes: Vec::new() }
}

fn parents(source: &str) -> Selector {
    Selector { parents: true, ..copy(source) }
}

fn excluding(source: &str, patterns: &[&str]) -> Selector {
    Selector { excludes: patterns.iter().map(|&pattern| pattern.to_owned()).collect(), ..copy(source) }
}

fn taken(folder: &tempfile::TempDir, selector: &Selector) -> Vec<String> {
    let entries = walk(folder.path(), &Ignore::nothing(), &[]).unwrap();
    let places = select(folder.path(), &entries, selector).unwrap();
    places.into_iter().map(|place| String::from_utf8(entries[place].path.clone()).unwrap()).collect()
}

#[track_caller]
fn check(folder: &tempfile::TempDir, cases: &[(Selector, &[&str])]) {
    for (selector, expected) in cases {
        assert_eq!(taken(folder, selector), *expected, "{selector:?}");
    }
}

#[test]
fn a_plain_source_is_a_file_or_a_whole_folder() {
    let folder = context(&["a", "d/x", "d/e/y", "d/empty/", "d-e", "d.txt"]);
    let whole: &[&str] = &["d", "d/e", "d/e/y", "d/empty", "d/x"];
    let all: &[&str] = &["a", "d", "d/e", "d/e/y", "d/empty", "d/x", "d-e", "d.txt"];
    check(
        &folder,
        &[
            (copy("a"), &["a"]),
            (copy("d"), whole),
            (copy("/d/"), whole),
            (copy("./d/e/.."), whole),
            (copy("."), all),
            (copy("/"), all),
            (copy(""), all),
            (copy("../.."), all),
            (copy("d/e/y"), &["d/e/y"]),
            (copy("no"), &[]),
            (copy("a/b"), &[]),
            (Selector { wildcard: false, ..copy("*") }, &[]),
        ],
    );
}

#[test]
fn links_on_the_way_are_followed_within_the_root() {
    let folder = context(&[
        "d/x",
        "d/inner -> x",
        "to-d -> d",
        "rooted -> /d/x",
        "up -> ../../d",
        "sub/back -> ../to-d",
        "loop -> loop",
        "dangling -> no/such",
    ]);
    let of_d: &[&str] = &["d", "d/inner", "d/x"];
    let with = |links: &[&'static str]| -> Vec<&'static str> {
        let mut all = [of_d, links].concat();
        all.sort_by(|one, other| in_tree_order(one.as_bytes(), other.as_bytes()));
        all
    };
    check(
        &folder,
        &[
            (copy("to-d"), &with(&["to-d"])),
            (copy("to-d/x"), &["d/x", "to-d"]),
            (copy("rooted"), &["d/x", "rooted"]),
            (copy("up"), &with(&["up"])),
            (copy("sub/back"), &with(&["sub/back", "to-d"])),
            (copy("d"), of_d),
            (copy("d/inner"), &["d/inner", "d/x"]),
            (copy("dangling"), &["dangling"]),
            (Selector { wildcard: false, ..copy("to-d/x") }, &["d/x", "to-d"]),
        ],
    );
    let entries = walk(folder.path(), &Ignore::nothing(), &[]).unwrap();
    assert!(matches!(select(folder.path(), &entries, &copy("loop")), Err(Unclear::Links(_))));
}

#[test]
fn wildcards_take_each_match_as_if_it_were_named() {
    let folder = context(&["a1", "a2/x", "a2/y/z", "b/a3", "b/c/a4", "l1 -> a2", "to-b -> b"]);
    check(
        &folder,
        &[
            (copy("a*"), &["a1", "a2", "a2/x", "a2/y", "a2/y/z"]),
            (copy("a?"), &["a1", "a2", "a2/x", "a2/y", "a2/y/z"]),
            (copy("a[^2]"), &["a1"]),
            (copy("*/a*"), &["b/a3"]),
            (copy("*/*/a*"), &["b/c/a4"]),
            (copy("b/*"), &["b/a3", "b/c", "b/c/a4"]),
            (copy("to-b/*"), &["b/a3", "b/c", "b/c/a4", "to-b"]),
            (copy("l*"), &["a2", "a2/x", "a2/y", "a2/y/z", "l1"]),
            (copy("**/a4"), &[]),
            (copy("no*"), &[]),
            (copy("no/*"), &[]),
        ],
    );
    let entries = walk(folder.path(), &Ignore::nothing(), &[]).unwrap();
    for source in ["a[", "a\\*?"] {
        let unclear = select(folder.path(), &entries, &copy(source));
        assert!(matches!(unclear, Err(Unclear::Wildcards(_))), "{source}");
    }
}

#[test]
fn excluded_is_what_the_patterns_match_below_the_source() {
    let folder = context(&["d/x.md", "d/y", "d/e/x.md", "d/e/z", "d/f/x.md", "l -> d", "n.md", "d/g/"]);
    check(
        &folder,
        &[
            (excluding("d", &["**/*.md"]), &["d", "d/e", "d/e/z", "d/f", "d/g", "d/y"]),
            (excluding("d", &["*.md"]), &["d", "d/e", "d/e/x.md", "d/e/z", "d/f", "d/f/x.md", "d/g", "d/y"]),
            (
                excluding("d", &["d/e"]),
                &["d", "d/e", "d/e/x.md", "d/e/z", "d/f", "d/f/x.md", "d/g", "d/x.md", "d/y"],
            ),
            (excluding("d", &["e", "f", "g", "y"]), &["d", "d/x.md"]),
            // `*` matches the folder itself, whose path from the source is empty; what is let back in brings it back.
            (excluding("d", &["*"]), &[]),
            (excluding("d", &["*", "!e/z"]), &["d", "d/e", "d/e/z"]),
            (excluding("d*", &["e", "f"]), &["d", "d/g", "d/x.md", "d/y"]),
            (excluding("d/*", &["*.md"]), &["d/e", "d/e/z", "d/f", "d/g", "d/x.md", "d/y"]),
            // A link that is the source is hashed as a whole.
            (
                excluding("l", &["e"]),
                &["d", "d/e", "d/e/x.md", "d/e/z", "d/f", "d/f/x.md", "d/g", "d/x.md", "d/y", "l"],
            ),
            (excluding("l/e", &["*.md"]), &["d/e", "d/e/z", "l"]),
            (excluding("n.md", &["n.md"]), &["n.md"]),
        ],
    );
    let from_root = excluding(".", &["d/?", "d/x.md", "n.md"]);
    // A link in the root is followed where the root is the source.
    let of_d = ["d", "d/e", "d/e/x.md", "d/e/z", "d/f", "d/f/x.md", "d/g", "d/x.md", "d/y", "l"];
    assert_eq!(taken(&folder, &from_root), of_d);
    let entries = walk(folder.path(), &Ignore::nothing(), &[]).unwrap();
    for pattern in ["!./a", "[", "!!a"] {
        let unclear = select(folder.path(), &entries, &excluding("d", &[pattern]));
        assert!(matches!(unclear, Err(Unclear::Pattern(_))), "{pattern}");
    }
}

#[test]
fn parents_come_with_the_folders_that_they_lie_in() {
    let folder = context(&["x/a.txt", "x/y/a.txt", "x/y/b.txt", "x/y/empty/", "x/z/c.txt", "top.txt"]);
    check(
        &folder,
        &[
            (parents("x/y/a.txt"), &["x", "x/y", "x/y/a.txt"]),
            (parents("./x/y/a.txt"), &["x", "x/y", "x/y/a.txt"]),
            (parents("x/y"), &["x", "x/y", "x/y/a.txt", "x/y/b.txt", "x/y/empty"]),
            (parents("x/./y/a.txt"), &["x", "x/y", "x/y/a.txt"]),
            (parents("x/y/./a.txt"), &["x/y", "x/y/a.txt"]),
            (parents("*/*.txt"), &["x", "x/a.txt"]),
            (parents("**/a.txt"), &["x", "x/a.txt", "x/y", "x/y/a.txt"]),
            (parents("*/./z"), &["x", "x/z", "x/z/c.txt"]),
            (parents("x/./"), &[]),
            (
                Selector { excludes: vec!["**/b.txt".to_owned()], ..parents("x/y") },
                &["x", "x/y", "x/y/a.txt", "x/y/empty"],
            ),
            (Selector { excludes: vec!["x".to_owned()], ..parents("x/y/a.txt") }, &[]),
        ],
    );
}
