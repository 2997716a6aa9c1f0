//! `layerlift shim`, and what happens when the binary is called by a shim's name.
//!
//! A shim stands before every `docker` of a job, most of which build nothing: what is run as it stands is decided before
//! clap and tokio, and costs the reading of the environment and some looks at `PATH`.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;

use crate::base::env::{Environment, GITHUB_PATH, LAYERLIFT_INSIDE, PATH};
use crate::base::printer::Printer;
use crate::cli::app::{Shell, ShimArgs};
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::wrapped::{Wrapped, judge};
use crate::workflow::handover::{self, Own, is_shim_folder};
use crate::workflow::shim;

/// The shim that we were called as, by the first word of the command line.
pub fn called_as(word: &OsStr) -> Option<&str> {
    Path::new(word).file_name()?.to_str().filter(|name| shim::is_name(name))
}

/// Stands before the program of that name: builds go to our own subcommand, all else to the program. Returns only where
/// neither can be run.
pub fn stand_before(
    name: &str,
    arguments: &[OsString],
    environment: &Environment,
    printer: Printer,
) -> Failure {
    let Some(own) = Own::find() else { return unknown_self() };
    // What layerlift itself starts has been thought about already.
    if environment.get(LAYERLIFT_INSIDE).is_none() {
        let words: Vec<OsString> = std::iter::once(name.into()).chain(arguments.iter().cloned()).collect();
        match judge(&words) {
            Wrapped::Build(invocation) => {
                let build = handover::to_ourselves(&own, &invocation, environment, &[]);
                return Failure::of_handover(&build.replace());
            }
            Wrapped::Untouched { warning } => {
                warning.iter().for_each(|warning| printer.warning(warning));
            }
        }
    }
    match handover::behind_shim(&own, name, arguments, environment, std::process::id()) {
        Some(program) => Failure::of_handover(&program.replace()),
        None => Failure::new(
            ExitCode::NOT_FOUND,
            format!("`{name}` was not found on PATH behind layerlift's shim"),
        )
        .with_hint(format!("install {name}, or take the shim off PATH: `layerlift shim --remove`")),
    }
}

/// The system does not tell where our binary is.
pub fn unknown_self() -> Failure {
    Failure::new(ExitCode::INTERNAL, "layerlift does not find its own binary")
        .with_hint("/proc must be mounted, and the binary must stay where it is while it is used")
}

/// Runs the subcommand.
pub fn run(arguments: &ShimArgs, environment: &Environment, printer: Printer) -> Result<u8, Failure> {
    let own = Own::find().ok_or_else(unknown_self)?;
    let failed = |error: shim::Error| Failure::from_error(ExitCode::CANNOT_WRITE, &error);
    if arguments.remove {
        let removed = shim::remove(&own, environment).map_err(failed)?;
        let kept: Vec<_> = environment.path_folders().filter(|folder| !removed.contains(folder)).collect();
        if removed.is_empty() {
            printer.message("layerlift: no shim is on PATH\n");
        } else {
            let path = std::env::join_paths(kept).unwrap_or_default();
            printer.data(&arguments.shell.assignment(&path.to_string_lossy()));
        }
        return Ok(0);
    }
    let later = arguments.github.then(|| environment.get(GITHUB_PATH).ok_or_else(no_github)).transpose()?;
    let folder = shim::lasting(&own, environment).map_err(failed)?;
    if let Some(file) = later {
        append(Path::new(file), &folder)?;
        printer.message(&format!("layerlift: {} is on PATH in later steps\n", folder.display()));
    } else if environment.path_folders().next().as_ref() == Some(&folder) {
        printer.data(&format!("# layerlift: {} is first on PATH already\n", folder.display()));
    } else {
        printer.data(&arguments.shell.prefix(&folder.to_string_lossy()));
    }
    Ok(0)
}

fn no_github() -> Failure {
    Failure::new(
        ExitCode::USAGE,
        "--github works in a step of GitHub Actions, where GITHUB_PATH names a file",
    )
    .with_hint("elsewhere: eval \"$(layerlift shim)\"")
}

/// Adds the folder to the runner's file, once.
fn append(file: &Path, folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(ExitCode::CANNOT_WRITE, format!("GITHUB_PATH: {} cannot be written", file.display()))
            .caused_by(&error)
    };
    let mut opened = std::fs::OpenOptions::new().append(true).create(true).open(file).map_err(failed)?;
    writeln!(opened, "{}", folder.display()).map_err(failed)
}

impl Shell {
    /// The line that puts a folder first on `PATH`.
    fn prefix(self, folder: &str) -> String {
        match self {
            Shell::Posix => format!("export {}={}:\"${}\"\n", PATH.name, self.quoted(folder), PATH.name),
            Shell::Fish => format!("set -gx {} {} ${}\n", PATH.name, self.quoted(folder), PATH.name),
        }
    }

    /// The line that gives `PATH` these folders.
    fn assignment(self, folders: &str) -> String {
        match self {
            Shell::Posix => format!("export {}={}\n", PATH.name, self.quoted(folders)),
            Shell::Fish => {
                let words: Vec<String> = folders.split(':').map(|folder| self.quoted(folder)).collect();
                format!("set -gx {} {}\n", PATH.name, words.join(" "))
            }
        }
    }

    /// One word, whatever it holds. A POSIX shell knows no escape within single quotes, fish knows two.
    fn quoted(self, word: &str) -> String {
        match self {
            Shell::Posix => format!("'{}'", word.replace('\'', r"'\''")),
            Shell::Fish => format!("'{}'", word.replace('\\', r"\\").replace('\'', r"\'")),
        }
    }
}

/// `PATH` with the folder in front and no other of our folders.
pub fn path_with(folder: &Path, environment: &Environment) -> OsString {
    let others = environment.path_folders().filter(|other| !is_shim_folder(other));
    std::env::join_paths(std::iter::once(folder.to_owned()).chain(others)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_shells_are_quoted() {
        let odd = "/tmp/it's $HOME\\x";
        assert_eq!(Shell::Posix.prefix(odd), "export PATH='/tmp/it'\\''s $HOME\\x':\"$PATH\"\n");
        assert_eq!(Shell::Fish.prefix(odd), "set -gx PATH '/tmp/it\\'s $HOME\\\\x' $PATH\n");
        assert_eq!(Shell::Posix.assignment("/a:/b c"), "export PATH='/a:/b c'\n");
        assert_eq!(Shell::Fish.assignment("/a:/b c"), "set -gx PATH '/a' '/b c'\n");
    }

    #[test]
    fn the_name_decides() {
        assert_eq!(called_as(OsStr::new("/x/docker-compose")), Some("docker-compose"));
        assert_eq!(called_as(OsStr::new("docker")), Some("docker"));
        assert_eq!(called_as(OsStr::new("docker-layerlift")), None);
        assert_eq!(called_as(OsStr::new("layerlift")), None);
    }
}
