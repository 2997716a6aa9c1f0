//! A platform as OCI names it: operating system, architecture and, for some, a variant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `linux/amd64`, `linux/arm64`, `linux/arm/v7`. Normalised as containerd does: `x86_64` is `amd64`, `aarch64` is
/// `arm64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    /// `linux`, `windows`.
    pub os: String,
    /// `amd64`, `arm64`, `arm`.
    pub architecture: String,
    /// `v6`, `v7`.
    pub variant: Option<String>,
}

impl Platform {
    /// From its parts as a manifest or an image config has them.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            "armhf" => "arm".to_owned(),
            other => other.to_owned(),
        };
        let variant = match (architecture.as_str(), variant.unwrap_or_default()) {
            ("arm64", "v8" | "8" | "") | ("amd64", "v1" | "") => None,
            ("arm", "" | "7") => Some("v7".to_owned()),
            (_, "") => None,
            (_, other) => Some(other.to_owned()),
        };
        Platform { os: os.to_ascii_lowercase(), architecture, variant }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(formatter, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.trim().split('/').collect();
        let valid = parts.iter().all(|part| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-()".contains(&byte))
        });
        match (valid, parts.as_slice()) {
            (true, [os, architecture]) => Ok(Platform::new(os, architecture, None)),
            (true, [os, architecture, variant]) => Ok(Platform::new(os, architecture, Some(variant))),
            _ => Err(InvalidPlatform(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = InvalidPlatform;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

/// Not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform `{0}`: expected os/architecture or os/architecture/variant")]
pub struct InvalidPlatform(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_normalised() {
        let read = |text: &str| text.parse::<Platform>().map(|platform| platform.to_string());
        assert_eq!(read("linux/x86_64").as_deref(), Ok("linux/amd64"));
        assert_eq!(read("linux/arm64/v8").as_deref(), Ok("linux/arm64"));
        assert_eq!(read("linux/arm").as_deref(), Ok("linux/arm/v7"));
        assert_eq!(read("linux/arm/v6").as_deref(), Ok("linux/arm/v6"));
        assert!(read("linux").is_err());
        assert!(read("linux//").is_err());
    }
}
