//! Records as they are on the wire, in an inline cache and in a cache config alike (BuildKit
//! cache/remotecache/v1/types/spec.go). Field order is BuildKit's, so that what we author looks like its own.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cachefmt::manifest::null_is_empty;
use crate::model::reference::Digest;

/// The cache config's content.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct WireConfig {
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<WireLayer>,
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub(crate) records: Vec<WireRecord>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WireLayer {
    pub(crate) blob: Digest,
    #[serde(default = "parent::missing", with = "parent")]
    pub(crate) parent: Option<usize>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct WireRecord {
    /// Results: the layer and all its parents.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<WireResult>,
    /// Results of a merge (`COPY --link`): exactly these layers, in this order.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub(crate) chains: Vec<WireChain>,
    /// The operation's cache key. Opaque: BuildKit compares it as text.
    #[serde(default)]
    pub(crate) digest: String,
    /// For every input the keys that stand for it, any of which is enough.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub(crate) inputs: Vec<Vec<WireLink>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireResult {
    pub(crate) layer: usize,
    #[serde(rename = "createdAt", default, with = "moment")]
    pub(crate) created_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireChain {
    pub(crate) layers: Vec<usize>,
    #[serde(rename = "createdAt", default, with = "moment")]
    pub(crate) created_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireLink {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) selector: String,
    pub(crate) link: usize,
}

/// RFC 3339, where Go's zero time means unknown: BuildKit's inline exporter writes no time for chains.
mod moment {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    const UNKNOWN: &str = "0001-01-01T00:00:00Z";

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(time),
            None => serializer.serialize_str(UNKNOWN),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == UNKNOWN {
            return Ok(None);
        }
        text.parse().map(Some).map_err(serde::de::Error::custom)
    }
}

/// -1 is no parent. BuildKit leaves a zero out, so that a missing parent is layer 0.
mod parent {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn missing() -> Option<usize> {
        Some(0)
    }

    #[expect(clippy::ref_option, reason = "serde's `with` asks for this signature")]
    pub(super) fn serialize<S: Serializer>(parent: &Option<usize>, serializer: S) -> Result<S::Ok, S::Error> {
        match parent {
            Some(index) => index.serialize(serializer),
            None => serializer.serialize_i64(-1),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
        match i64::deserialize(deserializer)? {
            -1 => Ok(None),
            index => usize::try_from(index).map(Some).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_parent_is_layer_zero() {
        let read = |parent: &str| {
            let text = format!(r#"{{"blob":"{}"{parent}}}"#, Digest::of(b""));
            serde_json::from_str::<WireLayer>(&text)
                .map(|layer| layer.parent)
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(""), Ok(Some(0)));
        assert_eq!(read(r#","parent":-1"#), Ok(None));
        assert_eq!(read(r#","parent":7"#), Ok(Some(7)));
        assert!(read(r#","parent":-2"#).is_err());
    }

    #[test]
    fn times_are_written_as_buildkit_writes_them() {
        for time in ["2026-11-23T04:32:35.43Z", "0001-01-01T00:00:00Z", "2026-11-23T04:32:35.434970154Z"] {
            let text = format!(r#"{{"layer":3,"createdAt":"{time}"}}"#);
            let result: WireResult = serde_json::from_str(&text).expect("result");
            assert_eq!(serde_json::to_string(&result).expect("JSON"), text);
        }
        let without: WireResult = serde_json::from_str(r#"{"layer":3}"#).expect("result");
        assert_eq!(without.created_at, None);
        assert!(serde_json::from_str::<WireResult>(r#"{"layer":3,"createdAt":"yesterday"}"#).is_err());
    }
}
