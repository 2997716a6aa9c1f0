//! PURE: what will be done, decided from facts. No I/O, no clock, no environment.

pub mod buildah;
pub mod builder;
pub mod cache_flags;
pub mod cache_repo;
pub mod chain;
mod cheap;
pub mod command;
pub mod compression;
pub mod digest;
pub mod explain;
pub mod export;
pub mod facts;
pub mod group;
pub mod keys;
pub mod link;
pub mod lint;
pub mod retry;
pub mod reuse;
pub mod scope;
pub mod sequential;
mod stage_images;
pub mod steps;
pub mod strategy;
pub mod wanted;
pub mod worth;
