//! The recipes that people paste, as they are, behind a shim: what they do by hand still holds.
//!
//! Their own `--cache-from` and `--cache-to` are honoured as given, so that they reuse what they reuse by themselves. The
//! examples' tests run the same recipes rewritten on layerlift.

use crate::support::engine::Kind;
use crate::support::project::Project;
use crate::support::scene::Scene;

/// One stage, whose image holds the inline cache of all its steps.
const ONE_STAGE: &str = "\
ARG BASE=busybox:latest
FROM ${BASE}
WORKDIR /app
COPY dependencies.txt ./
RUN cat /proc/sys/kernel/random/uuid > dependencies.stamp
COPY src/ src/
RUN cat src/* > source.txt
";

/// Runs a recipe on an empty engine and on the next one. `$CACHE_IMAGE` is the repository; the image is its tag `tag`.
#[track_caller]
fn is_cached(kind: Kind, dockerfile: &str, tag: &str, compose: Option<&str>, recipe: &str) {
    let mut scene = Scene::new(kind, "recipes", Project::with_dockerfile(dockerfile));
    if let Some(compose) = compose {
        scene.project.write("docker-compose.yml", compose);
        scene.test.add_compose(&scene.engine);
    }
    let image = scene.image(tag);
    scene.test.set("CACHE_IMAGE", image.trim_end_matches(&format!(":{tag}")));
    let script = format!("set -e\neval \"$(layerlift shim)\"\n{recipe}");
    let mut run = || {
        let build = scene.test.script(scene.project.folder(), &script);
        assert_eq!(build.finished.code, 0, "{}", build.finished.all());
        assert_eq!(
            build.report["status"],
            "succeeded",
            "layerlift had no part in it: {}",
            build.finished.all()
        );
        assert_eq!(scene.registry.file(&image, "app/source.txt"), scene.project.source());
        let stamp = scene.registry.file(&image, "app/dependencies.stamp");
        scene.reset();
        (stamp, build)
    };
    let (first, _) = run();
    let (second, build) = run();
    assert_eq!(second, first, "{build}");
}

#[test]
fn one_stage_is_cached_by_its_own_image() {
    is_cached(
        Kind::Docker20,
        ONE_STAGE,
        "latest",
        None,
        "docker build --network=host --cache-from $CACHE_IMAGE:latest --tag $CACHE_IMAGE:latest --file ./Dockerfile \
         --build-arg BUILDKIT_INLINE_CACHE=1 \".\"\n\
         docker push $CACHE_IMAGE:latest",
    );
}

#[test]
fn compose_is_cached_by_the_image_of_the_service() {
    let compose = "\
services:
  app:
    image: ${CACHE_IMAGE}:latest
    build:
      context: .
      network: host
      cache_from: [\"${CACHE_IMAGE}:latest\"]
";
    is_cached(
        Kind::Docker20,
        ONE_STAGE,
        "latest",
        Some(compose),
        "export COMPOSE_DOCKER_CLI_BUILD=1\n\
         docker-compose build --build-arg BUILDKIT_INLINE_CACHE=1\n\
         docker push $CACHE_IMAGE:latest",
    );
}

#[test]
fn the_last_of_several_stages_is_cached_by_its_image() {
    let stages = ONE_STAGE.replace("FROM ${BASE}\n", "FROM ${BASE} AS base\nRUN mkdir /tools\nFROM base\n");
    is_cached(
        Kind::Docker28Containerd,
        &stages,
        "stage",
        None,
        "docker build --network=host --target base --cache-from $CACHE_IMAGE:base --tag $CACHE_IMAGE:base \
         --file ./Dockerfile --build-arg BUILDKIT_INLINE_CACHE=1 \".\"\n\
         docker build --network=host --cache-from $CACHE_IMAGE:base --cache-from $CACHE_IMAGE:stage \
         --tag $CACHE_IMAGE:stage --file ./Dockerfile --build-arg BUILDKIT_INLINE_CACHE=1 \".\"\n\
         docker push $CACHE_IMAGE:stage",
    );
}

#[test]
fn buildx_is_cached_by_the_cache_that_it_names() {
    let mut recipe = "docker buildx build --network=host".to_owned();
    recipe += " --cache-from type=registry,ref=$CACHE_IMAGE:cache --cache-to type=registry,ref=$CACHE_IMAGE:cache,mode=max";
    recipe += " --push -t $CACHE_IMAGE:latest .";
    is_cached(Kind::Docker28Containerd, ONE_STAGE, "latest", None, &recipe);
}
