//! `buildctl ...`: global flags, then `build`. The globals are kept as given.
//!
//! Source: moby/buildkit `cmd/buildctl/main.go`, `cmd/buildctl/build.go` (0.8 to 0.25), which read flags with Go's own
//! `flag`.

use crate::invocation::flags::{Style, Table, leading};
use crate::invocation::{Invocation, Tool};

/// Flags before the subcommand.
const GLOBALS: Table =
    Table("addr= debug log-format= timeout= tlscacert= tlscert= tlsdir= tlskey= tlsservername= wait");

/// Recognises the words after `buildctl`.
pub(super) fn recognise(words: &[String]) -> Option<Invocation> {
    let line = leading(words, GLOBALS, Style::GoFlag).ok()?;
    let (command, arguments) = line.rest.split_first()?;
    let builds = matches!(command.as_str(), "build" | "b");
    let asks = |word: &String| matches!(word.as_str(), "--help" | "-help" | "-h" | "--h");
    if !builds || arguments.iter().any(asks) {
        return None;
    }
    Some(Invocation::new(Tool::Buildctl, line.words_without(&[]), arguments.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(String, String)> {
        let found = recognise(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())?;
        Some((found.globals.join(" "), found.arguments.join(" ")))
    }

    #[test]
    fn recognises_a_build() {
        for (line, globals, arguments) in [
            ("build --frontend dockerfile.v0", "", "--frontend dockerfile.v0"),
            ("b --no-cache", "", "--no-cache"),
            ("--addr unix:///s -debug build --no-cache", "--addr unix:///s -debug", "--no-cache"),
            ("-addr=tcp://b:1 --tlsdir /t build", "-addr=tcp://b:1 --tlsdir /t", ""),
        ] {
            assert_eq!(read(line), Some((globals.into(), arguments.into())), "{line}");
        }
    }

    #[test]
    fn what_builds_nothing_is_left_alone() {
        for line in ["du", "prune", "debug workers", "build --help", "--no-such-flag build", "--version"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
