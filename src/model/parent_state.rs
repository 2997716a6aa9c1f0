//! What the layers below a step look like, as far as a `COPY` needs to know it to be made a layer of its own.

use serde::{Deserialize, Serialize};

use crate::model::reference::Digest;

/// A part of the tree that a step left, and the layers that it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentState {
    /// The step: [`StepInputs::digest`](crate::model::inputs::StepInputs::digest).
    pub step: Digest,
    /// Its layers, the lowest first, by the digest of what they unpack to (`rootfs.diff_ids` in the image's config).
    pub layers: Vec<Digest>,
    /// Paths of which all is known: what they are, and everything below. Of the folders above them it is known what they
    /// are.
    pub known: Vec<String>,
    /// What is there, by path. What is not named is not there.
    pub entries: Vec<Entry>,
    /// Another was known of this step before, and an image that was built on it had other layers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// A step that nothing is linked on top of any more, so that no build tries in vain what others have tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlinked {
    /// The step: [`StepInputs::digest`](crate::model::inputs::StepInputs::digest).
    pub step: Digest,
    /// Where was to be written, from `/`; nothing is linked that writes to all of these. Empty: wherever it writes.
    pub destinations: Vec<String>,
    /// Why, as a fragment of a sentence.
    pub reason: String,
    /// How often it took too long to find out, where that is to be tried again; `None`: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries: Option<u32>,
}

/// A step that is built otherwise than it is written: a `COPY` as a layer of its own, or a `WORKDIR` above the `COPY`s
/// before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The first line of its instruction, from 1.
    pub line: usize,
    /// The step: [`StepInputs::digest`](crate::model::inputs::StepInputs::digest).
    pub step: Digest,
    /// Of a `WORKDIR`: the first line of the instruction that it is built above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<usize>,
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// From `/`, without a slash at its end.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// The twelve bits that `chmod` sets.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// It has extended attributes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub xattrs: bool,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A pipe, a socket, a device; or something that the layers do not tell, such as a hard link.
    Other,
}

/// Whether a path, from `/` and without a slash at its end, is another one, or below it.
pub fn is_within(path: &str, folder: &str) -> bool {
    folder == "/" || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The folders above a path, the root apart: `/a` and `/a/b` of `/a/b/c`.
pub fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter(|(at, _)| *at > 0).map(|(at, _)| &path[..at])
}
