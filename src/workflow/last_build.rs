//! The records of the last builds on this machine, so that `layerlift explain` tells of a build that has just been, and so
//! that a prediction knows what the engine of a person's machine has in its own store.
//!
//! They lie in `$XDG_CACHE_HOME/layerlift/records`, in a folder for each working folder, in a file for each image; all of
//! it is the user's alone. Nothing here fails a build: what cannot be read is not there, what cannot be written is not kept.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::base::env::Environment;
use crate::cachefmt::build_record::{self, READ_LIMIT};
use crate::model::record::Record;
use crate::model::reference::Digest;
use crate::model::reuse::AnsweredBuild;
use crate::plan::explain::Recorded;

/// Images whose records are kept of one working folder.
const MOST: usize = 32;

/// Hexadecimal digits in the names of folders and files.
const DIGITS: usize = 16;

/// The file of the builds that images answered last.
const ANSWERED: &str = "answered";

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
        files(&self.folder).into_iter().rev().find_map(|(_, path)| recorded(&path))
    }

    /// The builds of the last run, where images answered them; none where an engine has built since.
    pub fn answered(&self) -> Vec<AnsweredBuild> {
        let changed = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        let path = self.folder.join(ANSWERED);
        let built = files(&self.folder).pop().map(|(time, _)| time);
        match changed(&path) {
            Some(time) if built.is_none_or(|built| built <= time) => {}
            _ => return Vec::new(),
        }
        bounded(&path).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Remembers that images answered the builds of a run.
    pub fn write_answered(&self, builds: &[AnsweredBuild]) -> std::io::Result<()> {
        self.replace(ANSWERED, &serde_json::to_vec(builds)?)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        replace(&self.folder.join(name), bytes, 0o600)
    }

    /// Keeps the record of a build, and forgets the oldest ones of too many.
    pub fn write(&self, image: &str, record: &Record) -> std::io::Result<()> {
        self.replace(&name(image.as_bytes()), &build_record::encode(record).0)?;
        forget_oldest(&self.folder, MOST)
    }
}

/// The files of a folder that are called by a [`name`], the newest last, with the times of their last change.
pub(super) fn files(folder: &Path) -> Vec<(SystemTime, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_named = |name: &str| name.len() == DIGITS && name.bytes().all(|it| it.is_ascii_hexdigit());
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_named))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    files
}

/// Deletes the oldest files of more than `most`.
pub(super) fn forget_oldest(folder: &Path, most: usize) -> std::io::Result<()> {
    let files = files(folder);
    let surplus = files.len().saturating_sub(most);
    files.iter().take(surplus).try_for_each(|(_, path)| std::fs::remove_file(path))
}

/// What a file holds; `None` where that is more than a record may be.
fn bounded(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).ok()?.take(READ_LIMIT as u64 + 1).read_to_end(&mut bytes).ok()?;
    (read <= READ_LIMIT).then_some(bytes)
}

/// Reads the record in a file; `None` where there is none that can be used.
pub(super) fn read_file(path: &Path) -> Option<Record> {
    build_record::decode(&bounded(path)?).ok()
}

/// Writes a record to a file with a mode, whose folder is there.
pub(super) fn write_file(path: &Path, record: &Record, mode: u32) -> std::io::Result<()> {
    replace(path, &build_record::encode(record).0, mode)
}

/// Puts a file in the place of another. Another job that reads at this moment has the old one or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.permissions(Permissions::from_mode(mode));
    let mut file = builder.tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

fn recorded(path: &Path) -> Option<Recorded> {
    let record = read_file(path)?;
    let reference = "the last build here".to_owned();
    Some(Recorded { reference, scope: None, record: Arc::new(record) })
}

/// What a file is called that stands for something.
pub(super) fn name(bytes: &[u8]) -> String {
    Digest::of(bytes).hex()[..DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reuse::Reused;

    fn record(strategy: &str) -> Record {
        Record { strategy: strategy.to_owned(), ..Record::sample() }
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
        assert_eq!(files(&here.folder).len(), MOST);
        let last = (MOST + 3).to_string();
        assert_eq!(here.read(&format!("image-{last}")).unwrap().record.strategy, last);
        assert_eq!(of("/work/other").latest(), None);
        assert!(here.folder.starts_with(home.path().join(".cache/layerlift/records")));
        for path in [here.folder.clone(), home.path().join(".cache/layerlift")] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
        }
        let (_, newest) = files(&here.folder).pop().unwrap();
        assert_eq!(newest.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_answer_is_told_until_an_engine_builds_again() {
        let home = tempfile::tempdir().unwrap();
        let environment: Environment = [("HOME", home.path().to_str().unwrap())].into_iter().collect();
        let here = LastBuilds::of(&environment, Path::new("/work/app")).unwrap();
        let image = Reused {
            reference: "r.io/app/cache:branch-main--image-0".to_owned(),
            digest: "sha256:0".to_owned(),
            scope: "branch-main".to_owned(),
            created: Some("2026-11-23T12:00:00Z".parse().unwrap()),
            age: Some(std::time::Duration::from_secs(61)),
            commit: None,
            pipeline_url: None,
        };
        let at = "2026-11-23T12:01:01Z".parse().unwrap();
        let answered = [AnsweredBuild { at, tags: vec!["r.io/app:1".to_owned()], image }];
        assert_eq!(here.answered(), []);
        here.write("app", &record("registry")).unwrap();
        here.write_answered(&answered).unwrap();
        assert_eq!(here.answered(), answered);
        assert_eq!(files(&here.folder).len(), 1, "it is no record");
        // A file system may know no times that are closer together.
        let written = here.folder.join(ANSWERED).metadata().unwrap().modified().unwrap();
        let later = written + std::time::Duration::from_secs(10);
        let (_, newest) = files(&here.folder).pop().unwrap();
        File::open(newest).unwrap().set_modified(later).unwrap();
        assert_eq!(here.answered(), []);
        std::fs::write(here.folder.join(ANSWERED), "[{").unwrap();
        File::open(here.folder.join(ANSWERED)).unwrap().set_modified(later).unwrap();
        assert_eq!(here.answered(), []);
    }

    #[test]
    fn what_is_broken_is_not_there() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().to_str().unwrap();
        let environment: Environment = [("XDG_CACHE_HOME", cache)].into_iter().collect();
        let here = LastBuilds::of(&environment, Path::new("/work/app")).unwrap();
        here.write("app", &record("registry")).unwrap();
        let (_, path) = files(&here.folder).pop().unwrap();
        std::fs::write(&path, vec![b'x'; READ_LIMIT + 10]).unwrap();
        assert_eq!((here.read("app"), here.latest()), (None, None));
        assert!(LastBuilds::of(&Environment::default(), Path::new("/")).is_none());
    }
}
