//! A copy of a Dockerfile in which stages that have no name get one.
//!
//! `FROM x` without `AS` can be copied from by its number, but `--target` means names only (BuildKit's `findStateByName`).
//! The name is BuildKit's own label for the stage, `stage-0`. A stage's name is in no cache key, so that a build of the
//! copy hits, and leaves, what a build of the original would.

use super::line::trim_ending;
use super::stage::Dockerfile;

/// Why no copy with names can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name `{name}` that it would get is in the Dockerfile already")]
pub struct NameTaken {
    /// The name.
    pub name: String,
}

/// Appends ` AS stage-N` to the `FROM` of each of these stages that has no name. `text` is what `dockerfile` was read
/// from; nothing else in it changes. A name that occurs anywhere in the text could mean something else by then, and is
/// refused.
pub fn named(text: &[u8], dockerfile: &Dockerfile, stages: &[usize]) -> Result<Vec<u8>, NameTaken> {
    let mentioned = String::from_utf8_lossy(text).to_lowercase();
    let mut lines: Vec<Vec<u8>> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let unnamed = dockerfile.stages.iter().filter(|stage| stage.name.is_none());
    for stage in unnamed.filter(|stage| stages.contains(&stage.index)) {
        let name = label(stage.index);
        if mentioned.contains(&name) {
            return Err(NameTaken { name });
        }
        // A `FROM` that is continued ends on a line that is not: comments and blank lines never are the last.
        if let Some(line) = lines.get_mut(stage.from.last - 1) {
            let end = trim_ending(&String::from_utf8_lossy(line)).len().min(line.len());
            line.splice(end..end, format!(" AS {name}").into_bytes());
        }
    }
    Ok(lines.concat())
}

/// What BuildKit calls a stage without a name.
pub(super) fn label(index: usize) -> String {
    format!("stage-{index}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_names(text: &str, stages: &[usize]) -> String {
        let file = Dockerfile::parse(text.as_bytes()).expect("Dockerfile");
        match named(text.as_bytes(), &file, stages) {
            Ok(named) => String::from_utf8(named).expect("UTF-8"),
            Err(taken) => taken.to_string(),
        }
    }

    #[test]
    fn stages_get_their_label_as_name() {
        let cases = [
            ("plain", "FROM a\nRUN x\nFROM b\n", "FROM a AS stage-0\nRUN x\nFROM b\n"),
            ("a name stays", "FROM a AS c\nFROM b\n", "FROM a AS c\nFROM b\n"),
            ("a platform", "FROM --platform=$X a\nFROM b", "FROM --platform=$X a AS stage-0\nFROM b"),
            ("crlf", "FROM a\r\nFROM b\r\n", "FROM a AS stage-0\r\nFROM b\r\n"),
            ("blanks at the end", "FROM a \t\nFROM b", "FROM a \t AS stage-0\nFROM b"),
            ("continued", "FROM \\\n  a\nFROM b", "FROM \\\n  a AS stage-0\nFROM b"),
            (
                "continued over a comment and a blank line",
                "FROM --platform=linux \\\n# why\n\n a\nFROM b",
                "FROM --platform=linux \\\n# why\n\n a AS stage-0\nFROM b",
            ),
            (
                "another escape character",
                "# escape=`\nFROM `\n a\nRUN C:\\\nFROM b",
                "# escape=`\nFROM `\n a AS stage-0\nRUN C:\\\nFROM b",
            ),
            (
                "a heredoc with FROM in it",
                "ARG v\nFROM a:$v\nRUN <<E\nFROM x\nE\nFROM b\n",
                "ARG v\nFROM a:$v AS stage-0\nRUN <<E\nFROM x\nE\nFROM b\n",
            ),
            ("a byte order mark", "\u{feff}FROM a\nFROM b", "\u{feff}FROM a AS stage-0\nFROM b"),
            (
                "a name that is taken",
                "FROM a\nFROM b\nCOPY --from=Stage-0 / /",
                "the name `stage-0` that it would get is in the Dockerfile already",
            ),
        ];
        for (case, text, expected) in cases {
            assert_eq!(with_names(text, &[0]), expected, "{case}");
        }
        assert_eq!(with_names("FROM a\nFROM b\nFROM c", &[1]), "FROM a\nFROM b AS stage-1\nFROM c");
    }

    proptest! {
        #[test]
        fn nothing_but_names_changes(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "FROM a", "FROM \\\n a", "FROM a \\\n\n# x\n", "RUN x \\\n y", "COPY <<E /\nFROM z\nE", "# x", "",
                ]),
                0..8,
            ),
            crlf: bool,
        ) {
            let text = format!("FROM a\n{}\nFROM last\n", parts.join("\n"));
            let text = if crlf { text.replace('\n', "\r\n") } else { text };
            let Ok(file) = Dockerfile::parse(text.as_bytes()) else { return Ok(()) };
            let all: Vec<usize> = (0..file.stages.len()).collect();
            let copy = named(text.as_bytes(), &file, &all).expect("free");
            let again = Dockerfile::parse(&copy).expect("still a Dockerfile");
            prop_assert_eq!(again.stages.len(), file.stages.len());
            for (before, after) in file.stages.iter().zip(&again.stages) {
                prop_assert_eq!(after.name.clone(), Some(before.name.clone().unwrap_or_else(|| label(before.index))));
                prop_assert_eq!((&before.base, &before.instructions), (&after.base, &after.instructions));
            }
        }
    }
}
