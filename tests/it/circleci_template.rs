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

/// The examples.
const KINDS: [&str; 4] = ["single-stage", "multi-stage", "compose", "buildx"];

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

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `<< parameters.NAME >>` filled in.
#[track_caller]
fn filled(value: &Value, parameters: &Parameters) -> String {
    let mut text = text_of(value);
    for (name, value) in parameters {
        text = text.replace(&format!("<< parameters.{name} >>"), value);
    }
    assert!(!text.contains("<<"), "left open: {text}");
    text
}

/// The parameters that a job or a step gives to what it calls.
#[track_caller]
fn given(value: &Value, parameters: &Parameters) -> Parameters {
    let given = value.as_object().into_iter().flatten();
    given.map(|(name, value)| (name.clone(), filled(value, parameters))).collect()
}

/// What was given, and the defaults of the rest.
#[track_caller]
fn with_defaults(declared: &Value, given: &Parameters) -> Parameters {
    let declared = declared.as_object().cloned().unwrap_or_default();
    for name in given.keys() {
        assert!(declared.contains_key(name), "no parameter {name}");
    }
    let value = |(name, it): (&String, &Value)| {
        let value = given.get(name).cloned().unwrap_or_else(|| text_of(&it["default"]));
        (name.clone(), value)
    };
    declared.iter().map(value).collect()
}

/// A job as CircleCI runs it, but for its container: the variables of its build, and bash for its steps.
struct Job<'a> {
    scene: &'a Scene,
    release: &'a Release,
    orb: Value,
    variables: Vec<(String, String)>,
}

impl Job<'_> {
    /// A job of the pipeline with these variables. What one step leaves for the next begins empty.
    #[track_caller]
    fn new<'a>(scene: &'a Scene, release: &'a Release, variables: &[(&str, &str)]) -> Job<'a> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut variables: Vec<_> = variables.iter().map(own).collect();
        let bash_env = scene.path("bash_env");
        std::fs::write(&bash_env, "").unwrap();
        let of_circleci = [
            ("BASH_ENV", bash_env.as_str()),
            ("CIRCLECI", "true"),
            ("CI", "true"),
            ("CIRCLE_SHA1", "1ecfd275763eff1d6b4844ea3168962458c9f27a"),
        ];
        variables.extend(of_circleci.iter().map(own));
        Job { scene, release, orb: yaml(&orb_file()), variables }
    }

    /// Runs the only job of an example, whose image and registry are the test's.
    #[track_caller]
    fn of_file(self, file: &str) -> Finished {
        let image = self.scene.image("");
        let text = std::fs::read_to_string(root().join("examples/circleci").join(file)).unwrap();
        let text = text
            .replace("registry.example.com/group/app", image.trim_end_matches(':'))
            .replace("registry.example.com", &self.scene.registry.address)
            .replace("<< pipeline.parameters.layerlift-sha256 >>", &self.release.sha256)
            // No image of a builder can be pulled here; the engine's own exports caches just as well.
            .replace("docker buildx create --driver docker-container --use", "docker buildx use default");
        self.of_text(&text)
    }

    /// Runs the only job of a configuration.
    #[track_caller]
    fn of_text(mut self, text: &str) -> Finished {
        let config: Value = serde_yaml::from_str(text).unwrap();
        let (_, workflow) = config["workflows"].as_object().unwrap().iter().next().unwrap();
        match &workflow["jobs"][0] {
            Value::String(name) => {
                let job = config["jobs"][name].clone();
                let environment = job["environment"].as_object().into_iter().flatten();
                self.variables.extend(environment.map(|(name, value)| (name.clone(), text_of(value))));
                self.steps(&job["steps"], &Parameters::new())
            }
            called => {
                let job = self.orb["jobs"]["image"].clone();
                let own = given(&called["layerlift/image"], &Parameters::new());
                self.steps(&job["steps"], &with_defaults(&job["parameters"], &own))
            }
        }
    }

    /// Runs steps, those of the orb's commands among them, up to the first that fails.
    #[track_caller]
    fn steps(&self, steps: &Value, parameters: &Parameters) -> Finished {
        let mut all = Finished { code: 0, stdout: Vec::new(), stderr: String::new() };
        for step in steps.as_array().unwrap().iter().filter_map(Value::as_object) {
            let (name, value) = step.iter().next().unwrap();
            let finished = match name.trim_start_matches("layerlift/") {
                "run" => self.script(value, parameters),
                "store_artifacts" => continue,
                command => {
                    let mut own = given(value, parameters);
                    if command == "install" {
                        own.insert("url".to_owned(), self.release.url.clone());
                    }
                    let command = &self.orb["commands"][command];
                    self.steps(&command["steps"], &with_defaults(&command["parameters"], &own))
                }
            };
            all.stderr += &finished.all();
            all.code = finished.code;
            if all.code != 0 {
                return all;
            }
        }
        all
    }

    #[track_caller]
    fn script(&self, step: &Value, parameters: &Parameters) -> Finished {
        let script = step.as_str().unwrap_or_else(|| step["command"].as_str().unwrap());
        let mut shell = step["shell"].as_str().unwrap_or("/bin/bash -eo pipefail").split(' ');
        let program = Path::new(shell.next().unwrap());
        let arguments: Vec<&str> = shell.chain(["-c", script]).collect();
        let mut process = self.scene.test.program(program, self.scene.project.folder(), &arguments);
        process.envs(self.variables.iter().map(|(name, value)| (name, value)));
        for (name, value) in step["environment"].as_object().into_iter().flatten() {
            process.env(name, filled(value, parameters));
        }
        run(&mut process)
    }
}

#[test]
fn every_file_has_the_form_that_circleci_knows() {
    let mut files = vec![orb_file()];
    for kind in KINDS {
        let folder = root().join("examples/circleci").join(kind);
        files.extend([folder.join(".circleci/config.yml"), folder.join("by-hand.yml")]);
    }
    check_schema("vendor.circle-ci", &files);
    let scripts: Vec<String> = files.iter().flat_map(|file| scripts::in_yaml(file)).collect();
    assert!(scripts.len() > 16, "{scripts:#?}");
    for script in &scripts {
        assert!(!script.contains("<<"), "a parameter in a script:\n{script}");
        scripts::check("bash", script);
    }
}

#[test]
fn the_orb_installs_with_the_same_lines_as_the_action() {
    let install = std::fs::read_to_string(root().join("ci-templates/github/install.sh")).unwrap();
    let orb = yaml(&orb_file());
    let script = text_of(&orb["commands"]["install"]["steps"][0]["run"]["command"]);
    assert!(script.contains(&install), "ci-templates/github/install.sh was changed, the orb was not");
}

/// What CircleCI sets for a branch of the project itself.
const MAIN: [(&str, &str); 3] =
    [("CIRCLE_BRANCH", "main"), ("REGISTRY_USER", "robot"), ("REGISTRY_PASSWORD", "secret-word")];

/// Runs an example twice, on engines with empty state, then a fork's build of it, then the recipe that it replaces.
#[track_caller]
fn run_example(kind: &str, tag: &str, tag_by_hand: &str) {
    let mut scene = scene(Kind::Docker28Containerd, "circleci");
    let release = Release::start();
    let folder = root().join("examples/circleci").join(kind);
    if let Ok(text) = std::fs::read_to_string(folder.join("compose.yaml")) {
        scene.project.write("compose.yaml", &text);
    }
    let file = format!("{kind}/.circleci/config.yml");
    let image = scene.image(tag);
    let cold = Job::new(&scene, &release, &MAIN).of_file(&file).ok();
    assert!(!cold.all().contains("secret-word"));
    let first = stamps(&scene, &image);
    scene.reset();
    let warm = Job::new(&scene, &release, &MAIN).of_file(&file).ok();
    assert_eq!(stamps(&scene, &image), first, "{}", warm.all());
    let text = warm.all();
    let mut told = text.lines().filter(|line| line.starts_with("layerlift: "));
    assert!(told.any(|line| line.contains("all ") && line.contains(" steps cached")), "{text}");

    // A fork's build has no secrets, pushes nothing and writes no cache. A line that stays as it is does as it says.
    if kind != "buildx" {
        let before = scene.registry.tags(&scene.repository);
        scene.project.change_source("from a stranger\n");
        let fork = [("CIRCLE_BRANCH", "pull/7"), ("CIRCLE_PR_NUMBER", "7")];
        let fork = Job::new(&scene, &release, &fork).of_file(&file).ok();
        assert_eq!(scene.registry.tags(&scene.repository), before, "{}", fork.all());
    }

    let recipe = Job::new(&scene, &release, &MAIN).of_file(&format!("{kind}/by-hand.yml")).ok();
    let _ = (stamps(&scene, &scene.image(tag_by_hand)), recipe);
}

#[test]
fn example_of_a_single_stage() {
    run_example("single-stage", "latest", "latest");
}

#[test]
fn example_of_several_stages() {
    run_example("multi-stage", "latest", "stage");
}

#[test]
fn example_of_compose() {
    run_example("compose", "api", "api");
}

#[test]
fn example_of_buildx() {
    run_example("buildx", "latest", "latest");
}

#[test]
fn the_file_that_init_writes_bakes() {
    let mut scene = scene(Kind::Docker28Containerd, "circleci");
    let release = Release::start();
    let image = scene.image("1");
    scene.project.write("ci/bake.hcl", &format!("target \"default\" {{\n  tags = [\"{image}\"]\n}}\n"));
    let repository = image.trim_end_matches(":1");
    let options = ["init", "circleci", "--sha256", &release.sha256, "--image", repository, "ci/bake.hcl"];
    let _ = scene.test.run(scene.project.folder(), &options).ok();
    let text = std::fs::read_to_string(scene.project.folder().join(".circleci/config.yml")).unwrap();
    let _ = Job::new(&scene, &release, &MAIN).of_text(&text).ok();
    let first = stamps(&scene, &image);
    scene.reset();
    let warm = Job::new(&scene, &release, &MAIN).of_text(&text).ok();
    assert_eq!(stamps(&scene, &image), first, "{}", warm.all());
}

#[test]
fn a_wrong_checksum_ends_the_job() {
    let scene = scene(Kind::Docker28Containerd, "circleci");
    let release = Release { sha256: "0".repeat(64), ..Release::start() };
    let file = "single-stage/.circleci/config.yml";
    let finished = Job::new(&scene, &release, &MAIN).of_file(file);
    assert_eq!(finished.code, 1, "{}", finished.all());
    assert!(finished.all().contains("check version and sha256"), "{}", finished.all());
    assert!(!scene.test.path("home/.layerlift/bin/layerlift").exists());
}
