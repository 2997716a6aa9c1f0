//! How the arguments of an instruction are split: name and flags, words, `name=value` pairs, JSON arrays.
//!
//! Rules from BuildKit's `parser/split_command.go` and `parser/line_parsers.go`.

/// A line's parts: `RUN --mount=type=cache,target=/x make`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Split<'a> {
    /// The instruction's name as written.
    pub(super) name: &'a str,
    /// Its flags, without quotes.
    pub(super) flags: Vec<String>,
    /// The rest, without blanks around it.
    pub(super) rest: &'a str,
}

/// The blanks that separate words; those of other scripts do not.
fn is_blank(letter: char) -> bool {
    matches!(letter, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Takes a logical line apart.
pub(super) fn split(line: &str, escape: char) -> Split<'_> {
    let line = line.trim();
    let Some((name, arguments)) = line.split_once(is_blank) else {
        return Split { name: line, flags: Vec::new(), rest: "" };
    };
    let (mut flags, mut rest) = (Vec::new(), arguments.trim_start());
    while rest.starts_with("--") {
        let (flag, after) = flag(rest, escape);
        rest = after.trim_start();
        if flag == "--" {
            break;
        }
        flags.push(flag);
    }
    Split { name, flags, rest: rest.trim() }
}

/// The first word, without quotes and escapes, and what follows it.
fn flag(text: &str, escape: char) -> (String, &str) {
    let (mut word, mut quote) = (String::new(), None);
    let mut letters = text.char_indices();
    while let Some((place, letter)) = letters.next() {
        match quote {
            None if letter.is_whitespace() => return (word, &text[place..]),
            None if letter == '\'' || letter == '"' => quote = Some(letter),
            Some(open) if letter == open => quote = None,
            _ if letter == escape => word.extend(letters.next().map(|(_, escaped)| escaped)),
            _ => word.push(letter),
        }
    }
    (word, "")
}

/// Words between blanks; quotes mean nothing.
pub(super) fn separated(rest: &str) -> Vec<String> {
    rest.split(is_blank).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Words with their quotes and escapes still in them.
pub(super) fn quoted(rest: &str, escape: char) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match quote {
            None if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if letter == '\'' || letter == '"' => quote = Some(letter),
            Some(open) if letter == open => quote = None,
            Some('\'') => {}
            _ if letter == escape => {
                // An escape character at the very end is dropped.
                if let Some(escaped) = letters.next() {
                    word.extend([letter, escaped]);
                }
                continue;
            }
            _ => {}
        }
        word.push(letter);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `a=1 b="2"`, or the old `name all the rest`.
pub(super) fn pairs(rest: &str, escape: char) -> Result<Vec<(String, String)>, &'static str> {
    let words = quoted(rest, escape);
    let pairs: Vec<(String, String)> = match words.first() {
        None => return Err("requires at least one argument"),
        Some(first) if !first.contains('=') => {
            let (name, value) = rest.split_once(is_blank).ok_or("must have two arguments")?;
            vec![(name.to_owned(), value.trim_start_matches(is_blank).to_owned())]
        }
        Some(_) => words
            .iter()
            .map(|word| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect::<Option<_>>()
            .ok_or("has an argument that is not name=value")?,
    };
    if pairs.iter().any(|(name, _)| name.is_empty()) {
        return Err("has a value without a name");
    }
    Ok(pairs)
}

/// A JSON array of texts. What is no JSON array is for the shell; an array of other things is an error.
pub(super) fn json(rest: &str) -> Result<Option<Vec<String>>, &'static str> {
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(rest) else { return Ok(None) };
    values
        .into_iter()
        .map(|value| if let serde_json::Value::String(text) = value { Some(text) } else { None })
        .collect::<Option<Vec<_>>>()
        .map(Some)
        .ok_or("has a JSON array that holds something else than strings")
}

/// Collects words: blanks end them, except those that were quoted or escaped.
#[derive(Default)]
pub(super) struct Words {
    finished: Vec<String>,
    current: String,
}

impl Words {
    /// Adds a letter; a blank ends the word.
    pub(super) fn letter(&mut self, letter: char) {
        if !letter.is_whitespace() {
            self.current.push(letter);
        } else if !self.current.is_empty() {
            self.finished.push(std::mem::take(&mut self.current));
        }
    }

    /// Adds what was quoted or escaped.
    pub(super) fn raw(&mut self, piece: &str) {
        self.current.push_str(piece);
    }

    /// All words.
    pub(super) fn finish(mut self) -> Vec<String> {
        if !self.current.is_empty() {
            self.finished.push(self.current);
        }
        self.finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_first() {
        let cases: [(&str, &str, &[&str], &str); 8] = [
            ("RUN make", "RUN", &[], "make"),
            ("RUN", "RUN", &[], ""),
            ("COPY  --link\t--from=a  b c ", "COPY", &["--link", "--from=a"], "b c"),
            ("RUN --mount='type=x,target=/a b' ls --all", "RUN", &["--mount=type=x,target=/a b"], "ls --all"),
            ("COPY -- --from /x", "COPY", &[], "--from /x"),
            ("RUN --mount=a\\ b x", "RUN", &["--mount=a b"], "x"),
            ("RUN -x", "RUN", &[], "-x"),
            ("COPY --x=\"a", "COPY", &["--x=a"], ""),
        ];
        for (line, name, flags, rest) in cases {
            let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
            assert_eq!(split(line, '\\'), Split { name, flags, rest }, "{line}");
        }
    }

    #[test]
    fn pairs_of_both_forms() {
        let text = |rest: &str| {
            pairs(rest, '\\').map(|pairs| {
                pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|")
            })
        };
        assert_eq!(text("a=1 b=\"2 3\" c=4\\ 5").as_deref(), Ok("a=1|b=\"2 3\"|c=4\\ 5"));
        assert_eq!(text("a 1  b=2").as_deref(), Ok("a=1  b=2"));
        assert_eq!(text("a=").as_deref(), Ok("a="));
        assert!(text("a=1 b").is_err());
        assert!(text("a").is_err());
        assert!(text("=1").is_err());
        assert!(text("").is_err());
    }

    #[test]
    fn json_arrays() {
        assert_eq!(json(r#"["a", "b c"]"#), Ok(Some(vec!["a".to_owned(), "b c".to_owned()])));
        assert_eq!(json("[a]"), Ok(None));
        assert_eq!(json(r#"["a"] # no"#), Ok(None));
        assert_eq!(json("[ -f x ] && y"), Ok(None));
        assert!(json("[1]").is_err());
    }
}
