//! The contexts that expressions name: `github`, `env`, `matrix`, `inputs` and the rest (GitHub's docs, "Contexts
//! reference").

use super::Values;
use crate::base::yaml::Node;
use crate::ciconfig::unknown;

/// Parts of an event's payload that other events than a push or a pull request have. They are empty here, not unknown.
const OF_OTHER_EVENTS: [&str; 10] = [
    "client_payload",
    "comment",
    "discussion",
    "inputs",
    "issue",
    "merge_group",
    "number",
    "pull_request",
    "release",
    "workflow_run",
];

/// What expressions can name at one place of a workflow.
#[derive(Debug, Clone)]
pub(super) struct Contexts<'a> {
    /// Variables of the run, `GITHUB_...`, and what its starter gives, by the name in the expression: `vars.IMAGE`.
    known: &'a Values,
    /// Contexts that this place has, each a mapping.
    values: Vec<(&'static str, Node)>,
    /// The event's payload, as far as it is known.
    event: Node,
    /// What stands before the names of steps here: the action that they belong to.
    steps: String,
}

impl<'a> Contexts<'a> {
    /// `env` is the workflow's.
    pub(super) fn new(known: &'a Values, env: &[(String, String)], event: Node) -> Self {
        let mut contexts = Contexts { known, values: Vec::new(), event, steps: String::new() };
        contexts.set_env(env);
        contexts
    }

    /// Sets a context whole.
    pub(super) fn set(&mut self, name: &'static str, value: Node) {
        self.values.retain(|(it, _)| *it != name);
        self.values.push((name, value));
    }

    /// Sets `env`.
    pub(super) fn set_env(&mut self, variables: &[(String, String)]) {
        let text = |(name, value): &(String, String)| (name.clone(), Node::Text(value.clone()));
        self.set("env", Node::Map(variables.iter().map(text).collect()));
    }

    /// Adds to `env`.
    pub(super) fn add_env(&mut self, variables: &[(String, String)]) {
        let new = variables.iter().map(|(name, value)| (name.clone(), Node::Text(value.clone())));
        let old = self.value("env").map(Node::entries).unwrap_or_default().iter();
        let kept = old.filter(|(name, _)| !variables.iter().any(|(it, _)| it == name)).cloned();
        let all = kept.chain(new).collect();
        self.set("env", Node::Map(all));
    }

    /// A step may set this variable for later ones: its value here is not its value there.
    pub(super) fn forget_env(&mut self, name: &str) {
        let kept =
            self.value("env").map(Node::entries).unwrap_or_default().iter().filter(|(it, _)| it != name);
        let kept = kept.cloned().collect();
        self.set("env", Node::Map(kept));
    }

    /// Sets the outputs of a step.
    pub(super) fn set_outputs(&mut self, id: &str, outputs: Vec<(String, String)>) {
        let outputs = outputs.into_iter().map(|(name, value)| (name, Node::Text(value))).collect();
        let step = Node::Map(vec![("outputs".to_owned(), Node::Map(outputs))]);
        let mut steps = self.value("steps").map(Node::entries).unwrap_or_default().to_vec();
        steps.retain(|(it, _)| it != id);
        steps.push((id.to_owned(), step));
        self.set("steps", Node::Map(steps));
    }

    /// Enters an action: its steps are not those of its caller.
    pub(super) fn enter(&mut self, action: &str) {
        self.steps = format!("{}{action}/", self.steps);
        self.set("steps", Node::Null);
    }

    /// The name of a step, for what it puts out.
    pub(super) fn step_id(&self, id: &str) -> String {
        format!("{}{id}", self.steps)
    }

    /// The value that a path of names has.
    pub(super) fn get(&self, path: &[String]) -> Node {
        let name = path.join(".");
        if let Some(value) = self.known.get(&name) {
            return Node::Text(value.clone());
        }
        let unknown = || Node::Text(unknown::unknown(&name));
        let Some((first, rest)) = path.split_first() else { return Node::Null };
        match (first.to_ascii_lowercase().as_str(), rest) {
            ("github", [event, first, rest @ ..]) if event == "event" => {
                match inside(&self.event, std::slice::from_ref(first)) {
                    None if OF_OTHER_EVENTS.contains(&first.as_str()) => Node::Null,
                    Some(found) => inside(found, rest).cloned().unwrap_or_else(unknown),
                    None => unknown(),
                }
            }
            ("github", [name]) => {
                let variable = format!("GITHUB_{}", name.to_ascii_uppercase());
                self.known.get(&variable).map_or_else(unknown, |value| Node::Text(value.clone()))
            }
            // Set by a step, perhaps.
            ("env", [name]) => self
                .value("env")
                .and_then(|env| inside(env, std::slice::from_ref(name)))
                .cloned()
                .unwrap_or_else(unknown),
            ("runner", [name]) if name == "os" => Node::Text("Linux".to_owned()),
            ("steps", [_, outcome]) if outcome == "outcome" || outcome == "conclusion" => {
                Node::Text("success".to_owned())
            }
            ("needs", [_, result]) if result == "result" => Node::Text("success".to_owned()),
            ("job", [status]) if status == "status" => Node::Text("success".to_owned()),
            (context @ ("matrix" | "inputs" | "strategy"), rest) => match self.value(context) {
                Some(value) => inside(value, rest).cloned().unwrap_or(Node::Null),
                None => unknown(),
            },
            ("steps", [id, outputs, name]) => {
                let found = self.value("steps").and_then(|steps| inside(steps, rest)).cloned();
                found.unwrap_or_else(|| {
                    Node::Text(unknown::unknown(&format!("steps.{}.{outputs}.{name}", self.step_id(id))))
                })
            }
            _ => unknown(),
        }
    }

    fn value(&self, name: &str) -> Option<&Node> {
        self.values.iter().find(|(it, _)| *it == name).map(|(_, value)| value)
    }
}

/// What a path leads to. Names are compared without case.
fn inside<'a>(node: &'a Node, path: &[String]) -> Option<&'a Node> {
    path.iter().try_fold(node, |node, name| {
        node.get(name).or_else(|| {
            node.entries().iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        })
    })
}
