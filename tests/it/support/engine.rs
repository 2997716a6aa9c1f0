//! Docker engines with empty state, each with a socket, a configuration folder and a life of its own.

use std::fmt;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::program::{Finished, run, testbed};

/// Which engine, and how it stores images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Docker20,
    Docker26Graph,
    Docker26Containerd,
    Docker28Graph,
    Docker28Containerd,
}

impl Kind {
    pub const ALL: [Kind; 5] = [
        Kind::Docker20,
        Kind::Docker26Graph,
        Kind::Docker26Containerd,
        Kind::Docker28Graph,
        Kind::Docker28Containerd,
    ];

    /// The name that `tests/testbed/lib.sh` knows it by.
    fn name(self) -> &'static str {
        match self {
            Kind::Docker20 => "20",
            Kind::Docker26Graph => "26g",
            Kind::Docker26Containerd => "26c",
            Kind::Docker28Graph => "28g",
            Kind::Docker28Containerd => "28c",
        }
    }

    /// The version that it must say it has.
    pub fn version(self) -> &'static str {
        match self {
            Kind::Docker20 => "20.",
            Kind::Docker26Graph | Kind::Docker26Containerd => "26.",
            Kind::Docker28Graph | Kind::Docker28Containerd => "28.",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A running engine. Dropping it stops it and deletes its state; what a killed test leaves, `engines_sweep` removes.
#[derive(Debug)]
pub struct Engine {
    pub kind: Kind,
    /// Registries, beside the shared one, that it speaks plain HTTP to.
    insecure: String,
    /// The port on loopback where it listens with TLS as well.
    tls: Option<u16>,
    name: String,
    /// `PATH` with its programs in front.
    pub path: String,
    /// `DOCKER_HOST`.
    pub host: String,
    /// `DOCKER_CONFIG`: no credentials, and the plugins of its version.
    pub config: PathBuf,
}

impl Engine {
    /// Starts an engine with empty state.
    #[track_caller]
    pub fn start(kind: Kind) -> Engine {
        Engine::start_with(kind, &[])
    }

    /// Starts an engine that speaks plain HTTP to these registries too. Localhost is so by itself.
    #[track_caller]
    pub fn start_with(kind: Kind, insecure: &[&str]) -> Engine {
        Engine::new(kind, insecure, None)
    }

    /// Starts an engine that is reached with TLS: its address, and the folder of the client's certificates.
    #[track_caller]
    pub fn start_with_tls(kind: Kind) -> (Engine, String, PathBuf) {
        // Nobody else is given this port as long as there are others.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
        let engine = Engine::new(kind, &[], Some(free.port()));
        let certificates = engine.config.parent().unwrap().join("tls");
        (engine, format!("tcp://{free}"), certificates)
    }

    #[track_caller]
    fn new(kind: Kind, insecure: &[&str], tls: Option<u16>) -> Engine {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut engine = Engine {
            kind,
            insecure: insecure.join(" "),
            tls,
            name,
            path: String::new(),
            host: String::new(),
            config: PathBuf::new(),
        };
        engine.up();
        engine
    }

    /// Drops the whole state and starts again: the next, empty runner.
    #[track_caller]
    pub fn reset(&mut self) {
        self.up();
    }

    #[track_caller]
    fn up(&mut self) {
        // An engine of that name that still runs is stopped and deleted first.
        let answer = testbed(
            r#"engine_up "$1" "$2" && printf '%s\n' "$PATH" "$DOCKER_HOST" "$DOCKER_CONFIG""#,
            &[self.kind.name(), &self.name],
            &[
                ("ENGINE_OWNER", &std::process::id().to_string()),
                ("ENGINE_INSECURE", &self.insecure),
                ("ENGINE_TLS", &self.tls.map_or_else(String::new, |port| port.to_string())),
            ],
        )
        .ok()
        .text();
        let lines: Vec<&str> = answer.lines().collect();
        let [path, host, config] = lines[..] else { panic!("three lines, not {answer:?}") };
        (self.path, self.host, self.config) = (path.to_owned(), host.to_owned(), config.into());
    }

    /// Its Docker client, ready for arguments.
    pub fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("PATH", &self.path).env("DOCKER_HOST", &self.host).env("DOCKER_CONFIG", &self.config);
        command.env("DOCKER_BUILDKIT", "1");
        command
    }

    /// Runs its Docker client.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        run(self.docker().args(arguments))
    }

    /// A file of an image that the engine has.
    #[track_caller]
    pub fn file(&self, image: &str, path: &str) -> String {
        self.run(&["run", "--rm", "--network=none", image, "cat", path]).ok().text()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let stopped = testbed(r#"engine_down "$1""#, &[&self.name], &[]);
        if stopped.code != 0 && !std::thread::panicking() {
            panic!("engine {} was not stopped: {}", self.name, stopped.all());
        }
    }
}
