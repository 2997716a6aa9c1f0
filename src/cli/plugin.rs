//! The binary as a plugin of Docker's client, by the name `docker-layerlift`.
//!
//! The client asks a plugin what it is (`docker-cli-plugin-metadata`), and calls it with its own global flags, the
//! plugin's name and the rest (docker/cli cli-plugins/manager). Where `aliases.builder` is `layerlift`, everything below
//! `docker builder` comes here too: what is not ours belongs to buildx, or, on a client without buildx, to the client.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use serde_json::json;

use crate::base::env::{
    BUILDX_CONFIG, DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND, DOCKER_CONFIG, Environment, LAYERLIFT_INSIDE,
};
use crate::base::printer::Printer;
use crate::base::process::Handover;
use crate::cli::app::App;
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::run::in_foreground;
use crate::cli::shim::unknown_self;
use crate::cli::wrapped::doubt;
use crate::engine::buildx::Buildx;
use crate::engine::login::Login;
use crate::invocation::docker_globals;
use crate::workflow::handover::Own;
use crate::workflow::install::PLUGIN;

/// What the client asks a plugin with.
const METADATA: &str = "docker-cli-plugin-metadata";

/// Whether we were called as the plugin.
pub fn is_called(word: &OsStr) -> bool {
    Path::new(word).file_name() == Some(OsStr::new(PLUGIN))
}

/// Answers the client, or carries out what it hands over.
pub fn run(arguments: &[OsString], environment: &Environment, printer: Printer) -> Result<u8, Failure> {
    if arguments.first().is_some_and(|word| word == METADATA) {
        printer.data(&metadata());
        return Ok(0);
    }
    let own = Own::find().ok_or_else(unknown_self)?;
    let call = Call::read(arguments)?;
    let first = call.rest.first().and_then(|word| word.to_str());
    // `docker builder` and `docker layerlift` without more ask for help.
    let is_ours = first.is_none_or(|word| word.starts_with('-') || word == "help" || is_subcommand(word));
    if !is_ours {
        return hand_back(&call, environment);
    }
    if first == Some("build") {
        if environment.get(LAYERLIFT_INSIDE).is_some() {
            return hand_back(&call, environment);
        }
        if let Some(doubt) = doubt(call.rest.iter().cloned()).filter(|doubt| !doubt.is_question) {
            let said = |reason| printer.warning(&format!("layerlift leaves this build alone: {reason}"));
            doubt.reason.iter().for_each(said);
            return hand_back(&call, environment);
        }
    }
    let command = Handover {
        program: own.file.into(),
        called_as: Some("layerlift".into()),
        arguments: call.rest,
        environment: call.environment,
    };
    Err(Failure::of_handover(&command.replace()))
}

/// What the client calls a plugin with.
struct Call {
    /// The client's global flags as given.
    globals: Vec<OsString>,
    /// The variables that they stand for.
    environment: Vec<(String, Option<OsString>)>,
    /// What follows the plugin's name.
    rest: Vec<OsString>,
}

impl Call {
    fn read(arguments: &[OsString]) -> Result<Call, Failure> {
        let at = arguments.iter().position(|word| word == "layerlift").unwrap_or(0);
        let (globals, rest) = arguments.split_at(at);
        let text: Option<Vec<String>> = globals.iter().map(|word| word.to_str().map(str::to_owned)).collect();
        let found = text.as_deref().and_then(docker_globals).ok_or_else(|| {
            let words: Vec<_> = globals.iter().map(|word| word.to_string_lossy()).collect();
            let message = format!("no variable stands for these flags of docker: {}", words.join(" "));
            Failure::new(ExitCode::USAGE, message)
                .with_hint("set DOCKER_HOST, DOCKER_CONTEXT or DOCKER_CERT_PATH in their place")
        })?;
        let value = |value: String| (!value.is_empty()).then(|| value.into());
        Ok(Call {
            globals: globals.to_vec(),
            environment: found.into_iter().map(|(name, text)| (name, value(text))).collect(),
            // Called by hand, the plugin's name is missing.
            rest: rest
                .iter()
                .skip(usize::from(rest.first().is_some_and(|word| word == "layerlift")))
                .cloned()
                .collect(),
        })
    }

    /// The folder of Docker's configuration.
    fn folder(&self, environment: &Environment) -> PathBuf {
        let flag = self.environment.iter().find(|(name, _)| name == DOCKER_CONFIG.name);
        flag.and_then(|(_, value)| value.clone()).map_or_else(|| environment.docker_folder(), PathBuf::from)
    }
}

fn is_subcommand(word: &str) -> bool {
    App::command().find_subcommand(word).is_some()
}

/// Gives a command back to Docker: to buildx, or to the client as if we were not installed.
fn hand_back(call: &Call, environment: &Environment) -> Result<u8, Failure> {
    let client = environment.get(DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND).unwrap_or("docker");
    let folder = call.folder(environment);
    let command = |group: &str| Handover {
        program: client.into(),
        called_as: None,
        arguments: [&call.globals[..], &[group.into()], &call.rest[..]].concat(),
        environment: vec![(LAYERLIFT_INSIDE.name.to_owned(), Some("1".into()))],
    };
    if Buildx::in_folder(&folder).is_found() {
        return Err(Failure::of_handover(&command("buildx").replace()));
    }
    // Without buildx the client itself builds; the alias must not lead it here again.
    let internal = |error: std::io::Error| {
        Failure::new(ExitCode::CANNOT_WRITE, "a configuration without the alias cannot be made")
            .caused_by(&error)
    };
    let login = Login::in_folder(&folder, environment.get(BUILDX_CONFIG), &[]).map_err(internal)?;
    let mut command = command("builder");
    command.arguments = own_flags(&call.globals);
    command.arguments.push("builder".into());
    command.arguments.extend(call.rest.iter().cloned());
    command.environment.push((DOCKER_CONFIG.name.to_owned(), Some(login.folder().into())));
    in_foreground(&command)
}

/// The client's global flags without `--config`, which would win over the variable.
fn own_flags(globals: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut words = globals.iter();
    while let Some(word) = words.next() {
        if word == "--config" {
            words.next();
        } else if !word.to_string_lossy().starts_with("--config=") {
            kept.push(word.clone());
        }
    }
    kept
}

/// What the client shows of a plugin (docker/cli cli-plugins/metadata).
fn metadata() -> String {
    let answer = json!({
        "SchemaVersion": "0.1.0",
        "Vendor": "layerlift",
        "Version": env!("CARGO_PKG_VERSION"),
        "ShortDescription": "Build on an empty runner as if it had built before",
    });
    format!("{answer:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_taken_apart() {
        let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let call = Call::read(&words("-D --context x layerlift build layerlift")).expect("read");
        assert_eq!(call.globals, ["-D", "--context", "x"]);
        assert_eq!(call.rest, ["build", "layerlift"]);
        assert_eq!(call.environment[0], ("DOCKER_CONTEXT".to_owned(), Some("x".into())));
        assert_eq!(Call::read(&words("build .")).expect("read").rest, ["build", "."]);
        assert!(Call::read(&words("--tlscacert /x/ca.pem layerlift build .")).is_err());
        assert_eq!(own_flags(&words("--config /c -D --config=/d")), ["-D"]);
    }
}
