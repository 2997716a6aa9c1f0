//! Blobs on their way up: mounted from another repository, or uploaded in one piece.
//!
//! An upload is POST for a session, then one PUT with everything. A session that fails is cancelled, so that nothing
//! half-written occupies the registry, and a new one is begun: the state of a broken session is not worth asking for.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};

use crate::model::reference::{Digest, Repository};
use crate::registry::auth::Access;
use crate::registry::blobs::blob_name;
use crate::registry::client::Client;
use crate::registry::error::Error;
use crate::registry::http::{Payload, Reply, Request, content_type};
use crate::registry::retry;

/// How often an upload is begun.
const MOST_UPLOADS: u32 = 3;

/// How long we try to cancel a session: nobody waits for that.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// What is uploaded. It is read again for each try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// This file.
    File(PathBuf),
}

/// How a blob came to be in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// It was there.
    Present,
    /// It was sent.
    Sent,
}

impl Client {
    /// Puts a blob into a repository, unless it is there already.
    pub async fn put_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        content: &Content,
    ) -> Result<Uploaded, Error> {
        // A question that fails is no reason not to try the answer.
        if matches!(self.head_blob(repository, digest).await, Ok(Some(_))) {
            return Ok(Uploaded::Present);
        }
        let payload = match content {
            Content::Bytes(bytes) => Payload::Bytes(bytes.clone()),
            Content::File(path) => {
                let length = tokio::fs::metadata(path).await.map(|data| data.len());
                let length = length.map_err(|source| Error::File { path: path.clone(), source })?;
                Payload::File(path.clone(), length)
            }
        };
        let mut attempt = 0;
        loop {
            let error = match self.upload(repository, digest, payload.clone()).await {
                Ok(()) => return Ok(Uploaded::Sent),
                Err(error) => error,
            };
            attempt += 1;
            // A session that the registry has lost is like a broken connection: another replica may have answered.
            let lost = error.is_not_found() || matches!(error, Error::Refused { status: 416, .. });
            let pause = retry::pause(attempt - 1, None);
            if !(error.is_temporary() || lost) || attempt >= MOST_UPLOADS || pause > self.budget {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Makes a blob of another repository of the same registry known to this one, without moving it. False where the
    /// registry does not want to, which is no error.
    pub async fn mount_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: &Repository,
    ) -> Result<bool, Error> {
        let access = Access::push(repository).and_pull(from);
        let mut request = self.upload_request(repository, digest, access)?;
        request.url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from.path());
        match self.send(&request).await {
            Ok(reply) if reply.response.status() == StatusCode::CREATED => Ok(true),
            Ok(reply) => {
                // The registry has begun an upload instead.
                if let Ok(session) = session_of(&request, &reply) {
                    self.cancel(&request, session).await;
                }
                Ok(false)
            }
            // Reading the other repository may be forbidden, or the verb unknown: the caller can still upload.
            Err(Error::NotFound { .. } | Error::Forbidden { .. } | Error::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether blobs may be put into a repository: begins an upload and gives it back. Fails as an upload would.
    pub async fn check_push(&self, repository: &Repository) -> Result<(), Error> {
        // The digest only stands in messages, which are about the repository here.
        let mut begin = self.upload_request(repository, &Digest::of(b""), Access::push(repository))?;
        begin.what = repository.to_string();
        let session = session_of(&begin, &self.send(&begin).await?)?;
        self.cancel(&begin, session).await;
        Ok(())
    }

    async fn upload(&self, repository: &Repository, digest: &Digest, payload: Payload) -> Result<(), Error> {
        let begin = self.upload_request(repository, digest, Access::push(repository))?;
        let session = session_of(&begin, &self.send(&begin).await?)?;
        let mut url = session.clone();
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let mut put =
            Request::new(Method::PUT, &begin.registry, url, begin.access.clone(), begin.what.clone());
        put.headers.extend([content_type(&put.what, "application/octet-stream")?]);
        put.payload = payload;
        put.transfer = true;
        let outcome = self.send(&put).await;
        if outcome.is_err() {
            self.cancel(&begin, session).await;
        }
        outcome.map(|_| ())
    }

    fn upload_request(
        &self,
        repository: &Repository,
        digest: &Digest,
        access: Access,
    ) -> Result<Request, Error> {
        let what = blob_name(repository, digest);
        let base = self.base(repository.registry())?;
        let url = base.join(&format!("v2/{}/blobs/uploads/", repository.path()));
        let url = url.map_err(|_| Error::malformed(&what, "not a path of a registry"))?;
        let mut request = Request::new(Method::POST, &base, url, access, what);
        // Without it, some proxies ask for a length (411).
        request.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        Ok(request)
    }

    /// Gives a session back, as well as that goes.
    async fn cancel(&self, begun: &Request, session: Url) {
        let access = begun.access.clone();
        let request = Request::new(Method::DELETE, &begun.registry, session, access, begun.what.clone());
        let _ = self.with_budget(CANCEL_LIMIT).send(&request).await;
    }
}

/// Where an upload goes on: `Location`, relative to the request, over TLS if the registry is.
fn session_of(request: &Request, reply: &Reply) -> Result<Url, Error> {
    reply
        .header(LOCATION)
        .and_then(|location| reply.response.url().join(location).ok())
        .filter(|url| {
            url.scheme() == "https" || url.scheme() == "http" && request.registry.scheme() == "http"
        })
        .ok_or_else(|| Error::malformed(&request.what, "the registry opened no usable upload session"))
}
