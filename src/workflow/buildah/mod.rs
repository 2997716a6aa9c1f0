//! The way of a build by buildah or podman: request, facts, plan, run, outcome, report.

mod account;
mod inputs;
mod lend;
mod prepare;
mod run;

pub use account::prediction;
pub use prepare::{Prepared, prepare};
pub use run::build;
