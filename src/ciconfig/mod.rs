//! PURE: the files that define CI jobs (GitLab, GitHub, CircleCI) -> jobs with their scripts and variables.
//!
//! Files come through a closure, and what is known of the pipeline as values. What is not known is no error: it stays in
//! the text as an [unknown](unknown::unknown) of that name, for whoever needs it to ask for.

pub mod circleci;
pub mod github;
pub mod gitlab;
pub mod inputs;
#[cfg(test)]
mod samples;
pub mod shell;
pub mod unknown;

use std::collections::BTreeMap;

use crate::base::yaml::{self, Node};

/// The most jobs that are made of one file by a matrix.
const MOST_INSTANCES: usize = 256;
/// The most jobs that the files of a provider come to, matrices and calls counted.
const MOST_JOBS: usize = 2000;
/// The most steps of a job that are looked at, those of actions and commands counted: they can call each other.
const MOST_STEPS: usize = 1000;
/// The most that the texts of all jobs come to, in bytes.
const MOST_TEXT: usize = 64 << 20;
/// The most files that one reading asks for; GitLab includes at most 150.
const MOST_FILES: usize = 150;
/// The longest text that variables in variables may make: they can double with each.
const LONGEST_VALUE: usize = 1 << 20;

/// Whose files these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provider {
    /// `.gitlab-ci.yml`.
    GitLab,
    /// `.github/workflows/*.yml`.
    GitHub,
    /// `.circleci/config.yml`.
    CircleCi,
}

impl Provider {
    /// One word, as in lists.
    pub fn name(self) -> &'static str {
        match self {
            Provider::GitLab => "gitlab",
            Provider::GitHub => "github",
            Provider::CircleCi => "circleci",
        }
    }
}

/// One job, or one instance of a job with a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose.
    pub provider: Provider,
    /// The file that defines it, counted from the checkout.
    pub file: String,
    /// Its line there, from 1; 0 where it was not found.
    pub line: usize,
    /// The key that it has in the file.
    pub key: String,
    /// The key, with the values of its matrix: `build: [arm64]`.
    pub name: String,
    /// Variables of the whole job, in the order in which they are set.
    pub variables: Vec<(String, String)>,
    /// What it does, in order.
    pub steps: Vec<Step>,
    /// What of its definition was not followed.
    pub notes: Vec<String>,
    /// Why this pipeline would not run it, where its rules are known to say so.
    pub left_out: Option<String>,
}

/// One step of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name, for what it puts out: `steps.NAME.outputs.x`.
    pub id: Option<String>,
    /// The file that it stands in, counted from the checkout; empty: the job's.
    pub file: String,
    /// Its text there, by which its line is found: that of its script, or what it calls.
    pub source: String,
    /// Its folder, counted from the checkout; `None`: where the step before it ended.
    pub folder: Option<String>,
    /// Variables of its own.
    pub environment: Vec<(String, String)>,
    /// Whether CI runs it is not known.
    pub conditional: bool,
    /// What it does.
    pub action: Action,
}

impl Step {
    /// A step of the job's own file that is always run.
    fn new(source: &str, action: Action) -> Self {
        let (id, file, source) = (None, String::new(), source.to_owned());
        Step { id, file, source, folder: None, environment: Vec::new(), conditional: false, action }
    }
}

impl Step {
    /// A step with a script.
    #[cfg(test)]
    pub(crate) fn script(text: &str) -> Self {
        Step::new(text, Action::Script { text: text.to_owned(), fresh: true })
    }

    /// Bytes of its texts.
    fn length(&self) -> usize {
        let environment: usize = self.environment.iter().map(|(_, value)| value.len()).sum();
        let action = match &self.action {
            Action::Script { text, .. } => text.len(),
            Action::Build { inputs, .. } => inputs.values().map(String::len).sum(),
            Action::Foreign { .. } => 0,
        };
        environment + action + self.source.len()
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Lines for a shell. `fresh`: a shell of its own, which leaves no variables behind.
    Script {
        /// The lines.
        text: String,
        /// It begins in the checkout, with the job's variables.
        fresh: bool,
    },
    /// An action that builds images.
    Build {
        /// Who reads the inputs.
        builder: inputs::Builder,
        /// By their names.
        inputs: BTreeMap<String, String>,
    },
    /// It builds an image in a way that cannot be reproduced: what it is, and why not.
    Foreign {
        /// What it calls.
        what: String,
        /// Why not.
        reason: String,
    },
}

/// Why a file of jobs was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no YAML.
    #[error("{file}:{}:{}: {}", error.line, error.column, error.message)]
    Yaml {
        /// The file, counted from the checkout.
        file: String,
        /// Where and why.
        error: yaml::Error,
    },
    /// It is YAML, but no jobs.
    #[error("{file}{}: {message}", if *line > 0 { format!(":{line}") } else { String::new() })]
    Meaning {
        /// The file, counted from the checkout.
        file: String,
        /// The line, from 1; 0 where it is not known.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A file cannot be read.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// The file, counted from the checkout.
        file: String,
        /// Why not.
        reason: String,
    },
}

impl Error {
    fn meaning(file: &str, line: usize, message: impl Into<String>) -> Self {
        Error::Meaning { file: file.to_owned(), line, message: message.into() }
    }
}

/// The jobs of a provider, of which there are only so many.
#[derive(Debug, Default)]
struct Jobs {
    all: Vec<Job>,
    /// Bytes of their texts.
    text: usize,
}

impl Jobs {
    fn push(&mut self, job: Job) -> Result<(), Error> {
        self.text += job.steps.iter().map(Step::length).sum::<usize>();
        self.text += job.variables.iter().map(|(_, value)| value.len()).sum::<usize>();
        if self.all.len() >= MOST_JOBS || self.text > MOST_TEXT {
            let message = format!("more than {MOST_JOBS} jobs, or than {MOST_TEXT} bytes of them");
            return Err(Error::meaning(&job.file, job.line, message));
        }
        self.all.push(job);
        Ok(())
    }
}

/// Gives the text of a file, counted from the checkout; `None`: there is none.
pub type Load<'a> = dyn Fn(&str) -> Result<Option<String>, String> + 'a;

/// The files that were read, with their texts.
#[derive(Debug, Default)]
struct Files(BTreeMap<String, String>);

impl Files {
    /// Reads a file that must be there.
    fn read(&mut self, file: &str, load: &Load<'_>) -> Result<Vec<Node>, Error> {
        let unreadable =
            |reason: &str| Error::Unreadable { file: file.to_owned(), reason: reason.to_owned() };
        if self.0.len() >= MOST_FILES {
            return Err(unreadable(&format!("more than {MOST_FILES} files are included")));
        }
        let text =
            load(file).map_err(|reason| unreadable(&reason))?.ok_or_else(|| unreadable("it is not there"))?;
        let text = unknown::without_marks(&text);
        let documents =
            yaml::documents(&text).map_err(|error| Error::Yaml { file: file.to_owned(), error })?;
        self.0.insert(file.to_owned(), text);
        Ok(documents)
    }

    /// The line of an item of a list: `- key`, `- key:`.
    fn line_of_item(&self, file: &str, key: &str) -> usize {
        let is = |line: &str| {
            let item = line.trim().strip_prefix("- ").and_then(|item| item.trim().strip_prefix(key));
            item.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        let text = self.0.get(file).map_or("", String::as_str);
        text.lines().position(is).map_or(0, |index| index + 1)
    }

    /// The line of a key with that indentation, `within` a key of the first column (empty: anywhere).
    fn line_of(&self, file: &str, within: &str, key: &str) -> usize {
        let Some(text) = self.0.get(file) else { return 0 };
        let mut inside = within.is_empty();
        for (index, line) in text.lines().enumerate() {
            let body = line.trim_start();
            let name = body.trim_start_matches(['"', '\'']);
            let is = |key: &str| {
                name.strip_prefix(key)
                    .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
            };
            let top = body.len() == line.len();
            if top && !within.is_empty() && !body.is_empty() && !body.starts_with('#') {
                inside = is(within);
            }
            if inside && top == within.is_empty() && is(key) {
                return index + 1;
            }
        }
        0
    }
}

/// Every combination of one value of each axis, the first axis turning slowest; `None` when there are too many.
fn product<Value: Clone>(axes: &[(String, Vec<Value>)]) -> Option<Vec<Vec<(String, Value)>>> {
    let mut rows: Vec<Vec<(String, Value)>> = vec![Vec::new()];
    for (name, values) in axes {
        if rows.len().saturating_mul(values.len()) > MOST_INSTANCES {
            return None;
        }
        let longer = |row: &Vec<(String, Value)>| -> Vec<Vec<(String, Value)>> {
            let with = |value: &Value| row.iter().cloned().chain([(name.clone(), value.clone())]).collect();
            values.iter().map(with).collect()
        };
        rows = rows.iter().flat_map(longer).collect();
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_found_in_its_text() {
        let text = "jobs:\n  # build: no\n  build:\n    steps:\n      - build: x\nbuild:\n  a: 1\n'my job':\n  b: 2\n";
        let files = Files([("f".to_owned(), text.to_owned())].into());
        assert_eq!(files.line_of("f", "jobs", "build"), 3);
        assert_eq!(files.line_of("f", "", "build"), 6);
        assert_eq!(files.line_of("f", "", "my job"), 8);
        assert_eq!(files.line_of("f", "", "none"), 0);
        let files = Files([("f".to_owned(), "w:\n  - a/b:\n      x: 1\n  - c: {}\n".to_owned())].into());
        assert_eq!(["a/b", "c", "d"].map(|key| files.line_of_item("f", key)), [2, 4, 0]);
    }

    #[test]
    fn products_are_bounded() {
        let axis = |name: &str, count: usize| (name.to_owned(), (0..count).collect::<Vec<_>>());
        assert_eq!(product(&[axis("a", 2), axis("b", 3)]).expect("few").len(), 6);
        assert_eq!(product(&[axis("a", 16), axis("b", 17)]), None);
    }
}
