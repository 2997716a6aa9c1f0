//! What lies in a folder: every entry that its ignore file does not leave out, with kind, mode and size.
//!
//! Nothing is opened but folders, and no symbolic link is followed. The order is that of a tree: a folder before what is in
//! it, names by their bytes.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::context::ignore::{Ignore, Matched};

/// More than any context that somebody waits for.
const MOST_ENTRIES: usize = 5_000_000;

/// Where shadows of contexts may stand (`shadow`), which are no part of any context.
pub(super) const OWN_FOLDER: &str = "layerlift";

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A pipe, a socket, a device.
    Other,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From the root, with `/` between its parts.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The twelve bits that `chmod` sets.
    pub mode: u32,
    /// In bytes, of a regular file; else 0.
    pub size: u64,
    /// A folder with a `.git` in it.
    pub holds_repository: bool,
}

impl Entry {
    /// The path, for the file system.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }
}

/// Lists what is below `root`. `kept`: paths that are listed although they are left out.
pub fn walk(root: &Path, ignore: &Ignore, kept: &[Vec<u8>]) -> io::Result<Vec<Entry>> {
    let mut found: Vec<(Entry, bool)> = Vec::new();
    // Folders that are still to be read: their place in the list, and what they matched.
    let mut open: Vec<(Option<usize>, Option<Matched>)> = vec![(None, None)];
    while let Some((place, above)) = open.pop() {
        let folder: Vec<u8> = place.map(|place| found[place].0.path.clone()).unwrap_or_default();
        let entries = match std::fs::read_dir(root.join(OsStr::from_bytes(&folder))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && place.is_some() => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let path = if folder.is_empty() {
                name.into_vec()
            } else {
                [folder.as_slice(), b"/", name.as_bytes()].concat()
            };
            if let Some(place) = place
                && path.ends_with(b"/.git")
            {
                found[place].0.holds_repository = true;
            }
            let verdict = ignore.verdict(&path, above.as_ref());
            let leads = kept.iter().any(|kept| is_below(kept, &path));
            let left_out = verdict.ignored && !kept.contains(&path);
            let of_ours = Path::new(OsStr::from_bytes(&path)).ends_with(Path::new(".git").join(OWN_FOLDER));
            if of_ours || left_out && !leads && ignore.ends_at(&path) {
                continue;
            }
            let metadata = match entry.metadata() {
                // What goes away while we look was not there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            let kind = kind(metadata.file_type());
            if left_out && kind != Kind::Folder {
                continue;
            }
            if found.len() == MOST_ENTRIES {
                return Err(io::Error::other("it holds more than five million files"));
            }
            if kind == Kind::Folder {
                open.push((Some(found.len()), Some(verdict.matched)));
            }
            let size = if kind == Kind::File { metadata.len() } else { 0 };
            let mode = metadata.mode() & 0o7777;
            found.push((Entry { path, kind, mode, size, holds_repository: false }, left_out));
        }
    }
    found.sort_unstable_by(|(one, _), (other, _)| in_tree_order(&one.path, &other.path));
    Ok(without_empty(found))
}

/// Takes out the folders that are left out and hold nothing that is not.
fn without_empty(found: Vec<(Entry, bool)>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::with_capacity(found.len());
    // From the end, what follows a folder in the list is the first entry in it.
    for (entry, left_out) in found.into_iter().rev() {
        if !left_out || entries.last().is_some_and(|next| is_below(&next.path, &entry.path)) {
            entries.push(entry);
        }
    }
    entries.reverse();
    entries
}

fn kind(kind: std::fs::FileType) -> Kind {
    if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Folder
    } else if kind.is_symlink() {
        Kind::Symlink
    } else {
        Kind::Other
    }
}

/// Whether a path lies in a folder.
pub(super) fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// No name has a zero byte, so that `/` in its place comes before everything.
pub(super) fn in_tree_order(one: &[u8], other: &[u8]) -> Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    one.iter().map(rank).cmp(other.iter().map(rank))
}

/// The path of something below a folder, as entries have it; `None` where it is not below.
pub fn relative(path: &Path, folder: &Path) -> Option<Vec<u8>> {
    let rest: PathBuf = path.strip_prefix(folder).ok()?.components().collect();
    Some(rest.into_os_string().into_vec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn make(paths: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in paths {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "12345").unwrap();
        }
        folder
    }

    fn listed(folder: &Path, ignore: &str, kept: &[&str]) -> Vec<String> {
        let kept: Vec<Vec<u8>> = kept.iter().map(|path| path.as_bytes().to_vec()).collect();
        let entries = walk(folder, &Ignore::read(ignore.as_bytes()).unwrap(), &kept).unwrap();
        entries.into_iter().map(|entry| String::from_utf8(entry.path).unwrap()).collect()
    }

    #[test]
    fn lists_what_is_not_left_out_in_the_order_of_a_tree() {
        let folder = make(&["a.txt", "a/b", "a/c/d", "node_modules/x/y", "Dockerfile", "sub/.git/HEAD"]);
        assert_eq!(
            listed(folder.path(), "node_modules", &[]),
            ["Dockerfile", "a", "a/b", "a/c", "a/c/d", "a.txt", "sub", "sub/.git", "sub/.git/HEAD"]
        );
        assert_eq!(listed(folder.path(), "*\n!a/c", &[]), ["a", "a/c", "a/c/d"]);
        assert_eq!(listed(folder.path(), "*", &["Dockerfile", "a/c/d"]), ["Dockerfile", "a", "a/c", "a/c/d"]);
        assert_eq!(listed(folder.path(), "*\n!no/such", &[]), [""; 0]);
        let entries = walk(folder.path(), &Ignore::read(b"**/.git").unwrap(), &[]).unwrap();
        let sub = entries.iter().find(|entry| entry.path == b"sub").unwrap();
        assert!(sub.holds_repository, "also where `.git` itself is left out");
    }

    #[test]
    fn tells_kind_mode_and_size_and_follows_no_link() {
        let folder = make(&["file", "folder/file"]);
        std::fs::set_permissions(folder.path().join("file"), PermissionsExt::from_mode(0o4711)).unwrap();
        std::os::unix::fs::symlink("folder", folder.path().join("link")).unwrap();
        std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let entries = walk(folder.path(), &Ignore::nothing(), &[]).unwrap();
        let found: Vec<(Kind, u64)> = entries.iter().map(|entry| (entry.kind, entry.size)).collect();
        assert_eq!(
            found,
            [(Kind::File, 5), (Kind::Folder, 0), (Kind::File, 5), (Kind::Symlink, 0), (Kind::Other, 0)]
        );
        assert_eq!(entries[0].mode, 0o4711);
    }

    #[test]
    fn what_layerlift_keeps_in_a_repository_is_passed_over() {
        let folder = make(&[".git/HEAD", ".git/layerlift/x/y", "layerlift/z"]);
        assert_eq!(listed(folder.path(), "", &[]), [".git", ".git/HEAD", "layerlift", "layerlift/z"]);
    }
}
