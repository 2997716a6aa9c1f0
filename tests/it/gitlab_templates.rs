//! The GitLab templates and their examples: run by gitlab-ci-local in true docker:dind jobs, each of which has an engine
//! with empty state.

use std::path::PathBuf;

use serde_yaml::Value;

use crate::support::act::check_schema;
use crate::support::cli::TestEnv;
use crate::support::engine::Kind;
use crate::support::gitlab::{GitLab, Pipeline, repository};
use crate::support::job::Event;
use crate::support::project::Project;
use crate::support::recipe::{project, stamps_of};
use crate::support::registry::Registry;
use crate::support::release::Release;
use crate::support::scripts;

const TEMPLATE: &str = "ci-templates/gitlab/layerlift.yml";
const COMPONENT: &str = "ci-templates/gitlab/templates/build.yml";
const EXAMPLES: &str = "examples/gitlab";

/// A pipeline with the hidden jobs; the jobs are to be added.
const INCLUDE: &str = "\
include:
  - remote: https://raw.githubusercontent.com/layerlift/layerlift/v0.1.0/ci-templates/gitlab/layerlift.yml
";

#[track_caller]
fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn gitlab() -> GitLab {
    GitLab::new(project(Kind::Docker28Containerd))
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// Runs a pipeline twice. The second has a new engine; what was run by the first must be in its image again.
#[track_caller]
fn is_cached(gitlab: &GitLab, file: &str, image: &str) -> Pipeline {
    let image = format!("{}{image}", gitlab.image);
    let cold = gitlab.run(file).ok();
    assert!(cold.dotenv.contains("LAYERLIFT_CACHE_HIT=false\n"), "{cold:?}");
    let made = stamps_of(&gitlab.registry, &gitlab.project, &image);
    let warm = gitlab.run(file).ok().said("steps cached, ");
    assert!(warm.dotenv.contains("LAYERLIFT_CACHE_HIT=true\n"), "{}", warm.finished.all());
    assert_eq!(stamps_of(&gitlab.registry, &gitlab.project, &image), made);
    let digest = gitlab.registry.digest(&image);
    assert!(warm.dotenv.contains(&format!("LAYERLIFT_DIGEST={digest}\n")), "{} {digest}", warm.dotenv);
    warm
}

/// Everything that the registry holds of the project: the names with their tags.
#[track_caller]
fn names(gitlab: &GitLab) -> Vec<String> {
    gitlab.registry.tags("group/project").into_keys().collect()
}

#[test]
fn a_single_stage_is_cached_and_a_fork_writes_nothing() {
    let gitlab = gitlab();
    // A group's setting for all jobs, from the time before the containerd store.
    let file =
        read("examples/gitlab/single-stage/.gitlab-ci.yml") + "variables:\n  DOCKER_DRIVER: overlay2\n";
    let warm = is_cached(&gitlab, &file, ":latest").said("Login Succeeded");
    assert!(warm.page.contains("<h1>All "), "{}", warm.page);
    let cache = "group/project/cache:branch-main";
    let record = format!("{cache}--record");
    assert_eq!(names(&gitlab), [cache, record.as_str(), "group/project:latest"]);

    // A member starts the pipeline of a fork's merge request: our registry and our login, somebody else's code.
    let before = gitlab.registry.tags("group/project");
    gitlab.project.change_source("a stranger's line\n");
    let fork = gitlab.variables(Event::Fork { number: 7, branch: "feature/x" });
    let fork = gitlab.run_with(&file, &fork).ok();
    let _ =
        fork.said("nothing will be pushed: the code comes from another project").said("cache:branch-main");
    assert_eq!(gitlab.registry.tags("group/project"), before);

    // In the fork itself, without a registry: nothing but the build.
    let mut alone = gitlab.variables(Event::Fork { number: 7, branch: "feature/x" });
    alone.retain(|(name, _)| !name.starts_with("CI_REGISTRY") && name != "CI_PROJECT_ID");
    alone.extend([pair("CI_PROJECT_ID", "2"), pair("CI_REGISTRY", ""), pair("CI_REGISTRY_IMAGE", "")]);
    let _ = gitlab.run_with(&file, &alone).ok().said("nothing will be pushed: this job has no login");
    assert_eq!(gitlab.registry.tags("group/project"), before);
}

#[test]
fn stages_are_cached_and_a_change_runs_what_it_must() {
    let gitlab = gitlab();
    let file = read("examples/gitlab/multi-stage/.gitlab-ci.yml");
    let _ = is_cached(&gitlab, &file, ":stage");
    let image = format!("{}:stage", gitlab.image);
    let before = stamps_of(&gitlab.registry, &gitlab.project, &image);

    // The first job of a merge request reads the cache of its target, and writes one of its own.
    gitlab.project.change_source("another line\n");
    let request = gitlab.variables(Event::Request { number: 3, branch: "feature/x" });
    let request = gitlab.run_with(&file, &request).ok();
    assert!(request.dotenv.contains("LAYERLIFT_CACHE_HIT=false\n"), "{request:?}");
    let after = stamps_of(&gitlab.registry, &gitlab.project, &image);
    assert_eq!((&after[0], after[1] == before[1]), (&before[0], false));
    let own = "group/project/cache:mr-3--dockerfile.multi-";
    assert!(names(&gitlab).iter().any(|name| name.starts_with(own)), "{:?}", names(&gitlab));
}

#[test]
fn a_job_without_tls_on_a_graph_driver_is_cached() {
    let gitlab = gitlab();
    // What many a project has: no certificates, and the image store of old.
    let file = format!(
        "{INCLUDE}
build:
  extends: [.layerlift-build, .layerlift-without-tls]
  services:
    - name: docker:28-dind
      alias: docker
  variables:
    LAYERLIFT_TAG: graph
    LAYERLIFT_DOCKERFILE: Dockerfile.multi
"
    );
    let _ = is_cached(&gitlab, &file, ":graph").kept("2376");
}

#[test]
fn a_job_with_buildah_is_cached() {
    let dockerfile = "\
FROM busybox:latest AS build
RUN mkdir /app && cat /proc/sys/kernel/random/uuid > /app/stamp
FROM scratch
COPY --from=build /app/ /app/
";
    let gitlab = GitLab::new(Project::with_dockerfile(dockerfile));
    // Neither the public registry nor the project's speaks TLS here.
    let shared = Registry::shared();
    let mirror = format!("{}:{}", gitlab.host(), shared.address.rsplit(':').next().unwrap());
    let table = |prefix: &str, location: &str| {
        format!("[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{location}\"\ninsecure = true\n")
    };
    let own = &gitlab.registry.address;
    let text = "unqualified-search-registries = [\"docker.io\"]\n";
    let text = format!("{text}{}{}", table("docker.io", &mirror), table(own, own));
    gitlab.project.write("registries.conf", &text);
    let file = format!(
        "{INCLUDE}
build:
  extends: .layerlift-buildah
  variables:
    LAYERLIFT_BUILDAH_IMAGE: buildah:debian
    LAYERLIFT_TAG: buildah
    CONTAINERS_REGISTRIES_CONF: $CI_PROJECT_DIR/registries.conf
  before_script:
    - !reference [.layerlift-buildah, before_script]
    # Of all commands, this one must be told by a flag.
    - printf %s \"$CI_REGISTRY_PASSWORD\" | buildah login -u $CI_REGISTRY_USER --password-stdin --tls-verify=false $CI_REGISTRY
"
    );
    let stamp = || gitlab.registry.file(&format!("{}:buildah", gitlab.image), "app/stamp");
    let cold = gitlab.run(&file).ok().said("Login Succeeded");
    assert!(cold.dotenv.contains("LAYERLIFT_CACHE_HIT=false\n"), "{cold:?}");
    let made = stamp();
    let warm = gitlab.run(&file).ok();
    assert!(warm.dotenv.contains("LAYERLIFT_CACHE_HIT=true\n"), "{warm:?}");
    assert_eq!(stamp(), made);

    let before = gitlab.registry.tags("group/project");
    let fork = gitlab.variables(Event::Fork { number: 7, branch: "feature/x" });
    let fork = gitlab.run_with(&file, &fork).ok();
    let _ = fork.said("nothing will be pushed: the code comes from another project");
    assert_eq!(gitlab.registry.tags("group/project"), before);
}

#[test]
fn the_component_takes_its_inputs() {
    let gitlab = gitlab();
    gitlab.project.write("templates/build.yml", &read(COMPONENT));
    gitlab.project.write("folder/placeholder", "");
    let with = |tls: bool| {
        format!(
            "
include:
  - component: $CI_SERVER_HOST/group/project/build@$CI_COMMIT_SHA
    inputs:
      path: /opt/layerlift
      tls: {tls}
      image: $CI_REGISTRY_IMAGE/app
      tag: of-the-component
      dockerfile: Dockerfile.multi
      args: --build-arg BASE=busybox:1 --label org.example=yes
      detach-cache: true
"
        )
    };
    let mut variables = gitlab.variables(Event::Branch("main"));
    variables.retain(|(name, _)| name != "LAYERLIFT_PATH");
    // The cache is exported by after_script, in a shell of its own.
    let cold =
        gitlab.run_with(&with(true), &variables).ok().said("pending   cache: ").said("written cache: ");
    assert!(cold.dotenv.contains("LAYERLIFT_CACHE_HIT=false\n"), "{cold:?}");
    let warm = gitlab.run_with(&with(false), &variables).ok();
    assert!(warm.dotenv.contains("LAYERLIFT_CACHE_HIT=true\n"), "{warm:?}");
    let image = format!("{}/app:of-the-component", gitlab.image);
    let _ = stamps_of(&gitlab.registry, &gitlab.project, &image);
    let config = gitlab.registry.crane(&["config", &image]).ok().text();
    assert!(config.contains("\"org.example\":\"yes\""), "{config}");
}

#[test]
fn the_binary_is_fetched_and_checked() {
    let gitlab = gitlab();
    let release = Release::start_at(gitlab.host());
    let file = format!(
        "{INCLUDE}
build:
  extends: .layerlift-install
  image: docker:28-cli
  script:
    - command -v layerlift
    - echo \"by $(layerlift --version)\"
"
    );
    let run = |version: &str, sum: &str| {
        let mut variables = gitlab.variables(Event::Branch("main"));
        variables.retain(|(name, _)| name != "LAYERLIFT_PATH");
        variables.push(pair("LAYERLIFT_URL", &release.url));
        variables.push(pair("LAYERLIFT_VERSION", version));
        variables.push(pair("LAYERLIFT_SHA256", sum));
        gitlab.run_with(&file, &variables)
    };
    let wrong = "0".repeat(64);
    let version = format!("by layerlift {}", env!("CARGO_PKG_VERSION"));
    let _ = run("0.1.0", &format!("{wrong} {}", release.sha256)).ok().said(&version);
    let mismatch = format!("has the SHA-256 {}, and LAYERLIFT_SHA256 is `{wrong}`", release.sha256);
    let _ = run("0.1.0", &wrong).failed().said(&mismatch).kept("by layerlift");
    let _ = run("0.1.0", "")
        .failed()
        .said("set LAYERLIFT_SHA256 to the sum of layerlift-linux-")
        .kept("by layerlift");
    let _ =
        run("9.9.9", &release.sha256).failed().said("cannot be fetched from http://").kept("by layerlift");

    // A binary that is there is checked where a sum is given.
    let mut there = gitlab.variables(Event::Branch("main"));
    there.push(pair("LAYERLIFT_SHA256", &wrong));
    let _ =
        gitlab.run_with(&file, &there).failed().said("/opt/layerlift has the SHA-256").kept("by layerlift");
}

#[test]
fn the_recipes_that_are_replaced_do_run() {
    let gitlab = gitlab();
    gitlab.project.write("by-hand.compose.yaml", &read("examples/gitlab/compose/by-hand.compose.yaml"));
    for kind in ["single-stage", "multi-stage", "compose", "buildx"] {
        let file = read(&format!("{EXAMPLES}/{kind}/by-hand.gitlab-ci.yml"));
        let _ = gitlab.run(&file).ok();
    }
    let names = names(&gitlab);
    assert_eq!(
        names,
        [
            "group/project/api:latest",
            "group/project/worker:latest",
            "group/project:cache",
            "group/project:latest",
            "group/project:stage"
        ],
    );
    for name in ["/api:latest", "/worker:latest", ":latest", ":stage"] {
        let _ = stamps_of(&gitlab.registry, &gitlab.project, &format!("{}{name}", gitlab.image));
    }
}

/// The documents of a file, without the header of a component.
#[track_caller]
fn jobs(path: &str) -> Value {
    let text = read(path);
    let body = text.rsplit("\n---\n").next().unwrap();
    serde_yaml::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a job has under a key, by itself or by what it extends.
fn inherited<'a>(jobs: &'a Value, job: &str, key: &str) -> Option<&'a Value> {
    let own = jobs.get(job)?;
    let parents = match own.get("extends") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Sequence(names)) => names.iter().rev().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    own.get(key).or_else(|| parents.into_iter().find_map(|parent| inherited(jobs, parent, key)))
}

/// The lines of a script, with those that it refers to.
#[track_caller]
fn lines(jobs: &Value, script: &Value) -> String {
    match script {
        Value::String(line) => format!("{line}\n"),
        Value::Sequence(items) => items.iter().map(|item| lines(jobs, item)).collect(),
        Value::Tagged(reference) if reference.tag == "reference" => {
            let part = |at: usize| reference.value[at].as_str().unwrap();
            let found = inherited(jobs, part(0), part(1));
            lines(jobs, found.unwrap_or_else(|| panic!("no {} of {}", part(1), part(0))))
        }
        other => panic!("no script: {other:?}"),
    }
}

#[test]
fn every_script_is_one_of_posix() {
    let by_hand = ["single-stage", "multi-stage", "compose", "buildx"]
        .map(|kind| format!("{EXAMPLES}/{kind}/by-hand.gitlab-ci.yml"));
    let mut count = 0;
    for path in [TEMPLATE, COMPONENT].into_iter().chain(by_hand.iter().map(String::as_str)) {
        let jobs = jobs(path);
        for name in jobs.as_mapping().unwrap().keys().filter_map(Value::as_str) {
            let parts = ["before_script", "script"].map(|key| inherited(&jobs, name, key));
            let script: String = parts.into_iter().flatten().map(|part| lines(&jobs, part)).collect();
            if parts.iter().flatten().count() == 0 || script.is_empty() {
                continue;
            }
            count += 1;
            assert!(!script.contains("$[[ "), "an input in a script of {path}:\n{script}");
            // A job's two scripts are one to the shell. Parts that stand alone lean on what the whole sets, and all on
            // GitLab's variables; recipes are as people write them.
            let excluded = match path == TEMPLATE || path == COMPONENT {
                true => "# shellcheck disable=SC2153,SC2154,SC2034\n",
                false => "# shellcheck disable=SC2086\n",
            };
            scripts::check("sh", &format!("{excluded}{{\n{script}}}\n"));
        }
    }
    assert!(count > 12, "{count}");
}

#[test]
fn every_file_has_the_form_that_gitlab_knows() {
    let folder = tempfile::tempdir().unwrap();
    let text = read(COMPONENT);
    let (header, body) = text.split_once("\n---\n").unwrap();
    let mut files = vec![repository(TEMPLATE)];
    for (name, part) in [("header.yml", header), ("body.yml", body)] {
        files.push(folder.path().join(name));
        std::fs::write(files.last().unwrap(), part).unwrap();
    }
    let examples: Vec<PathBuf> =
        std::fs::read_dir(repository(EXAMPLES)).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(examples.len(), 4, "{examples:?}");
    files.extend(
        examples
            .iter()
            .flat_map(|folder| [".gitlab-ci.yml", "by-hand.gitlab-ci.yml"].map(|it| folder.join(it))),
    );
    check_schema("vendor.gitlab-ci", &files);
}

/// `layerlift doctor` names variables that look like misspelt settings. Those of the template are none.
#[test]
fn doctor_knows_the_variables_of_the_template() {
    let mut test = TestEnv::bare();
    let template = jobs(TEMPLATE);
    let names: Vec<&str> =
        template["variables"].as_mapping().unwrap().keys().filter_map(Value::as_str).collect();
    for name in names.iter().chain(&["LAYERLIFT_MISSPELT"]) {
        test.set(name, "x");
    }
    let folder = tempfile::tempdir().unwrap();
    let said = test.run(folder.path(), &["doctor"]).all();
    assert!(said.contains("LAYERLIFT_MISSPELT"), "{said}");
    let unknown: Vec<_> = names.iter().filter(|name| said.contains(**name)).collect();
    assert!(names.len() > 10 && unknown.is_empty(), "{unknown:?}\n{said}");
}

#[test]
fn template_component_and_crate_agree() {
    let (template, component) = (jobs(TEMPLATE), jobs(COMPONENT));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(template["variables"]["LAYERLIFT_VERSION"], Value::from(version));
    let header: Value = serde_yaml::from_str(read(COMPONENT).split("\n---\n").next().unwrap()).unwrap();
    let inputs = &header["spec"]["inputs"];
    for (input, variable) in
        [("version", "VERSION"), ("url", "URL"), ("docker-version", "DOCKER_VERSION"), ("push", "PUSH")]
    {
        let of_template = &template["variables"][format!("LAYERLIFT_{variable}").as_str()];
        assert_eq!(inputs[input]["default"], *of_template, "{input}");
    }
    for name in [
        ".layerlift-install",
        ".layerlift-engine",
        ".layerlift-push",
        ".layerlift-arguments",
        ".layerlift-flush",
    ] {
        assert_eq!(component[name], template[name], "{name}");
    }
    assert_eq!(component[".layerlift-tls-false"], template[".layerlift-without-tls"]);
    let (job, docker, build) =
        (&component["$[[ inputs.job ]]"], &template[".layerlift-docker"], &template[".layerlift-build"]);
    let tls = &component[".layerlift-tls-true"]["variables"];
    for (name, value) in tls.as_mapping().unwrap() {
        assert_eq!(docker["variables"][name], *value);
    }
    assert_eq!(job["before_script"], docker["before_script"]);
    assert_eq!(job["after_script"], docker["after_script"]);
    assert_eq!(job["services"][0]["command"], docker["services"][0]["command"]);
    assert_eq!((&job["script"], &job["artifacts"]), (&build["script"], &build["artifacts"]));
}

#[test]
fn every_service_of_a_compose_file_is_cached() {
    let gitlab = gitlab();
    gitlab.project.write("compose.yaml", &read("examples/gitlab/compose/compose.yaml"));
    let file = read("examples/gitlab/compose/.gitlab-ci.yml");
    let images = ["/api:latest", "/worker:latest"].map(|name| format!("{}{name}", gitlab.image));
    let stamps = || images.each_ref().map(|image| stamps_of(&gitlab.registry, &gitlab.project, image));
    let _ = gitlab.run(&file).ok();
    let made = stamps();
    let _ = gitlab.run(&file).ok();
    assert_eq!(stamps(), made);
    let before = gitlab.registry.tags("group/project");
    let fork = gitlab.variables(Event::Fork { number: 7, branch: "feature/x" });
    let _ = gitlab.run_with(&file, &fork).ok().said("the code comes from another project");
    assert_eq!(gitlab.registry.tags("group/project"), before);
}

#[test]
fn a_line_that_stays_as_it_is_is_cached_behind_the_shim() {
    let gitlab = gitlab();
    let file = read("examples/gitlab/buildx/.gitlab-ci.yml");
    let image = format!("{}:latest", gitlab.image);
    let _ = gitlab.run(&file).ok().said("(no cache to read)");
    let made = stamps_of(&gitlab.registry, &gitlab.project, &image);
    let _ = gitlab.run(&file).ok().said("steps cached, ");
    assert_eq!(stamps_of(&gitlab.registry, &gitlab.project, &image), made);
}
