//! buildah and podman, the real ones, each build with an empty store; and what they are given, by one that only tells it.

use crate::support::cli::Build;
use crate::support::containers::Containers;
use crate::support::job::Event;
use crate::support::project::Project;
use crate::support::proxy::Proxy;
use crate::support::registry::{PASSWORD, Registry, USER};

/// A script's line that is there already.
const LINE: &str = "layerlift run -- $TOOL build -t $IMAGE .";

/// Few steps: each of them is an image of its own, which is copied as a whole and pushed.
const DOCKERFILE: &str = "\
FROM busybox:latest AS build
RUN mkdir /app && cat /proc/sys/kernel/random/uuid > /app/early.stamp
COPY src/ /src/
RUN cat /src/* > /app/source.txt && cat /proc/sys/kernel/random/uuid > /app/late.stamp
FROM scratch
COPY --from=build /app/ /app/
";

/// The steps that depend on `src/`, as stage and begin of the instruction.
const OF_SOURCE: [(&str, &str); 3] =
    [("build", "COPY src/"), ("build", "RUN cat /src/*"), ("stage-1", "COPY --from")];

fn project() -> Project {
    Project::with_dockerfile(DOCKERFILE)
}

/// The random numbers of an image, which tell who ran its steps.
#[track_caller]
fn stamps(registry: &Registry, image: &str) -> [String; 2] {
    ["early", "late"].map(|name| registry.file(image, &format!("app/{name}.stamp")))
}

#[track_caller]
fn only_source_ran(build: &Build) {
    let executed = build.executed();
    let right = executed.len() == OF_SOURCE.len()
        && executed
            .iter()
            .zip(OF_SOURCE)
            .all(|((stage, instruction), (of, start))| stage == of && instruction.starts_with(start));
    assert!(right, "executed: {executed:#?}\n{build}");
}

/// The repositories of a project's cache, by the names of their scopes.
#[track_caller]
fn scopes(registry: &Registry, repository: &str) -> Vec<String> {
    let below = format!("{repository}/cache/");
    let tags = registry.tags(&format!("{repository}/cache"));
    let mut scopes: Vec<String> = tags
        .keys()
        .filter_map(|name| name.strip_prefix(&below)?.split(':').next().map(str::to_owned))
        .collect();
    scopes.dedup();
    scopes
}

#[test]
fn every_scope_reads_its_chain_and_writes_its_own_repository() {
    let registry = Registry::shared();
    let repository = registry.unique("buildah");
    let mut job = Containers::new(&registry.reference(&repository), project());
    let image = registry.reference(&format!("{repository}/app:1"));

    let cold = job.build("buildah", LINE, &registry, &image);
    assert_eq!((cold.executed().len(), cold.warnings().as_str()), (4, ""), "{cold}");
    assert_eq!(cold.report["engine"]["frontend"], "buildah");
    assert_eq!(cold.report["cache"]["scope"], "branch-main");
    let first = stamps(&registry, &image);

    job.reset();
    let unchanged = job.build("buildah", LINE, &registry, &image);
    assert_eq!(unchanged.executed(), [], "{unchanged}");
    assert_eq!(stamps(&registry, &image), first);

    // A branch starts from the default branch's cache, and leaves one of its own.
    let main = registry.tags(&format!("{repository}/cache/branch-main"));
    job.project.change_source("changed\n");
    job.set_job(Event::Branch("feature/x"));
    job.reset();
    let changed = job.build("buildah", LINE, &registry, &image);
    only_source_ran(&changed);
    let second = stamps(&registry, &image);
    assert_eq!(second[0], first[0]);
    assert_eq!(registry.tags(&format!("{repository}/cache/branch-main")), main, "main's cache was changed");
    assert_eq!(scopes(&registry, &repository), ["branch-feature-x-217d2bf5", "branch-main"]);

    // The next time it needs both: what it ran itself, and what it has from the default branch.
    job.reset();
    let again = job.build("buildah", LINE, &registry, &image);
    assert_eq!(again.executed(), [], "{again}");
    assert_eq!(stamps(&registry, &image), second);
    assert_eq!(again.report["cache"]["from"].as_array().map(Vec::len), Some(2), "{again}");

    // A fork reads, and writes nothing.
    let before = registry.tags(&format!("{repository}/cache"));
    job.project.change_source("from a stranger\n");
    job.set_job(Event::Fork { number: 7, branch: "main" });
    job.reset();
    let fork = job.build("buildah", LINE, &registry, &image);
    only_source_ran(&fork);
    assert_eq!(registry.tags(&format!("{repository}/cache")), before, "a fork wrote\n{fork}");
    assert_eq!(job.test.temporary_files(), [""; 0], "a temporary file was left");
}

#[test]
fn podman_is_cached_on_the_next_empty_runner() {
    let registry = Registry::shared();
    let repository = registry.unique("podman");
    let mut job = Containers::new(&registry.reference(&repository), project());
    let image = registry.reference(&format!("{repository}/app:1"));
    // By the shim, as a line that nobody touched.
    let line =
        "eval \"$(layerlift shim)\" && podman image build -t $IMAGE . && eval \"$(layerlift shim --remove)\"";
    let cold = job.build("podman", line, &registry, &image);
    assert_eq!(cold.executed().len(), 4, "{cold}");
    let first = stamps(&registry, &image);
    job.reset();
    let warm = job.build("podman", line, &registry, &image);
    assert_eq!(warm.executed(), [], "{warm}");
    assert_eq!(warm.report["engine"]["builder"], "podman");
    assert_eq!(stamps(&registry, &image), first);
}

#[test]
fn the_job_token_reaches_buildah_and_is_shown_to_nobody() {
    let (registry, shared) = (Registry::basic(), Registry::shared());
    let mut job = Containers::new(&registry.reference("group/project"), project());
    job.test.set("CI_REGISTRY_USER", USER);
    job.test.set("CI_REGISTRY_PASSWORD", PASSWORD);
    // The image goes elsewhere: there is no login but what layerlift lends.
    let image = shared.reference(&format!("{}/app:1", shared.unique("buildah")));
    let cold = job.build("buildah", LINE, &shared, &image);
    job.reset();
    let warm = job.build("buildah", LINE, &shared, &image);
    assert_eq!(warm.executed(), [], "{warm}");
    assert_eq!(scopes(&registry, "group/project"), ["branch-main"]);
    for build in [cold, warm] {
        assert_eq!(build.warnings(), "", "{build}");
        assert!(!build.to_string().contains(PASSWORD), "a secret is shown: {build}");
    }
    assert_eq!(job.test.temporary_files(), [""; 0], "a temporary file was left");
}

#[test]
fn a_cache_that_cannot_be_written_costs_a_warning() {
    let (registry, shared) = (Registry::basic(), Registry::shared());
    let project = Project::with_dockerfile("FROM scratch\nCOPY src/one.txt /app/source.txt\n");
    // A job without a login.
    let job = Containers::new(&registry.reference("group/project"), project);
    let image = shared.reference(&format!("{}/app:1", shared.unique("buildah")));
    let line = "layerlift buildah --strict build -t $IMAGE . && exit; code=$?
        buildah push -q --tls-verify=false $IMAGE && exit $code";
    let build = job.test.script(job.project.folder(), &line.replace("$IMAGE", &image));
    let warning = format!("the cache could not be written to {}/cache/branch-main", job.repository);
    assert!(build.warnings().contains(&warning), "{build}");
    assert!(build.report["written"].as_array().is_some_and(Vec::is_empty), "{build}");
    // The build itself succeeded; `--strict` makes a failure of its warnings.
    assert_eq!((build.finished.code, build.report["status"].as_str()), (75, Some("succeeded")), "{build}");
    assert_eq!(shared.file(&image, "app/source.txt"), "one");
    assert!(registry.tags("group/project").is_empty());
}

#[test]
fn a_registry_that_is_down_is_left_alone() {
    let registry = Registry::shared();
    let repository = registry.unique("buildah");
    // Nobody listens there any more.
    let address = Proxy::start(&registry.address).address.clone();
    let mut job = Containers::new(&format!("{address}/{repository}"), project());
    job.test.set("LAYERLIFT_REGISTRY_TIMEOUT", "2");
    let image = registry.reference(&format!("{repository}/app:1"));
    let build = job.build("buildah", LINE, &registry, &image);
    assert!(build.warnings().contains(&format!("{address}/{repository}/cache/branch-main: ")), "{build}");
    assert_eq!(build.report["cache"]["to"], serde_json::Value::Null, "{build}");
    assert!(!build.finished.stderr.contains("retrying in"), "buildah tried in vain\n{build}");
}

#[test]
fn a_failing_step_keeps_its_exit_code_and_is_named() {
    let registry = Registry::shared();
    let repository = registry.reference(&registry.unique("buildah"));
    let dockerfile = "FROM busybox\nCOPY src/ /src/\nRUN cat /src/one.txt\nRUN echo almost && exit 7\n";
    let job = Containers::new(&repository, Project::with_dockerfile(dockerfile));
    let build = job.test.script(job.project.folder(), "layerlift buildah bud -t app .");
    assert_eq!((build.finished.code, build.report["exit_code"].as_i64()), (7, Some(7)), "{build}");
    let failed = build.steps().into_iter().find(|step| step.status == "failed");
    assert_eq!(failed.expect("a step").instruction, "RUN echo almost && exit 7");
    assert!(build.finished.text().lines().any(|line| line == "almost"), "{build}");
}

/// A program that tells its words, one a line, and the files that it was lent.
#[track_caller]
fn telling(name: &str, version: &str) -> Containers {
    let job = Containers::new("registry.invalid/group/project", project());
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && {{ echo '{name} version {version} (image-spec 1.1)'; exit; }}\n\
         echo \"$@\"\nexit 3\n"
    );
    job.test.add_program(name, &script);
    job
}

#[test]
fn what_the_program_is_given() {
    let registry = Registry::shared();
    let repository = registry.unique("buildah");
    let cache = registry.reference(&format!("{repository}/cache"));
    let filler = registry.reference("library/busybox:latest");
    for scope in ["mr-3", "branch-main"] {
        let _ = registry.crane(&["copy", &filler, &format!("{cache}/{scope}:step")]).ok();
    }
    let given = |name: &str, version: &str, line: &str| {
        let mut job = telling(name, version);
        job.repository = registry.reference(&repository);
        job.set_job(Event::Request { number: 3, branch: "feature/x" });
        let build = job.test.script(job.project.folder(), line);
        assert_eq!(build.finished.code, 3, "{build}");
        build.finished.text().replace(&cache, "CACHE")
    };
    let flags = "--cache-from CACHE/mr-3 --cache-from CACHE/branch-main --cache-to CACHE/mr-3";
    for (name, version, line, expected) in [
        ("buildah", "1.39.3", "buildah bud -t a .", format!("build --layers {flags} -t a .")),
        (
            "buildah",
            "1.28.2",
            "buildah build .",
            "build --layers --cache-from CACHE/mr-3 --cache-to CACHE/mr-3 .".into(),
        ),
        (
            "podman",
            "5.4.2",
            "podman -- --config /c build --layers .",
            format!("--config /c build {flags} --layers ."),
        ),
        // Their own words stand.
        (
            "podman",
            "5.4.2",
            "podman build --cache-from x .",
            "build --layers --cache-to CACHE/mr-3 --cache-from x .".into(),
        ),
        (
            "buildah",
            "1.39.3",
            "buildah build --no-cache --cache-to x .",
            "build --no-cache --cache-to x .".into(),
        ),
        ("buildah", "1.39.3", "buildah build --layers=false .", "build --layers=false .".into()),
        // What is no build, or not known well enough, is run as it stands.
        ("buildah", "1.26.0", "buildah bud .", "bud .".into()),
        ("buildah", "1.39.3", "buildah bud --no-such-flag .", "bud --no-such-flag .".into()),
        ("buildah", "1.39.3", "buildah images --json", "images --json".into()),
        ("podman", "5.4.2", "podman -r build .", "-r build .".into()),
    ] {
        assert_eq!(given(name, version, &format!("layerlift {line}")), expected, "{line}");
    }
}

#[test]
fn quiet_prints_the_image_alone_and_a_plan_runs_nothing() {
    let registry = Registry::shared();
    let repository = registry.reference(&registry.unique("buildah"));
    let job = Containers::new(&repository, Project::with_dockerfile("FROM busybox\nRUN true\n"));
    let plan = job.test.run(job.project.folder(), &["buildah", "--dry-run", "build", "-t", "app", "."]).ok();
    let command = format!("\n  buildah build --layers --cache-to {repository}/cache/branch-main -t app .\n");
    assert!(plan.text().contains(command.trim_end()), "{}", plan.text());
    let images = || job.test.run(job.project.folder(), &["buildah", "images", "-q"]).ok().text();
    assert_eq!(images(), "");
    let quiet = job.test.run(job.project.folder(), &["buildah", "build", "-q", "-t", "app", "."]).ok();
    let id = quiet.text();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", quiet.all());
    assert!(images().contains(&id[..12]), "{id}");
    assert!(!quiet.stderr.contains("layerlift:"), "{}", quiet.stderr);
}
