//! The last `COPY`s as layers of their own where several images are built at once, on real engines.

use std::collections::BTreeMap;
use std::io::Read;

use layerlift::model::reference::Digest;
use serde_json::{Value, json};

use crate::support::engine::Kind;
use crate::support::services::{GroupBuild, Services};

const DOCKERFILE: &str = "\
FROM busybox AS base
RUN dd if=/dev/urandom of=/large bs=1M count=2
WORKDIR /app
FROM base AS api
COPY api/ ./
FROM base AS web
COPY web/ /srv/web/
COPY shared/ ./
";

const TOOL: &str = "FROM busybox\nRUN mkdir /tool && date > /made\nCOPY . /tool/\n";

/// `web` inherits from `api`, and has its own Dockerfile in spite of that; `tool` has its files and its Dockerfile
/// elsewhere.
const BAKE: &str = r#"
variable "IMAGES" {}
group "default" {
  targets = ["api", "web", "tool"]
}
target "api" {
  network = "host"
  target  = "api"
  tags    = ["${IMAGES}/api:1"]
}
target "web" {
  inherits = ["api"]
  target   = "web"
  tags     = ["${IMAGES}/web:1"]
}
target "tool" {
  network    = "host"
  context    = "tool"
  dockerfile = "tool.Dockerfile"
  tags       = ["${IMAGES}/tool:1"]
}
"#;

const COMPOSE: &str = "\
services:
  api:
    build: { context: ., target: api, network: host }
    image: ${IMAGES}/api:1
  tool:
    build: { context: tool, dockerfile: tool.Dockerfile, network: host }
    image: ${IMAGES}/tool:1
";

const BAKED: [&str; 3] = ["api", "web", "tool"];
const LINE: [&str; 2] = ["--push", "--allow=network.host"];

/// An engine, and the files.
#[track_caller]
fn scene(kind: Kind) -> Services {
    let scene = Services::new(kind);
    scene.write("Dockerfile", DOCKERFILE);
    scene.write("docker-bake.hcl", BAKE);
    scene.write("compose.yaml", COMPOSE);
    scene.write("tool/tool.Dockerfile", TOOL);
    scene.write("tool/tool.Dockerfile.dockerignore", "secret\n*.Dockerfile*\n");
    scene.write("tool/secret", "secret\n");
    scene.write("tool/t.txt", "t\n");
    scene
}

/// Changes a file of each image, on the next runner.
#[track_caller]
fn change(scene: &mut Services, content: &str) {
    change_files(scene, content);
    scene.reset();
}

#[track_caller]
fn change_files(scene: &Services, content: &str) {
    ["api/a.txt", "web/w.txt", "tool/t.txt"].iter().for_each(|path| scene.write(path, content));
}

/// What a report says of a member.
#[track_caller]
fn told<'a>(build: &'a GroupBuild, member: &str) -> &'a Value {
    let members = build.report["members"].as_array().unwrap();
    &members.iter().find(|it| it["name"] == member).unwrap_or_else(|| panic!("{build}"))["report"]
}

#[track_caller]
fn lines(build: &GroupBuild, member: &str) -> Vec<u64> {
    let linked = told(build, member)["linked"].as_array().unwrap();
    linked.iter().map(|link| link["line"].as_u64().unwrap()).collect()
}

/// Every entry of an image with kind, mode, owner and content.
#[track_caller]
fn tree(scene: &Services, name: &str) -> BTreeMap<String, String> {
    let image = scene.registry.reference(&format!("{}/{name}:1", scene.repository));
    let exported = scene.registry.crane(&["export", &image, "-"]).ok().stdout;
    let mut tree = BTreeMap::new();
    for entry in tar::Archive::new(exported.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let path = entry.path().unwrap().display().to_string();
        let header = entry.header();
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        let told = format!(
            "{:?} {:o} {owner:?} {:?} {}",
            header.entry_type(),
            header.mode().unwrap(),
            entry.link_name().unwrap(),
            Digest::of(&content)
        );
        tree.insert(path.trim_end_matches('/').to_owned(), told);
    }
    tree
}

#[test]
fn a_bake_fetches_no_layer_below() {
    let mut scene = scene(Kind::Docker28Containerd);
    let cold = scene.build("bake", &LINE).made();
    BAKED.iter().for_each(|name| assert_eq!(lines(&cold, name), [0; 0], "{cold}"));
    change(&mut scene, "two\n");
    let build = scene.build("bake", &LINE).made();
    let linked = BAKED.map(|name| lines(&build, name));
    assert_eq!(linked, [vec![5], vec![7, 8], vec![3]], "{build}");
    for name in BAKED {
        assert_eq!(told(&build, name)["bytes"]["fetched"], 0, "{name}\n{build}");
        // Steps are told as they are written.
        let is_told = |step: &String| step.starts_with("COPY ") && !step.contains("--link");
        let executed = build.executed(name);
        assert!(!executed.is_empty() && executed.iter().all(is_told), "{executed:?}\n{build}");
    }
    assert!(build.finished.stderr.contains("    linked   line 7, 8: built as COPY --link\n"), "{build}");

    // The same images as those that are built as it is written.
    let trees = BAKED.map(|name| tree(&scene, name));
    assert!(trees[2].contains_key("tool/t.txt") && !trees[2].contains_key("tool/secret"), "{:#?}", trees[2]);
    scene.test.set("LAYERLIFT_AUTO_LINK", "off");
    scene.test.set("LAYERLIFT_READ_ONLY", "true");
    let plain = scene.build("bake", &LINE).made();
    for (name, tree_of_linked) in BAKED.iter().zip(&trees) {
        assert_eq!(lines(&plain, name), [0; 0], "{plain}");
        assert!(tree(&scene, name) == *tree_of_linked, "{name}\n{plain}");
    }
}

/// One image stands on layers that the engine has made itself: it alone is built once more.
#[test]
fn other_layers_below_are_another_build_of_one_target() {
    let mut scene = scene(Kind::Docker28Containerd);
    let _ = scene.build("bake", &LINE).made();
    change(&mut scene, "two\n");
    scene.test.set("LAYERLIFT_READ_ONLY", "true");
    let _ = scene.build("bake", &[&LINE[..], &["--no-cache", "tool"]].concat()).made();
    scene.test.set("LAYERLIFT_READ_ONLY", "false");
    change_files(&scene, "three\n");
    let build = scene.build("bake", &LINE);
    assert_eq!(build.finished.code, 0, "{build}");
    assert_eq!(BAKED.map(|name| lines(&build, name)), [vec![5], vec![7, 8], vec![]], "{build}");
    let warning = "building once more without links: the layers below are others than was expected";
    let warnings = BAKED.map(|name| told(&build, name)["warnings"].clone());
    assert_eq!(warnings, [json!([]), json!([]), json!([warning])], "{build}");
    let tool = scene.registry.reference(&format!("{}/tool:1", scene.repository));
    assert_eq!(scene.registry.file(&tool, "tool/t.txt"), "three");

    // By now it is known what lies below.
    change(&mut scene, "four\n");
    let build = scene.build("bake", &LINE).made();
    assert_eq!(BAKED.map(|name| lines(&build, name)), [vec![5], vec![7, 8], vec![3]], "{build}");
}

/// What another target is built on keeps its key.
#[test]
fn a_target_that_others_build_on_is_built_as_written() {
    let mut scene = scene(Kind::Docker28Containerd);
    scene.write(
        "docker-bake.hcl",
        &format!("{BAKE}target \"top\" {{\n  inherits = [\"tool\"]\n  contexts = {{ busybox = \"target:api\" }}\n  tags = [\"${{IMAGES}}/top:1\"]\n}}\n"),
    );
    let line = [&LINE[..], &["api", "top"]].concat();
    let _ = scene.build("bake", &line).made();
    change(&mut scene, "two\n");
    let build = scene.build("bake", &line).made();
    assert_eq!(["api", "top"].map(|name| lines(&build, name)), [vec![0; 0], vec![]], "{build}");
    let top = scene.registry.reference(&format!("{}/top:1", scene.repository));
    assert_eq!(scene.registry.file(&top, "app/a.txt"), "two");
    assert_eq!(scene.registry.file(&top, "tool/t.txt"), "two");
}

#[test]
fn a_compose_project_is_linked() {
    let mut scene = scene(Kind::Docker28Containerd);
    let line = ["build", "--push"];
    let _ = scene.build("compose", &line).made();
    change(&mut scene, "two\n");
    let build = scene.build("compose", &line).made();
    for (name, line, file) in [("api", 5, "app/a.txt"), ("tool", 3, "tool/t.txt")] {
        assert_eq!(lines(&build, name), [line], "{build}");
        assert_eq!(told(&build, name)["bytes"]["fetched"], 0, "{name}\n{build}");
        let image = scene.registry.reference(&format!("{}/{name}:1", scene.repository));
        assert_eq!(scene.registry.file(&image, file), "two");
    }
}

/// Docker 26 stores what it pushes, and fetches what lies below for that.
#[test]
fn an_engine_that_stores_what_it_pushes_links_nothing() {
    let mut scene = scene(Kind::Docker26Containerd);
    let line = ["build", "--push"];
    let _ = scene.build("compose", &line).made();
    change(&mut scene, "two\n");
    let build = scene.build("compose", &line).made();
    assert_eq!(["api", "tool"].map(|name| lines(&build, name)), [vec![0; 0], vec![]], "{build}");
}

/// A client that does not see the folder of our Dockerfiles builds the user's.
#[test]
fn dockerfiles_that_cannot_be_read_are_not_needed() {
    let mut scene = scene(Kind::Docker28Containerd);
    let _ = scene.build("bake", &LINE).made();
    change(&mut scene, "two\n");
    scene.test.hide_our_dockerfiles();
    let build = scene.build("bake", &LINE);
    assert_eq!(build.finished.code, 0, "{build}");
    let warning = "building once more without links: the engine cannot read the Dockerfile with the links";
    assert_eq!(BAKED.map(|name| lines(&build, name)), [vec![0; 0], vec![], vec![]], "{build}");
    assert!(build.finished.stderr.contains(warning), "{build}");
    let api = scene.registry.reference(&format!("{}/api:1", scene.repository));
    assert_eq!(scene.registry.file(&api, "app/a.txt"), "two");
}
