//! `layerlift report`: the page of a build that is over, made of its record.

use std::path::Path;

use crate::cli::app::ReportArgs;
use crate::cli::failure::{ExitCode, Failure};
use crate::report::html;
use crate::workflow::error::Error;
use crate::workflow::record_file;
use crate::workflow::world::World;

/// Runs it.
pub async fn run(arguments: ReportArgs, world: &World) -> Result<u8, Failure> {
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    let Some(page) = &settings.html else {
        return Err(Failure::new(ExitCode::USAGE, "no file is named for the page")
            .with_hint("name one with --html, or `--html -` for standard output"));
    };
    let record = record_file::find(world, &settings, arguments.record.as_deref()).await?;
    let html = html::of_record(&record);
    if page == Path::new("-") {
        world.printer.data(&html);
    } else {
        html::write(&world.folder.join(page), &html).map_err(Error::from)?;
        world.printer.message(&format!("layerlift: {} is written\n", page.display()));
    }
    Ok(0)
}

impl From<record_file::Error> for Failure {
    fn from(error: record_file::Error) -> Self {
        match error {
            record_file::Error::Unknown(error) => (*error).into(),
            other => Failure::from_error(ExitCode::NO_INPUT, &other)
                .with_hint("`layerlift explain --format json` prints records"),
        }
    }
}
