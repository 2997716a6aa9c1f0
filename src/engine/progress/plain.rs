//! BuildKit's plain text (buildkit, progressui `textMux`), as `docker build` of 18.09 and later and buildx write it.
//!
//! A block belongs to one vertex: `#5 [build 2/3] RUN make`, then lines that begin with `#5`, until the vertex ends
//! (`DONE 0.2s`, `CACHED`, `ERROR: ...`, `CANCELED`) or another one gets its turn (`...`). The first line of a block is
//! always the name. The text tells only how long a vertex took, not when: its times begin at zero. When it began follows
//! from when its lines came: not later than its first line, nor than its end less the time that it took.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::event::{Event, Vertex};

/// As many vertices as are kept; lines of further ones are handed on as they are.
const MOST_VERTICES: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Plain {
    vertices: HashMap<u32, Known>,
    /// Whose block it is.
    current: Option<u32>,
}

#[derive(Debug, Default)]
struct Known {
    name: String,
    /// The time of its last output, which is all that is known of how long a failed vertex took.
    last: Duration,
}

impl Plain {
    /// `at`: the time since the client was started.
    pub(super) fn line(&mut self, line: &str, at: Duration) -> Vec<Event> {
        self.block(line, at).unwrap_or_else(|| vec![Event::Line { text: line.to_owned() }])
    }

    fn block(&mut self, line: &str, now: Duration) -> Option<Vec<Event>> {
        let (number, rest) = line.strip_prefix('#')?.split_once(' ')?;
        // Number 0 is the client's own: `#0 building with "default" instance using docker driver`.
        let number = number.parse::<u32>().ok().filter(|number| *number > 0)?;
        if self.current != Some(number) {
            return self.begin(number, rest, now);
        }
        let key = number.to_string();
        if rest == "..." {
            self.current = None;
            return Some(Vec::new());
        }
        if is_digest(rest) {
            // Docker 20.10 prints the vertex's digest under its name.
            return Some(Vec::new());
        }
        if let Some(end) = self.end(number, rest, now) {
            self.current = None;
            return Some(vec![end]);
        }
        if let Some(message) = rest.strip_prefix("WARN: ") {
            return Some(vec![Event::Warning { vertex: Some(key), message: message.to_owned() }]);
        }
        if let Some((at, text)) = log(rest) {
            if let Some(known) = self.vertices.get_mut(&number) {
                known.last = at;
            }
            return Some(vec![Event::Log {
                vertex: key,
                data: format!("{text}\n").into_bytes(),
                at: Some(at),
            }]);
        }
        Some(vec![status(key, rest)])
    }

    fn begin(&mut self, number: u32, name: &str, now: Duration) -> Option<Vec<Event>> {
        if self.vertices.len() >= MOST_VERTICES && !self.vertices.contains_key(&number) {
            return None;
        }
        self.current = Some(number);
        let known = self.vertices.entry(number).or_default();
        name.clone_into(&mut known.name);
        let vertex = Vertex {
            key: number.to_string(),
            name: name.to_owned(),
            started: Some(Duration::ZERO),
            seen: Some(now),
            ..Vertex::default()
        };
        Some(vec![Event::Vertex(vertex)])
    }

    fn end(&self, number: u32, rest: &str, now: Duration) -> Option<Event> {
        let known = self.vertices.get(&number)?;
        let mut vertex = Vertex {
            key: number.to_string(),
            name: known.name.clone(),
            started: Some(Duration::ZERO),
            completed: Some(known.last),
            ..Vertex::default()
        };
        if rest == "CACHED" {
            vertex.cached = true;
        } else if rest == "CANCELED" {
            vertex.error = Some("context canceled".to_owned());
        } else if let Some(error) = rest.strip_prefix("ERROR: ") {
            vertex.error = Some(error.to_owned());
        } else {
            let time = rest.strip_prefix("DONE")?;
            // Without a time it never started, which is how a group looks whose members were all answered from cache.
            vertex.completed =
                Some(if time.is_empty() { Duration::ZERO } else { seconds(time.strip_prefix(' ')?)? });
        }
        vertex.seen = vertex.completed.map(|took| now.saturating_sub(took));
        Some(Event::Vertex(vertex))
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// `0.123 text`: output of the step, with the time since it started.
fn log(rest: &str) -> Option<(Duration, &str)> {
    let (time, text) = rest.split_once(' ')?;
    Some((decimal(time)?, text))
}

/// `0.2s`
fn seconds(text: &str) -> Option<Duration> {
    decimal(text.strip_suffix('s')?)
}

fn decimal(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// `sha256:78a7 1.08MB / 1.08MB 0.1s done`, read from its end: any part but the first may be missing.
fn status(vertex: String, rest: &str) -> Event {
    let (rest, completed) = rest.strip_suffix(" done").map_or((rest, false), |rest| (rest, true));
    let (rest, at) = match rest.rsplit_once(' ').and_then(|(before, time)| Some((before, seconds(time)?))) {
        Some((before, time)) => (before, Some(time)),
        None => (rest, None),
    };
    let (rest, current, total) =
        match rest.rsplit_once(' ').and_then(|(before, size)| Some((before, bytes(size)?))) {
            Some((before, size)) => {
                let current = before.strip_suffix(" /").and_then(|before| before.rsplit_once(' '));
                match current.and_then(|(before, current)| Some((before, bytes(current)?))) {
                    Some((before, current)) => (before, current, size),
                    None => (before, size, 0),
                }
            }
            None => (rest, 0, 0),
        };
    Event::Status {
        vertex,
        id: rest.to_owned(),
        current,
        total,
        started: at.map(|_| Duration::ZERO),
        at,
        completed,
    }
}

/// `1.08MB`, `697B`: decimal units, as Docker prints them.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let number = text.strip_suffix('B')?;
    let (number, factor) = match number.chars().last()? {
        'k' => (&number[..number.len() - 1], 1e3),
        'M' => (&number[..number.len() - 1], 1e6),
        'G' => (&number[..number.len() - 1], 1e9),
        'T' => (&number[..number.len() - 1], 1e12),
        _ => (number, 1.0),
    };
    let valid = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // The conversion saturates, which is what a hostile number deserves.
    let value: f64 = number.parse().ok().filter(|_| valid)?;
    Some((value * factor).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Event> {
        let mut reader = Plain::default();
        text.lines().flat_map(|line| reader.line(line, Duration::ZERO)).collect()
    }

    fn vertex(key: &str, name: &str, completed: Option<f64>) -> Vertex {
        let completed = completed.map(Duration::from_secs_f64);
        Vertex {
            key: key.into(),
            name: name.into(),
            started: Some(Duration::ZERO),
            completed,
            seen: Some(Duration::ZERO),
            ..Vertex::default()
        }
    }

    #[test]
    fn tells_when_a_vertex_began_at_the_latest() {
        let mut reader = Plain::default();
        let lines =
            [(3, "#1 [a 1/2] RUN x"), (9, "#1 DONE 8.0s"), (9, "#2 [a 2/2] RUN y"), (12, "#2 DONE 1.0s")];
        let seen = lines.into_iter().flat_map(|(at, line)| reader.line(line, Duration::from_secs(at)));
        let seen: Vec<u64> = seen
            .filter_map(|event| if let Event::Vertex(vertex) = event { vertex.seen } else { None })
            .map(|seen| seen.as_secs())
            .collect();
        assert_eq!(seen, [3, 1, 9, 11], "the earlier of a vertex's two counts");
    }

    #[test]
    fn reads_interleaved_blocks() {
        let events = read(
            "#5 [a 1/2] RUN x\n#5 sha256:06bd6246c139ec9a2be4e871e67dbbf3695aa34f294f12295281b1deaeb20b26\n#5 0.12 hi\n#5 ...\n\n\
             #6 [b 2/2] RUN y\n#6 CACHED\n\n#5 [a 1/2] RUN x\n#5 1.50 DONE 0.1s\n#5 DONE 2.0s",
        );
        let log = |text: &str, at: f64| Event::Log {
            vertex: "5".into(),
            data: text.as_bytes().to_vec(),
            at: Some(Duration::from_secs_f64(at)),
        };
        assert_eq!(
            events,
            [
                Event::Vertex(vertex("5", "[a 1/2] RUN x", None)),
                log("hi\n", 0.12),
                Event::Line { text: String::new() },
                Event::Vertex(vertex("6", "[b 2/2] RUN y", None)),
                Event::Vertex(Vertex { cached: true, ..vertex("6", "[b 2/2] RUN y", Some(0.0)) }),
                Event::Line { text: String::new() },
                Event::Vertex(vertex("5", "[a 1/2] RUN x", None)),
                log("DONE 0.1s\n", 1.5),
                Event::Vertex(vertex("5", "[a 1/2] RUN x", Some(2.0))),
            ]
        );
    }

    #[test]
    fn knows_the_ends_of_a_vertex() {
        let error = |text: &str| Some(text.to_owned());
        let cases = [
            ("DONE", vertex("1", "n", Some(0.0))),
            ("DONE 12.3s", vertex("1", "n", Some(12.3))),
            ("CACHED", Vertex { cached: true, ..vertex("1", "n", Some(0.5)) }),
            ("ERROR: no: way", Vertex { error: error("no: way"), ..vertex("1", "n", Some(0.5)) }),
            ("CANCELED", Vertex { error: error("context canceled"), ..vertex("1", "n", Some(0.5)) }),
        ];
        for (end, expected) in cases {
            let events = read(&format!("#1 n\n#1 0.5 text\n#1 {end}"));
            assert_eq!(events.last(), Some(&Event::Vertex(expected)), "{end}");
        }
    }

    #[test]
    fn reads_statuses() {
        let cases = [
            ("transferring context: 38B done", "transferring context:", 38, 0, None, true),
            ("sha256:78a7 1.08MB / 3.5MB", "sha256:78a7", 1_080_000, 3_500_000, None, false),
            ("sha256:78a7 697B / 697B 0.1s done", "sha256:78a7", 697, 697, Some(0.1), true),
            ("extracting sha256:78a7 0.1s done", "extracting sha256:78a7", 0, 0, Some(0.1), true),
            ("naming to docker.io/library/a:1 done", "naming to docker.io/library/a:1", 0, 0, None, true),
            ("exporting layers", "exporting layers", 0, 0, None, false),
        ];
        for (line, id, current, total, at, completed) in cases {
            let at = at.map(Duration::from_secs_f64);
            let started = at.map(|_| Duration::ZERO);
            let expected =
                Event::Status { vertex: "1".into(), id: id.into(), current, total, started, at, completed };
            assert_eq!(read(&format!("#1 n\n#1 {line}")).last(), Some(&expected), "{line}");
        }
    }

    #[test]
    fn what_belongs_to_no_vertex_is_a_line() {
        for line in [
            "------",
            " > [a 1/2] RUN x:",
            "#0 building with \"default\"",
            "#x y",
            "#",
            "#99999999999 x",
            "#!/bin/sh -e",
        ] {
            assert_eq!(read(line), [Event::Line { text: line.into() }], "{line}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_no_bytes() {
        for text in ["B", "kB", "-1B", "infB", "NaNB", "1e9B", "1.2.3MB", "12", "é"] {
            assert_eq!(bytes(text), None, "{text}");
        }
        assert_eq!(bytes("99999999999999999999TB"), Some(u64::MAX));
    }
}
