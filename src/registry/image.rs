//! An image with everything below it, read once and put under any names: manifests as they are, blobs mounted across
//! repositories of one registry, carried over where the registry does not mount or is another one.
//!
//! Round trips are what an unchanged build waits for. Whatever can be asked at once is: the target's blobs and manifests
//! in one wave, mounts in one, names in one.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use reqwest::Method;

use crate::model::reference::{Digest, Reference, Repository};
use crate::registry::auth::Access;
use crate::registry::client::Client;
use crate::registry::copy::{self, AT_ONCE, Place, Tree};
use crate::registry::error::Error;
use crate::registry::http::Request;
use crate::registry::manifests::Manifest;

/// Questions under way at once. They are small; moves are not.
const QUESTIONS_AT_ONCE: usize = 32;

/// An image that was read: its manifests, the root among them, and the names of its blobs.
#[derive(Debug)]
pub struct Image {
    source: Reference,
    root: Digest,
    tree: Tree,
}

impl Image {
    /// Its digest.
    pub fn digest(&self) -> &Digest {
        &self.root
    }

    /// The manifest that its name stands for: an image's, or an index.
    pub fn root(&self) -> &Manifest {
        let found = self.tree.manifests.iter().find(|manifest| manifest.digest == self.root);
        found.expect("a tree is gathered from its root")
    }

    /// Bytes of its blobs, each counted once.
    pub fn bytes(&self) -> u64 {
        self.tree.blobs.values().fold(0, |sum: u64, size| sum.saturating_add(*size))
    }
}

impl Client {
    /// Reads an image's manifests. Fails where one of them is not there or makes no sense.
    pub async fn image(&self, source: &Reference) -> Result<Image, Error> {
        let root = self.get_manifest(source).await?;
        self.image_below(source, root).await
    }

    /// The same, where the root was read already.
    pub async fn image_below(&self, source: &Reference, root: Manifest) -> Result<Image, Error> {
        let digest = root.digest.clone();
        let tree = copy::gather(Place::Registry(self, source), root).await?;
        Ok(Image { source: source.clone(), root: digest, tree })
    }

    /// Brings all that is below an image into a repository, so that names can be put on it there. Every blob is asked for:
    /// a registry may have collected some of them.
    ///
    /// # Errors
    ///
    /// Those of the registries; [`Error::TooLarge`] where more than `most` bytes would have to be carried over, since
    /// nothing mounts them.
    pub async fn bring(&self, image: &Image, to: &Repository, most: u64) -> Result<(), Error> {
        let source = image.source.repository();
        let blobs = stream::iter(&image.tree.blobs).map(|(digest, size)| async move {
            let is_there = self.is_there(self.blob_request(Method::HEAD, to, digest)?, to).await?;
            Ok::<_, Error>((!is_there).then_some((digest, *size)))
        });
        let blobs = blobs.buffer_unordered(QUESTIONS_AT_ONCE).try_collect::<Vec<_>>();
        let below = || image.tree.manifests.iter().filter(|manifest| manifest.digest != image.root);
        let manifests = try_join_all(below().map(|manifest| async move {
            let reference = to.with_digest(&manifest.digest);
            let request = self.manifest_request(Method::HEAD, &reference, Access::push(to))?;
            Ok::<_, Error>(self.is_there(request, to).await?.then_some(&manifest.digest))
        }));
        let (missing, present) = tokio::try_join!(blobs, manifests)?;
        let missing: Vec<(&Digest, u64)> = missing.into_iter().flatten().collect();
        let present: BTreeSet<&Digest> = present.into_iter().flatten().collect();
        let refused = match to.registry() == source.registry() && to != source {
            true => self.mount(&missing, source, to).await?,
            false => missing,
        };
        let bytes: u64 = refused.iter().map(|(_, size)| size).sum();
        if bytes > most {
            return Err(Error::TooLarge {
                what: format!("what {to} lacks of {}", image.source),
                limit: most,
            });
        }
        let target = to.with_digest(&image.root);
        stream::iter(refused)
            .map(|(digest, size)| {
                let (from, to) = (Place::Registry(self, &image.source), Place::Registry(self, &target));
                copy::carry(from, to, digest, size, &|_| {})
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        // Leaves first: a registry may refuse an index that names what it does not know.
        for manifest in below().rev().filter(|manifest| !present.contains(&manifest.digest)) {
            let reference = to.with_digest(&manifest.digest);
            self.put_manifest(&reference, &manifest.media_type, manifest.bytes.clone()).await?;
        }
        Ok(())
    }

    /// Puts names on an image that [`bring`](Self::bring) has brought, all at once.
    pub async fn name(&self, image: &Image, names: &[&Reference]) -> Result<(), Error> {
        let root = image.root();
        let puts = names.iter().map(|name| self.put_manifest(name, &root.media_type, root.bytes.clone()));
        try_join_all(puts).await.map(drop)
    }

    /// Whether something is in a repository that is about to be pushed to. It is asked with the token that the push needs:
    /// one exchange less, and some registries show a repository that does not exist yet to nobody else.
    async fn is_there(&self, mut request: Request, to: &Repository) -> Result<bool, Error> {
        request.access = Access::push(to);
        match self.send(&request).await {
            Ok(_) => Ok(true),
            // Some proxies do not pass HEAD on. What is there already is sent again, which does no harm.
            Err(Error::NotFound { .. } | Error::Refused { status: 405, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Mounts blobs, and tells which ones the registry would not mount.
    async fn mount<'a>(
        &self,
        blobs: &[(&'a Digest, u64)],
        from: &Repository,
        to: &Repository,
    ) -> Result<Vec<(&'a Digest, u64)>, Error> {
        let mounts = blobs.iter().map(|(digest, size)| async move {
            let mounted = self.mount_blob(to, digest, from).await?;
            Ok::<_, Error>((!mounted).then_some((*digest, *size)))
        });
        let refused: Vec<_> = stream::iter(mounts).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(refused.into_iter().flatten().collect())
    }
}
