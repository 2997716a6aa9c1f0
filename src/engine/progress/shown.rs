//! What is shown of one vertex, or of one group of vertices: its lines in plain text, and what of it is still unsaid.
//! The other half of the port of progressui; which vertex has the word is decided in `render`.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use crate::engine::progress::intervals::Intervals;
use crate::model::event::{Group, Vertex};

/// As many lines of output are shown once more when a vertex fails.
const LAST_LINES: usize = 10;

/// As much of such a line is kept.
const LONGEST_LAST_LINE: usize = 4096;

/// As many sub-tasks as are kept of one vertex, and as many members of a group.
const MOST_STATUSES: usize = 1 << 12;

/// A sub-task that goes on is shown again after so much time, or so much of its whole.
const STATUS_TIME: Duration = Duration::from_secs(5);
const STATUS_SHARE: f64 = 0.05;

/// One vertex, or one group.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) name: String,
    /// Its number in the text; 0 before it was first shown.
    pub(super) number: u32,
    pub(super) intervals: Intervals,
    pub(super) warnings: Vec<String>,
    /// Events since it last had the word, and when the first of them came.
    pub(super) count: u32,
    pub(super) since: Duration,
    cached: bool,
    error: Option<String>,
    failure_is_shown: bool,
    statuses: Vec<Status>,
    status_by_id: HashMap<String, usize>,
    /// Lines of output that were not shown yet.
    logs: Vec<String>,
    /// How much output that is.
    waiting: usize,
    /// The unfinished line that was shown last.
    partial: Option<String>,
    last_lines: VecDeque<String>,
    members: Option<Members>,
}

/// What a group is made of.
#[derive(Debug, Default)]
struct Members {
    cached: HashMap<String, bool>,
    /// Whether a member that counts was started.
    revealed: bool,
}

/// A sub-task.
#[derive(Debug)]
pub(super) struct Status {
    id: String,
    current: u64,
    total: u64,
    started: Option<Duration>,
    at: Option<Duration>,
    completed: bool,
    is_news: bool,
    /// What was true when it was last shown.
    shown: Option<(u64, Option<Duration>)>,
}

impl Status {
    /// `times`: its start, the time of this news, and whether that is its end.
    pub(super) fn new(
        id: &str,
        current: u64,
        total: u64,
        times: (Option<Duration>, Option<Duration>, bool),
    ) -> Self {
        let (started, at, completed) = times;
        Status { id: id.to_owned(), current, total, started, at, completed, is_news: true, shown: None }
    }

    /// Whether there is news, and enough of it since it was last shown.
    fn is_due(&self) -> bool {
        if !self.is_news {
            return false;
        }
        let Some((current, at)) = self.shown.filter(|_| !self.completed) else { return true };
        let share = self.current.saturating_sub(current) as f64 / self.total.max(1) as f64;
        let time = self.at.zip(at).map_or(Duration::ZERO, |(now, then)| now.saturating_sub(then));
        (self.total > 0 && share >= STATUS_SHARE) || time >= STATUS_TIME
    }

    fn print(&mut self, out: &mut String, number: u32) {
        self.shown = Some((self.current, self.at));
        let _ = write!(out, "#{number} {}", self.id);
        if self.total > 0 {
            let _ = write!(out, " {} / {}", bytes(self.current), bytes(self.total));
        } else if self.current > 0 {
            let _ = write!(out, " {}", bytes(self.current));
        }
        let length = self.at.zip(self.started).map(|(at, started)| at.saturating_sub(started).as_secs_f64());
        if let Some(length) = length.filter(|length| *length > 0.01) {
            let _ = write!(out, " {length:.1}s");
        }
        out.push_str(if self.completed { " done\n" } else { "\n" });
    }
}

impl Known {
    /// Takes in what is known of the vertex. True if that is news.
    pub(super) fn vertex(&mut self, vertex: &Vertex) -> bool {
        if vertex.started.is_none() && self.intervals.first().is_some() {
            // A vertex is named once more when another part of the build turns out to need it.
            return false;
        }
        let mut news = self.name != vertex.name || self.cached != vertex.cached || self.error != vertex.error;
        self.name.clone_from(&vertex.name);
        self.cached = vertex.cached;
        self.error.clone_from(&vertex.error);
        let Some(started) = vertex.started else { return false };
        news |= self.intervals.insert(started, vertex.completed);
        news
    }

    /// Takes in what is known of one of a group's vertices. True if that is news.
    pub(super) fn member(&mut self, vertex: &Vertex, group: &Group) -> bool {
        let members = self.members.get_or_insert_with(Members::default);
        self.name.clone_from(&group.name);
        if members.cached.len() < MOST_STATUSES || members.cached.contains_key(&vertex.key) {
            members.cached.insert(vertex.key.clone(), vertex.cached);
        }
        let cached = members.cached.values().all(|cached| *cached);
        let mut news = std::mem::replace(&mut self.cached, cached) != cached;
        let was_revealed = members.revealed;
        members.revealed |= (vertex.started.is_some() && !group.weak) || vertex.error.is_some();
        news |= members.revealed && !was_revealed;
        if self.error.is_none() && vertex.error.is_some() {
            self.error.clone_from(&vertex.error);
            news = true;
        }
        if let Some(started) = vertex.started {
            news |= self.intervals.insert(started, vertex.completed);
        }
        news
    }

    pub(super) fn status(&mut self, mut status: Status) {
        match self.status_by_id.get(&status.id) {
            Some(index) => {
                status.shown = self.statuses[*index].shown;
                self.statuses[*index] = status;
            }
            None if self.statuses.len() < MOST_STATUSES => {
                self.status_by_id.insert(status.id.clone(), self.statuses.len());
                self.statuses.push(status);
            }
            None => {}
        }
    }

    /// Output, with the time since the vertex was last started before each line.
    pub(super) fn log(&mut self, data: &[u8], at: Option<Duration>) {
        let start = self.intervals.last().map(|span| span.start);
        let seconds = at.zip(start).map_or(0.0, |(at, start)| at.saturating_sub(start).as_secs_f64());
        let precision = if seconds < 10.0 {
            3
        } else if seconds < 100.0 {
            2
        } else {
            1
        };
        self.waiting += data.len();
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(piece);
            // What was written without a line's end is continued.
            let continues_shown = self.logs.is_empty() && self.partial.is_some();
            match self.logs.last_mut() {
                Some(line) if !line.ends_with('\n') => line.push_str(&text),
                None if continues_shown => self.logs.push(text.into_owned()),
                _ => self.logs.push(format!("{seconds:.precision$} {text}")),
            }
        }
    }

    /// How much output waits to be shown, in bytes.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Counts an event, for the choice of who has the word next.
    pub(super) fn note(&mut self, now: Duration) {
        if self.count == 0 {
            self.since = now;
        }
        self.count = self.count.saturating_add(1);
    }

    /// Whether it may be shown: a group only when a member that counts was started.
    pub(super) fn is_revealed(&self) -> bool {
        self.members.as_ref().is_none_or(|members| members.revealed)
    }

    /// Whether it ended in the middle of a line.
    pub(super) fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Leaves the unfinished line as it is; what follows begins a new one.
    pub(super) fn forget_partial(&mut self) {
        if let Some(line) = self.partial.take() {
            self.remember(line);
        }
    }

    /// Closes its block because another vertex gets the word.
    pub(super) fn print_pause(&mut self, out: &mut String) {
        if self.partial.is_some() {
            out.push('\n');
            self.forget_partial();
        }
        self.count = 0;
        let _ = writeln!(out, "#{} ...", self.number);
    }

    /// Shows everything unsaid. True if it ended, and with it its block.
    pub(super) fn print_news(&mut self, out: &mut String) -> bool {
        let number = self.number;
        let mut is_open = false;
        // A line of output that has not ended is cut where something else is to be said.
        if self.partial.is_some() && (!self.warnings.is_empty() || self.statuses.iter().any(Status::is_due)) {
            out.push('\n');
            self.forget_partial();
        }
        for status in &mut self.statuses {
            if status.is_due() {
                status.print(out, number);
                is_open |= !status.completed;
            }
            status.is_news = false;
        }
        for warning in std::mem::take(&mut self.warnings) {
            let _ = writeln!(out, "#{number} WARN: {warning}");
        }
        self.print_logs(out);
        if !self.intervals.is_completed() || is_open {
            return false;
        }
        if self.partial.is_some() {
            out.push('\n');
            self.forget_partial();
        }
        self.count = 0;
        let _ = match &self.error {
            Some(error) if error.ends_with("context canceled") => writeln!(out, "#{number} CANCELED"),
            Some(error) => writeln!(out, "#{number} ERROR: {error}"),
            None if self.cached => writeln!(out, "#{number} CACHED"),
            None => writeln!(out, "#{number} DONE {:.1}s", self.intervals.total().as_secs_f64()),
        };
        true
    }

    fn print_logs(&mut self, out: &mut String) {
        self.waiting = 0;
        for text in std::mem::take(&mut self.logs) {
            if self.partial.is_none() {
                let _ = write!(out, "#{} ", self.number);
            }
            out.push_str(&text);
            let mut line = self.partial.take().unwrap_or_default();
            let ended = text.ends_with('\n');
            if line.len() < LONGEST_LAST_LINE {
                line.extend(text.trim_end_matches('\n').chars().take(LONGEST_LAST_LINE));
            }
            if ended {
                self.remember(line);
            } else {
                self.partial = Some(line);
            }
        }
    }

    fn remember(&mut self, line: String) {
        if self.last_lines.len() == LAST_LINES {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line);
    }

    /// Once, where it failed: its name and its last output.
    pub(super) fn print_failure(&mut self, out: &mut String) {
        let failed = self.error.as_ref().is_some_and(|error| !error.ends_with("context canceled"));
        if !failed || std::mem::replace(&mut self.failure_is_shown, true) {
            return;
        }
        let _ = writeln!(out, "------\n > {}:", self.name);
        for line in &self.last_lines {
            let _ = writeln!(out, "{line}");
        }
        out.push_str("------\n");
    }
}

/// `1.08MB`, `697B`.
fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["", "k", "M", "G"] {
        if value < 1000.0 {
            return if unit.is_empty() { format!("{count}B") } else { format!("{value:.2}{unit}B") };
        }
        value /= 1000.0;
    }
    format!("{value:.2}TB")
}
