//! Modes are part of a step's key, and a checkout has those that its umask leaves. A cache that was made under one umask
//! is hit under every other, on every kind of builder.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::cli::Build;
use crate::support::engine::Kind;
use crate::support::program::run;
use crate::support::project::Project;
use crate::support::scene::Scene;
use crate::support::services::Services;

const DOCKERFILE: &str = "\
FROM busybox:latest AS base
COPY dependencies.txt src/run.sh /one/
COPY src /two
COPY . /three
RUN cat /proc/sys/kernel/random/uuid > /stamp
FROM base AS final
WORKDIR /app
COPY --from=base /stamp dependencies.stamp
COPY src/ assets/ /app/
RUN cat one.txt two.txt > source.txt
";

/// Two source files, a script, and what the ignore file leaves out.
fn project() -> Project {
    let project = Project::with_dockerfile(DOCKERFILE);
    project.write("src/run.sh", "#!/bin/sh\n");
    project.write(".dockerignore", ".git\n**/made\n");
    project.git(&["add", "--all"]);
    project.git(&["update-index", "--chmod=+x", "src/run.sh"]);
    project.git(&["commit", "-q", "-m", "script"]);
    project
}

/// A fresh checkout, as a job under this umask makes it.
fn checkout(origin: &Project, umask: &str) -> Project {
    let project = Project::checkout(origin, umask);
    project.write("src/made", "an artifact that git does not know, and that nobody wants in an image\n");
    project
}

/// Everything in a work tree with its mode, its inode and its times.
fn looks(folder: &Path) -> Vec<String> {
    let mut folders = vec![folder.to_path_buf()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with(".git") {
                continue;
            }
            let metadata = path.symlink_metadata().unwrap();
            let (mode, inode) = (metadata.mode(), metadata.ino());
            let times = (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec());
            found.push(format!("{} {mode:o} {inode} {times:?}", path.display()));
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// Builds a checkout and pushes it; checks the image, and that nothing was touched and nothing left.
fn build(scene: &Scene, project: &Project, tag: &str, arguments: &[&str]) -> Build {
    let image = scene.image(tag);
    let all = [&["--push", "-t", &image], arguments].concat();
    let before = looks(project.folder());
    let build = scene.test.build(project, &all).made(&scene.registry, &image, project);
    assert_eq!(looks(project.folder()), before, "{build}");
    assert_eq!(scene.test.temporary_files(), [""; 0], "{build}");
    assert_eq!(build.warnings(), "", "{build}");
    build
}

/// Modes of what an image's folder holds.
fn modes(scene: &Scene, tag: &str, folder: &str) -> Vec<String> {
    let exported = scene.registry.crane(&["export", &scene.image(tag), "-"]).ok().stdout;
    let mut found = Vec::new();
    for entry in tar::Archive::new(exported.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
        if path.starts_with(folder) {
            found.push(format!("{path} {:o}", entry.header().mode().unwrap() & 0o7777));
        }
    }
    found.sort_unstable();
    found
}

fn hits_under(kind: Kind, variables: &[(&str, &str)], umasks: &[&str]) -> Scene {
    let mut scene = Scene::new(kind, "modes", project());
    variables.iter().for_each(|(name, value)| scene.test.set(name, value));
    let cold = build(&scene, &checkout(&scene.project, "0022"), "1", &[]);
    assert_eq!(cold.report["modes"]["different"], 0, "{cold}");
    assert_eq!(cold.report["modes"]["normalized"], true, "{cold}");
    let first = scene.registry.file(&scene.image("1"), "stamp");
    for umask in umasks {
        scene.reset();
        let warm = build(&scene, &checkout(&scene.project, umask), umask, &[]);
        assert_eq!(warm.executed(), [], "{umask} {warm}");
        assert_eq!(scene.registry.file(&scene.image(umask), "stamp"), first, "{umask} {warm}");
        let found = &warm.report["modes"];
        assert_eq!(found["different"], found["tracked"], "all of them: {warm}");
        assert!(warm.finished.all().contains("  modes     those that git records: "), "{warm}");
        assert_eq!(
            modes(&scene, umask, "two"),
            ["two 755", "two/one.txt 644", "two/run.sh 755", "two/two.txt 644"],
            "{umask} {warm}"
        );
    }
    scene
}

#[test]
fn docker_28_containerd() {
    // Under 0000 files are 0666 and folders 0777.
    let mut scene = hits_under(Kind::Docker28Containerd, &[], &["0002", "0077", "0000"]);
    scene.reset();
    let off = build(&scene, &checkout(&scene.project, "0002"), "off", &["--normalize-modes=off"]);
    let executed = off.executed();
    assert!(executed.iter().any(|(_, what)| what.starts_with("COPY src /two")), "{off}");
    assert_eq!(off.report["modes"]["normalized"], false, "{off}");
}

#[test]
fn docker_28_graph() {
    hits_under(Kind::Docker28Graph, &[], &["0077"]);
}

#[test]
fn docker_20_buildkit() {
    hits_under(Kind::Docker20, &[], &["0000"]);
}

#[test]
fn docker_20_classic() {
    hits_under(Kind::Docker20, &[("DOCKER_BUILDKIT", "0")], &["0002"]);
}

#[test]
fn a_job_keeps_what_it_changed_and_a_laptop_what_it_has() {
    let mut scene = Scene::new(Kind::Docker28Containerd, "modes", project());
    let project = checkout(&scene.project, "0002");
    let path = |name: &str| project.folder().join(name).to_str().unwrap().to_owned();
    let _ = run(Command::new("chmod").args(["+x", &path("src/two.txt")])).ok();
    let _ = run(Command::new("chmod").args(["600", &path("src/one.txt")])).ok();
    // Temporary files on another file system: the shadow is in git's own folder.
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    scene.test.set("TMPDIR", other.path().to_str().unwrap());
    let line = ["-f", "src/../Dockerfile", "--build-context", "busybox:latest=docker-image://busybox"];
    let _ = build(&scene, &project, "1", &line);
    assert_eq!(
        modes(&scene, "1", "two"),
        ["two 755", "two/one.txt 600", "two/run.sh 755", "two/two.txt 755"]
    );
    assert!(!project.folder().join(".git/layerlift").exists());
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);

    let plan = |scene: &Scene, arguments: &[&str]| {
        let all = [&["plan", "--network=host"], arguments, &["."]].concat();
        scene.test.run(project.folder(), &all).ok().text()
    };
    assert!(plan(&scene, &[]).contains("(a CI job; 8 of 9 tracked files and folders have another here)"));
    scene.test.set_job(Vec::new());
    assert!(plan(&scene, &[]).contains("(this is no CI job; --normalize-modes=on takes git's)"));
    assert!(plan(&scene, &["--normalize-modes=on"]).contains("(--normalize-modes=on; 8 of 9"));

    std::fs::write(project.folder().join(".git/index"), "DIRC").unwrap();
    let broken = scene.test.build(&project, &["--normalize-modes=on"]);
    assert_eq!(broken.finished.code, 0, "{broken}");
    assert!(broken.warnings().contains("file modes are left as they are: "), "{broken}");
    assert!(broken.warnings().contains("the git index is damaged"), "{broken}");
}

#[test]
fn named_contexts_and_dockerfiles_elsewhere_are_found_in_the_shadow() {
    let mut scene = Scene::new(Kind::Docker28Containerd, "modes", project());
    scene
        .project
        .write("docker/app.Dockerfile", "FROM busybox:latest\nCOPY --from=more . /more\nCOPY . /app\n");
    scene.project.write("docker/app.Dockerfile.dockerignore", "*.sh\nmade\n");
    scene.project.commit();
    let build = |scene: &Scene, umask: &str| {
        let project = checkout(&scene.project, umask);
        let image = scene.image(umask);
        let report = scene.path("report.json");
        let line = [
            "build",
            "--network=host",
            "--push",
            "-t",
            &image,
            "--report",
            &report,
            "-f",
            "docker/app.Dockerfile",
            "--build-context",
            "more=assets",
            "--metadata-file",
            "metadata.json",
            "src",
        ];
        let _ = scene.test.run(project.folder(), &line).ok();
        let read = |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
        let metadata = read(&project.folder().join("metadata.json"));
        (read(Path::new(&report)), metadata["buildx.build.provenance"]["metadata"].clone())
    };
    scene.test.set("BUILDX_METADATA_PROVENANCE", "max");
    let (_, expected) = build(&scene, "0022");
    scene.reset();
    let (report, found) = build(&scene, "0002");
    assert_eq!(report["cache"]["hit"], true, "{report:#}");
    assert_eq!(report["modes"]["different"], 3, "{report:#}");
    assert_eq!(modes(&scene, "0002", "app"), ["app 755", "app/one.txt 644", "app/two.txt 644"]);
    assert_eq!(modes(&scene, "0002", "more"), ["more 755", "more/logo.txt 644"]);
    // buildx asks git about the context.
    let vcs = |metadata: &Value| metadata["https://mobyproject.org/buildkit@v1#metadata"]["vcs"].clone();
    assert_eq!(vcs(&expected)["localdir:context"], "src", "{expected:#}");
    assert_eq!(vcs(&found), vcs(&expected));
}

#[test]
fn an_interrupt_leaves_nothing() {
    let scene = Scene::new(Kind::Docker28Containerd, "modes", project());
    scene.project.write("Dockerfile", "FROM busybox:latest\nCOPY . /\nRUN sleep 60\n");
    scene.project.commit();
    scene.project.set_modes("ug=rwX,o=rX");
    let line = ["build", "--network=host", "--progress=plain", "."];
    let mut child = scene.test.start(scene.project.folder(), &line);
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begun = lines.map(|line| line.unwrap()).find(|line| line.contains("RUN sleep 60"));
    assert!(begun.is_some(), "the build came to its last step");
    assert!(scene.test.temporary_files().iter().any(|name| name.starts_with("layerlift-")));
    let _ = run(Command::new("kill").args(["-INT", &child.id().to_string()])).ok();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(scene.test.temporary_files(), [""; 0]);
}

#[test]
fn the_targets_of_a_bake_read_shadows_too() {
    let mut scene = Services::new(Kind::Docker28Containerd);
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        run(command.current_dir(scene.folder()).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null")).ok()
    };
    let _ = git(&["init", "-q"]);
    let _ = git(&["add", "--all"]);
    let set = |scene: &Services, mode: &str| {
        let _ = run(Command::new("chmod").arg("-R").arg(mode).arg(scene.folder())).ok();
    };
    set(&scene, "u=rwX,go=rX");
    let line = ["--push", "--allow=network.host"];
    let cold = scene.build("bake", &line).made();
    assert!(cold.members().len() > 1, "{cold}");
    scene.reset();
    set(&scene, "ugo=rwX");
    let warm = scene.build("bake", &line).made();
    for name in warm.members() {
        assert_eq!(warm.executed(name), [""; 0], "{warm}");
    }
    let plain = scene.bare("docker", &[&["buildx", "bake"], line.as_slice()].concat());
    assert_eq!(plain.code, 0, "{}", plain.all());
}
