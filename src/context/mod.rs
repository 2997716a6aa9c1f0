//! The build context: what its ignore file leaves out, and what git records about its files.
//!
//! `ignore` (with `pattern`) and `git_index` are pure: bytes in, values out. `repository` finds and reads git's files.

pub mod git_index;
pub mod ignore;
mod pattern;
pub mod repository;
