//! OCI distribution: one client with authentication, retries and bounded answers, and its twin on disk.
//!
//! `client` holds what requests share and `http` makes each exchange (redirects, authorization, retries); the verbs
//! stand in one file per noun: `manifests`, `blobs`, `uploads`, `tags`. `layout` offers the same verbs on a folder,
//! and `copy` moves a reference with everything below it between the two; `image` puts one that is in a registry under
//! further names.

mod auth;
mod blobs;
mod challenge;
mod client;
mod copy;
mod credentials;
mod error;
mod host;
mod http;
mod image;
mod layout;
mod manifests;
mod retry;
mod tags;
mod tls;
mod uploads;

pub use client::{Client, Options, Traffic, Trust};
pub use copy::{Copied, Place, copy};
pub use credentials::{Error as CredentialError, Found, Keychain, Source};
pub use error::{Answer, Error};
pub use image::Image;
pub use layout::Layout;
pub use manifests::{Descriptor, Manifest};
pub use uploads::{Content, Uploaded};
