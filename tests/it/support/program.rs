//! Running other programs to their end.

use std::process::{Command, Output};

/// What a program answered.
#[derive(Debug, Clone)]
#[must_use]
pub struct Finished {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Finished {
    /// Its standard output as text, without white space around it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// Everything that it said, for messages and searches.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.text(), self.stderr)
    }

    /// Itself, after a check that it went well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.all());
        self
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Finished {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a program; that it cannot be started is a failure of the test.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    match command.output() {
        Ok(output) => output.into(),
        Err(error) => panic!("{command:?}: {error}"),
    }
}

/// Runs lines of bash after `tests/testbed/lib.sh`, the one place that knows how engines and registries are started.
#[track_caller]
pub fn testbed(script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/lib.sh");
    let script = format!(". {library} || exit; {script}");
    run(Command::new("bash").args(["-c", &script, "testbed"]).args(arguments).envs(variables.iter().copied()))
}
