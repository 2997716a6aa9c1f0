//! The values that travel from floor to floor. Pure: no file here does anything but hold, check, compare and print.

pub mod bake;
pub mod compose;
pub mod engine;
pub mod event;
pub mod flags;
pub mod inputs;
pub mod member;
pub mod modes;
pub mod outcome;
pub mod parent_state;
pub mod pipeline;
pub mod platform;
pub mod record;
pub mod reference;
pub mod request;
pub mod reuse;
pub mod settings;
