//! Stages without a name, on engines that cannot export a cache: their stage images need a Dockerfile with names.

use std::process::Stdio;

use crate::support::cli::Build;
use crate::support::engine::Kind;
use crate::support::program::Finished;
use crate::support::project::Project;
use crate::support::scene::Scene;

/// Two stages that are only known by their number, spelt so that a name is not easily put there.
const DOCKERFILE: &str = "\
# escape=\\
FROM \\
  # the tools
  busybox:latest
RUN mkdir /tools && cat /proc/sys/kernel/random/uuid > /tools/stamp

FROM busybox:latest
WORKDIR /build
COPY --from=0 /tools /build/tools
COPY src/ /build/src/
RUN <<END
FROM=nothing
cat src/* > source.txt
END

FROM busybox:latest AS final
WORKDIR /app
COPY --from=0 /tools/stamp tools.stamp
COPY --from=1 /build/source.txt source.txt
";

/// The same for engines whose frontend knows no heredocs.
fn dockerfile(kind: Kind) -> String {
    let heredoc = "RUN <<END\nFROM=nothing\ncat src/* > source.txt\nEND\n";
    match kind {
        Kind::Docker20 => DOCKERFILE.replace(heredoc, "RUN cat src/* > source.txt\n").replace('\n', "\r\n"),
        _ => DOCKERFILE.to_owned(),
    }
}

#[track_caller]
fn scene(kind: Kind) -> Scene {
    Scene::new(kind, "unnamed", Project::with_dockerfile(&dockerfile(kind)))
}

/// Builds, pushes and checks the image; gives the build and the number that the first stage made.
#[track_caller]
fn build(scene: &Scene, tag: &str, arguments: &[&str]) -> (Build, String) {
    let image = scene.image(tag);
    let mut all = vec!["--push", "-t", &image];
    all.extend(arguments);
    let build = scene.test.build(&scene.project, &all).made(&scene.registry, &image, &scene.project);
    assert_eq!(build.warnings(), "", "{build}");
    assert_eq!(scene.test.temporary_files(), [""; 0], "a temporary file was left\n{build}");
    (build, scene.registry.file(&image, "app/tools.stamp"))
}

fn stages_are_kept(kind: Kind) {
    let mut scene = scene(kind);
    let (cold, first) = build(&scene, "1", &[]);
    assert_eq!(cold.report["cache"]["strategy"], "inline", "{cold}");
    let tags = scene.registry.tags(&scene.repository);
    let kept = |label: &str| tags.keys().any(|tag| tag.ends_with(&format!(":branch-main--stage-{label}")));
    assert!(["stage-0", "stage-1", "final"].into_iter().all(kept), "{tags:#?}\n{cold}");

    scene.reset();
    let (unchanged, second) = build(&scene, "2", &[]);
    assert_eq!(unchanged.executed(), [], "{unchanged}");
    assert_eq!(second, first);

    scene.reset();
    scene.project.change_source("changed\n");
    let (changed, third) = build(&scene, "3", &[]);
    let executed = changed.executed();
    assert!(executed.iter().all(|(stage, _)| stage != "stage-0"), "{changed}");
    assert!(executed.iter().any(|(stage, what)| stage == "stage-1" && what.starts_with("RUN")), "{changed}");
    assert_eq!(third, first, "the first stage was not run again");
}

#[test]
fn stages_are_kept_by_docker_20() {
    stages_are_kept(Kind::Docker20);
}

#[test]
fn stages_are_kept_by_docker_28() {
    stages_are_kept(Kind::Docker28Graph);
}

/// A Dockerfile elsewhere with a `.dockerignore` of its own: what it leaves out must not come into the stage images,
/// or nothing would be hit.
#[test]
fn a_dockerfile_of_another_name_keeps_its_dockerignore() {
    let mut scene = scene(Kind::Docker28Graph);
    let text = dockerfile(Kind::Docker28Graph).replace("COPY src/ /build/src/", "COPY . /build/");
    scene.project.write("docker/app.Dockerfile", &text);
    scene.project.write("docker/app.Dockerfile.dockerignore", "docker\nnoise\n");
    scene.project.write("noise", "1");
    let (_, first) = build(&scene, "1", &["-f", "docker/app.Dockerfile"]);
    scene.reset();
    scene.project.write("noise", "2");
    let (unchanged, second) = build(&scene, "2", &["-f", "docker/app.Dockerfile"]);
    assert_eq!(unchanged.executed(), [], "{unchanged}");
    assert_eq!(second, first);
}

/// Builds with something on standard input.
#[track_caller]
fn fed(scene: &Scene, arguments: &[&str], input: &[u8]) -> Finished {
    let mut command = scene.test.command(scene.project.folder(), arguments);
    let file = scene.test.path("input");
    std::fs::write(&file, input).unwrap();
    command.stdin(Stdio::from(std::fs::File::open(&file).unwrap()));
    crate::support::program::run(&mut command)
}

#[test]
fn a_dockerfile_on_standard_input_is_replaced_there() {
    let mut scene = scene(Kind::Docker28Graph);
    let text = dockerfile(scene.engine.kind);
    let mut stamps = Vec::new();
    for tag in ["1", "2"] {
        let image = scene.image(tag);
        let arguments = ["build", "--network=host", "--push", "--strict", "-t", &image, "-f", "-", "."];
        let built = fed(&scene, &arguments, text.as_bytes()).ok();
        stamps.push((scene.registry.file(&image, "app/tools.stamp"), built.stderr));
        scene.reset();
    }
    assert_eq!(stamps[0].0, stamps[1].0, "{}", stamps[1].1);
    // Without any context.
    let text = "FROM busybox:latest\nRUN cat /proc/sys/kernel/random/uuid > /stamp\nFROM busybox:latest\nCOPY --from=0 /stamp /app/\n";
    let mut stamps = Vec::new();
    for tag in ["3", "4"] {
        let image = scene.image(tag);
        let arguments = ["build", "--network=host", "--push", "--strict", "-t", &image, "-"];
        let built = fed(&scene, &arguments, text.as_bytes()).ok();
        stamps.push((scene.registry.file(&image, "app/stamp"), built.stderr));
        scene.reset();
    }
    assert_eq!(stamps[0].0, stamps[1].0, "{}", stamps[1].1);
}

#[test]
fn in_an_archive_they_are_left_out_and_that_is_said() {
    let scene = scene(Kind::Docker28Graph);
    let archive = crate::support::program::run(std::process::Command::new("tar").args([
        "-C",
        scene.project.folder().to_str().unwrap(),
        "-c",
        ".",
    ]))
    .ok()
    .stdout;
    let image = scene.image("1");
    let plan = fed(&scene, &["plan", "--push", "-t", &image, "-"], &archive).ok().text();
    assert!(
        plan.contains(
            "nothing of stage stage-0\n              (it has no name for --target, and its Dockerfile is in an archive on standard input)"
        ),
        "{plan}"
    );
    let arguments = ["build", "--network=host", "--push", "--strict", "-t", &image, "-"];
    let _ = fed(&scene, &arguments, &archive).ok();
    assert_eq!(scene.registry.file(&image, "app/source.txt"), scene.project.source());
}
