//! The live display on a terminal: the only file that knows indicatif.
//!
//! indicatif keeps the picture at the bottom of the screen, redraws it ten times a second from a thread of its own, and
//! prints what is to stay above it; the picture itself is `progress`. Without a terminal there is no [`Live`], and the
//! engine's own plain log is left to speak.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::base::env::{Environment, NO_COLOR, TERM};
use crate::model::event::Event;
use crate::report::progress::Progress;

/// How often the picture is drawn.
const EVERY: Duration = Duration::from_millis(100);

/// Columns and rows of a terminal that does not tell.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// A display that is being drawn. Dropping it takes it off the screen and leaves what was printed above.
#[derive(Debug)]
pub struct Live {
    bar: ProgressBar,
    progress: Arc<Mutex<Progress>>,
    begin: Instant,
}

impl Live {
    /// Begins to draw on standard error; `None` where that is no terminal that can be drawn on. Verbose: the engine's
    /// log runs above the picture.
    pub fn start(environment: &Environment, verbose: bool) -> Option<Self> {
        let can_draw =
            environment.get(TERM).is_some_and(|term| term != "dumb") && std::io::stderr().is_terminal();
        let target = ProgressDrawTarget::stderr_with_hz(20);
        (can_draw && !target.is_hidden())
            .then(|| Live::on(target, verbose, environment.get(NO_COLOR).is_none()))
    }

    fn on(target: ProgressDrawTarget, verbose: bool, color: bool) -> Self {
        let (begin, progress) = (Instant::now(), Arc::new(Mutex::new(Progress::new(verbose))));
        let picture = {
            let progress = Arc::clone(&progress);
            move |_: &ProgressState, text: &mut dyn std::fmt::Write| {
                let (width, height) = terminal_size();
                let lines = lock(&progress).picture(begin.elapsed(), width - 1, height - 1, color);
                // A picture that was not drawn is drawn again with the next tick.
                let _ = text.write_str(&lines.join("\n"));
            }
        };
        let style = ProgressStyle::default_bar().with_key("picture", picture).template("{picture}");
        let bar = ProgressBar::with_draw_target(None, target)
            .with_style(style.expect("the template is a constant and well formed"));
        bar.enable_steady_tick(EVERY);
        Live { bar, progress, begin }
    }

    /// Takes the next event of the build.
    pub fn event(&self, event: &Event) {
        // The lock is given back before indicatif draws, which takes it again.
        let lines = lock(&self.progress).apply(event, self.begin.elapsed());
        if !lines.is_empty() {
            self.bar.println(lines.join("\n"));
        }
    }

    /// Prints a line of our own above the picture.
    pub fn print(&self, text: &str) {
        self.bar.println(text);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A thread that panicked while it held the lock left at worst an old picture.
fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Columns and rows, each at least 2.
fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 1 && size.ws_row > 1 => (size.ws_col.into(), size.ws_row.into()),
        _ => USUAL_SIZE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_display_without_a_terminal_that_can_be_drawn_on() {
        let dumb: Environment = [("TERM", "dumb")].into_iter().collect();
        assert!(Live::start(&dumb, false).is_none());
        assert!(Live::start(&Environment::default(), false).is_none());
    }
}
