//! `on:`: whether a workflow runs for an event (GitHub's docs, "Workflow syntax", `on`).
//!
//! `paths` are taken to hold: they are about commits that only the event knows.

use regex_lite::Regex;

use crate::base::yaml::Node;

/// Why a workflow does not run for an event on a branch (for a pull request: the branch that it goes to).
pub(super) fn left_out(on: Option<&Node>, event: &str, branch: Option<&str>) -> Option<String> {
    let on = on?;
    let filters = match on {
        Node::Map(entries) => entries.iter().find(|(name, _)| name == event).map(|(_, filters)| filters),
        other => other.items().iter().any(|it| it.scalar().as_deref() == Some(event)).then_some(&Node::Null),
    };
    let Some(filters) = filters else { return Some(format!("its workflow does not run on `{event}`")) };
    let branch = branch?;
    let patterns = |name: &str| -> Vec<String> {
        filters.get(name).map(Node::items).unwrap_or_default().iter().filter_map(Node::scalar).collect()
    };
    let (only, never) = (patterns("branches"), patterns("branches-ignore"));
    let tags_alone = filters.get("tags").or(filters.get("tags-ignore")).is_some();
    let runs = if !only.is_empty() {
        fits(&only, branch)
    } else if !never.is_empty() {
        !fits(&never, branch)
    } else {
        !tags_alone
    };
    (!runs).then(|| format!("its workflow does not run on `{event}` of `{branch}`"))
}

/// Whether a workflow is there to be called by others, and for nothing else.
pub(super) fn is_only_called(on: Option<&Node>) -> bool {
    let names: Vec<String> = match on {
        Some(Node::Map(entries)) => entries.iter().map(|(name, _)| name.clone()).collect(),
        Some(other) => other.items().iter().filter_map(Node::scalar).collect(),
        None => Vec::new(),
    };
    names == ["workflow_call"]
}

/// The last pattern that matches decides; `!` takes out.
fn fits(patterns: &[String], name: &str) -> bool {
    patterns.iter().fold(false, |fits, pattern| match pattern.strip_prefix('!') {
        Some(pattern) => fits && !matches(pattern, name),
        None => fits || matches(pattern, name),
    })
}

/// `*` stops at slashes, `**` does not, `?` and `+` repeat what stands before them.
fn matches(pattern: &str, name: &str) -> bool {
    let mut source = "^".to_owned();
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '*' if rest.next_if_eq(&'*').is_some() => source += ".*",
            '*' => source += "[^/]*",
            '?' | '+' => source.push(character),
            '[' => {
                source.push('[');
                source.extend(rest.by_ref().take_while(|it| *it != ']'));
                source.push(']');
            }
            '\\' => source.extend(rest.next().map(|it| regex_lite::escape(&it.to_string()))),
            other => source += &regex_lite::escape(&other.to_string()),
        }
    }
    Regex::new(&format!("{source}$")).is_ok_and(|pattern| pattern.is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::yaml::documents;

    #[test]
    fn events_and_branches() {
        for (on, event, branch, runs) in [
            ("push", "push", "x", true),
            ("[push, pull_request]", "pull_request", "x", true),
            ("workflow_dispatch", "push", "x", false),
            ("{push: }", "push", "x", true),
            ("{push: {branches: [main, 'release/**', '!release/old']}}", "push", "release/1/x", true),
            ("{push: {branches: [main, 'release/**', '!release/old']}}", "push", "release/old", false),
            ("{push: {branches: ['feature/*']}}", "push", "feature/a/b", false),
            ("{push: {branches-ignore: [main]}}", "push", "main", false),
            ("{push: {tags: ['v*']}}", "push", "main", false),
            ("{pull_request: {branches: [main], paths: [a]}}", "pull_request", "main", true),
            ("{push: {branches: ['v[0-9]+.x']}}", "push", "v12.x", true),
        ] {
            let on = documents(on).unwrap().remove(0);
            assert_eq!(left_out(Some(&on), event, Some(branch)).is_none(), runs, "{on:?} {event} {branch}");
        }
    }
}
