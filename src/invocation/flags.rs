//! Flags in front of a subcommand, read as the program itself would read them.
//!
//! Docker, compose, podman and buildah read flags with Go's `pflag`; buildctl with Go's own `flag`, where one dash does.
//! A flag that is not in the program's table makes the whole line unknown: whether it takes the next word cannot be
//! guessed.

/// How a program writes its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `--name`, `-n`, letters in one word.
    Pflag,
    /// `-name` is `--name`.
    GoFlag,
}

/// One flag that a program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// The long name, without dashes.
    pub name: &'static str,
    /// The letter, where it has one.
    pub letter: Option<char>,
    /// Whether it takes a value.
    pub has_value: bool,
}

/// A flag that takes a value.
pub(super) const fn value(name: &'static str) -> Known {
    Known { name, letter: None, has_value: true }
}

/// A flag that takes none, but for `=true` and `=false`.
pub(super) const fn switch(name: &'static str) -> Known {
    Known { name, letter: None, has_value: false }
}

impl Known {
    /// With a letter.
    pub(super) const fn lettered(mut self, letter: char) -> Known {
        self.letter = Some(letter);
        self
    }
}

/// A flag as given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given<'a> {
    /// The long name.
    pub name: &'static str,
    /// Its value; for a switch `true` or what stands behind `=`.
    pub value: &'a str,
}

impl Given<'_> {
    /// Whether a switch is on: the words that Go's `strconv.ParseBool` takes for true.
    pub(super) fn is_on(&self) -> bool {
        ["1", "t", "T", "TRUE", "true", "True"].contains(&self.value)
    }
}

/// The flags at the begin of a line, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leading<'a> {
    /// The flags, in their order.
    pub flags: Vec<Given<'a>>,
    /// The words that they were given by.
    pub words: &'a [String],
    /// From the first word that is no flag.
    pub rest: &'a [String],
}

impl Leading<'_> {
    /// Whether a switch is on; the last one stands.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.flags.iter().rev().find(|flag| flag.name == name).is_some_and(Given::is_on)
    }
}

/// Reads the flags in front of the first other word. `None`: one of them is not in the table, or lacks its value.
pub(super) fn leading<'a>(words: &'a [String], table: &[Known], style: Style) -> Option<Leading<'a>> {
    let mut flags = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else { break };
        at += 1;
        let long = name.strip_prefix('-').or((style == Style::GoFlag).then_some(name));
        // `--` ends the flags, and with them what these programs would agree on.
        if long == Some("") {
            return None;
        }
        let next = words.get(at).map(String::as_str);
        let took_next = match long {
            Some(long) => read_long(long, next, table, &mut flags)?,
            None => read_letters(name, next, table, &mut flags)?,
        };
        at += usize::from(took_next);
    }
    let (words, rest) = words.split_at(at);
    Some(Leading { flags, words, rest })
}

/// Reads `name`, `name=value`, or `name` with its value in the next word; tells whether that was taken.
fn read_long<'a>(
    text: &'a str,
    next: Option<&'a str>,
    table: &[Known],
    flags: &mut Vec<Given<'a>>,
) -> Option<bool> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let known = table.iter().find(|known| known.name == name)?;
    let took_next = known.has_value && value.is_none();
    let value = value.or(if known.has_value { next } else { Some("true") })?;
    flags.push(Given { name: known.name, value });
    Some(took_next)
}

/// Reads letters in one word: switches, and at last one that takes the rest of the word or the next one.
fn read_letters<'a>(
    text: &'a str,
    next: Option<&'a str>,
    table: &[Known],
    flags: &mut Vec<Given<'a>>,
) -> Option<bool> {
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let known = table.iter().find(|known| known.letter == Some(letter))?;
        rest = &rest[letter.len_utf8()..];
        if let Some(value) = rest.strip_prefix('=') {
            flags.push(Given { name: known.name, value });
            return Some(false);
        }
        if !known.has_value {
            flags.push(Given { name: known.name, value: "true" });
        } else if rest.is_empty() {
            flags.push(Given { name: known.name, value: next? });
            return Some(true);
        } else {
            flags.push(Given { name: known.name, value: rest });
            return Some(false);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: [Known; 3] = [value("host").lettered('H'), switch("debug").lettered('D'), value("addr")];

    fn read(line: &str, style: Style) -> Option<(String, String)> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let found = leading(&words, &TABLE, style)?;
        let shown = found.flags.iter().map(|flag| format!("{}={}", flag.name, flag.value));
        assert_eq!(found.words.len() + found.rest.len(), words.len());
        Some((shown.collect::<Vec<_>>().join(" "), found.rest.join(" ")))
    }

    #[test]
    fn every_form_of_a_flag_is_read() {
        for (line, flags, rest) in [
            ("build .", "", "build ."),
            ("--host x build --host y", "host=x", "build --host y"),
            ("--host=x -D build", "host=x debug=true", "build"),
            ("-H x build", "host=x", "build"),
            ("-Hx build", "host=x", "build"),
            ("-H=x build", "host=x", "build"),
            ("-DHx build", "debug=true host=x", "build"),
            ("--debug=false build", "debug=false", "build"),
            ("- build", "", "- build"),
        ] {
            assert_eq!(read(line, Style::Pflag), Some((flags.into(), rest.into())), "{line}");
        }
        let go = read("-addr x --debug -addr=y build", Style::GoFlag);
        assert_eq!(go, Some(("addr=x debug=true addr=y".into(), "build".into())));
    }

    #[test]
    fn what_is_not_in_the_table_is_not_guessed() {
        for line in ["--hosts x build", "-x build", "--host", "-H", "-- build", "-addr x build"] {
            assert_eq!(read(line, Style::Pflag), None, "{line}");
        }
    }
}
