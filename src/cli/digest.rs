//! `layerlift digest`: what an image is made from, in one value. Asks no engine.

use crate::cli::app::{Format, PlanArgs};
use crate::cli::failure::{ExitCode, Failure};
use crate::workflow::error::Error;
use crate::workflow::world::World;
use crate::workflow::{facts, source};

/// Runs it.
pub async fn run(arguments: PlanArgs, world: &World) -> Result<u8, Failure> {
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    let request = arguments.engine.into_request();
    let source = source::read(&request, std::io::stdin().lock()).map_err(Error::from)?;
    let inputs = facts::inputs_without_engine(world, &request, &settings, &source).await?;
    match arguments.format {
        Format::Text => {
            for unknown in &inputs.unknown {
                let place = match unknown.line {
                    0 => String::new(),
                    line => format!("{}:{line}: ", source.name),
                };
                world.printer.warning(&format!("not reusable: {place}{}", unknown.what));
            }
            world.printer.data(&format!("{}\n", inputs.digest));
        }
        Format::Json => {
            let text = serde_json::to_string_pretty(&inputs);
            let text = text.map_err(|error| Failure::from_error(ExitCode::INTERNAL, &error))?;
            world.printer.data(&format!("{text}\n"));
        }
    }
    Ok(0)
}
