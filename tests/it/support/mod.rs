//! What the integration tests stand on: engines, registries, a faulty proxy, a project, and the binary itself.

pub mod act;
pub mod cli;
pub mod containers;
pub mod engine;
pub mod gitlab;
pub mod job;
pub mod program;
pub mod project;
pub mod proxy;
pub mod rebuild;
pub mod recipe;
pub mod registry;
pub mod release;
pub mod scene;
pub mod scripts;
pub mod services;
pub mod token;
