//! A tree as far as it is known: what is below a step, changed by the `COPY`s that follow.

use std::collections::BTreeMap;

use crate::model::parent_state::{Entry, EntryKind, ParentState, is_within};

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Absent,
    /// This.
    Here(Node),
    /// Nobody knows.
    Unknown,
}

/// An entry without its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: EntryKind,
    pub(super) mode: u32,
    pub(super) owner: (u64, u64),
    pub(super) xattrs: bool,
}

/// The tree.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    known: Vec<String>,
    nodes: BTreeMap<String, Node>,
    /// Where anything may be by now, at the path as well as below it.
    blurred: Vec<String>,
    /// Folders in which anything may be by now.
    filled: Vec<String>,
}

impl Tree {
    pub(super) fn new(state: &ParentState) -> Self {
        let node = |entry: &Entry| Node {
            kind: entry.kind,
            mode: entry.mode,
            owner: (entry.uid, entry.gid),
            xattrs: entry.xattrs,
        };
        Tree {
            known: state.known.clone(),
            nodes: state.entries.iter().map(|entry| (entry.path.clone(), node(entry))).collect(),
            blurred: Vec::new(),
            filled: Vec::new(),
        }
    }

    /// What is at a path, from `/`, that ends in no slash.
    pub(super) fn at(&self, path: &str) -> Found {
        let is_known = self.known.iter().any(|known| is_within(path, known) || is_within(known, path));
        let is_filled = self.filled.iter().any(|folder| path != folder && is_within(path, folder));
        if !is_known || is_filled || self.blurred.iter().any(|blurred| is_within(path, blurred)) {
            return Found::Unknown;
        }
        match self.nodes.get(path) {
            Some(node) => Found::Here(*node),
            // A layer may have a file without the folder that it is in.
            None if self.below(path).next().is_some() => Found::Unknown,
            None => Found::Absent,
        }
    }

    /// Whether it is known that nothing is below a path.
    pub(super) fn is_empty_below(&self, path: &str) -> bool {
        let mut unclear = self.blurred.iter().chain(&self.filled);
        self.known.iter().any(|known| is_within(path, known))
            && !unclear.any(|unclear| is_within(path, unclear) || is_within(unclear, path))
            && self.below(path).next().is_none()
    }

    /// Puts an entry.
    pub(super) fn put(&mut self, path: &str, node: Node) {
        self.nodes.insert(path.to_owned(), node);
    }

    /// Nobody knows any more what is at a path and below it.
    pub(super) fn blur(&mut self, path: &str) {
        self.blurred.push(path.to_owned());
    }

    /// Nobody knows any more what is in a folder.
    pub(super) fn fill(&mut self, folder: &str) {
        self.filled.push(folder.to_owned());
    }

    fn below(&self, path: &str) -> impl Iterator<Item = &String> {
        let inside = if path == "/" { path.to_owned() } else { format!("{path}/") };
        let from = inside.clone();
        self.nodes.range(from..).map(|(path, _)| path).take_while(move |path| path.starts_with(&inside))
    }
}
