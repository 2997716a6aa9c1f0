//! Words with quotes, escapes and variables, as BuildKit's `shell/lex.go` takes them apart.
//!
//! `$v ${v} ${v-w} ${v:-w} ${v+w} ${v:+w} ${v?w} ${v:?w} ${v#p} ${v##p} ${v%p} ${v%%p} ${v/p/r} ${v//p/r}`, nested. The
//! text is hostile: nesting is bounded, and a [`Budget`] bounds what the expansions of one file may produce together, for
//! values that double with every `ENV` line.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

use super::budget::Budget;
use super::glob::{Length, Pattern};
use super::words::Words;

/// Deeper `${a:-${b:-...}}` than anyone writes.
const DEEPEST: usize = 64;

/// Why a word has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote or brace is not closed.
    #[error("`{0}` is missing")]
    Unclosed(char),
    /// `${}` and the like.
    #[error("bad substitution")]
    BadSubstitution,
    /// `${v=w}` and the like.
    #[error("unsupported modifier `{0}` in a substitution")]
    Modifier(String),
    /// A backslash before a character that needs none.
    #[error("invalid pattern `{0}` in a substitution")]
    Pattern(String),
    /// `${v:?message}`.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message as written, or what BuildKit says.
        message: String,
    },
    /// Our own limits.
    #[error("the variables expand to more than layerlift follows")]
    TooMuch,
}

/// How words are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer {
    /// The file's escape character.
    pub(super) escape: char,
    /// Quotes stay.
    pub(super) raw_quotes: bool,
    /// Escape characters stay.
    pub(super) raw_escapes: bool,
    /// A variable that is not set stays as written.
    pub(super) keep_unset: bool,
}

/// What a word became.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expansion {
    /// As one text.
    pub(super) text: String,
    /// Split at blanks outside quotes.
    pub(super) words: Vec<String>,
    /// Variables that were asked for and are not set.
    pub(super) unset: BTreeSet<String>,
}

impl Lexer {
    /// For the arguments of instructions.
    pub(super) fn new(escape: char) -> Self {
        Lexer { escape, raw_quotes: false, raw_escapes: false, keep_unset: false }
    }

    /// Expands `source` with the variables that `lookup` knows.
    pub(super) fn expand(
        self,
        source: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
        budget: &mut Budget,
    ) -> Result<Expansion, ExpandError> {
        let mut reader = Reader {
            lexer: self,
            letters: source.chars().peekable(),
            lookup,
            budget,
            unset: BTreeSet::new(),
            depth: 0,
        };
        let (text, words) = reader.until(None, self.raw_escapes)?;
        Ok(Expansion { text, words, unset: reader.unset })
    }

    /// Splits into words without any variable set.
    pub(super) fn words(self, source: &str) -> Result<Vec<String>, ExpandError> {
        Ok(self.expand(source, &|_| None, &mut Budget::new())?.words)
    }
}

struct Reader<'a> {
    lexer: Lexer,
    letters: Peekable<Chars<'a>>,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    budget: &'a mut Budget,
    unset: BTreeSet<String>,
    depth: usize,
}

impl Reader<'_> {
    /// Reads up to `stop`, or to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), ExpandError> {
        if self.depth == DEEPEST {
            return Err(ExpandError::TooMuch);
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.lexer.raw_escapes, raw_escapes);
        let read = self.pieces(stop);
        self.lexer.raw_escapes = outer;
        self.depth -= 1;
        read
    }

    fn pieces(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), ExpandError> {
        let (mut text, mut words) = (String::new(), Words::default());
        while let Some(&letter) = self.letters.peek() {
            if Some(letter) == stop {
                self.letters.next();
                return Ok((text, words.finish()));
            }
            let piece = match letter {
                '\'' => self.single_quoted()?,
                '"' => self.double_quoted()?,
                '$' => self.variable()?,
                '<' => self.redirection(),
                _ => {
                    self.letters.next();
                    if letter != self.lexer.escape {
                        words.letter(letter);
                        text.push(letter);
                        continue;
                    }
                    let mut escaped = String::new();
                    if self.lexer.raw_escapes {
                        escaped.push(letter);
                    }
                    escaped.extend(self.letters.next());
                    escaped
                }
            };
            self.budget.spend(piece.len())?;
            text.push_str(&piece);
            if letter == '$' {
                piece.chars().for_each(|letter| words.letter(letter));
            } else {
                words.raw(&piece);
            }
        }
        match stop {
            Some(stop) => Err(ExpandError::Unclosed(stop)),
            None => Ok((text, words.finish())),
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        let quote = self.letters.next();
        if self.lexer.raw_quotes {
            text.extend(quote);
        }
        loop {
            match self.letters.next().ok_or(ExpandError::Unclosed('\''))? {
                '\'' => break,
                letter => text.push(letter),
            }
        }
        if self.lexer.raw_quotes {
            text.extend(quote);
        }
        Ok(text)
    }

    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        let quote = self.letters.next();
        if self.lexer.raw_quotes {
            text.extend(quote);
        }
        loop {
            match *self.letters.peek().ok_or(ExpandError::Unclosed('"'))? {
                '"' => break,
                '$' => text.push_str(&self.variable()?),
                letter => {
                    self.letters.next();
                    let next = self.letters.peek().copied();
                    if letter != self.lexer.escape {
                        text.push(letter);
                        continue;
                    }
                    if self.lexer.raw_escapes {
                        text.push(letter);
                    }
                    match next {
                        Some(next) if next == '"' || next == '$' || next == self.lexer.escape => {
                            text.extend(self.letters.next());
                        }
                        Some(_) => text.push(letter),
                        None => {}
                    }
                }
            }
        }
        self.letters.next();
        if self.lexer.raw_quotes {
            text.extend(quote);
        }
        Ok(text)
    }

    /// `<<` and the blanks after it stay in one word with the delimiter of a heredoc.
    fn redirection(&mut self) -> String {
        self.letters.next();
        if self.letters.next_if_eq(&'<').is_none() {
            return "<".to_owned();
        }
        let mut text = "<<".to_owned();
        while let Some(blank) = self.letters.next_if(|letter| matches!(letter, '\t' | '\r' | ' ')) {
            text.push(blank);
        }
        text
    }

    fn variable(&mut self) -> Result<String, ExpandError> {
        self.letters.next();
        if self.letters.next_if_eq(&'{').is_none() {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            let value = self.value(&name);
            return Ok(self.or_kept(value, || format!("${name}")));
        }
        match self.letters.peek() {
            None => return Err(ExpandError::Unclosed('}')),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.letters.next() {
            Some('}') => {
                let value = self.value(&name);
                Ok(self.or_kept(value, || format!("${{{name}}}")))
            }
            Some(':') => {
                let modifier = self.letters.next().ok_or(ExpandError::Unclosed('}'))?;
                self.modified(&name, modifier, true)
            }
            Some(modifier @ ('+' | '-' | '?' | '#' | '%')) => self.modified(&name, modifier, false),
            Some('/') => self.replaced(&name),
            Some(other) => Err(ExpandError::Modifier(other.to_string())),
            None => Err(ExpandError::Unclosed('}')),
        }
    }

    fn modified(&mut self, name: &str, modifier: char, empty_is_unset: bool) -> Result<String, ExpandError> {
        let colon = if empty_is_unset { ":" } else { "" };
        let unsupported = || ExpandError::Modifier(format!("{colon}{modifier}"));
        let pattern = matches!(modifier, '#' | '%');
        if empty_is_unset && pattern {
            return Err(unsupported());
        }
        let (word, _) = self.until(Some('}'), pattern)?;
        let value = self.value(name);
        if value.is_none() && self.lexer.keep_unset {
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let filled = value.clone().filter(|value| !(empty_is_unset && value.is_empty()));
        match modifier {
            '-' => Ok(filled.unwrap_or(word)),
            '+' => Ok(filled.map(|_| word).unwrap_or_default()),
            '?' => filled.ok_or_else(|| {
                let state = if value.is_none() { "unset" } else { "empty" };
                let message = if word.is_empty() { format!("is not allowed to be {state}") } else { word };
                ExpandError::Required { name: name.to_owned(), message }
            }),
            '#' | '%' => self.trimmed(&word, &value.unwrap_or_default(), modifier),
            _ => Err(unsupported()),
        }
    }

    /// `${v#p}` and its kin.
    fn trimmed(&mut self, word: &str, value: &str, modifier: char) -> Result<String, ExpandError> {
        let (length, word) = match word.strip_prefix(modifier) {
            Some(rest) => (Length::Longest, rest),
            None => (Length::Shortest, word),
        };
        let pattern = self.pattern(word, value)?;
        let mut letters: Vec<char> = value.chars().collect();
        if modifier == '#' {
            let matched = pattern.prefix(&letters, length).unwrap_or_default();
            return Ok(letters[matched..].iter().collect());
        }
        letters.reverse();
        let matched = pattern.reversed().prefix(&letters, length).unwrap_or_default();
        Ok(letters[matched..].iter().rev().collect())
    }

    /// `${v/p/r}` and `${v//p/r}`.
    fn replaced(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.letters.next_if_eq(&'/').is_some();
        let (word, _) = self.until(Some('/'), true)?;
        let (replacement, _) = self.until(Some('}'), true)?;
        let Some(value) = self.value(name) else {
            return Ok(if self.lexer.keep_unset {
                format!("${{{name}/{word}/{replacement}}}")
            } else {
                String::new()
            });
        };
        let pattern = self.pattern(&word, &value)?;
        let letters: Vec<char> = value.chars().collect();
        let (mut text, mut place, mut matched_before) = (String::new(), 0, None);
        while place <= letters.len() {
            self.budget.spend(pattern.cost(letters.len() - place))?;
            let matched = pattern.prefix(&letters[place..], Length::Longest);
            match matched {
                // An empty match right behind a match does not count, as in Go's `ReplaceAll`.
                Some(length) if length > 0 || matched_before != Some(place) => {
                    self.budget.spend(replacement.len())?;
                    text.push_str(&replacement);
                    if length == 0 {
                        text.extend(letters.get(place));
                    }
                    place += length.max(1);
                    matched_before = (length > 0).then_some(place);
                    if !all {
                        break;
                    }
                }
                _ => {
                    text.extend(letters.get(place));
                    place += 1;
                }
            }
        }
        text.extend(letters.get(place..).unwrap_or_default());
        Ok(text)
    }

    fn pattern(&mut self, word: &str, value: &str) -> Result<Pattern, ExpandError> {
        let pattern = Pattern::read(word).ok_or_else(|| ExpandError::Pattern(word.to_owned()))?;
        self.budget.spend(pattern.cost(value.len()))?;
        Ok(pattern)
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name);
        if value.is_none() {
            self.unset.insert(name.to_owned());
        }
        value
    }

    fn or_kept(&self, value: Option<String>, written: impl Fn() -> String) -> String {
        value.unwrap_or_else(|| if self.lexer.keep_unset { written() } else { String::new() })
    }

    /// A name, the digits of a positional parameter, or one special character.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.letters.peek() {
            Some(first) if first.is_numeric() => {
                while let Some(digit) = self.letters.next_if(|letter| letter.is_numeric()) {
                    name.push(digit);
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.letters.next()),
            _ => {
                while let Some(letter) =
                    self.letters.next_if(|letter| letter.is_alphanumeric() || *letter == '_')
                {
                    name.push(letter);
                }
            }
        }
        name
    }
}

#[cfg(test)]
mod tests;
