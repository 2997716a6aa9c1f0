//! What can be wrong with a Dockerfile, and how the place is shown.

use super::expand::ExpandError;

/// Why a text is no Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct ParseError {
    /// The line where the instruction begins, from 1.
    pub line: usize,
    /// The part of the line to point at; empty for the whole line.
    pub word: String,
    /// Whether the engine refuses the file too. It may not where another frontend reads it, or where a limit is ours.
    pub certain: bool,
    /// What is wrong.
    #[source]
    pub fault: ParseFault,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseFault {
    /// No instruction at all.
    #[error("the file has no instructions")]
    Empty,
    /// More than we read.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// BuildKit reads no line above 65535 bytes (`bufio.MaxScanTokenSize`).
    #[error("the line is longer than 65535 bytes")]
    LongLine,
    /// The same directive twice.
    #[error("the `{0}` directive is given twice")]
    RepeatedDirective(String),
    /// `# escape=` with something else than `\` or a backtick.
    #[error("the escape character is `{0}`, but only `\\` and `` ` `` are allowed")]
    Escape(String),
    /// No such instruction.
    #[error("unknown instruction `{name}`{}", did_you_mean(.suggestion.as_deref()))]
    UnknownInstruction {
        /// As written.
        name: String,
        /// A known one within two edits.
        suggestion: Option<String>,
    },
    /// Something else than `ARG` before the first `FROM`, or no `FROM` at all.
    #[error("no `FROM` before this line")]
    NoStage,
    /// The delimiter never came.
    #[error("the heredoc `{0}` is not ended")]
    UnterminatedHeredoc(String),
    /// Not `[a-z][a-z0-9-_.]*`.
    #[error(
        "invalid stage name `{0}`: it begins with a letter and has only letters, digits, `-`, `_` and `.`"
    )]
    StageName(String),
    /// Arguments that make no sense.
    #[error("{instruction} {reason}")]
    Arguments {
        /// Upper-case name of the instruction.
        instruction: String,
        /// What is wrong with them.
        reason: &'static str,
    },
}

/// Why a Dockerfile gives no graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct GraphError {
    /// The line where the instruction begins, from 1; the last `FROM` for an unknown target.
    pub line: usize,
    /// The part of the line to point at; empty for the whole line.
    pub word: String,
    /// What is wrong.
    #[source]
    pub fault: GraphFault,
}

impl GraphError {
    /// Whether the engine refuses the build too, as far as its frontend is Docker's. Not where a limit is ours; and BuildKit
    /// may find images of `--from`s behind the last stage's index.
    pub fn is_certain(&self) -> bool {
        !matches!(self.fault, GraphFault::Expansion(ExpandError::TooMuch) | GraphFault::StageIndex(_))
    }
}

/// What keeps a Dockerfile from being a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphFault {
    /// `--target` names no stage.
    #[error("no stage is named `{name}`{}; there {}", did_you_mean(.suggestion.as_deref()), listing(.stages))]
    UnknownTarget {
        /// As given.
        name: String,
        /// A stage within two edits.
        suggestion: Option<String>,
        /// All names, in the order of the file.
        stages: Vec<String>,
    },
    /// The stage comes later, or is the one that copies.
    #[error("stage `{0}` must come before the instruction that reads it")]
    ForwardReference(String),
    /// `--from=7` with fewer stages.
    #[error("there is no stage with index {0}")]
    StageIndex(String),
    /// `COPY --from=$x`.
    #[error("variables are not allowed in `--from`; give the stage a name with `FROM ... AS` instead")]
    VariableInFrom,
    /// The base is empty after expansion.
    #[error("the base `{0}` is empty once its variables are replaced")]
    BlankBase(String),
    /// The platform is empty or malformed after expansion.
    #[error("the platform `{0}` is `{1}`, which is not os/architecture[/variant]")]
    Platform(String, String),
    /// A variable could not be replaced.
    #[error("cannot replace the variables")]
    Expansion(#[source] ExpandError),
    /// An `ONBUILD` trigger that is no instruction.
    #[error("the ONBUILD trigger `{0}` is no instruction")]
    Trigger(String),
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

fn listing(names: &[String]) -> String {
    match names {
        [] => "are no named stages".to_owned(),
        [one] => format!("is `{one}`"),
        many => format!("are `{}`", many.join("`, `")),
    }
}

/// The source line with its number and a caret below `word`, or below the whole line. Lines that do not exist give the
/// empty text.
pub fn snippet(source: &str, line: usize, word: &str) -> String {
    const WIDEST: usize = 160;
    let Some(text) = line.checked_sub(1).and_then(|index| source.lines().nth(index)) else {
        return String::new();
    };
    // Tabs have no width of their own, and control characters would reach the terminal.
    let clean = |text: &str| -> String {
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
    };
    let shown: String = clean(text.trim_end()).chars().take(WIDEST).collect();
    let start = if word.is_empty() { None } else { text.find(word) };
    let indent = start.map_or_else(
        || shown.chars().take_while(|letter| *letter == ' ').count(),
        |byte| text[..byte].chars().count(),
    );
    let width = start.map_or(usize::MAX, |_| word.chars().count());
    let carets = shown.chars().count().saturating_sub(indent).min(width).max(1);
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    format!(
        "{margin} |\n{number} | {shown}\n{margin} | {}{}\n",
        " ".repeat(indent.min(WIDEST)),
        "^".repeat(carets)
    )
}

/// The option that is nearest to `written`, at most two edits away; the first of equally near ones. An option that
/// differs in nothing is no suggestion. BuildKit: `util/suggest`.
pub(super) fn nearest<'a>(written: &str, options: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for option in options {
        let distance = distance(&written.to_lowercase(), &option.to_lowercase());
        if (1..=2).contains(&distance) && best.is_none_or(|(shortest, _)| distance < shortest) {
            best = Some((distance, option));
        }
    }
    best.map(|(_, option)| option.to_owned())
}

/// Levenshtein distance; names that differ by more than two letters in length are not worth the table.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let length = left.chars().count();
    if length.abs_diff(right.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_shown() {
        insta::assert_snapshot!(snippet("FROM a\n  RUNN make\n", 2, "RUNN"), @r"
          |
        2 |   RUNN make
          |   ^^^^
        ");
        insta::assert_snapshot!(snippet("FROM a AS Ä!\n", 1, "Ä!"), @r"
          |
        1 | FROM a AS Ä!
          |           ^^
        ");
        insta::assert_snapshot!(snippet("\tRUN x\n", 1, ""), @r"
          |
        1 |  RUN x
          |  ^^^^^
        ");
        assert_eq!(snippet("FROM a", 2, ""), "");
        assert_eq!(snippet("FROM a", 0, ""), "");
    }

    #[test]
    fn the_nearest_name_is_offered() {
        assert_eq!(nearest("RUNN", ["ADD", "RUN"]).as_deref(), Some("RUN"));
        assert_eq!(nearest("form", ["FROM", "ARG"]).as_deref(), Some("FROM"));
        assert_eq!(nearest("bulid", ["base", "build"]).as_deref(), Some("build"));
        assert_eq!(nearest("install", ["FROM", "ARG"]), None);
        assert_eq!(nearest("run", ["RUN"]), None);
    }
}
