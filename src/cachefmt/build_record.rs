//! A build's record as an artifact in a registry, beside the cache ref that the build wrote.
//!
//! An image manifest with `artifactType` as image-spec 1.1 has it ("Guidelines for Artifact Usage"), the empty config
//! `{}`, and one blob: the record as JSON, gzipped where that pays. Registries that know no artifacts take it for an image
//! with one layer.
//!
//! What is read is somebody's words: its size is bounded before and after it is unpacked, its version must be ours, and
//! the lists of files in it may not lead to more work than there are files. An explanation that it leads to may be wrong;
//! the tree that is built never depends on it: what it says of lower layers is held against the image.
//!
//! What is written has at most 4 MiB of JSON, which is about 30 000 files. Above that, files are gathered by folder
//! ([`folded`](super::folded)), the deepest folders first, so that a miss is explained with `files below src/ changed`.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use oci_distribution::manifest::OCI_IMAGE_MEDIA_TYPE;
use serde::{Deserialize, Serialize};

use crate::cachefmt::manifest::{Descriptor, MANIFEST_LIMIT, read_json};
use crate::cachefmt::{Error, folded};
use crate::model::record::{Record, VERSION};
use crate::model::reference::Digest;

/// What the artifact is called.
pub const ARTIFACT_TYPE: &str = "application/vnd.layerlift.record.v1+json";

/// The same, gzipped.
const GZIPPED: &str = "application/vnd.layerlift.record.v1+json+gzip";

/// image-spec 1.1: the config of an artifact that has none, with its content `{}`.
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";

/// Bytes of JSON that are read, and bytes that are fetched.
pub const READ_LIMIT: usize = 8 << 20;

/// Bytes of JSON that are written.
const WRITE_LIMIT: usize = 4 << 20;

/// Shorter records are not gzipped.
const GZIP_FROM: usize = 2048;

/// How deep files may lie at first, where they have to be gathered.
const DEEPEST: usize = 8;

/// How often the files of a record may be named by its steps, all together.
const MOST_NAMED: usize = 4 << 20;

/// A record, ready to be pushed: both blobs, then the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The record.
    pub blob: Vec<u8>,
    /// Its digest.
    pub blob_digest: Digest,
    /// The config.
    pub config: &'static [u8],
    /// Its digest.
    pub config_digest: Digest,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// Its media type.
    pub manifest_media_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    artifact_type: &'a str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Wire {
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Makes the artifact. Equal records give equal bytes.
pub fn write(record: &Record) -> Artifact {
    let (blob, media_type) = encode(record);
    let descriptor = |media_type: &str, bytes: &[u8]| Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        annotations: std::collections::BTreeMap::new(),
    };
    let manifest = json(&Manifest {
        schema_version: 2,
        media_type: OCI_IMAGE_MEDIA_TYPE,
        artifact_type: ARTIFACT_TYPE,
        config: descriptor(EMPTY_CONFIG, EMPTY),
        layers: vec![descriptor(media_type, &blob)],
    });
    Artifact {
        blob_digest: Digest::of(&blob),
        blob,
        config: EMPTY,
        config_digest: Digest::of(EMPTY),
        manifest,
        manifest_media_type: OCI_IMAGE_MEDIA_TYPE,
    }
}

/// The record's bytes as they are kept, in a registry or in a file, and their media type.
pub fn encode(record: &Record) -> (Vec<u8>, &'static str) {
    let text = fitting(record);
    if text.len() < GZIP_FROM {
        return (text, ARTIFACT_TYPE);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    match encoder.write_all(&text).and_then(|()| encoder.finish()) {
        Ok(gzipped) if gzipped.len() < text.len() => (gzipped, GZIPPED),
        // Writing to memory does not fail; if it did, the plain text is as good.
        _ => (text, ARTIFACT_TYPE),
    }
}

/// The record's JSON, its files gathered where they are too many.
fn fitting(record: &Record) -> Vec<u8> {
    let text = json(record);
    let Some(inputs) = record.inputs.as_ref().filter(|_| text.len() > WRITE_LIMIT) else { return text };
    let with = |inputs| json(&Record { inputs: Some(inputs), ..record.clone() });
    let gathered = (0..=DEEPEST).rev().map(|depth| with(folded::folded(inputs, depth)));
    gathered
        .into_iter()
        .find(|text| text.len() <= WRITE_LIMIT)
        .unwrap_or_else(|| with(folded::without_files(inputs)))
}

/// Where the record is: the one blob of the artifact. Errors: no manifest, or not that of a record.
pub fn locate(manifest: &[u8]) -> Result<Digest, Error> {
    let wire: Wire = read_json("manifest", manifest, MANIFEST_LIMIT)?;
    match wire.layers.as_deref() {
        Some([blob]) if [ARTIFACT_TYPE, GZIPPED].contains(&blob.media_type.as_str()) => {
            match usize::try_from(blob.size) {
                Ok(size) if size <= READ_LIMIT => Ok(blob.digest.clone()),
                size => Err(too_large(size.unwrap_or(usize::MAX))),
            }
        }
        _ => Err(Error::Record("not the record of a build")),
    }
}

/// Reads a record's bytes, gzipped or not.
pub fn decode(bytes: &[u8]) -> Result<Record, Error> {
    let mut unpacked = Vec::new();
    let text = match bytes.starts_with(&[0x1f, 0x8b]) {
        false => bytes,
        true => {
            let mut bounded = GzDecoder::new(bytes).take(READ_LIMIT as u64 + 1);
            let read = bounded.read_to_end(&mut unpacked);
            read.map_err(|_| Error::Record("a record that is not gzipped as it says"))?;
            &unpacked
        }
    };
    if text.len() > READ_LIMIT {
        return Err(too_large(text.len()));
    }
    let Versioned { version } = read_json("record", text, READ_LIMIT)?;
    if version != VERSION {
        return Err(Error::Record("a record of another version of layerlift"));
    }
    let record: Record = read_json("record", text, READ_LIMIT)?;
    check(&record)?;
    Ok(record)
}

/// Ranges of files that point nowhere, or name the same files without end.
fn check(record: &Record) -> Result<(), Error> {
    let Some(inputs) = &record.inputs else { return Ok(()) };
    let mut named = 0_usize;
    for (from, to) in inputs.stages.iter().flat_map(|stage| &stage.steps).flat_map(|step| &step.files) {
        if from > to || *to > inputs.files.len() {
            return Err(Error::Record("a record that names files which it does not have"));
        }
        named = named.saturating_add(to - from);
    }
    match named {
        0..=MOST_NAMED => Ok(()),
        _ => Err(Error::Record("a record that names its files too often")),
    }
}

fn too_large(size: usize) -> Error {
    Error::TooLarge { what: "record", size, limit: READ_LIMIT }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("structs with text keys always have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inputs::{File, FileKind, Inputs, StageInputs, StepInputs, StepRules};

    fn record(files: usize, steps: &[&[(usize, usize)]]) -> Record {
        let file = |number: usize| File {
            context: None,
            path: format!("src/part-{}/folder-{}/file-{number}.txt", number % 10, number % 1000),
            kind: FileKind::File,
            mode: 0o644,
            size: 12,
            digest: Digest::of(&number.to_le_bytes()).hex()[..32].to_owned(),
            link: None,
        };
        let step = |(number, files): (usize, &&[(usize, usize)])| StepInputs {
            number: number + 1,
            line: number + 1,
            instruction: "COPY . .".to_owned(),
            digest: Digest::of(&number.to_le_bytes()),
            parts: Vec::new(),
            files: files.to_vec(),
        };
        let steps = steps.iter().enumerate().map(step).collect();
        Record {
            scope: Some("branch-main".to_owned()),
            inputs: Some(Inputs {
                digest: Digest::of(b"inputs"),
                unknown: Vec::new(),
                rules: StepRules::BuildKit,
                stages: vec![StageInputs { name: "build".to_owned(), platform: None, steps }],
                image: Vec::new(),
                files: (0..files).map(file).collect(),
            }),
            ..Record::sample()
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for files in [0, 3, 500] {
            let record = record(files, &[&[(0, files)], &[]]);
            let artifact = write(&record);
            assert_eq!(artifact, write(&record));
            assert_eq!(locate(&artifact.manifest).unwrap(), artifact.blob_digest);
            assert_eq!(decode(&artifact.blob).unwrap(), record);
            assert_eq!(artifact.blob.starts_with(&[0x1f, 0x8b]), files == 500);
        }
    }

    #[test]
    fn the_manifest_is_that_of_an_artifact() {
        let artifact = write(&record(0, &[]));
        let text = String::from_utf8(artifact.manifest).unwrap();
        let text = text.replace(artifact.blob_digest.as_str(), "sha256:DIGEST");
        let text = text.replace(&format!(":{}}}", artifact.blob.len()), ":SIZE}");
        insta::assert_snapshot!(text.replace(r#","layers"#, ",\n\"layers"), @r#"
        {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.layerlift.record.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},
        "layers":[{"mediaType":"application/vnd.layerlift.record.v1+json","digest":"sha256:DIGEST","size":SIZE}]}
        "#);
    }

    #[test]
    fn too_many_files_are_gathered_by_folder() {
        let many = record(60_000, &[&[(0, 60_000)], &[(0, 60_000)], &[]]);
        let read = decode(&encode(&many).0).unwrap().inputs.unwrap();
        assert_eq!(read.files.len(), 1000);
        assert!(read.files.iter().all(|file| file.path.ends_with('/')), "{:?}", read.files[0]);
        let steps = &read.stages[0].steps;
        assert_eq!(steps[0].files, steps[1].files);
        assert_eq!(steps[2].files, []);
        assert_eq!(read.digest, many.inputs.unwrap().digest);
    }

    #[test]
    fn hostile_records_are_refused() {
        let refused = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        let outside = record(3, &[&[(1, 4)]]);
        assert_eq!(refused(&encode(&outside).0), "a record that names files which it does not have");
        let backwards = record(3, &[&[(2, 1)]]);
        assert_eq!(refused(&encode(&backwards).0), "a record that names files which it does not have");
        let again: Vec<(usize, usize)> = vec![(0, 5000); 1000];
        let endless = record(5000, &[&again]);
        assert_eq!(refused(&encode(&endless).0), "a record that names its files too often");
        let other = Record { version: 2, ..record(0, &[]) };
        assert_eq!(refused(&encode(&other).0), "a record of another version of layerlift");
        assert_eq!(refused(b"{}"), "malformed record");
        assert_eq!(refused(b"[1,2"), "malformed record");
        assert_eq!(refused(&[0x1f, 0x8b, 1, 2]), "a record that is not gzipped as it says");
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![b' '; 64 << 20]).unwrap();
        assert!(refused(&bomb.finish().unwrap()).starts_with("record has 8388609 bytes"));
    }

    #[test]
    fn other_manifests_are_no_records() {
        let refused = |text: &str| locate(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(refused(r#"{"schemaVersion":2,"layers":[]}"#), "not the record of a build");
        assert_eq!(refused("<html>"), "malformed manifest");
        let huge = format!(
            r#"{{"layers":[{{"mediaType":"{ARTIFACT_TYPE}","digest":"{}","size":99999999}}]}}"#,
            Digest::of(b"")
        );
        assert!(refused(&huge).starts_with("record has 99999999 bytes"));
    }
}
