//! The spine: request, facts, plan, run, outcome, report.

pub mod build;
pub mod buildctl;
pub mod builder;
pub mod cache_move;
pub mod cache_refs;
pub mod display;
pub mod docker_config;
pub mod doctor;
mod doctor_variables;
pub mod engine_run;
pub mod error;
pub mod exposure;
pub mod facts;
pub mod group;
pub mod handover;
pub mod init;
pub mod install;
mod json_text;
pub mod keep;
pub mod lookup;
pub mod named;
pub mod prepare;
pub mod repro;
pub mod shim;
pub mod source;
pub mod tell;
pub mod world;
