//! Bounded reads of the files that describe a pipeline: the event payload, and git's own.

use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;

/// Why a file that describes the pipeline was of no use. The build goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The CI system does not say where the file is.
    #[error("{variable} is not set")]
    Unset {
        /// The variable that should name the file.
        variable: &'static str,
    },
    /// It is not there, or must not be read.
    #[error("{} could not be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is a folder, a pipe or a device.
    #[error("{} is no regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It is larger than any real one.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What would have been read.
        limit: u64,
    },
    /// It is no JSON, or not of the form that GitHub documents.
    #[error("{} is no event payload", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why the parser stopped.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads a regular file of at most `limit` bytes. A pipe is refused before it is opened: it would wait for a writer.
pub(super) async fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    if !tokio::fs::metadata(path).await.map_err(unreadable)?.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).await.map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_up_to_the_limit_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event.json");
        std::fs::write(&path, b"12345678").unwrap();
        assert_eq!(read(&path, 8).await.unwrap(), b"12345678");
        assert!(matches!(read(&path, 7).await, Err(Error::TooLarge { limit: 7, .. })));
        assert!(matches!(read(folder.path(), 8).await, Err(Error::NotAFile { .. })));
        assert!(matches!(read(&folder.path().join("none"), 8).await, Err(Error::Unreadable { .. })));
    }
}
