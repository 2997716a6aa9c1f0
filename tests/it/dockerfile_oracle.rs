//! BuildKit itself says whether the recorded answers beside `tests/it/dockerfiles/*.Dockerfile` are still its answers; the
//! unit test `dockerfile::oracle` holds layerlift to them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::engine::{Engine, Kind};
use crate::support::program::run;

/// Files that the fixtures copy.
const CONTEXT: [&str; 5] = ["a", "b", "c", "a b", "one.md"];

/// Needs Docker 28 with the containerd store and `busybox:latest` in the mirror.
#[test]
fn the_recorded_answers_are_those_of_the_engine() {
    let engine = Engine::start(Kind::Docker28Containerd);
    let context = tempfile::tempdir().expect("context");
    for name in CONTEXT {
        std::fs::write(context.path().join(name), name).expect("file of the context");
    }
    for file in fixtures() {
        let recorded = std::fs::read(file.with_extension("json")).expect("recorded answers");
        let recorded: Value = serde_json::from_slice(&recorded).expect("recorded answers");
        let build = |arguments: &[&str]| {
            let mut docker = engine.docker();
            docker
                .args(["buildx", "build", "--network=host", "--file"])
                .arg(&file)
                .args(arguments)
                .arg(context.path());
            run(&mut docker)
        };
        let targets: Value =
            serde_json::from_str(&build(&["--call=targets,format=json"]).ok().text()).expect("targets");
        assert_eq!(stages(&targets), recorded["targets"], "{file:?}");

        let theirs: BTreeMap<String, BTreeSet<String>> =
            serde_json::from_value(recorded["steps"].clone()).expect("recorded steps");
        for (target, steps) in theirs {
            // A build that fails shows its steps too.
            let shown = match target.as_str() {
                "" => build(&["--no-cache", "--progress=rawjson"]),
                target => build(&["--no-cache", "--progress=rawjson", "--target", target]),
            };
            assert_eq!(names(&shown.stderr), steps, "{file:?} {target}");
        }
    }
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/dockerfiles");
    let entries = std::fs::read_dir(folder).expect("folder of fixtures");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "Dockerfile"));
    files.sort();
    files
}

/// The engine's stages in the form in which they are recorded.
fn stages(targets: &Value) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let stage = |target: &Value| {
        let lines = target["location"]["ranges"].as_array().expect("ranges");
        json!({
            "name": text(&target["name"]),
            "base": text(&target["base"]),
            "platform": text(&target["platform"]),
            "default": target["default"].as_bool().unwrap_or_default(),
            "first": lines[0]["start"]["line"],
            "last": lines[lines.len() - 1]["start"]["line"],
        })
    };
    targets["targets"].as_array().expect("targets").iter().map(stage).collect()
}

/// The names of numbered steps in a log of `--progress=rawjson`, without digests.
fn names(log: &str) -> BTreeSet<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let vertices = lines.flat_map(|line| line["vertexes"].as_array().cloned().unwrap_or_default());
    vertices
        .filter_map(|vertex| vertex["name"].as_str().map(str::to_owned))
        .filter(|name| {
            let label = name.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let number = label.and_then(|(label, _)| label.rsplit(' ').next()).unwrap_or_default();
            number
                .split_once('/')
                .is_some_and(|(step, total)| step.parse::<usize>().is_ok() && total.parse::<usize>().is_ok())
        })
        .map(|name| name.split("@sha256:").next().unwrap_or_default().to_owned())
        .collect()
}
