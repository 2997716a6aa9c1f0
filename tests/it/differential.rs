//! The input digest against warm engines: random projects, random changes, and the engine says what each change meant
//! (`tests/differential`, which runs thousands by hand).

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::support::program::run;

/// Half of the 300 cases on each engine. The seed is fixed, so that a failure here is the same failure everywhere.
#[track_caller]
fn holds_on(engine: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential");
    let layerlift = concat!("--layerlift=", env!("CARGO_BIN_EXE_layerlift"));
    let done = run(Command::new(script).args(["150", "--engines", engine, layerlift]));
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
