//! BuildKit's cache formats, read, united, cut to size and written. Pure: bytes in, bytes out; the caller
//! fetches and pushes.
//!
//! [`manifest::classify`] says what a manifest is and which blob to fetch next; [`Cache::read`] makes one
//! normal form of inline caches, cache images and cache indexes; [`merge`](merge()) unites several;
//! [`prune`](prune()) cuts to what BuildKit imports; [`write`](write()) authors the one ref
//! that BuildKit is given.

pub mod build_record;
pub mod cache;
pub mod cacheconfig;
pub mod error;
pub mod folded;
pub mod image_layers;
pub mod inline;
pub mod layer_tree;
pub mod manifest;
pub mod mediatype;
pub mod merge;
pub mod note;
pub mod provenance;
pub mod prune;
mod record;
#[cfg(test)]
mod samples;
pub mod summary;

pub use cache::{Cache, Held};
pub use cacheconfig::{Authored, IMPORT_LIMIT, write};
pub use error::Error;
pub use image_layers::{ImageLayer, image_layers};
pub use inline::platform;
pub use layer_tree::{LayerPart, layer_part, overlaid};
pub use manifest::{CONFIG_LIMIT, Child, Descriptor, Kind, classify};
pub use merge::merge;
pub use note::{EMPTY, read_note, write_note};
pub use provenance::{Provenance, annotate};
pub use prune::{PruneReport, prune, within, without_blobs};
pub use summary::Summary;
