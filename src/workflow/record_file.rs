//! A build's record from a file or from standard input.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::record::{Record, VERSION};

/// More than any record that layerlift writes.
const LARGEST: u64 = 8 << 20;

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
}

/// What tells a record from the JSON that `--report` writes.
#[derive(Deserialize)]
struct Head {
    version: Option<u32>,
    exit_code: Option<i32>,
}

/// Reads a record. `-` is standard input.
pub fn read(path: &Path, stdin: impl Read) -> Result<Record, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        stdin.take(LARGEST + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
    };
    read.map_err(unreadable)?;
    parse(&bytes).map_err(|reason| Error::NoRecord { path: path.to_path_buf(), reason })
}

fn parse(bytes: &[u8]) -> Result<Record, String> {
    if bytes.len() as u64 > LARGEST {
        return Err("it is larger than 8 MiB".to_owned());
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match head {
        Head { exit_code: Some(_), .. } => Err("it is what --report writes".to_owned()),
        Head { version: Some(VERSION), .. } => {
            serde_json::from_slice(bytes).map_err(|error| error.to_string())
        }
        Head { version, .. } => Err(match version {
            Some(version) => format!("its version is {version}, and this layerlift reads {VERSION}"),
            None => "it has no version".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_told() {
        let no_more = &mut io::empty();
        let error = read(Path::new("/no/such"), &mut *no_more).expect_err("missing").to_string();
        assert_eq!(error, "the record `/no/such` cannot be read");
        let cases = [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{}", "it has no version"),
            (r#"{"version":7}"#, "its version is 7, and this layerlift reads 1"),
            (r#"{"version":1}"#, "missing field `created` at line 1 column 13"),
            (r#"{"version":1,"exit_code":0}"#, "it is what --report writes"),
        ];
        for (text, reason) in cases {
            let error = read(Path::new("-"), text.as_bytes()).expect_err(text).to_string();
            assert_eq!(error, format!("`-` holds no record of a build: {reason}"));
        }
        let endless = read(Path::new("-"), io::repeat(b' ')).expect_err("too large").to_string();
        assert!(endless.ends_with("it is larger than 8 MiB"), "{endless}");
    }
}
