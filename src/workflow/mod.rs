//! The spine: request, facts, plan, run, outcome, report.

pub mod build;
pub mod cache_move;
pub mod cache_refs;
pub mod display;
pub mod doctor;
mod doctor_variables;
pub mod engine_run;
pub mod error;
pub mod exposure;
pub mod facts;
pub mod keep;
pub mod lookup;
pub mod named;
pub mod prepare;
pub mod source;
pub mod tell;
pub mod world;
