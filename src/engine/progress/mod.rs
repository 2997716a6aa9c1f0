//! What engines say while they build: read into events, collected into steps, shown as the engine's own plain log.

mod buildah;
mod classic;
#[cfg(test)]
mod conformance;
mod intervals;
mod name;
mod plain;
mod pushed;
mod rawjson;
mod reader;
mod render;
mod shown;
mod steps;

pub use name::place;
pub use pushed::pushed;
pub use reader::{Format, Reader};
pub use render::Renderer;
pub use steps::{Failure, Steps, Transfer, TransferKind};
