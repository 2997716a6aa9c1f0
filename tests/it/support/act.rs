//! GitHub workflows, run by act on this machine: its jobs' steps are processes of the host, and `actions/checkout` copies
//! the work tree. What the runner would keep (outputs, job summary, log) is read from act's JSON lines.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::job::{self, Event};
use super::program::{Finished, run};
use super::release::Release;
use super::scene::Scene;

/// How the workflows name the action.
const ACTION: &str = "layerlift/layerlift@v0.1.0";

/// The programs that `tests/testbed/act` installs.
#[track_caller]
pub fn programs() -> PathBuf {
    let root = env!("CARGO_MANIFEST_DIR");
    let _ = run(&mut Command::new(format!("{root}/tests/testbed/act"))).ok();
    let testbed = std::env::var("LAYERLIFT_TESTBED").unwrap_or("/tmp/layerlift-testbed".to_owned());
    Path::new(&testbed).join("act/bin")
}

/// Checks files against a form that check-jsonschema knows, such as `vendor.github-workflows`.
#[track_caller]
pub fn check_schema(schema: &str, files: &[PathBuf]) {
    assert!(!files.is_empty());
    let mut command = Command::new(programs().join("check-jsonschema"));
    if schema == "vendor.gitlab-ci" {
        // Resolves `!reference`, which is no value of YAML itself.
        command.args(["--data-transform", "gitlab-ci"]);
    }
    let _ = run(command.args(["--builtin-schema", schema]).args(files)).ok();
}

/// A finished run of a workflow.
#[derive(Debug)]
#[must_use]
pub struct Run {
    pub finished: Finished,
    lines: Vec<Value>,
}

impl Run {
    /// Runs the workflow with this text, as the project's only one. The release is what its variables lead to.
    #[track_caller]
    pub fn of(scene: &Scene, release: &Release, workflow: &str, event: Event<'_>) -> Run {
        Run::with(scene, release, workflow, event, &[])
    }

    /// The same with further arguments of act.
    #[track_caller]
    pub fn with(scene: &Scene, release: &Release, workflow: &str, event: Event<'_>, further: &[&str]) -> Run {
        let folder = scene.project.folder();
        scene.project.write(".github/workflows/build.yml", workflow);
        let origin = "https://github.com/Group/Project.git";
        let _ =
            run(Command::new("git").arg("-C").arg(folder).args(["remote", "set-url", "origin", origin])).ok();

        // act takes a folder as a repository whole: a copy keeps ours, with all that was built, out of it.
        let repository = scene.test.path("repository");
        let action = repository.join("ci-templates/github");
        std::fs::create_dir_all(&action).unwrap();
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci-templates/github");
        for entry in std::fs::read_dir(templates).unwrap() {
            let file = entry.unwrap().path();
            std::fs::copy(&file, action.join(file.file_name().unwrap())).unwrap();
        }

        let payloads = scene.path("payloads");
        std::fs::create_dir_all(&payloads).unwrap();
        let variables = job::github(Path::new(&payloads), event);
        let event_name = &variables.iter().find(|(name, _)| name == "GITHUB_EVENT_NAME").unwrap().1;
        let image = scene.registry.reference(&format!("{}/app", scene.repository));
        let local = format!("{ACTION}={}", repository.display());
        let payload = format!("{payloads}/event.json");
        let mut arguments = vec![event_name, "--json", "--eventpath", &payload, "--local-repository", &local];
        let own = [
            format!("IMAGE={image}"),
            format!("LAYERLIFT_SHA256={}", release.sha256),
            format!("LAYERLIFT_URL={}", release.url),
        ];
        own.iter().for_each(|variable| arguments.extend(["--var", variable]));
        arguments.extend(["--workflows", ".github/workflows/build.yml", "--actor", "someone"]);
        arguments.extend(["--platform", "ubuntu-latest=-self-hosted", "--secret", "GITHUB_TOKEN=of-the-job"]);
        arguments.extend(further);
        let mut command = scene.test.program(programs().join("act"), folder, &arguments);
        // A runner of one's own hands its variables to the jobs; the registry is not ghcr.io here.
        command.env("LAYERLIFT_CACHE_REPO", scene.registry.reference(&format!("{}/cache", scene.repository)));
        command.env("XDG_CACHE_HOME", scene.path("act"));
        command.env("LAYERLIFT_REGISTRY_MIRROR", &scene.registry.address);
        // What is looked at is what the engine does with a build that it had before; see `TestEnv`.
        command.env("LAYERLIFT_REUSE", "off");
        let finished = run(&mut command);
        let lines = finished.all().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Run { finished, lines }
    }

    /// Itself, after a check that all jobs went well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.finished.code, 0, "{}", self.log());
        self
    }

    fn commands<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| line["command"] == name)
    }

    /// The step output of this name that was set last.
    pub fn output(&self, name: &str) -> Option<String> {
        let set = self.commands("set-output").rfind(|line| line["name"] == name)?;
        Some(set["arg"].as_str().unwrap_or_default().to_owned())
    }

    /// All that steps wrote to the job's summary.
    pub fn summary(&self) -> String {
        self.commands("summary").filter_map(|line| line["content"].as_str()).collect()
    }

    /// What act and the steps said.
    pub fn log(&self) -> String {
        let mut log: String = self.lines.iter().filter_map(|line| line["msg"].as_str()).collect();
        if self.lines.is_empty() {
            log += &self.finished.all();
        }
        log
    }
}
