//! Where we run: what a CI system, or a checkout, says about this build.

use std::path::PathBuf;

use serde::Serialize;

/// Who runs the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// GitLab CI.
    GitLab,
    /// GitHub Actions.
    GitHub,
    /// Another CI system, of which only `CI=true` and the checkout are known.
    OtherCi,
    /// A person's machine.
    Local,
}

/// A merge request or a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// GitLab.
    MergeRequest,
    /// GitHub, also where GitLab runs it.
    PullRequest,
}

/// What the build is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Trigger {
    /// A commit on a branch.
    Branch {
        /// The branch's full name.
        name: String,
    },
    /// A merge request or pull request.
    Change {
        /// Which of the two.
        change: ChangeKind,
        /// Its number in the project that it goes to.
        number: u64,
        /// The branch that it goes to.
        target: Option<String>,
    },
    /// A tag.
    Tag {
        /// The tag's full name.
        name: String,
    },
    /// A schedule, on a branch.
    Schedule {
        /// The branch that it runs on.
        branch: Option<String>,
    },
    /// A merge queue or merge group: a branch that never recurs, on its way to `target`.
    MergeQueue {
        /// The branch that it goes to.
        target: Option<String>,
    },
    /// No branch is known: a detached head, no checkout.
    Unknown,
}

/// Whether the code that is built may leave anything behind for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "trust")]
pub enum Trust {
    /// From the project's own people.
    Trusted,
    /// Nothing tells: a cache is written only when asked for.
    Unknown,
    /// From elsewhere: reads caches, never writes one.
    Fork {
        /// What showed it, for messages: `the pull request comes from someone/app`.
        evidence: String,
    },
}

/// Everything that the surroundings tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pipeline {
    /// Who runs the job.
    pub provider: Provider,
    /// What the build is for.
    pub trigger: Trigger,
    /// The project's default branch.
    pub default_branch: Option<String>,
    /// Whose code it is.
    pub trust: Trust,
    /// The commit that is built.
    pub commit: Option<String>,
    /// Address of the pipeline or run.
    pub url: Option<String>,
    /// The repository that the CI system offers for images: `CI_REGISTRY_IMAGE`, `ghcr.io/<owner>/<repo>`.
    pub image_repository: Option<String>,
    /// Folder of the checkout.
    pub project_folder: Option<PathBuf>,
}

impl Pipeline {
    /// Whether a CI system runs this.
    pub fn is_ci(&self) -> bool {
        self.provider != Provider::Local
    }
}
