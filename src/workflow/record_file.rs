//! The record of an earlier build, by whatever name a user has for it: a file, standard input, a branch, a ref, or no name
//! at all for the last build here.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cachefmt::build_record::{self, READ_LIMIT};
use crate::model::record::Record;
use crate::model::settings::Settings;
use crate::workflow::world::World;
use crate::workflow::{explain, facts};

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there, or may not be read.
    #[error("the record `{}` cannot be read", path.display())]
    Unreadable {
        /// The file; `-` for standard input.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("`{}` holds no record of a build: {reason}", path.display())]
    NoRecord {
        /// The file; `-` for standard input.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is none here, or none in the cache repo.
    #[error(transparent)]
    Unknown(Box<explain::Error>),
}

impl From<explain::Error> for Error {
    fn from(error: explain::Error) -> Self {
        Error::Unknown(Box::new(error))
    }
}

/// What tells other JSON of ours from a record.
#[derive(Deserialize)]
struct Head<'a> {
    /// Of what `--report` writes.
    exit_code: Option<i32>,
    /// Of what `explain --format json` prints; the newest comes first.
    #[serde(borrow)]
    records: Option<Vec<Listed<'a>>>,
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    record: &'a RawValue,
}

/// Finds the record that a word means: `-`, a file, or what `layerlift explain` takes. `None`: the last build here.
pub async fn find(world: &World, settings: &Settings, word: Option<&str>) -> Result<Arc<Record>, Error> {
    let Some(word) = word else { return Ok(explain::last(world)?.record) };
    let file = world.folder.join(word);
    // No branch, scope or ref of a record ends so.
    let is_file = || file.is_file() || Path::new(word).extension().is_some_and(|end| end == "json");
    if word == "-" {
        return Ok(Arc::new(read(Path::new(word), io::stdin().lock())?));
    } else if is_file() {
        return Ok(Arc::new(read(&file, io::empty())?));
    }
    let client = facts::registry(world, settings).map_err(explain::Error::from)?;
    let found = explain::of(world, settings, client, word).await?;
    // One that finds nothing is an error there.
    Ok(found.into_iter().next().ok_or(explain::Error::NothingHere)?.record)
}

/// Reads a record. `-` is standard input.
fn read(path: &Path, stdin: impl Read) -> Result<Record, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_path_buf(), source };
    let limit = READ_LIMIT as u64 + 1;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        stdin.take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(unreadable)?;
    parse(&bytes).map_err(|reason| Error::NoRecord { path: path.to_path_buf(), reason })
}

fn parse(bytes: &[u8]) -> Result<Record, String> {
    let head = if bytes.len() > READ_LIMIT { None } else { serde_json::from_slice::<Head<'_>>(bytes).ok() };
    let record = match &head {
        Some(Head { exit_code: Some(_), .. }) => return Err("it is what --report writes".to_owned()),
        Some(Head { records: Some(records), .. }) => match records.first() {
            Some(listed) => listed.record.get().as_bytes(),
            None => return Err("it is an empty list".to_owned()),
        },
        // It may be gzipped, and is judged there.
        _ => bytes,
    };
    build_record::decode(record).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_told() {
        let error = read(Path::new("/no/such"), io::empty()).expect_err("missing").to_string();
        assert_eq!(error, "the record `/no/such` cannot be read");
        let cases = [
            (r#"{"version":7}"#, "a record of another version of layerlift"),
            (r#"{"version":1,"exit_code":0}"#, "it is what --report writes"),
            (r#"{"version":1,"records":[]}"#, "it is an empty list"),
            (
                r#"{"version":1,"records":[{"record":{"version":7}}]}"#,
                "a record of another version of layerlift",
            ),
        ];
        for (text, reason) in cases {
            let error = read(Path::new("-"), text.as_bytes()).expect_err(text).to_string();
            assert!(error.starts_with("`-` holds no record of a build: "), "{error}");
            assert!(error.contains(reason), "{error}");
        }
        let endless = read(Path::new("-"), io::repeat(b' ')).expect_err("too large").to_string();
        assert!(endless.contains("bytes"), "{endless}");
        assert!(read(Path::new("-"), io::empty()).is_err());
    }
}
