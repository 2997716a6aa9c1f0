//! `layerlift run`: builds are carried out by layerlift, all else is as if layerlift were not there.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use crate::support::cli::TestEnv;
use crate::support::engine::Kind;
use crate::support::program::{Finished, run};
use crate::support::project::Project;
use crate::support::scene::Scene;

const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// Runs `layerlift run ARGUMENTS` where there is no engine.
#[track_caller]
fn run_bare(test: &TestEnv, arguments: &[&str]) -> Finished {
    test.run(&test.path(""), &[&["run"], arguments].concat())
}

#[test]
fn a_command_is_cached_on_the_next_empty_engine() {
    let mut scene = Scene::new(Kind::Docker28Containerd, "run", Project::new());
    scene.is_cached(|_| {
        "layerlift run --strict -- docker --context default buildx --builder default build --network=host \
         --push -t $IMAGE ."
            .to_owned()
    });
}

#[test]
fn a_command_for_docker_20_is_cached_on_the_next_empty_engine() {
    let mut scene = Scene::new(Kind::Docker20, "run", Project::new());
    scene.is_cached(|scene| {
        let host = &scene.engine.host;
        format!("layerlift run -- docker -H {host} image build --network=host -t $IMAGE . && docker push -q $IMAGE")
    });
}

#[test]
fn a_line_of_a_script_is_cached_on_the_next_empty_engine() {
    for kind in [Kind::Docker28Containerd, Kind::Docker20] {
        let project = Project::new();
        project.write(
            "Makefile",
            "image:\n\tdocker build --network=host -t $(IMAGE) ..\n\tdocker push -q $(IMAGE)\n",
        );
        project.write(".dockerignore", "log\nMakefile\ndeep\n");
        project.write("deep/run.sh", "set -e\nmake -f ../Makefile image\n");
        let mut scene = Scene::new(kind, "run", project);
        scene.is_cached(|_| "layerlift run --shell 'cd deep && sh run.sh 2>&1 | tee ../log'".to_owned());
        let log = std::fs::read_to_string(scene.project.folder().join("log")).unwrap();
        assert!(log.contains("layerlift: all "), "{log}");
        assert_eq!(scene.test.temporary_files(), [""; 0], "the shims were left");
    }
}

#[test]
fn anything_else_keeps_its_streams_and_its_exit_code() {
    let test = TestEnv::bare();
    let input = test.path("input");
    std::fs::write(&input, b"a\0b\xff").unwrap();
    let arguments = ["run", "--", "sh", "-c", "cat; echo \"$1|$2\" >&2; exit 7", "sh", "a b", "$HOME"];
    let mut command = test.command(&test.path(""), &arguments);
    command.stdin(Stdio::from(std::fs::File::open(&input).unwrap()));
    let finished = run(&mut command);
    assert_eq!((finished.code, finished.stdout.as_slice()), (7, &b"a\0b\xff"[..]));
    assert_eq!(finished.stderr, "a b|$HOME\n");

    // It is the same process, so that signals need no one to pass them on.
    let child = test.command(&test.path(""), &["run", "--", "sh", "-c", "echo $$; kill -TERM $$"]);
    let child = { child }.stdout(Stdio::piped()).spawn().unwrap();
    let process = child.id().to_string();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), process);
    assert_eq!(output.status.signal(), Some(15));
}

#[test]
fn a_question_of_docker_is_answered_by_docker() {
    let test = TestEnv::bare();
    test.add_program("docker", "#!/bin/sh\necho \"docker $*\"\n");
    for line in ["build --help", "buildx bake --print", "-D build .", "ps -a", "compose build --print"] {
        let words = [&["--", "docker"], line.split(' ').collect::<Vec<_>>().as_slice()].concat();
        let finished = run_bare(&test, &words).ok();
        assert_eq!((finished.text(), finished.stderr.as_str()), (format!("docker {line}"), ""));
    }
}

#[test]
fn a_build_that_is_not_understood_is_left_to_docker_with_a_word() {
    let test = TestEnv::bare();
    test.add_program("docker", "#!/bin/sh\necho \"docker $*\"\nexit 9\n");
    for line in
        [&["--", "docker", "build", "--no-such-flag", "."][..], &["--shell", "docker build --no-such-flag ."]]
    {
        let finished = run_bare(&test, line);
        assert_eq!((finished.code, finished.text().as_str()), (9, "docker build --no-such-flag ."));
        let said = "warning: layerlift leaves this build alone: it does not know `--no-such-flag`\n";
        assert_eq!(finished.stderr, said);
    }
}

#[test]
fn what_cannot_be_run_is_named() {
    let test = TestEnv::bare();
    std::fs::write(test.path("text"), "no program").unwrap();
    let missing = run_bare(&test, &["--", "no-such-program"]);
    assert_eq!(missing.code, NOT_FOUND);
    assert!(
        missing.stderr.starts_with("error: `no-such-program` was not found on PATH\n"),
        "{}",
        missing.stderr
    );
    assert_eq!(run_bare(&test, &["--", "./no-such-file"]).code, NOT_FOUND);
    let text = run_bare(&test, &["--", "./text"]);
    assert_eq!(text.code, NOT_EXECUTABLE, "{}", text.all());
    assert!(
        text.stderr.contains("`./text` could not be run\n  caused by: Permission denied"),
        "{}",
        text.stderr
    );
    assert!(text.stderr.contains("hint: "), "{}", text.stderr);
    assert_eq!(run_bare(&test, &[]).code, 2);
    assert_eq!(run_bare(&test, &["--shell", "true", "--", "true"]).code, 2);
}

#[test]
fn a_line_keeps_its_exit_code_and_hears_signals() {
    let test = TestEnv::bare();
    assert_eq!(run_bare(&test, &["--shell", "exit 7"]).code, 7);
    assert_eq!(run_bare(&test, &["--shell", "kill -KILL $$"]).code, 137);
    assert_eq!(
        run_bare(&test, &["--shell", "printf %s \"$LAYERLIFT_STRICT\"", "--strict"]).ok().text(),
        "true"
    );

    let line = "trap 'echo heard; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut command = test.command(&test.path(""), &["run", "--shell", line]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(&mut output, &mut ready).unwrap();
    let _ = run(std::process::Command::new("kill").args(["-TERM", &child.id().to_string()])).ok();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut output, &mut rest).unwrap();
    assert_eq!((rest.as_str(), child.wait().unwrap().code()), ("heard\n", Some(5)));
    assert_eq!(test.temporary_files(), [""; 0], "the shims were left");
}
