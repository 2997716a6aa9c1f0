//! What a pipeline would say about this checkout: the variables that can be known here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::base::env::Environment;
use crate::model::pipeline::Trigger;
use crate::pipeline;
use crate::workflow::world::World;

/// Variables that make the engine another one, or this machine's programs other ones: a job's values for its runner
/// mean nothing here.
pub const OF_THE_RUNNER: [&str; 16] = [
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
    "LAYERLIFT_REPORT",
    "PATH",
];

/// GitLab's bound of a slug.
const LONGEST_SLUG: usize = 63;

/// What the user says about the pipeline that is to be reproduced.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// A branch other than the one that is checked out.
    pub branch: Option<String>,
    /// A merge request.
    pub merge_request: Option<u64>,
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
    branch: Option<String>,
    commit: Option<String>,
    default_branch: Option<String>,
    merge_request: Option<(u64, Option<String>)>,
    home: Option<String>,
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
        let default_branch =
            wanted.default_branch.or_else(|| variable("CI_DEFAULT_BRANCH")).or(found.default_branch);
        let target = wanted.target_branch.or_else(|| default_branch.clone());
        Some(Surroundings {
            root: found.project_folder?,
            branch: wanted.branch.or_else(|| variable("CI_COMMIT_BRANCH")).or(checked_out),
            commit: found.commit,
            default_branch,
            merge_request: wanted.merge_request.map(|number| (number, target)),
            given: wanted.given,
            all_platforms: wanted.all_platforms,
            home: world.environment.by_name("HOME").map(str::to_owned),
        })
    }

    /// The predefined variables of a GitLab job (GitLab's docs, "Predefined CI/CD variables reference"), as far as they
    /// are known, and what the user gives above them.
    pub fn gitlab(&self) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        let mut set = |name: &str, value: Option<&str>| {
            variables.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        };
        set("CI", Some("true"));
        set("GITLAB_CI", Some("true"));
        set("CI_PROJECT_DIR", self.root.to_str());
        set("CI_COMMIT_SHA", self.commit.as_deref());
        set("CI_COMMIT_SHORT_SHA", self.commit.as_deref().and_then(|commit| commit.get(..8)));
        set("CI_DEFAULT_BRANCH", self.default_branch.as_deref());
        set("CI_COMMIT_REF_NAME", self.branch.as_deref());
        set("CI_COMMIT_REF_SLUG", self.branch.as_deref().map(slug).as_deref());
        set("HOME", self.home.as_deref());
        match &self.merge_request {
            Some((number, target)) => {
                set("CI_PIPELINE_SOURCE", Some("merge_request_event"));
                set("CI_MERGE_REQUEST_IID", Some(&number.to_string()));
                set("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", self.branch.as_deref());
                set("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", target.as_deref());
            }
            None => {
                set("CI_PIPELINE_SOURCE", Some("push"));
                set("CI_COMMIT_BRANCH", self.branch.as_deref());
            }
        }
        let image = self.given.get("CI_REGISTRY_IMAGE");
        set("CI_REGISTRY", image.and_then(|image| image.split('/').next()));
        variables.extend(self.given.clone());
        variables
    }
}

/// `CI_COMMIT_REF_SLUG`: lower case, everything but `0-9` and `a-z` is `-`, none at an edge, at most 63 characters.
fn slug(name: &str) -> String {
    let kept = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' };
    let slug: String = name.chars().map(kept).take(LONGEST_SLUG).collect();
    slug.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_those_of_gitlab() {
        assert_eq!(slug("Feature/Cart_2"), "feature-cart-2");
        assert_eq!(slug(&format!("{}-/x", "a".repeat(62))), "a".repeat(62));
    }
}
