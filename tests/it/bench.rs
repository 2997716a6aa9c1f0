//! The benchmark itself, on its smallest project: what it says that it measures must be there. How long anything takes is
//! not asked.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::program::run;

/// Runs `tests/bench` on the small project and returns what it wrote as JSON, and the chart.
fn bench(arguments: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let (json, svg) = (folder.path().join("bench.json"), folder.path().join("bench.svg"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench");
    let layerlift = concat!("--layerlift=", env!("CARGO_BIN_EXE_layerlift"));
    let done = run(Command::new(script)
        .args(["--only=builds", "--workload=hello", "--rounds=1", layerlift])
        .args(arguments)
        .args([Path::new("--json"), &json, Path::new("--svg"), &svg]))
    .ok();
    assert!(done.text().contains("Static site in three stages"), "{}", done.all());
    (serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap(), std::fs::read_to_string(svg).unwrap())
}

#[test]
fn a_build_is_timed_and_its_costs_are_counted() {
    let (result, chart) = bench(&[
        "--scenario=cold",
        "--scenario=unchanged",
        "--contender=layerlift",
        "--engine=28c",
        "--latency=5",
    ]);
    let [cold, unchanged] = result["builds"]["runs"].as_array().unwrap().as_slice() else {
        panic!("two builds: {result:#}");
    };
    for (run, scenario) in [(cold, "cold"), (unchanged, "unchanged")] {
        assert_eq!(run["scenario"], scenario, "{run:#}");
        assert_eq!((&run["engine"], &run["round_trip_ms"]), (&"28c".into(), &5.0.into()), "{run:#}");
        assert!(run["cpu_client"].as_f64().unwrap() > 0.0, "{run:#}");
    }
    // The base image was fetched, layers were pushed, and the engine worked for that.
    assert!(cold["seconds"].as_f64().unwrap() > 5.0, "it sleeps for five seconds: {cold:#}");
    assert!(cold["bytes_down"].as_u64().unwrap() > 500_000, "{cold:#}");
    assert!(cold["bytes_up"].as_u64().unwrap() > 1_000, "{cold:#}");
    assert!(cold["cpu_engine"].as_f64().unwrap() > 0.0, "{cold:#}");
    // The image was there: nothing but manifests and answers passed.
    assert!(unchanged["bytes_down"].as_u64().unwrap() < 500_000, "{unchanged:#}");
    assert!(unchanged["bytes_down"].as_u64().unwrap() > 0, "{unchanged:#}");
    assert_eq!(result["builds"]["failures"], Value::Array(vec![]));
    assert_eq!(chart.matches("class=\"ours\"").count(), 2, "{chart}");
}
