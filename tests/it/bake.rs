//! `layerlift bake` on real engines: groups, variables, inheritance, matrices, targets that build on targets, `--set`.

use crate::support::engine::{Engine, Kind};
use crate::support::job::{self, Event};
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::Registry;
use crate::support::services::{GroupBuild, Services};

#[test]
fn docker_28_containerd() {
    let mut scene = Services::new(Kind::Docker28Containerd);
    let line = [
        "--allow=network.host",
        "--push",
        "--set",
        "tools.output=type=cacheonly",
        "--set",
        "api.args.WHO=set",
        "all",
    ];
    let names = ["api", "web", "job-one", "job-two", "own"];
    let cold = scene.build("bake", &line).made();
    let mut members = cold.members();
    members.sort_unstable();
    assert_eq!(members, ["api", "job-one", "job-two", "own", "tools", "web"], "{cold}");
    let who = scene.registry.reference(&format!("{}/api:1", scene.repository));
    assert_eq!(scene.registry.file(&who, "who"), "set");
    let first = names.map(|name| scene.stamps(name));

    scene.reset();
    let unchanged = scene.build("bake", &line).made();
    assert_eq!(names.map(|name| scene.stamps(name)), first, "{unchanged}");
    members.iter().for_each(|name| assert_eq!(unchanged.executed(name), [""; 0], "{unchanged}"));

    // A target's own cache is where it says, and nowhere else.
    let tags = scene.registry.tags(&scene.repository);
    assert!(tags.contains_key(&format!("{}/own-cache:1", scene.repository)), "{tags:#?}");
    assert!(!tags.keys().any(|tag| tag.contains("/cache:branch-main--own-")), "{tags:#?}");
    let configs = names.map(|name| scene.config(name));

    scene.reset();
    scene.write("api/a.txt", "changed\n");
    let changed = scene.build("bake", &line).made();
    let ran = changed.executed("api");
    assert!(ran.len() == 2 && ran[0].starts_with("COPY api/") && ran[1].starts_with("RUN echo"), "{ran:?}");
    let stamps = names.map(|name| scene.stamps(name));
    assert_eq!((&stamps[1..], &stamps[0].0), (&first[1..], &first[0].0), "{changed}");
    assert_ne!(stamps[0].1, first[0].1);

    let bare = scene.bare("docker", &[&["buildx", "bake"], line.as_slice()].concat()).ok();
    for (name, config) in names.iter().zip(&configs) {
        assert_eq!(&scene.config(name), config, "{name}\n{}", bare.all());
    }
}

#[test]
fn docker_28_graph() {
    let mut scene = Services::new(Kind::Docker28Graph);
    let line = ["--push", "--allow=network.host"];
    let cold = scene.build("bake", &line).made();
    assert_eq!(cold.members(), ["api", "web"], "{cold}");
    let first = ["api", "web"].map(|name| scene.stamps(name));
    scene.reset();
    let unchanged = scene.build("bake", &line).made();
    assert_eq!(["api", "web"].map(|name| scene.stamps(name)), first, "{unchanged}");
    ["api", "web"].iter().for_each(|name| assert_eq!(unchanged.executed(name), [""; 0], "{unchanged}"));

    // What cannot be built stage by stage is built all the same, and the plan says what it costs.
    let plan = scene.test.run(scene.folder(), &["bake", "--dry-run", "job-one"]).ok().text();
    assert!(plan.contains("its stages cannot be built one by one"), "{plan}");
    let job = ["--push", "--allow=network.host", "--set", "tools.output=type=cacheonly", "job-one"];
    let built = scene.build("bake", &job).made();
    assert_eq!(built.members(), ["tools", "job-one"], "{built}");
}

/// The tags of the cache repo that begin so, without those of records.
fn cache_tags(scene: &Services, begin: &str) -> Vec<String> {
    let tags = scene.registry.tags(&format!("{}/cache", scene.repository)).into_keys();
    let tags = tags.filter_map(|it| Some(it.rsplit_once(':')?.1.to_owned()));
    tags.filter(|it| it.starts_with(begin) && !it.ends_with("--record")).collect()
}

/// What was written of caches, target by target.
fn caches_of(build: &GroupBuild) -> Vec<String> {
    build.written(|what| what.starts_with("cache"))
}

/// A scene whose cache goes by a proxy.
fn with_proxy() -> (Proxy, Services) {
    let proxy = Proxy::start(&Registry::shared().address);
    let mut scene = Services::on(Engine::start_with(Kind::Docker28Containerd, &[&proxy.address]));
    let cache = proxy.reference(&format!("{}/cache", scene.repository));
    scene.test.set("LAYERLIFT_CACHE_REPO", &cache);
    (proxy, scene)
}

/// Each target by itself: what no step of it ran for is not exported, and what ran although it was thought cached is.
#[test]
fn only_what_is_new_is_exported() {
    let mut scene = Services::new(Kind::Docker28Containerd);
    let line = ["--push", "--allow=network.host"];
    let _ = scene.build("bake", &line).made();
    let cache = scene.registry.reference(&format!("{}/cache", scene.repository));
    let main = cache_tags(&scene, "branch-main--");
    assert!(
        matches!(main.as_slice(), [api, web] if api.contains("--api-") && web.contains("--web-")),
        "{main:?}"
    );
    let early = scene.registry.digest(&format!("{cache}:{}", main[0]));
    let image = scene.registry.reference(&scene.repository);

    // On the branch that has written them, and on a new one.
    scene.reset();
    let unchanged = scene.build("bake", &line).made();
    assert!(!unchanged.finished.stderr.contains("exporting cache to registry"), "{unchanged}");
    assert_eq!(caches_of(&unchanged), [""; 0], "{unchanged}");
    scene.test.set_job(job::gitlab(&image, Event::Branch("feature")));
    scene.reset();
    let branch = scene.build("bake", &line).made();
    assert!(!branch.finished.stderr.contains("exporting cache to registry"), "{branch}");
    let retagged = "cache (retagged, nothing exported)";
    assert_eq!(caches_of(&branch), [format!("api: {retagged}"), format!("web: {retagged}")], "{branch}");

    scene.write("api/a.txt", "changed\n");
    scene.test.set_job(job::gitlab(&image, Event::Branch("main")));
    let changed = scene.build("bake", &line).made();
    assert_eq!(caches_of(&changed), ["api: cache"], "{changed}");

    // The record tells of a later build than the cache.
    let late = scene.registry.digest(&format!("{cache}:{}", main[0]));
    let _ = scene.registry.crane(&["tag", &format!("{cache}@{early}"), &main[0]]).ok();
    scene.reset();
    let wrong = scene.build("bake", &line).made();
    assert_eq!(
        (wrong.executed("api").len(), caches_of(&wrong)),
        (2, vec!["api: cache".to_owned()]),
        "{wrong}"
    );
    let again = scene.registry.digest(&format!("{cache}:{}", main[0]));
    assert!(![&early, &late].contains(&&again), "{wrong}");
    scene.reset();
    let right = scene.build("bake", &line).made();
    assert_eq!((right.executed("api"), caches_of(&right)), (vec![], vec![]), "{right}");
}

/// No line of `docker build` says what such a target is made from; bake exports for it what is to be made up for.
#[test]
fn of_a_target_on_another_only_what_is_new_is_exported() {
    let mut scene = Services::new(Kind::Docker28Containerd);
    let line = ["--push", "--allow=network.host", "--set", "tools.output=type=cacheonly", "job-one"];
    let cache = scene.registry.reference(&format!("{}/cache", scene.repository));
    let _ = scene.build("bake", &line).made();
    let own = cache_tags(&scene, "branch-main--job-one-");
    let [own] = own.as_slice() else { panic!("{own:?}") };
    let early = scene.registry.digest(&format!("{cache}:{own}"));

    scene.test.set_job(job::gitlab(&scene.registry.reference(&scene.repository), Event::Branch("feature")));
    scene.reset();
    let plan = scene.test.run(scene.folder(), &[&["bake", "--dry-run"], &line[..]].concat()).ok().text();
    let (_, export) = plan.split_once("# job-one: export the cache, if a step runs\n").expect("the export");
    let export = export.lines().next().unwrap_or_default();
    assert!(export.starts_with("  docker buildx bake ") && export.ends_with(" job-one"), "{plan}");
    assert!(!export.contains("--push") && export.contains(" 'job-one.output=type=cacheonly'"), "{plan}");
    let branch = scene.build("bake", &line).made();
    assert!(!branch.finished.stderr.contains("exporting cache to registry"), "{branch}");
    let retagged = "cache (retagged, nothing exported)";
    assert_eq!(
        caches_of(&branch),
        [format!("tools: {retagged}"), format!("job-one: {retagged}")],
        "{branch}"
    );
    let first = scene.stamps("job-one");

    // The record tells of a later build than the cache.
    scene.test.set_job(job::gitlab(&scene.registry.reference(&scene.repository), Event::Branch("main")));
    scene.write("shared/file.txt", "changed\n");
    let changed = scene.build("bake", &line).made();
    assert_eq!(caches_of(&changed), ["job-one: cache"], "{changed}");
    let _ = scene.registry.crane(&["tag", &format!("{cache}@{early}"), own]).ok();
    scene.reset();
    let wrong = scene.build("bake", &line).made();
    assert_eq!(
        (wrong.executed("job-one").len(), caches_of(&wrong)),
        (2, vec!["job-one: cache".to_owned()]),
        "{wrong}"
    );
    let made = scene.stamps("job-one");
    assert!(made.0 == first.0 && made.1 != first.1, "{wrong}");
    scene.reset();
    let right = scene.build("bake", &line).made();
    assert_eq!((right.executed("job-one"), caches_of(&right)), (vec![], vec![]), "{right}");
    assert_eq!(scene.stamps("job-one"), made);
}

/// Of the layers that several images have, each is mounted once into the repository of their caches.
#[test]
fn layers_of_the_images_are_mounted_for_their_caches() {
    let (proxy, mut scene) = with_proxy();
    scene.test.set("IMAGES", &proxy.reference(&scene.repository));
    let large = |megabytes| format!("RUN dd if=/dev/urandom of=/large{megabytes} bs=1M count={megabytes}\n");
    let shared = format!("FROM busybox:latest AS tools\n{}", large(24));
    let own = ["api", "web"].map(|name| format!("FROM tools AS {name}\nCOPY {name}/ /{name}/\n"));
    scene.write("Dockerfile", &[shared, own[0].clone(), large(20), own[1].clone(), large(21)].concat());
    let build = scene.build("bake", &["--push", "--allow=network.host"]).made();
    assert!(build.finished.stderr.contains("exporting cache to registry"), "{build}");
    let layers = |name: &str| {
        let image = scene.registry.reference(&format!("{}/{name}:1", scene.repository));
        let manifest = scene.registry.crane(&["manifest", "--platform=linux/amd64", &image]).ok().text();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap().clone();
        layers.into_iter().map(|layer| layer["digest"].as_str().unwrap().replace(':', "%3A"))
    };
    let requests = proxy.requests();
    let mounts = |digest: &String| {
        let into_cache = requests.iter().filter(|it| it.path.contains("/cache/blobs/uploads/"));
        into_cache.filter(|it| it.path.contains(&format!("mount={digest}"))).count()
    };
    // The base image, the shared layer, a small one, and one of its own.
    for name in ["api", "web"] {
        let mounts: Vec<usize> = layers(name).map(|digest| mounts(&digest)).collect();
        assert_eq!(mounts, [1; 4], "{name}: {requests:#?}");
    }
}

#[test]
fn a_failure_and_a_question_are_bakes_own() {
    let scene = Services::new(Kind::Docker28Containerd);
    for question in [&["--print", "web"][..], &["--list=targets"]] {
        let ours = scene.test.run(scene.folder(), &[&["bake"], question].concat()).ok();
        let bare = scene.bare("docker", &[&["buildx", "bake"], question].concat()).ok();
        assert_eq!(ours.text(), bare.text(), "{question:?}");
    }
    let missing = scene.test.run(scene.folder(), &["bake", "no-such-target"]);
    let bare = scene.bare("docker", &["buildx", "bake", "no-such-target"]);
    assert_ne!(bare.code, 0);
    assert_eq!(missing.code, bare.code, "{}", missing.all());
    assert!(missing.stderr.contains("failed to find target no-such-target"), "{}", missing.all());

    scene.write(
        "Dockerfile",
        "FROM busybox:latest AS api\nRUN exit 3\nFROM busybox:latest AS web\nRUN true\n",
    );
    let failed = scene.build("bake", &["--allow=network.host"]);
    let bare = scene.bare("docker", &["buildx", "bake", "--allow=network.host"]);
    assert_eq!(
        (failed.finished.code, failed.report["status"].as_str()),
        (bare.code, Some("failed")),
        "{failed}"
    );
    assert_eq!(failed.executed("api"), ["RUN exit 3"], "{failed}");
}

#[test]
fn a_lost_layer_fails_no_target() {
    let (proxy, mut scene) = with_proxy();
    let cache = format!("{}/cache", scene.repository);
    let line = ["--push", "--allow=network.host"];
    let _ = scene.build("bake", &line).made();
    scene.reset();
    scene.write("api/a.txt", "changed\n");
    for digest in scene.registry.layers(&cache) {
        proxy.on("GET", &format!("/v2/*/cache/blobs/{digest}"), Fault::Status(404, &[])).always();
    }
    let built = scene.build("bake", &line);
    assert!(proxy.faults() > 0, "{:#?}", proxy.requests());
    assert_eq!((built.finished.code, built.report["status"].as_str()), (0, Some("succeeded")), "{built}");
    assert!(built.report["warnings"].to_string().contains("building once more without it"), "{built}");
    let api = scene.registry.reference(&format!("{}/api:1", scene.repository));
    assert_eq!(scene.registry.file(&api, "api/a.txt"), "changed", "{built}");
}

#[test]
fn metadata_of_every_target_is_in_the_users_file() {
    let mut scene = Services::new(Kind::Docker28Containerd);
    let metadata = scene.test.path("metadata.json");
    let line = ["--push", "--allow=network.host", "--metadata-file", metadata.to_str().unwrap()];
    let _ = scene.build("bake", &line).made();
    scene.reset();
    // Now each is built by a bake of its own.
    let built = scene.build("bake", &line).made();
    let text = std::fs::read_to_string(&metadata).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for name in ["api", "web"] {
        let image = scene.registry.reference(&format!("{}/{name}:1", scene.repository));
        assert_eq!(value[name]["containerimage.digest"], scene.registry.digest(&image), "{text}\n{built}");
    }
}

#[test]
fn an_interrupt_ends_the_bake() {
    let scene = Services::new(Kind::Docker28Containerd);
    let seconds = format!("6{:07}", std::process::id());
    let dockerfile =
        format!("FROM busybox:latest AS api\nRUN sleep {seconds}\nFROM busybox:latest AS web\nRUN true\n");
    scene.write("Dockerfile", &dockerfile);
    let child = scene.test.start(scene.folder(), &["bake", "--allow=network.host"]);
    let busy = || scene.bare("pgrep", &["-f", &format!("sleep {seconds}")]).code == 0;
    let begin = std::time::Instant::now();
    while !busy() {
        assert!(begin.elapsed() < std::time::Duration::from_secs(60), "the step did not start");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let _ = scene.bare("kill", &["-INT", &child.id().to_string()]).ok();
    let ended: crate::support::program::Finished = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 130, "{}", ended.all());
    assert!(ended.stderr.contains("layerlift: interrupted, 2 images"), "{}", ended.all());
    assert_eq!(scene.test.temporary_files(), [""; 0]);
}

#[test]
fn what_bake_does_not_allow_is_not_done() {
    let scene = Services::new(Kind::Docker28Containerd);
    let ours = scene.build("bake", &["web"]);
    let bare = scene.bare("docker", &["buildx", "bake", "web"]);
    assert_ne!(bare.code, 0, "{}", bare.all());
    assert_eq!(ours.finished.code, bare.code, "{ours}");
    assert!(ours.finished.stderr.contains("--allow=network.host"), "{ours}");
}

#[test]
fn a_definition_from_standard_input_is_built() {
    use std::io::Write;
    use std::process::Stdio;
    let scene = Services::new(Kind::Docker28Containerd);
    let mut line = scene.test.command(scene.folder(), &["bake", "-f", "-", "--allow=network.host", "web"]);
    let mut child = line.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let definition = br#"{"target": {"web": {"target": "web", "network": "host", "tags": ["web:stdin"]}}}"#;
    child.stdin.take().unwrap().write_all(definition).unwrap();
    let built: crate::support::program::Finished = child.wait_with_output().unwrap().into();
    assert_eq!(built.code, 0, "{}", built.all());
    assert!(built.stderr.contains("layerlift: 1 image, "), "{}", built.all());
    assert_eq!(
        scene.engine.run(&["image", "inspect", "-f", "{{.RepoTags}}", "web:stdin"]).ok().text(),
        "[web:stdin]"
    );
}
