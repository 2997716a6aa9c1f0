//! What is done as soon as the image is pushed, while BuildKit still exports the cache: where the cache has a repository of
//! its own, the image's layers are mounted there, since BuildKit would upload each of them once more (seen on BuildKit 0.25;
//! it asks for a blob before it uploads it); and what lies below the last steps is learnt.

use std::collections::HashSet;

use futures_util::future::join_all;
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

/// What was learnt of an image, by its digest.
pub(super) struct Learnt {
    pub(super) image: Reference,
    /// `None`: nothing was to be learnt when the build began.
    pub(super) below: Option<Result<ParentState, Vain>>,
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
        let mut last: Option<Learnt> = None;
        while let Some(image) = told.recv().await {
            if last.as_ref().is_some_and(|last| last.image.digest() == image.digest()) {
                continue;
            }
            let below = match layers(&self.client, &image).await {
                Ok(layers) => tokio::join!(self.mount(&image, &layers), self.learn(&image, layers.clone())).1,
                Err(reason) => Some(Err(Vain::passing(reason))),
            };
            last = Some(Learnt { image, below });
        }
        last
    }

    /// That it does not work costs what it was to save.
    async fn mount(&self, image: &Reference, layers: &[ImageLayer]) {
        let from = image.repository();
        let is_apart = |into: &&Repository| *into != from && into.registry() == from.registry();
        let Some(into) = self.into.as_ref().filter(is_apart) else { return };
        let missing =
            layers.iter().map(|layer| &layer.blob.digest).filter(|blob| !self.there.contains(*blob));
        let mounts: Vec<_> = missing.map(|blob| self.client.mount_blob(into, blob, from)).collect();
        join_all(mounts).await;
    }

    async fn learn(&self, image: &Reference, layers: Vec<ImageLayer>) -> Option<Result<ParentState, Vain>> {
        let wanted = self.wanted.as_ref()?;
        let reading = Reading::of(std::iter::once(wanted));
        Some(reading.learn(&self.client, image.repository(), layers, wanted, self.above).await)
    }
}
