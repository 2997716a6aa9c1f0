//! Dockerfiles, as BuildKit reads them: text to instructions, instructions to stages, stages to the graph of a build.
//!
//! Everything here is pure. What layerlift does not know is kept and named (`Opaque`), never refused: the engine's
//! frontend may be newer than this code. BuildKit's own parser (moby/buildkit, `frontend/dockerfile`, read at 73ed6825c)
//! is the authority for every rule; the fixtures in `tests/it/dockerfiles` hold what a real engine said.

mod budget;
mod directive;
mod error;
mod expand;
mod expander;
mod glob;
mod graph;
mod heredoc;
mod instruction;
mod line;
mod linked;
mod mount;
mod named;
mod operation;
mod resolve;
mod stage;
mod step;
mod variables;
mod words;

pub use error::{GraphError, GraphFault, ParseError, ParseFault, snippet};
pub use expand::ExpandError;
pub use expander::absolute;
pub use graph::{Base, Graph, Inputs, Source, StageNode, graph};
pub use heredoc::Heredoc;
pub use instruction::{Argument, Flag, From, Instruction, Kind, Transfer};
pub use line::Span;
pub use linked::linked;
pub use mount::Mount;
pub use named::{NameTaken, named};
pub use operation::{Copy, CopySource, Operation, Run, RunMount, Setting, Word};
pub use stage::{Dockerfile, Opaque, Stage};
pub use step::Step;
pub use variables::Variable;
