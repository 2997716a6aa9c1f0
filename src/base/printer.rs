//! Data goes to standard output, everything else to standard error. A reader that has gone away is no error.

use std::io::{IsTerminal, Write};

/// What the two streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Printer {
    /// Standard error is a terminal.
    pub terminal: bool,
    /// Colours may be used on standard error.
    pub color: bool,
}

impl Printer {
    /// Looks at the streams. `plain`: the environment asks for no colours, or the terminal has no abilities.
    pub fn of_process(no_color: bool, dumb: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !dumb;
        Printer { terminal, color: terminal && !no_color }
    }

    /// Writes data, as it is.
    pub fn data(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        // A closed pipe means that nobody wants the rest.
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Writes a message, as it is.
    pub fn message(&self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Writes bytes of an engine's log, as they are.
    pub fn bytes(&self, bytes: &[u8]) {
        let _ = std::io::stderr().lock().write_all(bytes);
    }

    /// `warning: ...`, one line: names and answers in it are from outside, and must neither begin a line of their own nor
    /// steer the terminal.
    pub fn warning(&self, text: &str) {
        let text = text.replace(char::is_control, " ");
        let (start, end) = if self.color { ("\x1b[33m", "\x1b[0m") } else { ("", "") };
        self.message(&format!("{start}warning:{end} {text}\n"));
    }
}
