//! The testbed itself: what every other test takes for granted.

use std::time::{Duration, Instant};

use crate::support::engine::{Engine, Kind};
use crate::support::program::run;
use crate::support::project::Project;
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::Registry;

fn starts_and_builds(kind: Kind) {
    let registry = Registry::shared();
    let project = Project::new();
    let mut engine = Engine::start(kind);
    let version = engine.run(&["version", "--format", "{{.Server.Version}}"]).ok().text();
    assert!(version.starts_with(kind.version()), "{version}");

    let image = registry.reference(&format!("{}/plain:1", registry.unique("engines")));
    let folder = project.folder().to_str().unwrap();
    let _ = engine.run(&["build", "--network=host", "-t", &image, folder]).ok();
    let _ = engine.run(&["push", &image]).ok();
    let pushed = registry.file(&image, "app/source.txt");
    assert_eq!(pushed, project.source());
    assert_eq!(engine.file(&image, "/app/source.txt"), pushed);

    engine.reset();
    assert_eq!(engine.run(&["image", "ls", "-q"]).ok().text(), "", "a reset engine has no image");
}

#[test]
fn engine_20_starts_and_builds() {
    starts_and_builds(Kind::Docker20);
}

#[test]
fn engine_26_graph_starts_and_builds() {
    starts_and_builds(Kind::Docker26Graph);
}

#[test]
fn engine_26_containerd_starts_and_builds() {
    starts_and_builds(Kind::Docker26Containerd);
}

#[test]
fn engine_28_graph_starts_and_builds() {
    starts_and_builds(Kind::Docker28Graph);
}

#[test]
fn engine_28_containerd_starts_and_builds() {
    starts_and_builds(Kind::Docker28Containerd);
}

#[test]
fn engine_every_login_is_asked_for_and_accepted() {
    let engine = Engine::start(Kind::Docker28Graph);
    for registry in [Registry::basic(), Registry::token(Duration::from_secs(60))] {
        let image = registry.reference("engines/login:1");
        let _ = engine.run(&["pull", "-q", "busybox"]).ok();
        let _ = engine.run(&["tag", "busybox", &image]).ok();
        let refused = engine.run(&["push", &image]);
        assert_ne!(refused.code, 0, "pushed without a login");

        let config = tempfile::tempdir().unwrap();
        std::fs::write(config.path().join("config.json"), registry.docker_config()).unwrap();
        let _ = run(engine.docker().env("DOCKER_CONFIG", config.path()).args(["push", &image])).ok();
        assert!(registry.digest(&image).starts_with("sha256:"));
        assert_eq!(registry.tags("engines").into_keys().collect::<Vec<_>>(), ["engines/login:1"]);
    }
}

#[test]
fn a_short_lived_token_is_refused_after_its_time() {
    let registry = Registry::token(Duration::from_secs(2));
    let token = registry.ask_for_token("repository:engines/none:pull");
    let ask = || registry.status_with_token("/v2/engines/none/tags/list", &token);
    assert_eq!(ask(), 404, "a fresh token is accepted, and the repository is not there");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(ask(), 401);
    assert_eq!(registry.asked_scopes(), ["repository:engines/none:pull"]);
}

#[test]
fn the_proxy_does_what_it_is_told() {
    let registry = Registry::shared();
    let proxy = Proxy::start(&registry.address);
    let manifest = "/v2/library/busybox/manifests/latest";
    let status = |path: &str| proxy.ask("GET", path).0;
    assert_eq!(status(manifest), 200, "without a rule it is transparent");

    proxy.on("GET", "/v2/*/manifests/*", Fault::Status(429, &[("Retry-After", "1")])).times(1);
    assert_eq!([status(manifest), status(manifest)], [429, 200], "once, then no more");

    proxy.on("GET", "/v2/*/manifests/*", Fault::Garbage).always();
    assert!(!proxy.ask("GET", manifest).1.starts_with(b"{"));
    proxy.clear();

    let whole = proxy.ask("GET", manifest).1;
    for fault in [Fault::Truncate, Fault::Reset] {
        proxy.on("GET", "/v2/*/manifests/*", fault).always();
        let part = proxy.ask("GET", manifest).1;
        assert!(part.len() < whole.len(), "{fault:?}: {} of {}", part.len(), whole.len());
        proxy.clear();
    }

    proxy.on("GET", "*", Fault::Delay(Duration::from_millis(300))).always();
    let begin = Instant::now();
    assert_eq!(status("/v2/"), 200);
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert_eq!(proxy.requests().last().unwrap().to_string(), "GET /v2/ (Delay(300ms))");
}

#[test]
fn engine_pushes_through_the_proxy() {
    let registry = Registry::shared();
    let proxy = Proxy::start(&registry.address);
    for kind in [Kind::Docker20, Kind::Docker28Containerd] {
        let engine = Engine::start(kind);
        let project = Project::new();
        let repository = registry.unique("proxy");
        let image = proxy.reference(&format!("{repository}:1"));
        let _ =
            engine.run(&["build", "--network=host", "-t", &image, project.folder().to_str().unwrap()]).ok();
        let _ = engine.run(&["push", &image]).ok();
        let direct = registry.reference(&format!("{repository}:1"));
        assert_eq!(registry.file(&direct, "app/source.txt"), project.source());
    }
}
