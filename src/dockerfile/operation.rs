//! What a step does, as far as BuildKit's cache key depends on it: variables replaced, sources resolved, what is in scope.
//!
//! A word that depends on what is not known here (a variable of the base image) keeps its text, and everything that is in
//! scope beside it: too much in a key costs a build, too little gives the wrong image.

use super::graph::Source;
use super::variables::Variable;
use crate::model::reference::Digest;

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// It is the base of its stage.
    Base,
    /// `RUN`.
    Run(Box<Run>),
    /// `COPY` and `ADD`.
    Copy(Box<Copy>),
    /// `WORKDIR`.
    Workdir(Word),
    /// A trigger that makes no layer, which is counted all the same.
    Nothing,
}

/// A word of an instruction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word {
    /// Variables replaced; those that are not known by nothing.
    pub text: String,
    /// Of what it depends on beside its text: the word as written, and all that is in scope. `None`: the text is all there
    /// is.
    pub unclear: Option<Digest>,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command as written, with its heredocs.
    pub command: String,
    /// `--network` and the like, as written.
    pub options: Vec<(String, String)>,
    /// Its mounts.
    pub mounts: Vec<RunMount>,
    /// Its environment, in order. What the base image sets is not in it.
    pub variables: Vec<(String, Variable)>,
    /// What it finds set: `user`, `working folder`, `shell`.
    pub state: Vec<(&'static str, String)>,
}

/// A mount of a `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// Every field but `from`, variables replaced.
    pub fields: Vec<(String, Word)>,
    /// Where its files come from and which: `None` inside is the build context. None at all: `cache`, `secret`.
    pub files: Option<(Option<Source>, Word)>,
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// `ADD`.
    pub is_add: bool,
    /// Where it takes its paths from; `None`: the build context.
    pub from: Option<Source>,
    /// Paths, from `/`, and addresses.
    pub sources: Vec<CopySource>,
    /// Files that stand in the Dockerfile itself: name and content.
    pub inline: Vec<(String, Word)>,
    /// Where it puts them, from `/` where the working folder is known.
    pub destination: Word,
    /// The destination is counted from the working folder.
    pub is_relative: bool,
    /// Flags but `--from` and `--link`.
    pub options: Vec<(String, Word)>,
    /// What it puts is a layer of its own, whatever lies below: its key does not depend on that.
    pub link: bool,
    /// Variables that its words name, with their values.
    pub variables: Vec<(String, Variable)>,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path.
    Path(Word),
    /// What `ADD` fetches.
    Remote(Word),
}

/// An instruction that makes no step, but changes the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its line in the Dockerfile, from 1.
    pub line: usize,
    /// As written.
    pub text: String,
    /// As BuildKit notes it: variables replaced.
    pub value: Word,
    /// How many steps of its stage stand before it: the image's history has all in their order.
    pub after: usize,
}

impl Word {
    /// The text, with the digest of what else it depends on.
    pub fn whole(&self) -> String {
        match &self.unclear {
            Some(rest) => format!("{} ({rest})", self.text),
            None => self.text.clone(),
        }
    }

    /// A text that depends on nothing.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Word { text: text.into(), unclear: None }
    }
}
