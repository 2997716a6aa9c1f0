//! Which stages a build needs, and on what each of them stands.
//!
//! Two passes, as in BuildKit's `dockerfile2llb`: first every stage's base is resolved, in the order of the file and with
//! global arguments only; then the stages that the target reaches are followed through their bases, `COPY --from` and
//! mounts, and walked for their steps. Names are found differently in the two: a base is looked up exactly as written
//! among the lower-cased names of *earlier* stages, `--from` and `--target` ignore case and mean the *last* of that name.
//!
//! What an external base image brings with it (environment, working directory, `ONBUILD` triggers) is not known here.
//! An image with triggers adds steps, and maybe dependencies, that this graph does not have.

use std::collections::{BTreeMap, BTreeSet};

use super::budget::Budget;
use super::error::{GraphError, GraphFault};
use super::expand::Lexer;
use super::instruction::{Instruction, Kind};
use super::named::label;
use super::operation::Setting;
use super::resolve::{Resolver, expansion_failed};
use super::stage::{Dockerfile, Opaque, is_docker_frontend};
use super::step::{Step, Walk};
use crate::model::platform::Platform;

/// What a build is told besides the file.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// `--build-arg`; one without a value counts as not given. `BUILDKIT_SYNTAX` is another frontend.
    pub build_args: BTreeMap<String, Option<String>>,
    /// `--target`.
    pub target: Option<String>,
    /// The platform that is built for.
    pub platform: Platform,
    /// The platform that is built on.
    pub build_platform: Platform,
    /// `--build-context name=value`; the name may end with `::os/architecture`.
    pub contexts: BTreeMap<String, String>,
}

/// The stages that a target needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Index of the target in the file.
    pub target: usize,
    /// Those that the target reaches, itself included, in the order of the file.
    pub stages: Vec<StageNode>,
}

/// What a stage stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// Another stage, by index.
    Stage(usize),
    /// An image, as written but with its variables replaced.
    Image(String),
    /// A named build context, by its key in [`Inputs::contexts`].
    Context(String),
}

/// One stage of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageNode {
    /// Its place in the file, from 0.
    pub index: usize,
    /// Its name, or `stage-N`.
    pub label: String,
    /// What it stands on.
    pub base: Base,
    /// The platform of its base.
    pub platform: Platform,
    /// Whether a named context of its own name replaces the whole stage: it has no steps then.
    pub replaced: bool,
    /// The stages that it reads, its base included, ascending.
    pub depends_on: Vec<usize>,
    /// The images of `COPY --from=` and mounts, as written, each once.
    pub external_images: Vec<String>,
    /// The named contexts of `COPY --from=` and mounts, by their keys in [`Inputs::contexts`], each once.
    pub contexts: Vec<String>,
    /// What BuildKit runs for it, in order.
    pub steps: Vec<Step>,
    /// Its other instructions, in order.
    pub settings: Vec<Setting>,
    /// What is not known about its instructions.
    pub opaque: Vec<Opaque>,
}

impl StageNode {
    /// How many layers the stage makes itself.
    pub fn layer_steps(&self) -> usize {
        self.steps.iter().filter(|step| !step.is_base).count()
    }
}

/// Resolves a Dockerfile for one target.
pub fn graph(dockerfile: &Dockerfile, inputs: &Inputs) -> Result<Graph, GraphError> {
    let resolver = Resolver::new(dockerfile, inputs)?;
    let target = resolver.target()?;
    resolver.check_froms()?;
    resolver.reachable(target)
}

/// What `--from` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `scratch`.
    Nothing,
    /// A stage, by index.
    Stage(usize),
    /// An image, as written.
    Image(String),
    /// A named build context, by its key in [`Inputs::contexts`].
    Context(String),
}

/// An instruction of a stage.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) instruction: Instruction,
    /// It comes from an `ONBUILD` of the base.
    pub(super) is_trigger: bool,
    /// What its `--from`s mean, in their order, with how they are written.
    pub(super) sources: Vec<(String, Source)>,
}

impl Resolver<'_> {
    /// BuildKit reads the `--from`s of all stages, also of those that nothing needs.
    fn check_froms(&self) -> Result<(), GraphError> {
        let all = self.dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
        for instruction in all {
            self.sources(instruction)?;
        }
        Ok(())
    }

    /// What the `--from`s of one instruction mean, with how they are written.
    fn sources(&self, instruction: &Instruction) -> Result<Vec<(String, Source)>, GraphError> {
        let failed =
            |word: &str, fault| GraphError { line: instruction.span.first, word: word.to_owned(), fault };
        match &instruction.kind {
            Kind::Copy(transfer) => {
                let Some(from) = &transfer.from else { return Ok(Vec::new()) };
                let plain = Lexer::new(self.dockerfile.escape).expand(from, &|_| None, &mut Budget::new());
                if plain.map(|expansion| expansion.text).as_deref() != Ok(from) {
                    return Err(failed(from, GraphFault::VariableInFrom));
                }
                let source = match from.parse::<i64>() {
                    Ok(index) => usize::try_from(index)
                        .ok()
                        .filter(|index| *index < self.stages.len())
                        .map(Source::Stage)
                        .ok_or_else(|| failed(from, GraphFault::StageIndex(from.clone())))?,
                    Err(_) => self.source(from),
                };
                Ok(vec![(from.clone(), source)])
            }
            Kind::Run(mounts) => mounts
                .iter()
                .filter_map(|mount| mount.from.as_ref())
                .map(|from| match from.find('$') {
                    Some(place) if place + 1 < from.len() => Err(failed(from, GraphFault::VariableInFrom)),
                    _ => Ok((from.clone(), self.source(from))),
                })
                .collect(),
            _ => Ok(Vec::new()),
        }
    }

    fn source(&self, from: &str) -> Source {
        if let Some(&stage) = self.names.get(&from.to_lowercase()) {
            return Source::Stage(stage);
        }
        if from == "scratch" {
            return Source::Nothing;
        }
        let context = self.context(from, &self.inputs.platform);
        context.map_or_else(|| Source::Image(from.to_owned()), Source::Context)
    }

    /// BuildKit names the stage in its steps only where there is more than one. It counts each image of a `--from`, and
    /// each mount without one, as a stage too.
    fn shows_labels(&self) -> bool {
        let unregistered = |instruction: &Instruction| match &instruction.kind {
            Kind::Copy(transfer) => transfer.from.as_deref().is_some_and(|from| {
                from.parse::<i64>().is_err() && !self.names.contains_key(&from.to_lowercase())
            }),
            Kind::Run(mounts) => mounts.iter().any(|mount| {
                !self.names.contains_key(&mount.from.as_deref().unwrap_or("scratch").to_lowercase())
            }),
            _ => false,
        };
        self.stages.len() > 1 || self.dockerfile.stages[0].instructions.iter().any(unregistered)
    }

    /// The second pass.
    fn reachable(mut self, target: usize) -> Result<Graph, GraphError> {
        let mut nodes: BTreeMap<usize, StageNode> = BTreeMap::new();
        let mut instructions: BTreeMap<usize, Vec<Placed>> = BTreeMap::new();
        let mut pending = vec![target];
        while let Some(index) = pending.pop() {
            if nodes.contains_key(&index) {
                continue;
            }
            let own = self.instructions(index)?;
            let node = self.node(index, &own)?;
            pending.extend(&node.depends_on);
            nodes.insert(index, node);
            instructions.insert(index, own);
        }
        let labelled = self.shows_labels();
        let mut walks: BTreeMap<usize, Walk> = BTreeMap::new();
        for (index, node) in &mut nodes {
            let mut walk = match &node.base {
                Base::Scratch => Walk::from_scratch(),
                Base::Image(_) | Base::Context(_) => Walk::from_unknown(),
                // A base is an earlier stage, and was walked before.
                Base::Stage(base) => walks.get(base).cloned().unwrap_or_else(Walk::from_unknown),
            };
            let line = self.dockerfile.stages[*index].from.first;
            self.budget.spend(walk.size()).map_err(|error| expansion_failed(error, line, ""))?;
            if !node.replaced {
                let label = labelled.then_some(node.label.as_str());
                let own = instructions.remove(index).unwrap_or_default();
                let given = (&self.globals, &self.inputs.build_args);
                (node.steps, node.settings) = walk.steps(
                    &node.base,
                    line,
                    label,
                    &own,
                    self.dockerfile.escape,
                    given,
                    &mut self.budget,
                )?;
            }
            walks.insert(*index, walk);
        }
        Ok(Graph { target, stages: nodes.into_values().collect() })
    }

    /// The instructions of a stage, those that its base's `ONBUILD`s add before the others.
    fn instructions(&self, index: usize) -> Result<Vec<Placed>, GraphError> {
        let (stage, resolved) = (&self.dockerfile.stages[index], &self.stages[index]);
        let mut all = Vec::new();
        if resolved.replaced {
            return Ok(all);
        }
        let place = |instruction: Instruction, is_trigger| {
            let sources = self.sources(&instruction)?;
            Ok(Placed { instruction, is_trigger, sources })
        };
        if let Base::Stage(base) = resolved.base {
            for instruction in &self.dockerfile.stages[base].instructions {
                let Kind::Onbuild(trigger) = &instruction.kind else { continue };
                let (read, _) = Instruction::of_trigger(trigger, stage.from).ok_or_else(|| GraphError {
                    line: instruction.span.first,
                    word: String::new(),
                    fault: GraphFault::Trigger(trigger.clone()),
                })?;
                all.push(place(read, true)?);
            }
        }
        for instruction in &stage.instructions {
            all.push(place(instruction.clone(), false)?);
        }
        Ok(all)
    }

    /// What a stage reads.
    fn node(&self, index: usize, instructions: &[Placed]) -> Result<StageNode, GraphError> {
        let (stage, resolved) = (&self.dockerfile.stages[index], &self.stages[index]);
        let mut depends_on = BTreeSet::new();
        let (mut images, mut contexts) = (BTreeSet::new(), BTreeSet::new());
        if let Base::Stage(base) = resolved.base {
            depends_on.insert(base);
        }
        for placed in instructions {
            for (written, source) in &placed.sources {
                match source {
                    Source::Nothing => {}
                    Source::Image(image) => drop(images.insert(image.clone())),
                    Source::Context(context) => drop(contexts.insert(context.clone())),
                    Source::Stage(read) if *read >= index && !self.stages[*read].replaced => {
                        let (line, fault) =
                            (placed.instruction.span.first, GraphFault::ForwardReference(written.clone()));
                        return Err(GraphError { line, word: written.clone(), fault });
                    }
                    Source::Stage(read) => drop(depends_on.insert(*read)),
                }
            }
        }
        let first = self.dockerfile.stages[0].span.first;
        let lines = stage.span.first..=stage.span.last;
        let concerns = |opaque: &&Opaque| opaque.line < first || lines.contains(&opaque.line);
        let mut opaque: Vec<Opaque> = self.dockerfile.opaque.iter().filter(concerns).cloned().collect();
        if let Some(Some(frontend)) = self.inputs.build_args.get("BUILDKIT_SYNTAX")
            && !is_docker_frontend(frontend)
        {
            opaque.push(Opaque { line: 0, what: format!("frontend `{frontend}`") });
        }
        Ok(StageNode {
            index,
            label: stage.name.clone().unwrap_or_else(|| label(index)),
            base: resolved.base.clone(),
            platform: resolved.platform.clone(),
            replaced: resolved.replaced,
            depends_on: depends_on.into_iter().collect(),
            external_images: images.into_iter().collect(),
            contexts: contexts.into_iter().collect(),
            steps: Vec::new(),
            settings: Vec::new(),
            opaque,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::ExpandError;

    fn inputs() -> Inputs {
        Inputs {
            build_args: BTreeMap::new(),
            target: None,
            platform: Platform::new("linux", "arm64", None),
            build_platform: Platform::new("linux", "amd64", None),
            contexts: BTreeMap::new(),
        }
    }

    fn resolve(text: &str, inputs: &Inputs) -> Result<Graph, GraphError> {
        graph(&Dockerfile::parse(text.as_bytes()).expect("Dockerfile"), inputs)
    }

    fn fault(text: &str) -> String {
        resolve(text, &inputs()).map_or_else(|error| error.to_string(), |_| "none".to_owned())
    }

    /// `index base (stages | images | contexts)` of every stage.
    fn shape(graph: &Graph) -> Vec<String> {
        let node = |node: &StageNode| {
            let base = format!("{:?}", node.base);
            let images = node.external_images.join(",");
            format!("{} {base} {:?} {images}|{}", node.index, node.depends_on, node.contexts.join(","))
        };
        graph.stages.iter().map(node).collect()
    }

    #[test]
    fn names_are_found_as_buildkit_finds_them() {
        let cases: [(&str, &str, &[&str]); 7] = [
            (
                "a base means the latest earlier stage of its name",
                "FROM x AS a\nFROM a AS a\nFROM a",
                &["0 Image(\"x\") [] |", "1 Stage(0) [0] |", "2 Stage(1) [1] |"],
            ),
            ("a base keeps its case", "FROM x AS Build\nFROM Build", &["1 Image(\"Build\") [] |"]),
            (
                "--from ignores case, indices count from 0",
                "FROM x AS a\nFROM y\nFROM scratch\nCOPY --from=A / /\nCOPY --from=1 / /",
                &["0 Image(\"x\") [] |", "1 Image(\"y\") [] |", "2 Scratch [0, 1] |"],
            ),
            (
                "a mount has no index, unknown names are images",
                "FROM x\nFROM scratch\nRUN --mount=from=0 --mount=type=cache,from=img:1 --mount=from=scratch x",
                &["1 Scratch [] 0,img:1|"],
            ),
            ("what is not reached is left out", "FROM x\nFROM y\nCOPY . /", &["1 Image(\"y\") [] |"]),
            (
                "a trigger reads for the child, not for the grandchild",
                "FROM x AS p\nONBUILD COPY --from=t a b\nFROM y AS t\nFROM p AS c\nFROM c",
                &["0 Image(\"x\") [] |", "1 Image(\"y\") [] |", "2 Stage(0) [0, 1] |", "3 Stage(2) [2] |"],
            ),
            (
                "scratch may be a stage",
                "FROM x AS scratch\nFROM scratch",
                &["0 Image(\"x\") [] |", "1 Stage(0) [0] |"],
            ),
        ];
        for (name, text, expected) in cases {
            assert_eq!(shape(&resolve(text, &inputs()).expect(name)), expected, "{name}");
        }
    }

    #[test]
    fn arguments_and_platforms() {
        let text = "ARG A=x\nARG B=$A:$TARGETARCH\nFROM --platform=$BUILDPLATFORM $B AS one\nFROM --platform=arm ${C:-y}\nCOPY --from=one a b";
        let with = |given: &[(&str, Option<&str>)]| {
            let build_args =
                given.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect();
            let graph = resolve(text, &Inputs { build_args, ..inputs() }).expect("graph");
            let show = |node: &StageNode| format!("{:?} {}", node.base, node.platform);
            graph.stages.iter().map(show).collect::<Vec<_>>()
        };
        assert_eq!(with(&[]), ["Image(\"x:arm64\") linux/amd64", "Image(\"y\") linux/arm/v7"]);
        assert_eq!(
            with(&[("A", Some("z")), ("C", Some("undeclared")), ("TARGETARCH", Some("t"))]),
            ["Image(\"z:t\") linux/amd64", "Image(\"y\") linux/arm/v7"]
        );
        assert_eq!(with(&[("A", None)])[0], "Image(\"x:arm64\") linux/amd64");
    }

    #[test]
    fn named_contexts_replace_stages_and_images() {
        let text = "FROM alpine AS base\nRUN x\nFROM docker.io/library/busybox:latest\nRUN y\nCOPY --from=base a b\nCOPY --from=tools a b";
        let contexts = [("base", "1"), ("busybox", "2"), ("busybox::linux/amd64", "no"), ("tools", "3")];
        let contexts =
            contexts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let graph = resolve(text, &Inputs { contexts, ..inputs() }).expect("graph");
        assert_eq!(shape(&graph), ["0 Context(\"base\") [] |", "1 Context(\"busybox\") [0] |tools"]);
        assert!(graph.stages[0].replaced && graph.stages[0].steps.is_empty());
        let steps: Vec<_> =
            graph.stages[1].steps.iter().map(|step| format!("{} {}", step.prefix, step.text)).collect();
        assert_eq!(
            steps,
            [
                "[stage-1 1/4] RUN y",
                "[stage-1 2/4] COPY --from=base a b",
                "[stage-1 3/4] COPY --from=tools a b"
            ]
        );
    }

    #[test]
    fn targets() {
        let target = |name: &str| {
            let inputs = Inputs { target: Some(name.to_owned()), ..inputs() };
            resolve("FROM x AS base\nFROM y AS Build\nFROM z", &inputs)
                .map_or_else(|error| error.to_string(), |graph| graph.target.to_string())
        };
        assert_eq!(target("BUILD"), "1");
        assert_eq!(
            target("biuld"),
            "line 3: no stage is named `biuld` (did you mean `build`?); there are `base`, `build`"
        );
        assert_eq!(target("0"), "line 3: no stage is named `0`; there are `base`, `build`");
    }

    #[test]
    fn faults_name_line_and_cause() {
        let cases = [
            (
                "FROM a\nCOPY --from=later x y\nFROM b AS later\nFROM a\nCOPY --from=0 x y",
                "line 2: stage `later` must come before the instruction that reads it",
            ),
            (
                "FROM a AS b\nRUN --mount=from=b x",
                "line 2: stage `b` must come before the instruction that reads it",
            ),
            ("FROM a\nCOPY --from=7 x y", "line 2: there is no stage with index 7"),
            (
                "FROM a\nCOPY --from=$x y z",
                "line 2: variables are not allowed in `--from`; give the stage a name with `FROM ... AS` instead",
            ),
            ("FROM $nothing", "line 1: the base `$nothing` is empty once its variables are replaced"),
            (
                "FROM --platform=$x/ a",
                "line 1: the platform `$x/` is `/`, which is not os/architecture[/variant]",
            ),
            ("FROM ${x", "line 1: cannot replace the variables"),
            ("FROM a\nENV x='", "line 2: cannot replace the variables"),
            ("FROM a AS b\nONBUILD RUNN x\nFROM b", "line 2: the ONBUILD trigger `RUNN x` is no instruction"),
        ];
        for (text, expected) in cases {
            assert_eq!(fault(text), expected, "{text:?}");
        }
    }

    #[test]
    fn values_that_double_come_to_an_end() {
        let doubling = format!("FROM scratch\nENV a=xxxxxxxx\n{}COPY . /", "ENV a=$a$a\n".repeat(100));
        let error = resolve(&doubling, &inputs()).expect_err("too much");
        assert_eq!(error.fault, GraphFault::Expansion(ExpandError::TooMuch));
    }
}
