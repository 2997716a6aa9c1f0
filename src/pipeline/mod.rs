//! Where do we run: the environment and the checkout in, a [`Pipeline`](crate::model::pipeline::Pipeline) out.
//!
//! One file per provider reads what that provider sets; `git` reads the checkout and fills what is left open. Nothing
//! here fails: what cannot be read is a warning, and then the reading that trusts least. It is no security boundary:
//! whoever writes the pipeline's file can push to the registry without layerlift.

mod detect;
mod file;
mod git;
mod github;
mod gitlab;
mod other;

pub use detect::{Detected, detect};
pub use file::Error;
pub use git::{Checkout, Origin, read as checkout};
