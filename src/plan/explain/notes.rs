//! What concerns no single step: which cache refs were there, and why one was not read.

use crate::model::outcome::CandidateOutcome;

/// What decides which cache is read, beside the records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances<'a> {
    /// The scope of this build.
    pub(super) own: Option<&'a str>,
    /// The candidates of the chain, with what became of them.
    pub(super) candidates: &'a [CandidateOutcome],
    /// `--no-cache`.
    pub(super) no_cache: bool,
}

/// The notes.
pub(super) fn notes(circumstances: Circumstances<'_>) -> Vec<String> {
    let Circumstances { own, candidates, no_cache } = circumstances;
    if no_cache {
        return vec!["--no-cache was given: every step runs".to_owned()];
    }
    let mut notes = Vec::new();
    let missing = |candidate: &&CandidateOutcome| candidate.verdict == "not found";
    let used = || candidates.iter().filter(|candidate| is_read(&candidate.verdict));
    let own = candidates.iter().find(|candidate| Some(candidate.scope.as_str()) == own);
    match (own.filter(missing), used().next()) {
        (Some(own), Some(read)) => {
            let read = possessive(&read.scope);
            notes.push(format!("no cache ref existed for {}; {read} was read", name(&own.scope)));
        }
        _ if !candidates.is_empty() && candidates.iter().all(|it| missing(&it)) => {
            let mut names: Vec<String> = candidates.iter().map(|candidate| name(&candidate.scope)).collect();
            // The classic builder has a candidate for each stage of a scope.
            names.dedup();
            notes.push(format!("no cache ref existed for {}", names.join(", nor for ")));
        }
        _ => {}
    }
    for candidate in candidates.iter().filter(|it| !missing(it) && !is_ordinary(&it.verdict)) {
        notes.push(format!("the cache of {} was not read: {}", name(&candidate.scope), candidate.verdict));
    }
    notes
}

/// Whether a candidate's cache is in what is read (see [`chain`](crate::plan::chain)).
fn is_read(verdict: &str) -> bool {
    ["used", "merged", "written anew"].iter().any(|begin| verdict.starts_with(begin))
}

/// Whether a verdict needs no words beside the list of candidates.
fn is_ordinary(verdict: &str) -> bool {
    is_read(verdict) || verdict == "usable" || verdict.starts_with("the same as ")
}

/// A scope as people call it: `branch x`, `merge request 12`.
fn name(scope: &str) -> String {
    for (prefix, noun) in [("branch-", "branch"), ("mr-", "merge request"), ("pr-", "pull request")] {
        if let Some(rest) = scope.strip_prefix(prefix) {
            return format!("{noun} {rest}");
        }
    }
    format!("scope {scope}")
}

/// `main's`, `merge request 12's`.
fn possessive(scope: &str) -> String {
    match scope.strip_prefix("branch-") {
        Some(branch) => format!("{branch}'s"),
        None => format!("{}'s", name(scope)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(own: &str, candidates: &[(&str, &str)]) -> String {
        let candidate = |(scope, verdict): &(&str, &str)| CandidateOutcome {
            reference: format!("localhost:5000/app/cache:{scope}"),
            scope: (*scope).to_owned(),
            verdict: (*verdict).to_owned(),
        };
        let candidates: Vec<_> = candidates.iter().map(candidate).collect();
        notes(Circumstances { own: Some(own), candidates: &candidates, no_cache: false }).join("\n")
    }

    #[test]
    fn the_chain_in_words() {
        let generation = "made by BuildKit 0.8.3, whose cache keys this engine does not share";
        let cases = [
            told("branch-x", &[("branch-x", "not found"), ("branch-main", "used")]),
            told("mr-12", &[("mr-12", "not found"), ("branch-develop", "merged"), ("branch-main", "merged")]),
            told("branch-main", &[("branch-main", "not found"), ("branch-main", "not found")]),
            told("pr-7", &[("pr-7", "not found"), ("branch-main", "not found")]),
            told("branch-x", &[("branch-x", "used"), ("branch-main", generation)]),
            told("release", &[("release", "not found"), ("mr-12", "used")]),
            told("branch-x", &[("branch-x", "used"), ("branch-main", "the same as localhost:5000/app:x")]),
        ];
        insta::assert_snapshot!(cases.join("\n--\n"), @r"
        no cache ref existed for branch x; main's was read
        --
        no cache ref existed for merge request 12; develop's was read
        --
        no cache ref existed for branch main
        --
        no cache ref existed for pull request 7, nor for branch main
        --
        the cache of branch main was not read: made by BuildKit 0.8.3, whose cache keys this engine does not share
        --
        no cache ref existed for scope release; merge request 12's was read
        --
        ");
    }
}
