//! Why a registry, or a layout on disk, did not do what it was asked. Variants tell what the caller can do about it.
//!
//! Every message names the reference, blob or host; none holds a URL, because a URL of blob storage is a credential.

use std::path::PathBuf;
use std::time::Duration;

use oci_distribution::errors::{OciEnvelope, OciErrorCode};
use reqwest::StatusCode;

use crate::model::reference::Digest;
use crate::registry::credentials::{self, Source};

/// What is kept of a registry's own words, in characters.
const LONGEST_MESSAGE: usize = 500;

/// A registry's own account of a refusal, in the form of the distribution spec where it had that form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The code, such as `DENIED`; empty where the registry gave none.
    pub code: String,
    /// The message: at most 500 characters, on one line, without control characters.
    pub message: String,
}

impl Answer {
    /// Reads the body of a refusal. What is no error envelope is kept as text, unless it is a page of HTML.
    pub(super) fn read(body: &[u8]) -> Self {
        if let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(body) {
            return envelope.errors.into_iter().next().map_or_else(Answer::default, |first| Answer {
                code: shorten(&spelling(&first.code)),
                message: shorten(&first.message),
            });
        }
        let text = String::from_utf8_lossy(body);
        let message = if text.trim_start().starts_with('<') { String::new() } else { shorten(&text) };
        Answer { code: String::new(), message }
    }

    fn suffix(&self) -> String {
        match (self.code.as_str(), self.message.as_str()) {
            ("", "") => String::new(),
            ("", text) | (text, "") => format!(": {text}"),
            (code, message) => format!(": {code}, {message}"),
        }
    }
}

fn spelling(code: &OciErrorCode) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

fn shorten(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().chars().take(LONGEST_MESSAGE).collect()
}

fn used(credential: &Option<Source>) -> String {
    credential
        .as_ref()
        .map_or_else(|| "no credential was found".to_owned(), |source| format!("tried {source}"))
}

fn after(pause: &Option<Duration>) -> String {
    pause.map_or_else(String::new, |pause| format!("; it asks to wait {} s", pause.as_secs()))
}

/// What went wrong. `what` is the reference, blob, repository or host that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such manifest, blob or repository; some registries say so where reading is forbidden.
    #[error("{what} does not exist")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The registry wants a credential, or another one. Logging in helps.
    #[error("{what}: not authorized ({}){}", used(credential), answer.suffix())]
    Unauthorized {
        /// What was asked for.
        what: String,
        /// Where the refused credential came from.
        credential: Option<Source>,
        /// The registry's words.
        answer: Answer,
    },
    /// The registry knows who asks, and does not allow it.
    #[error("{what}: forbidden{}", answer.suffix())]
    Forbidden {
        /// What was asked for.
        what: String,
        /// The registry's words.
        answer: Answer,
    },
    /// The registry limits our rate, longer than we may wait.
    #[error("{what}: too many requests{}", after(retry_after))]
    TooManyRequests {
        /// What was asked for.
        what: String,
        /// How long the registry asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The registry failed, still after retries.
    #[error("{what}: the registry is unavailable (HTTP {status}){}", answer.suffix())]
    Unavailable {
        /// What was asked for.
        what: String,
        /// The last status.
        status: u16,
        /// The registry's words.
        answer: Answer,
    },
    /// No connection: name resolution, TCP or TLS. The registry cannot be reached *from here*; the engine may reach it.
    #[error("{what}: {host} cannot be reached from here")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// Host and port.
        host: String,
        /// What the transport said.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke during an answer or an upload.
    #[error("{what}: the connection broke")]
    Interrupted {
        /// What was asked for.
        what: String,
        /// What the transport said.
        #[source]
        source: reqwest::Error,
    },
    /// No answer in time.
    #[error("{what}: no answer within {:.1} s", limit.as_secs_f64())]
    TimedOut {
        /// What was asked for.
        what: String,
        /// The time that it had.
        limit: Duration,
    },
    /// The answer makes no sense.
    #[error("{what}: {problem}")]
    Malformed {
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The answer is larger than anything that we would use.
    #[error("{what}: larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The content is not what its digest promises.
    #[error("{what}: content has digest {found}, expected {expected}")]
    DigestMismatch {
        /// What was asked for.
        what: String,
        /// The digest that was promised.
        expected: Digest,
        /// The digest of what arrived.
        found: Digest,
    },
    /// Any other refusal: what was sent is not accepted, the verb is not offered, the quota is used up.
    #[error("{what}: refused (HTTP {status}){}", answer.suffix())]
    Refused {
        /// What was asked for.
        what: String,
        /// The status.
        status: u16,
        /// The registry's words.
        answer: Answer,
    },
    /// A credential helper or a credential file is broken.
    #[error("{what}: no credential could be read")]
    Credential {
        /// What was asked for.
        what: String,
        /// Which one, and how.
        #[source]
        source: credentials::Error,
    },
    /// A local file could not be read or written.
    #[error("{}: not accessible", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A stream that was given to be filled could not be written.
    #[error("{what}: could not be written")]
    Write {
        /// What was asked for.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No HTTP client can be made: roots or client certificates are unusable.
    #[error("{what}: no HTTPS client could be set up")]
    Setup {
        /// The host or file.
        what: String,
        /// What the library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// The error of an answer that is no success. Which statuses are temporary is regclient's table, with 503.
    pub(super) fn of_status(what: &str, status: StatusCode, answer: Answer) -> Self {
        let what = what.to_owned();
        match status.as_u16() {
            404 => Error::NotFound { what },
            401 => Error::Unauthorized { what, credential: None, answer },
            403 => Error::Forbidden { what, answer },
            429 => Error::TooManyRequests { what, retry_after: None },
            408 | 500 | 502 | 503 | 504 => Error::Unavailable { what, status: status.as_u16(), answer },
            status => Error::Refused { what, status, answer },
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Error::TooManyRequests { .. }
                | Error::Unavailable { .. }
                | Error::Unreachable { .. }
                | Error::Interrupted { .. }
                | Error::TimedOut { .. }
        )
    }

    /// Whether there is no such thing, as far as we may know.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound { .. })
    }

    pub(super) fn malformed(what: &str, problem: impl Into<String>) -> Self {
        Error::Malformed { what: what.to_owned(), problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_every_form() {
        let read = |body: &str| {
            let answer = Answer::read(body.as_bytes());
            (answer.code, answer.message)
        };
        let cases = [
            (r#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#, "DENIED", "quota exceeded"),
            (r#"{"errors":[{"code":"ARTIFACT_LOCKED"}]}"#, "ARTIFACT_LOCKED", ""),
            (r#"{"errors":[]}"#, "", ""),
            ("no such\u{1b}[31m host\n", "", "no such [31m host"),
            ("<html><body>502</body></html>", "", ""),
            ("", "", ""),
        ];
        for (body, code, message) in cases {
            assert_eq!(read(body), (code.to_owned(), message.to_owned()), "{body}");
        }
        assert_eq!(read(&"x".repeat(9000)).1.len(), LONGEST_MESSAGE);
    }

    #[test]
    fn which_answers_are_temporary() {
        let is_temporary = |code: &u16| {
            let status = StatusCode::from_u16(*code).expect("status");
            Error::of_status("x", status, Answer::default()).is_temporary()
        };
        let temporary: Vec<u16> = (300..600).filter(is_temporary).collect();
        assert_eq!(temporary, [408, 429, 500, 502, 503, 504]);
    }

    #[test]
    fn messages_say_what_and_how() {
        let answer = Answer { code: "DENIED".into(), message: "requested access is denied".into() };
        let credential = Some(Source::CredentialHelper("pass".into()));
        let errors = [
            Error::Unauthorized { what: "ghcr.io/a/b:1".into(), credential, answer: answer.clone() },
            Error::Unauthorized { what: "ghcr.io/a/b:1".into(), credential: None, answer: Answer::default() },
            Error::of_status("ghcr.io/a/b:1", StatusCode::FORBIDDEN, answer.clone()),
            Error::TooManyRequests {
                what: "ghcr.io/a/b:1".into(),
                retry_after: Some(Duration::from_secs(30)),
            },
            Error::of_status("ghcr.io/a/b:1", StatusCode::BAD_GATEWAY, Answer::default()),
            Error::of_status("ghcr.io/a/b:1", StatusCode::PAYLOAD_TOO_LARGE, answer),
        ];
        insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @r"
        ghcr.io/a/b:1: not authorized (tried the credential helper `pass`): DENIED, requested access is denied
        ghcr.io/a/b:1: not authorized (no credential was found)
        ghcr.io/a/b:1: forbidden: DENIED, requested access is denied
        ghcr.io/a/b:1: too many requests; it asks to wait 30 s
        ghcr.io/a/b:1: the registry is unavailable (HTTP 502)
        ghcr.io/a/b:1: refused (HTTP 413): DENIED, requested access is denied
        ");
    }
}
