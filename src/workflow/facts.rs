//! Gathering facts: where we run, what builds, what the Dockerfile holds, which caches the registry has.
//!
//! Everything that waits, waits at the same time: the engine is probed while the registry is asked.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::base::env::{self, Environment};
use crate::dockerfile::Graph;
use crate::engine::probe::{self, Probe};
use crate::model::engine::{Engine, Frontend};
use crate::model::inputs::{Inputs, StepRules};
use crate::model::modes::Modes;
use crate::model::pipeline::Pipeline;
use crate::model::platform::Platform;
use crate::model::reference::{Reference, Repository};
use crate::model::request::{Context, Request};
use crate::model::settings::{Settings, Strategy};
use crate::pipeline;
use crate::plan::cache_repo::{CacheRepo, cache_repo};
use crate::plan::explain::{Recorded, Veil};
use crate::plan::keys::{Image, Keys};
use crate::plan::reuse::Looked;
use crate::plan::scope::{self, Chain, Scope};
use crate::plan::steps::{self, CacheFolder, Facts, Unnamed};
use crate::registry::{Client, Options};
use crate::workflow::before::{self, Before, Names};
use crate::workflow::builder::{self, Act};
use crate::workflow::contexts::{self, Contexts};
use crate::workflow::error::Error;
use crate::workflow::exposure;
use crate::workflow::graph;
use crate::workflow::inputs::{self, Given, NO_TARGETS};
use crate::workflow::last_build::LastBuilds;
use crate::workflow::lookup::{self, Look, Named};
use crate::workflow::records;
use crate::workflow::reuse::look::{self, Answer, Early, Search, Where};
use crate::workflow::sequential;
use crate::workflow::source::Source;
use crate::workflow::stand_in;
use crate::workflow::world::World;

/// The registry client that these settings describe.
pub fn registry(world: &World, settings: &Settings) -> Result<Client, Error> {
    Ok(Client::new(Options {
        insecure: settings.insecure_registries.clone(),
        budget: settings.registry_timeout,
        ..Options::new(&world.environment)
    })?)
}

/// What holds for every image that is built here.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where we run.
    pub pipeline: Pipeline,
    /// The scopes.
    pub scopes: Chain,
    /// Whether a cache may be written, and why.
    pub may_write: (bool, String),
    /// Images that a cache repo may be found from, the nearest first.
    pub images: Vec<Reference>,
    /// What went wrong.
    pub warnings: Vec<String>,
}

/// What is to be known to tell what an image is made from: the input digest, without any engine.
pub async fn inputs_without_engine(
    world: &World,
    request: &Request,
    settings: &Settings,
    source: &Source,
) -> Result<Inputs, Error> {
    let client = registry(world, settings)?;
    let pipeline = surroundings(world, settings, before::folder(request, world)).await.pipeline;
    let platforms = guessed(&platforms(request, world, &mut Vec::new()));
    let build_platform = this_machine();
    // A mistake in the Dockerfile is told as such.
    graph::graph(request, source, &platforms, &build_platform, &world.environment)?.map_err(Error::Inputs)?;
    let given = Given {
        request,
        settings,
        source,
        pipeline: &pipeline,
        platforms: &platforms,
        build_platform: &build_platform,
        targets: &NO_TARGETS,
    };
    inputs::gather(world, &client, given).await.map_err(Error::Inputs)
}

/// Finds out where we run. `folder`: where the sources are.
pub async fn surroundings(world: &World, settings: &Settings, folder: &Path) -> Surroundings {
    let detected = pipeline::detect(&world.environment, folder).await;
    let pipeline = detected.pipeline;
    Surroundings {
        scopes: scope::scopes(&pipeline, settings.scope.as_deref(), &settings.fallback),
        may_write: scope::may_write(&pipeline, settings.read_only),
        images: Vec::new(),
        warnings: detected.warnings.iter().map(ToString::to_string).collect(),
        pipeline,
    }
}

/// Everything that was gathered.
#[derive(Debug)]
pub struct Gathered {
    /// The facts.
    pub facts: Facts,
    /// The folders that files come from.
    pub contexts: Arc<Contexts>,
    /// The image that answers the build, where only the engine could tell what is built for.
    pub answer: Option<Box<Answer>>,
}

/// Gathers everything. `act`: whether a builder may be made.
pub async fn gather(
    world: &World,
    request: &Request,
    settings: &Settings,
    source: &Source,
    client: &Client,
    before: Before,
    act: Act,
) -> Result<Gathered, Error> {
    let buildx_flag = request.flags.iter().map(|flag| flag.name).find(|name| needs_buildx(name));
    let wanted = Probe {
        builder: request.last("builder").map(str::to_owned),
        needs_buildx: buildx_flag.map(|flag| format!("--{flag}")),
    };
    let registries = registries(settings, &before.surroundings);
    let (mut auto, mut warnings) = (None, Vec::new());
    let engine = async {
        let found = probe::probe(&world.environment, &wanted).await?;
        let chosen = builder::choose(world, request, settings, client, &registries, found, act).await;
        (auto, warnings) = (chosen.builder, chosen.warnings);
        Ok(chosen.engine)
    };
    let gathered = of_image(world, request, settings, source, client, before, engine).await?;
    warnings.splice(0..0, gathered.facts.warnings);
    Ok(Gathered { facts: Facts { builder: auto, warnings, ..gathered.facts }, ..gathered })
}

/// The registries that a build will speak to: those of the cache and of the images.
pub fn registries(settings: &Settings, surroundings: &Surroundings) -> BTreeSet<String> {
    let Surroundings { pipeline, images, .. } = surroundings;
    let cache = cache_repo(settings.cache_repo.as_ref(), pipeline, images).ok().map(|repo| repo.repository);
    let images = images.iter().map(|image| image.repository().registry());
    images.chain(cache.iter().map(Repository::registry)).map(str::to_owned).collect()
}

/// Gathers what is to be known of one image. `engine` is waited for while the registry is asked.
pub async fn of_image(
    world: &World,
    request: &Request,
    settings: &Settings,
    source: &Source,
    client: &Client,
    before: Before,
    engine: impl Future<Output = Result<Engine, Error>>,
) -> Result<Gathered, Error> {
    let Before { mut surroundings, search: Search { wanted, early }, targets } = before;
    let mut warnings = std::mem::take(&mut surroundings.warnings);
    let names = Names::of(world, request, settings, &surroundings, &mut warnings);
    let keys_for =
        |platforms: &[Platform]| names.keys(world, request, settings, source, &surroundings, platforms);
    let (cache_repo, guessed) = (&names.cache_repo, &names.guessed);
    let Surroundings { pipeline, scopes, .. } = &surroundings;
    let mut keys = keys_for(guessed);
    // Nobody is asked for what will not be read.
    let asks = asks_registry(request, settings);
    let asked_for = |chain: Vec<Named>| if asks { chain } else { Vec::new() };
    let chain = asked_for(caches(cache_repo, scopes, &keys));
    let engine = async {
        let engine = engine.await?;
        let contexts = contexts(world, request, settings, &source.name, &engine, pipeline.is_ci()).await;
        Ok::<_, Error>((engine, contexts))
    };
    let build_platform = this_machine();
    let given = Given {
        request,
        settings,
        source,
        pipeline,
        platforms: guessed,
        build_platform: &build_platform,
        targets: &targets,
    };
    let (known, mut looked) = match early {
        Some(Early { inputs, found }) => (Some(inputs), Some(found)),
        None => (None, None),
    };
    let inputs = async {
        match known {
            Some(inputs) => inputs,
            None => inputs_of(world, client, given).await,
        }
    };
    let (engine, mut candidates, mut inputs, mut records) = tokio::join!(
        engine,
        lookup::candidates(client, chain.clone(), guessed, Look::Caches),
        inputs,
        records::beside(client, &chain),
    );
    let (engine, contexts) = engine?;
    let mut modes_are_known = true;
    let contexts = contexts.unwrap_or_else(|reason| {
        modes_are_known = false;
        warnings.push(stand_in::left_as_they_are(&reason));
        Contexts { modes: Modes::untouched(reason), ..Contexts::default() }
    });
    let platforms = if names.asked.is_empty() { vec![engine.platform.clone()] } else { names.asked.clone() };
    if platforms != *guessed || engine.platform != build_platform {
        let given = Given { platforms: &platforms, build_platform: &engine.platform, ..given };
        inputs = inputs_of(world, client, given).await;
        looked = None;
    }
    if platforms != *guessed {
        keys = keys_for(&platforms);
        let chain = asked_for(caches(cache_repo, scopes, &keys));
        (candidates, records) = tokio::join!(
            lookup::candidates(client, chain.clone(), &platforms, Look::Caches),
            records::beside(client, &chain),
        );
    }
    let (graph, unnamed) =
        match graph::graph(request, source, &platforms, &engine.platform, &world.environment)? {
            Ok((graph, unnamed)) => (Ok(graph), unnamed),
            Err(reason) => (Err(reason), Unnamed { stages: Vec::new(), named: Ok(Vec::new()) }),
        };
    let mut uncounted = None;
    if engine.frontend == Frontend::Classic
        && let (Ok(known), Ok(graph)) = (&inputs, &graph)
    {
        let counted = sequential::inputs(known.clone(), request, source, graph, StepRules::Classic);
        inputs = counted.map(|(inputs, reason)| {
            uncounted = reason;
            inputs
        });
    }
    if engine.frontend == Frontend::Classic && matches!(settings.strategy, None | Some(Strategy::Classic)) {
        let stages = asked_for(stages(cache_repo, scopes, &keys, graph.as_ref().ok()));
        candidates = lookup::candidates(client, stages, &platforms, Look::Images).await;
    }
    if !pipeline.is_ci() {
        records.extend(own_record(world, &keys, &engine));
    }
    // Looked for only now, where what is built for had to be learnt from the engine.
    let found = match (wanted, looked) {
        (Err(reason), _) => Err(Looked::not(reason)),
        (Ok(_), Some(found)) => found,
        (Ok(wanted), None) => {
            let place = Where { request, client, repo: cache_repo, scopes, keys: &keys };
            look::seek(place, &wanted, &inputs, settings).await.map(Box::new)
        }
    };
    let (answer, mut reuse) = match found {
        Ok(answer) => {
            let looked = Looked::found(&answer.reused);
            (Some(answer), looked)
        }
        Err(looked) => (None, looked),
    };
    // An image that nobody pushes is in no registry.
    reuse.keeps &= modes_are_known && request.pushes();
    let folder = nearest_folder(settings, scopes, &keys);
    let modes = contexts.modes.clone();
    let veil = veil(request, &world.environment);
    let Surroundings { pipeline, scopes, may_write, .. } = surroundings;
    let facts = Facts {
        pipeline,
        engine,
        builder: None,
        graph,
        inputs: inputs.map(|inputs| veil.inputs(&Arc::new(inputs))),
        uncounted,
        reuse,
        unnamed,
        scopes,
        may_write,
        cache_repo: names.cache_repo,
        keys,
        platforms,
        candidates,
        records,
        veil,
        folder,
        exposed: exposure::exposed(request, settings, source, &world.folder),
        not_linked: None,
        exports_alone: true,
        modes,
        warnings,
    };
    Ok(Gathered { facts, contexts: Arc::new(contexts), answer })
}

/// What the image is made from, where anybody asks.
async fn inputs_of(world: &World, client: &Client, given: Given<'_>) -> Result<Inputs, String> {
    if given.request.is_question() || given.settings.strategy == Some(Strategy::Off) {
        return Err("nobody asks for it".to_owned());
    }
    inputs::gather(world, client, given).await
}

/// The record of the last build of this image here, if the same engine made it: a person's machine keeps its own cache.
pub(super) fn own_record(world: &World, keys: &Keys, engine: &Engine) -> Option<Recorded> {
    let last = LastBuilds::of(&world.environment, &world.folder)?.read(keys.image())?;
    (last.record.engine == records::engine(engine)).then_some(last)
}

/// What must not be shown of the build args.
pub(super) fn veil(request: &Request, environment: &Environment) -> Veil {
    Veil::new(
        request.build_args().filter_map(|(name, value)| {
            value.or_else(|| environment.by_name(name)).map(|value| (name, value))
        }),
    )
}

/// The folders that files come from, where their modes are to be those that git records.
async fn contexts(
    world: &World,
    request: &Request,
    settings: &Settings,
    dockerfile: &str,
    engine: &Engine,
    is_ci: bool,
) -> Result<Contexts, String> {
    let why = match contexts::wanted(request, settings, &world.environment, is_ci) {
        Ok(why) => why,
        Err(reason) => {
            return Ok(Contexts { modes: Modes::untouched(reason), ..Contexts::default() });
        }
    };
    let (request, dockerfile, engine) = (request.clone(), dockerfile.to_owned(), engine.clone());
    let working = world.folder.clone();
    // The disk answers while the registry is being asked.
    let look = move || contexts::look(&request, &dockerfile, &engine, &working, &why);
    tokio::task::spawn_blocking(look).await.unwrap_or_else(|error| Err(error.to_string()))
}

/// The images that the request names; each must be a reference.
pub fn images(request: &Request) -> Result<Vec<Reference>, Error> {
    let parse = |name: String| name.parse().map_err(|error| Error::Reference { place: "--tag", error });
    request.tags().into_iter().map(parse).collect()
}

/// The platforms that were asked for, by flag or variable; none means the engine's own.
pub(super) fn platforms(request: &Request, world: &World, warnings: &mut Vec<String>) -> Vec<Platform> {
    let mut names = request.platforms();
    if names.is_empty() {
        names.extend(world.environment.get(env::DOCKER_DEFAULT_PLATFORM));
    }
    let mut platforms = Vec::new();
    for name in names {
        match name.parse::<Platform>() {
            Ok(platform) => platforms.push(platform),
            // `local` and whatever the engine may know are its business.
            Err(error) => warnings.push(error.to_string()),
        }
    }
    platforms
}

/// The platforms that were asked for; for none, the engine's own, which is taken to be this machine's.
pub(super) fn guessed(asked: &[Platform]) -> Vec<Platform> {
    if asked.is_empty() { vec![this_machine()] } else { asked.to_vec() }
}

pub(super) fn this_machine() -> Platform {
    Platform::new("linux", std::env::consts::ARCH, None)
}

/// A path as it counts from the project's folder, where it is in there.
pub(super) fn relative(path: &Path, project: Option<&Path>, working: &Path) -> String {
    let whole = working.join(path);
    let whole = whole.canonicalize().unwrap_or(whole);
    let root = project.map(|root| root.canonicalize().unwrap_or_else(|_| root.to_path_buf()));
    let inside = root.as_ref().and_then(|root| whole.strip_prefix(root).ok());
    inside.unwrap_or(path).to_string_lossy().into_owned()
}

/// How this build's refs are named: apart from those of other images of the same project.
pub(super) fn keys(
    request: &Request,
    source: &Source,
    project: Option<&Path>,
    working: &Path,
    platforms: &[Platform],
    member: Option<&str>,
    repo: Option<&CacheRepo>,
) -> Keys {
    let relative = |path: &Path| relative(path, project, working);
    let (context, dockerfile) = match &request.context {
        Context::Folder(folder) if source.name == "-" => (relative(folder), "-".to_owned()),
        Context::Folder(folder) => (relative(folder), relative(Path::new(&source.name))),
        Context::Remote(address) => (address.clone(), source.name.clone()),
        Context::Stdin => ("-".to_owned(), source.name.clone()),
    };
    let image = Image {
        dockerfile: &dockerfile,
        context: &context,
        target: request.last("target"),
        platforms,
        member,
    };
    Keys::new(repo.map_or("", |repo| repo.tag_prefix), &image)
}

fn asks_registry(request: &Request, settings: &Settings) -> bool {
    let reads = !request.is_question() && !request.has("cache-from") && !request.is_on("no-cache");
    reads && settings.strategy != Some(Strategy::Off)
}

fn needs_buildx(name: &str) -> bool {
    use crate::model::flags::{Since, definition};
    const DONE_WITHOUT: [&str; 7] = ["push", "load", "debug", "provenance", "sbom", "check", "builder"];
    definition(name).is_some_and(|flag| flag.since == Since::Buildx) && !DONE_WITHOUT.contains(&name)
}

fn caches(repo: &Result<CacheRepo, String>, scopes: &Chain, keys: &Keys) -> Vec<Named> {
    let named = |scope: &Scope| named(repo, scope, &keys.cache_tag(scope));
    scopes.read.iter().filter_map(named).collect()
}

/// Every stage's image in every scope: the nearest scope first, and the target before what it stands on, because the
/// classic builder takes the first match.
fn stages(
    repo: &Result<CacheRepo, String>,
    scopes: &Chain,
    keys: &Keys,
    graph: Option<&Graph>,
) -> Vec<Named> {
    let labels: Vec<&str> = match graph {
        Some(graph) => graph.stages.iter().rev().map(|stage| stage.label.as_str()).collect(),
        None => vec!["target"],
    };
    let of_scope = |scope: &Scope| -> Vec<Named> {
        labels
            .iter()
            .filter_map(|label| named(repo, scope, &keys.stage_tag(scope, &steps::classic_stage(label))))
            .collect()
    };
    scopes.read.iter().flat_map(of_scope).collect()
}

fn named(repo: &Result<CacheRepo, String>, scope: &Scope, tag: &str) -> Option<Named> {
    let reference = repo.as_ref().ok()?.repository.with_tag(tag).ok()?;
    Some(Named { reference, scope: scope.to_string() })
}

/// The folder of the nearest scope that has one, for the `local` strategy.
fn nearest_folder(settings: &Settings, scopes: &Chain, keys: &Keys) -> Option<CacheFolder> {
    let mut folders = scopes.read.iter().map(|scope| (scope, settings.cache_dir.join(keys.cache_tag(scope))));
    let (scope, path) = folders.find(|(_, folder)| folder.join("index.json").is_file())?;
    Some(CacheFolder { record: records::in_folder(&path, scope), path })
}
