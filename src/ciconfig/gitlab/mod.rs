//! `.gitlab-ci.yml` (GitLab's docs, "CI/CD YAML syntax reference"): included, extended and referenced into whole jobs.

mod include;
mod inherit;
mod rules;
mod variables;

use std::collections::BTreeMap;

use super::{Action, Error, Files, Job, Load, Provider, Step, product};
use crate::base::yaml::Node;
use variables::Values;

/// The file that GitLab reads.
pub const FILE: &str = ".gitlab-ci.yml";

/// Top-level keys that are no jobs.
const GLOBAL: [&str; 14] = [
    "after_script",
    "before_script",
    "cache",
    "default",
    "image",
    "include",
    "pages:deploy",
    "services",
    "spec",
    "stages",
    "types",
    "variables",
    "workflow",
    "artifacts",
];

/// What stands in the name of a hidden job that builds images.
const LIKE_A_BUILD: [&str; 5] = ["build", "docker", "image", "kaniko", "layerlift"];

/// `default:` can hold these, and a job that lacks one gets it. Those of the top level are an older form of it.
const DEFAULTS: [&str; 5] = ["before_script", "after_script", "image", "services", "hooks"];

/// Reads all jobs. `known` are the variables that the pipeline is known to have; `given` those among them that its
/// starter sets: they stand above the file's.
pub fn jobs(load: &Load<'_>, known: &Values, given: &Values) -> Result<Vec<Job>, Error> {
    let mut files = Files::default();
    let mut notes = Vec::new();
    let (root, origins) = include::read(FILE, load, &mut files, &mut notes)?;
    let globals = root.get("variables").map(variables::read).unwrap_or_default();
    let workflow = rules::variables_of(root.get("workflow"), &values(&[&globals], known, given));
    let mut jobs = Vec::new();
    for (key, node) in root.entries() {
        if key.starts_with('.') || GLOBAL.contains(&key.as_str()) || node.entries().is_empty() {
            continue;
        }
        let file = origins.get(key).map_or(FILE, String::as_str);
        let line = files.line_of(file, "", key);
        let refused = |message: String| Error::meaning(file, line, format!("job `{key}`: {message}"));
        // What is in a file that GitLab would fetch is no mistake of this one.
        let mut absent = Vec::new();
        let mut or_absent = |read: Result<Node, String>, otherwise: &Node| match read {
            Err(message) if !notes.is_empty() => {
                absent.push(message);
                Ok(otherwise.clone())
            }
            other => other.map_err(refused),
        };
        let node = or_absent(inherit::extended(&root, key), node)?;
        let node = or_absent(inherit::referenced(&root, &node), &node)?;
        if node.get("trigger").is_some() {
            continue;
        }
        let node = with_defaults(&root, node).map_err(refused)?;
        let own = node.get("variables").map(variables::read).unwrap_or_default();
        let inherited: Vec<_> =
            globals.iter().filter(|(name, _)| inherits(&node, "variables", name)).cloned().collect();
        let rows = matrix(&node).ok_or_else(|| refused("its matrix has more than 256 rows".to_owned()))?;
        for row in rows {
            let of_row: variables::Variables =
                row.iter().map(|(name, value)| (name.clone(), (value.clone(), true))).collect();
            let mut layers = vec![&inherited, &workflow.variables, &own, &of_row];
            let decided = rules::evaluate(node.get("rules"), &values(&layers, known, given));
            layers.push(&decided.variables);
            let mut all: Vec<(String, String)> = Vec::new();
            let expanded = values(&layers, known, given);
            for (name, _) in layers.iter().flat_map(|layer| layer.iter()) {
                if !all.iter().any(|(seen, _)| seen == name)
                    && let Some(value) = expanded.get(name)
                {
                    all.push((name.clone(), value.clone()));
                }
            }
            let shown: Vec<&str> = row.iter().map(|(_, value)| value.as_str()).collect();
            let name = if row.is_empty() { key.clone() } else { format!("{key}: [{}]", shown.join(", ")) };
            jobs.push(Job {
                provider: Provider::GitLab,
                file: file.to_owned(),
                line,
                key: key.clone(),
                name,
                variables: all,
                steps: if absent.is_empty() { steps(&node) } else { with_absent(&node, &absent) },
                notes: notes.iter().chain(&absent).cloned().chain(decided.notes).collect(),
                left_out: decided.left_out,
            });
        }
    }
    Ok(jobs)
}

/// All variables with their values: the known ones, the layers in their order, and the given ones above all.
fn values(layers: &[&variables::Variables], known: &Values, given: &Values) -> Values {
    let mut all: BTreeMap<String, (String, bool)> =
        known.iter().map(|(name, value)| (name.clone(), (value.clone(), false))).collect();
    all.extend(layers.iter().flat_map(|layer| layer.iter().cloned()));
    all.extend(given.iter().map(|(name, value)| (name.clone(), (value.clone(), false))));
    variables::expanded(&all)
}

/// Whether a job takes a default or a global variable: `inherit: {default: false, variables: [A]}`.
fn inherits(job: &Node, kind: &str, name: &str) -> bool {
    match job.get("inherit").and_then(|inherit| inherit.get(kind)) {
        Some(Node::Bool(all)) => *all,
        Some(Node::List(names)) => names.iter().any(|it| it.scalar().as_deref() == Some(name)),
        _ => true,
    }
}

fn with_defaults(root: &Node, job: Node) -> Result<Node, String> {
    let Node::Map(mut entries) = job else { return Ok(job) };
    let job = Node::Map(entries.clone());
    for key in DEFAULTS {
        let default = root.get("default").and_then(|default| default.get(key)).or_else(|| root.get(key));
        if let Some(default) = default.filter(|_| job.get(key).is_none() && inherits(&job, "default", key)) {
            entries.push((key.to_owned(), inherit::referenced(root, default)?));
        }
    }
    Ok(Node::Map(entries))
}

/// The rows of `parallel: matrix`; one without values for a job that has none, `None` when there are too many.
fn matrix(job: &Node) -> Option<Vec<Vec<(String, String)>>> {
    let Some(matrix) = job.get("parallel").and_then(|parallel| parallel.get("matrix")) else {
        return Some(vec![Vec::new()]);
    };
    let mut rows = Vec::new();
    for entry in matrix.items() {
        let axis = |(name, node): &(String, Node)| {
            (name.clone(), node.items().iter().filter_map(Node::scalar).collect())
        };
        rows.extend(product(&entry.entries().iter().map(axis).collect::<Vec<_>>())?);
    }
    (rows.len() <= super::MOST_INSTANCES).then_some(rows)
}

/// `before_script` and `script` are one shell; `after_script` is another.
fn steps(job: &Node) -> Vec<Step> {
    let step = |keys: &[&str], fresh: bool| {
        let lines: Vec<String> = keys.iter().filter_map(|key| job.get(key)).flat_map(lines).collect();
        let text = lines.join("\n");
        (!lines.is_empty()).then(|| Step {
            folder: fresh.then(String::new),
            ..Step::new(&text, Action::Script { text: text.clone(), fresh })
        })
    };
    let image =
        job.get("image").and_then(|image| image.get("name").unwrap_or(image).scalar()).unwrap_or_default();
    let foreign = ["kaniko", "moby/buildkit", "img"].into_iter().find(|name| {
        let path = image.split([':', '@']).next().unwrap_or_default();
        path.contains(name) && (*name != "img" || path.ends_with("/img"))
    });
    if let Some(tool) = foreign {
        let reason = format!("it runs in {image}: {tool} builds, not the engine");
        let action = Action::Foreign { what: tool.to_owned(), reason };
        return vec![Step::new("", action)];
    }
    step(&["before_script", "script"], false).into_iter().chain(step(&["after_script"], true)).collect()
}

/// The steps of a job that is a part of one that is not there. Without any of its own, it does what the other does.
fn with_absent(job: &Node, absent: &[String]) -> Vec<Step> {
    let own = steps(job);
    let parents = job.get("extends").map(Node::items).unwrap_or_default().iter().filter_map(Node::scalar);
    let parent = parents.into_iter().find(|name| LIKE_A_BUILD.iter().any(|part| name.contains(part)));
    match parent.filter(|_| own.is_empty()) {
        Some(parent) => vec![Step::new("", Action::Foreign { what: parent, reason: absent.join(", ") })],
        None => own,
    }
}

/// The lines of a script: a text, or lists of them in lists.
fn lines(node: &Node) -> Vec<String> {
    match node {
        Node::List(items) => items.iter().flat_map(lines).collect(),
        other => other.scalar().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests;
