//! Lines: the text's own, numbered from 1, and the logical ones that continuations make of them.
//!
//! Rules from BuildKit's `parser/parser.go`: a line continues where its last character but blanks is the escape
//! character, unless another escape character stands before it; comment lines and blank lines inside a continuation are
//! dropped; leading blanks go on the first line only, those of continued lines stay.

use super::error::{ParseError, ParseFault};

/// The longest line that BuildKit's scanner takes.
const LONGEST_LINE: usize = 65535;

/// Where something stands: first and last line, both from 1 and both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first line.
    pub first: usize,
    /// Its last line, that of a heredoc's delimiter included.
    pub last: usize,
}

/// Reads a text line by line.
pub(super) struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    /// At the first line. A byte order mark is skipped.
    pub(super) fn new(text: &'a str) -> Self {
        Lines { rest: text.strip_prefix('\u{feff}').unwrap_or(text), number: 0 }
    }

    /// The number of the line that was read last.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The next line with its ending.
    pub(super) fn raw(&mut self) -> Result<Option<&'a str>, ParseError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let end = self.rest.find('\n').map_or(self.rest.len(), |newline| newline + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.number += 1;
        if line.trim_end_matches('\n').len() > LONGEST_LINE {
            let fault = ParseFault::LongLine;
            return Err(ParseError { line: self.number, word: String::new(), certain: true, fault });
        }
        Ok(Some(line))
    }

    /// The next logical line and where it begins. Comments and blank lines between instructions are skipped.
    pub(super) fn logical(&mut self, escape: char) -> Result<Option<(String, usize)>, ParseError> {
        while let Some(line) = self.raw()? {
            let line = trim_ending(line).trim_start();
            if line.starts_with('#') {
                continue;
            }
            let first = self.number;
            let mut continued = continuation(line, escape);
            if continued.is_none() && line.is_empty() {
                continue;
            }
            let mut text = continued.unwrap_or(line).to_owned();
            while continued.is_some() {
                let Some(line) = self.raw()? else { break };
                let line = trim_ending(line);
                if line.trim_start().is_empty() || line.trim_start().starts_with('#') {
                    continue;
                }
                continued = continuation(line, escape);
                text.push_str(continued.unwrap_or(line));
            }
            return Ok(Some((text, first)));
        }
        Ok(None)
    }
}

/// Without its line ending.
pub(super) fn trim_ending(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// What stands before the escape character, where the line continues.
fn continuation(line: &str, escape: char) -> Option<&str> {
    let before = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logical(text: &str, escape: char) -> Vec<(String, usize)> {
        let mut lines = Lines::new(text);
        std::iter::from_fn(|| lines.logical(escape).expect("lines")).collect()
    }

    #[test]
    fn continuations() {
        let cases = [
            ("one line", "RUN a\n", vec![("RUN a", 1)]),
            ("joined", "RUN a \\\n  b\n", vec![("RUN a   b", 1)]),
            ("blanks after the escape", "RUN a \\ \t\n  b\n", vec![("RUN a   b", 1)]),
            ("escaped escape", "RUN a \\\\\nRUN b\n", vec![("RUN a \\\\", 1), ("RUN b", 2)]),
            ("comment inside", "RUN a \\\n # no\n  b\n", vec![("RUN a   b", 1)]),
            ("blank line inside", "RUN a \\\n\n  b\n", vec![("RUN a   b", 1)]),
            ("crlf", "RUN a \\\r\n b\r\nRUN c\r\n", vec![("RUN a  b", 1), ("RUN c", 3)]),
            ("open at the end", "RUN a \\", vec![("RUN a ", 1)]),
            ("escape alone", "\\\nRUN a", vec![("RUN a", 1)]),
            ("nothing but an escape", "\\\n", vec![("", 1)]),
            ("byte order mark", "\u{feff}RUN a", vec![("RUN a", 1)]),
            ("comments between", "# x\n\n  RUN a\n#y\n", vec![("RUN a", 3)]),
        ];
        for (name, text, expected) in cases {
            let expected: Vec<_> =
                expected.into_iter().map(|(line, first)| (line.to_owned(), first)).collect();
            assert_eq!(logical(text, '\\'), expected, "{name}");
        }
        assert_eq!(logical("RUN C:\\\nRUN a `\nb", '`').len(), 2, "backtick");
    }

    #[test]
    fn lines_are_bounded() {
        let fits = "x".repeat(LONGEST_LINE);
        assert!(Lines::new(&fits).logical('\\').is_ok());
        assert!(Lines::new(&format!("{fits}\n")).logical('\\').is_ok());
        assert_eq!(
            Lines::new(&format!("{fits}x")).logical('\\').map_err(|error| error.fault),
            Err(ParseFault::LongLine)
        );
    }
}
