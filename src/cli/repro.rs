//! `layerlift repro`: lists the jobs that build images, shows what one of them builds, and builds it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::ciconfig::{Job, Provider, unknown};
use crate::cli::app::{Format, ReproArgs};
use crate::cli::failure::{ExitCode, Failure};
use crate::report::line::strip;
use crate::workflow::repro::builds::Build;
use crate::workflow::repro::outside::outside;
use crate::workflow::repro::surroundings::{Change, Surroundings, Wanted};
use crate::workflow::repro::{self, JobBuilds};
use crate::workflow::world::World;

/// Version of the JSON form. It rises when a key goes or means something else.
const VERSION: u32 = 1;
/// The largest file of variables.
const LARGEST_FILE: u64 = 1 << 20;
/// What a name holds whose value is not printed.
const SECRET: [&str; 6] = ["TOKEN", "PASSWORD", "SECRET", "KEY", "CREDENTIAL", "AUTH"];

/// Runs it.
pub async fn run(arguments: ReproArgs, world: &World) -> Result<u8, Failure> {
    let wanted = Wanted {
        branch: arguments.reference.clone(),
        change: match (arguments.mr, arguments.pr) {
            (Some(number), _) => Some(Change::MergeRequest(number)),
            (None, number) => number.map(Change::PullRequest),
        },
        target_branch: arguments.target_branch.clone(),
        default_branch: arguments.default_branch.clone(),
        given: given(&arguments, world)?,
        all_platforms: arguments.all_platforms,
    };
    let surroundings = Surroundings::read(world, wanted).await.ok_or_else(|| {
        Failure::new(ExitCode::NO_INPUT, "this is no git checkout")
            .with_hint("run it in a working copy of the project")
    })?;
    let repro::Found { jobs: found, errors } = repro::find(&surroundings);
    if let Some(error) = errors.first().filter(|_| found.is_empty()) {
        return Err(Failure::from_error(ExitCode::CONFIG, error));
    }
    errors.iter().for_each(|error| world.printer.warning(&error.to_string()));
    if found.is_empty() {
        let message = format!("no job that builds an image was found in {}", surroundings.root.display());
        return Err(Failure::new(ExitCode::NO_INPUT, message).with_hint(
            "it looks for `.gitlab-ci.yml`, `.github/workflows` and `.circleci/config.yml` in the checkout",
        ));
    }
    let Some(name) = &arguments.job else {
        world.printer.data(&match arguments.format {
            Format::Text => list_text(&found),
            Format::Json => format!("{:#}\n", list_json(&found)),
        });
        return Ok(0);
    };
    let chosen = choose(&found, name)?;
    reproduce(chosen, &arguments, &surroundings, world).await
}

/// The variables of `--env-file`, and those of `--var` above them.
fn given(arguments: &ReproArgs, world: &World) -> Result<BTreeMap<String, String>, Failure> {
    let mut given = BTreeMap::new();
    for file in &arguments.env_file {
        let path = world.folder.join(file);
        let unreadable = |reason: &dyn std::fmt::Display| {
            Failure::new(ExitCode::NO_INPUT, format!("{} cannot be read: {reason}", file.display()))
        };
        let found = path.metadata().map_err(|error| unreadable(&error))?;
        if found.len() > LARGEST_FILE {
            return Err(unreadable(&"it is larger than 1 MiB"));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&error))?;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once('=').ok_or_else(|| {
                let place = format!("{}:{}", file.display(), index + 1);
                Failure::new(ExitCode::CONFIG, format!("{place}: NAME=VALUE is expected"))
            })?;
            given.insert(name.trim().to_owned(), value.to_owned());
        }
    }
    for text in &arguments.var {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::new(ExitCode::USAGE, format!("--var {text}: NAME=VALUE is expected")))?;
        given.insert(name.to_owned(), value.to_owned());
    }
    Ok(given)
}

/// The job of that name, or the only one of that key. `FILE:NAME` tells jobs of several files apart.
fn choose<'a>(found: &'a [JobBuilds], name: &str) -> Result<&'a JobBuilds, Failure> {
    let of = |job: &dyn Fn(&Job) -> bool| found.iter().filter(|it| job(&it.job)).collect::<Vec<_>>();
    let exact =
        of(&|job| job.name == name || name.strip_prefix(&job.file) == Some(&format!(":{}", job.name)));
    let fits = if exact.is_empty() { of(&|job| job.key == name) } else { exact };
    let names = |jobs: &[&JobBuilds]| {
        let is_shared = |job: &Job| found.iter().any(|it| it.job.name == job.name && it.job.file != job.file);
        let name = |job: &Job| match is_shared(job) {
            true => format!("`{}:{}`", job.file, job.name),
            false => format!("`{}`", job.name),
        };
        jobs.iter().map(|it| name(&it.job)).collect::<Vec<_>>().join(", ")
    };
    match fits.as_slice() {
        [one] => Ok(one),
        [] => {
            let all: Vec<&JobBuilds> = found.iter().collect();
            let near = |it: &&&JobBuilds| {
                let (a, b) = (it.job.name.to_lowercase(), name.to_lowercase());
                a.contains(&b) || b.contains(&a)
            };
            let near: Vec<&JobBuilds> = all.iter().filter(near).copied().collect();
            let hint = if near.is_empty() { names(&all) } else { names(&near) };
            Err(Failure::new(ExitCode::USAGE, format!("no job `{name}` builds an image"))
                .with_hint(format!("there is {hint}")))
        }
        several => Err(Failure::new(ExitCode::USAGE, format!("`{name}` is several jobs"))
            .with_hint(format!("name one of {}", names(several)))),
    }
}

fn list_text(found: &[JobBuilds]) -> String {
    let mut text = String::new();
    for JobBuilds { job, builds, notes } in found {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}  {}  {}:{}", job.provider.name(), job.name, job.file, job.line);
        for build in builds {
            let _ = writeln!(text, "    {}", build.given);
            if let Err(reason) = &build.line {
                let _ = writeln!(text, "      cannot be reproduced: {reason}");
            }
        }
        for note in
            job.left_out.iter().map(|why| format!("not in this pipeline: {why}")).chain(notes.iter().cloned())
        {
            let _ = writeln!(text, "    note: {note}");
        }
    }
    harmless(&text)
}

/// Lines with words of the checkout in them, which must not steer the terminal.
fn harmless(text: &str) -> String {
    text.lines().map(|line| strip(line) + "\n").collect()
}

fn list_json(found: &[JobBuilds]) -> Value {
    let build = |build: &Build| {
        json!({
            "place": build.place,
            "command": build.given,
            "missing": build.missing,
            "conditional": build.conditional,
            "problem": build.line.as_ref().err(),
        })
    };
    let job = |JobBuilds { job, builds, notes }: &JobBuilds| {
        json!({
            "provider": job.provider.name(),
            "job": job.name,
            "file": job.file,
            "line": job.line,
            "left_out": job.left_out,
            "notes": notes,
            "builds": builds.iter().map(build).collect::<Vec<_>>(),
        })
    };
    json!({"version": VERSION, "jobs": found.iter().map(job).collect::<Vec<_>>()})
}

async fn reproduce(
    chosen: &JobBuilds,
    arguments: &ReproArgs,
    surroundings: &Surroundings,
    world: &World,
) -> Result<u8, Failure> {
    let JobBuilds { job, builds, notes } = chosen;
    let fits = match surroundings.change {
        None => true,
        Some(Change::MergeRequest(_)) => job.provider == Provider::GitLab,
        Some(Change::PullRequest(_)) => job.provider != Provider::GitLab,
    };
    if !fits {
        let message = format!("job `{}` of {} has no such pipelines", job.name, job.file);
        return Err(Failure::new(ExitCode::USAGE, message)
            .with_hint("--mr is for GitLab's merge requests, --pr for GitHub's pull requests"));
    }
    let left_out = job.left_out.iter().map(|why| format!("not in this pipeline: {why}"));
    left_out
        .chain(notes.iter().cloned())
        .for_each(|note| world.printer.warning(&format!("{}: {note}", job.name)));
    let missing: Vec<String> = builds
        .iter()
        .flat_map(|build| build.missing.iter().map(|name| format!("{name} ({})", build.place)))
        .collect();
    if !missing.is_empty() && !arguments.show && !arguments.allow_missing {
        let message = format!("only CI knows what these builds use: {}", missing.join(", "));
        return Err(Failure::new(ExitCode::CONFIG, message).with_hint(
            "give variables by --var NAME=VALUE or --env-file FILE, create the files, or leave them empty by --allow-missing",
        ));
    }
    let outside: Vec<String> = builds
        .iter()
        .flat_map(|build| {
            outside(build, surroundings).into_iter().map(|place| format!("{place} ({})", build.place))
        })
        .collect();
    if !outside.is_empty() && !arguments.show && !arguments.allow_outside {
        let message = format!("these builds reach out of the checkout: {}", outside.join(", "));
        return Err(Failure::new(ExitCode::CONFIG, message)
            .with_hint("look at the lines with --show; --allow-outside runs them"));
    }
    if let Some(reason) = builds.iter().find_map(|build| build.line.as_ref().err())
        && builds.iter().all(|build| build.line.is_err())
    {
        let message = format!("nothing of job `{}` can be reproduced: {reason}", job.name);
        return Err(Failure::new(ExitCode::ENGINE, message)
            .with_hint("a job that calls `docker build` or `layerlift build` can be"));
    }
    let event = repro::event_file(job, surroundings)
        .map_err(|error| Failure::from_error(ExitCode::CANNOT_WRITE, &error))?;
    let program = std::env::current_exe().map_err(|error| Failure::from_error(ExitCode::INTERNAL, &error))?;
    let secrets: Vec<&str> = builds
        .iter()
        .flat_map(|build| &build.environment)
        .chain(&surroundings.given)
        .filter(|(name, value)| is_secret(name) && !value.is_empty() && !unknown::is_unknown(value))
        .map(|(_, value)| value.as_str())
        .collect();
    for build in builds {
        let line = match &build.line {
            Ok(line) => line,
            Err(reason) => {
                world
                    .printer
                    .warning(&format!("{}: `{}` cannot be reproduced: {reason}", build.place, build.given));
                continue;
            }
        };
        let program = program.to_string_lossy();
        let command = repro::command(world, build, line, &program, &surroundings.root, event.as_deref());
        let folder = if build.folder.is_empty() { String::new() } else { format!("cd {} && ", build.folder) };
        let mut plain = command.clone();
        plain.program = "layerlift".to_owned();
        plain.environment.clear();
        plain.arguments = std::iter::once(&line.subcommand)
            .chain(&line.arguments)
            .map(|text| unknown::shown(text))
            .collect();
        let shown =
            secrets.iter().fold(format!("{folder}{plain}"), |text, secret| text.replace(secret, "***"));
        let text = harmless(&shown);
        if arguments.show {
            world.printer.data(&text)
        } else {
            world.printer.message(&text)
        }
        let tell = |what: String| world.printer.message(&harmless(&format!("  {}: {what}", build.place)));
        if !line.taken_off.is_empty() {
            tell(format!("left out here: {}", line.taken_off.join(" ")));
        }
        if build.conditional {
            tell("in a condition or a loop: CI may not run it, or more than once".to_owned());
        }
        if !build.missing.is_empty() {
            tell(format!("only CI knows {}", build.missing.iter().cloned().collect::<Vec<_>>().join(", ")));
        }
        if arguments.show {
            continue;
        }
        let code = repro::run(world, &command).await?;
        if code != 0 {
            return Ok(u8::try_from(code).unwrap_or(1));
        }
    }
    Ok(0)
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET.iter().any(|word| name.contains(word))
}
