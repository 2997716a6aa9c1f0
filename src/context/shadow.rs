//! A shadow of one or more build contexts of a work tree: the same content, with the modes that git records. The engine is
//! given it in the place of the contexts, which nobody touches.
//!
//! What git tracks is copied: a hard link would change the time of the inode's last change, by which git knows files, and
//! `git diff-index` would take all of them for changed. Everything else is linked where that is possible, and nothing ever
//! writes through a link. Times of files and folders are those of the originals, as they come to stand in images.
//!
//! In the shadow, contexts lie as they do in their work tree, so that a client that asks git where they are (buildx does,
//! for the provenance) is told the same: `<place>/<name of the work tree>/<context>`.

use std::collections::HashSet;
use std::fs::{File, FileTimes, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use crate::context::place::Place;
use crate::context::survey::Survey;
use crate::context::walk::{Kind, OWN_FOLDER};

/// More would wait for the disk only.
const MOST_THREADS: usize = 4;

/// The shadow. It is deleted with this value.
#[derive(Debug)]
pub struct Shadow {
    /// The work tree that it stands in for.
    base: PathBuf,
    /// Its own work tree.
    tree: PathBuf,
    _place: Place,
}

/// One thing to be put into a shadow.
#[derive(Debug)]
struct Item {
    source: PathBuf,
    target: PathBuf,
    kind: Kind,
    mode: u32,
    size: u64,
    /// It may be linked.
    link: bool,
}

impl Shadow {
    /// Makes one. `surveys`: of folders that belong to one work tree, at least one; `files`: single files of that work tree
    /// that are needed as well. `stop` is asked again and again whether to give up.
    pub fn make(
        surveys: &[&Survey],
        files: &[PathBuf],
        temporary: &Path,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> io::Result<Shadow> {
        let Some(first) = surveys.first() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let base = first.base().to_path_buf();
        let place = place(first, temporary)?;
        let tree = place.path().join(base.file_name().unwrap_or("context".as_ref()));
        let shadow = Shadow { base, tree, _place: place };
        let items = shadow.items(surveys, files)?;
        shadow.check_room(&items)?;
        for root in surveys.iter().filter_map(|survey| shadow.of(&survey.root)) {
            std::fs::create_dir_all(&root)?;
            // Some clients send it, though no image has it.
            std::fs::set_permissions(root, Permissions::from_mode(0o755))?;
        }
        let (folders, files): (Vec<&Item>, Vec<&Item>) =
            items.iter().partition(|item| item.kind == Kind::Folder);
        for folder in &folders {
            std::fs::create_dir_all(&folder.target)?;
        }
        fill(&files, stop)?;
        // What is in a folder is there when it gets its time and mode, which may forbid writing.
        for folder in folders.iter().rev() {
            let opened = File::open(&folder.target)?;
            copy_attributes(&File::open(&folder.source)?, &opened);
            opened.set_times(times(&folder.source.symlink_metadata()?)?)?;
            opened.set_permissions(Permissions::from_mode(folder.mode))?;
        }
        Ok(shadow)
    }

    /// Where a path of the work tree is in the shadow; `None` for one outside. `path`: without symbolic links.
    pub fn of(&self, path: &Path) -> Option<PathBuf> {
        let inside = path.strip_prefix(&self.base).ok()?;
        Some(if inside.as_os_str().is_empty() { self.tree.clone() } else { self.tree.join(inside) })
    }

    /// Its work tree, as git calls it.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    fn items(&self, surveys: &[&Survey], files: &[PathBuf]) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        // Contexts may lie in each other.
        let mut seen: HashSet<PathBuf> = HashSet::new();
        for survey in surveys {
            let root = self.of(&survey.root).ok_or(io::ErrorKind::InvalidInput)?;
            let mut differences = survey.differences.iter().peekable();
            for (number, entry) in survey.entries.iter().enumerate() {
                let difference = differences.next_if(|difference| difference.entry == number);
                let target = root.join(entry.path());
                if surveys.len() > 1 && !seen.insert(target.clone()) {
                    continue;
                }
                items.push(Item {
                    source: survey.root.join(entry.path()),
                    target,
                    kind: entry.kind,
                    mode: difference.map_or(entry.mode, |difference| difference.mode),
                    size: entry.size,
                    link: !survey.tracked.has(&entry.path),
                });
            }
        }
        let there: HashSet<&Path> = items.iter().map(|item| item.target.as_path()).collect();
        let mut more = Vec::new();
        for file in files {
            let Some(target) = self.of(file).filter(|target| !there.contains(target.as_path())) else {
                continue;
            };
            let metadata = file.symlink_metadata()?;
            std::fs::create_dir_all(target.parent().unwrap_or(&self.tree))?;
            let (mode, size) = (metadata.mode() & 0o777, metadata.len());
            more.push(Item { source: file.clone(), target, kind: Kind::File, mode, size, link: false });
        }
        items.extend(more);
        Ok(items)
    }

    /// A disk that is filled up would be worse than a cache that is not hit.
    fn check_room(&self, items: &[Item]) -> io::Result<()> {
        let device = self.base.metadata()?.dev();
        let own = self._place.path().metadata()?.dev();
        let is_copied = |item: &&Item| !item.link || own != device;
        let needed: u64 = items.iter().filter(is_copied).map(|item| item.size).sum();
        let found = rustix::fs::statvfs(self._place.path())?;
        match needed > found.f_bavail.saturating_mul(found.f_frsize) {
            true => {
                Err(io::Error::new(io::ErrorKind::StorageFull, "there is no room for a copy of the context"))
            }
            false => Ok(()),
        }
    }
}

/// Where links are possible: the temporary folder, else git's own. Where neither is on the same file system, everything is
/// copied.
fn place(survey: &Survey, temporary: &Path) -> io::Result<Place> {
    let temporary = temporary.canonicalize()?;
    let name: String = Sha256::digest(survey.base().as_os_str().as_bytes())
        .iter()
        .take(8)
        .map(|it| format!("{it:02x}"))
        .collect();
    let name = format!("{OWN_FOLDER}-{name}");
    let device = survey.root.metadata()?.dev();
    if temporary.metadata()?.dev() != device
        && let Some(repository) = &survey.repository
    {
        let folder = repository.folder.join(OWN_FOLDER);
        let _ = std::fs::create_dir(&folder);
        if let Ok(folder) = folder.canonicalize()
            && folder.metadata().is_ok_and(|it| it.dev() == device)
            && let Ok(place) = Place::claim(&folder, &name, true)
        {
            return Ok(place);
        }
    }
    Place::claim(&temporary, &name, false)
}

/// Puts files in place, several at a time.
fn fill(files: &[&Item], stop: &(dyn Fn() -> bool + Sync)) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<io::Error>> = Mutex::new(None);
    let work = || {
        while let Some(item) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = if stop() { Err(io::ErrorKind::Interrupted.into()) } else { put(item) };
            if let Err(error) = result {
                // The others find nothing left to do.
                next.store(files.len(), Ordering::Relaxed);
                let named = io::Error::new(error.kind(), format!("{}: {error}", item.source.display()));
                failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(named);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

fn put(item: &Item) -> io::Result<()> {
    match item.kind {
        Kind::Symlink => {
            std::os::unix::fs::symlink(std::fs::read_link(&item.source)?, &item.target)?;
            set_link_times(&item.target, &item.source.symlink_metadata()?)
        }
        Kind::Other => std::fs::hard_link(&item.source, &item.target),
        // Another file system, somebody else's file, too many links.
        Kind::File if item.link && std::fs::hard_link(&item.source, &item.target).is_ok() => Ok(()),
        Kind::File | Kind::Folder => copy(item),
    }
}

fn copy(item: &Item) -> io::Result<()> {
    let mut source = File::open(&item.source)?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&item.target)?;
    io::copy(&mut source, &mut target)?;
    copy_attributes(&source, &target);
    target.set_permissions(Permissions::from_mode(item.mode))?;
    target.set_times(times(&source.metadata()?)?)
}

/// Extended attributes are part of a step's key. Those that a system sets by itself cannot be set, and do not count.
fn copy_attributes(source: &File, target: &File) {
    // Hardly any file has some.
    if rustix::fs::flistxattr_query(source).unwrap_or(0) == 0 {
        return;
    }
    let mut names = vec![0; 64 << 10];
    let Ok(length) = rustix::fs::flistxattr(source, &mut names[..]) else { return };
    let mut value = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        value.resize(64 << 10, 0);
        if let Ok(length) = rustix::fs::fgetxattr(source, name, &mut value[..]) {
            let _ = rustix::fs::fsetxattr(target, name, &value[..length], rustix::fs::XattrFlags::empty());
        }
    }
}

fn times(metadata: &std::fs::Metadata) -> io::Result<FileTimes> {
    Ok(FileTimes::new().set_accessed(metadata.accessed()?).set_modified(metadata.modified()?))
}

fn set_link_times(link: &Path, metadata: &std::fs::Metadata) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let times = Timestamps {
        last_access: Timespec { tv_sec: metadata.atime(), tv_nsec: metadata.atime_nsec() as _ },
        last_modification: Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() as _ },
    };
    Ok(utimensat(CWD, link, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests;
