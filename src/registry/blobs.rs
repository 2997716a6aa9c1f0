//! Blobs: ask and get. No byte is handed out as good before the digest of all of them was checked.
//!
//! A download that breaks is resumed where it broke with `Range`; a registry that does not know `Range` sends
//! everything again, of which the known part is skipped.

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::model::reference::{Digest, Repository};
use crate::registry::auth::Access;
use crate::registry::client::Client;
use crate::registry::error::Error;
use crate::registry::http::{Reply, Request};

/// How often a broken download is resumed.
const MOST_RESUMPTIONS: u32 = 5;

impl Client {
    /// Asks for a blob without fetching it: its size in bytes, 0 where the registry does not say; none if it does not
    /// exist.
    pub async fn head_blob(&self, repository: &Repository, digest: &Digest) -> Result<Option<u64>, Error> {
        let request = self.blob_request(Method::HEAD, repository, digest)?;
        match self.send(&request).await {
            Ok(reply) => {
                Ok(Some(reply.header(CONTENT_LENGTH).and_then(|text| text.parse().ok()).unwrap_or_default()))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fetches a blob of at most `limit` bytes into memory.
    pub async fn get_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let mut bytes = Vec::new();
        self.fetch_blob(repository, digest, limit, &mut bytes).await?;
        Ok(bytes.into())
    }

    /// Fetches a blob of at most `limit` bytes into a writer, and returns its size.
    ///
    /// The writer has seen bytes that nobody checked when this fails; they are good only after `Ok`.
    pub async fn fetch_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: u64,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, Error> {
        let mut request = self.blob_request(Method::GET, repository, digest)?;
        request.keep = None;
        let mut hash = Sha256::new();
        let mut done = 0;
        let mut resumptions = 0;
        loop {
            if done > 0 {
                let range = HeaderValue::from_str(&format!("bytes={done}-"));
                request
                    .headers
                    .insert(RANGE, range.map_err(|_| Error::malformed(&request.what, "no range"))?);
            }
            let before = done;
            let reply = self.send(&request).await?;
            let error = match self.receive(&request, reply, limit, &mut hash, &mut done, writer).await {
                Ok(()) => break,
                Err(error) => error,
            };
            // Only what moved may be resumed for ever, and even that not too often.
            resumptions = if done > before + (1 << 20) { 0 } else { resumptions + 1 };
            if !error.is_temporary() || resumptions > MOST_RESUMPTIONS {
                return Err(error);
            }
        }
        let found = Digest::from_hash(&hash.finalize());
        if found != *digest {
            return Err(Error::DigestMismatch { what: request.what, expected: digest.clone(), found });
        }
        let what = request.what;
        writer.flush().await.map_err(|source| Error::Write { what, source })?;
        Ok(done)
    }

    /// Takes one answer in, beginning at byte `done` of the blob.
    async fn receive(
        &self,
        request: &Request,
        reply: Reply,
        limit: u64,
        hash: &mut Sha256,
        done: &mut u64,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Error> {
        let what = &request.what;
        let mut skip = match reply.response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let first = reply.header(CONTENT_RANGE).and_then(first_byte);
                if first != Some(*done) {
                    return Err(Error::malformed(what, "the registry sent another range than was asked for"));
                }
                0
            }
            _ => *done,
        };
        let mut response = reply.response;
        while let Some(mut part) = self.chunk(&mut response, what).await? {
            let skipped = skip.min(part.len() as u64);
            let part = part.split_off(usize::try_from(skipped).unwrap_or(part.len()));
            skip -= skipped;
            if *done + part.len() as u64 > limit {
                return Err(Error::TooLarge { what: what.clone(), limit });
            }
            hash.update(&part);
            writer.write_all(&part).await.map_err(|source| Error::Write { what: what.clone(), source })?;
            *done += part.len() as u64;
        }
        Ok(())
    }

    pub(super) fn blob_request(
        &self,
        method: Method,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Request, Error> {
        let what = blob_name(repository, digest);
        let base = self.base(repository.registry())?;
        let url = base.join(&format!("v2/{}/blobs/{digest}", repository.path()));
        let url = url.map_err(|_| Error::malformed(&what, "not a path of a registry"))?;
        Ok(Request::new(method, &base, url, Access::pull(repository), what))
    }
}

/// A blob in messages: `blob sha256:e3b0c44298fc of ghcr.io/a/b`.
pub(super) fn blob_name(repository: &Repository, digest: &Digest) -> String {
    format!("blob sha256:{} of {repository}", digest.short())
}

/// The first byte of a `Content-Range: bytes 5-9/10`.
fn first_byte(value: &str) -> Option<u64> {
    value.trim().strip_prefix("bytes")?.trim_start().split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        for (value, expected) in [
            ("bytes 5-9/10", Some(5)),
            ("bytes 0-0/*", Some(0)),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("", None),
        ] {
            assert_eq!(first_byte(value), expected, "{value}");
        }
    }
}
