//! Steps as builders count them that make an image of every instruction: Docker's before BuildKit, and buildah.
//!
//! There every instruction is a step and stands on the one before, also one that makes no layer: another `LABEL` makes all
//! below it run. What an image is made from is the same (`digest`); only what is counted, its numbers, and what each step
//! stands on differ. Sources: moby `builder/dockerfile` (20.10) and buildah `imagebuildah/stage_executor.go`
//! (`getCreatedBy`, 1.28 to 1.39); what a real engine did is in `tests/it/records.rs`.
//!
//! | | classic | buildah |
//! |---|---|---|
//! | numbers | from the file's first instruction, global `ARG`s with it | from the stage's `FROM` |
//! | a build arg's value | in every `RUN` below | in its `ARG`, and in every `RUN` below |
//! | `--label` | a step each at the end of the target, by name | the same, as given |
//! | `--network`, `--add-host`, `--shm-size` and the like | not counted | not counted |
//!
//! Triggers of `ONBUILD` run, and are told as no step of their own.

use std::collections::BTreeMap;

use crate::dockerfile::{Base, Dockerfile, Graph, Setting, StageNode};
use crate::model::inputs::{Inputs, Part, PartKind, StageInputs, StepInputs, StepRules};
use crate::model::reference::Digest;
use crate::plan::digest::{hidden, key, part};
use crate::plan::explain::may_name;

/// The same inputs with steps of other rules. `labels`: those of `--label`, as given.
pub fn inputs(
    inputs: &Inputs,
    file: &Dockerfile,
    graph: &Graph,
    rules: StepRules,
    labels: &[&str],
) -> Inputs {
    let mut walk = Walk { file, graph, rules, trees: BTreeMap::new() };
    let stages = graph.stages.iter().zip(&inputs.stages);
    let stages = stages.map(|(node, stage)| walk.stage(node, stage, labels)).collect();
    Inputs { rules, stages, ..inputs.clone() }
}

/// The stages that the classic builder makes although the target does not need them: all that stand before it.
pub fn needless(file: &Dockerfile, graph: &Graph) -> Vec<String> {
    let is_needed = |index: usize| graph.stages.iter().any(|node| node.index == index);
    let before = file.stages.iter().filter(|stage| stage.index < graph.target && !is_needed(stage.index));
    before.map(|stage| stage.name.clone().unwrap_or_else(|| format!("stage-{}", stage.index))).collect()
}

struct Walk<'a> {
    file: &'a Dockerfile,
    graph: &'a Graph,
    rules: StepRules,
    /// What each stage has come to, by its label.
    trees: BTreeMap<String, Digest>,
}

/// An instruction of a stage.
enum Item<'a> {
    Step(&'a StepInputs),
    Setting(&'a Setting),
}

impl Item<'_> {
    fn line(&self) -> usize {
        match self {
            Item::Step(step) => step.line,
            Item::Setting(setting) => setting.line,
        }
    }
}

impl Walk<'_> {
    fn stage(&mut self, node: &StageNode, stage: &StageInputs, labels: &[&str]) -> StageInputs {
        let numbers = self.lines(node.index);
        let number = |line: usize| numbers.partition_point(|first| *first <= line);
        let from = self.file.stages.get(node.index).map_or(0, |stage| stage.from.first);
        let (mut tree, stood_upon) = self.base(node, stage);
        let mut steps = Vec::new();
        let (base, others) = match stage.steps.split_first() {
            Some((first, rest)) if matches!(node.base, Base::Image(_)) => (Some(first), rest),
            _ => (None, stage.steps.as_slice()),
        };
        if let Some(base) = base {
            steps.push(StepInputs { number: number(base.line), digest: tree.clone(), ..base.clone() });
        }
        let mut items: Vec<Item<'_>> =
            others.iter().map(Item::Step).chain(node.settings.iter().map(Item::Setting)).collect();
        items.sort_by_key(Item::line);
        let mut arguments = Arguments::default();
        let mut stood_upon = stood_upon.into_iter();
        for item in items {
            let (instruction, counted, mut told, files) = match &item {
                Item::Step(step) => {
                    let counted = self.of_step(step);
                    (step.instruction.clone(), counted.clone(), counted, step.files.clone())
                }
                Item::Setting(setting) => {
                    let counted = vec![self.of_setting(setting)];
                    let mut told = counted.clone();
                    told.extend(arguments.named_by(setting, self.rules));
                    arguments.take(setting);
                    (setting.text.clone(), counted, told, Vec::new())
                }
            };
            tree = key(&["instruction", tree.as_str()], &counted);
            // Its line is that of an `ONBUILD` in a stage above.
            if item.line() < from {
                continue;
            }
            told.extend(stood_upon.next());
            let (number, line, digest) = (number(item.line()), item.line(), tree.clone());
            steps.push(StepInputs { number, line, instruction, digest, parts: told, files });
        }
        if node.index == self.graph.target {
            self.label(labels, numbers.len(), &mut tree, &mut steps);
        }
        self.trees.insert(node.label.clone(), tree);
        StageInputs { name: stage.name.clone(), platform: stage.platform.clone(), steps }
    }

    /// The first lines of all that is counted together with a stage.
    fn lines(&self, stage: usize) -> Vec<usize> {
        let of = |stage: &crate::dockerfile::Stage| {
            let rest = stage.instructions.iter().map(|instruction| instruction.span.first);
            std::iter::once(stage.from.first).chain(rest).collect::<Vec<_>>()
        };
        let mut lines: Vec<usize> = match self.rules {
            StepRules::Classic => {
                let stages = self.file.stages.iter().take(self.graph.target + 1).flat_map(of);
                self.file.global_args.iter().map(|(_, line)| *line).chain(stages).collect()
            }
            StepRules::BuildKit | StepRules::Buildah | StepRules::EarlyBuildah => {
                self.file.stages.get(stage).map(of).unwrap_or_default()
            }
        };
        lines.dedup();
        lines
    }

    /// What a stage stands on, and how that is told where it is a stage.
    fn base(&self, node: &StageNode, stage: &StageInputs) -> (Digest, Option<Part>) {
        let rules = format!("{:?}", self.rules);
        let first = stage.steps.first().map_or("", |step| step.digest.as_str());
        match &node.base {
            Base::Stage(index) => {
                let below = self.graph.stages.iter().find(|node| node.index == *index);
                let label = below.map_or("", |node| node.label.as_str());
                let tree = self.trees.get(label).cloned().unwrap_or_else(|| Digest::of(b""));
                let told = part(PartKind::Stage, label, tree.as_str());
                (tree, Some(told))
            }
            Base::Scratch => (key(&[&rules, "scratch"], &[]), None),
            // Of a context nothing but the first step's digest is known, which has more in it.
            Base::Image(_) | Base::Context(_) => (key(&[&rules, first], &[]), None),
        }
    }

    /// What a step that makes a layer depends on, beside what it stands on.
    fn of_step(&self, step: &StepInputs) -> Vec<Part> {
        let counts = |part: &&Part| part.kind != PartKind::Option || part.name == "--mount";
        let own = |part: &Part| match (part.kind, self.trees.get(&part.name)) {
            (PartKind::Stage, Some(tree)) => Part { value: tree.to_string(), ..part.clone() },
            _ => part.clone(),
        };
        step.parts.iter().filter(counts).map(own).collect()
    }

    /// What an instruction depends on that makes no layer.
    fn of_setting(&self, setting: &Setting) -> Part {
        let is_argument = setting.text.starts_with("ARG ");
        let words = match is_argument && self.rules == StepRules::Classic {
            true => vec![setting.text.clone()],
            false => vec![setting.text.clone(), setting.value.whole()],
        };
        part(PartKind::Instruction, &setting.text, &hidden(&words))
    }

    /// The labels of the command line, which stand at the end of the target. `before`: how many instructions do.
    fn label(&self, labels: &[&str], before: usize, tree: &mut Digest, steps: &mut Vec<StepInputs>) {
        let mut pairs: Vec<(&str, &str)> =
            labels.iter().map(|label| label.split_once('=').unwrap_or((label, ""))).collect();
        if self.rules == StepRules::Classic {
            // Of one that is given twice, the last one stands.
            pairs = pairs.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
        }
        let line = self.file.stages.get(self.graph.target).map_or(0, |stage| stage.span.last);
        for (offset, (name, value)) in pairs.into_iter().enumerate() {
            let instruction = format!("LABEL {name}");
            let value = hidden(&[name.to_owned(), value.to_owned()]);
            let parts = vec![part(PartKind::Instruction, &instruction, &value)];
            *tree = key(&["instruction", tree.as_str()], &parts);
            let (number, digest) = (before + offset + 1, tree.clone());
            steps.push(StepInputs { number, line, instruction, digest, parts, files: Vec::new() });
        }
    }
}

/// The build args in scope, with digests of their values: an instruction that names one differs because of it.
#[derive(Default)]
struct Arguments(Vec<(String, String)>);

impl Arguments {
    fn take(&mut self, setting: &Setting) {
        let mut words = setting.text.split_whitespace();
        let word = words.next().unwrap_or_default();
        let names = words.map(|word| word.split('=').next().unwrap_or_default().to_owned());
        match word {
            "ARG" => {
                let value = hidden(&[setting.value.whole()]);
                self.0.extend(names.map(|name| (name, value.clone())));
            }
            "ENV" => {
                let names: Vec<String> = names.collect();
                self.0.retain(|(name, _)| !names.contains(name));
            }
            _ => {}
        }
    }

    /// Those that an instruction names, and to buildah, which counts an `ARG` with its value, those that it gives one.
    fn named_by(&self, setting: &Setting, rules: StepRules) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let has_value = setting.value.text.trim_end() != setting.text;
        if rules != StepRules::Classic && setting.text.starts_with("ARG ") && has_value {
            let mut own = Arguments::default();
            own.take(setting);
            parts.extend(own.0.iter().map(|(name, value)| part(PartKind::Argument, name, value)));
        }
        let named = self.0.iter().filter(|(name, _)| may_name(&setting.text, name));
        parts.extend(named.map(|(name, value)| part(PartKind::Argument, name, value)));
        parts
    }
}

#[cfg(test)]
mod tests;
