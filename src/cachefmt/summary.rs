//! What `cache inspect` tells of a cache.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::cachefmt::cache::Cache;
use crate::cachefmt::cacheconfig::config_bytes;

/// A cache in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Operation keys.
    pub records: usize,
    /// Those of them that have a result.
    pub records_with_results: usize,
    /// Layers: blobs on top of a parent.
    pub layers: usize,
    /// Distinct blobs.
    pub blobs: usize,
    /// Size of the distinct blobs, in bytes.
    pub blob_bytes: u64,
    /// Size of the config as this program would write it, in bytes; BuildKit imports up to
    /// [`IMPORT_LIMIT`](super::IMPORT_LIMIT).
    pub config_bytes: usize,
    /// When the oldest result was made, where any says so.
    #[serde(serialize_with = "as_text")]
    pub oldest: Option<Timestamp>,
    /// When the newest result was made, where any says so.
    #[serde(serialize_with = "as_text")]
    pub newest: Option<Timestamp>,
}

impl Cache {
    /// The cache in numbers.
    pub fn summary(&self) -> Summary {
        let results = || self.records.iter().flat_map(|record| record.results.values());
        let dates = || results().filter_map(|found| found.created_at);
        Summary {
            records: self.records.len(),
            records_with_results: self.records.iter().filter(|record| !record.results.is_empty()).count(),
            layers: self.layers.len(),
            blobs: self.blobs.len(),
            blob_bytes: self.blobs.values().fold(0, |sum, blob| sum.saturating_add(blob.size)),
            config_bytes: config_bytes(self).len(),
            oldest: dates().min(),
            newest: dates().max(),
        }
    }
}

fn as_text<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_string()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use crate::cachefmt::Cache;
    use crate::cachefmt::samples::{MODE_MAX, read};

    #[test]
    fn counts() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&read(MODE_MAX).summary()).expect("JSON"), @r#"
        {
          "records": 18,
          "records_with_results": 11,
          "layers": 12,
          "blobs": 11,
          "blob_bytes": 1084514,
          "config_bytes": 4399,
          "oldest": "2026-11-23T06:19:54.198578155Z",
          "newest": "2026-11-23T06:19:55.215159283Z"
        }
        "#);
        assert_eq!(Cache::default().summary().oldest, None);
        assert!(Cache::default().is_empty() && !read(MODE_MAX).is_empty());
    }
}
