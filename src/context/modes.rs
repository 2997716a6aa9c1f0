//! Which mode a tracked file or folder should have: the one that git records, whatever the umask of the checkout.
//!
//! The rule, for a file that git tracks as a regular one: 0755 where git records it as executable, or where its owner may
//! execute it here, so that a `chmod +x` of the job is kept; else 0644. Folders with something tracked in them: 0755. Three
//! things are left as they are, because somebody wanted them so:
//!
//! - files with a setuid or setgid bit, and folders with a sticky bit: no umask makes them;
//! - what others may not read, where they may read most of the tracked files: it was closed on purpose, a key say;
//! - the root folder, whose mode is no part of a context.
//!
//! Where git was told not to trust the file system's modes (`core.fileMode=false`) and every tracked file is executable, as
//! on a share that knows no such bit, the bit means nothing and git's record alone counts.

use std::collections::HashMap;
use std::path::Path;

use crate::context::git_index;
use crate::context::repository::{Error, Repository};
use crate::context::walk::{self, Entry, Kind};

/// What git knows of the entries of a folder.
#[derive(Debug, Default)]
pub struct Tracked {
    /// Of every tracked path: its mode, and the repository's number.
    files: HashMap<Vec<u8>, (git_index::Mode, usize)>,
    /// Of every folder with something tracked in it: the repository's number.
    folders: HashMap<Vec<u8>, usize>,
    /// Of every repository: whether it trusts the file system's modes.
    trusts: Vec<bool>,
}

/// What the entries of one repository have in common.
#[derive(Debug, Clone, Copy, Default)]
struct Common {
    files: usize,
    executable: usize,
    closed: usize,
}

/// A mode that is another than git's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// The entry's place in the list.
    pub entry: usize,
    /// The mode that it should have.
    pub mode: u32,
}

impl Tracked {
    /// Reads the indexes of the repositories that the entries of `root` belong to: the one around it, and those in it.
    pub fn read(root: &Path, entries: &[Entry], around: Option<&Repository>) -> Result<Self, Error> {
        let mut tracked = Tracked::default();
        if let Some(repository) = around {
            // What is not below the root is no part of it.
            let above = walk::relative(root, &repository.root).unwrap_or_default();
            tracked.add(repository, None, |path| match above.is_empty() {
                true => Some(path),
                false => walk::is_below(&path, &above).then(|| path[above.len() + 1..].to_vec()),
            })?;
        }
        for entry in entries.iter().filter(|entry| entry.holds_repository) {
            if let Some(repository) = Repository::at(&root.join(entry.path())) {
                let inside = |path: Vec<u8>| Some([&entry.path, b"/".as_slice(), &path].concat());
                tracked.add(&repository, Some(&entry.path), inside)?;
            }
        }
        Ok(tracked)
    }

    /// `top`: where the work tree begins, if that is below the root.
    fn add(
        &mut self,
        repository: &Repository,
        top: Option<&[u8]>,
        place: impl Fn(Vec<u8>) -> Option<Vec<u8>>,
    ) -> Result<(), Error> {
        let number = self.trusts.len();
        self.trusts.push(repository.trusts_modes);
        for entry in repository.tracked()? {
            let Some(path) = place(entry.path) else { continue };
            let mut folder = path.as_slice();
            while let Some(end) = folder.iter().rposition(|byte| *byte == b'/') {
                folder = &folder[..end];
                let was = self.folders.insert(folder.to_vec(), number);
                if was == Some(number) || Some(folder) == top {
                    break;
                }
            }
            if entry.mode == git_index::Mode::Submodule {
                self.folders.insert(path, number);
            } else {
                self.files.insert(path, (entry.mode, number));
            }
        }
        Ok(())
    }

    /// Whether git tracks a file.
    pub fn has(&self, path: &[u8]) -> bool {
        self.files.contains_key(path)
    }

    /// How many of the entries git tracks, folders included.
    pub fn count(&self, entries: &[Entry]) -> usize {
        let known = |entry: &&Entry| self.has(&entry.path) || self.folders.contains_key(&entry.path);
        entries.iter().filter(known).count()
    }

    /// The entries that have another mode than they should.
    pub fn differences(&self, entries: &[Entry]) -> Vec<Difference> {
        let mut common = vec![Common::default(); self.trusts.len()];
        for entry in entries {
            if let Some((_, repository)) = self.file(entry) {
                let common = &mut common[repository];
                common.files += 1;
                common.executable += usize::from(entry.mode & 0o100 != 0);
                common.closed += usize::from(is_closed(entry));
            }
        }
        let wanted = |entry: &Entry| -> Option<u32> {
            let (repository, mode) = match entry.kind {
                Kind::Folder => (*self.folders.get(&entry.path)?, None),
                _ => self.file(entry).map(|(mode, repository)| (repository, Some(mode)))?,
            };
            let common = common[repository];
            if is_closed(entry) && common.closed * 2 < common.files {
                return None;
            }
            match mode {
                // A setgid bit is inherited by folders, and nobody's wish for this one.
                None => (entry.mode & 0o1000 == 0).then_some(0o755),
                Some(_) if entry.mode & 0o7000 != 0 => None,
                Some(mode) => {
                    let says_nothing = !self.trusts[repository] && common.executable == common.files;
                    let executable =
                        mode == git_index::Mode::Executable || entry.mode & 0o100 != 0 && !says_nothing;
                    Some(if executable { 0o755 } else { 0o644 })
                }
            }
        };
        let differing = |(number, entry): (usize, &Entry)| {
            let mode = wanted(entry).filter(|mode| *mode != entry.mode)?;
            Some(Difference { entry: number, mode })
        };
        entries.iter().enumerate().filter_map(differing).collect()
    }

    /// A regular file that is tracked as one.
    fn file(&self, entry: &Entry) -> Option<(git_index::Mode, usize)> {
        let found = self.files.get(&entry.path).filter(|_| entry.kind == Kind::File)?;
        matches!(found.0, git_index::Mode::File | git_index::Mode::Executable).then_some(*found)
    }
}

fn is_closed(entry: &Entry) -> bool {
    entry.mode & 0o004 == 0
}

#[cfg(test)]
mod tests {
    use git_index::Mode::{Executable, File, Symlink};

    use super::*;

    /// Entries as path and mode (a path that ends in `/` is a folder), tracked ones with git's mode.
    fn differences(trusts: bool, entries: &[(&str, u32, Option<git_index::Mode>)]) -> Vec<String> {
        let mut tracked = Tracked { trusts: vec![trusts], ..Tracked::default() };
        let entries: Vec<Entry> = entries
            .iter()
            .map(|(name, mode, git)| {
                let path = name.trim_end_matches('/').as_bytes().to_vec();
                let kind = if name.ends_with('/') { Kind::Folder } else { Kind::File };
                if let Some(git) = git {
                    match kind {
                        Kind::Folder => drop(tracked.folders.insert(path.clone(), 0)),
                        _ => drop(tracked.files.insert(path.clone(), (*git, 0))),
                    }
                }
                Entry { path, kind, mode: *mode, size: 0, holds_repository: false }
            })
            .collect();
        let shown = |difference: Difference| {
            let entry = &entries[difference.entry];
            format!("{} {:o}", String::from_utf8_lossy(&entry.path), difference.mode)
        };
        tracked.differences(&entries).into_iter().map(shown).collect()
    }

    fn checkout(file: u32, folder: u32) -> [(&'static str, u32, Option<git_index::Mode>); 5] {
        [
            ("src/", folder, Some(File)),
            ("src/a", file, Some(File)),
            ("src/b", file, Some(File)),
            ("src/run", folder, Some(Executable)),
            ("untracked", file, None),
        ]
    }

    #[test]
    fn every_umask_comes_to_the_same() {
        assert_eq!(differences(true, &checkout(0o644, 0o755)), [""; 0]);
        for (file, folder) in [(0o664, 0o775), (0o600, 0o700), (0o666, 0o777), (0o640, 0o750)] {
            assert_eq!(
                differences(true, &checkout(file, folder)),
                ["src 755", "src/a 644", "src/b 644", "src/run 755"]
            );
        }
        let lost = [("a", 0o666, Some(File)), ("run", 0o666, Some(Executable))];
        assert_eq!(differences(true, &lost), ["a 644", "run 755"], "git records the bit");
    }

    #[test]
    fn what_was_changed_on_purpose_is_kept() {
        let job = [
            ("a", 0o664, Some(File)),
            ("b", 0o664, Some(File)),
            ("script", 0o775, Some(File)),
            ("key", 0o600, Some(File)),
            ("keys/", 0o700, Some(File)),
            ("setuid", 0o4755, Some(File)),
            ("shared/", 0o2775, Some(File)),
            ("all/", 0o1777, Some(File)),
            ("link", 0o777, Some(Symlink)),
        ];
        assert_eq!(differences(true, &job), ["a 644", "b 644", "script 755", "shared 755"]);
        let everything = [("a", 0o777, Some(File)), ("b", 0o777, Some(File))];
        assert_eq!(differences(true, &everything), ["a 755", "b 755"], "chmod -R 777");
    }

    #[test]
    fn a_file_system_without_modes_has_nothing_to_say() {
        let share = [("a", 0o777, Some(File)), ("run", 0o777, Some(Executable))];
        assert_eq!(differences(false, &share), ["a 644", "run 755"]);
        let told = [("a", 0o644, Some(File)), ("b", 0o755, Some(File))];
        assert_eq!(differences(false, &told), [""; 0], "it does know modes");
    }
}
