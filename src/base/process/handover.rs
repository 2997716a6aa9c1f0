//! A program that takes our place, or runs in the foreground.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};

use super::{Command, Error, Interrupts, interrupted};

/// A program that goes on where we are, with our streams. Words are bytes, as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handover {
    /// Name, looked up on `PATH`, or path.
    pub program: OsString,
    /// What the program is told that it was called as, where that differs.
    pub called_as: Option<OsString>,
    /// Arguments, without the program's name.
    pub arguments: Vec<OsString>,
    /// Variables that differ from our own environment; `None` removes one.
    pub environment: Vec<(String, Option<OsString>)>,
}

impl Handover {
    /// Becomes the program: same process, same streams, its exit code. Returns only where the system refuses.
    pub fn replace(&self) -> Error {
        self.replace_reading(None)
    }

    /// The same; `stdin` is what it is to read where our own standard input was read already.
    pub fn replace_reading(&self, stdin: Option<std::fs::File>) -> Error {
        let mut command = self.command();
        if let Some(file) = stdin {
            command.stdin(file);
        }
        let source = command.exec();
        self.failed(source)
    }

    /// Runs the program in the foreground and waits for it. An interrupt of a terminal reaches it from there, since it
    /// is in our process group; any other is passed on. It decides what becomes of it.
    pub async fn wait(&self, interrupts: &mut Interrupts) -> Result<ExitStatus, Error> {
        let spawned = tokio::process::Command::from(self.command()).spawn();
        let mut child = spawned.map_err(|source| self.failed(source))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32));
        let status = tokio::select! {
            status = child.wait() => status,
            () = interrupted(interrupts) => {
                let is_interrupt = *interrupts.borrow() == 2;
                if let Some(pid) = pid.filter(|_| !is_interrupt || !std::io::stdin().is_terminal()) {
                    // One that has ended meanwhile is no error.
                    let _ = kill_process(pid, if is_interrupt { Signal::INT } else { Signal::TERM });
                }
                child.wait().await
            }
        };
        status.map_err(|source| self.failed(source))
    }

    #[expect(clippy::disallowed_methods, reason = "this file is the door")]
    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.arguments);
        if let Some(name) = &self.called_as {
            command.arg0(name);
        }
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    fn failed(&self, source: std::io::Error) -> Error {
        let program = self.program.to_string_lossy().into_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound if !program.contains('/') => Error::NotFound { program },
            _ => Error::Failed { program, source },
        }
    }
}

impl From<&Command> for Handover {
    fn from(command: &Command) -> Self {
        Handover {
            program: command.program.clone().into(),
            called_as: None,
            arguments: command.arguments.iter().map(Into::into).collect(),
            environment: command.environment.clone(),
        }
    }
}
