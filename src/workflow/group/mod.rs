//! Several images at once: a bake, a compose project. The way is that of one image, `request -> facts -> plan -> run ->
//! outcome -> report`, with one request, one chain and one cache ref for every member, and one run of the engine where
//! the engine can.

mod bake_run;
pub mod compose;
pub mod decide;
pub mod define;
mod learn;
mod links;
mod places;
pub mod prepare;
pub mod run;
pub mod singly;
mod targets;
