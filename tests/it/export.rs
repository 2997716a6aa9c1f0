//! When the cache is exported: not at all where no step ran, and in a later step of the job where that was asked for.
//!
//! Images go to the real registry directly; the cache goes by a proxy, which knows what was written.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cli::{Build, TestEnv};
use crate::support::engine::{Engine, Kind};
use crate::support::job::{self, Event};
use crate::support::program::{Finished, run};
use crate::support::project::{Project, STEPS, STEPS_OF_SOURCE};
use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::Registry;

const WRITE: &str = "PUT|POST|PATCH";
const MANIFESTS: &str = "/v2/*/cache/manifests/*";
const RETAGGED: &str = "cache (retagged, nothing exported)";
const NOTHING: &str = "no cache is waiting to be exported here";

struct Job {
    engine: Engine,
    registry: Registry,
    proxy: Proxy,
    project: Project,
    test: TestEnv,
    repository: String,
}

impl Job {
    /// A job on `main`, of a project that was never built.
    #[track_caller]
    fn new(name: &str, project: Project) -> Job {
        let registry = Registry::shared();
        let proxy = Proxy::start(&registry.address);
        let engine = Engine::start_with(Kind::Docker28Containerd, &[&proxy.address]);
        let test = TestEnv::new(&engine);
        let repository = registry.unique(name);
        let mut job = Job { engine, registry, proxy, project, test, repository };
        job.on("main");
        job
    }

    /// From now on a job of another branch.
    #[track_caller]
    fn on(&mut self, branch: &str) {
        self.test.set_job(job::gitlab(&self.proxy.reference(&self.repository), Event::Branch(branch)));
    }

    #[track_caller]
    fn reset(&mut self) {
        self.engine.reset();
        self.test.use_engine(&self.engine);
        self.proxy.clear();
    }

    fn image(&self) -> String {
        self.registry.reference(&format!("{}/app:1", self.repository))
    }

    /// Builds and pushes, without a warning.
    #[track_caller]
    fn push(&self, more: &[&str]) -> Build {
        let build = self.test.build(&self.project, &[&["--push", "-t", &self.image()], more].concat());
        assert_eq!((build.finished.code, build.warnings().as_str()), (0, ""), "{build}");
        build
    }

    #[track_caller]
    fn flush(&self, more: &[&str]) -> Finished {
        self.test.run(self.project.folder(), &[&["cache", "flush"], more].concat())
    }

    /// The tags of the cache repo.
    #[track_caller]
    fn refs(&self) -> Vec<String> {
        let cache = format!("{}/cache", self.repository);
        let tags = self.registry.tags(&cache);
        tags.keys().filter_map(|name| Some(name.split_once(':')?.1.to_owned())).collect()
    }

    /// The refs that were written since the last reset.
    fn put(&self) -> Vec<String> {
        let requests = self.proxy.requests();
        let manifests = requests.iter().filter(|it| it.method == "PUT" && it.path.contains("/manifests/"));
        let mut refs: Vec<String> =
            manifests.map(|it| it.path.rsplit('/').next().unwrap_or_default().to_owned()).collect();
        refs.dedup();
        refs
    }
}

/// What was written of a kind, by the part of its ref after the repository.
fn written(build: &Build, what: &str) -> Vec<String> {
    let written = build.report["written"].as_array().cloned().unwrap_or_default();
    let of_kind = written.iter().filter(|it| it["what"] == what);
    of_kind.map(|it| it["reference"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()).collect()
}

/// Whether the build's own call has exported a cache.
fn has_exported(build: &Build) -> bool {
    build.finished.stderr.contains("exporting cache to registry")
}

fn is_full_hit(build: &Build) -> bool {
    build.executed().is_empty() && build.steps().len() == STEPS
}

fn none() -> Vec<String> {
    Vec::new()
}

/// BuildKit would upload the image's layers once more, into the cache's repository.
#[test]
fn layers_of_the_image_are_mounted_for_the_cache() {
    let dockerfile = "FROM busybox\nRUN dd if=/dev/urandom of=/large bs=1M count=24\nCOPY src/ /app/\n";
    let job = Job::new("mounted", Project::with_dockerfile(dockerfile));
    let image = job.proxy.reference(&format!("{}/app:2", job.repository));
    let build = job.push(&["-t", &image]);
    assert!(has_exported(&build), "{build}");
    let manifest = job.registry.crane(&["manifest", "--platform=linux/amd64", &job.image()]).ok().text();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    let requests = job.proxy.requests();
    let is_mounted = |digest: &str| {
        let mount = format!("mount={}", digest.replace(':', "%3A"));
        let is_it = |path: &str| path.contains("/cache/blobs/uploads/") && path.contains(&mount);
        requests.iter().any(|it| it.method == "POST" && is_it(&it.path))
    };
    let lost: Vec<&Value> = layers.filter(|layer| !is_mounted(layer["digest"].as_str().unwrap())).collect();
    assert_eq!(lost, [&Value::Null; 0], "{requests:?}");
}

#[test]
fn without_a_step_one_manifest_is_put() {
    let mut job = Job::new("export", Project::new());
    let cold = job.push(&[]);
    assert!(has_exported(&cold) && written(&cold, "cache") == ["branch-main"], "{cold}");

    // The same files on a new branch.
    job.on("feature");
    job.reset();
    let plan =
        job.test.run(job.project.folder(), &["plan", "--network=host", "--push", "-t", &job.image(), "."]);
    let plan = plan.ok().text();
    assert!(plan.contains("cache:branch-feature, by one manifest when no step runs\n"), "{plan}");
    assert!(plan.contains("keep the cache, if no step runs"), "{plan}");
    job.proxy.clear();
    let first = job.push(&[]);
    assert!(is_full_hit(&first) && !has_exported(&first), "{first}");
    assert_eq!(written(&first, RETAGGED), ["branch-feature"], "{first}");
    assert_eq!(job.put(), ["branch-feature", "branch-feature--record"]);
    let uploads = job.proxy.requests().iter().filter(|it| it.method == "POST").count();
    assert!(uploads <= 2, "the record alone has blobs: {:?}", job.proxy.requests());

    // On the same branch it is there already. An engine without any state is answered from it alone.
    job.reset();
    let again = job.push(&[]);
    assert!(is_full_hit(&again) && !has_exported(&again), "{again}");
    assert_eq!((job.put(), written(&again, RETAGGED), written(&again, "cache")), (none(), none(), none()));
    assert_eq!(again.report["cache"]["from"][0].as_str().unwrap().rsplit(':').next(), Some("branch-feature"));

    // What is new is exported, by the build, when the image is there.
    job.project.change_source("two\n");
    job.proxy.clear();
    let changed = job.push(&["-t", &job.proxy.reference(&format!("{}:image", job.repository))]);
    let put = job.put();
    let place = |name: &str| put.iter().position(|it| it == name);
    assert!(place("image").is_some() && place("image") < place("branch-feature"), "{put:?}");
    assert_eq!(changed.executed().len(), STEPS_OF_SOURCE.len(), "{changed}");
    assert!(has_exported(&changed) && written(&changed, "cache") == ["branch-feature"], "{changed}");

    // A fork leaves nothing.
    let fork = job::gitlab(&job.proxy.reference(&job.repository), Event::Fork { number: 7, branch: "main" });
    job.test.set_job(fork);
    job.proxy.clear();
    let _ = job.push(&[]);
    assert_eq!(job.put(), none());
}

/// What the machine's engine holds of itself is under no ref.
#[test]
fn outside_of_ci_it_counts_what_is_read() {
    let mut job = Job::new("export-local", Project::new());
    let _ = job.push(&[]);
    job.test.set_job(Vec::new());
    let cache = job.proxy.reference(&format!("{}/cache", job.repository));
    let reads = ["--cache-repo", &cache, "--scope=dev", "--fallback=branch-main"];
    let writes = [&reads[..], &["--read-only=false"]].concat();

    job.proxy.clear();
    let first = job.push(&writes);
    assert!(is_full_hit(&first) && !has_exported(&first), "{first}");
    assert_eq!(written(&first, RETAGGED), ["dev"], "{first}");
    job.proxy.clear();
    let again = job.push(&writes);
    assert!(is_full_hit(&again) && !has_exported(&again), "{again}");
    assert_eq!(job.put(), none());

    job.project.change_source("two\n");
    let unwritten = job.push(&reads);
    assert_eq!((unwritten.executed().len(), job.put()), (STEPS_OF_SOURCE.len(), none()), "{unwritten}");
    let caught_up = job.push(&writes);
    assert!(is_full_hit(&caught_up) && has_exported(&caught_up), "{caught_up}");
    assert_eq!(written(&caught_up, "cache"), ["dev"], "{caught_up}");
}

/// The record says that all is cached, and the cache is that of an earlier build.
#[test]
fn a_step_that_ran_after_all_is_exported_after_all() {
    let mut job = Job::new("export-wrong", Project::new());
    let cache = job.registry.reference(&format!("{}/cache", job.repository));
    let digest = |job: &Job| job.registry.digest(&format!("{cache}:branch-main"));
    let layers = |job: &Job| {
        let manifest = job.registry.crane(&["manifest", &format!("{cache}:branch-main")]).ok().text();
        serde_json::from_str::<Value>(&manifest).unwrap()["layers"].as_array().unwrap().len()
    };
    let _ = job.push(&[]);
    let early = digest(&job);
    // The later build has a layer more.
    job.project.write("Dockerfile", &format!("{}COPY src/ more/\n", job.project.dockerfile()));
    let _ = job.push(&[]);
    let (late, all) = (digest(&job), layers(&job));
    let _ = job.registry.crane(&["tag", &format!("{cache}@{early}"), "branch-main"]).ok();
    assert!(early != late && layers(&job) < all);

    job.reset();
    let wrong = job.push(&[]);
    assert_eq!(wrong.report["explanation"]["predicted"]["run"], 0, "{wrong}");
    assert_eq!(wrong.executed(), [("final".to_owned(), "COPY src/ more/".to_owned())], "{wrong}");
    assert!(!has_exported(&wrong) && written(&wrong, "cache") == ["branch-main"], "{wrong}");
    assert_eq!(layers(&job), all, "the second call has exported the whole");

    job.reset();
    let right = job.push(&[]);
    assert_eq!(right.executed(), [], "{right}");
}

#[test]
fn a_detached_export_waits_for_the_flush() {
    let mut job = Job::new("export-detach", Project::new());
    job.test.set("LAYERLIFT_DETACH_CACHE", "true");
    assert!(job.flush(&[]).ok().stderr.contains(NOTHING));
    let cold = job.push(&["--build-arg", "TOKEN=s3cr3t"]);
    assert!(!has_exported(&cold), "{cold}");
    assert_eq!(job.registry.file(&job.image(), "app/source.txt"), job.project.source());
    assert_eq!((job.refs(), job.put()), (none(), none()));
    let pending = job.proxy.reference(&format!("{}/cache:branch-main", job.repository));
    assert_eq!(cold.report["cache"]["pending"], json!(pending), "{cold}");
    assert!(cold.finished.stderr.contains("pending   cache: "), "{cold}");
    let files = run(&mut job.test.program(
        "find",
        job.project.folder(),
        &[job.test.path("home/.cache/layerlift/pending").to_str().unwrap(), "-type", "f", "-printf", "%m\\n"],
    ));
    assert_eq!(files.ok().text(), "600");

    // Without a flush nothing is lost but the cache.
    job.reset();
    let again = job.push(&["--build-arg", "TOKEN=s3cr3t"]);
    assert_eq!((again.executed().len(), job.refs()), (cold.executed().len(), none()), "{again}");

    // Nobody else's job writes it.
    let fork = job::gitlab(&job.proxy.reference(&job.repository), Event::Fork { number: 7, branch: "main" });
    job.test.set_job(fork);
    let left = job.flush(&["--strict"]).ok();
    assert!(
        left.stderr.contains(&format!("cache {pending} is not written: it waits for its own job: ")),
        "{}",
        left.all()
    );
    job.on("feature");
    let left = job.flush(&["--strict"]).ok();
    assert!(left.stderr.contains("cache:branch-feature\n"), "{}", left.all());
    job.on("main");
    job.test.set("LAYERLIFT_READ_ONLY", "true");
    let told = job.flush(&[]).ok();
    assert!(told.stderr.contains("this job writes none"), "{}", told.all());
    job.test.set("LAYERLIFT_READ_ONLY", "false");
    assert_eq!(job.refs(), none());

    // From another folder of the project.
    let flushed = job.test.run(&job.project.folder().join("src"), &["cache", "flush"]).ok();
    assert!(flushed.stderr.contains(&format!("written cache: {pending}\n")), "{}", flushed.all());
    assert_eq!(job.refs(), ["branch-main", "branch-main--record"]);
    assert!(job.flush(&[]).ok().stderr.contains(NOTHING));
    assert_eq!(job.test.temporary_files(), none());

    job.reset();
    let next = job.push(&["--build-arg", "TOKEN=s3cr3t"]);
    assert!(is_full_hit(&next) && next.report["cache"]["pending"].is_null(), "{next}");

    // No build can be detached whose context is gone.
    job.project.change_source("two\n");
    let report = job.test.path("piped.json");
    let line = format!(
        "tar c . | layerlift build --network=host --push -t {} --report {} -",
        job.image(),
        report.to_str().unwrap()
    );
    let piped = job.test.script(job.project.folder(), &line);
    assert!(piped.finished.code == 0 && has_exported(&piped), "{piped}");
    let line = "tar c . | layerlift plan --network=host --push -t app -";
    let plan = job.test.script(job.project.folder(), line).finished.ok().text();
    assert!(plan.contains("in spite of --detach-cache"), "{plan}");
}

/// A Dockerfile over standard input, and one in which the last `COPY` is linked.
#[test]
fn a_flush_builds_from_the_dockerfile_that_was_built() {
    let text = "FROM busybox\nRUN --mount=type=secret,id=x cat /proc/sys/kernel/random/uuid > /stamp\nWORKDIR /app\nCOPY src/ src/\nCMD [\"true\"]\n";
    let mut job = Job::new("export-dockerfile", Project::with_dockerfile(text));
    let _ = job.push(&[]);
    job.test.set("LAYERLIFT_DETACH_CACHE", "true");
    job.project.change_source("two\n");
    let linked = job.push(&[]);
    assert_eq!(linked.report["linked"][0]["line"], 4, "{linked}");
    assert_eq!(linked.executed().len(), 1, "{linked}");
    let before =
        job.registry.digest(&job.registry.reference(&format!("{}/cache:branch-main", job.repository)));
    let _ = job.flush(&["--strict"]).ok();
    let after =
        job.registry.digest(&job.registry.reference(&format!("{}/cache:branch-main", job.repository)));
    assert_ne!(before, after);
    job.reset();
    let same = job.push(&[]);
    assert_eq!((same.executed(), &same.report["linked"][0]["line"]), (Vec::new(), &json!(4)), "{same}");

    job.project.change_source("three\n");
    let line = format!("layerlift build --network=host --push -t {} -f - . < Dockerfile", job.image());
    let given = job.test.script(job.project.folder(), &line);
    assert_eq!((given.finished.code, given.warnings().as_str()), (0, ""), "{given}");
    assert!(given.report["cache"]["pending"].is_string(), "{given}");
    let _ = job.flush(&["--strict"]).ok();
    job.reset();
    let given = job.test.script(job.project.folder(), &line);
    assert_eq!((given.executed(), given.report["cache"]["pending"].is_null()), (Vec::new(), true), "{given}");

    // A step that the engine had forgotten would run without its secret, for every later build to find.
    job.project.change_source("four\n");
    let secret = job.test.path("secret");
    std::fs::write(&secret, "s3cr3t").unwrap();
    let with_secret = job.push(&["--secret", &format!("id=x,src={}", secret.display())]);
    assert!(has_exported(&with_secret) && with_secret.report["cache"]["pending"].is_null(), "{with_secret}");
}

#[test]
fn a_flush_that_fails_is_tried_again_and_a_useless_one_is_not() {
    let mut job = Job::new("export-failed", Project::new());
    job.test.set("LAYERLIFT_DETACH_CACHE", "true");
    let _ = job.push(&[]);
    // The registry takes nothing.
    job.proxy.on(WRITE, "/v2/*/cache/*", Fault::Status(403, &[])).always();
    let refused = job.flush(&[]).ok();
    assert!(refused.stderr.contains("; the next flush tries again"), "{}", refused.all());

    // Somebody ends it while it writes.
    job.proxy.clear();
    job.proxy.on("PUT", MANIFESTS, Fault::Delay(Duration::from_secs(60))).always();
    let child = job.test.start(job.project.folder(), &["cache", "flush"]);
    let begin = Instant::now();
    while !job.proxy.requests().iter().any(|it| it.fault.is_some()) {
        assert!(begin.elapsed() < Duration::from_secs(60), "it writes: {:?}", job.proxy.requests());
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = run(std::process::Command::new("kill").args(["-INT", &child.id().to_string()])).ok();
    let ended: Finished = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 130, "{}", ended.all());
    job.proxy.clear();
    let flushed = job.flush(&["--strict"]).ok();
    assert!(flushed.stderr.contains("written cache: "), "{}", flushed.all());

    // What is built and what is there afterwards are two things.
    job.project.change_source("two\n");
    let _ = job.push(&[]);
    job.project.write("assets/logo.txt", "made by the job\n");
    let strict = job.flush(&["--strict"]);
    assert_eq!(strict.code, 75, "{}", strict.all());
    let reason = "`assets/logo.txt` changed after the build; .dockerignore keeps it out";
    assert!(strict.stderr.contains(reason), "{}", strict.all());
    assert!(job.flush(&[]).ok().stderr.contains(NOTHING));

    // A later build of the branch has exported: that is what stays.
    job.project.change_source("three\n");
    let _ = job.push(&[]);
    job.test.set("LAYERLIFT_DETACH_CACHE", "false");
    job.project.change_source("four\n");
    let later = job.push(&[]);
    assert!(has_exported(&later), "{later}");
    job.test.set("LAYERLIFT_DETACH_CACHE", "true");
    job.project.change_source("three\n");
    let overtaken = job.flush(&["--strict"]).ok();
    assert!(overtaken.stderr.contains("a later build has written it"), "{}", overtaken.all());
    assert!(job.flush(&[]).ok().stderr.contains(NOTHING));

    // Another engine has nothing to export.
    job.project.change_source("five\n");
    let _ = job.push(&[]);
    let other = Engine::start(Kind::Docker26Graph);
    job.test.use_engine(&other);
    let elsewhere = job.flush(&[]).ok();
    assert!(elsewhere.stderr.contains("another engine built"), "{}", elsewhere.all());
    assert!(job.flush(&[]).ok().stderr.contains(NOTHING));
}
