//! docker/metadata-action: the names that it makes of the branch, the commit or the pull request (its README, "tags
//! input").
//!
//! Labels hold the time, and versions come from tags, which a push and a pull request do not have: what is not made here
//! stays unknown.

use std::collections::BTreeMap;

use super::contexts::Contexts;
use super::expression::shown;
use crate::ciconfig::unknown;
use crate::model::request::csv_fields;

/// The outputs `tags` and `version`, where they are known.
pub(super) fn outputs(inputs: &BTreeMap<String, String>, contexts: &Contexts<'_>) -> Vec<(String, String)> {
    let lines = |name: &str| {
        let text = inputs.get(name).map(String::as_str).unwrap_or_default();
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect::<Vec<_>>()
    };
    let github = |name: &str| {
        let value = shown(&contexts.get(&["github".to_owned(), name.to_owned()]));
        Some(value).filter(|value| !value.is_empty())
    };
    let is_request = github("event_name").is_some_and(|name| name == "pull_request");
    let short = || github("sha").and_then(|commit| Some(commit.get(..7)?.to_owned()));
    let rules = match lines("tags") {
        rules if rules.is_empty() => vec!["type=ref,event=branch", "type=ref,event=pr"],
        rules => rules,
    };
    let mut tags = Vec::new();
    for rule in rules {
        let fields = csv_fields(rule);
        let field = |name: &str| {
            fields.iter().find_map(|it| it.split_once('=').filter(|(key, _)| *key == name).map(|it| it.1))
        };
        if field("enable").is_some_and(|value| value != "true") {
            // Unknown, or off.
            if field("enable").is_some_and(unknown::is_unknown) {
                return Vec::new();
            }
            continue;
        }
        let tag = match (field("type"), field("event")) {
            (None, _) => Some(rule.to_owned()),
            (Some("raw"), _) => field("value").map(str::to_owned),
            (Some("ref"), Some("branch")) if !is_request => github("ref_name"),
            (Some("ref"), Some("pr")) if is_request => {
                let reference = github("ref_name").unwrap_or_default();
                reference.split('/').next().map(|number| format!("pr-{number}"))
            }
            (Some("sha"), _) => {
                let commit = if field("format") == Some("long") { github("sha") } else { short() };
                commit.map(|commit| format!("{}{commit}", field("prefix").unwrap_or("sha-")))
            }
            (Some("ref" | "semver" | "pep440" | "match" | "schedule"), _) => None,
            _ => return Vec::new(),
        };
        let affix = |name: &str| field(name).filter(|_| field("type") != Some("sha")).unwrap_or_default();
        let Some(tag) = tag else { continue };
        let mut tag = format!("{}{tag}{}", affix("prefix"), affix("suffix"));
        for (name, value) in
            [("{{branch}}", github("ref_name").filter(|_| !is_request)), ("{{sha}}", short())]
        {
            tag = value.map_or(tag.clone(), |value| tag.replace(name, &value));
        }
        // `{{date}}` and the like.
        if tag.contains("{{") {
            return Vec::new();
        }
        tags.push(clean(&tag));
    }
    let Some(first) = tags.first().cloned() else { return Vec::new() };
    let names: Vec<String> = lines("images")
        .into_iter()
        .flat_map(csv_fields)
        .map(|name| lower(name.trim_start_matches("name=")))
        .filter(|name| !name.is_empty() && !name.starts_with("enable="))
        .flat_map(|name| tags.iter().map(move |tag| format!("{name}:{tag}")).collect::<Vec<_>>())
        .collect();
    vec![("tags".to_owned(), names.join("\n")), ("version".to_owned(), first)]
}

/// Lower case; the names of what is unknown stay.
fn lower(name: &str) -> String {
    unknown::outside_of_marks(name, &str::to_lowercase)
}

/// What cannot stand in a tag becomes `-`; what is unknown stays.
fn clean(tag: &str) -> String {
    let kept = |it: char| if it.is_ascii_alphanumeric() || "._-".contains(it) { it } else { '-' };
    unknown::outside_of_marks(tag, &|text| text.chars().map(kept).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::yaml::Node;

    fn tags(known: &[(&str, &str)], rules: &str) -> String {
        let known = known.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let images = format!("ghcr.io/Octo/App\n{}", unknown::unknown("vars.OTHER"));
        let inputs = [("images", images.as_str()), ("tags", rules)];
        let inputs = inputs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let outputs = outputs(&inputs, &Contexts::new(&known, &[], Node::Null));
        outputs.first().map(|(_, tags)| unknown::shown(&tags.replace('\n', " "))).unwrap_or_default()
    }

    #[test]
    fn tags_of_a_branch_and_of_a_pull_request() {
        let push =
            [("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF_NAME", "feature/a"), ("GITHUB_SHA", "0123456789")];
        assert_eq!(tags(&push, ""), "ghcr.io/octo/app:feature-a ${{ vars.OTHER }}:feature-a");
        assert_eq!(
            tags(&push, "type=sha\ntype=raw,value=next,enable=false\ntype=semver,pattern={{version}}"),
            "ghcr.io/octo/app:sha-0123456 ${{ vars.OTHER }}:sha-0123456"
        );
        assert_eq!(tags(&push, "type=raw,value=x,suffix=-y"), "ghcr.io/octo/app:x-y ${{ vars.OTHER }}:x-y");
        assert_eq!(
            tags(&push, "type=raw,value={{branch}}-{{sha}}"),
            "ghcr.io/octo/app:feature-a-0123456 ${{ vars.OTHER }}:feature-a-0123456"
        );
        assert_eq!(tags(&push, "type=raw,value={{date 'YYYY'}}"), "");
        assert_eq!(tags(&push, "type=edge"), "");
        let request = [("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_REF_NAME", "7/merge")];
        assert_eq!(tags(&request, ""), "ghcr.io/octo/app:pr-7 ${{ vars.OTHER }}:pr-7");
    }
}
