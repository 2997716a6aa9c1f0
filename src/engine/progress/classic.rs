//! The output of the builder before BuildKit (moby, builder/dockerfile): one instruction after another, on standard
//! output, with an error on standard error at the end.
//!
//! `Step 3/7 : RUN make`, then ` ---> Using cache` or ` ---> Running in <container>`, then ` ---> <image>`. It counts all
//! instructions of the file, so a step keeps the number that it has there, and its vertex is named as BuildKit would:
//! `[build 3/7] RUN make`. It tells no times: a step lasts from its line to its end. What a `RUN` prints can look like
//! anything; only the next number in order is taken for a step.

use std::time::Duration;

use crate::base::process::Stream;
use crate::engine::progress::plain::bytes;
use crate::model::event::{Event, Vertex};

/// The key and the name of the vertex that stands for the build context, as BuildKit calls it.
const CONTEXT: (&str, &str) = ("context", "[internal] load build context");

/// What the builder says of the containers and images that it makes, before their identifier. The wording of the third
/// is Docker 20.10's, of the fourth 28's.
const OF_CONTAINERS: [&str; 4] = [
    " ---> ",
    " ---> Running in ",
    "Removing intermediate container ",
    " ---> Removed intermediate container ",
];

#[derive(Debug, Default)]
pub(super) struct Classic {
    /// How many `FROM` there were.
    stages: u32,
    stage: String,
    /// The step that is under way.
    open: Option<Open>,
    /// The number of the last step, and how many there are.
    last: (u32, u32),
    succeeded: bool,
    error: Option<String>,
}

#[derive(Debug)]
struct Open {
    vertex: Vertex,
    /// Nothing but the step's own line came yet: the one place where ` ---> Using cache` means what it says.
    fresh: bool,
}

impl Classic {
    pub(super) fn line(&mut self, stream: Stream, line: &str, at: Duration) -> Vec<Event> {
        if stream == Stream::Stderr {
            // The streams may overtake one another, so which step the message belongs to is known at the end.
            if self.error.is_none() && !line.is_empty() && !is_notice(line) {
                self.error = Some(line.to_owned());
            }
            return vec![Event::Line { text: line.to_owned() }];
        }
        // What a step wrote to standard error comes in red, and the end of red stands before what follows.
        let line = line.strip_prefix("\u{1b}[0m").unwrap_or(line);
        if let Some((number, of, instruction)) = step(line).filter(|step| self.is_next(step)) {
            let mut events: Vec<Event> = self.close(at).into_iter().collect();
            events.push(self.begin(number, of, instruction, at));
            return events;
        }
        if let Some(size) = line.strip_prefix("Sending build context to Docker daemon") {
            return context(size.trim());
        }
        let Some(open) = &mut self.open else { return vec![Event::Line { text: line.to_owned() }] };
        let fresh = std::mem::replace(&mut open.fresh, false);
        if fresh && line == " ---> Using cache" {
            open.vertex.cached = true;
            return Vec::new();
        }
        if line.starts_with("Successfully built ") && self.last.0 == self.last.1 {
            self.succeeded = true;
            let mut events: Vec<Event> = self.close(at).into_iter().collect();
            events.push(Event::Line { text: line.to_owned() });
            return events;
        }
        if let Some(image) = line.strip_prefix(" ---> ").filter(|rest| is_id(rest)) {
            open.vertex.image = Some(image.to_owned());
            return Vec::new();
        }
        let is_about_containers =
            OF_CONTAINERS.iter().any(|begin| line.strip_prefix(begin).is_some_and(is_id));
        if is_about_containers {
            return Vec::new();
        }
        let data = format!("{line}\n").into_bytes();
        vec![Event::Log { vertex: open.vertex.key.clone(), data, at: Some(at) }]
    }

    pub(super) fn finish(&mut self, at: Duration) -> Vec<Event> {
        if let (Some(open), false) = (&mut self.open, self.succeeded) {
            // Without a message it was interrupted, and never ended.
            let Some(error) = self.error.take() else { return Vec::new() };
            open.vertex.error = Some(error);
        }
        self.close(at).into_iter().collect()
    }

    fn is_next(&self, &(number, of, _): &(u32, u32, &str)) -> bool {
        !self.succeeded
            && number == self.last.0 + 1
            && number <= of
            && (self.last.1 == 0 || of == self.last.1)
    }

    fn begin(&mut self, number: u32, of: u32, instruction: &str, at: Duration) -> Event {
        self.last = (number, of);
        let words: Vec<&str> = instruction.split_whitespace().collect();
        if words.first().is_some_and(|word| word.eq_ignore_ascii_case("FROM")) {
            self.stage = match words.as_slice() {
                [.., keyword, name] if keyword.eq_ignore_ascii_case("AS") => name.to_ascii_lowercase(),
                _ => format!("stage-{}", self.stages),
            };
            self.stages += 1;
        }
        // An `ARG` above the first `FROM` has a number, executes nothing, and is never cached.
        let is_global =
            self.stages == 0 && words.first().is_some_and(|word| word.eq_ignore_ascii_case("ARG"));
        let vertex = Vertex {
            key: number.to_string(),
            name: match is_global {
                true => instruction.to_owned(),
                false => format!("[{} {number}/{of}] {instruction}", self.stage),
            },
            started: Some(at),
            ..Vertex::default()
        };
        self.open = Some(Open { vertex: vertex.clone(), fresh: true });
        Event::Vertex(vertex)
    }

    fn close(&mut self, at: Duration) -> Option<Event> {
        let mut vertex = self.open.take()?.vertex;
        vertex.completed = Some(at);
        Some(Event::Vertex(vertex))
    }
}

/// What the client says on standard error without having failed.
fn is_notice(line: &str) -> bool {
    ["DEPRECATED: ", "WARNING: ", "SECURITY WARNING: ", "            "]
        .iter()
        .any(|begin| line.starts_with(begin))
}

fn step(line: &str) -> Option<(u32, u32, &str)> {
    let (place, instruction) = line.strip_prefix("Step ")?.split_once(" : ")?;
    let (number, of) = place.split_once('/')?;
    Some((number.parse().ok()?, of.parse().ok()?, instruction))
}

fn is_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The size comes again and again, with a carriage return between; the last one is the whole.
fn context(sizes: &str) -> Vec<Event> {
    let size = sizes.split_whitespace().filter_map(bytes).next_back().unwrap_or(0);
    let (key, name) = CONTEXT;
    let vertex = Vertex { key: key.to_owned(), name: name.to_owned(), ..Vertex::default() };
    let status = Event::Status {
        vertex: key.to_owned(),
        id: "transferring context:".to_owned(),
        current: size,
        total: 0,
        started: None,
        at: None,
        completed: true,
    };
    vec![Event::Vertex(vertex), status]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads lines that come one second after the other, and shows what became of each vertex.
    fn read(text: &str) -> Vec<String> {
        let mut reader = Classic::default();
        let mut events = Vec::new();
        let mut at = Duration::ZERO;
        for line in text.lines() {
            at += Duration::from_secs(1);
            let (stream, line) =
                line.strip_prefix("! ").map_or((Stream::Stdout, line), |line| (Stream::Stderr, line));
            events.extend(reader.line(stream, line, at));
        }
        events.extend(reader.finish(at));
        let shown = events.iter().filter_map(|event| match event {
            Event::Vertex(vertex) if vertex.completed.is_some() => {
                let length = vertex.completed.unwrap_or_default() - vertex.started.unwrap_or_default();
                let state = vertex.error.as_deref().unwrap_or(if vertex.cached { "cached" } else { "run" });
                Some(format!("{} {state} {}", vertex.name, length.as_secs()))
            }
            Event::Log { vertex, data, .. } => {
                Some(format!("{vertex}: {}", String::from_utf8_lossy(data).trim_end()))
            }
            Event::Status { current, .. } => Some(format!("context {current}")),
            _ => None,
        });
        shown.collect()
    }

    #[test]
    fn reads_steps() {
        let text = "Sending build context to Docker daemon  557.1kB\r\rSending build context to Docker daemon  3.072kB\n\
            Step 1/4 : FROM busybox AS Build\n ---> 6d478e711b6d\nStep 2/4 : ENV a=b\n ---> Using cache\n ---> c08da4da95e6\n\
            Step 3/4 : FROM busybox\n ---> 6d478e711b6d\nStep 4/4 : RUN echo done\n ---> Running in fb946a008e62\ndone\n\
            Removing intermediate container fb946a008e62\n ---> 058034c3c546\nSuccessfully built 058034c3c546\n\
            ! WARNING: something\n";
        assert_eq!(
            read(text),
            [
                "context 3072",
                "[build 1/4] FROM busybox AS Build run 2",
                "[build 2/4] ENV a=b cached 3",
                "[stage-1 3/4] FROM busybox run 2",
                "4: done",
                "[stage-1 4/4] RUN echo done run 5",
            ]
        );
    }

    #[test]
    fn a_global_argument_is_no_step_of_a_stage() {
        let text = "Step 1/3 : ARG base=busybox\nStep 2/3 : FROM $base\n ---> 6d478e711b6d\nStep 3/3 : ARG a=b\n ---> Using cache\n \
            ---> c08da4da95e6\nSuccessfully built c08da4da95e6\n";
        let told = read(text);
        assert_eq!(told[0], "ARG base=busybox run 1");
        assert_eq!(told[2], "[stage-0 3/3] ARG a=b cached 3");
    }

    #[test]
    fn an_error_belongs_to_the_open_step_whenever_it_comes() {
        let text = "! The command '/bin/sh -c false' returned a non-zero code: 1\nStep 1/2 : FROM a\n ---> 6d478e711b6d\n\
            Step 2/2 : RUN false\n ---> Running in fb946a008e62\n";
        assert_eq!(
            read(text),
            [
                "[stage-0 1/2] FROM a run 2",
                "[stage-0 2/2] RUN false The command '/bin/sh -c false' returned a non-zero code: 1 1",
            ]
        );
    }

    #[test]
    fn output_of_a_step_is_not_taken_for_more() {
        let text = "Step 1/2 : RUN x\n ---> Running in fb946a008e62\n ---> Using cache\nStep 9/9 : RUN y\nSuccessfully built a\n\
            ---> 6d478e711b6d\nStep 2/2 : RUN z\n";
        assert_eq!(
            read(text),
            [
                "1:  ---> Using cache",
                "1: Step 9/9 : RUN y",
                "1: Successfully built a",
                "1: ---> 6d478e711b6d",
                "[ 1/2] RUN x run 6",
            ]
        );
    }
}
