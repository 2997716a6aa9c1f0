//! The binary as a CI job runs it: nothing in its environment but what the test put there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::engine::Engine;
use super::program::{Finished, run};
use super::project::Project;
use super::registry::Registry;

/// A job's surroundings: home, temporary folder, Docker configuration and variables.
#[derive(Debug)]
pub struct TestEnv {
    folder: TempDir,
    variables: BTreeMap<String, String>,
}

impl TestEnv {
    /// With nothing but a home and the machine's programs.
    #[track_caller]
    pub fn bare() -> TestEnv {
        let folder = tempfile::tempdir().unwrap();
        let mut test = TestEnv { folder, variables: BTreeMap::new() };
        for (name, part) in [("HOME", "home"), ("TMPDIR", "tmp"), ("DOCKER_CONFIG", "docker")] {
            std::fs::create_dir(test.path(part)).unwrap();
            test.set(name, test.path(part).to_str().unwrap());
        }
        std::fs::create_dir(test.path("bin")).unwrap();
        test.set_path(&std::env::var("PATH").unwrap());
        test.set("NO_COLOR", "1");
        // Most tests look at what an engine does with a build that it had before; those of `reuse` turn it on.
        test.set("LAYERLIFT_REUSE", "off");
        // What is kept must not depend on how fast the machine is today; those of `worth` turn it on.
        test.set("LAYERLIFT_WEIGH_CACHE", "off");
        // What the engines' mirrors are set to (`REGISTRY` in tests/testbed/lib.sh): nobody asks Docker Hub.
        test.set("LAYERLIFT_REGISTRY_MIRROR", "localhost:5177");
        test
    }

    /// With an engine.
    #[track_caller]
    pub fn new(engine: &Engine) -> TestEnv {
        let mut test = TestEnv::bare();
        test.use_engine(engine);
        test
    }

    /// From now on with this engine.
    #[track_caller]
    pub fn use_engine(&mut self, engine: &Engine) {
        let plugins = self.path("docker/cli-plugins");
        let _ = std::fs::remove_file(&plugins);
        std::os::unix::fs::symlink(engine.config.join("cli-plugins"), plugins).unwrap();
        self.set("DOCKER_HOST", &engine.host);
        self.set_path(&engine.path);
    }

    pub(super) fn set_path(&mut self, path: &str) {
        let own = self.path("bin");
        self.set("PATH", &format!("{}:{path}", own.to_str().unwrap()));
    }

    /// A path below the test's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Sets the variables of a job, in the place of those of an earlier one.
    pub fn set_job(&mut self, job: super::job::Variables) {
        self.variables
            .retain(|name, _| !["CI", "GITLAB", "GITHUB"].iter().any(|start| name.starts_with(start)));
        self.variables.extend(job);
    }

    /// Writes Docker's `config.json`.
    #[track_caller]
    pub fn set_docker_config(&self, json: &str) {
        std::fs::write(self.path("docker/config.json"), json).unwrap();
    }

    /// Puts a program on `PATH` in front of all others.
    #[track_caller]
    pub fn add_program(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path("bin").join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Has buildx see none of the Dockerfiles that layerlift writes.
    #[track_caller]
    pub fn hide_our_dockerfiles(&self) {
        let plugins = self.path("docker/cli-plugins");
        let real = std::fs::read_link(&plugins).unwrap().join("docker-buildx");
        std::fs::remove_file(&plugins).unwrap();
        std::os::unix::fs::symlink(self.path("bin"), &plugins).unwrap();
        let hide = "for word in \"$@\"; do case $word in \
            */layerlift-*/*Dockerfile) path=${word#*=}; rm -rf \"${path%/*}\" ;; esac; done";
        self.add_program("docker-buildx", &format!("#!/bin/sh\n{hide}\nexec '{}' \"$@\"\n", real.display()));
    }

    /// Puts compose on `PATH` as a program of its own, `docker-compose`.
    #[track_caller]
    pub fn add_compose(&self, engine: &Engine) {
        // The engine's configuration lies at `<testbed>/run/<name>/config`.
        let testbed = engine.config.ancestors().nth(3).unwrap();
        let compose = testbed.join("engines/26/usr/libexec/docker/cli-plugins/docker-compose");
        std::os::unix::fs::symlink(compose, self.path("bin/docker-compose")).unwrap();
    }

    /// The binary with arguments, to be started in a folder.
    pub fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_layerlift"), folder, arguments)
    }

    /// Any program with arguments, to be started in a folder.
    pub fn program(&self, program: impl AsRef<OsStr>, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).env_clear().envs(&self.variables).stdin(Stdio::null());
        command
    }

    /// Runs a line of a job's script, with `layerlift` on `PATH`. What layerlift builds in it leaves a report.
    #[track_caller]
    pub fn script(&self, folder: &Path, line: &str) -> Build {
        // Several lines of a test need it once.
        let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_layerlift"), self.path("bin/layerlift"));
        let report = self.path("report.json");
        let _ = std::fs::remove_file(&report);
        let mut command = self.program("/bin/sh", folder, &["-c", line]);
        let finished = run(command.env("LAYERLIFT_REPORT", &report));
        Build { finished, report: read_report(&report) }
    }

    /// Runs the binary to its end.
    #[track_caller]
    pub fn run(&self, folder: &Path, arguments: &[&str]) -> Finished {
        run(&mut self.command(folder, arguments))
    }

    /// Starts the binary, with its output captured.
    #[track_caller]
    pub fn start(&self, folder: &Path, arguments: &[&str]) -> Child {
        self.command(folder, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// `layerlift build --network=host ARGUMENTS .` in a project, with a report.
    #[track_caller]
    pub fn build(&self, project: &Project, arguments: &[&str]) -> Build {
        let report = self.path("report.json");
        let _ = std::fs::remove_file(&report);
        let mut all = vec!["build", "--network=host", "--report", report.to_str().unwrap()];
        all.extend(arguments);
        all.push(".");
        let finished = self.run(project.folder(), &all);
        Build { finished, report: read_report(&report) }
    }

    /// What the binary left in its temporary folder.
    #[track_caller]
    pub fn temporary_files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

fn read_report(file: &Path) -> Value {
    let report = std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    report.unwrap_or(Value::Null)
}

/// A build that ended: what it said, and its report (`Null` where it wrote none).
#[derive(Debug)]
#[must_use]
pub struct Build {
    pub finished: Finished,
    pub report: Value,
}

/// One step, as the report tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub stage: String,
    pub instruction: String,
    pub status: String,
}

impl Build {
    /// Itself, after a check that it went well and that the image holds the project's source.
    #[track_caller]
    pub fn made(self, registry: &Registry, image: &str, project: &Project) -> Self {
        assert_eq!(self.finished.code, 0, "{}", self.finished.all());
        assert_eq!(self.report["status"], "succeeded", "{self}");
        assert_eq!(registry.file(image, "app/source.txt"), project.source(), "{self}");
        self
    }

    /// The steps that count: all but `FROM` and what only changes metadata.
    pub fn steps(&self) -> Vec<Step> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let steps = list(&self.report["stages"]).into_iter().flat_map(|stage| {
            let name = text(&stage["name"]);
            list(&stage["steps"]).into_iter().map(move |step| Step {
                stage: name.clone(),
                instruction: text(&step["instruction"]),
                status: text(&step["status"]),
            })
        });
        let counts = ["RUN", "COPY", "ADD", "WORKDIR"];
        steps.filter(|step| counts.iter().any(|word| step.instruction.starts_with(word))).collect()
    }

    /// The steps that were executed.
    pub fn executed(&self) -> Vec<(String, String)> {
        let steps = self.steps().into_iter().filter(|step| step.status != "cached");
        steps.map(|step| (step.stage, step.instruction)).collect()
    }

    /// The warnings, one a line.
    pub fn warnings(&self) -> String {
        let warnings = self.report["warnings"].as_array().cloned().unwrap_or_default();
        warnings
            .iter()
            .map(|warning| warning.as_str().map_or_else(|| warning.to_string(), str::to_owned) + "\n")
            .collect()
    }
}

impl std::fmt::Display for Build {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}\n{:#}", self.finished.all(), self.report)
    }
}
