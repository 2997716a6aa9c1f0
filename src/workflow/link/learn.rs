//! Learning from the layers of pushed images what lies below their last steps.
//!
//! From inside the build, by a step that lists the tree, it would cost a call of the engine more after every such build, an
//! image with a shell and tools in it, and on an engine that has taken the layers from a cache, their unpacking. Layers are
//! read from a registry that has just been written, while BuildKit exports the cache; who has to wait for them does so for
//! a moment (`PATIENCE`). Cold builds take no longer for it (README, Benchmarks).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::MultiGzDecoder;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::OnceCell;
use tokio_util::io::SyncIoBridge;

use crate::cachefmt::{self, ImageLayer, LayerPart};
use crate::model::parent_state::ParentState;
use crate::model::reference::{Digest, Reference, Repository};
use crate::plan::link::{Vain, Wanted};
use crate::registry::Client;
use crate::workflow::link::layers::layers;

/// Layers of an image that are read at once.
const AT_ONCE: usize = 4;

/// The most that is fetched to learn what lies below, in bytes of compressed layers.
const MOST_FETCHED: u64 = 1 << 30;

/// The most entries that are kept of what lies below: a `COPY . /` would keep the whole tree.
const MOST_ENTRIES: usize = 5_000;

/// What is read for images that are learnt from. What several of them have is read once, and so is what is asked for again.
pub(in crate::workflow) struct Reading {
    /// Where all of them write.
    places: Vec<String>,
    /// The layers of images, by the image's digest.
    images: Memo<Arc<Vec<ImageLayer>>>,
    /// What was read, by the layer's blob, or why it would never be.
    parts: Memo<Result<Arc<LayerPart>, String>>,
}

type Memo<T> = Mutex<HashMap<Digest, Arc<OnceCell<T>>>>;

/// The cell of a digest.
fn cell<T>(memo: &Memo<T>, digest: &Digest) -> Arc<OnceCell<T>> {
    let mut cells = memo.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(cells.entry(digest.clone()).or_default())
}

impl Reading {
    /// Nothing is read yet.
    pub(in crate::workflow) fn of<'a>(places: impl Iterator<Item = &'a String>) -> Self {
        let places: BTreeSet<&String> = places.collect();
        Reading {
            places: places.into_iter().cloned().collect(),
            images: Mutex::default(),
            parts: Mutex::default(),
        }
    }

    /// The layers of an image of one platform, which is named by its digest.
    pub(in crate::workflow) async fn layers(
        &self,
        client: &Client,
        image: &Reference,
    ) -> Result<Arc<Vec<ImageLayer>>, String> {
        let digest = image.digest().ok_or("the image's digest is not known")?;
        let cell = cell(&self.images, digest);
        cell.get_or_try_init(async || layers(client, image).await.map(Arc::new)).await.cloned()
    }

    /// Learns from the layers of a pushed image what lies below its last steps. `above`: how many layers those made.
    pub(in crate::workflow) async fn learn(
        &self,
        client: &Client,
        repository: &Repository,
        layers: &[ImageLayer],
        wanted: &Wanted,
        above: usize,
    ) -> Result<ParentState, Vain> {
        let (layers, last) = layers.split_at(layers.len().saturating_sub(above));
        let is_of_end = |layer: &ImageLayer| {
            ["COPY ", "ADD ", "WORKDIR "].iter().any(|name| layer.created_by.starts_with(name))
        };
        if last.len() != above || !last.iter().all(is_of_end) {
            return Err(Vain::lasting("its last layers are not those of the last steps"));
        }
        if layers.iter().map(|layer| layer.blob.size).sum::<u64>() > MOST_FETCHED {
            return Err(Vain::lasting("the layers below are too large to be read"));
        }
        if !layers.iter().all(ImageLayer::is_readable) {
            let reason = "the layers below are packed in a way that layerlift does not read";
            return Err(Vain::lasting(reason));
        }
        let parts: Vec<_> = layers.iter().map(|layer| self.part(client, repository, layer)).collect();
        let parts: Vec<Arc<LayerPart>> = stream::iter(parts).buffered(AT_ONCE).try_collect().await?;
        let entries = cachefmt::overlaid(parts.iter().map(AsRef::as_ref), &wanted.destinations)
            .ok_or_else(|| Vain::lasting("a layer may write through a symbolic link of another"))?;
        if entries.len() > MOST_ENTRIES {
            return Err(Vain::lasting("too much lies where the last steps write"));
        }
        Ok(ParentState {
            step: wanted.step.clone(),
            layers: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
            known: wanted.destinations.clone(),
            entries,
            again: false,
        })
    }

    /// The headers of one layer.
    async fn part(
        &self,
        client: &Client,
        repository: &Repository,
        layer: &ImageLayer,
    ) -> Result<Arc<LayerPart>, Vain> {
        let cell = cell(&self.parts, &layer.blob.digest);
        let read = async || match read(client, repository, layer, &self.places).await {
            Ok(part) => Ok(Ok(Arc::new(part))),
            Err(Vain::Lasting(reason)) => Ok(Err(reason)),
            Err(passing) => Err(passing),
        };
        cell.get_or_try_init(read).await?.clone().map_err(Vain::Lasting)
    }
}

/// The headers of one layer, read as it comes.
async fn read(
    client: &Client,
    repository: &Repository,
    layer: &ImageLayer,
    places: &[String],
) -> Result<LayerPart, Vain> {
    let (ours, mut theirs) = tokio::io::duplex(1 << 18);
    let (reader, places) = (SyncIoBridge::new(ours), places.to_vec());
    let packed = layer.blob.media_type.clone();
    let read = tokio::task::spawn_blocking(move || match () {
        () if packed.ends_with("gzip") => whole(MultiGzDecoder::new(reader), &places),
        () if packed.ends_with("zstd") => whole(unpacked(reader)?, &places),
        () => whole(reader, &places),
    });
    let fetch = async {
        let fetched = client.fetch_blob(repository, &layer.blob.digest, layer.blob.size, &mut theirs).await;
        drop(theirs);
        fetched
    };
    let (fetched, read) = tokio::join!(fetch, read);
    let read = read.map_err(Vain::passing)?;
    match (fetched, read) {
        // Only now is it known that the bytes were the blob's.
        (Ok(_), read) => read.map_err(Vain::lasting),
        // What cannot be unpacked is not fetched to its end; what is not fetched to its end cannot be unpacked.
        (Err(_), Err(error)) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            Err(Vain::passing(error))
        }
        (Err(error), _) => Err(Vain::passing(error)),
    }
}

/// The most memory that a layer may ask for to be unpacked from zstd, as a power of two: 32 MiB. BuildKit's own ask for 8 at
/// most, as every reader must allow (RFC 8878, 3.1.1.1.2).
const LARGEST_WINDOW: u32 = 25;

fn unpacked(layer: impl std::io::Read) -> std::io::Result<impl std::io::Read> {
    let mut decoder = zstd::Decoder::new(layer)?;
    decoder.window_log_max(LARGEST_WINDOW)?;
    Ok(decoder)
}

/// Reads a layer to its end, which may lie behind the end of the archive.
fn whole(mut layer: impl std::io::Read, places: &[String]) -> std::io::Result<LayerPart> {
    let part = cachefmt::layer_part(&mut layer, places);
    std::io::copy(&mut layer, &mut std::io::sink())?;
    part
}
