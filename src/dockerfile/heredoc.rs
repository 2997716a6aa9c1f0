//! Here-documents: `<<EOF`, `<<-EOF`, `3<<'EOF'`, several in a line, not necessarily its first word.
//!
//! BuildKit (`parser/parser.go`) splits the line as a shell does, always with `\` as escape character, and takes every
//! word of the form `[digits]<<[-]delimiter`. Where the line cannot be split, it has no heredocs.

use super::error::{ParseError, ParseFault};
use super::expand::Lexer;
use super::line::{Lines, trim_ending};

/// One heredoc with what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// Its delimiter, without quotes. `COPY` names the file by it.
    pub name: String,
    /// Whether variables in it are replaced: its delimiter has no quotes.
    pub expand: bool,
    /// `<<-`: tabs at the start of lines go.
    pub strip_tabs: bool,
    /// The lines as written, with their endings.
    pub content: String,
}

impl Heredoc {
    /// Reads one word.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        let rest = word.trim_start_matches(|letter: char| letter.is_ascii_digit()).strip_prefix("<<")?;
        let (strip_tabs, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        let delimiter = rest.trim_ascii_start();
        if delimiter.is_empty() || delimiter.contains('<') {
            return None;
        }
        let lexer = Lexer { keep_unset: true, ..Lexer::new('\\') };
        let [name] = <[String; 1]>::try_from(lexer.words(delimiter).ok()?).ok()?;
        let raw = Lexer { raw_quotes: true, ..lexer }.words(delimiter).ok()?.concat();
        let quotes = |text: &str| text.matches(['\'', '"']).count();
        Some(Heredoc { expand: quotes(&name) == quotes(&raw), name, strip_tabs, content: String::new() })
    }

    /// Those that a line announces, still without content.
    pub(super) fn announced(line: &str) -> Vec<Self> {
        if !line.contains("<<") {
            return Vec::new();
        }
        let lexer = Lexer { raw_quotes: true, raw_escapes: true, keep_unset: true, ..Lexer::new('\\') };
        lexer.words(line).unwrap_or_default().iter().filter_map(|word| Self::of_word(word)).collect()
    }

    /// Reads the content of a heredoc of the instruction at `line`.
    pub(super) fn read(mut self, lines: &mut Lines<'_>, line: usize) -> Result<Self, ParseError> {
        while let Some(raw) = lines.raw()? {
            let end = trim_ending(raw);
            if (if self.strip_tabs { end.trim_start_matches('\t') } else { end }) == self.name {
                return Ok(self);
            }
            self.content.push_str(raw);
        }
        let (word, fault) = (self.name.clone(), ParseFault::UnterminatedHeredoc(self.name));
        Err(ParseError { line, word, certain: true, fault })
    }

    /// The first line, as BuildKit shows it behind a `RUN <<EOF`.
    pub(super) fn summary(&self) -> String {
        let stripped: Vec<&str> =
            self.content.trim().lines().map(|line| line.trim_end_matches('\r')).collect();
        match stripped.as_slice() {
            [] => String::new(),
            [one] => (*one).to_owned(),
            [first, ..] => format!("{first}..."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements() {
        type Found = (&'static str, bool, bool);
        let cases: [(&str, &[Found]); 12] = [
            ("RUN <<EOF", &[("EOF", true, false)]),
            ("RUN << EOF", &[("EOF", true, false)]),
            ("RUN <<-'EOF'", &[("EOF", false, true)]),
            ("RUN 3<<\"EOF\" x", &[("EOF", false, false)]),
            ("RUN python3 <<EOF > /x", &[("EOF", true, false)]),
            ("COPY <<a <<b /x/", &[("a", true, false), ("b", true, false)]),
            ("RUN <<E\"O\"F", &[("EOF", false, false)]),
            ("RUN echo \"<<EOF\"", &[]),
            ("RUN cat <<<word", &[]),
            ("RUN it's <<EOF", &[]),
            ("RUN a<<EOF", &[]),
            ("RUN echo \\<<EOF", &[]),
        ];
        for (line, expected) in cases {
            let found: Vec<_> = Heredoc::announced(line);
            let found: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.expand, it.strip_tabs)).collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn content_ends_at_the_delimiter_alone() {
        let read = |word: &str, text: &str| {
            let heredoc = Heredoc::of_word(word).expect("heredoc");
            heredoc.read(&mut Lines::new(text), 7).map(|heredoc| heredoc.content)
        };
        assert_eq!(read("<<E", "a\n E\nE \nE\nb"), Ok("a\n E\nE \n".to_owned()));
        assert_eq!(read("<<-E", "\ta\r\n\t\tE\r\n"), Ok("\ta\r\n".to_owned()));
        assert_eq!(read("<<E", "a\n").map_err(|error| error.line), Err(7));
    }
}
