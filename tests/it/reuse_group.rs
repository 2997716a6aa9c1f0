//! Several images at once are answered with those that are there: by bake, and by compose where one bake builds it. What is
//! left is built, with what it stands on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::engine::Kind;
use crate::support::registry::ask;
use crate::support::services::{GroupBuild, Services};

/// A target with a name, and one that builds on it; both are pushed.
const CHAIN: &str = r#"
variable "IMAGES" {}
group "default" {
  targets = ["base", "app"]
}
target "base" {
  network           = "host"
  context           = "shared"
  dockerfile-inline = <<EOT
FROM busybox
COPY file.txt /file.txt
RUN cat /proc/sys/kernel/random/uuid > /tools.stamp
EOT
  tags = ["${IMAGES}/base:1"]
}
target "app" {
  network           = "host"
  context           = "web"
  contexts          = { below = "target:base" }
  dockerfile-inline = <<EOT
FROM below
COPY w.txt /w.txt
RUN cat /proc/sys/kernel/random/uuid > /own.stamp
EOT
  tags = ["${IMAGES}/app:1"]
}
"#;

/// What the tests have that `Services` has not.
impl Services {
    /// A job whose builds may be answered.
    #[track_caller]
    fn reusing(kind: Kind) -> Services {
        let mut scene = Services::new(kind);
        scene.test.set("LAYERLIFT_REUSE", "auto");
        scene
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

    #[track_caller]
    fn digests(&self, names: &[&str]) -> Vec<String> {
        let name = |name: &&str| self.registry.reference(&format!("{}/{name}:1", self.repository));
        names.iter().map(|it| self.registry.digest(&name(it))).collect()
    }

    /// Deletes what the cache repo holds, but for images that answer builds.
    #[track_caller]
    fn forget_cache(&self) {
        let repository = format!("{}/cache", self.repository);
        let tags = self.registry.tags(&repository).into_iter();
        let others = tags.filter(|(name, _)| !name.contains("--image-")).map(|(_, digest)| digest);
        for digest in others.collect::<BTreeSet<String>>() {
            let path = format!("/v2/{repository}/manifests/{digest}");
            assert_eq!(ask(&self.registry.address, "DELETE", &path, &[]).0, 202, "{digest}");
        }
    }

    /// Takes the names off the images, so that who is answered has to put them on again.
    #[track_caller]
    fn untag(&self, names: &[&str]) {
        for (name, digest) in names.iter().zip(self.digests(names)) {
            let path = format!("/v2/{}/{name}/manifests/{digest}", self.repository);
            assert_eq!(ask(&self.registry.address, "DELETE", &path, &[]).0, 202);
        }
    }
}

impl GroupBuild {
    /// The members that were answered, and those that were built.
    fn fates(&self) -> (Vec<&str>, Vec<&str>) {
        let members = self.report["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        let (answered, built): (Vec<&Value>, Vec<&Value>) =
            members.iter().partition(|member| !member["report"]["reused"].is_null());
        assert!(answered.iter().all(|it| it["report"]["engine"].is_null()), "{self}");
        assert!(built.iter().all(|it| it["report"]["engine"].is_object()), "{self}");
        (names(&answered), names(&built))
    }

    #[track_caller]
    fn assert_fates(&self, answered: &[&str], built: &[&str]) {
        assert_eq!(self.fates(), (answered.to_vec(), built.to_vec()), "{self}");
    }
}

fn names<'a>(members: &[&'a Value]) -> Vec<&'a str> {
    let mut names: Vec<&str> = members.iter().filter_map(|it| it["name"].as_str()).collect();
    names.sort_unstable();
    names
}

/// What buildx tells of an image alone, by target.
fn of_images(metadata: &str) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(metadata).unwrap();
    let targets: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let part = |told: &Value| {
        let descriptor = &told["containerimage.descriptor"];
        let descriptor = ["mediaType", "digest", "size"].map(|key| descriptor[key].clone());
        serde_json::json!([told["containerimage.digest"], told["image.name"], descriptor])
    };
    targets.iter().map(|(name, told)| (name.clone(), part(told))).collect()
}

#[test]
fn an_unchanged_bake_needs_no_engine() {
    const NAMES: [&str; 3] = ["api", "job-one", "web"];
    let mut scene = Services::reusing(Kind::Docker28Containerd);
    let [metadata, dotenv] = ["metadata.json", "dotenv"].map(|name| scene.test.path(name));
    let metadata = metadata.to_str().unwrap();
    let line = ["--push", "--allow=network.host", "--metadata-file", metadata, "api", "web", "job-one"];
    let cold = scene.build("bake", &line).made();
    cold.assert_fates(&[], &["api", "job-one", "tools", "web"]);
    let (first, told) = (scene.digests(&NAMES), of_images(metadata));

    scene.untag(&NAMES);
    std::fs::remove_file(metadata).unwrap();
    scene.lose_engine();
    let plan = scene.test.run(scene.folder(), &[&["bake", "--dry-run"], line.as_slice()].concat()).ok();
    let plan = plan.text();
    assert!(plan.contains("  engine      not asked\n") && plan.contains("\nimage job-one\n"), "{plan}");
    assert!(plan.contains("  # web: name the image\n  (registry) put ") && !plan.contains("tools"), "{plan}");
    let warm = scene.build("bake", &[&["--dotenv", dotenv.to_str().unwrap()], line.as_slice()].concat());
    let warm = warm.made();
    // Nobody needs what only others need.
    warm.assert_fates(&NAMES, &[]);
    assert_eq!(scene.digests(&NAMES), first, "{warm}");
    assert!(warm.finished.stderr.contains("layerlift: 3 images, all reused, "), "{warm}");
    assert!(std::fs::read_to_string(&dotenv).unwrap().contains("LAYERLIFT_CACHE_HIT=true\n"), "{warm}");
    let known: BTreeMap<String, Value> = told.into_iter().filter(|(name, _)| name != "tools").collect();
    assert_eq!(of_images(metadata), known, "{warm}");
    let explained = scene.test.run(scene.folder(), &["explain"]).ok().text();
    let answers: Vec<&str> = explained.lines().filter(|line| line.starts_with("answered  ")).collect();
    assert!(answers.len() == 3 && explained.starts_with("answered  "), "{explained}");
    assert!(explained.contains("\nsteps     "), "{explained}");

    scene.find_engine();
    scene.write("web/w.txt", "changed\n");
    let changed = scene.build("bake", &line).made();
    changed.assert_fates(&["api", "job-one"], &["web"]);
    assert_eq!(changed.executed("web").len(), 2, "{changed}");
    let second = scene.digests(&NAMES);
    assert!(second[..2] == first[..2] && second[2] != first[2], "{changed}");
    assert_eq!(of_images(metadata).len(), 3, "{changed}");

    // With what it stands on, which only others need.
    scene.write("shared/file.txt", "changed\n");
    let changed = scene.build("bake", &line).made();
    changed.assert_fates(&["api", "web"], &["job-one", "tools"]);
    assert_eq!(changed.executed("tools"), [""; 0], "{changed}");

    let fresh = scene.build("bake", &[&["--no-cache"], line.as_slice()].concat()).made();
    fresh.assert_fates(&[], &["api", "job-one", "tools", "web"]);
    assert_eq!(fresh.executed("api").len(), 3, "{fresh}");
    // Too old: neither the images nor a layer of them.
    let old = scene.build("bake", &[&["--max-age=0m"], line.as_slice()].concat()).made();
    old.assert_fates(&[], &["api", "job-one", "tools", "web"]);
    assert!(old.executed("api").len() == 3 && old.executed("job-one").len() >= 2, "{old}");
    assert_ne!(old.executed("tools"), [""; 0], "nor what only others need: {old}");
    let third = scene.digests(&NAMES);
    let reused = scene.build("bake", &line).made();
    reused.assert_fates(&NAMES, &[]);
    assert_eq!(scene.digests(&NAMES), third, "what was built without cache answers");
}

#[test]
fn what_a_built_target_stands_on_is_built_too() {
    const NAMES: [&str; 2] = ["app", "base"];
    let mut scene = Services::reusing(Kind::Docker28Containerd);
    scene.write("chain.hcl", CHAIN);
    let line = ["-f", "chain.hcl", "--push", "--allow=network.host"];
    let stamp = |scene: &Services, name: &str, file: &str| {
        let image = scene.registry.reference(&format!("{}/{name}:1", scene.repository));
        scene.registry.file(&image, file)
    };
    let below = |scene: &Services| NAMES.map(|name| stamp(scene, name, "tools.stamp"));
    scene.build("bake", &line).made().assert_fates(&[], &NAMES);
    let first = scene.digests(&NAMES);
    scene.build("bake", &line).made().assert_fates(&NAMES, &[]);

    // The engine has nothing, and the cache is gone: the app stands on the image that has the base's name.
    scene.reset();
    scene.forget_cache();
    scene.write("web/w.txt", "changed\n");
    let changed = scene.build("bake", &line).made();
    changed.assert_fates(&[], &NAMES);
    assert_eq!(changed.executed("base").len(), 2, "{changed}");
    let [app, base] = below(&scene);
    assert_eq!(app, base, "{changed}");
    let second = scene.digests(&NAMES);

    // What the base is made from is part of what the app is made from.
    let old = below(&scene);
    scene.write("shared/file.txt", "changed\n");
    scene.build("bake", &line).made().assert_fates(&[], &NAMES);
    let [app, base] = below(&scene);
    assert!(app == base && app != old[0], "{app} {base}");
    scene.write("web/w.txt", "w\n");
    scene.write("shared/file.txt", "shared\n");
    scene.lose_engine();
    scene.build("bake", &line).made().assert_fates(&NAMES, &[]);
    // The base was built twice from these inputs; the later one answers.
    assert_eq!(scene.digests(&NAMES), [first[0].clone(), second[1].clone()]);

    // One alone needs nothing of the other, whose name stays where it is.
    scene.untag(&["base"]);
    scene.build("bake", &[line.as_slice(), &["app"]].concat()).made().assert_fates(&["app"], &[]);
    let base = scene.registry.reference(&format!("{}/base:1", scene.repository));
    assert_ne!(scene.registry.crane(&["digest", &base]).code, 0);
}

#[test]
fn an_unchanged_compose_build_needs_no_engine() {
    const NAMES: [&str; 3] = ["api", "job", "web"];
    let mut scene = Services::reusing(Kind::Docker28Containerd);
    let line = ["--profile", "extra", "build", "--push"];
    scene.build("compose", &line).made().assert_fates(&[], &NAMES);
    let first = scene.digests(&NAMES);
    scene.untag(&NAMES);
    scene.lose_engine();
    let warm = scene.build("compose", &line).made();
    warm.assert_fates(&NAMES, &[]);
    assert_eq!(scene.digests(&NAMES), first, "{warm}");
    scene.find_engine();
    scene.write("api/a.txt", "changed\n");
    scene.build("compose", &line).made().assert_fates(&["job", "web"], &["api"]);
    let other = [line.as_slice(), &["--provenance=false"]].concat();
    scene.build("compose", &other).made().assert_fates(&[], &NAMES);
    let fresh = [line.as_slice(), &["--no-cache", "web"]].concat();
    scene.build("compose", &fresh).made().assert_fates(&[], &["web"]);
    // What is to be in the engine is built.
    scene.build("compose", &["build", "web"]).made().assert_fates(&[], &["web"]);
}

#[test]
fn where_only_the_engine_knows_its_platform_it_is_asked_first() {
    let mut scene = Services::reusing(Kind::Docker28Graph);
    scene.write("chain.hcl", CHAIN);
    let line = ["-f", "chain.hcl", "--push", "--allow=network.host"];
    scene.build("bake", &line).made().assert_fates(&[], &["app", "base"]);
    let first = scene.digests(&["app", "base"]);
    scene.test.set("BUILDX_BUILDER", "default");
    scene.build("bake", &line).made().assert_fates(&["app", "base"], &[]);
    assert_eq!(scene.digests(&["app", "base"]), first);
    scene.lose_engine();
    let lost = scene.test.run(scene.folder(), &[&["bake"], line.as_slice()].concat());
    assert_eq!(lost.code, 69, "{}", lost.all());
}

#[test]
fn an_image_that_cannot_be_given_is_built() {
    let scene = Services::reusing(Kind::Docker28Containerd);
    let line = ["--push", "--allow=network.host", "--provenance=false"];
    scene.build("bake", &line).made().assert_fates(&[], &["api", "web"]);
    let web = scene.registry.reference(&format!("{}/web:1", scene.repository));
    let manifest: Value =
        serde_json::from_str(&scene.registry.crane(&["manifest", &web]).ok().text()).unwrap();
    let layer = manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned();
    for repository in ["web", "cache"] {
        let path = format!("/v2/{}/{repository}/blobs/{layer}", scene.repository);
        assert_eq!(ask(&scene.registry.address, "DELETE", &path, &[]).0, 202);
    }
    let built = scene.build("bake", &line);
    assert_eq!(built.finished.code, 0, "{built}");
    built.assert_fates(&["api"], &["web"]);
    assert!(built.report.to_string().contains("does not answer the build"), "{built}");
    scene.build("bake", &line).made().assert_fates(&["api", "web"], &[]);
}
