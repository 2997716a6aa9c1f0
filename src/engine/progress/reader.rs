//! From the lines of an engine's client to [`Event`]s, whatever the client's form.
//!
//! The reader never fails: a line that it does not know is handed on as [`Event::Line`], so that it can be shown. What it
//! keeps is bounded, however long the stream is.

use std::time::Duration;

use crate::base::process::Stream;
use crate::engine::progress::{buildah::Buildah, classic::Classic, plain::Plain, rawjson::RawJson};
use crate::model::engine::{Engine, Frontend};
use crate::model::event::Event;

/// The longest line that is put together from parts; what is longer is read in pieces.
const LONGEST_LINE: usize = 16 << 20;

/// Which form the client's output has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `docker buildx build --progress rawjson`.
    RawJson,
    /// BuildKit's `--progress plain`: `docker build` from 18.09 on, and buildx.
    Plain,
    /// The builder before BuildKit: `DOCKER_BUILDKIT=0`.
    Classic,
    /// `buildah build` and `podman build`.
    Buildah,
}

impl Format {
    /// How the client of this engine speaks.
    pub fn of(engine: &Engine) -> Self {
        match engine.frontend {
            Frontend::Classic => Format::Classic,
            Frontend::Buildah => Format::Buildah,
            _ if engine.has_raw_progress() => Format::RawJson,
            _ => Format::Plain,
        }
    }
}

/// Reads one client's output.
#[derive(Debug)]
pub struct Reader {
    form: Form,
    /// The begin of a line that comes in parts, of each stream.
    partial: [Vec<u8>; 2],
}

#[derive(Debug)]
enum Form {
    RawJson(RawJson),
    Plain(Plain),
    Classic(Classic),
    Buildah(Buildah),
}

impl Reader {
    /// A reader at the begin of a stream.
    pub fn new(format: Format) -> Self {
        let form = match format {
            Format::RawJson => Form::RawJson(RawJson::default()),
            Format::Plain => Form::Plain(Plain::default()),
            Format::Classic => Form::Classic(Classic::default()),
            Format::Buildah => Form::Buildah(Buildah::default()),
        };
        Reader { form, partial: [Vec::new(), Vec::new()] }
    }

    /// Takes a line as [`crate::base::process::stream`] hands it over: with its end, or a part of a very long one.
    ///
    /// `at` is the time since the client was started; it counts only for engines that tell no times.
    pub fn push(&mut self, stream: Stream, line: &[u8], at: Duration) -> Vec<Event> {
        let partial = &mut self.partial[usize::from(stream == Stream::Stderr)];
        if !line.ends_with(b"\n") && partial.len() + line.len() < LONGEST_LINE {
            partial.extend_from_slice(line);
            return Vec::new();
        }
        let whole = if partial.is_empty() {
            String::from_utf8_lossy(line).into_owned()
        } else {
            let mut whole = std::mem::take(partial);
            whole.extend_from_slice(line);
            String::from_utf8_lossy(&whole).into_owned()
        };
        self.line(stream, whole.trim_end_matches('\n').trim_end_matches('\r'), at)
    }

    /// Tells that the stream has ended; gives what was held back.
    pub fn finish(&mut self, at: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        for (stream, index) in [(Stream::Stdout, 0), (Stream::Stderr, 1)] {
            let partial = std::mem::take(&mut self.partial[index]);
            if !partial.is_empty() {
                events.extend(self.line(stream, &String::from_utf8_lossy(&partial), at));
            }
        }
        match &mut self.form {
            Form::RawJson(form) => events.extend(form.finish()),
            Form::Plain(_) => {}
            Form::Classic(form) => events.extend(form.finish(at)),
            Form::Buildah(form) => events.extend(form.finish(at)),
        }
        events
    }

    fn line(&mut self, stream: Stream, line: &str, at: Duration) -> Vec<Event> {
        match &mut self.form {
            Form::RawJson(form) => form.line(line),
            Form::Plain(form) => form.line(line, at),
            Form::Classic(form) => form.line(stream, line, at),
            Form::Buildah(form) => form.line(stream, line, at),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::progress::{Renderer, Steps};

    #[test]
    fn puts_long_lines_together() {
        let mut reader = Reader::new(Format::RawJson);
        assert_eq!(reader.push(Stream::Stderr, b"one ", Duration::ZERO), []);
        let of_another_stream = reader.push(Stream::Stdout, b"sha256:1\n", Duration::ZERO);
        assert_eq!(of_another_stream, [Event::Line { text: "sha256:1".into() }]);
        assert_eq!(
            reader.push(Stream::Stderr, b"line\r\n", Duration::ZERO),
            [Event::Line { text: "one line".into() }]
        );
        assert_eq!(reader.push(Stream::Stderr, b"no end", Duration::ZERO), []);
        assert_eq!(reader.finish(Duration::ZERO), [Event::Line { text: "no end".into() }]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        /// Lines made of the words that the readers look for, in any order, are read, collected and shown.
        #[test]
        fn takes_anything(words in proptest::collection::vec(prop_oneof![
            Just("#1 "), Just("#2 "), Just("[a 1/2] RUN x"), Just("DONE 0.1s"), Just("DONE -1s"), Just("CACHED"),
            Just("ERROR: "), Just("..."), Just("\n"), Just("\n\n"), Just("sha256:aa 1B / 2MB 0.1s done"),
            Just("0.5 text"), Just("{\"vertexes\":[{\"digest\":\"a\",\"started\":\"2026-11-23T06:19:39Z\"}]}\n"),
            Just("{\n"), Just("}\n"), Just("Step 1/2 : FROM a\n"), Just("[1/2] STEP 1/2: FROM a\n"), Just("--> Using cache a\n"), Just(" ---> Using cache\n"), Just("\u{fffd}é"),
            Just("{\"statuses\":[{\"id\":\"x\",\"vertex\":\"a\",\"current\":-5,\"total\":9223372036854775807}]}\n"),
            Just("{\"logs\":[{\"vertex\":\"a\",\"data\":\"YQo=\",\"timestamp\":\"9999-12-31T23:59:59Z\"}]}\n"),
        ], 0..40)) {
            for format in [Format::RawJson, Format::Plain, Format::Classic, Format::Buildah] {
                let text = words.concat();
                let (mut reader, mut steps) = (Reader::new(format), Steps::default());
                let mut renderer = Renderer::new(None);
                let mut events = Vec::new();
                for line in text.split_inclusive('\n') {
                    events.extend(reader.push(Stream::Stderr, line.as_bytes(), Duration::ZERO));
                }
                events.extend(reader.finish(Duration::ZERO));
                let mut shown = String::new();
                for event in &events {
                    steps.push(event);
                    shown.push_str(&renderer.push(event, Duration::from_secs(1)));
                }
                shown.push_str(&renderer.finish());
                for event in &events {
                    if let Event::Line { text } = event {
                        prop_assert!(shown.contains(text.as_str()), "{text:?} was lost");
                    }
                }
                prop_assert!(steps.stages(&[]).len() <= 2);
            }
        }
    }
}
