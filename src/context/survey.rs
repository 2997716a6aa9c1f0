//! A folder that is to be a build context, looked at: what is in it, and which of its modes are not those that git records.

use std::io;
use std::path::{Path, PathBuf};

use crate::context::ignore::Ignore;
use crate::context::modes::{Difference, Tracked};
use crate::context::repository::{self, Repository};
use crate::context::walk::{self, Entry};

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// The folder, without symbolic links.
    pub root: PathBuf,
    /// The git repository that it belongs to.
    pub repository: Option<Repository>,
    /// What is in it.
    pub entries: Vec<Entry>,
    /// What git knows of that.
    pub tracked: Tracked,
    /// What has another mode than git records.
    pub differences: Vec<Difference>,
}

/// Why nothing is known of a folder's modes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{} cannot be looked through: {source}", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What git knows of it cannot be read.
    #[error(transparent)]
    Repository(#[from] repository::Error),
}

impl Survey {
    /// Looks at a folder. `kept`: what counts although the ignore file leaves it out.
    pub fn of(folder: &Path, ignore: &Ignore, kept: &[Vec<u8>]) -> Result<Self, Error> {
        let unreadable = |source| Error::Unreadable { path: folder.to_path_buf(), source };
        let root = folder.canonicalize().map_err(unreadable)?;
        let entries = walk::walk(&root, ignore, kept).map_err(unreadable)?;
        let repository = Repository::of(&root);
        let tracked = Tracked::read(&root, &entries, repository.as_ref())?;
        let differences = tracked.differences(&entries);
        Ok(Survey { root, repository, entries, tracked, differences })
    }

    /// The work tree that it belongs to; itself, where it belongs to none.
    pub fn base(&self) -> &Path {
        self.repository.as_ref().map_or(&self.root, |repository| &repository.root)
    }

    /// How many of its files and folders git tracks.
    pub fn tracked_entries(&self) -> usize {
        self.tracked.count(&self.entries)
    }
}
