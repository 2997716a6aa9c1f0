//! `layerlift repro` of GitLab's jobs whose scripts decide what they build: layerlift's own template, and conditions.

use crate::support::cli::TestEnv;
use crate::support::engine::Kind;
use crate::support::job::Event;
use crate::support::project::Project;
use crate::support::recipe::{scene, stamps};

/// What `layerlift init gitlab` has written is the first thing that is tried.
#[test]
fn the_jobs_of_layerlifts_own_template() {
    let mut scene = scene(Kind::Docker28Containerd, "repro-own");
    scene.project.write("compose.yaml", "services:\n  api:\n    image: localhost/api\n    build: .\n");
    let folder = scene.project.folder();
    let _ = scene.test.run(folder, &["init", "gitlab", "Dockerfile.multi", "compose.yaml"]).ok();
    let written = std::fs::read_to_string(folder.join(".gitlab-ci.yml")).unwrap();
    assert!(written.contains("  - remote: https://"), "{written}");

    scene.test.set_job(scene.gitlab(Event::Branch("main")));
    let repository = scene.registry.reference(&scene.repository);
    let made_by_ci = format!("{repository}/multi:ci");
    let line = ["build", "--file", "Dockerfile.multi", "--tag", &made_by_ci, "--push", "."];
    let _ = scene.test.run(folder, &line).ok();
    let (made, tags) = (stamps(&scene, &made_by_ci), scene.registry.tags(&scene.repository));

    scene.reset();
    scene.test.set_job(vec![("CI_COMMIT_BRANCH".to_owned(), "somewhere-else".to_owned())]);
    let given = format!("CI_REGISTRY_IMAGE={repository}");
    let run = |more: &[&str]| {
        let all =
            ["repro"].iter().chain(more).chain(&["--default-branch", "main"]).copied().collect::<Vec<_>>();
        scene.test.run(scene.project.folder(), &all)
    };
    let missing = run(&["build-multi"]);
    assert_eq!(missing.code, 78, "{}", missing.all());
    assert!(missing.stderr.contains("CI_REGISTRY_IMAGE (.gitlab-ci.yml:"), "{}", missing.all());
    let shown = run(&["build-multi", "--var", &given, "--show"]).ok();
    let image =
        shown.text().split(' ').find(|word| word.starts_with(&repository)).unwrap_or_default().to_owned();
    assert_eq!(shown.text(), format!("layerlift build --load --tag {image} --file Dockerfile.multi ."));
    assert!(shown.stderr.contains("is answered by the copy in layerlift"), "{}", shown.all());
    assert_eq!(run(&["compose", "--show"]).ok().text(), "layerlift compose build");

    let built = run(&["build-multi", "--var", &given]).ok();
    assert!(built.all().contains("all ") && built.all().contains("steps cached"), "{}", built.all());
    assert_eq!(scene.engine.file(&image, "/app/stamp").trim(), made[1]);
    assert_eq!(scene.registry.tags(&scene.repository), tags, "nothing was written");
}

const CONDITIONS: &str = "\
picture:
  script:
    - if [ \"$CI_COMMIT_BRANCH\" = main ]; then set -- --tag app:main; FLAVOUR=full; else set -- --tag app:other; fi
    - '[ -z \"$FLAVOUR\" ] || set -- \"$@\" --build-arg FLAVOUR=$FLAVOUR'
    - docker build \"$@\" .
    - if [ \"$CI_PIPELINE_SOURCE\" = schedule ]; then docker build --no-cache .; fi
    - '[ \"$ONLY_CI\" = yes ] && TAG=nightly'
    - docker build -t app:$TAG .
";

#[test]
fn scripts_are_followed_as_far_as_their_tests_are_known() {
    let project = Project::new();
    project.write(".gitlab-ci.yml", CONDITIONS);
    let test = TestEnv::bare();
    let run = |more: &[&str]| test.run(project.folder(), &[["repro", "picture"].as_slice(), more].concat());
    let of_branch = run(&["--show"]).ok();
    let lines = |text: String| text.replace('\'', "");
    assert_eq!(
        lines(of_branch.text()),
        "layerlift build --load --tag app:main --build-arg FLAVOUR=full .\nlayerlift build --load -t app:$TAG ."
    );
    let left_out =
        "`docker build --no-cache .` cannot be reproduced: its condition does not hold in this pipeline";
    assert!(of_branch.stderr.contains(left_out), "{}", of_branch.all());
    let missing = run(&[]);
    assert_eq!(missing.code, 78, "{}", missing.all());
    assert!(missing.stderr.contains("use: TAG (.gitlab-ci.yml:8)"), "{}", missing.all());
    let missing = run(&["--ref", "x", "--var", "TAG=1"]);
    assert!(missing.stderr.contains("use: FLAVOUR (.gitlab-ci.yml:5)"), "{}", missing.all());
    let given = ["--ref", "x", "--var", "FLAVOUR=", "--var", "TAG=1", "--var", "CI_PIPELINE_SOURCE=schedule"];
    let given = run(&[given.as_slice(), &["--show"]].concat()).ok();
    assert_eq!(
        lines(given.text()),
        "layerlift build --load --tag app:other .\nlayerlift build --load --no-cache .\nlayerlift build --load -t app:1 ."
    );
}
