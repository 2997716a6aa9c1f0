//! Which provider runs this, and what the checkout adds to what it says.

use std::path::Path;

use super::file::Error;
use super::{git, github, gitlab, other};
use crate::base::env::{self, Environment};
use crate::model::pipeline::{Pipeline, Provider, Trigger, Trust};

/// Where we run, with what went wrong while it was found out.
#[derive(Debug)]
pub struct Detected {
    /// Everything that the surroundings tell.
    pub pipeline: Pipeline,
    /// What could not be read; the pipeline then trusts less or knows less.
    pub warnings: Vec<Error>,
}

/// Reads the environment and the checkout that holds `folder`. Never fails: less is known, and there are warnings.
pub async fn detect(environment: &Environment, folder: &Path) -> Detected {
    let mut warnings = Vec::new();
    let mut pipeline = if environment.is_true(env::GITLAB_CI) {
        gitlab::read(environment)
    } else if environment.is_true(env::GITHUB_ACTIONS) {
        github::read(environment, &mut warnings).await
    } else {
        other::read(environment).unwrap_or_else(|| other::nothing_known(Provider::Local))
    };
    if let Some(checkout) = git::read(folder).await {
        complete(&mut pipeline, checkout);
    }
    Detected { pipeline, warnings }
}

/// The provider's word stands; the checkout fills what it left open. A branch is taken from the checkout only where no
/// provider could have told it, and never for a fork: its checkout's branch says nothing about branches here.
fn complete(pipeline: &mut Pipeline, checkout: git::Checkout) {
    let tells_nothing = matches!(pipeline.provider, Provider::Local | Provider::OtherCi)
        && pipeline.trigger == Trigger::Unknown
        && !matches!(pipeline.trust, Trust::Fork { .. });
    if let Some(name) = checkout.branch.filter(|_| tells_nothing) {
        pipeline.trigger = Trigger::Branch { name };
    }
    pipeline.default_branch = pipeline.default_branch.take().or(checkout.default_branch);
    pipeline.commit = pipeline.commit.take().or(checkout.commit);
    pipeline.project_folder = pipeline.project_folder.take().or(Some(checkout.root));
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::plan::scope::{Scope, may_write, scopes};

    /// Jobs' environments and payloads. They are written after the providers' documentation, with its names and values,
    /// and were not captured from running jobs.
    fn jobs() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ci")
    }

    fn environment(job: &Path) -> Environment {
        let event = job.with_file_name(format!("{}_event.json", job.file_stem().unwrap().to_str().unwrap()));
        let text = std::fs::read_to_string(job).unwrap();
        let pairs = text.lines().map(|line| line.split_once('=').unwrap());
        let here = |(name, value)| match name {
            "GITHUB_EVENT_PATH" => (name, event.to_str().unwrap()),
            _ => (name, value),
        };
        pairs.map(here).collect()
    }

    fn all_jobs() -> Vec<PathBuf> {
        let files = std::fs::read_dir(jobs()).unwrap().map(|entry| entry.unwrap().path());
        let mut jobs: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|it| it == "env")).collect();
        jobs.sort();
        jobs
    }

    /// What a job is for, what it reads and whether it writes, one block for each.
    #[tokio::test]
    async fn every_job_is_understood() {
        let nowhere = tempfile::tempdir().unwrap();
        let mut text = String::new();
        for job in all_jobs() {
            let detected = detect(&environment(&job), nowhere.path()).await;
            assert!(detected.warnings.is_empty(), "{job:?}: {:?}", detected.warnings);
            let chain = scopes(&detected.pipeline, None, &[]);
            let read: Vec<&str> = chain.read.iter().map(Scope::as_str).collect();
            let (may, why) = may_write(&detected.pipeline, None);
            let writes = chain.own.filter(|_| may).map_or("nothing".to_owned(), |own| own.to_string());
            let trigger = serde_json::to_string(&detected.pipeline.trigger).unwrap();
            let name = job.file_stem().unwrap().to_str().unwrap();
            text += &format!("{name}: {trigger}\n  reads {}; writes {writes}: {why}\n", read.join(" "));
        }
        insta::assert_snapshot!(text, @r#"
        circle_branch: {"kind":"branch","name":"feature/cart"}
          reads branch-feature-cart-c39f4dfa; writes nothing: this CI system does not say whose code it builds, and not told to write
        circle_fork: {"kind":"change","change":"pull-request","number":7,"target":null}
          reads pr-7; writes nothing: forks never write a cache: the pull request comes from a fork of someone
        circle_tag: {"kind":"tag","name":"v1.2.0"}
          reads ; writes nothing: tags never write a cache: no build recurs on one
        github_dispatch: {"kind":"branch","name":"release/2"}
          reads branch-release-2-ad9e2e38 branch-trunk; writes branch-release-2-ad9e2e38: the project's own code
        github_issue_comment: {"kind":"change","change":"pull-request","number":7,"target":null}
          reads pr-7 branch-trunk; writes nothing: forks never write a cache: not only the project's own people can cause `issue_comment`
        github_merge_group: {"kind":"merge-queue","target":"trunk"}
          reads branch-trunk; writes nothing: merge queues never write a cache: their branches do not recur
        github_merge_group_push: {"kind":"merge-queue","target":"trunk"}
          reads branch-trunk; writes nothing: merge queues never write a cache: their branches do not recur
        github_pr: {"kind":"change","change":"pull-request","number":7,"target":"develop"}
          reads pr-7 branch-develop branch-trunk; writes pr-7: the project's own code
        github_pr_dependabot: {"kind":"change","change":"pull-request","number":7,"target":"trunk"}
          reads pr-7 branch-trunk; writes nothing: forks never write a cache: Dependabot's runs have a fork's rights
        github_pr_fork: {"kind":"change","change":"pull-request","number":7,"target":"trunk"}
          reads pr-7 branch-trunk; writes nothing: forks never write a cache: the pull request comes from someone/Hello.World
        github_pr_fork_deleted: {"kind":"change","change":"pull-request","number":7,"target":"trunk"}
          reads pr-7 branch-trunk; writes nothing: forks never write a cache: the pull request comes from a repository that is gone
        github_pr_merged: {"kind":"branch","name":"develop"}
          reads branch-develop branch-trunk; writes branch-develop: the project's own code
        github_pr_target_fork: {"kind":"change","change":"pull-request","number":7,"target":"trunk"}
          reads pr-7 branch-trunk; writes nothing: forks never write a cache: the pull request comes from someone/Hello.World
        github_push: {"kind":"branch","name":"trunk"}
          reads branch-trunk; writes branch-trunk: the project's own code
        github_push_branch: {"kind":"branch","name":"feature/Cart"}
          reads branch-feature-cart-ba2c426a branch-trunk; writes branch-feature-cart-ba2c426a: the project's own code
        github_release: {"kind":"tag","name":"v1.2.0"}
          reads branch-trunk; writes nothing: tags never write a cache: no build recurs on one
        github_schedule: {"kind":"schedule","branch":"trunk"}
          reads branch-trunk; writes branch-trunk: the project's own code
        github_workflow_run: {"kind":"change","change":"pull-request","number":7,"target":"develop"}
          reads pr-7 branch-develop branch-trunk; writes pr-7: the project's own code
        github_workflow_run_fork: {"kind":"unknown"}
          reads branch-trunk; writes nothing: forks never write a cache: the triggering run comes from someone/Hello.World
        github_workflow_run_push: {"kind":"branch","name":"feature/cart"}
          reads branch-feature-cart-c39f4dfa branch-trunk; writes branch-feature-cart-c39f4dfa: the project's own code
        gitlab_branch: {"kind":"branch","name":"main"}
          reads branch-main; writes branch-main: the project's own code
        gitlab_branch_with_open_mr: {"kind":"branch","name":"feature/cart"}
          reads branch-feature-cart-c39f4dfa branch-main; writes branch-feature-cart-c39f4dfa: the project's own code
        gitlab_child_of_mr: {"kind":"change","change":"merge-request","number":12,"target":"develop"}
          reads mr-12 branch-develop branch-main; writes mr-12: the project's own code
        gitlab_external_pr: {"kind":"change","change":"pull-request","number":7,"target":"main"}
          reads pr-7 branch-main; writes pr-7: the project's own code
        gitlab_merge_train: {"kind":"merge-queue","target":"develop"}
          reads branch-develop branch-main; writes nothing: merge queues never write a cache: their branches do not recur
        gitlab_mr: {"kind":"change","change":"merge-request","number":12,"target":"develop"}
          reads mr-12 branch-develop branch-main; writes mr-12: the project's own code
        gitlab_mr_fork: {"kind":"change","change":"merge-request","number":12,"target":"main"}
          reads mr-12 branch-main; writes nothing: forks never write a cache: the change comes from someone/Web
        gitlab_mr_fork_deleted: {"kind":"change","change":"merge-request","number":12,"target":"main"}
          reads mr-12 branch-main; writes nothing: forks never write a cache: the change does not say which project it comes from
        gitlab_mr_fork_run_by_member: {"kind":"change","change":"merge-request","number":12,"target":"main"}
          reads mr-12 branch-main; writes nothing: forks never write a cache: the change comes from someone/Web
        gitlab_mr_merged_result: {"kind":"change","change":"merge-request","number":12,"target":"develop"}
          reads mr-12 branch-develop branch-main; writes mr-12: the project's own code
        gitlab_schedule: {"kind":"schedule","branch":"main"}
          reads branch-main; writes branch-main: the project's own code
        gitlab_schedule_on_branch: {"kind":"schedule","branch":"release/2"}
          reads branch-release-2-ad9e2e38 branch-main; writes branch-release-2-ad9e2e38: the project's own code
        gitlab_tag: {"kind":"tag","name":"v1.2.0"}
          reads branch-main; writes nothing: tags never write a cache: no build recurs on one
        gitlab_trigger_without_registry: {"kind":"branch","name":"develop"}
          reads branch-develop branch-main; writes branch-develop: the project's own code
        gitlab_web: {"kind":"branch","name":"feature/cart"}
          reads branch-feature-cart-c39f4dfa branch-main; writes branch-feature-cart-c39f4dfa: the project's own code
        local: {"kind":"unknown"}
          reads ; writes nothing: not a CI job, and not told to write
        other_ci: {"kind":"unknown"}
          reads ; writes nothing: this CI system does not say whose code it builds, and not told to write
        "#);
    }

    #[tokio::test]
    async fn the_whole_pipeline_of_a_merge_request() {
        let nowhere = tempfile::tempdir().unwrap();
        let detected = detect(&environment(&jobs().join("gitlab_mr.env")), nowhere.path()).await;
        let text = serde_json::to_string_pretty(&detected.pipeline).unwrap();
        insta::assert_snapshot!(text, @r#"
        {
          "provider": "gitlab",
          "trigger": {
            "kind": "change",
            "change": "merge-request",
            "number": 12,
            "target": "develop"
          },
          "default_branch": "main",
          "trust": {
            "trust": "trusted"
          },
          "commit": "8f14e45fceea167a5a36dedd4bea2543f6b1c0de",
          "url": "https://gitlab.example.com/Shop/Web/-/pipelines/815",
          "image_repository": "registry.example.com/shop/web",
          "project_folder": "/builds/Shop/Web"
        }
        "#);
    }

    #[tokio::test]
    async fn the_whole_pipeline_of_a_pull_request() {
        let nowhere = tempfile::tempdir().unwrap();
        let detected = detect(&environment(&jobs().join("github_pr.env")), nowhere.path()).await;
        let text = serde_json::to_string_pretty(&detected.pipeline).unwrap();
        insta::assert_snapshot!(text, @r#"
        {
          "provider": "github",
          "trigger": {
            "kind": "change",
            "change": "pull-request",
            "number": 7,
            "target": "develop"
          },
          "default_branch": "trunk",
          "trust": {
            "trust": "trusted"
          },
          "commit": "8f14e45fceea167a5a36dedd4bea2543f6b1c0de",
          "url": "https://github.com/Octo-Org/Hello.World/actions/runs/1658821493",
          "image_repository": "ghcr.io/octo-org/hello.world",
          "project_folder": "/home/runner/work/Hello.World/Hello.World"
        }
        "#);
    }

    /// A checkout as `git clone` leaves it, without git.
    fn checkout(branch: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join(".git");
        std::fs::create_dir_all(store.join("refs/remotes/origin")).unwrap();
        std::fs::write(store.join("HEAD"), format!("ref: refs/heads/{branch}\n")).unwrap();
        std::fs::write(store.join("refs/remotes/origin/HEAD"), "ref: refs/remotes/origin/develop\n").unwrap();
        folder
    }

    #[tokio::test]
    async fn a_checkout_says_what_nobody_else_does() {
        let folder = checkout("feature");
        for (job, branch, default) in [
            ("local", Some("feature"), "develop"),
            ("other_ci", Some("feature"), "develop"),
            ("circle_branch", Some("feature/cart"), "develop"),
            ("circle_fork", None, "develop"),
            ("gitlab_mr", None, "main"),
        ] {
            let environment = environment(&jobs().join(format!("{job}.env")));
            let pipeline = detect(&environment, folder.path()).await.pipeline;
            let found = match &pipeline.trigger {
                Trigger::Branch { name } => Some(name.as_str()),
                _ => None,
            };
            assert_eq!((found, pipeline.default_branch.as_deref()), (branch, Some(default)), "{job}");
        }
        let local = detect(&Environment::default(), folder.path()).await.pipeline;
        assert_eq!(local.provider, Provider::Local);
        assert_eq!(local.project_folder, Some(folder.path().canonicalize().unwrap()));
    }

    #[tokio::test]
    async fn a_forks_checkout_does_not_name_a_branch_of_ours() {
        let folder = checkout("main");
        let environment = [("CIRCLECI", "true"), ("CIRCLE_PR_USERNAME", "someone")].into_iter().collect();
        let pipeline = detect(&environment, folder.path()).await.pipeline;
        assert_eq!(pipeline.trigger, Trigger::Unknown);
    }
}
