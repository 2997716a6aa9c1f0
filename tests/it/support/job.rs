//! The variables that CI systems set, as their documentation gives them.

use std::path::Path;

use serde_json::json;

/// What started a job.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A push to a branch.
    Branch(&'a str),
    /// A tag.
    Tag(&'a str),
    /// A merge or pull request from a branch of the same project to `main`.
    Request { number: u32, branch: &'a str },
    /// The same from another project.
    Fork { number: u32, branch: &'a str },
}

/// Variables of a job.
pub type Variables = Vec<(String, String)>;

fn owned(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A GitLab job of a project whose registry is `image` (`CI_REGISTRY_IMAGE`) and whose default branch is `main`.
pub fn gitlab(image: &str, event: Event<'_>) -> Variables {
    let registry = image.split('/').next().unwrap_or(image);
    let mut variables = owned(&[
        ("CI", "true"),
        ("GITLAB_CI", "true"),
        ("CI_DEFAULT_BRANCH", "main"),
        ("CI_COMMIT_SHA", "1ecfd275763eff1d6b4844ea3168962458c9f27a"),
        ("CI_COMMIT_BEFORE_SHA", "0000000000000000000000000000000000000000"),
        ("CI_PROJECT_ID", "1"),
        ("CI_PROJECT_PATH", "group/project"),
        ("CI_REGISTRY", registry),
        ("CI_REGISTRY_IMAGE", image),
    ]);
    variables.extend(match event {
        Event::Branch(branch) => owned(&[
            ("CI_PIPELINE_SOURCE", "push"),
            ("CI_COMMIT_BRANCH", branch),
            ("CI_COMMIT_REF_NAME", branch),
            ("CI_COMMIT_REF_PROTECTED", if branch == "main" { "true" } else { "false" }),
        ]),
        Event::Tag(tag) => {
            owned(&[("CI_PIPELINE_SOURCE", "push"), ("CI_COMMIT_TAG", tag), ("CI_COMMIT_REF_NAME", tag)])
        }
        Event::Request { number, branch } | Event::Fork { number, branch } => {
            let source = if matches!(event, Event::Fork { .. }) { "2" } else { "1" };
            owned(&[
                ("CI_PIPELINE_SOURCE", "merge_request_event"),
                ("CI_COMMIT_REF_NAME", branch),
                ("CI_MERGE_REQUEST_IID", &number.to_string()),
                ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", branch),
                ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main"),
                ("CI_MERGE_REQUEST_PROJECT_ID", "1"),
                ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", source),
            ])
        }
    });
    variables
}

/// A step of a GitHub workflow in `Group/Project`; the event's payload and the step's files are in the folder.
#[track_caller]
pub fn github(folder: &Path, event: Event<'_>) -> Variables {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let repository = json!({"full_name": "Group/Project", "default_branch": "main", "fork": false});
    let (name, reference, short, kind, payload) = match event {
        Event::Branch(branch) => {
            let reference = format!("refs/heads/{branch}");
            let payload = json!({"ref": reference, "repository": repository});
            ("push", reference, branch.to_owned(), "branch", payload)
        }
        Event::Tag(tag) => {
            let reference = format!("refs/tags/{tag}");
            let payload = json!({"ref": reference, "repository": repository});
            ("push", reference, tag.to_owned(), "tag", payload)
        }
        Event::Request { number, branch } | Event::Fork { number, branch } => {
            let fork = matches!(event, Event::Fork { .. });
            let head_name = if fork { "Stranger/Project" } else { "Group/Project" };
            let head = json!({"ref": branch, "repo": {"full_name": head_name, "fork": fork}});
            let base = json!({"ref": "main", "repo": {"full_name": "Group/Project", "fork": false}});
            let payload = json!({
                "number": number, "repository": repository,
                "pull_request": {"number": number, "head": head, "base": base},
            });
            (
                "pull_request",
                format!("refs/pull/{number}/merge"),
                format!("{number}/merge"),
                "branch",
                payload,
            )
        }
    };
    std::fs::write(folder.join("event.json"), payload.to_string()).unwrap();
    let mut variables = owned(&[
        ("CI", "true"),
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_REPOSITORY", "Group/Project"),
        ("GITHUB_SHA", "1ecfd275763eff1d6b4844ea3168962458c9f27a"),
        ("GITHUB_ACTOR", "someone"),
        ("GITHUB_EVENT_NAME", name),
        ("GITHUB_EVENT_PATH", &path("event.json")),
        ("GITHUB_REF", &reference),
        ("GITHUB_REF_NAME", &short),
        ("GITHUB_REF_TYPE", kind),
        ("GITHUB_OUTPUT", &path("output")),
        ("GITHUB_STEP_SUMMARY", &path("summary.md")),
    ]);
    if let Event::Request { branch, .. } | Event::Fork { branch, .. } = event {
        variables.extend(owned(&[("GITHUB_HEAD_REF", branch), ("GITHUB_BASE_REF", "main")]));
    }
    variables
}
