//! The steps of a job: `run:` lines, the actions that build images, and the composite actions of the same checkout.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;

use super::contexts::Contexts;
use super::expression::{evaluated, holds, shown, text};
use super::{Values, Variables, metadata, variables};
use crate::base::yaml::Node;
use crate::ciconfig::inputs::Builder;
use crate::ciconfig::{Action, Files, Load, MOST_STEPS, Step};

/// Actions in actions are followed this far, as GitHub does.
const DEEPEST: usize = 10;
/// What stands in the name of an action that builds images in a way that is not known here.
const LIKE_A_BUILD: [&str; 8] = [
    "build-docker",
    "buildah-build",
    "build-image",
    "build-push",
    "docker-build",
    "docker-image",
    "kaniko",
    "publish-docker",
];

/// Where steps stand.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The file; empty: the job's own.
    pub(super) file: String,
    /// The folder of `run:` lines.
    pub(super) folder: String,
    /// Their shell, where one is set.
    pub(super) shell: Option<String>,
}

/// The walk through a job's steps.
pub(super) struct Walk<'a> {
    load: &'a Load<'a>,
    files: &'a mut Files,
    given: &'a Values,
    /// What was found.
    pub(super) steps: Vec<Step>,
    /// What was not followed.
    pub(super) notes: Vec<String>,
    /// Steps that were looked at.
    visited: usize,
    /// The actions that we are in.
    path: Vec<String>,
    /// An action that we are in may not be run at all.
    conditional: bool,
    /// Variables that the actions that we are in were called with.
    environment: Variables,
}

impl<'a> Walk<'a> {
    pub(super) fn new(load: &'a Load<'a>, files: &'a mut Files, given: &'a Values) -> Self {
        let (steps, notes, path, environment) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Walk { load, files, given, steps, notes, visited: 0, path, conditional: false, environment }
    }

    /// Walks through a list of steps.
    pub(super) fn all(&mut self, steps: &Node, place: &Place, contexts: &mut Contexts<'_>) {
        for name in written(steps) {
            contexts.forget_env(&name);
        }
        for node in steps.items() {
            self.visited += 1;
            if self.visited > MOST_STEPS {
                let note = format!("only its first {MOST_STEPS} steps were read");
                if self.notes.last() != Some(&note) {
                    self.notes.push(note);
                }
                return;
            }
            self.step(node, place, contexts);
        }
    }

    fn step(&mut self, node: &Node, place: &Place, contexts: &mut Contexts<'_>) {
        let mut environment = self.environment.clone();
        environment.extend(variables(node.get("env"), contexts, self.given));
        let mut of_step = contexts.clone();
        of_step.add_env(&environment);
        let holds = match node.get("if").and_then(Node::scalar) {
            Some(condition) => holds(&condition, &of_step),
            None => Some(true),
        };
        if holds == Some(false) {
            return;
        }
        let conditional = self.conditional || holds.is_none();
        let id = node.get("id").and_then(Node::scalar);
        let finished = |step: Step| Step {
            id: id.as_ref().map(|id| contexts.step_id(id)),
            file: place.file.clone(),
            environment: environment.clone(),
            conditional,
            ..step
        };
        if let Some(run) = node.get("run").and_then(Node::scalar) {
            let shell = node.get("shell").and_then(Node::scalar).or(place.shell.clone()).unwrap_or_default();
            let program = shell.split(' ').next().and_then(|it| it.rsplit('/').next()).unwrap_or_default();
            if !matches!(program, "" | "bash" | "sh" | "ash" | "dash") {
                self.notes.push(format!("lines for `{program}` were not read"));
                return;
            }
            let folder = node.get("working-directory").and_then(Node::scalar).map(|it| text(&it, &of_step));
            let action = Action::Script { text: text(&run, &of_step), fresh: true };
            let folder = Some(folder.unwrap_or_else(|| place.folder.clone()));
            self.steps.push(finished(Step { folder, ..Step::new(&run, action) }));
            return;
        }
        let Some(uses) = node.get("uses").and_then(Node::scalar) else { return };
        let inputs = evaluated(node.get("with").unwrap_or(&Node::Null), &of_step);
        let inputs: BTreeMap<String, String> =
            inputs.entries().iter().map(|(name, value)| (name.to_ascii_lowercase(), shown(value))).collect();
        let action = match action_of(&uses) {
            Some("build-push") => Action::Build { builder: Builder::BuildPush, inputs },
            Some("bake") => Action::Build { builder: Builder::Bake, inputs },
            Some("layerlift") if inputs.get("setup-only").is_some_and(|it| it == "true") => {
                Action::Script { text: setup(&inputs), fresh: true }
            }
            Some("layerlift") => Action::Build { builder: Builder::Layerlift, inputs },
            Some("metadata") => {
                if let Some(id) = id {
                    let outputs = metadata::outputs(&inputs, contexts);
                    contexts.set_outputs(&id, outputs);
                }
                return;
            }
            Some("checkout") => {
                if let Some(path) =
                    inputs.get("path").filter(|path| !matches!(path.as_str(), "" | "." | "./"))
                {
                    self.notes.push(format!("CI puts files into `{path}`; here they are where they are"));
                }
                return;
            }
            Some(_) => {
                let reason = "what this action does is not known here".to_owned();
                Action::Foreign { what: uses.clone(), reason }
            }
            None => {
                if let Some(folder) = uses.strip_prefix("./").or((uses == ".").then_some("")) {
                    let call = Composite { folder, inputs, environment, conditional };
                    let outputs = self.composite(call, &of_step, id.as_deref());
                    if let Some(id) = id {
                        contexts.set_outputs(&id, outputs);
                    }
                }
                return;
            }
        };
        self.steps.push(finished(Step { folder: Some(String::new()), ..Step::new(&uses, action) }));
    }

    /// Walks through the steps of an action in this checkout, and returns its outputs.
    fn composite(&mut self, call: Composite<'_>, contexts: &Contexts<'_>, id: Option<&str>) -> Variables {
        let file = |name: &str| match call.folder.trim_end_matches('/') {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        };
        let read = [file("action.yml"), file("action.yaml")]
            .into_iter()
            .find_map(|name| Some((self.files.read(&name, self.load).ok()?.into_iter().next()?, name)));
        let (action, name) = match read {
            Some(read) if self.path.len() < DEEPEST && !self.path.contains(&read.1) => read,
            Some(_) => {
                self.notes
                    .push(format!("`./{}`: actions call each other in a circle, or too deep", call.folder));
                return Vec::new();
            }
            None => {
                self.notes.push(format!("`./{}` has no action.yml that can be read", call.folder));
                return Vec::new();
            }
        };
        let Some(runs) = action.get("runs").filter(|runs| runs.get("steps").is_some()) else {
            return Vec::new();
        };
        let mut inner = contexts.clone();
        let declared = action.get("inputs").map(Node::entries).unwrap_or_default();
        let input = |(name, declared): &(String, Node)| {
            let with = call.inputs.get(&name.to_ascii_lowercase()).map(|value| Node::Text(value.clone()));
            let default = || evaluated(declared.get("default").unwrap_or(&Node::Null), contexts);
            (name.clone(), Node::Text(shown(&with.unwrap_or_else(default))))
        };
        inner.set("inputs", Node::Map(declared.iter().map(input).collect()));
        inner.enter(id.unwrap_or(call.folder));
        let outer = (
            std::mem::replace(&mut self.conditional, call.conditional),
            std::mem::replace(&mut self.environment, call.environment),
        );
        self.path.push(name.clone());
        // `run:` lines of an action name their shell, and begin in the checkout.
        let place = Place { file: name, folder: String::new(), shell: None };
        self.all(runs.get("steps").unwrap_or(&Node::Null), &place, &mut inner);
        self.path.pop();
        (self.conditional, self.environment) = outer;
        let output = |(name, node): &(String, Node)| {
            let value = node.get("value").map(|value| shown(&evaluated(value, &inner)));
            (name.clone(), value.unwrap_or_default())
        };
        action.get("outputs").map(Node::entries).unwrap_or_default().iter().map(output).collect()
    }
}

/// A call of an action in this checkout.
struct Composite<'a> {
    folder: &'a str,
    inputs: BTreeMap<String, String>,
    environment: Variables,
    conditional: bool,
}

/// What is known of an action, by its name. Those of this checkout are `None`, but for layerlift's own.
fn action_of(uses: &str) -> Option<&'static str> {
    let name = uses.split('@').next().unwrap_or_default().to_ascii_lowercase();
    Some(match name.as_str() {
        "docker/build-push-action" => "build-push",
        "docker/bake-action" => "bake",
        "docker/metadata-action" => "metadata",
        "actions/checkout" => "checkout",
        _ if name.ends_with("ci-templates/github") => "layerlift",
        _ if name.starts_with('.') => return None,
        _ => LIKE_A_BUILD.into_iter().find(|part| name.contains(part))?,
    })
}

/// What layerlift's own action does where it is to build nothing: its settings go to later steps.
fn setup(inputs: &BTreeMap<String, String>) -> String {
    let line = |name: &str| {
        let value = inputs.get(name).filter(|value| !value.is_empty())?;
        let variable = format!("LAYERLIFT_{}={value}", name.replace('-', "_").to_ascii_uppercase());
        Some(format!("echo {} >> $GITHUB_ENV\n", shlex::try_quote(&variable).ok()?))
    };
    ["cache-repo", "strategy", "scope"].into_iter().filter_map(line).collect()
}

/// The variables that lines of these steps give to later ones.
fn written(steps: &Node) -> BTreeSet<String> {
    let Ok(assignment) = Regex::new(r"\b([A-Za-z_][A-Za-z0-9_]*)(=|<<)") else { return BTreeSet::new() };
    let texts: Vec<String> = steps
        .items()
        .iter()
        .filter_map(|step| step.get("run")?.scalar())
        .filter(|it| it.contains("GITHUB_ENV"))
        .collect();
    let names = |text: &String| assignment.captures_iter(text).map(|it| it[1].to_owned()).collect::<Vec<_>>();
    texts.iter().flat_map(names).collect()
}
