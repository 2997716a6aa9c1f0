//! `layerlift buildctl`. No package ships BuildKit's daemon: a script writes down what buildctl would be run with. The
//! cache that it is given is a real one, made by `docker build`.

use crate::support::engine::Kind;
use crate::support::job::Event;
use crate::support::project::Project;
use crate::support::scene::Scene;

/// Tells who it is, writes down every other line, and builds unless it is to fail on a cache.
const BUILDCTL: &str = r#"#!/bin/sh
case "$*" in
    --version) echo 'buildctl github.com/moby/buildkit v0.12.5 bac3f2b673f3f9d33e79046008e7a38e856b3dc6'; exit ;;
    *"debug workers --format"*)
        echo '[{"platforms":[{"architecture":"amd64","os":"linux"}],"buildkitVersion":{"version":"v0.25.0"}}]'; exit ;;
esac
printf '%s\n' "$*" >> LOG
case "$*" in
    *"--import-cache"*) [ ! -e BROKEN ] || { echo "ERROR: failed to solve: failed to copy: httpReadSeeker: failed open: \
content at $(cat BROKEN) not found: not found" >&2; exit 1; } ;;
esac
echo '#1 [internal] load build definition from Dockerfile' >&2
echo '#1 DONE 0.0s' >&2
[ ! -e HIT ] || printf '#2 [build 1/4] WORKDIR /build\n#2 CACHED\n' >&2
[ ! -e FAILS ] || exit 7
"#;

struct Job {
    scene: Scene,
    cache: String,
}

impl Job {
    /// With the cache of `main` in the registry.
    fn new() -> Job {
        let scene = Scene::new(Kind::Docker28Containerd, "buildctl", Project::new());
        let image = scene.image("1");
        let build = scene.test.build(&scene.project, &["--push", "-t", &image]);
        let _ = build.made(&scene.registry, &image, &scene.project);
        let script = ["LOG", "BROKEN", "HIT", "FAILS"].iter().fold(BUILDCTL.to_owned(), |script, name| {
            script.replace(name, &scene.path(&name.to_ascii_lowercase()))
        });
        scene.test.add_program("buildctl", &script);
        let cache = scene.registry.reference(&format!("{}/cache:branch-main", scene.repository));
        Job { scene, cache }
    }

    /// What buildctl was run with since the last look, without the file of ours that changes.
    fn lines(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.scene.path("log")).unwrap_or_default();
        let _ = std::fs::remove_file(self.scene.path("log"));
        log.lines().map(|line| line.split(" --metadata-file").next().unwrap_or_default().to_owned()).collect()
    }

    #[track_caller]
    fn script(&self, line: &str) -> crate::support::cli::Build {
        self.scene.test.script(self.scene.project.folder(), line)
    }
}

const LINE: &str = "build --frontend dockerfile.v0 --local context=. --local dockerfile=.";

#[test]
fn the_cache_of_the_branch_is_added_to_the_line() {
    let mut job = Job::new();
    let import = format!("--import-cache type=registry,ref={}", job.cache);
    let export = format!(
        "--export-cache type=registry,ref={},mode=max,ignore-error=true,image-manifest=true,oci-mediatypes=true",
        job.cache
    );
    let built =
        job.script(&format!("layerlift run -- buildctl --addr tcp://127.0.0.1:1 {LINE} --progress tty"));
    assert_eq!(built.finished.code, 0, "{built}");
    assert_eq!(job.lines(), [format!("--addr tcp://127.0.0.1:1 {LINE} {import} {export} --progress plain")]);
    assert_eq!(built.report["cache"]["strategy"], "registry", "{built}");
    assert_eq!(built.report["engine"]["buildkit"], "0.25.0", "{built}");
    assert_eq!(built.report["engine"]["frontend"], "buildctl", "{built}");

    let shown = job.script(&format!("layerlift buildctl --dry-run {LINE}"));
    let quoted =
        "buildctl build --frontend dockerfile.v0 --local 'context=.' --local 'dockerfile=.' --import-cache";
    assert!(shown.finished.text().contains(quoted), "{shown}");
    assert_eq!(job.lines(), [""; 0]);

    // The user's own flag replaces its half.
    let own = format!("{LINE} --export-cache type=inline");
    assert_eq!(job.script(&format!("layerlift buildctl {own}")).finished.code, 0);
    assert_eq!(job.lines(), [format!("{own} {import} --progress plain")]);

    // From a fork, the target's cache is read and nothing is written.
    let fork = job.scene.gitlab(Event::Fork { number: 7, branch: "topic" });
    job.scene.test.set_job(fork);
    assert_eq!(job.script(&format!("layerlift buildctl {LINE}")).finished.code, 0);
    assert_eq!(job.lines(), [format!("{LINE} {import} --progress plain")]);
}

#[test]
fn the_cache_is_exported_where_a_step_ran() {
    let job = Job::new();
    let line = format!("{LINE} --opt force-network-mode=host");
    let import = format!("--import-cache type=registry,ref={}", job.cache);
    let pushing = format!("{line} --output type=image,name=r.invalid/a,push=true");
    std::fs::write(job.scene.path("hit"), "").unwrap();
    let built = job.script(&format!("layerlift buildctl {pushing}"));
    assert_eq!((built.finished.code, job.lines()), (0, vec![format!("{pushing} {import} --progress plain")]));
    let written = built.report["written"].as_array().unwrap();
    assert!(written.iter().all(|it| it["what"] == "image"), "{built}");

    // It was said that none would. The image is not pushed once more.
    std::fs::remove_file(job.scene.path("hit")).unwrap();
    let built = job.script(&format!("layerlift buildctl {pushing}"));
    let lines = job.lines();
    assert_eq!(lines[0], format!("{pushing} {import} --progress plain"), "{built}");
    let export = format!("{line} {import} --export-cache type=registry,ref={},mode=max,", job.cache);
    assert!(lines.len() == 2 && lines[1].starts_with(&export), "{lines:#?}");
}

#[test]
fn a_lost_layer_costs_a_second_run_and_other_failures_are_buildctls_own() {
    let job = Job::new();
    let blob =
        format!("http://{}/v2/{}/cache/blobs/sha256:0", job.scene.registry.address, job.scene.repository);
    std::fs::write(job.scene.path("broken"), blob).unwrap();
    let built = job.script(&format!("layerlift buildctl {LINE}"));
    assert_eq!(built.finished.code, 0, "{built}");
    assert!(built.warnings().contains("building once more without it"), "{built}");
    let lines = job.lines();
    assert!(lines.len() == 2 && !lines[1].contains("--import-cache"), "{lines:#?}");
    std::fs::remove_file(job.scene.path("broken")).unwrap();

    std::fs::write(job.scene.path("fails"), "").unwrap();
    let failed = job.script(&format!("layerlift buildctl {LINE}"));
    assert_eq!(failed.finished.code, 7, "{failed}");
    job.lines();

    // What is no build, or none of a Dockerfile, is buildctl's.
    for (line, run) in [
        ("layerlift buildctl --addr tcp://127.0.0.1:1 du", "--addr tcp://127.0.0.1:1 du"),
        ("layerlift buildctl --no-cache < /dev/null", "build --no-cache"),
        ("layerlift run -- buildctl build --newest-flag x", "build --newest-flag x"),
    ] {
        assert_eq!(job.script(line).finished.code, 7, "{line}");
        assert_eq!(job.lines(), [run], "{line}");
    }
}
