//! The digest of one entry of a context: what BuildKit's content hash counts of it, but for its name and its mode.
//!
//! That is the content of a regular file, the target of a symbolic link, the number of a device, and extended attributes
//! (moby/buildkit `cache/contenthash/tarsum.go`). Times do not count, and owners do not either: clients send every file of a
//! context as root's (`client/solve.go`).

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::context::walk::{Entry, Kind};

/// The first half of a SHA-256: enough to tell files apart, half the size in a record.
pub(super) type Short = [u8; 16];

/// Read at once; asked to stop after each.
pub(super) const BLOCK: usize = 256 << 10;

/// Linux's own limit for the list of names, and for a value.
const LARGEST_ATTRIBUTE: usize = 64 << 10;

/// What was found of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// `None`: nothing but its mode.
    pub(super) digest: Option<Short>,
    /// Bytes, of a regular file.
    pub(super) size: u64,
    /// Of a symbolic link.
    pub(super) link: Option<Vec<u8>>,
}

/// Why an entry has no digest.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is another one than was listed, or became one.
    Changed,
    /// It cannot be read.
    Unreadable(io::Error),
    /// Somebody asked to stop.
    Stopped,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        // Gone, or a symbolic link in its place.
        let gone = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            || rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::LOOP);
        if gone { Fault::Changed } else { Fault::Unreadable(error) }
    }
}

impl From<rustix::io::Errno> for Fault {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// Reads an entry. `buffer`: [`BLOCK`] bytes.
pub(super) fn read(
    root: &Path,
    entry: &Entry,
    buffer: &mut [u8],
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Found, Fault> {
    let path = root.join(entry.path());
    match entry.kind {
        Kind::File => regular(&path, entry, buffer, stop),
        Kind::Folder => {
            let digest = with_attributes(None, attributes_of_path(&path)?);
            Ok(Found { digest, size: 0, link: None })
        }
        Kind::Symlink => {
            let target = rustix::fs::readlink(&path, Vec::new()).map_err(|error| match error {
                rustix::io::Errno::INVAL => Fault::Changed,
                other => other.into(),
            })?;
            let target = target.into_bytes();
            let content = Sha256::digest(&target).into();
            let digest = with_attributes(Some(content), attributes_of_path(&path)?);
            Ok(Found { digest, size: 0, link: Some(target) })
        }
        Kind::Other => {
            let found = path.symlink_metadata()?;
            let mut hash = Sha256::new();
            hash.update(file_type(&found).to_be_bytes());
            hash.update(found.rdev().to_be_bytes());
            let digest = with_attributes(Some(hash.finalize().into()), attributes_of_path(&path)?);
            Ok(Found { digest, size: 0, link: None })
        }
    }
}

/// The bits of a mode that say what a file is.
fn file_type(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o170_000
}

fn regular(
    path: &Path,
    entry: &Entry,
    buffer: &mut [u8],
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Found, Fault> {
    // What became a pipe since it was listed must not be waited for.
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let mut file = File::options().read(true).custom_flags(flags as i32).open(path)?;
    let before = file.metadata()?;
    if !before.is_file() || before.mode() & 0o7777 != entry.mode {
        return Err(Fault::Changed);
    }
    let mut hash = Sha256::new();
    let mut size: u64 = 0;
    loop {
        let count = match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        hash.update(&buffer[..count]);
        size += count as u64;
        // A file that was just read to its end need not be asked whether that is the end; one that grows has none.
        if count == 0 || size >= before.len() {
            break;
        }
        if stop() {
            return Err(Fault::Stopped);
        }
    }
    let attributes = attributes(
        rustix::fs::flistxattr_query(&file),
        |list| rustix::fs::flistxattr(&file, list),
        |name, value| rustix::fs::fgetxattr(&file, name, value),
    )?;
    let after = file.metadata()?;
    let state = |found: &Metadata| {
        (found.len(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec())
    };
    if state(&before) != state(&after) || size != after.len() {
        return Err(Fault::Changed);
    }
    Ok(Found { digest: with_attributes(Some(hash.finalize().into()), attributes), size, link: None })
}

/// Names and values of extended attributes that count, by name.
type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

fn attributes_of_path(path: &Path) -> Result<Attributes, Fault> {
    attributes(
        rustix::fs::llistxattr_query(path),
        |list| rustix::fs::llistxattr(path, list),
        |name, value| rustix::fs::lgetxattr(path, name, value),
    )
}

/// `count`: bytes of the list.
fn attributes(
    count: rustix::io::Result<usize>,
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> Result<Attributes, Fault> {
    // Hardly any file has some.
    match count {
        Ok(0) | Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let mut names = vec![0; LARGEST_ATTRIBUTE];
    let length = list(&mut names)?;
    let mut names: Vec<&[u8]> =
        names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty() && counts(name)).collect();
    names.sort_unstable();
    let mut value = vec![0; LARGEST_ATTRIBUTE];
    let mut found = Vec::new();
    for name in names {
        // Clients leave out what they may not read (tonistiigi/fsutil `stat_unix.go`).
        if let Ok(length) = get(name, &mut value) {
            found.push((name.to_vec(), value[..length].to_vec()));
        }
    }
    Ok(found)
}

/// Whether BuildKit counts an extended attribute: `tarsum.go`, and what clients do not send (fsutil `stat.go`).
fn counts(name: &[u8]) -> bool {
    let of_system = name.starts_with(b"security.") || name.starts_with(b"system.");
    (name == b"security.capability" || !of_system) && !name.starts_with(b"com.apple.")
}

fn with_attributes(content: Option<[u8; 32]>, attributes: Attributes) -> Option<Short> {
    if attributes.is_empty() {
        return content.map(short);
    }
    let mut hash = Sha256::new();
    hash.update(b"extended attributes\0");
    hash.update(content.unwrap_or_default());
    for (name, value) in attributes {
        for text in [name, value] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
    }
    Some(short(hash.finalize().into()))
}

fn short(digest: [u8; 32]) -> Short {
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_buildkit_counts() {
        for (name, expected) in [
            ("user.x", true),
            ("trusted.x", true),
            ("security.capability", true),
            ("security.selinux", false),
            ("system.posix_acl_access", false),
            ("com.apple.quarantine", false),
        ] {
            assert_eq!(counts(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn attributes_do_not_run_into_each_other() {
        let one = |pairs: &[(&str, &str)]| {
            let pairs =
                pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
            with_attributes(None, pairs.collect())
        };
        assert_eq!(one(&[]), None);
        assert_ne!(one(&[("ab", "c")]), one(&[("a", "bc")]));
        assert_ne!(one(&[("a", "b"), ("c", "")]), one(&[("a", "b")]));
    }
}
