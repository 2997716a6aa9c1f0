//! `layerlift cache` and `layerlift doctor`, on a real engine and real registries.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::TestEnv;
use crate::support::engine::{Engine, Kind};
use crate::support::job::{self, Event};
use crate::support::program::{Finished, run};
use crate::support::project::Project;
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::{PASSWORD, Registry, USER};

/// A job on the default branch, with an engine that is never reset.
struct Job {
    registry: Registry,
    repository: String,
    project: Project,
    test: TestEnv,
}

impl Job {
    #[track_caller]
    fn new(engine: &Engine) -> Job {
        let registry = Registry::shared();
        let repository = registry.unique("commands");
        let mut test = TestEnv::new(engine);
        test.set_job(job::gitlab(&registry.reference(&repository), Event::Branch("main")));
        Job { registry, repository, project: Project::new(), test }
    }

    #[track_caller]
    fn build(&self, arguments: &[&str]) {
        let image = self.registry.reference(&format!("{}/app:1", self.repository));
        let all = [&["--push", "-t", &image], arguments].concat();
        let build = self.test.build(&self.project, &all).made(&self.registry, &image, &self.project);
        assert_eq!(build.warnings(), "", "{build}");
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Finished {
        self.test.run(self.project.folder(), arguments)
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        json(&self.run(&[arguments, &["--format", "json"]].concat()).ok(), 2)
    }

    fn cache(&self, tag: &str) -> String {
        self.registry.reference(&format!("{}/cache:{tag}", self.repository))
    }
}

#[track_caller]
fn json(finished: &Finished, version: u32) -> Value {
    let value: Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert_eq!(value["version"], version, "{value:#}");
    value
}

#[track_caller]
fn tags(listing: &Value) -> Vec<String> {
    let refs = listing["refs"].as_array().unwrap();
    refs.iter().map(|row| row["tag"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_exported_cache_is_listed_and_inspected() {
    let engine = Engine::start(Kind::Docker28Containerd);
    let job = Job::new(&engine);
    let none = job.json(&["cache", "ls"]);
    assert_eq!(tags(&none), [""; 0]);
    job.build(&[]);

    let listing = job.json(&["cache", "ls"]);
    assert_eq!(tags(&listing), ["branch-main"]);
    let row = &listing["refs"][0];
    assert_eq!((&row["scope"], &row["form"]), (&"branch-main".into(), &"cache image".into()), "{row:#}");
    assert!(row["bytes"].as_u64().unwrap() > 100_000 && row["buildkit"].is_string(), "{row:#}");
    assert_eq!(row["digest"], job.registry.digest(&job.cache("branch-main")));
    let text = job.run(&["cache", "ls"]).ok().text();
    assert!(text.contains("1 cache ref\n") && text.contains("branch-main"), "{text}");

    let found = job.json(&["cache", "inspect", &job.cache("branch-main")]);
    assert_eq!(found["form"], "cache image", "{found:#}");
    assert!(found["summary"]["records_with_results"].as_u64() > Some(5), "{found:#}");
    assert_eq!(found["platforms"], serde_json::json!(["linux/amd64"]), "{found:#}");
    assert_eq!(found["troubles"], serde_json::json!([]), "{found:#}");
    assert!(found["config_bytes"].as_u64() < found["import_limit"].as_u64(), "{found:#}");

    // What is built carries no inline cache here; what does not exist is said not to.
    let image = job.registry.reference(&format!("{}/app:1", job.repository));
    let image = job.run(&["cache", "inspect", &image]);
    assert_eq!(image.code, 74, "{}", image.all());
    assert!(image.stderr.contains("holds no cache that BuildKit could read"), "{}", image.stderr);
    let missing = job.run(&["cache", "inspect", &job.cache("mr-1")]);
    assert_eq!(missing.code, 74, "{}", missing.all());
    assert!(missing.stderr.contains("mr-1 does not exist"), "{}", missing.stderr);
}

#[test]
fn stage_images_travel_to_a_folder_and_into_another_repository() {
    let engine = Engine::start(Kind::Docker28Containerd);
    let mut job = Job::new(&engine);
    job.build(&["--strategy", "inline"]);
    let expected = tags(&job.json(&["cache", "ls"]));
    assert!(expected.contains(&"branch-main--stage-build".to_owned()), "{expected:?}");

    let stage = job.json(&["cache", "inspect", &job.cache("branch-main--stage-build")]);
    assert_eq!((&stage["form"], &stage["stages"][0]), (&"image".into(), &"build".into()), "{stage:#}");
    assert!(stage["summary"]["records_with_results"].as_u64() > Some(0), "{stage:#}");
    let merged = job.json(&["cache", "inspect", &job.cache("branch-main")]);
    assert_eq!(merged["stages"].as_array().map(Vec::len), Some(expected.len() - 1), "{merged:#}");
    assert_eq!(merged["missing_blobs"], serde_json::json!([]), "{merged:#}");

    // The merge request reads the nearest scope that is there.
    job.test.set_job(job::gitlab(
        &job.registry.reference(&job.repository),
        Event::Request { number: 3, branch: "feature/x" },
    ));
    let pulled = job.run(&["cache", "pull", "moved"]).ok();
    assert!(pulled.stderr.contains("refs of branch-main copied"), "{}", pulled.stderr);
    assert_eq!(pulled.text(), "");
    let again = job.run(&["cache", "pull", "moved"]).ok();
    assert!(
        again.stderr.contains("0 blobs sent, 0 B") && !again.stderr.contains("1 blob sent"),
        "{}",
        again.stderr
    );

    // It does not write the default branch's cache, unless it is told to.
    let other = job.registry.unique("commands");
    let reference = job.registry.reference(&format!("{other}/cache"));
    job.test.set("LAYERLIFT_CACHE_REPO", &reference);
    let refused = job.run(&["cache", "push", "moved"]);
    assert_eq!(refused.code, 74, "{}", refused.all());
    assert!(refused.stderr.contains("holds no cache of mr-3"), "{}", refused.stderr);
    assert!(refused.stderr.contains("branch-main"), "{}", refused.stderr);
    assert!(job.registry.tags(&other).is_empty());

    let _ = job.run(&["cache", "push", "--scope", "branch-main", "moved"]).ok();
    assert_eq!(tags(&job.json(&["cache", "ls"])), expected);
    let copy = job.json(&["cache", "inspect", &format!("{reference}:branch-main")]);
    assert_eq!((&copy["digest"], &copy["summary"]), (&merged["digest"], &merged["summary"]), "{copy:#}");
    assert_eq!(copy["missing_blobs"], serde_json::json!([]), "{copy:#}");
}

#[test]
fn a_push_that_is_not_allowed_says_why() {
    let registry = Registry::shared();
    let repository = registry.unique("commands");
    let project = Project::new();
    let mut test = TestEnv::bare();
    std::fs::create_dir(project.folder().join("folder")).unwrap();
    std::fs::write(project.folder().join("folder/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let fork = Event::Fork { number: 4, branch: "main" };
    test.set_job(job::gitlab(&registry.reference(&repository), fork));
    let refused = test.run(project.folder(), &["cache", "push", "--read-only=false", "folder"]);
    assert_eq!(refused.code, 2, "{}", refused.all());
    assert!(refused.stderr.contains("forks never write a cache"), "{}", refused.stderr);

    test.set_job(job::gitlab(&registry.reference(&repository), Event::Branch("main")));
    let missing = test.run(project.folder(), &["cache", "push", "nowhere"]);
    assert_eq!(missing.code, 66, "{}", missing.all());
    let nothing = test.run(project.folder(), &["cache", "pull", "fresh"]);
    assert_eq!(nothing.code, 74, "{}", nothing.all());
    assert!(!project.folder().join("fresh").exists());

    test.set_job(Vec::new());
    let unnamed = test.run(project.folder(), &["cache", "ls"]);
    assert_eq!(unnamed.code, 2, "{}", unnamed.all());
    assert!(unnamed.stderr.contains("--cache-repo"), "{}", unnamed.stderr);
}

#[test]
fn an_interrupted_pull_leaves_nothing_half_done() {
    let registry = Registry::shared();
    let repository = format!("{}/cache", registry.unique("commands"));
    let tag = registry.reference(&format!("{repository}:branch-main"));
    let _ = registry.crane(&["copy", &registry.reference("library/busybox:latest"), &tag]).ok();
    let proxy = Proxy::start(&registry.address);
    proxy.on("GET", "*/blobs/*", Fault::Stall(Duration::from_secs(60))).always();

    let project = Project::new();
    let mut test = TestEnv::bare();
    test.set("LAYERLIFT_CACHE_REPO", &proxy.reference(&repository));
    let arguments = ["cache", "pull", "--scope", "branch-main", "moved"];
    let child = test.start(project.folder(), &arguments);
    let begin = Instant::now();
    while !proxy.requests().iter().any(|request| request.path.contains("/blobs/") && request.method == "GET")
    {
        assert!(begin.elapsed() < Duration::from_secs(20), "no blob was asked for");
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = run(Command::new("kill").args(["-INT", &child.id().to_string()])).ok();
    let interrupted = Finished::from(child.wait_with_output().unwrap());
    assert!(begin.elapsed() < Duration::from_secs(10), "it took {:?}", begin.elapsed());
    assert_eq!(interrupted.code, 130, "{}", interrupted.all());
    let moved = project.folder().join("moved");
    assert!(!moved.join("index.json").exists());
    assert_eq!(std::fs::read_dir(moved.join("blobs/sha256")).unwrap().count(), 0, "a half blob was left");

    proxy.clear();
    let _ = test.run(project.folder(), &arguments).ok();
    assert!(moved.join("index.json").exists());
}

/// The verdict of a check.
#[track_caller]
fn verdict(report: &Value, name: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name);
    check.unwrap_or_else(|| panic!("no check of {name}: {report:#}"))["verdict"].as_str().unwrap().to_owned()
}

#[test]
fn a_healthy_job_has_no_problem() {
    let engine = Engine::start(Kind::Docker28Containerd);
    let mut job = Job::new(&engine);
    job.test.set("LAYERLIFT_CACHEREPO", "x");
    job.test.set("LAYERLIFT_DIGEST", "x");
    job.test.set("CI_REGISTRY_PASSWORD", PASSWORD);
    let finished = job.run(&["doctor", "--format", "json"]);
    assert_eq!(finished.code, 0, "{}", finished.all());
    assert!(!finished.all().contains(PASSWORD), "{}", finished.all());
    let report = json(&finished, 1);
    let good = [
        "docker client",
        "buildx",
        "docker engine",
        "builder",
        "strategy",
        "pipeline",
        "scope",
        "cache repo",
        "registry",
        "read permission",
        "write permission",
        "settings",
    ];
    for name in good {
        assert_eq!(verdict(&report, name), "ok", "{name}: {report:#}");
    }
    assert_eq!(verdict(&report, "variables"), "warning");
    let text = job.run(&["doctor"]).text();
    assert!(text.contains("registry: the builder can export its cache to a registry"), "{text}");
    assert!(text.contains("LAYERLIFT_CACHEREPO: did you mean LAYERLIFT_CACHE_REPO?"), "{text}");
    assert!(!text.contains("LAYERLIFT_DIGEST"), "{text}");
    assert!(text.contains("writes branch-main: the project's own code"), "{text}");
    // The upload that was begun left nothing.
    assert!(job.registry.tags(&job.repository).is_empty());
}

#[test]
fn an_engine_that_is_down_is_the_problem() {
    let registry = Registry::shared();
    let engine = Engine::start(Kind::Docker28Containerd);
    let mut test = TestEnv::new(&engine);
    test.set_job(job::gitlab(&registry.reference(&registry.unique("commands")), Event::Branch("main")));
    drop(engine);
    let project = Project::new();
    let finished = test.run(project.folder(), &["doctor", "--format", "json"]);
    assert_eq!(finished.code, 69, "{}", finished.all());
    let report = json(&finished, 1);
    assert_eq!(report["healthy"], false);
    assert_eq!(verdict(&report, "docker engine"), "problem");
    assert_eq!(verdict(&report, "write permission"), "ok");
}

#[test]
fn a_wrong_login_is_the_registrys_problem() {
    let registry = Registry::basic();
    let engine = Engine::start(Kind::Docker28Containerd);
    let mut test = TestEnv::new(&engine);
    let project = Project::new();
    test.set_job(job::gitlab(&registry.reference("group/project"), Event::Branch("main")));
    test.set("CI_REGISTRY_USER", USER);
    test.set("CI_REGISTRY_PASSWORD", "hunter2");
    let finished = test.run(project.folder(), &["doctor", "--format", "json"]);
    assert_eq!(finished.code, 74, "{}", finished.all());
    assert!(!finished.all().contains("hunter2"), "{}", finished.all());
    let report = json(&finished, 1);
    for name in ["read permission", "write permission"] {
        assert_eq!(verdict(&report, name), "problem", "{report:#}");
    }
    assert!(finished.all().contains("the CI job's token"), "{}", finished.all());

    test.set("CI_REGISTRY_PASSWORD", PASSWORD);
    let right = test.run(project.folder(), &["doctor"]);
    assert_eq!(right.code, 0, "{}", right.all());
    assert!(!right.all().contains(PASSWORD), "{}", right.all());

    std::fs::write(project.folder().join(".layerlift.yml"), "strategi: off\n").unwrap();
    let unreadable = test.run(project.folder(), &["doctor"]);
    assert_eq!(unreadable.code, 78, "{}", unreadable.all());
    assert!(unreadable.text().contains("unknown field `strategi`"), "{}", unreadable.all());
}
