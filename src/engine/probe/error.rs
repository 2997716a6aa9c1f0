//! Why there is nothing to build with, and the way out.

use crate::base::process;
use crate::engine::probe::is_remote;
use crate::model::engine::Version;

/// Why there is nothing to build with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No `docker` on `PATH`.
    #[error("the Docker client is not installed")]
    ClientMissing(#[source] process::Error),
    /// The client could not be run to its end.
    #[error("the Docker client gave no answer")]
    Call(#[source] process::Error),
    /// Nobody listens at the address.
    #[error("no Docker engine answers at {address}: {said}")]
    NotRunning {
        /// Where it was looked for.
        address: String,
        /// The client's words.
        said: String,
    },
    /// The address has a host that cannot be found.
    #[error("the host of the Docker engine at {address} cannot be found: {said}")]
    UnknownHost {
        /// The engine's address.
        address: String,
        /// The client's words.
        said: String,
    },
    /// The user may not use the socket.
    #[error("the Docker engine at {address} may not be used by this user")]
    Forbidden {
        /// The engine's address.
        address: String,
    },
    /// Client and engine do not agree on TLS.
    #[error("the Docker engine at {address} cannot be reached over TLS as it is set up: {said}")]
    Tls {
        /// The engine's address.
        address: String,
        /// The client's words.
        said: String,
    },
    /// The engine refused in another way, or the answer was none.
    #[error("the Docker engine at {address} gave no usable answer: {said}")]
    Unusable {
        /// The engine's address.
        address: String,
        /// The client's words.
        said: String,
    },
    /// An engine before [`OLDEST_ENGINE`].
    #[error("the Docker engine is {server}; 18.09 is the oldest that can be used")]
    TooOld {
        /// Its version.
        server: Version,
    },
    /// buildx is not there, and is needed.
    #[error("{why} needs buildx, which the Docker client does not have")]
    NeedsBuildx {
        /// What needs it.
        why: String,
    },
    /// buildx has no builder of that name.
    #[error("buildx has no builder `{name}`")]
    UnknownBuilder {
        /// The name that was asked for.
        name: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// The builder cannot be used.
    #[error("the builder cannot be used: {said}")]
    Builder {
        /// buildx's words.
        said: String,
    },
}

impl Error {
    /// What to do about it, as a sentence or two.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::ClientMissing(_) => {
                "run the job in an image that has the Docker client, such as `docker:cli`, or install it".to_owned()
            }
            Error::NotRunning { address, .. } | Error::UnknownHost { address, .. } if is_remote(address) => {
                "is the job's service `docker:dind` there and running? DOCKER_HOST must name it: \
                 tcp://docker:2376 with TLS (and DOCKER_TLS_VERIFY=1, DOCKER_CERT_PATH=/certs/client), \
                 tcp://docker:2375 without (the service then needs DOCKER_TLS_CERTDIR=\"\")"
                    .to_owned()
            }
            Error::NotRunning { .. } | Error::UnknownHost { .. } => {
                "start the engine, or set DOCKER_HOST to the address of a running one (tcp://docker:2375 or \
                 tcp://docker:2376 for a `docker:dind` service)"
                    .to_owned()
            }
            Error::Forbidden { .. } => {
                "run as root or as a member of the socket's group (usually `docker`)".to_owned()
            }
            Error::Tls { .. } => {
                "port 2376 of `docker:dind` speaks TLS: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH=/certs/client, and \
                 share the volume /certs/client with the job; port 2375 does not: unset DOCKER_TLS_VERIFY"
                    .to_owned()
            }
            Error::TooOld { .. } => "use a newer engine: `docker:28-dind`".to_owned(),
            Error::NeedsBuildx { .. } => {
                "install the plugin `docker-buildx` (it is part of the image `docker:cli`)".to_owned()
            }
            Error::UnknownBuilder { known, .. } if !known.is_empty() => {
                format!("these exist: {}", known.join(", "))
            }
            _ => return None,
        };
        Some(text)
    }
}
