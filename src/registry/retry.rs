//! When to ask again, and how long to wait before. No I/O; the loop stands in `http`.
//!
//! Pauses grow exponentially with jitter and never fall below what the registry asks for in `Retry-After`. A host that
//! limits our rate makes all requests to it wait, not only the one that was refused. The sum of pauses is bounded by
//! the caller's budget: a pause that does not fit ends the question at once.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The first pause, before jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause that we choose ourselves.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The pause after attempt number `attempt`, counted from 0.
pub(super) fn pause(attempt: u32, asked: Option<Duration>) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempt.min(10)).min(LONGEST_PAUSE);
    // A hasher's random keys are the standard library's only source of randomness; jitter needs no better one.
    let jitter = 0.5 + (RandomState::new().hash_one(attempt) % 1000) as f64 / 1000.0;
    doubled.mul_f64(jitter).max(asked.unwrap_or_default())
}

/// What `Retry-After` asks for: seconds, or the time until an HTTP date.
pub(super) fn asked_for(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(value).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// Until when each host wants to be left alone.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<String, Instant>>);

impl Pace {
    /// Nobody asks this host within the next `pause`.
    pub(super) fn hold(&self, host: &str, pause: Duration) {
        let Some(until) = Instant::now().checked_add(pause) else { return };
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = hosts.entry(host.to_owned()).or_insert(until);
        *entry = until.max(*entry);
    }

    /// How long this host still wants to be left alone.
    pub(super) fn left(&self, host: &str) -> Duration {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.get(host).map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_both_forms() {
        let now: Timestamp = "2015-10-21T07:28:00Z".parse().expect("time");
        let cases = [
            ("3", Some(3)),
            (" 120 ", Some(120)),
            ("Wed, 21 Oct 2015 07:28:05 GMT", Some(5)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ];
        for (value, seconds) in cases {
            let headers = [(RETRY_AFTER, value.parse().expect("header"))].into_iter().collect();
            assert_eq!(asked_for(&headers, now), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(asked_for(&HeaderMap::new(), now), None);
    }

    #[test]
    fn pauses_grow_stay_bounded_and_obey() {
        for attempt in 0..40 {
            let chosen = pause(attempt, None);
            assert!(
                chosen >= FIRST_PAUSE / 2 && chosen <= LONGEST_PAUSE.mul_f64(1.5),
                "{attempt}: {chosen:?}"
            );
        }
        assert!(pause(0, None) < pause(4, None));
        assert_eq!(pause(0, Some(Duration::from_secs(60))), Duration::from_secs(60));
    }

    #[test]
    fn a_held_host_is_held_for_the_longest_wish() {
        let pace = Pace::default();
        pace.hold("a", Duration::from_secs(60));
        pace.hold("a", Duration::from_secs(1));
        pace.hold("c", Duration::MAX);
        assert!(pace.left("a") > Duration::from_secs(50));
        assert_eq!((pace.left("b"), pace.left("c")), (Duration::ZERO, Duration::ZERO));
    }
}
