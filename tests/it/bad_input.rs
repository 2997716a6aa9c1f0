//! Bad input and bad luck: a message that names the thing and the way out, a documented exit code, nothing half-written.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::cli::{Build, TestEnv};
use crate::support::engine::{Engine, Kind};
use crate::support::program::run;
use crate::support::project::Project;

/// The documented exit codes.
const USAGE: i32 = 2;
const DOCKERFILE: i32 = 65;
const NO_INPUT: i32 = 66;
const ENGINE: i32 = 69;
const CANNOT_WRITE: i32 = 73;
const CONFIG: i32 = 78;

/// It ended with this code, said each of these, and left no temporary file.
#[track_caller]
fn assert_refused(test: &TestEnv, build: &Build, code: i32, said: &[&str]) {
    assert_eq!(build.finished.code, code, "{build}");
    for words in said {
        assert!(build.finished.stderr.contains(words), "no {words:?} in\n{build}");
    }
    assert!(!build.finished.all().contains("panicked"), "{build}");
    assert_eq!(test.temporary_files(), [""; 0], "a temporary file was left");
}

/// An engine is there, but the build must not come so far as to need it to be up for long.
fn with_engine(check: impl Fn(&TestEnv, &Project)) {
    let engine = Engine::start(Kind::Docker28Containerd);
    check(&TestEnv::new(&engine), &Project::new());
}

#[test]
fn no_dockerfile() {
    with_engine(|test, project| {
        std::fs::remove_file(project.folder().join("Dockerfile")).unwrap();
        assert_refused(test, &test.build(project, &[]), NO_INPUT, &["error:", "Dockerfile", "hint:"]);
        let named = test.build(project, &["-f", "other/Containerfile"]);
        assert_refused(test, &named, NO_INPUT, &["other/Containerfile"]);
    });
}

#[test]
fn no_context() {
    with_engine(|test, project| {
        let report = test.path("report.json");
        let finished =
            test.run(project.folder(), &["build", "--report", report.to_str().unwrap(), "no-such-folder"]);
        let build = Build { finished, report: serde_json::Value::Null };
        assert_refused(test, &build, NO_INPUT, &["no-such-folder"]);
        assert!(!report.exists(), "a report of nothing");
    });
}

#[test]
fn a_syntax_error_in_the_dockerfile() {
    with_engine(|test, project| {
        project.write("Dockerfile", "FROM busybox:latest\nCOPY only-one-word\n");
        let build = test.build(project, &[]);
        // The parser may leave it to the engine, whose code is then ours.
        assert!([DOCKERFILE, 1].contains(&build.finished.code), "{build}");
        assert_refused(test, &build, build.finished.code, &["Dockerfile:2", "COPY"]);
    });
}

#[test]
fn an_unknown_target() {
    with_engine(|test, project| {
        let build = test.build(project, &["--target", "nowhere"]);
        assert_refused(test, &build, DOCKERFILE, &["nowhere", "final"]);
    });
}

#[test]
fn a_bad_reference() {
    with_engine(|test, project| {
        let build = test.build(project, &["-t", "Not//A:Name"]);
        assert_refused(test, &build, USAGE, &["Not//A:Name"]);
        let build = test.build(project, &["--cache-repo", "UPPER CASE"]);
        assert_refused(test, &build, USAGE, &["UPPER CASE", "--cache-repo"]);
    });
}

#[test]
fn an_unwritable_report() {
    with_engine(|test, project| {
        let build = test.build(project, &["--report", "/proc/no-such-folder/report.json"]);
        assert_refused(test, &build, CANNOT_WRITE, &["/proc/no-such-folder/report.json"]);
    });
}

#[test]
fn an_unknown_flag() {
    with_engine(|test, project| {
        let build = test.build(project, &["--no-such-flag"]);
        assert_refused(test, &build, USAGE, &["--no-such-flag"]);
    });
}

#[test]
fn settings_that_are_wrong_are_pointed_at() {
    with_engine(|test, project| {
        for (text, said) in [
            ("strategy: inline\ncolour: blue\n", [".layerlift.yml:2:1", "colour"]),
            ("strategy: teleport\n", [".layerlift.yml", "teleport"]),
            ("strategy: [\n", [".layerlift.yml:1:11", "strategy"]),
        ] {
            project.write(".layerlift.yml", text);
            assert_refused(test, &test.build(project, &[]), CONFIG, &said);
        }
    });
}

#[test]
fn a_wrong_variable_is_named() {
    let engine = Engine::start(Kind::Docker28Graph);
    let mut test = TestEnv::new(&engine);
    test.set("LAYERLIFT_STRATEGY", "teleport");
    let build = test.build(&Project::new(), &[]);
    assert_refused(&test, &build, CONFIG, &["LAYERLIFT_STRATEGY", "teleport"]);
}

#[test]
fn no_docker_on_path() {
    let mut test = TestEnv::bare();
    test.set("PATH", "/no-such-folder");
    assert_refused(&test, &test.build(&Project::new(), &[]), ENGINE, &["docker", "PATH"]);
}

#[test]
fn the_engine_is_not_running() {
    let engine = Engine::start(Kind::Docker28Graph);
    let mut test = TestEnv::new(&engine);
    test.set("DOCKER_HOST", "unix:///no-such-folder/docker.sock");
    let build = test.build(&Project::new(), &[]);
    assert_refused(&test, &build, ENGINE, &["unix:///no-such-folder/docker.sock", "hint:"]);
}

#[test]
fn the_engine_is_too_old() {
    let test = TestEnv::bare();
    // What `docker version --format '{{json .}}'` said before BuildKit was.
    let script = r#"#!/bin/sh
case "$*" in
    *version*) echo '{"Client":{"Version":"1.12.6","ApiVersion":"1.24"},"Server":{"Version":"1.12.6","ApiVersion":"1.24","Os":"linux","Arch":"amd64"}}' ;;
    *) echo "unknown command: $*" >&2; exit 1 ;;
esac
"#;
    test.add_program("docker", script);
    assert_refused(&test, &test.build(&Project::new(), &[]), ENGINE, &["1.12.6"]);
}

#[test]
fn buildx_is_missing() {
    let engine = Engine::start(Kind::Docker28Containerd);
    let mut test = TestEnv::new(&engine);
    test.set("DOCKER_BUILDKIT", "1");
    std::fs::remove_file(test.path("docker/cli-plugins")).unwrap();
    let build = test.build(&Project::new(), &[]);
    assert_refused(&test, &build, ENGINE, &["buildx", "hint:"]);
}

fn a_failing_build(kind: Kind, buildkit: &str) {
    let engine = Engine::start(kind);
    let mut test = TestEnv::new(&engine);
    test.set("DOCKER_BUILDKIT", buildkit);
    let project = Project::with_dockerfile("FROM busybox:latest\nRUN echo the reason is here && exit 7\n");
    let folder = project.folder().to_str().unwrap();
    let plain =
        run(engine.docker().env("DOCKER_BUILDKIT", buildkit).args(["build", "--network=host", folder]));
    assert_ne!(plain.code, 0);
    let build = test.build(&project, &[]);
    assert_eq!(build.finished.code, plain.code, "{build}");
    assert!(build.finished.all().contains("the reason is here"), "{build}");
    assert_eq!(build.report["status"], "failed", "{build}");
    assert_eq!(build.report["exit_code"], plain.code, "{build}");
    assert_eq!(test.temporary_files(), [""; 0]);
}

#[test]
fn the_engines_failure_is_passed_on_docker_20() {
    a_failing_build(Kind::Docker20, "1");
}

#[test]
fn the_engines_failure_is_passed_on_docker_20_classic() {
    a_failing_build(Kind::Docker20, "0");
}

#[test]
fn the_engines_failure_is_passed_on_docker_28() {
    a_failing_build(Kind::Docker28Containerd, "1");
}

/// Processes, by number, that have this text in their environment or on their command line.
fn processes_with(file: &str, text: &str) -> Vec<u32> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holds = |number: &u32| {
        let content =
            std::fs::read(Path::new("/proc").join(number.to_string()).join(file)).unwrap_or_default();
        content.windows(text.len()).any(|window| window == text.as_bytes())
    };
    numbers.filter(holds).collect()
}

/// Waits until it holds; false after the time.
fn within(time: Duration, holds: impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < time {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

fn interrupted_by(signal: &str, code: i32, kind: Kind) {
    let engine = Engine::start(kind);
    let mut test = TestEnv::new(&engine);
    test.set("DOCKER_BUILDKIT", "1");
    // Both are found again in /proc: the environment of all that layerlift starts, and the container's command.
    let mark = format!("LAYERLIFT_TEST_MARK={signal}-{}-{kind}", std::process::id());
    let (name, value) = mark.split_once('=').unwrap();
    test.set(name, value);
    let seconds = format!("{code}{:07}", std::process::id());
    let project = Project::with_dockerfile(&format!("FROM busybox:latest\nRUN sleep {seconds}\n"));

    let child = test.start(project.folder(), &["build", "--network=host", "."]);
    let runs = || !processes_with("cmdline", &format!("sleep\0{seconds}")).is_empty();
    let began = within(Duration::from_secs(60), runs);
    let _ = run(Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]));
    let finished: crate::support::program::Finished = child.wait_with_output().unwrap().into();
    assert!(began, "the build did not begin: {}", finished.all());
    assert_eq!(finished.code, code, "{}", finished.all());

    let left = || processes_with("environ", &mark);
    assert!(within(Duration::from_secs(5), || left().is_empty()), "left behind: {:?}", left());
    assert!(within(Duration::from_secs(20), || !runs()), "the engine builds on");
    assert_eq!(test.temporary_files(), [""; 0]);
}

#[test]
fn an_engine_that_does_not_answer_can_be_interrupted() {
    let mut test = TestEnv::bare();
    let asked = test.path("asked");
    test.add_program("docker", &format!("#!/bin/sh\ntouch '{}'\nexec sleep 300\n", asked.display()));
    test.set("DOCKER_CONTEXT", "x");
    let project = Project::new();
    for line in [&["build", "."][..], &["plan", "."], &["bake"], &["compose", "build"]] {
        let _ = std::fs::remove_file(&asked);
        let child = test.start(project.folder(), line);
        let began = within(Duration::from_secs(60), || asked.exists());
        let _ = run(Command::new("kill").args(["-INT", &child.id().to_string()]));
        let finished: crate::support::program::Finished = child.wait_with_output().unwrap().into();
        assert!(began, "nothing was asked: {}", finished.all());
        // Without the interrupt it would be 69, after half a minute.
        assert_eq!(finished.code, 130, "{line:?}: {}", finished.all());
        assert_eq!(test.temporary_files(), [""; 0], "{line:?}");
    }
}

#[test]
fn sigint_stops_the_build_and_leaves_nothing() {
    interrupted_by("INT", 130, Kind::Docker28Containerd);
}

#[test]
fn sigterm_stops_the_build_and_leaves_nothing() {
    interrupted_by("TERM", 143, Kind::Docker28Containerd);
}

#[test]
fn sigterm_stops_the_build_on_docker_20() {
    interrupted_by("TERM", 143, Kind::Docker20);
}
