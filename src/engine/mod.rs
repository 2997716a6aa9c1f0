//! Running builders: what they can do, the commands that make them do it, and what they say meanwhile.

pub mod bake;
pub mod buildah;
pub mod buildctl;
pub mod builder;
pub mod buildx;
pub mod command;
pub mod docker;
pub mod line;
pub mod login;
pub mod plugin;
pub mod probe;
pub mod progress;
