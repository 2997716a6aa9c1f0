//! The one door to other programs: what to run is a value, run with captured output or line by line.
//!
//! Children get a process group of their own, so that an interrupt reaches the engine's client and everything that it
//! started, once, and in our order: first the signal that we got, then, after [`GRACE`], `SIGKILL`. No shell is ever
//! involved.

mod handover;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Child;
use tokio::sync::watch;

use crate::base::env::LAYERLIFT_INSIDE;

pub use handover::Handover;

/// How long a child may take to end after it was asked to.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long nothing is said before the listener is told so.
pub const PAUSE: Duration = Duration::from_millis(250);

/// The longest line that is kept in one piece; longer ones are handed on in parts.
const LONGEST_LINE: usize = 1 << 20;

/// Captured output is bounded: a program that we ask a question has no reason to answer with more.
const LARGEST_CAPTURE: u64 = 16 << 20;

/// What the child reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    #[default]
    Nothing,
    /// Our own standard input.
    Inherited,
    /// These bytes.
    Bytes(Bytes),
    /// This file.
    File(PathBuf),
}

/// A program with its arguments: shown in plans, then run as shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Name, looked up on `PATH`, or path.
    pub program: String,
    /// Arguments, without the program's name.
    pub arguments: Vec<String>,
    /// Variables that differ from our own environment; `None` removes one.
    pub environment: Vec<(String, Option<OsString>)>,
    /// The folder that it is run in; `None`: ours.
    pub folder: Option<PathBuf>,
    /// What it reads.
    pub input: Input,
}

impl Command {
    /// A command with nothing but arguments.
    pub fn new<Text: Into<String>>(program: &str, arguments: impl IntoIterator<Item = Text>) -> Self {
        Command {
            program: program.to_owned(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            ..Command::default()
        }
    }

    /// Sets a variable for the child.
    pub fn with_variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), Some(value.into())));
        self
    }

    #[expect(clippy::disallowed_methods, reason = "this file is the door")]
    fn spawn(&self, stdout: Stdio, stderr: Stdio) -> Result<Child, Error> {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.arguments).stdout(stdout).stderr(stderr).process_group(0).kill_on_drop(true);
        command.env(LAYERLIFT_INSIDE.name, "1");
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.stdin(match &self.input {
            Input::Nothing => Stdio::null(),
            Input::Inherited => Stdio::inherit(),
            Input::Bytes(_) => Stdio::piped(),
            Input::File(path) => std::fs::File::open(path).map_err(|source| self.failed(source))?.into(),
        });
        let mut child = command.spawn().map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound { program: self.program.clone() },
            _ => self.failed(source),
        })?;
        if let (Input::Bytes(bytes), Some(mut stdin)) = (&self.input, child.stdin.take()) {
            let bytes = bytes.clone();
            // A child that does not read its input to the end is free to do so.
            tokio::spawn(async move { stdin.write_all(&bytes).await });
        }
        Ok(child)
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Failed { program: self.program.clone(), source }
    }
}

/// As one would type it, quoted for a POSIX shell. Variables stand in front.
impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.environment.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)))
        {
            write!(formatter, "{name}={} ", quote(&value.to_string_lossy()))?;
        }
        formatter.write_str(&quote(&self.program))?;
        self.arguments.iter().try_for_each(|argument| write!(formatter, " {}", quote(argument)))
    }
}

fn quote(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| format!("{word:?}"), |quoted| quoted.into_owned())
}

/// Why a program could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such program on `PATH`.
    #[error("`{program}` was not found on PATH")]
    NotFound {
        /// The program's name.
        program: String,
    },
    /// The system refused to start or to read it.
    #[error("`{program}` could not be run")]
    Failed {
        /// The program's name.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It did not end in time, and was killed.
    #[error("`{program}` did not answer within {} s", limit.as_secs())]
    TimedOut {
        /// The program's name.
        program: String,
        /// The time that it had.
        limit: Duration,
    },
    /// We were told to stop, and stopped it.
    #[error("interrupted")]
    Interrupted {
        /// The signal's number: 2 or 15.
        signal: i32,
    },
}

/// What a program answered.
#[derive(Debug, Clone)]
pub struct Captured {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a program to its end and keeps what it said (at most 16 MiB of each stream).
pub async fn capture(command: &Command, limit: Duration) -> Result<Captured, Error> {
    let mut child = command.spawn(Stdio::piped(), Stdio::piped())?;
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let work = async { tokio::join!(read_all(stdout), read_all(stderr), child.wait()) };
    match tokio::time::timeout(limit, work).await {
        Ok((stdout, stderr, status)) => {
            Ok(Captured { status: status.map_err(|source| command.failed(source))?, stdout, stderr })
        }
        Err(_) => Err(Error::TimedOut { program: command.program.clone(), limit }),
    }
}

async fn read_all(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What could be read before a failure is still an answer; the exit status tells the rest.
        let _ = stream.take(LARGEST_CAPTURE).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What becomes of the child's standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It is ours, untouched: an engine may write an image to it (`--output -`).
    Inherited,
    /// It is handed over line by line, as standard error is.
    Lines,
}

/// Interrupts of this process, as a value that can be waited for: 0, or the number of the first signal.
pub type Interrupts = watch::Receiver<i32>;

/// Starts listening for `SIGINT` and `SIGTERM`. From then on they no longer end the process by themselves.
///
/// `client` is the address that Docker's client gives its plugins ([`crate::base::env::DOCKER_CLI_PLUGIN_SOCKET`]): the
/// client keeps a signal that it gets to itself, and closes the socket in its place.
pub fn interrupts(client: Option<&str>) -> std::io::Result<Interrupts> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = watch::channel(0);
    for (kind, number) in [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15)] {
        let mut signals = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                sender.send_if_modified(|seen| std::mem::replace(seen, number) == 0);
            }
        });
    }
    // A client that cannot be reached has nothing to tell.
    if let Some(socket) = client.and_then(|address| connect(address).ok()) {
        tokio::spawn(async move {
            until_closed(socket).await;
            sender.send_if_modified(|seen| std::mem::replace(seen, 15) == 0);
        });
    }
    Ok(receiver)
}

/// Connects to a socket by its path, or by its name in the abstract space of Linux, which begins with `@`.
fn connect(address: &str) -> std::io::Result<tokio::net::UnixStream> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixStream::connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(socket)
}

/// Docker's client writes nothing; what it might is passed over.
async fn until_closed(mut socket: tokio::net::UnixStream) {
    let mut buffer = [0; 64];
    while socket.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

/// Runs a program to its end and hands over what it says, line by line with the line's end, as it comes.
///
/// While nothing is said, an empty line comes every [`PAUSE`], so that what was held back can be shown.
///
/// When an interrupt arrives, the child's process group gets the same signal, then [`GRACE`] to end, and the call
/// returns [`Error::Interrupted`].
pub async fn stream(
    command: &Command,
    output: Output,
    interrupts: &mut Interrupts,
    mut line: impl FnMut(Stream, &[u8]),
) -> Result<ExitStatus, Error> {
    let stdout = if output == Output::Inherited { Stdio::inherit() } else { Stdio::piped() };
    let mut child = command.spawn(stdout, Stdio::piped())?;
    let mut lines_out = child.stdout.take().map(BufReader::new);
    let mut lines_err = child.stderr.take().map(BufReader::new);
    let (mut buffer_out, mut buffer_err) = (Vec::new(), Vec::new());
    let mut stopping: Option<(i32, tokio::time::Instant)> = None;
    while lines_out.is_some() || lines_err.is_some() {
        let deadline = stopping.map(|(_, since)| since + GRACE);
        tokio::select! {
            more = read_line(&mut lines_out, &mut buffer_out), if lines_out.is_some() => {
                if !more { lines_out = None; }
                if !buffer_out.is_empty() { line(Stream::Stdout, &buffer_out); buffer_out.clear(); }
            }
            more = read_line(&mut lines_err, &mut buffer_err), if lines_err.is_some() => {
                if !more { lines_err = None; }
                if !buffer_err.is_empty() { line(Stream::Stderr, &buffer_err); buffer_err.clear(); }
            }
            () = interrupted(interrupts), if stopping.is_none() => {
                let signal = *interrupts.borrow();
                send(&child, if signal == 2 { Signal::INT } else { Signal::TERM });
                stopping = Some((signal, tokio::time::Instant::now()));
            }
            () = at(deadline), if deadline.is_some() => {
                send(&child, Signal::KILL);
                break;
            }
            () = tokio::time::sleep(PAUSE) => line(Stream::Stderr, b""),
        }
    }
    let deadline = stopping.map(|(_, since)| since + GRACE);
    let status = tokio::select! {
        status = child.wait() => status.map_err(|source| command.failed(source))?,
        () = interrupted(interrupts), if stopping.is_none() => {
            let signal = *interrupts.borrow();
            send(&child, if signal == 2 { Signal::INT } else { Signal::TERM });
            if tokio::time::timeout(GRACE, child.wait()).await.is_err() { send(&child, Signal::KILL); }
            return Err(Error::Interrupted { signal });
        }
        () = at(deadline), if deadline.is_some() => {
            send(&child, Signal::KILL);
            child.wait().await.map_err(|source| command.failed(source))?
        }
    };
    match stopping {
        Some((signal, _)) => Err(Error::Interrupted { signal }),
        None => Ok(status),
    }
}

/// Reads up to a line's end or [`LONGEST_LINE`]; false at the end of the stream. Cancellation keeps what was read.
async fn read_line(reader: &mut Option<BufReader<impl AsyncRead + Unpin>>, buffer: &mut Vec<u8>) -> bool {
    let Some(reader) = reader else { return std::future::pending().await };
    loop {
        let Ok(available) = reader.fill_buf().await else { return false };
        if available.is_empty() {
            return false;
        }
        let end = available.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(available.len());
        buffer.extend_from_slice(&available[..taken]);
        reader.consume(taken);
        if end.is_some() || buffer.len() >= LONGEST_LINE {
            return true;
        }
    }
}

/// Ends when the process was told to stop; never, if nobody can tell it any more.
pub async fn interrupted(interrupts: &mut Interrupts) {
    if interrupts.wait_for(|signal| *signal != 0).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn at(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Signals the child's whole group. A child that has ended meanwhile is no error.
fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id as i32)) {
        let _ = kill_process_group(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        Command::new("sh", ["-c", script])
    }

    #[tokio::test]
    async fn captures_both_streams_and_the_status() {
        let answer = capture(&shell("echo out; echo err >&2; exit 3"), GRACE).await.expect("runs");
        assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(answer.status.code(), Some(3));
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = capture(&Command::new("no-such-program", [""; 0]), GRACE).await.expect_err("missing");
        assert_eq!(error.to_string(), "`no-such-program` was not found on PATH");
    }

    #[tokio::test]
    async fn hands_over_lines_and_feeds_input() {
        let mut command = shell("cat; printf 'no end' >&2");
        command.input = Input::Bytes(Bytes::from_static(b"a\nb\n"));
        let (_keep, mut interrupts) = watch::channel(0);
        let mut seen = Vec::new();
        let status = stream(&command, Output::Lines, &mut interrupts, |from, line| {
            seen.push((from == Stream::Stdout, String::from_utf8_lossy(line).into_owned()));
        })
        .await
        .expect("runs");
        assert!(status.success());
        seen.sort();
        assert_eq!(seen, [(false, "no end".into()), (true, "a\n".into()), (true, "b\n".into())]);
    }

    #[tokio::test]
    async fn an_interrupt_reaches_the_whole_group() {
        let folder = tempfile::tempdir().expect("folder");
        let mark = folder.path().join("mark");
        let script = format!("trap 'echo $? > {}; exit 0' TERM; echo ready; sleep 60 & wait", mark.display());
        let (sender, mut interrupts) = watch::channel(0);
        let result = stream(&shell(&script), Output::Lines, &mut interrupts, |_, _| {
            sender.send_replace(15);
        })
        .await;
        assert!(matches!(result, Err(Error::Interrupted { signal: 15 })), "{result:?}");
        assert!(mark.exists(), "the trap ran");
    }

    #[test]
    fn is_shown_as_one_would_type_it() {
        let command =
            Command::new("docker", ["build", "--label", "a=b c"]).with_variable("DOCKER_BUILDKIT", "1");
        assert_eq!(command.to_string(), "DOCKER_BUILDKIT=1 docker build --label 'a=b c'");
    }
}
