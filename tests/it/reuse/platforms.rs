//! What is built for: several platforms are answered with their index, and one that only the engine knows is asked for
//! first.

use serde_json::Value;

use super::{assert_built, assert_reused};
use crate::support::engine::Kind;
use crate::support::scene::Scene;

#[test]
fn an_image_of_two_platforms_is_answered() {
    let mut scene = Scene::reusing(Kind::Docker28Containerd, "reuse-index");
    // Nothing is run, so that no engine has to know the other platform's programs.
    scene
        .project
        .write("Dockerfile", "FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY src/ /app/\n");
    let push = |scene: &Scene, tag: &str, platforms: &str| {
        let image = scene.image(tag);
        let build = scene.test.build(&scene.project, &["--push", "--platform", platforms, "-t", &image]);
        assert_eq!(build.finished.code, 0, "{build}");
        build
    };
    let both = "linux/amd64,linux/arm64";
    let cold = push(&scene, "1", both);
    assert_eq!(cold.report["reused"], Value::Null, "{cold}");
    scene.lose_engine();
    let warm = push(&scene, "2", both);
    assert_reused(&warm, "branch-main");
    assert_eq!(scene.digest("2"), scene.digest("1"));
    let index = scene.registry.crane(&["manifest", &scene.image("2")]).ok().text();
    for platform in ["amd64", "arm64"] {
        assert!(index.contains(&format!("\"{platform}\"")), "{index}");
        let wanted = ["config", "--platform", &format!("linux/{platform}"), &scene.image("2")];
        let config = scene.registry.crane(&wanted).ok().text();
        assert!(config.contains(&format!("{{\"arch\":\"{platform}\"}}")), "{config}");
    }
    // One of the two alone is another image.
    scene.find_engine();
    let single = push(&scene, "3", "linux/amd64");
    assert_eq!(single.report["reused"], Value::Null, "{single}");
}

#[test]
fn where_only_the_engine_knows_its_platform_it_is_asked_first() {
    let mut scene = Scene::reusing(Kind::Docker28Containerd, "reuse-late");
    assert_built(&scene.push("1", &[]));
    let first = scene.digest("1");
    assert_reused(&scene.push("2", &["--builder", "default"]), "branch-main");
    assert_eq!(scene.digest("2"), first);
    scene.test.set("BUILDX_BUILDER", "default");
    assert_reused(&scene.push("3", &[]), "branch-main");
    assert_eq!(scene.digest("3"), first);
    let told = scene.test.run(scene.project.folder(), &["explain"]).ok().text();
    let answer = told.lines().next().unwrap_or_default();
    let image = scene.image("3");
    assert!(
        answer.starts_with("answered  ") && answer.contains(&format!("{image}: reused sha256:")),
        "{told}"
    );
    assert!(answer.contains("from commit 1ecfd275763e") && told.contains("\nrecord    "), "{told}");
    scene.lose_engine();
    let lost = scene.test.build(&scene.project, &["--push", "-t", &scene.image("4")]);
    assert_eq!(lost.finished.code, 69, "{lost}");
}
