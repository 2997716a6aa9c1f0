//! The files that a report goes into: written whole or not at all, and found unwritable before the build, not after it.
//!
//! A report file is replaced by renaming a finished neighbour over it. GitHub's files are appended to, because other
//! commands of the same job step write to them too.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that is no file has this name; renaming over it would destroy it.
    #[error("cannot write `{}`: it exists and is no regular file", path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// The folder is missing, forbidden or full.
    #[error("cannot write `{}`", path.display())]
    Unwritable {
        /// The path as given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Unwritable { path: path.to_owned(), source }
    }
}

/// Checks that [`replace`] will find a place for its file. Leaves nothing behind.
pub fn check_writable(path: &Path) -> Result<(), Error> {
    neighbour(path).map(drop)
}

/// Puts these bytes under this name, all of them or none: readers see the old file or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = neighbour(path)?;
    file.write_all(bytes).map_err(Error::at(path))?;
    file.persist(path).map_err(|error| error.error).map_err(Error::at(path))?;
    Ok(())
}

/// Appends a text, on a line of its own even where the last writer left its line open.
pub fn append(path: &Path, text: &str) -> Result<(), Error> {
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).open(path).map_err(Error::at(path))?;
    let start = if ends_inside_a_line(&mut file).map_err(Error::at(path))? { "\n" } else { "" };
    file.write_all(format!("{start}{text}").as_bytes()).map_err(Error::at(path))
}

fn ends_inside_a_line(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// A new file in the same folder, so that the rename stays within one file system. It is readable for all that the umask
/// allows: GitLab's helper uploads artifacts as another user.
fn neighbour(path: &Path) -> Result<NamedTempFile, Error> {
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) || path.file_name().is_none() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new()
        .prefix(".layerlift-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(Error::at(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn replaces_whole_files_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        check_writable(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a check leaves nothing");
        replace(&path, b"a longer text").unwrap();
        replace(&path, b"short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_ne!(fs::metadata(&path).unwrap().permissions().mode() & 0o044, 0, "others can read it");
    }

    #[test]
    fn an_unwritable_path_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no/such/report.json");
        let error = check_writable(&missing).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write `{}`", missing.display()));
        let cases =
            [("a folder", folder.path()), ("a device", Path::new("/dev/null")), ("nothing", Path::new(""))];
        for (name, path) in cases {
            assert!(matches!(replace(path, b"x"), Err(Error::NotAFile { .. })), "{name}");
        }
    }

    #[test]
    fn appends_on_a_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        append(&path, "a=1\n").unwrap();
        append(&path, "b=2").unwrap();
        append(&path, "c=3\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a=1\nb=2\nc=3\n");
    }
}
