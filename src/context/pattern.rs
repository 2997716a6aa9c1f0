//! One pattern of a `.dockerignore`, matched exactly as moby/patternmatcher matches it.
//!
//! There, a pattern is compared as it is, as a prefix (`a/**`), as a suffix (`**/a`, `**a`), or as the regular expression
//! that it is turned into. The same four ways are kept here, because they differ: `**a` as a suffix matches `xa`, which
//! its regular expression would not. What that expression would take for its own (`^`, `\d`, a class in a class) is
//! refused, so that nobody relies on it.

/// A pattern that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// The whole path.
    Exact(String),
    /// The path's beginning.
    Prefix(String),
    /// The path's end; one that begins with `/` also matches the path without that slash.
    Suffix(String),
    /// Anything else.
    Pieces(Vec<Piece>),
}

/// One piece of a pattern that has to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// This character.
    Exactly(char),
    /// `?`: any character but `/`.
    Any,
    /// `*`: any number of characters but `/`.
    Run,
    /// `**/`: nothing, or any number of folders. As in Go's regular expressions, no newline.
    Folders,
    /// `**` at the end: anything but a newline.
    Rest,
    /// `[a-z]`, `[^a-z]`: one character of these ranges, or of none of them; `/` counts as any other.
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// Characters that mean something to Go's regular expressions after a backslash, or that a class would not take as they
/// are.
fn is_special_in_class(letter: char) -> bool {
    matches!(letter, '[' | ']' | '^' | '-' | '\\' | '*' | '?' | '/' | '&' | '~' | ':')
}

impl Pattern {
    /// Reads a cleaned pattern. `Err`: what it means to the engine is not known here.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut way = Way::Exact;
        let mut caret = false;
        let mut letters = text.chars().peekable();
        let mut first = true;
        while let Some(letter) = letters.next() {
            match letter {
                '*' if letters.peek() == Some(&'*') => {
                    letters.next();
                    letters.next_if_eq(&'/');
                    if letters.peek().is_none() {
                        way = if way == Way::Exact { Way::Prefix } else { Way::Pieces };
                        pieces.push(Piece::Rest);
                    } else {
                        way = Way::Pieces;
                        pieces.push(Piece::Folders);
                    }
                    if first {
                        way = Way::Suffix;
                    }
                }
                '*' => {
                    way = Way::Pieces;
                    pieces.push(Piece::Run);
                }
                '?' => {
                    way = Way::Pieces;
                    pieces.push(Piece::Any);
                }
                '\\' => {
                    way = Way::Pieces;
                    match letters.next() {
                        Some(escaped) if !escaped.is_alphanumeric() => pieces.push(Piece::Exactly(escaped)),
                        Some(escaped) => return Err(format!("`\\{escaped}` in `{text}`")),
                        None => return Err(format!("`\\` at the end of `{text}`")),
                    }
                }
                '[' => {
                    way = Way::Pieces;
                    pieces.push(class(&mut letters).ok_or_else(|| format!("the `[` in `{text}`"))?);
                }
                ']' => return Err(format!("the `]` in `{text}`")),
                other => {
                    caret |= other == '^';
                    pieces.push(Piece::Exactly(other));
                }
            }
            first = false;
        }
        Ok(match way {
            Way::Exact => Pattern::Exact(text.to_owned()),
            Way::Prefix => Pattern::Prefix(text[..text.len() - 2].to_owned()),
            Way::Suffix => Pattern::Suffix(text[2..].to_owned()),
            Way::Pieces if caret => return Err(format!("`^` in `{text}`")),
            Way::Pieces => Pattern::Pieces(pieces),
        })
    }

    /// Whether it matches a path, which is relative, with `/` between its parts. Bytes that are no UTF-8 count as one
    /// unknown character each.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Pattern::Exact(text) => path == text.as_bytes(),
            Pattern::Prefix(text) => path.starts_with(text.as_bytes()),
            Pattern::Suffix(text) => {
                path.ends_with(text.as_bytes())
                    || text.strip_prefix('/').is_some_and(|rest| path == rest.as_bytes())
            }
            Pattern::Pieces(pieces) => pieces_match(pieces, &characters(path)),
        }
    }

    /// Whether clients up to Docker 20.10 take it for a match: they knew the regular expression alone.
    pub(super) fn matches_in_old(&self, path: &[u8]) -> bool {
        match self {
            Pattern::Suffix(text) => {
                let name = text.strip_prefix('/').unwrap_or(text).as_bytes();
                let folder = path.strip_suffix(name);
                folder.is_some_and(|folder| name.is_empty() || folder.is_empty() || folder.ends_with(b"/"))
            }
            other => other.matches(path),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Way {
    Exact,
    Prefix,
    Suffix,
    Pieces,
}

/// Reads a class after its `[`, up to and with its `]`.
fn class(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Piece> {
    let negated = letters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    let one = |letters: &mut std::iter::Peekable<std::str::Chars<'_>>| match letters.next()? {
        '\\' => letters.next().filter(|escaped| !escaped.is_alphanumeric()),
        letter => (!is_special_in_class(letter)).then_some(letter),
    };
    loop {
        if letters.next_if_eq(&']').is_some() {
            return (!ranges.is_empty()).then_some(Piece::Class { negated, ranges });
        }
        let low = one(letters)?;
        let high = if letters.next_if_eq(&'-').is_some() { one(letters)? } else { low };
        ranges.push((low, high));
        if low > high {
            return None;
        }
    }
}

/// The characters of a path; as in Go, a byte that begins none is one replacement character.
pub(super) fn characters(mut bytes: &[u8]) -> Vec<char> {
    let mut characters = Vec::with_capacity(bytes.len());
    while !bytes.is_empty() {
        let (valid, skipped) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, 0),
            // The part before the fault is checked already.
            Err(error) => (std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(), 1),
        };
        characters.extend(valid.chars());
        if skipped == 1 {
            characters.push(char::REPLACEMENT_CHARACTER);
        }
        bytes = &bytes[valid.len() + skipped..];
    }
    characters
}

/// Whether the pieces match the whole text. From the last piece to the first, every place of the text is decided at once,
/// so that no pattern makes it slow.
pub(super) fn pieces_match(pieces: &[Piece], text: &[char]) -> bool {
    let length = text.len();
    // `after[place]`: the pieces that follow match the text from there.
    let mut after = vec![false; length + 1];
    after[length] = true;
    for piece in pieces.iter().rev() {
        let mut here = vec![false; length + 1];
        // Whether what began before may end at a place behind this one.
        let mut reaches = false;
        for place in (0..=length).rev() {
            let letter = text.get(place).copied();
            let next = letter.is_some() && after[place + 1];
            here[place] = match piece {
                Piece::Exactly(wanted) => next && letter == Some(*wanted),
                Piece::Any => next && letter != Some('/'),
                Piece::Class { negated, ranges } => {
                    let inside =
                        |letter: char| ranges.iter().any(|(low, high)| (*low..=*high).contains(&letter));
                    next && letter.is_some_and(|letter| inside(letter) != *negated)
                }
                Piece::Run => {
                    reaches = after[place] || reaches && letter.is_some_and(|letter| letter != '/');
                    reaches
                }
                Piece::Rest => {
                    reaches = after[place] || reaches && letter.is_some_and(|letter| letter != '\n');
                    reaches
                }
                Piece::Folders => {
                    reaches = letter.is_some_and(|letter| letter != '\n')
                        && (reaches || letter == Some('/') && after[place + 1]);
                    reaches || after[place]
                }
            };
        }
        after = here;
    }
    after[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_chosen_as_patternmatcher_chooses_it() {
        let read = |text: &str| Pattern::read(text).expect("pattern");
        assert_eq!(read("a/b"), Pattern::Exact("a/b".to_owned()));
        assert_eq!(read("dir/**"), Pattern::Prefix("dir/".to_owned()));
        assert_eq!(read("**/dir"), Pattern::Suffix("/dir".to_owned()));
        assert_eq!(read("**file"), Pattern::Suffix("file".to_owned()));
        assert_eq!(read("**"), Pattern::Suffix(String::new()));
        assert_eq!(read("a^b"), Pattern::Exact("a^b".to_owned()));
        assert!(matches!(read("**/**"), Pattern::Pieces(_)));
        assert!(matches!(read("**/dir/**"), Pattern::Pieces(_)));
    }

    #[test]
    fn what_only_the_engine_knows_is_refused() {
        for text in [
            "[", "a[", "[^", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[b-a]", "\\", "a\\d*", "^a*", "a]",
            "[[a]]", "[a*]",
        ] {
            assert!(Pattern::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_pattern_is_slow() {
        let pattern = Pattern::read(&"**/*a".repeat(200)).expect("pattern");
        assert!(!pattern.matches("a/".repeat(2000).as_bytes()));
    }

    #[test]
    fn a_byte_that_is_no_text_is_one_character() {
        let pattern = Pattern::read("a?b*").expect("pattern");
        assert!(pattern.matches(b"a\xffb") && pattern.matches("a\u{2603}bc".as_bytes()));
        assert!(!pattern.matches(b"a\xff\xffb"));
    }
}
