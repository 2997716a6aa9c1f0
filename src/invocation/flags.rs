//! Reads argument lists as the tools themselves read them.
//!
//! Docker, compose, podman and buildah read flags with Go's `pflag`; buildctl with Go's own `flag`, where one dash does.
//! A flag that is not in the tool's table makes the whole line unknown: whether it takes the next word cannot be
//! guessed.

/// The flags that a tool knows, apart by blanks: the long name, `|` before its letter, `=` behind those that take a
/// value, `?` behind those that take one only where it is attached. `file|f= quiet|q pull? set=`
#[derive(Debug, Clone, Copy)]
pub(super) struct Table(pub &'static str);

/// How a program writes its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `--name`, `-n`, letters in one word.
    Pflag,
    /// `-name` is `--name`.
    GoFlag,
}

/// An argument list, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The flags, in their order.
    pub flags: Vec<Flag>,
    /// The other words.
    pub rest: Vec<String>,
}

/// A flag as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flag {
    /// The long name, without dashes.
    pub name: &'static str,
    /// Its value; for a switch `true` or what stands behind `=`.
    pub value: String,
    /// The words that say so. Letters that stood in one word are apart.
    pub words: Vec<String>,
}

/// What a list cannot be read for: a flag that is not in the table or has no fitting value. Without the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unknown(pub String);

/// Reads the flags in front of the first other word, where a subcommand is expected.
pub(super) fn leading(words: &[String], table: Table, style: Style) -> Result<Line, Unknown> {
    read(words, table, style, true)
}

/// Reads the flags among other words, up to a `--`.
pub(super) fn anywhere(words: &[String], table: Table) -> Result<Line, Unknown> {
    read(words, table, Style::Pflag, false)
}

fn read(words: &[String], table: Table, style: Style, leading: bool) -> Result<Line, Unknown> {
    let mut line = Line::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let unknown = || Unknown(word.split('=').next().unwrap_or_default().to_owned());
        let dashed = word.strip_prefix('-').filter(|name| !name.is_empty());
        let long =
            dashed.and_then(|name| name.strip_prefix('-').or((style == Style::GoFlag).then_some(name)));
        match (dashed, long) {
            (Some(_), Some("")) if leading => return Err(unknown()),
            (Some(_), Some("")) => line.rest.extend(words.by_ref().cloned()),
            (Some(_), Some(long)) => line.flags.push(table.long(word, long, &mut words).ok_or_else(unknown)?),
            (Some(letters), None) => {
                table.letters(letters, &mut words, &mut line.flags).ok_or_else(unknown)?
            }
            (None, _) => {
                line.rest.push(word.clone());
                if leading {
                    line.rest.extend(words.by_ref().cloned());
                }
            }
        }
    }
    Ok(line)
}

type Words<'a> = std::slice::Iter<'a, String>;

/// One flag of a table.
struct Known {
    name: &'static str,
    letter: Option<&'static str>,
    has_value: bool,
    /// It is no switch, although it may stand alone.
    may_have_value: bool,
}

impl Table {
    fn find(self, wanted: impl Fn(&Known) -> bool) -> Option<Known> {
        let mut all = self.0.split_whitespace().map(|text| {
            let (text, has_value) = text.strip_suffix('=').map_or((text, false), |text| (text, true));
            let (text, may_have_value) = text.strip_suffix('?').map_or((text, false), |text| (text, true));
            let (name, letter) =
                text.split_once('|').map_or((text, None), |(name, letter)| (name, Some(letter)));
            Known { name, letter, has_value, may_have_value }
        });
        all.find(wanted)
    }

    /// `name`, `name=value`, or `name` with its value in the next word.
    fn long(self, word: &str, text: &str, next: &mut Words<'_>) -> Option<Flag> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let known = self.find(|known| known.name == name)?;
        let mut words = vec![word.to_owned()];
        let value = match value {
            Some(value) => value.to_owned(),
            None if known.has_value => {
                words.push(next.next()?.clone());
                words[1].clone()
            }
            None => "true".to_owned(),
        };
        known.given(value, words)
    }

    /// Letters in one word: switches, and at last one that takes the rest of the word or the next one.
    fn letters(self, letters: &str, next: &mut Words<'_>, flags: &mut Vec<Flag>) -> Option<()> {
        for (at, letter) in letters.char_indices() {
            let after = at + letter.len_utf8();
            let (letter, attached) = (&letters[at..after], &letters[after..]);
            let known = self.find(|known| known.letter == Some(letter))?;
            let dashed = format!("-{letter}");
            if let Some(value) = attached.strip_prefix('=') {
                flags.push(known.given(value.to_owned(), vec![format!("{dashed}={value}")])?);
                return Some(());
            }
            if known.has_value {
                let value = if attached.is_empty() { next.next()?.clone() } else { attached.to_owned() };
                flags.push(known.given(value.clone(), vec![dashed, value])?);
                return Some(());
            }
            flags.push(known.given("true".to_owned(), vec![dashed])?);
        }
        Some(())
    }
}

impl Known {
    /// `None`: the value of a switch is none for Go's `strconv.ParseBool`.
    fn given(&self, value: String, words: Vec<String>) -> Option<Flag> {
        const SWITCHES: [&str; 12] =
            ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
        let fits = self.has_value || self.may_have_value || SWITCHES.contains(&value.as_str());
        fits.then_some(Flag { name: self.name, value, words })
    }
}

impl Flag {
    /// Whether a switch is on.
    pub(super) fn is_on(&self) -> bool {
        ["1", "t", "T", "TRUE", "true", "True"].contains(&self.value.as_str())
    }
}

impl Line {
    /// Whether a switch is on; the last one stands.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.flags.iter().rev().find(|flag| flag.name == name).is_some_and(Flag::is_on)
    }

    /// All values of a flag, in their order.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        self.flags.iter().filter(|flag| flag.name == name).map(|flag| flag.value.clone()).collect()
    }

    /// The value of a flag that counts: the last.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.values(name).pop()
    }

    /// The words of the flags, but for some.
    pub(super) fn words_without(&self, names: &[&str]) -> Vec<String> {
        let kept = self.flags.iter().filter(|flag| !names.contains(&flag.name));
        kept.flat_map(|flag| flag.words.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table("host|H= debug|D addr= pull? quiet|q set=");

    /// Flags, other words, and the flags' words where they are not as given.
    fn shown(line: &Line) -> (String, String) {
        let flags = line.flags.iter().map(|flag| format!("{}={}", flag.name, flag.value));
        (flags.collect::<Vec<_>>().join(" "), line.rest.join(" "))
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
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
            ("-D=0 build", "debug=0", "build"),
            ("-q build -x --y", "quiet=true", "build -x --y"),
            ("--pull build", "pull=true", "build"),
            ("--pull=newer build", "pull=newer", "build"),
            ("- build", "", "- build"),
        ] {
            let line = leading(&words(line), TABLE, Style::Pflag).expect(line);
            assert_eq!(shown(&line), (flags.into(), rest.into()), "{line:?}");
        }
        let go = leading(&words("-addr x --debug -addr=y build"), TABLE, Style::GoFlag).expect("Go's flags");
        assert_eq!(shown(&go), ("addr=x debug=true addr=y".into(), "build".into()));
        let line = "-H a t --addr=b -Hc -qH=d - --set x.y=z -- -u";
        let line = anywhere(&words(line), TABLE).expect("known");
        let flags = "host=a addr=b host=c quiet=true host=d set=x.y=z";
        assert_eq!(shown(&line), (flags.into(), "t - -u".into()));
        assert_eq!(line.words_without(&["addr"]).join(" "), "-H a -H c -q -H=d --set x.y=z");
        assert_eq!((line.value("host"), line.values("host").len()), (Some("d".into()), 3));
    }

    #[test]
    fn what_is_not_in_the_table_is_not_guessed() {
        for (line, named) in [
            ("--hosts=x build", "--hosts"),
            ("-x build", "-x"),
            ("--host", "--host"),
            ("-H", "-H"),
            ("-- build", "--"),
            ("-addr x build", "-addr"),
            ("--debug=maybe build", "--debug"),
        ] {
            assert_eq!(leading(&words(line), TABLE, Style::Pflag), Err(Unknown(named.into())), "{line}");
        }
        assert_eq!(anywhere(&words("build --no-such x"), TABLE), Err(Unknown("--no-such".into())));
    }

    #[test]
    fn the_last_switch_stands() {
        for (line, on) in
            [("", false), ("-D", true), ("-D=f", false), ("-D --debug=0", false), ("-D=0 -D", true)]
        {
            assert_eq!(anywhere(&words(line), TABLE).expect(line).is_on("debug"), on, "{line}");
        }
    }
}
