//! `layerlift compose` on real engines: one bake for all services (compose 2.40), and service by service (compose 2.26,
//! Docker 20.10, the classic builder).

use std::io::Write;
use std::process::Stdio;

use crate::support::engine::Kind;
use crate::support::program::Finished;
use crate::support::services::Services;

const FILES: [&str; 4] = ["-f", "compose.yaml", "-f", "compose.ci.yaml"];

/// Unchanged, one service changed, and beside the image that compose itself makes.
fn scenario(kind: Kind, variables: &[(&str, &str)]) {
    let mut scene = Services::new(kind);
    variables.iter().for_each(|(name, value)| scene.test.set(name, value));
    let standalone = kind == Kind::Docker20;
    let classic = variables.contains(&("DOCKER_BUILDKIT", "0"));
    // Named contexts and inline Dockerfiles need buildx, to compose as well.
    let names: &[&str] = if standalone { &["api", "web"] } else { &["api", "job", "web"] };
    let profile: &[&str] = if standalone { &[] } else { &["--profile", "extra"] };
    let build = [&FILES, profile, &["build", "--push", "--build-arg", "UNUSED=1"]].concat();
    let line = if standalone { [&["--standalone"], build.as_slice()].concat() } else { build.clone() };

    let cold = scene.build("compose", &line).made();
    assert_eq!(cold.members(), names, "{cold}");
    let first: Vec<_> = names.iter().map(|name| scene.stamps(name)).collect();
    assert_eq!(first[0].0, first[names.len() - 1].0, "api and web share a stage");
    let who = scene.registry.reference(&format!("{}/api:1", scene.repository));
    assert_eq!(scene.registry.file(&who, "who"), "two", "the second file wins");

    scene.reset();
    let unchanged = scene.build("compose", &line).made();
    let second: Vec<_> = names.iter().map(|name| scene.stamps(name)).collect();
    assert_eq!(first, second, "{unchanged}");
    if !classic {
        // The classic builder runs through the stages of other targets as well.
        names.iter().for_each(|name| assert_eq!(unchanged.executed(name), [""; 0], "{unchanged}"));
    }
    let configs: Vec<_> = names.iter().map(|name| scene.config(name)).collect();

    scene.reset();
    scene.write("web/w.txt", "changed\n");
    let changed = scene.build("compose", &line).made();
    assert_eq!(scene.stamps("api"), first[0], "{changed}");
    let web = scene.stamps("web");
    assert_eq!(web.0, first[names.len() - 1].0, "{changed}");
    assert_ne!(web.1, first[names.len() - 1].1, "{changed}");

    // The same images by compose alone.
    let bare: Finished = match standalone {
        true => scene.bare("docker-compose", &[build.as_slice(), &[]].concat()),
        false => scene.bare("docker", &[&["compose"], build.as_slice()].concat()),
    };
    let bare = bare.ok();
    for (name, config) in names.iter().zip(&configs) {
        assert_eq!(&scene.config(name), config, "{name}\n{}", bare.all());
    }
}

#[test]
fn docker_28_containerd() {
    scenario(Kind::Docker28Containerd, &[]);
}

#[test]
fn docker_28_graph_without_bake() {
    scenario(Kind::Docker28Graph, &[("COMPOSE_BAKE", "false")]);
}

#[test]
fn docker_26_service_by_service() {
    scenario(Kind::Docker26Containerd, &[]);
}

#[test]
fn docker_20_standalone() {
    scenario(Kind::Docker20, &[("DOCKER_BUILDKIT", "1")]);
}

#[test]
fn docker_20_classic() {
    scenario(Kind::Docker20, &[("DOCKER_BUILDKIT", "0")]);
}

#[test]
fn what_was_built_is_started_and_other_lines_are_left() {
    let scene = Services::new(Kind::Docker28Containerd);
    let mut line = scene.test.command(
        scene.folder(),
        &["compose", "run", "--build", "--rm", "-T", "api", "sh", "-c", "cat; exit 7"],
    );
    let mut child = line.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"through").unwrap();
    let ran: Finished = child.wait_with_output().unwrap().into();
    assert_eq!((ran.code, ran.text().as_str()), (7, "through"), "{}", ran.all());
    assert!(ran.stderr.contains("layerlift: 1 image, "), "{}", ran.all());

    let up = ["compose", "up", "--build", "--abort-on-container-exit", "--exit-code-from", "api", "api"];
    let up = scene.test.run(scene.folder(), &up);
    assert_eq!(up.code, 0, "{}", up.all());
    assert!(up.all().contains("layerlift: 1 image, all 3 steps cached"), "{}", up.all());

    for left in [&["config", "--services"][..], &["build", "--print", "web"], &["version"]] {
        let ours = scene.test.run(scene.folder(), &[&["compose"], left].concat()).ok();
        let bare = scene.bare("docker", &[&["compose"], left].concat()).ok();
        // compose lists services in another order each time.
        assert_eq!(sorted(&ours.text()), sorted(&bare.text()), "{left:?}");
    }
    // Mistakes are told by compose, with its exit code.
    let ours = scene.test.run(scene.folder(), &["compose", "build", "no-such-service"]);
    let bare = scene.bare("docker", &["compose", "build", "no-such-service"]);
    assert_ne!(bare.code, 0);
    assert_eq!(ours.code, bare.code, "{}", ours.all());
}

#[test]
fn plans_are_shown_for_every_service() {
    let scene = Services::new(Kind::Docker28Containerd);
    let plan = scene.test.run(scene.folder(), &["compose", "--dry-run", "build", "--push"]).ok().text();
    assert!(plan.contains("\nimage api\n") && plan.contains("\nimage web\n"), "{plan}");
    assert!(plan.contains("docker buildx bake --file - "), "{plan}");
    assert!(plan.contains("'api.cache-to=type=registry,ref="), "{plan}");
    assert_eq!(scene.registry.tags(&scene.repository).len(), 0, "a plan writes nothing");
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}
