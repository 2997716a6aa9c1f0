//! What became of each step: the collector of a build's events.
//!
//! Events of one vertex add up (BUILDKIT.md 4): it is cached if it ever was said to be, and took the time of all its
//! spans. Vertices with the same stage and number are one step, as the two of a `COPY --link` are; of those, the one that
//! copies says what became of the step: the other puts layers on each other, which no cache holds and costs nothing. `FROM`
//! executes nothing and is never cached, whatever is fetched for it; it is listed only where it failed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::engine::progress::intervals::Intervals;
use crate::engine::progress::name::{self, StepName};
use crate::model::event::{Event, Vertex};
use crate::model::outcome::{StageOutcome, StepOutcome, StepStatus, Traffic};

/// As many vertices, and as many layers, as are kept; further ones are not counted.
const MOST: usize = 1 << 16;

/// As many names of one vertex as are kept.
const MOST_NAMES: usize = 1000;

/// As many warnings as are kept.
const MOST_WARNINGS: usize = 1000;

/// What BuildKit calls a stage without a name in a file that has one stage.
const ONLY_STAGE: &str = "stage-0";

/// Collects events. The answers may be asked for at any time.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    vertices: Vec<Known>,
    by_key: HashMap<String, usize>,
    layers: HashMap<String, Layer>,
    warnings: Vec<String>,
    /// When the engine began, where these are the steps of one target among others.
    origin: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    name: String,
    /// Names that it had before: bake names a step that several targets share after each of them.
    others: Vec<String>,
    intervals: Intervals,
    /// When it began, by the client's clock.
    seen: Option<Duration>,
    cached: bool,
    error: Option<String>,
    image: Option<String>,
    /// Bytes of the build context that it took in.
    context: u64,
}

/// A vertex that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its name: `[build 2/4] RUN make`, `importing cache manifest from ...`.
    pub vertex: String,
    /// Why.
    pub error: String,
}

/// What was carried in or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferKind {
    /// A cache was read.
    CacheImport,
    /// A cache was written.
    CacheExport,
    /// The result was stored or pushed.
    Image,
}

/// A cache or an image on its way in or out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Which.
    pub kind: TransferKind,
    /// The ref for an import; else what the engine calls it: `exporting cache to registry`, `exporting to image`.
    pub subject: String,
    /// Why it failed.
    pub error: Option<String>,
    /// How long it took.
    pub duration: Duration,
}

/// A layer that is fetched, in bytes as it is packed.
#[derive(Debug, Clone, Copy, Default)]
struct Layer {
    fetched: u64,
    size: u64,
}

impl Steps {
    /// Takes in one event.
    pub fn push(&mut self, event: &Event) {
        match event {
            Event::Vertex(vertex) => self.vertex(vertex),
            Event::Status { vertex, id, current, total, .. } => self.status(vertex, id, *current, *total),
            Event::Warning { message, .. } => {
                if self.warnings.len() < MOST_WARNINGS && !self.warnings.contains(message) {
                    self.warnings.push(message.clone());
                }
            }
            Event::Log { .. } | Event::Line { .. } => {}
        }
    }

    fn vertex(&mut self, vertex: &Vertex) {
        let index = match self.by_key.get(&vertex.key) {
            Some(index) => *index,
            None if self.vertices.len() >= MOST => return,
            None => {
                self.by_key.insert(vertex.key.clone(), self.vertices.len());
                self.vertices.push(Known::default());
                self.vertices.len() - 1
            }
        };
        let known = &mut self.vertices[index];
        if !vertex.name.is_empty() && vertex.name != known.name {
            let before = std::mem::replace(&mut known.name, vertex.name.clone());
            if !before.is_empty() && known.others.len() < MOST_NAMES && !known.others.contains(&before) {
                known.others.push(before);
            }
        }
        if let Some(started) = vertex.started {
            known.intervals.insert(started, vertex.completed);
        }
        known.seen = known.seen.into_iter().chain(vertex.seen).min();
        known.cached |= vertex.cached;
        if vertex.error.is_some() {
            known.error.clone_from(&vertex.error);
        }
        if vertex.image.is_some() {
            known.image.clone_from(&vertex.image);
        }
    }

    fn status(&mut self, vertex: &str, id: &str, current: u64, total: u64) {
        if id.starts_with("sha256:") && total > 0 {
            // A layer that several vertices wait for is fetched once.
            if self.layers.len() < MOST || self.layers.contains_key(id) {
                let layer = self.layers.entry(id.to_owned()).or_default();
                *layer = Layer { fetched: current.max(layer.fetched), size: total };
            }
        } else if let Some(layer) = id.strip_prefix("extracting ").and_then(|id| self.layers.get_mut(id)) {
            // It is there, although the engine does not always tell of the last bytes (BuildKit 0.25).
            layer.fetched = layer.fetched.max(layer.size);
        } else if id == "transferring context:"
            && let Some(known) = self.by_key.get(vertex).and_then(|index| self.vertices.get_mut(*index))
        {
            known.context = current.max(known.context);
        }
    }

    /// What concerns one target of a bake, as if it had been built alone. Steps that it shares with other targets are among
    /// it; fetched layers, which nobody attributes to a target, are not.
    pub fn of_target(&self, target: &str) -> Steps {
        let own = |known: &Known| {
            let names = std::iter::once(&known.name).chain(&known.others);
            let name = names.into_iter().find_map(|name| name::of_target(name, target))?;
            Some(Known { name, others: Vec::new(), ..known.clone() })
        };
        Steps {
            vertices: self.vertices.iter().filter_map(own).collect(),
            origin: self.origin(),
            ..Steps::default()
        }
    }

    /// The same, where the engine was run once more after it had done all but push: what was executed then is cached now.
    #[must_use]
    pub fn after(mut self, first: &Steps) -> Steps {
        let is_done =
            |known: &&Known| !known.cached && known.error.is_none() && name::step(&known.name).is_some();
        let done: HashMap<&str, &Known> =
            first.vertices.iter().filter(is_done).map(|known| (known.name.as_str(), known)).collect();
        for known in self.vertices.iter_mut().filter(|known| known.cached) {
            if let Some(then) = done.get(known.name.as_str()) {
                known.cached = false;
                known.intervals = then.intervals.clone();
            }
        }
        for (id, before) in &first.layers {
            let layer = self.layers.entry(id.clone()).or_default();
            layer.fetched = layer.fetched.max(before.fetched);
        }
        self
    }

    /// When the engine began: the first start of a vertex of its own. Vertices of the client have another clock's time.
    fn origin(&self) -> Option<Duration> {
        let of_engine = |known: &&Known| known.name.starts_with('[') && !known.name.contains("] booting ");
        let first =
            || self.vertices.iter().filter(of_engine).filter_map(|known| known.intervals.first()).min();
        self.origin.or_else(first)
    }

    /// The stages with their steps. `labels` names the file's stages in their order, as BuildKit does (`build`,
    /// `stage-1`); stages that it does not name follow in the order in which they were started.
    pub fn stages(&self, labels: &[String]) -> Vec<StageOutcome> {
        let origin = self.origin().unwrap_or_default();
        let mut stages: Vec<Stage<'_>> = Vec::new();
        let mut by_label: HashMap<String, usize> = HashMap::new();
        for vertex in &self.vertices {
            let Some(step) = name::step(&vertex.name) else { continue };
            let label = match (step.stage.as_str(), labels) {
                ("", [only]) => only.as_str(),
                ("", _) => ONLY_STAGE,
                (stage, _) => stage,
            };
            let started = vertex.intervals.first().unwrap_or(Duration::MAX);
            let index = *by_label.entry(label.to_owned()).or_insert_with(|| {
                stages.push(Stage { name: label.to_owned(), started, steps: BTreeMap::new() });
                stages.len() - 1
            });
            let stage = &mut stages[index];
            stage.started = started.min(stage.started);
            let key = (step.number, step.platform);
            stage
                .steps
                .entry(key)
                .or_insert_with(|| Step { name: step, members: Vec::new() })
                .members
                .push(vertex);
        }
        let place = |stage: &str| labels.iter().position(|label| label.eq_ignore_ascii_case(stage));
        stages.sort_by_key(|stage| (place(&stage.name).unwrap_or(usize::MAX), stage.started));
        let outcomes = stages.into_iter().map(|stage| StageOutcome {
            name: stage.name,
            steps: stage.steps.into_values().map(|step| step.outcome(origin)).filter(is_listed).collect(),
        });
        outcomes.filter(|stage| !stage.steps.is_empty()).collect()
    }

    /// Bytes of the build context and of fetched layers. What layerlift itself asked for is not the engine's to tell.
    pub fn traffic(&self) -> Traffic {
        let context = self.vertices.iter().filter(|vertex| vertex.name.contains("load build context"));
        Traffic {
            context: context.fold(0, |sum, vertex| sum.saturating_add(vertex.context)),
            fetched: self.layers.values().fold(0, |sum, layer| sum.saturating_add(layer.fetched)),
            asked: 0,
        }
    }

    /// Everything that failed, without what was given up only because something else failed.
    pub fn failures(&self) -> Vec<Failure> {
        let failed = self.vertices.iter().filter_map(|vertex| {
            let error = vertex.error.clone().filter(|error| !is_collateral(error))?;
            Some(Failure { vertex: vertex.name.clone(), error })
        });
        failed.collect()
    }

    /// Why pushes failed that buildx has had the engine make.
    pub fn push_failures(&self) -> Vec<String> {
        let pushes = |failure: &Failure| is_push_of_engine(name::without_target(&failure.vertex));
        self.failures().into_iter().filter(pushes).map(|failure| failure.error).collect()
    }

    /// Caches and images that were carried in or out, in the order in which they were first named.
    pub fn transfers(&self) -> Vec<Transfer> {
        let transfers = self.vertices.iter().filter_map(|vertex| {
            let (kind, subject) = transfer(name::without_target(&vertex.name))?;
            Some(Transfer {
                kind,
                subject: subject.to_owned(),
                error: vertex.error.clone(),
                duration: vertex.intervals.total(),
            })
        });
        transfers.collect()
    }

    /// Why a cache could not be written, if so.
    pub fn cache_export_error(&self) -> Option<String> {
        let exports = |transfer: &Transfer| transfer.kind == TransferKind::CacheExport;
        self.transfers().into_iter().filter(exports).find_map(|transfer| transfer.error)
    }

    /// The last image of each stage, by the stage's label, where the engine makes an image of every step.
    pub fn images(&self) -> HashMap<String, String> {
        let image = |vertex: &Known| {
            let step = name::step(&vertex.name)?;
            Some((step.stage.clone(), vertex.image.clone()?))
        };
        self.vertices.iter().filter_map(image).collect()
    }

    /// The images that were built on or copied from, as the engine resolved them:
    /// `docker.io/library/busybox:latest@sha256:...`.
    pub fn resolved_images(&self) -> impl Iterator<Item = &str> {
        let names = self.vertices.iter().map(|vertex| name::without_target(&vertex.name));
        let images = names.filter_map(|name| name.strip_prefix("FROM ")?.split_whitespace().next());
        images.filter(|image| image.contains("@sha256:"))
    }

    /// What the frontend warned of, each once.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn transfer(name: &str) -> Option<(TransferKind, &str)> {
    if let Some(reference) = name.strip_prefix("importing cache manifest from ") {
        Some((TransferKind::CacheImport, reference))
    } else if name.starts_with("exporting cache") {
        Some((TransferKind::CacheExport, name))
    } else if name.starts_with("exporting to ") || is_push_of_engine(name) {
        Some((TransferKind::Image, name))
    } else {
        None
    }
}

/// buildx before 0.22, and where the engine's store is a graph driver's (docker/buildx `build/build.go`).
fn is_push_of_engine(name: &str) -> bool {
    name.starts_with("pushing ") && name.ends_with(" with docker")
}

fn is_collateral(error: &str) -> bool {
    error.contains("context canceled")
}

fn is_listed(step: &StepOutcome) -> bool {
    step.status == StepStatus::Failed
        || !step.instruction.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case("FROM "))
}

/// The steps of one stage, by number and platform.
struct Stage<'a> {
    name: String,
    started: Duration,
    steps: BTreeMap<(u32, Option<&'a str>), Step<'a>>,
}

/// The vertices that are one step.
struct Step<'a> {
    name: StepName<'a>,
    members: Vec<&'a Known>,
}

impl Step<'_> {
    fn outcome(self, origin: Duration) -> StepOutcome {
        let mut intervals = Intervals::default();
        self.members.iter().for_each(|member| intervals.extend(&member.intervals));
        let errors: Vec<&str> = self.members.iter().filter_map(|member| member.error.as_deref()).collect();
        let mut worked: Vec<_> =
            self.members.iter().filter(|m| m.cached || m.intervals.first().is_some()).collect();
        if worked.iter().any(|member| !name::is_link(&member.name)) {
            worked.retain(|member| !name::is_link(&member.name));
        }
        let status = if errors.iter().any(|error| !is_collateral(error)) {
            StepStatus::Failed
        } else if worked.is_empty() || !errors.is_empty() {
            StepStatus::Skipped
        } else if worked.iter().all(|member| member.cached) {
            StepStatus::Cached
        } else if intervals.is_completed() {
            StepStatus::Run
        } else {
            // Interrupted: there is no result.
            StepStatus::Skipped
        };
        // Where the engine tells no times, the intervals begin at zero.
        let seen = self.members.iter().filter_map(|member| member.seen).min();
        let started = seen.or_else(|| intervals.first()?.checked_sub(origin));
        StepOutcome {
            number: self.name.number,
            of: self.name.of,
            instruction: self.name.instruction.trim().to_owned(),
            platform: self.name.platform.map(str::to_owned),
            status,
            started,
            duration: intervals.total(),
        }
    }
}

#[cfg(test)]
mod tests;
