//! Who is told which secret, when, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use layerlift::model::reference::Digest;
use layerlift::registry::{Error, Source};

use super::script::{Received, Reply, Server};
use super::{anonymous, client, reference, repository};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;

/// `DOCKER_AUTH_CONFIG` with `me:hunter2` (or an identity token) for a host.
fn login(host: &str, entry: &str) -> String {
    format!(r#"{{"auths":{{"{host}":{entry}}}}}"#)
}

const PASSWORD: &str = r#"{"username":"me","password":"hunter2"}"#;
const BASIC: &str = "Basic bWU6aHVudGVyMg==";

fn good() -> Reply {
    Reply::new(200).header("content-type", "application/vnd.oci.image.manifest.v1+json").body(MANIFEST)
}

fn challenge(request: &Received) -> Reply {
    let realm = format!("http://{}/token", request.header("host"));
    Reply::new(401).header("www-authenticate", r#"Basic realm="the web page""#).header(
        "www-authenticate",
        format!(r#"Bearer realm="{realm}",service="the registry",scope="repository:app:pull""#),
    )
}

#[tokio::test]
async fn basic_is_sent_once_it_was_asked_for() {
    let server = Server::start(|request, _| match request.header("authorization") {
        BASIC => good(),
        _ => Reply::new(401).header("www-authenticate", "Basic realm=x"),
    })
    .await;
    let client = client(&[("DOCKER_AUTH_CONFIG", &login(&server.host, PASSWORD))], Duration::from_secs(5));
    for _ in 0..2 {
        client.get_manifest(&reference(&server)).await.expect("manifest");
    }
    let sent: Vec<_> = server.received().iter().map(|it| it.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["", BASIC, BASIC]);
}

#[tokio::test]
async fn a_refused_password_is_named_by_its_source_and_not_shown() {
    let server = Server::start(|_, _| Reply::new(401).header("www-authenticate", "Basic realm=x")).await;
    let client = client(&[("DOCKER_AUTH_CONFIG", &login(&server.host, PASSWORD))], Duration::from_secs(5));
    let error = client.get_manifest(&reference(&server)).await.expect_err("refused");
    let Error::Unauthorized { credential: Some(Source::DockerAuthConfig), .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(server.lines().len(), 2);
    assert!(!format!("{error} {error:?} {client:?}").contains("hunter2"));
}

#[tokio::test]
async fn tokens_are_shared_kept_and_replaced_when_refused() {
    let issued = Arc::new(AtomicUsize::new(0));
    let uses = Arc::new(AtomicUsize::new(0));
    let (issue, used) = (Arc::clone(&issued), Arc::clone(&uses));
    let server = Server::start(move |request, _| {
        if request.target.starts_with("/token?") {
            assert_eq!(request.header("authorization"), BASIC);
            assert!(request.target.contains("service=the+registry"), "{}", request.target);
            assert!(request.target.contains("scope=repository%3Aapp%3Apull"), "{}", request.target);
            let number = issue.fetch_add(1, Ordering::SeqCst);
            used.store(0, Ordering::SeqCst);
            return Reply::new(200).body(format!(r#"{{"token":"t{number}","expires_in":300}}"#));
        }
        let current = format!("Bearer t{}", issue.load(Ordering::SeqCst).wrapping_sub(1));
        // Each token is good for three requests, whatever it says of itself.
        if request.header("authorization") == current && used.fetch_add(1, Ordering::SeqCst) < 3 {
            return good();
        }
        challenge(request)
    })
    .await;
    let client = client(&[("DOCKER_AUTH_CONFIG", &login(&server.host, PASSWORD))], Duration::from_secs(5));
    let main = reference(&server);
    let (one, two, three) =
        tokio::join!(client.get_manifest(&main), client.get_manifest(&main), client.get_manifest(&main));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(issued.load(Ordering::SeqCst), 1, "three questions share one exchange");
    for _ in 0..3 {
        client.get_manifest(&main).await.expect("manifest");
    }
    assert_eq!(issued.load(Ordering::SeqCst), 2, "the refused token was replaced once");
}

#[tokio::test]
async fn an_expired_token_is_not_used() {
    let server = Server::start(|request, before| match request.target.starts_with("/token") {
        true => Reply::new(200).body(format!(r#"{{"access_token":"t{before}","expires_in":0}}"#)),
        false if request.header("authorization").starts_with("Bearer t") => good(),
        false => challenge(request),
    })
    .await;
    let client = anonymous();
    for _ in 0..2 {
        client.get_manifest(&reference(&server)).await.expect("manifest");
    }
    let sent: Vec<_> = server.received().iter().map(|it| it.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["", "", "Bearer t0", "", "Bearer t1"]);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_and_never_a_password() {
    let server = Server::start(|request, _| match request.line().as_str() {
        "POST /token" => {
            let form = String::from_utf8_lossy(&request.body).into_owned();
            assert!(
                form.contains("grant_type=refresh_token") && form.contains("refresh_token=secret-id"),
                "{form}"
            );
            Reply::new(200).body(r#"{"access_token":"short"}"#)
        }
        _ if request.header("authorization") == "Bearer short" => good(),
        _ => challenge(request),
    })
    .await;
    let config = login(&server.host, r#"{"identitytoken":"secret-id"}"#);
    client(&[("DOCKER_AUTH_CONFIG", &config)], Duration::from_secs(5))
        .get_manifest(&reference(&server))
        .await
        .expect("manifest");
    assert!(server.received().iter().all(|it| !it.header("authorization").contains("Basic")));
}

#[tokio::test]
async fn a_token_servers_words_reach_the_user() {
    let server = Server::start(|request, _| match request.target.starts_with("/token") {
        true => Reply::new(403).body(r#"{"errors":[{"code":"DENIED","message":"quota used up"}]}"#),
        false => challenge(request),
    })
    .await;
    let error = anonymous().get_manifest(&reference(&server)).await.expect_err("denied");
    assert_eq!(
        error.to_string(),
        format!("{}: not authorized (no credential was found): DENIED, quota used up", repository(&server))
    );
}

#[tokio::test]
async fn no_secret_goes_to_a_doubtful_token_server() {
    let server = Server::start(|_, _| {
        Reply::new(401).header("www-authenticate", r#"Bearer realm="http://evil.example/token""#)
    })
    .await;
    let client = client(&[("DOCKER_AUTH_CONFIG", &login(&server.host, PASSWORD))], Duration::from_secs(5));
    let error = client.get_manifest(&reference(&server)).await.expect_err("refused");
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_broken_token_server_is_retried() {
    let server = Server::start(|request, before| match request.target.starts_with("/token") {
        true if before < 2 => Reply::new(502),
        true => Reply::new(200).body(r#"{"token":"t"}"#),
        false if request.header("authorization") == "Bearer t" => good(),
        false => challenge(request),
    })
    .await;
    anonymous().get_manifest(&reference(&server)).await.expect("manifest");
}

#[tokio::test]
async fn authorization_does_not_cross_hosts() {
    let content = b"layer";
    let digest = Digest::of(content);
    let storage = Server::start(|_, _| Reply::new(200).body(*content)).await;
    let target = format!("http://{}/bucket/blob?signature=s3cret", storage.host);
    let server = Server::start(move |request, _| match request.header("authorization") {
        BASIC if request.target.contains("/hop") => Reply::new(302).header("location", target.clone()),
        BASIC => Reply::new(307).header("location", "/v2/app/hop"),
        _ => Reply::new(401).header("www-authenticate", "Basic"),
    })
    .await;
    let client = client(&[("DOCKER_AUTH_CONFIG", &login(&server.host, PASSWORD))], Duration::from_secs(5));
    let bytes = client.get_blob(&repository(&server), &digest, 100).await.expect("blob");
    assert_eq!(bytes, &content[..]);
    let received = storage.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].header("authorization"), "");
    assert_eq!(received[0].header("referer"), "");
}

#[tokio::test]
async fn signatures_of_storage_are_not_in_errors() {
    let storage = Server::start(|_, _| Reply::new(200).manner(super::script::Manner::Closed)).await;
    let target = format!("http://{}/bucket?signature=s3cret", storage.host);
    let server = Server::start(move |_, _| Reply::new(307).header("location", target.clone())).await;
    let client = client(&[], Duration::from_millis(400));
    let error = client.get_blob(&repository(&server), &Digest::of(b"x"), 100).await.expect_err("closed");
    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(|_, _| Reply::new(302).header("location", "/v2/again")).await;
    let error = anonymous().get_manifest(&reference(&server)).await.expect_err("loop");
    assert!(error.to_string().ends_with("too many redirects"), "{error}");
}
