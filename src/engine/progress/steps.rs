//! What became of each step: the collector of a build's events.
//!
//! Events of one vertex add up (BUILDKIT.md 4): it is cached if it ever was said to be, and took the time of all its
//! spans. Vertices with the same stage and number are one step, as the two of a `COPY --link` are. `FROM` executes
//! nothing and is never cached, whatever is fetched for it; it is listed only where it failed.

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
    layers: HashMap<String, u64>,
    warnings: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    name: String,
    /// Names that it had before: bake names a step that several targets share after each of them.
    others: Vec<String>,
    intervals: Intervals,
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
                let fetched = self.layers.entry(id.to_owned()).or_default();
                *fetched = current.max(*fetched);
            }
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
        Steps { vertices: self.vertices.iter().filter_map(own).collect(), ..Steps::default() }
    }

    /// The stages with their steps. `labels` names the file's stages in their order, as BuildKit does (`build`,
    /// `stage-1`); stages that it does not name follow in the order in which they were started.
    pub fn stages(&self, labels: &[String]) -> Vec<StageOutcome> {
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
            steps: stage.steps.into_values().map(Step::outcome).filter(is_listed).collect(),
        });
        outcomes.filter(|stage| !stage.steps.is_empty()).collect()
    }

    /// Bytes of the build context and of fetched layers. What layerlift itself asked for is not the engine's to tell.
    pub fn traffic(&self) -> Traffic {
        let context = self.vertices.iter().filter(|vertex| vertex.name.contains("load build context"));
        Traffic {
            context: context.fold(0, |sum, vertex| sum.saturating_add(vertex.context)),
            fetched: self.layers.values().fold(0, |sum, layer| sum.saturating_add(*layer)),
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
    } else if name.starts_with("exporting to ")
        || (name.starts_with("pushing ") && name.ends_with(" with docker"))
    {
        Some((TransferKind::Image, name))
    } else {
        None
    }
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
    fn outcome(self) -> StepOutcome {
        let mut intervals = Intervals::default();
        self.members.iter().for_each(|member| intervals.extend(&member.intervals));
        let errors: Vec<&str> = self.members.iter().filter_map(|member| member.error.as_deref()).collect();
        let worked: Vec<_> =
            self.members.iter().filter(|m| m.cached || m.intervals.first().is_some()).collect();
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
        StepOutcome {
            number: self.name.number,
            of: self.name.of,
            instruction: self.name.instruction.trim().to_owned(),
            platform: self.name.platform.map(str::to_owned),
            status,
            duration: intervals.total(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events of vertices: name, spans in seconds, cached, error.
    type Given<'a> = (&'a str, &'a [(u64, Option<u64>)], bool, Option<&'a str>);

    fn collect(vertices: &[Given<'_>]) -> Steps {
        let mut steps = Steps::default();
        for (index, (name, spans, cached, error)) in vertices.iter().enumerate() {
            let vertex = Vertex {
                key: index.to_string(),
                name: (*name).to_owned(),
                cached: *cached,
                error: error.map(str::to_owned),
                ..Vertex::default()
            };
            steps.push(&Event::Vertex(vertex.clone()));
            for (started, completed) in *spans {
                let started = Some(Duration::from_secs(*started));
                let completed = completed.map(Duration::from_secs);
                // What was said once stays true, although later events do not repeat it.
                let later = Vertex { started, completed, cached: false, error: None, ..vertex.clone() };
                steps.push(&Event::Vertex(later));
            }
        }
        steps
    }

    fn table(steps: &Steps, labels: &[&str]) -> Vec<String> {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let mut lines = Vec::new();
        for stage in steps.stages(&labels) {
            for step in stage.steps {
                let platform = step.platform.map(|platform| format!(" ({platform})")).unwrap_or_default();
                lines.push(format!(
                    "{} {}/{}{platform} {:?} {}s {}",
                    stage.name,
                    step.number,
                    step.of,
                    step.status,
                    step.duration.as_secs(),
                    step.instruction
                ));
            }
        }
        lines
    }

    #[test]
    fn tells_what_became_of_a_step() {
        let canceled = Some("failed to solve: context canceled");
        let cases: &[(&str, Given<'_>, &str)] = &[
            ("run", ("[a 2/2] RUN x", &[(1, Some(3)), (5, Some(6))], false, None), "a 2/2 Run 3s RUN x"),
            (
                "cached, then pulled",
                ("[a 2/2] RUN x", &[(1, Some(1)), (5, Some(6))], true, None),
                "a 2/2 Cached 1s RUN x",
            ),
            ("cached without a start", ("[a 2/2] RUN x", &[], true, None), "a 2/2 Cached 0s RUN x"),
            ("failed", ("[a 2/2] RUN x", &[(1, Some(3))], false, Some("no")), "a 2/2 Failed 2s RUN x"),
            ("given up", ("[a 2/2] RUN x", &[(1, Some(3))], false, canceled), "a 2/2 Skipped 2s RUN x"),
            ("not reached", ("[a 2/2] RUN x", &[], false, None), "a 2/2 Skipped 0s RUN x"),
            ("interrupted", ("[a 2/2] RUN x", &[(1, None)], false, None), "a 2/2 Skipped 0s RUN x"),
            ("without a stage", ("[2/2] RUN x", &[(1, Some(3))], false, None), "stage-0 2/2 Run 2s RUN x"),
            (
                "a FROM that failed",
                ("[a 1/2] FROM x", &[(1, Some(3))], false, Some("no")),
                "a 1/2 Failed 2s FROM x",
            ),
        ];
        for (name, given, expected) in cases {
            assert_eq!(table(&collect(&[*given]), &[]), [*expected], "{name}");
        }
        assert_eq!(table(&collect(&[("[a 1/2] FROM x", &[(1, Some(3))], false, None)]), &[]), [""; 0]);
        let named = [
            "[a 1/2] FROM r.io/x:1@sha256:01 AS a",
            "FROM y@sha256:02",
            "[b 1/2] FROM z",
            "[b 2/2] RUN FROM a@sha256:03",
        ];
        let bases = collect(&named.map(|name| (name, &[][..], false, None)));
        assert_eq!(bases.resolved_images().collect::<Vec<_>>(), ["r.io/x:1@sha256:01", "y@sha256:02"]);
    }

    #[test]
    fn orders_stages_as_the_file_does() {
        let steps = collect(&[
            ("[stage-2 2/2] COPY x y", &[(9, Some(9))], false, None),
            ("[late 2/2] RUN l", &[(5, Some(6))], false, None),
            ("[early 3/3] RUN b", &[(3, Some(4))], false, None),
            ("[early 2/3] RUN a", &[(2, Some(3))], false, None),
        ]);
        let names =
            |labels: &[String]| steps.stages(labels).into_iter().map(|stage| stage.name).collect::<Vec<_>>();
        assert_eq!(names(&[]), ["early", "late", "stage-2"]);
        let labels = ["unused", "late", "Early"].map(str::to_owned);
        assert_eq!(names(&labels), ["late", "early", "stage-2"]);
        assert_eq!(table(&steps, &[])[0], "early 2/3 Run 1s RUN a");
    }

    #[test]
    fn the_only_stage_has_its_name() {
        let steps = collect(&[("[2/2] RUN x", &[], true, None)]);
        assert_eq!(table(&steps, &["app"]), ["app 2/2 Cached 0s RUN x"]);
    }

    #[test]
    fn two_vertices_of_a_link_are_one_step() {
        let link = |first: bool, second: bool| {
            let steps = collect(&[
                ("[a 2/2] LINK COPY --link x y", &[(3, Some(4))], second, None),
                ("[a 2/2] COPY --link x y", &[(1, Some(2))], first, None),
            ]);
            table(&steps, &[])
        };
        assert_eq!(link(false, false), ["a 2/2 Run 2s COPY --link x y"]);
        assert_eq!(link(true, false), ["a 2/2 Run 2s COPY --link x y"]);
        assert_eq!(link(true, true), ["a 2/2 Cached 2s COPY --link x y"]);
    }

    #[test]
    fn platforms_are_kept_apart() {
        let steps = collect(&[
            ("[linux/amd64 a 2/2] RUN x", &[(1, Some(2))], false, None),
            ("[linux/amd64->arm64 a 2/2] RUN x", &[(1, Some(3))], false, None),
        ]);
        let expected = ["a 2/2 (linux/amd64) Run 1s RUN x", "a 2/2 (linux/amd64->arm64) Run 2s RUN x"];
        assert_eq!(table(&steps, &[]), expected);
    }

    #[test]
    fn targets_are_told_apart_and_share_steps() {
        let mut steps = Steps::default();
        let mut push = |key: &str, name: &str, cached: bool| {
            let vertex = Vertex { key: key.to_owned(), name: name.to_owned(), cached, ..Vertex::default() };
            steps.push(&Event::Vertex(vertex));
        };
        push("0", "[api tools 2/2] RUN x", false);
        push("0", "[web tools 2/2] RUN x", true);
        push("1", "[api 2/2] COPY a b", true);
        push("2", "[web web 2/2] COPY a b", true);
        push("3", "[api] exporting cache to registry", false);
        push("4", "[apiary 2/2] RUN no", false);
        let table = |target: &str, labels: &[&str]| table(&steps.of_target(target), labels);
        assert_eq!(table("api", &["only"]), ["only 2/2 Cached 0s COPY a b", "tools 2/2 Cached 0s RUN x"]);
        assert_eq!(table("web", &[]), ["tools 2/2 Cached 0s RUN x", "web 2/2 Cached 0s COPY a b"]);
        assert_eq!(steps.of_target("api").transfers()[0].kind, TransferKind::CacheExport);
        assert!(steps.of_target("web").transfers().is_empty());
    }

    #[test]
    fn counts_bytes_once() {
        let mut steps = collect(&[
            ("[internal] load build context", &[], false, None),
            ("[internal] load .dockerignore", &[], false, None),
            ("[a 1/2] FROM x", &[], false, None),
        ]);
        let mut status = |vertex: &str, id: &str, current: u64, total: u64| {
            let (vertex, id) = (vertex.to_owned(), id.to_owned());
            steps.push(&Event::Status {
                vertex,
                id,
                current,
                total,
                started: None,
                at: None,
                completed: false,
            });
        };
        status("0", "transferring context:", 5, 0);
        status("0", "transferring context:", 38, 0);
        status("1", "transferring context:", 2, 0);
        status("2", "sha256:a", 10, 100);
        status("2", "sha256:a", 100, 100);
        status("1", "sha256:a", 100, 100);
        status("2", "sha256:b", 7, 7);
        status("2", "extracting sha256:b", 7, 7);
        status("2", "sha256:c", u64::MAX, u64::MAX);
        assert_eq!(steps.traffic(), Traffic { context: 38, fetched: u64::MAX, asked: 0 });
    }

    #[test]
    fn names_transfers_with_and_without_a_target() {
        let steps = collect(&[
            ("[app] importing cache manifest from r.example/c:1", &[(1, Some(2))], false, Some("not found")),
            ("exporting cache to registry", &[(2, Some(5))], false, None),
            ("pushing r.example/a:1 with docker", &[], false, None),
            ("[internal] load build context", &[], false, Some("context canceled")),
        ]);
        let subjects: Vec<_> =
            steps.transfers().into_iter().map(|t| (t.kind, t.subject, t.duration.as_secs())).collect();
        let expected = [
            (TransferKind::CacheImport, "r.example/c:1".to_owned(), 1),
            (TransferKind::CacheExport, "exporting cache to registry".to_owned(), 3),
            (TransferKind::Image, "pushing r.example/a:1 with docker".to_owned(), 0),
        ];
        assert_eq!(subjects, expected);
        assert_eq!(steps.failures().len(), 1);
    }
}
