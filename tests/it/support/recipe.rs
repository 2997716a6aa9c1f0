//! The project that the templates and the examples build: `Dockerfile` in one stage and `Dockerfile.multi` in two, as in
//! `examples/app`, but of nothing than busybox.
//!
//! The engines of the testbed have no network of their own; no step here wants one. That must be said in each `RUN`, which
//! Docker 20.10 does not understand: there the whole build is told `--network=host`.

use super::engine::Kind;
use super::project::Project;
use super::registry::Registry;
use super::scene::Scene;

const SINGLE: &str = "\
ARG BASE=busybox:latest
FROM ${BASE}
WORKDIR /app
RUN --network=none cat /proc/sys/kernel/random/uuid > tools.stamp
COPY src/ src/
RUN --network=none cat src/* > source.txt && cat /proc/sys/kernel/random/uuid > stamp
";

const MULTI: &str = "\
ARG BASE=busybox:latest
FROM ${BASE} AS base
RUN --network=none mkdir /tools && cat /proc/sys/kernel/random/uuid > /tools/tools.stamp

FROM ${BASE}
WORKDIR /app
COPY --from=base /tools/ ./
COPY src/ src/
RUN --network=none cat src/* > source.txt && cat /proc/sys/kernel/random/uuid > stamp
";

/// A project with both files.
#[track_caller]
pub fn project(kind: Kind) -> Project {
    let file = |text: &str| match kind {
        Kind::Docker20 => text.replace("--network=none ", ""),
        _ => text.to_owned(),
    };
    let project = Project::with_dockerfile(&file(SINGLE));
    project.write("Dockerfile.multi", &file(MULTI));
    project
}

/// The project, and an engine with empty state.
#[track_caller]
pub fn scene(kind: Kind, name: &str) -> Scene {
    let mut scene = Scene::new(kind, name, project(kind));
    scene.test.set_job(Vec::new());
    scene
}

/// The random numbers that both `RUN`s left in an image, after a check that it holds the project's source.
#[track_caller]
pub fn stamps(scene: &Scene, image: &str) -> [String; 2] {
    stamps_of(&scene.registry, &scene.project, image)
}

/// The same of an image in any registry.
#[track_caller]
pub fn stamps_of(registry: &Registry, project: &Project, image: &str) -> [String; 2] {
    assert_eq!(registry.file(image, "app/source.txt"), project.source(), "{image}");
    ["tools.stamp", "stamp"].map(|name| registry.file(image, &format!("app/{name}")))
}
