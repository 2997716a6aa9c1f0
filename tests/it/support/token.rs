//! A token service as registries know it: `GET /token?scope=...` with a login gives a signed bearer token.
//!
//! It grants whatever scope is asked for, to whom it knows, and remembers what was asked. The registry forgives a token
//! 60 seconds after its end (distribution 2.8, `Leeway`), therefore tokens are made to have ended so long before.
//!
//! Docker's own clients take it that a token lives for 60 seconds at least, as the specification has it, and fail when
//! one does not. They get such tokens; the short life is for everybody else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::program::run;
use super::registry::{PASSWORD, USER};

/// What the registry adds to a token's life.
const LEEWAY: u64 = 60;

/// How the engines' own clients name themselves.
const ENGINES: [&str; 5] = ["docker", "Docker", "containerd", "buildkit", "Go-http-client"];

/// A running token service. Its thread ends with the test's process.
#[derive(Debug)]
pub struct TokenService {
    realm: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl TokenService {
    /// Makes a key and a certificate in the folder and starts to answer.
    #[track_caller]
    pub fn start(folder: &Path, lifetime: Duration) -> TokenService {
        let key = folder.join("key.pem");
        let certificate = folder.join("certificate.pem");
        let mut command = Command::new("openssl");
        command.args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-keyout",
        ]);
        let _ = run(command.arg(&key).arg("-out").arg(&certificate)).ok();
        let text = std::fs::read_to_string(&certificate).unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let signer = Signer { key, certificate: body, lifetime };
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in the middle is its own affair.
                let _ = signer.answer(stream, &log);
            }
        });
        TokenService { realm, asked }
    }

    /// The address that the registry names in its challenge.
    pub fn realm(&self) -> String {
        self.realm.clone()
    }

    /// The scopes that were asked for with a good login.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

struct Signer {
    key: PathBuf,
    certificate: String,
    lifetime: Duration,
}

impl Signer {
    fn answer(&self, mut stream: TcpStream, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut lines = reader.by_ref().lines();
        let request = lines.next().unwrap_or(Ok(String::new()))?;
        let mut authorization = String::new();
        let mut lifetime = self.lifetime;
        let mut length = 0;
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "authorization" => authorization = value.trim().to_owned(),
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "user-agent" if ENGINES.iter().any(|engine| value.trim().starts_with(engine)) => {
                    lifetime = lifetime.max(Duration::from_secs(LEEWAY));
                }
                _ => {}
            }
        }
        // A connection that is closed while its body is still coming is reset, and the answer lost.
        std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
        let login = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let (status, body) = match request.strip_prefix("GET ") {
            // Clients that try OAuth by POST first go back to GET on this answer.
            None => ("404 Not Found", json!({})),
            Some(_) if authorization != login => ("401 Unauthorized", json!({"details": "incorrect login"})),
            Some(target) => {
                let scopes = scopes(target.split(' ').next().unwrap_or_default());
                asked.lock().unwrap().extend(scopes.iter().cloned());
                ("200 OK", self.token(&scopes, lifetime))
            }
        };
        let body = body.to_string();
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
        )?;
        write!(stream, "Connection: close\r\n\r\n{body}")
    }

    fn token(&self, scopes: &[String], lifetime: Duration) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let access: Vec<Value> = scopes
            .iter()
            .filter_map(|scope| {
                let (kind, rest) = scope.split_once(':')?;
                let (name, actions) = rest.rsplit_once(':')?;
                Some(json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()}))
            })
            .collect();
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [self.certificate]});
        let claims = json!({
            "iss": "test", "sub": USER, "aud": "registry", "access": access, "jti": now.to_string(),
            "iat": now - 2 * LEEWAY, "nbf": now - 2 * LEEWAY, "exp": now + lifetime.as_secs() - LEEWAY,
        });
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes()));
        json!({"token": format!("{signed}.{signature}"), "expires_in": lifetime.as_secs()})
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let mut command = Command::new("openssl");
        command
            .args(["dgst", "-sha256", "-sign"])
            .arg(&self.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait_with_output().unwrap().stdout
    }
}

/// The scopes of a request target; several come as several parameters or in one, separated by blanks.
fn scopes(target: &str) -> Vec<String> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let values = query.split('&').filter_map(|pair| pair.strip_prefix("scope=")).map(decoded);
    values.flat_map(|value| value.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// A value of a query without its percent signs and pluses.
fn decoded(value: &str) -> String {
    let mut parts = value.split('%');
    let mut text = parts.next().unwrap_or_default().replace('+', " ");
    for part in parts {
        let code = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(b'?');
        text.push(char::from(code));
        text.push_str(&part.get(2..).unwrap_or_default().replace('+', " "));
    }
    text
}
