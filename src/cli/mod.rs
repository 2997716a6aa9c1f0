//! The top floor: what was typed. clap types end here.

mod app;
mod build;
mod cache;
mod doctor;
mod engine_flags;
mod failure;
mod plan;
mod settings;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::base::env::{self, Environment};
use crate::base::printer::Printer;
use crate::base::process;
use crate::cli::app::{App, Command};
use crate::cli::failure::Failure;
use crate::workflow::error::Error;
use crate::workflow::world::World;

/// Runs the command line of this process and tells its exit code.
pub fn main() -> ExitCode {
    let app = match App::try_parse() {
        Ok(app) => app,
        Err(error) => {
            // Help and version are "errors" that belong on standard output.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::ExitCode::USAGE.0 } else { 0 });
        }
    };
    let environment = Environment::of_process();
    let dumb = environment.get(env::TERM).is_none_or(|term| term == "dumb");
    let printer = Printer::of_process(environment.get(env::NO_COLOR).is_some(), dumb);
    let result = run(app, environment, printer);
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let (start, end) = if printer.color { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
            printer.message(&format!("{start}error:{end} {failure}\n"));
            ExitCode::from(failure.code().0)
        }
    }
}

fn run(app: App, environment: Environment, printer: Printer) -> Result<u8, Failure> {
    if let Command::Completion { shell } = app.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut App::command(), "layerlift", &mut script);
        printer.data(&String::from_utf8_lossy(&script));
        return Ok(0);
    }
    let internal = |error: std::io::Error| Failure::from_error(failure::ExitCode::INTERNAL, &error);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(internal)?;
    runtime.block_on(async {
        let interrupts = process::interrupts().map_err(internal)?;
        let folder = std::env::current_dir().map_err(internal)?;
        let world = World { environment, folder, printer, interrupts };
        match app.command {
            Command::Build(arguments) => build::run(arguments, &world).await,
            Command::Plan(arguments) => plan::run(arguments, &world).await,
            Command::Cache(command) => unless_interrupted(&world, cache::run(command, &world)).await,
            Command::Doctor(arguments) => unless_interrupted(&world, doctor::run(arguments, &world)).await,
            // Answered above: it needs no runtime.
            Command::Completion { .. } => Ok(0),
        }
    })
}

/// Runs a command that only asks and copies. An interrupt drops it where it stands, and with it what it had begun.
async fn unless_interrupted(
    world: &World,
    work: impl Future<Output = Result<u8, Failure>>,
) -> Result<u8, Failure> {
    let mut interrupts = world.interrupts.clone();
    tokio::select! {
        result = work => result,
        // Whoever could interrupt is there as long as the process.
        Ok(signal) = interrupts.wait_for(|signal| *signal != 0) => {
            Err(Error::Process(process::Error::Interrupted { signal: *signal }).into())
        }
    }
}
