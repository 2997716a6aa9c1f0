//! `layerlift explain`: why steps of an earlier build ran, or of the next one will.
//!
//! Keys of `--format json`: `version`; `records`, each with `reference`, where it was read, and `record`, as it is kept.

use serde_json::json;

use crate::cli::app::{ExplainArgs, Format};
use crate::cli::failure::{ExitCode, Failure};
use crate::plan::explain::Recorded;
use crate::report::record;
use crate::workflow::explain::{self, Error};
use crate::workflow::facts;
use crate::workflow::world::World;

/// Version of the JSON form. A key that is added raises it.
const VERSION: u32 = 1;

/// Runs it.
pub async fn run(arguments: ExplainArgs, world: &World) -> Result<u8, Failure> {
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    let records = match &arguments.reference {
        None => vec![explain::last(world)?],
        Some(word) => {
            let client = facts::registry(world, &settings)?;
            explain::of(world, &settings, client, word).await?
        }
    };
    world.printer.data(&match arguments.format {
        Format::Text => text(&records),
        Format::Json => format!("{:#}\n", as_json(&records)),
    });
    Ok(0)
}

fn text(records: &[Recorded]) -> String {
    let texts: Vec<String> = records.iter().map(|it| record::text(&it.record, &it.reference)).collect();
    texts.join("\n")
}

fn as_json(records: &[Recorded]) -> serde_json::Value {
    let records = records.iter().map(|it| json!({ "reference": it.reference, "record": it.record.as_ref() }));
    json!({ "version": VERSION, "records": records.collect::<Vec<_>>() })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failed = |code| Failure::from_error(code, &error);
        match error {
            Error::NothingHere => failed(ExitCode::NO_INPUT)
                .with_hint("build here first, or name a branch: `layerlift explain main`"),
            Error::NotFound { ref present, .. } if present.is_empty() => failed(ExitCode::REGISTRY)
                .with_hint("a record is kept by every build that writes a cache; there is none yet"),
            Error::NotFound { ref present, .. } => {
                failed(ExitCode::REGISTRY).with_hint(format!("there are records of {}", present.join(", ")))
            }
            Error::Unusable { .. } => failed(ExitCode::REGISTRY),
            Error::CacheRepo(error) => error.into(),
        }
    }
}
