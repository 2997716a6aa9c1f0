//! What is kept, and what is not worth it: as few stage images as the cache needs, and no cache that loses.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use layerlift::base::env::Environment;
use layerlift::model::record::{CacheCost, Record};
use layerlift::model::reference::Reference;
use layerlift::registry::{Client, Options};
use layerlift::workflow::records;

use crate::support::cli::{Build, TestEnv};
use crate::support::engine::{Engine, Kind};
use crate::support::job::{self, Event};
use crate::support::program::{Finished, run};
use crate::support::project::Project;
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::Registry;
use crate::support::scene::Scene;

/// Builds and pushes on an engine without any state, and checks the image.
#[track_caller]
fn build(scene: &mut Scene, tag: &str) -> Build {
    scene.reset();
    let image = scene.image(tag);
    let build = scene.test.build(&scene.project, &["--push", "-t", &image]);
    let build = build.made(&scene.registry, &image, &scene.project);
    assert_eq!(build.warnings(), "", "{build}");
    build
}

/// The random number that a `RUN` left in an image.
#[track_caller]
fn stamp(scene: &Scene, tag: &str, file: &str) -> String {
    scene.registry.file(&scene.image(tag), &format!("app/{file}"))
}

/// The stages whose images a build wrote.
fn images(build: &Build) -> Vec<String> {
    let written = build.report["written"].as_array().cloned().unwrap_or_default();
    let images = written.iter().filter(|it| it["what"] == "stage cache");
    let reference = images.map(|it| it["reference"].as_str().unwrap_or_default().to_owned());
    let mut stages: Vec<String> =
        reference.filter_map(|it| Some(it.split_once("--stage-")?.1.to_owned())).collect();
    stages.sort_unstable();
    stages
}

/// The stages in which something was executed, each once.
fn ran(build: &Build) -> Vec<String> {
    let mut stages: Vec<String> = build.executed().into_iter().map(|(stage, _)| stage).collect();
    stages.dedup();
    stages
}

/// The registry holds back the first image for longer than this test waits, and the last one comes all the same.
#[test]
fn a_stage_image_is_pushed_while_the_next_ones_are_made() {
    let registry = Registry::shared();
    let proxy = Proxy::start(&registry.address);
    let engine = Engine::start(Kind::Docker20);
    let mut test = TestEnv::new(&engine);
    let (project, repository) = (Project::new(), registry.unique("overlap"));
    test.set_job(job::gitlab(&proxy.reference(&repository), Event::Branch("main")));
    let first = "/v2/*/cache/manifests/*--stage-dependencies";
    proxy.on("PUT", first, Fault::Delay(Duration::from_secs(600))).always();
    let image = registry.reference(&format!("{repository}:1"));
    let child = test.start(project.folder(), &["build", "--network=host", "--push", "-t", &image, "."]);
    let begin = Instant::now();
    let puts = || {
        let requests = proxy.requests().into_iter().filter(|it| it.method == "PUT");
        let stages = requests.filter_map(|it| Some(it.path.split_once("--stage-")?.1.to_owned()));
        stages.collect::<Vec<String>>()
    };
    while !puts().contains(&"final".to_owned()) {
        assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", puts());
        std::thread::sleep(Duration::from_millis(50));
    }
    let puts = puts();
    let place = |stage: &str| puts.iter().position(|it| it == stage);
    assert!(place("dependencies").is_some() && place("dependencies") < place("final"), "{puts:?}");
    let _ = run(Command::new("kill").args(["-INT", &child.id().to_string()])).ok();
    let ended: Finished = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 130, "{}", ended.all());
    assert_eq!(registry.file(&image, "app/source.txt"), project.source());
}

/// `tools` has no image; `dependencies` and `build` stand upon it, and theirs hold it.
fn a_lower_stage_needs_no_image(kind: Kind) {
    let mut scene = Scene::new(kind, "lower", Project::new());
    let cold = build(&mut scene, "1");
    assert_eq!(cold.report["cache"]["strategy"], "inline", "{cold}");
    assert_eq!(images(&cold), ["build", "dependencies", "final"], "{cold}");
    let tools = stamp(&scene, "1", "tools.stamp");

    let unchanged = build(&mut scene, "2");
    assert_eq!((ran(&unchanged), images(&unchanged)), (vec![], vec![]), "{unchanged}");

    // Its files are copied anew, and come from the images of the upper stages.
    let text = std::fs::read_to_string(scene.project.folder().join("Dockerfile")).unwrap();
    let first = "WORKDIR /app\nCOPY --from=tools";
    assert!(text.contains(first), "{text}");
    let step = |name: &str| {
        let with = first.replace("COPY", &format!("COPY assets/ {name}/\nCOPY"));
        scene.project.write("Dockerfile", &text.replace(first, &with));
    };
    step("one");
    let copied = build(&mut scene, "3");
    assert_eq!((ran(&copied), images(&copied)), (names(&["final"]), names(&["final"])), "{copied}");
    assert_eq!(stamp(&scene, "3", "tools.stamp"), tools, "{copied}");

    // Both upper stages are made anew upon a `tools` that was taken from the cache.
    scene.project.write("dependencies.txt", "left-pad 1.3.1\n");
    let dependency = build(&mut scene, "4");
    assert_eq!(ran(&dependency), ["dependencies", "build", "final"], "{dependency}");
    assert_eq!(images(&dependency), ["build", "dependencies", "final"], "{dependency}");
    assert_eq!(stamp(&scene, "4", "tools.stamp"), tools, "{dependency}");
    let dependencies = stamp(&scene, "4", "dependencies.stamp");

    let text = std::fs::read_to_string(scene.project.folder().join("Dockerfile")).unwrap();
    scene.project.write("Dockerfile", &text.replace("assets/ one/", "assets/ two/"));
    let copied = build(&mut scene, "5");
    assert_eq!(ran(&copied), ["final"], "{copied}");
    assert_eq!(stamp(&scene, "5", "tools.stamp"), tools, "{copied}");
    assert_eq!(stamp(&scene, "5", "dependencies.stamp"), dependencies, "{copied}");
}

#[test]
fn a_lower_stage_needs_no_image_on_docker_20() {
    a_lower_stage_needs_no_image(Kind::Docker20);
}

#[test]
fn a_lower_stage_needs_no_image_on_docker_26() {
    a_lower_stage_needs_no_image(Kind::Docker26Graph);
}

/// Five steps in two stages.
const SMALL: &str = "\
FROM busybox:latest AS build
RUN cat /proc/sys/kernel/random/uuid > /stamp
COPY src/ /src/
RUN cat src/* > /source.txt
FROM busybox:latest
WORKDIR /app
COPY --from=build /stamp /source.txt ./
";

/// The steps of it that a change of `src/` makes run.
const OF_SOURCE: usize = 3;

/// Changes the record of `main`; gives it as it was.
#[track_caller]
fn plant(scene: &Scene, change: impl FnOnce(&mut Record)) -> Record {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = Client::new(Options::new(&Environment::default())).unwrap();
    let place = scene.registry.reference(&format!("{}/cache:branch-main--record", scene.repository));
    let place: Reference = place.parse().unwrap();
    let found = runtime.block_on(records::read(&client, &place)).unwrap().unwrap();
    let mut planted = found.clone();
    change(&mut planted);
    runtime.block_on(records::write(&client, &place, &planted)).unwrap();
    found
}

/// Whatever its cache took, it took as many seconds now.
#[track_caller]
fn plant_costs(scene: &Scene, seconds: f64) -> Record {
    plant(scene, |record| {
        let cost = CacheCost { measured: record.created, export: seconds, import: 0.0 };
        record.cache_costs = vec![cost; 2];
    })
}

/// What lies in the cache repo, but for records.
#[track_caller]
fn caches(scene: &Scene) -> BTreeMap<String, String> {
    let mut tags = scene.registry.tags(&format!("{}/cache", scene.repository));
    tags.retain(|name, _| !name.ends_with("--record"));
    tags
}

/// What was written, but for the image: each kind once.
fn kept(build: &Build) -> Vec<String> {
    let written = build.report["written"].as_array().cloned().unwrap_or_default();
    let what = written.iter().map(|it| it["what"].as_str().unwrap_or_default().to_owned());
    let mut what: Vec<String> = what.filter(|it| it != "image").collect();
    what.sort_unstable();
    what.dedup();
    what
}

/// The notes of the report that speak of a cache that is given up.
fn notes(build: &Build) -> Vec<String> {
    let notes = build.report["explanation"]["notes"].as_array().cloned().unwrap_or_default();
    let notes = notes.iter().map(|note| note.as_str().unwrap_or_default().to_owned());
    notes.filter(|note| note.contains("cache")).collect()
}

/// `all` is what a build writes that keeps its cache.
fn a_cache_that_loses_is_given_up_and_taken_up_again(kind: Kind, all: &[&str]) {
    let mut scene = Scene::new(kind, "worth", Project::with_dockerfile(SMALL));
    scene.test.set("LAYERLIFT_WEIGH_CACHE", "auto");
    let cold = build(&mut scene, "1");
    assert_eq!(kept(&cold), all, "{cold}");
    let steps = cold.executed().len();
    assert!(steps > OF_SOURCE, "{cold}");
    let before = caches(&scene);

    // One build tells no loss; a second one of the same cost does.
    let measured = plant_costs(&scene, 9000.0);
    assert_eq!((measured.cache_costs.len(), measured.given_up), (1, false));
    let cost = measured.cache_costs[0].total().as_secs_f64();
    assert!(
        cost > 0.01 && cost < cold.report["seconds"]["total"].as_f64().unwrap(),
        "{:?}",
        measured.cache_costs
    );
    let image = scene.image("2");
    let plan = |more: &[&str]| {
        let all = [&["plan", "--network=host", "--push", "-t", &image], more, &["."]].concat();
        scene.test.run(scene.project.folder(), &all).ok().text()
    };
    let told = plan(&[]);
    assert!(
        told.contains("the cache took 2h30m or more to read and write, all steps together take"),
        "{told}"
    );
    assert!(!plan(&["--weigh-cache=off"]).contains("the cache took"));

    scene.project.change_source("changed\n");
    let given_up = build(&mut scene, "2");
    assert_eq!(given_up.executed().len(), steps, "{given_up}");
    assert_eq!(given_up.report["explanation"]["predicted"]["run"], steps, "{given_up}");
    assert_eq!(kept(&given_up), ["record"], "{given_up}");
    assert!(notes(&given_up)[0].starts_with("no cache is read or kept: the cache took 2h30m"), "{given_up}");
    assert_eq!(caches(&scene), before, "{given_up}");
    let first = stamp(&scene, "2", "stamp");

    // It stays so, although this record, too, is of one build.
    let again = build(&mut scene, "3");
    assert_eq!((again.executed().len(), kept(&again)), (steps, vec!["record".to_owned()]), "{again}");
    assert_ne!(stamp(&scene, "3", "stamp"), first, "{again}");

    // The steps take longer than the cache did: it is tried again, and what is left of it is read.
    let record = plant_costs(&scene, 0.0);
    assert_eq!((record.given_up, record.cache_to.clone(), record.cache_costs.len()), (true, None, 2));
    let taken_up = build(&mut scene, "4");
    assert_eq!(kept(&taken_up), all, "{taken_up}");
    assert_eq!(taken_up.executed().len(), OF_SOURCE, "{taken_up}");
    assert!(notes(&taken_up)[0].contains("kept no cache, an older one did"), "{taken_up}");
    let record = plant_costs(&scene, 0.0);
    assert_eq!((record.given_up, record.cache_costs.len()), (false, 1));
    assert_eq!(record.times.len(), steps - OF_SOURCE, "steps that were cached keep their times");
}

#[test]
fn an_inline_cache_that_loses_on_docker_20() {
    let all = ["cache", "record", "stage cache"];
    a_cache_that_loses_is_given_up_and_taken_up_again(Kind::Docker20, &all);
}

#[test]
fn a_registry_cache_that_loses_on_docker_26() {
    a_cache_that_loses_is_given_up_and_taken_up_again(Kind::Docker26Containerd, &["cache", "record"]);
}

/// `certs` costs nothing to build, and neither does what copies from it; `build` does.
const CHEAP: &str = "\
FROM busybox:latest AS certs
COPY assets/ /assets/
RUN cat /proc/sys/kernel/random/uuid > /certs
FROM busybox:latest AS build
COPY src/ /src/
RUN cat src/* > /source.txt && cat /proc/sys/kernel/random/uuid > /build
FROM busybox:latest AS final
WORKDIR /app
COPY --from=build /source.txt /build ./
COPY --from=certs /certs ./
";

/// What was said of the build is what happened.
#[track_caller]
fn as_said(build: &Build) {
    let explained = &build.report["explanation"];
    assert_eq!(explained["predicted"]["run"], build.executed().len(), "{build}");
    assert_eq!(explained["surprises"], serde_json::json!([]), "{build}");
}

fn a_cheap_stage_is_not_kept(kind: Kind) {
    let mut scene = Scene::new(kind, "cheap", Project::with_dockerfile(CHEAP));
    scene.test.set("LAYERLIFT_WEIGH_CACHE", "auto");
    let cold = build(&mut scene, "1");
    assert_eq!(images(&cold), ["build", "certs", "final"], "nothing is known yet\n{cold}");
    plant(&scene, |record| {
        for stage in &mut record.stages {
            let seconds = if stage.name == "build" { 10 } else { 0 };
            stage.steps.iter_mut().for_each(|step| step.duration = Duration::from_secs(seconds));
        }
    });

    scene.project.write("assets/logo.txt", "another logo\n");
    let changed = build(&mut scene, "2");
    assert_eq!(
        (ran(&changed), images(&changed)),
        (names(&["certs", "final"]), names(&["final"])),
        "{changed}"
    );
    let record = plant(&scene, |_| ());
    assert_eq!(record.left_out, ["certs"], "{changed}");

    // It is not needed where nothing changed, since the last stage knows the keys of its steps.
    let unchanged = build(&mut scene, "3");
    assert_eq!(ran(&unchanged), names(&[]), "{unchanged}");
    as_said(&unchanged);

    // Where its files are copied anew, it is built, and that was said.
    scene.project.write("Dockerfile", &CHEAP.replace("WORKDIR /app\n", "WORKDIR /app\nCOPY src/ early/\n"));
    let needed = build(&mut scene, "4");
    assert_eq!(ran(&needed), names(&["certs", "final"]), "{needed}");
    as_said(&needed);
    let cause = "stage `certs` was not kept: it costs less to build";
    assert!(needed.finished.stderr.contains(cause), "{needed}");
    assert_eq!(stamp(&scene, "4", "build"), stamp(&scene, "1", "build"));
    assert_ne!(stamp(&scene, "4", "certs"), stamp(&scene, "2", "certs"));
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_cheap_stage_is_not_kept_on_docker_20() {
    a_cheap_stage_is_not_kept(Kind::Docker20);
}

#[test]
fn a_cheap_stage_is_not_kept_on_docker_26() {
    a_cheap_stage_is_not_kept(Kind::Docker26Graph);
}
