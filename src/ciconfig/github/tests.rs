//! Whole workflows, and what the jobs in them come to.

use super::*;
use crate::base::yaml::documents;
use crate::ciconfig::samples;

const IMAGES: &str = include_str!("../../../tests/it/ciconfig/github/.github/workflows/images.yml");
const CALLED: &str = include_str!("../../../tests/it/ciconfig/github/.github/workflows/called.yml");
const LOGIN: &str = include_str!("../../../tests/it/ciconfig/github/.github/actions/login/action.yml");

fn read(files: &[(&str, &str)], known: &[(&str, &str)], event: &str) -> (Vec<Job>, Vec<Error>) {
    let values = |pairs: &[(&str, &str)]| -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let load =
        |name: &str| Ok(files.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned()));
    let names: Vec<String> =
        files.iter().map(|(name, _)| (*name).to_owned()).filter(|name| name.starts_with(FOLDER)).collect();
    let event = documents(event).unwrap().remove(0);
    jobs(&names, &load, &Run { known: values(known), given: Values::new(), event })
}

const PUSH: [(&str, &str); 5] = [
    ("GITHUB_EVENT_NAME", "push"),
    ("GITHUB_REF_NAME", "main"),
    ("GITHUB_REPOSITORY", "octo/shop"),
    ("GITHUB_REPOSITORY_OWNER", "octo"),
    ("GITHUB_SHA", "0123456789abcdef"),
];

fn project(known: &[(&str, &str)]) -> Vec<Job> {
    let files = [
        (".github/workflows/called.yml", CALLED),
        (".github/workflows/images.yml", IMAGES),
        (".github/actions/login/action.yml", LOGIN),
    ];
    let (jobs, errors) = read(&files, known, "{repository: {default_branch: main}}");
    assert_eq!(errors, []);
    jobs
}

#[test]
fn a_project_with_everything() {
    insta::assert_snapshot!(samples::text(&project(&PUSH)), @r#"
    Build api (.github/workflows/images.yml:20)
      GITHUB_JOB=build
      REGISTRY=ghcr.io
      IMAGE=ghcr.io/octo/shop
      FOLDER=services/api
      + REGISTRY=ghcr.io
      + WHO=${{ github.actor }}
      + TOKEN=${{ github.token }}
      $ echo "$TOKEN" | docker login "$REGISTRY" --username "$WHO" --password-stdin
      $ echo "server=ghcr.io" >> "$GITHUB_OUTPUT"
      $ docker build --tag base base
      $ BuildPush
          build-args: PYTHON=3.11\nSERVER=${{ steps.login/where.outputs.server }}\n
          context: services/api
          labels: ${{ steps.meta.outputs.labels }}
          push: true
          secrets: token=${{ secrets.NPM_TOKEN }}\n
          tags: ghcr.io/octo/shop-api:main\nghcr.io/octo/shop-api:sha-0123456
    Build api (api, 3.12, release) (.github/workflows/images.yml:20)
      GITHUB_JOB=build
      REGISTRY=ghcr.io
      IMAGE=ghcr.io/octo/shop
      FOLDER=services/api
      + REGISTRY=ghcr.io
      + WHO=${{ github.actor }}
      + TOKEN=${{ github.token }}
      $ echo "$TOKEN" | docker login "$REGISTRY" --username "$WHO" --password-stdin
      $ echo "server=ghcr.io" >> "$GITHUB_OUTPUT"
      $ docker build --tag base base
      $ BuildPush
          build-args: PYTHON=3.12\nSERVER=${{ steps.login/where.outputs.server }}\n
          context: services/api
          labels: ${{ steps.meta.outputs.labels }}
          push: true
          secrets: token=${{ secrets.NPM_TOKEN }}\n
          tags: ghcr.io/octo/shop-api:main\nghcr.io/octo/shop-api:sha-0123456
          target: release
    Build web (.github/workflows/images.yml:20)
      GITHUB_JOB=build
      REGISTRY=ghcr.io
      IMAGE=ghcr.io/octo/shop
      FOLDER=services/web
      + REGISTRY=ghcr.io
      + WHO=${{ github.actor }}
      + TOKEN=${{ github.token }}
      $ echo "$TOKEN" | docker login "$REGISTRY" --username "$WHO" --password-stdin
      $ echo "server=ghcr.io" >> "$GITHUB_OUTPUT"
      $ docker build --tag base base
      $ BuildPush
          build-args: PYTHON=3.12\nSERVER=${{ steps.login/where.outputs.server }}\n
          context: services/web
          labels: ${{ steps.meta.outputs.labels }}
          push: true
          secrets: token=${{ secrets.NPM_TOKEN }}\n
          tags: ghcr.io/octo/shop-web:main\nghcr.io/octo/shop-web:sha-0123456
    Build docs (.github/workflows/images.yml:20)
      GITHUB_JOB=build
      REGISTRY=ghcr.io
      IMAGE=ghcr.io/octo/shop
      FOLDER=documentation
      + REGISTRY=ghcr.io
      + WHO=${{ github.actor }}
      + TOKEN=${{ github.token }}
      $ echo "$TOKEN" | docker login "$REGISTRY" --username "$WHO" --password-stdin
      $ echo "server=ghcr.io" >> "$GITHUB_OUTPUT"
      $ docker build --tag base base
      $ BuildPush
          build-args: PYTHON=\nSERVER=${{ steps.login/where.outputs.server }}\n
          context: documentation
          labels: ${{ steps.meta.outputs.labels }}
          push: true
          secrets: token=${{ secrets.NPM_TOKEN }}\n
          tags: ghcr.io/octo/shop-docs:main\nghcr.io/octo/shop-docs:sha-0123456
    line (.github/workflows/images.yml:67)
      GITHUB_JOB=line
      REGISTRY=ghcr.io
      IMAGE=ghcr.io/octo/shop
      COMMIT=unset
      in services:
      $ echo "COMMIT=${GITHUB_SHA::7}" >> "$GITHUB_ENV"
      $ echo "tag=v-main" >> $GITHUB_OUTPUT
      in services:
      + IMAGE=ghcr.io/octo/shop-line
      $ docker build --tag "$IMAGE:$COMMIT" --tag "$IMAGE:${{ steps.vars.outputs.tag }}" --build-arg COMMIT=${{ env.COMMIT }} api
      in services:
      ? docker build --target deploy .
      # lines for `python` were not read
    called (debian) / image (.github/workflows/called.yml:7)
      GITHUB_JOB=image
      $ Layerlift
          file: Dockerfile.debian
          push: auto
          tags: ghcr.io/octo/called:1
          target: final
      - whoan/docker-build-with-cache-action@v8: what this action does is not known here
    elsewhere (.github/workflows/images.yml:99)
      - octo/workflows/.github/workflows/image.yml@v1: its workflow lies in another repository
    "#);
}

#[test]
fn a_pull_request_builds_other_steps() {
    let known =
        [("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_REF_NAME", "7/merge"), ("GITHUB_BASE_REF", "main")];
    let jobs = project(&known);
    let docs = jobs.iter().find(|job| job.name == "Build docs").unwrap();
    let last = docs.steps.last().unwrap();
    assert_eq!(last.folder.as_deref(), Some("documentation"));
    assert!(matches!(&last.action, Action::Script { text, .. } if text == "docker build --target \"\" ."));
    assert!(docs.left_out.is_none());
    let line = jobs.iter().find(|job| job.name == "line").unwrap();
    assert_eq!(line.left_out.as_deref(), Some("its `if: github.ref_name == 'main'` does not hold"));
}

#[test]
fn workflows_of_other_events_are_told() {
    let known = [("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF_NAME", "feature")];
    let jobs = project(&known);
    assert!(jobs.iter().all(|job| job.left_out.is_some()), "{}", samples::text(&jobs));
    let dispatch = "on: {workflow_dispatch: {inputs: {tag: {default: nightly}}}}\njobs:\n  a:\n    steps:\n      - run: docker build -t x:${{ inputs.tag }} .\n";
    let (jobs, _) = read(&[(".github/workflows/a.yml", dispatch)], &known, "{}");
    assert_eq!(jobs[0].left_out.as_deref(), Some("its workflow does not run on `push`"));
    assert!(
        matches!(&jobs[0].steps[0].action, Action::Script { text, .. } if text == "docker build -t x:nightly .")
    );
}

#[test]
fn mistakes_are_named_and_other_workflows_read() {
    let call = |file: &str| format!("on: push\njobs:\n  a:\n    uses: ./.github/workflows/{file}\n");
    let action = "runs:\n  using: composite\n  steps:\n    - uses: ./a\n";
    let (jobs, errors) = read(
        &[
            (".github/workflows/broken.yml", "on: push\njobs: [x\nb: 1"),
            (".github/workflows/circle.yml", &call("circle.yml")),
            (
                ".github/workflows/good.yml",
                "on: push\njobs:\n  b:\n    steps: [{uses: ./a}, {uses: ./none}, {run: x}]\n",
            ),
            (".github/workflows/list.yml", "- a\n"),
            (".github/workflows/lost.yml", &call("nothing.yml")),
            ("a/action.yaml", action),
        ],
        &[],
        "{}",
    );
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            ".github/workflows/broken.yml:3:2: did not find expected ',' or ']'",
            ".github/workflows/list.yml:1: `jobs:` with a mapping is expected",
            ".github/workflows/circle.yml:3: workflows call each other more than 10 deep, or in a circle",
            ".github/workflows/nothing.yml cannot be read: it is not there",
        ]
    );
    assert_eq!(
        jobs[0].notes,
        [
            "`./a`: actions call each other in a circle, or too deep",
            "`./none` has no action.yml that can be read"
        ]
    );
}

#[test]
fn hostile_workflows_end() {
    // Ten files, each of which calls the next one ten times: more jobs than there are atoms.
    let name = |index: usize| format!(".github/workflows/w{index}.yml");
    let text = |index: usize| {
        let job = |it: usize| format!("  j{it}:\n    uses: ./{}\n", name(index + 1));
        format!("on: [push, workflow_call]\njobs:\n{}", (0..10).map(job).collect::<String>())
    };
    let mut files: Vec<(String, String)> = (0..10).map(|index| (name(index), text(index))).collect();
    files.push((name(10), "on: workflow_call\njobs:\n  a:\n    steps: [{run: x}]\n".to_owned()));
    let action = |index: usize| {
        let step = format!(
            "    - uses: ./a{}\n      with: {{x: '${{{{ inputs.x }}}}${{{{ inputs.x }}}}'}}\n",
            index + 1
        );
        format!("inputs: {{x: {{default: y}}}}\nruns:\n  using: composite\n  steps:\n{}", step.repeat(20))
    };
    files.extend((0..12).map(|index| (format!("a{index}/action.yml"), action(index))));
    files.push((
        ".github/workflows/x.yml".to_owned(),
        "on: push\njobs:\n  a:\n    steps: [{uses: ./a0}]\n".to_owned(),
    ));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (jobs, errors) = read(&files, &[], "{}");
    assert!(errors[0].to_string().contains("more than 2000 "), "{errors:?}");
    let notes = &jobs.iter().find(|job| job.file.ends_with("x.yml")).unwrap().notes;
    assert!(notes.contains(&"only its first 1000 steps were read".to_owned()), "{notes:?}");
}
