//! Digests of many entries of a context at once, on all cores, at the speed of the hash or of the disk.
//!
//! Large files are begun first, so that no core is left with one when the others are done; small ones are taken by the
//! dozen. SHA-256 is `sha2`'s, which uses the processor's instructions for it where there are some.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::context::content::{self, BLOCK, Fault, Found, Short};
use crate::context::stat_cache::{Stat, StatCache};
use crate::context::walk::{Entry, Kind};
use crate::model::inputs::{File, FileKind};

/// Files of at least this size, in bytes, are begun first and taken one by one.
const LARGE: u64 = 1 << 20;

/// Small files that are taken at once.
const BATCH: usize = 24;

/// More cores than have ever been of use.
const MOST_THREADS: usize = 32;

/// Why the digests are not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody works in the context.
    #[error("`{}` changed while it was read", .0.display())]
    Changed(PathBuf),
    /// An entry cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// From the context's root.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
}

/// Reads the entries at the places `wanted`. For each of `entries`: what counts of it, `None` where it was not wanted;
/// [`File::context`] is the caller's to set. `cache`: for files that are as they were; the caller saves it. `stop` is
/// asked again and again whether to give up.
pub fn hash(
    root: &Path,
    entries: &[Entry],
    wanted: &BTreeSet<usize>,
    cache: Option<&mut StatCache>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Option<File>>, Error> {
    let known = cache.as_deref();
    let (large, small): (Vec<usize>, Vec<usize>) = wanted
        .iter()
        .copied()
        .filter(|place| *place < entries.len())
        .partition(|place| entries[*place].size >= LARGE);
    let mut order = large;
    order.sort_unstable_by_key(|place| std::cmp::Reverse(entries[*place].size));
    let batches = order.len() + small.len().div_ceil(BATCH);
    let batch = |number: usize| match order.get(number..=number) {
        Some(one) => one,
        None => {
            let start = (number - order.len()) * BATCH;
            &small[start..small.len().min(start + BATCH)]
        }
    };
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    let has_failed = AtomicBool::new(false);
    let ends = || has_failed.load(Ordering::Relaxed) || stop();
    let work = || {
        let mut buffer = vec![0; BLOCK];
        let mut done: Vec<(usize, Found, Option<Stat>)> = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= batches || ends() {
                return done;
            }
            for &place in batch(number) {
                match look(root, &entries[place], known, &mut buffer, &ends) {
                    Ok((found, stat)) => done.push((place, found, stat)),
                    Err(fault) => {
                        has_failed.store(true, Ordering::Relaxed);
                        let mut failed = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        failed.get_or_insert(named(fault, &entries[place]));
                        return done;
                    }
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let done: Vec<_> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..cores.min(batches)).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    // Whoever asked to stop is the cause of what the threads saw of it.
    if stop() {
        return Err(Error::Stopped);
    }
    if let Some(error) = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        return Err(error);
    }
    remember(cache, entries, &done);
    let mut files: Vec<Option<File>> = vec![None; entries.len()];
    for (place, found, _) in done {
        files[place] = Some(file(&entries[place], found));
    }
    Ok(files)
}

/// Reads an entry, or finds it in the cache; for one that the cache can have, by what it is known again.
fn look(
    root: &Path,
    entry: &Entry,
    cache: Option<&StatCache>,
    buffer: &mut [u8],
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<(Found, Option<Stat>), Fault> {
    let Some(cache) = cache.filter(|_| entry.kind == Kind::File) else {
        return Ok((content::read(root, entry, buffer, stop)?, None));
    };
    let metadata = root.join(entry.path()).symlink_metadata()?;
    // Before it is read: what changes from now on is another file for the cache.
    let stat = Stat::of(&metadata);
    match cache.get(&entry.path, &stat) {
        Some(digest) if metadata.is_file() => {
            Ok((Found { digest: Some(digest), size: metadata.len(), link: None }, Some(stat)))
        }
        _ => Ok((content::read(root, entry, buffer, stop)?, Some(stat))),
    }
}

fn named(fault: Fault, entry: &Entry) -> Error {
    let path = entry.path().to_path_buf();
    match fault {
        Fault::Changed => Error::Changed(path),
        Fault::Unreadable(source) => Error::Unreadable { path, source },
        Fault::Stopped => Error::Stopped,
    }
}

fn remember(cache: Option<&mut StatCache>, entries: &[Entry], done: &[(usize, Found, Option<Stat>)]) {
    let Some(cache) = cache else { return };
    let there: BTreeSet<&[u8]> = entries.iter().map(|entry| entry.path.as_slice()).collect();
    cache.keep(&there);
    for (place, found, stat) in done {
        if let (Some(stat), Some(digest)) = (stat, found.digest) {
            cache.put(&entries[*place].path, *stat, digest);
        }
    }
}

fn file(entry: &Entry, found: Found) -> File {
    File {
        context: None,
        path: String::from_utf8_lossy(&entry.path).into_owned(),
        kind: match entry.kind {
            Kind::File => FileKind::File,
            Kind::Folder => FileKind::Folder,
            Kind::Symlink => FileKind::Symlink,
            Kind::Other => FileKind::Other,
        },
        mode: entry.mode,
        size: found.size,
        digest: found.digest.as_ref().map(hexadecimal).unwrap_or_default(),
        link: found.link.map(|link| String::from_utf8_lossy(&link).into_owned()),
    }
}

fn hexadecimal(digest: &Short) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests;
