//! Whole files, and what the jobs in them come to.

use super::*;
use crate::ciconfig::{samples, unknown};

const ROOT: &str = include_str!("../../../tests/it/ciconfig/gitlab/.gitlab-ci.yml");
const BUILD: &str = include_str!("../../../tests/it/ciconfig/gitlab/ci/build.yml");
const BASE: &str = include_str!("../../../tests/it/ciconfig/gitlab/ci/base.yml");

fn read(files: &[(&str, &str)], known: &[(&str, &str)], given: &[(&str, &str)]) -> Result<Vec<Job>, Error> {
    let values = |pairs: &[(&str, &str)]| -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let load =
        |name: &str| Ok(files.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned()));
    jobs(&load, &values(known), &values(given))
}

/// Variables and scripts are those that `gitlab-ci-local --preview` (4.61.0) shows for these files, without the `project:`,
/// which it would fetch; what the rules add is not in a preview.
#[test]
fn a_project_with_everything() {
    let files = [(".gitlab-ci.yml", ROOT), ("ci/build.yml", BUILD), ("ci/base.yml", BASE)];
    let known = [
        ("CI_COMMIT_BRANCH", "main"),
        ("CI_DEFAULT_BRANCH", "main"),
        ("CI_REGISTRY_IMAGE", "r.example.com/shop"),
    ];
    let jobs = read(&files, &known, &[]).unwrap();
    insta::assert_snapshot!(samples::text(&jobs), @r#"
    test (.gitlab-ci.yml:27)
      PYTHON=3.12
      $ pytest
      # `include` of project: platform/templates was not followed
    build api (.gitlab-ci.yml:36)
      DOCKER_HOST=tcp://docker:2375
      IMAGE=r.example.com/shop/api
      PYTHON=3.12
      CONTEXT=services/api
      TAG=latest
      TARGET=release
      $ docker info
      $ export DOCKER_BUILDKIT=1
      $ docker build --target $TARGET -t $IMAGE:$TAG $CONTEXT
      $ docker push \
      $   $IMAGE:$TAG
      # `include` of project: platform/templates was not followed
    build web (.gitlab-ci.yml:47)
      DOCKER_HOST=tcp://docker:2375
      IMAGE=r.example.com/shop/api
      PYTHON=3.12
      CONTEXT=.
      TAG=$CI_COMMIT_REF_SLUG
      $ echo "$CI_REGISTRY_PASSWORD" | docker login -u "$CI_REGISTRY_USER" --password-stdin $CI_REGISTRY
      $ echo "web"
      $ cd services/web
      $ export DOCKER_BUILDKIT=1
      $ docker build --target $TARGET -t $IMAGE:$TAG $CONTEXT
      $ docker push \
      $   $IMAGE:$TAG
      # `include` of project: platform/templates was not followed
      # no rule of it holds
    deploy (.gitlab-ci.yml:58)
      DOCKER_HOST=tcp://docker:2375
      IMAGE=r.example.com/shop/api
      PYTHON=3.12
      $ docker info
      $ kubectl apply -f k8s.yml
      after:
      $ echo done
      # `include` of project: platform/templates was not followed
    "#);
}

#[test]
fn what_the_starter_gives_stands_above_the_file() {
    let file = "variables: {MODE: dev, IMAGE: app-$MODE}\nbuild:\n  variables: {MODE: test}\n  script: [a]\n";
    let jobs = read(&[(FILE, file)], &[], &[("MODE", "prod")]).unwrap();
    assert_eq!(
        jobs[0].variables,
        [("MODE".to_owned(), "prod".to_owned()), ("IMAGE".to_owned(), "app-prod".to_owned())]
    );
}

#[test]
fn matrices_become_jobs() {
    let file = "build:\n  parallel:\n    matrix:\n      - {ARCH: [amd64, arm64], OS: alpine}\n      - ARCH: s390x\n  script: [a]\n";
    let names: Vec<String> =
        read(&[(FILE, file)], &[], &[]).unwrap().into_iter().map(|job| job.name).collect();
    assert_eq!(names, ["build: [amd64, alpine]", "build: [arm64, alpine]", "build: [s390x]"]);
}

#[test]
fn mistakes_are_named_with_their_place() {
    let message = |file: &str| read(&[(FILE, file)], &[], &[]).unwrap_err().to_string();
    assert_eq!(message("a:\n  script: [x\nb: 1"), ".gitlab-ci.yml:3:2: did not find expected ',' or ']'");
    assert_eq!(
        message("\na:\n  extends: .b\n  script: x"),
        ".gitlab-ci.yml:2: job `a`: it extends `.b`, which is not there"
    );
    assert_eq!(
        message("a:\n  extends: .b\n.b:\n  extends: a\n"),
        ".gitlab-ci.yml:1: job `a`: `extends` goes in a circle: a -> .b -> a"
    );
    assert_eq!(
        message("a:\n  script: !reference [.b, script]\n"),
        ".gitlab-ci.yml:1: job `a`: `!reference [.b, script]` names nothing"
    );
    assert_eq!(message("x: 1\ninclude: /ci/a.yml\n"), "ci/a.yml cannot be read: it is not there");
    assert_eq!(message("- a\n"), ".gitlab-ci.yml:1: a mapping of jobs is expected");
    let round = read(&[(FILE, "include: a.yml"), ("a.yml", "include: [a.yml]")], &[], &[]);
    assert_eq!(
        round.unwrap_err().to_string(),
        "a.yml:1: `include` goes in a circle: .gitlab-ci.yml -> a.yml -> a.yml"
    );
    let own = read(&[(FILE, "a:\n  script: !reference [a, script]\n")], &[], &[]);
    assert!(own.unwrap_err().to_string().contains("goes in a circle"));
}

#[test]
fn jobs_in_foreign_builders_are_told() {
    let file = "build:\n  image: {name: 'gcr.io/kaniko-project/executor:debug', entrypoint: ['']}\n  script: [/kaniko/executor]\n";
    let jobs = read(&[(FILE, file)], &[], &[]).unwrap();
    assert!(matches!(&jobs[0].steps[0].action, Action::Foreign { what, .. } if what == "kaniko"));
}

#[test]
fn what_gitlab_would_fetch_is_no_mistake() {
    let file = "include: [{remote: 'https://example.com/a.yml'}]\npicture:\n  extends: .docker-build\nlint:\n  extends: .lint\n\
                line:\n  extends: .lint\n  script: [!reference [.login, script], docker build .]\n";
    let jobs = read(&[(FILE, file)], &[], &[]).unwrap();
    insta::assert_snapshot!(samples::text(&jobs), @"
    picture (.gitlab-ci.yml:2)
      - .docker-build: it extends `.docker-build`, which is not there
      # `include` of remote: https://example.com/a.yml was not followed
      # it extends `.docker-build`, which is not there
    lint (.gitlab-ci.yml:4)
      # `include` of remote: https://example.com/a.yml was not followed
      # it extends `.lint`, which is not there
    line (.gitlab-ci.yml:6)
      $ docker build .
      # `include` of remote: https://example.com/a.yml was not followed
      # it extends `.lint`, which is not there
      # `!reference [.login, script]` names nothing
    ");
    assert!(read(&[(FILE, "lint:\n  extends: .lint\n")], &[], &[]).is_err());
}

/// The lines of layerlift in the jobs of a file, with a mark for those that may not be run.
fn lines_of_layerlift(file: &str, known: &[(&str, &str)], given: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for job in read(&[(FILE, file)], known, given).unwrap() {
        let mut state = crate::ciconfig::shell::State::default();
        known.iter().chain(given).for_each(|(name, value)| state.export(name, value));
        job.variables.iter().for_each(|(name, value)| state.export(name, value));
        let scripts = job.steps.iter().filter_map(|step| match &step.action {
            Action::Script { text, .. } => Some(text),
            _ => None,
        });
        for found in scripts.flat_map(|script| state.walk(script)) {
            let line = unknown::shown(&found.words.join(" "));
            let mark = ["", "? "][usize::from(found.conditional)];
            if ["layerlift build", "layerlift compose", "layerlift run", "buildah push"]
                .iter()
                .any(|it| line.starts_with(it))
            {
                let mark = if found.left_out { "- " } else { mark };
                text += &format!("{}: {mark}{line}\n", job.name);
            }
        }
    }
    text
}

const OWN: &str = "\
include: [{remote: 'https://git.example.com/x/layerlift/raw/v0.0.9/ci-templates/gitlab/layerlift.yml'}]
api:
  extends: .layerlift-build
  variables:
    LAYERLIFT_TARGET: final
    LAYERLIFT_CONTEXT: services/api
    LAYERLIFT_DOCKERFILE: services/api/Dockerfile.ci
    LAYERLIFT_ARGS: --build-arg A=1 --build-arg B=$CI_COMMIT_BRANCH
plain:
  extends: [.layerlift-build, .layerlift-without-tls]
  variables: {LAYERLIFT_IMAGE: $CI_REGISTRY_IMAGE/plain, LAYERLIFT_TAG: v1}
stack:
  extends: .layerlift-compose
  variables: {LAYERLIFT_ARGS: --build-arg A=1 web}
rootless:
  extends: .layerlift-buildah
  variables: {LAYERLIFT_TARGET: final}
baked:
  extends: .layerlift-docker
  script:
    - !reference [.layerlift-push, script]
    - if [ \"$layerlift_pushes\" = true ]; then set -- --push; else set --; fi
    - layerlift compose -f a.yml \"$@\"
";

#[test]
fn layerlifts_own_template_is_known() {
    let known = [("CI_COMMIT_BRANCH", "main"), ("CI_COMMIT_SHORT_SHA", "1ecfd275")];
    insta::assert_snapshot!(lines_of_layerlift(OWN, &known, &[("LAYERLIFT_PUSH", "false")]), @"
    api: layerlift build --tag $CI_REGISTRY_IMAGE:1ecfd275 --file services/api/Dockerfile.ci --target final --build-arg A=1 --build-arg B=main services/api
    plain: layerlift build --tag $CI_REGISTRY_IMAGE/plain:v1 .
    stack: layerlift compose build --build-arg A=1 web
    rootless: layerlift run -- buildah build --tag $CI_REGISTRY_IMAGE:1ecfd275 --target final .
    rootless: - buildah push $CI_REGISTRY_IMAGE:1ecfd275
    baked: layerlift compose -f a.yml
    ");
    let jobs = read(&[(FILE, OWN)], &known, &[]).unwrap();
    let address = "https://git.example.com/x/layerlift/raw/v0.0.9/ci-templates/gitlab/layerlift.yml";
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        jobs[0].notes,
        [format!("`include` of {address} is answered by the copy in layerlift {version}")]
    );
}

/// Who pushes is what a job's login decides, which nobody knows here.
#[test]
fn what_a_template_pushes_is_not_guessed() {
    let image = ("CI_REGISTRY_IMAGE", "r/app");
    let project = ("CI_PROJECT_ID", "1");
    let plain = |given: &[(&str, &str)]| {
        let all = lines_of_layerlift(OWN, &[image, project, ("CI_COMMIT_SHORT_SHA", "1")], given);
        all.lines().find(|line| line.starts_with("plain")).unwrap_or_default().to_owned()
    };
    assert_eq!(
        plain(&[("CI_REGISTRY_PASSWORD", "x"), ("DOCKER_AUTH_CONFIG", "")]),
        "plain: layerlift build --tag r/app/plain:v1 --push ."
    );
    assert_eq!(
        plain(&[("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "2")]),
        "plain: layerlift build --tag r/app/plain:v1 ."
    );
    assert_eq!(plain(&[]), "plain: layerlift build $layerlift_pushes .");
}
