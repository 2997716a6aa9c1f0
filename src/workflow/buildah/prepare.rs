//! Gathering facts for a build by buildah or podman, and deciding.

use std::path::{Path, PathBuf};

use crate::base::env;
use crate::dockerfile::{Dockerfile, Stage};
use crate::engine::buildah::{self, Tool};
use crate::invocation::{BuildahLine, Left};
use crate::model::engine::{Driver, Engine, Frontend, Store, Version};
use crate::model::inputs::StepRules;
use crate::model::platform::Platform;
use crate::model::request::Context;
use crate::model::settings::Settings;
use crate::plan::buildah::{self as plan, Candidate, Facts, Finding, Plan};
use crate::plan::cache_repo::{CacheRepo, cache_repo};
use crate::plan::explain::Recorded;
use crate::plan::keys::{Image, Keys};
use crate::plan::scope::Scope;
use crate::registry::{self, Client};
use crate::workflow::buildah::inputs::{self, Build, Gathered, Known};
use crate::workflow::error::Error;
use crate::workflow::facts::{self, Surroundings};
use crate::workflow::lookup::Named;
use crate::workflow::records;
use crate::workflow::world::World;

/// The files that the program looks for in the context, the first one first.
const DEFAULT_FILES: [&str; 2] = ["Containerfile", "Dockerfile"];

/// No Dockerfile is larger.
const LARGEST_DOCKERFILE: u64 = 2 << 20;

/// What was decided, with what it was decided from.
#[derive(Debug)]
pub struct Prepared {
    /// The program.
    pub tool: Tool,
    /// The line as typed.
    pub line: BuildahLine,
    /// The facts.
    pub facts: Facts,
    /// The plan.
    pub plan: Plan,
    /// What the Dockerfile's stages are called, in its order.
    pub(super) labels: Vec<String>,
    /// What the image is made from.
    pub(super) known: Known,
    /// The records of earlier builds.
    pub(super) records: Vec<Recorded>,
    pub(super) client: Client,
}

/// Gathers facts and decides. The inner error is why the line is to be run as it stands.
pub async fn prepare(
    world: &World,
    settings: &Settings,
    tool: Tool,
    line: BuildahLine,
) -> Result<Result<Prepared, Left>, Error> {
    let remote = [env::CONTAINER_HOST, env::CONTAINER_CONNECTION].map(|it| world.environment.get(it));
    if tool == Tool::Podman && remote.iter().any(Option::is_some) {
        return Ok(Err(Left::Because("another machine builds".to_owned())));
    }
    let client = facts::registry(world, settings)?;
    let context = Context::parse(line.context.as_deref().unwrap_or("."));
    let folder = match &context {
        Context::Folder(folder) => folder.as_path(),
        Context::Remote(_) | Context::Stdin => world.folder.as_path(),
    };
    let Surroundings { pipeline, scopes, may_write, mut warnings, .. } =
        facts::surroundings(world, settings, folder).await;
    // A name that is none is the program's to refuse.
    let images: Vec<_> = line.all("tag").filter_map(|tag| tag.parse().ok()).collect();
    let found = cache_repo(settings.cache_repo.as_ref(), &pipeline, &images);
    let cache_repo = plan::with_room(found.map_err(|none| none.to_string()), &mut warnings);
    let files = dockerfiles(world, &line, &context);
    let project = pipeline.project_folder.as_deref();
    let keys = keys(world, settings, &line, &context, &files, project, &cache_repo);

    // Nobody is asked for what will not be read.
    let asks = plan::off(&line, settings).is_none() && plan::reads(&line);
    let repo = cache_repo.as_ref().ok().filter(|_| asks);
    let platforms = platforms(&line);
    let build = Build {
        line: &line,
        context: &context,
        dockerfiles: &files,
        platforms: &platforms,
        pipeline: &pipeline,
    };
    let named = named(repo, &keys, &scopes.read);
    let known = async {
        match plan::off(&line, settings) {
            Some(reason) => Gathered::none(reason),
            None => inputs::gather(world, &client, settings, build).await,
        }
    };
    let (version, candidates, known, mut records) = tokio::join!(
        buildah::version(tool),
        candidates(&client, repo, &keys, &scopes.read),
        known,
        records::beside(&client, &named),
    );
    let version = match version? {
        Some(version) if version >= tool.first_with_cache() => version,
        Some(version) => {
            return Ok(Err(Left::Because(format!("version {version} has no cache in a registry"))));
        }
        None => return Ok(Err(Left::Because("it does not tell its version".to_owned()))),
    };
    let reads_several = version >= tool.first_with_several();
    // The same release finds an `ARG` in a registry.
    let known = known.counted(if reads_several { StepRules::Buildah } else { StepRules::EarlyBuildah });
    let engine = engine(tool, version);
    if !pipeline.is_ci() {
        records.extend(facts::own_record(world, &keys, &engine));
    }
    let facts =
        Facts { pipeline, engine, scopes, may_write, cache_repo, reads_several, keys, candidates, warnings };
    let plan = plan::plan(&line, settings, &facts);
    Ok(Ok(Prepared { tool, line, facts, plan, labels: labels(world, &files), known, records, client }))
}

fn engine(tool: Tool, version: Version) -> Engine {
    let name = tool.program().to_owned();
    Engine {
        client: Some(version),
        server: None,
        buildx: None,
        frontend: Frontend::Buildah,
        builder: name.clone(),
        driver: Driver::Other(name),
        store: Store::Containers,
        buildkit: None,
        platform: facts::this_machine(),
        remote: None,
    }
}

/// The cache refs that docker's builds of these scopes would have: records lie beside them.
fn named(repo: Option<&CacheRepo>, keys: &Keys, scopes: &[Scope]) -> Vec<Named> {
    let named = |scope: &Scope| {
        let reference = repo?.repository.with_tag(&keys.cache_tag(scope)).ok()?;
        Some(Named { reference, scope: scope.to_string() })
    };
    scopes.iter().filter_map(named).collect()
}

/// Asks for the repository of every scope at once.
async fn candidates(
    client: &Client,
    repo: Option<&CacheRepo>,
    keys: &Keys,
    scopes: &[Scope],
) -> Vec<Candidate> {
    let named = scopes.iter().filter_map(|scope| Some((scope, plan::repository(repo?, keys, scope)?)));
    let asked = named.map(|(scope, repository)| async move {
        let finding = match client.has_tags(&repository).await {
            Ok(true) => Finding::Found,
            Ok(false) => Finding::Missing,
            Err(error @ registry::Error::Unreachable { .. }) => Finding::Unreachable(error.to_string()),
            Err(error) => Finding::Unusable(error.to_string()),
        };
        Candidate { repository, scope: scope.to_string(), finding }
    });
    futures_util::future::join_all(asked).await
}

/// The Dockerfiles, counted from the working folder; none where they are elsewhere. Several are put together to one.
fn dockerfiles(world: &World, line: &BuildahLine, context: &Context) -> Vec<PathBuf> {
    let Context::Folder(folder) = context else { return Vec::new() };
    let is_there = |path: &Path| world.folder.join(path).is_file();
    // A file that is not there is looked for in the context.
    let named = |name: &str| match folder.join(name) {
        inside if !is_there(Path::new(name)) && is_there(&inside) => inside,
        _ => PathBuf::from(name),
    };
    let files: Vec<PathBuf> = line.all("file").map(named).collect();
    if !files.is_empty() {
        return files;
    }
    let found = DEFAULT_FILES.into_iter().find(|name| is_there(&folder.join(name)));
    vec![folder.join(found.unwrap_or("Dockerfile"))]
}

/// What the stages are called, in their order. A file that cannot be read is the program's to complain of.
fn labels(world: &World, dockerfiles: &[PathBuf]) -> Vec<String> {
    let [file] = dockerfiles else { return Vec::new() };
    let path = world.folder.join(file);
    let small = std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= LARGEST_DOCKERFILE);
    let text = if small { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
    let stages = Dockerfile::parse(&text).map(|parsed| parsed.stages).unwrap_or_default();
    let label = |stage: Stage| stage.name.unwrap_or_else(|| format!("stage-{}", stage.index));
    stages.into_iter().map(label).collect()
}

/// How this build's repositories are named: apart from those of other images of the same project.
fn keys(
    world: &World,
    settings: &Settings,
    line: &BuildahLine,
    context: &Context,
    dockerfiles: &[PathBuf],
    project: Option<&Path>,
    repo: &Result<CacheRepo, String>,
) -> Keys {
    let relative = |path: &Path| facts::relative(path, project, &world.folder);
    let dockerfile = match dockerfiles {
        [] => line.all("file").collect::<Vec<_>>().join(","),
        files => files.iter().map(|file| relative(file)).collect::<Vec<_>>().join(","),
    };
    let context = match context {
        Context::Folder(folder) => relative(folder),
        Context::Remote(address) => address.clone(),
        Context::Stdin => "-".to_owned(),
    };
    let image = Image {
        dockerfile: &dockerfile,
        context: &context,
        target: line.last("target"),
        platforms: &platforms(line),
        member: settings.member.as_deref(),
    };
    Keys::new(repo.as_ref().map_or("", |repo| repo.tag_prefix), &image)
}

/// What is built for, where it can be told.
fn platforms(line: &BuildahLine) -> Vec<Platform> {
    let named: Vec<Platform> =
        line.all("platform").flat_map(|list| list.split(',')).filter_map(|name| name.parse().ok()).collect();
    if !named.is_empty() {
        return named;
    }
    let own = facts::this_machine();
    let (os, architecture) = (line.last("os"), line.last("arch"));
    let variant = line.last("variant");
    vec![Platform::new(os.unwrap_or(&own.os), architecture.unwrap_or(&own.architecture), variant)]
}
