//! `layerlift explain`: why steps of an earlier build ran, or of the next one will.
//!
//! Keys of `--format json`: `version`; `answered`, the builds of the last run here that images answered, each with `at`,
//! `tags` and `image` (as `reused` in the report of a build); `records`, each with `reference`, where it was read, and `record`, as it is kept;
//! with `--against`, `prediction` in their place, as `explanation` in the report of a build.

use serde_json::json;

use crate::cli::app::{ExplainArgs, Format};
use crate::cli::failure::{ExitCode, Failure};
use crate::model::reuse::AnsweredBuild;
use crate::plan::explain::Recorded;
use crate::report::json::ExplanationPart;
use crate::report::{explanation, record};
use crate::workflow::explain::{self, Error};
use crate::workflow::facts;
use crate::workflow::world::World;

/// Version of the JSON form. It rises when a key goes or means something else.
const VERSION: u32 = 1;

/// Runs it.
pub async fn run(arguments: ExplainArgs, world: &World) -> Result<u8, Failure> {
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    if let Some(scope) = &arguments.against {
        if arguments.line.word.is_none() {
            let failure = Failure::new(ExitCode::USAGE, "--against compares a build, and no folder is named");
            return Err(failure.with_hint(format!("`layerlift explain --against {scope} .`")));
        }
        let request = arguments.line.clone().into_request();
        let explanation = explain::against(world, &request, &settings, scope).await?;
        world.printer.data(&match arguments.format {
            Format::Text => explanation::forecast(&explanation).join("\n") + "\n",
            Format::Json => {
                format!(
                    "{:#}\n",
                    json!({ "version": VERSION, "prediction": ExplanationPart::new(&explanation) })
                )
            }
        });
        return Ok(0);
    }
    if arguments.line.has_flags() {
        let failure =
            Failure::new(ExitCode::USAGE, "a record is of a build that has been: it takes no flags of one");
        return Err(failure.with_hint("--against BRANCH compares what would be built now"));
    }
    let (answered, records) = match &arguments.line.word {
        None => {
            let answered = explain::answered(world);
            match explain::last(world) {
                // An image may answer where no engine has ever built.
                Err(Error::NothingHere) if !answered.is_empty() => (answered, Vec::new()),
                last => (answered, vec![last?]),
            }
        }
        Some(word) => {
            let client = facts::registry(world, &settings)?;
            (Vec::new(), explain::of(world, &settings, client, word).await?)
        }
    };
    world.printer.data(&match arguments.format {
        Format::Text => text(&answered, &records),
        Format::Json => format!("{:#}\n", as_json(&answered, &records)),
    });
    Ok(0)
}

fn text(answered: &[AnsweredBuild], records: &[Recorded]) -> String {
    let texts: Vec<String> = records.iter().map(|it| record::text(&it.record, &it.reference)).collect();
    let answered: String = answered.iter().map(record::answered).collect();
    answered + &texts.join("\n")
}

fn as_json(answered: &[AnsweredBuild], records: &[Recorded]) -> serde_json::Value {
    let records = records.iter().map(|it| json!({ "reference": it.reference, "record": it.record.as_ref() }));
    json!({ "version": VERSION, "answered": answered, "records": records.collect::<Vec<_>>() })
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
            Error::Build(error) => error.into(),
        }
    }
}
