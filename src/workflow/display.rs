//! What the user sees of a build while it runs.
//!
//! On a terminal: live progress. Without one, or with `--progress=plain`: the engine's own plain log. `-q`: nothing.
//! `--progress=rawjson`: the engine's events, as they come.

use std::time::Duration;

use crate::base::clock;
use crate::base::printer::Printer;
use crate::base::process::Stream;
use crate::engine::progress::{Format, Renderer};
use crate::model::event::Event;
use crate::model::request::Request;
use crate::report::live::Live;
use crate::report::section::Sections;
use crate::workflow::world::World;

/// The way of showing a build.
#[derive(Debug)]
pub enum Display {
    /// Bars and running steps.
    Live(Live),
    /// BuildKit's plain text, made from its events.
    Rendered(Box<Renderer>),
    /// The client's own words, as they come.
    Verbatim,
    /// Nothing.
    Quiet,
}

impl Display {
    /// Chooses from what was asked for and from where the words go.
    pub fn of(request: &Request, format: Format, description: String, world: &World) -> Self {
        let asked =
            request.last("progress").or_else(|| world.environment.get(crate::base::env::BUILDKIT_PROGRESS));
        match asked {
            _ if request.is_on("quiet") => Display::Quiet,
            Some("quiet" | "none") => Display::Quiet,
            Some("rawjson") if format == Format::RawJson => Display::Verbatim,
            Some("plain") => Self::plain(format, description),
            _ if !world.printer.terminal => Self::plain(format, description),
            _ => match Live::start(&world.environment, false) {
                Some(live) => Display::Live(live),
                None => Self::plain(format, description),
            },
        }
    }

    fn plain(format: Format, description: String) -> Self {
        match format {
            Format::RawJson => Display::Rendered(Box::new(Renderer::new(Some(description)))),
            Format::Plain | Format::Classic | Format::Buildah => Display::Verbatim,
        }
    }

    /// Whether an engine's log is shown as it comes, so that it deserves a section of its own.
    fn is_log(&self) -> bool {
        matches!(self, Display::Rendered(_) | Display::Verbatim)
    }

    /// Shows a line of the client, and the events that were read from it.
    pub fn show(&mut self, printer: Printer, stream: Stream, line: &[u8], events: &[Event], now: Duration) {
        match self {
            Display::Quiet => {}
            Display::Live(live) => events.iter().for_each(|event| live.event(event)),
            Display::Verbatim => match stream {
                Stream::Stdout => printer.data(&String::from_utf8_lossy(line)),
                Stream::Stderr => printer.bytes(line),
            },
            Display::Rendered(renderer) => {
                let mut text: String = events.iter().map(|event| renderer.push(event, now)).collect();
                if events.is_empty() {
                    text = renderer.tick(now);
                }
                printer.message(&text);
            }
        }
    }

    /// Shows a run of whoever builds, from its begin to its end; a log in a section of its own.
    pub async fn during<T>(
        mut self,
        printer: Printer,
        sections: &mut Sections,
        run: impl AsyncFnOnce(&mut Display) -> T,
    ) -> T {
        let is_log = self.is_log();
        if is_log {
            printer.message(&sections.open(clock::now()));
        }
        let done = run(&mut self).await;
        self.finish(printer);
        if is_log {
            printer.message(&sections.close(clock::now()));
        }
        done
    }

    /// Shows what was held back.
    fn finish(self, printer: Printer) {
        if let Display::Rendered(mut renderer) = self {
            printer.message(&renderer.finish());
        }
    }
}
