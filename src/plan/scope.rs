//! Scopes: what a cache belongs to, which ones a build reads, and whether it may write its own.
//!
//! A scope is `branch-<slug>`, `mr-<number>` or `pr-<number>`, never the source branch of a change: a fork's pull request
//! from its own `main` must not meet ours. A build reads its own scope, then the one that it is to be merged into, then the
//! default branch's. Forks never write, so that there is no scope with a fork's content, and nothing that a protected
//! branch reads can come from one.

use std::fmt;

use serde::Serialize;

use crate::model::pipeline::{ChangeKind, Pipeline, Provider, Trigger, Trust};
use crate::model::reference::Digest;

/// The longest slug of a branch's name, its hash included.
const LONGEST_SLUG: usize = 40;
/// The longest scope: a branch's.
pub(super) const LONGEST_SCOPE: usize = "branch-".len() + LONGEST_SLUG;
/// How much of a name's SHA-256 stands behind a slug that differs from the name.
const HASH_LENGTH: usize = 8;
/// Never at the edge of a slug, so that a tag can be taken apart again.
const SEPARATORS: [char; 3] = ['-', '.', '_'];

/// What a cache belongs to: 1 to 47 characters of `a-z`, `0-9`, `.`, `_`, `-`, with a letter or digit at both ends, and
/// without `--`, which separates the parts of a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Scope(String);

impl Scope {
    /// A branch's scope: distinct for distinct branches.
    pub fn branch(name: &str) -> Self {
        Scope(format!("branch-{}", slug(name, LONGEST_SLUG)))
    }

    /// The scope of a merge request or a pull request.
    pub fn change(kind: ChangeKind, number: u64) -> Self {
        let kind = match kind {
            ChangeKind::MergeRequest => "mr",
            ChangeKind::PullRequest => "pr",
        };
        Scope(format!("{kind}-{number}"))
    }

    /// A scope that a user names. What already is one, such as a line of `layerlift cache ls`, stays as it is;
    /// `branch-feature/a` is that branch's; anything else becomes a slug.
    pub fn named(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|| match text.strip_prefix("branch-") {
            Some(branch) => Self::branch(branch),
            None => Scope(slug(text, LONGEST_SCOPE)),
        })
    }

    /// Reads a scope as it stands in a tag.
    pub fn parse(text: &str) -> Option<Self> {
        is_token(text, LONGEST_SCOPE).then(|| Scope(text.to_owned()))
    }

    /// As it stands in a tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Lower case, `a-z`, `0-9`, `.`, `_` and single `-`, no separator at an edge, at most `longest` characters. A name that is
/// no slug already gets `-` and eight digits of its SHA-256, so that `feature/a` and `feature-a` never meet; so does a name
/// that looks as if it had got them.
pub(super) fn slug(name: &str, longest: usize) -> String {
    let hashed = name.len() >= HASH_LENGTH
        && name.as_bytes()[name.len() - HASH_LENGTH..].iter().all(u8::is_ascii_hexdigit)
        && matches!(name.as_bytes()[..name.len() - HASH_LENGTH].last(), None | Some(b'-'));
    if is_token(name, longest) && !hashed { name.to_owned() } else { hashed_slug(name, name, longest) }
}

/// A slug of `readable`, and always the hash of `whole`, which is what the slug stands for.
pub(super) fn hashed_slug(readable: &str, whole: &str, longest: usize) -> String {
    let mut slug = String::new();
    for character in readable.chars().map(|it| it.to_ascii_lowercase()) {
        let kept = matches!(character, 'a'..='z' | '0'..='9' | '.' | '_');
        if kept || !slug.ends_with('-') {
            slug.push(if kept { character } else { '-' });
        }
    }
    let slug = slug.trim_start_matches(SEPARATORS);
    let cut = slug.len().min(longest - HASH_LENGTH - "-".len());
    let slug = slug[..cut].trim_end_matches(SEPARATORS);
    let digest = Digest::of(whole.as_bytes());
    let separator = if slug.is_empty() { "" } else { "-" };
    format!("{slug}{separator}{}", &digest.hex()[..HASH_LENGTH])
}

/// Whether a text is a part of a tag as [`slug`] makes them.
pub(super) fn is_token(text: &str, longest: usize) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=longest).contains(&text.len())
        && text.bytes().all(known)
        && !text.starts_with(SEPARATORS)
        && !text.ends_with(SEPARATORS)
        && !text.contains("--")
}

/// The scopes of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// The one that may be written; `None` where there is none that recurs: tags, merge queues, detached heads.
    pub own: Option<Scope>,
    /// The ones to read, the nearest first, each once.
    pub read: Vec<Scope>,
}

/// The scopes of this pipeline. `forced` stands for the own scope, `fallback` comes after all others.
pub fn scopes(pipeline: &Pipeline, forced: Option<&str>, fallback: &[String]) -> Chain {
    let (found, target) = match &pipeline.trigger {
        Trigger::Branch { name } => (Some(Scope::branch(name)), None),
        Trigger::Schedule { branch } => (branch.as_deref().map(Scope::branch), None),
        Trigger::Change { change, number, target } => {
            (Some(Scope::change(*change, *number)), target.as_deref())
        }
        Trigger::MergeQueue { target } => (None, target.as_deref()),
        Trigger::Tag { .. } | Trigger::Unknown => (None, None),
    };
    let own = forced.filter(|text| !text.is_empty()).map(Scope::named).or(found);
    let branches = target.into_iter().chain(pipeline.default_branch.as_deref()).map(Scope::branch);
    let named = fallback.iter().filter(|text| !text.is_empty()).map(|text| Scope::named(text));
    let mut read = Vec::new();
    for scope in own.clone().into_iter().chain(branches).chain(named) {
        if !read.contains(&scope) {
            read.push(scope);
        }
    }
    Chain { own, read }
}

/// Whether this pipeline may write its own scope's cache, and why (not), as a sentence's fragment. `read_only` is what the
/// user set, if anything. No setting lets a fork, a tag or a merge queue write.
pub fn may_write(pipeline: &Pipeline, read_only: Option<bool>) -> (bool, String) {
    let wanted = read_only == Some(false);
    let no = |reason: &str| (false, reason.to_owned());
    let even_so = if wanted { "; `read-only: false` does not change that" } else { "" };
    match (&pipeline.trust, &pipeline.trigger) {
        _ if read_only == Some(true) => no("told to be read-only"),
        (Trust::Fork { evidence }, _) => (false, format!("forks never write a cache: {evidence}{even_so}")),
        (_, Trigger::Tag { .. }) => {
            (false, format!("tags never write a cache: no build recurs on one{even_so}"))
        }
        (_, Trigger::MergeQueue { .. }) => {
            (false, format!("merge queues never write a cache: their branches do not recur{even_so}"))
        }
        _ if wanted => (true, "told to write".to_owned()),
        _ if pipeline.provider == Provider::Local => no("not a CI job, and not told to write"),
        (Trust::Unknown, _) => no("this CI system does not say whose code it builds, and not told to write"),
        (Trust::Trusted, _) => (true, "the project's own code".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pipeline(trigger: Trigger, trust: Trust) -> Pipeline {
        Pipeline {
            provider: Provider::GitLab,
            trigger,
            default_branch: Some("main".to_owned()),
            trust,
            commit: None,
            url: None,
            image_repository: None,
            project_folder: None,
        }
    }

    fn branch(name: &str) -> Trigger {
        Trigger::Branch { name: name.to_owned() }
    }

    fn change(target: Option<&str>) -> Trigger {
        let target = target.map(str::to_owned);
        Trigger::Change { change: ChangeKind::MergeRequest, number: 12, target }
    }

    fn tag() -> Trigger {
        Trigger::Tag { name: "v1".to_owned() }
    }

    fn fork() -> Trust {
        Trust::Fork { evidence: "the pull request comes from someone/app".to_owned() }
    }

    #[test]
    fn a_branch_becomes_a_slug() {
        let table = |names: &[&str]| {
            names.iter().map(|name| format!("{name:?} {}\n", Scope::branch(name))).collect::<String>()
        };
        let text = table(&[
            "main",
            "release-1.2_x",
            "feature-a",
            "feature/a",
            "Feature-A",
            "a--b",
            "-a-",
            "日本",
            "feature-a-0123abcd",
            "deadbeef",
            "renovate/a-very-long-name-of-a-dependency-that-goes-on",
        ]);
        insta::assert_snapshot!(text, @r#"
        "main" branch-main
        "release-1.2_x" branch-release-1.2_x
        "feature-a" branch-feature-a
        "feature/a" branch-feature-a-951d42dc
        "Feature-A" branch-feature-a-2145adf7
        "a--b" branch-a-b-90827a2e
        "-a-" branch-a-a75a468f
        "日本" branch-cf2abf0c
        "feature-a-0123abcd" branch-feature-a-0123abcd-a44a8103
        "deadbeef" branch-deadbeef-2baf1f40
        "renovate/a-very-long-name-of-a-dependency-that-goes-on" branch-renovate-a-very-long-name-of-a-3a7875b7
        "#);
    }

    #[test]
    fn a_named_scope_stays_as_it_is_if_it_is_one() {
        for name in ["branch-main", "mr-12", "release", Scope::branch("feature/a").as_str()] {
            assert_eq!(Scope::named(name).as_str(), name);
        }
        assert_eq!(Scope::named("branch-feature/a"), Scope::branch("feature/a"));
        assert!(Scope::named("a--b").as_str().starts_with("a-b-"));
        assert!(Scope::named(&"a".repeat(48)).as_str().len() <= LONGEST_SCOPE);
    }

    #[test]
    fn the_chain_goes_from_near_to_far() {
        let read = |trigger, forced, fallback: &[&str]| {
            let fallback: Vec<String> = fallback.iter().map(|&text| text.to_owned()).collect();
            let chain = scopes(&pipeline(trigger, Trust::Trusted), forced, &fallback);
            let own = chain.own.map_or("none".to_owned(), |own| own.to_string());
            let read: Vec<String> = chain.read.iter().map(Scope::to_string).collect();
            format!("{own}: {}", read.join(" "))
        };
        let develop = || Some("develop".to_owned());
        for (case, expected) in [
            (read(branch("develop"), None, &[]), "branch-develop: branch-develop branch-main"),
            (read(branch("main"), None, &[]), "branch-main: branch-main"),
            (read(change(Some("develop")), None, &[]), "mr-12: mr-12 branch-develop branch-main"),
            (read(change(Some("main")), None, &[]), "mr-12: mr-12 branch-main"),
            (read(change(None), None, &[]), "mr-12: mr-12 branch-main"),
            (read(tag(), None, &[]), "none: branch-main"),
            (
                read(Trigger::Schedule { branch: develop() }, None, &[]),
                "branch-develop: branch-develop branch-main",
            ),
            (read(Trigger::Schedule { branch: None }, None, &[]), "none: branch-main"),
            (read(Trigger::MergeQueue { target: develop() }, None, &[]), "none: branch-develop branch-main"),
            (read(Trigger::Unknown, None, &[]), "none: branch-main"),
            (read(branch("a"), Some("shared"), &[]), "shared: shared branch-main"),
            (read(branch("a"), Some(""), &["", "old", "branch-main"]), "branch-a: branch-a branch-main old"),
        ] {
            assert_eq!(case, expected);
        }
    }

    #[test]
    fn writing_needs_trust() {
        let may = |pipeline: &Pipeline, read_only| {
            let (may, reason) = may_write(pipeline, read_only);
            format!("{}: {reason}\n", if may { "yes" } else { "no" })
        };
        let unknown = Pipeline { provider: Provider::OtherCi, ..pipeline(branch("main"), Trust::Unknown) };
        let local = Pipeline { provider: Provider::Local, ..unknown.clone() };
        let queue = Trigger::MergeQueue { target: None };
        let text = [
            may(&pipeline(branch("main"), Trust::Trusted), None),
            may(&pipeline(branch("main"), Trust::Trusted), Some(true)),
            may(&pipeline(change(None), fork()), None),
            may(&pipeline(change(None), fork()), Some(false)),
            may(&pipeline(tag(), Trust::Trusted), None),
            may(&pipeline(tag(), Trust::Trusted), Some(false)),
            may(&pipeline(queue, Trust::Trusted), None),
            may(&unknown, None),
            may(&unknown, Some(false)),
            may(&local, None),
            may(&local, Some(false)),
        ]
        .concat();
        insta::assert_snapshot!(text, @"
        yes: the project's own code
        no: told to be read-only
        no: forks never write a cache: the pull request comes from someone/app
        no: forks never write a cache: the pull request comes from someone/app; `read-only: false` does not change that
        no: tags never write a cache: no build recurs on one
        no: tags never write a cache: no build recurs on one; `read-only: false` does not change that
        no: merge queues never write a cache: their branches do not recur
        no: this CI system does not say whose code it builds, and not told to write
        yes: told to write
        no: not a CI job, and not told to write
        yes: told to write
        ");
    }

    proptest! {
        #[test]
        fn every_name_has_a_scope_of_its_own(one in name(), other in name()) {
            let (first, second) = (Scope::branch(&one), Scope::branch(&other));
            prop_assert_eq!(one == other, first == second, "{} {}", first, second);
            prop_assert_eq!(Scope::parse(first.as_str()), Some(first.clone()));
            prop_assert_eq!(Scope::named(first.as_str()), first);
        }

        #[test]
        fn every_text_is_a_scope_when_it_is_named(text in "\\PC{0,60}") {
            prop_assert!(is_token(Scope::named(&text).as_str(), LONGEST_SCOPE));
        }

        #[test]
        fn a_forks_pipeline_never_writes(read_only: Option<bool>, number: u64) {
            let trigger = Trigger::Change { change: ChangeKind::PullRequest, number, target: None };
            prop_assert!(!may_write(&pipeline(trigger, fork()), read_only).0);
        }
    }

    /// Names that nearly meet, and any others. A name may be another one's scope, hash and all.
    fn name() -> impl Strategy<Value = String> {
        let near = "[aA/_.-]{1,6}";
        let made = near.prop_map(|name| Scope::branch(&name).as_str()["branch-".len()..].to_owned());
        prop_oneof![near, made, "[a-z/-]{30,60}", "\\PC{1,20}"]
    }
}
