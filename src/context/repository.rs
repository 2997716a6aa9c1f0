//! The git repository that a folder belongs to, as far as the modes of tracked files need it. Only files are read: a CI
//! job's image has no git, and a program that reads a stranger's `.git/config` can be made to run theirs.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::context::git_index;

/// `HEAD`, `.git`, `commondir` and the configuration are short.
const LARGEST_TEXT: u64 = 1 << 20;

/// Five million files and their names.
const LARGEST_INDEX: u64 = 1 << 30;

/// A work tree and where git keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The work tree's root.
    pub root: PathBuf,
    /// This work tree's own folder: `HEAD`, `index`.
    pub folder: PathBuf,
    /// Bytes of an object's name.
    hash: usize,
    /// Whether an executable bit in the work tree means anything: `core.fileMode`.
    pub trusts_modes: bool,
}

/// Why a repository is not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its index is none that is known.
    #[error("{}: {reason}", path.display())]
    Index {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        reason: git_index::Error,
    },
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Repository {
    /// The repository that holds a folder; `None` outside of any. `folder`: without symbolic links.
    pub fn of(folder: &Path) -> Option<Self> {
        folder.ancestors().find_map(Repository::at)
    }

    /// The repository whose work tree begins at this folder.
    pub fn at(root: &Path) -> Option<Self> {
        let dot_git = root.join(".git");
        let folder = match text(&dot_git) {
            // Work trees and submodules have a file that points to the folder.
            Some(line) => root.join(line.lines().next()?.strip_prefix("gitdir:")?.trim()),
            None => dot_git,
        };
        // Git, too, ignores anything else named `.git`.
        text(&folder.join("HEAD"))?;
        let shared = match text(&folder.join("commondir")) {
            Some(path) => folder.join(path.trim_end()),
            None => folder.clone(),
        };
        let config = text(&shared.join("config")).unwrap_or_default();
        let is_sha256 = setting(&config, "extensions", "objectformat").is_some_and(|name| name == "sha256");
        let no = ["false", "no", "off", "0"];
        let trusts_modes = !setting(&config, "core", "filemode").is_some_and(|value| no.contains(&&*value));
        Some(Repository {
            root: root.to_owned(),
            folder,
            hash: if is_sha256 { 32 } else { 20 },
            trusts_modes,
        })
    }

    /// The tracked paths. None before anything was added.
    pub fn tracked(&self) -> Result<Vec<git_index::Entry>, Error> {
        let path = self.folder.join("index");
        match read(&path, LARGEST_INDEX) {
            Ok(bytes) => git_index::read(&bytes, self.hash).map_err(|reason| Error::Index { path, reason }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(Error::Unreadable { path, source }),
        }
    }

    /// Whether it belongs to the user that we are: git itself then reads its configuration.
    pub fn is_ours(&self) -> bool {
        let own = rustix::process::geteuid().as_raw();
        [&self.root, &self.folder].into_iter().all(|path| path.metadata().is_ok_and(|it| it.uid() == own))
    }
}

fn read(path: &Path, largest: u64) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.take(largest + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > largest {
        true => Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is too large")),
        false => Ok(bytes),
    }
}

fn text(path: &Path) -> Option<String> {
    // A pipe or a device of that name would be waited for.
    path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    String::from_utf8(read(path, LARGEST_TEXT).ok()?).ok()
}

/// A value of git's configuration, in lower case; the last one stands. A key alone is true.
fn setting(config: &str, section: &str, key: &str) -> Option<String> {
    let mut inside = false;
    let mut found = None;
    for line in config.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            inside = name.split(']').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(section));
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or((line, "true"));
        if inside && name.trim().eq_ignore_ascii_case(key) {
            let value = value.split(['#', ';']).next().unwrap_or_default().trim().trim_matches('"');
            found = Some(value.to_ascii_lowercase());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::samples::git;

    async fn repository(folder: &Path, format: &str) {
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        git(folder, &["init", "-q", &format!("--object-format={format}")]).await;
        std::fs::write(folder.join("sub/file"), "").unwrap();
        git(folder, &["add", "."]).await;
        git(folder, &["commit", "-q", "-m", "first"]).await;
    }

    fn paths(repository: &Repository) -> Vec<String> {
        let entries = repository.tracked().unwrap();
        entries.into_iter().map(|entry| String::from_utf8(entry.path).unwrap()).collect()
    }

    #[tokio::test]
    async fn is_found_from_below_and_read_in_both_object_formats() {
        for format in ["sha1", "sha256"] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().canonicalize().unwrap();
            repository(&root, format).await;
            let found = Repository::of(&root.join("sub")).unwrap();
            assert_eq!((&found.root, found.trusts_modes), (&root, true));
            assert_eq!(paths(&found), ["sub/file"], "{format}");
            git(&root, &["config", "core.fileMode", "false"]).await;
            assert!(!Repository::at(&root).unwrap().trusts_modes);
            std::fs::write(root.join(".git/index"), "DIRC").unwrap();
            assert!(found.tracked().unwrap_err().to_string().contains("index: the git index is damaged"));
            std::fs::remove_file(root.join(".git/index")).unwrap();
            assert_eq!(paths(&found), [""; 0]);
        }
    }

    #[tokio::test]
    async fn work_trees_and_submodules_have_an_index_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let (inner, outer, tree) = (base.join("inner"), base.join("outer"), base.join("tree"));
        repository(&inner, "sha1").await;
        repository(&outer, "sha1").await;
        git(&outer, &["submodule", "--quiet", "add", inner.to_str().unwrap(), "module"]).await;
        let module = Repository::of(&outer.join("module/sub")).unwrap();
        assert_eq!(module.root, outer.join("module"));
        assert_eq!(paths(&module), ["sub/file"]);
        assert_eq!(paths(&Repository::at(&outer).unwrap()), [".gitmodules", "module", "sub/file"]);
        git(&inner, &["worktree", "add", "-q", tree.to_str().unwrap()]).await;
        assert_eq!(paths(&Repository::at(&tree).unwrap()), ["sub/file"]);
    }

    #[test]
    fn what_is_no_repository_is_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        assert_eq!(Repository::at(folder.path()), None, "no head");
        std::fs::remove_dir(folder.path().join(".git")).unwrap();
        std::fs::write(folder.path().join(".git"), "gitdir: /nowhere\n").unwrap();
        assert_eq!(Repository::at(folder.path()), None);
    }

    #[test]
    fn configuration() {
        let config = "[core]\n\tFileMode = FALSE ; no\n[other]\nfilemode = true\n[extensions]\n\tobjectFormat = sha256\n";
        assert_eq!(setting(config, "core", "filemode").as_deref(), Some("false"));
        assert_eq!(setting(config, "extensions", "objectformat").as_deref(), Some("sha256"));
        assert_eq!(setting("[core]\nfilemode\n", "core", "filemode").as_deref(), Some("true"));
        assert_eq!(setting(config, "core", "bare"), None);
    }
}
