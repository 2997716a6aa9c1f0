//! The build context: what its ignore file leaves out, what lies in it, what git records about its files, and a shadow of it
//! with the modes that git records.
//!
//! `ignore` (with `pattern`), `git_index` and the rule in `modes` are pure: bytes in, values out.

mod content;
pub mod git_index;
mod glob;
pub mod hash;
pub mod ignore;
pub mod modes;
mod pattern;
mod place;
pub mod repository;
#[cfg(test)]
pub(crate) mod samples;
pub mod select;
pub mod shadow;
pub mod stat_cache;
pub mod survey;
pub mod walk;
