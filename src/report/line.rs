//! A text from outside as one harmless line.
//!
//! Instructions, log lines and messages come from Dockerfiles, programs and registries. Printed as they are they could
//! move the cursor, open a GitLab section, or give GitHub's runner a command, which it takes from the begin of a line
//! (`::error::`) and, in the old form, from anywhere in it (`##[error]`; actions/runner, ActionCommand.cs). Callers
//! put at least one word of ours before the text, so that only the old form is left to break here.

/// What stands for the part of a text that was cut off.
const CUT: char = '…';

/// The text in one line, without escape sequences, control characters and characters that turn the direction of writing.
/// Spaces are kept, and any other white space becomes one, a tabulator four.
pub fn strip(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_escape(&mut characters),
            '\t' => line.push_str("    "),
            _ if character.is_whitespace() => line.push(' '),
            _ if character.is_control() || is_invisible(character) => {}
            _ => line.push(character),
        }
    }
    line.replace("##[", "# #[")
}

/// The text as [`strip`] makes it, with one space between words and none around them: for instructions and names.
pub fn clean(text: &str) -> String {
    strip(text).split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text as [`clean`] makes it, cut to `width` columns.
pub fn fit(text: &str, width: usize) -> String {
    cut(&clean(text), width)
}

/// A harmless line, cut to `width` columns.
pub fn cut(line: &str, width: usize) -> String {
    if columns(line) <= width {
        return line.to_owned();
    }
    let mut used = 1;
    let kept: String = line
        .chars()
        .take_while(|character| {
            used += width_of(*character);
            used <= width
        })
        .collect();
    if width == 0 { kept } else { format!("{kept}{CUT}") }
}

/// How many columns of a terminal a clean line takes, at most: everything beyond the scripts of one column a letter is
/// counted twice, because a line that is too short does no harm and one that wraps tears the live display.
pub fn columns(line: &str) -> usize {
    line.chars().map(width_of).sum()
}

fn width_of(character: char) -> usize {
    match character {
        '\u{2010}'..='\u{25ff}' => 1,
        '\u{1100}'.. => 2,
        _ => 1,
    }
}

/// Formatting characters: they show nothing, and can make a line look like another one.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Takes what follows an ESC: a control sequence (`[31m`), a command to the terminal (`]0;title` up to BEL or ESC `\`),
/// or one character.
fn skip_escape(characters: &mut std::str::Chars<'_>) {
    match characters.next() {
        Some('[') => {
            characters.find(|character| !matches!(character, ' '..='?'));
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let mut before = ' ';
            characters.find(|character| {
                let ended =
                    *character == '\u{7}' || *character == '\n' || (before, *character) == ('\u{1b}', '\\');
                before = *character;
                ended
            });
        }
        _ => {}
    }
}

/// The few colours that are used; each only repeats what the words say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Green: answered from the cache.
    Good,
    /// Yellow: executed, or a warning.
    Work,
    /// Red: failed.
    Bad,
    /// Bold: headings.
    Strong,
    /// Faint: what matters least.
    Faint,
}

impl Paint {
    /// The text in this colour, or as it is when there is to be no colour.
    pub fn on(self, text: &str, color: bool) -> String {
        let code = match self {
            Paint::Good => 32,
            Paint::Work => 33,
            Paint::Bad => 31,
            Paint::Strong => 1,
            Paint::Faint => 2,
        };
        if color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_be_obeyed_is_taken_out() {
        let cases = [
            ("plain", "RUN make -j4", "RUN make -j4"),
            ("colours", "\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("title of the window", "a\u{1b}]0;evil\u{7}b", "ab"),
            ("hyperlink", "\u{1b}]8;;http://x\u{1b}\\text\u{1b}]8;;\u{1b}\\", "text"),
            ("an unended command ends with the line", "\u{1b}]0;evil\nnext", "next"),
            ("unended sequence", "a\u{1b}[31", "a"),
            ("GitLab section", "section_start:1:x\r\u{1b}[0Ktitle", "section_start:1:x title"),
            ("several lines", "RUN <<EOF\n\tmake\n\nEOF\n", "RUN <<EOF make EOF"),
            ("old GitHub command", "echo ##[error]x", "echo # #[error]x"),
            ("reversed writing", "a\u{202e}b\u{200b}c", "abc"),
            ("other line ends", "a\u{2028}b\u{85}c", "a b c"),
            ("control characters", "a\0\u{8}\u{9b}b", "ab"),
        ];
        for (name, text, expected) in cases {
            assert_eq!(clean(text), expected, "{name}");
        }
    }

    #[test]
    fn the_shape_of_a_log_is_kept() {
        assert_eq!(strip("\t4 |  \u{1b}[31mx\u{1b}[0m\r\n"), "    4 |  x  ");
    }

    #[test]
    fn cuts_to_columns() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde…");
        assert_eq!(fit("構築構築", 5), "構築…");
        assert_eq!([fit("abc", 1), fit("abc", 0)], ["…", ""]);
    }

    proptest! {
        #[test]
        fn a_clean_line_is_one_line_and_stays_clean(text in any::<String>()) {
            let line = clean(&text);
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert!(!line.contains("##["));
            prop_assert!(!strip(&text).chars().any(char::is_control));
            prop_assert_eq!(clean(&line), line);
        }

        #[test]
        fn fits(text in any::<String>(), width in 0usize..50) {
            prop_assert!(columns(&fit(&text, width)) <= width);
        }
    }
}
