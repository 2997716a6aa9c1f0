//! What a pipeline would say about this checkout: the variables that can be known here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::base::env::Environment;
use crate::model::pipeline::Trigger;
use crate::pipeline::{self, Origin};
use crate::workflow::world::World;

/// Variables that make the engine another one, or this machine's programs other ones: a job's values for its runner
/// mean nothing here.
pub const OF_THE_RUNNER: [&str; 17] = [
    "BUILDKIT_HOST",
    "BUILDX_BUILDER",
    "BUILDX_CONFIG",
    "DOCKER_AUTH_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_DRIVER",
    "DOCKER_HOST",
    "DOCKER_TLS",
    "DOCKER_TLS_CERTDIR",
    "DOCKER_TLS_VERIFY",
    "HOME",
    "LAYERLIFT_DOTENV",
    "LAYERLIFT_HTML",
    "LAYERLIFT_REPORT",
    "PATH",
];

/// A change that is not merged yet, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Of GitLab.
    MergeRequest(u64),
    /// Of GitHub, whoever builds it.
    PullRequest(u64),
}

/// What the user says about the pipeline that is to be reproduced.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// A branch other than the one that is checked out.
    pub branch: Option<String>,
    /// A merge request or a pull request.
    pub change: Option<Change>,
    /// The branch that it goes to; `None`: the default branch.
    pub target_branch: Option<String>,
    /// The default branch; `None`: what `origin` calls so.
    pub default_branch: Option<String>,
    /// Variables with their values.
    pub given: BTreeMap<String, String>,
    /// Builds for several platforms stay so.
    pub all_platforms: bool,
}

/// The checkout and the pipeline.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The checkout's topmost folder, without symbolic links.
    pub root: PathBuf,
    /// Variables that the user gives.
    pub given: BTreeMap<String, String>,
    /// Builds for several platforms stay so.
    pub all_platforms: bool,
    /// The change that is to be reproduced.
    pub change: Option<Change>,
    pub(super) branch: Option<String>,
    pub(super) commit: Option<String>,
    pub(super) default_branch: Option<String>,
    /// What `origin` calls the default branch.
    pub(super) default_of_checkout: Option<String>,
    /// The branch that the change goes to.
    pub(super) target: Option<String>,
    /// Where `origin` is.
    pub(super) origin: Option<Origin>,
    pub(super) home: Option<String>,
}

impl Surroundings {
    /// Reads the checkout that holds the working folder; `None` outside of any.
    pub async fn read(world: &World, wanted: Wanted) -> Option<Surroundings> {
        // Without the environment: it is the checkout that is asked, not a CI job that this may run in.
        let found = pipeline::detect(&Environment::default(), &world.folder).await.pipeline;
        let checked_out = match found.trigger {
            Trigger::Branch { name } => Some(name),
            _ => None,
        };
        let variable = |name: &str| wanted.given.get(name).cloned();
        let default_of_checkout = found.default_branch;
        let default_branch =
            wanted.default_branch.or_else(|| variable("CI_DEFAULT_BRANCH")).or(default_of_checkout.clone());
        let root = found.project_folder?;
        Some(Surroundings {
            origin: pipeline::checkout(&root).await.and_then(|checkout| checkout.origin),
            root,
            target: wanted.target_branch.or_else(|| default_branch.clone()),
            branch: wanted
                .branch
                .or_else(|| ["CI_COMMIT_BRANCH", "CIRCLE_BRANCH"].into_iter().find_map(variable))
                .or(checked_out),
            commit: found.commit,
            default_branch,
            default_of_checkout,
            change: wanted.change,
            given: wanted.given,
            all_platforms: wanted.all_platforms,
            home: world.environment.by_name("HOME").map(str::to_owned),
        })
    }
}
