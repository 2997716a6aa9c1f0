//! Other CI systems: CircleCI by its own variables, the rest by `CI=true` and the checkout alone.
//!
//! Whose code it is stays unknown, so that a cache is written only when asked for. CircleCI tells forks by variables
//! that only some of its integrations set (its docs, "Project values and variables"): their presence proves a fork,
//! their absence proves nothing.

use crate::base::env::{self, Environment};
use crate::model::pipeline::{ChangeKind, Pipeline, Provider, Trigger, Trust};

/// Reads what there is, `None` outside CI.
pub(super) fn read(environment: &Environment) -> Option<Pipeline> {
    let text = |variable| environment.get(variable).map(str::to_owned);
    if environment.is_true(env::CIRCLECI) {
        let trust = circle_trust(environment);
        return Some(Pipeline {
            trigger: circle_trigger(environment, &trust),
            trust,
            commit: text(env::CIRCLE_SHA1),
            url: text(env::CIRCLE_BUILD_URL),
            ..nothing_known(Provider::OtherCi)
        });
    }
    environment.is_true(env::CI).then(|| nothing_known(Provider::OtherCi))
}

/// A pipeline of which only the provider is known.
pub(super) fn nothing_known(provider: Provider) -> Pipeline {
    Pipeline {
        provider,
        trigger: Trigger::Unknown,
        default_branch: None,
        trust: Trust::Unknown,
        commit: None,
        url: None,
        image_repository: None,
        project_folder: None,
    }
}

fn circle_trigger(environment: &Environment, trust: &Trust) -> Trigger {
    if let Some(name) = environment.get(env::CIRCLE_TAG) {
        return Trigger::Tag { name: name.to_owned() };
    }
    if matches!(trust, Trust::Fork { .. }) {
        // The target is told nowhere.
        return fork_number(environment).map_or(Trigger::Unknown, |number| Trigger::Change {
            change: ChangeKind::PullRequest,
            number,
            target: None,
        });
    }
    // A branch keeps its scope when a pull request is opened from it.
    let branch = environment.get(env::CIRCLE_BRANCH);
    branch.map_or(Trigger::Unknown, |name| Trigger::Branch { name: name.to_owned() })
}

fn circle_trust(environment: &Environment) -> Trust {
    let text = |variable| environment.get(variable);
    let branch = text(env::CIRCLE_BRANCH).filter(|branch| branch.starts_with("pull/"));
    let evidence = match (text(env::CIRCLE_PR_USERNAME), text(env::CIRCLE_PR_NUMBER), branch) {
        (Some(owner), _, _) => format!("the pull request comes from a fork of {owner}"),
        (None, Some(number), _) => format!("CIRCLE_PR_NUMBER is {number}, which only forks have"),
        (None, None, Some(branch)) => format!("CIRCLE_BRANCH is {branch}, a fork's pull request"),
        (None, None, None) => return Trust::Unknown,
    };
    Trust::Fork { evidence }
}

fn fork_number(environment: &Environment) -> Option<u64> {
    let text = |variable| environment.get(variable);
    let own = text(env::CIRCLE_PR_NUMBER).and_then(|number| number.trim_start_matches('#').parse().ok());
    let after_pull = |text: &str| text.rsplit_once("pull/")?.1.split('/').next()?.parse().ok();
    own.or_else(|| text(env::CIRCLE_BRANCH).and_then(after_pull))
        .or_else(|| text(env::CIRCLE_PULL_REQUEST).and_then(after_pull))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(variables: &[(&str, &str)]) -> Pipeline {
        let all = variables.iter().copied().chain([("CIRCLECI", "true")]);
        read(&all.collect()).expect("a CI system")
    }

    #[test]
    fn each_sign_of_a_fork_is_enough() {
        for sign in [
            &[("CIRCLE_BRANCH", "pull/7")][..],
            &[("CIRCLE_BRANCH", "pull/7/head")],
            &[("CIRCLE_BRANCH", "main"), ("CIRCLE_PR_NUMBER", "7")],
            &[("CIRCLE_PR_USERNAME", "someone"), ("CIRCLE_PULL_REQUEST", "https://github.com/a/b/pull/7")],
        ] {
            let pipeline = circle(sign);
            assert!(matches!(pipeline.trust, Trust::Fork { .. }), "{sign:?}");
            let change = Trigger::Change { change: ChangeKind::PullRequest, number: 7, target: None };
            assert_eq!(pipeline.trigger, change, "{sign:?}");
        }
    }

    #[test]
    fn a_branch_with_a_pull_request_is_a_branch() {
        let own =
            circle(&[("CIRCLE_BRANCH", "feature"), ("CIRCLE_PULL_REQUEST", "https://github.com/a/b/pull/7")]);
        assert_eq!(own.trigger, Trigger::Branch { name: "feature".to_owned() });
        assert_eq!(own.trust, Trust::Unknown);
    }

    #[test]
    fn no_ci_is_nothing() {
        assert_eq!(read(&Environment::default()), None);
    }
}
