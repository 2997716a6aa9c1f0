//! The note on an image: a manifest without content whose annotations say what the image cannot say of itself.
//!
//! Its form is that of an artifact without content (OCI image specification 1.1, "Guidelines for Artifact Usage"): config
//! and only layer are the empty JSON object, so that registries that know no artifacts take it for an image.

use std::collections::BTreeMap;

use jiff::Timestamp;
use oci_distribution::manifest::OCI_IMAGE_MEDIA_TYPE;
use serde_json::json;

use crate::cachefmt::Error;
use crate::cachefmt::manifest::Manifest;
use crate::cachefmt::provenance::CREATED;
use crate::model::reference::Digest;
use crate::model::reuse::Note;

/// The blob that config and layer are.
pub const EMPTY: &[u8] = b"{}";

const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const ARTIFACT_TYPE: &str = "application/vnd.layerlift.note.v1";
/// The whole input digest.
const INPUTS: &str = "dev.layerlift.inputs";
/// The image's digest.
const IMAGE: &str = "dev.layerlift.image";
/// The page of the pipeline.
const PIPELINE: &str = "dev.layerlift.pipeline";
/// Annotation of the OCI image specification: the commit.
const REVISION: &str = "org.opencontainers.image.revision";

/// Longer texts of a note are nobody's commit and nobody's pipeline.
const LONGEST: usize = 2000;

/// The note's manifest, and its media type.
pub fn write_note(note: &Note) -> (Vec<u8>, &'static str) {
    let mut annotations: BTreeMap<&str, String> = BTreeMap::new();
    annotations.insert(CREATED, note.created.to_string());
    annotations.insert(INPUTS, note.inputs.to_string());
    annotations.insert(IMAGE, note.image.to_string());
    annotations.extend(note.commit.clone().map(|commit| (REVISION, commit)));
    annotations.extend(note.pipeline_url.clone().map(|url| (PIPELINE, url)));
    let empty = json!({ "mediaType": EMPTY_TYPE, "digest": Digest::of(EMPTY), "size": EMPTY.len() });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_MEDIA_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": empty,
        "layers": [empty],
        "annotations": annotations,
    });
    (manifest.to_string().into_bytes(), OCI_IMAGE_MEDIA_TYPE)
}

/// Reads a note. `None` where the manifest is none, or lacks what every note has.
///
/// # Errors
///
/// Those of [`classify`](super::classify).
pub fn read_note(manifest: &[u8]) -> Result<Option<Note>, Error> {
    let annotations = Manifest::parse(manifest)?.annotations;
    let text = |key: &str| annotations.get(key).filter(|text| text.len() <= LONGEST);
    let digest = |key: &str| text(key).and_then(|text| text.parse::<Digest>().ok());
    let created = text(CREATED).and_then(|text| text.parse::<Timestamp>().ok());
    let (Some(created), Some(inputs), Some(image)) = (created, digest(INPUTS), digest(IMAGE)) else {
        return Ok(None);
    };
    let (commit, pipeline_url) = (text(REVISION).cloned(), text(PIPELINE).cloned());
    Ok(Some(Note { inputs, image, created, commit, pipeline_url }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let note = Note {
            inputs: Digest::of(b"inputs"),
            image: Digest::of(b"image"),
            created: "2026-11-23T12:00:00Z".parse().expect("time"),
            commit: Some("1ecfd275".to_owned()),
            pipeline_url: None,
        };
        let (manifest, media_type) = write_note(&note);
        insta::assert_snapshot!(String::from_utf8_lossy(&manifest), @r#"{"annotations":{"dev.layerlift.image":"sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d","dev.layerlift.inputs":"sha256:32381523e63197c929b67f793a8098bed0ae3a6fa902634fdbcc6fa4567f3346","org.opencontainers.image.created":"2026-11-23T12:00:00Z","org.opencontainers.image.revision":"1ecfd275"},"artifactType":"application/vnd.layerlift.note.v1","config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"application/vnd.oci.empty.v1+json","size":2},"layers":[{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"application/vnd.oci.empty.v1+json","size":2}],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}"#);
        assert_eq!(media_type, OCI_IMAGE_MEDIA_TYPE);
        assert_eq!(read_note(&manifest).expect("read"), Some(note));
    }

    #[test]
    fn what_is_no_note_is_none() {
        let digest = Digest::of(b"");
        let long = "a".repeat(LONGEST + 1);
        for (inputs, created) in
            [("sha256:short", "2026-11-23T12:00:00Z"), (digest.as_str(), "today"), (long.as_str(), "")]
        {
            let manifest = json!({ "config": null, "manifests": [], "annotations": {
                INPUTS: inputs, IMAGE: digest, CREATED: created,
            }});
            assert_eq!(read_note(manifest.to_string().as_bytes()).ok().flatten(), None, "{inputs} {created}");
        }
        assert!(read_note(b"[]").is_err());
    }
}
