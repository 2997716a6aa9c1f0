//! The user's `docker build` line, rewritten for the engine: what is added, what is taken out, and why.
//!
//! Nothing that changes what is built is touched. Cache flags of the user stand as given; each replaces only its own
//! half of ours.

use crate::model::engine::{Engine, Frontend};
use crate::model::flags::{self, Since};
use crate::model::request::{Context, Flag, Request, Value};

/// One engine build: flags and context, before it is an argument list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The flags, in order.
    pub flags: Vec<Flag>,
    /// The context.
    pub context: Context,
}

impl Build {
    /// The same build without reading any cache ref: what is run when a blob behind a good manifest is gone.
    pub fn without_cache_from(&self) -> Build {
        let flags = self.flags.iter().filter(|flag| flag.name != "cache-from").cloned().collect();
        Build { flags, context: self.context.clone() }
    }

    /// The same build with another Dockerfile. One that comes from standard input is replaced there, not here.
    pub fn reading(&self, dockerfile: &str) -> Build {
        let mut build = self.clone();
        let from_stdin = build.flags.iter().any(|flag| *flag == Flag::text("file", "-"));
        if build.context != Context::Stdin && !from_stdin {
            build.flags.retain(|flag| flag.name != "file");
            build.flags.push(Flag::text("file", dockerfile));
        }
        build
    }

    /// The names of its image.
    pub fn tags(&self) -> Vec<String> {
        self.as_request().tags()
    }

    /// Whether it pushes its image by itself.
    pub fn pushes(&self) -> bool {
        self.as_request().pushes()
    }

    /// Whether its result is an image, which has an id. With `--iidfile`, buildx refuses `local` and `tar` outputs
    /// ("incompatible with image ID file"), and 20.10 fails after all but the image that it keeps.
    pub fn has_image_id(&self) -> bool {
        let outputs = self.as_request().outputs();
        outputs.iter().all(|output| ["image", "registry", "docker"].contains(&output.kind.as_str()))
    }

    fn as_request(&self) -> Request {
        Request { flags: self.flags.clone(), context: self.context.clone() }
    }
}

/// Why a request cannot be carried out by this engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A flag that only buildx knows, and no buildx.
    #[error("`--{flag}` needs buildx, and this Docker client has none")]
    NeedsBuildx {
        /// The flag's name.
        flag: &'static str,
    },
    /// A flag that only BuildKit knows, with the classic builder.
    #[error("`--{flag}` needs BuildKit, and DOCKER_BUILDKIT=0 asks for the classic builder")]
    NeedsBuildKit {
        /// The flag's name.
        flag: &'static str,
    },
}

/// A rewritten line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// What the engine is to run.
    pub build: Build,
    /// Images that are to be pushed afterwards, because this engine's build cannot push.
    pub push: Vec<String>,
    /// What was changed and why: pairs of change and reason.
    pub changes: Vec<(String, String)>,
}

/// What the cache adds to the line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheFlags {
    /// Values of `--cache-from`.
    pub from: Vec<String>,
    /// Values of `--cache-to`.
    pub to: Vec<String>,
}

/// Rewrites the line. `keep_image`: a pushed image is to be stored in the engine as well.
pub fn rewrite(
    request: &Request,
    engine: &Engine,
    cache: &CacheFlags,
    keep_image: bool,
) -> Result<Rewritten, Unsupported> {
    let mut rewritten = Rewritten {
        build: Build { flags: request.flags.clone(), context: request.context.clone() },
        push: Vec::new(),
        changes: Vec::new(),
    };
    match engine.frontend {
        Frontend::Buildx => outputs(request, engine, keep_image, &mut rewritten),
        Frontend::BuildKit | Frontend::Classic => without_buildx(request, engine, &mut rewritten)?,
        // What comes of it is said by its line alone.
        Frontend::Buildctl | Frontend::Buildah => {}
    }
    let added = cache.from.iter().map(|value| Flag::text("cache-from", value));
    rewritten.build.flags.extend(added.chain(cache.to.iter().map(|value| Flag::text("cache-to", value))));
    Ok(rewritten)
}

/// Where the image goes, with buildx: nothing is stored that is only to be pushed, and what `docker build` would load
/// is loaded.
fn outputs(request: &Request, engine: &Engine, keep_image: bool, rewritten: &mut Rewritten) {
    let outputs = request.outputs();
    let flags = &mut rewritten.build.flags;
    if request.pushes() && !request.is_on("load") && !keep_image && engine.can_push_unstored() {
        const UNSTORED: &str = "store=false,unpack=false";
        let reason =
            "the image is only pushed: nothing is stored or unpacked in the engine (--keep-image stores it)";
        if outputs.is_empty() {
            flags.retain(|flag| flag.name != "push");
            flags.push(Flag::text("output", format!("type=image,push=true,{UNSTORED}")));
            rewritten
                .changes
                .push((format!("--push became --output type=image,push=true,{UNSTORED}"), reason.to_owned()));
        } else if let [output] = outputs.as_slice()
            && output.push
        {
            for flag in flags.iter_mut().filter(|flag| flag.name == "output") {
                if let Value::Text(text) = &mut flag.value
                    && !text.contains("store=")
                    && !text.contains("unpack=")
                {
                    text.push_str(&format!(",{UNSTORED}"));
                    rewritten.changes.push((format!("{UNSTORED} was added to --output"), reason.to_owned()));
                }
            }
        }
    }
    let names_no_output = outputs.is_empty() && !request.has("push") && !request.has("load");
    if names_no_output && !request.is_question() && !engine.loads_by_default() {
        if request.platforms().len() > 1 {
            let reason = "an engine cannot load an image of several platforms; add --push or --output";
            rewritten.changes.push(("the image stays in the builder's cache".to_owned(), reason.to_owned()));
        } else {
            flags.push(Flag::on("load"));
            let reason = format!(
                "builder `{}` would not put the image into the engine, `docker build` would",
                engine.builder
            );
            rewritten.changes.push(("--load was added".to_owned(), reason));
        }
    }
}

/// Flags that the `docker build` of 20.10 does not know: what can be done without it is done, the rest is refused.
fn without_buildx(request: &Request, engine: &Engine, rewritten: &mut Rewritten) -> Result<(), Unsupported> {
    // These ask for what such an engine does anyway: it loads every image, and makes no attestations.
    let harmless = |flag: &Flag| match (flag.name, &flag.value) {
        ("load" | "debug" | "push", _) => true,
        ("provenance" | "sbom", Value::Text(text)) => text == "false" || text.contains("disabled=true"),
        ("check", Value::Switch(on)) => !on,
        ("builder", Value::Text(name)) => name == "default",
        _ => false,
    };
    for flag in &request.flags {
        match flags::definition(flag.name).map(|definition| definition.since) {
            Some(Since::Buildx) if !harmless(flag) => {
                return Err(Unsupported::NeedsBuildx { flag: flag.name });
            }
            Some(Since::BuildKit) if engine.frontend == Frontend::Classic && flag.name != "progress" => {
                return Err(Unsupported::NeedsBuildKit { flag: flag.name });
            }
            _ => {}
        }
    }
    let classic = engine.frontend == Frontend::Classic;
    rewritten.build.flags.retain(|flag| !(harmless(flag) || classic && flag.name == "progress"));
    if request.is_on("push") {
        rewritten.push = request.tags();
        rewritten.changes.push((
            "--push became `docker push` after the build".to_owned(),
            "the `docker build` of this engine cannot push".to_owned(),
        ));
    }
    Ok(())
}

/// Flags that name, move or report the user's image. `--no-cache` is among them: it was obeyed by the user's build, whose
/// results are what is wanted later.
const OF_THE_IMAGE: &[&str] = &[
    "tag",
    "output",
    "push",
    "load",
    "iidfile",
    "metadata-file",
    "quiet",
    "progress",
    "cache-to",
    "no-cache",
    "no-cache-filter",
    "provenance",
    "sbom",
    "attest",
    "annotation",
    "check",
    "call",
    "debug",
];

/// The output that makes nothing (docker/buildx#337).
pub const CACHE_ONLY: &str = "type=cacheonly";

/// A build that was just run, once more, to do nothing but export its cache: every step is cached in the engine. It reads
/// what the build read, since layers that the engine has not fetched come from there, and asks for base images as it did.
/// It has the user's secrets, too: a step that ran once more without one could end otherwise, for the next build to find.
/// `to`: a value of `--cache-to`.
pub fn export_build(build: &Build, to: &str) -> Build {
    let request = build.as_request();
    let mut flags: Vec<Flag> = request.flags_without(OF_THE_IMAGE).cloned().collect();
    // Without an output, `docker build` loads an image.
    flags.extend([Flag::text("output", CACHE_ONLY), Flag::text("cache-to", to)]);
    Build { flags, context: request.context }
}

/// The build of one stage for its cache image: the user's line without what names, moves or reports the user's image.
/// `target`: `None` for the request's own target.
pub fn stage_build(
    request: &Request,
    engine: &Engine,
    target: Option<&str>,
    image: &str,
    cache_from: &[String],
) -> Build {
    // `--pull`, too, was obeyed by the user's build.
    let is_own = |flag: &&Flag| !["cache-from", "pull"].contains(&flag.name);
    let mut flags: Vec<Flag> = request.flags_without(OF_THE_IMAGE).filter(is_own).cloned().collect();
    if let Some(target) = target {
        flags.retain(|flag| flag.name != "target");
        flags.push(Flag::text("target", target));
    }
    flags.push(Flag::text("tag", image));
    flags.extend(cache_from.iter().map(|value| Flag::text("cache-from", value)));
    match engine.frontend {
        Frontend::Classic | Frontend::Buildctl | Frontend::Buildah => {}
        Frontend::BuildKit => flags.push(Flag::text("build-arg", "BUILDKIT_INLINE_CACHE=1")),
        Frontend::Buildx => {
            flags.push(Flag::text("cache-to", "type=inline"));
            if engine.can_export_cache() {
                // Attestations would make an index of every stage image, with a digest of its own each time.
                flags.extend([Flag::text("provenance", "false"), Flag::text("sbom", "false")]);
            }
            if engine.can_push_unstored() {
                flags.push(Flag::text("output", "type=image,push=true,store=false,unpack=false"));
            } else if !engine.loads_by_default() {
                flags.push(Flag::on("push"));
            }
        }
    }
    Build { flags, context: request.context.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::engine::{Driver, Store, Version};
    use crate::model::request::arguments;
    use crate::plan::strategy::tests::engine;

    fn request(flags: Vec<Flag>) -> Request {
        Request { flags, context: Context::Folder(".".into()) }
    }

    fn line(rewritten: &Rewritten) -> String {
        arguments(&rewritten.build.flags).join(" ")
    }

    #[test]
    fn what_is_only_pushed_is_not_stored() {
        let modern = engine(Version(28, 5, 2), Store::Containerd, Frontend::Buildx);
        let push = request(vec![Flag::text("tag", "r/a:1"), Flag::on("push")]);
        let cache = CacheFlags { from: vec!["type=registry,ref=r/c:x".into()], to: vec![] };
        let rewritten = rewrite(&push, &modern, &cache, false).expect("supported");
        assert_eq!(
            line(&rewritten),
            "--tag r/a:1 --output type=image,push=true,store=false,unpack=false --cache-from type=registry,ref=r/c:x"
        );
        assert_eq!(
            line(&rewrite(&push, &modern, &cache, true).expect("supported")),
            "--tag r/a:1 --push --cache-from type=registry,ref=r/c:x"
        );
        let graph = engine(Version(28, 5, 2), Store::GraphDriver, Frontend::Buildx);
        assert!(line(&rewrite(&push, &graph, &cache, false).expect("supported")).contains("--push"));
        let both = request(vec![Flag::on("push"), Flag::on("load")]);
        assert_eq!(
            line(&rewrite(&both, &modern, &CacheFlags::default(), false).expect("supported")),
            "--push --load"
        );
        let output = request(vec![Flag::text("output", "type=registry,name=r/a:1")]);
        assert_eq!(
            line(&rewrite(&output, &modern, &CacheFlags::default(), false).expect("supported")),
            "--output type=registry,name=r/a:1,store=false,unpack=false"
        );
    }

    #[test]
    fn what_exports_makes_no_image() {
        let flags = vec![
            Flag::text("tag", "r/a:1"),
            Flag::text("build-arg", "A=1"),
            Flag::on("no-cache"),
            Flag::on("pull"),
            Flag::text("file", "-"),
            Flag::text("secret", "id=a"),
            Flag::text("builder", "b"),
            Flag::text("output", "type=image,push=true"),
            Flag::text("iidfile", "id"),
            Flag::text("cache-from", "type=registry,ref=r/c:x"),
        ];
        let build =
            export_build(&Build { flags, context: Context::Folder(".".into()) }, "type=registry,ref=r/c:y");
        assert_eq!(
            arguments(&build.flags).join(" "),
            "--build-arg A=1 --pull --file - --secret id=a --builder b --cache-from type=registry,ref=r/c:x --output type=cacheonly --cache-to type=registry,ref=r/c:y"
        );
    }

    #[test]
    fn what_docker_build_would_load_is_loaded() {
        let mut container = engine(Version(28, 5, 2), Store::GraphDriver, Frontend::Buildx);
        container.driver = Driver::DockerContainer;
        let plain = request(vec![Flag::text("tag", "a")]);
        assert_eq!(
            line(&rewrite(&plain, &container, &CacheFlags::default(), false).expect("ok")),
            "--tag a --load"
        );
        let several = request(vec![Flag::text("platform", "linux/amd64,linux/arm64")]);
        let rewritten = rewrite(&several, &container, &CacheFlags::default(), false).expect("ok");
        assert!(!line(&rewritten).contains("--load") && rewritten.changes.len() == 1);
    }

    #[test]
    fn an_old_engine_pushes_afterwards() {
        let old = engine(Version(20, 10, 24), Store::GraphDriver, Frontend::BuildKit);
        let push =
            request(vec![Flag::text("tag", "r/a:1"), Flag::on("push"), Flag::text("provenance", "false")]);
        let rewritten = rewrite(&push, &old, &CacheFlags::default(), false).expect("supported");
        assert_eq!(
            (line(&rewritten).as_str(), rewritten.push.as_slice()),
            ("--tag r/a:1", &["r/a:1".to_owned()][..])
        );
        let needs = request(vec![Flag::text("build-context", "a=b")]);
        assert_eq!(
            rewrite(&needs, &old, &CacheFlags::default(), false),
            Err(Unsupported::NeedsBuildx { flag: "build-context" })
        );
        let classic = engine(Version(20, 10, 24), Store::GraphDriver, Frontend::Classic);
        let secret = request(vec![Flag::text("secret", "id=a")]);
        assert_eq!(
            rewrite(&secret, &classic, &CacheFlags::default(), false),
            Err(Unsupported::NeedsBuildKit { flag: "secret" })
        );
    }

    #[test]
    fn a_stage_build_names_only_itself() {
        let old = engine(Version(20, 10, 24), Store::GraphDriver, Frontend::BuildKit);
        let user = request(vec![
            Flag::text("tag", "a"),
            Flag::text("build-arg", "X=1"),
            Flag::on("no-cache"),
            Flag::text("target", "prod"),
        ]);
        let build = stage_build(&user, &old, Some("deps"), "r/c:s", &["r/c:m".to_owned()]);
        assert_eq!(
            arguments(&build.flags).join(" "),
            "--build-arg X=1 --target deps --tag r/c:s --cache-from r/c:m --build-arg BUILDKIT_INLINE_CACHE=1"
        );
    }
}
