//! Which entries of a context a source of a `COPY`, an `ADD` or a bind mount takes: those that BuildKit's content hash
//! counts (moby/buildkit `cache/contenthash/checksum.go`, with the options that `dockerfile2llb/convert_copy.go` and
//! `ops/exec.go` give it).
//!
//! - A plain source is the file, or the folder with all that is in it, its own header among that. Symbolic links on the
//!   way are followed within the root, also the last one; those below a folder are not.
//! - With wildcards it is all that matches, each as if it were named, and the links among that with what they lead to.
//! - With `--exclude` or `--parents`, patterns decide about every path below the source; a folder is then counted where
//!   something in it is. Links are followed only where they are the source itself, or lie in the root and the root is the
//!   source.
//! - The root itself has no header: nobody can see its mode.
//!
//! One thing is taken that BuildKit does not count: the links that were followed, because where they lead is known from
//! them alone.

use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::context::glob::{Glob, is_glob};
use crate::context::ignore::{Ignore, Matched, clean};
use crate::context::walk::{Entry, Kind, in_tree_order, is_below};
use crate::model::inputs::Selector;

/// As BuildKit (`cache/contenthash/path.go`).
const MOST_LINKS: usize = 255;

/// Why it is not known what a source takes.
#[derive(Debug, thiserror::Error)]
pub enum Unclear {
    /// It has wildcards that are none, or ones that BuildKit takes in two ways.
    #[error("the wildcards of `{0}` are not understood")]
    Wildcards(String),
    /// A pattern of `--exclude` or `--parents` is not understood.
    #[error("the pattern {0}")]
    Pattern(String),
    /// Symbolic links go round.
    #[error("`{0}` leads through too many symbolic links")]
    Links(String),
    /// A symbolic link cannot be read.
    #[error("a symbolic link on the way to `{path}` cannot be read: {source}")]
    Unreadable {
        /// The source.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The places of what a source takes in `entries`, ascending. `entries`: all of the context below `root`, as
/// [`walk`](crate::context::walk::walk) lists them. Nothing, where the source is not there: a build then fails.
pub fn select(root: &Path, entries: &[Entry], selector: &Selector) -> Result<Vec<usize>, Unclear> {
    let mut choice = Choice { root, entries, taken: vec![false; entries.len()], source: &selector.source };
    let (source, include) = match (selector.parents, selector.source.split_once("/./")) {
        (false, _) => (selector.source.as_str(), None),
        (true, Some((pivot, pattern))) => (pivot, Some(pattern)),
        (true, None) => ("", Some(selector.source.as_str())),
    };
    let source = clean(&format!("/{source}"));
    let patterns = |patterns: &[String]| {
        Ignore::of_patterns(patterns).map_err(|doubt| Unclear::Pattern(doubt.what + " is not understood"))
    };
    let rules = Rules {
        glob: match selector.wildcard && is_glob(&source) {
            true => Some(Glob::read(&source).ok_or_else(|| Unclear::Wildcards(source.clone()))?),
            false => None,
        },
        include: match include {
            Some(pattern) => {
                Some(patterns(&[clean(&format!("/{pattern}")).trim_start_matches('/').to_owned()])?)
            }
            None => None,
        },
        exclude: match selector.excludes.is_empty() {
            true => None,
            false => Some(patterns(&selector.excludes)?),
        },
    };
    match rules {
        Rules { glob: None, include: None, exclude: None } => choice.take_all(source.as_bytes())?,
        _ => choice.take_by(&source, &rules)?,
    }
    Ok(choice.taken.iter().enumerate().filter(|(_, taken)| **taken).map(|(place, _)| place).collect())
}

/// What decides about a path.
struct Rules {
    glob: Option<Glob>,
    include: Option<Ignore>,
    exclude: Option<Ignore>,
}

struct Choice<'a> {
    root: &'a Path,
    entries: &'a [Entry],
    taken: Vec<bool>,
    /// For messages.
    source: &'a str,
}

/// A folder that was come past.
struct Folder {
    place: usize,
    /// As the source names it.
    path: Vec<u8>,
    include: Option<Matched>,
    exclude: Option<Matched>,
}

impl Choice<'_> {
    /// Takes a path with all that is in it. `path` begins with `/`; nothing, where it does not exist.
    fn take_all(&mut self, path: &[u8]) -> Result<(), Unclear> {
        if let Some(found) = self.resolve(path, true)? {
            let range = self.tree(&found);
            self.taken[range].fill(true);
        }
        Ok(())
    }

    /// Takes what the rules let through (`includedPaths`).
    fn take_by(&mut self, source: &str, rules: &Rules) -> Result<(), Unclear> {
        // The part without wildcards is where the search begins; links in it are followed. Without any, the last part is
        // left as it is, and what is a link itself is followed as a whole below.
        let base = match rules.glob {
            Some(_) => {
                let parts = source[1..].split('/').take_while(|part| !is_glob(part));
                parts.fold(String::new(), |base, part| format!("{base}/{part}"))
            }
            None => source.trim_end_matches('/').to_owned(),
        };
        let Some(found) = self.resolve(base.as_bytes(), rules.glob.is_some())? else { return Ok(()) };
        let mut folders: Vec<Folder> = Vec::new();
        let mut matched: Option<Vec<u8>> = None;
        for place in self.tree(&found) {
            let entry = &self.entries[place];
            let path = [base.as_bytes(), b"/".as_slice(), &entry.path].concat();
            let path = match found.len() {
                0 => path,
                length => [base.as_bytes(), &entry.path[length..]].concat(),
            };
            while folders.last().is_some_and(|folder| !is_below(&path, &folder.path)) {
                folders.pop();
            }
            let top = match &rules.glob {
                Some(glob) => {
                    if !matched.as_ref().is_some_and(|above| is_below(&path, above)) {
                        if !glob.matches(&path) {
                            continue;
                        }
                        matched = Some(path.clone());
                    }
                    matched.as_deref().unwrap_or_default()
                }
                None => base.as_bytes(),
            };
            let candidate = path[top.len()..].strip_prefix(b"/").unwrap_or_default();
            let above = folders.last();
            let (included, include) = match &rules.include {
                Some(include) => {
                    let verdict =
                        include.verdict(candidate, above.and_then(|folder| folder.include.as_ref()));
                    (verdict.ignored, Some(verdict.matched))
                }
                None => (true, None),
            };
            let (included, exclude) = match &rules.exclude {
                // Not asked, as there, so that what is below asks for itself.
                Some(exclude) if included => {
                    let verdict =
                        exclude.verdict(candidate, above.and_then(|folder| folder.exclude.as_ref()));
                    (!verdict.ignored, Some(verdict.matched))
                }
                _ => (included, None),
            };
            if included {
                self.taken[place] = true;
                for folder in &folders {
                    self.taken[folder.place] = true;
                }
                if entry.kind == Kind::Symlink && folders.is_empty() {
                    self.take_all(&path)?;
                }
            }
            if entry.kind == Kind::Folder {
                folders.push(Folder { place, path, include, exclude });
            }
        }
        Ok(())
    }

    /// Where an entry is, by its path without `/` in front.
    fn place(&self, path: &[u8]) -> Option<usize> {
        self.entries.binary_search_by(|entry| in_tree_order(&entry.path, path)).ok()
    }

    /// An entry and all that is below it; everything, for the root.
    fn tree(&self, path: &[u8]) -> Range<usize> {
        if path.is_empty() {
            return 0..self.entries.len();
        }
        let Some(place) = self.place(path) else { return 0..0 };
        let below = self.entries[place + 1..].partition_point(|entry| is_below(&entry.path, path));
        place..place + 1 + below
    }

    /// The path without `/` in front that a path leads to (`getFollowLinks`), `..` never above the root; empty for the
    /// root. The links on the way are taken. `None`: nothing is there.
    fn resolve(&mut self, path: &[u8], follow_last: bool) -> Result<Option<Vec<u8>>, Unclear> {
        let mut at: Vec<u8> = Vec::new();
        let mut rest: Vec<Vec<u8>> = parts(path);
        let mut links = 0;
        while let Some(part) = rest.pop() {
            let here = match part.as_slice() {
                b".." => at[..at.iter().rposition(|byte| *byte == b'/').unwrap_or(0)].to_vec(),
                part if at.is_empty() => part.to_vec(),
                part => [at.as_slice(), b"/", part].concat(),
            };
            let link = self.place(&here).filter(|place| self.entries[*place].kind == Kind::Symlink);
            let Some(place) = link.filter(|_| follow_last || !rest.is_empty()) else {
                at = here;
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                return Err(Unclear::Links(self.source.to_owned()));
            }
            self.taken[place] = true;
            let target = std::fs::read_link(self.root.join(self.entries[place].path()))
                .map_err(|source| Unclear::Unreadable { path: self.source.to_owned(), source })?;
            let target = target.into_os_string().into_vec();
            if target.first() == Some(&b'/') {
                at.clear();
            }
            rest.extend(parts(&target));
        }
        Ok(Some(at).filter(|at| at.is_empty() || self.place(at).is_some()))
    }
}

/// The parts of a path, the last first.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.rev().map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests;
