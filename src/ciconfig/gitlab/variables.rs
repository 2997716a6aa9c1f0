//! `variables:`: values in values (GitLab's docs, "Where variables can be used").

use std::collections::BTreeMap;

use crate::base::yaml::Node;
use crate::ciconfig::{LONGEST_VALUE, unknown};

/// Names that are replaced in one reading: each variable can double the one in it.
const MOST_REPLACEMENTS: usize = 100_000;

/// Variables with their final values.
pub(super) type Values = BTreeMap<String, String>;
/// Variables as written, in their order, and whether names in them are replaced.
pub(super) type Variables = Vec<(String, (String, bool))>;

/// Reads a `variables:` mapping: `A: text`, or `A: {value: text, expand: false}`.
pub(super) fn read(node: &Node) -> Variables {
    let variable = |(name, node): &(String, Node)| {
        let value = node.scalar().or_else(|| node.get("value")?.scalar())?;
        let expands = node.get("expand") != Some(&Node::Bool(false));
        Some((name.clone(), (value, expands)))
    };
    node.entries().iter().filter_map(variable).collect()
}

/// Every variable with the names in it replaced. One that names itself, directly or not, stays as written there.
pub(super) fn expanded(variables: &BTreeMap<String, (String, bool)>) -> Values {
    let mut left = MOST_REPLACEMENTS;
    let value = |name: &String| (name.clone(), value(name, variables, &mut Vec::new(), &mut left));
    variables.keys().map(value).collect()
}

fn value<'a>(
    name: &'a str,
    variables: &'a BTreeMap<String, (String, bool)>,
    path: &mut Vec<&'a str>,
    left: &mut usize,
) -> String {
    let Some((text, expands)) = variables.get(name) else { return unknown::unknown(name) };
    if !expands || !text.contains('$') {
        return text.clone();
    }
    path.push(name);
    let mut whole = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        whole += before;
        // `$$` is one `$`.
        if let Some(after) = after.strip_prefix('$') {
            whole.push('$');
            rest = after;
            continue;
        }
        let braced = after.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let (inner, end) = match braced {
            Some((inner, end)) => (inner, end),
            None => after.split_at(
                after.find(|it: char| !it.is_ascii_alphanumeric() && it != '_').unwrap_or(after.len()),
            ),
        };
        match variables.get_key_value(inner) {
            _ if inner.is_empty() => whole.push('$'),
            _ if whole.len() > LONGEST_VALUE || *left == 0 => whole += &format!("${inner}"),
            Some((key, _)) if path.contains(&key.as_str()) => whole += &format!("${inner}"),
            Some((key, _)) => {
                *left -= 1;
                whole += &value(key, variables, path, left);
            }
            None => whole += &unknown::unknown(inner),
        }
        rest = end;
    }
    path.pop();
    whole + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_where_they_may_be() {
        let variables = [
            ("A", "a-${B}", true),
            ("B", "$C!", true),
            ("C", "c", true),
            ("RAW", "$C", false),
            ("SELF", "$SELF/x", true),
            ("PRICE", "$$5", true),
            ("U", "$NOBODY", true),
        ];
        let variables = variables.map(|(name, text, expands)| (name.to_owned(), (text.to_owned(), expands)));
        let values = expanded(&variables.into());
        let shown: Vec<String> = values.values().map(|value| unknown::shown(value)).collect();
        assert_eq!(shown, ["a-c!", "c!", "c", "$5", "$C", "$SELF/x", "$NOBODY"]);
    }

    #[test]
    fn doubling_ends() {
        let double = |index: usize| (format!("V{index}"), (format!("$V{0}$V{0}", index + 1), true));
        let mut variables: BTreeMap<_, _> = (0..64).map(double).collect();
        variables.insert("V64".to_owned(), ("x".repeat(64), true));
        let values = expanded(&variables);
        assert_eq!(values["V64"].len(), 64);
        assert!(values["V0"].len() < 4 * LONGEST_VALUE);
    }
}
