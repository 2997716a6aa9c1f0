//! `layerlift install` and `layerlift uninstall`.

use crate::base::env::Environment;
use crate::base::printer::Printer;
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::shim::unknown_self;
use crate::workflow::handover::Own;
use crate::workflow::install::{self, Error};

/// Links the plugin, and with `default` makes it the builder of `docker build`.
pub fn install(default: bool, environment: &Environment, printer: Printer) -> Result<u8, Failure> {
    let own = Own::find().ok_or_else(unknown_self)?;
    tell(install::install(&own, environment, default), printer)
}

/// Undoes it.
pub fn uninstall(environment: &Environment, printer: Printer) -> Result<u8, Failure> {
    let own = Own::find().ok_or_else(unknown_self)?;
    tell(install::uninstall(&own, environment), printer)
}

fn tell(result: Result<install::Done, Error>, printer: Printer) -> Result<u8, Failure> {
    let done = result.map_err(|error| match &error {
        Error::Broken { .. } => Failure::from_error(ExitCode::CONFIG, &error)
            .with_hint("mend the file; `docker login` and every other docker command need it too"),
        Error::Occupied(_) => {
            Failure::from_error(ExitCode::CANNOT_WRITE, &error).with_hint("move it away first")
        }
        Error::System { .. } => Failure::from_error(ExitCode::CANNOT_WRITE, &error),
    })?;
    done.iter().for_each(|line| printer.message(&format!("layerlift: {line}\n")));
    Ok(0)
}
