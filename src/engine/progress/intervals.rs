//! When a vertex was worked on. BuildKit starts and ends a vertex several times: once to ask for its cache key, again to
//! run it, again to pull its layers. Spans may overlap; time is counted once (buildkit, progressui `mergeIntervals`).

use std::collections::BTreeMap;
use std::time::Duration;

/// More spans than any honest build has for one vertex; further ones are dropped.
const MOST_SPANS: usize = 4096;

/// A span of time; open while there is no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Duration,
    pub(super) stop: Option<Duration>,
}

/// Spans by their start, so that an update of a span replaces what was known of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Intervals(BTreeMap<Duration, Option<Duration>>);

impl Intervals {
    /// Notes a span, or what has become of it. True if that is news.
    pub(super) fn insert(&mut self, start: Duration, stop: Option<Duration>) -> bool {
        if self.0.len() >= MOST_SPANS && !self.0.contains_key(&start) {
            return false;
        }
        self.0.insert(start, stop) != Some(stop)
    }

    /// The spans in order, overlapping ones made into one. An open span swallows everything after its start.
    fn merged(&self) -> Vec<Span> {
        let mut merged: Vec<Span> = Vec::new();
        for (&start, &stop) in &self.0 {
            match merged.last_mut() {
                Some(Span { stop: None, .. }) => break,
                Some(last @ Span { stop: Some(_), .. }) if last.stop >= Some(start) => {
                    last.stop = stop.map(|stop| last.stop.map_or(stop, |before| before.max(stop)));
                }
                _ => merged.push(Span { start, stop }),
            }
        }
        merged
    }

    /// The first start.
    pub(super) fn first(&self) -> Option<Duration> {
        self.0.keys().next().copied()
    }

    /// The latest span.
    pub(super) fn last(&self) -> Option<Span> {
        self.merged().last().copied()
    }

    /// Whether it was started, and is not being worked on.
    pub(super) fn is_completed(&self) -> bool {
        self.last().is_some_and(|span| span.stop.is_some())
    }

    /// Time spent, without the span that is still open.
    pub(super) fn total(&self) -> Duration {
        self.merged().iter().filter_map(|span| span.stop?.checked_sub(span.start)).sum()
    }

    /// Takes over the spans of another vertex.
    pub(super) fn extend(&mut self, other: &Intervals) {
        for (&start, &stop) in &other.0 {
            self.insert(start, stop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(spans: &[(u64, Option<u64>)]) -> Intervals {
        let mut intervals = Intervals::default();
        for (start, stop) in spans {
            intervals.insert(Duration::from_secs(*start), stop.map(Duration::from_secs));
        }
        intervals
    }

    #[test]
    fn counts_time_once() {
        let cases = [
            ("nothing", seconds(&[]), 0, false),
            ("one", seconds(&[(1, Some(3))]), 2, true),
            ("apart", seconds(&[(1, Some(3)), (5, Some(6))]), 3, true),
            ("overlapping", seconds(&[(1, Some(3)), (2, Some(6))]), 5, true),
            ("inside", seconds(&[(1, Some(9)), (2, Some(3))]), 8, true),
            ("updated", seconds(&[(1, None), (1, Some(4))]), 3, true),
            ("open at the end", seconds(&[(1, Some(2)), (4, None)]), 1, false),
            ("ends before its start", seconds(&[(4, Some(2))]), 0, true),
        ];
        for (name, intervals, total, completed) in cases {
            assert_eq!(intervals.total(), Duration::from_secs(total), "{name}");
            assert_eq!(intervals.is_completed(), completed, "{name}");
        }
    }

    #[test]
    fn is_bounded() {
        let mut intervals = Intervals::default();
        for start in 0..10_000 {
            intervals.insert(Duration::from_secs(start * 2), Some(Duration::from_secs(start * 2 + 1)));
        }
        assert_eq!(intervals.total(), Duration::from_secs(MOST_SPANS as u64));
    }
}
