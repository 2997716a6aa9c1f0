//! The predefined variables of each CI system's jobs, as far as they follow from the checkout and from what the user says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ciconfig::Provider;
use crate::plan::scope::Scope;
use crate::workflow::repro::surroundings::{Change, Surroundings};

type Variables = BTreeMap<String, String>;

/// GitLab's bound of a slug.
const LONGEST_SLUG: usize = 63;
/// GitHub's own server.
const GITHUB: &str = "github.com";

fn add(variables: &mut Variables, name: &str, value: Option<&str>) {
    variables.extend(value.map(|value| (name.to_owned(), value.to_owned())));
}

impl Surroundings {
    /// The variables of a provider's jobs, and what the user gives above them.
    pub fn variables(&self, provider: Provider) -> Variables {
        match provider {
            Provider::GitLab => self.gitlab(),
            Provider::GitHub => self.github(),
            Provider::CircleCi => self.circleci(),
        }
    }

    /// The predefined variables of a GitLab job (GitLab's docs, "Predefined CI/CD variables reference"), as far as they
    /// are known, and what the user gives above them.
    pub fn gitlab(&self) -> Variables {
        let mut variables = Variables::new();
        let mut set = |name: &str, value: Option<&str>| add(&mut variables, name, value);
        set("CI", Some("true"));
        set("GITLAB_CI", Some("true"));
        set("CI_PROJECT_DIR", self.root.to_str());
        set("CI_COMMIT_SHA", self.commit.as_deref());
        set("CI_COMMIT_SHORT_SHA", self.commit.as_deref().and_then(|commit| commit.get(..8)));
        set("CI_DEFAULT_BRANCH", self.default_branch.as_deref());
        set("CI_COMMIT_REF_NAME", self.branch.as_deref());
        set("CI_COMMIT_REF_SLUG", self.branch.as_deref().map(slug).as_deref());
        set("HOME", self.home.as_deref());
        match self.change {
            Some(Change::MergeRequest(number)) => {
                set("CI_PIPELINE_SOURCE", Some("merge_request_event"));
                set("CI_MERGE_REQUEST_IID", Some(&number.to_string()));
                set("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", self.branch.as_deref());
                set("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", self.target.as_deref());
            }
            _ => {
                set("CI_PIPELINE_SOURCE", Some("push"));
                set("CI_COMMIT_BRANCH", self.branch.as_deref());
            }
        }
        let image = self.given.get("CI_REGISTRY_IMAGE");
        set("CI_REGISTRY", image.and_then(|image| image.split('/').next()));
        variables.extend(self.given.clone());
        variables
    }

    /// The variables of a GitHub job (GitHub's docs, "Variables reference").
    fn github(&self) -> Variables {
        let mut variables = Variables::new();
        let mut set = |name: &str, value: Option<&str>| add(&mut variables, name, value);
        let branch = self.branch.as_deref();
        set("CI", Some("true"));
        set("GITHUB_ACTIONS", Some("true"));
        set("GITHUB_WORKSPACE", self.root.to_str());
        set("GITHUB_SHA", self.commit.as_deref());
        set("HOME", self.home.as_deref());
        if let Some((host, owner, name)) = self.project() {
            set("GITHUB_SERVER_URL", Some(&format!("https://{host}")));
            set("GITHUB_REPOSITORY", Some(&format!("{owner}/{name}")));
            set("GITHUB_REPOSITORY_OWNER", Some(&owner));
        }
        set("GITHUB_REF_TYPE", Some("branch"));
        match self.change {
            Some(Change::PullRequest(number)) => {
                set("GITHUB_EVENT_NAME", Some("pull_request"));
                set("GITHUB_REF", Some(&format!("refs/pull/{number}/merge")));
                set("GITHUB_REF_NAME", Some(&format!("{number}/merge")));
                set("GITHUB_HEAD_REF", branch);
                set("GITHUB_BASE_REF", self.target.as_deref());
            }
            _ => {
                set("GITHUB_EVENT_NAME", Some("push"));
                set("GITHUB_REF", branch.map(|branch| format!("refs/heads/{branch}")).as_deref());
                set("GITHUB_REF_NAME", branch);
                set("GITHUB_HEAD_REF", Some(""));
            }
        }
        variables.extend(self.given.clone());
        variables
    }

    /// The payload of the event that starts a GitHub job, as far as it is known.
    pub fn event(&self) -> Value {
        let variables = self.github();
        let full_name = variables.get("GITHUB_REPOSITORY");
        let mut repository = json!({"fork": false});
        if let Some((owner, name)) = full_name.and_then(|name| name.split_once('/')) {
            repository["full_name"] = json!(format!("{owner}/{name}"));
            repository["name"] = json!(name);
            repository["owner"] = json!({"login": owner, "name": owner});
        }
        if let Some(branch) = &self.default_branch {
            repository["default_branch"] = json!(branch);
        }
        let mut event = json!({"repository": repository});
        match self.change {
            Some(Change::PullRequest(number)) => {
                let side = |branch: &Option<String>, commit: Option<&String>| {
                    let mut side = json!({"repo": repository});
                    [("ref", branch.as_ref()), ("sha", commit)].into_iter().for_each(|(name, value)| {
                        if let Some(value) = value {
                            side[name] = json!(value);
                        }
                    });
                    side
                };
                let (head, base) = (side(&self.branch, self.commit.as_ref()), side(&self.target, None));
                event["number"] = json!(number);
                event["pull_request"] = json!({"number": number, "head": head, "base": base});
            }
            _ => {
                if let Some(reference) = variables.get("GITHUB_REF") {
                    event["ref"] = json!(reference);
                }
            }
        }
        event
    }

    /// The variables of a CircleCI job (CircleCI's docs, "Project values and variables").
    fn circleci(&self) -> Variables {
        let mut variables = Variables::new();
        let mut set = |name: &str, value: Option<&str>| add(&mut variables, name, value);
        set("CI", Some("true"));
        set("CIRCLECI", Some("true"));
        set("CIRCLE_WORKING_DIRECTORY", self.root.to_str());
        set("CIRCLE_SHA1", self.commit.as_deref());
        set("CIRCLE_BRANCH", self.branch.as_deref());
        set("HOME", self.home.as_deref());
        if let Some((host, owner, name)) = self.project() {
            set("CIRCLE_REPOSITORY_URL", Some(&format!("git@{host}:{owner}/{name}.git")));
            set("CIRCLE_PROJECT_USERNAME", Some(&owner));
            set("CIRCLE_PROJECT_REPONAME", Some(&name));
            if let Some(Change::PullRequest(number)) = self.change {
                let address = format!("https://{host}/{owner}/{name}/pull/{number}");
                set("CIRCLE_PULL_REQUEST", Some(&address));
            }
        }
        // CircleCI does not say which branch is the default one: layerlift asks the checkout. What the user says instead
        // can only be told as a scope.
        let said = self.default_branch.as_deref().filter(|_| self.default_branch != self.default_of_checkout);
        set("LAYERLIFT_FALLBACK", said.map(|branch| Scope::branch(branch).to_string()).as_deref());
        variables.extend(self.given.clone());
        variables
    }

    /// Host, owner and name of the project, by the place of `origin`.
    fn project(&self) -> Option<(String, String, String)> {
        let split = |host: &str, path: &str| {
            let (owner, name) = path.rsplit_once('/')?;
            Some((host.to_owned(), owner.to_owned(), name.to_owned()))
        };
        if let Some(path) = self.given.get("GITHUB_REPOSITORY") {
            return split(GITHUB, path);
        }
        let origin = self.origin.as_ref()?;
        split(&origin.host, &origin.path)
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
    use crate::pipeline::Origin;

    #[test]
    fn slugs_are_those_of_gitlab() {
        assert_eq!(slug("Feature/Cart_2"), "feature-cart-2");
        assert_eq!(slug(&format!("{}-/x", "a".repeat(62))), "a".repeat(62));
    }

    fn surroundings(change: Option<Change>) -> Surroundings {
        Surroundings {
            root: "/work".into(),
            given: BTreeMap::new(),
            all_platforms: false,
            change,
            branch: Some("feature/a".to_owned()),
            commit: Some("0".repeat(40)),
            default_branch: Some("trunk".to_owned()),
            default_of_checkout: Some("main".to_owned()),
            target: Some("develop".to_owned()),
            origin: Some(Origin { host: "github.com".to_owned(), path: "Octo/App".to_owned() }),
            home: None,
        }
    }

    /// What layerlift makes of these variables is what it makes of the job's own.
    async fn pipeline(change: Option<Change>, provider: Provider) -> String {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = surroundings(change);
        let mut variables = surroundings.variables(provider);
        let event = folder.path().join("event.json");
        std::fs::write(&event, surroundings.event().to_string()).unwrap();
        variables.insert("GITHUB_EVENT_PATH".to_owned(), event.to_str().unwrap().to_owned());
        let found = crate::pipeline::detect(&variables.into_iter().collect(), folder.path()).await;
        assert!(found.warnings.is_empty(), "{:?}", found.warnings);
        let scopes = crate::plan::scope::scopes(&found.pipeline, None, &[]);
        let read: Vec<&str> = scopes.read.iter().map(Scope::as_str).collect();
        format!("{} in {}", read.join(" "), found.pipeline.image_repository.unwrap_or_default())
    }

    #[tokio::test]
    async fn chains_are_those_of_the_jobs() {
        let request = Some(Change::PullRequest(7));
        for (change, provider, expected) in [
            (None, Provider::GitHub, "branch-feature-a-951d42dc branch-trunk in ghcr.io/octo/app"),
            (request, Provider::GitHub, "pr-7 branch-develop branch-trunk in ghcr.io/octo/app"),
            (request, Provider::CircleCi, "branch-feature-a-951d42dc in "),
            (None, Provider::GitLab, "branch-feature-a-951d42dc branch-trunk in "),
            (Some(Change::MergeRequest(8)), Provider::GitLab, "mr-8 branch-develop branch-trunk in "),
        ] {
            assert_eq!(pipeline(change, provider).await, expected, "{provider:?} {change:?}");
        }
    }
}
