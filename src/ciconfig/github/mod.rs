//! `.github/workflows/*.yml` (GitHub's docs, "Workflow syntax for GitHub Actions"): jobs, one for each row of a matrix,
//! with the steps of the composite actions and the jobs of the workflows that lie in the same checkout.

mod contexts;
mod event;
mod expression;
mod matrix;
mod metadata;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Error, Files, Job, Jobs, Load, MOST_JOBS, Provider, Step};
use crate::base::yaml::Node;
use contexts::Contexts;
use expression::{evaluated, holds, shown, text};

/// The folder that GitHub reads workflows from.
pub const FOLDER: &str = ".github/workflows";
/// Workflows in workflows are followed this far, as GitHub does.
const DEEPEST: usize = 10;

/// What stands in the name of another repository's workflow that builds images.
const LIKE_A_BUILD: [&str; 3] = ["container", "docker", "image"];

type Values = BTreeMap<String, String>;
type Variables = Vec<(String, String)>;

/// The run that is asked about.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its variables, with those that are given above them.
    pub known: Values,
    /// What its starter gives: variables, and by their names in expressions what GitHub keeps (`vars.IMAGE`).
    pub given: Values,
    /// The event's payload, as far as it is known.
    pub event: Node,
}

/// Reads the jobs of all workflows, and what was wrong with those that could not be read.
pub fn jobs(names: &[String], load: &Load<'_>, run: &Run) -> (Vec<Job>, Vec<Error>) {
    let mut reader = Reader { load, run, files: Files::default(), jobs: Jobs::default(), calls: 0 };
    let mut errors = Vec::new();
    let mut workflows = Vec::new();
    for name in names {
        match reader.workflow(name) {
            Ok(workflow) => workflows.push((name, workflow)),
            Err(error) => errors.push(error),
        }
    }
    let called: BTreeSet<String> = workflows
        .iter()
        .flat_map(|(_, workflow)| workflow.get("jobs").map(Node::entries).unwrap_or_default())
        .filter_map(|(_, job)| Some(job.get("uses")?.scalar()?.strip_prefix("./")?.to_owned()))
        .collect();
    let event = run.known.get("GITHUB_EVENT_NAME").map_or("push", String::as_str);
    let branch = ["GITHUB_BASE_REF", "GITHUB_REF_NAME"].into_iter().find_map(|name| run.known.get(name));
    for (name, workflow) in workflows {
        let on = workflow.get("on");
        if called.contains(name.as_str()) && event::is_only_called(on) {
            continue;
        }
        let left_out = event::left_out(on, event, branch.map(String::as_str));
        let dispatched =
            |on: &Node| on.get("workflow_dispatch").or(on.get("workflow_call"))?.get("inputs").cloned();
        // What a person would be asked for is at its default, where nothing else starts the workflow.
        let declared = on.and_then(dispatched).filter(|_| left_out.is_some()).unwrap_or(Node::Null);
        let inputs = reader.inputs(&declared, &Node::Null);
        let call = Call {
            file: name,
            workflow: &workflow,
            inputs,
            prefix: "",
            left_out: left_out.as_ref(),
            depth: 0,
        };
        if let Err(error) = reader.read(&call) {
            errors.push(error);
        }
    }
    (reader.jobs.all, errors)
}

struct Reader<'a> {
    load: &'a Load<'a>,
    run: &'a Run,
    files: Files,
    jobs: Jobs,
    /// Workflows that were read, those that others call counted.
    calls: usize,
}

/// A workflow, as the event or another workflow starts it.
struct Call<'a> {
    file: &'a str,
    workflow: &'a Node,
    inputs: Node,
    /// The names of the jobs that call it.
    prefix: &'a str,
    left_out: Option<&'a String>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn workflow(&mut self, file: &str) -> Result<Node, Error> {
        let workflow = self.files.read(file, self.load)?.into_iter().next().unwrap_or(Node::Null);
        match workflow.get("jobs") {
            Some(Node::Map(_)) => Ok(workflow),
            _ => Err(Error::meaning(file, 1, "`jobs:` with a mapping is expected")),
        }
    }

    /// Inputs: those that are given, else what the caller hands over, else their defaults.
    fn inputs(&self, declared: &Node, with: &Node) -> Node {
        let value = |name: &String, declared: &Node| {
            let given = self.run.given.get(&format!("inputs.{name}")).map(|value| Node::Text(value.clone()));
            given.or_else(|| with.get(name).or(declared.get("default")).cloned()).unwrap_or(Node::Null)
        };
        let inputs = declared.entries().iter().map(|(name, declared)| (name.clone(), value(name, declared)));
        Node::Map(inputs.collect())
    }

    fn read(&mut self, call: &Call<'_>) -> Result<(), Error> {
        let mut contexts = Contexts::new(&self.run.known, &[], self.run.event.clone());
        contexts.set("inputs", call.inputs.clone());
        let of_workflow = variables(call.workflow.get("env"), &contexts, &self.run.given);
        contexts.set_env(&of_workflow);
        for (key, node) in call.workflow.get("jobs").map(Node::entries).unwrap_or_default() {
            let line = self.files.line_of(call.file, "jobs", key);
            let mut notes = Vec::new();
            let rows = matrix::rows(node, &contexts).unwrap_or_else(|reason| {
                notes.push(format!("{reason}: its values are asked for"));
                None
            });
            let computed = !notes.is_empty();
            let rows: Vec<_> = rows.map_or_else(|| vec![None], |rows| rows.into_iter().map(Some).collect());
            let mut names = BTreeSet::new();
            for row in rows {
                let mut contexts = contexts.clone();
                if !computed {
                    contexts.set("matrix", Node::Map(row.clone().unwrap_or_default()));
                }
                let mut name = name(key, node, row.as_ref(), &contexts);
                if !names.insert(name.clone()) {
                    // GitHub shows two of the same name; here one must be chosen.
                    name += &format!(" ({})", row.as_ref().map(matrix::name).unwrap_or_default());
                }
                let name = format!("{}{name}", call.prefix);
                let mut job = Job {
                    provider: Provider::GitHub,
                    file: call.file.to_owned(),
                    line,
                    key: key.clone(),
                    name,
                    variables: Vec::new(),
                    steps: Vec::new(),
                    notes: notes.clone(),
                    left_out: call.left_out.cloned(),
                };
                if let Some(condition) = node.get("if").and_then(Node::scalar) {
                    match holds(&condition, &contexts) {
                        Some(true) => {}
                        Some(false) => job.left_out = Some(format!("its `if: {condition}` does not hold")),
                        None => job.notes.push(format!("its `if: {condition}` could not be decided")),
                    }
                }
                if let Some(called) = node.get("uses").and_then(Node::scalar) {
                    self.called(
                        call,
                        job,
                        &called,
                        evaluated(node.get("with").unwrap_or(&Node::Null), &contexts),
                    )?;
                    continue;
                }
                let mut all = of_workflow.clone();
                all.extend(variables(node.get("env"), &contexts, &self.run.given));
                contexts.set_env(&all);
                job.variables.push(("GITHUB_JOB".to_owned(), key.clone()));
                job.variables.extend(all);
                let default = |key: &str| {
                    let of = |node: &Node| {
                        Some(text(&node.get("defaults")?.get("run")?.get(key)?.scalar()?, &contexts))
                    };
                    of(node).or_else(|| of(call.workflow))
                };
                let place = steps::Place {
                    file: String::new(),
                    folder: default("working-directory").unwrap_or_default(),
                    shell: default("shell"),
                };
                let mut walk = steps::Walk::new(self.load, &mut self.files, &self.run.given);
                walk.all(node.get("steps").unwrap_or(&Node::Null), &place, &mut contexts);
                job.steps = walk.steps;
                job.notes.append(&mut walk.notes);
                self.jobs.push(job)?;
            }
        }
        Ok(())
    }

    /// A job that is another workflow.
    fn called(&mut self, call: &Call<'_>, mut job: Job, called: &str, with: Node) -> Result<(), Error> {
        let Some(file) = called.strip_prefix("./") else {
            if !LIKE_A_BUILD.iter().any(|part| called.to_ascii_lowercase().contains(part)) {
                return Ok(());
            }
            let reason = "its workflow lies in another repository".to_owned();
            job.steps.push(Step::new(called, Action::Foreign { what: called.to_owned(), reason }));
            return self.jobs.push(job);
        };
        if call.depth >= DEEPEST {
            let message = format!("workflows call each other more than {DEEPEST} deep, or in a circle");
            return Err(Error::meaning(call.file, job.line, message));
        }
        self.calls += 1;
        if self.calls > MOST_JOBS {
            return Err(Error::meaning(
                call.file,
                job.line,
                format!("more than {MOST_JOBS} calls of workflows"),
            ));
        }
        let workflow = self.workflow(file)?;
        let declared = workflow.get("on").and_then(|on| on.get("workflow_call")?.get("inputs")).cloned();
        let inputs = self.inputs(&declared.unwrap_or(Node::Null), &with);
        let prefix = format!("{} / ", job.name);
        let left_out = job.left_out.as_ref();
        self.read(&Call {
            file,
            workflow: &workflow,
            inputs,
            prefix: &prefix,
            left_out,
            depth: call.depth + 1,
        })
    }
}

/// The name that GitHub shows.
fn name(key: &str, job: &Node, row: Option<&matrix::Row>, contexts: &Contexts<'_>) -> String {
    let written = job.get("name").and_then(Node::scalar);
    let name = written.as_deref().map_or_else(|| key.to_owned(), |name| text(name, contexts));
    match row.map(matrix::name) {
        Some(values) if !values.is_empty() && !written.is_some_and(|name| name.contains("matrix.")) => {
            format!("{name} ({values})")
        }
        _ => name,
    }
}

/// An `env:` mapping. What the run's starter gives stands above it.
fn variables(env: Option<&Node>, contexts: &Contexts<'_>, given: &Values) -> Variables {
    let variable = |(name, node): &(String, Node)| {
        let value = given.get(name).cloned().unwrap_or_else(|| shown(&evaluated(node, contexts)));
        (name.clone(), value)
    };
    env.map(Node::entries).unwrap_or_default().iter().map(variable).collect()
}

#[cfg(test)]
mod tests;
