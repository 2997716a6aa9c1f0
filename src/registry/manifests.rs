//! Manifests: ask, get, put, delete. Bytes are kept as they came, since their digest is their name.
//!
//! Everything that a registry says about a digest is checked against the bytes, where there are bytes; an answer
//! without bytes and without a digest is asked again with GET, as registries may leave the header out.

use bytes::Bytes;
use oci_distribution::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::base::clock;
use crate::model::reference::{Digest, Reference};
use crate::registry::auth::Access;
use crate::registry::client::Client;
use crate::registry::error::Error;
use crate::registry::http::{Payload, Reply, Request, content_type};
use crate::registry::uploads::Content;

/// The largest manifest that registries must accept (distribution spec, "Pushing Manifests").
pub(super) const LARGEST_MANIFEST: u64 = 4 << 20;

/// The header that names the digest of a manifest.
const DIGEST_HEADER: &str = "docker-content-digest";

/// Every kind of manifest that we read.
const KINDS: [&str; 4] = [
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
];

/// The same as one header's value: some registries look at the first header only.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Whether a media type is one of a manifest or an index.
pub(super) fn is_manifest(media_type: &str) -> bool {
    KINDS.contains(&media_type)
}

/// What a registry says about a manifest without handing it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, without what it refers to.
    pub size: u64,
}

/// A manifest or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its media type: the one that it was served with.
    pub media_type: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The bytes as they came.
    pub bytes: Bytes,
}

impl Manifest {
    /// What a HEAD would have said.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.bytes.len() as u64,
        }
    }
}

impl Client {
    /// Asks for a manifest without fetching it; none if it does not exist.
    pub async fn head_manifest(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        let request = self.manifest_request(Method::HEAD, reference, Access::pull(reference.repository()))?;
        let reply = match self.send(&request).await {
            Ok(reply) => reply,
            Err(error) if error.is_not_found() => return Ok(None),
            // Some proxies do not pass HEAD on.
            Err(Error::Refused { status: 405, .. }) => return self.described_by_get(reference).await,
            Err(error) => return Err(error),
        };
        let digest = reply.header(DIGEST_HEADER).and_then(|text| text.parse::<Digest>().ok());
        let size = reply.header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let (Some(digest), Some(size)) = (digest, size) else {
            return self.described_by_get(reference).await;
        };
        if let Some(expected) = reference.digest().filter(|expected| **expected != digest) {
            let (what, expected) = (reference.to_string(), expected.clone());
            return Err(Error::DigestMismatch { what, expected, found: digest });
        }
        Ok(Some(Descriptor { media_type: served_type(&reply), digest, size }))
    }

    async fn described_by_get(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        match self.get_manifest(reference).await {
            Ok(manifest) => Ok(Some(manifest.descriptor())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fetches a manifest of at most 4 MiB. Its digest is the one asked for and the one that the registry names.
    pub async fn get_manifest(&self, reference: &Reference) -> Result<Manifest, Error> {
        let mut request =
            self.manifest_request(Method::GET, reference, Access::pull(reference.repository()))?;
        request.keep = Some(LARGEST_MANIFEST);
        let reply = self.send(&request).await?;
        let digest = Digest::of(&reply.body);
        // A header in another algorithm says nothing that we could check.
        let named = reply.header(DIGEST_HEADER).and_then(|text| text.parse().ok());
        for expected in reference.digest().cloned().into_iter().chain(named) {
            if expected != digest {
                return Err(Error::DigestMismatch { what: request.what, expected, found: digest });
            }
        }
        let served = served_type(&reply);
        let media_type =
            if is_manifest(&served) { served } else { type_inside(&reply.body).unwrap_or(served) };
        Ok(Manifest { media_type, digest, bytes: reply.body })
    }

    /// Puts a manifest as it is. What it refers to must be there already.
    pub async fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, Error> {
        let digest = Digest::of(&bytes);
        let mut request =
            self.manifest_request(Method::PUT, reference, Access::push(reference.repository()))?;
        request.headers.extend([content_type(&request.what, media_type)?]);
        request.payload = Payload::Bytes(bytes);
        let reply = self.send(&request).await?;
        match reply.header(DIGEST_HEADER).and_then(|text| text.parse::<Digest>().ok()) {
            Some(found) if found != digest => {
                Err(Error::DigestMismatch { what: request.what, expected: digest, found })
            }
            _ => Ok(digest),
        }
    }

    /// Deletes a manifest by digest, and with it every tag that names it. What does not exist is deleted already.
    pub async fn delete_manifest(&self, reference: &Reference) -> Result<(), Error> {
        let request =
            self.manifest_request(Method::DELETE, reference, Access::delete(reference.repository()))?;
        match self.send(&request).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes one tag and leaves the manifest to its other tags.
    ///
    /// Registries before the distribution spec 1.1 know no such verb: there, the tag is moved to a manifest of its own
    /// first, which then is deleted by digest (regclient does the same).
    pub async fn delete_tag(&self, reference: &Reference) -> Result<(), Error> {
        match self.delete_manifest(reference).await {
            Err(Error::Refused { status: 400 | 405 | 501, .. }) => {}
            outcome => return outcome,
        }
        if self.head_manifest(reference).await?.is_none() {
            return Ok(());
        }
        let config = Bytes::from_static(b"{}");
        let config_digest = Digest::of(&config);
        self.put_blob(reference.repository(), &config_digest, &Content::Bytes(config)).await?;
        // The time and the tag make it unlike every other manifest, so that deleting it deletes nothing else.
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE_MEDIA_TYPE,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config_digest,
                "size": 2,
            },
            "layers": [],
            "annotations": {
                "org.opencontainers.image.created": clock::now().to_string(),
                "org.opencontainers.image.ref.name": reference.to_string(),
            },
        });
        let digest = self.put_manifest(reference, OCI_IMAGE_MEDIA_TYPE, manifest.to_string().into()).await?;
        self.delete_manifest(&reference.repository().with_digest(&digest)).await
    }

    pub(super) fn manifest_request(
        &self,
        method: Method,
        reference: &Reference,
        access: Access,
    ) -> Result<Request, Error> {
        let repository = reference.repository();
        let what = reference.to_string();
        let base = self.base(repository.registry())?;
        let path = format!("v2/{}/manifests/{}", repository.path(), reference.manifest_name());
        let url: Url = base.join(&path).map_err(|_| Error::malformed(&what, "not a path of a registry"))?;
        let mut request = Request::new(method, &base, url, access, what);
        request.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        Ok(request)
    }
}

/// The media type without its parameters.
fn served_type(reply: &Reply) -> String {
    let value = reply.header(CONTENT_TYPE).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_owned()
}

/// What a manifest says of itself, for registries that serve everything as `application/json`.
pub(super) fn type_inside(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Inside {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let inside: Inside = serde_json::from_slice(bytes).ok()?;
    let plain = if inside.manifests.is_some() { OCI_IMAGE_INDEX_MEDIA_TYPE } else { OCI_IMAGE_MEDIA_TYPE };
    Some(inside.media_type.unwrap_or_else(|| plain.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_what_it_is() {
        let cases = [
            (format!(r#"{{"mediaType":"{IMAGE_MANIFEST_MEDIA_TYPE}"}}"#), Some(IMAGE_MANIFEST_MEDIA_TYPE)),
            (r#"{"manifests":[{"x":1}]}"#.to_owned(), Some(OCI_IMAGE_INDEX_MEDIA_TYPE)),
            (r#"{"config":{},"layers":[]}"#.to_owned(), Some(OCI_IMAGE_MEDIA_TYPE)),
            ("<html>".to_owned(), None),
        ];
        for (text, expected) in cases {
            assert_eq!(type_inside(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn layers_are_no_manifests() {
        assert!(is_manifest(OCI_IMAGE_MEDIA_TYPE) && is_manifest(IMAGE_MANIFEST_LIST_MEDIA_TYPE));
        assert_eq!(ACCEPTED, KINDS.join(", "));
        assert!(!is_manifest("application/vnd.oci.image.layer.v1.tar+gzip"));
        assert!(!is_manifest("application/vnd.buildkit.cacheconfig.v0"));
    }
}
