//! `.circleci/config.yml` (CircleCI's docs, "Configuration reference"): the jobs of its workflows, one for each row of a
//! matrix, with the steps of its commands and of the orbs that stand in the file itself.

mod steps;
mod template;

use std::collections::BTreeMap;

use super::{Error, Files, Job, Jobs, Load, Provider, product};
use crate::base::yaml::Node;
use steps::Walk;
use template::Scope;

/// The file that CircleCI reads.
pub const FILE: &str = ".circleci/config.yml";
/// The folder that jobs begin in, unless they say another.
const FOLDER: &str = "~/project";

type Values = BTreeMap<String, String>;
type Variables = Vec<(String, String)>;

/// Keys of a job in a workflow that are no parameters.
const OF_WORKFLOWS: [&str; 9] =
    ["name", "matrix", "filters", "context", "requires", "pre-steps", "post-steps", "type", "override-with"];

/// Where an orb comes from.
enum Orb<'a> {
    /// layerlift's.
    Own,
    /// It stands in the file.
    Inline(&'a Node),
    /// CircleCI's registry has it.
    Foreign,
}

fn orb<'a>(root: &'a Node, name: &str) -> Orb<'a> {
    match root.get("orbs").and_then(|orbs| orbs.get(name)) {
        _ if is_own(root, name) => Orb::Own,
        Some(orb @ Node::Map(_)) => Orb::Inline(orb),
        _ => Orb::Foreign,
    }
}

/// Whether an orb is layerlift's: by its name in the registry, or where it stands in the file, there.
fn is_own(root: &Node, name: &str) -> bool {
    match root.get("orbs").and_then(|orbs| orbs.get(name)) {
        Some(Node::Text(source)) => {
            source.split('@').next().is_some_and(|source| source.ends_with("/layerlift"))
        }
        Some(Node::Map(_)) => name == "layerlift",
        _ => false,
    }
}

/// Reads all jobs. `known` are the variables that the pipeline is known to have; `given` those among them that its
/// starter sets.
pub fn jobs(load: &Load<'_>, known: &Values, given: &Values) -> Result<Vec<Job>, Error> {
    let mut files = Files::default();
    let root = files.read(FILE, load)?.into_iter().next().unwrap_or(Node::Null);
    if !matches!(root, Node::Map(_)) {
        return Err(Error::meaning(FILE, 1, "a mapping with `jobs` is expected"));
    }
    let nothing = Scope { known, pipeline: &Node::Null, parameters: Node::Null, matrix: Node::Null };
    let pipeline = parameters(root.get("parameters"), &Node::Null, &nothing);
    let scope = Scope { pipeline: &pipeline, ..nothing };
    let mut reader = Reader { root: &root, scope, given, files, jobs: Jobs::default() };
    match root.get("workflows") {
        Some(workflows) => {
            for (name, workflow) in workflows.entries() {
                reader.workflow(name, workflow)?;
            }
        }
        // Without workflows, the job `build` is all that is run.
        None if root.get("jobs").and_then(|jobs| jobs.get("build")).is_some() => {
            reader.job("", &Node::Text("build".to_owned()), None, &[])?;
        }
        None => {}
    }
    Ok(reader.jobs.all)
}

struct Reader<'a> {
    root: &'a Node,
    scope: Scope<'a>,
    given: &'a Values,
    files: Files,
    jobs: Jobs,
}

impl Reader<'_> {
    fn workflow(&mut self, name: &str, workflow: &Node) -> Result<(), Error> {
        let mut left_out = None;
        let mut notes = Vec::new();
        let scheduled = |trigger: &Node| trigger.get("schedule").is_some();
        if workflow.get("triggers").is_some_and(|triggers| triggers.items().iter().all(scheduled)) {
            left_out = Some(format!("its workflow `{name}` runs on a schedule"));
        }
        for key in ["when", "unless"] {
            match workflow.get(key).map(|condition| self.scope.holds(condition)) {
                Some(Some(holds)) if holds == (key == "unless") => {
                    left_out = Some(format!("the condition of its workflow `{name}` does not hold"));
                }
                Some(None) => {
                    notes.push(format!("the condition of its workflow `{name}` could not be decided"))
                }
                _ => {}
            }
        }
        for node in workflow.get("jobs").map(Node::items).unwrap_or_default() {
            self.job(name, node, left_out.as_deref(), &notes)?;
        }
        Ok(())
    }

    /// A job of a workflow, with all rows of its matrix.
    fn job(
        &mut self,
        workflow: &str,
        node: &Node,
        left_out: Option<&str>,
        notes: &[String],
    ) -> Result<(), Error> {
        let (key, with) = match (node.scalar(), node.entries().first()) {
            (Some(key), _) => (key, Node::Null),
            (None, Some((key, with))) => (key.clone(), self.scope.filled_but_matrix(with)),
            (None, None) => return Ok(()),
        };
        if with.get("type").and_then(Node::scalar).is_some_and(|kind| kind == "approval") {
            return Ok(());
        }
        let line = match self.files.line_of(FILE, "jobs", &key) {
            0 => self.files.line_of_item(FILE, &key),
            line => line,
        };
        let refused = |message: String| Error::meaning(FILE, line, format!("job `{key}`: {message}"));
        let rows = rows(&with).ok_or_else(|| refused("its matrix has more than 256 rows".to_owned()))?;
        let branch = self.scope.known.get("CIRCLE_BRANCH").cloned();
        for row in rows {
            let mut scope = self.scope.clone();
            scope.matrix = Node::Map(row.clone());
            let given = scope.filled(&with);
            let own =
                given.entries().iter().filter(|(name, _)| !OF_WORKFLOWS.contains(&name.as_str())).cloned();
            let with = Node::Map(own.chain(row.iter().cloned()).collect());
            let named = given.get("name").and_then(Node::scalar);
            let values = row.iter().filter_map(|(_, value)| value.scalar());
            let name = named
                .unwrap_or_else(|| std::iter::once(key.clone()).chain(values).collect::<Vec<_>>().join("-"));
            let mut job = self.one(&key, &with, &scope).map_err(refused)?;
            job.name = name;
            job.line = line;
            job.left_out = left_out.map(str::to_owned);
            let filters = given.get("filters").and_then(|filters| filters.get("branches"));
            if let Some(branch) = branch.as_deref().filter(|branch| filtered(filters, branch)) {
                job.left_out = Some(format!("it does not run on the branch `{branch}`"));
            }
            job.notes.extend(notes.iter().cloned());
            self.add(job, workflow)?;
        }
        Ok(())
    }

    /// Several workflows may have the same job.
    fn add(&mut self, mut job: Job, workflow: &str) -> Result<(), Error> {
        if let Some(there) = self.jobs.all.iter_mut().find(|it| it.name == job.name) {
            if (&there.steps, &there.variables) == (&job.steps, &job.variables) {
                there.left_out = there.left_out.take().filter(|_| job.left_out.is_some());
                return Ok(());
            }
            job.name = format!("{workflow}/{}", job.name);
        }
        self.jobs.push(job)
    }

    fn one(&self, key: &str, with: &Node, scope: &Scope<'_>) -> Result<Job, String> {
        let mut job = Job {
            provider: Provider::CircleCi,
            file: FILE.to_owned(),
            line: 0,
            key: key.to_owned(),
            name: String::new(),
            variables: vec![("CIRCLE_JOB".to_owned(), key.to_owned())],
            steps: Vec::new(),
            notes: Vec::new(),
            left_out: None,
        };
        let mut walk = |folder: String, variables: Variables, run: &dyn Fn(&mut Walk<'_>)| {
            let mut walk = Walk::new(self.root, folder, self.given);
            run(&mut walk);
            job.variables.extend(variables);
            (job.steps, job.notes) = (std::mem::take(&mut walk.steps), std::mem::take(&mut walk.notes));
        };
        let (home, name) = match key.split_once('/') {
            Some((orb_name, name)) => match orb(self.root, orb_name) {
                Orb::Inline(orb) => (Some(orb), name),
                _ => {
                    let is_own = steps::is_own_job(self.root, key);
                    walk(String::new(), Vec::new(), &|walk| {
                        if is_own { walk.own(key, with, scope) } else { walk.foreign(key) }
                    });
                    return Ok(job);
                }
            },
            None => (None, key),
        };
        let jobs = home.unwrap_or(self.root).get("jobs");
        let node = jobs.and_then(|jobs| jobs.get(name)).ok_or("a workflow names it, and it is not there")?;
        let inner = scope.with(parameters(node.get("parameters"), with, scope));
        let body = |name: &str| inner.filled(node.get(name).unwrap_or(&Node::Null));
        let executor = self.executor(&body("executor"), home, &inner);
        let mut all = variables(executor.get("environment"), self.given);
        all.extend(variables(Some(&body("environment")), self.given));
        let folder =
            body("working_directory").scalar().or(executor.get("working_directory").and_then(Node::scalar));
        let steps = node.get("steps").unwrap_or(&Node::Null);
        walk(folder.unwrap_or_else(|| FOLDER.to_owned()), all, &|walk| walk.all(steps, &inner, home));
        Ok(job)
    }

    /// The executor of a job: a name, or a name with parameters.
    fn executor(&self, chosen: &Node, home: Option<&Node>, scope: &Scope<'_>) -> Node {
        let Some(name) = chosen.scalar().or_else(|| chosen.get("name")?.scalar()) else { return Node::Null };
        let (home, name) = match name.split_once('/') {
            Some((orb_name, name)) => match orb(self.root, orb_name) {
                Orb::Inline(orb) => (orb, name.to_owned()),
                _ => return Node::Null,
            },
            None => (home.unwrap_or(self.root), name),
        };
        let Some(executor) = home.get("executors").and_then(|executors| executors.get(&name)) else {
            return Node::Null;
        };
        scope.with(parameters(executor.get("parameters"), chosen, scope)).filled(executor)
    }
}

impl Scope<'_> {
    /// What a workflow says of a job, with the names of its matrix left for each row.
    fn filled_but_matrix(&self, with: &Node) -> Node {
        match with.get("matrix") {
            Some(_) => with.clone(),
            None => self.filled(with),
        }
    }
}

/// Parameters: those that are handed over, else what the starter gives (of the pipeline's), else their defaults.
fn parameters(declared: Option<&Node>, with: &Node, scope: &Scope<'_>) -> Node {
    let value = |(name, declared): &(String, Node)| {
        let value = with.get(name).cloned().or_else(|| Some(scope.filled(declared.get("default")?)));
        Some((name.clone(), value?))
    };
    Node::Map(declared.map(Node::entries).unwrap_or_default().iter().filter_map(value).collect())
}

/// The rows of a job's matrix; one without values for a job that has none, `None` when there are too many.
fn rows(job: &Node) -> Option<Vec<Vec<(String, Node)>>> {
    let Some(matrix) = job.get("matrix") else { return Some(vec![Vec::new()]) };
    let axis = |(name, node): &(String, Node)| (name.clone(), node.items().to_vec());
    let axes: Vec<_> =
        matrix.get("parameters").map(Node::entries).unwrap_or_default().iter().map(axis).collect();
    let mut rows = product(&axes)?;
    let excluded = matrix.get("exclude").map(Node::items).unwrap_or_default();
    rows.retain(|row| {
        let same = |(name, value): &(String, Node)| {
            row.iter().any(|(it, own)| it == name && own.scalar() == value.scalar())
        };
        !excluded.iter().any(|entry| entry.entries().iter().all(same))
    });
    Some(rows)
}

/// Whether a job's filter leaves a branch out. Names, and patterns between slashes that match a whole name.
fn filtered(filter: Option<&Node>, branch: &str) -> bool {
    let fits = |node: &Node| {
        node.items().iter().filter_map(Node::scalar).any(|it| {
            match it.strip_prefix('/').and_then(|it| it.strip_suffix('/')) {
                Some(pattern) => template::matches(pattern, branch) == Some(true),
                None => it == branch,
            }
        })
    };
    let Some(filter) = filter else { return false };
    filter.get("only").is_some_and(|only| !fits(only)) || filter.get("ignore").is_some_and(fits)
}

/// An `environment:` mapping. What the pipeline's starter gives stands above it.
fn variables(environment: Option<&Node>, given: &Values) -> Variables {
    let maps = match environment {
        Some(Node::List(items)) => items.as_slice(),
        Some(node) => std::slice::from_ref(node),
        None => &[],
    };
    let variable = |(name, node): &(String, Node)| {
        let value = given.get(name).cloned().or_else(|| node.scalar()).unwrap_or_default();
        (name.clone(), value)
    };
    maps.iter().flat_map(Node::entries).map(variable).collect()
}

#[cfg(test)]
mod tests;
