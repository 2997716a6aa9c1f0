//! GitLab CI, from its predefined variables (GitLab's docs, `ci/variables/predefined_variables.md`).
//!
//! What a pipeline is for follows from the variables that are set, not from `CI_PIPELINE_SOURCE`: a child pipeline
//! (`parent_pipeline`) of a merge request still is the merge request's. `CI_COMMIT_REF_NAME` is never taken for a branch,
//! because in a merge-request pipeline it is the source branch, which may be a fork's `main`.

use std::path::PathBuf;

use crate::base::env::{self, Environment};
use crate::model::pipeline::{ChangeKind, Pipeline, Provider, Trigger, Trust};

/// Reads the variables of a GitLab job.
pub(super) fn read(environment: &Environment) -> Pipeline {
    let text = |variable| environment.get(variable).map(str::to_owned);
    let trigger = trigger(environment);
    Pipeline {
        provider: Provider::GitLab,
        trust: trust(environment, &trigger),
        trigger,
        default_branch: text(env::CI_DEFAULT_BRANCH),
        commit: text(env::CI_COMMIT_SHA),
        url: text(env::CI_PIPELINE_URL),
        image_repository: text(env::CI_REGISTRY_IMAGE),
        project_folder: environment.get(env::CI_PROJECT_DIR).map(PathBuf::from),
    }
}

fn trigger(environment: &Environment) -> Trigger {
    let text = |variable| environment.get(variable).map(str::to_owned);
    let number = |variable| environment.get(variable).and_then(|value| value.parse().ok());
    if let Some(name) = text(env::CI_COMMIT_TAG) {
        return Trigger::Tag { name };
    }
    if let Some(number) = number(env::CI_MERGE_REQUEST_IID).or_else(|| number_in_ref(environment)) {
        let target = text(env::CI_MERGE_REQUEST_TARGET_BRANCH_NAME);
        return match environment.get(env::CI_MERGE_REQUEST_EVENT_TYPE) {
            Some("merge_train") => Trigger::MergeQueue { target },
            _ => Trigger::Change { change: ChangeKind::MergeRequest, number, target },
        };
    }
    if let Some(number) = number(env::CI_EXTERNAL_PULL_REQUEST_IID) {
        let target = text(env::CI_EXTERNAL_PULL_REQUEST_TARGET_BRANCH_NAME);
        return Trigger::Change { change: ChangeKind::PullRequest, number, target };
    }
    let branch = text(env::CI_COMMIT_BRANCH);
    if environment.get(env::CI_PIPELINE_SOURCE) == Some("schedule") {
        return Trigger::Schedule { branch };
    }
    branch.map_or(Trigger::Unknown, |name| Trigger::Branch { name })
}

/// Some versions name the merge request's ref where others name its source branch: `refs/merge-requests/12/head`
/// (gitlab-foss#60822).
fn number_in_ref(environment: &Environment) -> Option<u64> {
    let rest = environment.get(env::CI_COMMIT_REF_NAME)?.strip_prefix("refs/merge-requests/")?;
    rest.split_once('/')?.0.parse().ok()
}

/// A merge request is the project's own only if both projects are told and are the same. The pipeline of a fork's merge
/// request may run in the parent, with the parent's registry, when one of its members starts it: still a fork's code.
fn trust(environment: &Environment, trigger: &Trigger) -> Trust {
    let text = |variable| environment.get(variable);
    let (from, to, name) = match trigger {
        Trigger::Change { change: ChangeKind::PullRequest, .. } => {
            let from = text(env::CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY);
            (from, text(env::CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY), from)
        }
        Trigger::Branch { .. } | Trigger::Tag { .. } | Trigger::Schedule { .. } => return Trust::Trusted,
        Trigger::Unknown if text(env::CI_PIPELINE_SOURCE) != Some("merge_request_event") => {
            return Trust::Trusted;
        }
        Trigger::Change { .. } | Trigger::MergeQueue { .. } | Trigger::Unknown => {
            let from = text(env::CI_MERGE_REQUEST_SOURCE_PROJECT_ID);
            let name = text(env::CI_MERGE_REQUEST_SOURCE_PROJECT_PATH).or(from);
            (from, text(env::CI_MERGE_REQUEST_PROJECT_ID), name)
        }
    };
    match (from, to, name) {
        (Some(from), Some(to), _) if from.eq_ignore_ascii_case(to) => Trust::Trusted,
        (Some(_), Some(_), Some(name)) => Trust::Fork { evidence: format!("the change comes from {name}") },
        _ => Trust::Fork { evidence: "the change does not say which project it comes from".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(variables: &[(&str, &str)]) -> Pipeline {
        read(&variables.iter().copied().collect())
    }

    #[test]
    fn the_ref_name_is_no_branch() {
        let fork = pipeline(&[
            ("CI_PIPELINE_SOURCE", "merge_request_event"),
            ("CI_COMMIT_REF_NAME", "main"),
            ("CI_DEFAULT_BRANCH", "main"),
        ]);
        assert_eq!(fork.trigger, Trigger::Unknown);
        assert!(matches!(fork.trust, Trust::Fork { .. }));
    }

    #[test]
    fn the_ref_name_may_hold_the_number() {
        let old = pipeline(&[("CI_COMMIT_REF_NAME", "refs/merge-requests/12/head")]);
        let change = Trigger::Change { change: ChangeKind::MergeRequest, number: 12, target: None };
        assert_eq!(old.trigger, change);
        assert!(matches!(old.trust, Trust::Fork { .. }), "nothing says that it is no fork");
    }

    #[test]
    fn a_scheduled_tag_is_a_tag() {
        let tag = pipeline(&[("CI_PIPELINE_SOURCE", "schedule"), ("CI_COMMIT_TAG", "v1")]);
        assert_eq!(tag.trigger, Trigger::Tag { name: "v1".to_owned() });
    }

    #[test]
    fn a_number_that_is_none_is_not_believed() {
        let odd =
            pipeline(&[("CI_PIPELINE_SOURCE", "merge_request_event"), ("CI_MERGE_REQUEST_IID", "12;rm")]);
        assert_eq!(odd.trigger, Trigger::Unknown);
        assert!(matches!(odd.trust, Trust::Fork { .. }));
    }
}
