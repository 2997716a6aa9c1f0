//! What is done as soon as an image is pushed, while BuildKit still exports the cache: where the cache has a repository of
//! its own, the image's layers are mounted there, since BuildKit would upload each of them once more (seen on BuildKit 0.25;
//! it asks for a blob before it uploads it); and what lies below the last steps is learnt.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::ready;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use crate::cachefmt::ImageLayer;
use crate::model::parent_state::ParentState;
use crate::model::reference::{Digest, Reference, Repository};
use crate::model::request::Request;
use crate::plan::link::{Vain, Wanted};
use crate::plan::steps::{Keep, Plan};
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

/// What was learnt of an image.
pub(super) struct Learnt {
    /// The image, by its digest.
    pub(super) image: Reference,
    /// The step that it was learnt for.
    pub(super) step: Digest,
    pub(super) below: Result<ParentState, Vain>,
}

/// Work beside the builds of images. It is given up when this value goes.
pub(super) struct Beside {
    tell: UnboundedSender<Reference>,
    work: JoinSet<Vec<Learnt>>,
}

impl Beside {
    /// Waits for the images of these builds.
    pub(super) fn of<'a>(builds: impl Iterator<Item = (&'a Request, &'a Prepared)>) -> Self {
        let (mut images, mut client) = (Vec::new(), None);
        for (request, prepared) in builds {
            images.push(Image::of(request, &prepared.plan));
            client = Some(prepared.client.clone());
        }
        let (tell, told) = mpsc::unbounded_channel();
        let mut work = JoinSet::new();
        if let Some(client) = client {
            let reading = Reading::of(images.iter().filter_map(|image| image.wanted.as_ref()));
            let job = Job { client, images, reading };
            work.spawn(Arc::new(job).run(told));
        }
        Beside { tell, work }
    }

    /// Where the engine's pushes are told.
    pub(super) fn tell(&self) -> &UnboundedSender<Reference> {
        &self.tell
    }

    /// What was learnt; waits for it.
    pub(super) async fn learnt(self) -> Vec<Learnt> {
        let Beside { tell, mut work } = self;
        drop(tell);
        work.join_next().await.and_then(Result::ok).unwrap_or_default()
    }
}

/// One of the images that are waited for.
struct Image {
    names: Vec<Reference>,
    /// The repository of its cache.
    into: Option<Repository>,
    /// Blobs that it has.
    there: HashSet<Digest>,
    wanted: Option<Wanted>,
    /// How many layers lie above what is wanted.
    above: usize,
}

impl Image {
    fn of(request: &Request, plan: &Plan) -> Self {
        let into = match &plan.keep {
            Keep::Export(own) => Some(own.repository()),
            Keep::Deferred(deferred) => Some(deferred.own.repository()),
            _ => None,
        };
        let read = plan.chain.read.as_ref().map(Reference::repository);
        let cached = plan.chain.cache.as_ref().filter(|_| read == into);
        Image {
            names: request.tags().iter().filter_map(|name| name.parse().ok()).collect(),
            there: cached.iter().flat_map(|cache| cache.blobs()).map(|(digest, _)| digest.clone()).collect(),
            into: into.cloned(),
            wanted: plan.link.wanted.clone().filter(|_| into.is_some()),
            above: plan.link.layers,
        }
    }

    fn is_called(&self, name: &Reference) -> bool {
        // What is pushed by its digest has no tag.
        let is_it = |own: &Reference| name.tag().is_none_or(|tag| own.tag() == Some(tag));
        self.names.iter().any(|own| own.repository() == name.repository() && is_it(own))
    }
}

struct Job {
    client: Client,
    images: Vec<Image>,
    reading: Reading,
}

impl Job {
    async fn run(self: Arc<Self>, mut told: UnboundedReceiver<Reference>) -> Vec<Learnt> {
        // Nobody waits for what is not mounted by the end.
        let mut mounts = JoinSet::new();
        let mut mounted: HashSet<(Repository, Digest)> = HashSet::new();
        let mut learning: JoinSet<Option<Learnt>> = JoinSet::new();
        let mut begun: HashSet<(usize, Digest)> = HashSet::new();
        while let Some(name) = told.recv().await {
            let of_name = |image: &Image| image.is_called(&name);
            let (Some(place), Some(digest)) = (self.images.iter().position(of_name), name.digest()) else {
                continue;
            };
            let image = name.repository().with_digest(digest);
            // It may not be there: the engine says so of a push that fails, too.
            let Ok(layers) = layers(&self.client, &image).await else { continue };
            self.mount(&self.images[place], image.repository(), &layers, &mut mounted, &mut mounts);
            if begun.insert((place, digest.clone())) {
                learning.spawn(Arc::clone(&self).learn(place, image, layers));
            }
        }
        learning.join_all().await.into_iter().flatten().collect()
    }

    /// That it does not work costs what it was to save. `mounted`: what was mounted before, of any image.
    fn mount(
        &self,
        image: &Image,
        from: &Repository,
        layers: &[ImageLayer],
        mounted: &mut HashSet<(Repository, Digest)>,
        mounts: &mut JoinSet<()>,
    ) {
        let is_apart = |into: &&Repository| *into != from && into.registry() == from.registry();
        let Some(into) = image.into.as_ref().filter(is_apart) else { return };
        let is_missing = |digest: &Digest| {
            !image.there.contains(digest) && !mounted.contains(&(into.clone(), digest.clone()))
        };
        let missing = layers.iter().map(|layer| &layer.blob).filter(|blob| is_missing(&blob.digest));
        let (missing, sizes): (Vec<Digest>, Vec<u64>) =
            missing.map(|blob| (blob.digest.clone(), blob.size)).unzip();
        if sizes.iter().sum::<u64>() < WORTH_A_MOUNT {
            return;
        }
        mounted.extend(missing.iter().map(|digest| (into.clone(), digest.clone())));
        let (client, into, from) = (self.client.clone(), into.clone(), from.clone());
        mounts.spawn(async move {
            let requests: Vec<_> = missing.iter().map(|blob| client.mount_blob(&into, blob, &from)).collect();
            stream::iter(requests).buffer_unordered(AT_ONCE).for_each(|_| ready(())).await;
        });
    }

    /// `None` where nothing is to be learnt.
    async fn learn(
        self: Arc<Self>,
        place: usize,
        image: Reference,
        layers: Vec<ImageLayer>,
    ) -> Option<Learnt> {
        let Image { wanted, above, .. } = &self.images[place];
        let wanted = wanted.as_ref()?;
        let below = self.reading.learn(&self.client, image.repository(), layers, wanted, *above).await;
        Some(Learnt { image, step: wanted.step.clone(), below })
    }
}
