//! Answering a build with an image that is there already.
//!
//! `look` finds it by the digest of its inputs, `give` names and loads it and tells of it as after a build, `store` keeps
//! the image of a build for later ones. Nothing here fails a build: what goes wrong is a reason to build, or a warning.

pub mod files;
pub mod give;
pub mod look;
pub mod store;
