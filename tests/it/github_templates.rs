//! The GitHub action, the reusable workflow and their examples: run by act, each twice, on engines with empty state.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::act::{Run, check_schema};
use crate::support::engine::Kind;
use crate::support::job::Event;
use crate::support::recipe::{scene, stamps};
use crate::support::release::Release;
use crate::support::scene::Scene;
use crate::support::scripts;

const MAIN: Event<'_> = Event::Branch("main");

/// Wants a build argument, a target and a secret.
const DOCKERFILE: &str = "\
ARG BASE=nothing
FROM ${BASE} AS tools
RUN --network=none mkdir /tools && cat /proc/sys/kernel/random/uuid > /tools/tools.stamp

FROM ${BASE} AS final
WORKDIR /app
COPY --from=tools /tools/ ./
COPY src/ src/
RUN --network=none cat src/* > source.txt && cat /proc/sys/kernel/random/uuid > stamp
RUN --network=none --mount=type=secret,id=KEY wc -c < /run/secrets/KEY > key.length

FROM scratch
";

/// A job with one build by the action. `WITH` is the place of its further inputs, `JOB` of the job's further lines.
const WORKFLOW: &str = r"
on: [push, pull_request]
env:
  IMAGE: ${{ vars.IMAGE }}
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5.0.0
      - id: image
        uses: layerlift/layerlift/ci-templates/github@v0.1.0
        with:
          sha256: ${{ vars.LAYERLIFT_SHA256 }}
          url: ${{ vars.LAYERLIFT_URL }}
          WITH
      AFTER
";

fn workflow(inputs: &str, after: &str) -> String {
    let indented = |text: &str, by: usize| text.trim().replace('\n', &format!("\n{}", " ".repeat(by)));
    WORKFLOW.replace("WITH", &indented(inputs, 10)).replace("AFTER", &indented(after, 6))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of an example.
#[track_caller]
fn example(name: &str) -> String {
    std::fs::read_to_string(root().join("examples/github").join(name)).unwrap()
}

const KINDS: [&str; 4] = ["single-stage", "multi-stage", "compose", "buildx"];

#[test]
fn every_file_has_the_form_that_github_knows() {
    let mut workflows = vec![root().join("ci-templates/github/workflow.yml")];
    for kind in KINDS {
        let folder = root().join("examples/github").join(kind);
        workflows.extend([folder.join(".github/workflows/build.yml"), folder.join("by-hand.yml")]);
    }
    check_schema("vendor.github-workflows", &workflows);
    let action = root().join("ci-templates/github/action.yml");
    check_schema("vendor.github-actions", std::slice::from_ref(&action));

    // No input becomes part of a script, where it could end a string and go on as a command.
    let lines = workflows.iter().chain([&action]).flat_map(|file| scripts::in_yaml(file)).collect::<Vec<_>>();
    assert!(lines.len() > 10, "{lines:#?}");
    for script in &lines {
        assert!(!script.contains("${{"), "an expression in a script:\n{script}");
        scripts::check("bash", script);
    }
    let files =
        ["install.sh", "build.sh", "setup.sh"].map(|name| root().join("ci-templates/github").join(name));
    scripts::check_files(&files);
}

#[test]
fn every_example_is_checked() {
    let mut found: Vec<PathBuf> = std::fs::read_dir(root().join("examples/github"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    let mut known = KINDS.map(|kind| root().join("examples/github").join(kind));
    known.sort();
    assert_eq!(found, known);
}

#[test]
fn the_action_builds_and_tells_what_it_did() {
    let mut scene = scene(Kind::Docker28Containerd, "action");
    let release = Release::start();
    scene.project.write("docker/Dockerfile", DOCKERFILE);
    let text = workflow(
        r"
file: docker/Dockerfile
target: final
tags: |
  ${{ env.IMAGE }}:1
  ${{ env.IMAGE }}:two
build-args: |
  BASE=busybox:1
labels: |
  org.example.title=A title; $(with) 'quotes' \
secrets: |
  KEY=${{ secrets.KEY }}
push: true
args: |
  --provenance=false
",
        r#"
- env:
    REPORT: ${{ steps.image.outputs.report }}
    HIT: ${{ steps.image.outputs.cache-hit }}
  run: echo "hit=$HIT" && cat "$REPORT" > "$HOME/report.json" && ls -A "$RUNNER_TEMP" > "$HOME/temporary"
"#,
    );
    let further = ["--secret", "KEY=the-key-of-the-house"];
    let image = scene.image("1");
    let report = |scene: &Scene| -> Value {
        serde_json::from_slice(&std::fs::read(scene.test.path("home/report.json")).unwrap()).unwrap()
    };

    let cold = Run::with(&scene, &release, &text, MAIN, &further).ok();
    assert_eq!(cold.output("cache-hit").as_deref(), Some("false"), "{}", cold.log());
    assert_eq!(report(&scene)["cache"]["scope"], "branch-main");
    let first = stamps(&scene, &image);

    scene.reset();
    let warm = Run::with(&scene, &release, &text, MAIN, &further).ok();
    assert_eq!(warm.output("cache-hit").as_deref(), Some("true"), "{}", warm.log());
    assert!(warm.log().contains("hit=true"), "{}", warm.log());
    assert_eq!(stamps(&scene, &image), first);
    let digest = scene.registry.digest(&image);
    assert_eq!(warm.output("digest"), Some(digest.clone()));
    assert_eq!(scene.registry.digest(&scene.image("two")), digest);
    let cache = scene.registry.reference(&format!("{}/cache:branch-main", scene.repository));
    assert!(warm.output("cache-refs").unwrap().contains(&cache), "{:?}", warm.output("cache-refs"));
    assert!(warm.summary().contains("| final |") && warm.summary().contains("cached"), "{}", warm.summary());
    assert_eq!(report(&scene)["status"], "succeeded");

    let config = scene.registry.crane(&["config", &image]).ok().text();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["config"]["Labels"]["org.example.title"], "A title; $(with) 'quotes' \\", "{config:#}");
    assert_eq!(scene.registry.file(&image, "app/key.length"), "20");
    for run in [&cold, &warm] {
        assert!(
            !run.log().contains("the-key-of-the-house") && !run.summary().contains("the-key-of-the-house")
        );
    }
    let left = std::fs::read_to_string(scene.test.path("home/temporary")).unwrap();
    assert!(!left.contains("secrets"), "a secret's file was left: {left}");
}

#[test]
fn a_later_step_exports_the_cache() {
    let scene = scene(Kind::Docker28Containerd, "action");
    let release = Release::start();
    let inputs = "tags: ${{ env.IMAGE }}:1\npush: true\ndetach-cache: true";
    let run = Run::of(&scene, &release, &workflow(inputs, "- run: layerlift cache flush"), MAIN).ok();
    let log = run.log();
    let [left, written] = ["pending   cache: ", "written cache: "].map(|told| log.find(told));
    assert!(left.is_some() && left < written, "{log}");
}

#[test]
fn a_forks_pull_request_builds_and_leaves_nothing() {
    let scene = scene(Kind::Docker28Containerd, "action");
    let release = Release::start();
    let text = workflow("tags: ${{ env.IMAGE }}:1\npush: auto", "");
    let fork = Run::of(&scene, &release, &text, Event::Fork { number: 8, branch: "main" }).ok();
    assert!(fork.log().contains("built and not pushed"), "{}", fork.log());
    assert!(fork.summary().contains("comes from Stranger/Project"), "{}", fork.summary());
    assert_eq!(scene.registry.tags(&scene.repository), std::collections::BTreeMap::new(), "{}", fork.log());

    // The project's own pull request pushes, and writes a cache of its own.
    let own = Run::of(&scene, &release, &text, Event::Request { number: 7, branch: "feature" }).ok();
    let tags = scene.registry.tags(&scene.repository);
    assert!(tags.contains_key(&format!("{}/cache:pr-7", scene.repository)), "{tags:#?}\n{}", own.log());
    let _ = stamps(&scene, &scene.image("1"));
}

#[test]
fn what_cannot_be_installed_or_understood_is_said() {
    let scene = scene(Kind::Docker28Containerd, "action");
    let mut release = Release::start();
    let right = std::mem::replace(&mut release.sha256, "0".repeat(64));
    let wrong = Run::of(&scene, &release, &workflow("tags: a", ""), MAIN);
    assert_eq!(wrong.finished.code, 1, "{}", wrong.log());
    let expected =
        format!("has the SHA-256 {right}, but {} was expected: check version and sha256", release.sha256);
    assert!(wrong.log().contains(&expected), "{}", wrong.log());
    assert!(wrong.output("digest").is_none_or(|digest| digest.is_empty()), "it was built");

    release.sha256 = right;
    for (inputs, message) in [
        ("version: latest", "version `latest` is no number such as 0.1.0"),
        ("version: 9.9.9", "could not be fetched from http://127.0.0.1"),
        ("path: /nowhere/layerlift", "no binary at /nowhere/layerlift"),
        ("push: perhaps", "input `push` is `perhaps`, neither true nor false"),
        ("secrets: the-key-alone", "a line of `secrets` is neither NAME=VALUE nor"),
    ] {
        let run = Run::of(&scene, &release, &workflow(inputs, ""), MAIN);
        assert_eq!(run.finished.code, 1, "{inputs}: {}", run.log());
        assert!(run.log().contains(message), "{inputs}: {}", run.log());
        // act shows the inputs of a step; the script must not.
        let said = run.log().lines().filter(|line| line.contains("error")).collect::<String>();
        assert!(!said.contains("the-key-alone"), "{said}");
    }

    // A build that fails keeps the engine's exit code and tells its report.
    scene.project.write("Dockerfile", "FROM busybox\nRUN --network=none exit 7\n");
    let failed = Run::of(&scene, &release, &workflow("tags: a", ""), MAIN);
    assert_eq!(failed.finished.code, 1, "{}", failed.log());
    assert!(failed.summary().contains("exit 7") && failed.output("report").is_some(), "{}", failed.log());
}

#[test]
fn the_reusable_workflow_on_docker_20() {
    let mut scene = scene(Kind::Docker20, "reusable");
    let release = Release::start();
    let called = std::fs::read_to_string(root().join("ci-templates/github/workflow.yml")).unwrap();
    scene.project.write(".github/workflows/layerlift.yml", &called);
    let caller = r#"
on: [push]
jobs:
  image:
    uses: ./.github/workflows/layerlift.yml
    permissions: {contents: read, packages: write}
    with:
      image: ${{ vars.IMAGE }}
      tag: "1"
      sha256: ${{ vars.LAYERLIFT_SHA256 }}
      url: ${{ vars.LAYERLIFT_URL }}
      file: Dockerfile.multi
      args: --network=host
    secrets: inherit
  after:
    needs: image
    runs-on: ubuntu-latest
    steps:
      - env:
          DIGEST: ${{ needs.image.outputs.digest }}
          HIT: ${{ needs.image.outputs.cache-hit }}
        run: echo "hit=$HIT digest=$DIGEST"
"#;
    let further = ["--secret", "REGISTRY_USER=robot", "--secret", "REGISTRY_PASSWORD=secret-of-the-robot"];
    let cold = Run::with(&scene, &release, caller, MAIN, &further).ok();
    assert!(cold.log().contains("hit=false"), "{}", cold.log());
    let image = scene.image("1");
    let first = stamps(&scene, &image);
    scene.reset();
    let warm = Run::with(&scene, &release, caller, MAIN, &further).ok();
    assert_eq!(stamps(&scene, &image), first, "{}", warm.log());
    assert!(
        warm.log().contains(&format!("hit=true digest={}", scene.registry.digest(&image))),
        "{}",
        warm.log()
    );
    assert!(!warm.log().contains("secret-of-the-robot"));
}

/// Runs an example twice, on engines with empty state, then the recipe that it replaces; all make the same image.
#[track_caller]
fn run_example(kind: &str, tag: &str) {
    let mut scene = scene(Kind::Docker28Containerd, &format!("example-{kind}"));
    let release = Release::start();
    let text = example(&format!("{kind}/.github/workflows/build.yml"));
    if kind == "compose" {
        scene.project.write("compose.yaml", &example("compose/compose.yaml"));
    }
    let image = scene.image(tag);
    let _ = Run::of(&scene, &release, &text, MAIN).ok();
    let first = stamps(&scene, &image);
    scene.reset();
    let warm = Run::of(&scene, &release, &text, MAIN).ok();
    assert_eq!(stamps(&scene, &image), first, "{}", warm.log());
    assert!(warm.log().contains("steps cached"), "{}", warm.log());

    run_by_hand(&scene, &release, kind, if kind == "multi-stage" { "stage" } else { tag });
}

/// Runs the recipe that an example replaces; it makes the same image.
#[track_caller]
fn run_by_hand(scene: &Scene, release: &Release, kind: &str, tag: &str) {
    // No image of a builder can be pulled here; the engine's own exports caches just as well.
    let create = "        run: docker buildx create --driver docker-container --use\n";
    let text = example(&format!("{kind}/by-hand.yml"));
    let text = text.replace(create, "        run: docker buildx use default\n");
    let recipe = Run::of(scene, release, &text, MAIN).ok();
    let _ = (stamps(scene, &scene.image(tag)), recipe);
}

#[test]
fn example_of_a_single_stage() {
    run_example("single-stage", "latest");
}

#[test]
fn example_of_several_stages() {
    run_example("multi-stage", "latest");
}

#[test]
fn example_of_compose() {
    run_example("compose", "api");
}

/// The action's part is `setup-only` with `shim`: the line that builds is one of a later step, and stays as it is.
#[test]
fn example_of_buildx() {
    run_example("buildx", "latest");
}
