//! `layerlift run`: a command line that is carried out by our own subcommand where it is a build, and else as it stands.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::base::env::{Environment, LAYERLIFT_INSIDE, PATH};
use crate::base::printer::Printer;
use crate::base::process::{self, Handover};
use crate::cli::app::RunArgs;
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::settings::SettingsArgs;
use crate::cli::shim::{path_with, unknown_self};
use crate::cli::wrapped::{Wrapped, judge};
use crate::workflow::handover::{self, Own};
use crate::workflow::shim;

/// Settings as they are handed on: the variables of their flags' names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HandedOn(pub Vec<(String, OsString)>);

impl Args for HandedOn {
    fn augment_args(command: Command) -> Command {
        SettingsArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for HandedOn {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let command = SettingsArgs::augment_args(Command::new("settings"));
        let variables = command.get_arguments().filter_map(|argument| {
            let values: Vec<&std::ffi::OsStr> = matches.get_raw(argument.get_id().as_str())?.collect();
            // Every flag has a variable of its name; lists are separated by commas in it.
            let name = format!("LAYERLIFT_{}", argument.get_long()?.to_ascii_uppercase().replace('-', "_"));
            Some((name, values.join(std::ffi::OsStr::new(","))))
        });
        Ok(HandedOn(variables.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Runs it. Returns only where the line was one for a shell, or cannot be run.
pub fn run(arguments: &RunArgs, environment: &Environment, printer: Printer) -> Result<u8, Failure> {
    let own = Own::find().ok_or_else(unknown_self)?;
    let folder = std::env::current_dir().map_err(|error| Failure::from_error(ExitCode::INTERNAL, &error))?;
    let settings = &settled(arguments.settings.clone(), &folder).0;
    if let Some(line) = &arguments.shell {
        return shell(&own, line, settings, environment);
    }
    match judge(&arguments.command) {
        Wrapped::Build(invocation) => {
            let build = handover::to_ourselves(&own, &invocation, environment, settings);
            Err(Failure::of_handover(&build.replace()))
        }
        Wrapped::Untouched { warning } => {
            warning.iter().for_each(|warning| printer.warning(warning));
            let Some((program, rest)) = arguments.command.split_first() else {
                return Err(Failure::new(ExitCode::USAGE, "there is no command to run"));
            };
            let mut variables = variables(settings);
            if warning.is_some() {
                // A shim would say the same once more.
                variables.push((LAYERLIFT_INSIDE.name.to_owned(), Some("1".into())));
            }
            let command = Handover {
                program: program.clone(),
                called_as: None,
                arguments: rest.to_vec(),
                environment: variables,
            };
            Err(Failure::of_handover(&command.replace()))
        }
    }
}

fn variables(settings: &[(String, OsString)]) -> Vec<(String, Option<OsString>)> {
    settings.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect()
}

/// Runs a line of a script with `sh`, as CI does, with shims first on `PATH` as long as it runs.
fn shell(
    own: &Own,
    line: &str,
    settings: &[(String, OsString)],
    environment: &Environment,
) -> Result<u8, Failure> {
    let failed = |error: shim::Error| Failure::from_error(ExitCode::CANNOT_WRITE, &error);
    let folder = shim::temporary(own, environment).map_err(failed)?;
    let mut variables = variables(settings);
    variables.push((PATH.name.to_owned(), Some(path_with(folder.path(), environment))));
    let command = Handover {
        program: "sh".into(),
        called_as: None,
        arguments: vec!["-c".into(), line.into()],
        environment: variables,
    };
    in_foreground(&command)
}

/// Runs a program to its end and tells its exit code; that of a signal is 128 and the signal's number, as in a shell.
pub fn in_foreground(command: &Handover) -> Result<u8, Failure> {
    let internal = |error: std::io::Error| Failure::from_error(ExitCode::INTERNAL, &error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(internal)?;
    runtime.block_on(async {
        let mut interrupts = process::interrupts(None).map_err(internal)?;
        let status = command.wait(&mut interrupts).await.map_err(|error| Failure::of_handover(&error))?;
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
    })
}

/// Paths among the settings are counted from here, wherever the line goes.
pub fn settled(mut settings: HandedOn, folder: &Path) -> HandedOn {
    const PATHS: [&str; 5] =
        ["LAYERLIFT_REPORT", "LAYERLIFT_HTML", "LAYERLIFT_DOTENV", "LAYERLIFT_CACHE_DIR", "LAYERLIFT_CONFIG"];
    for (_, value) in settings.0.iter_mut().filter(|(name, _)| PATHS.contains(&name.as_str())) {
        *value = folder.join(&*value).into();
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_handed_on_as_variables() {
        let command = HandedOn::augment_args(Command::new("run"));
        let line =
            ["run", "--strict", "--fallback", "a", "--fallback=b", "--read-only=false", "--report", "r"];
        let matches = command.get_matches_from(line);
        let mut found = settled(HandedOn::from_arg_matches(&matches).expect("read"), Path::new("/job")).0;
        found.sort();
        let expected = [
            ("LAYERLIFT_FALLBACK", "a,b"),
            ("LAYERLIFT_READ_ONLY", "false"),
            ("LAYERLIFT_REPORT", "/job/r"),
            ("LAYERLIFT_STRICT", "true"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), OsString::from(value))));
    }

    #[test]
    fn every_setting_has_its_variable() {
        let command = SettingsArgs::augment_args(Command::new("settings"));
        for argument in command.get_arguments() {
            let flag = argument.get_long().expect("a flag");
            let name = format!("LAYERLIFT_{}", flag.to_ascii_uppercase().replace('-', "_"));
            assert!(crate::base::env::ALL.iter().any(|variable| variable.name == name), "{name}");
        }
    }
}
