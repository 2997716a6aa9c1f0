//! The flags of `docker build` on our command line, made from [`crate::model::flags`], and back into a [`Request`].

use clap::builder::{BoolishValueParser, StringValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::model::flags::{BUILD_FLAGS, Definition, Kind};
use crate::model::request::{Context, Flag, Request, Value};

const HEADING: &str = "Flags of `docker build` and `docker buildx build`";

/// A `docker build` line as typed, in its order.
#[derive(Debug, Clone)]
pub struct EngineFlags {
    flags: Vec<Flag>,
    context: String,
}

impl EngineFlags {
    /// As a request.
    pub fn into_request(self) -> Request {
        Request { flags: self.flags, context: Context::parse(&self.context) }
    }
}

/// A word, or a `docker build` line: what the word means depends on another flag.
#[derive(Debug, Clone)]
pub struct WordOrLine {
    /// The word, or the folder of the line.
    pub word: Option<String>,
    line: EngineFlags,
}

impl WordOrLine {
    /// As a request, where it is a line.
    pub fn into_request(self) -> Request {
        self.line.into_request()
    }

    /// Whether any flag of a line was given.
    pub fn has_flags(&self) -> bool {
        !self.line.flags.is_empty()
    }
}

impl Args for WordOrLine {
    fn augment_args(command: Command) -> Command {
        let help = "A branch or scope, a cache ref, or an image that was pushed; with --against, the folder that is built";
        let word = |argument: Arg| argument.required(false).value_name("REF | PATH").help(help);
        EngineFlags::augment_args(command).mut_arg("context", word)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for WordOrLine {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let word = matches.get_one::<String>("context").cloned();
        Ok(WordOrLine { word, line: EngineFlags::from_arg_matches(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for EngineFlags {
    fn augment_args(command: Command) -> Command {
        let command = command.arg(
            Arg::new("context")
                .value_name("PATH | URL | -")
                .required(true)
                .help("Folder, address or standard input that the files come from"),
        );
        BUILD_FLAGS.iter().fold(command, |command, definition| command.arg(argument(definition)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(definition: &Definition) -> Arg {
    let argument = Arg::new(definition.name)
        .long(definition.name)
        .action(ArgAction::Append)
        .help(definition.help)
        .help_heading(HEADING)
        .hide(definition.help.is_empty());
    let argument = match definition.short {
        Some(letter) => argument.short(letter),
        None => argument,
    };
    match definition.kind {
        // As Go's pflag reads switches: `--push`, `--push=false`, never `--push false`.
        Kind::Switch => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL")
            .hide_possible_values(true)
            .value_parser(BoolishValueParser::new()),
        Kind::Value | Kind::List => {
            argument.value_name("VALUE").allow_hyphen_values(true).value_parser(StringValueParser::new())
        }
    }
}

impl FromArgMatches for EngineFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut found: Vec<(usize, Flag)> = Vec::new();
        for definition in BUILD_FLAGS {
            let places = matches.indices_of(definition.name).into_iter().flatten();
            let values: Vec<Value> = if definition.kind == Kind::Switch {
                matches
                    .get_many::<bool>(definition.name)
                    .into_iter()
                    .flatten()
                    .copied()
                    .map(Value::Switch)
                    .collect()
            } else {
                let texts = matches.get_many::<String>(definition.name).into_iter().flatten();
                texts.cloned().map(Value::Text).collect()
            };
            found.extend(
                places.zip(values).map(|(place, value)| (place, Flag { name: definition.name, value })),
            );
        }
        found.sort_by_key(|(place, _)| *place);
        let context = matches.get_one::<String>("context").cloned().unwrap_or_default();
        Ok(EngineFlags { flags: found.into_iter().map(|(_, flag)| flag).collect(), context })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::arguments;

    fn read(line: &[&str]) -> Result<Request, clap::Error> {
        let command = EngineFlags::augment_args(Command::new("build"));
        let matches = command.try_get_matches_from(std::iter::once("build").chain(line.iter().copied()))?;
        Ok(EngineFlags::from_arg_matches(&matches)?.into_request())
    }

    #[test]
    fn keeps_the_order_and_every_value() {
        let line =
            ["-t", "a:1", "--push", "--build-arg", "X=-1", "-f", "D", "--tag=b:2", "--pull=false", "."];
        let request = read(&line).expect("valid");
        assert_eq!(
            arguments(&request.flags),
            ["--tag", "a:1", "--push", "--build-arg", "X=-1", "--file", "D", "--tag", "b:2", "--pull=false"]
        );
        assert_eq!(request.context, Context::Folder(".".into()));
    }

    #[test]
    fn letters_cluster_as_in_docker() {
        let request = read(&["-qt", "a", "-"]).expect("valid");
        assert_eq!(arguments(&request.flags), ["--quiet", "--tag", "a"]);
        assert_eq!(request.context, Context::Stdin);
    }

    #[test]
    fn a_context_is_needed() {
        assert!(read(&["-t", "a"]).is_err());
        assert!(read(&["--no-such-flag", "."]).is_err());
    }
}
