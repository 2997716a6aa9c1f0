//! The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*` is any run, `?` any one character, neither a newline.

/// One piece of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Run,
    Any,
    Exactly(char),
}

/// A pattern that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Piece>);

/// Which of several matches counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Shortest,
    Longest,
}

impl Pattern {
    /// Reads a pattern. A backslash stands before `*`, `?` or `\`, and is dropped before `}` and `/`; before anything
    /// else there is no pattern.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut letters = text.chars().peekable();
        let mut pieces = Vec::new();
        while let Some(letter) = letters.next() {
            pieces.push(match letter {
                '*' => Piece::Run,
                '?' => Piece::Any,
                '\\' if matches!(letters.peek(), Some('}' | '/')) => continue,
                '\\' => Piece::Exactly(letters.next().filter(|next| ['*', '?', '\\'].contains(next))?),
                other => Piece::Exactly(other),
            });
        }
        Some(Pattern(pieces))
    }

    /// How much one match may cost, in steps.
    pub(super) fn cost(&self, length: usize) -> usize {
        (self.0.len() + 1).saturating_mul(length + 1)
    }

    /// The pattern of the reversed text.
    pub(super) fn reversed(mut self) -> Self {
        self.0.reverse();
        self
    }

    /// How many characters at the start of `text` match.
    pub(super) fn prefix(&self, text: &[char], length: Length) -> Option<usize> {
        // Every place of the pattern that can be reached is followed at once, so that no text makes it slow.
        let mut reached = vec![false; self.0.len() + 1];
        reached[0] = true;
        let mut found = None;
        for end in 0..=text.len() {
            for place in 0..self.0.len() {
                if reached[place] && self.0[place] == Piece::Run {
                    reached[place + 1] = true;
                }
            }
            if reached[self.0.len()] {
                found = Some(end);
                if length == Length::Shortest {
                    return found;
                }
            }
            let Some(letter) = text.get(end) else { break };
            let mut next = vec![false; self.0.len() + 1];
            for place in (0..self.0.len()).filter(|place| reached[*place]) {
                match self.0[place] {
                    Piece::Run if *letter != '\n' => next[place] = true,
                    Piece::Any if *letter != '\n' => next[place + 1] = true,
                    Piece::Exactly(wanted) if *letter == wanted => next[place + 1] = true,
                    _ => {}
                }
            }
            reached = next;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let cases = [
            ("a*b", "aXbXb", Some(3), Some(5)),
            ("*", "abc", Some(0), Some(3)),
            ("?", "abc", Some(1), Some(1)),
            ("", "abc", Some(0), Some(0)),
            ("b", "abc", None, None),
            ("a\\*", "a*c", Some(2), Some(2)),
            ("*/", "a/b/c", Some(2), Some(4)),
            ("a?c", "a\nc", None, None),
        ];
        for (pattern, text, shortest, longest) in cases {
            let letters: Vec<char> = text.chars().collect();
            let read = Pattern::read(pattern).expect("pattern");
            assert_eq!(read.prefix(&letters, Length::Shortest), shortest, "{pattern} shortest");
            assert_eq!(read.prefix(&letters, Length::Longest), longest, "{pattern} longest");
        }
        assert_eq!(Pattern::read("a\\b"), None);
        assert_eq!(Pattern::read("a\\"), None);
    }
}
