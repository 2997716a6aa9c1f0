//! The top floor: what was typed. clap types end here.

mod answered_plan;
mod app;
mod bake;
mod build;
mod buildah;
mod buildctl;
mod builder;
mod cache;
mod cache_flush;
mod compose;
mod digest;
mod doctor;
mod engine_flags;
mod examples;
mod explain;
mod failure;
mod group;
mod init;
mod install;
mod lint;
mod plan;
mod plugin;
mod report;
mod repro;
mod run;
mod settings;
mod shim;
mod wrapped;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};

use crate::base::env::{self, Environment};
use crate::base::printer::Printer;
use crate::base::process;
use crate::cli::app::{App, Command};
use crate::cli::failure::Failure;
use crate::engine::buildah::Tool;
use crate::workflow::world::World;

/// Runs the command line of this process and tells its exit code. The name that we were called by may say that we are a
/// shim or a plugin, which is looked at first: a shim must not cost anything.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some((word, arguments)) = words.split_first() {
        if let Some(name) = shim::called_as(word) {
            let (environment, printer) = surroundings();
            return exit_code(Err(shim::stand_before(name, arguments, &environment, printer)), printer);
        }
        if plugin::is_called(word) {
            let (environment, printer) = surroundings();
            return exit_code(plugin::run(arguments, &environment, printer), printer);
        }
    }
    let app = match App::try_parse() {
        Ok(app) => app,
        Err(error) => {
            // Help and version are "errors" that belong on standard output.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::ExitCode::USAGE.0 } else { 0 });
        }
    };
    let (environment, printer) = surroundings();
    exit_code(carry_out(app, environment, printer), printer)
}

fn surroundings() -> (Environment, Printer) {
    let environment = Environment::of_process();
    let dumb = environment.get(env::TERM).is_none_or(|term| term == "dumb");
    let printer = Printer::of_process(environment.get(env::NO_COLOR).is_some(), dumb);
    (environment, printer)
}

/// The process's exit code; a failure is shown.
fn exit_code(result: Result<u8, Failure>, printer: Printer) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let (start, end) = if printer.color { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
            // Names in it are from outside, and must not steer the terminal.
            let text = failure.to_string().replace(|it: char| it.is_control() && it != '\n', " ");
            printer.message(&format!("{start}error:{end} {text}\n"));
            ExitCode::from(failure.code().0)
        }
    }
}

fn carry_out(app: App, environment: Environment, printer: Printer) -> Result<u8, Failure> {
    if let Some(result) = without_runtime(&app.command, &environment, printer) {
        return result;
    }
    let internal = |error: std::io::Error| Failure::from_error(failure::ExitCode::INTERNAL, &error);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(internal)?;
    runtime.block_on(async {
        let interrupts =
            process::interrupts(environment.get(env::DOCKER_CLI_PLUGIN_SOCKET)).map_err(internal)?;
        let folder = std::env::current_dir().map_err(internal)?;
        let world = World { environment, folder, printer, interrupts, files: Arc::default() };
        match app.command {
            Command::Build(arguments) => build::run(arguments, &world).await,
            Command::Bake(arguments) => bake::run(arguments, &world).await,
            Command::Compose(arguments) => compose::run(arguments, &world).await,
            Command::Buildah(arguments) => buildah::run(Tool::Buildah, arguments, &world).await,
            Command::Podman(arguments) => buildah::run(Tool::Podman, arguments, &world).await,
            Command::Plan(arguments) => plan::run(arguments, &world).await,
            Command::Digest(arguments) => world.unless_interrupted(digest::run(arguments, &world)).await,
            Command::Buildctl(arguments) => buildctl::run(arguments, &world).await,
            Command::Cache(command) => world.unless_interrupted(cache::run(command, &world)).await,
            Command::Builder(command) => world.unless_interrupted(builder::run(command, &world)).await,
            Command::Doctor(arguments) => world.unless_interrupted(doctor::run(arguments, &world)).await,
            Command::Explain(arguments) => world.unless_interrupted(explain::run(arguments, &world)).await,
            Command::Init(arguments) => world.unless_interrupted(init::run(arguments, &world)).await,
            Command::Lint(arguments) => world.unless_interrupted(lint::run(arguments, &world)).await,
            Command::Report(arguments) => world.unless_interrupted(report::run(arguments, &world)).await,
            Command::Repro(arguments) => repro::run(arguments, &world).await,
            // Answered above.
            Command::Completion { .. }
            | Command::Run(_)
            | Command::Shim(_)
            | Command::Install { .. }
            | Command::Uninstall => Ok(0),
        }
    })
}

/// Runs the commands that need no runtime: they ask nobody, or become another program. `None`: it is another one.
fn without_runtime(
    command: &Command,
    environment: &Environment,
    printer: Printer,
) -> Option<Result<u8, Failure>> {
    Some(match command {
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut App::command(), "layerlift", &mut script);
            printer.data(&String::from_utf8_lossy(&script));
            Ok(0)
        }
        Command::Run(arguments) => run::run(arguments, environment, printer),
        Command::Shim(arguments) => shim::run(arguments, environment, printer),
        Command::Install { default } => install::install(*default, environment, printer),
        Command::Uninstall => install::uninstall(environment, printer),
        _ => return None,
    })
}
