//! An OCI image layout on disk with the verbs of the client (image-spec, image-layout.md).
//!
//! Names are the `org.opencontainers.image.ref.name` annotations of `index.json`; BuildKit's `type=local` caches have
//! this form. Files are written beside their place and renamed into it, so that a reader, or a cut-off job, never sees
//! half a file. One writer at a time is assumed; nothing is ever removed but names.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use oci_distribution::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::model::reference::Digest;
use crate::registry::error::Error;
use crate::registry::manifests::{Descriptor, LARGEST_MANIFEST, Manifest, type_inside};
use crate::registry::uploads::{Content, Uploaded};

/// The annotation that holds a manifest's name.
const NAME: &str = "org.opencontainers.image.ref.name";

/// The version that `oci-layout` must name.
const VERSION: &str = "1.0.0";

/// An image layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    folder: PathBuf,
}

/// `index.json`. Entries stay maps, so that what others wrote into them is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    manifests: Vec<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Value>,
}

impl Layout {
    /// Opens a layout that exists. Fails with [`Error::NotFound`] where there is none.
    pub async fn open(folder: &Path) -> Result<Self, Error> {
        let layout = Layout { folder: folder.to_owned() };
        let marker = layout.read(&layout.marker(), LARGEST_MANIFEST).await?;
        let marker: Value = serde_json::from_slice(&marker).unwrap_or_default();
        match marker["imageLayoutVersion"].as_str() {
            Some(VERSION) => Ok(layout),
            _ => Err(Error::malformed(&layout.name(), "not an image layout of version 1.0.0")),
        }
    }

    /// Opens a layout, and makes an empty one where there is none.
    pub async fn create(folder: &Path) -> Result<Self, Error> {
        match Self::open(folder).await {
            Err(Error::NotFound { .. }) => {}
            outcome => return outcome,
        }
        let layout = Layout { folder: folder.to_owned() };
        let blobs = layout.blobs();
        tokio::fs::create_dir_all(&blobs).await.map_err(|source| Error::File { path: blobs, source })?;
        layout.write(&layout.marker(), json!({ "imageLayoutVersion": VERSION }).to_string().as_bytes())?;
        Ok(layout)
    }

    /// Asks for a manifest by name or digest; none if it does not exist.
    pub async fn head_manifest(&self, name: &str) -> Result<Option<Descriptor>, Error> {
        match self.get_manifest(name).await {
            Ok(manifest) => Ok(Some(manifest.descriptor())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a manifest of at most 4 MiB by name or digest, and checks its digest.
    pub async fn get_manifest(&self, name: &str) -> Result<Manifest, Error> {
        let what = format!("{name} in {}", self.name());
        let (digest, named_type) = match name.parse::<Digest>() {
            Ok(digest) => (digest, None),
            Err(_) => {
                let index = self.index().await?;
                let entry = index.manifests.iter().find(|entry| name_of(entry) == Some(name));
                let entry = entry.ok_or_else(|| Error::NotFound { what: what.clone() })?;
                let text = |key: &str| entry.get(key).and_then(Value::as_str);
                let digest = text("digest").and_then(|text| text.parse().ok());
                let digest =
                    digest.ok_or_else(|| Error::malformed(&what, "its entry has no sha256 digest"))?;
                (digest, text("mediaType").map(str::to_owned))
            }
        };
        let bytes = self.get_blob(&digest, LARGEST_MANIFEST).await?;
        let media_type = named_type.or_else(|| type_inside(&bytes)).unwrap_or_default();
        Ok(Manifest { media_type, digest, bytes })
    }

    /// Writes a manifest. A name is moved to it if it stood for another one; a digest gives it no name.
    pub async fn put_manifest(&self, name: &str, media_type: &str, bytes: Bytes) -> Result<Digest, Error> {
        let digest = Digest::of(&bytes);
        let size = bytes.len();
        self.put_blob(&digest, &Content::Bytes(bytes)).await?;
        match name.parse::<Digest>() {
            Ok(expected) if expected != digest => {
                return Err(Error::DigestMismatch { what: self.name(), expected, found: digest });
            }
            Ok(_) => return Ok(digest),
            Err(_) => {}
        }
        let mut index = self.index().await?;
        index.manifests.retain(|entry| name_of(entry) != Some(name));
        let mut entry = Map::new();
        entry.insert("mediaType".to_owned(), media_type.into());
        entry.insert("digest".to_owned(), digest.as_str().into());
        entry.insert("size".to_owned(), size.into());
        entry.insert("annotations".to_owned(), json!({ NAME: name }));
        index.manifests.push(entry);
        self.write_index(&index)?;
        Ok(digest)
    }

    /// Removes a name. Its manifest stays; what has no such name is removed already.
    pub async fn delete_tag(&self, name: &str) -> Result<(), Error> {
        let mut index = self.index().await?;
        let before = index.manifests.len();
        index.manifests.retain(|entry| name_of(entry) != Some(name));
        if index.manifests.len() == before { Ok(()) } else { self.write_index(&index) }
    }

    /// All names, in the order of `index.json`.
    pub async fn list_tags(&self) -> Result<Vec<String>, Error> {
        let index = self.index().await?;
        Ok(index.manifests.iter().filter_map(name_of).map(str::to_owned).collect())
    }

    /// The size of a blob in bytes; none if it does not exist.
    pub async fn head_blob(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let path = self.blob(digest);
        match tokio::fs::metadata(&path).await {
            Ok(data) => Ok(Some(data.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File { path, source }),
        }
    }

    /// Reads a blob of at most `limit` bytes, and checks its digest.
    pub async fn get_blob(&self, digest: &Digest, limit: u64) -> Result<Bytes, Error> {
        let bytes = self.read(&self.blob(digest), limit).await?;
        let found = Digest::of(&bytes);
        if found == *digest {
            Ok(bytes)
        } else {
            Err(Error::DigestMismatch { what: self.name(), expected: digest.clone(), found })
        }
    }

    /// Writes a blob, unless it is there already. Its digest is checked before it takes its place.
    pub async fn put_blob(&self, digest: &Digest, content: &Content) -> Result<Uploaded, Error> {
        if self.head_blob(digest).await?.is_some() {
            return Ok(Uploaded::Present);
        }
        let (file, path) = self.scratch()?;
        let mut file = tokio::fs::File::from_std(file);
        let failed = |source| Error::File { path: path.to_path_buf(), source };
        let found = match content {
            Content::Bytes(bytes) => {
                file.write_all(bytes).await.map_err(failed)?;
                Digest::of(bytes)
            }
            Content::File(from) => {
                let unreadable = |source| Error::File { path: from.clone(), source };
                let mut source = tokio::fs::File::open(from).await.map_err(unreadable)?;
                let mut hash = Sha256::new();
                let mut buffer = vec![0; 256 << 10];
                loop {
                    let count = source.read(&mut buffer).await.map_err(unreadable)?;
                    if count == 0 {
                        break Digest::from_hash(&hash.finalize());
                    }
                    hash.update(&buffer[..count]);
                    file.write_all(&buffer[..count]).await.map_err(failed)?;
                }
            }
        };
        if found != *digest {
            return Err(Error::DigestMismatch { what: self.name(), expected: digest.clone(), found });
        }
        file.flush().await.map_err(failed)?;
        self.adopt(path, digest)?;
        Ok(Uploaded::Sent)
    }

    /// A file in this layout to fill, and its path, which removes it unless it is adopted.
    pub(super) fn scratch(&self) -> Result<(std::fs::File, TempPath), Error> {
        temporary(&self.blobs()).map(NamedTempFile::into_parts)
    }

    /// Gives a filled file, whose digest the caller has checked, its place.
    pub(super) fn adopt(&self, file: TempPath, digest: &Digest) -> Result<(), Error> {
        let path = self.blob(digest);
        file.persist(&path).map_err(|error| Error::File { path, source: error.error })
    }

    /// Where a blob stands, or would stand.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    fn blobs(&self) -> PathBuf {
        self.folder.join("blobs/sha256")
    }

    fn marker(&self) -> PathBuf {
        self.folder.join("oci-layout")
    }

    fn name(&self) -> String {
        format!("the image layout {}", self.folder.display())
    }

    async fn index(&self) -> Result<Index, Error> {
        let empty = || Index {
            schema_version: 2,
            media_type: Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
            manifests: Vec::new(),
            annotations: None,
        };
        let bytes = match self.read(&self.folder.join("index.json"), LARGEST_MANIFEST).await {
            Err(Error::NotFound { .. }) => return Ok(empty()),
            bytes => bytes?,
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::malformed(&self.name(), format!("index.json is malformed: {error}")))
    }

    fn write_index(&self, index: &Index) -> Result<(), Error> {
        let bytes =
            serde_json::to_vec(index).map_err(|error| Error::malformed(&self.name(), error.to_string()))?;
        self.write(&self.folder.join("index.json"), &bytes)
    }

    async fn read(&self, path: &Path, limit: u64) -> Result<Bytes, Error> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound { what: path.display().to_string() },
            _ => Error::File { path: path.to_owned(), source },
        };
        let file = tokio::fs::File::open(path).await.map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).await.map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(Error::TooLarge { what: path.display().to_string(), limit });
        }
        Ok(bytes.into())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        use std::io::Write as _;
        let failed = |source| Error::File { path: path.to_owned(), source };
        let mut file = temporary(&self.folder)?;
        file.write_all(bytes).map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// A new file that others may read once it has its place.
fn temporary(folder: &Path) -> Result<NamedTempFile, Error> {
    tempfile::Builder::new()
        .prefix(".layerlift-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(|source| Error::File { path: folder.to_owned(), source })
}

fn name_of(entry: &Map<String, Value>) -> Option<&str> {
    entry.get("annotations")?.get(NAME)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_distribution::manifest::OCI_IMAGE_MEDIA_TYPE;

    async fn fresh() -> (tempfile::TempDir, Layout) {
        let folder = tempfile::tempdir().expect("folder");
        let layout = Layout::create(&folder.path().join("deep/layout")).await.expect("created");
        (folder, layout)
    }

    #[tokio::test]
    async fn names_are_given_moved_and_removed() {
        let (_folder, layout) = fresh().await;
        let one = Bytes::from_static(br#"{"config":{},"layers":[]}"#);
        let two = Bytes::from_static(br#"{"config":{},"layers":[ ]}"#);
        layout.put_manifest("main", OCI_IMAGE_MEDIA_TYPE, one.clone()).await.expect("put");
        layout.put_manifest("other", OCI_IMAGE_MEDIA_TYPE, one.clone()).await.expect("put");
        let digest = layout.put_manifest("main", OCI_IMAGE_MEDIA_TYPE, two.clone()).await.expect("put");
        assert_eq!(layout.list_tags().await.expect("names"), ["other", "main"]);
        let reopened = Layout::open(&layout.folder).await.expect("opened");
        let manifest = reopened.get_manifest("main").await.expect("manifest");
        assert_eq!((manifest.digest.clone(), manifest.bytes.clone()), (digest.clone(), two));
        assert_eq!(reopened.get_manifest(digest.as_str()).await.expect("by digest"), manifest);
        layout.delete_tag("main").await.expect("deleted");
        layout.delete_tag("main").await.expect("deleted already");
        assert_eq!(layout.head_manifest("main").await.expect("asked"), None);
        assert_eq!(layout.list_tags().await.expect("names"), ["other"]);
    }

    #[tokio::test]
    async fn content_is_checked_on_the_way_in_and_out() {
        let (folder, layout) = fresh().await;
        let digest = Digest::of(b"right");
        let wrong = Content::Bytes(Bytes::from_static(b"wrong"));
        assert!(matches!(layout.put_blob(&digest, &wrong).await, Err(Error::DigestMismatch { .. })));
        assert_eq!(layout.head_blob(&digest).await.expect("asked"), None);
        let file = folder.path().join("file");
        std::fs::write(&file, "right").expect("written");
        let content = Content::File(file);
        assert_eq!(layout.put_blob(&digest, &content).await.expect("put"), Uploaded::Sent);
        assert_eq!(layout.put_blob(&digest, &content).await.expect("put"), Uploaded::Present);
        assert_eq!(layout.get_blob(&digest, 5).await.expect("read"), "right");
        assert!(matches!(layout.get_blob(&digest, 4).await, Err(Error::TooLarge { limit: 4, .. })));
        std::fs::write(layout.blob(&digest), "rotten").expect("written");
        assert!(matches!(layout.get_blob(&digest, 99).await, Err(Error::DigestMismatch { .. })));
        let left = std::fs::read_dir(layout.blobs()).expect("listed").count();
        assert_eq!(left, 1, "no temporary file stays");
    }

    #[tokio::test]
    async fn foreign_fields_of_the_index_stay() {
        let (_folder, layout) = fresh().await;
        let text = r#"{"schemaVersion":2,"manifests":[{"digest":"sha512:x","size":1,"x":[1]}],"annotations":{"a":"b"}}"#;
        std::fs::write(layout.folder.join("index.json"), text).expect("written");
        layout.put_manifest("main", OCI_IMAGE_MEDIA_TYPE, Bytes::from_static(b"{}")).await.expect("put");
        let index = std::fs::read_to_string(layout.folder.join("index.json")).expect("read");
        assert!(index.contains(r#""x":[1]"#) && index.contains(r#""annotations":{"a":"b"}"#), "{index}");
    }

    #[tokio::test]
    async fn what_is_no_layout_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        assert!(Layout::open(folder.path()).await.expect_err("absent").is_not_found());
        std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"9"}"#).expect("written");
        assert!(matches!(Layout::open(folder.path()).await, Err(Error::Malformed { .. })));
        assert!(matches!(Layout::create(folder.path()).await, Err(Error::Malformed { .. })));
        std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
            .expect("written");
        let layout = Layout::open(folder.path()).await.expect("opened");
        std::fs::write(folder.path().join("index.json"), "[").expect("written");
        assert!(matches!(layout.list_tags().await, Err(Error::Malformed { .. })));
    }
}
