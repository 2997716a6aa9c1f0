//! One vertex of a running build: what it does, what it fetches, what it says.
//!
//! Its output is kept, within bounds, until it ended well, so that a failed step can be shown with all that it said.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::base::units;
use crate::model::event::Vertex;
use crate::report::line::{Paint, clean, cut, fit, strip};

/// Bytes that are kept of one step's output, the end of it.
pub(super) const KEPT: usize = 256 * 1024;

/// A line longer than this is cut into several.
pub(super) const LONGEST_LINE: usize = 8 * 1024;

/// Layers that are followed; the bar of a step with more of them is incomplete.
pub(super) const LAYERS: usize = 4096;

/// Columns of a download's bar.
const BAR: usize = 24;

/// One vertex.
#[derive(Debug, Default)]
pub(super) struct Task {
    pub(super) vertex: Vertex,
    /// When it began to run, on our own clock.
    since: Duration,
    /// Bytes so far and in all, by layer.
    pub(super) layers: BTreeMap<String, (u64, u64)>,
    /// What it does besides: `transferring context: 1.2 MB`.
    doing: String,
    /// Complete lines of its output.
    pub(super) log: VecDeque<String>,
    /// Their bytes.
    pub(super) kept: usize,
    /// The line that has no end yet.
    pub(super) partial: Vec<u8>,
    /// How many lines were dropped from the begin.
    dropped: usize,
    /// Whether it has ended once.
    told: bool,
}

impl Task {
    /// `[build 2/4]`, for a step of the Dockerfile.
    fn number(&self) -> Option<&str> {
        let end = self.vertex.name.find(']')?;
        let (number, of) = self.vertex.name[..end].rsplit(['[', ' ']).next()?.split_once('/')?;
        let is_number = number.parse::<u32>().is_ok() && of.parse::<u32>().is_ok();
        is_number.then_some(&self.vertex.name[..=end])
    }

    /// What its output is marked with: its number, or its name.
    pub(super) fn label(&self) -> &str {
        self.number().unwrap_or(&self.vertex.name)
    }

    /// Whether it counts as a step. `COPY --link` makes two vertices of one step; the second is named `LINK COPY`
    /// (BUILDKIT.md 4).
    pub(super) fn is_step(&self) -> bool {
        self.number().is_some_and(|number| !self.vertex.name[number.len()..].starts_with(" LINK "))
    }

    /// BuildKit starts a cached vertex again when its layers are needed after all.
    pub(super) fn is_running(&self) -> bool {
        match (self.vertex.started, self.vertex.completed) {
            (Some(started), Some(completed)) => completed < started,
            (started, None) => started.is_some(),
            (None, Some(_)) => false,
        }
    }

    /// Takes what is newly known, and gives the lines that are to stay on the screen.
    pub(super) fn update(&mut self, news: &Vertex, now: Duration, verbose: bool) -> Vec<String> {
        let (was_running, had_failed) = (self.is_running(), self.vertex.error.is_some());
        let vertex = &mut self.vertex;
        if !news.name.is_empty() {
            vertex.name = clean(&news.name);
        }
        vertex.started = news.started.or(vertex.started);
        vertex.completed = news.completed.or(vertex.completed);
        vertex.cached |= news.cached;
        vertex.error = news.error.clone().or(vertex.error.take());

        let mut lines = Vec::new();
        if self.is_running() {
            if !was_running {
                self.since = now;
                lines.extend(verbose.then(|| self.vertex.name.clone()));
            }
            return lines;
        }
        if self.vertex.completed.is_none() && self.vertex.error.is_none() {
            return lines;
        }
        lines.extend(self.finish_line().filter(|_| verbose).map(|line| format!("{} | {line}", self.label())));
        match &self.vertex.error {
            // What was stopped because another step failed is not the cause.
            Some(error) if !had_failed && !error.contains("context canceled") => {
                lines.push(format!("failed: {}", self.vertex.name));
                if !verbose {
                    let lost = units::plural(self.dropped, "line");
                    lines.extend((self.dropped > 0).then(|| format!("  | ({lost} before)")));
                    lines.extend(self.log.iter().map(|line| format!("  | {line}")));
                }
                lines.push(format!("  {}", clean(error)));
            }
            None if verbose && self.vertex.cached && !self.told => {
                lines.push(format!("{} cached", self.vertex.name));
            }
            None if verbose && was_running => {
                let time = units::duration(now.saturating_sub(self.since));
                lines.push(format!("{} done, {time}", self.label()));
            }
            _ => {}
        }
        self.told = true;
        (self.log, self.kept, self.dropped) = (VecDeque::new(), 0, 0);
        self.layers.clear();
        self.doing.clear();
        lines
    }

    /// Takes output and gives the lines that it completed.
    pub(super) fn hear(&mut self, data: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= LONGEST_LINE {
                lines.extend(self.finish_line());
            }
        }
        lines
    }

    fn finish_line(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.partial);
        let text = String::from_utf8_lossy(&bytes);
        // A program that redraws its line leaves the last drawing.
        let line = strip(text.trim_end().rsplit('\r').next().unwrap_or_default());
        if line.trim().is_empty() {
            return None;
        }
        self.kept += line.len();
        self.log.push_back(line.clone());
        while self.kept > KEPT
            && let Some(dropped) = self.log.pop_front()
        {
            self.kept -= dropped.len();
            self.dropped += 1;
        }
        Some(line)
    }

    /// Takes news of a layer or of another sub-task.
    pub(super) fn move_on(&mut self, id: &str, current: u64, total: u64, completed: bool) {
        if id.starts_with("sha256:") && total > 0 {
            if self.layers.len() < LAYERS || self.layers.contains_key(id) {
                self.layers
                    .insert(id.to_owned(), (if completed { total } else { current.min(total) }, total));
            }
        } else if completed {
            self.doing.clear();
        } else if id == "transferring context:" {
            self.doing = format!("{} sent", units::bytes(current));
        } else {
            self.doing = clean(id);
        }
    }

    /// The download, while one goes on: layers that are there, all layers, bytes that are there, all bytes.
    pub(super) fn fetching(&self) -> Option<(usize, usize, u64, u64)> {
        let there = self.layers.values().filter(|(current, total)| current == total).count();
        let sum = |part: fn(&(u64, u64)) -> u64| self.layers.values().map(part).fold(0, u64::saturating_add);
        (there < self.layers.len())
            .then(|| (there, self.layers.len(), sum(|layer| layer.0), sum(|layer| layer.1)))
    }

    /// How it is shown: its name with the time, the download, and the last lines of its output.
    pub(super) fn lines(&self, now: Duration, width: usize, tail: usize, color: bool) -> Vec<String> {
        let time = format!("{:>8}", units::duration(now.saturating_sub(self.since)));
        let room = width.saturating_sub(time.len() + 2);
        let doing = if self.doing.is_empty() { String::new() } else { format!(" ({})", self.doing) };
        let mut lines = vec![format!("{time}  {}", fit(&format!("{}{doing}", self.vertex.name), room))];
        if let Some((there, all, current, total)) = self.fetching() {
            let bar = bar(current, total);
            let bytes = format!("{} of {}", units::bytes(current), units::bytes(total));
            let words = format!("{bar} {bytes}, {there} of {} fetched", units::plural(all, "layer"));
            lines.push(format!("{:10}{}", "", Paint::Good.on(&cut(&words, room), color)));
        }
        let skip = self.log.len().saturating_sub(tail);
        for line in self.log.iter().skip(skip) {
            let line = cut(line, room.saturating_sub(2));
            lines.push(format!("{:10}{}", "", Paint::Faint.on(&format!("| {line}"), color)));
        }
        lines
    }
}

/// `[======>     ]`.
fn bar(current: u64, total: u64) -> String {
    let full = (current as f64 / total.max(1) as f64 * BAR as f64) as usize;
    let full = full.min(BAR);
    let head = if full < BAR { ">" } else { "" };
    format!("[{}{head}{}]", "=".repeat(full), " ".repeat(BAR - full - head.len()))
}
