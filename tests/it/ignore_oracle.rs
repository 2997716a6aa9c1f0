//! The engine's own client says what an ignore file leaves out; layerlift's walk of a folder must say the same. One build
//! answers for all: every ignore file is that of a named context.

use std::collections::BTreeSet;
use std::path::Path;

use layerlift::context::ignore::Ignore;
use layerlift::context::walk::walk;

use crate::support::engine::{Engine, Kind};
use crate::support::program::run;

const FILES: [&str; 20] = [
    "a",
    "a.txt",
    "b.md",
    "README.md",
    "#odd",
    "a+b",
    "a(b",
    ".hidden",
    ".git/HEAD",
    "sub/a",
    "sub/a.txt",
    "sub/b.md",
    "sub/deep/a",
    "sub/deep/c.txt",
    "sub/deep/er/README.md",
    "node_modules/x/y/z",
    "node_modules/keep/z",
    "web/node_modules/w",
    "web/dist/app.js",
    "empty/.keep",
];

const IGNORE_FILES: [&str; 36] = [
    "",
    "sub",
    "/sub",
    "sub/",
    "./sub/deep",
    "sub/*",
    "sub/**",
    "*",
    "**",
    "*\n!sub",
    "*\n!sub/deep/a",
    "**\n!**/*.txt",
    "*\n!web/dist/**",
    "sub\n!sub/a.txt",
    "sub/*\n!sub/deep",
    "sub\n!sub/deep\nsub/deep/er",
    "**/*.md\n!README.md",
    "**/README.md",
    "*/a",
    "*/*/a",
    "?",
    "?.txt",
    "[ab].*",
    "[^a].*",
    "a.[t-t]xt",
    "**/node_modules",
    "node_modules\n!node_modules/keep",
    "**/a",
    "**a",
    "a**",
    ".*",
    "# comment\n #odd\n\n  b.md  \r\n",
    "a+b\na(b",
    "\\#odd\n\\a\\+b",
    "../a\n/../b.md\na/../sub",
    "\u{feff}sub\n! sub/a",
];

fn listed(folder: &Path, ignore: &Ignore) -> BTreeSet<String> {
    let entries = walk(folder, ignore, &[]).unwrap();
    entries.into_iter().map(|entry| String::from_utf8(entry.path).unwrap()).collect()
}

#[test]
fn what_is_left_out_is_left_out_here() {
    let engine = Engine::start(Kind::Docker28Containerd);
    let folder = tempfile::tempdir().unwrap();
    let mut dockerfile = String::from("FROM scratch\n");
    let mut build = engine.docker();
    let out = folder.path().join("out");
    build.args(["buildx", "build", "--output"]).arg(format!("type=local,dest={}", out.display()));
    for (number, text) in IGNORE_FILES.iter().enumerate() {
        let context = folder.path().join(number.to_string());
        for file in FILES {
            let path = context.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::fs::write(context.join(".dockerignore"), text).unwrap();
        dockerfile.push_str(&format!("COPY --from=c{number} . /{number}/\n"));
        build.arg("--build-context").arg(format!("c{number}={}", context.display()));
    }
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
    let main = folder.path().join("main");
    std::fs::create_dir(&main).unwrap();
    let _ = run(build.arg("-f").arg(folder.path().join("Dockerfile")).arg(main)).ok();
    let mut understood = 0;
    for (number, text) in IGNORE_FILES.iter().enumerate() {
        let theirs = match out.join(number.to_string()) {
            there if there.is_dir() => listed(&there, &Ignore::nothing()),
            _ => BTreeSet::new(),
        };
        // What is not understood is not applied; it must be the exception.
        let Ok(ignore) = Ignore::read(text.as_bytes()) else { continue };
        understood += 1;
        assert_eq!(listed(&folder.path().join(number.to_string()), &ignore), theirs, "{text:?}");
    }
    assert!(understood >= IGNORE_FILES.len() - 1, "{understood}");
}
