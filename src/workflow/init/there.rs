//! What the user's CI file has already: its names, which ours must not take.

use crate::base::yaml::{self, Node};

/// How a job of layerlift's orb is called in a workflow.
const ORB_JOB: &str = "layerlift/image";

/// The user's file; `Null` where there is none, or it cannot be read.
#[derive(Debug)]
pub(super) struct There(Node);

impl There {
    pub(super) fn parse(text: &str) -> There {
        let first = yaml::documents(text).ok().and_then(|documents| documents.into_iter().next());
        There(first.unwrap_or(Node::Null))
    }

    /// A stage that a GitLab pipeline has, where it lists some and none is called `build`.
    pub(super) fn stage(&self) -> Option<String> {
        let stages: Vec<String> = self.0.get("stages")?.items().iter().filter_map(Node::scalar).collect();
        match stages.iter().any(|name| name == "build") {
            true => None,
            false => stages.into_iter().find(|name| name != ".pre"),
        }
    }

    /// A name for a job of GitLab's file.
    pub(super) fn job(&self, name: &str) -> String {
        free_name(name, &self.0)
    }

    /// A name for a job of CircleCI's file.
    pub(super) fn job_of_circleci(&self, name: &str) -> String {
        self.0.get("jobs").map_or_else(|| name.to_owned(), |jobs| free_name(name, jobs))
    }

    /// Whether a workflow of CircleCI's file calls a job of ours by this name.
    pub(super) fn is_called(&self, job: &str) -> bool {
        let calls = self.workflows().filter_map(|(_, workflow)| workflow.get("jobs")).flat_map(Node::items);
        let is_it = |call: &Node| {
            let orb_name = call.get(ORB_JOB).and_then(|it| it.get("name")).and_then(Node::scalar);
            call.scalar().or(orb_name).is_some_and(|name| name == job) || call.get(job).is_some()
        };
        calls.into_iter().any(is_it)
    }

    /// A name for a workflow of CircleCI's file.
    pub(super) fn workflow(&self) -> String {
        let is_free = |name: &String| self.workflows().all(|(other, _)| other != name);
        let numbered = (2..).map(|number| format!("images-{number}"));
        std::iter::once("images".to_owned()).chain(numbered).find(is_free).unwrap_or_default()
    }

    fn workflows(&self) -> impl Iterator<Item = &(String, Node)> {
        self.0.get("workflows").map(Node::entries).unwrap_or_default().iter()
    }
}

/// A job that layerlift's templates are part of is ours, and keeps its name.
fn free_name(name: &str, jobs: &Node) -> String {
    match jobs.get(name) {
        Some(job) if !format!("{job:?}").contains("layerlift") => format!("layerlift-{name}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_not_taken() {
        let there = There::parse(
            "stages: [.pre, test]\nbuild: {script: make}\ncompose: {extends: .layerlift-compose}\n",
        );
        assert_eq!(there.job("build"), "layerlift-build");
        assert_eq!((there.job("compose"), there.job("bake")), ("compose".to_owned(), "bake".to_owned()));
        assert_eq!(there.stage().as_deref(), Some("test"));
        assert_eq!(There::parse("stages: [build]").stage(), None);
        assert_eq!(There::parse("a: [").stage(), None);
    }

    #[test]
    fn workflows_tell_which_jobs_are_called() {
        let there = There::parse(
            "jobs: {bake: {steps: []}}\nworkflows:\n  version: 2\n  images:\n    jobs: [a, b: {x: y}, layerlift/image: {name: c}]\n",
        );
        assert!(["a", "b", "c"].iter().all(|job| there.is_called(job)) && !there.is_called("d"));
        assert_eq!(
            (there.workflow(), there.job_of_circleci("bake")),
            ("images-2".into(), "layerlift-bake".into())
        );
        let none = There::parse("");
        assert_eq!((none.workflow(), none.job_of_circleci("bake")), ("images".into(), "bake".into()));
    }
}
