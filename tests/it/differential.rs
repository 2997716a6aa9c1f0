//! The input digest against warm engines: random projects, random changes, and the engine says what each change meant
//! (`tests/differential`, which runs thousands by hand).

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::support::program::run;

/// A part of the 300 cases on each engine. The seed is fixed, so that a failure here is the same failure everywhere.
#[track_caller]
fn holds_on(engine: &str) {
    holds("differential", &["75", "--engines", engine]);
}

#[track_caller]
fn holds(script: &str, arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let layerlift = concat!("--layerlift=", env!("CARGO_BIN_EXE_layerlift"));
    let done = run(Command::new(script).args(arguments).arg(layerlift));
    // The counts are shown also where all is well.
    std::io::stdout().write_all(done.text().as_bytes()).unwrap();
    let _ = done.ok();
}

#[test]
fn docker_28_agrees_with_the_input_digest() {
    holds_on("28c");
}

#[test]
fn docker_20_agrees_with_the_input_digest() {
    holds_on("20");
}

/// Images whose last `COPY`s became layers of their own, unpacked and compared with those that were built as written
/// (`tests/differential-links`).
#[test]
fn links_make_the_same_tree() {
    holds("differential-links", &["16"]);
}
