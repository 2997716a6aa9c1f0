//! `.dockerignore`: which paths of a context are left out. Pure: text in, answers out.
//!
//! The rules are those of moby/patternmatcher (`ignorefile`, `MatchesUsingParentResults`) and tonistiigi/fsutil (`filter.go`),
//! which buildx and today's Docker client use: patterns count from the context's root, the last that matches decides, and
//! `!` lets something back in, also below a folder that is left out. Git's rules for `.gitignore` are others.

use crate::context::pattern::Pattern;

/// Go's scanner gives up on a longer line.
const LONGEST_LINE: usize = 64 << 10;

/// More patterns than anybody writes.
const MOST_PATTERNS: usize = 10_000;

/// Old clients leave these to regular expressions.
const SPECIAL: [char; 7] = ['+', '(', ')', '{', '}', '|', '^'];

/// What is left out of a context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    lines: Vec<Line>,
    /// Nothing is left out that some client sends.
    for_any_client: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// It lets back in.
    exception: bool,
    /// As written, cleaned.
    text: String,
    pattern: Pattern,
}

/// What an ignore file means to the engine is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what} is not understood")]
pub struct Doubt {
    /// The line, from 1.
    pub line: usize,
    /// What stands there.
    pub what: String,
}

/// Which patterns a folder matched: what is below it is asked with this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matched {
    patterns: Vec<bool>,
    /// Clients that look at one folder above a path only do not look into it.
    closed_to_old: bool,
}

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// It is left out.
    pub ignored: bool,
    /// For what is below it, if it is a folder.
    pub matched: Matched,
}

impl Ignore {
    /// Nothing is left out.
    pub fn nothing() -> Self {
        Ignore::default()
    }

    /// Reads a file.
    pub fn read(bytes: &[u8]) -> Result<Self, Doubt> {
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        let mut lines = Vec::new();
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            let doubt = |what: &str| Doubt { line: number, what: what.to_owned() };
            let text = std::str::from_utf8(line).map_err(|_| doubt("what is no UTF-8"))?;
            if text.len() > LONGEST_LINE {
                return Err(doubt("a line of more than 64 KiB"));
            }
            let trimmed = text.trim();
            // A comment is one only where nothing stands before it.
            if text.starts_with('#') || trimmed.is_empty() {
                continue;
            }
            let (exception, pattern) = match trimmed.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, trimmed),
            };
            if pattern.is_empty() {
                return Err(doubt("`!` alone"));
            }
            let cleaned = clean(pattern);
            let cleaned = match cleaned.strip_prefix('/') {
                Some(rest) if !rest.is_empty() => rest.to_owned(),
                _ => cleaned,
            };
            // The matcher cleans and looks for `!` once more.
            if cleaned.starts_with('!') || cleaned != cleaned.trim() {
                return Err(doubt(&format!("`{pattern}`")));
            }
            let pattern = Pattern::read(&cleaned).map_err(|what| doubt(&what))?;
            lines.push(Line { exception, text: cleaned, pattern });
            if lines.len() > MOST_PATTERNS {
                return Err(doubt("more than 10000 patterns"));
            }
        }
        Ok(Ignore { lines, for_any_client: false })
    }

    /// Takes patterns that stand in no file: those of `--exclude` and `--parents`. The matcher gets them as they are
    /// (patternmatcher `New`), so that what only an ignore file's reader would tidy up is refused. [`Doubt::line`] counts
    /// the patterns.
    pub(super) fn of_patterns(patterns: &[String]) -> Result<Self, Doubt> {
        let mut lines = Vec::new();
        for (pattern, number) in patterns.iter().zip(1..) {
            let doubt = |what: &str| Doubt { line: number, what: what.to_owned() };
            let trimmed = pattern.trim();
            if trimmed.is_empty() {
                continue;
            }
            let (exception, cleaned) = match trimmed.strip_prefix('!') {
                Some(rest) if clean(rest) == rest && !rest.starts_with('!') => (true, rest.to_owned()),
                Some(_) => return Err(doubt(&format!("`{pattern}`"))),
                None => (false, clean(trimmed)),
            };
            let pattern = Pattern::read(&cleaned).map_err(|what| doubt(&what))?;
            lines.push(Line { exception, text: cleaned, pattern });
            if lines.len() > MOST_PATTERNS {
                return Err(doubt("more than 10000 patterns"));
            }
        }
        Ok(Ignore { lines, for_any_client: false })
    }

    /// Whether every engine since Docker 18.09 takes the file alike. Where something is let back in, older ones look at
    /// one folder above a path only; they take `**a` for `**/a`, and they do not quote what regular expressions take for
    /// their own.
    pub fn is_plain(&self) -> bool {
        let plain = |line: &Line| {
            let joined =
                line.text.strip_prefix("**").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
            !line.exception && !joined && !line.text.contains(SPECIAL) && !line.text.contains(['[', '\\'])
        };
        self.lines.iter().all(plain)
    }

    /// The rules for those who do not know which client will read the file: what one of them sends is not left out.
    #[must_use]
    pub fn for_any_client(self) -> Self {
        Ignore { for_any_client: !self.is_plain(), ..self }
    }

    /// Whether an old client sends a path (tonistiigi/fsutil `walker.go` and docker/docker `fileutils.go` of Docker 20.10),
    /// and looks into it, if it is a folder. What it takes for a regular expression counts as sent.
    fn is_sent_by_old(&self, path: &[u8]) -> bool {
        let ends: Vec<usize> =
            path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).collect();
        let mut ignored = false;
        for line in &self.lines {
            // The folder above that has as many parts as the pattern.
            let above = ends.get(line.text.matches('/').count()).map(|end| &path[..*end]);
            let is_special = line.text.contains(SPECIAL);
            let matches = |path: &[u8]| line.pattern.matches_in_old(path);
            if is_special && line.exception || !is_special && (matches(path) || above.is_some_and(matches)) {
                ignored = !line.exception;
            }
        }
        let below = [path, b"/"].concat();
        let leads = |line: &Line| line.exception && format!("{}/", line.text).as_bytes().starts_with(&below);
        !ignored || self.lines.iter().any(leads)
    }

    /// What becomes of a path. `folder`: the answer for the folder that holds it, `None` at the root, or where that was
    /// not asked.
    pub fn verdict(&self, path: &[u8], folder: Option<&Matched>) -> Verdict {
        let mut ignored = false;
        let mut matched = vec![false; self.lines.len()];
        for (number, line) in self.lines.iter().enumerate() {
            let above = folder.and_then(|folder| folder.patterns.get(number)).copied().unwrap_or(false);
            // Asked only where the answer changes something; one that was not asked for does not count below either.
            if !above && line.exception != ignored {
                continue;
            }
            matched[number] =
                above || line.pattern.matches(path) || folder.is_none() && line.matches_above(path);
            if matched[number] {
                ignored = !line.exception;
            }
        }
        let mut closed_to_old = false;
        if self.for_any_client {
            closed_to_old = folder.is_some_and(|folder| folder.closed_to_old) || !self.is_sent_by_old(path);
            ignored &= closed_to_old;
        }
        Verdict { ignored, matched: Matched { patterns: matched, closed_to_old } }
    }

    /// Whether nothing below a folder that is left out can be let back in, so that nobody need look.
    pub fn ends_at(&self, folder: &[u8]) -> bool {
        let below = [folder, b"/"].concat();
        let mut exceptions =
            self.lines.iter().filter(|line| line.exception).map(|line| without_glob(&line.text)).peekable();
        if exceptions.peek().is_none() {
            return true;
        }
        let mut exceptions: Vec<&str> = exceptions.collect();
        // One that can match at several places may match anywhere.
        if exceptions.iter().any(|text| text.contains(['*', '[', ']', '?', '^', '\\'])) {
            return false;
        }
        exceptions.retain(|text| format!("{text}/").as_bytes().starts_with(&below));
        exceptions.is_empty()
    }
}

impl Line {
    /// Whether it matches a folder that a path lies in.
    fn matches_above(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.into_iter().any(|end| self.pattern.matches(&path[..end]))
    }
}

fn without_glob(text: &str) -> &str {
    let text = text.strip_suffix("/**").unwrap_or(text);
    text.strip_suffix("/*").unwrap_or(text)
}

/// A path without `.`, `..` and needless slashes, as Go's `filepath.Clean` gives it.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            other => parts.push(other),
        }
    }
    match (rooted, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

#[cfg(test)]
mod tests;
