//! What is done as soon as the image is pushed, while BuildKit still exports the cache: where the cache has a repository of
//! its own, the image's layers are mounted there, since BuildKit would upload each of them once more (seen on BuildKit 0.25;
//! it asks for a blob before it uploads it); and what lies below the last steps is learnt.

use std::collections::HashSet;

use futures_util::future::ready;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use crate::cachefmt::ImageLayer;
use crate::model::parent_state::ParentState;
use crate::model::reference::{Digest, Reference, Repository};
use crate::plan::link::{Vain, Wanted};
use crate::plan::steps::Keep;
use crate::registry::Client;
use crate::workflow::decide::Prepared;
use crate::workflow::link::layers::layers;
use crate::workflow::link::learn::Reading;

/// What is smaller, in bytes of packed layers, BuildKit has uploaded as soon as it would be mounted. And when it writes the
/// cache's manifest, nothing may be mounted any more: the reference implementation of a registry keeps a file for each
/// layer of a repository, which is empty for a moment while it is written (seen with 2.8: `provided digest did not match
/// uploaded content`).
const WORTH_A_MOUNT: u64 = 16 << 20;

/// Layers that are mounted at once.
const AT_ONCE: usize = 6;

/// What was learnt of an image, by its digest.
pub(super) struct Learnt {
    pub(super) image: Reference,
    pub(super) below: Result<ParentState, Vain>,
}

/// Work beside a build. It is given up when this value goes.
pub(super) struct Beside {
    tell: UnboundedSender<Reference>,
    work: JoinSet<Option<Learnt>>,
}

impl Beside {
    /// Waits for images of this build.
    pub(super) fn of(prepared: &Prepared) -> Self {
        let plan = &prepared.plan;
        let into = match &plan.keep {
            Keep::Export(own) => Some(own.repository()),
            Keep::Deferred(deferred) => Some(deferred.own.repository()),
            _ => None,
        };
        let read = plan.chain.read.as_ref().map(Reference::repository);
        let cached = plan.chain.cache.as_ref().filter(|_| read == into);
        let job = Job {
            client: prepared.client.clone(),
            there: cached.iter().flat_map(|cache| cache.blobs()).map(|(digest, _)| digest.clone()).collect(),
            into: into.cloned(),
            wanted: plan.link.wanted.clone().filter(|_| into.is_some()),
            above: plan.link.layers,
        };
        let (tell, told) = mpsc::unbounded_channel();
        let mut work = JoinSet::new();
        work.spawn(job.run(told));
        Beside { tell, work }
    }

    /// Where the engine's pushes are told.
    pub(super) fn tell(&self) -> &UnboundedSender<Reference> {
        &self.tell
    }

    /// What was learnt of the last image; waits for it.
    pub(super) async fn learnt(self) -> Option<Learnt> {
        let Beside { tell, mut work } = self;
        drop(tell);
        work.join_next().await?.ok()?
    }
}

struct Job {
    client: Client,
    /// The repository of the cache.
    into: Option<Repository>,
    /// Blobs that it has.
    there: HashSet<Digest>,
    wanted: Option<Wanted>,
    /// How many layers lie above what is wanted.
    above: usize,
}

impl Job {
    async fn run(self, mut told: UnboundedReceiver<Reference>) -> Option<Learnt> {
        // Nobody waits for what is not mounted by the end.
        let mut mounts = JoinSet::new();
        let mut mounted: HashSet<Reference> = HashSet::new();
        let mut last: Option<Learnt> = None;
        while let Some(image) = told.recv().await {
            // It may not be there: the engine says so of a push that fails, too.
            let Ok(layers) = layers(&self.client, &image).await else { continue };
            if mounted.insert(image.clone()) {
                self.mount(&image, &layers, &mut mounts);
            }
            if last.as_ref().is_none_or(|last| last.image.digest() != image.digest()) {
                let below = self.learn(&image, layers).await;
                last = below.map(|below| Learnt { image, below }).or(last);
            }
        }
        last
    }

    /// That it does not work costs what it was to save.
    fn mount(&self, image: &Reference, layers: &[ImageLayer], mounts: &mut JoinSet<()>) {
        let from = image.repository().clone();
        let is_apart = |into: &&Repository| **into != from && into.registry() == from.registry();
        let Some(into) = self.into.as_ref().filter(is_apart).cloned() else { return };
        let missing =
            layers.iter().map(|layer| &layer.blob).filter(|blob| !self.there.contains(&blob.digest));
        let (missing, sizes): (Vec<Digest>, Vec<u64>) =
            missing.map(|blob| (blob.digest.clone(), blob.size)).unzip();
        if sizes.iter().sum::<u64>() < WORTH_A_MOUNT {
            return;
        }
        let client = self.client.clone();
        mounts.spawn(async move {
            let requests: Vec<_> = missing.iter().map(|blob| client.mount_blob(&into, blob, &from)).collect();
            stream::iter(requests).buffer_unordered(AT_ONCE).for_each(|_| ready(())).await;
        });
    }

    /// `None` where nothing is to be learnt.
    async fn learn(&self, image: &Reference, layers: Vec<ImageLayer>) -> Option<Result<ParentState, Vain>> {
        let wanted = self.wanted.as_ref()?;
        let reading = Reading::of(std::iter::once(wanted));
        Some(reading.learn(&self.client, image.repository(), layers, wanted, self.above).await)
    }
}
