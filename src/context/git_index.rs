//! `.git/index`: which files are tracked, and under which mode. Pure: bytes in, entries out.
//!
//! The form is that of git's `index-format` (versions 2, 3 and 4; SHA-1 and SHA-256). Extensions are skipped but for a
//! split index, whose other half is in another file: it is refused. The names must ascend as git writes them, which a
//! broken file does not hold for long.

/// What git records about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// 100644.
    File,
    /// 100755.
    Executable,
    /// 120000.
    Symlink,
    /// 160000: a submodule.
    Submodule,
}

/// One tracked path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From the work tree's root, with `/` between its parts.
    pub path: Vec<u8>,
    /// Its mode.
    pub mode: Mode,
}

/// Why an index is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no index, or it was cut or damaged.
    #[error("the git index is damaged")]
    Damaged,
    /// Another version than 2, 3 and 4.
    #[error("the git index has version {0}, which is not known")]
    Version(u32),
    /// A part of it is in another file.
    #[error("the git index is a split one")]
    Split,
}

/// An entry's times, device, inode, mode, user, group and size.
const STAT: usize = 40;

/// Where in there the mode stands.
const MODE: usize = 24;

/// In the flags: two bytes of them follow.
const EXTENDED: u16 = 0x4000;

/// In the flags: which side of a merge conflict the entry is.
const STAGE: u16 = 0x3000;

/// Reads an index. `hash`: bytes of an object's name, 20 or 32. Of a path in conflict, the first side is given.
pub fn read(bytes: &[u8], hash: usize) -> Result<Vec<Entry>, Error> {
    let mut rest = Bytes(bytes);
    if rest.take(4)? != b"DIRC" {
        return Err(Error::Damaged);
    }
    let version = rest.number()?;
    if !(2..=4).contains(&version) {
        return Err(Error::Version(version));
    }
    let count = rest.number()? as usize;
    // The number of entries comes from the file: it must fit into it before memory is taken for them.
    if count > bytes.len() / (STAT + hash) {
        return Err(Error::Damaged);
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    let mut last: Vec<u8> = Vec::new();
    let mut last_stage = 0;
    for number in 0..count {
        let before = rest.0.len();
        let stat = rest.take(STAT)?;
        rest.take(hash)?;
        let flags = rest.short()?;
        if flags & EXTENDED != 0 {
            if version < 3 {
                return Err(Error::Damaged);
            }
            rest.take(2)?;
        }
        let mut path = Vec::new();
        if version == 4 {
            let dropped = rest.offset()?;
            path.extend_from_slice(last.get(..last.len().saturating_sub(dropped)).unwrap_or_default());
            if dropped > last.len() {
                return Err(Error::Damaged);
            }
        }
        path.extend_from_slice(rest.until_zero()?);
        if version < 4 {
            // One to eight zeros fill an entry up to a multiple of eight bytes; the first of them was taken.
            let used = before - rest.0.len() - 1;
            rest.take(7 - used % 8)?;
        }
        let stage = flags & STAGE;
        let ascends = number == 0 || (&last, last_stage) < (&path, stage);
        // Only in a split index: such an entry stands for one of the other half.
        if path.is_empty() {
            return Err(Error::Split);
        }
        if !ascends {
            return Err(Error::Damaged);
        }
        let mode = u32::from_be_bytes([stat[MODE], stat[MODE + 1], stat[MODE + 2], stat[MODE + 3]]);
        let is_new = number == 0 || last != path;
        match mode_of(mode).ok_or(Error::Damaged)? {
            Some(mode) if is_new => entries.push(Entry { path: path.clone(), mode }),
            _ => {}
        }
        (last, last_stage) = (path, stage);
    }
    extensions(rest, hash)?;
    Ok(entries)
}

/// The mode; `Some(None)` for a folder that a sparse index keeps folded, of which nothing is checked out.
fn mode_of(mode: u32) -> Option<Option<Mode>> {
    match mode {
        0o100644 => Some(Some(Mode::File)),
        0o100755 => Some(Some(Mode::Executable)),
        0o120000 => Some(Some(Mode::Symlink)),
        0o160000 => Some(Some(Mode::Submodule)),
        0o040000 => Some(None),
        _ => None,
    }
}

/// Steps over the extensions, to the checksum at the end.
fn extensions(mut rest: Bytes<'_>, hash: usize) -> Result<(), Error> {
    while rest.0.len() > hash {
        let name = rest.take(4)?;
        let size = rest.number()? as usize;
        let content = rest.take(size)?;
        // Without another file's name, it is a split index that was put together again.
        if name == b"link" && content.get(..hash).is_none_or(|other| other.iter().any(|byte| *byte != 0)) {
            return Err(Error::Split);
        }
    }
    if rest.0.len() == hash { Ok(()) } else { Err(Error::Damaged) }
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Error::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, Error> {
        let taken = self.take(4)?;
        Ok(u32::from_be_bytes([taken[0], taken[1], taken[2], taken[3]]))
    }

    fn short(&mut self) -> Result<u16, Error> {
        let taken = self.take(2)?;
        Ok(u16::from_be_bytes([taken[0], taken[1]]))
    }

    fn until_zero(&mut self) -> Result<&'a [u8], Error> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Error::Damaged)?;
        let taken = self.take(end)?;
        self.take(1)?;
        Ok(taken)
    }

    /// A number of any length, as in the offsets of a pack (git, gitformat-pack).
    fn offset(&mut self) -> Result<usize, Error> {
        let mut byte = self.take(1)?[0];
        let mut value = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.take(1)?[0];
            value = value.checked_add(1).and_then(|value| value.checked_mul(128)).ok_or(Error::Damaged)?;
            value |= usize::from(byte & 0x7f);
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::base::process::{Command, capture};
    use crate::context::samples::git;

    /// A repository with names of many lengths, an executable and a symbolic link in its index.
    async fn repository(format: &str, version: u32) -> tempfile::TempDir {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        git(root, &["init", "-q", &format!("--object-format={format}")]).await;
        for length in 1..40 {
            let file = root.join("sub").join("x".repeat(length % 9 + 1)).join("n".repeat(length));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        std::fs::write(root.join("run.sh"), "").unwrap();
        std::fs::set_permissions(root.join("run.sh"), std::fs::Permissions::from_mode(0o700)).unwrap();
        symlink("run.sh", root.join("link")).unwrap();
        git(root, &["add", "."]).await;
        // An entry with extended flags makes version 3 of version 2.
        std::fs::write(root.join("later"), "").unwrap();
        git(root, &["add", "-N", "later"]).await;
        git(root, &["update-index", &format!("--index-version={version}")]).await;
        folder
    }

    async fn listed(root: &Path) -> Vec<Entry> {
        let text = git(root, &["ls-files", "-s", "-z"]).await;
        let entry = |line: &str| {
            let (rest, path) = line.split_once('\t').unwrap();
            let mode = u32::from_str_radix(&rest[..6], 8).unwrap();
            Entry { path: path.as_bytes().to_vec(), mode: mode_of(mode).unwrap().unwrap() }
        };
        text.split_terminator('\0').map(entry).collect()
    }

    #[tokio::test]
    async fn reads_what_git_wrote() {
        for (format, hash) in [("sha1", 20), ("sha256", 32)] {
            for version in [2, 4] {
                let folder = repository(format, version).await;
                let bytes = std::fs::read(folder.path().join(".git/index")).unwrap();
                assert_eq!(bytes[7], if version == 2 { 3 } else { 4 }, "the version that was asked for");
                let expected = listed(folder.path()).await;
                assert!(expected.len() > 40);
                assert_eq!(read(&bytes, hash), Ok(expected), "{format} {version}");
                let other = if hash == 20 { 32 } else { 20 };
                assert!(read(&bytes, other).is_err(), "another object format is noticed");
            }
        }
    }

    #[tokio::test]
    async fn a_split_index_is_refused() {
        let folder = repository("sha1", 2).await;
        git(folder.path(), &["update-index", "--split-index"]).await;
        let bytes = std::fs::read(folder.path().join(".git/index")).unwrap();
        assert_eq!(read(&bytes, 20), Err(Error::Split));
    }

    #[tokio::test]
    async fn a_broken_index_is_an_error_or_shorter_and_never_a_panic() {
        for version in [2, 4] {
            let folder = repository("sha1", version).await;
            let bytes = std::fs::read(folder.path().join(".git/index")).unwrap();
            for end in 0..bytes.len() {
                assert!(read(&bytes[..end], 20).is_err(), "cut at {end}");
            }
            for at in 0..bytes.len() {
                for change in [0x01, 0x80, 0xff] {
                    let mut broken = bytes.clone();
                    broken[at] ^= change;
                    let _ = read(&broken, 20);
                }
            }
        }
        let promise = [b"DIRC".as_slice(), &[0, 0, 0, 2], &[0xff; 4], &[0; 100]].concat();
        assert_eq!(read(&promise, 20), Err(Error::Damaged), "more entries than bytes");
        assert_eq!(read(b"DIRC\0\0\0\x05\0\0\0\0", 20), Err(Error::Version(5)));
    }

    #[tokio::test]
    async fn of_a_conflict_one_side_is_given() {
        let folder = repository("sha1", 2).await;
        let id = git(folder.path(), &["hash-object", "-w", "run.sh"]).await;
        let id = id.trim();
        let lines = format!("0 {} 0\trun.sh\n100644 {id} 2\trun.sh\n100755 {id} 3\trun.sh\n", "0".repeat(40));
        let file = folder.path().join("lines");
        std::fs::write(&file, lines).unwrap();
        let command = Command {
            input: crate::base::process::Input::File(file),
            ..Command::new("git", ["-C", folder.path().to_str().unwrap(), "update-index", "--index-info"])
        };
        assert!(capture(&command, Duration::from_secs(30)).await.unwrap().status.success());
        let bytes = std::fs::read(folder.path().join(".git/index")).unwrap();
        let found = read(&bytes, 20).unwrap();
        let of_run: Vec<Mode> =
            found.iter().filter(|entry| entry.path == b"run.sh").map(|entry| entry.mode).collect();
        assert_eq!(of_run, [Mode::File]);
    }
}
