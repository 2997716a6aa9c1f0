//! The last `COPY`s as layers of their own, on a real engine: what lies below stays where it is. That the tree is the same,
//! whatever is built, is for `tests/differential-links`.

use layerlift::base::env::Environment;
use layerlift::model::reference::{Digest, Reference};
use layerlift::registry::{Client, Options};
use layerlift::workflow::records;
use serde_json::{Value, json};

use crate::support::cli::Build;
use crate::support::engine::Kind;
use crate::support::job::Event;
use crate::support::project::Project;
use crate::support::scene::Scene;

const DOCKERFILE: &str = "\
FROM busybox
RUN dd if=/dev/urandom of=/large bs=1M count=4
WORKDIR /app
COPY src/ \\
     source/
CMD [\"true\"]
";

/// A project that was built and pushed once; its engine is a new one.
#[track_caller]
fn built(name: &str) -> Scene {
    let mut scene = Scene::new(Kind::Docker28Containerd, name, Project::with_dockerfile(DOCKERFILE));
    let first = push(&scene, &[]);
    assert_eq!(first.report["linked"], json!([]), "{first}");
    scene.reset();
    scene
}

/// Builds and pushes; the image has the source, and the report's steps are those of the Dockerfile.
#[track_caller]
fn push(scene: &Scene, more: &[&str]) -> Build {
    let image = scene.image("1");
    let build = scene.test.build(&scene.project, &[&["--push", "-t", &image], more].concat());
    assert_eq!(build.finished.code, 0, "{build}");
    let source = scene.registry.file(&image, "app/source/one.txt");
    assert_eq!(source, std::fs::read_to_string(scene.project.folder().join("src/one.txt")).unwrap().trim());
    assert!(build.steps().iter().any(|step| step.instruction.starts_with("COPY src/ ")), "{build}");
    build
}

fn lines(build: &Build) -> Vec<u64> {
    let linked = build.report["linked"].as_array().unwrap();
    linked.iter().map(|link| link["line"].as_u64().unwrap()).collect()
}

#[test]
fn a_changed_file_costs_no_layer_below() {
    let mut scene = built("link");
    scene.project.change_source("two\n");
    let build = push(&scene, &[]);
    assert_eq!((lines(&build), &build.report["bytes"]["fetched"]), (vec![4], &json!(0)), "{build}");
    assert_eq!(build.warnings(), "");
    assert!(
        build.finished.stderr.contains("line 4: built as COPY --link; no layer below was fetched"),
        "{build}"
    );
    assert_eq!(build.report["explanation"]["predicted"]["run"], 1, "{build}");
    assert_eq!(build.executed().len(), 1, "{build}");

    // What is linked stays linked: nothing runs again.
    scene.reset();
    let same = push(&scene, &[]);
    assert_eq!((lines(&same), same.executed()), (vec![4], Vec::new()), "{same}");

    // Without it, the layers are fetched.
    scene.project.change_source("three\n");
    scene.reset();
    let told = plan(&scene, &[]);
    assert!(told.contains("link        line 4\n"), "{told}");
    let plain = push(&scene, &["--auto-link=off", "--read-only"]);
    assert_eq!(lines(&plain), [0; 0], "{plain}");
    assert!(plain.report["bytes"]["fetched"].as_u64().unwrap() > 4 << 20, "{plain}");
    // Nor where the engine is to have the image.
    let kept = push(&scene, &["--keep-image", "--read-only"]);
    assert_eq!(lines(&kept), [0; 0], "{kept}");
}

/// Layers in zstd, the base image's as well.
#[test]
fn what_lies_below_is_read_from_zstd() {
    let mut scene = Scene::new(Kind::Docker28Containerd, "link-zstd", Project::with_dockerfile(DOCKERFILE));
    let image = scene.image("1");
    let output = "type=image,push=true,compression=zstd,force-compression=true";
    let build = |scene: &Scene| scene.test.build(&scene.project, &["-t", &image, "--output", output]);
    let first = build(&scene);
    assert_eq!((first.finished.code, lines(&first)), (0, vec![]), "{first}");
    let manifest = scene.registry.crane(&["manifest", "--platform=linux/amd64", &image]).ok().text();
    assert!(manifest.contains("tar+zstd") && !manifest.contains("tar+gzip"), "{manifest}");
    scene.reset();
    scene.project.change_source("two\n");
    let second = build(&scene);
    assert_eq!((lines(&second), &second.report["bytes"]["fetched"]), (vec![4], &json!(0)), "{second}");
    assert_eq!(scene.registry.file(&image, "app/source/one.txt"), "two");
}

/// A `WORKDIR` behind the `COPY`s would have everything fetched, only to find its folder.
#[test]
fn a_workdir_behind_copies_fetches_nothing() {
    let dockerfile = "\
FROM busybox
RUN dd if=/dev/urandom of=/large bs=1M count=4
COPY src/ /app/source/

# The program finds its files here.
WORKDIR /app/source
CMD [\"cat\", \"one.txt\"]
";
    let mut scene =
        Scene::new(Kind::Docker28Containerd, "link-workdir", Project::with_dockerfile(dockerfile));
    let _ = push(&scene, &[]);
    for (source, fetches) in [("two\n", true), ("three\n", false)] {
        scene.project.change_source(source);
        scene.reset();
        let build = push(&scene, &[]);
        let links = json!([[3, null], [6, 3]]);
        let told = build.report["linked"].as_array().unwrap().iter();
        assert_eq!(
            told.map(|link| json!([link["line"], link["above"]])).collect::<Value>(),
            links,
            "{build}"
        );
        // The first time, the folder is looked for there.
        assert_eq!(build.report["bytes"]["fetched"] != 0, fetches, "{build}");
        let predicted = build.report["explanation"]["predicted"]["run"].as_u64().unwrap();
        assert_eq!((predicted, build.executed().len()), if fetches { (2, 2) } else { (1, 1) }, "{build}");
        assert_eq!(build.warnings(), "");
        let steps: Vec<String> = build.steps().into_iter().map(|step| step.instruction).collect();
        assert!(
            steps.ends_with(&["COPY src/ /app/source/".to_owned(), "WORKDIR /app/source".to_owned()]),
            "{steps:?}"
        );
        assert!(
            build.finished.stderr.contains("line 3: built as COPY --link; line 6: built above line 3"),
            "{build}"
        );
        assert_eq!(build.report["explanation"]["surprises"], json!([]), "{build}");
    }
    let config = scene.registry.crane(&["config", &scene.image("1")]).ok().text();
    assert!(config.contains("\"WorkingDir\":\"/app/source\""), "{config}");
    // As it is written, it runs once more, and is told by its own line.
    let off = plan(&scene, &["--auto-link=off"]);
    assert!(off.contains("link        line 3, 6 no longer\n"), "{off}");
    let off = scene.test.build(&scene.project, &["--push", "-t", &scene.image("1"), "--auto-link=off"]);
    assert_eq!(off.executed().len(), 2, "{off}");
    let again = push(&scene, &[]);
    assert_eq!((lines(&again), again.executed()), (vec![], vec![]), "{again}");
}

/// What fails in a linked build is said of the Dockerfile as it is written.
#[test]
fn a_failure_names_the_lines_of_the_dockerfile() {
    let dockerfile = |made: &str| {
        format!(
            "FROM busybox AS tools\nRUN touch /{made}\nFROM busybox\nRUN true\nCOPY src/ /app/\nCOPY --from=tools /made /tools/\nWORKDIR /app\n"
        )
    };
    let mut scene =
        Scene::new(Kind::Docker28Containerd, "link-failure", Project::with_dockerfile(&dockerfile("made")));
    let image = scene.image("1");
    let build = |scene: &Scene| scene.test.build(&scene.project, &["--push", "-t", &image]);
    assert_eq!(build(&scene).finished.code, 0);
    scene.project.write("Dockerfile", &dockerfile("other"));
    scene.project.change_source("two\n");
    scene.reset();
    let failed = build(&scene);
    assert_ne!(failed.finished.code, 0);
    let stderr = &failed.finished.stderr;
    let warning =
        "building once more without links: a step failed that is built otherwise than it is written";
    let first = stderr.find(warning).unwrap_or_else(|| panic!("{failed}"));
    assert!(stderr[first..].contains("6 | >>> COPY --from=tools /made /tools/"), "{failed}");
}

/// The record says what lies below, and of which layers. Where the cache has others, nothing is proven.
#[tokio::test]
async fn other_layers_in_the_cache_are_not_linked_on() {
    let mut scene = built("link-other-cache");
    let place = scene.registry.reference(&format!("{}/cache:branch-main--record", scene.repository));
    let place: Reference = place.parse().unwrap();
    let client = Client::new(Options::new(&Environment::default())).unwrap();
    let mut record = records::read(&client, &place).await.unwrap().unwrap();
    record.parent_states[0].layers[0] = Digest::of(b"another");
    records::write(&client, &place, &record).await.unwrap();
    scene.project.change_source("two\n");
    let told = plan(&scene, &[]);
    assert!(told.contains("the cache has other layers below than those that are known"), "{told}");
    let build = push(&scene, &[]);
    assert_eq!((lines(&build), build.warnings().as_str()), (vec![], ""), "{build}");
    // By now it is known what lies below.
    scene.project.change_source("three\n");
    scene.reset();
    let build = push(&scene, &[]);
    assert_eq!((lines(&build), build.warnings().as_str()), (vec![4], ""), "{build}");
}

/// An engine that has made a step itself takes its own layers of it, not those of the cache.
#[test]
fn other_layers_below_are_another_build() {
    let mut scene = built("link-other");
    let warning = "building once more without links: the layers below are others than was expected";
    let refuted = |scene: &mut Scene, source: &str| {
        scene.reset();
        let _ = push(scene, &["--no-cache", "--read-only"]);
        scene.project.change_source(source);
        let build = push(scene, &[]);
        assert_eq!((lines(&build), build.warnings().trim()), (vec![], warning), "{build}");
    };
    refuted(&mut scene, "two\n");
    // By now it is known what lies below.
    scene.project.change_source("three\n");
    scene.reset();
    let build = push(&scene, &[]);
    assert_eq!((lines(&build), build.warnings().as_str()), (vec![4], ""), "{build}");

    // A second time is the last one.
    refuted(&mut scene, "four\n");
    for source in ["five\n", "six\n"] {
        scene.project.change_source(source);
        let build = push(&scene, &[]);
        assert_eq!((lines(&build), build.warnings().as_str()), (vec![], ""), "{build}");
    }
    let told = plan(&scene, &[]);
    assert!(told.contains("twice the layers below were others than was expected"), "{told}");
}

#[track_caller]
fn plan(scene: &Scene, more: &[&str]) -> String {
    let image = scene.image("1");
    let line = [&["plan", "--network=host", "--push", "-t", &image], more, &["."]].concat();
    scene.test.run(scene.project.folder(), &line).ok().text()
}

/// What nobody can learn is tried to be learnt once.
#[test]
fn what_cannot_be_learnt_is_not_read_again() {
    let dockerfile = "FROM busybox\nRUN mkdir /app && cd /app && seq 6000 | xargs touch\nCOPY src/ /app/\n";
    let scene = Scene::new(Kind::Docker28Containerd, "link-much", Project::with_dockerfile(dockerfile));
    let image = scene.image("1");
    let note = "what lies below the last steps was not learnt: too much lies where the last steps write";
    let build = || scene.test.build(&scene.project, &["--push", "-t", &image]);
    let first = build();
    assert!(first.finished.code == 0 && first.finished.stderr.contains(note), "{first}");
    for source in ["two\n", "three\n"] {
        scene.project.change_source(source);
        let next = build();
        assert!(next.finished.code == 0 && !next.finished.stderr.contains("was not learnt"), "{next}");
        assert_eq!((lines(&next), next.warnings().as_str()), (vec![], ""), "{next}");
    }
    let told = plan(&scene, &[]);
    let reason = "what lies below the last steps cannot be learnt: too much lies where the last steps write";
    assert!(told.contains(reason), "{told}");
}

/// Builds that do not link know nothing new, and take nothing away.
#[test]
fn knowledge_outlives_builds_that_do_not_link() {
    let mut scene = built("link-carried");
    scene.project.change_source("two\n");
    let loaded = scene.test.build(&scene.project, &["--load", "-t", &scene.image("1")]);
    assert_eq!((loaded.finished.code, lines(&loaded)), (0, vec![]), "{loaded}");
    scene.project.change_source("three\n");
    scene.reset();
    let build = push(&scene, &[]);
    assert_eq!((lines(&build), build.warnings().as_str()), (vec![4], ""), "{build}");

    // A branch goes on where the default branch is, and what is linked there stays so.
    scene.test.set_job(scene.gitlab(Event::Branch("feature")));
    scene.reset();
    let same = push(&scene, &[]);
    assert_eq!((lines(&same), same.executed()), (vec![4], Vec::new()), "{same}");
    // Another cache key is a miss, which has a cause, before the build as after it.
    let off = plan(&scene, &["--auto-link=off"]);
    assert!(off.contains("link        line 4 no longer\n"), "{off}");
    assert!(off.contains("1 of 3 steps will run"), "{off}");
    // What the image would tell.
    for (more, reason) in [
        ("--provenance=mode=max", "provenance with mode=max has the Dockerfile in it"),
        ("--output=type=image,rewrite-timestamp=true", "the image's digest would depend on the cache"),
        ("--no-cache-filter=x", "`--no-cache-filter` runs steps that are in the cache"),
    ] {
        let told = plan(&scene, &[more]);
        assert!(told.contains("line 4 no longer") && told.contains(reason), "{more}: {told}");
    }
    let off = push(&scene, &["--auto-link=off"]);
    let explanation = &off.report["explanation"];
    let causes = &explanation["misses"][0]["causes"];
    let cause = "it was built as `COPY --link`, and is built as it is written now: it was turned off";
    assert_eq!((lines(&off), off.executed().len(), &causes[0]["text"]), (vec![], 1, &json!(cause)), "{off}");
    assert_eq!(explanation["surprises"], json!([]), "{off}");
    let branch = "cache:branch-feature--record";
    assert!(off.report["written"].to_string().contains(branch), "{off}");
    scene.project.change_source("four\n");
    scene.reset();
    let build = push(&scene, &[]);
    assert_eq!((lines(&build), &build.report["bytes"]["fetched"]), (vec![4], &json!(0)), "{build}");
    scene.test.set("BUILDX_GIT_LABELS", "1");
    let labels = plan(&scene, &[]);
    assert!(labels.contains("line 4 no longer") && labels.contains("BUILDX_GIT_LABELS names"), "{labels}");
}

/// A client that does not see the folder of our Dockerfile, as from a snap, builds the user's.
#[test]
fn a_dockerfile_that_cannot_be_read_is_not_needed() {
    let scene = built("link-unread");
    scene.test.hide_our_dockerfiles();
    scene.project.change_source("two\n");
    let build = push(&scene, &[]);
    let warning = "building once more without links: the engine cannot read the Dockerfile with the links";
    assert_eq!((lines(&build), build.warnings().trim()), (vec![], warning), "{build}");
}
