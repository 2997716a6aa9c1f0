//! GitLab pipelines, run by gitlab-ci-local: every job a container, with a true docker:dind service that is empty.
//!
//! What a runner's host is to GitLab, an engine of `tests/testbed/runner.sh` is here. Jobs reach this machine at one of
//! its addresses, where the project's registry listens, which wants a login.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_yaml::Value;
use tempfile::TempDir;

use super::job::{Event, gitlab};
use super::program::{Finished, run, testbed};
use super::project::Project;
use super::registry::{PASSWORD, Registry, USER};

/// Where jobs find the binary under test.
const BINARY: &str = "/opt/layerlift";

/// How many values of [`Runner`] this process has.
static RUNNERS: Mutex<u32> = Mutex::new(0);

/// A folder or file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The machine that jobs run on, shared by all tests. It ends when the last of them drops it.
#[derive(Debug)]
pub struct Runner {
    /// The address at which jobs reach this machine.
    pub address: String,
    /// `PATH`, `DOCKER_HOST` and `DOCKER_CONFIG` for its engine.
    variables: Vec<(&'static str, String)>,
    program: String,
}

impl Runner {
    #[track_caller]
    pub fn start() -> Runner {
        let mut count = RUNNERS.lock().unwrap();
        let answer = testbed(
            r#""$1/runners" >&2 && . "$1/runner.sh" && runner_up "$2" &&
            printf '%s\n' "$RUNNER_ADDRESS" "$PATH" "$DOCKER_HOST" "$DOCKER_CONFIG" "$RUNNER/bin/gitlab-ci-local""#,
            &[repository("tests/testbed").to_str().unwrap(), &std::process::id().to_string()],
            &[],
        );
        let answer = answer.ok().text();
        let lines: Vec<&str> = answer.lines().collect();
        let [address, path, host, config, program] = lines[..] else { panic!("five lines, not {answer:?}") };
        *count += 1;
        let variables = [("PATH", path), ("DOCKER_HOST", host), ("DOCKER_CONFIG", config)];
        Runner {
            address: address.to_owned(),
            variables: variables.map(|(name, value)| (name, value.to_owned())).to_vec(),
            program: program.to_owned(),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let mut count = RUNNERS.lock().unwrap();
        *count -= 1;
        if *count > 0 {
            return;
        }
        let script = r#". "$1/runner.sh" && runner_down "$2""#;
        let folder = repository("tests/testbed");
        let stopped = testbed(script, &[folder.to_str().unwrap(), &std::process::id().to_string()], &[]);
        if stopped.code != 0 && !std::thread::panicking() {
            panic!("the runner was not stopped: {}", stopped.all());
        }
    }
}

/// A project on GitLab, with its registry.
#[derive(Debug)]
pub struct GitLab {
    pub project: Project,
    pub registry: Registry,
    /// `CI_REGISTRY_IMAGE`, as `HOST:PORT/group/project`.
    pub image: String,
    home: TempDir,
    // After the registry, which listens at an address that ends with it.
    runner: Runner,
}

/// A finished pipeline.
#[derive(Debug)]
#[must_use]
pub struct Pipeline {
    /// What the runner said and how it ended; the jobs' logs are part of it.
    pub finished: Finished,
    /// The variables that the job `build` left for later jobs.
    pub dotenv: String,
    /// The page that the job `build` kept.
    pub page: String,
}

impl Pipeline {
    /// Itself, after a check that all jobs went well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.finished.code, 0, "{}", self.finished.all());
        self
    }

    /// Itself, after a check that a job failed.
    #[track_caller]
    pub fn failed(self) -> Self {
        assert_ne!(self.finished.code, 0, "{}", self.finished.all());
        self
    }

    /// Itself, after a check that it said something.
    #[track_caller]
    pub fn said(self, words: &str) -> Self {
        assert!(self.finished.all().contains(words), "not said: {words}\n{}", self.finished.all());
        self
    }

    /// Itself, after a check that it did not say something.
    #[track_caller]
    pub fn kept(self, words: &str) -> Self {
        assert!(!self.finished.all().contains(words), "said: {words}\n{}", self.finished.all());
        self
    }
}

impl GitLab {
    #[track_caller]
    pub fn new(project: Project) -> GitLab {
        let runner = Runner::start();
        let registry = Registry::basic_at(&runner.address);
        let image = registry.reference("group/project");
        GitLab { project, registry, image, home: tempfile::tempdir().unwrap(), runner }
    }

    /// The address at which jobs reach this machine.
    pub fn host(&self) -> &str {
        &self.runner.address
    }

    /// The variables of a job with a login for the registry and the binary under test, as GitLab and a group set them.
    pub fn variables(&self, event: Event<'_>) -> Vec<(String, String)> {
        let mut variables = gitlab(&self.image, event);
        // The runner takes the commit from git; and the branch, whatever the event.
        variables.retain(|(name, _)| name != "CI_COMMIT_SHA");
        if !matches!(event, Event::Branch(_)) {
            variables.push(("CI_COMMIT_BRANCH".to_owned(), String::new()));
        }
        let more = [
            ("CI_REGISTRY_USER", USER),
            ("CI_REGISTRY_PASSWORD", PASSWORD),
            ("LAYERLIFT_PATH", BINARY),
            ("LAYERLIFT_INSECURE_REGISTRY", &self.registry.address),
            ("LAYERLIFT_REGISTRY_MIRROR", &self.registry.address),
            // What is looked at is what the engine does with a build that it had before; see `TestEnv`.
            ("LAYERLIFT_REUSE", "off"),
        ];
        variables.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        variables
    }

    /// Runs a pipeline on `main`.
    #[track_caller]
    pub fn run(&self, file: &str) -> Pipeline {
        self.run_with(file, &self.variables(Event::Branch("main")))
    }

    /// Runs a pipeline: the text of its file, and its variables.
    #[track_caller]
    pub fn run_with(&self, file: &str, variables: &[(String, String)]) -> Pipeline {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        self.project.write(".gitlab-ci.yml", file);
        // A job has what is in git.
        self.project.commit();
        self.place_includes(file);
        let certificates = format!("gitlab-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut command = self.runner.command(&self.runner.program);
        command.current_dir(self.project.folder()).env("HOME", self.home.path());
        command.args([
            "--privileged",
            "--pull-policy=if-not-present",
            "--color=false",
            "--no-artifacts-to-source",
        ]);
        // As in the configuration of GitLab's own runners: job and service share the client's certificates. Here, so do
        // the jobs, which therefore follow one another.
        command.args(["--concurrency", "1"]);
        command.args(["--volume", &format!("{certificates}:/certs/client")]);
        command.args(["--volume", &format!("{}:{BINARY}:ro", env!("CARGO_BIN_EXE_layerlift"))]);
        for (name, value) in variables {
            command.args(["--variable", &format!("{name}={value}")]);
        }
        let finished = run(&mut command);
        let _ = run(self.runner.command("docker").args(["volume", "rm", &certificates])).ok();
        assert!(!finished.all().contains(PASSWORD), "{}", finished.all());
        let artifacts = self.project.folder().join(".gitlab-ci-local/artifacts/build");
        let read = |name: &str| std::fs::read_to_string(artifacts.join(name)).unwrap_or_default();
        Pipeline {
            finished,
            dotenv: read(".gitlab-ci-reports/dotenv/layerlift.env"),
            page: read("layerlift.html"),
        }
    }

    /// The runner keeps what it has fetched. There, every `include: remote` of the release is put before it asks.
    #[track_caller]
    fn place_includes(&self, file: &str) {
        let parsed: Value = serde_yaml::from_str(file).unwrap();
        for include in parsed["include"].as_sequence().into_iter().flatten() {
            let Some(address) = include["remote"].as_str() else { continue };
            let release = concat!("/v", env!("CARGO_PKG_VERSION"), "/");
            let (_, path) =
                address.split_once(release).unwrap_or_else(|| panic!("{address} is of {release}"));
            let place = format!(".gitlab-ci-local/includes/{}", address.trim_start_matches("https://"));
            self.project.write(&place, &std::fs::read_to_string(repository(path)).unwrap());
        }
    }
}
