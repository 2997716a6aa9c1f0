//! A proxy in front of a real registry that does one wrong thing at a time.
//!
//! It is transparent for the `Host` header, so that the registry's own `Location` answers lead back through it, and it
//! serves one request per connection: the request's head is read and changed, all else is copied as bytes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::registry::ask;

/// The longest head of a request or an answer.
const LONGEST_HEAD: usize = 64 << 10;

/// A wrong thing.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Answer with this status and these headers; nothing reaches the registry.
    Status(u16, &'static [(&'static str, &'static str)]),
    /// Say how long the body is, send half of it, and reset the connection.
    Reset,
    /// Say how long the body is, send half of it, and close the connection.
    Truncate,
    /// Send half of the body, then nothing for so long.
    Stall(Duration),
    /// Replace the body by as many other bytes; headers, digest included, stay.
    Garbage,
    /// Do what is right, but so much later.
    Delay(Duration),
}

/// A fault with where and how often it happens. A path may hold `*`; methods are separated by `|`.
#[derive(Debug)]
struct Rule {
    methods: &'static str,
    path: String,
    fault: Fault,
    left: usize,
}

/// A request that came through.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// What was done to it.
    pub fault: Option<Fault>,
}

impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)?;
        self.fault.map_or(Ok(()), |fault| write!(formatter, " ({fault:?})"))
    }
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    requests: Vec<Request>,
}

impl State {
    fn note(&mut self, method: &str, path: &str) -> Option<Fault> {
        let plain = path.split('?').next().unwrap_or_default();
        let rule = self.rules.iter_mut().find(|rule| {
            let of_method = rule.methods == "*" || rule.methods.split('|').any(|one| one == method);
            rule.left > 0 && of_method && matches(&rule.path, plain)
        });
        let fault = rule.map(|rule| {
            rule.left -= 1;
            rule.fault
        });
        self.requests.push(Request { method: method.to_owned(), path: path.to_owned(), fault });
        fault
    }
}

/// A running proxy; it stops with the value.
#[derive(Debug)]
pub struct Proxy {
    /// `localhost:PORT`.
    pub address: String,
    state: Arc<Mutex<State>>,
    runtime: Option<Runtime>,
}

/// A rule that was just made, to be limited.
#[must_use]
pub struct Limit<'a>(&'a Proxy);

impl Limit<'_> {
    /// The rule holds for so many requests only.
    pub fn times(self, count: usize) {
        if let Some(rule) = self.0.state.lock().unwrap().rules.last_mut() {
            rule.left = count;
        }
    }

    /// The rule holds until [`Proxy::clear`].
    pub fn always(self) {}
}

impl Proxy {
    /// Starts in front of the registry at `localhost:PORT`.
    #[track_caller]
    pub fn start(upstream: &str) -> Proxy {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("localhost:{}", listener.local_addr().unwrap().port());
        let port = upstream.rsplit(':').next().unwrap().parse().unwrap();
        let upstream = SocketAddr::from(([127, 0, 0, 1], port));
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                // Either side may go away at any time; that is what the proxy is for.
                tokio::spawn(async move { serve(client, upstream, &state).await });
            }
        });
        Proxy { address, state, runtime: Some(runtime) }
    }

    /// From now on this goes wrong. The oldest rule that fits wins.
    pub fn on(&self, methods: &'static str, path: &str, fault: Fault) -> Limit<'_> {
        let rule = Rule { methods, path: path.to_owned(), fault, left: usize::MAX };
        self.state.lock().unwrap().rules.push(rule);
        Limit(self)
    }

    /// From now on everything goes well; what was seen is forgotten.
    pub fn clear(&self) {
        *self.state.lock().unwrap() = State::default();
    }

    /// What came through since the last [`clear`](Proxy::clear).
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How many requests were harmed.
    pub fn faults(&self) -> usize {
        self.requests().iter().filter(|request| request.fault.is_some()).count()
    }

    /// An image as seen through the proxy.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// One request through it: the status, 0 if there was none, and as much of the body as came.
    pub fn ask(&self, method: &str, path: &str) -> (u16, Vec<u8>) {
        ask(&self.address, method, path, &["Accept: application/vnd.docker.distribution.manifest.v2+json"])
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The first byte of what a TLS client says.
const HELLO: u8 = 0x16;

async fn serve(mut client: TcpStream, upstream: SocketAddr, state: &Mutex<State>) -> Option<()> {
    let mut first = [0];
    if client.peek(&mut first).await.ok()? == 1 && first == [HELLO] {
        // As the registry does it, by which a client knows that this is plain HTTP.
        return refuse(client, 400, &[]).await;
    }
    let (head, rest) = read_head(&mut client).await?;
    let mut words = head.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let fault = state.lock().unwrap().note(&method, &path);
    match fault {
        Some(Fault::Status(status, headers)) => return refuse(client, status, headers).await,
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    let mut server = TcpStream::connect(upstream).await.ok()?;
    server.write_all(closing(&head).as_bytes()).await.ok()?;
    server.write_all(&rest).await.ok()?;
    match fault {
        None | Some(Fault::Status(..) | Fault::Delay(_)) => {
            tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()?;
        }
        Some(fault) => harm(&mut client, &mut server, fault).await?,
    }
    Some(())
}

/// Passes the answer's head on, and its body wrongly. Of use for requests without a body.
async fn harm(client: &mut TcpStream, server: &mut TcpStream, fault: Fault) -> Option<()> {
    let (head, mut body) = read_head(server).await?;
    server.read_to_end(&mut body).await.ok()?;
    client.write_all(head.as_bytes()).await.ok()?;
    match fault {
        Fault::Garbage => client.write_all(&vec![b'#'; body.len()]).await.ok()?,
        _ => client.write_all(&body[..body.len() / 2]).await.ok()?,
    }
    client.flush().await.ok()?;
    match fault {
        Fault::Stall(time) => tokio::time::sleep(time).await,
        // The half must have left before the reset, which drops what is still on its way.
        Fault::Reset => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            client.set_zero_linger().ok()?;
        }
        _ => {}
    }
    Some(())
}

async fn refuse(mut client: TcpStream, status: u16, headers: &[(&str, &str)]) -> Option<()> {
    let body = r#"{"errors":[{"code":"UNKNOWN","message":"the test says no"}]}"#;
    let mut answer =
        format!("HTTP/1.1 {status} Fault\r\nContent-Type: application/json\r\nConnection: close\r\n");
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    client.write_all(answer.as_bytes()).await.ok()?;
    client.shutdown().await.ok()?;
    // A client in the middle of its upload must be able to read the answer before the connection is gone.
    let drain = async { while client.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {} };
    let _ = tokio::time::timeout(Duration::from_secs(2), drain).await;
    Some(())
}

/// Reads to the empty line; what of the body came with it is the second value.
async fn read_head(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((String::from_utf8(bytes).ok()?, rest));
        }
        if bytes.len() > LONGEST_HEAD || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The head with `Connection: close`, by which the registry ends each connection after one answer.
fn closing(head: &str) -> String {
    let kept =
        head.trim_end().split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    kept.chain(["Connection: close", "", ""]).collect::<Vec<_>>().join("\r\n")
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).filter_map(|at| tail.get(at..)).any(|tail| matches(rest, tail))
        }),
    }
}

#[test]
fn patterns_fit_as_a_shell_has_it() {
    for (pattern, text, fits) in [
        ("/v2/", "/v2/", true),
        ("/v2/", "/v2/a", false),
        ("*", "", true),
        ("/v2/*/manifests/*", "/v2/a/b/manifests/c", true),
        ("/v2/*/manifests/*", "/v2/a/b/blobs/c", false),
        ("*cache*x", "a-cache-b", false),
    ] {
        assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
    }
}
