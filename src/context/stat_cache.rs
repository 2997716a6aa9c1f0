//! What is remembered of a context's files, so that a second look need not read them: for local use, since a CI job finds
//! an empty machine.
//!
//! A file is taken for unchanged where its size, both times, inode and device are the same. One that had changed less than
//! two seconds before it was looked at is not remembered, since a later change could leave the times as they are: git's
//! rule for racily clean entries (git `Documentation/technical/racy-git.txt`).
//!
//! There is one file for each context. Nothing depends on it: whatever is wrong with it, it is as if it were not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::context::content::Short;

/// In front of every file. Changed whenever what a digest says changes.
const MAGIC: &[u8] = b"layerlift stat cache 1\n";

/// The digest of all that is before it, at the end.
const SEAL: usize = 32;

/// More than a cache of a context that anybody waits for.
const LARGEST: u64 = 256 << 20;

/// What is remembered at most.
const MOST_FILES: usize = 1_000_000;

/// Longer than Linux takes.
const LONGEST_PATH: usize = 64 << 10;

/// In nanoseconds: file systems keep times in steps of up to two seconds.
const RACY: i128 = 2_000_000_000;

/// By which a file is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    size: u64,
    /// Nanoseconds since 1970, and so the next.
    modified: i128,
    changed: i128,
    inode: u64,
    device: u64,
}

impl Stat {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let time =
            |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Stat {
            size: metadata.size(),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }
}

/// The digests of a context's regular files, as they were.
#[derive(Debug)]
pub struct StatCache {
    /// `None`: it is kept nowhere.
    file: Option<PathBuf>,
    /// When the look at the context began, in nanoseconds since 1970.
    now: i128,
    files: BTreeMap<Vec<u8>, (Stat, Short)>,
    changed: bool,
}

impl StatCache {
    /// Opens the cache of a context. `folder`: where caches are kept, made when it is missing; `now`: before the context
    /// is looked at.
    pub fn open(folder: &Path, root: &Path, now: Timestamp) -> Self {
        let file = own_folder(folder).then(|| {
            let name = Sha256::digest(root.as_os_str().as_bytes());
            let name: String = name.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            folder.join(name + ".stat")
        });
        let files = file.as_deref().and_then(load).unwrap_or_default();
        StatCache { file, now: now.as_nanosecond(), files, changed: false }
    }

    /// One that is kept nowhere: for what is looked at several times in one run.
    pub fn in_memory(now: Timestamp) -> Self {
        StatCache { file: None, now: now.as_nanosecond(), files: BTreeMap::new(), changed: false }
    }

    /// The digest of a file that is as it was.
    pub(super) fn get(&self, path: &[u8], stat: &Stat) -> Option<Short> {
        self.files.get(path).filter(|(known, _)| known == stat).map(|(_, digest)| *digest)
    }

    /// Remembers a file, unless it may change once more without a sign of it.
    pub(super) fn put(&mut self, path: &[u8], stat: Stat, digest: Short) {
        let before = self.now - RACY;
        if stat.modified < before && stat.changed < before && path.len() <= LONGEST_PATH {
            self.changed |= self.files.insert(path.to_vec(), (stat, digest)) != Some((stat, digest));
        }
    }

    /// Forgets the files that are not there any more.
    pub(super) fn keep(&mut self, there: &BTreeSet<&[u8]>) {
        let before = self.files.len();
        self.files.retain(|path, _| there.contains(path.as_slice()));
        self.changed |= self.files.len() != before;
    }

    /// Puts it on the disk, whole or not at all. That it could not be kept is no trouble for anybody.
    pub fn save(&self) -> io::Result<()> {
        let Some(file) = self.file.as_deref().filter(|_| self.changed && self.files.len() <= MOST_FILES)
        else {
            return Ok(());
        };
        let mut bytes = MAGIC.to_vec();
        for (path, (stat, digest)) in &self.files {
            bytes.extend_from_slice(digest);
            bytes.extend_from_slice(&stat.size.to_be_bytes());
            bytes.extend_from_slice(&stat.modified.to_be_bytes());
            bytes.extend_from_slice(&stat.changed.to_be_bytes());
            bytes.extend_from_slice(&stat.inode.to_be_bytes());
            bytes.extend_from_slice(&stat.device.to_be_bytes());
            bytes.extend_from_slice(&(path.len() as u32).to_be_bytes());
            bytes.extend_from_slice(path);
        }
        let seal = Sha256::digest(&bytes);
        bytes.extend_from_slice(&seal);
        // Temporary files of this library are their owner's alone.
        let mut new = tempfile::NamedTempFile::new_in(file.parent().unwrap_or(Path::new("/")))?;
        new.write_all(&bytes)?;
        new.persist(file).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Makes a folder that is ours alone; whether there is one now.
fn own_folder(folder: &Path) -> bool {
    // Those above may be anybody's.
    let _ = folder.parent().map(|parent| DirBuilder::new().recursive(true).mode(0o700).create(parent));
    let _ = DirBuilder::new().mode(0o700).create(folder);
    folder.symlink_metadata().is_ok_and(|found| found.is_dir() && is_ours(&found))
}

/// What others can write could make us take one file for another.
fn is_ours(found: &Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0
}

fn load(file: &Path) -> Option<BTreeMap<Vec<u8>, (Stat, Short)>> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let opened = File::options().read(true).custom_flags(flags as i32).open(file).ok()?;
    opened.metadata().ok().filter(|found| found.is_file() && is_ours(found) && found.len() <= LARGEST)?;
    let mut bytes = Vec::new();
    opened.take(LARGEST + 1).read_to_end(&mut bytes).ok()?;
    let (content, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL)?)?;
    (Sha256::digest(content).as_slice() == seal).then_some(())?;
    let mut rest = content.strip_prefix(MAGIC)?;
    let mut files = BTreeMap::new();
    while !rest.is_empty() {
        let digest = take(&mut rest)?;
        let stat = Stat {
            size: u64::from_be_bytes(take(&mut rest)?),
            modified: i128::from_be_bytes(take(&mut rest)?),
            changed: i128::from_be_bytes(take(&mut rest)?),
            inode: u64::from_be_bytes(take(&mut rest)?),
            device: u64::from_be_bytes(take(&mut rest)?),
        };
        let length = u32::from_be_bytes(take(&mut rest)?) as usize;
        let (path, after) = rest.split_at_checked(length)?;
        files.insert(path.to_vec(), (stat, digest));
        rest = after;
    }
    Some(files)
}

fn take<const COUNT: usize>(rest: &mut &[u8]) -> Option<[u8; COUNT]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SECOND: i128 = 1_000_000_000;

    fn stat(changed: i128) -> Stat {
        Stat { size: 5, modified: SECOND, changed, inode: 7, device: 8 }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_was_put_is_there_again_for_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("above/caches");
        let mut cache = StatCache::open(&place, Path::new("/context"), at(100));
        cache.put(b"a\n\xff", stat(2 * SECOND), [1; 16]);
        cache.put(b"b", stat(2 * SECOND), [2; 16]);
        cache.save().unwrap();
        let again = StatCache::open(&place, Path::new("/context"), at(100));
        assert_eq!(again.get(b"a\n\xff", &stat(2 * SECOND)), Some([1; 16]));
        assert_eq!(again.get(b"b", &stat(2 * SECOND)), Some([2; 16]));
        for other in [
            Stat { size: 6, ..stat(2 * SECOND) },
            Stat { modified: 3, ..stat(2 * SECOND) },
            Stat { changed: 3, ..stat(2 * SECOND) },
            Stat { inode: 3, ..stat(2 * SECOND) },
            Stat { device: 3, ..stat(2 * SECOND) },
        ] {
            assert_eq!(again.get(b"b", &other), None, "{other:?}");
        }
        assert_eq!(again.get(b"c", &stat(2 * SECOND)), None);
        let elsewhere = StatCache::open(&place, Path::new("/other"), at(100));
        assert_eq!(elsewhere.get(b"b", &stat(2 * SECOND)), None);
        let modes: Vec<u32> = [place.clone(), again.file.unwrap()]
            .iter()
            .map(|path| path.metadata().unwrap().mode() & 0o777)
            .collect();
        assert_eq!(modes, [0o700, 0o600]);
    }

    #[test]
    fn what_changed_just_now_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = StatCache::open(folder.path(), Path::new("/"), at(100));
        for (number, (changed, remembered)) in
            [(97, true), (98, false), (99, false), (101, false)].into_iter().enumerate()
        {
            let path = [number as u8 + b'a'];
            cache.put(&path, stat(changed * SECOND), [0; 16]);
            assert_eq!(cache.get(&path, &stat(changed * SECOND)).is_some(), remembered, "{changed}");
        }
    }

    #[test]
    fn what_went_away_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = StatCache::open(&folder.path().join("caches"), Path::new("/"), at(100));
        cache.put(b"a", stat(0), [1; 16]);
        cache.put(b"b", stat(0), [1; 16]);
        cache.keep(&BTreeSet::from([b"b".as_slice()]));
        cache.save().unwrap();
        let again = StatCache::open(&folder.path().join("caches"), Path::new("/"), at(100));
        assert_eq!((again.get(b"a", &stat(0)), again.get(b"b", &stat(0))), (None, Some([1; 16])));
    }

    #[test]
    fn a_damaged_or_foreign_file_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let open = || StatCache::open(&folder.path().join("caches"), Path::new("/"), at(100));
        let mut cache = open();
        cache.put(b"a", stat(0), [1; 16]);
        cache.save().unwrap();
        let file = cache.file.unwrap();
        let bytes = std::fs::read(&file).unwrap();
        for end in 0..bytes.len() {
            std::fs::write(&file, &bytes[..end]).unwrap();
            assert!(open().files.is_empty(), "cut at {end}");
        }
        for place in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[place] ^= 1;
            std::fs::write(&file, broken).unwrap();
            assert!(open().files.is_empty(), "changed at {place}");
        }
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(open().files.len(), 1);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o620)).unwrap();
        assert!(open().files.is_empty(), "others could write it");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::set_permissions(file.parent().unwrap(), PermissionsExt::from_mode(0o770)).unwrap();
        let cache = open();
        assert!(cache.files.is_empty() && cache.file.is_none(), "others could replace it");
        cache.save().unwrap();
    }
}
