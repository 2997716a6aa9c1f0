//! Events as BuildKit's own plain text: what `--progress plain` would have shown, for a client that was run with
//! `--progress rawjson`. A port of buildkit's progressui (`printer.go`, `display.go`).
//!
//! One vertex at a time has the word. It keeps it until it ends, or until another one has waited for long enough in
//! proportion to what both have to say; then the block closes with `...`. Two things that the client leaves out with
//! rawjson are added as plain text has them, before the first line of the client's own at the end: the last output of
//! what failed, and the list of warnings.
//!
//! Different on purpose: a vertex that was cached and then fetched says `CACHED`, not `DONE`, and warnings are listed
//! without colour.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use crate::engine::progress::shown::{Known, Status};
use crate::model::event::{Event, Vertex};

/// As many vertices as are shown.
const MOST_VERTICES: usize = 1 << 16;

/// As many warnings as are listed at the end.
const MOST_WARNINGS: usize = 1000;

/// A vertex with so much unshown output, in bytes, gets the word at once, so that memory is bounded.
const MOST_WAITING: usize = 1 << 20;

/// Updates are gathered for so long, so that short sub-tasks are shown once, when they have ended.
const GATHER: Duration = Duration::from_millis(100);

/// How long a vertex keeps the word at least (progressui `antiFlicker`), and how long another one waits at most.
const LEAST_TURN: f64 = 5.0;
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Shows one build.
#[derive(Debug, Default)]
pub struct Renderer {
    description: Option<String>,
    vertices: Vec<Known>,
    by_key: HashMap<String, usize>,
    /// Which vertices have something new to say.
    updated: BTreeSet<usize>,
    /// Who has the word.
    current: Option<usize>,
    /// Whether anything was shown.
    begun: bool,
    /// The last number that was given.
    number: u32,
    printed: Option<Duration>,
    warnings: Vec<String>,
}

impl Renderer {
    /// `description` stands at the top: `building with "default" instance using docker driver`.
    pub fn new(description: Option<String>) -> Self {
        Renderer { description, ..Renderer::default() }
    }

    /// Takes in an event at `now`, the time since the build began; gives the text to show, often none.
    pub fn push(&mut self, event: &Event, now: Duration) -> String {
        match event {
            Event::Vertex(vertex) => self.vertex(vertex, now),
            Event::Status { vertex, id, current, total, started, at, completed } => {
                if let Some(index) = self.by_key.get(vertex).copied() {
                    let known = &mut self.vertices[index];
                    known.status(Status::new(id, *current, *total, (*started, *at, *completed)));
                    known.note(now);
                    self.updated.insert(index);
                }
            }
            Event::Log { vertex, data, at } => {
                if let Some(index) = self.by_key.get(vertex).copied() {
                    self.vertices[index].log(data, *at);
                    self.vertices[index].note(now);
                    self.updated.insert(index);
                    if self.vertices[index].waiting() > MOST_WAITING {
                        let mut out = String::new();
                        self.print_vertex(&mut out, index);
                        return out;
                    }
                }
            }
            Event::Warning { vertex, message } => {
                let index = vertex.as_ref().and_then(|vertex| self.by_key.get(vertex)).copied();
                if let Some(known) = index.and_then(|index| self.vertices.get_mut(index)) {
                    known.warnings.push(message.clone());
                    known.note(now);
                }
                if self.warnings.len() < MOST_WARNINGS && !self.warnings.contains(message) {
                    self.warnings.push(message.clone());
                }
            }
            Event::Line { text } => {
                let mut out = self.finish();
                out.push_str(text);
                out.push('\n');
                return out;
            }
        }
        self.tick(now)
    }

    /// Gives the text that was held back, at most ten times a second. To be called now and then while nothing happens.
    pub fn tick(&mut self, now: Duration) -> String {
        if self.printed.is_some_and(|printed| now < printed + GATHER) {
            return String::new();
        }
        self.printed = Some(now);
        let mut out = String::new();
        self.print(&mut out, now);
        out
    }

    /// Gives everything that was held back, and what stands at a build's end. Lines of the client do the same.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        let now = self.printed.unwrap_or_default();
        self.print(&mut out, now);
        if let Some(current) = self.current.filter(|current| self.vertices[*current].is_partial()) {
            out.push('\n');
            self.vertices[current].forget_partial();
        }
        for known in self.vertices.iter_mut().filter(|known| known.is_revealed()) {
            known.print_failure(&mut out);
        }
        let warnings = std::mem::take(&mut self.warnings);
        if !warnings.is_empty() {
            let noun = if warnings.len() == 1 {
                "1 warning".to_owned()
            } else {
                format!("{} warnings", warnings.len())
            };
            let _ = writeln!(out, "\n {noun} found (use docker --debug to expand):");
            warnings.iter().for_each(|warning| {
                let _ = writeln!(out, " - {warning}");
            });
        }
        out
    }

    fn slot(&mut self, key: &str) -> Option<usize> {
        if let Some(index) = self.by_key.get(key) {
            return Some(*index);
        }
        if self.vertices.len() >= MOST_VERTICES {
            return None;
        }
        self.vertices.push(Known::default());
        self.by_key.insert(key.to_owned(), self.vertices.len() - 1);
        Some(self.vertices.len() - 1)
    }

    fn vertex(&mut self, vertex: &Vertex, now: Duration) {
        let index = match &vertex.group {
            None => self.slot(&vertex.key),
            Some(group) => {
                // A group's key is no vertex's: BuildKit makes it at random, without the `sha256:` of a digest.
                let index = self.slot(&group.key);
                if let Some(index) = index.filter(|_| self.by_key.len() < 2 * MOST_VERTICES) {
                    self.by_key.insert(vertex.key.clone(), index);
                }
                index
            }
        };
        let Some(index) = index else { return };
        let known = &mut self.vertices[index];
        let changed = match &vertex.group {
            None => known.vertex(vertex),
            Some(group) => known.member(vertex, group),
        };
        if changed {
            known.note(now);
            self.updated.insert(index);
        }
    }

    /// progressui `textMux.print`.
    fn print(&mut self, out: &mut String, now: Duration) {
        let revealed = self.updated.iter().copied().filter(|index| self.vertices[*index].is_revealed());
        let (mut completed, mut rest): (Vec<usize>, Vec<usize>) =
            revealed.partition(|index| self.vertices[*index].intervals.is_completed());
        rest.retain(|index| self.vertices[*index].intervals.first().is_some());
        let before = self.current;
        completed.sort_by_key(|index| self.vertices[*index].intervals.last().and_then(|span| span.stop));
        completed.sort_by_key(|index| Some(*index) != before);
        for index in &completed {
            self.print_vertex(out, *index);
        }
        if rest.is_empty() {
            let is_open = |known: &Known| known.intervals.last().is_some_and(|span| span.stop.is_none());
            if before.is_none_or(|index| !is_open(&self.vertices[index])) {
                let open = self.vertices.iter().position(|known| is_open(known) && known.is_revealed());
                if let Some(index) = open {
                    self.print_vertex(out, index);
                }
            }
            return;
        }
        if let Some(index) = before.filter(|index| rest.contains(index)) {
            self.print_vertex(out, index);
        }
        self.give_turn(out, now, before, rest, &completed);
    }

    /// Lets another vertex have the word where that is due.
    fn give_turn(
        &mut self,
        out: &mut String,
        now: Duration,
        before: Option<usize>,
        mut rest: Vec<usize>,
        completed: &[usize],
    ) {
        if let Some(index) = before.filter(|index| !rest.contains(index)) {
            rest.push(index);
        }
        let waited = |index: usize| now.saturating_sub(self.vertices[index].since);
        let speed =
            |index: usize| f64::from(self.vertices[index].count) / waited(index).as_secs_f64().max(0.001);
        let over = |index: usize| Some(index) != before && waited(index) > LONGEST_WAIT;
        let Some(busiest) = rest.iter().copied().max_by(|a, b| {
            over(*a).cmp(&over(*b)).then_with(|| speed(*a).total_cmp(&speed(*b))).then_with(|| b.cmp(a))
        }) else {
            return;
        };
        let Some(current) = before.filter(|index| !completed.contains(index)) else {
            self.print_vertex(out, busiest);
            return;
        };
        let share = speed(current) / rest.iter().map(|index| speed(*index)).sum::<f64>();
        if over(busiest) || LEAST_TURN / (1.0 - share) < waited(current).as_secs_f64() {
            self.print_vertex(out, busiest);
        }
    }

    /// progressui `textMux.printVtx`.
    fn print_vertex(&mut self, out: &mut String, index: usize) {
        self.updated.remove(&index);
        if self.vertices[index].number == 0 {
            self.number += 1;
            self.vertices[index].number = self.number;
        }
        if self.current != Some(index) {
            if let Some(old) = self.current {
                self.vertices[old].print_pause(out);
            }
            if std::mem::replace(&mut self.begun, true) {
                out.push('\n');
            } else if let Some(description) = self.description.take() {
                let _ = writeln!(out, "#0 {description}\n");
            }
            let known = &self.vertices[index];
            let _ = writeln!(out, "#{} {}", known.number, known.name);
        }
        self.current = if self.vertices[index].print_news(out) { None } else { Some(index) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertex(key: &str, started: u64, completed: Option<u64>) -> Event {
        Event::Vertex(Vertex {
            key: key.to_owned(),
            name: format!("[{key} 1/1] RUN {key}"),
            started: Some(Duration::from_secs(started)),
            completed: completed.map(Duration::from_secs),
            ..Vertex::default()
        })
    }

    fn log(key: &str, at: u64, text: &str) -> Event {
        Event::Log {
            vertex: key.to_owned(),
            data: text.as_bytes().to_vec(),
            at: Some(Duration::from_secs(at)),
        }
    }

    /// Shows events that come at the given seconds.
    fn show(events: &[(u64, Event)]) -> String {
        let mut renderer = Renderer::new(None);
        let mut out = String::new();
        for (second, event) in events {
            out.push_str(&renderer.push(event, Duration::from_secs(*second)));
        }
        out + &renderer.finish()
    }

    #[test]
    fn one_vertex_has_the_word_until_another_has_waited_for_long() {
        let shown = show(&[
            (1, vertex("a", 1, None)),
            (2, vertex("b", 2, None)),
            (3, log("b", 3, "b waits\n")),
            (4, log("a", 4, "a has the word\n")),
            (14, log("b", 14, "b has waited\n")),
            (15, vertex("a", 1, Some(15))),
            (16, vertex("b", 2, Some(16))),
        ]);
        insta::assert_snapshot!(shown, @r##"
    #1 [a 1/1] RUN a
    #1 3.000 a has the word
    #1 ...

    #2 [b 1/1] RUN b
    #2 1.000 b waits
    #2 12.00 b has waited
    #2 ...

    #1 [a 1/1] RUN a
    #1 DONE 14.0s

    #2 [b 1/1] RUN b
    #2 DONE 14.0s
    "##);
    }

    #[test]
    fn lines_that_come_in_parts_are_one() {
        let shown = show(&[
            (1, vertex("a", 1, None)),
            (2, log("a", 2, "50%")),
            (3, log("a", 3, " 100%\nnext")),
            (4, log("a", 4, " line")),
            (5, vertex("a", 1, Some(5))),
        ]);
        insta::assert_snapshot!(shown, @r##"
    #1 [a 1/1] RUN a
    #1 1.000 50% 100%
    #1 2.000 next line
    #1 DONE 4.0s
    "##);
    }

    #[test]
    fn what_the_client_leaves_out_is_added_before_its_own_lines() {
        let failed = |key: &str, error: &str| match vertex(key, 1, Some(2)) {
            Event::Vertex(vertex) => Event::Vertex(Vertex { error: Some(error.to_owned()), ..vertex }),
            other => other,
        };
        let warning =
            |message: &str| Event::Warning { vertex: Some("a".into()), message: message.to_owned() };
        let mut events = vec![(1, vertex("a", 1, None)), (1, vertex("b", 1, None))];
        events.extend((1..=12).map(|line| (1, log("a", 1, &format!("line {line}\n")))));
        events.extend([(2, warning("odd")), (2, warning("odd")), (2, warning("strange"))]);
        events.extend([(3, failed("a", "exit code: 1")), (3, failed("b", "context canceled"))]);
        events.push((4, Event::Line { text: "ERROR: failed to solve".into() }));
        insta::assert_snapshot!(show(&events), @r##"
    #1 [a 1/1] RUN a
    #1 WARN: odd
    #1 0.000 line 1
    #1 0.000 line 2
    #1 0.000 line 3
    #1 0.000 line 4
    #1 0.000 line 5
    #1 0.000 line 6
    #1 0.000 line 7
    #1 0.000 line 8
    #1 0.000 line 9
    #1 0.000 line 10
    #1 0.000 line 11
    #1 0.000 line 12
    #1 WARN: odd
    #1 WARN: strange
    #1 ERROR: exit code: 1

    #2 [b 1/1] RUN b
    #2 CANCELED
    ------
     > [a 1/1] RUN a:
    0.000 line 3
    0.000 line 4
    0.000 line 5
    0.000 line 6
    0.000 line 7
    0.000 line 8
    0.000 line 9
    0.000 line 10
    0.000 line 11
    0.000 line 12
    ------

     2 warnings found (use docker --debug to expand):
     - odd
     - strange
    ERROR: failed to solve
    "##);
    }

    #[test]
    fn a_sub_task_is_shown_when_it_has_moved() {
        let status = |second: u64, current: u64, completed: bool| Event::Status {
            vertex: "a".into(),
            id: "sha256:1".into(),
            current,
            total: 1_000_000,
            started: Some(Duration::from_secs(1)),
            at: Some(Duration::from_secs(second)),
            completed,
        };
        let shown = show(&[
            (1, vertex("a", 1, None)),
            (2, status(2, 1000, false)),
            (3, status(3, 2000, false)),
            (4, status(4, 500_000, false)),
            (9, status(9, 500_001, false)),
            (10, status(10, 1_000_000, true)),
            (11, vertex("a", 1, Some(11))),
        ]);
        insta::assert_snapshot!(shown, @r##"
    #1 [a 1/1] RUN a
    #1 sha256:1 1.00kB / 1.00MB 1.0s
    #1 sha256:1 500.00kB / 1.00MB 3.0s
    #1 sha256:1 500.00kB / 1.00MB 8.0s
    #1 sha256:1 1.00MB / 1.00MB 9.0s done
    #1 DONE 10.0s
    "##);
    }
}
