//! Where a build stands in its file. YAML's readers tell no lines; the texts are looked for, in the order of the steps.

use std::collections::BTreeMap;

use crate::ciconfig::{Job, Step};

/// Texts that are shorter are found anywhere.
const SHORTEST: usize = 4;

/// The places of one job's steps.
pub struct Places<'a> {
    job: &'a Job,
    load: &'a dyn Fn(&str) -> Option<String>,
    /// Lines of a file, and the line that the search goes on from, from 0.
    files: BTreeMap<String, (Vec<String>, usize)>,
}

impl<'a> Places<'a> {
    /// `load` gives the text of a file.
    pub fn new(job: &'a Job, load: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Places { job, load, files: BTreeMap::new() }
    }

    /// `file:line` of a step that calls something.
    pub fn of_step(&mut self, step: &Step) -> String {
        self.find(step, &step.source)
    }

    /// `file:line` of a line of a step's script. `text` is the script with its values.
    pub fn of_line(&mut self, step: &Step, text: &str, line: &str) -> String {
        let at = text.lines().position(|it| it.trim() == line);
        let same = step.source.lines().count() == text.lines().count();
        let written = at.filter(|_| same).and_then(|at| step.source.lines().nth(at)).map_or(line, str::trim);
        self.find(step, written)
    }

    fn find(&mut self, step: &Step, written: &str) -> String {
        let name = if step.file.is_empty() { &self.job.file } else { &step.file };
        let load = self.load;
        // A line that several builds stand in is found again: the search goes on from it, not from behind it.
        let begin = if step.file.is_empty() { self.job.line.saturating_sub(1) } else { 0 };
        let (lines, from) = self
            .files
            .entry(name.clone())
            .or_insert_with(|| (load(name).unwrap_or_default().lines().map(str::to_owned).collect(), begin));
        let is = |line: &String| {
            let line = line.trim();
            // Of a text in several lines, `>-`, only the first is there.
            let begins = line.len() >= SHORTEST
                && written.strip_prefix(line).is_some_and(|rest| rest.starts_with(char::is_whitespace));
            !written.is_empty() && (line.contains(written) || begins)
        };
        // A matrix, and an action that is called twice, come back to where they were.
        let ahead = (*from..lines.len()).find(|index| is(&lines[*index]));
        match ahead.or_else(|| (begin..*from).find(|index| is(&lines[*index]))) {
            Some(index) => {
                *from = index;
                format!("{name}:{}", index + 1)
            }
            None => format!("{}:{}", self.job.file, self.job.line),
        }
    }
}
