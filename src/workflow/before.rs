//! What is learnt before the engine is asked for anything: where we run, what the image is made from, and whether it is
//! there already.

use std::path::Path;

use crate::base::env::{self, Environment};
use crate::engine::probe;
use crate::model::platform::Platform;
use crate::model::request::{Context, Request};
use crate::model::settings::Settings;
use crate::plan::cache_repo::{CacheRepo, cache_repo};
use crate::plan::keys::Keys;
use crate::plan::reuse;
use crate::registry::Client;
use crate::workflow::error::Error;
use crate::workflow::facts::{self, Surroundings};
use crate::workflow::inputs::{self, Given, NO_TARGETS, Targets};
use crate::workflow::reuse::look::{self, Early, Search, Where};
use crate::workflow::source::Source;
use crate::workflow::world::World;

/// What was learnt.
#[derive(Debug)]
pub struct Before {
    /// Where we run.
    pub surroundings: Surroundings,
    /// The search for an image that answers the build.
    pub search: Search,
    /// What is known of targets that it builds on.
    pub targets: Targets,
}

/// Names that depend on nothing but the request and the surroundings.
#[derive(Debug)]
pub struct Names {
    /// Where the cache refs are, or why nowhere.
    pub cache_repo: Result<CacheRepo, String>,
    /// The platforms that were asked for; none means the engine's own.
    pub asked: Vec<Platform>,
    /// The same, with this machine's for none.
    pub guessed: Vec<Platform>,
}

impl Names {
    /// Finds them. What goes wrong is added to the warnings.
    pub fn of(
        world: &World,
        request: &Request,
        settings: &Settings,
        surroundings: &Surroundings,
        warnings: &mut Vec<String>,
    ) -> Self {
        let Surroundings { pipeline, images, .. } = surroundings;
        let cache_repo =
            cache_repo(settings.cache_repo.as_ref(), pipeline, images).map_err(|none| none.to_string());
        let asked = facts::platforms(request, world, warnings);
        // The refs' names depend on the platform, which the engine tells; until then it is taken to be this machine's.
        let guessed = facts::guessed(&asked);
        Names { cache_repo, asked, guessed }
    }

    /// How this build's refs are named, for some platforms.
    pub fn keys(
        &self,
        world: &World,
        request: &Request,
        settings: &Settings,
        source: &Source,
        surroundings: &Surroundings,
        platforms: &[Platform],
    ) -> Keys {
        let project = surroundings.pipeline.project_folder.as_deref();
        let member = settings.member.as_deref();
        facts::keys(request, source, project, &world.folder, platforms, member, self.cache_repo.as_ref().ok())
    }
}

/// Where the sources are.
pub fn folder<'a>(request: &'a Request, world: &'a World) -> &'a Path {
    match &request.context {
        Context::Folder(folder) => folder,
        Context::Remote(_) | Context::Stdin => &world.folder,
    }
}

/// Learns it. An image is looked for where what is built for is known without the engine; else that is left for later.
pub async fn learn(
    world: &World,
    request: &Request,
    settings: &Settings,
    source: &Source,
    client: &Client,
) -> Result<Before, Error> {
    let images = facts::images(request)?;
    let surroundings = facts::surroundings(world, settings, folder(request, world)).await;
    let surroundings = Surroundings { images, ..surroundings };
    let wanted = reuse::wanted(request, settings, &surroundings.pipeline);
    let early = match &wanted {
        Ok(wanted) if wanted.anew.is_none() => {
            let names = Names::of(world, request, settings, &surroundings, &mut Vec::new());
            // The engine's platform is not asked for; it must be plain.
            let is_plain = !names.asked.is_empty() || is_this_machine(request, settings, &world.environment);
            match is_plain && names.cache_repo.is_ok() {
                true => Some(
                    early(world, request, settings, source, client, &surroundings, (wanted, &names)).await,
                ),
                false => None,
            }
        }
        _ => None,
    };
    Ok(Before { surroundings, search: Search { wanted, early }, targets: Targets::new() })
}

async fn early(
    world: &World,
    request: &Request,
    settings: &Settings,
    source: &Source,
    client: &Client,
    surroundings: &Surroundings,
    (wanted, names): (&reuse::Wanted, &Names),
) -> Early {
    let build_platform = facts::this_machine();
    let given = Given {
        request,
        settings,
        source,
        pipeline: &surroundings.pipeline,
        platforms: &names.guessed,
        build_platform: &build_platform,
        targets: &NO_TARGETS,
    };
    let inputs = inputs::gather(world, client, given).await;
    let keys = names.keys(world, request, settings, source, surroundings, &names.guessed);
    let scopes = &surroundings.scopes;
    let place = Where { request, client, repo: &names.cache_repo, scopes, keys: &keys };
    let found = look::seek(place, wanted, &inputs, settings).await;
    Early { inputs, found: found.map(Box::new) }
}

/// Whether the engine plainly builds for this machine, unless it is told otherwise.
pub(super) fn is_this_machine(request: &Request, settings: &Settings, environment: &Environment) -> bool {
    // Which ARM it is, is not known from here.
    let is_known = std::env::consts::ARCH != "arm";
    let chosen = request.has("builder") || !settings.builder.nodes.is_empty();
    is_known && !chosen && environment.get(env::BUILDX_BUILDER).is_none() && probe::is_here(environment)
}
