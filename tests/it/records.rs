//! Records and predictions of builds that are not BuildKit's with a cache in a registry: what is said before is what
//! happens, and the record lies beside the cache. `explain` has those of the ordinary builds.

use serde_json::{Value, json};

use crate::support::cli::{Build, TestEnv};
use crate::support::containers::Containers;
use crate::support::engine::Kind;
use crate::support::job::Event;
use crate::support::project::Project;
use crate::support::registry::Registry;
use crate::support::scene::Scene;

/// Instructions that make no layer stand among the others: to builders before BuildKit they are steps.
const DOCKERFILE: &str = "\
ARG BASE=busybox:latest
FROM ${BASE} AS build
LABEL part=first
RUN mkdir /out
COPY assets/ /out/assets/
COPY src/ /out/src/
RUN cat /proc/sys/kernel/random/uuid > /out/run

FROM ${BASE}
ENV A=b
WORKDIR /app
COPY --from=build /out/ ./
CMD [\"cat\", \"/app/run\"]
";

const CHANGED: &str = "`src/one.txt` changed (+9 bytes)";

/// What was said before the build is what happened: so many steps ran.
#[track_caller]
fn as_said(build: Build, ran: u64, of: u64) -> Build {
    assert_eq!(build.finished.code, 0, "{build}");
    assert_eq!(build.warnings(), "", "{build}");
    assert_eq!(build.report["steps"]["run"], ran, "{build}");
    let explained = &build.report["explanation"];
    assert_eq!(explained["predicted"], json!({ "run": ran, "of": of }), "{build}");
    assert_eq!(explained["surprises"], json!([]), "{build}");
    build
}

/// The causes of the first miss, which is in this stage.
#[track_caller]
fn causes(build: &Build, stage: &str) -> Vec<String> {
    let miss = &build.report["explanation"]["misses"][0];
    assert_eq!(miss["stage"], stage, "{build}");
    let causes = miss["causes"].as_array().cloned().unwrap_or_default();
    causes.iter().map(|cause| cause["text"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The records that a build wrote.
fn records(build: &Build) -> Vec<String> {
    let written = build.report["written"].as_array().cloned().unwrap_or_default();
    let records = written.iter().filter(|it| it["what"] == "record");
    records.map(|it| it["reference"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What `layerlift explain` says of the last build here, and of another.
#[track_caller]
fn explain(test: &TestEnv, project: &Project, arguments: &[&str]) -> String {
    test.run(project.folder(), &[&["explain"], arguments].concat()).ok().text()
}

#[test]
fn the_classic_builder() {
    let mut scene = Scene::new(Kind::Docker20, "records", Project::with_dockerfile(DOCKERFILE));
    scene.test.set("DOCKER_BUILDKIT", "0");
    let image = scene.image("1");
    let build = |scene: &Scene, more: &[&str]| {
        scene.test.build(&scene.project, &[&["--push", "-t", &image], more].concat())
    };
    let cold = as_said(build(&scene, &[]), 9, 9);
    let record = scene.registry.reference(&format!("{}/cache:branch-main--record", scene.repository));
    assert_eq!(records(&cold), [record.as_str()], "{cold}");

    scene.reset();
    let same = as_said(build(&scene, &[]), 0, 9);
    assert_eq!(records(&same), [""; 0], "{same}");

    scene.project.write("src/one.txt", "one and more\n");
    // Which would run now is told without the engine, by the rules of the builder that wrote the record.
    let forecast = explain(&scene.test, &scene.project, &["--against", "main", "-t", &image, "."]);
    assert!(forecast.starts_with("4 of 9 steps will run"), "{forecast}");
    scene.reset();
    let changed = as_said(build(&scene, &[]), 4, 9);
    assert_eq!(causes(&changed, "build"), [CHANGED], "{changed}");
    for arguments in [&[] as &[&str], &["main"], &[&record]] {
        let told = explain(&scene.test, &scene.project, arguments);
        assert!(told.contains(&format!("because {CHANGED}")), "{told}");
    }

    // An instruction that makes no layer makes all below it run, and one on the command line is a step of its own.
    let text = DOCKERFILE.replace("part=first", "part=second");
    scene.project.write("Dockerfile", &text);
    scene.reset();
    let label = as_said(build(&scene, &["--label", "a=1"]), 8, 10);
    assert_eq!(
        causes(&label, "build"),
        ["the instruction is `LABEL part=second`, it was `LABEL part=first`"]
    );

    // A fork is told as well, and leaves nothing.
    let before = scene.registry.tags(&scene.repository);
    let fork = scene.gitlab(Event::Fork { number: 7, branch: "main" });
    scene.test.set_job(fork);
    scene.reset();
    let fork = scene.test.build(&scene.project, &["--label", "a=1"]);
    assert_eq!(records(&as_said(fork, 0, 10)), [""; 0]);
    assert_eq!(scene.registry.tags(&scene.repository), before);
}

#[test]
fn a_cache_folder() {
    let mut scene = Scene::new(Kind::Docker28Containerd, "records", Project::with_dockerfile(DOCKERFILE));
    let folder = scene.path("cache");
    scene.test.set("LAYERLIFT_CACHE_DIR", &folder);
    let build = |scene: &Scene| scene.test.build(&scene.project, &["--strategy=local"]);
    let cold = as_said(build(&scene), 6, 6);
    let record = format!("{folder}/branch-main/layerlift-record");
    assert_eq!(records(&cold), [record.as_str()], "{cold}");
    let first = std::fs::read(&record).unwrap();

    // The folder is another one, and the record with the steps' times is kept on.
    scene.reset();
    let _ = as_said(build(&scene), 0, 6);
    assert_eq!(std::fs::read(&record).unwrap(), first);

    scene.project.write("src/one.txt", "one and more\n");
    let branch = scene.gitlab(Event::Branch("topic"));
    scene.test.set_job(branch);
    scene.reset();
    let changed = as_said(build(&scene), 3, 6);
    assert_eq!(causes(&changed, "build"), [CHANGED], "{changed}");
    let against = &changed.report["explanation"]["against"];
    assert_eq!(
        (&against["reference"], &against["scope"]),
        (&json!(record), &json!("branch-main")),
        "{changed}"
    );
    let told = explain(&scene.test, &scene.project, &[]);
    assert!(told.contains(&format!("because {CHANGED}")), "{told}");

    // Without its record the folder is read all the same.
    for file in [&record, &format!("{folder}/branch-topic/layerlift-record")] {
        std::fs::write(file, "{").unwrap();
    }
    scene.reset();
    let unknown = build(&scene);
    assert_eq!((unknown.finished.code, unknown.executed().len()), (0, 0), "{unknown}");
    assert_eq!(unknown.report["explanation"]["predicted"], Value::Null, "{unknown}");
    assert!(unknown.finished.stderr.contains("no record lies in the cache folder"), "{unknown}");
}

#[test]
fn several_platforms() {
    let dockerfile = "\
FROM --platform=$BUILDPLATFORM busybox:latest AS build
COPY src/ /out/src/
RUN cat /proc/sys/kernel/random/uuid > /out/run
ARG TARGETARCH
RUN echo $TARGETARCH > /out/arch
FROM scratch
COPY assets/ /assets/
COPY --from=build /out/ /
";
    let mut scene = Scene::new(Kind::Docker28Containerd, "records", Project::with_dockerfile(dockerfile));
    let image = scene.image("1");
    let build = |scene: &Scene| {
        let platforms = "--platform=linux/amd64,linux/arm64";
        scene.test.build(&scene.project, &["--push", "-t", &image, platforms])
    };
    // What does not depend on the platform is one step for both.
    let cold = as_said(build(&scene), 7, 7);
    assert_eq!(records(&cold).len(), 1, "{cold}");
    scene.reset();
    let _ = as_said(build(&scene), 0, 7);
    scene.project.write("src/one.txt", "one and more\n");
    scene.reset();
    let changed = as_said(build(&scene), 6, 7);
    assert_eq!(causes(&changed, "build"), [CHANGED], "{changed}");
    let misses = changed.report["explanation"]["misses"].as_array().map(Vec::len);
    assert_eq!(misses, Some(2), "one for each stage\n{changed}");
}

/// Is buildctl to layerlift. No package ships BuildKit's daemon: what it is to build, the engine's own BuildKit builds.
const BUILDCTL: &str = r#"#!/bin/sh
case "$*" in
    --version) echo 'buildctl github.com/moby/buildkit v0.25.0 bac3f2b673f3f9d33e79046008e7a38e856b3dc6'; exit ;;
    *"debug workers --format"*)
        echo '[{"platforms":[{"architecture":"amd64","os":"linux"}],"buildkitVersion":{"version":"v0.25.0"}}]'; exit ;;
esac
count=$#
while [ "$count" -gt 0 ]; do
    word=$1; shift; count=$((count - 1))
    case $word in
        --import-cache) set -- "$@" --cache-from "$1" ;;
        --export-cache) set -- "$@" --cache-to "$1" ;;
        --output | --metadata-file | --progress) set -- "$@" "$word" "$1" ;;
        build) continue ;;
    esac
    shift; count=$((count - 1))
done
exec docker buildx build --network=host "$@" .
"#;

#[test]
fn buildctl() {
    let mut scene = Scene::new(Kind::Docker28Containerd, "records", Project::with_dockerfile(DOCKERFILE));
    scene.test.add_program("buildctl", BUILDCTL);
    let line = format!(
        "layerlift buildctl build --frontend dockerfile.v0 --local context=. --local dockerfile=. \
         --output type=image,name={},push=true",
        scene.image("1")
    );
    let build = |scene: &Scene| scene.test.script(scene.project.folder(), &line);
    let cold = as_said(build(&scene), 6, 6);
    let record = scene.registry.reference(&format!("{}/cache:branch-main--record", scene.repository));
    assert_eq!(records(&cold), [record.as_str()], "{cold}");
    scene.project.write("src/one.txt", "one and more\n");
    scene.reset();
    let changed = as_said(build(&scene), 3, 6);
    assert_eq!(causes(&changed, "build"), [CHANGED], "{changed}");
    let told = explain(&scene.test, &scene.project, &["main"]);
    assert!(told.contains(&format!("because {CHANGED}")), "{told}");
}

#[test]
fn buildah() {
    let registry = Registry::shared();
    let repository = registry.unique("records");
    let mut job = Containers::new(&registry.reference(&repository), Project::with_dockerfile(DOCKERFILE));
    let build = |job: &Containers, more: &str| {
        job.test.script(job.project.folder(), &format!("layerlift buildah build {more} -t app ."))
    };
    let cold = as_said(build(&job, ""), 9, 9);
    let record = registry.reference(&format!("{repository}/cache:branch-main--record"));
    assert_eq!(records(&cold), [record.as_str()], "{cold}");

    job.project.write("src/one.txt", "one and more\n");
    job.reset();
    let changed = as_said(build(&job, ""), 4, 9);
    assert_eq!(causes(&changed, "build"), [CHANGED], "{changed}");
    for arguments in [&[] as &[&str], &["main"], &[&record]] {
        let told = explain(&job.test, &job.project, arguments);
        assert!(told.contains(&format!("because {CHANGED}")), "{told}");
    }
    let plan = job.test.run(job.project.folder(), &["buildah", "--dry-run", "build", "-t", "app", "."]).ok();
    assert!(plan.text().contains("none of 9 steps will run"), "{}", plan.text());

    // Debian's version does not find an `ARG` in a registry, and neither what stands on it.
    let text = DOCKERFILE.replace("RUN cat", "ARG STAMP=none\nRUN cat");
    job.project.write("Dockerfile", &text);
    job.reset();
    let _ = as_said(build(&job, ""), 4, 10);
    job.reset();
    let lost = build(&job, "");
    let version = lost.report["engine"]["client"].as_str().unwrap_or_default();
    let is_early = version.starts_with("1.28.") || version.starts_with("1.27.");
    let lost = as_said(lost, if is_early { 4 } else { 0 }, 10);
    if is_early {
        assert!(causes(&lost, "build")[0].contains("finds no `ARG` in a registry"), "{lost}");
    }
}
