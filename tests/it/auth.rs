//! Registries that want a login: every way in which a job may have one, and none of it shown to anybody.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::cli::{Build, TestEnv};
use crate::support::engine::{Engine, Kind};
use crate::support::job::{self, Event};
use crate::support::project::Project;
use crate::support::registry::{PASSWORD, Registry, USER};

const REPOSITORY: &str = "group/project";

/// Two builds on empty engines, the second of which must find everything in the cache. `login` says how the job logs in.
fn builds_twice(kind: Kind, registry: &Registry, login: impl Fn(&mut TestEnv)) {
    let project = Project::new();
    let mut engine = Engine::start(kind);
    let mut test = TestEnv::new(&engine);
    test.set("DOCKER_BUILDKIT", "1");
    test.set_job(job::gitlab(&registry.reference(REPOSITORY), Event::Branch("main")));
    login(&mut test);
    let image = registry.reference(&format!("{REPOSITORY}/app:1"));

    let cold = test.build(&project, &["--push", "-t", &image]).made(registry, &image, &project);
    assert_eq!(cold.warnings(), "", "{cold}");
    engine.reset();
    test.use_engine(&engine);
    let warm = test.build(&project, &["--push", "-t", &image]).made(registry, &image, &project);
    assert_eq!(warm.executed(), [], "{warm}");
    for build in [cold, warm] {
        shows_no_secret(&build);
    }
    assert_eq!(test.temporary_files(), [""; 0], "a temporary file was left");
}

#[track_caller]
fn shows_no_secret(build: &Build) {
    let said = build.to_string();
    for secret in [PASSWORD.to_owned(), STANDARD.encode(format!("{USER}:{PASSWORD}"))] {
        assert!(!said.contains(&secret), "a secret is shown: {said}");
    }
}

/// As `docker login` leaves it.
fn docker_login(registry: &Registry) -> impl Fn(&mut TestEnv) {
    let config = registry.docker_config();
    move |test| test.set_docker_config(&config)
}

#[test]
fn basic_on_docker_20() {
    let registry = Registry::basic();
    builds_twice(Kind::Docker20, &registry, docker_login(&registry));
}

#[test]
fn basic_on_docker_26_containerd() {
    let registry = Registry::basic();
    builds_twice(Kind::Docker26Containerd, &registry, docker_login(&registry));
}

#[test]
fn basic_on_docker_28_containerd() {
    let registry = Registry::basic();
    builds_twice(Kind::Docker28Containerd, &registry, docker_login(&registry));
}

/// Two seconds are over between the first question and the last answer of a build, and within one on a busy machine.
fn short_lived_tokens(kind: Kind) {
    let registry = Registry::token(Duration::from_secs(2));
    builds_twice(kind, &registry, docker_login(&registry));
    let asked = registry.asked_scopes();
    let cache = format!("repository:{REPOSITORY}/cache:");
    assert!(asked.iter().any(|scope| scope.starts_with(&cache) && scope.contains("pull")), "{asked:#?}");
    assert!(asked.iter().any(|scope| scope.starts_with(&cache) && scope.contains("push")), "{asked:#?}");
    assert!(!asked.iter().any(|scope| scope.contains("delete") || scope.contains(":*")), "{asked:#?}");
}

#[test]
fn short_lived_tokens_on_docker_20() {
    short_lived_tokens(Kind::Docker20);
}

#[test]
fn short_lived_tokens_on_docker_28_graph() {
    short_lived_tokens(Kind::Docker28Graph);
}

#[test]
fn short_lived_tokens_on_docker_28_containerd() {
    short_lived_tokens(Kind::Docker28Containerd);
}

#[test]
fn a_credential_helper_is_asked() {
    let registry = Registry::basic();
    builds_twice(Kind::Docker28Containerd, &registry, |test| {
        let answer =
            format!(r#"{{"ServerURL":"{}","Username":"{USER}","Secret":"{PASSWORD}"}}"#, registry.address);
        let none = "credentials not found in native keychain";
        // The protocol: the server's name on standard input, JSON or this one sentence on standard output.
        let script = format!(
            "#!/bin/sh\nread -r server\n[ \"$1\" = get ] || exit 1\n\
             case $server in *{}*) echo '{answer}' ;; *) echo '{none}'; exit 1 ;; esac\n",
            registry.address
        );
        test.add_program("docker-credential-test", &script);
        test.set_docker_config(&format!(r#"{{"credHelpers":{{"{}":"test"}}}}"#, registry.address));
    });
}

#[test]
fn the_job_token_of_gitlab_is_enough_for_its_own_registry() {
    let registry = Registry::basic();
    builds_twice(Kind::Docker28Containerd, &registry, |test| {
        test.set("CI_REGISTRY_USER", USER);
        test.set("CI_REGISTRY_PASSWORD", PASSWORD);
    });
}

#[test]
fn docker_auth_config_is_read() {
    let registry = Registry::basic();
    let config = registry.docker_config();
    builds_twice(Kind::Docker28Containerd, &registry, |test| test.set("DOCKER_AUTH_CONFIG", &config));
}

#[test]
fn without_a_login_the_cache_is_out_of_reach_and_the_build_succeeds() {
    let shared = Registry::shared();
    let registry = Registry::basic();
    let project = Project::new();
    let engine = Engine::start(Kind::Docker28Containerd);
    let mut test = TestEnv::new(&engine);
    test.set_job(job::gitlab(&registry.reference(REPOSITORY), Event::Branch("main")));
    let image = shared.reference(&format!("{}/app:1", shared.unique("auth")));
    let build = test.build(&project, &["--push", "-t", &image]).made(&shared, &image, &project);
    assert!(build.warnings().contains(&registry.address), "{build}");
    assert!(registry.tags(REPOSITORY).is_empty());
}
