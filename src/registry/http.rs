//! One exchange with a registry, from request to answer: authorization, redirects, retries, time and size limits.
//!
//! Every verb builds a [`Request`] and hands it to [`Client::send`], which repeats it while that is worth it. Redirects
//! are followed by hand, so that `Authorization` goes to the registry's own origin and to nobody else (the class of
//! CVE-2020-15157). Time is bounded in two ways: a question has the client's budget for everything, a transfer may take
//! as long as it moves, and only its pauses count.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, Url};
use tokio::time::timeout;
use tokio_util::io::{InspectReader, ReaderStream};

use crate::base::clock;
use crate::registry::auth::Access;
use crate::registry::challenge;
use crate::registry::client::Client;
use crate::registry::error::{Answer, Error};
use crate::registry::host::{origin_name, same_origin};
use crate::registry::retry;

/// How long an answer, or the next part of one, may take.
pub(super) const STALL: Duration = Duration::from_secs(10);

/// How long an upload may go without moving; registries on object storage take their time at the end of one.
const UPLOAD_STALL: Duration = Duration::from_secs(60);

/// Blob storage is one redirect away, behind a content network two.
const MOST_REDIRECTS: usize = 5;

/// The most times that a question is sent, whatever its budget.
const MOST_ATTEMPTS: u32 = 6;

/// A host that does not accept connections is asked twice: longer waits would only delay a build.
const MOST_CONNECTS: u32 = 2;

/// What is read of a refusal.
const LARGEST_REFUSAL: u64 = 64 << 10;

/// What a request carries. Each kind can be sent again.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// This file, of this length.
    File(PathBuf, u64),
}

/// One request, as a value that can be sent several times.
#[derive(Debug)]
pub(super) struct Request {
    pub method: Method,
    pub url: Url,
    /// Where the registry listens: credentials go there only.
    pub registry: Url,
    pub access: Access,
    pub headers: HeaderMap,
    pub payload: Payload,
    /// For messages: the reference or blob.
    pub what: String,
    /// How much of the answer is read, in bytes; none: the caller reads it.
    pub keep: Option<u64>,
    /// Whether it may take as long as it moves, and is sent once.
    pub transfer: bool,
}

impl Request {
    /// A request without payload whose answer is no longer than a refusal.
    pub(super) fn new(method: Method, registry: &Url, url: Url, access: Access, what: String) -> Self {
        Request {
            method,
            url,
            registry: registry.clone(),
            access,
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            what,
            keep: Some(LARGEST_REFUSAL),
            transfer: false,
        }
    }
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// Status and headers; its body is still to be read if [`Request::keep`] was none.
    pub response: Response,
    /// The body, as far as it was to be kept.
    pub body: Bytes,
}

impl Reply {
    /// A header's value as text.
    pub(super) fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }
}

/// Why an attempt failed, with what it says about the next one.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: Error,
    /// The pause that the registry asks for.
    pub asked: Option<Duration>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, asked: None }
    }
}

impl Client {
    /// Sends a request until it succeeds, fails for good, or its budget is used up.
    pub(super) async fn send(&self, request: &Request) -> Result<Reply, Error> {
        let host = origin_name(&request.registry);
        let mut left = self.budget;
        let mut attempt = 0;
        loop {
            let hold = self.shared.pace.left(&host);
            if hold > left {
                return Err(Error::TooManyRequests { what: request.what.clone(), retry_after: Some(hold) });
            }
            tokio::time::sleep(hold).await;
            left -= hold;
            let started = Instant::now();
            let outcome = if request.transfer {
                self.attempt(request, UPLOAD_STALL).await
            } else {
                let whole = timeout(left, self.attempt(request, STALL.min(left))).await;
                left = left.saturating_sub(started.elapsed());
                let late = || Error::TimedOut { what: request.what.clone(), limit: self.budget };
                whole.unwrap_or_else(|_| Err(late().into()))
            };
            let Failure { error, asked } = match outcome {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            attempt += 1;
            let most = match error {
                _ if request.transfer => 1,
                Error::Unreachable { .. } => MOST_CONNECTS,
                _ => MOST_ATTEMPTS,
            };
            let pause = retry::pause(attempt - 1, asked);
            if matches!(error, Error::TooManyRequests { .. } | Error::Unavailable { status: 503, .. }) {
                self.shared.pace.hold(&host, pause);
            }
            if !error.is_temporary() || attempt >= most || pause > left {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            left -= pause;
        }
    }

    /// One attempt; a refused authorization is renewed once.
    async fn attempt(&self, request: &Request, stall: Duration) -> Result<Reply, Failure> {
        let host = origin_name(&request.registry);
        let mut authorization = match self.shared.tokens.challenge_of(&host) {
            Some(known) => self.authorization(&request.registry, &request.access, &known, None).await?,
            None => None,
        };
        let mut response = self.follow(request, authorization.as_ref(), stall).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && same_origin(response.url(), &request.registry)
            && let Some(challenge) = challenge::best(response.headers())
        {
            self.shared.tokens.remember(&host, &challenge);
            let refused = authorization.take();
            let access = &request.access;
            let renewed = self.authorization(&request.registry, access, &challenge, refused.as_ref()).await?;
            if renewed.is_some() {
                response = self.follow(request, renewed.as_ref(), stall).await?;
            }
        }
        if response.status().is_success() {
            let body = match request.keep {
                Some(limit) => self.read_bounded(&mut response, limit, &request.what).await?,
                None => Bytes::new(),
            };
            return Ok(Reply { response, body });
        }
        Err(self.refusal(request, response).await)
    }

    /// The error that an answer without success means.
    async fn refusal(&self, request: &Request, mut response: Response) -> Failure {
        let asked = retry::asked_for(response.headers(), clock::now());
        // The status alone is an answer, too.
        let body = self.read_bounded(&mut response, LARGEST_REFUSAL, &request.what).await.unwrap_or_default();
        let mut error = Error::of_status(&request.what, response.status(), Answer::read(&body));
        match &mut error {
            Error::Unauthorized { credential, .. } => {
                let found = self.credential(&request.access.repository).await.ok().flatten();
                *credential = found.map(|found| found.source);
            }
            Error::TooManyRequests { retry_after, .. } => *retry_after = asked,
            _ => {}
        }
        Failure { error, asked }
    }

    /// Sends a request, and sends it on where it is redirected to.
    async fn follow(
        &self,
        request: &Request,
        authorization: Option<&HeaderValue>,
        stall: Duration,
    ) -> Result<Response, Failure> {
        let mut url = request.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut builder = self
                .transport(&url)?
                .request(request.method.clone(), url.clone())
                .headers(request.headers.clone());
            if let Some(value) = authorization.filter(|_| same_origin(&url, &request.registry)) {
                builder = builder.header(AUTHORIZATION, value);
            }
            let moved = Arc::new(AtomicU64::new(0));
            let builder = load(builder, &request.payload, &moved).await?;
            let response =
                self.dispatch(builder, &origin_name(&url), &request.what, Some(&moved), stall).await?;
            let Some(target) = redirect(request, &response)? else { return Ok(response) };
            url = target;
        }
        Err(Error::malformed(&request.what, "too many redirects").into())
    }

    /// Sends one HTTP request and waits for the head of its answer, as long as its body moves.
    pub(super) async fn dispatch(
        &self,
        request: RequestBuilder,
        host: &str,
        what: &str,
        moved: Option<&AtomicU64>,
        stall: Duration,
    ) -> Result<Response, Failure> {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        let mut sending = std::pin::pin!(request.send());
        let mut seen = 0;
        loop {
            if let Ok(outcome) = timeout(stall, &mut sending).await {
                return outcome.map_err(|source| transport_error(what, host, source).into());
            }
            let now = moved.map_or(0, |moved| moved.load(Ordering::Relaxed));
            if now == seen {
                return Err(Error::TimedOut { what: what.to_owned(), limit: stall }.into());
            }
            seen = now;
        }
    }

    /// The next part of an answer's body; none at its end.
    pub(super) async fn chunk(&self, response: &mut Response, what: &str) -> Result<Option<Bytes>, Error> {
        let chunk = timeout(STALL, response.chunk())
            .await
            .map_err(|_| Error::TimedOut { what: what.to_owned(), limit: STALL })?
            .map_err(|source| Error::Interrupted { what: what.to_owned(), source: source.without_url() })?;
        self.shared.bytes_in.fetch_add(chunk.as_ref().map_or(0, |part| part.len() as u64), Ordering::Relaxed);
        Ok(chunk)
    }

    /// The whole body of an answer, or an error where it is longer than the limit.
    pub(super) async fn read_bounded(
        &self,
        response: &mut Response,
        limit: u64,
        what: &str,
    ) -> Result<Bytes, Error> {
        let mut body = BytesMut::new();
        while let Some(part) = self.chunk(response, what).await? {
            if (body.len() + part.len()) as u64 > limit {
                return Err(Error::TooLarge { what: what.to_owned(), limit });
            }
            body.extend_from_slice(&part);
        }
        Ok(body.freeze())
    }
}

/// Puts a payload on a request. A file is opened anew each time, and counts what was read from it.
async fn load(
    builder: RequestBuilder,
    payload: &Payload,
    moved: &Arc<AtomicU64>,
) -> Result<RequestBuilder, Error> {
    Ok(match payload {
        Payload::Empty => builder,
        Payload::Bytes(bytes) => builder.body(bytes.clone()),
        Payload::File(path, length) => {
            let file = tokio::fs::File::open(path)
                .await
                .map_err(|source| Error::File { path: path.clone(), source })?;
            let moved = Arc::clone(moved);
            let counted = InspectReader::new(file, move |part: &[u8]| {
                moved.fetch_add(part.len() as u64, Ordering::Relaxed);
            });
            let stream = ReaderStream::with_capacity(counted, 64 << 10);
            builder.header(CONTENT_LENGTH, *length).body(Body::wrap_stream(stream))
        }
    })
}

/// Where an answer sends us, if it does. Other methods than GET and HEAD follow only the redirects that keep them.
fn redirect(request: &Request, response: &Response) -> Result<Option<Url>, Error> {
    let follows = match response.status().as_u16() {
        301..=303 => matches!(request.method, Method::GET | Method::HEAD),
        307 | 308 => true,
        _ => false,
    };
    if !follows {
        return Ok(None);
    }
    let nowhere = || Error::malformed(&request.what, "a redirect to nowhere");
    let location =
        response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).ok_or_else(nowhere)?;
    let target = response.url().join(location).map_err(|_| nowhere())?;
    match target.scheme() {
        "https" => Ok(Some(target)),
        "http" if response.url().scheme() == "http" => Ok(Some(target)),
        _ => Err(Error::malformed(&request.what, "a redirect to an insecure address")),
    }
}

/// An error of the transport. Its address is dropped: signatures of blob storage are secrets.
fn transport_error(what: &str, host: &str, source: reqwest::Error) -> Error {
    let (what, host) = (what.to_owned(), host.to_owned());
    let source = source.without_url();
    if source.is_connect() || source.is_builder() {
        Error::Unreachable { what, host, source }
    } else {
        Error::Interrupted { what, source }
    }
}

/// A JSON or binary content type as a header.
pub(super) fn content_type(
    what: &str,
    media_type: &str,
) -> Result<(reqwest::header::HeaderName, HeaderValue), Error> {
    let value = HeaderValue::from_str(media_type).map_err(|_| Error::malformed(what, "not a media type"))?;
    Ok((CONTENT_TYPE, value))
}
