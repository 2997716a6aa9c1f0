//! `--builder-auto`, with the real buildx on real engines. No package ships BuildKit as an image: that the builder starts is
//! answered by a script in buildx's place, and everything else by buildx itself.

use std::path::{Path, PathBuf};

use crate::support::cli::TestEnv;
use crate::support::engine::{Engine, Kind};
use crate::support::job::Event;
use crate::support::program::{Finished, run};
use crate::support::project::Project;
use crate::support::registry::Registry;
use crate::support::scene::Scene;

fn falls_back(kind: Kind) {
    let scene = Scene::new(kind, "builder-auto", Project::new());
    // A registry that answers, and does not have the image: no name has to be looked up.
    let image = scene.registry.reference(&format!("{}/no-buildkit:1", scene.repository));
    scene.project.write(".layerlift.yml", &format!("builder-auto: true\nbuilder:\n  image: {image}\n"));
    let tag = scene.image("1");
    let build = scene.test.build(&scene.project, &["--push", "-t", &tag]);
    let build = build.made(&scene.registry, &tag, &scene.project);
    assert_eq!(build.report["cache"]["strategy"], "inline", "{build}");
    let warnings = build.warnings();
    assert!(warnings.contains("no builder could be made, the default one builds"), "{warnings}");
    assert!(
        warnings.contains("BuildKit's image cannot be pulled") && warnings.contains("no-buildkit"),
        "{warnings}"
    );
    // Nothing is left of the attempt, neither a builder nor a file.
    let builders = run(&mut scene.test.program("docker", scene.project.folder(), &["buildx", "ls"])).ok();
    assert!(!builders.text().contains("layerlift"), "{}", builders.all());
    assert!(!scene.test.path("docker/buildx/layerlift/layerlift.toml").exists());

    let strict = scene.test.build(&scene.project, &["--strict", "-t", &tag]);
    assert_eq!(strict.finished.code, 75, "{strict}");
}

#[test]
fn without_buildkits_image_the_default_builder_builds_on_docker_26() {
    falls_back(Kind::Docker26Graph);
}

#[test]
fn without_buildkits_image_the_default_builder_builds_on_docker_28() {
    falls_back(Kind::Docker28Graph);
}

/// Writes down what it is asked, says that a builder has started and that it has built, and leaves the rest to buildx.
const BUILDX: &str = r#"#!/bin/sh
printf '%s\n' "$*" >> LOG
case "$*" in
    *"--bootstrap"*) [ ! -e BROKEN ] || { rm BROKEN; echo 'ERROR: container is dead' >&2; exit 1; } ;;
    "buildx build "*"--builder layerlift"*) echo '#1 DONE' >&2 ;;
    *) exec REAL "$@" ;;
esac
"#;

/// A job whose engine is reached with TLS, as that of `docker:dind`.
struct Job {
    engine: Engine,
    test: TestEnv,
    project: Project,
    registry: Registry,
    repository: String,
}

impl Job {
    fn new() -> Job {
        let (engine, host, certificates) = Engine::start_with_tls(Kind::Docker28Graph);
        let mut test = TestEnv::new(&engine);
        test.set("DOCKER_HOST", &host);
        test.set("DOCKER_TLS_VERIFY", "1");
        test.set("DOCKER_CERT_PATH", certificates.to_str().unwrap());
        let registry = Registry::shared();
        let repository = registry.unique("builder-auto");
        test.set_job(crate::support::job::gitlab(&registry.reference(&repository), Event::Branch("main")));
        let plugins = test.path("docker/cli-plugins");
        std::fs::remove_file(&plugins).unwrap();
        std::fs::create_dir(&plugins).unwrap();
        let real = engine.config.join("cli-plugins/docker-buildx");
        let script = BUILDX
            .replace("LOG", test.path("log").to_str().unwrap())
            .replace("BROKEN", test.path("broken").to_str().unwrap())
            .replace("REAL", real.to_str().unwrap());
        test.add_program("docker-buildx", &script);
        std::fs::rename(test.path("bin/docker-buildx"), plugins.join("docker-buildx")).unwrap();
        Job { engine, test, project: Project::new(), registry, repository }
    }

    #[track_caller]
    fn layerlift(&self, arguments: &[&str]) -> Finished {
        self.test.run(self.project.folder(), arguments)
    }

    #[track_caller]
    fn docker(&self, arguments: &[&str]) -> Finished {
        run(&mut self.test.program("docker", self.project.folder(), arguments))
    }

    /// What buildx was asked since the last look.
    fn asked(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.test.path("log")).unwrap_or_default();
        let _ = std::fs::remove_file(self.test.path("log"));
        let asked = log.lines().filter_map(|line| line.strip_prefix("buildx "));
        asked.filter(|line| *line != "version").map(str::to_owned).collect()
    }

    fn recipe(&self, builder: &str) -> PathBuf {
        self.test.path(&format!("docker/buildx/layerlift/{builder}.toml"))
    }
}

#[test]
fn a_builder_is_made_behind_tls_used_again_and_removed() {
    let job = Job::new();
    let image = job.registry.reference(&format!("{}/app:1", job.repository));
    let line = ["--builder-auto", "--network=host", "-t", &image, "--push", "."];
    let plan = job.layerlift(&[&["plan"][..], &line].concat()).ok();
    for expected in [
        "docker context create --description 'made by layerlift for its builder' layerlift-engine",
        "docker buildx create --name layerlift --driver docker-container",
        "docker buildx inspect --bootstrap -- layerlift",
        "--push --builder layerlift --cache-to 'type=registry,ref=",
    ] {
        assert!(plan.text().contains(expected), "{expected}\n{}", plan.all());
    }
    assert_eq!(job.asked(), ["inspect --", "inspect -- layerlift"], "a plan changes nothing");

    // Three nodes: the engine, the same one by another address, and one that is not there.
    let file = format!(
        "builder:\n  mirrors: [http://mirror.lan:5000]\n  nodes:\n  - name: second\n    endpoint: {}\n    \
         platforms: [linux/arm64]\n  - name: third\n    endpoint: tcp://127.0.0.1:1\n",
        job.engine.host
    );
    job.project.write(".layerlift.yml", &file);
    let build = job.layerlift(&[&["build"][..], &line].concat()).ok();
    assert!(build.stderr.contains("a node of the builder is left out"), "{}", build.all());
    let asked = job.asked();
    let built = asked.iter().find(|line| line.starts_with("build ")).unwrap();
    assert!(built.contains("--push --builder layerlift --cache-to type=registry,ref="), "{asked:#?}");
    let inspected = job.docker(&["buildx", "inspect", "layerlift"]).ok().text();
    for expected in ["layerlift-engine", "second", &job.engine.host, "linux/arm64*", "mirrors = [\"localhost"]
    {
        assert!(inspected.contains(expected), "{expected}\n{inspected}");
    }
    let context = job.docker(&["context", "inspect", "layerlift-engine"]).ok().text();
    assert!(context.contains("\"key.pem\""), "{context}");
    // The mirror of the engine is on loopback; buildx was given the file and has it.
    let recipe = std::fs::read_to_string(job.recipe("layerlift")).unwrap();
    let mirrors =
        format!("[registry.\"docker.io\"]\n  mirrors = [\"{}\", \"mirror.lan:5000\"]", job.registry.address);
    assert!(
        recipe.contains(&mirrors) && recipe.contains("[registry.\"mirror.lan:5000\"]\n  http = true"),
        "{recipe}"
    );
    let instance = std::fs::read_to_string(job.test.path("docker/buildx/instances/layerlift")).unwrap();
    assert!(instance.contains("buildkitd.toml") && instance.contains("\"network\":\"host\""), "{instance}");
    assert!(
        !job.docker(&["buildx", "inspect"]).text().contains("docker-container"),
        "the current one is what it was"
    );

    job.asked();
    let again = job.layerlift(&["builder", "create"]).ok();
    assert_eq!(again.text(), "layerlift");
    assert!(!job.asked().iter().any(|line| line.starts_with("rm")), "{}", again.all());

    removes_everything(&job);
}

#[track_caller]
fn removes_everything(job: &Job) {
    let removed = job.layerlift(&["builder", "rm"]).ok();
    for expected in ["removed builder `layerlift`", "removed context `layerlift-engine`"] {
        assert!(removed.stderr.contains(expected), "{}", removed.all());
    }
    let left = [job.docker(&["buildx", "ls"]).all(), job.docker(&["context", "ls"]).all()].concat();
    assert!(!left.contains("layerlift"), "{left}");
    assert!(!Path::new(job.recipe("layerlift").parent().unwrap()).exists());
    let nothing = job.layerlift(&["builder", "rm"]).ok();
    assert!(nothing.stderr.contains("there is no builder to remove"), "{}", nothing.all());
}

#[test]
fn a_broken_builder_is_made_anew_and_a_working_one_of_others_is_left_alone() {
    let job = Job::new();
    // One that somebody has made, whose engine is gone.
    let _ = job.docker(&["context", "create", "--docker", "host=unix:///nowhere.sock", "gone"]).ok();
    let context =
        ["context", "create", "layerlift-engine", "--description", "made by layerlift for its builder"];
    let _ = job.docker(&context).ok();
    let create =
        ["buildx", "create", "--name", "layerlift", "--driver", "docker-container", "layerlift-engine"];
    let _ = job.docker(&create).ok();
    let instance = job.test.path("docker/buildx/instances/layerlift");
    let text = std::fs::read_to_string(&instance).unwrap();
    std::fs::write(&instance, text.replace("\"layerlift-engine\"", "\"gone\"")).unwrap();
    assert!(job.docker(&["buildx", "inspect", "layerlift"]).text().contains("Error:"));
    let healed = job.layerlift(&["builder", "create"]).ok();
    assert!(healed.stderr.contains("builder `layerlift` is broken, and is made anew"), "{}", healed.all());
    assert!(job.docker(&["buildx", "inspect", "layerlift"]).text().contains("layerlift-engine"));

    // One that is there and does not start.
    std::fs::write(job.test.path("broken"), "").unwrap();
    job.asked();
    let healed = job.layerlift(&["builder", "create"]).ok();
    assert!(healed.stderr.contains("is made anew"), "{}", healed.all());
    assert!(job.asked().iter().any(|line| line.starts_with("rm --force")), "{}", healed.all());

    // Other settings, another builder; `builder rm` knows both.
    job.project.write(".layerlift.yml", "builder:\n  mirrors: [mirror.lan]\n");
    let other = job.layerlift(&["builder", "create", "--use"]).ok().text();
    assert!(other.starts_with("layerlift-") && job.recipe(&other).exists(), "{other}");
    assert!(job.docker(&["buildx", "inspect"]).text().contains(&other), "it was to become the current one");
    removes_everything(&job);
}
