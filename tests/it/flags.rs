//! Flags that decide what comes out where: results on standard output, files of ids, questions, strictness.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::engine::Kind;
use crate::support::program::{Finished, run};
use crate::support::project::Project;
use crate::support::scene::Scene;

const STRICT: i32 = 75;
const ENGINE: i32 = 69;

/// A project whose image is quickly made.
#[track_caller]
fn scene(kind: Kind) -> Scene {
    let dockerfile = "FROM busybox:latest\nCOPY src/one.txt /app/source.txt\n";
    Scene::new(kind, "flags", Project::with_dockerfile(dockerfile))
}

/// Runs `layerlift build` with these arguments and something on standard input.
#[track_caller]
fn fed(scene: &Scene, arguments: &[&str], input: &[u8]) -> Finished {
    let file = scene.test.path("input");
    std::fs::write(&file, input).unwrap();
    let mut command = scene.test.command(scene.project.folder(), &["build", "--network=host"]);
    command.args(arguments).stdin(Stdio::from(std::fs::File::open(&file).unwrap()));
    let finished = run(&mut command);
    assert_eq!(scene.test.temporary_files(), [""; 0], "a temporary file was left\n{}", finished.all());
    finished
}

#[track_caller]
fn build(scene: &Scene, arguments: &[&str]) -> Finished {
    fed(scene, arguments, b"")
}

/// The id that the engine knows an image by.
#[track_caller]
fn id(scene: &Scene, image: &str) -> String {
    scene.engine.run(&["image", "inspect", "--format", "{{.Id}}", image]).ok().text()
}

/// The project as a tar archive.
#[track_caller]
fn archive(scene: &Scene) -> Vec<u8> {
    run(Command::new("tar").args(["-C", scene.project.folder().to_str().unwrap(), "-c", "."])).ok().stdout
}

fn names_of(tar: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.tar");
    std::fs::write(&file, tar).unwrap();
    run(Command::new("tar").args(["-tf", file.to_str().unwrap()])).ok().text()
}

fn results_go_where_docker_puts_them(kind: Kind) {
    let scene = scene(kind);
    let ids = scene.path("id");
    let quiet = build(&scene, &["-q", "-t", "app", "--iidfile", &ids, "."]).ok();
    assert_eq!(quiet.text(), id(&scene, "app"), "the id and nothing else on standard output");
    assert_eq!(quiet.stderr, "", "nothing beside it");
    assert_eq!(std::fs::read_to_string(&ids).unwrap().trim(), id(&scene, "app"));

    let loud = build(&scene, &["-t", "app", "."]).ok();
    assert_eq!(loud.text(), "", "nothing on standard output without being asked");

    let tar = build(&scene, &["--output", "type=tar,dest=-", "."]).ok();
    assert!(names_of(&tar.stdout).lines().any(|name| name == "app/source.txt"), "{}", tar.stderr);
    let short = build(&scene, &["-o", "-", "."]).ok();
    assert!(names_of(&short.stdout).lines().any(|name| name == "app/source.txt"), "{}", short.stderr);
}

#[test]
fn results_go_where_docker_20_puts_them() {
    results_go_where_docker_puts_them(Kind::Docker20);
}

#[test]
fn results_go_where_docker_28_puts_them() {
    results_go_where_docker_puts_them(Kind::Docker28Containerd);
}

#[test]
fn the_classic_builder_is_quiet_too() {
    let mut scene = scene(Kind::Docker20);
    scene.test.set("DOCKER_BUILDKIT", "0");
    let quiet = build(&scene, &["-q", "-t", "app", "."]).ok();
    assert_eq!((quiet.text(), quiet.stderr.as_str()), (id(&scene, "app"), ""));
}

fn input_may_be_standard_input(kind: Kind) {
    let scene = scene(kind);
    let (source, bare) = (scene.project.folder().join("src/one.txt"), "FROM busybox:latest\nENV made=bare\n");
    let expected = std::fs::read_to_string(source).unwrap();
    let dockerfile = b"FROM busybox:latest\nCOPY src/one.txt /app/other.txt\n";
    let _ = fed(&scene, &["-t", "of-file", "-f", "-", "."], dockerfile).ok();
    assert_eq!(scene.engine.file("of-file", "/app/other.txt"), expected.trim());
    let _ = fed(&scene, &["-t", "of-archive", "-"], &archive(&scene)).ok();
    assert_eq!(scene.engine.file("of-archive", "/app/source.txt"), expected.trim());
    let _ = fed(&scene, &["-t", "of-bare", "-"], bare.as_bytes()).ok();
    let variables = ["image", "inspect", "--format", "{{.Config.Env}}", "of-bare"];
    assert!(scene.engine.run(&variables).ok().text().contains("made=bare"));
}

#[test]
fn input_may_be_standard_input_of_docker_20() {
    input_may_be_standard_input(Kind::Docker20);
}

#[test]
fn input_may_be_standard_input_of_docker_28() {
    input_may_be_standard_input(Kind::Docker28Containerd);
}

#[test]
fn a_metadata_file_is_the_engines_own() {
    let scene = scene(Kind::Docker28Containerd);
    let image = scene.registry.reference(&format!("{}/app:1", scene.repository));
    let (file, ids) = (scene.path("metadata.json"), scene.path("id"));
    let _ = build(&scene, &["--push", "-t", &image, "--metadata-file", &file, "--iidfile", &ids, "."]).ok();
    let metadata: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.digest"], scene.registry.digest(&image));
    assert_eq!(metadata["image.name"], image.as_str());
    assert!(std::fs::read_to_string(ids).unwrap().starts_with("sha256:"));

    let old = self::scene(Kind::Docker20);
    let refused = build(&old, &["--metadata-file", &old.path("metadata.json"), "."]);
    assert_eq!(refused.code, ENGINE, "{}", refused.all());
    assert!(refused.stderr.contains("--metadata-file needs buildx"), "{}", refused.stderr);
}

#[test]
fn a_check_only_checks() {
    let scene = scene(Kind::Docker28Containerd);
    let checked = build(&scene, &["--check", "-t", "app", "."]).ok();
    assert!(checked.text().contains("Check complete, no warnings found."), "{}", checked.all());
    scene.project.write("Dockerfile", "FROM busybox:latest as one\nMAINTAINER me\n");
    let warned = build(&scene, &["--check", "."]);
    let direct = run(scene
        .engine
        .docker()
        .args(["buildx", "build", "--check", "."])
        .current_dir(scene.project.folder()));
    assert_eq!((warned.code, warned.text()), (direct.code, direct.text()), "{}", warned.stderr);
    let targets = build(&scene, &["--call", "targets,format=json", "."]).ok();
    let targets: Value = serde_json::from_slice(&targets.stdout).unwrap();
    assert_eq!(targets["targets"][0]["name"], "one");
    assert_ne!(scene.engine.run(&["image", "inspect", "app"]).code, 0, "nothing was built");
    assert_eq!(scene.registry.tags(&scene.repository).len(), 0, "nothing was written");
}

#[test]
fn an_image_is_loaded_without_any_registry() {
    for kind in [Kind::Docker28Containerd, Kind::Docker20] {
        let mut scene = scene(kind);
        scene.test.set_job(Vec::new());
        let _ = build(&scene, &["--load", "-t", "app", "."]).ok();
        assert!(id(&scene, "app").starts_with("sha256:"));
        assert!(!scene.project.folder().join(".layerlift").exists(), "nobody asked for a cache folder");
    }
}

#[test]
fn strictness_makes_a_warning_a_failure_after_the_build() {
    let scene = scene(Kind::Docker28Containerd);
    let impossible = ["--strategy", "classic", "-t", "app", "."];
    let lenient = build(&scene, &impossible).ok();
    assert!(
        lenient.stderr.contains("warning: strategy `classic` is not possible here"),
        "{}",
        lenient.stderr
    );
    let strict = build(&scene, &[&["--strict"], &impossible[..]].concat());
    assert_eq!(strict.code, STRICT, "{}", strict.all());
    assert!(strict.stderr.contains("error: the build succeeded, but not its cache:"), "{}", strict.stderr);
    assert!(strict.stderr.contains("hint: without --strict these are warnings"), "{}", strict.stderr);
    assert!(id(&scene, "app").starts_with("sha256:"), "the image is there all the same");
    let clean = build(&scene, &["--strict", "-t", "app", "."]).ok();
    assert!(!clean.stderr.contains("warning:"), "{}", clean.stderr);
}

#[test]
fn a_quiet_build_that_fails_says_why() {
    for kind in [Kind::Docker28Containerd, Kind::Docker20] {
        let scene = scene(kind);
        scene.project.write("Dockerfile", "FROM busybox:latest\nCOPY no-such-file /\n");
        let failed = build(&scene, &["-q", "."]);
        assert_eq!((failed.code, failed.text().as_str()), (1, ""), "{}", failed.all());
        assert!(failed.stderr.contains("no-such-file"), "{kind}: {}", failed.stderr);
        assert!(failed.stderr.lines().count() < 30, "{kind}: {}", failed.stderr);
    }
}

#[test]
fn a_cache_folder_hits_once_it_is_kept_out_of_the_context() {
    let mut scene = scene(Kind::Docker28Containerd);
    scene.project.write("Dockerfile", "FROM busybox:latest\nCOPY . /app/\nRUN sleep 0\n");
    let build = |scene: &Scene| scene.test.build(&scene.project, &["--strategy", "local", "-t", "app"]);
    let exposed = build(&scene);
    assert!(
        exposed.warnings().contains("the cache folder .layerlift/cache is in the build context"),
        "{exposed}"
    );
    scene.project.write(".dockerignore", ".layerlift\n");
    let cold = build(&scene);
    assert_eq!((cold.finished.code, cold.warnings().as_str()), (0, ""), "{cold}");
    scene.engine.reset();
    scene.test.use_engine(&scene.engine);
    let warm = build(&scene);
    assert_eq!((warm.finished.code, warm.executed()), (0, Vec::new()), "{warm}");
    let left = scene.project.folder().join(".layerlift/cache");
    let folders = std::fs::read_dir(left).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    assert_eq!(folders.collect::<Vec<_>>(), ["branch-main"], "one folder, swapped in");
}
