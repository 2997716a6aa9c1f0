//! GitHub Actions, from its variables and the event's payload (GitHub's docs, "Events that trigger workflows" and
//! "Webhook events and payloads").
//!
//! The variables alone are not enough: default branch, pull-request number, fork and merge group are only in the
//! payload. Trust follows the event: those that only people with write access cause are trusted, a change is trusted if
//! its head is in this repository, everything else is not. GitHub draws the same line for its own cache since 2026-06-26.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::file::{self, Error};
use crate::base::env::{self, Environment};
use crate::model::pipeline::{ChangeKind, Pipeline, Provider, Trigger, Trust};

/// GitHub does not deliver events whose payload is larger than 25 MB; those that start workflows are far below this.
const LARGEST_PAYLOAD: u64 = 16 << 20;

/// Events that only people with write access to the repository, or its owner's schedule, can cause, and that run the
/// repository's own code. Not in the list: what anybody may cause, such as `issue_comment` and `watch`.
const OWN_EVENTS: &[&str] = &[
    "create",
    "deployment",
    "merge_group",
    "push",
    "release",
    "repository_dispatch",
    "schedule",
    "workflow_dispatch",
];

/// A merge group's branch: `gh-readonly-queue/main/pr-7-<commit>`. It also causes plain `push` events.
const QUEUE: &str = "gh-readonly-queue/";

/// Reads the variables and the payload of a GitHub job. An unreadable payload is a warning.
pub(super) async fn read(environment: &Environment, warnings: &mut Vec<Error>) -> Pipeline {
    let payload = match read_payload(environment).await {
        Ok(payload) => Some(payload),
        Err(error) => {
            warnings.push(error);
            None
        }
    };
    let repository = environment.get(env::GITHUB_REPOSITORY);
    let server = environment.get(env::GITHUB_SERVER_URL).unwrap_or("https://github.com");
    let run = environment.get(env::GITHUB_RUN_ID);
    Pipeline {
        provider: Provider::GitHub,
        trigger: trigger(environment, payload.as_ref().unwrap_or(&Payload::default())),
        trust: trust(environment, payload.as_ref()),
        commit: environment.get(env::GITHUB_SHA).map(str::to_owned),
        url: repository.zip(run).map(|(name, run)| format!("{server}/{name}/actions/runs/{run}")),
        // Servers of one's own have registries of their own, or none; image names have no capitals.
        image_repository: repository
            .filter(|_| server == "https://github.com")
            .map(|name| format!("ghcr.io/{}", name.to_ascii_lowercase())),
        project_folder: environment.get(env::GITHUB_WORKSPACE).map(PathBuf::from),
        default_branch: payload.and_then(|payload| payload.repository?.default_branch),
    }
}

async fn read_payload(environment: &Environment) -> Result<Payload, Error> {
    let variable = env::GITHUB_EVENT_PATH;
    let path = environment.get(variable).ok_or(Error::Unset { variable: variable.name })?;
    let bytes = file::read(Path::new(path), LARGEST_PAYLOAD).await?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Malformed { path: PathBuf::from(path), source })
}

fn trigger(environment: &Environment, payload: &Payload) -> Trigger {
    let event = environment.get(env::GITHUB_EVENT_NAME).unwrap_or_default();
    let reference = environment.get(env::GITHUB_REF).unwrap_or_default();
    let branch = reference.strip_prefix("refs/heads/");
    let change = |number, target: Option<&str>| Trigger::Change {
        change: ChangeKind::PullRequest,
        number,
        target: target.map(str::to_owned),
    };
    match event {
        "schedule" => return Trigger::Schedule { branch: branch.map(str::to_owned) },
        "merge_group" => {
            let base = payload.merge_group.as_ref().and_then(|group| group.base_ref.as_deref());
            let target = base.map(|base| base.strip_prefix("refs/heads/").unwrap_or(base));
            return Trigger::MergeQueue {
                target: target.or_else(|| queue_target(branch?)).map(str::to_owned),
            };
        }
        "workflow_run" => return triggering_run(payload),
        "issue_comment" => {
            if let Some(Issue { number, pull_request: Some(_) }) = payload.issue {
                return change(number, None);
            }
        }
        // A merged pull request runs once more, `closed`, on the branch that it was merged into.
        "pull_request" if branch.is_some() => {}
        _ => {
            let base = environment.get(env::GITHUB_BASE_REF);
            if let Some(pull) = &payload.pull_request {
                return change(pull.number, base.or(pull.base.name.as_deref()));
            }
            let number = reference.strip_prefix("refs/pull/").and_then(|rest| rest.split('/').next());
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                return change(number, base);
            }
        }
    }
    match (branch, reference.strip_prefix("refs/tags/")) {
        (Some(name), _) if name.starts_with(QUEUE) => {
            Trigger::MergeQueue { target: queue_target(name).map(str::to_owned) }
        }
        (Some(name), _) => Trigger::Branch { name: name.to_owned() },
        (None, Some(name)) => Trigger::Tag { name: name.to_owned() },
        (None, None) => Trigger::Unknown,
    }
}

/// `workflow_run` itself runs on the default branch, but is there to go on with another run's commit: what it leaves
/// behind must not end in the default branch's scope.
fn triggering_run(payload: &Payload) -> Trigger {
    let Some(run) = &payload.workflow_run else { return Trigger::Unknown };
    let pulls = run.pull_requests.as_deref().unwrap_or_default();
    match (run.event.as_deref(), pulls, &run.head_branch) {
        (Some("pull_request" | "pull_request_target"), [pull, ..], _) => Trigger::Change {
            change: ChangeKind::PullRequest,
            number: pull.number,
            target: pull.base.name.clone(),
        },
        // A fork's pull request is not listed, and its branch's name says nothing about branches here.
        (Some("push" | "schedule" | "workflow_dispatch" | "repository_dispatch"), _, Some(name)) => {
            Trigger::Branch { name: name.clone() }
        }
        _ => Trigger::Unknown,
    }
}

fn queue_target(branch: &str) -> Option<&str> {
    Some(branch.strip_prefix(QUEUE)?.rsplit_once("/pr-")?.0)
}

fn trust(environment: &Environment, payload: Option<&Payload>) -> Trust {
    let fork = |evidence: String| Trust::Fork { evidence };
    let event = environment.get(env::GITHUB_EVENT_NAME).unwrap_or_default();
    let run = payload.and_then(|payload| payload.workflow_run.as_ref());
    let run_actor = run.and_then(|run| Some(run.actor.as_ref()?.login.as_str()));
    if [environment.get(env::GITHUB_ACTOR), run_actor].contains(&Some("dependabot[bot]")) {
        return fork("Dependabot's runs have a fork's rights".to_owned());
    }
    if OWN_EVENTS.contains(&event) {
        return Trust::Trusted;
    }
    let Some(payload) = payload else {
        return fork("the event's payload, which tells forks, could not be read".to_owned());
    };
    let (what, head) = match (&payload.pull_request, run) {
        (Some(pull), _) => ("the pull request", &pull.head.repository),
        (None, Some(run)) => ("the triggering run", &run.head_repository),
        (None, None) => return fork(format!("not only the project's own people can cause `{event}`")),
    };
    let own = environment.get(env::GITHUB_REPOSITORY);
    match head.as_ref().map(|head| head.full_name.as_str()) {
        Some(head) if own.is_some_and(|own| own.eq_ignore_ascii_case(head)) => Trust::Trusted,
        Some(head) => fork(format!("{what} comes from {head}")),
        // GitHub leaves a null where the fork was deleted.
        None => fork(format!("{what} comes from a repository that is gone")),
    }
}

/// The parts of an event's payload that matter here. Each event has some of them.
#[derive(Debug, Default, Deserialize)]
struct Payload {
    repository: Option<Repository>,
    pull_request: Option<PullRequest>,
    issue: Option<Issue>,
    merge_group: Option<MergeGroup>,
    workflow_run: Option<WorkflowRun>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    full_name: String,
    default_branch: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    number: u64,
    #[serde(default)]
    head: Side,
    #[serde(default)]
    base: Side,
}

/// One side of a pull request.
#[derive(Debug, Default, Deserialize)]
struct Side {
    #[serde(rename = "ref")]
    name: Option<String>,
    #[serde(rename = "repo")]
    repository: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct Issue {
    number: u64,
    /// Present where the issue is a pull request.
    pull_request: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct MergeGroup {
    base_ref: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WorkflowRun {
    event: Option<String>,
    head_branch: Option<String>,
    head_repository: Option<Repository>,
    pull_requests: Option<Vec<ListedPullRequest>>,
    actor: Option<Actor>,
}

/// A pull request as a workflow run lists it: its repositories have no full names.
#[derive(Debug, Deserialize)]
struct ListedPullRequest {
    number: u64,
    #[serde(default)]
    base: ListedSide,
}

#[derive(Debug, Default, Deserialize)]
struct ListedSide {
    #[serde(rename = "ref")]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Actor {
    login: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(event: &str, reference: &str) -> Environment {
        [("GITHUB_EVENT_NAME", event), ("GITHUB_REF", reference), ("GITHUB_REPOSITORY", "Octo/App")]
            .into_iter()
            .collect()
    }

    async fn with_payload(event: &str, reference: &str, payload: &str) -> (Pipeline, Vec<Error>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event.json");
        std::fs::write(&path, payload).unwrap();
        let variables = [
            ("GITHUB_EVENT_NAME", event),
            ("GITHUB_REF", reference),
            ("GITHUB_REPOSITORY", "Octo/App"),
            ("GITHUB_EVENT_PATH", path.to_str().unwrap()),
        ];
        let mut warnings = Vec::new();
        let pipeline = read(&variables.into_iter().collect(), &mut warnings).await;
        (pipeline, warnings)
    }

    #[tokio::test]
    async fn without_a_payload_a_pull_request_is_nobodys() {
        let mut warnings = Vec::new();
        let pipeline = read(&job("pull_request", "refs/pull/7/merge"), &mut warnings).await;
        assert!(matches!(pipeline.trust, Trust::Fork { .. }));
        let change = Trigger::Change { change: ChangeKind::PullRequest, number: 7, target: None };
        assert_eq!(pipeline.trigger, change);
        assert_eq!(warnings[0].to_string(), "GITHUB_EVENT_PATH is not set");
    }

    #[tokio::test]
    async fn without_a_payload_a_push_is_a_push() {
        let mut warnings = Vec::new();
        let pipeline = read(&job("push", "refs/heads/main"), &mut warnings).await;
        assert_eq!(pipeline.trust, Trust::Trusted);
        assert_eq!(pipeline.default_branch, None);
        assert_eq!(warnings.len(), 1);
    }

    #[tokio::test]
    async fn a_payload_of_another_form_is_a_warning() {
        for payload in ["", "[]", r#"{"pull_request": {"number": "7"}}"#, &"[".repeat(10_000)] {
            let (pipeline, warnings) = with_payload("pull_request_target", "refs/heads/main", payload).await;
            assert!(matches!(pipeline.trust, Trust::Fork { .. }), "{payload}");
            assert!(matches!(warnings[..], [Error::Malformed { .. }]), "{warnings:?}");
        }
    }

    #[tokio::test]
    async fn the_repositorys_name_is_compared_without_case() {
        let payload = r#"{"pull_request": {"number": 7, "head": {"repo": {"full_name": "octo/app"}}}}"#;
        let (pipeline, _) = with_payload("pull_request", "refs/pull/7/merge", payload).await;
        assert_eq!(pipeline.trust, Trust::Trusted);
    }

    #[tokio::test]
    async fn a_merged_pull_request_runs_on_its_target() {
        let payload = r#"{"pull_request": {"number": 7, "head": {"repo": {"full_name": "octo/app"}}}}"#;
        let (pipeline, _) = with_payload("pull_request", "refs/heads/main", payload).await;
        assert_eq!(pipeline.trigger, Trigger::Branch { name: "main".to_owned() });
    }

    #[tokio::test]
    async fn anybody_can_comment() {
        for (payload, event) in [
            (r#"{"issue": {"number": 7, "pull_request": {"url": "..."}}}"#, "issue_comment"),
            (r#"{"issue": {"number": 8}}"#, "issue_comment"),
            ("{}", "watch"),
            ("{}", "an_event_of_the_future"),
        ] {
            let (pipeline, _) = with_payload(event, "refs/heads/main", payload).await;
            assert!(matches!(pipeline.trust, Trust::Fork { .. }), "{event}: {payload}");
        }
    }

    #[test]
    fn a_queues_branch_names_its_target() {
        let target = |branch| queue_target(branch);
        assert_eq!(target("gh-readonly-queue/main/pr-7-0123abcd"), Some("main"));
        assert_eq!(target("gh-readonly-queue/release/pr-1/pr-7-0123abcd"), Some("release/pr-1"));
        assert_eq!(target("gh-readonly-queue/main"), None);
        assert_eq!(target("main"), None);
    }

    #[tokio::test]
    async fn other_servers_have_other_registries() {
        let mut variables: Vec<_> = vec![("GITHUB_REPOSITORY", "Octo/App"), ("GITHUB_RUN_ID", "5")];
        let ours = read(&variables.iter().copied().collect(), &mut Vec::new()).await;
        assert_eq!(ours.image_repository.as_deref(), Some("ghcr.io/octo/app"));
        variables.push(("GITHUB_SERVER_URL", "https://git.example.com"));
        let theirs = read(&variables.into_iter().collect(), &mut Vec::new()).await;
        assert_eq!(theirs.image_repository, None);
        assert_eq!(theirs.url.as_deref(), Some("https://git.example.com/Octo/App/actions/runs/5"));
    }
}
