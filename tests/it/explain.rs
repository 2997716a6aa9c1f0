//! What is said of a build before it is what happens: on real engines, one change at a time.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use layerlift::base::env::Environment;
use layerlift::cachefmt::build_record;
use layerlift::model::record::Record;
use layerlift::model::reference::{Digest, Reference};
use layerlift::registry::{Client, Content, Options};
use layerlift::workflow::records;

use crate::support::cli::{Build, TestEnv};
use crate::support::engine::Kind;
use crate::support::job::{self, Event};
use crate::support::program::{Finished, run};
use crate::support::project::Project;
use crate::support::scene::Scene;

const DOCKERFILE: &str = "\
ARG BASE
FROM ${BASE} AS build
RUN mkdir /out
COPY assets/ /out/assets/
ARG STAMP=none
RUN cat /proc/sys/kernel/random/uuid > /out/slow
COPY src/ /out/src/
RUN echo $STAMP > /out/stamp && cat /proc/sys/kernel/random/uuid > /out/run

FROM ${BASE}
WORKDIR /app
COPY --from=build /out/ ./
";

/// All steps of it but `FROM`.
const ALL: u64 = 7;

/// A project in a job, with a base image of its own.
struct Story {
    scene: Scene,
    base: String,
    stamp: &'static str,
}

impl Story {
    #[track_caller]
    fn new(kind: Kind, name: &str) -> Story {
        let scene = Scene::new(kind, name, Project::with_dockerfile(DOCKERFILE));
        let base = scene.registry.reference(&format!("{}/base:1", scene.repository));
        let story = Story { scene, base, stamp: "1" };
        story.move_base("first");
        story
    }

    /// Pushes another image under the base's name: with another layer, since BuildKit does not look at more.
    #[track_caller]
    fn move_base(&self, content: &str) {
        let folder = self.scene.test.path("layer");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("content"), content).unwrap();
        let layer = self.scene.path("layer.tar");
        let _ = run(Command::new("tar").args(["-cf", &layer, "-C"]).arg(&folder).arg("content")).ok();
        let busybox = self.scene.registry.reference("library/busybox:latest");
        let all = ["append", "--base", &busybox, "--new_layer", &layer, "--new_tag", &self.base];
        let _ = self.scene.registry.crane(&all).ok();
    }

    fn arguments(&self) -> Vec<String> {
        let (base, stamp) = (format!("BASE={}", self.base), format!("STAMP={}", self.stamp));
        let image = self.scene.image("1");
        ["--push", "-t", &image, "--build-arg", &base, "--build-arg", &stamp].map(str::to_owned).to_vec()
    }

    #[track_caller]
    fn try_build(&self, more: &[&str]) -> Build {
        let own = self.arguments();
        let all: Vec<&str> = own.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.scene.test.build(&self.scene.project, &all)
    }

    /// Builds. What was said before is what happened, and nothing was a surprise.
    #[track_caller]
    fn build(&self) -> Build {
        let build = self.try_build(&[]);
        assert_eq!(build.finished.code, 0, "{build}");
        assert_eq!(build.warnings(), "", "{build}");
        let explained = &build.report["explanation"];
        assert_eq!(explained["predicted"]["run"], build.report["steps"]["run"], "{build}");
        assert_eq!(explained["predicted"]["of"], ALL, "{build}");
        assert_eq!(explained["surprises"], json!([]), "{build}");
        build
    }

    /// Builds after a change. `misses`: for each stage with a miss, the begin of its instruction and its causes.
    #[track_caller]
    fn is_told(&self, ran: u64, misses: &[(&str, &str, &[&str])]) {
        let build = self.build();
        assert_eq!(build.report["steps"]["run"], ran, "{build}");
        let told = told(&build.report["explanation"]);
        assert_eq!(told.len(), misses.len(), "{told:#?}\n{build}");
        for ((stage, instruction, causes), (in_stage, begin, expected)) in told.iter().zip(misses) {
            assert_eq!(stage, in_stage, "{build}");
            assert!(instruction.starts_with(begin), "{instruction} is not {begin}\n{build}");
            assert_eq!(causes, expected, "{build}");
        }
        // The same is in the log, before the build and after it.
        for cause in misses.iter().flat_map(|(.., causes)| causes.iter()) {
            let count = build.finished.stderr.matches(&format!("because {cause}")).count();
            assert_eq!(count, 2, "{cause}\n{build}");
        }
    }

    fn write(&self, path: &str, content: &str) {
        self.scene.project.write(path, content);
    }

    #[track_caller]
    fn replace(&self, from: &str, to: &str) {
        let path = self.scene.project.folder().join("Dockerfile");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    #[track_caller]
    fn explain(&self, arguments: &[&str]) -> Finished {
        self.scene.test.run(self.scene.project.folder(), &[&["explain"], arguments].concat())
    }

    fn record_tag(&self, scope: &str) -> String {
        self.scene.registry.reference(&format!("{}/cache:{scope}--record", self.scene.repository))
    }
}

/// Stage, instruction and causes of every miss; advice behind its cause.
fn told(explained: &Value) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let cause = |cause: &Value| match cause["advice"].as_str() {
        Some(advice) => format!("{}: {advice}", text(&cause["text"])),
        None => text(&cause["text"]),
    };
    let miss = |miss: &Value| {
        let causes = list(&miss["causes"]).iter().map(cause).collect();
        (text(&miss["stage"]), text(&miss["instruction"]), causes)
    };
    list(&explained["misses"]).iter().map(miss).collect()
}

const LAST: (&str, &str, &[&str]) = ("stage-1", "COPY --from=build", &["stage `build` changed"]);

#[test]
fn docker_28_every_change_is_named() {
    let mut story = Story::new(Kind::Docker28Containerd, "explain");
    let cold = story.build();
    assert_eq!(cold.report["steps"]["run"], ALL, "{cold}");
    assert!(cold.finished.stderr.contains("no cache ref existed for branch main"), "{cold}");
    story.scene.reset();
    story.is_told(0, &[]);

    story.write("src/one.txt", "one and more\n");
    story.is_told(3, &[("build", "COPY src/", &["`src/one.txt` changed (+9 bytes)"]), LAST]);

    let file = story.scene.project.folder().join("src/two.txt");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
    story.is_told(3, &[("build", "COPY src/", &["`src/two.txt` mode 0644 → 0755"]), LAST]);

    story.write("src/debug.log", "noise\n");
    let entered = "file `src/debug.log` entered the context: add it to .dockerignore";
    story.is_told(3, &[("build", "COPY src/", &[entered]), LAST]);

    story.write(".dockerignore", "**/*.log\n");
    // What was before would be found in the engine's own store.
    story.write("src/one.txt", "one\n\n");
    let left = ["`src/one.txt` changed (-8 bytes)", "`src/debug.log` left the context"];
    story.is_told(3, &[("build", "COPY src/", &left), LAST]);

    story.replace("RUN echo $STAMP > /out/stamp", "RUN echo $STAMP >> /out/stamp");
    let build = story.build();
    let told = told(&build.report["explanation"]);
    let said = &told[0].2[0];
    assert!(said.starts_with("the instruction is `RUN echo $STAMP >> /out/stamp &&"), "{told:#?}");

    story.stamp = "2";
    let build = story.build();
    assert_eq!(build.report["steps"]["run"], 4, "{build}");
    let cause = &self::told(&build.report["explanation"])[0].2[0];
    let text = "build arg `STAMP` differs, first used in step 4 of stage `build`: moving its ARG below step 5 would keep 2 steps";
    assert!(cause.starts_with(text), "{cause}");

    // Another image under the base's name: every step runs again.
    story.scene.reset();
    story.move_base("second");
    let build = story.build();
    assert_eq!(build.report["steps"]["run"], ALL, "{build}");
    let told = self::told(&build.report["explanation"]);
    let moved = format!("base `{}` moved from sha256:", story.base);
    assert!(told[0].2[0].starts_with(&moved) && told[1].2[0].starts_with(&moved), "{told:#?}");
}

#[test]
fn docker_20_changes_are_named() {
    let mut story = Story::new(Kind::Docker20, "explain");
    let cold = story.build();
    assert_eq!(cold.report["steps"]["run"], ALL, "{cold}");
    story.scene.reset();
    story.is_told(0, &[]);
    story.write("src/one.txt", "one and more\n");
    story.is_told(3, &[("build", "COPY src/", &["`src/one.txt` changed (+9 bytes)"]), LAST]);
    story.scene.reset();
    story.stamp = "2";
    let build = story.build();
    assert_eq!(build.report["steps"]["run"], 4, "{build}");
    assert!(build.finished.stderr.contains("build arg `STAMP` differs"), "{build}");
}

#[test]
fn a_fork_is_told_and_leaves_no_record() {
    let mut story = Story::new(Kind::Docker28Containerd, "explain");
    let _ = story.build();
    let before = story.scene.registry.tags(&story.scene.repository);
    let job = story.scene.gitlab(Event::Fork { number: 7, branch: "main" });
    story.scene.test.set_job(job);
    story.scene.reset();
    story.write("src/one.txt", "from outside\n");
    let own = story.arguments();
    let own: Vec<&str> = own.iter().map(String::as_str).filter(|word| *word != "--push").collect();
    let build = story.scene.test.build(&story.scene.project, &own);
    assert_eq!(build.finished.code, 0, "{build}");
    assert_eq!(build.report["explanation"]["predicted"]["run"], 3, "{build}");
    assert_eq!(told(&build.report["explanation"])[0].2, ["`src/one.txt` changed (+9 bytes)"], "{build}");
    let note = "no cache ref existed for merge request 7; main's was read";
    assert_eq!(build.report["explanation"]["notes"], json!([note]), "{build}");
    assert_eq!(story.scene.registry.tags(&story.scene.repository), before);
}

fn client() -> Client {
    Client::new(Options::new(&Environment::default())).unwrap()
}

/// Puts some bytes in the place of a record.
async fn put(place: &Reference, blob: &[u8], record: &Record) {
    let (client, mut artifact) = (client(), build_record::write(record));
    let digest = Digest::of(blob);
    let manifest = String::from_utf8(artifact.manifest).unwrap();
    artifact.manifest = manifest.replace(artifact.blob_digest.as_str(), digest.as_str()).into_bytes();
    let content = Content::Bytes(blob.to_vec().into());
    client.put_blob(place.repository(), &digest, &content).await.unwrap();
    client.put_manifest(place, artifact.manifest_media_type, artifact.manifest.into()).await.unwrap();
}

#[test]
fn records_that_are_missing_broken_or_hostile_do_no_harm() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut story = Story::new(Kind::Docker28Containerd, "explain");
    let _ = story.build();
    let place: Reference = story.record_tag("branch-main").parse().unwrap();
    let good = runtime.block_on(records::read(&client(), &place)).unwrap().unwrap();
    story.write("src/one.txt", "another\n");
    // A request reads main's record, and every one has a scope of its own.
    let mut number = 0;
    let mut build = |story: &mut Story| {
        number += 1;
        let job = story.scene.gitlab(Event::Request { number, branch: "x" });
        story.scene.test.set_job(job);
        let build = story.try_build(&["--read-only"]);
        assert_eq!(build.finished.code, 0, "{build}");
        assert_eq!(build.warnings(), "", "{build}");
        build
    };
    let said = build(&mut story);
    assert_eq!(said.report["explanation"]["predicted"]["run"], 3, "{said}");

    let nothing = |story: &mut Story, build: &mut dyn FnMut(&mut Story) -> Build| {
        let said = build(story);
        let explained = &said.report["explanation"];
        assert_eq!((&explained["predicted"], &explained["misses"]), (&Value::Null, &json!([])), "{said}");
        assert!(said.finished.stderr.contains("no record lies beside the cache of branch-main"), "{said}");
    };
    let later = serde_json::to_vec(&Record { version: 99, ..good.clone() }).unwrap();
    let mut outside = good.clone();
    outside.inputs.as_mut().unwrap().stages[0].steps[1].files = vec![(0, usize::MAX), (9, 2)];
    let outside = serde_json::to_vec(&outside).unwrap();
    for blob in [b"{".as_slice(), &later, &outside, &[0x1f, 0x8b, 8, 0, 0]] {
        runtime.block_on(put(&place, blob, &good));
        nothing(&mut story, &mut build);
    }
    // What is no record at all.
    let busybox = story.scene.registry.reference("library/busybox:latest");
    let _ = story.scene.registry.crane(&["copy", &busybox, &story.record_tag("branch-main")]).ok();
    nothing(&mut story, &mut build);
    let unreadable = story.explain(&[&story.record_tag("branch-main")]);
    assert_eq!(unreadable.code, 74, "{}", unreadable.all());
    assert!(unreadable.stderr.contains("not the record of a build"), "{}", unreadable.all());

    // Words that would be commands to a CI runner.
    let mut loud = good.clone();
    for stage in &mut loud.inputs.as_mut().unwrap().stages {
        for step in &mut stage.steps {
            step.instruction = "RUN x\n::error::pwned\u{1b}[2J".to_owned();
        }
    }
    loud.commit = Some("\n::error::pwned".to_owned());
    runtime.block_on(records::write(&client(), &place, &loud)).unwrap();
    let said = build(&mut story);
    let _ = story.explain(&["main"]).ok();
    let all = format!("{}{}", said.finished.all(), story.explain(&["main"]).ok().all());
    assert!(!all.lines().any(|line| line.starts_with("::error")), "{all}");
}

#[test]
fn explain_tells_of_builds_that_have_been_and_of_one_that_may_be() {
    let story = Story::new(Kind::Docker28Containerd, "explain");
    let nothing = story.explain(&[]);
    assert_eq!(nothing.code, 66, "{}", nothing.all());
    let none = story.explain(&["main"]);
    assert_eq!(none.code, 74, "{}", none.all());

    let miss = story.try_build(&["--fail-on-miss"]);
    assert_eq!(miss.finished.code, 76, "{miss}");
    assert!(miss.finished.stderr.contains("7 steps ran in a build that was to hit all"), "{miss}");
    // All is done by then: the image is pushed, the cache is kept.
    assert_eq!(story.try_build(&["--fail-on-miss"]).finished.code, 0);

    story.write("src/one.txt", "one and more\n");
    let _ = story.build();
    let last = story.explain(&[]).ok().text();
    assert!(last.contains("because `src/one.txt` changed (+9 bytes)"), "{last}");
    assert!(last.contains("forecast  3 of 7 steps were to run, and did"), "{last}");
    let of_scope = story.explain(&["main"]).ok().text();
    assert!(of_scope.starts_with(&format!("record    {}\n", story.record_tag("branch-main"))), "{of_scope}");
    assert!(of_scope.contains("because `src/one.txt` changed"), "{of_scope}");
    let cache = story.record_tag("branch-main");
    let cache = cache.strip_suffix("--record").unwrap();
    for word in ["branch-main", cache, &story.record_tag("branch-main"), &story.scene.image("1")] {
        assert_eq!(story.explain(&[word]).ok().text(), of_scope, "{word}");
    }
    let report: Value =
        serde_json::from_slice(&story.explain(&["main", "--format", "json"]).ok().stdout).unwrap();
    let record: Record = serde_json::from_value(report["records"][0]["record"].clone()).unwrap();
    assert_eq!(record.stages.len(), 2);
    assert_eq!(record.commit.as_deref(), Some("1ecfd275763eff1d6b4844ea3168962458c9f27a"));

    // What would be built now; nobody asks the engine, which is another machine's.
    let mut elsewhere = TestEnv::bare();
    elsewhere.set_job(job::gitlab(
        &story.scene.registry.reference(&story.scene.repository),
        Event::Request { number: 3, branch: "x" },
    ));
    story.write("assets/logo.txt", "another\n");
    let own = story.arguments();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let line = [&["explain", "--network=host", "--against", "main"], &own[..], &["."]].concat();
    let said = elsewhere.run(story.scene.project.folder(), &line).ok().text();
    assert!(said.starts_with("5 of 7 steps will run, compared with branch-main at 1ecfd275\n"), "{said}");
    assert!(said.contains("because `assets/logo.txt` changed"), "{said}");
    let nobody = [&["explain", "--network=host", "--against", "develop"], &own[..], &["."]].concat();
    let nobody = elsewhere.run(story.scene.project.folder(), &nobody);
    assert_eq!(nobody.code, 74, "{}", nobody.all());
    assert!(nobody.stderr.contains("there are records of branch-main"), "{}", nobody.all());
    for wrong in [&["--against", "main"][..], &["main", "--push"]] {
        assert_eq!(story.explain(wrong).code, 2, "{wrong:?}");
    }

    // The plan says the same as the build.
    let plan = [&["plan", "--format", "json", "--network=host"], &own[..], &["."]].concat();
    let plan = story.scene.test.run(story.scene.project.folder(), &plan).ok();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan["prediction"]["predicted"], json!({ "run": 5, "of": 7 }), "{plan:#}");
    assert_eq!(story.build().report["steps"]["run"], 5);
}

#[test]
fn values_of_build_args_are_in_no_record() {
    const SECRET: &str = "hunter2-and-more";
    let dockerfile = "\
FROM busybox:latest
ARG TOKEN
ARG PLACE
WORKDIR /srv/$PLACE
COPY src/${PLACE} /srv/copy
RUN echo $TOKEN > /dev/null
RUN --mount=type=bind,source=src/${PLACE},target=/mnt/$TOKEN cat /mnt/$TOKEN
";
    let project = Project::with_dockerfile(dockerfile);
    project.write(&format!("src/{SECRET}-place"), "a file\n");
    let scene = Scene::new(Kind::Docker28Containerd, "explain", project);
    let (token, place) = (format!("TOKEN={SECRET}"), format!("PLACE={SECRET}-place"));
    let image = scene.image("1");
    let arguments = ["--push", "-t", &image, "--build-arg", &token, "--build-arg", &place];
    let build = scene.test.build(&scene.project, &arguments);
    assert_eq!(build.finished.code, 0, "{build}");
    let records = [&[][..], &["main"]].map(|form| {
        let all = [&["explain", "--format", "json"], form].concat();
        scene.test.run(scene.project.folder(), &all).ok().text()
    });
    for record in records {
        assert!(record.contains("RUN echo $TOKEN"), "{record}");
        let report: Value = serde_json::from_str(&record).unwrap();
        let mut record = report["records"][0]["record"].clone();
        // A file's own name is no value of an arg.
        record["inputs"]["files"] = Value::Null;
        assert!(!record.to_string().contains(SECRET), "{record:#}");
    }
}
