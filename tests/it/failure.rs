//! The failure policy, row by row: whatever the cache's registry does, the build succeeds and the image is right.
//!
//! Images go to the real registry directly; only the cache lies behind the faulty proxy, unless a test says otherwise.

use std::time::{Duration, Instant};

use crate::support::cli::{Build, TestEnv};
use crate::support::engine::{Engine, Kind};
use crate::support::job::{self, Event};
use crate::support::project::{Project, STEPS_OF_SOURCE};
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::Registry;

const READ: &str = "GET|HEAD";
const WRITE: &str = "PUT|POST|PATCH";
const MANIFESTS: &str = "/v2/*/cache/manifests/*";
/// With no candidate's metadata to be had, nothing of the cache is usable.
const BLOBS: &str = "/v2/*/cache/blobs/*";
/// Metadata is good, but the layers, of which a changed source file needs some, are not. Stands for one path for each.
const LAYERS: &str = "layers";
const ALL: &str = "/v2/*/cache/*";

/// Longer than any question to a registry may last, and than any test is willing to wait.
const FOREVER: Duration = Duration::from_secs(120);

/// One job may last so long, whatever goes wrong: the delay is bounded.
const LONGEST: Duration = Duration::from_secs(90);

/// A project whose cache was written well, an engine that is empty again, and a proxy that is about to go wrong.
struct Scene {
    engine: Engine,
    registry: Registry,
    proxy: Proxy,
    project: Project,
    test: TestEnv,
    repository: String,
    patience: Duration,
}

impl Scene {
    #[track_caller]
    fn with_cache(kind: Kind) -> Scene {
        let registry = Registry::shared();
        let proxy = Proxy::start(&registry.address);
        let repository = registry.unique("failure");
        let engine = Engine::start_with(kind, &[&proxy.address]);
        let mut test = TestEnv::new(&engine);
        if kind == Kind::Docker20 {
            test.set("DOCKER_BUILDKIT", "1");
        }
        test.set_job(job::gitlab(&proxy.reference(&repository), Event::Branch("main")));
        test.set("LAYERLIFT_REGISTRY_TIMEOUT", "3");
        // Docker 20 itself tries for minutes to read a layer whose connection is reset.
        let patience = if kind == Kind::Docker20 { 5 * LONGEST } else { LONGEST };
        let mut scene =
            Scene { engine, registry, proxy, project: Project::new(), test, repository, patience };
        let cold = scene.build(&[]);
        assert_eq!(cold.warnings(), "", "{cold}");
        scene.engine.reset();
        scene.test.use_engine(&scene.engine);
        scene.proxy.clear();
        scene
    }

    /// Makes the fault happen from now on.
    #[track_caller]
    fn harm(&self, row: &Row) {
        let mut paths = vec![row.path.to_owned()];
        if row.path == LAYERS {
            let layers = self.registry.layers(&format!("{}/cache", self.repository));
            assert!(!layers.is_empty(), "a cache has layers");
            paths = layers.iter().map(|digest| format!("/v2/*/cache/blobs/{digest}")).collect();
            self.project.change_source("changed\n");
        }
        for path in paths {
            let limit = self.proxy.on(row.methods, &path, row.fault);
            match row.times {
                Some(times) => limit.times(times),
                None => limit.always(),
            }
        }
    }

    /// Builds, pushes past the proxy, and checks exit code and image.
    #[track_caller]
    fn build(&mut self, arguments: &[&str]) -> Build {
        let image = self.registry.reference(&format!("{}/app:1", self.repository));
        let begin = Instant::now();
        let mut all = vec!["--push", "-t", &image];
        all.extend(arguments);
        let build = self.test.build(&self.project, &all).made(&self.registry, &image, &self.project);
        assert!(begin.elapsed() < self.patience, "it took {:?}", begin.elapsed());
        build
    }
}

/// What the user must be told of a fault.
#[derive(Clone, Copy)]
enum Told {
    /// A warning in the report and in the log.
    Warning,
    /// A word at the candidate: that there is no cache yet is nothing to worry about.
    Verdict,
    /// Nothing: it passed, and the cache was used.
    Nothing,
    /// Nothing: the engine mended it by itself.
    Passed,
}

/// A fault, how often it happens, and what comes of it.
struct Row {
    methods: &'static str,
    path: &'static str,
    fault: Fault,
    times: Option<usize>,
    told: Told,
}

impl Row {
    const fn lasting(methods: &'static str, path: &'static str, fault: Fault) -> Row {
        Row { methods, path, fault, times: None, told: Told::Warning }
    }

    const fn passing(methods: &'static str, path: &'static str, fault: Fault, times: usize) -> Row {
        Row { methods, path, fault, times: Some(times), told: Told::Nothing }
    }

    const fn told(mut self, told: Told) -> Row {
        self.told = told;
        self
    }

    #[track_caller]
    fn check(&self, kind: Kind) {
        let mut scene = Scene::with_cache(kind);
        scene.harm(self);
        let build = scene.build(&[]);
        assert!(scene.proxy.faults() > 0, "the fault did not happen: {:#?}", scene.proxy.requests());
        // BuildKit 0.8 runs the steps of a layer that it cannot fetch, and says nothing of it; so nobody can be told.
        let told = if kind == Kind::Docker20 && self.path == LAYERS { Told::Passed } else { self.told };
        match told {
            Told::Passed => {}
            Told::Warning => {
                assert_ne!(build.warnings(), "", "nobody was told\n{build}");
                assert!(build.finished.stderr.contains("warning"), "{build}");
            }
            Told::Verdict => assert_ne!(build.report["cache"]["candidates"][0]["verdict"], "used", "{build}"),
            Told::Nothing => {
                assert_eq!(build.warnings(), "", "{build}");
                assert_eq!(build.executed(), [], "the cache was given up\n{build}");
            }
        }
    }
}

macro_rules! rows {
    ($($name:ident => $row:expr;)*) => {
        mod docker_20 {
            use super::*;
            $(#[test] fn $name() { $row.check(Kind::Docker20); })*
        }

        mod docker_28_containerd {
            use super::*;
            $(#[test] fn $name() { $row.check(Kind::Docker28Containerd); })*
        }
    };
}

rows! {
    unauthorized => Row::lasting(READ, MANIFESTS, Fault::Status(401, &[("WWW-Authenticate", "Basic realm=\"test\"")]));
    forbidden => Row::lasting(READ, MANIFESTS, Fault::Status(403, &[]));
    not_found => Row::lasting(READ, MANIFESTS, Fault::Status(404, &[])).told(Told::Verdict);
    too_many_requests => Row::lasting(READ, MANIFESTS, Fault::Status(429, &[("Retry-After", "1")]));
    too_many_requests_for_an_hour => Row::lasting(READ, MANIFESTS, Fault::Status(429, &[("Retry-After", "3600")]));
    too_many_requests_once => Row::passing(READ, MANIFESTS, Fault::Status(429, &[("Retry-After", "1")]), 1);
    server_errors => Row::lasting(READ, ALL, Fault::Status(500, &[]));
    server_error_twice => Row::passing(READ, MANIFESTS, Fault::Status(503, &[]), 2);
    manifest_reset_in_mid_body => Row::lasting("GET", MANIFESTS, Fault::Reset);
    manifest_reset_once => Row::passing("GET", MANIFESTS, Fault::Reset, 1);
    manifest_stalls => Row::lasting("GET", MANIFESTS, Fault::Stall(FOREVER));
    manifest_truncated => Row::lasting("GET", MANIFESTS, Fault::Truncate);
    manifest_is_garbage => Row::lasting("GET", MANIFESTS, Fault::Garbage);
    metadata_truncated => Row::lasting("GET", BLOBS, Fault::Truncate);
    metadata_is_garbage => Row::lasting("GET", BLOBS, Fault::Garbage);
    metadata_missing_behind_a_good_manifest => Row::lasting(READ, BLOBS, Fault::Status(404, &[]));
    layers_truncated => Row::lasting("GET", LAYERS, Fault::Truncate);
    layers_reset_in_mid_body => Row::lasting("GET", LAYERS, Fault::Reset);
    layers_are_garbage => Row::lasting("GET", LAYERS, Fault::Garbage);
    layers_missing_behind_a_good_manifest => Row::lasting(READ, LAYERS, Fault::Status(404, &[]));
    layers_missing_although_a_head_finds_them => Row::lasting("GET", LAYERS, Fault::Status(404, &[]));
    slow_registry => Row::passing("*", ALL, Fault::Delay(Duration::from_millis(200)), usize::MAX);
}

/// The fault is met only by who has something to write.
fn a_changed_build_with_refused_writes(kind: Kind) -> (Scene, Build) {
    let mut scene = Scene::with_cache(kind);
    scene.project.change_source("changed\n");
    scene.proxy.on(WRITE, ALL, Fault::Status(403, &[])).always();
    let build = scene.build(&[]);
    assert!(scene.proxy.faults() > 0, "{:#?}", scene.proxy.requests());
    (scene, build)
}

#[test]
fn refused_writes_are_a_warning_on_docker_20() {
    let (_, build) = a_changed_build_with_refused_writes(Kind::Docker20);
    assert_ne!(build.warnings(), "", "{build}");
}

#[test]
fn refused_writes_are_a_warning_on_docker_28_containerd() {
    let (_, build) = a_changed_build_with_refused_writes(Kind::Docker28Containerd);
    assert_ne!(build.warnings(), "", "{build}");
}

#[test]
fn refused_writes_leave_the_old_cache_usable() {
    let (mut scene, broken) = a_changed_build_with_refused_writes(Kind::Docker28Containerd);
    assert_ne!(broken.warnings(), "", "{broken}");
    scene.proxy.clear();
    scene.project.change_source("one\n");
    scene.engine.reset();
    scene.test.use_engine(&scene.engine);
    let build = scene.build(&[]);
    assert_eq!(build.executed(), [], "{build}");
}

#[test]
fn strict_turns_a_warning_into_a_failure() {
    let scene = Scene::with_cache(Kind::Docker28Containerd);
    scene.proxy.on(READ, MANIFESTS, Fault::Status(403, &[])).always();
    let image = scene.registry.reference(&format!("{}/app:strict", scene.repository));
    let build = scene.test.build(&scene.project, &["--strict", "--push", "-t", &image]);
    assert_eq!(build.finished.code, 75, "{build}");
    assert_ne!(build.warnings(), "", "{build}");
}

/// The image goes through the proxy as well.
fn push_with_fault(kind: Kind, status: u16, times: Option<usize>) -> (Scene, Build, String) {
    let scene = Scene::with_cache(kind);
    let limit = scene.proxy.on("PUT", "/v2/*/app/manifests/*", Fault::Status(status, &[]));
    match times {
        Some(times) => limit.times(times),
        None => limit.always(),
    }
    let image = scene.proxy.reference(&format!("{}/app:proxied", scene.repository));
    let build = scene.test.build(&scene.project, &["--push", "-t", &image]);
    assert!(scene.proxy.faults() > 0, "{:#?}", scene.proxy.requests());
    (scene, build, image)
}

#[test]
fn a_push_that_fails_once_is_tried_again() {
    let (scene, build, image) = push_with_fault(Kind::Docker28Containerd, 500, Some(1));
    let _ = build.made(&scene.registry, &image, &scene.project);
}

/// buildx before 0.22 has the engine push once more what BuildKit has pushed, and the engine says less of what failed.
#[test]
fn a_push_by_the_engine_that_fails_once_is_tried_again() {
    let scene = Scene::with_cache(Kind::Docker26Containerd);
    scene.project.change_source("pushed twice\n");
    let tag = "/v2/*/app/manifests/proxied";
    // BuildKit's question.
    scene.proxy.on("HEAD", tag, Fault::Delay(Duration::ZERO)).times(1);
    scene.proxy.on("HEAD", tag, Fault::Status(500, &[])).times(1);
    let image = scene.proxy.reference(&format!("{}/app:proxied", scene.repository));
    let build = scene.test.build(&scene.project, &["--push", "-t", &image]);
    let build = build.made(&scene.registry, &image, &scene.project);
    assert!(build.warnings().contains("could not be pushed; trying again (1 of 2)"), "{build}");
    assert_eq!(scene.proxy.faults(), 2, "{:#?}", scene.proxy.requests());
    // By the second run it was all cached.
    assert_eq!(build.executed().len(), STEPS_OF_SOURCE.len(), "{build}");
}

#[test]
fn a_push_that_fails_for_good_fails_the_build() {
    let (_, build, _) = push_with_fault(Kind::Docker28Containerd, 403, None);
    assert_ne!(build.finished.code, 0, "{build}");
    assert_ne!(build.report["status"], "succeeded", "{build}");
    assert!(build.finished.all().contains("failed to push"), "{build}");
}

/// Docker 20 builds, and layerlift pushes: the failure is ours, and is reported like the engine's own.
#[test]
fn a_push_after_the_build_that_fails_for_good_fails_the_build() {
    let (_, build, _) = push_with_fault(Kind::Docker20, 403, None);
    assert_eq!(build.finished.code, 74, "{build}");
    assert_eq!(
        (&build.report["status"], &build.report["exit_code"]),
        (&"failed".into(), &74.into()),
        "{build}"
    );
    assert!(build.finished.stderr.contains("the image was built, but not pushed"), "{build}");
}
