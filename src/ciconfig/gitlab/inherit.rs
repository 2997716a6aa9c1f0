//! `extends` and `!reference`: what a job takes from others.

use super::include::merged;
use crate::base::yaml::Node;

/// GitLab's own bound of `extends` in `extends`.
const DEEPEST_EXTENDS: usize = 11;
/// GitLab's own bound of `!reference` in `!reference`.
const DEEPEST_REFERENCE: usize = 10;

/// A job above the ones that it extends, the last of them nearest.
pub(super) fn extended(root: &Node, key: &str) -> Result<Node, String> {
    above(root, key, &mut Vec::new())
}

fn above(root: &Node, key: &str, path: &mut Vec<String>) -> Result<Node, String> {
    let Some(node) = root.get(key) else { return Err(format!("it extends `{key}`, which is not there")) };
    if path.iter().any(|it| it == key) {
        return Err(format!("`extends` goes in a circle: {} -> {key}", path.join(" -> ")));
    }
    if path.len() > DEEPEST_EXTENDS {
        return Err(format!("`extends` is more than {DEEPEST_EXTENDS} jobs deep"));
    }
    path.push(key.to_owned());
    let mut below = Node::Map(Vec::new());
    for parent in node.get("extends").map(Node::items).unwrap_or_default() {
        if let Some(parent) = parent.scalar() {
            below = merged(below, above(root, &parent, path)?);
        }
    }
    path.pop();
    Ok(merged(below, node.clone()))
}

/// A value with every `!reference [job, key, ...]` replaced by what it names.
pub(super) fn referenced(root: &Node, node: &Node) -> Result<Node, String> {
    replaced(root, node, 0)
}

fn replaced(root: &Node, node: &Node, depth: usize) -> Result<Node, String> {
    match node {
        Node::Tagged(tag, value) if tag == "!reference" => {
            if depth >= DEEPEST_REFERENCE {
                return Err(format!(
                    "`!reference` is more than {DEEPEST_REFERENCE} deep, or goes in a circle"
                ));
            }
            let names: Vec<String> = value.items().iter().filter_map(Node::scalar).collect();
            let missing = || format!("`!reference [{}]` names nothing", names.join(", "));
            let (job, rest) = names.split_first().ok_or_else(missing)?;
            let job = extended(root, job).map_err(|_| missing())?;
            let found = rest.iter().try_fold(&job, |node, name| node.get(name)).ok_or_else(missing)?;
            replaced(root, found, depth + 1)
        }
        Node::List(items) => {
            let mut list = Vec::new();
            for item in items {
                let whole = replaced(root, item, depth)?;
                // A list in the place of one item is as many items.
                match (item, whole) {
                    (Node::Tagged(..), Node::List(inner)) => list.extend(inner),
                    (_, other) => list.push(other),
                }
            }
            Ok(Node::List(list))
        }
        Node::Map(entries) => {
            let entry = |(key, value): &(String, Node)| Ok((key.clone(), replaced(root, value, depth)?));
            Ok(Node::Map(entries.iter().map(entry).collect::<Result<_, String>>()?))
        }
        other => Ok(other.clone()),
    }
}
