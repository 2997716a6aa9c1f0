//! Sizes, durations and counts as people read them. Decimal units with one digit, as Docker prints them.

use std::time::Duration;

/// `1.2 MB`, `340 B`: decimal units, one digit above bytes.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `0.3s`, `12.0s`, `2m05s`, `1h02m`.
pub fn duration(length: Duration) -> String {
    let seconds = length.as_secs_f64();
    if seconds < 59.95 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        format!("{}m{:02}s", whole / 60, whole % 60)
    } else {
        format!("{}h{:02}m", whole / 3600, whole % 3600 / 60)
    }
}

/// `40s`, `12m`, `7h`, `30d`: the largest unit, rounded down.
pub fn age(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// `1 step`, `2 steps`: the count and the noun, with an `s` where English wants one.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_people_write() {
        assert_eq!(
            [0, 999, 1000, 1_234_567, 999_960, 5_000_000_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "1.2 MB", "1.0 MB", "5.0 GB"]
        );
        assert_eq!(
            [0.04, 59.94, 60.0, 125.2, 3720.0].map(|s| duration(Duration::from_secs_f64(s))),
            ["0.0s", "59.9s", "1m00s", "2m05s", "1h02m"]
        );
        assert_eq!(
            [9, 59, 3599, 86_399, 365 * 86_400].map(|s| age(Duration::from_secs(s))),
            ["9s", "59s", "59m", "23h", "365d"]
        );
        assert_eq!([plural(1, "step"), plural(2, "step")], ["1 step", "2 steps"]);
    }
}
