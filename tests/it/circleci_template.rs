//! The CircleCI orb and its examples. No CircleCI runner is at hand: the steps of the orb's job are run by bash, with their
//! parameters filled in and CircleCI's variables set, on engines with empty state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::act::check_schema;
use crate::support::engine::Kind;
use crate::support::program::{Finished, run};
use crate::support::recipe::{scene, stamps};
use crate::support::release::Release;
use crate::support::scene::Scene;
use crate::support::scripts;

type Parameters = BTreeMap<String, String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn orb_file() -> PathBuf {
    root().join("ci-templates/circleci/orb.yml")
}

#[track_caller]
fn yaml(file: &Path) -> Value {
    serde_yaml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `<< parameters.NAME >>` filled in.
#[track_caller]
fn filled(value: &Value, parameters: &Parameters) -> String {
    let mut text = text(value);
    for (name, value) in parameters {
        text = text.replace(&format!("<< parameters.{name} >>"), value);
    }
    assert!(!text.contains("<<"), "left open: {text}");
    text
}

/// What was given, and the defaults of the rest.
#[track_caller]
fn with_defaults(declared: &Value, given: &Parameters) -> Parameters {
    let declared = declared.as_object().cloned().unwrap_or_default();
    for name in given.keys() {
        assert!(declared.contains_key(name), "no parameter {name}");
    }
    let value = |(name, it): (&String, &Value)| {
        let value = given.get(name).cloned().unwrap_or_else(|| text(&it["default"]));
        (name.clone(), value)
    };
    declared.iter().map(value).collect()
}

/// Runs the steps of the orb's job `image` up to the first that fails.
#[track_caller]
fn run_job(scene: &Scene, given: &[(&str, &str)], variables: &[(&str, &str)]) -> Finished {
    let orb = yaml(&orb_file());
    let job = &orb["jobs"]["image"];
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let of_job = with_defaults(&job["parameters"], &given);
    let bash_env = scene.path("bash_env");
    std::fs::write(&bash_env, "").unwrap();
    let mut all = Finished { code: 0, stdout: Vec::new(), stderr: String::new() };
    for step in job["steps"].as_array().unwrap().iter().filter(|step| step.is_object()) {
        let (command, given) = step.as_object().unwrap().iter().next().unwrap();
        let given = given.as_object().unwrap().iter();
        let given = given.map(|(name, value)| (name.clone(), filled(value, &of_job))).collect();
        let command = &orb["commands"][command];
        let parameters = with_defaults(&command["parameters"], &given);
        for step in command["steps"].as_array().unwrap().iter().filter_map(|step| step.get("run")) {
            let script = text(&step["command"]);
            let shell = step["shell"].as_str().unwrap_or("/bin/bash -eo pipefail");
            let mut shell = shell.split(' ');
            let program = Path::new(shell.next().unwrap());
            let arguments: Vec<&str> = shell.chain(["-c", &script]).collect();
            let mut process = scene.test.program(program, scene.project.folder(), &arguments);
            for (name, value) in step["environment"].as_object().unwrap() {
                process.env(name, filled(value, &parameters));
            }
            process.env("BASH_ENV", &bash_env).env("CIRCLECI", "true").env("CI", "true");
            process.env("CIRCLE_SHA1", "1ecfd275763eff1d6b4844ea3168962458c9f27a");
            process.envs(variables.iter().copied());
            let finished = run(&mut process);
            all.stderr += &finished.all();
            all.code = finished.code;
            if all.code != 0 {
                return all;
            }
        }
    }
    all
}

#[test]
fn every_file_has_the_form_that_circleci_knows() {
    let mut files = vec![orb_file()];
    for kind in ["single-stage", "multi-stage"] {
        let folder = root().join("examples/circleci").join(kind);
        files.extend([folder.join(".circleci/config.yml"), folder.join("by-hand.yml")]);
    }
    check_schema("vendor.circle-ci", &files);
    let scripts: Vec<String> = files.iter().flat_map(|file| scripts::in_yaml(file)).collect();
    assert!(scripts.len() > 8, "{scripts:#?}");
    for script in &scripts {
        assert!(!script.contains("<<"), "a parameter in a script:\n{script}");
        scripts::check("bash", script);
    }
}

#[test]
fn the_orb_installs_with_the_same_lines_as_the_action() {
    let install = std::fs::read_to_string(root().join("ci-templates/github/install.sh")).unwrap();
    let orb = yaml(&orb_file());
    let script = text(&orb["commands"]["install"]["steps"][0]["run"]["command"]);
    assert!(script.contains(&install), "ci-templates/github/install.sh was changed, the orb was not");
}

#[test]
fn the_job_of_an_example_is_cached_the_second_time() {
    for (kind, file) in [("single-stage", "Dockerfile"), ("multi-stage", "Dockerfile.multi")] {
        let mut scene = scene(Kind::Docker28Containerd, "circleci");
        let release = Release::start();
        let config = yaml(&root().join(format!("examples/circleci/{kind}/.circleci/config.yml")));
        let given = &config["workflows"]["image"]["jobs"][0]["layerlift/image"];
        assert_eq!((&given["file"], &given["write-cache"]), (&file.into(), &true.into()), "{given:#}");
        let image = scene.image("latest");
        let address = scene.registry.address.clone();
        let parameters = [
            ("registry", address.as_str()),
            ("image", image.strip_suffix(":latest").unwrap()),
            ("tag", "latest"),
            ("file", file),
            ("sha256", &release.sha256),
            ("url", &release.url),
            ("write-cache", "true"),
        ];
        let variables =
            [("CIRCLE_BRANCH", "main"), ("REGISTRY_USER", "robot"), ("REGISTRY_PASSWORD", "secret-word")];
        let cold = run_job(&scene, &parameters, &variables).ok();
        assert!(!cold.all().contains("secret-word"));
        let first = stamps(&scene, &image);
        scene.reset();
        let warm = run_job(&scene, &parameters, &variables).ok();
        assert_eq!(stamps(&scene, &image), first, "{}", warm.all());
        assert!(warm.all().contains("layerlift: all "), "{}", warm.all());

        // A fork's build has no secrets, pushes nothing and writes no cache.
        let before = scene.registry.tags(&scene.repository);
        scene.project.change_source("from a stranger\n");
        let fork = [("CIRCLE_BRANCH", "pull/7"), ("CIRCLE_PR_NUMBER", "7")];
        let fork = run_job(&scene, &parameters, &fork).ok();
        assert_eq!(scene.registry.tags(&scene.repository), before, "{}", fork.all());
    }
}

#[test]
fn a_wrong_checksum_ends_the_job() {
    let scene = scene(Kind::Docker28Containerd, "circleci");
    let release = Release::start();
    let wrong = "0".repeat(64);
    let parameters = [
        ("registry", "localhost"),
        ("image", "localhost/app"),
        ("sha256", wrong.as_str()),
        ("url", &release.url),
    ];
    let finished = run_job(&scene, &parameters, &[]);
    assert_eq!(finished.code, 1, "{}", finished.all());
    assert!(finished.all().contains("check version and sha256"), "{}", finished.all());
    assert!(!scene.test.path("home/.layerlift/bin/layerlift").exists());
}
