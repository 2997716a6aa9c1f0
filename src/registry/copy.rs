//! Copies a reference with everything below it, between registries and image layouts.
//!
//! Blobs go first, then manifests from the leaves to the root, so that a name never stands for something incomplete.
//! What the target has is not sent, what the same registry has is mounted. An index of BuildKit's cache names layers
//! where others name manifests (BuildKit before 0.21): media types decide, not the place.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use oci_distribution::manifest::OciDescriptor;
use serde::Deserialize;
use tokio_util::io::InspectWriter;

use crate::model::reference::{Digest, Reference, Repository};
use crate::registry::client::Client;
use crate::registry::error::Error;
use crate::registry::layout::Layout;
use crate::registry::manifests::{Manifest, is_manifest};
use crate::registry::uploads::{Content, Uploaded};

/// How many blobs move at a time.
pub(super) const AT_ONCE: usize = 6;

/// An index of indexes of manifests is as deep as anyone goes.
const DEEPEST: usize = 4;

/// The most manifests below one reference.
const MOST_MANIFESTS: usize = 1000;

/// One end of a copy.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// A reference in a registry.
    Registry(&'a Client, &'a Reference),
    /// A name, or a digest, in an image layout.
    Layout(&'a Layout, &'a str),
}

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The digest of the reference, the same at both ends.
    pub digest: Digest,
    /// Blobs that the target had.
    pub present: usize,
    /// Blobs that were mounted from the source's repository.
    pub mounted: usize,
    /// Blobs that were sent.
    pub sent: usize,
    /// Bytes of the blobs that were sent.
    pub bytes: u64,
}

/// Copies a reference. `progress` is told the bytes of blobs as they arrive.
pub async fn copy(
    source: Place<'_>,
    target: Place<'_>,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Copied, Error> {
    let root = source.manifest(None).await?;
    let digest = root.digest.clone();
    let tree = gather(source, root).await?;
    let outcomes: Vec<(How, u64)> = stream::iter(tree.blobs)
        .map(|(digest, size)| async move {
            let how = copy_blob(source, target, &digest, size, progress).await?;
            Ok::<_, Error>((how, size))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    for manifest in tree.manifests.iter().rev() {
        target.put_manifest(manifest, manifest.digest == digest).await?;
    }
    let count = |wanted| outcomes.iter().filter(|(how, _)| *how == wanted).count();
    let bytes = outcomes.iter().filter(|(how, _)| *how == How::Sent).map(|(_, size)| size).sum();
    Ok(Copied {
        digest,
        present: count(How::Present),
        mounted: count(How::Mounted),
        sent: count(How::Sent),
        bytes,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Present,
    Mounted,
    Sent,
}

/// Everything below a reference: its manifests, each before what it names, and its blobs with their sizes.
#[derive(Debug)]
pub(super) struct Tree {
    pub manifests: Vec<Manifest>,
    pub blobs: BTreeMap<Digest, u64>,
}

pub(super) async fn gather(source: Place<'_>, root: Manifest) -> Result<Tree, Error> {
    let mut tree = Tree { manifests: Vec::new(), blobs: BTreeMap::new() };
    let mut level = vec![root];
    for _ in 0..DEEPEST {
        let mut next = BTreeSet::new();
        for manifest in level {
            let named = read(&manifest).map_err(|problem| Error::malformed(&source.name(), problem))?;
            next.extend(named.manifests);
            tree.blobs.extend(named.blobs);
            // A manifest that is named on two levels belongs to the lower one.
            tree.manifests.retain(|known| known.digest != manifest.digest);
            tree.manifests.push(manifest);
        }
        if tree.manifests.len() + next.len() > MOST_MANIFESTS {
            return Err(Error::malformed(&source.name(), format!("more than {MOST_MANIFESTS} manifests")));
        }
        if next.is_empty() {
            return Ok(tree);
        }
        level = stream::iter(next)
            .map(|digest| async move { source.manifest(Some(&digest)).await })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
    }
    Err(Error::malformed(&source.name(), "indexes are nested too deeply"))
}

/// What one manifest names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    manifests: Vec<Digest>,
    blobs: Vec<(Digest, u64)>,
}

fn read(manifest: &Manifest) -> Result<Named, String> {
    #[derive(Deserialize)]
    struct Any {
        config: Option<OciDescriptor>,
        #[serde(default)]
        layers: Vec<OciDescriptor>,
        #[serde(default)]
        manifests: Vec<OciDescriptor>,
    }
    let any: Any = serde_json::from_slice(&manifest.bytes)
        .map_err(|error| format!("manifest {} is malformed: {error}", manifest.digest.short()))?;
    let mut named = Named::default();
    for descriptor in any.config.into_iter().chain(any.layers).chain(any.manifests) {
        let digest =
            descriptor.digest.parse().map_err(|_| format!("no sha256 digest: {}", descriptor.digest))?;
        let size = u64::try_from(descriptor.size).map_err(|_| format!("negative size of {digest}"))?;
        let foreign = ["nondistributable", "foreign"].iter().any(|word| descriptor.media_type.contains(word));
        if is_manifest(&descriptor.media_type) {
            named.manifests.push(digest);
        } else if !foreign {
            // Registries need not hold layers that may not be distributed.
            named.blobs.push((digest, size));
        }
    }
    Ok(named)
}

async fn copy_blob(
    source: Place<'_>,
    target: Place<'_>,
    digest: &Digest,
    size: u64,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<How, Error> {
    if target.has_blob(digest).await? {
        return Ok(How::Present);
    }
    if let (Place::Registry(_, from), Place::Registry(client, to)) = (source, target)
        && from.repository().registry() == to.repository().registry()
        && client.mount_blob(to.repository(), digest, from.repository()).await?
    {
        return Ok(How::Mounted);
    }
    let uploaded = carry(source, target, digest, size, progress).await?;
    Ok(if uploaded == Uploaded::Sent { How::Sent } else { How::Present })
}

/// Moves the bytes of a blob.
pub(super) async fn carry(
    source: Place<'_>,
    target: Place<'_>,
    digest: &Digest,
    size: u64,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Uploaded, Error> {
    let uploaded = match (source, target) {
        (Place::Layout(layout, _), _) => {
            let uploaded = target.put_blob(digest, &Content::File(layout.blob(digest))).await?;
            progress(size);
            uploaded
        }
        (Place::Registry(client, from), Place::Layout(layout, _)) => {
            let (file, path) = layout.scratch()?;
            download(client, from.repository(), digest, size, file, progress).await?;
            layout.adopt(path, digest)?;
            Uploaded::Sent
        }
        (Place::Registry(client, from), Place::Registry(..)) => {
            let (file, path) = tempfile::NamedTempFile::new()
                .map_err(|source| Error::Write { what: "temporary file".to_owned(), source })?
                .into_parts();
            download(client, from.repository(), digest, size, file, progress).await?;
            target.put_blob(digest, &Content::File(path.to_path_buf())).await?
        }
    };
    Ok(uploaded)
}

async fn download(
    client: &Client,
    from: &Repository,
    digest: &Digest,
    size: u64,
    file: std::fs::File,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), Error> {
    let file = tokio::fs::File::from_std(file);
    let mut watched = InspectWriter::new(file, |part: &[u8]| progress(part.len() as u64));
    client.fetch_blob(from, digest, size, &mut watched).await.map(|_| ())
}

impl Place<'_> {
    fn name(&self) -> String {
        match self {
            Place::Registry(_, reference) => reference.to_string(),
            Place::Layout(_, name) => format!("{name} in an image layout"),
        }
    }

    /// The root, or a manifest below it.
    async fn manifest(&self, digest: Option<&Digest>) -> Result<Manifest, Error> {
        match (self, digest) {
            (Place::Registry(client, reference), None) => client.get_manifest(reference).await,
            (Place::Registry(client, reference), Some(digest)) => {
                client.get_manifest(&reference.repository().with_digest(digest)).await
            }
            (Place::Layout(layout, name), digest) => {
                layout.get_manifest(digest.map_or(*name, Digest::as_str)).await
            }
        }
    }

    async fn put_manifest(&self, manifest: &Manifest, is_root: bool) -> Result<(), Error> {
        let Manifest { media_type, digest, bytes } = manifest;
        match self {
            Place::Registry(client, reference) => {
                let below = reference.repository().with_digest(digest);
                let reference = if is_root { reference } else { &below };
                client.put_manifest(reference, media_type, bytes.clone()).await?;
            }
            Place::Layout(layout, name) => {
                let name = if is_root { name } else { digest.as_str() };
                layout.put_manifest(name, media_type, bytes.clone()).await?;
            }
        }
        Ok(())
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let size = match self {
            Place::Registry(client, reference) => client.head_blob(reference.repository(), digest).await?,
            Place::Layout(layout, _) => layout.head_blob(digest).await?,
        };
        Ok(size.is_some())
    }

    async fn put_blob(&self, digest: &Digest, content: &Content) -> Result<Uploaded, Error> {
        match self {
            Place::Registry(client, reference) => {
                client.put_blob(reference.repository(), digest, content).await
            }
            Place::Layout(layout, _) => layout.put_blob(digest, content).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use oci_distribution::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE};
    use serde_json::json;

    async fn layout() -> (tempfile::TempDir, Layout) {
        let folder = tempfile::tempdir().expect("folder");
        let layout = Layout::create(folder.path()).await.expect("created");
        (folder, layout)
    }

    async fn blob(layout: &Layout, text: &'static str, media_type: &str) -> serde_json::Value {
        let digest = Digest::of(text.as_bytes());
        layout.put_blob(&digest, &Content::Bytes(Bytes::from_static(text.as_bytes()))).await.expect("put");
        json!({ "mediaType": media_type, "digest": digest, "size": text.len() })
    }

    #[tokio::test]
    async fn a_cache_index_and_a_nested_image_travel_whole() {
        let (_one, source) = layout().await;
        let (_two, target) = layout().await;
        let layer = blob(&source, "layer", "application/vnd.oci.image.layer.v1.tar+gzip").await;
        let cache = blob(&source, "{}", "application/vnd.buildkit.cacheconfig.v0").await;
        let image = json!({ "schemaVersion": 2, "config": cache, "layers": [layer] }).to_string();
        let size = image.len();
        let inner = Digest::of(image.as_bytes());
        source.put_manifest(inner.as_str(), OCI_IMAGE_MEDIA_TYPE, image.into()).await.expect("put");
        let image = json!({ "mediaType": OCI_IMAGE_MEDIA_TYPE, "digest": inner, "size": size });
        let index = json!({ "schemaVersion": 2, "manifests": [layer, cache, image] }).to_string();
        source.put_manifest("main", OCI_IMAGE_INDEX_MEDIA_TYPE, index.into()).await.expect("put");

        let seen = std::sync::atomic::AtomicU64::new(0);
        let progress = |bytes| {
            seen.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        };
        let (from, to) = (Place::Layout(&source, "main"), Place::Layout(&target, "copy"));
        let first = copy(from, to, &progress).await.expect("copied");
        assert_eq!((first.present, first.mounted, first.sent, first.bytes), (0, 0, 2, 7));
        assert_eq!(seen.into_inner(), 7);
        assert_eq!(target.get_manifest("copy").await.expect("root").digest, first.digest);
        assert!(target.get_manifest(inner.as_str()).await.is_ok());
        assert_eq!(target.list_tags().await.expect("names"), ["copy"], "manifests below get no name");
        let again = copy(from, to, &|_| {}).await.expect("copied");
        assert_eq!((again.present, again.sent, again.bytes), (2, 0, 0));
    }

    #[tokio::test]
    async fn a_missing_blob_leaves_no_name_behind() {
        let (_one, source) = layout().await;
        let (_two, target) = layout().await;
        let gone = json!({ "mediaType": "x/y", "digest": Digest::of(b"gone"), "size": 4 });
        let image = json!({ "schemaVersion": 2, "config": gone, "layers": [] }).to_string();
        source.put_manifest("main", OCI_IMAGE_MEDIA_TYPE, image.into()).await.expect("put");
        let outcome = copy(Place::Layout(&source, "main"), Place::Layout(&target, "main"), &|_| {}).await;
        assert!(outcome.is_err());
        assert_eq!(target.head_manifest("main").await.expect("asked"), None);
    }

    #[test]
    fn hostile_manifests_are_refused() {
        let read = |text: &str| {
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            read(&Manifest { media_type: String::new(), digest: Digest::of(&bytes), bytes })
        };
        assert!(read("[]").is_err());
        assert!(read(r#"{"layers":[{"mediaType":"x","digest":"../../etc/passwd","size":1}]}"#).is_err());
        let negative =
            format!(r#"{{"layers":[{{"mediaType":"x","digest":"{}","size":-1}}]}}"#, Digest::of(b""));
        assert!(read(&negative).is_err());
        let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar";
        let foreign =
            format!(r#"{{"layers":[{{"mediaType":"{foreign}","digest":"{}","size":1}}]}}"#, Digest::of(b""));
        assert_eq!(read(&foreign), Ok(Named::default()));
    }
}
