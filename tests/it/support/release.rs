//! A release page on this machine: the tests' own binary, to be fetched over HTTP by version and architecture.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use super::program::run;

/// A server that has the binary of version 0.1.0. Its thread ends with the test's process.
#[derive(Debug)]
pub struct Release {
    /// For `LAYERLIFT_URL`, with `{version}` and `{arch}` in it.
    pub url: String,
    /// Of the binary.
    pub sha256: String,
}

impl Release {
    #[track_caller]
    pub fn start() -> Release {
        Release::start_at("127.0.0.1")
    }

    /// At one of this machine's addresses.
    #[track_caller]
    pub fn start_at(host: &str) -> Release {
        let binary = env!("CARGO_BIN_EXE_layerlift");
        let sum = run(Command::new("sha256sum").arg(binary)).ok().text();
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in the middle is its own affair.
                let _ = answer(stream, binary);
            }
        });
        Release {
            url: format!("http://{address}/v{{version}}/layerlift-linux-{{arch}}"),
            sha256: sum.split(' ').next().unwrap().to_owned(),
        }
    }
}

fn answer(mut stream: TcpStream, binary: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let known =
        ["amd64", "arm64"].iter().any(|arch| request.contains(&format!(" /v0.1.0/layerlift-linux-{arch} ")));
    let (status, body) =
        if known { ("200 OK", std::fs::read(binary)?) } else { ("404 Not Found", Vec::new()) };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}
