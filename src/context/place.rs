//! A private folder with a name that comes again, so that an engine that lives on knows the context in it from the last
//! build and is sent the changes only.
//!
//! Whoever has it locks it; one that is locked, or that is not ours alone, is left to its owner, and a name is taken that
//! nobody can know. What a killed process left in it is removed by the next.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The folder. It is deleted with this value.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// The folder around it is ours as well, and goes when it is empty.
    parent: Option<PathBuf>,
    /// Holds the lock.
    _lock: Option<File>,
}

impl Place {
    /// Takes a folder of that name in `parent`; `made`: `parent` was made for such folders.
    pub fn claim(parent: &Path, name: &str, made: bool) -> io::Result<Self> {
        let parent_of_ours = made.then(|| parent.to_path_buf());
        let path = parent.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if let Some(lock) = lock(&path) {
            let place = Place { path, parent: parent_of_ours, _lock: Some(lock) };
            for entry in std::fs::read_dir(&place.path)? {
                remove(&entry?.path())?;
            }
            return Ok(place);
        }
        let path = tempfile::Builder::new().prefix("layerlift-").tempdir_in(parent)?.keep();
        Ok(Place { path, parent: parent_of_ours, _lock: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Locks a folder that is ours alone; `None` where it is not, or somebody else has it.
fn lock(path: &Path) -> Option<File> {
    let found = path.symlink_metadata().ok()?;
    let own = rustix::process::geteuid().as_raw();
    if !found.is_dir() || found.uid() != own || found.mode() & 0o077 != 0 {
        return None;
    }
    let folder = File::open(path).ok()?;
    folder.try_lock().ok()?;
    // Between opening and locking, its owner may have deleted it.
    let (opened, now) = (folder.metadata().ok()?, path.symlink_metadata().ok()?);
    ((opened.dev(), opened.ino()) == (now.dev(), now.ino())).then_some(folder)
}

/// Deletes a file, or a folder with all that is in it, also where folders in it may not be written.
fn remove(path: &Path) -> io::Result<()> {
    if !path.symlink_metadata()?.is_dir() {
        return std::fs::remove_file(path);
    }
    if std::fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    let mut open = vec![path.to_path_buf()];
    while let Some(folder) = open.pop() {
        std::fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    std::fs::remove_dir_all(path)
}

impl Drop for Place {
    fn drop(&mut self) {
        // A remainder costs space; the next build of this context removes it.
        let _ = remove(&self.path);
        if let Some(parent) = &self.parent {
            let _ = std::fs::remove_dir(parent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_comes_again_unless_somebody_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let parent = folder.path().join("parent");
        std::fs::create_dir(&parent).unwrap();
        let first = Place::claim(&parent, "x", true).unwrap();
        assert_eq!(first.path(), parent.join("x"));
        let second = Place::claim(&parent, "x", true).unwrap();
        assert_ne!(second.path(), first.path());
        let path = second.path().to_path_buf();
        drop(second);
        assert!(!path.exists() && first.path().exists());
        drop(first);
        assert!(!parent.exists(), "made for it, and empty");
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let stale = folder.path().join("x");
        DirBuilder::new().mode(0o700).create(&stale).unwrap();
        std::fs::create_dir_all(stale.join("a/b")).unwrap();
        std::fs::write(stale.join("a/b/c"), "").unwrap();
        std::fs::set_permissions(stale.join("a"), Permissions::from_mode(0o500)).unwrap();
        let place = Place::claim(folder.path(), "x", false).unwrap();
        assert_eq!(place.path(), stale);
        assert_eq!(std::fs::read_dir(&stale).unwrap().count(), 0);
    }

    #[test]
    fn what_others_could_have_made_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("open")).unwrap();
        std::fs::set_permissions(folder.path().join("open"), Permissions::from_mode(0o777)).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
        for name in ["open", "link"] {
            let place = Place::claim(folder.path(), name, false).unwrap();
            assert_ne!(place.path(), folder.path().join(name));
        }
        assert!(folder.path().join("open").exists() && folder.path().join("link").exists());
    }
}
