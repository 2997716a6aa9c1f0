//! A whole file, and what the jobs in it come to.

use super::*;
use crate::ciconfig::samples;

const CONFIG: &str = include_str!("../../../tests/it/ciconfig/circleci/.circleci/config.yml");

fn read(file: &str, known: &[(&str, &str)]) -> Result<Vec<Job>, Error> {
    let known = known.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    jobs(&|name| Ok((name == FILE).then(|| file.to_owned())), &known, &Values::new())
}

#[test]
fn a_project_with_everything() {
    let jobs = read(CONFIG, &[("CIRCLE_BRANCH", "main"), ("CIRCLE_SHA1", "0123456789abcdef")]).unwrap();
    insta::assert_snapshot!(samples::text(&jobs), @r#"
    build-api (.circleci/config.yml:55)
      CIRCLE_JOB=build
      DOCKER_BUILDKIT=1
      BASE=2025.02
      IMAGE=registry.example.com/api
      $ echo 'export TAG=main-${CIRCLE_SHA1:0:7}' >> "$BASH_ENV"
      $ echo prepared
      in services:
      + COLOR=never
      $ cd api
      $ docker build --build-arg COLOR -t "$IMAGE:$TAG" -t "$IMAGE:<< pipeline.number >>" .
      $ docker push "$IMAGE:$TAG"
      ? docker build --target perhaps .
      - docker/build: CircleCI has the orb, this checkout has not
      $ layerlift bake --file 'two words.hcl'
      # `docker/check` is of an orb, and was not followed
    build-web (.circleci/config.yml:55)
      CIRCLE_JOB=build
      DOCKER_BUILDKIT=1
      BASE=2025.02
      IMAGE=registry.example.com/web
      $ echo 'export TAG=main-${CIRCLE_SHA1:0:7}' >> "$BASH_ENV"
      $ echo prepared
      in services:
      + COLOR=never
      $ cd web
      $ docker build --build-arg COLOR -t "$IMAGE:$TAG" -t "$IMAGE:<< pipeline.number >>" .
      $ docker push "$IMAGE:$TAG"
      ? docker build --target perhaps .
      - docker/build: CircleCI has the orb, this checkout has not
      $ layerlift bake --file 'two words.hcl'
      # `docker/check` is of an orb, and was not followed
    build (.circleci/config.yml:55)
      CIRCLE_JOB=build
      DOCKER_BUILDKIT=1
      BASE=2025.02
      IMAGE=registry.example.com/tools
      $ echo 'export TAG=main-${CIRCLE_SHA1:0:7}' >> "$BASH_ENV"
      $ echo prepared
      in services:
      + COLOR=never
      $ cd tools
      $ docker build --build-arg COLOR -t "$IMAGE:$TAG" -t "$IMAGE:<< pipeline.number >>" .
      $ docker build --target unpushed .
      ? docker build --target perhaps .
      - docker/build: CircleCI has the orb, this checkout has not
      $ layerlift bake --file 'two words.hcl'
      # `docker/check` is of an orb, and was not followed
      # it does not run on the branch `main`
    own/image (.circleci/config.yml:113)
      CIRCLE_JOB=own/image
      TOOLS=1
      $ echo hello
      $ docker build own
    layerlift/image (.circleci/config.yml:114)
      CIRCLE_JOB=layerlift/image
      $ Layerlift
          args: --network=host\n--target=final\n
          file: Dockerfile.lifted
          tags: registry.example.com/lifted:0123456789abcdef
    docker/publish (.circleci/config.yml:121)
      CIRCLE_JOB=docker/publish
      - docker/publish: CircleCI has the orb, this checkout has not
    deploy (.circleci/config.yml:95)
      CIRCLE_JOB=deploy
      $ docker build deploy
      # the condition of its workflow `nightly` does not hold
    "#);
}

#[test]
fn what_the_starter_gives_stands_above_the_file() {
    let known = [("pipeline.parameters.deploy", "true"), ("pipeline.parameters.registry", "r")];
    let jobs = read(CONFIG, &known).unwrap();
    let job = |name: &str| jobs.iter().find(|job| job.name == name).unwrap();
    assert_eq!(job("deploy").left_out, None);
    assert!(job("build-api").variables.contains(&("IMAGE".to_owned(), "r/api".to_owned())));
}

#[test]
fn without_workflows_the_job_build_is_run() {
    let file = "version: 2\njobs:\n  build:\n    steps: [{run: a}]\n  other:\n    steps: [{run: b}]\n";
    let names: Vec<String> = read(file, &[]).unwrap().into_iter().map(|job| job.name).collect();
    assert_eq!(names, ["build"]);
}

#[test]
fn mistakes_are_named_with_their_place() {
    let message = |file: &str| read(file, &[]).unwrap_err().to_string();
    assert_eq!(message("a: [x\nb: 1"), ".circleci/config.yml:2:2: did not find expected ',' or ']'");
    assert_eq!(message("- a\n"), ".circleci/config.yml:1: a mapping with `jobs` is expected");
    let file = "jobs: {}\nworkflows: {w: {jobs: [none]}}\n";
    assert_eq!(message(file), ".circleci/config.yml: job `none`: a workflow names it, and it is not there");
    let circle = "commands: {a: {steps: [a]}}\njobs:\n  build:\n    steps: [a]\n";
    assert!(read(circle, &[]).unwrap()[0].notes[0].contains("in a circle"));
}

#[test]
fn hostile_files_end() {
    // Each command calls the next one, and hands it its steps twice; at the end, it calls it ten times.
    let twice = |index: usize| {
        let after = "<< parameters.after >>";
        let next = index + 1;
        format!(
            "  t{index}:\n    parameters: {{after: {{type: steps, default: []}}}}\n    steps:\n      - t{next}: {{after: [{after}, {after}]}}\n  m{index}:\n    steps: [{}]\n",
            vec![format!("m{next}"); 10].join(", ")
        )
    };
    let commands: String = (0..20).map(twice).collect();
    let file =
        format!("commands:\n{commands}jobs:\n  build:\n    steps: [{{t0: {{after: [{{run: x}}]}}}}, m0]\n");
    let notes = read(&file, &[]).unwrap().remove(0).notes;
    assert!(notes.iter().any(|note| note.ends_with("was given more than 10000 values")), "{notes:?}");
    assert!(notes.contains(&"only its first 1000 steps were read".to_owned()), "{notes:?}");
}
