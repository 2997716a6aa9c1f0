//! The wildcards of `COPY` and `ADD`: those of Go's `path.Match`. Pure: text in, answers out.
//!
//! `*` and `?` stop at a `/`, a class does not, and nothing spans folders: patterns of ignore files are others (`pattern`).

use crate::context::pattern::{Piece, characters, pieces_match};

/// A source with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(Vec<Piece>);

/// Whether a source has wildcards.
pub(super) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

impl Glob {
    /// Reads a source. `None`: Go would refuse it, or it has a backslash, with which BuildKit's search for the part
    /// without wildcards and its matching do not agree.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            pieces.push(match letter {
                '*' => Piece::Run,
                '?' => Piece::Any,
                '[' => class(&mut letters)?,
                '\\' => return None,
                other => Piece::Exactly(other),
            });
        }
        Some(Glob(pieces))
    }

    /// Whether it matches a whole path.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        // Most paths differ in their first folders.
        let literal = self.0.iter().map_while(|piece| match piece {
            Piece::Exactly(letter) => Some(*letter),
            _ => None,
        });
        let mut rest = path;
        for letter in literal {
            let mut bytes = [0; 4];
            match rest.strip_prefix(letter.encode_utf8(&mut bytes).as_bytes()) {
                Some(after) => rest = after,
                None if letter == char::REPLACEMENT_CHARACTER => break,
                None => return false,
            }
        }
        pieces_match(&self.0, &characters(path))
    }
}

/// Reads a class after its `[`, up to and with its `]`.
fn class(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Piece> {
    let negated = letters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    let one = |letters: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        letters.next().filter(|letter| !matches!(letter, '-' | ']' | '\\'))
    };
    loop {
        if !ranges.is_empty() && letters.next_if_eq(&']').is_some() {
            return Some(Piece::Class { negated, ranges });
        }
        let low = one(letters)?;
        let high = if letters.next_if_eq(&'-').is_some() { one(letters)? } else { low };
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Go's `path/match_test.go`, without those with a backslash.
    #[test]
    fn matches_as_go_does() {
        let cases = [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a?b", "a\u{263a}b", true),
            ("a[^a]b", "a\u{263a}b", true),
            ("a???b", "a\u{263a}b", false),
            ("[a-\u{3b6}]*", "\u{3b1}", true),
            ("*[a-\u{3b6}]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("a[^x]b", "a/b", true),
            ("*x", "xxx", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(Glob::read(pattern).unwrap().matches(path.as_bytes()), expected, "{pattern} {path}");
        }
        assert!(Glob::read("a?").unwrap().matches(b"a\xff"));
    }

    #[test]
    fn what_go_refuses_or_takes_two_ways_is_refused() {
        for text in ["[", "[]a]", "[-]", "[x-]", "[-x]", "[^", "[^bc", "a[", "a[b", "[a-b-c]", "a\\*", "*\\"]
        {
            assert_eq!(Glob::read(text), None, "{text}");
        }
    }
}
