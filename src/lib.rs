//! layerlift stands in front of `docker build` in CI and makes an empty runner build as if it had built before.
//!
//! The way through the house is one direction: `request -> facts -> plan -> run -> outcome -> report`. The folders are
//! floors, declared here from the top to the ground; a folder imports only from floors below it, and the test
//! `architecture` holds that.

pub mod cli;
pub mod workflow;

pub mod report;

pub mod engine;
pub mod registry;

pub mod context;
pub mod pipeline;

pub mod plan;

pub mod cachefmt;
pub mod ciconfig;
pub mod dockerfile;
pub mod invocation;

pub mod model;

pub mod base;
