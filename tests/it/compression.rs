//! How the layers are packed that only the cache has, and who can read them.

use serde_json::Value;

use crate::support::cli::Build;
use crate::support::engine::{Engine, Kind};
use crate::support::project::Project;
use crate::support::scene::Scene;

/// The stage `build` is in the cache only; `base` is in the image too.
const DOCKERFILE: &str = "\
FROM busybox AS base
RUN cat /proc/sys/kernel/random/uuid > /base
FROM base AS build
RUN cat /proc/sys/kernel/random/uuid > /built
FROM base
COPY --from=build /built /built
";

const BOTH: [&str; 2] = ["gzip", "zstd"];

#[track_caller]
fn manifest(scene: &Scene, reference: &str) -> Vec<Value> {
    let text = scene.registry.crane(&["manifest", reference]).ok().text();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["layers"].as_array().unwrap_or_else(|| panic!("{reference}: {text}")).clone()
}

/// The digests of the layers of a manifest as they are packed.
#[track_caller]
fn layers(scene: &Scene, reference: &str) -> Vec<Value> {
    manifest(scene, reference).into_iter().map(|layer| layer["digest"].clone()).collect()
}

/// How the layers of a manifest are packed, each kind once.
#[track_caller]
fn packed(scene: &Scene, reference: &str) -> Vec<String> {
    let kind =
        |layer: &Value| layer["mediaType"].as_str().unwrap().rsplit(['.', '+']).next().unwrap().to_owned();
    let mut kinds: Vec<String> = manifest(scene, reference).iter().map(kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// Builds; what the image and the cache have.
#[track_caller]
fn build(scene: &Scene, flags: &[&str]) -> (Build, Vec<String>, Vec<String>) {
    let image = scene.image("1");
    let build = scene.test.build(&scene.project, &[&["-t", &image, "--provenance=false"], flags].concat());
    assert_eq!((build.finished.code, build.warnings()), (0, String::new()), "{build}");
    let cache = scene.registry.reference(&format!("{}/cache:branch-main", scene.repository));
    let in_cache = layers(scene, &cache);
    let lost: Vec<Value> =
        layers(scene, &image).into_iter().filter(|layer| !in_cache.contains(layer)).collect();
    assert_eq!(lost, [Value::Null; 0], "the cache has a layer of the image packed otherwise: {build}");
    let (image, cache) = (packed(scene, &image), packed(scene, &cache));
    (build, image, cache)
}

#[test]
fn layers_of_the_cache_are_packed_as_asked_for_and_those_of_the_image_as_ever() {
    let project = || Project::with_dockerfile(DOCKERFILE);
    let mut scene = Scene::new(Kind::Docker28Containerd, "compression", project());
    let (first, image, cache) = build(&scene, &["--push", "--cache-compression=zstd"]);
    assert_eq!((image, cache), (vec!["gzip".to_owned()], BOTH.map(str::to_owned).to_vec()), "{first}");

    // An engine with another store unpacks them: the last step runs on top of the stage that only the cache has.
    let changed = DOCKERFILE.replace("FROM base\n", "FROM build\nRUN true\n");
    scene.project.write("Dockerfile", &changed);
    let other = Engine::start(Kind::Docker26Graph);
    scene.test.use_engine(&other);
    let read = scene.test.build(&scene.project, &["--push", "-t", &scene.image("2")]);
    assert_eq!((read.finished.code, read.warnings()), (0, String::new()), "{read}");
    let ran: Vec<String> = read.executed().into_iter().map(|(_, step)| step).collect();
    assert!(!ran.iter().any(|step| step.contains("> /b")), "{ran:?} {read}");
    drop(other);

    // What is packed with zstd is kept so, and nothing is packed twice.
    scene.project.write("Dockerfile", DOCKERFILE);
    scene.reset();
    let zstd = "type=image,push=true,compression=zstd,force-compression=true";
    let (third, image, cache) = build(&scene, &["--output", zstd, "--no-cache"]);
    assert_eq!((image, cache), (vec!["zstd".to_owned()], vec!["zstd".to_owned()]), "{third}");
}
