//! Gathering what an image is made from: the digests of images, the files of the contexts, what the flags say. No engine
//! is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;

use crate::base::clock;
use crate::base::env::{self, Environment};
use crate::context::hash;
use crate::context::ignore::Ignore;
use crate::context::select;
use crate::context::stat_cache::StatCache;
use crate::context::survey::Survey;
use crate::context::walk::{self, Entry};
use crate::dockerfile::{Dockerfile, Graph};
use crate::model::inputs::{File, Inputs, Selector, StageInputs, StepInputs};
use crate::model::pipeline::Pipeline;
use crate::model::platform::Platform;
use crate::model::reference::Digest;
use crate::model::request::{Context, Request, Value, csv_fields};
use crate::model::settings::Settings;
use crate::plan::digest::{self, Known, Options};
use crate::plan::wanted::{self, Asked, NamedContext};
use crate::registry::Client;
use crate::workflow::source::{Source, Text};
use crate::workflow::world::World;
use crate::workflow::{bases, contexts, graph};

/// Flags that change what a `RUN` finds.
const RUN_FLAGS: [&str; 14] = [
    "network",
    "shm-size",
    "ulimit",
    "cgroup-parent",
    "security-opt",
    "isolation",
    "memory",
    "memory-swap",
    "cpu-period",
    "cpu-quota",
    "cpu-shares",
    "cpuset-cpus",
    "cpuset-mems",
    "allow",
];

/// Flags that change the image and no step.
const IMAGE_FLAGS: [&str; 8] =
    ["label", "annotation", "add-host", "attest", "provenance", "sbom", "squash", "platform"];

/// What an output says of where it goes, not of what it is.
const PLACES: [&str; 7] = ["name", "dest", "push", "push-by-digest", "store", "unpack", "name-canonical"];

/// The digests of what other targets of the same bake are made from, by their names, or why they are not known.
pub type Targets = BTreeMap<String, Result<Digest, String>>;

/// What a build that stands for itself knows of other targets.
pub static NO_TARGETS: Targets = Targets::new();

/// What is given.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The request.
    pub request: &'a Request,
    /// The settings.
    pub settings: &'a Settings,
    /// The Dockerfile.
    pub source: &'a Source,
    /// Where this runs.
    pub pipeline: &'a Pipeline,
    /// What is built for; at least one.
    pub platforms: &'a [Platform],
    /// What is built on.
    pub build_platform: &'a Platform,
    /// What is known of targets that it builds on.
    pub targets: &'a Targets,
}

/// Gathers. `Err`: why nothing is known.
pub async fn gather(world: &World, client: &Client, given: Given<'_>) -> Result<Inputs, String> {
    let all = given.platforms.iter().map(|platform| async move {
        let platforms = std::slice::from_ref(platform);
        let found =
            graph::graph(given.request, given.source, platforms, given.build_platform, &world.environment);
        let (graph, _) = found.map_err(|error| error.to_string())??;
        let mut inputs = of_platform(world, client, given, &graph, platform).await?;
        if given.platforms.len() > 1 {
            for (node, stage) in graph.stages.iter().zip(&mut inputs.stages) {
                stage.platform = Some(shown(&node.platform, platform));
            }
        }
        Ok::<_, String>(inputs)
    });
    let mut all = try_join_all(all).await?.into_iter();
    let mut first = all.next().ok_or("no platform is known")?;
    for other in all {
        first.digest = Digest::of(format!("{} {}", first.digest, other.digest).as_bytes());
        first.unknown.extend(other.unknown);
        let files = match first.files == other.files {
            true => 0,
            false => first.files.len(),
        };
        if files > 0 {
            first.files.extend(other.files);
        }
        first.stages.extend(other.stages.into_iter().map(|stage| counting_from(stage, files)));
    }
    Ok(first)
}

/// A platform as BuildKit shows it in a step's name, with the one that is built for where that is another
/// (dockerfile2llb, `formatTargetPlatform`).
fn shown(platform: &Platform, target: &Platform) -> String {
    if platform == target {
        return platform.to_string();
    }
    let target = target.to_string();
    let short = target.strip_prefix(&format!("{}/", platform.os)).map(str::to_owned);
    format!("{platform}->{}", short.unwrap_or(target))
}

/// A stage whose files begin at another place of the list.
fn counting_from(stage: StageInputs, place: usize) -> StageInputs {
    let moved = |(from, to): (usize, usize)| (from + place, to + place);
    let step = |step: StepInputs| {
        let files = step.files.iter().copied().map(moved).collect();
        StepInputs { files, ..step }
    };
    let steps = stage.steps.into_iter().map(step).collect();
    StageInputs { steps, ..stage }
}

async fn of_platform(
    world: &World,
    client: &Client,
    given: Given<'_>,
    graph: &Graph,
    platform: &Platform,
) -> Result<Inputs, String> {
    let Given { request, settings, source, pipeline, .. } = given;
    let named = named_contexts(request, &world.folder, given.targets);
    let asked = Asked { graph, platform, contexts: &named };
    let wanted = wanted::wanted(asked);
    let frontend = frontend(request, source, &world.environment);
    let mirrors = &settings.registry_mirrors;
    let looked = Look {
        request: request.clone(),
        dockerfile: source.name.clone(),
        working: world.folder.clone(),
        normalized: contexts::wanted(request, settings, &world.environment, pipeline.is_ci()).is_ok(),
        selectors: wanted.files,
        // An empty runner has none, and need not make one.
        stat_cache: (!pipeline.is_ci()).then(|| world.environment.cache_folder()).flatten(),
        read: Arc::clone(&world.files),
    };
    let interrupts = world.interrupts.clone();
    // Disk and registry answer at the same time.
    let files = tokio::task::spawn_blocking(move || looked.files(&|| *interrupts.borrow() != 0));
    let of_frontend = async {
        match &frontend {
            Some(image) => Some((image.clone(), bases::digest(client, mirrors, image).await)),
            None => None,
        }
    };
    let (images, frontend, files) =
        tokio::join!(bases::resolve(client, mirrors, wanted.images), of_frontend, files);
    let (files, selected) = files.map_err(|error| error.to_string())?;
    let options = options(given, &world.environment);
    let unknown = unknown(request, &world.environment);
    let known = Known { images, files, selected, frontend, options, unknown };
    Ok(digest::inputs(asked, known))
}

/// The named contexts of a request.
fn named_contexts(request: &Request, working: &Path, targets: &Targets) -> BTreeMap<String, NamedContext> {
    let of_target = |target: &str| match targets.get(target) {
        Some(Ok(inputs)) => NamedContext::Target(inputs.clone()),
        Some(Err(reason)) => NamedContext::Unknown(format!("target `{target}`: {reason}")),
        None => NamedContext::Unknown(format!("only the engine knows target `{target}`")),
    };
    let kind = |place: &str| match place.split_once("://") {
        None if place.starts_with("target:") => of_target(&place["target:".len()..]),
        Some(("docker-image", image)) => NamedContext::Image(image.to_owned()),
        None if working.join(place).is_dir() => NamedContext::Folder,
        _ => NamedContext::Unknown(format!("only the engine can look at `{place}`")),
    };
    request.build_contexts().map(|(name, place)| (name.to_owned(), kind(place))).collect()
}

/// The image of the frontend, where one is named.
fn frontend(request: &Request, source: &Source, environment: &Environment) -> Option<String> {
    let given = request.build_args().filter(|(name, _)| *name == "BUILDKIT_SYNTAX").last();
    if let Some(frontend) = given.and_then(|(name, value)| value.or_else(|| environment.by_name(name))) {
        return Some(frontend.to_owned());
    }
    let Text::Known(bytes) = &source.dockerfile else { return None };
    Dockerfile::parse(bytes).ok()?.syntax
}

/// Flags and variables as options: those of every `RUN`, and those of the image.
fn options(given: Given<'_>, environment: &Environment) -> Options {
    let request = given.request;
    let Options { mut run, mut image } = Options::default();
    for flag in &request.flags {
        let value = match &flag.value {
            Value::Switch(on) => on.to_string(),
            Value::Text(text) => text.clone(),
        };
        if RUN_FLAGS.contains(&flag.name) {
            run.push((flag.name.to_owned(), value));
        } else if IMAGE_FLAGS.contains(&flag.name) {
            if flag.name == "add-host" {
                // The name is in a step's key, the address is not.
                let host = value.split([':', '=']).next().unwrap_or_default();
                run.push((flag.name.to_owned(), host.to_owned()));
            }
            image.push((format!("--{}", flag.name), value));
        } else if flag.name == "output" {
            let kept = csv_fields(&value).into_iter().filter(|field| {
                field.split_once('=').is_some_and(|(key, _)| !PLACES.contains(&key.trim()) && key != "type")
            });
            image.extend(kept.map(|field| ("--output".to_owned(), field)));
        }
    }
    for (name, value) in request.build_args() {
        let value = value.or_else(|| environment.by_name(name)).unwrap_or_default().to_owned();
        match name {
            // What only moves the cache, or is counted elsewhere.
            "BUILDKIT_INLINE_CACHE" | "BUILDKIT_SYNTAX" => {}
            "BUILDKIT_SANDBOX_HOSTNAME" | "BUILDKIT_CACHE_MOUNT_NS" => run.push((name.to_owned(), value)),
            name if name.starts_with("BUILDKIT_") || name == env::SOURCE_DATE_EPOCH.name => {
                image.push((format!("--build-arg {name}"), value));
            }
            _ => {}
        }
    }
    for variable in [env::SOURCE_DATE_EPOCH, env::BUILDX_NO_DEFAULT_ATTESTATIONS, env::BUILDX_GIT_LABELS] {
        if let Some(value) = environment.get(variable) {
            image.push((variable.name.to_owned(), value.to_owned()));
        }
    }
    if environment.get(env::BUILDX_GIT_LABELS).is_some() {
        image.push(("commit".to_owned(), given.pipeline.commit.clone().unwrap_or_default()));
    }
    for platform in given.platforms {
        image.push(("platform".to_owned(), platform.to_string()));
    }
    Options { run, image }
}

/// What else could change the image unseen.
fn unknown(request: &Request, environment: &Environment) -> Vec<String> {
    let mut unknown = Vec::new();
    if environment.get(env::EXPERIMENTAL_BUILDKIT_SOURCE_POLICY).is_some() || request.has("policy") {
        unknown.push("a source policy may put other sources in the place of those named".to_owned());
    }
    unknown
}

/// What the disk is asked.
struct Look {
    request: Request,
    dockerfile: String,
    working: PathBuf,
    /// Tracked files are built with the modes that git records.
    normalized: bool,
    selectors: BTreeSet<Selector>,
    /// Where the digests of unchanged files are kept.
    stat_cache: Option<PathBuf>,
    /// What was read already.
    read: Arc<Mutex<BTreeMap<PathBuf, StatCache>>>,
}

type Selected = BTreeMap<Selector, Result<Vec<usize>, String>>;

impl Look {
    /// All files that are taken, and which selector takes which of them.
    fn files(self, stop: &(dyn Fn() -> bool + Sync)) -> (Vec<File>, Selected) {
        let mut of_context: BTreeMap<Option<String>, Vec<Selector>> = BTreeMap::new();
        for selector in &self.selectors {
            of_context.entry(selector.context.clone()).or_default().push(selector.clone());
        }
        let (mut files, mut selected) = (Vec::new(), Selected::new());
        for (context, selectors) in of_context {
            match self.of_context(context.as_deref(), &selectors, stop) {
                Ok((more, chosen)) => {
                    let before = files.len();
                    files.extend(more);
                    let moved = |places: Vec<usize>| places.into_iter().map(|place| place + before).collect();
                    selected.extend(selectors.into_iter().zip(chosen.into_iter().map(moved).map(Ok)));
                }
                Err(reason) => {
                    selected.extend(selectors.into_iter().map(|selector| (selector, Err(reason.clone()))));
                }
            }
        }
        (files, selected)
    }

    /// The files of one context, and the places of those that each selector takes.
    fn of_context(
        &self,
        context: Option<&str>,
        selectors: &[Selector],
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<(Vec<File>, Vec<Vec<usize>>), String> {
        let folder = match (context, &self.request.context) {
            (None, Context::Folder(folder)) => self.working.join(folder),
            (None, Context::Stdin) => return Err("they come on standard input".to_owned()),
            (None, Context::Remote(_)) => return Err("they are where only the engine looks".to_owned()),
            (Some(name), _) => {
                let place = self.request.build_contexts().find(|(known, _)| *known == name);
                self.working.join(place.map(|(_, place)| place).unwrap_or_default())
            }
        };
        let root = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
        let dockerfile = context.is_none().then_some(self.dockerfile.as_str());
        // No engine is asked, nor which client there will be.
        let ignore = contexts::ignore_rules(dockerfile, &root, &self.working)?.for_any_client();
        // Who needs the same files waits for them.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let cache = read.entry(root.clone()).or_insert_with(|| match &self.stat_cache {
            Some(folder) => StatCache::open(folder, &root, clock::now()),
            None => StatCache::in_memory(clock::now()),
        });
        let (entries, modes) = self.entries(&root, &ignore)?;
        let mut chosen = Vec::new();
        for selector in selectors {
            chosen.push(match select::select(&root, &entries, selector) {
                Ok(places) => places,
                // What is not understood may be anything in there.
                Err(_) => (0..entries.len()).collect(),
            });
        }
        let taken: BTreeSet<usize> = chosen.iter().flatten().copied().collect();
        let hashed = hash::hash(&root, &entries, &taken, Some(cache), stop);
        let hashed = hashed.map_err(|error| error.to_string())?;
        // It saves time the next time, nothing else.
        let _ = cache.save();
        let places: BTreeMap<usize, usize> = taken.iter().copied().zip(0..).collect();
        let mut files = Vec::with_capacity(taken.len());
        for (place, file) in hashed.into_iter().enumerate() {
            if let Some(file) = file {
                let mode = modes.get(&place).copied().unwrap_or(file.mode);
                files.push(File { context: context.map(str::to_owned), mode, ..file });
            }
        }
        let in_files =
            |places_: Vec<usize>| places_.iter().filter_map(|place| places.get(place).copied()).collect();
        Ok((files, chosen.into_iter().map(in_files).collect()))
    }

    /// What is in a folder, and the modes that some of it is built with.
    fn entries(&self, root: &Path, ignore: &Ignore) -> Result<(Vec<Entry>, BTreeMap<usize, u32>), String> {
        if !self.normalized {
            let entries = walk::walk(root, ignore, &[]).map_err(|error| error.to_string())?;
            return Ok((entries, BTreeMap::new()));
        }
        let survey = Survey::of(root, ignore, &[]).map_err(|error| error.to_string())?;
        let modes = survey.differences.iter().map(|it| (it.entry, it.mode)).collect();
        Ok((survey.entries, modes))
    }
}
