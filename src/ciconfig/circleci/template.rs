//! `<< parameters.x >>` and `<< pipeline.x >>`, and the conditions that are made of them (CircleCI's docs, "Reusable
//! configuration reference" and "Configuration reference", logic statements).

use std::collections::BTreeMap;

use regex_lite::Regex;

use crate::base::yaml::Node;
use crate::ciconfig::{LONGEST_VALUE, unknown};

/// Conditions in conditions are followed this far.
const DEEPEST: usize = 20;

/// What names in a part of the file stand for.
#[derive(Debug, Clone)]
pub(super) struct Scope<'a> {
    /// Variables of the pipeline, and what its starter gives.
    pub(super) known: &'a BTreeMap<String, String>,
    /// `pipeline.parameters`, with their values.
    pub(super) pipeline: &'a Node,
    /// `parameters`, a mapping.
    pub(super) parameters: Node,
    /// `matrix`, a mapping.
    pub(super) matrix: Node,
}

impl Scope<'_> {
    /// The same with other parameters.
    pub(super) fn with(&self, parameters: Node) -> Self {
        Scope { parameters, matrix: Node::Null, ..self.clone() }
    }

    fn get(&self, name: &str) -> Node {
        let known = |name: &str| self.known.get(name).map(|value| Node::Text(value.clone()));
        let found = known(name).or_else(|| match name.split_once('.')? {
            ("parameters", name) => self.parameters.get(name).cloned(),
            ("matrix", name) => self.matrix.get(name.trim_start_matches("parameters.")).cloned(),
            ("pipeline", "git.branch") => known("CIRCLE_BRANCH"),
            ("pipeline", "git.revision") => known("CIRCLE_SHA1"),
            // Neither a branch nor a pull request has one.
            ("pipeline", "git.tag") => Some(Node::Text(String::new())),
            ("pipeline", "project.git_url") => known("CIRCLE_REPOSITORY_URL"),
            ("pipeline", name) => self.pipeline.get(name.strip_prefix("parameters.")?).cloned(),
            _ => None,
        });
        found.unwrap_or_else(|| Node::Text(unknown::unknown(name)))
    }

    /// A value with all names replaced. A text that is one name alone becomes its value: a list of steps, a flag.
    pub(super) fn filled(&self, node: &Node) -> Node {
        match node {
            Node::Text(text) => self.filled_text(text),
            Node::List(items) => Node::List(items.iter().map(|item| self.filled(item)).collect()),
            Node::Map(entries) => {
                Node::Map(entries.iter().map(|(key, node)| (key.clone(), self.filled(node))).collect())
            }
            other => other.clone(),
        }
    }

    fn filled_text(&self, text: &str) -> Node {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("<<") {
            let name = after
                .split_once(">>")
                .filter(|_| !before.ends_with('\\'))
                .map(|(name, end)| (name.trim(), end));
            let starts =
                |name: &str| ["parameters.", "pipeline.", "matrix."].iter().any(|it| name.starts_with(it));
            match name.filter(|(name, _)| starts(name) && !name.contains(char::is_whitespace)) {
                Some((name, end))
                    if before.trim().is_empty() && end.trim().is_empty() && filled.is_empty() =>
                {
                    return self.get(name);
                }
                Some((name, end)) if filled.len() <= LONGEST_VALUE => {
                    filled += before;
                    filled += &self.get(name).scalar().unwrap_or_default();
                    rest = end;
                }
                // `\<<` is how a here-document begins.
                _ => {
                    filled += before.strip_suffix('\\').unwrap_or(before);
                    filled += "<<";
                    rest = after;
                }
            }
        }
        Node::Text(filled + rest)
    }

    /// Whether a condition holds; `None` where that hangs on what is unknown, or it is not understood.
    pub(super) fn holds(&self, condition: &Node) -> Option<bool> {
        holds(&self.filled(condition), 0)
    }
}

fn holds(condition: &Node, depth: usize) -> Option<bool> {
    if depth > DEEPEST {
        return None;
    }
    let inner = |node: &Node| holds(node, depth + 1);
    match condition {
        Node::Null => Some(false),
        Node::Bool(value) => Some(*value),
        Node::Number(text) => Some(text != "0"),
        // An expression of the newer form, without brackets.
        Node::Text(text)
            if unknown::is_unknown(text) || text.starts_with("pipeline.") || text.contains("==") =>
        {
            None
        }
        Node::Text(text) => Some(!text.is_empty()),
        Node::Map(entries) => match entries.first().map(|(name, node)| (name.as_str(), node))? {
            ("and", node) => {
                let all: Vec<_> = node.items().iter().map(inner).collect();
                if all.contains(&Some(false)) {
                    Some(false)
                } else {
                    all.iter().all(Option::is_some).then_some(true)
                }
            }
            ("or", node) => {
                let all: Vec<_> = node.items().iter().map(inner).collect();
                if all.contains(&Some(true)) {
                    Some(true)
                } else {
                    all.iter().all(Option::is_some).then_some(false)
                }
            }
            ("not", node) => inner(node).map(|it| !it),
            ("equal", node) => {
                let values: Vec<String> =
                    node.items().iter().map(|it| it.scalar().unwrap_or_default()).collect();
                let known = !values.iter().any(|it| unknown::is_unknown(it));
                known.then(|| values.windows(2).all(|pair| pair[0] == pair[1]))
            }
            ("matches", node) => {
                let (pattern, value) = (node.get("pattern")?.scalar()?, node.get("value")?.scalar()?);
                (!unknown::is_unknown(&value)).then(|| matches(&pattern, &value))?
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether a whole text has the form of a pattern.
pub(super) fn matches(pattern: &str, text: &str) -> Option<bool> {
    Some(Regex::new(&format!("^(?:{pattern})$")).ok()?.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::yaml::documents;

    fn with_scope<Value>(run: impl FnOnce(&Scope<'_>) -> Value) -> Value {
        let known = [("CIRCLE_BRANCH".to_owned(), "main".to_owned())].into();
        let pipeline = documents("{deploy: true, tag: v1}").unwrap().remove(0);
        let parameters = documents("{image: app, push: false, after: [{run: x}]}").unwrap().remove(0);
        run(&Scope { known: &known, pipeline: &pipeline, parameters, matrix: Node::Null })
    }

    #[test]
    fn names_are_replaced() {
        with_scope(|scope| {
            for (text, expected) in [
                ("r/<< parameters.image >>:<<pipeline.parameters.tag>>", "r/app:v1"),
                ("<< pipeline.git.branch >>-<< pipeline.number >>", "main-<< pipeline.number >>"),
                ("cat \\<<EOF >> f << parameters.image >>", "cat <<EOF >> f app"),
                ("cat <<EOF\nx\nEOF", "cat <<EOF\nx\nEOF"),
            ] {
                let Node::Text(filled) = scope.filled(&Node::Text(text.to_owned())) else { panic!("{text}") };
                assert_eq!(unknown::shown(&filled), expected);
            }
            assert_eq!(scope.filled(&Node::Text("<< parameters.push >>".to_owned())), Node::Bool(false));
            assert_eq!(scope.filled(&Node::Text("<< parameters.after >>".to_owned())).items().len(), 1);
        });
    }

    #[test]
    fn conditions() {
        with_scope(|scope| {
            for (condition, expected) in [
                ("<< parameters.push >>", Some(false)),
                ("{not: << parameters.push >>}", Some(true)),
                (
                    "{and: [<< pipeline.parameters.deploy >>, {equal: [main, << pipeline.git.branch >>]}]}",
                    Some(true),
                ),
                ("{or: [{equal: [dev, << pipeline.git.branch >>]}, << pipeline.number >>]}", None),
                ("{matches: {pattern: 'ma.*', value: << pipeline.git.branch >>}}", Some(true)),
                ("pipeline.git.branch == 'x'", None),
            ] {
                let node = documents(condition).unwrap().remove(0);
                assert_eq!(scope.holds(&node), expected, "{condition}");
            }
        });
    }
}
