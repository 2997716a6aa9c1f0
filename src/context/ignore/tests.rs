//! What moby/patternmatcher's own tests state about pattern and path, and what was recorded from engines.

use super::*;

/// Whether a path is left out, asked folder by folder as a walk does.
fn ignored(file: &str, path: &str) -> bool {
    let ignore = Ignore::read(file.as_bytes()).expect("understood");
    let mut above: Option<Matched> = None;
    let mut ignored = false;
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at + 1 < path.len());
    for end in ends.chain([path.len()]) {
        let verdict = ignore.verdict(&path.as_bytes()[..end], above.as_ref());
        (ignored, above) = (verdict.ignored, Some(verdict.matched));
    }
    ignored
}

#[test]
fn one_pattern() {
    // From patternmatcher's `TestMatches` and `TestMatch`; paths that end in a slash do not come from a walk.
    let left_out = [
        ("**", "file"),
        ("**/", "file"),
        ("**", "dir/file"),
        ("**/", "dir/file"),
        ("**/**", "dir/file"),
        ("dir/**", "dir/file"),
        ("dir/**", "dir/dir2/file"),
        ("**/dir", "dir"),
        ("**/dir", "dir/file"),
        ("**/dir2/*", "dir/dir2/file"),
        ("**/dir2/**", "dir/dir2/dir3/file"),
        ("**file", "file"),
        ("**file", "dir/file"),
        ("**/file", "dir/file"),
        ("**file", "dir/dir/file"),
        ("**/file", "dir/dir/file"),
        ("**/file*", "dir/dir/file"),
        ("**/file*", "dir/dir/file.txt"),
        ("**/file*txt", "dir/dir/file.txt"),
        ("**/file*.txt", "dir/dir/file.txt"),
        ("**/file*.txt*", "dir/dir/file.txt"),
        ("**/**/*.txt", "dir/dir/file.txt"),
        ("**/*.txt", "file.txt"),
        ("**/**/*.txt", "file.txt"),
        ("a**/*.txt", "a/file.txt"),
        ("a**/*.txt", "a/dir/file.txt"),
        ("a**/*.txt", "a/dir/dir/file.txt"),
        ("a/*.txt", "a/file.txt"),
        ("a/*.txt**", "a/file.txt"),
        ("a[b-d]e", "ace"),
        ("a[^b-d]e", "aze"),
        (".*", ".foo"),
        ("abc.def", "abc.def"),
        ("abc?def", "abcZdef"),
        ("**/foo/bar", "foo/bar"),
        ("**/foo/bar", "dir/foo/bar"),
        ("**/foo/bar", "dir/dir2/foo/bar"),
        ("abc/**", "abc/def"),
        ("abc/**", "abc/def/ghi"),
        ("**/.foo", ".foo"),
        ("a(b)c/def", "a(b)c/def"),
        ("a.|)$(}+{bc", "a.|)$(}+{bc"),
        (
            "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
            "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
        ),
        ("dist/*.whl", "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl"),
        ("a\\*b", "a*b"),
        ("a*", "ab/c"),
        ("a*/b", "abc/b"),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f"),
        ("a*b?c*x", "abxbbxdbxebxczzx"),
        ("ab[^e-g]", "abc"),
        ("a?b", "a☺b"),
        ("a[^a]b", "a☺b"),
        ("[a-ζ]*", "α"),
        ("[\\]a]", "]"),
        ("[\\-]", "-"),
        ("[x\\-]", "-"),
        ("[\\-x]", "x"),
        ("*x", "xxx"),
    ];
    let kept = [
        ("**/**/*.txt2", "dir/dir/file.txt"),
        ("a/*.txt", "a/dir/file.txt"),
        ("a[b-d]e", "ae"),
        ("a[b-d]e", "aae"),
        (".*", "foo"),
        ("abc.def", "abcdef"),
        ("abc.def", "abcZdef"),
        ("abc?def", "abcdef"),
        ("abc/**", "abc"),
        ("**/.foo", "bar.foo"),
        ("a(b)c/def", "a(b)c/xyz"),
        ("a*/b", "a/c/b"),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f"),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff"),
        ("a*b?c*x", "abxbbxdbxebxczzy"),
        ("ab[e-g]", "abc"),
        ("ab[^c]", "abc"),
        ("a\\*b", "ab"),
        ("a???b", "a☺b"),
        ("a[^a][^a][^a]b", "a☺b"),
        ("*[a-ζ]", "A"),
        ("a?b", "a/b"),
        ("a*b", "a/b"),
        ("[x\\-]", "z"),
    ];
    for (expected, cases) in [(true, &left_out[..]), (false, &kept[..])] {
        for (pattern, path) in cases {
            assert_eq!(ignored(pattern, path), expected, "{pattern} {path}");
        }
    }
}

#[test]
fn several_patterns() {
    let cases = [
        ("**\n!util/docker/web", "util/docker/web/foo", false),
        ("**\n!util/docker/web\nutil/docker/web/foo", "util/docker/web/foo", true),
        ("**\n!dist/*.whl", "dist/a.whl", false),
        ("docs\n!docs/README.md", "docs/README.md", false),
        ("docs/\n!docs/README.md", "docs/other", true),
        ("docs/*\n!docs/README.md", "docs/README.md", false),
        ("!fileutils.go\n*.go", "fileutils.go", true),
        ("*.go\n!fileutils.go", "fileutils.go", false),
        ("**/*.md\n!README.md", "a/README.md", true),
        ("node_modules\n!node_modules/keep\nnode_modules/keep/not", "node_modules/keep/not", true),
    ];
    for (file, path, expected) in cases {
        assert_eq!(ignored(file, path), expected, "{file:?} {path}");
    }
}

#[test]
fn the_file_is_read_as_docker_reads_it() {
    let same = ["sub", "/sub", "sub/", "./sub", "  sub  ", "sub\r", "a/../sub", "\u{feff}sub", "# x\n\nsub"];
    for file in same {
        assert!(ignored(file, "sub/file") && !ignored(file, "other"), "{file:?}");
    }
    assert!(!ignored("#sub", "sub"), "a comment");
    assert!(ignored(" #sub", "#sub"), "no comment: something stands before it");
    assert!(!ignored(".", "a") && !ignored("..", "a") && !ignored("/", "a"));
    assert!(!ignored("*\n! a", "a"), "white space after the exclamation mark");
    for file in ["!", "a\n! \n", "[", "\\", "a\n\u{feff}[b", "!!a"] {
        assert!(Ignore::read(file.as_bytes()).is_err(), "{file:?}");
    }
    let doubt = Ignore::read(b"a\n[b\n").expect_err("broken");
    assert_eq!(doubt.to_string(), "line 2: the `[` in `[b` is not understood");
    assert!(Ignore::read(b"\xff").is_err());
}

#[test]
fn a_folder_is_looked_into_where_something_may_come_back() {
    let ends = |file: &str, folder: &str| {
        Ignore::read(file.as_bytes()).expect("understood").ends_at(folder.as_bytes())
    };
    assert!(ends("a", "a"));
    assert!(!ends("*\n!a/b/c", "a") && !ends("*\n!a/b/c", "a/b") && ends("*\n!a/b/c", "b"));
    assert!(!ends("*\n!a/**", "a") && ends("*\n!a/**", "ab"));
    assert!(!ends("*\n!**/x", "b"), "anywhere");
}

#[test]
fn old_engines_take_only_plain_files_alike() {
    let plain = |file: &str| Ignore::read(file.as_bytes()).expect("understood").is_plain();
    assert!(plain("node_modules\n**/*.md\n.git\n"));
    assert!(!plain("*\n!src") && !plain("a+b*") && !plain("[ab]") && !plain("**a"));
}

#[test]
fn what_one_client_sends_is_not_left_out_for_any_client() {
    let kept = |file: &str, paths: &[&str]| -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for path in paths {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let ignore = Ignore::read(file.as_bytes()).unwrap().for_any_client();
        let entries = crate::context::walk::walk(folder.path(), &ignore, &[]).unwrap();
        entries.into_iter().map(|entry| String::from_utf8(entry.path).unwrap()).collect()
    };
    // Docker 20.10 sends the folder that something could have been let back in.
    assert_eq!(kept("!src/lib\nsrc/**\n*", &["src/lib/x", "src/y", "other/z"]), ["src", "src/lib"]);
    assert_eq!(kept("src/**\n!src/lib", &["src/lib/x", "src/y"]), ["src", "src/lib", "src/lib/x"]);
    // It takes `**a` for `**/a`.
    assert_eq!(kept("**a", &["a", "xa", "b/a", "b/xa"]), ["b", "b/xa", "xa"]);
    // What a regular expression means is not asked.
    assert_eq!(kept("a+b", &["a+b", "aab", "c"]), ["a+b", "aab", "c"]);
    // A folder that it does not look into.
    assert_eq!(kept("**/lib\n!x", &["a/b/lib/c", "a/b/d", "x"]), ["a", "a/b", "a/b/d", "x"]);
    // Only plain files are taken alike, and nothing more is kept of them.
    assert_eq!(kept("lib\n*.md", &["lib/x", "a.md", "b"]), ["b"]);
}

proptest::proptest! {
    #[test]
    fn no_file_is_a_panic(file in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60), path in "[a-c/*.!]{0,12}") {
        if let Ok(ignore) = Ignore::read(&file) {
            let _ = ignore.verdict(path.as_bytes(), None);
            let _ = ignore.ends_at(path.as_bytes());
        }
    }
}
