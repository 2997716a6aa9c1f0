//! Every Dockerfile in `tests/it/dockerfiles` against what a real engine (Docker 28.5.2) said about it, recorded beside
//! it: `--call=targets`, `--call=outline`, and the names of the steps of a build of each target.
//!
//! BuildKit runs equal steps once: the base of a second stage on the same image does not show. All other steps must.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use layerlift::dockerfile::{Dockerfile, Graph, Inputs, graph};

#[derive(Deserialize)]
struct Recorded {
    targets: Vec<Target>,
    secrets: Vec<String>,
    steps: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Deserialize, Debug, PartialEq)]
struct Target {
    name: String,
    base: String,
    platform: String,
    default: bool,
    first: usize,
    last: usize,
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/dockerfiles");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("folder of fixtures")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "Dockerfile"))
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> (Dockerfile, Recorded) {
    let file = Dockerfile::parse(&std::fs::read(path).expect("fixture"))
        .unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let recorded = std::fs::read(path.with_extension("json")).expect("recorded answers");
    (file, serde_json::from_slice(&recorded).unwrap_or_else(|error| panic!("{path:?}: {error}")))
}

fn resolve(file: &Dockerfile, target: &str) -> Graph {
    let platform = "linux/amd64".parse().expect("platform");
    let inputs = Inputs {
        build_args: BTreeMap::new(),
        target: Some(target.to_owned()).filter(|target| !target.is_empty()),
        build_platform: platform,
        platform: "linux/amd64".parse().expect("platform"),
        contexts: BTreeMap::new(),
    };
    graph(file, &inputs).expect("graph")
}

#[test]
fn stages_are_those_that_the_engine_lists() {
    for path in fixtures() {
        let (file, recorded) = read(&path);
        let last = file.stages.len() - 1;
        let ours: Vec<Target> = file
            .stages
            .iter()
            .map(|stage| Target {
                name: stage.name.clone().unwrap_or_default(),
                base: stage.base.clone(),
                platform: stage.platform.clone().unwrap_or_default(),
                default: stage.index == last,
                first: stage.from.first,
                last: stage.from.last,
            })
            .collect();
        assert_eq!(ours, recorded.targets, "{path:?}");
        assert_eq!(file.opaque, [], "{path:?}");
    }
}

#[test]
fn steps_are_those_that_the_engine_shows() {
    for path in fixtures() {
        let (file, recorded) = read(&path);
        for (target, theirs) in &recorded.steps {
            let graph = resolve(&file, target);
            let steps = || graph.stages.iter().flat_map(|stage| &stage.steps);
            let name = |step: &layerlift::dockerfile::Step| format!("{} {}", step.prefix, step.text);
            let all: BTreeSet<String> = steps().map(name).collect();
            let must: BTreeSet<String> = steps().filter(|step| !step.is_base).map(name).collect();
            let (invented, missed): (Vec<_>, Vec<_>) =
                (must.difference(theirs).collect(), theirs.difference(&all).collect());
            assert!(invented.is_empty() && missed.is_empty(), "{path:?} {target}: {invented:#?} {missed:#?}");
        }
    }
}

#[test]
fn secrets_are_those_that_the_engine_lists() {
    for path in fixtures() {
        let (file, recorded) = read(&path);
        let ours: Vec<String> = file
            .stages
            .iter()
            .flat_map(|stage| &stage.instructions)
            .flat_map(|instruction| instruction.kind.mounts())
            .filter(|mount| mount.kind == "secret")
            .filter_map(|mount| mount.id.clone())
            .collect();
        assert_eq!(ours, recorded.secrets, "{path:?}");
    }
}
