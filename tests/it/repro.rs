//! `layerlift repro`: a CI job made a cache, a person's checkout finds it, and leaves it as it is.

use serde_json::Value;

use crate::support::cli::TestEnv;
use crate::support::engine::{Engine, Kind};
use crate::support::job::{Event, gitlab};
use crate::support::project::Project;
use crate::support::registry::Registry;

const JOBS: &str = "\
include: [ci/base.yml]
variables:
  DOCKER_HOST: tcp://docker:2375
  IMAGE: $CI_REGISTRY_IMAGE/app
build app:
  extends: .docker
  script:
    - !reference [.login, script]
    - docker build --network=host --build-arg VERSION -t $IMAGE:$CI_COMMIT_REF_SLUG --push .
release:
  script:
    - docker build --secret id=npm,src=npmrc --build-arg TAG=$(git describe) -t $IMAGE:$TOKEN_OF_CI .
stack:
  script: layerlift compose -f compose.yml build --push
pages:
  image: gcr.io/kaniko-project/executor:debug
  script: /kaniko/executor --context .
test:
  script: [make test]
";

const BASE: &str = "\
.login:
  script:
    - echo \"$CI_REGISTRY_PASSWORD\" | docker login -u user --password-stdin $CI_REGISTRY
.docker:
  image: docker:cli
  services: [docker:dind]
  variables: {VERSION: '7'}
";

#[track_caller]
fn project() -> Project {
    let project = Project::new();
    project.write(".gitlab-ci.yml", JOBS);
    project.write("ci/base.yml", BASE);
    project.write(".dockerignore", ".gitlab-ci.yml\nci\n");
    project
}

#[test]
fn a_persons_build_reads_what_the_job_kept() {
    let mut engine = Engine::start(Kind::Docker28Containerd);
    let registry = Registry::shared();
    let project = project();
    let name = registry.unique("repro");
    let image = registry.reference(&name);
    let mut test = TestEnv::new(&engine);
    test.set_job(gitlab(&image, Event::Branch("main")));
    let tag = format!("{image}/app:main");
    let built = test.build(&project, &["--build-arg", "VERSION=7", "-t", &tag, "--push"]);
    assert_eq!(built.finished.code, 0, "{built}");
    let cache = registry.reference(&format!("{name}/cache:branch-main"));
    let digest = |it: &str| registry.crane(&["digest", it]).text();
    let before = (digest(&cache), digest(&tag));

    engine.reset();
    // Nor has a person the umask of the job.
    project.set_modes("ug=rwX,o=rX");
    let mut test = TestEnv::new(&engine);
    test.set("CI_COMMIT_BRANCH", "somewhere-else");
    let given = format!("CI_REGISTRY_IMAGE={image}");
    let options = ["--var", &given, "--default-branch", "main"];
    let run = |more: &[&str]| {
        let all: Vec<&str> =
            ["repro", "build app"].into_iter().chain(options).chain(more.iter().copied()).collect();
        test.run(project.folder(), &all)
    };
    let shown = run(&["--show"]).ok();
    assert_eq!(
        shown.text(),
        format!("layerlift build --load '--network=host' --build-arg VERSION -t {tag} .")
    );
    assert!(shown.stderr.contains(".gitlab-ci.yml:9: left out here: --push"), "{}", shown.all());

    let of_branch = run(&[]).ok();
    assert!(of_branch.all().contains("all 12 steps cached"), "{}", of_branch.all());
    assert_eq!(engine.file(&tag, "/app/source.txt"), project.source());
    let of_request = run(&["--mr", "12", "--ref", "feature/x", "--var", "CI_COMMIT_REF_SLUG=mr"]).ok();
    assert!(of_request.all().contains("branch-main"), "{}", of_request.all());
    assert!(!engine.file(&format!("{image}/app:mr"), "/app/source.txt").is_empty());
    assert_eq!((digest(&cache), digest(&tag)), before, "nothing was written");
    assert_eq!(
        registry.crane(&["ls", &registry.reference(&format!("{name}/cache"))]).text().lines().count(),
        1
    );
}

#[test]
fn what_only_ci_knows_is_asked_for() {
    let project = project();
    let test = TestEnv::bare();
    let missing = test.run(project.folder(), &["repro", "release"]);
    assert_eq!(missing.code, 78, "{}", missing.all());
    for wanted in [
        "TOKEN_OF_CI (.gitlab-ci.yml:12)",
        "CI_REGISTRY_IMAGE",
        "$(git describe)",
        "npmrc",
        "--allow-missing",
    ] {
        assert!(missing.stderr.contains(wanted), "{wanted}: {}", missing.all());
    }
    project.write("ci.env", "# of CI\nCI_REGISTRY_IMAGE=r.example.com/a\nTOKEN_OF_CI=hunter2\n");
    let shown = test.run(project.folder(), &["repro", "release", "--show", "--env-file", "ci.env"]).ok();
    assert!(shown.text().contains("r.example.com/a/app:***"), "{}", shown.all());
    assert!(!shown.all().contains("hunter2"), "{}", shown.all());
}

#[test]
fn what_a_bake_file_pushes_stays_here() {
    let engine = Engine::start(Kind::Docker28Containerd);
    let registry = Registry::shared();
    let project = project();
    let name = registry.unique("repro-bake");
    let image = registry.reference(&name);
    project.write(".gitlab-ci.yml", "baked:\n  script: docker buildx bake --allow network.host --push app\n");
    let definition = serde_json::json!({"target": {"app": {
        "network": "host",
        "tags": [format!("{image}:baked")],
        "output": ["type=registry"],
        "cache-to": [format!("type=registry,ref={image}:cache")],
    }}});
    project.write("docker-bake.json", &definition.to_string());
    let test = TestEnv::new(&engine);
    let shown = test.run(project.folder(), &["repro", "baked", "--show"]).ok();
    let line = "layerlift bake '--set=*.output=type=docker' '--set=*.cache-to=' '--set=*.platform=local' --allow network.host app";
    assert_eq!(shown.text(), line, "{}", shown.all());
    let built = test.run(project.folder(), &["repro", "baked"]).ok();
    assert_eq!(
        engine.file(&format!("{image}:baked"), "/app/source.txt"),
        project.source(),
        "{}",
        built.all()
    );
    let listed = registry.crane(&["ls", &image]);
    assert_ne!(listed.code, 0, "something was pushed: {}", listed.all());
}

#[test]
fn a_job_keeps_to_the_checkout() {
    let project = project();
    let mut test = TestEnv::bare();
    std::os::unix::fs::symlink(test.path("home"), project.folder().join("link")).unwrap();
    let jobs = "\
home:
  script: docker build -f Dockerfile $HOME
linked:
  script: docker build --output type=local,dest=link .
elsewhere:
  script: cd / && docker build .
loaded:
  variables: {LD_PRELOAD: ./evil.so, GIT_CONFIG_COUNT: '1', KEPT: yes}
  script: docker build --iidfile /tmp/id .
";
    project.write(".gitlab-ci.yml", jobs);
    // What would build tells its environment in the place of that.
    test.add_program("docker", "#!/bin/sh\nenv > \"$TMPDIR/environment\"\nexit 3\n");
    test.set("DOCKER_CONTEXT", "x");
    let home = test.path("home");
    for (job, place) in [
        ("home", format!("{} (.gitlab-ci.yml:2)", home.display())),
        ("linked", "link (".into()),
        ("elsewhere", "/ (".into()),
    ] {
        let refused = test.run(project.folder(), &["repro", job]);
        assert_eq!(refused.code, 78, "{job}: {}", refused.all());
        assert!(refused.stderr.contains(&format!("out of the checkout: {place}")), "{}", refused.all());
        assert!(refused.stderr.contains("--allow-outside"), "{}", refused.all());
        assert_eq!(test.temporary_files(), [""; 0], "{job}");
    }
    let _ = test.run(project.folder(), &["repro", "home", "--allow-outside"]);
    assert_eq!(test.temporary_files(), ["environment"]);
    let _ = test.run(project.folder(), &["repro", "loaded"]);
    let environment = std::fs::read_to_string(test.path("tmp/environment")).unwrap();
    assert!(environment.contains("KEPT=yes"), "{environment}");
    assert!(!environment.contains("LD_PRELOAD") && !environment.contains("GIT_CONFIG"), "{environment}");
}

#[test]
fn the_words_of_a_job_do_not_steer_the_terminal() {
    let project = project();
    let test = TestEnv::bare();
    let jobs = r#"{"a\u001b]0;x\u0007": {"script": "docker build -t \u001b[2Jx $N ."}}"#;
    project.write(".gitlab-ci.yml", jobs);
    let name = "a\u{1b}]0;x\u{7}";
    for line in [&["repro"][..], &["repro", "b"], &["repro", name], &["repro", name, "--show"]] {
        let said = test.run(project.folder(), line);
        let text = said.all();
        assert!(text.contains(".gitlab-ci.yml") || text.contains("no job `b`"), "{text}");
        assert!(!text.contains(|it: char| it.is_control() && it != '\n'), "{line:?}: {text:?}");
    }
}

#[test]
fn jobs_are_listed_and_chosen_by_name() {
    let project = project();
    let test = TestEnv::bare();
    let list = test.run(project.folder(), &["repro", "--format", "json"]).ok();
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let jobs = list["jobs"].as_array().unwrap();
    let names: Vec<&str> = jobs.iter().filter_map(|job| job["job"].as_str()).collect();
    assert_eq!(names, ["build app", "release", "stack", "pages"]);
    assert_eq!((&jobs[0]["file"], &jobs[0]["line"]), (&".gitlab-ci.yml".into(), &5.into()));
    let unknown = test.run(project.folder(), &["repro", "app"]);
    assert_eq!(unknown.code, 2, "{}", unknown.all());
    assert!(unknown.stderr.contains("there is `build app`"), "{}", unknown.all());
    let text = test.run(project.folder(), &["repro"]).ok();
    assert!(
        text.text().starts_with("gitlab  build app  .gitlab-ci.yml:5\n    docker build --network=host"),
        "{}",
        text.all()
    );
    let stack = test.run(project.folder(), &["repro", "stack", "--show"]).ok();
    assert_eq!(stack.text(), "layerlift compose -f compose.yml build");
    let pages = test.run(project.folder(), &["repro", "pages"]);
    assert_eq!(pages.code, 69, "{}", pages.all());
    assert!(
        pages.stderr.contains("nothing of job `pages` can be reproduced: it runs in gcr.io/"),
        "{}",
        pages.all()
    );
    let nowhere = test.run(&test.path("tmp"), &["repro"]);
    assert_eq!(nowhere.code, 66, "{}", nowhere.all());
}
