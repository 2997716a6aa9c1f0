//! The builds in a job's script, each as the line of layerlift that reproduces it.

use std::collections::{BTreeMap, BTreeSet};

use crate::ciconfig::shell::{Found, State, joined};
use crate::ciconfig::{Action, Job, inputs, unknown};
use crate::invocation::{self, ComposeVerb, Tool};
use crate::workflow::repro::arguments::{self, Local};
use crate::workflow::repro::later::Later;
use crate::workflow::repro::outside::changes_programs;
use crate::workflow::repro::places::Places;
use crate::workflow::repro::surroundings::{OF_THE_RUNNER, Surroundings};

/// A build of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The command as CI runs it, for lists; values that only CI knows by their names.
    pub given: String,
    /// `file:line` of it.
    pub place: String,
    /// How it is reproduced, or why it cannot be.
    pub line: Result<Line, String>,
    /// Variables that it sees.
    pub environment: BTreeMap<String, String>,
    /// Variables that it would take from its surroundings, and that nobody has given.
    pub hidden: Vec<String>,
    /// Its folder, counted from the checkout.
    pub folder: String,
    /// The file that it reads.
    pub input: Option<String>,
    /// It hangs on what is not known, or stands in a loop or a `case`.
    pub conditional: bool,
    /// What only CI knows of it: names of variables, and files of secrets that are not there.
    pub missing: BTreeSet<String>,
}

/// The line of layerlift that takes a build's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `build`, `bake`, `compose`.
    pub subcommand: String,
    /// What follows it.
    pub arguments: Vec<String>,
    /// What was taken off the arguments, as given.
    pub taken_off: Vec<String>,
}

/// Finds the builds of a job, and what of its script was not understood. `known` are the job's predefined variables.
pub fn of_job(
    job: &Job,
    known: &BTreeMap<String, String>,
    surroundings: &Surroundings,
    places: &mut Places<'_>,
) -> (Vec<Build>, Vec<String>) {
    let root = surroundings.root.to_string_lossy().into_owned();
    let mut state = State { given: surroundings.given.clone(), root: root.clone(), ..State::default() };
    // What has a dot in its name is a value of expressions, not a variable.
    let variables = known.iter().filter(|(name, _)| !name.contains('.'));
    variables.for_each(|(name, value)| state.export(name, value));
    job.variables.iter().for_each(|(name, value)| state.export(name, value));
    let mut later = Later { begin: state.clone(), values: BTreeMap::new() };
    let mut builds = Vec::new();
    let mut notes = Vec::new();
    for step in &job.steps {
        let folder = step.folder.as_ref().map(|folder| joined("", &later.resolved(folder), &root));
        let environment: Vec<(String, String)> =
            step.environment.iter().map(|(name, value)| (name.clone(), later.resolved(value))).collect();
        let mut own = later.begin.clone();
        let fresh = !matches!(step.action, Action::Script { fresh: false, .. });
        let state = if fresh { &mut own } else { &mut state };
        environment.iter().for_each(|(name, value)| state.export(name, value));
        if let Some(folder) = folder {
            state.folder = folder;
        }
        let found = match &step.action {
            Action::Script { text, .. } => {
                let text = later.resolved(text);
                let found = state.walk(&text);
                notes.append(&mut state.notes);
                found.iter().for_each(|found| later.learn(found, step));
                found.into_iter().map(|found| (places.of_line(step, &text, &found.line), found)).collect()
            }
            Action::Build { builder, inputs } => {
                let inputs =
                    inputs.iter().map(|(name, value)| (name.clone(), later.resolved(value))).collect();
                let command = inputs::command(*builder, &inputs);
                let place = places.of_step(step);
                notes.extend(command.notes.into_iter().map(|note| format!("{place}: {note}")));
                command.environment.iter().for_each(|(name, value)| state.export(name, value));
                vec![(place, state.found(command.words))]
            }
            Action::Foreign { what, reason } => {
                builds.push(Build {
                    given: what.clone(),
                    place: places.of_step(step),
                    line: Err(reason.clone()),
                    environment: BTreeMap::new(),
                    hidden: Vec::new(),
                    folder: String::new(),
                    input: None,
                    conditional: step.conditional,
                    missing: BTreeSet::new(),
                });
                continue;
            }
        };
        for (place, mut found) in found {
            found.conditional |= step.conditional;
            builds.extend(build(found, surroundings, place));
        }
    }
    (builds, notes)
}

/// A command as a build; `None` when it is none.
fn build(found: Found, surroundings: &Surroundings, place: String) -> Option<Build> {
    let (mut line, of_globals) = recognised(&found.words, surroundings.all_platforms)?;
    if found.left_out {
        line = Err("its condition does not hold in this pipeline".to_owned());
    }
    let mut environment = found.environment;
    environment.extend(of_globals);
    environment.retain(|name, _| !OF_THE_RUNNER.contains(&name.as_str()) && !changes_programs(name));
    let mut missing: BTreeSet<String> = BTreeSet::new();
    let mut hidden = Vec::new();
    if let Ok(line) = &line {
        let texts = line.arguments.iter().chain([&found.folder]).chain(&found.input);
        missing.extend(texts.flat_map(|text| unknown::names(text)));
        for name in taken_from_environment(&line.arguments) {
            match environment.get(&name) {
                Some(value) => missing.extend(unknown::names(value)),
                None => {
                    missing.insert(name.clone());
                    hidden.push(name);
                }
            }
        }
        let folder = surroundings.root.join(&found.folder);
        let files = secrets(&line.arguments).into_iter().filter_map(|(_, source, _)| source);
        missing.extend(files.filter(|file| !unknown::is_unknown(file) && !folder.join(file).exists()));
    }
    // File modes are normalized as in CI because the CI system's own variables are there: nothing is set for that here.
    environment.insert("LAYERLIFT_READ_ONLY".to_owned(), "true".to_owned());
    Some(Build {
        given: unknown::shown(&found.words.join(" ")).replace('\n', " "),
        place,
        line,
        environment,
        hidden,
        folder: found.folder,
        input: found.input,
        conditional: found.conditional,
        missing,
    })
}

/// What a build is reproduced by, and the variables that its global flags stand for.
type Recognised = (Result<Line, String>, Vec<(String, String)>);

fn recognised(words: &[String], all_platforms: bool) -> Option<Recognised> {
    let (program, rest) = words.split_first()?;
    let name = program.rsplit('/').next()?;
    let line = |subcommand: &str, local: Local| {
        let Local { arguments, taken_off } = local;
        Ok(Line { subcommand: subcommand.to_owned(), arguments, taken_off })
    };
    let image = |arguments: &[String]| line("build", arguments::local(arguments, all_platforms));
    let group = |subcommand: &str, arguments: &[String]| {
        line(subcommand, arguments::local_group(subcommand, arguments, all_platforms))
    };
    match (name, rest) {
        ("layerlift", [first, rest @ ..]) if first == "build" => return Some((image(rest), Vec::new())),
        ("layerlift", [first, rest @ ..]) if first == "run" => {
            let at = rest.iter().position(|word| word == "--")?;
            return recognised(&rest[at + 1..], all_platforms);
        }
        ("layerlift", [first, rest @ ..]) if first == "bake" || first == "compose" => {
            return Some((group(first, rest), Vec::new()));
        }
        ("executor", _) if program.contains("kaniko") => {
            return Some((Err("kaniko builds, not the engine".to_owned()), Vec::new()));
        }
        _ => {}
    }
    let found = invocation::recognise(words)?;
    let line = match found.tool {
        Tool::Build => image(&found.arguments),
        Tool::Bake => group("bake", &found.arguments),
        Tool::Compose { verb: ComposeVerb::Build, .. } => {
            let all: Vec<String> =
                found.globals.into_iter().chain(["build".to_owned()]).chain(found.arguments).collect();
            group("compose", &all)
        }
        Tool::Compose { .. } => {
            Err("it runs services as well; build them with `layerlift compose build`".to_owned())
        }
        Tool::Buildah(tool) => Err(format!("{tool} builds, not the engine")),
        Tool::Buildctl => Err("buildctl builds, not the engine".to_owned()),
    };
    Some((line, found.environment))
}

/// Names of variables whose values a build takes from its surroundings: `--build-arg NAME`, `--secret id=NAME`.
fn taken_from_environment(arguments: &[String]) -> Vec<String> {
    let without_value =
        arguments::values(arguments, "build-arg").into_iter().filter(|text| !text.contains('='));
    // A proxy of the runner is nobody's argument.
    let names =
        without_value.filter(|name| !name.to_ascii_lowercase().ends_with("_proxy")).map(str::to_owned);
    let of_secrets =
        secrets(arguments).into_iter().filter_map(|(id, source, variable)| match (source, variable) {
            (_, Some(name)) => Some(name),
            // Without a source it is the variable of its name (buildx, `util/buildflags/secrets.go`).
            (None, None) => id,
            (Some(_), None) => None,
        });
    names.chain(of_secrets).collect()
}

/// Id, file and variable of every `--secret`.
fn secrets(arguments: &[String]) -> Vec<(Option<String>, Option<String>, Option<String>)> {
    let read = |text: &str| {
        let fields = crate::model::request::csv_fields(text);
        let value = |wanted: &[&str]| {
            let pairs = fields.iter().filter_map(|field| field.split_once('='));
            pairs.into_iter().find(|(key, _)| wanted.contains(key)).map(|(_, value)| value.to_owned())
        };
        (value(&["id"]), value(&["src", "source"]), value(&["env"]))
    };
    arguments::values(arguments, "secret").into_iter().map(read).collect()
}
