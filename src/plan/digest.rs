//! The input digest: the identity of everything that can change an image, and of every step on the way to it.
//!
//! BuildKit's rule is the model (BUILDKIT.md 5): a step's digest changes where a warm BuildKit would run the step, and
//! stays where it would say `CACHED`.
//!
//! | in a step's digest | not in it |
//! |---|---|
//! | what its stage stands on: the steps before it, the base image's digest for the platform | the base's tag |
//! | the instruction, variables replaced; heredocs | comments, line breaks, what other instructions say |
//! | `RUN`: every `ARG` and `ENV` in scope, user, folder, shell, mounts, platform, `--network` and the like | predefined proxy arguments that no `ARG` declares |
//! | `COPY`, `ADD`, bind mounts: path, kind, mode, content, link target, counted xattrs of the files they take | time, owner, files that are left out or that nothing takes |
//! | `--from`: the last step of the stage, the image's digest | the stage's name |
//! | secrets and ssh: their ids | their values |
//! | `COPY --link`: itself alone | what lies below it |
//!
//! The image's digest has besides: what its stage and those below it set (`CMD`, `LABEL`, ...) and between which steps,
//! since the image's history tells that, labels, annotations,
//! attestations, media types of the output, platform, the `# syntax=` frontend's digest, `SOURCE_DATE_EPOCH`.
//!
//! What nothing here can see: what a `RUN` fetches, time, chance, cache mounts, secret values, and the version of an
//! engine's built-in frontend, since no engine is asked. Where the Dockerfile itself says that something outside may move
//! (an `ADD` of an address without checksum, a moving git ref, an unknown frontend or flag), the image is not reusable.

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{Base, Copy, CopySource, Operation, Run, Source, StageNode, Step, Variable};
use crate::model::inputs::{
    File, Inputs, Part, PartKind, Selector, StageInputs, StepInputs, StepRules, Unknown,
};
use crate::model::platform::Platform;
use crate::model::reference::Digest;
use crate::plan::wanted::{Asked, NamedContext, moving, taken};

/// Changes whenever the same inputs would give another digest.
const SCHEMA: &str = "layerlift inputs 3";

/// What was found out.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The digest of every wanted image, or why it is not known.
    pub images: BTreeMap<(String, Platform), Result<Digest, String>>,
    /// All files that are taken, by context and path.
    pub files: Vec<File>,
    /// For every wanted selection its files, as ascending places in `files`, or why they are not known.
    pub selected: BTreeMap<Selector, Result<Vec<usize>, String>>,
    /// The image of the `# syntax=` directive, with its digest or why that is not known.
    pub frontend: Option<(String, Result<Digest, String>)>,
    /// What the build is told.
    pub options: Options,
    /// What else could change the image unseen.
    pub unknown: Vec<String>,
}

/// Flags and variables of a build, with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Those that every `RUN` is given.
    pub run: Vec<(String, String)>,
    /// Those that change the image alone.
    pub image: Vec<(String, String)>,
}

/// Makes the value behind the input digest.
pub fn inputs(asked: Asked<'_>, known: Known) -> Inputs {
    let mut maker = Maker { asked, known: &known, trees: BTreeMap::new(), unknown: Vec::new() };
    maker.unknown.extend(known.unknown.iter().map(|what| Unknown { line: 0, what: what.clone() }));
    let mut stages = Vec::new();
    for node in &asked.graph.stages {
        let steps = maker.stage(node);
        stages.push(StageInputs { name: node.label.clone(), platform: None, steps });
    }
    let (image, order) = maker.image();
    let tree = maker.tree(asked.graph.target);
    let platform = asked.platform.to_string();
    let digest = key(&[SCHEMA, tree.as_str(), &platform, &order], &image);
    let mut unknown = maker.unknown;
    unknown.sort_by(|one, other| (one.line, &one.what).cmp(&(other.line, &other.what)));
    unknown.dedup();
    Inputs { digest, unknown, rules: StepRules::BuildKit, stages, image, files: known.files }
}

struct Maker<'a> {
    asked: Asked<'a>,
    known: &'a Known,
    /// What each stage has come to, by index.
    trees: BTreeMap<usize, Digest>,
    unknown: Vec<Unknown>,
}

impl Maker<'_> {
    fn tree(&self, stage: usize) -> Digest {
        // Every stage that is named was walked before.
        self.trees.get(&stage).cloned().unwrap_or_else(|| Digest::of(b""))
    }

    fn label(&self, stage: usize) -> &str {
        let mut stages = self.asked.graph.stages.iter();
        stages.find(|node| node.index == stage).map_or("", |node| node.label.as_str())
    }

    fn stage(&mut self, node: &StageNode) -> Vec<StepInputs> {
        for opaque in &node.opaque {
            let what = format!("{} is not known to layerlift", opaque.what);
            self.unknown.push(Unknown { line: opaque.line, what });
        }
        let platform = node.platform.to_string();
        // The digest under a tag may be that of an index, which is the same for every platform.
        let (mut tree, base) = match &node.base {
            Base::Scratch => (key(&["scratch"], &[]), None),
            Base::Stage(index) => (self.tree(*index), None),
            Base::Image(image) => {
                let part = self.image_part(image, &node.platform, 0);
                (key(&["image", &platform], std::slice::from_ref(&part)), Some(part))
            }
            Base::Context(key_) => {
                let (part, _) = self.context(key_, &node.platform, Selector::all(None), 0);
                (key(&["context", &platform], &[part]), None)
            }
        };
        let mut steps = Vec::new();
        // It is in the tree already; the part says which stage it is.
        let mut stood_upon = match node.base {
            Base::Stage(index) => Some(part(PartKind::Stage, self.label(index), tree.as_str())),
            _ => None,
        };
        for step in &node.steps {
            let (mut parts, files, alone) = match &step.operation {
                Operation::Base => (base.iter().cloned().collect(), Vec::new(), true),
                Operation::Run(run) => self.run(step, run),
                Operation::Copy(copy) => self.copy(step, copy),
                Operation::Workdir(word) => (vec![instruction(step, &[word.whole()])], Vec::new(), false),
                Operation::Nothing => continue,
            };
            let digest = match (&step.operation, alone) {
                (Operation::Base, _) => tree.clone(),
                (Operation::Run(_), _) => key(&["step", tree.as_str(), &platform], &parts),
                (_, true) => key(&["step"], &parts),
                (_, false) => key(&["step", tree.as_str()], &parts),
            };
            tree = match (&step.operation, alone) {
                (Operation::Base, _) | (_, false) => digest.clone(),
                (_, true) => key(&["link", tree.as_str(), digest.as_str()], &[]),
            };
            if !alone {
                parts.extend(stood_upon.take());
            }
            let (number, line, instruction) = (step.number, step.line, step.written.clone());
            steps.push(StepInputs { number, line, instruction, digest, parts, files: ranges(&files) });
        }
        self.trees.insert(node.index, tree);
        steps
    }

    fn run(&mut self, step: &Step, run: &Run) -> (Vec<Part>, Vec<usize>, bool) {
        let mut parts = vec![instruction(step, std::slice::from_ref(&run.command))];
        let mut files = Vec::new();
        parts.extend(run.variables.iter().map(variable));
        for (name, value) in &run.state {
            parts.push(part(PartKind::State, name, value));
        }
        for (name, value) in run.options.iter().chain(&self.known.options.run) {
            parts.push(part(PartKind::Option, &format!("--{name}"), value));
        }
        for mount in &run.mounts {
            let fields: Vec<String> =
                mount.fields.iter().map(|(name, word)| format!("{name}={}", word.whole())).collect();
            parts.push(part(PartKind::Option, "--mount", &fields.join(",")));
        }
        for (source, selector) in taken(&step.operation) {
            parts.push(self.source(source, selector, step.line, &mut files));
        }
        (parts, files, false)
    }

    fn copy(&mut self, step: &Step, copy: &Copy) -> (Vec<Part>, Vec<usize>, bool) {
        let mut words = vec![copy.is_add.to_string(), copy.link.to_string(), copy.destination.whole()];
        for (name, word) in copy.options.iter().chain(&copy.inline) {
            words.extend([name.clone(), word.whole()]);
        }
        for source in &copy.sources {
            let (CopySource::Path(word) | CopySource::Remote(word)) = source;
            words.push(word.whole());
            if let CopySource::Remote(word) = source
                && let Some(what) = moving(copy, word)
            {
                self.unknown.push(Unknown { line: step.line, what });
            }
        }
        let mut parts = vec![instruction(step, &words)];
        let mut files = Vec::new();
        parts.extend(copy.variables.iter().map(variable));
        for (source, selector) in taken(&step.operation) {
            parts.push(self.source(source, selector, step.line, &mut files));
        }
        let named_owner = copy.options.iter().any(|(name, word)| {
            name == "chown" && !word.text.chars().all(|letter| letter.is_ascii_digit() || letter == ':')
        });
        // An owner's name and a relative path mean something in what lies below.
        let alone = copy.link && copy.destination.unclear.is_none() && !named_owner;
        (parts, files, alone)
    }

    /// What a step takes from somewhere.
    fn source(
        &mut self,
        source: Option<&Source>,
        selector: Selector,
        line: usize,
        files: &mut Vec<usize>,
    ) -> Part {
        match source {
            None => {
                let (part, found) = self.files(selector, line);
                files.extend(found);
                part
            }
            Some(Source::Nothing) => part(PartKind::Stage, "scratch", "scratch"),
            Some(Source::Stage(index)) => {
                part(PartKind::Stage, self.label(*index), self.tree(*index).as_str())
            }
            Some(Source::Image(image)) => self.image_part(image, self.asked.platform, line),
            Some(Source::Context(key)) => {
                let (part, found) = self.context(key, self.asked.platform, selector, line);
                files.extend(found);
                part
            }
        }
    }

    fn image_part(&mut self, image: &str, platform: &Platform, line: usize) -> Part {
        let value = match self.known.images.get(&(image.to_owned(), platform.clone())) {
            Some(Ok(digest)) => digest.to_string(),
            Some(Err(reason)) => self.doubt(line, format!("the image {image} is not known: {reason}")),
            None => self.doubt(line, format!("the image {image} is not known")),
        };
        part(PartKind::Image, image, &value)
    }

    fn context(
        &mut self,
        key: &str,
        platform: &Platform,
        selector: Selector,
        line: usize,
    ) -> (Part, Vec<usize>) {
        match self.asked.contexts.get(key).cloned() {
            Some(NamedContext::Folder) => {
                self.files(Selector { context: Some(key.to_owned()), ..selector }, line)
            }
            Some(NamedContext::Image(image)) => (self.image_part(&image, platform, line), Vec::new()),
            Some(NamedContext::Target(inputs)) => (part(PartKind::Context, key, inputs.as_str()), Vec::new()),
            Some(NamedContext::Unknown(reason)) => {
                let value = self.doubt(line, format!("the build context {key} is not known: {reason}"));
                (part(PartKind::Context, key, &value), Vec::new())
            }
            None => {
                let value = self.doubt(line, format!("the build context {key} is not known"));
                (part(PartKind::Context, key, &value), Vec::new())
            }
        }
    }

    fn files(&mut self, selector: Selector, line: usize) -> (Part, Vec<usize>) {
        let name = match &selector.context {
            Some(context) => format!("{context}:{}", selector.source),
            None => selector.source.clone(),
        };
        let found = match self.known.selected.get(&selector) {
            Some(Ok(found)) => found.clone(),
            Some(Err(reason)) => {
                let value = self.doubt(line, format!("the files of {name} are not known: {reason}"));
                return (part(PartKind::Files, &name, &value), Vec::new());
            }
            None => {
                let value = self.doubt(line, format!("the files of {name} are not known"));
                return (part(PartKind::Files, &name, &value), Vec::new());
            }
        };
        let mut bytes = Vec::new();
        for file in found.iter().filter_map(|place| self.known.files.get(*place)) {
            let File { context: _, path, kind, mode, size, digest, link } = file;
            let (kind, mode, size) = (format!("{kind:?}"), format!("{mode:o}"), size.to_string());
            for field in [path, &kind, &mode, &size, digest, link.as_deref().unwrap_or_default()] {
                put(&mut bytes, field);
            }
        }
        (part(PartKind::Files, &name, Digest::of(&bytes).as_str()), found)
    }

    /// Notes something that is not known; gives a value for it, which is no digest.
    fn doubt(&mut self, line: usize, what: String) -> String {
        self.unknown.push(Unknown { line, what });
        "unknown".to_owned()
    }

    /// What makes the image and no step, and where that stands among the steps. The place is in no part: an instruction
    /// does not become another where a step is put before it.
    fn image(&mut self) -> (Vec<Part>, String) {
        let mut chain = Vec::new();
        let mut next = Some(self.asked.graph.target);
        while let Some(node) =
            next.and_then(|index| self.asked.graph.stages.iter().find(|node| node.index == index))
        {
            chain.push(node);
            // A base stands before its stage in the file, so that this ends.
            next = if let Base::Stage(base) = node.base { Some(base) } else { None };
        }
        let mut parts = Vec::new();
        // An image says which platform it is for: that of the lowest stage, which may be another than what was asked for.
        if let Some(lowest) = chain.last().filter(|node| node.platform != *self.asked.platform) {
            parts.push(part(PartKind::Option, "platform", &hidden(&[lowest.platform.to_string()])));
        }
        let mut order = String::new();
        let mut before = 0;
        for node in chain.into_iter().rev() {
            for setting in &node.settings {
                let value = hidden(&[setting.text.clone(), setting.value.whole()]);
                parts.push(part(PartKind::Instruction, &setting.text, &value));
                order += &format!("{} ", before + setting.after);
            }
            before += node.steps.len();
        }
        if let Some((image, digest)) = &self.known.frontend {
            let value = match digest {
                Ok(digest) => digest.to_string(),
                Err(reason) => self.doubt(0, format!("the frontend {image} is not known: {reason}")),
            };
            parts.push(part(PartKind::Frontend, image, &value));
        }
        for (name, value) in &self.known.options.image {
            parts.push(part(PartKind::Option, name, &hidden(std::slice::from_ref(value))));
        }
        (parts, order)
    }
}

pub(super) fn part(kind: PartKind, name: &str, value: &str) -> Part {
    Part { kind, name: name.to_owned(), value: value.to_owned() }
}

/// The instruction of a step. Its words may hold values that are nobody's business.
fn instruction(step: &Step, words: &[String]) -> Part {
    part(PartKind::Instruction, &step.written, &hidden(words))
}

fn variable((name, variable): &(String, Variable)) -> Part {
    let kind = if variable.is_argument { PartKind::Argument } else { PartKind::Variable };
    part(kind, name, &hidden(&[variable.value.whole()]))
}

pub(super) fn hidden(values: &[String]) -> String {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| put(&mut bytes, value));
    Digest::of(&bytes).hex()[..32].to_owned()
}

/// The digest of some words and parts. A name counts where it means something to the engine.
pub(super) fn key(words: &[&str], parts: &[Part]) -> Digest {
    let mut bytes = Vec::new();
    words.iter().for_each(|word| put(&mut bytes, word));
    for part in parts {
        put(&mut bytes, &format!("{:?}", part.kind));
        if matches!(part.kind, PartKind::Argument | PartKind::Variable | PartKind::State | PartKind::Option) {
            put(&mut bytes, &part.name);
        }
        put(&mut bytes, &part.value);
    }
    Digest::of(&bytes)
}

/// Appends a text so that no two lists of texts give the same bytes.
fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_be_bytes());
    bytes.extend(text.as_bytes());
}

/// Places as ranges.
fn ranges(places: &[usize]) -> Vec<(usize, usize)> {
    let places: BTreeSet<usize> = places.iter().copied().collect();
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for place in places {
        match ranges.last_mut() {
            Some((_, end)) if *end == place => *end += 1,
            _ => ranges.push((place, place + 1)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
