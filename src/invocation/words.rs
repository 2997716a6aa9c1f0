//! Argument lists as Go's pflag reads them, so far as it takes to tell flags from the words between them.

/// One flag of a tool: its long name, its letter, and whether a value follows.
pub(super) type Definition = (&'static str, Option<char>, bool);

/// A part of an argument list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// A flag, with its value where it takes one, and the words that it was written with.
    Flag {
        /// The long name.
        name: &'static str,
        /// The value; of a switch, what follows `=`.
        value: Option<String>,
        /// As given.
        given: Vec<String>,
    },
    /// Anything else.
    Text(String),
}

/// A flag that the table does not know, or one without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unknown(pub(super) String);

/// Why a line is left as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// In words.
    pub reason: String,
    /// Whether it may build after all; else there is nothing to say about it.
    pub builds: bool,
}

impl Left {
    pub(super) fn no_build(reason: impl Into<String>) -> Self {
        Left { reason: reason.into(), builds: false }
    }
}

impl From<Unknown> for Left {
    fn from(Unknown(word): Unknown) -> Self {
        Left { reason: format!("`{word}` is not known to layerlift"), builds: true }
    }
}

/// Splits an argument list. `leading`: the first text ends the flags, as before a subcommand; what follows it is text.
pub(super) fn split(
    words: &[String],
    table: &'static [Definition],
    leading: bool,
) -> Result<Vec<Word>, Unknown> {
    let mut found = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            found.extend(rest.by_ref().cloned().map(Word::Text));
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let (name, _, takes) =
                *table.iter().find(|it| it.0 == name).ok_or_else(|| Unknown(word.clone()))?;
            let mut given = vec![word.clone()];
            let value = match value {
                None if takes => {
                    let next = rest.next().ok_or_else(|| Unknown(word.clone()))?;
                    given.push(next.clone());
                    Some(next.clone())
                }
                value => value,
            };
            found.push(Word::Flag { name, value, given });
        } else if word.len() > 1 && word.starts_with('-') {
            letters(word, table, &mut rest, &mut found)?;
        } else {
            found.push(Word::Text(word.clone()));
            if leading {
                found.extend(rest.by_ref().cloned().map(Word::Text));
            }
        }
    }
    Ok(found)
}

/// A cluster of letters: `-qf a`, `-fa`, `-f=a`.
fn letters(
    word: &str,
    table: &'static [Definition],
    rest: &mut std::slice::Iter<'_, String>,
    found: &mut Vec<Word>,
) -> Result<(), Unknown> {
    let unknown = || Unknown(word.to_owned());
    for (at, letter) in word[1..].char_indices() {
        let (name, _, takes) = *table.iter().find(|it| it.1 == Some(letter)).ok_or_else(unknown)?;
        if !takes {
            found.push(Word::Flag { name, value: None, given: vec![format!("-{letter}")] });
            continue;
        }
        let attached = &word[1 + at + letter.len_utf8()..];
        let value = match attached {
            "" => rest.next().ok_or_else(unknown)?.clone(),
            attached => attached.strip_prefix('=').unwrap_or(attached).to_owned(),
        };
        let given = vec![format!("-{letter}"), value.clone()];
        found.push(Word::Flag { name, value: Some(value), given });
        return Ok(());
    }
    Ok(())
}

/// Whether a switch is on: `--push`, `--push=true`, not `--push=false`.
pub(super) fn is_on(value: Option<&str>) -> bool {
    !value.is_some_and(|value| ["0", "f", "F", "false", "FALSE", "False"].contains(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Definition] =
        &[("file", Some('f'), true), ("quiet", Some('q'), false), ("set", None, true)];

    fn shown(line: &str, leading: bool) -> Result<Vec<String>, Unknown> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let show = |word| match word {
            Word::Flag { name, value, .. } => format!("--{name}={}", value.unwrap_or_default()),
            Word::Text(text) => text,
        };
        Ok(split(&words, TABLE, leading)?.into_iter().map(show).collect())
    }

    #[test]
    fn reads_the_forms_of_a_flag() {
        let expected = ["--file=a", "--file=b", "--file=c", "--quiet=", "--file=d", "--set=x.y=z", "t", "-u"];
        let line = "-f a --file=b -fc -qf=d --set x.y=z t -- -u";
        assert_eq!(shown(line, false).expect("known"), expected);
        assert_eq!(shown("-q build -x --y", true).expect("known"), ["--quiet=", "build", "-x", "--y"]);
        assert_eq!(shown("--no-such x", false), Err(Unknown("--no-such".into())));
        assert_eq!(shown("-f", false), Err(Unknown("-f".into())));
        assert!(is_on(None) && is_on(Some("true")) && !is_on(Some("false")));
    }
}
