//! `layerlift repro`: the image builds of a CI job, found in the checkout's own files and run here.
//!
//! Each is run as `layerlift build` with the variables that the job would have, so that scopes and chain are found as
//! in CI; `LAYERLIFT_READ_ONLY` keeps the caches as they are.

pub mod arguments;
pub mod builds;
mod later;
pub mod outside;
mod places;
pub mod surroundings;
mod variables;

use std::io::Read;
use std::path::Path;

use crate::base::env;
use crate::base::process::{self, Command, Input};
use crate::base::yaml::{self, Node};
use crate::ciconfig::github::Run;
use crate::ciconfig::{self, Job, Provider, circleci, github, gitlab, unknown};
use crate::workflow::error::Error;
use crate::workflow::world::World;
use builds::{Build, Line};
use places::Places;
use surroundings::Surroundings;

/// The largest file of jobs. GitLab's own bound is 2 MiB.
const LARGEST_FILE: u64 = 2 << 20;
/// What the names of the variables begin with that CI systems set.
const OF_CI: [&str; 5] = ["CI_", "CIRCLE", "GITHUB_", "GITLAB_", "RUNNER_"];
/// The most workflows that are read.
const MOST_WORKFLOWS: usize = 100;

/// A job with the builds in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobBuilds {
    /// The job.
    pub job: Job,
    /// Its builds, in order.
    pub builds: Vec<Build>,
    /// What was not understood, of the job's definition and of its script.
    pub notes: Vec<String>,
}

/// What was found in the checkout.
#[derive(Debug, Default)]
pub struct Found {
    /// The jobs that build images. An empty list: there is no file of jobs, or nothing in them builds.
    pub jobs: Vec<JobBuilds>,
    /// The files that could not be read, and why.
    pub errors: Vec<ciconfig::Error>,
}

/// Finds the jobs of the checkout that build images.
pub fn find(surroundings: &Surroundings) -> Found {
    let load = |name: &str| load(&surroundings.root, name);
    let mut found = Found::default();
    // Whatever else is wrong with a file is told when it is read.
    let is_there = |name: &str| !matches!(load(name), Ok(None));
    for provider in [Provider::GitLab, Provider::GitHub, Provider::CircleCi] {
        let known = surroundings.variables(provider);
        let read = match provider {
            Provider::GitLab if is_there(gitlab::FILE) => {
                // The jobs of layerlift's own template ask this one first.
                let mut given = surroundings.given.clone();
                given.entry("LAYERLIFT_PUSH".to_owned()).or_insert("false".to_owned());
                gitlab::jobs(&load, &known, &given)
            }
            Provider::CircleCi if is_there(circleci::FILE) => {
                circleci::jobs(&load, &known, &surroundings.given)
            }
            Provider::GitHub => {
                let event = yaml::documents(&surroundings.event().to_string());
                let event = event.ok().and_then(|read| read.into_iter().next()).unwrap_or(Node::Null);
                let run = Run { known: known.clone(), given: surroundings.given.clone(), event };
                let (jobs, errors) = github::jobs(&workflows(&surroundings.root), &load, &run);
                found.errors.extend(errors);
                Ok(jobs)
            }
            _ => Ok(Vec::new()),
        };
        let jobs = read.unwrap_or_else(|error| {
            found.errors.push(error);
            Vec::new()
        });
        for job in jobs {
            let text = |name: &str| load(name).ok().flatten();
            let (builds, mut notes) =
                builds::of_job(&job, &known, surroundings, &mut Places::new(&job, &text));
            notes.splice(0..0, job.notes.iter().cloned());
            if !builds.is_empty() {
                found.jobs.push(JobBuilds { job, builds, notes });
            }
        }
    }
    found
}

/// The workflows of the checkout, counted from there, in the order of their names.
fn workflows(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join(github::FOLDER)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter(|name| name.ends_with(".yml") || name.ends_with(".yaml")).take(MOST_WORKFLOWS).collect();
    names.sort();
    names.into_iter().map(|name| format!("{}/{name}", github::FOLDER)).collect()
}

/// The text of a file in the checkout. A link that leads out of it is refused.
fn load(root: &Path, name: &str) -> Result<Option<String>, String> {
    let path = match root.join(name).canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| error.to_string())?,
    };
    if !path.starts_with(root) {
        return Err("it lies outside of the checkout".to_owned());
    }
    if !path.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let mut text = String::new();
    let file = std::fs::File::open(&path).map_err(|error| error.to_string())?;
    file.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(format!("it is larger than {LARGEST_FILE} bytes"));
    }
    Ok(Some(text))
}

/// Writes the payload of the event that a GitHub job is started by, for layerlift to read as in CI. `None`: the job is
/// another system's, or the user has given a payload.
pub fn event_file(job: &Job, surroundings: &Surroundings) -> std::io::Result<Option<tempfile::TempPath>> {
    let is_given = surroundings.given.contains_key(env::GITHUB_EVENT_PATH.name);
    if job.provider != Provider::GitHub || is_given {
        return Ok(None);
    }
    let file = tempfile::Builder::new().prefix("layerlift-event-").suffix(".json").tempfile()?;
    std::fs::write(file.path(), surroundings.event().to_string())?;
    Ok(Some(file.into_temp_path()))
}

/// The command that a build is run by. What is still unknown is empty, as a shell would have it.
pub fn command(
    world: &World,
    build: &Build,
    line: &Line,
    program: &str,
    root: &Path,
    event: Option<&Path>,
) -> Command {
    let empty = |text: &String| unknown::resolve(text, &|_| Some(String::new()));
    let mut command =
        Command::new(program, std::iter::once(&line.subcommand).chain(&line.arguments).map(empty));
    command.folder = Some(root.join(empty(&build.folder)));
    command.environment =
        build.environment.iter().map(|(name, value)| (name.clone(), Some(empty(value).into()))).collect();
    // What CI would take from variables that are not known here must not come from this machine by accident, nor from
    // a CI job that this may run in.
    let of_ci = OF_CI.into_iter().flat_map(|start| world.environment.names_with_prefix(start));
    let of_ci = of_ci.filter(|name| !build.environment.contains_key(*name));
    let hidden = build.hidden.iter().map(String::as_str).chain(of_ci);
    command.environment.extend(hidden.map(|name| (name.to_owned(), None)));
    if let Some(event) = event {
        command.environment.push((env::GITHUB_EVENT_PATH.name.to_owned(), Some(event.into())));
    }
    if let Some(file) = &build.input {
        command.input = Input::File(root.join(empty(&build.folder)).join(empty(file)));
    }
    command
}

/// Runs a build and tells its exit code.
pub async fn run(world: &World, command: &Command) -> Result<i32, Error> {
    let mut interrupts = world.interrupts.clone();
    let show = |_, line: &[u8]| world.printer.bytes(line);
    let status = process::stream(command, process::Output::Inherited, &mut interrupts, show).await?;
    Ok(status.code().unwrap_or(1))
}
