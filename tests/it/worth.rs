//! What is kept with the strategy `inline`: as few images as the cache needs.

use crate::support::cli::Build;
use crate::support::engine::Kind;
use crate::support::project::Project;
use crate::support::scene::Scene;

/// Builds and pushes on an engine without any state, and checks the image.
#[track_caller]
fn build(scene: &mut Scene, tag: &str) -> Build {
    scene.reset();
    let image = scene.image(tag);
    let build = scene.test.build(&scene.project, &["--push", "-t", &image]);
    let build = build.made(&scene.registry, &image, &scene.project);
    assert_eq!(build.report["cache"]["strategy"], "inline", "{build}");
    assert_eq!(build.warnings(), "", "{build}");
    build
}

/// The random number that a `RUN` left in an image.
#[track_caller]
fn stamp(scene: &Scene, tag: &str, file: &str) -> String {
    scene.registry.file(&scene.image(tag), &format!("app/{file}"))
}

/// The stages whose images a build wrote.
fn images(build: &Build) -> Vec<String> {
    let written = build.report["written"].as_array().cloned().unwrap_or_default();
    let images = written.iter().filter(|it| it["what"] == "stage cache");
    let reference = images.map(|it| it["reference"].as_str().unwrap_or_default().to_owned());
    let mut stages: Vec<String> =
        reference.filter_map(|it| Some(it.split_once("--stage-")?.1.to_owned())).collect();
    stages.sort_unstable();
    stages
}

/// The stages in which something was executed, each once.
fn ran(build: &Build) -> Vec<String> {
    let mut stages: Vec<String> = build.executed().into_iter().map(|(stage, _)| stage).collect();
    stages.dedup();
    stages
}

/// `tools` has no image; `dependencies` and `build` stand upon it, and theirs hold it.
fn a_lower_stage_needs_no_image(kind: Kind) {
    let mut scene = Scene::new(kind, "lower", Project::new());
    let cold = build(&mut scene, "1");
    assert_eq!(images(&cold), ["build", "dependencies", "final"], "{cold}");
    let tools = stamp(&scene, "1", "tools.stamp");

    let unchanged = build(&mut scene, "2");
    assert_eq!((ran(&unchanged), images(&unchanged)), (vec![], vec![]), "{unchanged}");

    // Its files are copied anew, and come from the images of the upper stages.
    let text = std::fs::read_to_string(scene.project.folder().join("Dockerfile")).unwrap();
    let first = "WORKDIR /app\nCOPY --from=tools";
    assert!(text.contains(first), "{text}");
    let step = |name: &str| {
        let with = first.replace("COPY", &format!("COPY assets/ {name}/\nCOPY"));
        scene.project.write("Dockerfile", &text.replace(first, &with));
    };
    step("one");
    let copied = build(&mut scene, "3");
    assert_eq!(
        (ran(&copied), images(&copied)),
        (vec!["final".to_owned()], vec!["final".to_owned()]),
        "{copied}"
    );
    assert_eq!(stamp(&scene, "3", "tools.stamp"), tools, "{copied}");

    // Both upper stages are made anew upon a `tools` that was taken from the cache.
    scene.project.write("dependencies.txt", "left-pad 1.3.1\n");
    let dependency = build(&mut scene, "4");
    assert_eq!(ran(&dependency), ["dependencies", "build", "final"], "{dependency}");
    assert_eq!(images(&dependency), ["build", "dependencies", "final"], "{dependency}");
    assert_eq!(stamp(&scene, "4", "tools.stamp"), tools, "{dependency}");
    let dependencies = stamp(&scene, "4", "dependencies.stamp");

    let text = std::fs::read_to_string(scene.project.folder().join("Dockerfile")).unwrap();
    scene.project.write("Dockerfile", &text.replace("assets/ one/", "assets/ two/"));
    let copied = build(&mut scene, "5");
    assert_eq!(ran(&copied), ["final"], "{copied}");
    assert_eq!(stamp(&scene, "5", "tools.stamp"), tools, "{copied}");
    assert_eq!(stamp(&scene, "5", "dependencies.stamp"), dependencies, "{copied}");
}

#[test]
fn a_lower_stage_needs_no_image_on_docker_20() {
    a_lower_stage_needs_no_image(Kind::Docker20);
}

#[test]
fn a_lower_stage_needs_no_image_on_docker_26() {
    a_lower_stage_needs_no_image(Kind::Docker26Graph);
}
