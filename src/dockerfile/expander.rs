//! Words and instructions with their variables replaced, as far as these are known.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::budget::Budget;
use super::expand::{ExpandError, Expansion, Lexer};
use super::graph::Source;
use super::heredoc::Heredoc;
use super::instruction::{Instruction, Transfer};
use super::mount::Mount;
use super::operation::{Copy, CopySource, Run, RunMount, Word};
use super::step::Walk;
use super::variables::Variable;
use super::words;
use crate::model::reference::Digest;

/// Reads the instructions of a stage, one after the other.
pub(super) struct Expander<'a> {
    pub(super) walk: &'a mut Walk,
    pub(super) lexer: Lexer,
    pub(super) budget: &'a mut Budget,
}

impl Expander<'_> {
    pub(super) fn set(&mut self, name: &str, value: Word, is_argument: bool) -> Result<(), ExpandError> {
        self.budget.spend(name.len() + value.text.len())?;
        self.walk.variables.set(name, Variable { value, is_argument });
        Ok(())
    }

    pub(super) fn expand(&mut self, lexer: Lexer, word: &str) -> Result<Expansion, ExpandError> {
        let variables = &self.walk.variables;
        lexer.expand(word, &|name| variables.get(name), self.budget)
    }

    /// A word, as a cache key depends on it.
    pub(super) fn word(&mut self, word: &str) -> Result<Word, ExpandError> {
        let text = match self.expand(self.lexer, word) {
            Ok(expansion) if expansion.unset.is_empty() || !self.walk.unknown_base => {
                return Ok(Word::plain(expansion.text));
            }
            Ok(expansion) => expansion.text,
            Err(ExpandError::Required { .. }) if self.walk.unknown_base => String::new(),
            Err(error) => return Err(error),
        };
        let scope = format!("{word:?} {:?}", self.in_scope()?);
        Ok(Word { text, unclear: Some(Digest::of(scope.as_bytes())) })
    }

    /// Everything that is in scope, in order.
    fn in_scope(&mut self) -> Result<Vec<(String, Variable)>, ExpandError> {
        self.budget.spend(self.walk.variables.size())?;
        Ok(self.walk.variables.in_order())
    }

    /// A whole instruction as shown; one that cannot be expanded is shown as written.
    pub(super) fn shown(&mut self, text: &str) -> String {
        let expanded =
            self.expand(self.lexer, text).map_or_else(|_| text.to_owned(), |expansion| expansion.text);
        upper_case_name(&expanded)
    }

    /// A `RUN` as shown: with its quotes, and the first line of a heredoc that is all there is.
    pub(super) fn command(&mut self, instruction: &Instruction, mounts: &[Mount]) -> String {
        let mut text = instruction.text.clone();
        let rest = words::split(&instruction.text, self.lexer.escape).rest;
        if let (Some(heredoc), Some(_)) = (instruction.heredocs.first(), Heredoc::of_word(rest)) {
            text.push_str(&format!(" ({})", heredoc.summary()));
        }
        let secrets: Vec<&str> = mounts
            .iter()
            .filter(|mount| mount.kind == "secret")
            .flat_map(|mount| &mount.fields)
            .filter_map(|(key, value)| if key == "env" { value.as_deref() } else { None })
            .collect();
        let variables = &self.walk.variables;
        let lookup = |name: &str| {
            if secrets.contains(&name) { Some("****".to_owned()) } else { variables.get(name) }
        };
        let lexer = Lexer { raw_quotes: true, keep_unset: true, ..self.lexer };
        let expanded = lexer.expand(&text, &lookup, self.budget).map_or(text, |expansion| expansion.text);
        upper_case_name(&expanded)
    }

    pub(super) fn run(
        &mut self,
        instruction: &Instruction,
        mounts: &[Mount],
        sources: &[(String, Source)],
    ) -> Result<Run, ExpandError> {
        let mut sources = sources.iter().map(|(_, source)| source.clone());
        let mut of_mounts = Vec::new();
        for mount in mounts {
            let from = mount.from.as_ref().and_then(|_| sources.next());
            let mut fields = Vec::new();
            for (key, value) in mount.fields.iter().filter(|(key, _)| key != "from") {
                fields.push((key.clone(), self.word(value.as_deref().unwrap_or_default())?));
            }
            let files = match from.is_some() || mount.reads_context() {
                true => Some((from, self.path(mount.source.as_deref().unwrap_or("/"))?)),
                false => None,
            };
            of_mounts.push(RunMount { fields, files });
        }
        let mut command = words::split(&instruction.text, self.lexer.escape).rest.to_owned();
        for heredoc in &instruction.heredocs {
            command.push_str(&format!("\n{}{}", heredoc.content, heredoc.name));
        }
        let flags = instruction.flags.iter().filter(|flag| flag.name != "mount");
        Ok(Run {
            command,
            options: flags.map(|flag| (flag.name.clone(), flag.value.clone().unwrap_or_default())).collect(),
            mounts: of_mounts,
            variables: self.in_scope()?,
            state: vec![
                ("user", self.walk.user.clone()),
                ("working folder", self.folder()),
                ("shell", self.walk.shell.clone()),
            ],
        })
    }

    /// The working folder, with what else it depends on, unless that is the base alone.
    fn folder(&self) -> String {
        let unclear = self.walk.unclear_workdir.clone();
        let of_base = Walk::from_unknown().unclear_workdir;
        Word { text: self.walk.workdir.clone(), unclear: unclear.filter(|it| Some(it) != of_base.as_ref()) }
            .whole()
    }

    pub(super) fn copy(
        &mut self,
        instruction: &Instruction,
        transfer: &Transfer,
        is_add: bool,
        from: Option<Source>,
    ) -> Result<Copy, ExpandError> {
        let mut sources = Vec::new();
        for source in &transfer.sources {
            let word = self.word(source)?;
            sources.push(match is_add && (word.unclear.is_some() || is_remote(&word.text)) {
                true => CopySource::Remote(word),
                false => CopySource::Path(self.path(source)?),
            });
        }
        let mut options = Vec::new();
        for flag in instruction.flags.iter().filter(|flag| !["from", "link"].contains(&flag.name.as_str())) {
            options.push((flag.name.clone(), self.word(flag.value.as_deref().unwrap_or_default())?));
        }
        let mut inline = Vec::new();
        for heredoc in &instruction.heredocs {
            // Whatever the rules for quotes in it are, and however they were in older frontends: as written, and what
            // the variables are that it names. Those of the base come with the base.
            let mut values = if heredoc.expand { self.in_scope()? } else { Vec::new() };
            values.retain(|(name, _)| {
                heredoc.content.contains(&format!("${name}"))
                    || heredoc.content.contains(&format!("${{{name}"))
            });
            let text = format!("{} {} {values:?}", heredoc.strip_tabs, heredoc.content);
            inline.push((heredoc.name.clone(), Word::plain(text)));
        }
        let mut destination = self.word(&transfer.destination)?;
        let is_relative = !destination.text.starts_with('/');
        if is_relative {
            let folder = &self.walk.workdir;
            // BuildKit keeps what says that it is a folder.
            let slash = match destination.text.as_str() {
                "" | "." => "/",
                text if text.ends_with('/') => "/",
                text if text.ends_with("/.") => "/.",
                _ => "",
            };
            destination.text = format!("{}{slash}", absolute(&format!("{folder}/{}", destination.text)));
            if let Some(folder) = &self.walk.unclear_workdir {
                let own = destination.unclear.as_ref().map(Digest::as_str).unwrap_or_default();
                destination.unclear = Some(Digest::of(format!("{folder} {own}").as_bytes()));
            }
        }
        let names = self.named_in(&instruction.text);
        let mut variables = self.in_scope()?;
        variables.retain(|(name, _)| names.contains(name));
        Ok(Copy {
            is_add,
            from,
            sources,
            inline,
            destination,
            is_relative,
            options,
            // With `--chmod` BuildKit copies in the ordinary way.
            link: transfer.link && !instruction.flags.iter().any(|flag| flag.name == "chmod"),
            variables,
        })
    }

    /// A path in a context: from `/`, without needless parts.
    fn path(&mut self, source: &str) -> Result<Word, ExpandError> {
        let word = self.word(source)?;
        Ok(Word { text: clean_source(&word.text), ..word })
    }

    /// The variables that a text names.
    fn named_in(&mut self, text: &str) -> BTreeSet<String> {
        let names = RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            names.borrow_mut().insert(name.to_owned());
            None
        };
        // One that cannot be read names what was read so far.
        let _ = self.lexer.expand(text, &lookup, self.budget);
        names.into_inner()
    }
}

/// A source as BuildKit keeps it: from `/`; `/./`, which `--parents` gives a meaning, stays.
fn clean_source(source: &str) -> String {
    match source.split_once("/./") {
        Some((parent, rest)) => format!("{}/./{}", absolute(parent), absolute(rest).trim_start_matches('/')),
        None => absolute(source),
    }
}

fn upper_case_name(text: &str) -> String {
    match text.split_once(' ') {
        Some((name, rest)) => format!("{} {rest}", name.to_uppercase()),
        None => text.to_uppercase(),
    }
}

/// From `/`, without `.`, `..` and doubled slashes.
pub fn absolute(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether `ADD` fetches it: a URL, or `user@host:path`.
fn is_remote(source: &str) -> bool {
    let scp = || source.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    source.contains("://") || scp()
}
