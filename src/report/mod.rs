//! Outcome in, words out: the summary in the log, the JSON report, GitHub's and GitLab's own forms, and the live display.
//!
//! Everything here tells and nothing decides. The texts are pure functions of an [`Outcome`]; `file` alone writes to
//! disk and `live` alone draws. Instructions, log lines and messages come from a Dockerfile or an engine and are taken
//! for hostile: each goes through `line` before it is printed.
//!
//! [`Outcome`]: crate::model::outcome::Outcome

pub mod explanation;
pub mod file;
pub mod github;
pub mod gitlab;
pub mod group;
pub mod html;
pub mod json;
pub mod line;
pub mod live;
pub mod progress;
pub mod record;
pub mod rows;
pub mod section;
mod task;
pub mod text;

#[cfg(test)]
mod samples;
