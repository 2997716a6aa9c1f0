//! BuildKit's own stream: one `SolveStatus` (buildkit, client/graph.go) after another as JSON, on standard error.
//!
//! buildx from 0.14 on writes an object per line; 0.13 spreads each over many, between a line `{` and a line `}`. Other
//! lines between and after them are the client's. A vertex says `cached` once and then no more: here it stays.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;

use crate::model::event::{Event, Group, Vertex};

/// The largest object that is put together from lines.
const LARGEST_OBJECT: usize = 16 << 20;

/// As many vertices as are remembered to be cached.
const MOST_VERTICES: usize = 1 << 16;

/// How far before the first time of the stream its origin lies. Later messages may tell of earlier times, and the
/// client's clock, from which the first may come, may be ahead of the engine's.
const SLACK: i128 = 24 * 3600 * 1_000_000_000;

#[derive(Debug, Default)]
pub(super) struct RawJson {
    /// In nanoseconds since 1970.
    origin: Option<i128>,
    cached: HashSet<String>,
    /// The lines of an object that has not ended.
    pending: Option<String>,
}

#[derive(Deserialize)]
struct SolveStatus {
    vertexes: Option<Vec<RawVertex>>,
    statuses: Option<Vec<RawStatus>>,
    logs: Option<Vec<RawLog>>,
    warnings: Option<Vec<RawWarning>>,
}

#[derive(Deserialize)]
struct RawVertex {
    digest: String,
    #[serde(default)]
    name: String,
    started: Option<String>,
    completed: Option<String>,
    #[serde(default)]
    cached: bool,
    #[serde(default)]
    error: String,
    #[serde(rename = "progressGroup")]
    group: Option<RawGroup>,
}

#[derive(Deserialize)]
struct RawGroup {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    weak: bool,
}

#[derive(Deserialize)]
struct RawStatus {
    id: String,
    vertex: String,
    #[serde(default)]
    current: i64,
    #[serde(default)]
    total: i64,
    timestamp: Option<String>,
    started: Option<String>,
    completed: Option<String>,
}

#[derive(Deserialize)]
struct RawLog {
    vertex: String,
    data: Option<String>,
    timestamp: Option<String>,
}

#[derive(Deserialize)]
struct RawWarning {
    vertex: Option<String>,
    short: Option<String>,
}

impl RawJson {
    pub(super) fn line(&mut self, line: &str) -> Vec<Event> {
        if let Some(pending) = &mut self.pending {
            pending.push_str(line);
            pending.push('\n');
            let (ended, too_large) = (line == "}", pending.len() > LARGEST_OBJECT);
            if !ended && !too_large {
                return Vec::new();
            }
            let text = self.pending.take().unwrap_or_default();
            return self.object(&text).unwrap_or_else(|| lines(&text));
        }
        if line == "{" {
            self.pending = Some("{\n".to_owned());
            return Vec::new();
        }
        let object = if line.starts_with('{') { self.object(line) } else { None };
        object.unwrap_or_else(|| lines(line))
    }

    pub(super) fn finish(&mut self) -> Vec<Event> {
        self.pending.take().map_or_else(Vec::new, |text| lines(&text))
    }

    fn object(&mut self, text: &str) -> Option<Vec<Event>> {
        let status: SolveStatus = serde_json::from_str(text).ok()?;
        let mut events = Vec::new();
        events.extend(status.vertexes.into_iter().flatten().map(|vertex| self.vertex(vertex)));
        for status in status.statuses.into_iter().flatten() {
            let completed = self.time(status.completed.as_deref());
            events.push(Event::Status {
                vertex: status.vertex,
                id: status.id,
                current: u64::try_from(status.current).unwrap_or(0),
                total: u64::try_from(status.total).unwrap_or(0),
                started: self.time(status.started.as_deref()),
                at: completed.or_else(|| self.time(status.timestamp.as_deref())),
                completed: completed.is_some(),
            });
        }
        for warning in status.warnings.into_iter().flatten() {
            let message = decode(warning.short.as_deref());
            events.push(Event::Warning {
                vertex: warning.vertex.filter(|vertex| !vertex.is_empty()),
                message: String::from_utf8_lossy(&message).into_owned(),
            });
        }
        for log in status.logs.into_iter().flatten() {
            let at = self.time(log.timestamp.as_deref());
            events.push(Event::Log { vertex: log.vertex, data: decode(log.data.as_deref()), at });
        }
        Some(events)
    }

    fn vertex(&mut self, vertex: RawVertex) -> Event {
        if vertex.cached && self.cached.len() < MOST_VERTICES {
            self.cached.insert(vertex.digest.clone());
        }
        Event::Vertex(Vertex {
            started: self.time(vertex.started.as_deref()),
            seen: None,
            completed: self.time(vertex.completed.as_deref()),
            cached: vertex.cached || self.cached.contains(&vertex.digest),
            error: Some(vertex.error).filter(|error| !error.is_empty()),
            group: vertex.group.map(|group| Group { key: group.id, name: group.name, weak: group.weak }),
            key: vertex.digest,
            name: vertex.name,
            image: None,
        })
    }

    fn time(&mut self, text: Option<&str>) -> Option<Duration> {
        let time: Timestamp = text?.parse().ok()?;
        // Go writes the time that is none as the year 1.
        let nanoseconds = Some(time.as_nanosecond()).filter(|nanoseconds| *nanoseconds > 0)?;
        let origin = *self.origin.get_or_insert(nanoseconds - SLACK);
        Some(Duration::from_nanos(u64::try_from(nanoseconds - origin).unwrap_or(0)))
    }
}

/// What is not base64 was not written by BuildKit; it is dropped.
fn decode(text: Option<&str>) -> Vec<u8> {
    STANDARD.decode(text.unwrap_or_default()).unwrap_or_default()
}

fn lines(text: &str) -> Vec<Event> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.split('\n').map(|line| Event::Line { text: line.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slack(milliseconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(24 * 3600) + Duration::from_millis(milliseconds))
    }

    #[test]
    fn reads_every_member() {
        let mut reader = RawJson::default();
        let events = reader.line(
            r#"{"vertexes":[{"digest":"sha256:a","name":"[1/2] RUN x","started":"2026-11-23T06:19:39.5Z","completed":"2026-11-23T06:19:40Z","cached":true,"error":"no","progressGroup":{"id":"g","name":"G","weak":true}}],"statuses":[{"id":"sha256:b","vertex":"sha256:a","total":10,"current":-1,"timestamp":"2026-11-23T06:19:41Z","started":"2026-11-23T06:19:39Z"}],"logs":[{"vertex":"sha256:a","stream":1,"data":"aGkK","timestamp":"2026-11-23T06:19:40Z"}],"warnings":[{"vertex":"sha256:a","level":1,"short":"d2Fybg==","detail":null,"range":[]}]}"#,
        );
        let key = || "sha256:a".to_owned();
        let group = Some(Group { key: "g".into(), name: "G".into(), weak: true });
        let vertex = Vertex {
            key: key(),
            name: "[1/2] RUN x".into(),
            started: slack(0),
            completed: slack(500),
            cached: true,
            error: Some("no".into()),
            group,
            ..Vertex::default()
        };
        let before = Some(Duration::from_secs(24 * 3600) - Duration::from_millis(500));
        assert_eq!(
            events,
            [
                Event::Vertex(vertex),
                Event::Status {
                    vertex: key(),
                    id: "sha256:b".into(),
                    current: 0,
                    total: 10,
                    started: before,
                    at: slack(1500),
                    completed: false,
                },
                Event::Warning { vertex: Some(key()), message: "warn".into() },
                Event::Log { vertex: key(), data: b"hi\n".to_vec(), at: slack(500) },
            ]
        );
    }

    #[test]
    fn cached_stays() {
        let mut reader = RawJson::default();
        reader.line(r#"{"vertexes":[{"digest":"a","cached":true}]}"#);
        let events = reader.line(r#"{"vertexes":[{"digest":"a"},{"digest":"b"}]}"#);
        let cached: Vec<bool> =
            events.iter().map(|event| matches!(event, Event::Vertex(Vertex { cached: true, .. }))).collect();
        assert_eq!(cached, [true, false]);
    }

    #[test]
    fn an_object_over_many_lines_is_one() {
        let mut reader = RawJson::default();
        for line in ["{", "  \"vertexes\": [", "    { \"digest\": \"a\" }", "  ]"] {
            assert_eq!(reader.line(line), [], "{line}");
        }
        let expected = Event::Vertex(Vertex { key: "a".into(), ..Vertex::default() });
        assert_eq!(reader.line("}"), [expected]);
        assert_eq!(reader.line("ERROR: x"), [Event::Line { text: "ERROR: x".into() }]);
    }

    #[test]
    fn what_is_no_status_is_a_line() {
        let text = |text: &str| Event::Line { text: text.to_owned() };
        for line in ["{ not json", "{\"vertexes\":1}", "", "ERROR: failed to solve"] {
            assert_eq!(RawJson::default().line(line), [text(line)], "{line}");
        }
        let mut reader = RawJson::default();
        reader.line("{");
        reader.line("cut off");
        assert_eq!(reader.finish(), [text("{"), text("cut off")]);
    }

    #[test]
    fn times_that_are_none_are_left_out() {
        let mut reader = RawJson::default();
        for time in ["0001-01-01T00:00:00Z", "", "yesterday"] {
            assert_eq!(reader.time(Some(time)), None, "{time}");
        }
    }
}
