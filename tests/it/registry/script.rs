//! A registry that misbehaves as it is told: an HTTP/1.1 server on a socket, with a function from request to reply.
//!
//! It answers one request per connection and keeps all requests for later questions. Nothing in it knows the
//! distribution spec; what a test needs of that stands in the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// `GET /v2/`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// How a reply goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It does not.
    Well,
    /// Only so many bytes of the body are sent, then the connection is closed.
    CutAfter(usize),
    /// Only so many bytes of the body are sent, then nothing more happens.
    StallAfter(usize),
    /// No HTTP at all.
    Garbage,
    /// The connection is closed without an answer.
    Closed,
    /// Nothing is ever answered.
    Silent,
}

/// One reply.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    manner: Manner,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Reply { status, headers: Vec::new(), body: Vec::new(), manner: Manner::Well }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }
}

/// A running server. It ends with the test's runtime.
pub struct Server {
    /// `127.0.0.1:port`.
    pub host: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    /// Starts a server. The function gets the request and how many requests with the same first line came before it.
    pub async fn start(answer: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("address").to_string();
        let received = Arc::new(Mutex::new(Vec::new()));
        let server = Server { host, received: Arc::clone(&received) };
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (received, answer) = (Arc::clone(&received), Arc::clone(&answer));
                tokio::spawn(async move { converse(stream, &received, &*answer).await });
            }
        });
        server
    }

    /// Everything that was asked, in order.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("lock").clone()
    }

    /// The first lines of everything that was asked, in order.
    pub fn lines(&self) -> Vec<String> {
        self.received().iter().map(Received::line).collect()
    }
}

async fn converse(
    mut stream: TcpStream,
    received: &Mutex<Vec<Received>>,
    answer: &(dyn Fn(&Received, usize) -> Reply + Send + Sync),
) {
    let Some(request) = read(&mut stream).await else { return };
    let before = {
        let mut all = received.lock().expect("lock");
        let before = all.iter().filter(|earlier| earlier.line() == request.line()).count();
        all.push(request.clone());
        before
    };
    let reply = answer(&request, before);
    let mut text = format!("HTTP/1.1 {} Status\r\nconnection: close\r\n", reply.status);
    if !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        text.push_str(&format!("content-length: {}\r\n", reply.body.len()));
    }
    for (name, value) in &reply.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let body: &[u8] = if request.method == "HEAD" { &[] } else { &reply.body };
    let (sent, stays_open) = match reply.manner {
        Manner::Well => (body.len(), false),
        Manner::CutAfter(count) => (count, false),
        Manner::StallAfter(count) => (count, true),
        Manner::Garbage => return drop(stream.write_all(b"\0\x01SSH-2.0-garbage\r\n\r\n").await),
        Manner::Closed => return,
        Manner::Silent => return std::future::pending().await,
    };
    // A client that goes away is what some of these replies are for.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.write_all(&body[..sent]).await;
    let _ = stream.flush().await;
    if stays_open {
        std::future::pending::<()>().await;
    }
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or_default();
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        body.extend_from_slice(&buffer[..count]);
    }
    Some(Received { method, target, headers, body })
}
