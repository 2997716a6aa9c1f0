//! The scenario: the same project built again and again, each time on an engine with empty state, on every engine.
//!
//! What was reused is read from two places that know nothing of each other: the report, and the random numbers that
//! every `RUN` of the project leaves in the image.

use std::collections::BTreeMap;

use crate::support::cli::{Build, TestEnv};
use crate::support::engine::{Engine, Kind};
use crate::support::job::{self, Event, Variables};
use crate::support::project::{Project, STEPS, STEPS_OF_SOURCE};
use crate::support::registry::Registry;

/// One project, one repository, and an engine that is empty before every build.
struct Scene {
    engine: Engine,
    registry: Registry,
    project: Project,
    test: TestEnv,
    repository: String,
    builds: u32,
}

impl Scene {
    #[track_caller]
    fn new(kind: Kind, buildkit: bool) -> Scene {
        let registry = Registry::shared();
        let repository = registry.unique("scenario");
        let engine = Engine::start(kind);
        let mut test = TestEnv::new(&engine);
        if !buildkit {
            test.set("DOCKER_BUILDKIT", "0");
        } else if kind == Kind::Docker20 {
            // Docker 20.10 builds classically unless it is asked not to; the recipes of its time ask.
            test.set("DOCKER_BUILDKIT", "1");
        }
        Scene { engine, registry, project: Project::new(), test, repository, builds: 0 }
    }

    fn gitlab(&self, event: Event<'_>) -> Variables {
        job::gitlab(&self.registry.reference(&self.repository), event)
    }

    /// Builds and pushes in a job, on an engine that has nothing, and checks that the image is right.
    #[track_caller]
    fn build(&mut self, job: Variables) -> (Build, Stamps) {
        if self.builds > 0 {
            self.engine.reset();
            self.test.use_engine(&self.engine);
        }
        self.builds += 1;
        self.test.set_job(job);
        let image = self.registry.reference(&format!("{}/app:{}", self.repository, self.builds));
        let build = self.test.build(&self.project, &["--push", "-t", &image]);
        let build = build.made(&self.registry, &image, &self.project);
        assert_eq!(build.steps().len(), STEPS, "{build}");
        let stamp = |name: &str| self.registry.file(&image, &format!("app/{name}"));
        let stamps = Stamps {
            tools: stamp("tools.stamp"),
            dependencies: stamp("dependencies.stamp"),
            build: stamp("stamp"),
        };
        (build, stamps)
    }

    /// Everything in the project's repositories but its images: the caches.
    #[track_caller]
    fn caches(&self) -> BTreeMap<String, String> {
        let images = format!("{}/app:", self.repository);
        let mut tags = self.registry.tags(&self.repository);
        tags.retain(|name, _| !name.starts_with(&images));
        tags
    }
}

/// The random numbers that an image carries; the same number means the same run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamps {
    tools: String,
    dependencies: String,
    build: String,
}

/// Nothing was executed, and the image has what an earlier one has.
#[track_caller]
fn assert_all_reused((build, stamps): &(Build, Stamps), earlier: &Stamps) {
    assert_eq!(build.executed(), [], "{build}");
    assert_eq!(stamps, earlier, "{build}");
}

/// What depends on the source was executed, and nothing else.
#[track_caller]
fn assert_only_source_ran((build, stamps): &(Build, Stamps), earlier: &Stamps) {
    let executed = build.executed();
    let right = executed.len() == STEPS_OF_SOURCE.len()
        && executed
            .iter()
            .zip(STEPS_OF_SOURCE)
            .all(|((stage, instruction), (of, start))| stage == of && instruction.starts_with(start));
    assert!(right, "executed: {executed:#?}\n{build}");
    assert_eq!((&stamps.tools, &stamps.dependencies), (&earlier.tools, &earlier.dependencies), "{build}");
    assert_ne!(stamps.build, earlier.build, "{build}");
}

/// The report names a candidate of this scope and says that it was taken.
#[track_caller]
fn assert_read_from(build: &Build, scope: &str) {
    let candidates = build.report["cache"]["candidates"].as_array().cloned().unwrap_or_default();
    let taken = candidates.iter().any(|candidate| {
        let verdict = candidate["verdict"].as_str().unwrap_or_default();
        candidate["scope"] == scope && (verdict.starts_with("used") || verdict.starts_with("merged"))
    });
    assert!(taken, "nothing was taken from {scope}\n{build}");
}

fn scenario(kind: Kind, buildkit: bool) {
    let mut scene = Scene::new(kind, buildkit);
    let main = scene.gitlab(Event::Branch("main"));

    // An empty engine and an empty registry: everything is executed, and leaves a cache.
    let (cold, first) = scene.build(main.clone());
    assert_eq!(cold.executed().len(), STEPS, "{cold}");
    assert_eq!(cold.report["cache"]["scope"], "branch-main");
    assert!(!scene.caches().is_empty(), "{cold}");

    // Nothing changed.
    let unchanged = scene.build(main.clone());
    assert_all_reused(&unchanged, &first);
    assert_read_from(&unchanged.0, "branch-main");

    // One source file changed.
    scene.project.change_source("changed\n");
    let changed = scene.build(main);
    assert_only_source_ran(&changed, &first);
    let second = changed.1;

    // A new branch starts from the default branch's cache and leaves one of its own.
    let before = scene.caches();
    let branch = scene.build(scene.gitlab(Event::Branch("feature/x")));
    assert_all_reused(&branch, &second);
    assert_read_from(&branch.0, "branch-main");
    let after = scene.caches();
    assert!(after.len() > before.len(), "the branch wrote nothing: {after:#?}\n{}", branch.0);
    assert!(before.iter().all(|(name, digest)| after.get(name) == Some(digest)), "main's cache was changed");

    // A merge request reads its target's cache.
    scene.project.change_source("merge request\n");
    let request = scene.build(scene.gitlab(Event::Request { number: 12, branch: "feature/x" }));
    assert_only_source_ran(&request, &second);
    assert_eq!(request.0.report["cache"]["scope"], "mr-12", "{}", request.0);
    assert_read_from(&request.0, "branch-main");
    assert!(scene.caches().len() > after.len(), "the merge request wrote nothing\n{}", request.0);

    // A tag reads the default branch's cache and writes nothing.
    scene.project.change_source("changed\n");
    let before = scene.caches();
    let tag = scene.build(scene.gitlab(Event::Tag("v1.0.0")));
    assert_all_reused(&tag, &second);
    assert_read_from(&tag.0, "branch-main");
    assert_eq!(scene.caches(), before, "a tag wrote\n{}", tag.0);

    // So does the merge request of a fork, although its job could write.
    scene.project.change_source("from a stranger\n");
    let fork = scene.build(scene.gitlab(Event::Fork { number: 13, branch: "main" }));
    assert_only_source_ran(&fork, &second);
    assert_read_from(&fork.0, "branch-main");
    assert_eq!(scene.caches(), before, "a fork wrote\n{}", fork.0);
}

/// The branch has a cache of its own and the default branch's: two candidates, which must give every hit, every time.
fn ten_of_ten(kind: Kind, buildkit: bool) {
    let mut scene = Scene::new(kind, buildkit);
    let (_, first) = scene.build(scene.gitlab(Event::Branch("main")));
    let branch = scene.gitlab(Event::Branch("feature/ten"));
    for round in 1..=10 {
        scene.project.change_source(&format!("round {round}\n"));
        let changed = scene.build(branch.clone());
        assert_only_source_ran(&changed, &first);
    }
}

macro_rules! on_every_engine {
    ($($engine:ident: $kind:ident, $buildkit:literal;)*) => {$(
        mod $engine {
            use super::*;

            #[test]
            fn scenario() {
                super::scenario(Kind::$kind, $buildkit);
            }

            #[test]
            fn a_changed_file_ten_times_of_ten() {
                ten_of_ten(Kind::$kind, $buildkit);
            }
        }
    )*};
}

on_every_engine! {
    docker_20: Docker20, true;
    docker_20_classic: Docker20, false;
    docker_26_graph: Docker26Graph, true;
    docker_26_containerd: Docker26Containerd, true;
    docker_28_graph: Docker28Graph, true;
    docker_28_containerd: Docker28Containerd, true;
}

#[test]
fn every_kind_of_engine_has_its_scenario() {
    let text = include_str!("scenario.rs");
    for kind in Kind::ALL {
        assert!(text.contains(&format!(": {kind:?}, true;")), "{kind:?}");
    }
}

#[test]
fn github_push_pull_request_and_fork() {
    let mut scene = Scene::new(Kind::Docker28Containerd, true);
    let files = tempfile::tempdir().unwrap();
    let cache = scene.registry.reference(&format!("{}/cache", scene.repository));
    scene.test.set("LAYERLIFT_CACHE_REPO", &cache);
    let read = |name: &str| std::fs::read_to_string(files.path().join(name)).unwrap_or_default();

    let (cold, first) = scene.build(job::github(files.path(), Event::Branch("main")));
    assert_eq!(cold.report["cache"]["scope"], "branch-main");
    assert!(read("output").contains("\nsha256:"), "{}", read("output"));
    assert!(read("output").contains("\nfalse\n"), "{}", read("output"));
    assert!(read("summary.md").contains("build"), "{}", read("summary.md"));

    let request = scene.build(job::github(files.path(), Event::Request { number: 7, branch: "feature/x" }));
    assert_all_reused(&request, &first);
    assert_eq!(request.0.report["cache"]["scope"], "pr-7");
    assert!(read("output").contains("\ntrue\n"), "{}", read("output"));

    let before = scene.caches();
    scene.project.change_source("from a stranger\n");
    let fork = scene.build(job::github(files.path(), Event::Fork { number: 8, branch: "main" }));
    assert_only_source_ran(&fork, &first);
    assert_eq!(scene.caches(), before, "a fork wrote\n{}", fork.0);
}
