//! What an image is made from: the value behind the input digest, step by step.
//!
//! It is made before the engine is asked for anything, kept in a build's record, and compared with that of an earlier
//! build to say why a step ran again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::reference::Digest;

/// Everything known that can change an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The input digest: two builds that have it in common make the same image.
    pub digest: Digest,
    /// What could change the image unseen. Empty: the image may be reused.
    pub unknown: Vec<Unknown>,
    /// Whose steps these are.
    #[serde(default, skip_serializing_if = "StepRules::is_default")]
    pub rules: StepRules,
    /// The stages that the target reaches, in the Dockerfile's order. Of several platforms, those of each platform after
    /// one another.
    pub stages: Vec<StageInputs>,
    /// What changes the image and no step: labels, `CMD`, media types of the output.
    pub image: Vec<Part>,
    /// The files of the context that steps read, by path. [`StepInputs::files`] counts in it.
    pub files: Vec<File>,
}

impl Inputs {
    /// The digests of a stage's last steps: one for each platform, none where it has no steps.
    pub fn last_steps(&self, stage: &str) -> Vec<&Digest> {
        let own = self.stages.iter().filter(|it| it.name == stage);
        own.filter_map(|it| it.steps.last().map(|step| &step.digest)).collect()
    }
}

/// Something that could change the image unseen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// The line of the Dockerfile; 0 where it is none of its lines.
    pub line: usize,
    /// What it is, in the words of the report: ``ADD fetches https://example.com/x without --checksum``.
    pub what: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(formatter, "line {}: ", self.line)?;
        }
        formatter.write_str(&self.what)
    }
}

/// Whose steps these are: what is counted as one, how they are numbered, and what the digest of one stands for. Steps of
/// different rules have no digest in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepRules {
    /// BuildKit's: what makes a layer is a step, counted from the stage's base.
    #[default]
    BuildKit,
    /// The builder's before it: every instruction is a step, counted from the begin of the file.
    Classic,
    /// buildah's: every instruction is a step, counted from its stage's `FROM`.
    Buildah,
    /// The same before buildah 1.29 and podman 4.4, which do not find an `ARG` in a registry (containers/buildah#4315).
    EarlyBuildah,
}

impl StepRules {
    fn is_default(&self) -> bool {
        *self == StepRules::default()
    }
}

/// The steps of one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageInputs {
    /// Its name, or `stage-1`, as in [`StageOutcome::name`](crate::model::outcome::StageOutcome::name).
    pub name: String,
    /// Where several platforms are built: which one, as the engine shows it, `linux/arm64`, or `linux/amd64->arm64` where
    /// another one builds for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Its steps, the base image among them, as the engine counts them.
    pub steps: Vec<StepInputs>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepInputs {
    /// Its number, from 1, as the engine counts.
    pub number: usize,
    /// The first line of its instruction in the Dockerfile, from 1.
    pub line: usize,
    /// The instruction, as the engine shows it: `RUN make`.
    pub instruction: String,
    /// The digest of the step and of everything before it in its stage, and of what it copies from. A step whose digest a
    /// cache has seen will be answered from it.
    pub digest: Digest,
    /// What the step itself adds to that digest.
    pub parts: Vec<Part>,
    /// The files that it reads: ranges of [`Inputs::files`], the end not included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<(usize, usize)>,
}

/// One thing that a result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What sort of thing.
    pub kind: PartKind,
    /// Its name within the kind: `GIT_SHA`, `python:3.12`, `--network`.
    pub name: String,
    /// Its value; the digest of its value where that might be a secret.
    pub value: String,
}

/// Sorts of things that a result depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// The instruction itself, variables replaced. One that makes no layer, in [`Inputs::image`].
    Instruction,
    /// A build argument in scope, by name; the value is a digest.
    Argument,
    /// A variable of `ENV` in scope, by name; the value is a digest.
    Variable,
    /// What the step finds set: `user`, `working folder`, `shell`.
    State,
    /// An image, as the Dockerfile names it; the value is its digest for the platform.
    Image,
    /// The stage that is stood upon or copied from; the value is the digest of its last step.
    Stage,
    /// A named build context; the value is a digest of what it is.
    Context,
    /// The files of a context that the step takes, by the source in the instruction; the value is a digest of them.
    Files,
    /// A flag of the build: `--network`, `--label`.
    Option,
    /// The image of the `# syntax=` directive; the value is its digest.
    Frontend,
}

/// What one source of a `COPY`, an `ADD` or a bind mount means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// The named context that it is taken from; `None` for the build context.
    pub context: Option<String>,
    /// The source, variables replaced. With or without `/` in front, cleaned or not; with [`Selector::parents`] as it
    /// stands, since its `/./` has a meaning.
    pub source: String,
    /// Whether `*`, `?` and `[` have their meaning: in `COPY` and `ADD`, not in a bind mount.
    pub wildcard: bool,
    /// `--parents`.
    pub parents: bool,
    /// The patterns of `--exclude`, variables replaced.
    pub excludes: Vec<String>,
}

/// A file of a context, as far as it counts for a result: its time and its owner do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The named context that it is in; `None` for the build context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// From the context's root. Bytes that are no UTF-8 are replaced.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// The twelve bits that `chmod` sets.
    pub mode: u32,
    /// Bytes, of a regular file.
    pub size: u64,
    /// The first 32 hexadecimal digits of the SHA-256 of its content, and of whatever else counts; empty where there is
    /// nothing but the mode.
    pub digest: String,
    /// Where a symbolic link points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A pipe, a socket, a device.
    Other,
}

impl Selector {
    /// Everything in a context.
    pub fn all(context: Option<String>) -> Self {
        Selector { context, source: "/".to_owned(), wildcard: false, parents: false, excludes: Vec::new() }
    }
}

impl Inputs {
    /// Whether an image with this input digest may stand for a new build.
    pub fn is_reusable(&self) -> bool {
        self.unknown.is_empty()
    }

    /// The files that a step reads.
    pub fn files_of<'a>(&'a self, step: &'a StepInputs) -> impl Iterator<Item = &'a File> {
        step.files.iter().flat_map(|&(from, to)| self.files.get(from..to).unwrap_or_default())
    }
}
