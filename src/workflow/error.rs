//! Why a command of ours ended without an outcome. What went wrong with a cache is never among these.

use crate::base::process;
use crate::dockerfile::{GraphError, ParseError, snippet};
use crate::engine::{docker, probe};
use crate::model::reference::InvalidReference;
use crate::plan::command::Unsupported;
use crate::registry;
use crate::report::file;
use crate::workflow::{builder, source};

/// A failure of the way, by what the user can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to build.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The Dockerfile is none.
    #[error("{name}:{}: {}\n{}", error.line, error.fault, snippet(text, error.line, &error.word))]
    Dockerfile {
        /// Its name.
        name: String,
        /// Its text.
        text: String,
        /// What is wrong.
        error: Box<ParseError>,
    },
    /// The Dockerfile has no such graph: an unknown target above all.
    #[error("{name}:{}: {}\n{}", error.line, error.fault, snippet(text, error.line, &error.word))]
    Graph {
        /// Its name.
        name: String,
        /// Its text.
        text: String,
        /// What is wrong.
        error: Box<GraphError>,
    },
    /// What the image is made from cannot be told from here.
    #[error("what the image is made from is not known: {0}")]
    Inputs(String),
    /// No engine that could build.
    #[error(transparent)]
    Engine(#[from] probe::Error),
    /// The engine cannot do what was asked.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A name of an image is none.
    #[error("{place}: {error}")]
    Reference {
        /// The flag or argument.
        place: &'static str,
        /// What is wrong.
        error: InvalidReference,
    },
    /// A report cannot be written.
    #[error(transparent)]
    Report(#[from] file::Error),
    /// A registry failed a command that only talks to it.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The user's image was built and could not be pushed.
    #[error("the image was built, but not pushed: {0}")]
    Push(#[source] docker::Error),
    /// A builder of our own could not be made or removed.
    #[error(transparent)]
    Builder(#[from] builder::Error),
    /// A program could not be run.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// Something that a command needs was not found or not given.
    #[error("{0}")]
    Missing(String),
}
