//! One run of the engine: started, watched, read to its end.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedSender;

use crate::base::process::{self, Command, Output};
use crate::engine::buildx::Buildx;
use crate::engine::command;
use crate::engine::docker::Docker;
use crate::engine::line::Line;
use crate::engine::progress::{self, Format, Reader, Steps};
use crate::model::engine::{Engine, Frontend};
use crate::model::event::Event;
use crate::model::reference::{Digest, Reference};
use crate::plan::command::Build;
use crate::workflow::display::Display;
use crate::workflow::stand_in::StandIn;
use crate::workflow::world::World;

/// Messages of the client that are kept for judging a failure.
const MOST_MESSAGES: usize = 200;

/// What a metadata file may hold; provenance makes it large.
const LARGEST_METADATA: u64 = 16 << 20;

/// What a run came to.
#[derive(Debug)]
pub struct Built {
    /// The engine's exit code.
    pub code: i32,
    /// What it did.
    pub steps: Steps,
    /// What went wrong, in its words: failed vertices, then the client's last messages.
    pub errors: Vec<String>,
    /// The image's id or digest, and what else the engine told about its results.
    pub results: Results,
}

/// What the engine told about its results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Results {
    /// Digest of what was pushed or stored.
    pub digest: Option<Digest>,
    /// The image's id, as `docker build -q` prints it.
    pub image_id: Option<String>,
    /// Digest of the cache manifest that was exported.
    pub cache_digest: Option<Digest>,
}

/// What a run needs.
#[derive(Debug, Clone, Copy)]
pub struct Runner<'a> {
    /// The surroundings.
    pub world: &'a World,
    /// What builds.
    pub engine: &'a Engine,
    /// Its client.
    pub docker: &'a Docker,
    /// By which client's line it builds.
    pub line: Line<'a>,
    /// Standard input, where a build reads it.
    pub spooled: Option<&'a Path>,
    /// What stands in for the folders that files come from.
    pub stand_in: &'a StandIn,
    /// Standard output is the build's result.
    pub to_stdout: bool,
    /// Where images are told as soon as they are pushed, by their digests.
    pub pushed: Option<&'a UnboundedSender<Reference>>,
}

impl Runner<'_> {
    /// Runs a build to its end.
    pub async fn run(&self, build: &Build, display: &mut Display) -> Result<Built, process::Error> {
        let files = folder()?;
        let named = |flag: &str, name: &str| -> PathBuf {
            let given = build.flags.iter().rev().find(|it| it.name == flag).and_then(|it| it.value.text());
            given.map_or_else(|| files.path().join(name), PathBuf::from)
        };
        let (metadata, image_id) = (named("metadata-file", "metadata.json"), named("iidfile", "id"));
        let build = &self.stand_in.applied(build);
        let mut command = self.line.command(self.engine, build, &metadata, &image_id);
        command.environment.extend(self.stand_in.variables(self.engine));
        let command = match self.engine.frontend {
            Frontend::Buildx => Buildx::find(&self.world.environment).direct(command),
            Frontend::BuildKit | Frontend::Classic | Frontend::Buildctl | Frontend::Buildah => command,
        };
        let command = self.docker.applied(command::with_input(command, build, self.spooled));
        // The classic builder logs to standard output; every other one only writes results there.
        let output = match (self.engine.frontend, self.to_stdout) {
            (Frontend::Classic, false) => Output::Lines,
            _ => Output::Inherited,
        };
        let format = Format::of(self.engine);
        let watched = watch(self.world, &command, format, output, display, self.pushed);
        let (code, steps, messages) = watched.await?;
        let errors = errors(&steps, messages);
        // After a failure, files that the user named still hold what an earlier build wrote.
        let results = match self.line {
            _ if code != 0 => Results::default(),
            Line::Docker | Line::Buildctl(_) => Results::read(&metadata, &image_id),
            Line::Bake(one) => Results::of_target(self::metadata(&metadata).get(&one.member.name)),
        };
        Ok(Built { code, steps, errors, results })
    }
}

/// A folder for what the client writes.
pub(super) fn folder() -> Result<TempDir, process::Error> {
    let made = tempfile::Builder::new().prefix("layerlift-").tempdir();
    made.map_err(|source| process::Error::Failed { program: "docker".to_owned(), source })
}

/// What went wrong in a run: failed vertices, then the client's last messages.
pub(super) fn errors(steps: &Steps, messages: Vec<String>) -> Vec<String> {
    steps.failures().into_iter().map(|failure| failure.error).chain(messages).collect()
}

/// Runs a command that builds, shows it, and collects what it does: the exit code, the steps, the last messages.
pub(super) async fn watch(
    world: &World,
    command: &Command,
    format: Format,
    output: Output,
    display: &mut Display,
    pushed: Option<&UnboundedSender<Reference>>,
) -> Result<(i32, Steps, Vec<String>), process::Error> {
    let begun = Instant::now();
    let mut reader = Reader::new(format);
    let mut steps = Steps::default();
    let mut messages: Vec<String> = Vec::new();
    let mut interrupts = world.interrupts.clone();
    let printer = world.printer;
    let mut take = |events: &[Event]| {
        for event in events {
            steps.push(event);
            if let (Some(pushed), Some(image)) = (pushed, progress::pushed(event)) {
                // Nobody listens any more where the build is over for them.
                let _ = pushed.send(image);
            }
            if let Event::Line { text } = event {
                if messages.len() == MOST_MESSAGES {
                    messages.remove(0);
                }
                messages.push(text.clone());
            }
        }
    };
    let status = process::stream(command, output, &mut interrupts, |stream, line| {
        let events = reader.push(stream, line, begun.elapsed());
        take(&events);
        display.show(printer, stream, line, &events, begun.elapsed());
    })
    .await;
    let rest = reader.finish(begun.elapsed());
    take(&rest);
    display.show(printer, process::Stream::Stderr, b"", &rest, begun.elapsed());
    let status = status?;
    // A client that a signal ended has no code; shells report 128 and the signal's number.
    let code = status
        .code()
        .unwrap_or_else(|| 128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0));
    Ok((code, steps, messages))
}

impl Results {
    /// Reads the files that the client wrote; what is not there is not known.
    fn read(metadata: &Path, image_id: &Path) -> Self {
        let read: Metadata = serde_json::from_slice(&bounded(metadata)).unwrap_or_default();
        let id = std::fs::read_to_string(image_id).ok().map(|text| text.trim().to_owned());
        Results::of(read, id)
    }

    /// Reads what the metadata of a bake tells of one target, where it does.
    pub(super) fn of_target(told: Option<&serde_json::Value>) -> Self {
        Results::of(told.and_then(|told| Metadata::deserialize(told).ok()).unwrap_or_default(), None)
    }

    fn of(read: Metadata, id: Option<String>) -> Self {
        // The graph driver store calls the image's id its digest; a digest of a manifest is something else.
        let own_id = id.as_deref().or(read.config_digest.as_deref());
        // buildx 0.13 calls an index the image's id as well; no graph driver has one.
        let is_index = read.descriptor.is_some_and(|it| is_index(&it.media_type));
        let is_id =
            |digest: &Digest| own_id == Some(digest.as_str()) && read.config_digest.is_some() && !is_index;
        Results {
            digest: read.digest.clone().filter(|digest| !is_id(digest)),
            image_id: id.or(read.config_digest.clone()).filter(|text| !text.is_empty()),
            cache_digest: read
                .cache
                .and_then(|text| serde_json::from_str::<Descriptor>(&text).ok())
                .map(|descriptor| descriptor.digest),
        }
    }
}

/// What buildx writes to a metadata file, of one result.
#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(rename = "containerimage.digest")]
    digest: Option<Digest>,
    #[serde(rename = "containerimage.config.digest")]
    config_digest: Option<String>,
    #[serde(rename = "containerimage.descriptor")]
    descriptor: Option<ImageDescriptor>,
    #[serde(rename = "cache.manifest")]
    cache: Option<String>,
}

#[derive(Deserialize)]
struct ImageDescriptor {
    #[serde(rename = "mediaType", default)]
    media_type: String,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: Digest,
}

fn is_index(media_type: &str) -> bool {
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"]
        .contains(&media_type)
}

/// What buildx wrote, as it is: of a bake, an object for each target.
pub(super) fn metadata(file: &Path) -> serde_json::Map<String, serde_json::Value> {
    serde_json::from_slice(&bounded(file)).unwrap_or_default()
}

fn bounded(metadata: &Path) -> Vec<u8> {
    let small = std::fs::metadata(metadata).is_ok_and(|file| file.len() <= LARGEST_METADATA);
    if small { std::fs::read(metadata).unwrap_or_default() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a target of a bake, and a build with an id file, come to.
    fn digests(config: Option<&Digest>, digest: &Digest, media_type: &str) -> [Option<Digest>; 2] {
        let descriptor = serde_json::json!({"mediaType": media_type, "digest": digest, "size": 1});
        let told = serde_json::json!({
            "containerimage.digest": digest,
            "containerimage.config.digest": config,
            "containerimage.descriptor": descriptor,
        });
        let read = Metadata::deserialize(&told).expect("metadata");
        let id = config.map(ToString::to_string);
        [Results::of_target(Some(&told)).digest, Results::of(read, id).digest]
    }

    #[test]
    fn a_digest_is_of_a_manifest() {
        let (config, digest) = (Digest::of(b"config"), Digest::of(b"manifest"));
        let known = [Some(digest.clone()), Some(digest.clone())];
        let manifest = "application/vnd.docker.distribution.manifest.v2+json";
        assert_eq!(digests(Some(&config), &digest, manifest), known);
        assert_eq!(digests(None, &digest, manifest), known);
        // With a graph driver, both are the image's id.
        assert_eq!(digests(Some(&digest), &digest, manifest), [None, None]);
        // Docker 26 with the containerd store and attestations, buildx 0.13.1.
        assert_eq!(digests(Some(&digest), &digest, "application/vnd.oci.image.index.v1+json"), known);
    }
}
