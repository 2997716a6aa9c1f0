//! `layerlift cache`: list, inspect, pull and push cache refs. Lists and findings are data, on standard output; what a
//! move tells goes to standard error.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::base::clock;
use crate::base::printer::Printer;
use crate::base::units::{self, plural};
use crate::cachefmt::IMPORT_LIMIT;
use crate::cli::app::{CacheCommand, CacheInspectArgs, CacheListArgs, CacheMoveArgs, Format};
use crate::cli::cache_flush;
use crate::cli::failure::Failure;
use crate::model::reference::Reference;
use crate::model::settings::Settings;
use crate::workflow::cache_move::{Event, Moved};
use crate::workflow::cache_refs::{self, CacheRefs, Inspected, Listed, Listing};
use crate::workflow::error::Error;
use crate::workflow::facts;
use crate::workflow::world::World;

/// Version of the JSON forms. It rises when a key goes or means something else.
const VERSION: u32 = 2;

/// How often a terminal is told how far a move is.
const EVERY: Duration = Duration::from_millis(100);

/// Runs it.
pub async fn run(command: CacheCommand, world: &World) -> Result<u8, Failure> {
    match command {
        CacheCommand::Ls(arguments) => list(arguments, world).await,
        CacheCommand::Inspect(arguments) => inspect(arguments, world).await,
        CacheCommand::Pull(arguments) => pull(arguments, world).await,
        CacheCommand::Push(arguments) => push(arguments, world).await,
        CacheCommand::Flush(arguments) => cache_flush::run(&arguments, world).await,
    }
}

async fn find(settings: &Settings, world: &World) -> Result<CacheRefs, Failure> {
    Ok(CacheRefs::find(world, settings, facts::registry(world, settings)?).await?)
}

async fn list(arguments: CacheListArgs, world: &World) -> Result<u8, Failure> {
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    let refs = find(&settings, world).await?;
    let listing = refs.list().await?;
    let repository = refs.repo.repository.to_string();
    world.printer.data(&match arguments.format {
        Format::Text => list_text(&repository, &listing, clock::now()),
        Format::Json => format!("{:#}\n", list_json(&repository, &listing)),
    });
    Ok(0)
}

fn list_text(repository: &str, listing: &Listing, now: Timestamp) -> String {
    let mut rows = vec![["SCOPE", "IMAGE", "STAGE", "SIZE", "AGE", "BUILDKIT", "TAG"].map(str::to_owned)];
    let dash = || "-".to_owned();
    for Listed { named, tag, details } in &listing.refs {
        let details = details.as_ref().ok();
        rows.push([
            named.scope.to_string(),
            named.image.clone().unwrap_or_else(dash),
            match named.finished {
                Some(_) => "(finished)".to_owned(),
                None => named.stage.clone().unwrap_or_else(dash),
            },
            details.map_or_else(dash, |details| units::bytes(details.bytes)),
            details.and_then(|details| details.created).map_or_else(dash, |created| age(now, created)),
            details.and_then(|details| details.buildkit).map_or_else(dash, |version| version.to_string()),
            tag.clone(),
        ]);
    }
    let mut text = format!("{repository}: {}\n", plural(listing.refs.len() + listing.left_out, "cache ref"));
    if !listing.refs.is_empty() {
        text += &table(&rows);
    }
    for Listed { tag, details, .. } in &listing.refs {
        if let Err(problem) = details {
            text += &format!("{tag} could not be read: {problem}\n");
        }
    }
    if listing.left_out > 0 {
        text += &format!("{} more\n", listing.left_out);
    }
    if listing.records > 0 {
        text += &format!("{}, for `layerlift explain`\n", plural(listing.records, "build record"));
    }
    if listing.foreign > 0 {
        text += &format!("{} of another kind\n", plural(listing.foreign, "tag"));
    }
    text
}

/// Columns as wide as their widest cell; the last one ends the line.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// How long ago something was.
fn age(now: Timestamp, then: Timestamp) -> String {
    units::age(Duration::try_from(now.duration_since(then)).unwrap_or_default())
}

fn list_json(repository: &str, listing: &Listing) -> Value {
    let row = |listed: &Listed| {
        let details = listed.details.as_ref().ok();
        json!({
            "scope": listed.named.scope,
            "image": listed.named.image,
            "stage": listed.named.stage,
            "finished": listed.named.finished.is_some(),
            "tag": listed.tag,
            "digest": details.map(|details| &details.digest),
            "form": details.map(|details| details.form),
            "bytes": details.map(|details| details.bytes),
            "created": details.and_then(|details| details.created).map(|time| time.to_string()),
            "buildkit": details.and_then(|details| details.buildkit),
            "problem": listed.details.as_ref().err(),
        })
    };
    json!({
        "version": VERSION,
        "repository": repository,
        "refs": listing.refs.iter().map(row).collect::<Vec<_>>(),
        "records": listing.records,
        "left_out": listing.left_out,
        "foreign_tags": listing.foreign,
    })
}

async fn inspect(arguments: CacheInspectArgs, world: &World) -> Result<u8, Failure> {
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    let reference = arguments.reference.parse::<Reference>();
    let reference = reference.map_err(|error| Error::Reference { place: "REFERENCE", error })?;
    let inspected = cache_refs::inspect(&facts::registry(world, &settings)?, &reference).await?;
    world.printer.data(&match arguments.format {
        Format::Text => inspect_text(&inspected, clock::now()),
        Format::Json => format!("{:#}\n", inspect_json(&inspected)),
    });
    Ok(0)
}

fn inspect_text(inspected: &Inspected, now: Timestamp) -> String {
    let Inspected { summary, provenance, .. } = inspected;
    let mut text = String::new();
    let mut line = |name: &str, value: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<10} {value}");
    };
    line("reference", format_args!("{}", inspected.reference));
    line("digest", format_args!("{}", inspected.digest));
    line("form", format_args!("{}", inspected.form));
    if inspected.config_bytes > 0 {
        let (size, limit) = (units::bytes(inspected.config_bytes), units::bytes(IMPORT_LIMIT as u64));
        line("config", format_args!("{size}; BuildKit imports up to {limit}"));
    }
    let results = summary.records_with_results;
    line("records", format_args!("{}, {results} with a result", summary.records));
    let blobs = plural(summary.blobs, "blob");
    line("layers", format_args!("{} in {blobs}, {}", summary.layers, units::bytes(summary.blob_bytes)));
    if let (Some(oldest), Some(newest)) = (summary.oldest, summary.newest) {
        line("results", format_args!("made {} to {} ago", age(now, oldest), age(now, newest)));
    }
    let or_unknown =
        |words: Vec<String>| if words.is_empty() { "unknown".to_owned() } else { words.join(", ") };
    line("stages", format_args!("{}", or_unknown(inspected.stages.clone())));
    let platforms = inspected.platforms.iter().map(ToString::to_string).collect();
    line("platforms", format_args!("{}", or_unknown(platforms)));
    let buildkit = provenance.buildkit.map(|version| format!("BuildKit {version}"));
    let generation = provenance.generation.map(|generation| format!("keys of generation {}", generation.0));
    let created = provenance.created.map(|created| format!("{} ago", age(now, created)));
    let made: Vec<String> = [buildkit, generation, created].into_iter().flatten().collect();
    line("made by", format_args!("{}", or_unknown(made)));
    for trouble in inspected.troubles() {
        line("trouble", format_args!("{trouble}"));
    }
    for digest in &inspected.gone {
        line("gone", format_args!("{digest}"));
    }
    text
}

fn inspect_json(inspected: &Inspected) -> Value {
    let Inspected { provenance, .. } = inspected;
    json!({
        "version": VERSION,
        "reference": inspected.reference.to_string(),
        "digest": inspected.digest,
        "form": inspected.form,
        "config_bytes": inspected.config_bytes,
        "import_limit": IMPORT_LIMIT,
        "summary": inspected.summary,
        "stages": inspected.stages,
        "platforms": inspected.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "provenance": {
            "buildkit": provenance.buildkit,
            "generation": provenance.generation,
            "created": provenance.created.map(|time| time.to_string()),
        },
        "missing_blobs": inspected.gone,
        "troubles": inspected.troubles(),
    })
}

async fn pull(arguments: CacheMoveArgs, world: &World) -> Result<u8, Failure> {
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    let refs = find(&settings, world).await?;
    let progress = Progress::new(world.printer);
    let folder = world.folder.join(&arguments.folder);
    let moved = refs.pull(&folder, &|event| progress.show(event)).await?;
    progress.end(&moved, &refs.repo.repository.to_string(), &arguments.folder.display().to_string());
    Ok(0)
}

async fn push(arguments: CacheMoveArgs, world: &World) -> Result<u8, Failure> {
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    let refs = find(&settings, world).await?;
    let progress = Progress::new(world.printer);
    let folder = world.folder.join(&arguments.folder);
    let moved = refs.push(&folder, &|event| progress.show(event)).await?;
    progress.end(&moved, &arguments.folder.display().to_string(), &refs.repo.repository.to_string());
    Ok(0)
}

/// One line for each ref, and on a terminal one below that counts bytes.
#[derive(Debug)]
struct Progress {
    printer: Printer,
    shown: Mutex<Option<Instant>>,
}

/// Back to the line's begin, and nothing in it.
const CLEAR: &str = "\r\x1b[K";

impl Progress {
    fn new(printer: Printer) -> Self {
        Progress { printer, shown: Mutex::new(None) }
    }

    fn show(&self, event: Event<'_>) {
        match event {
            Event::Bytes(bytes) if self.printer.terminal => {
                let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                if shown.is_none_or(|last| last.elapsed() >= EVERY) {
                    *shown = Some(Instant::now());
                    self.printer.message(&format!("{CLEAR}{}", units::bytes(bytes)));
                }
            }
            Event::Bytes(_) => {}
            Event::Arrived { tag, copied } => {
                let clear = if self.printer.terminal { CLEAR } else { "" };
                let there = copied.present + copied.mounted;
                let sent = plural(copied.sent, "blob");
                self.printer.message(&format!(
                    "{clear}{tag}: {sent} sent, {}; {there} there already\n",
                    units::bytes(copied.bytes)
                ));
            }
        }
    }

    fn end(&self, moved: &Moved, from: &str, to: &str) {
        let Moved { scope, refs, bytes } = moved;
        let (refs, bytes) = (plural(*refs, "ref"), units::bytes(*bytes));
        self.printer.message(&format!("{refs} of {scope} copied from {from} to {to}, {bytes}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cachefmt::{Cache, Provenance};
    use crate::model::engine::{Generation, Version};
    use crate::model::reference::Digest;
    use crate::plan::keys;
    use crate::workflow::cache_refs::Details;

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    fn listed(tag: &str, details: Result<Details, String>) -> Listed {
        Listed { named: keys::parse("", tag).unwrap(), tag: tag.to_owned(), details }
    }

    #[test]
    fn a_list_is_a_table() {
        let details = |bytes, created: Option<&str>, buildkit| Details {
            digest: Digest::of(b""),
            form: "cache image",
            bytes,
            created: created.map(|text| text.parse().unwrap()),
            buildkit,
        };
        let listing = Listing {
            refs: vec![
                listed(
                    "branch-main",
                    Ok(details(300_000_000, Some("2026-11-20T12:00:00Z"), Some(Version(0, 25, 0)))),
                ),
                listed("branch-main--api--stage-build", Ok(details(12, None, None))),
                listed("mr-12", Err("mr-12 does not exist".to_owned())),
            ],
            records: 1,
            foreign: 2,
            left_out: 0,
        };
        insta::assert_snapshot!(list_text("ghcr.io/a/b/cache", &listing, now()), @"
        ghcr.io/a/b/cache: 3 cache refs
        SCOPE        IMAGE  STAGE  SIZE      AGE  BUILDKIT  TAG
        branch-main  -      -      300.0 MB  3d   0.25.0    branch-main
        branch-main  api    build  12 B      -    -         branch-main--api--stage-build
        mr-12        -      -      -         -    -         mr-12
        mr-12 could not be read: mr-12 does not exist
        1 build record, for `layerlift explain`
        2 tags of another kind
        ");
        let empty = Listing { refs: Vec::new(), records: 0, foreign: 0, left_out: 0 };
        assert_eq!(list_text("ghcr.io/a/b/cache", &empty, now()), "ghcr.io/a/b/cache: 0 cache refs\n");
        assert_eq!(list_json("r", &listing)["refs"][2]["problem"], "mr-12 does not exist");
    }

    #[test]
    fn findings_are_lines() {
        let inspected = Inspected {
            reference: "ghcr.io/a/b/cache:branch-main".parse().unwrap(),
            digest: Digest::of(b""),
            form: "cache image",
            config_bytes: 2 << 20,
            summary: Cache::default().summary(),
            stages: vec!["build".to_owned(), "final".to_owned()],
            platforms: vec!["linux/amd64".parse().unwrap()],
            provenance: Provenance {
                generation: Some(Generation(2)),
                created: Some("2026-11-23T11:59:30Z".parse().unwrap()),
                ..Provenance::default()
            },
            gone: vec![Digest::of(b"gone")],
        };
        insta::assert_snapshot!(inspect_text(&inspected, now()), @"
        reference  ghcr.io/a/b/cache:branch-main
        digest     sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        form       cache image
        config     2.1 MB; BuildKit imports up to 1.0 MB
        records    0, 0 with a result
        layers     0 in 0 blobs, 0 B
        stages     build, final
        platforms  linux/amd64
        made by    keys of generation 2, 30s ago
        trouble    its config is larger than BuildKit imports
        trouble    no record has a result: nothing can be hit
        trouble    the registry no longer has 1 blob
        gone       sha256:283bb9deef02e6843abfb538efa1eca70801bd8a701c3f98191e123496339247
        ");
        assert_eq!(inspect_json(&inspected)["provenance"]["buildkit"], Value::Null);
    }
}
