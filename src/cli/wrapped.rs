//! A command line of another tool, as a shim or `layerlift run` gets it: a build that our own subcommand understands, or
//! something that is run as it stands.

use std::ffi::OsString;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::app::App;
use crate::invocation::{Invocation, recognise};

/// What a command line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrapped {
    /// A build, which layerlift carries out.
    Build(Invocation),
    /// Anything else: to be run as it stands, with a word to the user where it looks like a build.
    Untouched {
        /// Why a build is not carried out by layerlift.
        warning: Option<String>,
    },
}

/// Judges a command line, the program's name first.
pub fn judge(words: &[OsString]) -> Wrapped {
    let text: Option<Vec<String>> = words.iter().map(|word| word.to_str().map(str::to_owned)).collect();
    let Some(invocation) = text.as_deref().and_then(recognise) else {
        return Wrapped::Untouched { warning: None };
    };
    match doubt(invocation.translated().iter().map(OsString::from)) {
        None => Wrapped::Build(invocation),
        Some(Doubt { reason, .. }) => {
            let said = |reason| format!("layerlift leaves this build alone: {reason}");
            Wrapped::Untouched { warning: reason.map(said) }
        }
    }
}

/// Our own command line does not understand something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// What, for the user; `None` where the tool itself will complain of it, or where layerlift promises nothing.
    pub reason: Option<String>,
    /// It was a question for the help text.
    pub is_question: bool,
}

/// Whether our own command line understands these arguments; `None`: it does.
pub fn doubt(arguments: impl Iterator<Item = OsString>) -> Option<Doubt> {
    let error = App::try_parse_from(std::iter::once(OsString::from("layerlift")).chain(arguments)).err()?;
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let reason = match error.kind() {
        ErrorKind::UnknownArgument => {
            word(ContextKind::InvalidArg).map(|argument| format!("it does not know `{argument}`"))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = word(ContextKind::InvalidValue).unwrap_or_default();
            word(ContextKind::InvalidArg)
                .map(|argument| format!("`{argument}` with `{value}` makes no sense to it"))
        }
        _ => None,
    };
    let is_question = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    Some(Doubt { reason, is_question })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(line: &str) -> Wrapped {
        judge(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_build_with_known_flags_is_ours() {
        assert!(matches!(verdict("docker build -t x --push ."), Wrapped::Build(_)));
        assert!(matches!(verdict("docker --context x buildx build ."), Wrapped::Build(_)));
    }

    #[test]
    fn anything_else_is_run_as_it_stands() {
        let warning = |line: &str| match verdict(line) {
            Wrapped::Untouched { warning } => warning.unwrap_or_default(),
            Wrapped::Build(invocation) => panic!("{line}: {invocation:?}"),
        };
        assert_eq!(warning("docker ps"), "");
        assert_eq!(warning("make build"), "");
        // Docker itself says what is missing.
        assert_eq!(warning("docker build"), "");
        let unknown = "layerlift leaves this build alone: it does not know `--no-such-flag`";
        assert_eq!(warning("docker build --no-such-flag ."), unknown);
        let value = "layerlift leaves this build alone: `--push[=<BOOL>]` with `maybe` makes no sense to it";
        assert_eq!(warning("docker build --push=maybe ."), value);
    }

    #[test]
    fn words_that_are_no_text_are_handed_on() {
        use std::os::unix::ffi::OsStringExt;
        let words = ["docker".into(), "build".into(), OsString::from_vec(vec![0xff])];
        assert_eq!(judge(&words), Wrapped::Untouched { warning: None });
    }
}
