//! The digests of images that a Dockerfile names, as the registry has them.
//!
//! An engine that prefers an image of its own may build on another one than the tag means in the registry; whoever keeps a
//! result for reuse has to look.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::model::platform::Platform;
use crate::model::reference::{Digest, Reference};
use crate::registry::Client;
use crate::workflow::lookup;

/// What an image without registry is looked for in, before its own.
const HUB: &str = "docker.io";

/// Asks for all images at once. `mirrors`: registries that have what Docker Hub has, as `host[:port]` or an address.
///
/// The digest is that of the tag, so of an index where there is one: it moves with any of its platforms.
pub async fn resolve(
    client: &Client,
    mirrors: &[String],
    images: impl IntoIterator<Item = (String, Platform)>,
) -> BTreeMap<(String, Platform), Result<Digest, String>> {
    let asked = images.into_iter().map(|(image, platform)| async move {
        let found = digest(client, mirrors, &image).await;
        ((image, platform), found)
    });
    join_all(asked).await.into_iter().collect()
}

/// The digest of one image.
pub async fn digest(client: &Client, mirrors: &[String], image: &str) -> Result<Digest, String> {
    let reference: Reference = image.parse().map_err(|error| format!("{error}"))?;
    if let Some(digest) = reference.digest() {
        return Ok(digest.clone());
    }
    for place in places(&reference, mirrors) {
        // A mirror that is down, or has it not, is passed over, as engines do.
        if let Ok(Some(found)) = client.head_manifest(&place).await {
            return Ok(found.digest);
        }
    }
    match client.head_manifest(&reference).await {
        Ok(Some(found)) => Ok(found.digest),
        Ok(None) => Err("its registry does not have it".to_owned()),
        Err(error) => Err(lookup::reason(&error, &reference)),
    }
}

/// Where a mirror would have an image of Docker Hub.
fn places(reference: &Reference, mirrors: &[String]) -> Vec<Reference> {
    if reference.repository().registry() != HUB {
        return Vec::new();
    }
    let name = reference.to_string();
    let rest = name.strip_prefix(HUB).unwrap_or(&name);
    let host = |mirror: &String| {
        let host = mirror.split_once("://").map_or(mirror.as_str(), |(_, host)| host);
        format!("{}{rest}", host.trim_end_matches('/')).parse().ok()
    };
    mirrors.iter().filter_map(host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_has_what_the_hub_has() {
        let at = |image: &str| -> Vec<String> {
            let mirrors = ["http://mirror.lan:5000/".to_owned(), "other.lan".to_owned()];
            let reference = image.parse().expect("reference");
            places(&reference, &mirrors).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            at("busybox"),
            ["mirror.lan:5000/library/busybox:latest", "other.lan/library/busybox:latest"]
        );
        assert_eq!(at("quay.lan/a/b:1"), [""; 0]);
    }
}
