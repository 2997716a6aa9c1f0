//! `layerlift repro`: the image builds of a CI job, found in the checkout's own files and run here.
//!
//! Each is run as `layerlift build` with the variables that the job would have, so that scopes and chain are found as
//! in CI; `LAYERLIFT_READ_ONLY` keeps the caches as they are.

pub mod arguments;
pub mod builds;
pub mod outside;
pub mod surroundings;

use std::io::Read;
use std::path::Path;

use crate::base::process::{self, Command, Input};
use crate::ciconfig::{self, Job, gitlab, unknown};
use crate::workflow::error::Error;
use crate::workflow::world::World;
use builds::{Build, Line};
use surroundings::Surroundings;

/// The largest file of jobs. GitLab's own bound is 2 MiB.
const LARGEST_FILE: u64 = 2 << 20;

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

/// Finds the jobs of the checkout that build images. An empty list: there is no file of jobs, or nothing in it builds.
pub fn find(surroundings: &Surroundings) -> Result<Vec<JobBuilds>, ciconfig::Error> {
    let load = |name: &str| load(&surroundings.root, name);
    // Whatever else is wrong with it is told when it is read.
    if let Ok(None) = load(gitlab::FILE) {
        return Ok(Vec::new());
    }
    let known = surroundings.gitlab();
    let jobs = gitlab::jobs(&load, &known, &surroundings.given)?;
    let with_builds = |job: Job| {
        let (builds, mut notes) =
            builds::of_job(&job, &known, surroundings, &|line| place(surroundings, &job, line));
        notes.splice(0..0, job.notes.iter().cloned());
        JobBuilds { job, builds, notes }
    };
    Ok(jobs.into_iter().map(with_builds).filter(|found| !found.builds.is_empty()).collect())
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

/// `file:line` of a script's line: where the job's file has that text, else the job itself.
fn place(surroundings: &Surroundings, job: &Job, line: &str) -> String {
    let text = load(&surroundings.root, &job.file).ok().flatten().unwrap_or_default();
    let mut lines = text.lines().enumerate().skip(job.line.saturating_sub(1));
    let found = lines.find(|(_, it)| !line.is_empty() && it.contains(line)).map(|(index, _)| index + 1);
    format!("{}:{}", job.file, found.unwrap_or(job.line))
}

/// The command that a build is run by. What is still unknown is empty, as a shell would have it.
pub fn command(world: &World, build: &Build, line: &Line, program: &str, root: &Path) -> Command {
    let empty = |text: &String| unknown::resolve(text, &|_| Some(String::new()));
    let mut command =
        Command::new(program, std::iter::once(&line.subcommand).chain(&line.arguments).map(empty));
    command.folder = Some(root.join(empty(&build.folder)));
    command.environment =
        build.environment.iter().map(|(name, value)| (name.clone(), Some(empty(value).into()))).collect();
    // What CI would take from variables that are not known here must not come from this machine by accident, nor from
    // a CI job that this may run in.
    let of_ci =
        world.environment.names_with_prefix("CI_").filter(|name| !build.environment.contains_key(*name));
    let hidden = build.hidden.iter().map(String::as_str).chain(of_ci);
    command.environment.extend(hidden.map(|name| (name.to_owned(), None)));
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
