//! Names of things in registries: digests, repositories, references.
//!
//! Grammar: OCI distribution spec 1.1 (`<name>`, `<reference>`) and the familiar names of Docker
//! (distribution/reference), read by `oci_distribution::Reference`.

use std::fmt;
use std::str::FromStr;

use oci_distribution::Reference as Parsed;
use serde::{Deserialize, Serialize};

/// A `sha256:` digest, checked: 64 lower-case hexadecimal characters follow. Other algorithms are not read: no registry
/// and no BuildKit writes them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::from_hash(&sha2::Sha256::digest(bytes))
    }

    /// From the 32 bytes of a finished SHA-256.
    pub fn from_hash(hash: &[u8]) -> Self {
        let mut text = String::from("sha256:");
        for byte in hash {
            text.push_str(&format!("{byte:02x}"));
        }
        Digest(text)
    }

    /// `sha256:...`, whole.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hexadecimal part.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The first twelve hexadecimal characters, as Docker shortens ids.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
            Ok(Digest(text.to_owned()))
        } else {
            Err(InvalidReference { text: text.to_owned(), reason: "not a sha256 digest".to_owned() })
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid reference `{text}`: {reason}")]
pub struct InvalidReference {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A repository in a registry: `registry.example.com/group/app`, `localhost:5000/app`, `docker.io/library/busybox`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// Host and, where given, port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name inside the registry: `group/app`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The reference of a tag in this repository. Fails where the tag is not `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, InvalidReference> {
        let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let rest = |byte: u8| first(byte) || byte == b'.' || byte == b'-';
        if tag.len() <= 128 && tag.bytes().next().is_some_and(first) && tag.bytes().all(rest) {
            Ok(Reference { repository: self.clone(), tag: Some(tag.to_owned()), digest: None })
        } else {
            let reason = "a tag is 1 to 128 characters of A-Z, a-z, 0-9, `_`, `.`, `-`".to_owned();
            Err(InvalidReference { text: format!("{self}:{tag}"), reason })
        }
    }

    /// The reference of a digest in this repository.
    pub fn with_digest(&self, digest: &Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest.clone()) }
    }

    /// A repository below this one: `app` and `cache` give `app/cache`.
    pub fn nested(&self, name: &str) -> Result<Repository, InvalidReference> {
        format!("{self}/{name}").parse()
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.path)
    }
}

impl FromStr for Repository {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = parse(text)?;
        let last = text.rsplit('/').next().unwrap_or_default();
        if last.contains(':') && text.contains('/') || text.contains('@') {
            let reason = "a repository has neither tag nor digest".to_owned();
            return Err(InvalidReference { text: text.to_owned(), reason });
        }
        Ok(Repository { registry: parsed.registry().to_owned(), path: parsed.repository().to_owned() })
    }
}

impl TryFrom<String> for Repository {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Repository> for String {
    fn from(repository: Repository) -> String {
        repository.to_string()
    }
}

/// A repository with a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag. A parsed reference without tag and digest has `latest`.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What stands in a manifest's URL: the digest, else the tag.
    pub fn manifest_name(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(formatter, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = parse(text)?;
        Ok(Reference {
            repository: Repository {
                registry: parsed.registry().to_owned(),
                path: parsed.repository().to_owned(),
            },
            tag: parsed.tag().map(str::to_owned),
            digest: parsed.digest().map(str::parse).transpose()?,
        })
    }
}

fn parse(text: &str) -> Result<Parsed, InvalidReference> {
    text.parse::<Parsed>()
        .map_err(|error| InvalidReference { text: text.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn familiar_names_get_their_registry() {
        let read = |text: &str| text.parse::<Reference>().map(|reference| reference.to_string());
        assert_eq!(read("busybox").as_deref(), Ok("docker.io/library/busybox:latest"));
        assert_eq!(read("localhost:5000/a/b:1").as_deref(), Ok("localhost:5000/a/b:1"));
        let digest = Digest::of(b"");
        let whole = format!("ghcr.io/a/b:1@{digest}");
        assert_eq!(read(&whole).as_deref(), Ok(whole.as_str()));
        assert!(read("library/UPPER").is_err());
        assert!(read("a/b:").is_err());
    }

    #[test]
    fn a_repository_has_no_tag() {
        assert_eq!(
            "localhost:5000/a".parse::<Repository>().map(|it| it.to_string()).as_deref(),
            Ok("localhost:5000/a")
        );
        assert!("localhost:5000/a:1".parse::<Repository>().is_err());
        assert!(format!("a/b@{}", Digest::of(b"")).parse::<Repository>().is_err());
    }

    #[test]
    fn tags_are_checked() {
        let repository: Repository = "ghcr.io/a/b".parse().expect("repository");
        assert!(repository.with_tag("branch-main").is_ok());
        assert!(repository.with_tag("-a").is_err());
        assert!(repository.with_tag(&"a".repeat(129)).is_err());
    }

    #[test]
    fn digests_are_checked() {
        assert!("sha256:00".parse::<Digest>().is_err());
        assert!(format!("sha256:{}", "A".repeat(64)).parse::<Digest>().is_err());
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }
}
