//! What an engine says while it builds, in one form for all engines: a stream of [`Event`]s.
//!
//! BuildKit's own stream (`rawjson`, `SolveStatus` in client/graph.go) comes nearly as it is; the plain text of older
//! engines is read into the same events. Times are counted from an origin of the stream's own; only their differences
//! mean anything, and only within one vertex: the client's clock and the engine's need not agree.

use std::time::Duration;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A vertex was named, or more became known of it. Fields accumulate: `cached` stays once it was set.
    Vertex(Vertex),
    /// Bytes moved, or another sub-task of a vertex went on.
    Status {
        /// The vertex's key.
        vertex: String,
        /// The sub-task: `sha256:...` for a layer, `transferring context:`, `extracting sha256:...`.
        id: String,
        /// Done so far, in bytes where `total` is given or the id says so.
        current: u64,
        /// All that there is; 0 if unknown.
        total: u64,
        /// When it started, where the engine tells.
        started: Option<Duration>,
        /// When this was true: the time of its end, once it ended.
        at: Option<Duration>,
        /// Whether it ended.
        completed: bool,
    },
    /// Output of a step.
    Log {
        /// The vertex's key.
        vertex: String,
        /// Bytes as written by the program.
        data: Vec<u8>,
        /// When it was written, where the engine tells.
        at: Option<Duration>,
    },
    /// A warning of the frontend, such as a lint finding.
    Warning {
        /// The vertex's key, where the engine tells.
        vertex: Option<String>,
        /// Its text.
        message: String,
    },
    /// A line that belongs to no vertex: an error message of the client, a line in no known form.
    Line {
        /// The line without its end.
        text: String,
    },
}

/// What is known of one vertex of the build graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vertex {
    /// What identifies it in this stream: a digest, or a number in plain text.
    pub key: String,
    /// `[build 2/4] RUN make`, `importing cache manifest from ...`, `exporting to image`.
    pub name: String,
    /// When it last started.
    pub started: Option<Duration>,
    /// When it last ended.
    pub completed: Option<Duration>,
    /// When it began, at the latest, since the client was started: where the engine tells how long, and not when.
    pub seen: Option<Duration>,
    /// Answered from cache.
    pub cached: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// The image that it gave, where the engine makes one of every step (the classic builder).
    pub image: Option<String>,
    /// The group whose members are shown as one: `COPY --link` is two vertices.
    pub group: Option<Group>,
}

/// A set of vertices that is shown as one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// What identifies it in this stream.
    pub key: String,
    /// What is shown for it.
    pub name: String,
    /// Whether this member alone is no reason to show the group.
    pub weak: bool,
}
