//! What buildah or podman will make an image from, step by step, as far as that can be told without them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dockerfile::Graph;
use crate::invocation::BuildahLine;
use crate::model::inputs::{Inputs, StepRules};
use crate::model::pipeline::Pipeline;
use crate::model::platform::Platform;
use crate::model::request::{Context, Flag, Request};
use crate::model::settings::Settings;
use crate::plan::explain::Veil;
use crate::registry::Client;
use crate::workflow::inputs::{self, Given, NO_TARGETS};
use crate::workflow::source::{self, Source};
use crate::workflow::world::World;
use crate::workflow::{facts, graph, sequential};

/// Flags that mean the same as those of `docker build`, with their names there.
const SHARED: [&str; 4] = ["build-arg", "build-context", "label", "target"];

/// Flags that change what steps do, in ways that are not followed here.
const FOREIGN: [&str; 8] =
    ["build-arg-file", "cpp-flag", "env", "from", "ignorefile", "unsetenv", "unsetlabel", "volume"];

/// The program's own name for an ignore file, which it looks for first.
const OWN_IGNORE_FILE: &str = ".containerignore";

/// What was found out.
#[derive(Debug)]
pub struct Known {
    /// The inputs, or why they are not known.
    pub inputs: Result<Arc<Inputs>, String>,
    /// What must not be shown of the build args.
    pub veil: Veil,
}

/// What is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Build<'a> {
    pub(super) line: &'a BuildahLine,
    pub(super) context: &'a Context,
    /// Its Dockerfiles, from the working folder.
    pub(super) dockerfiles: &'a [PathBuf],
    pub(super) platforms: &'a [Platform],
    pub(super) pipeline: &'a Pipeline,
}

/// What was gathered, before it is known how the program counts steps.
pub(super) struct Gathered {
    request: Request,
    veil: Veil,
    inputs: Result<(Inputs, Source, Graph), String>,
}

impl Gathered {
    /// Of a build of which nobody wants to know.
    pub(super) fn none(reason: &str) -> Self {
        let request = Request { flags: Vec::new(), context: Context::Stdin };
        Gathered { request, veil: Veil::default(), inputs: Err(reason.to_owned()) }
    }

    /// With the steps as the program counts them.
    pub(super) fn counted(self, rules: StepRules) -> Known {
        let Gathered { request, veil, inputs } = self;
        let inputs = inputs.and_then(|(inputs, source, graph)| {
            let (inputs, _) = sequential::inputs(inputs, &request, &source, &graph, rules)?;
            Ok(veil.inputs(&Arc::new(inputs)))
        });
        Known { inputs, veil }
    }
}

/// Gathers.
pub(super) async fn gather(
    world: &World,
    client: &Client,
    settings: &Settings,
    build: Build<'_>,
) -> Gathered {
    let request = request(build);
    let veil = facts::veil(&request, &world.environment);
    let inputs = inputs_of(world, client, settings, build, &request).await;
    Gathered { request, veil, inputs }
}

/// The line as that of `docker build`.
fn request(build: Build<'_>) -> Request {
    let shared =
        SHARED.into_iter().flat_map(|name| build.line.all(name).map(move |text| Flag::text(name, text)));
    let file = build.dockerfiles.iter().map(|path| Flag::text("file", path.to_string_lossy()));
    Request { flags: shared.chain(file).collect(), context: build.context.clone() }
}

async fn inputs_of(
    world: &World,
    client: &Client,
    settings: &Settings,
    build: Build<'_>,
    request: &Request,
) -> Result<(Inputs, Source, Graph), String> {
    if let Some(name) = FOREIGN.into_iter().find(|name| build.line.has(name)) {
        return Err(format!("what `--{name}` does is not followed"));
    }
    let folder = match build.context {
        Context::Folder(folder) => world.folder.join(folder),
        Context::Remote(_) | Context::Stdin => return Err("the context is no folder".to_owned()),
    };
    if let Some(ignore) = own_ignore_file(&folder, build.dockerfiles) {
        return Err(format!("{} is not followed", ignore.display()));
    }
    let ([_], [_]) = (build.dockerfiles, build.platforms) else {
        return Err("several Dockerfiles or platforms are built at once".to_owned());
    };
    let source = source::read(request, std::io::empty()).map_err(|error| error.to_string())?;
    let machine = facts::this_machine();
    // A mistake in the Dockerfile is the program's to complain of.
    let found = graph::graph(request, &source, build.platforms, &machine, &world.environment);
    let (graph, _) = found.map_err(|error| error.to_string())??;
    // The program reads the folders itself, with the modes that they have.
    let settings = Settings { normalize_modes: Some(false), ..settings.clone() };
    let given = Given {
        request,
        settings: &settings,
        source: &source,
        pipeline: build.pipeline,
        platforms: build.platforms,
        build_platform: &machine,
        targets: &NO_TARGETS,
    };
    let inputs = inputs::gather(world, client, given).await?;
    Ok((inputs, source, graph))
}

/// An ignore file of the program's own kind, which stands in the place of the others.
fn own_ignore_file(folder: &Path, dockerfiles: &[PathBuf]) -> Option<PathBuf> {
    let beside = dockerfiles.iter().map(|file| PathBuf::from(format!("{}{OWN_IGNORE_FILE}", file.display())));
    std::iter::once(folder.join(OWN_IGNORE_FILE)).chain(beside).find(|file| file.exists())
}
