//! What each verb asks, and what it makes of answers that are not quite right.

use bytes::Bytes;
use layerlift::model::reference::Digest;
use layerlift::registry::{Content, Error, Layout, Place, Uploaded, copy};

use super::script::{Manner, Reply, Server};
use super::{anonymous, reference, repository};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;
const KIND: &str = "application/vnd.oci.image.manifest.v1+json";

fn good() -> Reply {
    Reply::new(200).header("content-type", KIND).body(MANIFEST)
}

#[tokio::test]
async fn head_describes_and_falls_back_to_get() {
    let digest = Digest::of(MANIFEST);
    for (name, head, requests) in [
        ("complete", good().header("docker-content-digest", digest.as_str()), 1),
        ("no digest", good(), 2),
        ("no HEAD", Reply::new(405), 2),
    ] {
        let server =
            Server::start(move |request, _| if request.method == "HEAD" { head.clone() } else { good() })
                .await;
        let found = anonymous().head_manifest(&reference(&server)).await.expect(name).expect(name);
        assert_eq!(
            (found.digest, found.size, found.media_type.as_str()),
            (digest.clone(), 43, KIND),
            "{name}"
        );
        assert_eq!(server.lines().len(), requests, "{name}");
    }
    let server = Server::start(|_, _| Reply::new(404)).await;
    assert_eq!(anonymous().head_manifest(&reference(&server)).await.expect("asked"), None);
    assert_eq!(server.lines(), ["HEAD /v2/app/manifests/main"]);
}

#[tokio::test]
async fn manifests_are_checked_and_bounded() {
    let other = Digest::of(b"other");
    let lying = good().header("docker-content-digest", other.as_str());
    let server = Server::start(move |_, _| lying.clone()).await;
    let error = anonymous().get_manifest(&reference(&server)).await.expect_err("lie");
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");

    let server = Server::start(|_, _| good()).await;
    let error =
        anonymous().get_manifest(&repository(&server).with_digest(&other)).await.expect_err("another");
    assert!(matches!(error, Error::DigestMismatch { expected, .. } if expected == other));

    let server = Server::start(|_, _| Reply::new(200).body(vec![b' '; (4 << 20) + 1])).await;
    let error = anonymous().get_manifest(&reference(&server)).await.expect_err("huge");
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");

    let server = Server::start(|_, _| {
        Reply::new(200).header("content-type", "application/json; charset=x").body(MANIFEST)
    })
    .await;
    assert_eq!(anonymous().get_manifest(&reference(&server)).await.expect("manifest").media_type, KIND);
}

#[tokio::test]
async fn blobs_are_checked_and_bounded() {
    let server = Server::start(|_, _| Reply::new(200).body(*b"12345")).await;
    let repository = repository(&server);
    let client = anonymous();
    let error = client.get_blob(&repository, &Digest::of(b"other"), 5).await.expect_err("another");
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    let error = client.get_blob(&repository, &Digest::of(b"12345"), 4).await.expect_err("large");
    assert!(matches!(error, Error::TooLarge { limit: 4, .. }), "{error}");
    assert_eq!(client.head_blob(&repository, &Digest::of(b"12345")).await.expect("asked"), Some(5));
    assert_eq!((client.traffic().requests, client.traffic().bytes_in), (3, 10));
}

#[tokio::test]
async fn a_mount_may_be_accepted_or_refused() {
    let digest = Digest::of(b"x");
    for (status, mounted, cancels) in [(201, true, 0), (202, false, 1), (403, false, 0), (405, false, 0)] {
        let server = Server::start(move |request, _| match request.method.as_str() {
            "POST" => Reply::new(status).header("location", "/v2/app/blobs/uploads/7?state=a"),
            _ => Reply::new(204),
        })
        .await;
        let from = format!("{}/other", server.host).parse().expect("repository");
        let outcome = anonymous().mount_blob(&repository(&server), &digest, &from).await;
        assert_eq!(outcome.expect("answered"), mounted, "{status}");
        let lines = server.lines();
        let mount = format!("POST /v2/app/blobs/uploads/?mount=sha256%3A{}&from=other", digest.hex());
        assert_eq!(lines[0], mount);
        assert_eq!(lines[1..], vec!["DELETE /v2/app/blobs/uploads/7?state=a"; cancels][..], "{status}");
    }
}

#[tokio::test]
async fn an_upload_keeps_the_sessions_state_and_begins_anew_when_it_breaks() {
    let digest = Digest::of(b"content");
    let server = Server::start(|request, before| match request.method.as_str() {
        "HEAD" => Reply::new(404),
        "POST" => Reply::new(202).header("location", format!("/v2/app/blobs/uploads/{before}?_state=a%2Fb")),
        "PUT" if request.target.contains("/uploads/0") => Reply::new(200).manner(Manner::Closed),
        "PUT" => Reply::new(201),
        _ => Reply::new(204),
    })
    .await;
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), "content").expect("written");
    let content = Content::File(file.path().to_owned());
    let uploaded = anonymous().put_blob(&repository(&server), &digest, &content).await.expect("uploaded");
    assert_eq!(uploaded, Uploaded::Sent);
    let hex = digest.hex();
    assert_eq!(
        server.lines(),
        [
            format!("HEAD /v2/app/blobs/sha256:{hex}"),
            "POST /v2/app/blobs/uploads/".to_owned(),
            format!("PUT /v2/app/blobs/uploads/0?_state=a%2Fb&digest=sha256%3A{hex}"),
            "DELETE /v2/app/blobs/uploads/0?_state=a%2Fb".to_owned(),
            "POST /v2/app/blobs/uploads/".to_owned(),
            format!("PUT /v2/app/blobs/uploads/1?_state=a%2Fb&digest=sha256%3A{hex}"),
        ]
    );
    let received = server.received();
    assert_eq!(received[5].body, b"content");
    assert_eq!(received[5].header("content-length"), "7");
}

#[tokio::test]
async fn what_is_there_is_not_uploaded() {
    let server = Server::start(|_, _| Reply::new(200)).await;
    let content = Content::Bytes(Bytes::from_static(b"x"));
    let uploaded = anonymous().put_blob(&repository(&server), &Digest::of(b"x"), &content).await;
    assert_eq!(uploaded.expect("asked"), Uploaded::Present);
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_put_may_answer_nothing_or_the_wrong_thing() {
    let server = Server::start(|_, _| Reply::new(201)).await;
    let put = anonymous().put_manifest(&reference(&server), KIND, Bytes::from_static(MANIFEST)).await;
    assert_eq!(put.expect("put"), Digest::of(MANIFEST));
    assert_eq!(server.received()[0].header("content-type"), KIND);
    assert_eq!(server.received()[0].body, MANIFEST);

    let wrong = Digest::of(b"wrong");
    let server =
        Server::start(move |_, _| Reply::new(201).header("docker-content-digest", wrong.as_str())).await;
    let put = anonymous().put_manifest(&reference(&server), KIND, Bytes::from_static(MANIFEST)).await;
    assert!(matches!(put, Err(Error::DigestMismatch { .. })), "{put:?}");
}

#[tokio::test]
async fn tags_are_listed_page_by_page() {
    let server = Server::start(|request, _| match request.target.as_str() {
        "/v2/app/tags/list?n=1000" => {
            let next = r#"</v2/app/tags/list?n=1000&last=b>; rel="next""#;
            Reply::new(200).header("link", next).body(r#"{"name":"app","tags":["a","b"]}"#)
        }
        _ => Reply::new(200).body(r#"{"name":"app","tags":["c"]}"#),
    })
    .await;
    assert_eq!(anonymous().list_tags(&repository(&server)).await.expect("tags"), ["a", "b", "c"]);

    for (name, body, expected) in [("null", r#"{"tags":null}"#, Some(0)), ("page", "<html>", None)] {
        let server = Server::start(move |_, _| Reply::new(200).body(body)).await;
        let tags = anonymous().list_tags(&repository(&server)).await;
        assert_eq!(tags.ok().map(|tags| tags.len()), expected, "{name}");
    }
    let server = Server::start(|_, _| Reply::new(404)).await;
    assert_eq!(anonymous().list_tags(&repository(&server)).await.expect("tags"), [""; 0]);
}

#[tokio::test]
async fn lists_that_lead_astray_are_refused() {
    for link in ["<http://127.0.0.1:1/v2/app/tags/list>; rel=next", "</v2/app/tags/list?n=1000>; rel=next"] {
        let server =
            Server::start(move |_, _| Reply::new(200).header("link", link).body(r#"{"tags":["a"]}"#)).await;
        let tags = anonymous().list_tags(&repository(&server)).await;
        assert!(matches!(tags, Err(Error::Malformed { .. })), "{link}: {tags:?}");
    }
    let endless = Server::start(|request, _| {
        let next = format!("<{}1>; rel=next", request.target);
        Reply::new(200).header("link", next).body(r#"{"tags":["a"]}"#)
    })
    .await;
    let tags = anonymous().list_tags(&repository(&endless)).await;
    assert!(matches!(tags, Err(Error::Malformed { .. })));
}

#[tokio::test]
async fn deleting_a_tag_deletes_no_one_elses_manifest() {
    let server =
        Server::start(|request, _| match (request.method.as_str(), request.target.contains("/blobs/")) {
            ("DELETE", _) if request.target.ends_with("/main") => Reply::new(405),
            ("HEAD", false) => good().header("docker-content-digest", Digest::of(MANIFEST).as_str()),
            ("HEAD", true) => Reply::new(200),
            ("PUT", _) => Reply::new(201),
            _ => Reply::new(202),
        })
        .await;
    anonymous().delete_tag(&reference(&server)).await.expect("deleted");
    let received = server.received();
    let put = received.iter().find(|request| request.method == "PUT").expect("a manifest of its own");
    let last = received.last().expect("requests");
    assert_eq!(last.line(), format!("DELETE /v2/app/manifests/{}", Digest::of(&put.body)));
    assert_ne!(put.body, MANIFEST);

    let server = Server::start(|_, _| Reply::new(404)).await;
    anonymous().delete_tag(&reference(&server)).await.expect("gone already");
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_copy_can_be_spawned_and_leaves_out_what_is_there() {
    let layer = Digest::of(b"layer");
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"{layer}","size":5}},"layers":[]}}"#
    );
    let served = manifest.clone();
    let server = Server::start(move |request, _| match request.target.contains("/blobs/") {
        true => Reply::new(200).body(*b"layer"),
        false => Reply::new(200).header("content-type", KIND).body(served.clone()),
    })
    .await;
    let folder = tempfile::tempdir().expect("folder");
    let layout = Layout::create(folder.path()).await.expect("layout");
    let (client, from) = (anonymous(), reference(&server));
    let copied = tokio::spawn(async move {
        let (source, target) = (Place::Registry(&client, &from), Place::Layout(&layout, "main"));
        let first = copy(source, target, &|_| {}).await?;
        Ok::<_, Error>((first, copy(source, target, &|_| {}).await?))
    });
    let (first, second) = copied.await.expect("ran").expect("copied");
    assert_eq!(first.digest, Digest::of(manifest.as_bytes()));
    assert_eq!((first.sent, first.bytes, second.sent, second.present), (1, 5, 0, 1));
    let fetched =
        server.lines().iter().filter(|line| line.starts_with("GET") && line.contains("/blobs/")).count();
    assert_eq!(fetched, 1);
}
