//! What is asked again, how long that takes, and what it ends in.

use std::time::{Duration, Instant};

use layerlift::model::reference::Digest;
use layerlift::registry::Error;

use super::script::{Manner, Reply, Server};
use super::{anonymous, client, reference, repository};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;

fn good() -> Reply {
    Reply::new(200).header("content-type", "application/vnd.oci.image.manifest.v1+json").body(MANIFEST)
}

#[tokio::test]
async fn temporary_trouble_is_outlived() {
    for (name, trouble) in [
        ("429", Reply::new(429)),
        ("500", Reply::new(500)),
        ("502", Reply::new(502).body("<html>")),
        ("503", Reply::new(503).header("retry-after", "0")),
        ("closed", Reply::new(200).manner(Manner::Closed)),
        ("cut", good().manner(Manner::CutAfter(7))),
    ] {
        let server = Server::start(move |_, before| if before < 2 { trouble.clone() } else { good() }).await;
        let manifest = anonymous().get_manifest(&reference(&server)).await;
        assert_eq!(manifest.expect(name).bytes, MANIFEST, "{name}");
        assert_eq!(server.lines().len(), 3, "{name}");
    }
}

#[tokio::test]
async fn final_answers_are_asked_for_once() {
    for (status, expected) in [
        (403, "forbidden: DENIED, no"),
        (401, "not authorized (no credential was found): DENIED, no"),
        (400, "refused (HTTP 400): DENIED, no"),
        (418, "refused (HTTP 418): DENIED, no"),
    ] {
        let body = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
        let server = Server::start(move |_, _| Reply::new(status).body(body)).await;
        let error = anonymous().get_manifest(&reference(&server)).await.expect_err("refused");
        assert_eq!(error.to_string(), format!("{}: {expected}", reference(&server)), "{status}");
        assert_eq!(server.lines().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn the_budget_bounds_everything() {
    let silent = Reply::new(200).manner(Manner::Silent);
    for (name, trouble) in [
        ("silent", silent),
        ("stalled", good().manner(Manner::StallAfter(5))),
        ("failing", Reply::new(500)),
        ("patient", Reply::new(429).header("retry-after", "3600")),
    ] {
        let server = Server::start(move |_, _| trouble.clone()).await;
        let client = client(&[], Duration::from_millis(700));
        let started = Instant::now();
        let error = client.get_manifest(&reference(&server)).await.expect_err(name);
        assert!(started.elapsed() < Duration::from_secs(4), "{name}: {:?}", started.elapsed());
        let matches = match name {
            "failing" => matches!(error, Error::Unavailable { status: 500, .. } | Error::TimedOut { .. }),
            "patient" => {
                matches!(error, Error::TooManyRequests { retry_after: Some(pause), .. } if pause.as_secs() == 3600)
            }
            _ => matches!(error, Error::TimedOut { .. }),
        };
        assert!(matches, "{name}: {error}");
    }
}

#[tokio::test]
async fn a_limited_host_is_left_alone_by_everyone() {
    let server = Server::start(|_, _| Reply::new(429).header("retry-after", "60")).await;
    let client = anonymous();
    let first = client.get_manifest(&reference(&server)).await.expect_err("limited");
    let second = client.clone().list_tags(&repository(&server)).await.expect_err("held back");
    assert!(
        matches!(first, Error::TooManyRequests { .. }) && matches!(second, Error::TooManyRequests { .. })
    );
    assert_eq!(server.lines().len(), 1, "the second question was not sent");
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let server = Server::start(
        |_, before| {
            if before == 0 { Reply::new(503).header("retry-after", "1") } else { good() }
        },
    )
    .await;
    let started = Instant::now();
    anonymous().get_manifest(&reference(&server)).await.expect("manifest");
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("port").local_addr().expect("address");
    let reference = format!("{free}/app:main").parse().expect("reference");
    let started = Instant::now();
    let error = anonymous().head_manifest(&reference).await.expect_err("nobody");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("{reference}: {free} cannot be reached from here"));
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn garbage_is_an_error_like_any_other() {
    let server = Server::start(|_, _| Reply::new(200).manner(Manner::Garbage)).await;
    let client = client(&[], Duration::from_millis(500));
    let error = client.get_manifest(&reference(&server)).await.expect_err("garbage");
    assert!(error.is_temporary(), "{error:?}");
}

#[tokio::test]
async fn a_broken_download_is_resumed() {
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = Digest::of(&content);
    for ranges in [true, false] {
        let whole = content.clone();
        let server = Server::start(move |request, before| {
            let from = request.header("range").trim_start_matches("bytes=").trim_end_matches('-').parse();
            let reply = match from {
                Ok(from) if ranges => {
                    let part = &whole[from..];
                    let range = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
                    Reply::new(206).header("content-range", range).body(part)
                }
                _ => Reply::new(200).body(whole.clone()),
            };
            if before < 2 { reply.manner(Manner::CutAfter(60_000 * (before + 1))) } else { reply }
        })
        .await;
        let bytes = anonymous().get_blob(&repository(&server), &digest, 1 << 20).await.expect("blob");
        assert_eq!(bytes, content, "ranges: {ranges}");
        let asked: Vec<String> = server.received().iter().map(|it| it.header("range").to_owned()).collect();
        assert_eq!(asked.len(), 3);
        assert_eq!((asked[0].as_str(), asked[1].starts_with("bytes=")), ("", true));
    }
}

#[tokio::test]
async fn a_download_that_never_ends_well_ends() {
    let content = vec![7; 1000];
    let digest = Digest::of(&content);
    let server =
        Server::start(move |_, _| Reply::new(200).body(content.clone()).manner(Manner::CutAfter(10))).await;
    let error = anonymous().get_blob(&repository(&server), &digest, 1000).await.expect_err("broken");
    assert!(matches!(error, Error::Interrupted { .. }), "{error:?}");
    assert!(server.lines().len() <= 7, "{}", server.lines().len());
}
