//! A build that was made before is answered with its image: no engine runs, the image is the same to the byte, and whatever
//! goes wrong is a build.

mod platforms;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::cli::Build;
use crate::support::engine::Kind;
use crate::support::job::Event;
use crate::support::project::{Project, STEPS};
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::ask;
use crate::support::scene::Scene;

/// What the tests have that `Scene` has not.
impl Scene {
    /// A job whose builds may be answered.
    #[track_caller]
    fn reusing(kind: Kind, name: &str) -> Scene {
        let mut scene = Scene::new(kind, name, Project::new());
        scene.test.set("LAYERLIFT_REUSE", "auto");
        scene
    }

    /// Builds and pushes under a tag, and checks the image.
    #[track_caller]
    fn push(&self, tag: &str, more: &[&str]) -> Build {
        let image = self.image(tag);
        let arguments = [&["--push", "-t", &image], more].concat();
        self.test.build(&self.project, &arguments).made(&self.registry, &image, &self.project)
    }

    /// From now on no engine can be had: there is none at its address, and its client fails.
    #[track_caller]
    fn lose_engine(&mut self) {
        self.test.add_program("docker", "#!/bin/sh\nexit 99\n");
        self.test.set("DOCKER_HOST", "unix:///nowhere/docker.sock");
    }

    #[track_caller]
    fn find_engine(&mut self) {
        std::fs::remove_file(self.test.path("bin/docker")).unwrap();
        self.test.use_engine(&self.engine);
    }

    /// The digest of the image under a tag.
    #[track_caller]
    fn digest(&self, tag: &str) -> String {
        self.registry.digest(&self.image(tag))
    }

    /// What the cache repo holds.
    #[track_caller]
    fn cache(&self) -> BTreeMap<String, String> {
        self.registry.tags(&format!("{}/cache", self.repository))
    }

    /// The image that the cache repo keeps for a scope.
    #[track_caller]
    fn kept(&self, scope: &str) -> Option<String> {
        let start = format!("{}/cache:{scope}--image-", self.repository);
        self.cache().into_keys().find(|name| name.starts_with(&start))
    }
}

/// The build was answered with this scope's image, and no engine did anything.
#[track_caller]
fn assert_reused(build: &Build, scope: &str) {
    assert_eq!(build.report["reused"]["scope"], scope, "{build}");
    assert_eq!(
        (&build.report["engine"], &build.report["cache"]["hit"]),
        (&Value::Null, &true.into()),
        "{build}"
    );
    assert_eq!(build.steps(), [], "{build}");
    assert_eq!(build.warnings(), "", "{build}");
}

/// An engine built.
#[track_caller]
fn assert_built(build: &Build) {
    assert_eq!(build.report["reused"], Value::Null, "{build}");
    assert_eq!(build.steps().len(), STEPS, "{build}");
}

/// No layer came from a cache. BuildKit makes folders that it knows all the same.
#[track_caller]
fn assert_from_nothing(build: &Build) {
    let steps = build.steps();
    let mut cached = steps.iter().filter(|step| step.status == "cached");
    assert!(cached.all(|step| step.instruction.starts_with("WORKDIR")), "{build}");
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn needs_no_engine(kind: Kind) {
    let mut scene = Scene::reusing(kind, "reuse");
    let has_metadata = kind != Kind::Docker20;
    let [id, metadata, dotenv] = ["id", "metadata.json", "dotenv"].map(|name| scene.path(name));
    let mut files = vec!["--iidfile", &id];
    if has_metadata {
        files.extend(["--metadata-file", &metadata]);
    }
    let cold = scene.push("1", &files);
    assert_built(&cold);
    assert_eq!(cold.warnings(), "", "{cold}");
    let first = scene.digest("1");
    let made_id = std::fs::read_to_string(&id).unwrap();
    let made = has_metadata.then(|| json(Path::new(&metadata)));
    for file in [&id, &metadata] {
        let _ = std::fs::remove_file(file);
    }

    scene.lose_engine();
    let elsewhere = scene.registry.reference(&format!("{}/elsewhere/app:2", scene.repository));
    files.extend(["--dotenv", &dotenv, "-t", &elsewhere, "-t"]);
    let third = scene.image("3");
    files.push(&third);
    let warm = scene.push("2", &files);
    assert_reused(&warm, "branch-main");
    assert_eq!(warm.report["image"]["digest"], first, "{warm}");
    assert_eq!(warm.report["image"]["inputs"], cold.report["image"]["inputs"], "{warm}");
    assert_eq!(warm.report["reused"]["commit"], "1ecfd275763eff1d6b4844ea3168962458c9f27a", "{warm}");
    for image in [&scene.image("2"), &third, &elsewhere] {
        assert_eq!(scene.registry.digest(image), first, "the same to the byte: {image}");
        assert_eq!(scene.registry.file(image, "app/source.txt"), scene.project.source());
    }
    let told = std::fs::read_to_string(&dotenv).unwrap();
    assert!(told.contains(&format!("LAYERLIFT_DIGEST={first}\nLAYERLIFT_CACHE_HIT=true\n")), "{told}");
    assert_eq!(std::fs::read_to_string(&id).unwrap(), made_id);
    if let Some(made) = made {
        let told = json(Path::new(&metadata));
        for key in ["containerimage.digest", "containerimage.config.digest"] {
            assert_eq!(told[key], made[key], "{told:#}\n{made:#}");
        }
        // A graph driver store tells none.
        if let Some(descriptor) = made["containerimage.descriptor"].as_object() {
            for key in ["mediaType", "digest", "size"] {
                assert_eq!(told["containerimage.descriptor"][key], descriptor[key], "{key}");
            }
        }
        assert_eq!(told["image.name"], format!("{},{elsewhere},{third}", scene.image("2")));
    }

    let quiet = scene.test.build(&scene.project, &["-q", "--push", "-t", &scene.image("4")]);
    assert_eq!((quiet.finished.code, quiet.finished.text()), (0, made_id), "{quiet}");
    assert_eq!(quiet.finished.stderr, "", "{quiet}");
    let image = scene.image("5");
    let plan = ["plan", "--network=host", "--format=json", "--push", "-t", &image, "."];
    let plan: Value =
        serde_json::from_slice(&scene.test.run(scene.project.folder(), &plan).ok().stdout).unwrap();
    assert_eq!((&plan["strategy"], &plan["facts"]["engine"]), (&"reuse".into(), &Value::Null), "{plan:#}");
    let list = scene.test.run(scene.project.folder(), &["cache", "ls"]).ok().text();
    assert!(list.contains("(finished)") && list.contains("branch-main--image-"), "{list}");

    // What differs is built, and what is as it was is answered again.
    scene.find_engine();
    scene.project.change_source("changed\n");
    let changed = scene.push("6", &[]);
    assert_built(&changed);
    assert_ne!(scene.digest("6"), first);
    assert_ne!(changed.report["image"]["inputs"], cold.report["image"]["inputs"], "{changed}");
    scene.project.change_source("one\n");
    assert_reused(&scene.push("7", &[]), "branch-main");
    assert_eq!(scene.digest("7"), first);
}

#[test]
fn an_unchanged_build_needs_no_docker_20() {
    needs_no_engine(Kind::Docker20);
}

#[test]
fn an_unchanged_build_needs_no_docker_28_containerd() {
    needs_no_engine(Kind::Docker28Containerd);
}

#[test]
fn an_unchanged_build_needs_no_docker_28_graph() {
    needs_no_engine(Kind::Docker28Graph);
}

#[test]
fn scopes_bound_what_is_reused() {
    let mut scene = Scene::reusing(Kind::Docker28Containerd, "reuse-scopes");
    assert_built(&scene.push("1", &[]));
    let cache = scene.cache();

    // Others read what the default branch has, and have nothing to keep.
    let readers = [
        Event::Branch("feature/x"),
        Event::Request { number: 12, branch: "feature/x" },
        Event::Fork { number: 13, branch: "main" },
        Event::Tag("v1"),
    ];
    for event in readers {
        scene.test.set_job(scene.gitlab(event));
        assert_reused(&scene.push("2", &[]), "branch-main");
    }
    assert_eq!(scene.cache(), cache, "an answer wrote");

    // A fork's own work is built, and nobody is answered with it: not even the fork itself.
    scene.project.change_source("from a stranger\n");
    scene.test.set_job(scene.gitlab(Event::Fork { number: 13, branch: "main" }));
    assert_built(&scene.push("3", &[]));
    assert_built(&scene.push("3", &[]));
    assert_eq!(scene.cache(), cache, "a fork wrote");

    // What a merge request built answers itself alone; the default branch builds it anew.
    scene.project.change_source("merge request\n");
    let request = scene.gitlab(Event::Request { number: 12, branch: "feature/x" });
    scene.test.set_job(request.clone());
    assert_built(&scene.push("4", &[]));
    assert_reused(&scene.push("4", &[]), "mr-12");
    let reviewed = scene.digest("4");
    scene.test.set_job(scene.gitlab(Event::Branch("main")));
    assert_built(&scene.push("5", &[]));
    assert_reused(&scene.push("5", &[]), "branch-main");

    // Of two images, the nearest scope's answers.
    scene.test.set_job(request);
    assert_reused(&scene.push("6", &[]), "mr-12");
    assert_eq!(scene.digest("6"), reviewed);
}

fn loads(kind: Kind) {
    let mut scene = Scene::reusing(kind, "reuse-load");
    assert_built(&scene.push("1", &["--label", "a=b"]));
    let first = scene.digest("1");
    scene.reset();
    let image = scene.image("2");
    let both = scene.push("2", &["--label", "a=b", "--load"]);
    assert_reused(&both, "branch-main");
    assert_eq!(scene.digest("2"), first);
    assert_eq!(scene.engine.file(&image, "/app/source.txt").trim(), scene.project.source());
    // Loaded alone, where that is asked for, and under its own name alone.
    scene.reset();
    scene.test.set("LAYERLIFT_REUSE", "on");
    let loaded = scene.test.build(&scene.project, &["--label", "a=b", "-t", "app:local", "-t", "app:too"]);
    assert_eq!(loaded.finished.code, 0, "{loaded}");
    assert_reused(&loaded, "branch-main");
    assert_eq!(scene.engine.file("app:local", "/app/source.txt").trim(), scene.project.source());
    let names = scene.engine.run(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]).ok().text();
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["app:local", "app:too"]);
    // Where the engine cannot be had, what is to be loaded is not answered either.
    scene.lose_engine();
    let lost = scene.test.build(&scene.project, &["--label", "a=b", "-t", "app:local"]);
    assert_eq!(lost.finished.code, 69, "{lost}");
}

#[test]
fn an_image_is_loaded_into_docker_20() {
    loads(Kind::Docker20);
}

#[test]
fn an_image_is_loaded_into_docker_28_containerd() {
    loads(Kind::Docker28Containerd);
}

#[test]
fn who_asks_for_a_build_gets_one() {
    let mut scene = Scene::reusing(Kind::Docker28Containerd, "reuse-asked");
    let cache = scene.path("exported");
    assert_built(&scene.push("1", &[]));
    let first = scene.digest("1");
    let fresh = scene.push("2", &["--no-cache"]);
    assert_built(&fresh);
    assert_from_nothing(&fresh);
    // What was built without cache answers from now on.
    assert_reused(&scene.push("3", &[]), "branch-main");
    assert_eq!(scene.digest("3"), scene.digest("2"));
    assert_ne!(scene.digest("3"), first);
    assert_reused(&scene.push("4", &["--pull"]), "branch-main");
    assert_reused(&scene.push("4", &["--max-age=1h"]), "branch-main");

    // Too old: neither the image nor a layer of it.
    let old = scene.push("5", &["--max-age=0m"]);
    assert_built(&old);
    assert_from_nothing(&old);
    assert_reused(&scene.push("6", &[]), "branch-main");
    assert_eq!(scene.digest("6"), scene.digest("5"));

    for more in
        [&["--reuse=off"][..], &["--cache-to", &format!("type=local,dest={cache}")], &["--strategy=off"]]
    {
        assert_built(&scene.push("7", more));
    }
    scene.test.set_job(Vec::new());
    let cache = scene.registry.reference(&format!("{}/cache", scene.repository));
    scene.test.set("LAYERLIFT_CACHE_REPO", &cache);
    assert_built(&scene.push("8", &[]));
    assert_reused(&scene.push("8", &["--reuse=on"]), "branch-main");
}

/// The cache repo lies behind a proxy that is about to do something wrong; images go past it.
#[track_caller]
fn behind_proxy(name: &str) -> (Scene, Proxy) {
    let mut scene = Scene::reusing(Kind::Docker28Containerd, name);
    let proxy = Proxy::start(&scene.registry.address);
    scene.test.set("LAYERLIFT_CACHE_REPO", &proxy.reference(&format!("{}/cache", scene.repository)));
    scene.test.set("LAYERLIFT_REGISTRY_TIMEOUT", "1");
    (scene, proxy)
}

#[test]
fn a_registry_that_fails_is_a_build() {
    let (scene, proxy) = behind_proxy("reuse-fails");
    assert_built(&scene.push("1", &[]));
    assert_reused(&scene.push("2", &[]), "branch-main");
    for fault in [Fault::Status(500, &[]), Fault::Garbage] {
        proxy.on("GET|HEAD", "/v2/*/cache/manifests/*--image-*", fault).always();
        assert_built(&scene.push("3", &[]));
        assert!(proxy.faults() > 0, "{:#?}", proxy.requests());
        proxy.clear();
    }
    // The note alone does not matter, but to who wants to know the image's age.
    proxy.on("GET", "/v2/*--note-*", Fault::Truncate).always();
    let unknown = scene.push("4", &[]);
    assert_reused(&unknown, "branch-main");
    assert_eq!(unknown.report["reused"]["age_seconds"], Value::Null, "{unknown}");
    assert_built(&scene.push("5", &["--max-age=1w"]));
    proxy.clear();

    proxy.on("PUT", "/v2/*--image-*", Fault::Status(403, &[])).always();
    scene.project.change_source("changed\n");
    let unkept = scene.push("6", &[]);
    assert_built(&unkept);
    assert!(unkept.warnings().contains("will not answer later builds"), "{unkept}");
    proxy.clear();
    assert_built(&scene.push("7", &[]));
    assert_reused(&scene.push("8", &[]), "branch-main");
}

#[test]
fn layers_are_carried_over_where_nothing_mounts_them() {
    let scene = Scene::reusing(Kind::Docker28Containerd, "reuse-mount");
    let proxy = Proxy::start(&scene.registry.address);
    assert_built(&scene.push("1", &["--provenance=false"]));
    let first = scene.digest("1");
    let manifest = scene.registry.crane(&["manifest", &scene.image("1")]).ok().text();
    let blobs = serde_json::from_str::<Value>(&manifest).unwrap()["layers"].as_array().unwrap().len() + 1;
    // Mounts come first, then uploads.
    let name = |place: &str| format!("{}/{place}:1", scene.repository);
    let image = proxy.reference(&name("refused"));
    proxy.on("POST", "/v2/*/refused/blobs/uploads/", Fault::Status(405, &[])).times(blobs);
    let proxied = proxy.reference(&format!("{}/cache", scene.repository));
    let arguments = [
        "--provenance=false",
        "--cache-repo",
        &proxied,
        "--insecure-registry",
        &proxy.address,
        "--push",
        "-t",
        &image,
    ];
    let refused = scene.test.build(&scene.project, &arguments);
    assert_eq!(refused.finished.code, 0, "{refused}");
    assert_reused(&refused, "branch-main");
    assert_eq!(proxy.faults(), blobs, "{:#?}", proxy.requests());
    assert_eq!(scene.registry.digest(&scene.registry.reference(&name("refused"))), first);

    // Another name of the same registry is another registry: nothing is mounted, nor tried to be.
    proxy.clear();
    let image = proxy.reference(&name("other"));
    let apart = scene.test.build(&scene.project, &["--provenance=false", "--push", "-t", &image]);
    assert_eq!(apart.finished.code, 0, "{apart}");
    assert_reused(&apart, "branch-main");
    assert!(
        proxy.requests().iter().all(|request| !request.path.contains("mount=")),
        "{:#?}",
        proxy.requests()
    );
    assert_eq!(scene.registry.digest(&scene.registry.reference(&name("other"))), first);
}

#[test]
fn an_image_whose_layer_is_gone_does_not_answer() {
    let scene = Scene::reusing(Kind::Docker28Containerd, "reuse-gone");
    assert_built(&scene.push("1", &["--provenance=false"]));
    let manifest = scene.registry.crane(&["manifest", &scene.image("1")]).ok().text();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let layer = manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned();
    for repository in ["app", "cache"] {
        let path = format!("/v2/{}/{repository}/blobs/{layer}", scene.repository);
        assert_eq!(ask(&scene.registry.address, "DELETE", &path, &[]).0, 202);
    }
    let build = scene.push("2", &["--provenance=false"]);
    assert_built(&build);
    assert!(build.warnings().contains("does not answer the build"), "{build}");
    assert_reused(&scene.push("3", &["--provenance=false"]), "branch-main");
}

/// The engine's client changes a file after layerlift has looked at it: the image is not what its digest says.
#[test]
fn what_changes_while_it_is_built_is_not_kept() {
    let scene = Scene::reusing(Kind::Docker20, "reuse-race");
    let docker = scene.engine.path.split(':').map(|folder| format!("{folder}/docker"));
    let docker = docker.into_iter().find(|file| Path::new(file).exists()).unwrap();
    let file = scene.project.folder().join("src/two.txt");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = build ]; then echo changed > '{}'; fi\nexec '{docker}' \"$@\"\n",
        file.display()
    );
    scene.test.add_program("docker", &script);
    let raced = scene.push("1", &[]);
    assert_built(&raced);
    assert!(notes(&raced).contains("`src/two.txt` changed while it was built"), "{raced}");
    assert_eq!(scene.kept("branch-main"), None);
    std::fs::remove_file(scene.test.path("bin/docker")).unwrap();
    assert_built(&scene.push("2", &[]));
    assert_reused(&scene.push("3", &[]), "branch-main");
}

/// What the report notes.
fn notes(build: &Build) -> String {
    build.report["explanation"]["notes"].to_string()
}

fn own_base(kind: Kind) {
    let mut scene = Scene::reusing(kind, "reuse-base");
    let base = scene.registry.reference(&format!("{}/base:1", scene.repository));
    let busybox = scene.registry.reference("library/busybox:latest");
    let _ = scene.registry.crane(&["copy", &busybox, &base]).ok();
    let other = Project::with_dockerfile("FROM busybox\nRUN touch /of-this-engine\n");
    let folder = other.folder().to_str().unwrap();
    let _ = scene.engine.run(&["build", "--network=host", "-t", &base, folder]).ok();
    let base = format!("BASE={base}");
    let build = scene.push("1", &["--build-arg", &base]);
    assert_built(&build);
    assert!(notes(&build).contains("the registry has another image of that name"), "{build}");
    assert_eq!(scene.kept("branch-main"), None, "{build}");
    // Told to take the registry's, the engine does, and the image is what its digest says.
    let pulled = scene.push("2", &["--build-arg", &base, "--pull"]);
    assert_built(&pulled);
    assert_eq!(pulled.warnings(), "", "{pulled}");
    // What it would build on counts, as long as it is there to be asked.
    assert_built(&scene.push("3", &["--build-arg", &base]));
    assert_reused(&scene.push("4", &["--build-arg", &base, "--pull"]), "branch-main");
    scene.lose_engine();
    assert_reused(&scene.push("5", &["--build-arg", &base]), "branch-main");
}

#[test]
fn what_stands_on_docker_20s_own_image_is_not_kept() {
    own_base(Kind::Docker20);
}

#[test]
fn what_stands_on_docker_28s_own_image_is_not_kept() {
    own_base(Kind::Docker28Containerd);
}
