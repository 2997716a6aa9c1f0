//! `layerlift repro`: a CI job made a cache, a person's checkout finds it, and leaves it as it is.

use std::path::Path;

use serde_json::Value;

use crate::support::act::{Run, check_schema};
use crate::support::cli::TestEnv;
use crate::support::engine::{Engine, Kind};
use crate::support::job::{Event, gitlab};
use crate::support::project::Project;
use crate::support::recipe::{scene, stamps};
use crate::support::registry::Registry;
use crate::support::release::Release;

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
    let kept = || registry.crane(&["ls", &registry.reference(&format!("{name}/cache"))]).text();
    let before = (digest(&cache), digest(&tag), kept());

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
    assert_eq!((digest(&cache), digest(&tag), kept()), before, "nothing was written");
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

const WORKFLOW: &str = r#"
on:
  push: {branches: [main]}
  pull_request:
env:
  IMAGE: ${{ vars.IMAGE }}
  LAYERLIFT_CACHE_REPO: REFS
jobs:
  image:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        kind: [single, multi, none]
        exclude: [{kind: none}]
        include: [{kind: multi, file: Dockerfile.multi}]
    steps:
      - uses: actions/checkout@v5.0.0
      - id: names
        run: echo "tag=${{ matrix.kind }}-$SUFFIX" >> "$GITHUB_OUTPUT"
        env: {SUFFIX: one}
      - uses: ./.github/actions/image
        with:
          sha256: ${{ vars.LAYERLIFT_SHA256 }}
          url: ${{ vars.LAYERLIFT_URL }}
          file: ${{ matrix.file || 'Dockerfile' }}
          tag: ${{ steps.names.outputs.tag }}
"#;

const ACTION: &str = r"
inputs:
  sha256: {required: true}
  url: {required: true}
  file: {required: true}
  tag: {default: latest}
runs:
  using: composite
  steps:
    - uses: layerlift/layerlift/ci-templates/github@v0.1.0
      with:
        sha256: ${{ inputs.sha256 }}
        url: ${{ inputs.url }}
        file: ${{ inputs.file }}
        tags: ${{ env.IMAGE }}:${{ inputs.tag }}
        push: true
";

/// Actions of others, which act would have to fetch: they are reproduced, not run by it.
const OTHERS: &str = r"
on: push
jobs:
  pushed:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5.0.0
      - id: meta
        uses: docker/metadata-action@v5
        with: {images: 'localhost/${{ github.repository }}'}
      - uses: docker/build-push-action@v6
        with:
          context: .
          file: docker/Dockerfile
          tags: ${{ steps.meta.outputs.tags }}
          labels: ${{ steps.meta.outputs.labels }}
          cache-to: type=gha
          secrets: KEY=${{ secrets.KEY }}
          push: true
  baked:
    runs-on: ubuntu-latest
    env: {IMAGES: '${{ vars.IMAGE }}'}
    steps:
      - run: docker buildx bake --push --set '*.labels.made=here' app
";

/// It pushes and exports a cache without being told on the line.
const BAKE: &str = r#"
variable "IMAGES" {}
target "app" {
  tags      = ["${IMAGES}:baked"]
  platforms = ["linux/amd64", "linux/arm64"]
  output    = ["type=registry"]
  cache-to  = ["type=registry,ref=${IMAGES}/cache:baked"]
}
"#;

const SECRET: &str = "\
FROM busybox
COPY src/ src/
RUN --network=none --mount=type=secret,id=KEY wc -c < /run/secrets/KEY > key.length
";

/// What the unit tests of `src/ciconfig` read is what the CI systems take.
#[test]
fn samples_have_the_form_that_ci_systems_know() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ciconfig");
    let workflows =
        ["images.yml", "called.yml"].map(|name| samples.join("github/.github/workflows").join(name));
    check_schema("vendor.github-workflows", &workflows);
    check_schema("vendor.github-actions", &[samples.join("github/.github/actions/login/action.yml")]);
    check_schema("vendor.circle-ci", &[samples.join("circleci/.circleci/config.yml")]);
}

#[test]
fn jobs_of_github() {
    let mut scene = scene(Kind::Docker28Containerd, "repro-github");
    let release = Release::start();
    let cache = scene.registry.reference(&format!("{}/cache", scene.repository));
    scene.project.write(".github/actions/image/action.yml", ACTION);
    // A runner that nobody here wrote makes the caches.
    let _ = Run::of(&scene, &release, &WORKFLOW.replace("REFS", &cache), Event::Branch("main")).ok();
    let image = scene.image("multi-one");
    let (made, tags) = (stamps(&scene, &image), scene.registry.tags(&scene.repository));
    assert!(!tags.is_empty() && !stamps(&scene, &scene.image("single-one")).is_empty());

    scene.project.write(".github/workflows/others.yml", OTHERS);
    scene.project.write("docker/Dockerfile", SECRET);
    scene.project.write("docker-bake.hcl", BAKE);
    scene.reset();
    let given = format!("vars.IMAGE={}", image.rsplit_once(':').unwrap().0);
    let run = |more: &[&str]| {
        let all =
            ["repro"].iter().chain(more).chain(&["--default-branch", "main"]).copied().collect::<Vec<_>>();
        scene.test.run(scene.project.folder(), &all)
    };
    let list = run(&[]).ok();
    for wanted in [
        "github  image (single)  .github/workflows/build.yml:9\n    layerlift build --tag ${{ vars.IMAGE }}:single-one",
        "github  image (multi, Dockerfile.multi)  ",
        "github  pushed  .github/workflows/others.yml:4\n    docker buildx build",
    ] {
        assert!(list.text().contains(wanted), "{wanted}: {}", list.all());
    }
    let ambiguous = run(&["image"]);
    assert_eq!(ambiguous.code, 2, "{}", ambiguous.all());
    assert!(
        ambiguous.stderr.contains("name one of `image (single)`, `image (multi, "),
        "{}",
        ambiguous.all()
    );
    let multi = "image (multi, Dockerfile.multi)";
    let missing = run(&[multi]);
    assert_eq!(missing.code, 78, "{}", missing.all());
    assert!(missing.stderr.contains("vars.IMAGE (.github/actions/image/action.yml:10)"), "{}", missing.all());

    let of_branch = run(&[multi, "--var", &given]).ok();
    assert!(
        of_branch.all().contains("steps cached") && of_branch.all().contains("all "),
        "{}",
        of_branch.all()
    );
    assert_eq!(scene.engine.file(&image, "/app/stamp").trim(), made[1]);
    let of_request = run(&[multi, "--var", &given, "--pr", "7", "--ref", "feature/x"]).ok();
    assert!(of_request.all().contains("branch-main"), "{}", of_request.all());
    let baked = run(&["baked", "--var", &given]).ok();
    let image = scene.image("baked");
    assert_eq!(scene.engine.file(&image, "/app/source.txt"), scene.project.source(), "{}", baked.all());
    assert_eq!(scene.registry.tags(&scene.repository), tags, "nothing was written: {}", baked.all());
    assert_eq!(run(&[multi, "--var", &given, "--mr", "7"]).code, 2);

    let pushed = run(&["pushed"]);
    assert_eq!(pushed.code, 78, "{}", pushed.all());
    assert!(pushed.stderr.contains("secrets.KEY (.github/workflows/others.yml:11)"), "{}", pushed.all());
    let pushed = run(&["pushed", "--var", "secrets.KEY=hunter2"]).ok();
    assert!(!pushed.all().contains("hunter2"), "{}", pushed.all());
    assert!(pushed.stderr.contains("left out here: --cache-to type=gha --push"), "{}", pushed.all());
    assert_eq!(scene.engine.file("localhost/group/project:main", "/key.length").trim(), "7");
    assert_eq!(scene.test.temporary_files(), Vec::<String>::new());
}

const CIRCLECI: &str = r#"
version: 2.1
parameters:
  registry: {type: string}
commands:
  prepare:
    parameters: {tag: {type: string}}
    steps:
      - checkout
      - run: echo 'export TAG=<< parameters.tag >>' >> "$BASH_ENV"
jobs:
  image:
    parameters: {kind: {type: string}, file: {type: string, default: Dockerfile}}
    docker: [{image: cimg/base:2025.01}]
    environment: {IMAGE: << pipeline.parameters.registry >>}
    steps:
      - prepare: {tag: << parameters.kind >>-one}
      - run:
          working_directory: ~/project/src
          environment: {FILE: << parameters.file >>}
          command: |
            layerlift run -- docker build \
              --file "../$FILE" --tag "$IMAGE:$TAG" --push ..
workflows:
  all:
    jobs:
      - image:
          matrix: {parameters: {kind: [single, multi]}}
          file: Dockerfile
      - docker/publish: {image: x}
"#;

#[test]
fn jobs_of_circleci() {
    let mut scene = scene(Kind::Docker28Containerd, "repro-circleci");
    scene.project.write(".circleci/config.yml", CIRCLECI);
    let image = scene.image("single-one");
    for (name, value) in [("CI", "true"), ("CIRCLECI", "true"), ("CIRCLE_BRANCH", "main")] {
        scene.test.set(name, value);
    }
    let folder = scene.project.folder().join("src");
    let line = format!("layerlift build --read-only=false --file ../Dockerfile --tag {image} --push ..");
    let built = scene.test.script(&folder, &line);
    assert_eq!(built.finished.code, 0, "{built}");
    let (made, tags) = (stamps(&scene, &image), scene.registry.tags(&scene.repository));

    scene.reset();
    scene.test.set_job(vec![("CIRCLE_BRANCH".to_owned(), "somewhere-else".to_owned())]);
    let given = format!("pipeline.parameters.registry={}", image.rsplit_once(':').unwrap().0);
    let run = |more: &[&str]| {
        let all = ["repro"].iter().chain(more).copied().collect::<Vec<_>>();
        scene.test.run(scene.project.folder(), &all)
    };
    let missing = run(&["image-single"]);
    assert_eq!(missing.code, 78, "{}", missing.all());
    let expected = "pipeline.parameters.registry (.circleci/config.yml:22)";
    assert!(missing.stderr.contains(expected), "{}", missing.all());
    let shown = run(&["image-multi", "--var", &given, "--show"]).ok();
    let expected = format!(
        "cd src && layerlift build --load --file ../Dockerfile --tag {} ..",
        scene.image("multi-one")
    );
    assert_eq!(shown.text(), expected);
    let built = run(&["image-single", "--var", &given]).ok();
    assert!(built.all().contains("all ") && built.all().contains("steps cached"), "{}", built.all());
    assert_eq!(scene.engine.file(&image, "/app/stamp").trim(), made[1]);
    let of_request =
        run(&["image-single", "--var", &given, "--pr", "7", "--ref", "feature", "--default-branch", "main"]);
    assert!(of_request.ok().all().contains("branch-main"));
    assert_eq!(scene.registry.tags(&scene.repository), tags, "nothing was written");
    let orb = run(&["docker/publish"]);
    assert_eq!(orb.code, 69, "{}", orb.all());
    assert!(orb.stderr.contains("CircleCI has the orb"), "{}", orb.all());
}
