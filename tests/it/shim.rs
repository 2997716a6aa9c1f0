//! `layerlift shim`: every later build of a job, and nothing else, goes through layerlift.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::cli::TestEnv;
use crate::support::engine::Kind;
use crate::support::program::run;
use crate::support::project::Project;
use crate::support::scene::Scene;

const FAKE: &str = "#!/bin/sh\necho \"$(basename \"$0\") $*\"\ncat\nexit 9\n";

/// The folder of shims in the test's temporary folder.
#[track_caller]
fn folder(test: &TestEnv) -> PathBuf {
    let names = test.temporary_files();
    let [name] = &names[..] else { panic!("one folder, not {names:?}") };
    assert!(name.starts_with("layerlift-shim-"), "{name}");
    test.path("tmp").join(name)
}

/// The names in a folder, sorted.
#[track_caller]
fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn later_builds_are_cached_on_the_next_empty_engine() {
    for kind in [Kind::Docker28Containerd, Kind::Docker20] {
        let project = Project::new();
        project.write("Makefile", "image:\n\tdocker build --network=host -t $(IMAGE) . | cat\n");
        let mut scene = Scene::new(kind, "shim", project);
        scene.is_cached(|_| {
            "eval \"$(layerlift shim)\"\nset -e\nmake image\ndocker push -q $IMAGE".to_owned()
        });
    }
}

#[test]
fn the_folder_is_private_used_again_and_removed() {
    let test = TestEnv::bare();
    test.add_program("docker", FAKE);
    test.add_program("podman", FAKE);
    let script = |line: &str| test.script(&test.path(""), line).finished;
    let printed = script("layerlift shim").ok().text();
    let made = folder(&test);
    assert_eq!(printed, format!("export PATH='{}':\"$PATH\"", made.display()));
    assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let shims = names(&made);
    assert!(shims.contains(&"docker".to_owned()) && shims.contains(&"podman".to_owned()), "{shims:?}");
    assert!(shims.iter().all(|name| made.join(name).is_symlink()), "{shims:?}");

    let enter = format!("export PATH='{}':\"$PATH\"", made.display());
    let again = script(&format!("{enter}; layerlift shim")).ok().text();
    assert_eq!(again, format!("# layerlift: {} is first on PATH already", made.display()));
    let behind = script(&format!("{enter}; PATH=/opt/x:$PATH; layerlift shim")).ok().text();
    assert_eq!(behind, printed, "the same folder, put first");
    let removed = script(&format!("{enter}; eval \"$(layerlift shim --remove)\"; echo \"$PATH\"")).ok();
    assert!(!removed.text().contains("layerlift-shim-"), "{}", removed.text());
    assert_eq!(test.temporary_files(), [""; 0]);
    let fish = script("layerlift shim --shell fish").ok().text();
    assert_eq!(fish, format!("set -gx PATH '{}' $PATH", folder(&test).display()));
}

#[test]
fn what_builds_nothing_meets_the_program_itself() {
    let test = TestEnv::bare();
    test.add_program("docker", FAKE);
    let input = test.path("input");
    std::fs::write(&input, "of stdin").unwrap();
    for arguments in ["ps -a", "run --rm x docker build .", "builder prune", "--version", "build --help"] {
        let line = format!("eval \"$(layerlift shim)\"; exec docker {arguments}");
        let _ = test.script(&test.path(""), "true").finished.ok();
        let mut command = test.program("/bin/sh", &test.path(""), &["-c", &line]);
        let finished = run(command.stdin(Stdio::from(std::fs::File::open(&input).unwrap())));
        assert_eq!((finished.code, finished.stderr.as_str()), (9, ""), "{arguments}");
        assert_eq!(finished.text(), format!("docker {arguments}\nof stdin"));
    }
}

#[test]
fn shims_never_go_round() {
    let mut test = TestEnv::bare();
    test.add_program("docker", FAKE);
    let binary = env!("CARGO_BIN_EXE_layerlift");
    // Two other copies of layerlift, one of them called `docker` itself, a link by hand, and a wrapper that calls its own
    // name again: all of them in front of the program.
    for name in ["copy", "second", "link", "wrapper"] {
        std::fs::create_dir(test.path(name)).unwrap();
    }
    std::fs::copy(binary, test.path("copy/docker")).unwrap();
    std::fs::copy(binary, test.path("second/layerlift")).unwrap();
    symlink("layerlift", test.path("second/docker")).unwrap();
    symlink(binary, test.path("link/docker")).unwrap();
    let wrapper = test.path("wrapper/docker");
    std::fs::write(&wrapper, "#!/bin/sh\nexec docker \"$@\"\n").unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let all = ["copy", "link", "second", "wrapper", "link"].map(|name| test.path(name).display().to_string());
    let machine = std::env::var("PATH").unwrap();
    let bin = test.path("bin").display().to_string();
    let line = "eval \"$(layerlift shim)\"; docker ps < /dev/null";
    let _ = test.script(&test.path(""), "true").finished.ok();
    test.set("PATH", &format!("{}:{bin}:{machine}", all.join(":")));
    let finished = test.script(&test.path(""), line).finished;
    assert_eq!((finished.code, finished.text().as_str()), (9, "docker ps"), "{}", finished.stderr);

    // What layerlift starts itself goes through, builds too.
    let inside = test
        .script(&test.path(""), "LAYERLIFT_INSIDE=1; export LAYERLIFT_INSIDE; docker build . < /dev/null");
    assert_eq!(inside.finished.text(), "docker build .", "{}", inside.finished.stderr);

    // Nothing is behind the shims.
    std::fs::remove_file(test.path("bin/docker")).unwrap();
    test.set("PATH", &format!("{}:{bin}", all.join(":")));
    let missing = test.script(&test.path(""), "docker ps").finished;
    assert_eq!(missing.code, 127, "{}", missing.all());
    assert!(missing.stderr.contains("was not found on PATH"), "{}", missing.stderr);
}

#[test]
fn a_build_through_two_shims_is_one_build() {
    let project = Project::with_dockerfile("FROM busybox:latest\nCOPY src/one.txt /app/source.txt\n");
    let scene = Scene::new(Kind::Docker28Containerd, "shim", project);
    std::fs::create_dir(scene.test.path("copy")).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_layerlift"), scene.test.path("copy/docker")).unwrap();
    let copy = scene.test.path("copy").display().to_string();
    let line = format!("PATH={copy}:$PATH; eval \"$(layerlift shim)\"; docker build --network=host -t app .");
    let build = scene.test.script(scene.project.folder(), &line);
    assert_eq!(build.report["status"], "succeeded", "{build}");
    assert_eq!(build.finished.stderr.matches("layerlift: 0 of 1 step cached").count(), 1, "{build}");
}

#[test]
fn later_steps_of_github_get_the_folder() {
    let mut test = TestEnv::bare();
    let outside = test.script(&test.path(""), "layerlift shim --github").finished;
    assert_eq!(outside.code, 2, "{}", outside.all());
    assert!(outside.stderr.contains("GITHUB_PATH"), "{}", outside.stderr);
    let file = test.path("path");
    std::fs::write(&file, "/opt/tool\n").unwrap();
    test.set("GITHUB_PATH", file.to_str().unwrap());
    let step = test.script(&test.path(""), "layerlift shim --github").finished.ok();
    assert_eq!(step.text(), "");
    let expected = format!("/opt/tool\n{}\n", folder(&test).display());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
}
