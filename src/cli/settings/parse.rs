//! What the texts of settings say. The error is the reason alone; where the text came from is added to it.

use std::time::Duration;

use crate::model::reference::{InvalidReference, Repository};
use crate::model::settings::{CacheCompression, Strategy};

/// A repository: `registry.example.com/group/cache`.
pub fn repository(text: &str) -> Result<Repository, String> {
    text.parse().map_err(|error: InvalidReference| error.to_string())
}

/// `auto` is `None`.
pub fn strategy(text: &str) -> Result<Option<Strategy>, String> {
    Ok(Some(match text {
        "auto" => return Ok(None),
        "registry" => Strategy::Registry,
        "inline" => Strategy::Inline,
        "classic" => Strategy::Classic,
        "local" => Strategy::Local,
        "off" => Strategy::Off,
        _ => {
            let known = "auto, registry, inline, classic, local, off";
            return Err(format!("unknown strategy `{text}`: expected one of {known}"));
        }
    }))
}

/// True or false, in the words of CI systems.
pub fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// `auto` is `None`.
pub fn when(text: &str) -> Result<Option<bool>, String> {
    match text {
        "auto" => Ok(None),
        text => switch(text)
            .map(Some)
            .map_err(|_| format!("unknown value `{text}`: expected one of auto, on, off")),
    }
}

/// `auto` is `None`.
pub fn unless_off(text: &str) -> Result<Option<bool>, String> {
    match text {
        "auto" => Ok(None),
        "off" => Ok(Some(false)),
        text => Err(format!("unknown value `{text}`: expected one of auto, off")),
    }
}

/// How layers are packed.
pub fn compression(text: &str) -> Result<CacheCompression, String> {
    match text {
        "auto" => Ok(CacheCompression::Auto),
        "gzip" => Ok(CacheCompression::Gzip),
        "zstd" => Ok(CacheCompression::Zstd),
        text => Err(format!("unknown value `{text}`: expected one of auto, gzip, zstd")),
    }
}

/// A number of seconds from 0.1 to 600, which may end with `s`.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds =
        text.trim_end_matches('s').parse::<f64>().ok().filter(|seconds| (0.1..=600.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("`{text}` is not a number of seconds from 0.1 to 600"))
}

/// A whole number of minutes, hours, days or weeks.
pub fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no age: expected a number with m, h, d or w, as in 7d");
    let (count, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let count = count.parse::<u32>().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(count) * seconds))
}
