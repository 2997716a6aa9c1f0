//! The Dockerfile's text, wherever it comes from, and standard input kept in a file where the build reads it.
//!
//! A build may be run more than once (a second try, stage images), but standard input comes once: it is spooled. What
//! cannot be looked at (a git address, an unknown archive) makes the Dockerfile unknown, which is no error: the engine
//! reads it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tempfile::NamedTempFile;

use crate::model::request::{Context, Request};

/// BuildKit's own limit for a Dockerfile is 4 MiB minus what gRPC needs; ours is below it.
const LARGEST_DOCKERFILE: u64 = 2 << 20;

/// Entries of an archive that are looked at for the Dockerfile.
const MOST_ENTRIES: usize = 200_000;

/// What was read.
#[derive(Debug)]
pub struct Source {
    /// The text.
    pub dockerfile: Text,
    /// Where it stands, for messages and for the cache key: `docker/Dockerfile`, `-`.
    pub name: String,
    /// Whether it is part of an archive, so that no other can stand in for it.
    pub in_archive: bool,
    /// Standard input, where the build reads it.
    pub spooled: Option<NamedTempFile>,
}

/// A Dockerfile's text, or why it is not known.
#[derive(Debug)]
pub enum Text {
    /// The bytes.
    Known(Vec<u8>),
    /// It cannot be looked at from here.
    Unknown(String),
}

/// Why there is nothing to build.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The context is no folder.
    #[error("the build context `{}` is not a folder that can be read", path.display())]
    NoContext {
        /// As given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no Dockerfile.
    #[error("there is no Dockerfile at `{}`", path.display())]
    NoDockerfile {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Larger than any Dockerfile.
    #[error("the Dockerfile `{name}` is larger than 2 MiB")]
    TooLarge {
        /// Its name.
        name: String,
    },
    /// Standard input broke off, or could not be kept.
    #[error("standard input could not be read")]
    Stdin(#[source] io::Error),
    /// Both the context and the Dockerfile are to come from standard input.
    #[error("the context and the Dockerfile cannot both come from standard input")]
    TwoStdins,
}

/// Reads what the request names. `stdin`: our own standard input.
pub fn read(request: &Request, stdin: impl Read) -> Result<Source, Error> {
    let file = request.last("file");
    match (&request.context, file) {
        (Context::Stdin, Some("-")) => Err(Error::TwoStdins),
        (Context::Stdin, file) => of_stdin(stdin, file),
        (_, Some("-")) => {
            let spooled = spool(stdin)?;
            let text = bounded("-", spooled.reopen().map_err(Error::Stdin)?)?;
            Ok(Source {
                dockerfile: Text::Known(text),
                name: "-".to_owned(),
                in_archive: false,
                spooled: Some(spooled),
            })
        }
        (Context::Remote(address), _) => Ok(Source {
            dockerfile: Text::Unknown(format!(
                "it is at {}, which the engine fetches",
                without_userinfo(address)
            )),
            name: file.unwrap_or("Dockerfile").to_owned(),
            in_archive: false,
            spooled: None,
        }),
        (Context::Folder(folder), file) => of_folder(folder, file),
    }
}

fn of_folder(folder: &Path, file: Option<&str>) -> Result<Source, Error> {
    std::fs::read_dir(folder).map_err(|source| Error::NoContext { path: folder.to_path_buf(), source })?;
    if let Some(address) = file.filter(|file| file.starts_with("http://") || file.starts_with("https://")) {
        let reason = format!("it is at {}, which the engine fetches", without_userinfo(address));
        return Ok(Source {
            dockerfile: Text::Unknown(reason),
            name: address.to_owned(),
            in_archive: false,
            spooled: None,
        });
    }
    // `-f` counts from the working folder; the default name is looked for in the context, in BuildKit's two spellings.
    let (path, opened) = match file {
        Some(file) => (PathBuf::from(file), File::open(file)),
        None => {
            let path = folder.join("Dockerfile");
            match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let lower = folder.join("dockerfile");
                    match File::open(&lower) {
                        Ok(file) => (lower, Ok(file)),
                        Err(_) => (path, Err(error)),
                    }
                }
                opened => (path, opened),
            }
        }
    };
    let opened = opened.and_then(|file| match file.metadata()?.is_dir() {
        true => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
        false => Ok(file),
    });
    let opened = opened.map_err(|source| Error::NoDockerfile { path: path.clone(), source })?;
    let name = path.to_string_lossy().into_owned();
    Ok(Source { dockerfile: Text::Known(bounded(&name, opened)?), name, in_archive: false, spooled: None })
}

fn of_stdin(stdin: impl Read, file: Option<&str>) -> Result<Source, Error> {
    let spooled = spool(stdin)?;
    let mut reader = spooled.reopen().map_err(Error::Stdin)?;
    let mut start = [0; 512];
    let mut read = 0;
    while read < start.len() {
        match reader.read(&mut start[read..]).map_err(Error::Stdin)? {
            0 => break,
            more => read += more,
        }
    }
    reader.seek(SeekFrom::Start(0)).map_err(Error::Stdin)?;
    let name = file.unwrap_or("Dockerfile");
    let unknown = |what: &str| Ok(Text::Unknown(format!("it is in {what} on standard input")));
    let packed = archive(&start[..read]);
    let is_packed = packed.is_some();
    let dockerfile = match packed {
        None => bounded("-", reader).map(Text::Known),
        Some(Archive::Tar) => in_archive(reader, name),
        Some(Archive::Gzip) => in_archive(MultiGzDecoder::new(reader), name),
        Some(Archive::Other(what)) => unknown(what),
    }?;
    Ok(Source { dockerfile, name: name.to_owned(), in_archive: is_packed, spooled: Some(spooled) })
}

enum Archive {
    Tar,
    Gzip,
    Other(&'static str),
}

/// Recognises archives by their first bytes, as docker does (moby `pkg/archive`); `None` is a bare Dockerfile.
fn archive(start: &[u8]) -> Option<Archive> {
    match start {
        [0x1f, 0x8b, ..] => Some(Archive::Gzip),
        [b'B', b'Z', b'h', ..] => Some(Archive::Other("a bzip2 archive")),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Archive::Other("an xz archive")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Archive::Other("a zstd archive")),
        _ if start.get(257..262) == Some(b"ustar") => Some(Archive::Tar),
        _ => None,
    }
}

fn in_archive(reader: impl Read, name: &str) -> Result<Text, Error> {
    let wanted = Path::new(name);
    let mut archive = tar::Archive::new(reader);
    let entries = archive.entries().map_err(Error::Stdin)?;
    for entry in entries.take(MOST_ENTRIES) {
        // A broken archive is the engine's to complain about.
        let Ok(mut entry) = entry else { break };
        let matches = entry.path().is_ok_and(|path| path.strip_prefix(".").unwrap_or(&path) == wanted);
        if matches && entry.header().entry_type().is_file() {
            return bounded(name, &mut entry).map(Text::Known);
        }
    }
    Ok(Text::Unknown(format!("`{name}` was not found in the archive on standard input")))
}

fn spool(mut stdin: impl Read) -> Result<NamedTempFile, Error> {
    let mut file = tempfile::Builder::new().prefix("layerlift-").tempfile().map_err(Error::Stdin)?;
    io::copy(&mut stdin, &mut file).map_err(Error::Stdin)?;
    Ok(file)
}

fn bounded(name: &str, reader: impl Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    reader
        .take(LARGEST_DOCKERFILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::NoDockerfile { path: PathBuf::from(name), source })?;
    if bytes.len() as u64 > LARGEST_DOCKERFILE {
        return Err(Error::TooLarge { name: name.to_owned() });
    }
    Ok(bytes)
}

/// An address may hold a token: `https://token@host/...`.
fn without_userinfo(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let host = rest[..end].rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", &rest[end..])
        }
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::Flag;

    fn request(context: Context, file: Option<&str>) -> Request {
        Request { flags: file.map(|file| Flag::text("file", file)).into_iter().collect(), context }
    }

    fn text(source: &Source) -> &str {
        match &source.dockerfile {
            Text::Known(bytes) => std::str::from_utf8(bytes).expect("text"),
            Text::Unknown(reason) => reason,
        }
    }

    #[test]
    fn reads_from_a_folder_in_both_spellings() {
        let folder = tempfile::tempdir().expect("folder");
        let context = Context::Folder(folder.path().to_path_buf());
        let error = read(&request(context.clone(), None), io::empty()).expect_err("none there");
        assert!(error.to_string().ends_with("/Dockerfile`"), "{error}");
        std::fs::write(folder.path().join("dockerfile"), "FROM scratch\n").expect("written");
        assert_eq!(text(&read(&request(context, None), io::empty()).expect("read")), "FROM scratch\n");
    }

    #[test]
    fn reads_from_standard_input() {
        let bare = read(&request(Context::Stdin, None), &b"FROM a\n"[..]).expect("read");
        assert_eq!(text(&bare), "FROM a\n");
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in [("x", "1"), ("./sub/Dockerfile", "FROM sub\n"), ("Dockerfile", "FROM b\n")] {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, content.as_bytes()).expect("appended");
        }
        let archive = builder.into_inner().expect("finished");
        let source = read(&request(Context::Stdin, None), archive.as_slice()).expect("read");
        assert_eq!(text(&source), "FROM b\n");
        assert_eq!(
            source.spooled.expect("kept").as_file().metadata().expect("there").len(),
            archive.len() as u64
        );
        let source =
            read(&request(Context::Stdin, Some("sub/Dockerfile")), archive.as_slice()).expect("read");
        assert_eq!(text(&source), "FROM sub\n");
        let source = read(&request(Context::Folder(".".into()), Some("-")), &b"FROM c\n"[..]).expect("read");
        assert_eq!((text(&source), source.spooled.is_some()), ("FROM c\n", true));
    }

    #[test]
    fn addresses_are_shown_without_their_token() {
        let source =
            read(&request(Context::Remote("https://tok@host/a.git".into()), None), io::empty()).expect("ok");
        assert_eq!(text(&source), "it is at https://host/a.git, which the engine fetches");
    }

    #[test]
    fn a_missing_context_is_named() {
        let error =
            read(&request(Context::Folder("/no/such".into()), None), io::empty()).expect_err("missing");
        assert_eq!(error.to_string(), "the build context `/no/such` is not a folder that can be read");
    }
}
