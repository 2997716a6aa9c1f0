//! The one place that reads the wall clock. Durations are measured with `std::time::Instant`, which is no secret input.

use jiff::Timestamp;

/// The present moment, in UTC.
#[expect(clippy::disallowed_methods, reason = "this file is the door")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
