//! The files in which Docker's client tells what a build made: `--iidfile` and `--metadata-file`.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cachefmt::{self, Kind};
use crate::model::reference::Reference;
use crate::model::request::Request;
use crate::plan::reuse::Wanted;
use crate::registry::Manifest;
use crate::report::file::{self, Error};

/// What `docker build -q` prints and `--iidfile` gets: the config's digest; that of an index, which has no config of its
/// own (docker/buildx `commands/build.go`, getImageID).
pub fn image_id(root: &Manifest) -> String {
    config_digest(root).unwrap_or_else(|| root.digest.to_string())
}

fn config_digest(root: &Manifest) -> Option<String> {
    match cachefmt::classify(&root.bytes) {
        Ok(Kind::Image { config }) => Some(config.digest.to_string()),
        _ => None,
    }
}

/// Writes the files that the request names, from the working folder on. Of the metadata, what belongs to the image is
/// told; no build took place that could be named or attested.
pub fn write(request: &Request, working: &Path, root: &Manifest, names: &[Reference]) -> Result<(), Error> {
    if let Some(path) = request.last("iidfile") {
        file::replace(&working.join(path), image_id(root).as_bytes())?;
    }
    if let Some(path) = request.last("metadata-file") {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let text = format!("{:#}", Value::Object(told(root, &names)));
        file::replace(&working.join(path), text.as_bytes())?;
    }
    Ok(())
}

/// What the metadata of a bake tells of one target.
pub fn metadata(root: &Manifest, wanted: &Wanted) -> Value {
    let names = if wanted.push.is_empty() { &wanted.load } else { &wanted.push };
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    Value::Object(told(root, &names))
}

/// As buildx writes it (`commands/build.go`, writeMetadataFile); as text with two blanks for each level, keys in order, no
/// newline.
fn told(root: &Manifest, names: &[String]) -> Map<String, Value> {
    let mut told = Map::new();
    if let Some(config) = config_digest(root) {
        told.insert("containerimage.config.digest".to_owned(), json!(config));
    }
    told.insert(
        "containerimage.descriptor".to_owned(),
        json!({ "mediaType": root.media_type, "digest": root.digest, "size": root.bytes.len() }),
    );
    told.insert("containerimage.digest".to_owned(), json!(root.digest));
    told.insert("image.name".to_owned(), json!(names.join(",")));
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reference::Digest;

    fn manifest(text: &str, media_type: &str) -> Manifest {
        let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
        Manifest { media_type: media_type.to_owned(), digest: Digest::of(&bytes), bytes }
    }

    #[test]
    fn an_image_is_told_by_its_config_and_an_index_by_itself() {
        let config = Digest::of(b"config");
        let image = manifest(
            &format!(r#"{{"config":{{"digest":"{config}","size":6}},"layers":[]}}"#),
            "application/vnd.oci.image.manifest.v1+json",
        );
        assert_eq!(image_id(&image), config.to_string());
        let index = manifest(r#"{"manifests":[]}"#, "application/vnd.oci.image.index.v1+json");
        assert_eq!(image_id(&index), index.digest.to_string());
        let text = |root: &Manifest, names: &[String]| format!("{:#}", Value::Object(told(root, names)));
        insta::assert_snapshot!(text(&index, &["r.io/a:1".to_owned(), "r.io/a:2".to_owned()]), @r#"
        {
          "containerimage.descriptor": {
            "digest": "sha256:27b7a2ad77ebd6c3663a9dc5d493a96943c48d8c7c77b3c123d2f6712f1ff7ed",
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "size": 16
          },
          "containerimage.digest": "sha256:27b7a2ad77ebd6c3663a9dc5d493a96943c48d8c7c77b3c123d2f6712f1ff7ed",
          "image.name": "r.io/a:1,r.io/a:2"
        }
        "#);
        assert!(text(&image, &[]).contains(&format!("\"containerimage.config.digest\": \"{config}\"")));
    }
}
