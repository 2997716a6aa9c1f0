//! Advice on a Dockerfile: what makes its cache miss more often than it must, and what keeps its image from being reused.
//!
//! Only what can be seen to cost something is told: a rule looks at the files that a `COPY` really takes, at the stages
//! that the target reaches, and at the order of steps after `FROM` another stage. In doubt nothing is said. What a piece of
//! advice would have saved is the time that the steps took which it makes run again, in an earlier build that ran them.

mod arguments;
mod course;
mod fetched;
mod installs;
mod junk;
mod order;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::dockerfile::{Dockerfile, Graph};
use crate::model::inputs::Selector;
use crate::model::outcome::StageOutcome;

/// What a piece of advice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Sources are copied before an installation that needs none of them but a manifest.
    CopyBeforeInstall,
    /// An argument that is another one in every build stands above steps that do not use it.
    VolatileArgument,
    /// The context holds, and a step takes, what no image needs.
    NeedlessFiles,
    /// `apt-get update` is a step of its own.
    UpdateAlone,
    /// An `ADD` fetches something that may be another thing tomorrow.
    UnverifiedDownload,
    /// The `# syntax=` directive names no version.
    MovingFrontend,
    /// Something that layerlift does not know, so that the image cannot be reused.
    Unknown,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Rule::CopyBeforeInstall => "copy-before-install",
            Rule::VolatileArgument => "volatile-argument",
            Rule::NeedlessFiles => "needless-files",
            Rule::UpdateAlone => "update-alone",
            Rule::UnverifiedDownload => "unverified-download",
            Rule::MovingFrontend => "moving-frontend",
            Rule::Unknown => "unknown",
        })
    }
}

/// A piece of advice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Advice {
    /// The first line of the instruction that it is about, from 1.
    pub line: usize,
    /// What it is about.
    pub rule: Rule,
    /// What is wrong with it.
    pub text: String,
    /// What to do.
    pub help: String,
    /// What it costs, each time: the steps that run again for nothing, in seconds; `None` where no build is known that
    /// ran them.
    #[serde(serialize_with = "seconds")]
    pub costs: Option<Duration>,
}

fn seconds<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&((duration.as_secs_f64() * 1000.0).round() / 1000.0)),
        None => serializer.serialize_none(),
    }
}

/// The files of the build context, as far as the ignore file lets them in.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Path and size of each file, folder and link, from the context's root; folders with `/` at their end.
    pub entries: Vec<(String, u64)>,
    /// What each source takes: places in `entries`.
    pub selected: BTreeMap<Selector, Vec<usize>>,
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The file.
    pub dockerfile: &'a Dockerfile,
    /// Its text.
    pub text: &'a str,
    /// What the target needs of it.
    pub graph: &'a Graph,
    /// The build context; `None` where it cannot be looked at.
    pub files: Option<&'a Files>,
    /// The name of the ignore file that counts, or would.
    pub ignore_file: &'a str,
    /// How the steps of an earlier build went.
    pub past: &'a [StageOutcome],
}

/// All advice, in the order of the lines. What a comment above an instruction says is not to be told is left out:
/// `# layerlift: ignore RULE`.
pub fn lint(subject: Subject<'_>) -> Vec<Advice> {
    let mut advice = Vec::new();
    for node in &subject.graph.stages {
        let course = course::of(subject, node);
        order::look(subject, &course, &mut advice);
        arguments::look(&course, &mut advice);
        fetched::look(subject, node, &course, &mut advice);
        junk::look(subject, &course, &mut advice);
    }
    fetched::look_at_frontend(subject, &mut advice);
    advice.sort();
    // Stages that stand on one another share their first steps.
    advice.dedup_by(|next, before| {
        (next.line, next.rule) == (before.line, before.rule) && next.text == before.text
    });
    let lines: Vec<&str> = subject.text.lines().collect();
    advice.retain(|it| !is_waived(&lines, it));
    advice
}

/// Whether the comments right above an instruction waive this rule.
fn is_waived(lines: &[&str], advice: &Advice) -> bool {
    let above = lines.get(..advice.line.saturating_sub(1)).unwrap_or_default().iter().rev();
    let mut comments = above.map(|line| line.trim()).take_while(|line| line.starts_with('#'));
    comments.any(|comment| {
        let rules = comment.trim_start_matches('#').trim().strip_prefix("layerlift: ignore");
        rules.is_some_and(|rules| rules.split([',', ' ']).any(|rule| rule.trim() == advice.rule.to_string()))
    })
}

/// `a`, `a and b`, `a, b and c`, each as code.
fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}

#[cfg(test)]
mod tests;
