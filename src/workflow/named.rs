//! The Dockerfile with names, on disk for as long as the builds that need it.
//!
//! A Dockerfile takes `<its name>.dockerignore` with it, so that one is copied under the new name. Nothing of the user's
//! folder is touched.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::workflow::source::Source;

/// A Dockerfile of ours; it is deleted with this value.
#[derive(Debug)]
pub struct NamedDockerfile {
    folder: TempDir,
    /// Its name in there, which messages of the engine have.
    name: OsString,
}

impl NamedDockerfile {
    /// Writes it. `source`: the Dockerfile that it stands in for.
    pub fn write(text: &[u8], source: &Source) -> io::Result<Self> {
        let name = Path::new(&source.name).file_name().unwrap_or("Dockerfile".as_ref()).to_owned();
        let named =
            NamedDockerfile { folder: tempfile::Builder::new().prefix("layerlift-").tempdir()?, name };
        std::fs::write(named.path(), text)?;
        let ignore_file = |mut path: OsString| {
            path.push(".dockerignore");
            path
        };
        match std::fs::copy(ignore_file((&source.name).into()), ignore_file(named.path().into())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(named),
        }
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::source::Text;

    #[test]
    fn its_dockerignore_comes_with_it() {
        let own = tempfile::tempdir().expect("folder");
        let name = own.path().join("app.Dockerfile").to_string_lossy().into_owned();
        let source = Source { dockerfile: Text::Known(Vec::new()), name, in_archive: false, spooled: None };
        let ignore = |named: &NamedDockerfile| {
            std::fs::read_to_string(format!("{}.dockerignore", named.path().display())).ok()
        };
        let bare = NamedDockerfile::write(b"FROM a AS stage-0\n", &source).expect("written");
        assert_eq!(std::fs::read(bare.path()).expect("read"), b"FROM a AS stage-0\n");
        assert_eq!(ignore(&bare), None);
        std::fs::write(own.path().join("app.Dockerfile.dockerignore"), "secret\n").expect("written");
        let named = NamedDockerfile::write(b"", &source).expect("written");
        assert_eq!(ignore(&named).as_deref(), Some("secret\n"));
        let path = named.path();
        drop(named);
        assert!(!path.exists());
    }
}
