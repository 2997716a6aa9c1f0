//! Plans over a table of facts: every kind of engine, every kind of pipeline, every flag that changes a decision.

use super::*;
use crate::dockerfile::{self, Dockerfile, Inputs};
use crate::model::engine::{Driver, Engine, Frontend, Store, Version};
use crate::model::modes::Modes;
use crate::model::pipeline::{ChangeKind, Pipeline, Provider, Trigger, Trust};
use crate::model::reference::Digest;
use crate::model::request::{Context, Flag, arguments};
use crate::plan::cache_repo::cache_repo;
use crate::plan::chain::{Candidate, Finding};
use crate::plan::explain::Veil;
use crate::plan::keys::{Image, Keys};
use crate::plan::reuse::Looked;
use crate::plan::scope;
use crate::plan::strategy::tests::engine;

const DOCKERFILE: &str =
    "FROM busybox\nRUN a\nFROM busybox AS build\nCOPY --from=0 / /\nFROM build AS final\nCMD x\n";

fn modern() -> Engine {
    engine(Version(28, 5, 2), Store::Containerd, Frontend::Buildx)
}

fn pipeline(trigger: Trigger) -> Pipeline {
    Pipeline {
        provider: Provider::GitLab,
        trigger,
        default_branch: Some("main".to_owned()),
        trust: Trust::Trusted,
        commit: None,
        url: None,
        image_repository: Some("r.io/app".to_owned()),
        project_folder: None,
    }
}

fn branch(name: &str) -> Trigger {
    Trigger::Branch { name: name.to_owned() }
}

/// A build of `main` on a modern engine; each test changes what it is about.
struct Case {
    engine: Engine,
    pipeline: Pipeline,
    settings: Settings,
    dockerfile: Result<&'static str, &'static str>,
    named: Result<(), &'static str>,
    flags: Vec<Flag>,
    folder: Option<&'static str>,
    /// Scopes whose ref cannot be seen from here, so that there is something to read.
    unprobed: &'static [&'static str],
}

impl Default for Case {
    fn default() -> Self {
        Case {
            engine: modern(),
            pipeline: pipeline(branch("main")),
            settings: Settings::default(),
            dockerfile: Ok(DOCKERFILE),
            named: Ok(()),
            flags: vec![Flag::text("tag", "r.io/app:1")],
            folder: None,
            unprobed: &[],
        }
    }
}

impl Case {
    fn plan(self) -> Result<Plan, Unsupported> {
        let platform = self.engine.platform.clone();
        let graph = self.dockerfile.map_err(str::to_owned).map(|text| {
            let file = Dockerfile::parse(text.as_bytes()).expect("Dockerfile");
            let inputs = Inputs {
                build_args: std::collections::BTreeMap::new(),
                target: None,
                platform: platform.clone(),
                build_platform: platform.clone(),
                contexts: std::collections::BTreeMap::new(),
            };
            dockerfile::graph(&file, &inputs).expect("graph")
        });
        let scopes = scope::scopes(&self.pipeline, self.settings.scope.as_deref(), &self.settings.fallback);
        let repo = cache_repo(self.settings.cache_repo.as_ref(), &self.pipeline, &[]);
        let keys = Keys::new(
            "",
            &Image {
                dockerfile: "Dockerfile",
                context: "",
                target: None,
                platforms: std::slice::from_ref(&platform),
                member: None,
            },
        );
        let classic = self.engine.frontend == Frontend::Classic;
        let candidates = scopes.read.iter().filter_map(|scope| {
            let finding = match self.unprobed.contains(&scope.as_str()) {
                true if classic => Finding::Image { digest: Digest::of(scope.as_str().as_bytes()) },
                true => Finding::Unreachable("no route".to_owned()),
                false => Finding::Missing,
            };
            let tag = if classic { keys.stage_tag(scope, "build") } else { keys.cache_tag(scope) };
            let reference = repo.as_ref().ok()?.repository.with_tag(&tag).ok()?;
            Some(Candidate { reference, scope: scope.to_string(), finding })
        });
        let facts = Facts {
            builder: None,
            modes: Modes::untouched("this is a table"),
            may_write: scope::may_write(&self.pipeline, self.settings.read_only),
            candidates: candidates.collect(),
            cache_repo: repo.map_err(|none| none.to_string()),
            inputs: Err(String::new()),
            uncounted: None,
            records: Vec::new(),
            veil: Veil::default(),
            reuse: Looked::not("a test"),
            unnamed: Unnamed {
                stages: vec!["stage-0".to_owned()],
                named: self.named.map(|()| Vec::new()).map_err(str::to_owned),
            },
            pipeline: self.pipeline,
            engine: self.engine,
            graph,
            scopes,
            keys,
            platforms: vec![platform],
            folder: self.folder.map(|path| CacheFolder { path: path.into(), record: None }),
            exposed: self.folder.map(PathBuf::from),
            not_linked: None,
            exports_alone: true,
            warnings: Vec::new(),
        };
        let request = Request { flags: self.flags, context: Context::Folder(".".into()) };
        plan(&request, &self.settings, &facts)
    }

    /// Decisions about strategy, reading, writing and output, then the builds' flags and what is kept.
    fn shown(self) -> String {
        let plan = match self.plan() {
            Ok(plan) => plan,
            Err(unsupported) => return unsupported.to_string(),
        };
        let told = ["strategy", "write", "read", "output"];
        let mut text = String::new();
        for decision in plan.decisions.iter().filter(|decision| told.contains(&decision.topic)) {
            text += &format!("{}: {} ({})\n", decision.topic, decision.choice, decision.reason);
        }
        plan.warnings.iter().for_each(|warning| text += &format!("warning: {warning}\n"));
        text += &format!("$ {}\n", arguments(&plan.build.flags).join(" "));
        plan.push.iter().for_each(|image| text += &format!("push {image}\n"));
        match &plan.keep {
            Keep::Nothing => text += "keep nothing\n",
            Keep::GivenUp => text += "keep the record\n",
            Keep::Export(reference) => text += &format!("keep {reference}\n"),
            Keep::Deferred(deferred) => text += &format!("keep {} later\n", deferred.own),
            Keep::Folder { fresh, place } => {
                text += &format!("keep {} for {}\n", fresh.display(), place.display());
            }
            Keep::Inline { stages, .. } | Keep::Classic(stages) => {
                for stage in stages {
                    let nameless = if stage.unnamed { " (named)" } else { "" };
                    let flags = arguments(&stage.build.flags).join(" ");
                    text += &format!("keep {}{nameless}: $ {flags}\n", stage.label);
                    let elsewhere: Vec<String> = stage.elsewhere.iter().map(ToString::to_string).collect();
                    if !elsewhere.is_empty() {
                        text += &format!("  may be {}\n", elsewhere.join(", "));
                    }
                }
            }
        }
        text
    }
}

#[test]
fn every_engine_gets_what_it_can_do() {
    let graph = |server, frontend| engine(server, Store::GraphDriver, frontend);
    let old = Version(20, 10, 24);
    let with_buildx = |mut engine: Engine| {
        engine.buildx = Some(Version(0, 13, 1));
        engine
    };
    let mut container = modern();
    container.driver = Driver::DockerContainer;
    container.store = Store::GraphDriver;
    let push = || vec![Flag::text("tag", "r.io/app:1"), Flag::on("push")];
    let on = |engine| Case { engine, flags: push(), unprobed: &["branch-main"], ..Case::default() }.shown();
    insta::assert_snapshot!(on(modern()), @"
    strategy: registry (the builder can export its cache to a registry)
    write: r.io/app/cache:branch-main (the project's own code)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    output: --push became --output type=image,push=true,store=false,unpack=false (the image is only pushed: nothing is stored or unpacked in the engine (--keep-image stores it))
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --tag r.io/app:1 --output type=image,push=true,store=false,unpack=false --cache-from type=registry,ref=r.io/app/cache:branch-main --cache-to type=registry,ref=r.io/app/cache:branch-main,mode=max,ignore-error=true,image-manifest=true,oci-mediatypes=true,compression-level=1
    keep r.io/app/cache:branch-main
    ");
    insta::assert_snapshot!(on(graph(Version(28, 5, 2), Frontend::Buildx)), @"
    strategy: inline (this engine's BuildKit exports no cache but the inline one)
    write: r.io/app/cache:branch-main (the project's own code)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --tag r.io/app:1 --push --cache-from type=registry,ref=r.io/app/cache:branch-main
    keep stage-0 (named): $ --target stage-0 --tag r.io/app/cache:branch-main--stage-stage-0 --cache-from type=registry,ref=r.io/app/cache:branch-main --cache-to type=inline
    keep build: $ --target build --tag r.io/app/cache:branch-main--stage-build --cache-from type=registry,ref=r.io/app/cache:branch-main --cache-to type=inline
    ");
    insta::assert_snapshot!(on(with_buildx(engine(Version(26, 1, 5), Store::Containerd, Frontend::Buildx))), @"
    strategy: registry (the builder can export its cache to a registry)
    write: r.io/app/cache:branch-main (the project's own code)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --tag r.io/app:1 --push --cache-from type=registry,ref=r.io/app/cache:branch-main --cache-to type=registry,ref=r.io/app/cache:branch-main,mode=max,ignore-error=true,image-manifest=true,oci-mediatypes=true,compression-level=1
    keep r.io/app/cache:branch-main
    ");
    insta::assert_snapshot!(on(with_buildx(graph(Version(26, 1, 5), Frontend::Buildx))), @"
    strategy: inline (this engine's BuildKit exports no cache but the inline one)
    write: r.io/app/cache:branch-main (the project's own code)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --tag r.io/app:1 --push --cache-from type=registry,ref=r.io/app/cache:branch-main
    keep stage-0 (named): $ --target stage-0 --tag r.io/app/cache:branch-main--stage-stage-0 --cache-from type=registry,ref=r.io/app/cache:branch-main --cache-to type=inline
    keep build: $ --target build --tag r.io/app/cache:branch-main--stage-build --cache-from type=registry,ref=r.io/app/cache:branch-main --cache-to type=inline
    ");
    insta::assert_snapshot!(on(graph(old, Frontend::BuildKit)), @"
    strategy: inline (this engine's BuildKit exports no cache but the inline one)
    write: r.io/app/cache:branch-main (the project's own code)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    output: --push became `docker push` after the build (the `docker build` of this engine cannot push)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --tag r.io/app:1 --cache-from r.io/app/cache:branch-main
    push r.io/app:1
    keep stage-0 (named): $ --target stage-0 --tag r.io/app/cache:branch-main--stage-stage-0 --cache-from r.io/app/cache:branch-main --build-arg BUILDKIT_INLINE_CACHE=1
    keep build: $ --target build --tag r.io/app/cache:branch-main--stage-build --cache-from r.io/app/cache:branch-main --build-arg BUILDKIT_INLINE_CACHE=1
    ");
    insta::assert_snapshot!(on(graph(old, Frontend::Classic)), @"
    strategy: classic (the classic builder reads its cache from local images)
    write: r.io/app/cache:branch-main--stage-* (the project's own code)
    read: r.io/app/cache:branch-main--stage-build (the classic builder reads images in the order given)
    output: --push became `docker push` after the build (the `docker build` of this engine cannot push)
    $ --tag r.io/app:1 --cache-from r.io/app/cache:branch-main--stage-build
    push r.io/app:1
    keep stage-0 (named): $ --target stage-0 --tag r.io/app/cache:branch-main--stage-classic-stage-0-9695cbbb
    keep build: $ --target build --tag r.io/app/cache:branch-main--stage-classic-build-ec7afe37
    ");
    insta::assert_snapshot!(on(container), @"
    strategy: registry (the builder can export its cache to a registry)
    write: r.io/app/cache:branch-main (the project's own code)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --tag r.io/app:1 --push --cache-from type=registry,ref=r.io/app/cache:branch-main --cache-to type=registry,ref=r.io/app/cache:branch-main,mode=max,ignore-error=true,image-manifest=true,oci-mediatypes=true,compression-level=1
    keep r.io/app/cache:branch-main
    ");
}

#[test]
fn every_pipeline_reads_and_writes_what_it_may() {
    let of = |pipeline: Pipeline| {
        let unprobed = &["branch-main"];
        Case { pipeline, unprobed, ..Case::default() }.shown()
    };
    let change =
        Trigger::Change { change: ChangeKind::MergeRequest, number: 12, target: Some("main".to_owned()) };
    let fork = Trust::Fork { evidence: "it comes from someone/app".to_owned() };
    let local = Pipeline { provider: Provider::Local, trust: Trust::Unknown, ..pipeline(branch("main")) };
    insta::assert_snapshot!(of(pipeline(branch("feature/x"))), @"
    strategy: registry (the builder can export its cache to a registry)
    write: r.io/app/cache:branch-feature-x-217d2bf5 (the project's own code)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --tag r.io/app:1 --cache-from type=registry,ref=r.io/app/cache:branch-main --cache-to type=registry,ref=r.io/app/cache:branch-feature-x-217d2bf5,mode=max,ignore-error=true,image-manifest=true,oci-mediatypes=true,compression-level=1
    keep r.io/app/cache:branch-feature-x-217d2bf5
    ");
    insta::assert_snapshot!(of(pipeline(change.clone())), @"
    strategy: registry (the builder can export its cache to a registry)
    write: r.io/app/cache:mr-12 (the project's own code)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --tag r.io/app:1 --cache-from type=registry,ref=r.io/app/cache:branch-main --cache-to type=registry,ref=r.io/app/cache:mr-12,mode=max,ignore-error=true,image-manifest=true,oci-mediatypes=true,compression-level=1
    keep r.io/app/cache:mr-12
    ");
    insta::assert_snapshot!(of(Pipeline { trust: fork, ..pipeline(change) }), @"
    strategy: registry (the builder can export its cache to a registry)
    write: nothing (forks never write a cache: it comes from someone/app)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --tag r.io/app:1 --cache-from type=registry,ref=r.io/app/cache:branch-main
    keep nothing
    ");
    insta::assert_snapshot!(of(pipeline(Trigger::Tag { name: "v1".to_owned() })), @"
    strategy: registry (the builder can export its cache to a registry)
    write: nothing (tags never write a cache: no build recurs on one)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --tag r.io/app:1 --cache-from type=registry,ref=r.io/app/cache:branch-main
    keep nothing
    ");
    insta::assert_snapshot!(of(local), @"
    strategy: registry (the builder can export its cache to a registry)
    write: nothing (not a CI job, and not told to write)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --tag r.io/app:1 --cache-from type=registry,ref=r.io/app/cache:branch-main
    keep nothing
    ");
    insta::assert_snapshot!(of(pipeline(Trigger::Unknown)), @"
    strategy: registry (the builder can export its cache to a registry)
    write: nothing (this build has no scope of its own that would come again)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --tag r.io/app:1 --cache-from type=registry,ref=r.io/app/cache:branch-main
    keep nothing
    ");
}

#[test]
fn the_users_own_cache_flags_stand_each_for_its_half() {
    let with = |flags: Vec<Flag>| Case { flags, unprobed: &["branch-main"], ..Case::default() }.shown();
    insta::assert_snapshot!(with(vec![Flag::text("cache-from", "r.io/mine")]), @"
    strategy: registry (the builder can export its cache to a registry)
    write: r.io/app/cache:branch-main (the project's own code)
    read: nothing (your own --cache-from stands)
    $ --cache-from r.io/mine --cache-to type=registry,ref=r.io/app/cache:branch-main,mode=max,ignore-error=true,image-manifest=true,oci-mediatypes=true,compression-level=1
    keep r.io/app/cache:branch-main
    ");
    insta::assert_snapshot!(with(vec![Flag::text("cache-to", "type=inline")]), @"
    strategy: registry (the builder can export its cache to a registry)
    write: nothing (your own --cache-to stands)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --cache-to type=inline --cache-from type=registry,ref=r.io/app/cache:branch-main
    keep nothing
    ");
    let old = engine(Version(20, 10, 24), Store::GraphDriver, Frontend::BuildKit);
    let flags = vec![Flag::text("cache-from", "r.io/mine"), Flag::text("build-arg", "a=b")];
    insta::assert_snapshot!(Case { engine: old, flags, ..Case::default() }.shown(), @"
    strategy: inline (this engine's BuildKit exports no cache but the inline one)
    write: r.io/app/cache:branch-main (the project's own code)
    read: nothing (your own --cache-from stands)
    $ --cache-from r.io/mine --build-arg a=b
    keep stage-0 (named): $ --build-arg a=b --target stage-0 --tag r.io/app/cache:branch-main--stage-stage-0 --build-arg BUILDKIT_INLINE_CACHE=1
    keep build: $ --build-arg a=b --target build --tag r.io/app/cache:branch-main--stage-build --build-arg BUILDKIT_INLINE_CACHE=1
    ");
}

#[test]
fn what_is_no_ordinary_build_reads_or_writes_less() {
    let with = |flags: Vec<Flag>| Case { flags, unprobed: &["branch-main"], ..Case::default() }.shown();
    insta::assert_snapshot!(with(vec![Flag::on("no-cache")]), @"
    strategy: registry (the builder can export its cache to a registry)
    write: r.io/app/cache:branch-main (the project's own code)
    read: nothing (--no-cache was given)
    $ --no-cache --cache-to type=registry,ref=r.io/app/cache:branch-main,mode=max,ignore-error=true,image-manifest=true,oci-mediatypes=true,compression-level=1
    keep r.io/app/cache:branch-main
    ");
    insta::assert_snapshot!(with(vec![Flag::on("check")]), @"
    strategy: off (the request asks a question about the Dockerfile)
    $ --check
    keep nothing
    ");
    insta::assert_snapshot!(with(vec![Flag::text("output", "type=local,dest=out")]), @"
    strategy: registry (the builder can export its cache to a registry)
    write: r.io/app/cache:branch-main (the project's own code)
    read: r.io/app/cache:branch-main (the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed)
    warning: cache ref r.io/app/cache:branch-main: no route
    $ --output type=local,dest=out --cache-from type=registry,ref=r.io/app/cache:branch-main --cache-to type=registry,ref=r.io/app/cache:branch-main,mode=max,ignore-error=true,image-manifest=true,oci-mediatypes=true
    keep r.io/app/cache:branch-main
    ");
    let off = Settings { strategy: Some(Strategy::Off), ..Settings::default() };
    insta::assert_snapshot!(Case { settings: off, ..Case::default() }.shown(), @"
    strategy: off (asked for)
    $ --tag r.io/app:1
    keep nothing
    ");
}

#[test]
fn without_a_cache_repo_a_folder_is_used() {
    let nowhere = || Pipeline { image_repository: None, ..pipeline(branch("main")) };
    let case = || Case { pipeline: nowhere(), ..Case::default() };
    insta::assert_snapshot!(case().shown(), @"
    strategy: local (no cache repo is known)
    read: nothing (no scope of the chain has a cache folder here)
    write: .layerlift/cache/branch-main (a folder of this machine or of the CI's own cache)
    $ --tag r.io/app:1 --cache-to type=local,dest=.layerlift/cache/branch-main.new,mode=max,ignore-error=true,compression-level=1
    keep .layerlift/cache/branch-main.new for .layerlift/cache/branch-main
    ");
    insta::assert_snapshot!(Case { folder: Some(".layerlift/cache/branch-main"), ..case() }.shown(), @"
    strategy: local (no cache repo is known)
    read: .layerlift/cache/branch-main (the nearest cache folder that is there)
    write: .layerlift/cache/branch-main (a folder of this machine or of the CI's own cache)
    warning: the cache folder .layerlift/cache/branch-main is in the build context, where a `COPY .` takes it along and never hits: add it to .dockerignore
    $ --tag r.io/app:1 --cache-from type=local,src=.layerlift/cache/branch-main --cache-to type=local,dest=.layerlift/cache/branch-main.new,mode=max,ignore-error=true,compression-level=1
    keep .layerlift/cache/branch-main.new for .layerlift/cache/branch-main
    ");
    let tag = Pipeline { trigger: Trigger::Tag { name: "v1".to_owned() }, ..nowhere() };
    let folder = Some(".layerlift/cache/branch-main");
    insta::assert_snapshot!(Case { pipeline: tag, folder, ..Case::default() }.shown(), @"
    strategy: local (no cache repo is known)
    read: .layerlift/cache/branch-main (the nearest cache folder that is there)
    write: nothing (tags never write a cache: no build recurs on one)
    $ --tag r.io/app:1 --cache-from type=local,src=.layerlift/cache/branch-main
    keep nothing
    ");
    insta::assert_snapshot!(Case { folder, flags: vec![Flag::on("no-cache")], ..case() }.shown(), @"
    strategy: local (no cache repo is known)
    read: nothing (--no-cache was given)
    write: .layerlift/cache/branch-main (a folder of this machine or of the CI's own cache)
    warning: the cache folder .layerlift/cache/branch-main is in the build context, where a `COPY .` takes it along and never hits: add it to .dockerignore
    $ --no-cache --cache-to type=local,dest=.layerlift/cache/branch-main.new,mode=max,ignore-error=true,compression-level=1
    keep .layerlift/cache/branch-main.new for .layerlift/cache/branch-main
    ");
    let graph = engine(Version(28, 5, 2), Store::GraphDriver, Frontend::Buildx);
    let comma = PathBuf::from("a,b");
    let settings = Settings { strategy: Some(Strategy::Local), cache_dir: comma, ..Settings::default() };
    let laptop = || Pipeline { provider: Provider::Local, trust: Trust::Unknown, ..nowhere() };
    insta::assert_snapshot!(Case { pipeline: laptop(), ..case() }.shown(), @"
    strategy: local (no cache repo is known)
    read: nothing (no scope of the chain has a cache folder here)
    write: nothing (not a CI job, and not told to write)
    $ --tag r.io/app:1
    keep nothing
    ");
    let asked = Case { pipeline: laptop(), settings: settings.clone(), ..case() };
    insta::assert_snapshot!(asked.shown(), @r#"
    strategy: local (asked for)
    read: nothing (no scope of the chain has a cache folder here)
    write: a,b/branch-main (a folder of this machine or of the CI's own cache)
    $ --tag r.io/app:1 --cache-to type=local,"dest=a,b/branch-main.new",mode=max,ignore-error=true,compression-level=1
    keep a,b/branch-main.new for a,b/branch-main
    "#);
    insta::assert_snapshot!(Case { engine: graph, settings, ..case() }.shown(), @"
    strategy: off (no cache repo is known, and the builder cannot export a cache to a folder)
    warning: strategy `local` is not possible here, `off` is used: the builder cannot export a cache (it needs the containerd image store or a docker-container builder)
    $ --tag r.io/app:1
    keep nothing
    ");
}

#[test]
fn an_unknown_dockerfile_is_cached_as_a_whole() {
    let old = || engine(Version(20, 10, 24), Store::GraphDriver, Frontend::BuildKit);
    let unknown = Case { engine: old(), dockerfile: Err("it is at a git address"), ..Case::default() };
    insta::assert_snapshot!(unknown.shown(), @"
    strategy: inline (this engine's BuildKit exports no cache but the inline one)
    write: r.io/app/cache:branch-main (the project's own code)
    read: nothing (no cache ref of the chain can be used)
    $ --tag r.io/app:1
    keep target: $ --tag r.io/app/cache:branch-main--stage-target --build-arg BUILDKIT_INLINE_CACHE=1
    ");
    let packed = Case { engine: old(), named: Err("its Dockerfile is in an archive"), ..Case::default() };
    insta::assert_snapshot!(packed.shown(), @"
    strategy: inline (this engine's BuildKit exports no cache but the inline one)
    write: r.io/app/cache:branch-main (the project's own code)
    read: nothing (no cache ref of the chain can be used)
    write: nothing of stage stage-0 (it has no name for --target, and its Dockerfile is in an archive)
    $ --tag r.io/app:1
    keep build: $ --target build --tag r.io/app/cache:branch-main--stage-build --build-arg BUILDKIT_INLINE_CACHE=1
    ");
}

#[test]
fn the_plan_tells_of_the_surroundings_first() {
    let plan = Case::default().plan().expect("plan");
    let topics: Vec<_> = plan.decisions.iter().map(|decision| decision.topic).collect();
    assert_eq!(
        topics,
        ["scope", "cache repo", "modes", "stages", "reuse", "strategy", "write", "read", "compression"]
    );
    assert_eq!(plan.decisions[3].choice, "stage-0, build, final");
    assert!(plan.decisions.iter().all(|decision| !decision.reason.is_empty()));
}
