//! Script text -> words and operators (POSIX, "Shell Command Language", 2.2 to 2.4 and 2.6, and bash's `${x:0:7}`).

use crate::ciconfig::unknown;

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text; `quoted` text is never a keyword, and never split.
    Text { text: String, quoted: bool },
    /// `$x`, `${x...}`.
    Variable { name: String, operation: Operation, quoted: bool },
    /// `$@`.
    Arguments,
    /// What would have to be run or computed: `$(...)`, backticks, `$((...))`, `${x/a/b}`.
    Opaque { text: String },
}

/// What `${x...}` does with the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// `$x`.
    Plain,
    /// `${x:-word}`; `empty_counts`: with the colon, an empty value is as good as none.
    Default { word: Vec<Piece>, empty_counts: bool },
    /// `${x:+word}`.
    Instead { word: Vec<Piece>, empty_counts: bool },
    /// `${x:offset:length}`, in characters.
    Substring { offset: usize, length: Option<usize> },
    /// `${x,,}`.
    Lower,
    /// `${x^^}`.
    Upper,
    /// `${x#word}`, `${x##word}`: without a prefix.
    WithoutPrefix(String),
    /// `${x%word}`, `${x%%word}`: without a suffix.
    WithoutSuffix(String),
}

/// One word: its pieces in order. No pieces: `""`.
pub(super) type Word = Vec<Piece>;

/// A token of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, with the number of the line that it begins in, from 0.
    Word(Word, usize),
    /// `;`, newline, `&&`, `||`, `|`, `&`, `;;`, `(` or `)`.
    Operator(&'static str),
    /// `< word`, `> word`, `>> word`; the word follows.
    Redirect(&'static str),
    /// A here-document's text, or `<<< word`, whose word is dropped with it.
    Document,
}

/// The longest `${...}` that is looked into: what stands in it may hold others, each of which is read anew.
const LONGEST_BRACED: usize = 4096;

/// Longest first, so that `&&` is not read as `&`.
const OPERATORS: [&str; 10] = ["&&", "||", "|&", ";;", ";", "\n", "|", "&", "(", ")"];
const REDIRECTS: [&str; 10] = ["&>>", "&>", "<<<", "<<-", "<<", ">>", ">&", "<&", ">|", ">"];

/// Reads a whole script. Quotes that never end run to the script's end.
pub(super) fn tokens(script: &str) -> Vec<Token> {
    let mut lexer = Lexer { characters: script.chars().collect(), at: 0, line: 0, documents: Vec::new() };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token() {
        tokens.push(token);
    }
    tokens
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
    line: usize,
    /// Here-documents whose text begins after this line: the delimiter, and whether tabs are stripped.
    documents: Vec<(String, bool)>,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += 1;
        self.line += usize::from(character == '\n');
        Some(character)
    }

    fn looking_at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(index, it)| self.characters.get(self.at + index) == Some(&it))
    }

    fn skip(&mut self, text: &str) {
        text.chars().for_each(|_| {
            self.take();
        });
    }

    fn next_token(&mut self) -> Option<Token> {
        loop {
            match self.peek()? {
                ' ' | '\t' | '\r' => self.at += 1,
                '\\' if self.looking_at("\\\n") => self.skip("\\\n"),
                '\\' if self.looking_at("\\\r\n") => self.skip("\\\r\n"),
                '#' => {
                    while self.peek().is_some_and(|it| it != '\n') {
                        self.at += 1;
                    }
                }
                _ => break,
            }
        }
        // `2>&1`: the number belongs to the redirection.
        let digits = self.characters[self.at..].iter().take_while(|it| it.is_ascii_digit()).count();
        if matches!(self.characters.get(self.at + digits), Some('<' | '>')) {
            self.at += digits;
        }
        if let Some(redirect) = REDIRECTS.into_iter().chain(["<"]).find(|it| self.looking_at(it)) {
            return Some(self.redirect(redirect));
        }
        if let Some(operator) = OPERATORS.into_iter().find(|it| self.looking_at(it)) {
            self.skip(operator);
            if operator == "\n" {
                self.documents();
            }
            return Some(Token::Operator(operator));
        }
        let line = self.line;
        Some(Token::Word(self.word(), line))
    }

    fn redirect(&mut self, redirect: &'static str) -> Token {
        self.skip(redirect);
        if redirect.starts_with("<<") {
            while matches!(self.peek(), Some(' ' | '\t')) {
                self.at += 1;
            }
            let word = self.word();
            if redirect != "<<<" {
                self.documents.push((literal(&word).unwrap_or_default(), redirect == "<<-"));
            }
            return Token::Document;
        }
        Token::Redirect(redirect)
    }

    /// Passes over the texts of here-documents.
    fn documents(&mut self) {
        for (delimiter, tabs) in std::mem::take(&mut self.documents) {
            while self.peek().is_some() {
                let mut line = String::new();
                while let Some(character) = self.take().filter(|it| *it != '\n') {
                    line.push(character);
                }
                let line = if tabs { line.trim_start_matches('\t') } else { &line };
                if line.trim_end_matches('\r') == delimiter {
                    break;
                }
            }
        }
    }

    fn word(&mut self) -> Word {
        let mut pieces = Word::new();
        while let Some(character) = self.peek() {
            match character {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\'' => {
                    self.at += 1;
                    let mut text = String::new();
                    while let Some(character) = self.take().filter(|it| *it != '\'') {
                        text.push(character);
                    }
                    pieces.push(Piece::Text { text, quoted: true });
                }
                '"' => {
                    self.at += 1;
                    self.double_quoted(&mut pieces);
                }
                '\\' => {
                    self.at += 1;
                    match self.take() {
                        Some('\n') | None => {}
                        Some('\r') if self.peek() == Some('\n') => {
                            self.take();
                        }
                        Some(other) => pieces.push(Piece::Text { text: other.to_string(), quoted: true }),
                    }
                }
                '$' | '`' => pieces.push(self.expansion(false)),
                // One value, whatever stands in its name.
                unknown::OPEN => {
                    let text = self.mark();
                    pieces.push(Piece::Text { text, quoted: true });
                }
                '~' if pieces.is_empty()
                    && matches!(self.characters.get(self.at + 1), None | Some('/' | ' ')) =>
                {
                    self.at += 1;
                    pieces.push(variable("HOME", Operation::Plain, true));
                }
                other => {
                    self.take();
                    match pieces.last_mut() {
                        Some(Piece::Text { text, quoted: false }) => text.push(other),
                        _ => pieces.push(Piece::Text { text: other.to_string(), quoted: false }),
                    }
                }
            }
        }
        pieces
    }

    fn double_quoted(&mut self, pieces: &mut Word) {
        let mut text = String::new();
        loop {
            match self.peek() {
                None => break,
                Some('"') => {
                    self.at += 1;
                    break;
                }
                Some('\\') => {
                    self.at += 1;
                    match self.take() {
                        Some(escaped @ ('$' | '`' | '"' | '\\')) => text.push(escaped),
                        Some('\n') | None => {}
                        Some(other) => text.extend(['\\', other]),
                    }
                }
                Some('$' | '`') => {
                    pieces.push(Piece::Text { text: std::mem::take(&mut text), quoted: true });
                    pieces.push(self.expansion(true));
                }
                Some(unknown::OPEN) => text += &self.mark(),
                Some(_) => text.extend(self.take()),
            }
        }
        pieces.push(Piece::Text { text, quoted: true });
    }

    /// The mark of something unknown, whole.
    fn mark(&mut self) -> String {
        let mut mark = String::new();
        while let Some(character) = self.take() {
            mark.push(character);
            if character == unknown::CLOSE {
                break;
            }
        }
        mark
    }

    /// `$...` or a backtick.
    fn expansion(&mut self, quoted: bool) -> Piece {
        let begin = self.at;
        if self.peek() == Some('`') {
            self.at += 1;
            while self.take().is_some_and(|it| it != '`') {}
            return Piece::Opaque { text: self.characters[begin..self.at].iter().collect() };
        }
        self.at += 1;
        match self.peek() {
            Some('(') => {
                self.balanced('(', ')');
                Piece::Opaque { text: self.characters[begin..self.at].iter().collect() }
            }
            Some('{') => {
                self.balanced('{', '}');
                let whole: String = self.characters[begin..self.at].iter().collect();
                let inside = whole.strip_prefix("${").and_then(|it| it.strip_suffix('}')).unwrap_or_default();
                let braced = (inside.len() <= LONGEST_BRACED).then(|| braced(inside, quoted)).flatten();
                braced.unwrap_or(Piece::Opaque { text: whole })
            }
            Some(first) if first.is_ascii_alphabetic() || first == '_' => {
                let mut name = String::new();
                while let Some(next) = self.peek().filter(|it| it.is_ascii_alphanumeric() || *it == '_') {
                    name.push(next);
                    self.at += 1;
                }
                variable(&name, Operation::Plain, quoted)
            }
            Some('@') => {
                self.at += 1;
                Piece::Arguments
            }
            Some(special) if special.is_ascii_digit() || "*#?$!-".contains(special) => {
                self.at += 1;
                Piece::Opaque { text: format!("${special}") }
            }
            _ => Piece::Text { text: "$".to_owned(), quoted },
        }
    }

    /// Passes over everything up to the bracket that ends the one here, quotes respected.
    fn balanced(&mut self, open: char, close: char) {
        let mut depth = 0;
        let mut quote = None;
        while let Some(character) = self.take() {
            match (quote, character) {
                (_, '\\') => {
                    self.take();
                }
                (Some(end), it) if it == end => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(character),
                (None, it) if it == open => depth += 1,
                (None, it) if it == close => {
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
    }
}

fn variable(name: &str, operation: Operation, quoted: bool) -> Piece {
    Piece::Variable { name: name.to_owned(), operation, quoted }
}

/// What stands between `${` and `}`; `None` for what is not computed here.
fn braced(inside: &str, quoted: bool) -> Option<Piece> {
    let end = inside.find(|it: char| !it.is_ascii_alphanumeric() && it != '_').unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|it: char| it.is_ascii_digit()) {
        return None;
    }
    let word = |text: &str| {
        let mut lexer = Lexer { characters: text.chars().collect(), at: 0, line: 0, documents: Vec::new() };
        // Blanks and operators are text here, as between double quotes.
        let mut pieces = Word::new();
        lexer.double_quoted(&mut pieces);
        pieces
    };
    let plain =
        |text: &str| (!text.contains(['*', '?', '[', '$', '`', '\\', '"', '\''])).then(|| text.to_owned());
    let trimmed = |text: &str| text.trim_matches(['"', '\'']).to_owned();
    let operation = if rest.is_empty() {
        Operation::Plain
    } else if let Some(text) = rest.strip_prefix(":-").or(rest.strip_prefix(":=")) {
        Operation::Default { word: word(&trimmed(text)), empty_counts: true }
    } else if let Some(text) = rest.strip_prefix(['-', '=']) {
        Operation::Default { word: word(&trimmed(text)), empty_counts: false }
    } else if let Some(text) = rest.strip_prefix(":+") {
        Operation::Instead { word: word(&trimmed(text)), empty_counts: true }
    } else if let Some(text) = rest.strip_prefix('+') {
        Operation::Instead { word: word(&trimmed(text)), empty_counts: false }
    } else if rest.starts_with(":?") || rest.starts_with('?') {
        Operation::Plain
    } else if let Some(text) = rest.strip_prefix(':') {
        let (offset, length) = match text.split_once(':') {
            Some((offset, length)) => (offset, Some(length.trim().parse().ok()?)),
            None => (text, None),
        };
        let offset = offset.trim();
        Operation::Substring { offset: if offset.is_empty() { 0 } else { offset.parse().ok()? }, length }
    } else if rest == ",," {
        Operation::Lower
    } else if rest == "^^" {
        Operation::Upper
    } else if let Some(text) = rest.strip_prefix("##").or(rest.strip_prefix('#')) {
        Operation::WithoutPrefix(plain(text)?)
    } else {
        let text = rest.strip_prefix("%%").or(rest.strip_prefix('%'))?;
        Operation::WithoutSuffix(plain(text)?)
    };
    Some(variable(name, operation, quoted))
}

/// The keyword that a word is.
pub(super) fn keyword(word: &Word) -> Option<&'static str> {
    const KEYWORDS: [&str; 19] = [
        "if", "then", "elif", "else", "fi", "for", "select", "while", "until", "do", "done", "case", "esac",
        "{", "}", "!", "function", "time", "in",
    ];
    match word.as_slice() {
        [Piece::Text { text, quoted: false }] => KEYWORDS.into_iter().find(|it| it == text),
        _ => None,
    }
}

/// Takes `name=value` apart.
pub(super) fn assignment(word: &Word) -> Option<(String, Word)> {
    let (Piece::Text { text, quoted: false }, rest) = word.split_first()? else { return None };
    let (name, value) = text.split_once('=')?;
    let valid = name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
        && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    let first = Piece::Text { text: value.to_owned(), quoted: false };
    valid.then(|| (name.to_owned(), std::iter::once(first).chain(rest.iter().cloned()).collect()))
}

/// The text of a word that is nothing but text.
pub(super) fn literal(word: &Word) -> Option<String> {
    word.iter()
        .map(|piece| match piece {
            Piece::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(script: &str) -> Vec<String> {
        let show = |token| match token {
            Token::Word(word, _) => literal(&word).unwrap_or_else(|| "?".to_owned()),
            Token::Operator(operator) => operator.replace('\n', "NL"),
            Token::Redirect(redirect) => redirect.to_owned(),
            Token::Document => "DOC".to_owned(),
        };
        tokens(script).into_iter().map(show).collect()
    }

    #[test]
    fn words_and_operators() {
        assert_eq!(
            words("cd a&&docker build -t 'x y' . # no"),
            ["cd", "a", "&&", "docker", "build", "-t", "x y", "."]
        );
        assert_eq!(
            words("a \\\n  b|tee c 2>&1; (d)"),
            ["a", "b", "|", "tee", "c", ">&", "1", ";", "(", "d", ")"]
        );
        assert_eq!(words("cat <<EOF > f\nnot a command\nEOF\nnext"), ["cat", "DOC", ">", "f", "NL", "next"]);
        assert_eq!(words("a\"b\"'c'\\ d"), ["abc d"]);
    }

    #[test]
    fn expansions() {
        let piece = |text: &str| match tokens(text).remove(0) {
            Token::Word(mut word, _) => word.remove(0),
            other => panic!("{other:?}"),
        };
        assert_eq!(piece("$A"), variable("A", Operation::Plain, false));
        assert_eq!(
            piece("${SHA::7}"),
            variable("SHA", Operation::Substring { offset: 0, length: Some(7) }, false)
        );
        assert_eq!(piece("$(git log | head -1)"), Piece::Opaque { text: "$(git log | head -1)".to_owned() });
        assert_eq!(piece("${A//x/y}"), Piece::Opaque { text: "${A//x/y}".to_owned() });
        assert!(matches!(piece("${A:-b c}"), Piece::Variable { operation: Operation::Default { .. }, .. }));
    }

    #[test]
    fn whatever_never_ends_ends_with_the_script() {
        for script in ["'a", "\"a", "$(a", "${a", "`a", "cat <<EOF\na", "a \\"] {
            assert!(!tokens(script).is_empty(), "{script}");
        }
    }
}
