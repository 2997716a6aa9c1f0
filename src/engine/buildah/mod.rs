//! buildah, and podman's `build`, which is buildah's: the line as typed, the line as run, and the two files that it is
//! lent for the time of a build.
//!
//! Its cache is not BuildKit's: each step's image is pushed to a repository, under a tag that is the hash of the step and
//! of all that went before (`generateCacheKey` in buildah's imagebuildah/stage_executor.go). A repository is therefore a
//! heap of steps that never contradict one another, and several can be read in order without a merge.

mod authfile;
mod registries;
mod tool;

pub use authfile::AuthFile;
pub use registries::{Registries, Unextendable};
pub use tool::{Tool, command, pushed, version};
