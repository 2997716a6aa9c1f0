//! `layerlift builder create|rm`: the builder of `--builder-auto`, made beforehand or removed afterwards.

use crate::cli::app::BuilderCommand;
use crate::cli::failure::Failure;
use crate::workflow::error::Error;
use crate::workflow::world::World;
use crate::workflow::{builder, facts};

/// Runs it.
pub async fn run(command: BuilderCommand, world: &World) -> Result<u8, Failure> {
    match command {
        BuilderCommand::Create { current, settings } => {
            let settings = settings.resolve(&world.environment, &world.folder)?;
            let client = facts::registry(world, &settings)?;
            let surroundings = facts::surroundings(world, &settings, &world.folder).await;
            let registries = facts::registries(&settings, &surroundings);
            let (name, warnings) = builder::create(world, &settings, &client, &registries, current)
                .await
                .map_err(Error::from)?;
            warnings.iter().for_each(|warning| world.printer.warning(warning));
            world.printer.data(&format!("{name}\n"));
        }
        BuilderCommand::Rm => {
            let removed = builder::remove(world).await.map_err(Error::from)?;
            for what in &removed {
                world.printer.message(&format!("layerlift: removed {what}\n"));
            }
            if removed.is_empty() {
                world.printer.message("layerlift: there is no builder to remove\n");
            }
        }
    }
    Ok(0)
}
