//! The steps of a job: `run:`, commands with their parameters, conditions.

use super::template::Scope;
use super::{Orb, Values, Variables, is_own, orb, parameters, variables};
use crate::base::yaml::Node;
use crate::ciconfig::inputs::Builder;
use crate::ciconfig::{Action, MOST_STEPS, Step, unknown};

/// Commands in commands are followed this far.
const DEEPEST: usize = 20;
/// The most that the parameters of a command come to, in values: they can be lists that hold each other twice.
const MOST_VALUES: usize = 10_000;
/// What stands in the name of a job or a command of an orb that builds images: of what, and that it does.
const LIKE_AN_IMAGE: [&str; 7] = ["acr", "container", "docker", "ecr", "gcr", "image", "kaniko"];
const LIKE_A_BUILD: [&str; 4] = ["build", "image", "publish", "push"];

/// The walk through a job's steps.
pub(super) struct Walk<'a> {
    root: &'a Node,
    /// The job's folder, as CircleCI has it.
    folder: String,
    given: &'a Values,
    /// What was found.
    pub(super) steps: Vec<Step>,
    /// What was not followed.
    pub(super) notes: Vec<String>,
    /// Steps that were looked at.
    visited: usize,
    conditional: bool,
    depth: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Node, folder: String, given: &'a Values) -> Self {
        Walk {
            root,
            folder,
            given,
            steps: Vec::new(),
            notes: Vec::new(),
            visited: 0,
            conditional: false,
            depth: 0,
        }
    }

    /// Walks through a list of steps. `within` is the orb that they stand in.
    pub(super) fn all(&mut self, steps: &Node, scope: &Scope<'_>, within: Option<&Node>) {
        for step in scope.filled(steps).items() {
            // A parameter can be a list of steps.
            let nested =
                if let Node::List(items) = step { items.as_slice() } else { std::slice::from_ref(step) };
            for step in nested {
                self.visited += 1;
                if self.visited > MOST_STEPS {
                    let note = format!("only its first {MOST_STEPS} steps were read");
                    if self.notes.last() != Some(&note) {
                        self.notes.push(note);
                    }
                    return;
                }
                self.step(step, scope, within);
            }
        }
    }

    fn step(&mut self, step: &Node, scope: &Scope<'_>, within: Option<&Node>) {
        let (name, node) = match (step.scalar(), step.entries().first()) {
            (Some(name), _) => (name, &Node::Null),
            (None, Some((name, node))) => (name.clone(), node),
            (None, None) => return,
        };
        match name.as_str() {
            "run" => self.run(node),
            // An older name of it.
            "deploy" if node.get("command").is_some() => self.run(node),
            "when" | "unless" => {
                let holds = node.get("condition").map_or(Some(false), |condition| scope.holds(condition));
                if holds == Some(name == "unless") {
                    return;
                }
                let outer = self.conditional;
                self.conditional |= holds.is_none();
                self.all(node.get("steps").unwrap_or(&Node::Null), scope, within);
                self.conditional = outer;
            }
            "checkout" => {
                if let Some(path) =
                    node.get("path").and_then(Node::scalar).filter(|path| !self.is_own_folder(path))
                {
                    self.notes.push(format!("CI puts files into `{path}`; here they are where they are"));
                }
            }
            _ => self.command(&name, node, scope, within),
        }
    }

    fn run(&mut self, node: &Node) {
        let field = |name: &str| node.get(name).and_then(Node::scalar);
        if field("when").is_some_and(|when| when == "on_fail") {
            return;
        }
        let Some(text) = node.scalar().or_else(|| field("command")) else { return };
        let program = field("shell").unwrap_or_default();
        let program = program.split(' ').next().and_then(|it| it.rsplit('/').next()).unwrap_or_default();
        if !matches!(program, "" | "bash" | "sh" | "ash" | "dash") {
            self.notes.push(format!("lines for `{program}` were not read"));
            return;
        }
        let folder = field("working_directory").map_or_else(String::new, |folder| self.inside(&folder));
        self.steps.push(Step {
            folder: Some(folder),
            environment: variables(node.get("environment"), self.given),
            conditional: self.conditional,
            ..Step::new(&text, Action::Script { text: text.clone(), fresh: true })
        });
    }

    /// A folder of CircleCI's machine, counted from the checkout.
    fn inside(&self, folder: &str) -> String {
        let inside = folder.strip_prefix(self.folder.trim_end_matches('/'));
        match inside.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            Some(rest) => rest.trim_start_matches('/').to_owned(),
            None => folder.to_owned(),
        }
    }

    fn is_own_folder(&self, path: &str) -> bool {
        matches!(self.inside(path).as_str(), "" | "." | "./")
    }

    fn command(&mut self, name: &str, with: &Node, scope: &Scope<'_>, within: Option<&Node>) {
        let (home, command) = match name.split_once('/') {
            Some((orb_name, command)) => match orb(self.root, orb_name) {
                Orb::Own if command == "build" => return self.own(name, with, scope),
                Orb::Own => return self.own_group(name, command, with),
                Orb::Inline(orb) => (Some(orb), command),
                _ => return self.foreign(name),
            },
            None => (within, name),
        };
        let commands = home.unwrap_or(self.root).get("commands");
        // `setup_remote_docker`, `save_cache` and the like.
        let Some(command) = commands.and_then(|commands| commands.get(command)) else { return };
        if self.depth >= DEEPEST {
            self.notes.push(format!("`{name}`: commands call each other in a circle, or too deep"));
            return;
        }
        let inner = scope.with(parameters(command.get("parameters"), with, scope));
        if values(&inner.parameters) > MOST_VALUES {
            self.notes.push(format!("`{name}` was given more than {MOST_VALUES} values"));
            return;
        }
        self.depth += 1;
        self.all(command.get("steps").unwrap_or(&Node::Null), &inner, home);
        self.depth -= 1;
    }

    /// layerlift's own job or command.
    pub(super) fn own(&mut self, name: &str, with: &Node, scope: &Scope<'_>) {
        let field = |name: &str| with.get(name).and_then(Node::scalar).unwrap_or_default();
        let tag = match field("tag") {
            tag if tag.is_empty() => {
                scope.known.get("CIRCLE_SHA1").cloned().unwrap_or_else(|| unknown::unknown("CIRCLE_SHA1"))
            }
            tag => tag,
        };
        let image = field("image");
        let mut inputs: Variables =
            ["context", "file", "args"].map(|name| (name.to_owned(), field(name))).into();
        inputs.push(("tags".to_owned(), format!("{image}:{tag}")));
        let action = Action::Build { builder: Builder::Layerlift, inputs: inputs.into_iter().collect() };
        let conditional = self.conditional;
        self.steps.push(Step { folder: Some(String::new()), conditional, ..Step::new(name, action) });
    }

    /// layerlift's own commands for compose and bake; the others build nothing.
    fn own_group(&mut self, name: &str, command: &str, with: &Node) {
        let subcommand = match command {
            "compose" => "compose build",
            "bake" => "bake",
            _ => return,
        };
        let arguments = with.get("args").and_then(Node::scalar).unwrap_or_default();
        let arguments = arguments.lines().filter(|argument| !argument.is_empty());
        let Ok(arguments) = shlex::try_join(arguments) else { return };
        let action = Action::Script { text: format!("layerlift {subcommand} {arguments}"), fresh: true };
        let conditional = self.conditional;
        self.steps.push(Step { folder: Some(String::new()), conditional, ..Step::new(name, action) });
    }

    /// What an orb of somebody else's would do.
    pub(super) fn foreign(&mut self, name: &str) {
        let lower = name.to_ascii_lowercase();
        let command = lower.rsplit('/').next().unwrap_or_default();
        let of_images = LIKE_AN_IMAGE.iter().any(|part| lower.contains(part));
        if of_images && LIKE_A_BUILD.iter().any(|part| command.contains(part)) {
            let reason = "CircleCI has the orb, this checkout has not".to_owned();
            self.steps.push(Step::new(name, Action::Foreign { what: name.to_owned(), reason }));
        } else {
            self.notes.push(format!("`{name}` is of an orb, and was not followed"));
        }
    }
}

/// How many values a value holds.
fn values(node: &Node) -> usize {
    let inner: usize = match node {
        Node::List(items) => items.iter().map(values).sum(),
        Node::Map(entries) => entries.iter().map(|(_, value)| values(value)).sum(),
        _ => 0,
    };
    inner + 1
}

/// Whether a job of an orb is layerlift's own.
pub(super) fn is_own_job(root: &Node, name: &str) -> bool {
    name.split_once('/').is_some_and(|(name, job)| job == "image" && is_own(root, name))
}
