//! What is done as soon as an image is pushed, while BuildKit still exports the cache: where the cache has a repository of
//! its own, the image's layers are mounted there, since BuildKit would upload each of them once more (seen on BuildKit 0.25;
//! it asks for a blob before it uploads it); and what lies below the last steps is learnt.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::ready;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use crate::cachefmt::ImageLayer;
use crate::model::reference::{Digest, Reference, Repository};
use crate::model::request::Request;
use crate::plan::link::Wanted;
use crate::plan::steps::{Keep, Plan};
use crate::registry::Client;
use crate::workflow::link::learn::Reading;

/// What is smaller, in bytes of packed layers, BuildKit has uploaded as soon as it would be mounted. And when it writes the
/// cache's manifest, nothing may be mounted any more: the reference implementation of a registry keeps a file for each
/// layer of a repository, which is empty for a moment while it is written (seen with 2.8: `provided digest did not match
/// uploaded content`).
const WORTH_A_MOUNT: u64 = 16 << 20;

/// Layers that are mounted at once.
const AT_ONCE: usize = 6;

/// Work beside builds. It is given up when this value goes.
pub(super) struct Beside {
    tell: UnboundedSender<Reference>,
    reading: Arc<Reading>,
    _work: JoinSet<()>,
}

impl Beside {
    /// Waits for the images of these builds.
    pub(super) fn of<'a>(client: &Client, builds: impl Iterator<Item = (&'a Request, &'a Plan)>) -> Self {
        let builds: Vec<_> = builds.collect();
        let reading = Arc::new(Reading::of(builds.iter().flat_map(|(_, plan)| plan.link.places())));
        let job = Job {
            client: client.clone(),
            images: builds.iter().filter_map(|(request, plan)| Image::of(request, plan)).collect(),
            reading: Arc::clone(&reading),
            mounted: Mutex::default(),
            learning: Semaphore::new(1),
        };
        let (tell, told) = mpsc::unbounded_channel();
        let mut work = JoinSet::new();
        work.spawn(Arc::new(job).run(told));
        Beside { tell, reading, _work: work }
    }

    /// Where the engine's pushes are told.
    pub(super) fn tell(&self) -> &UnboundedSender<Reference> {
        &self.tell
    }

    /// What is being read.
    pub(super) fn reading(&self) -> &Reading {
        &self.reading
    }
}

/// One of the images that are waited for: those whose cache is kept in a registry.
struct Image {
    names: Vec<Reference>,
    /// The repository of its cache.
    into: Repository,
    /// Blobs that it has.
    there: HashSet<Digest>,
    wanted: Option<Wanted>,
    /// How many layers lie above what is wanted.
    above: usize,
}

impl Image {
    fn of(request: &Request, plan: &Plan) -> Option<Self> {
        let into = match &plan.keep {
            Keep::Export(own) => own.repository(),
            Keep::Deferred(deferred) => deferred.own.repository(),
            _ => return None,
        };
        let is_read = plan.chain.read.as_ref().is_some_and(|read| read.repository() == into);
        let cached = plan.chain.cache.as_ref().filter(|_| is_read);
        Some(Image {
            names: request.tags().iter().filter_map(|name| name.parse().ok()).collect(),
            there: cached.iter().flat_map(|cache| cache.blobs()).map(|(digest, _)| digest.clone()).collect(),
            into: into.clone(),
            wanted: plan.link.wanted.clone(),
            above: plan.link.layers,
        })
    }

    fn is_called(&self, name: &Reference) -> bool {
        self.names.iter().any(|own| own.repository() == name.repository() && own.tag() == name.tag())
    }
}

struct Job {
    client: Client,
    images: Vec<Image>,
    reading: Arc<Reading>,
    /// What was mounted, of any image.
    mounted: Mutex<HashSet<(Repository, Digest)>>,
    /// The engine wants the way to the registry, too: one image at a time.
    learning: Semaphore,
}

impl Job {
    async fn run(self: Arc<Self>, mut told: UnboundedReceiver<Reference>) {
        let mut work = JoinSet::new();
        while let Some(name) = told.recv().await {
            if let Some(place) = self.images.iter().position(|image| image.is_called(&name)) {
                work.spawn(Arc::clone(&self).take(place, name));
            }
        }
        work.join_all().await;
    }

    /// An image was pushed. What does not work costs what it was to save, and what is not read is read again later.
    async fn take(self: Arc<Self>, place: usize, name: Reference) {
        let (image, Some(digest)) = (&self.images[place], name.digest()) else { return };
        let pushed = name.repository().with_digest(digest);
        // It may not be there: the engine says so of a push that fails, too.
        let Ok(layers) = self.reading.layers(&self.client, &pushed).await else { return };
        let learn = async {
            let Some(wanted) = &image.wanted else { return };
            let Ok(_turn) = self.learning.acquire().await else { return };
            let (client, repository) = (&self.client, pushed.repository());
            let _ = self.reading.learn(client, repository, &layers, wanted, image.above).await;
        };
        tokio::join!(self.mount(image, pushed.repository(), &layers), learn);
    }

    async fn mount(&self, image: &Image, from: &Repository, layers: &[ImageLayer]) {
        let into = &image.into;
        if into == from || into.registry() != from.registry() {
            return;
        }
        let missing = {
            let mut mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
            let is_missing = |digest: &Digest| {
                !image.there.contains(digest) && !mounted.contains(&(into.clone(), digest.clone()))
            };
            let missing = layers.iter().map(|layer| &layer.blob).filter(|blob| is_missing(&blob.digest));
            let missing: Vec<_> = missing.collect();
            if missing.iter().map(|blob| blob.size).sum::<u64>() < WORTH_A_MOUNT {
                return;
            }
            mounted.extend(missing.iter().map(|blob| (into.clone(), blob.digest.clone())));
            missing
        };
        let requests: Vec<_> =
            missing.iter().map(|blob| self.client.mount_blob(into, &blob.digest, from)).collect();
        stream::iter(requests).buffer_unordered(AT_ONCE).for_each(|_| ready(())).await;
    }
}
