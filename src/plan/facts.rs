//! What was learnt before deciding, as a value.

use std::path::PathBuf;
use std::sync::Arc;

use crate::dockerfile::Graph;
use crate::model::engine::Engine;
use crate::model::inputs::Inputs;
use crate::model::modes::Modes;
use crate::model::pipeline::Pipeline;
use crate::model::platform::Platform;
use crate::plan::builder::AutoBuilder;
use crate::plan::cache_repo::CacheRepo;
use crate::plan::chain::Candidate;
use crate::plan::explain::{Recorded, Veil};
use crate::plan::keys::Keys;
use crate::plan::reuse::Looked;
use crate::plan::scope::Chain;

/// What was learnt before deciding.
#[derive(Debug)]
pub struct Facts {
    /// Where we run.
    pub pipeline: Pipeline,
    /// What builds.
    pub engine: Engine,
    /// What came of `--builder-auto`, where it was asked for.
    pub builder: Option<AutoBuilder>,
    /// The stages that the target reaches, or why they are not known.
    pub graph: Result<Graph, String>,
    /// What the image is made from, or why that is not known.
    pub inputs: Result<Arc<Inputs>, String>,
    /// Why it is not known how many steps will run, although it is known which of those that are in the inputs will.
    pub uncounted: Option<String>,
    /// What came of looking for an image that answers the build.
    pub reuse: Looked,
    /// Its stages that have no name, the target apart.
    pub unnamed: Unnamed,
    /// The scopes of this build.
    pub scopes: Chain,
    /// Whether this build may write a cache, and why.
    pub may_write: (bool, String),
    /// Where the cache refs are, or why nowhere.
    pub cache_repo: Result<CacheRepo, String>,
    /// How this build's cache refs are named.
    pub keys: Keys,
    /// The platforms that are built for.
    pub platforms: Vec<Platform>,
    /// The candidates of the chain, in its order; for the classic builder, stage images.
    pub candidates: Vec<Candidate>,
    /// The records of earlier builds that lie beside the candidates, and, outside of CI, that of the last build here.
    pub records: Vec<Recorded>,
    /// What must not be shown of the build args.
    pub veil: Veil,
    /// The nearest folder of the `local` strategy that is there.
    pub folder: Option<CacheFolder>,
    /// Where in the build context the folder of the `local` strategy is, if nothing keeps it out of there.
    pub exposed: Option<PathBuf>,
    /// Why no `COPY` of it is made a layer of its own, where it is built together with others.
    pub not_linked: Option<String>,
    /// Whether a call of its own can export its cache, once it is built.
    pub exports_alone: bool,
    /// The modes of the files that are built.
    pub modes: Modes,
    /// What went wrong while the facts were gathered.
    pub warnings: Vec<String>,
}

/// A folder that holds a cache.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheFolder {
    /// Where it is.
    pub path: PathBuf,
    /// The record of the build that wrote it, where there is one in it.
    pub record: Option<Recorded>,
}

/// Stages that `--target` cannot mean as the Dockerfile stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unnamed {
    /// What BuildKit calls them: `stage-0`.
    pub stages: Vec<String>,
    /// The Dockerfile with these as their names, or why there is none.
    pub named: Result<Vec<u8>, String>,
}
