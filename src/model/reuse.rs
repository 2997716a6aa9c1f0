//! An image that answers a build in the place of the engine.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::reference::Digest;

/// What is written down about an image that later builds may be answered with. The image itself cannot say it: its bytes
/// are to stay the same, and `SOURCE_DATE_EPOCH` takes its time away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The whole input digest; the image's tag has only its beginning.
    pub inputs: Digest,
    /// The image that the note is on.
    pub image: Digest,
    /// When its build began.
    pub created: Timestamp,
    /// The commit that was built.
    pub commit: Option<String>,
    /// The page of the pipeline that built it.
    pub pipeline_url: Option<String>,
}

/// The image that answered a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reused {
    /// Where it was found: `ghcr.io/owner/app/cache:branch-main--image-0123...`.
    pub reference: String,
    /// Its digest, which is also that of the image's new names.
    pub digest: String,
    /// The scope that it belongs to.
    pub scope: String,
    /// When its build began; `None` where nothing tells.
    pub created: Option<Timestamp>,
    /// How long ago that was, in seconds.
    #[serde(rename = "age_seconds", serialize_with = "seconds", deserialize_with = "of_seconds")]
    pub age: Option<Duration>,
    /// The commit that it was built from.
    pub commit: Option<String>,
    /// The page of the pipeline that built it.
    pub pipeline_url: Option<String>,
}

/// A build that an image answered, as it is remembered for `layerlift explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredBuild {
    /// When it ended.
    pub at: Timestamp,
    /// The names that the image got.
    pub tags: Vec<String>,
    /// The image.
    pub image: Reused,
}

fn seconds<S: serde::Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    age.map(|age| age.as_secs()).serialize(serializer)
}

fn of_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_secs))
}
