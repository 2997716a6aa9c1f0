//! The records of the last builds on this machine, so that `layerlift explain` tells of a build that has just been, and so
//! that a prediction knows what the engine of a person's machine has in its own store.
//!
//! They lie in `$XDG_CACHE_HOME/layerlift/records`, in a folder for each working folder, in a file for each image; all of
//! it is the user's alone. Nothing here fails a build: what cannot be read is not there, what cannot be written is not kept.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::base::env::Environment;
use crate::cachefmt::build_record::{self, READ_LIMIT};
use crate::model::record::Record;
use crate::model::reference::Digest;
use crate::plan::explain::Recorded;

/// Images whose records are kept of one working folder.
const MOST: usize = 32;

/// Hexadecimal digits in the names of folders and files.
const DIGITS: usize = 16;

/// The records of one working folder.
#[derive(Debug, Clone)]
pub struct LastBuilds {
    folder: PathBuf,
}

impl LastBuilds {
    /// Those of a working folder; `None` where the user has no cache folder.
    pub fn of(environment: &Environment, working: &Path) -> Option<Self> {
        let whole = working.canonicalize().unwrap_or_else(|_| working.to_path_buf());
        let folder =
            environment.cache_folder()?.join("records").join(name(whole.as_os_str().as_encoded_bytes()));
        Some(LastBuilds { folder })
    }

    /// The last build of an image. `image`: its part of tags.
    pub fn read(&self, image: &str) -> Option<Recorded> {
        recorded(&self.folder.join(name(image.as_bytes())))
    }

    /// The last build of all.
    pub fn latest(&self) -> Option<Recorded> {
        let files = self.files();
        files.into_iter().rev().find_map(|(_, path)| recorded(&path))
    }

    /// Keeps the record of a build, and forgets the oldest ones of too many.
    pub fn write(&self, image: &str, record: &Record) -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        // Another job that reads at this moment has the old one or the new one.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&build_record::encode(record).0)?;
        file.persist(self.folder.join(name(image.as_bytes()))).map_err(|error| error.error)?;
        let files = self.files();
        let surplus = files.len().saturating_sub(MOST);
        files.iter().take(surplus).try_for_each(|(_, path)| std::fs::remove_file(path))
    }

    /// The files, the newest last.
    fn files(&self) -> Vec<(SystemTime, PathBuf)> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let is_record = |name: &str| name.len() == DIGITS && name.bytes().all(|it| it.is_ascii_hexdigit());
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .filter(|entry| entry.file_name().to_str().is_some_and(is_record))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        files
    }
}

fn recorded(path: &Path) -> Option<Recorded> {
    let mut bytes = Vec::new();
    let read = File::open(path).ok()?.take(READ_LIMIT as u64 + 1).read_to_end(&mut bytes).ok()?;
    let record = (read <= READ_LIMIT).then(|| build_record::decode(&bytes).ok()).flatten()?;
    let reference = "the last build here".to_owned();
    Some(Recorded { reference, scope: None, record: Arc::new(record) })
}

fn name(bytes: &[u8]) -> String {
    Digest::of(bytes).hex()[..DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::model::outcome::BuildStatus;
    use crate::model::record::RecordedEngine;

    fn record(strategy: &str) -> Record {
        Record {
            version: crate::model::record::VERSION,
            created: "2026-11-23T12:00:00Z".parse().unwrap(),
            layerlift: "0.1.0".to_owned(),
            engine: RecordedEngine { version: String::new(), buildkit: None, builder: String::new() },
            strategy: strategy.to_owned(),
            scope: None,
            commit: None,
            pipeline_url: None,
            status: BuildStatus::Failed,
            candidates: Vec::new(),
            cache_from: Vec::new(),
            cache_to: None,
            tags: Vec::new(),
            digest: None,
            traffic: crate::model::outcome::Traffic::default(),
            duration: 0.0,
            preparation: 0.0,
            cache_export: 0.0,
            stages: Vec::new(),
            inputs: None,
            explanation: None,
        }
    }

    #[test]
    fn the_latest_of_a_folder_is_kept_for_its_user_alone() {
        let home = tempfile::tempdir().unwrap();
        let home_folder = home.path().to_str().unwrap();
        let environment: Environment = [("HOME", home_folder)].into_iter().collect();
        let of = |folder: &str| LastBuilds::of(&environment, Path::new(folder)).unwrap();
        let here = of("/work/app");
        assert_eq!(here.latest(), None);
        for number in 0..MOST + 4 {
            here.write(&format!("image-{number}"), &record(&number.to_string())).unwrap();
        }
        assert_eq!(here.files().len(), MOST);
        let last = (MOST + 3).to_string();
        assert_eq!(here.read(&format!("image-{last}")).unwrap().record.strategy, last);
        assert_eq!(of("/work/other").latest(), None);
        assert!(here.folder.starts_with(home.path().join(".cache/layerlift/records")));
        for path in [here.folder.clone(), home.path().join(".cache/layerlift")] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
        }
        let (_, newest) = here.files().pop().unwrap();
        assert_eq!(newest.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_broken_is_not_there() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().to_str().unwrap();
        let environment: Environment = [("XDG_CACHE_HOME", cache)].into_iter().collect();
        let here = LastBuilds::of(&environment, Path::new("/work/app")).unwrap();
        here.write("app", &record("registry")).unwrap();
        let (_, path) = here.files().pop().unwrap();
        std::fs::write(&path, vec![b'x'; READ_LIMIT + 10]).unwrap();
        assert_eq!((here.read("app"), here.latest()), (None, None));
        assert!(LastBuilds::of(&Environment::default(), Path::new("/")).is_none());
    }
}
