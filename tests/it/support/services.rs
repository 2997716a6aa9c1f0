//! Several images of one folder: `tests/it/services`, copied, built in a job on an engine that is empty each time.
//!
//! Every image holds `/tools.stamp`, a random number of the stage that all share, and `/own.stamp`, one of its own.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::cli::TestEnv;
use super::engine::{Engine, Kind};
use super::job::{self, Event};
use super::program::{Finished, run};
use super::registry::Registry;

const FILES: [(&str, &str); 8] = [
    ("Dockerfile", include_str!("../services/Dockerfile")),
    ("common.yaml", include_str!("../services/common.yaml")),
    ("compose.yaml", include_str!("../services/compose.yaml")),
    ("compose.ci.yaml", include_str!("../services/compose.ci.yaml")),
    ("docker-bake.hcl", include_str!("../services/docker-bake.hcl")),
    ("api/a.txt", "a\n"),
    ("web/w.txt", "w\n"),
    ("shared/file.txt", "shared\n"),
];

/// The folder, an engine, and a repository for the images.
pub struct Services {
    pub engine: Engine,
    pub registry: Registry,
    pub test: TestEnv,
    pub repository: String,
    folder: TempDir,
}

/// What came of a line of layerlift's.
#[must_use]
pub struct GroupBuild {
    pub finished: Finished,
    pub report: Value,
}

impl Services {
    #[track_caller]
    pub fn new(kind: Kind) -> Services {
        Services::on(Engine::start(kind))
    }

    /// With an engine that was started for the purpose.
    #[track_caller]
    pub fn on(engine: Engine) -> Services {
        let registry = Registry::shared();
        let repository = registry.unique("services");
        let mut test = TestEnv::new(&engine);
        let image = registry.reference(&repository);
        test.set_job(job::gitlab(&image, Event::Branch("main")));
        test.set("IMAGES", &image);
        test.add_compose(&engine);
        let services = Services { engine, registry, test, repository, folder: tempfile::tempdir().unwrap() };
        FILES.iter().for_each(|(name, text)| services.write(name, text));
        services
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    #[track_caller]
    pub fn write(&self, path: &str, content: &str) {
        let path = self.folder().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Every file of the folder with its content.
    #[track_caller]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut folders = vec![self.folder().to_path_buf()];
        let mut found = BTreeMap::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => drop(found.insert(path.display().to_string(), std::fs::read(&path).unwrap())),
                }
            }
        }
        found
    }

    /// The next runner: an engine without any state.
    #[track_caller]
    pub fn reset(&mut self) {
        self.engine.reset();
        self.test.use_engine(&self.engine);
    }

    /// `layerlift SUBCOMMAND --report FILE ARGUMENTS`.
    #[track_caller]
    pub fn build(&self, subcommand: &str, arguments: &[&str]) -> GroupBuild {
        let report = self.test.path("report.json");
        let _ = std::fs::remove_file(&report);
        let mut all = vec![subcommand, "--report", report.to_str().unwrap()];
        all.extend(arguments);
        let before = self.files();
        let finished = self.test.run(self.folder(), &all);
        assert!(before == self.files(), "the user's files were touched\n{}", finished.all());
        // buildx 0.13 leaves the Dockerfiles that it read from standard input.
        let left = self.test.temporary_files();
        assert!(!left.iter().any(|name| name.contains("layerlift")), "{left:?}\n{}", finished.all());
        let report = std::fs::read(&report).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        GroupBuild { finished, report: report.unwrap_or(Value::Null) }
    }

    /// A program in the same surroundings as layerlift.
    #[track_caller]
    pub fn bare(&self, program: &str, arguments: &[&str]) -> Finished {
        let template = self.test.command(self.folder(), &[]);
        let mut command = std::process::Command::new(program);
        command.env_clear().current_dir(self.folder()).args(arguments);
        command.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run(&mut command)
    }

    fn image(&self, name: &str) -> String {
        self.registry.reference(&format!("{}/{name}:1", self.repository))
    }

    /// The random numbers in a pushed image: of the shared stage, and its own.
    #[track_caller]
    pub fn stamps(&self, name: &str) -> (String, String) {
        let stamp = |file: &str| self.registry.file(&self.image(name), file);
        (stamp("tools.stamp"), stamp("own.stamp"))
    }

    /// What a pushed image is run with: environment, labels, command. Without `Image`, where the classic builder notes the
    /// id of the step before: that is of this run alone.
    #[track_caller]
    pub fn config(&self, name: &str) -> Value {
        let platform = ["config", "--platform", "linux/amd64", &self.image(name)];
        let config = self.registry.crane(&platform).ok().text();
        let mut config = serde_json::from_str::<Value>(&config).unwrap()["config"].clone();
        config.as_object_mut().unwrap().remove("Image");
        config
    }
}

impl GroupBuild {
    /// Itself, after a check that it went well and that nothing was warned of.
    #[track_caller]
    pub fn made(self) -> Self {
        assert_eq!(self.finished.code, 0, "{}", self.finished.all());
        assert_eq!(self.report["status"], "succeeded", "{self}");
        assert_eq!(self.report["version"], 1, "{self}");
        let warned = |warnings: &Value| warnings.as_array().is_some_and(|list| !list.is_empty());
        let members = self.report["members"].as_array().unwrap();
        let any = members.iter().any(|member| warned(&member["report"]["warnings"]));
        assert!(!any && !warned(&self.report["warnings"]), "{self}");
        self
    }

    /// The members' names, in the report's order.
    pub fn members(&self) -> Vec<&str> {
        let members = self.report["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        members.iter().filter_map(|member| member["name"].as_str()).collect()
    }

    /// What was written for each member, of the kinds that are asked for: `api: cache`.
    pub fn written(&self, is_asked: impl Fn(&str) -> bool) -> Vec<String> {
        let members = self.report["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        let each = members.iter().flat_map(|member| {
            let written = member["report"]["written"].as_array().map(Vec::as_slice).unwrap_or_default();
            let kinds = written.iter().filter_map(|it| it["what"].as_str()).filter(|what| is_asked(what));
            kinds.map(|what| format!("{}: {what}", member["name"].as_str().unwrap_or_default()))
        });
        each.collect()
    }

    /// The steps of a member that were executed.
    #[track_caller]
    pub fn executed(&self, member: &str) -> Vec<String> {
        let members = self.report["members"].as_array().unwrap();
        let found = members.iter().find(|it| it["name"] == member).unwrap_or_else(|| panic!("{self}"));
        let stages = found["report"]["stages"].as_array().unwrap().iter();
        let steps: Vec<&Value> = stages.flat_map(|stage| stage["steps"].as_array().unwrap()).collect();
        assert!(!steps.is_empty(), "no steps of {member}\n{self}");
        let counts = |text: &&str| ["RUN", "COPY"].iter().any(|word| text.starts_with(word));
        let ran = steps.into_iter().filter(|step| step["status"] != "cached");
        ran.filter_map(|step| step["instruction"].as_str()).filter(counts).map(str::to_owned).collect()
    }
}

impl std::fmt::Display for GroupBuild {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}\n{:#}", self.finished.all(), self.report)
    }
}
