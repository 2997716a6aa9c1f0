//! What a `COPY` writes where, and whether it comes to the same as a layer of its own.
//!
//! The rules are those of BuildKit's copier (fsutil `copy/copy.go`, solver/llbsolver/file/backend.go). On top of what lies
//! below, it follows symbolic links up to the destination, makes the folders that are missing (0755, the owner of
//! `--chown`), leaves those that are there as they are, gives folders within a copied folder the source's mode and owner,
//! replaces files, and fails where a folder would take the place of a file or a file that of a folder. As a layer of its
//! own it makes all of them anew, and they take the place of what is below. Both are the same tree where every folder that
//! is there would be made just so, no symbolic link is met, and nothing changes its kind. Times of folders are not looked
//! at.

use crate::dockerfile::{Copy, CopySource, Source, absolute};
use crate::model::inputs::{File, FileKind};
use crate::model::parent_state::{EntryKind, folders_above};
use crate::plan::link::tree::{Found, Node, Tree};

/// What a folder is made with.
const FOLDER_MODE: u32 = 0o755;

/// Why a `COPY` is not made a layer of its own, as a fragment of a sentence.
pub(super) type Reason = String;

/// What a copy does to the tree; where it is known, the tree is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// As a layer of its own it comes to the same.
    Same,
    /// It might not, but nothing changes outside of its destination.
    Bounded(Reason),
    /// What it changes is not known, nor anything of the tree from now on.
    Unbounded(Reason),
}

/// Takes a copy into account. `files`: those that it takes from the build context.
pub(super) fn copy(tree: &mut Tree, copy: &Copy, files: &[&File]) -> Effect {
    if copy.destination.unclear.is_some() {
        tree.blur("/");
        return Effect::Unbounded("its destination depends on the base image".to_owned());
    }
    let (destination, is_folder) = destination(copy);
    match same(tree, copy, files, &destination, is_folder) {
        Ok(writes) => {
            writes.into_iter().for_each(|write| write.apply(tree));
            Effect::Same
        }
        Err(reason) => {
            let is_bounded = matches!(
                tree.at(&destination),
                Found::Absent | Found::Here(Node { kind: EntryKind::File | EntryKind::Folder, .. })
            );
            match above(tree, copy, &destination).filter(|_| is_bounded) {
                Some(made) => {
                    made.into_iter().for_each(|write| write.apply(tree));
                    tree.blur(&destination);
                    Effect::Bounded(reason)
                }
                None => {
                    tree.blur("/");
                    Effect::Unbounded(reason)
                }
            }
        }
    }
}

/// Where a copy goes, from `/`, without a slash at its end; and whether that is a folder for certain.
pub(super) fn destination(copy: &Copy) -> (String, bool) {
    cleaned(&copy.destination.text)
}

/// Takes a `WORKDIR` into account. It leaves a folder as it is that is there; then the tree does not tell whether it came
/// before copies or after them.
pub(super) fn enter(tree: &mut Tree, path: &str) -> Effect {
    for folder in folders_above(path).chain([path]) {
        match tree.at(folder) {
            Found::Here(Node { kind: EntryKind::Folder, .. }) => {}
            Found::Absent => {
                // To whom it belongs depends on the user, which the base image may give.
                tree.blur(folder);
                return Effect::Bounded(format!("{folder} is made by WORKDIR"));
            }
            other => {
                tree.blur("/");
                return Effect::Unbounded(in_the_way(folder, other));
            }
        }
    }
    Effect::Same
}

/// Something that a copy writes.
enum Write {
    Put(String, Node),
    /// Anything at this path and below it.
    Blur(String),
    /// Anything in this folder.
    Fill(String),
}

impl Write {
    fn apply(self, tree: &mut Tree) {
        match self {
            Write::Put(path, node) => tree.put(&path, node),
            Write::Blur(path) => tree.blur(&path),
            Write::Fill(path) => tree.fill(&path),
        }
    }
}

/// What is written, if it comes to the same.
fn same(
    tree: &Tree,
    copy: &Copy,
    files: &[&File],
    destination: &str,
    is_folder: bool,
) -> Result<Vec<Write>, Reason> {
    if let Some((name, _)) = copy.options.iter().find(|(name, _)| name != "chown") {
        return Err(format!("`--{name}` is left as it is"));
    }
    if !copy.inline.is_empty() {
        return Err("it writes files that stand in the Dockerfile".to_owned());
    }
    let owner = owner(copy)?;
    let mut sources = Vec::new();
    for source in &copy.sources {
        match source {
            CopySource::Path(word) if word.unclear.is_none() => sources.push(word.text.as_str()),
            CopySource::Path(_) => return Err("a source depends on the base image".to_owned()),
            CopySource::Remote(_) => return Err("it fetches".to_owned()),
        }
    }
    let mut writes = parents(tree, destination, owner)?;
    let is_plain = |source: &&str| !source.contains(['*', '?', '[', '\\']);
    if copy.from.is_none() && sources.iter().all(is_plain) {
        for source in sources {
            let taken = Taken { source: source.trim_matches('/'), files, destination, is_folder, owner };
            writes.extend(known(tree, taken, copy.is_add)?);
        }
        return Ok(writes);
    }
    if copy.is_add {
        return Err("ADD may unpack what it takes".to_owned());
    }
    if let Some(Source::Nothing) = copy.from {
        return Err("it copies from scratch".to_owned());
    }
    // Files or folders, whatever they are called: where nothing is, nothing is met.
    match tree.at(destination) {
        Found::Absent => {}
        Found::Here(_) if is_folder && tree.is_empty_below(destination) => {
            folder_stays(tree, destination, owner)?;
        }
        Found::Here(_) => {
            return Err(format!("{destination} is there already, and what is copied is not known before"));
        }
        Found::Unknown => return Err(format!("{destination} is not known")),
    }
    if is_folder {
        writes.push(Write::Put(destination.to_owned(), made(owner)));
    }
    let written = if is_folder { Write::Fill } else { Write::Blur };
    writes.push(written(destination.to_owned()));
    Ok(writes)
}

/// One source of a copy from the build context.
#[derive(Clone, Copy)]
struct Taken<'a> {
    /// From the context's root, without slashes around it.
    source: &'a str,
    files: &'a [&'a File],
    destination: &'a str,
    is_folder: bool,
    owner: (u64, u64),
}

/// What a copy of known files writes.
fn known(tree: &Tree, taken: Taken<'_>, is_add: bool) -> Result<Vec<Write>, Reason> {
    let Taken { source, files, destination, is_folder, owner } = taken;
    let named = files.iter().find(|file| file.path == source);
    let is_tree = source.is_empty() || named.is_some_and(|file| file.kind == FileKind::Folder);
    if !is_tree {
        let file = named.ok_or_else(|| format!("`{source}` is not known"))?;
        if file.kind != FileKind::File {
            return Err(format!("`{source}` is no plain file"));
        }
        if is_add {
            return Err("ADD may unpack what it takes".to_owned());
        }
        let mut writes = Vec::new();
        let place = match is_folder {
            true => {
                folder_stays(tree, destination, owner)?;
                writes.push(Write::Put(destination.to_owned(), made(owner)));
                let name = source.rsplit('/').next().unwrap_or(source);
                join(destination, name)
            }
            false => destination.to_owned(),
        };
        writes.push(goes(tree, &place, EntryKind::File, owner)?);
        return Ok(writes);
    }
    folder_stays(tree, destination, owner)?;
    let mut writes = vec![Write::Put(destination.to_owned(), made(owner))];
    for file in files {
        let below = match source {
            "" => Some(file.path.as_str()),
            _ => file.path.strip_prefix(source).and_then(|rest| rest.strip_prefix('/')),
        };
        let Some(below) = below.filter(|below| !below.is_empty()) else { continue };
        let place = join(destination, below);
        if file.kind != FileKind::Folder {
            let kind = match file.kind {
                FileKind::Symlink => EntryKind::Symlink,
                FileKind::File => EntryKind::File,
                _ => EntryKind::Other,
            };
            writes.push(goes(tree, &place, kind, owner)?);
            continue;
        }
        match tree.at(&place) {
            Found::Absent => {}
            Found::Here(Node { kind: EntryKind::Folder, xattrs: false, .. }) => {}
            other => return Err(in_the_way(&place, other)),
        }
        let node = Node {
            kind: EntryKind::Folder,
            mode: file.mode & 0o7777,
            owner,
            xattrs: !file.digest.is_empty(),
        };
        writes.push(Write::Put(place, node));
    }
    Ok(writes)
}

/// The folders above a path, which are made where they are missing.
fn parents(tree: &Tree, path: &str, owner: (u64, u64)) -> Result<Vec<Write>, Reason> {
    let mut writes = Vec::new();
    for folder in folders_above(path) {
        folder_stays(tree, folder, owner)?;
        writes.push(Write::Put(folder.to_owned(), made(owner)));
    }
    Ok(writes)
}

/// The folders above a destination that a copy makes which stays as it is written, if it is known what it makes of them.
fn above(tree: &Tree, copy: &Copy, destination: &str) -> Option<Vec<Write>> {
    // What an archive holds is written through links that are below the destination.
    if copy.is_add {
        return None;
    }
    // A name is known to the image alone, and BuildKit gives the mode of `--chmod` to the folders that it makes as well.
    let owner = owner(copy).ok().filter(|_| !copy.options.iter().any(|(name, _)| name == "chmod"));
    // The user's own `--link` makes all of them anew.
    if copy.link {
        return parents(tree, destination, owner?).ok();
    }
    let mut writes = Vec::new();
    for folder in folders_above(destination) {
        match tree.at(folder) {
            Found::Here(Node { kind: EntryKind::Folder, .. }) => {}
            Found::Absent => writes.push(Write::Put(folder.to_owned(), made(owner?))),
            Found::Here(_) | Found::Unknown => return None,
        }
    }
    Some(writes)
}

/// Whether a folder that a copy needs is missing, or is what the copy would make. The root is in no layer.
fn folder_stays(tree: &Tree, path: &str, owner: (u64, u64)) -> Result<(), Reason> {
    if path == "/" {
        return Ok(());
    }
    match tree.at(path) {
        Found::Absent => Ok(()),
        Found::Here(node) if node == made(owner) => Ok(()),
        Found::Here(Node { kind: EntryKind::Folder, mode, owner: (uid, gid), xattrs }) => Err(match xattrs {
            true => format!("{path} has extended attributes"),
            false => format!("{path} has mode {mode:04o} and owner {uid}:{gid}"),
        }),
        other => Err(in_the_way(path, other)),
    }
}

/// What is no folder takes the place of a file, or of nothing. A symbolic link stays one: what is copied there next is
/// written to where it leads.
fn goes(tree: &Tree, path: &str, kind: EntryKind, owner: (u64, u64)) -> Result<Write, Reason> {
    match tree.at(path) {
        Found::Absent | Found::Here(Node { kind: EntryKind::File, .. }) => {}
        other => return Err(in_the_way(path, other)),
    }
    Ok(Write::Put(path.to_owned(), Node { kind, mode: 0, owner, xattrs: false }))
}

fn in_the_way(path: &str, found: Found) -> Reason {
    match found {
        Found::Here(Node { kind: EntryKind::Symlink, .. }) => format!("{path} is a symbolic link"),
        Found::Here(Node { kind: EntryKind::Folder, xattrs: true, .. }) => {
            format!("{path} has extended attributes")
        }
        Found::Here(Node { kind: EntryKind::Folder, .. }) => format!("{path} is a folder"),
        Found::Here(Node { kind: EntryKind::File, .. }) => format!("{path} is a file"),
        Found::Here(Node { kind: EntryKind::Other, .. }) => format!("{path} is neither file nor folder"),
        Found::Absent | Found::Unknown => format!("what is at {path} is not known"),
    }
}

/// A folder that a copy makes.
fn made(owner: (u64, u64)) -> Node {
    Node { kind: EntryKind::Folder, mode: FOLDER_MODE, owner, xattrs: false }
}

/// The owner of what is made. A user alone is its group's number as well (BuildKit solver/llbsolver/file/user_linux.go).
fn owner(copy: &Copy) -> Result<(u64, u64), Reason> {
    let Some((_, word)) = copy.options.iter().find(|(name, _)| name == "chown") else { return Ok((0, 0)) };
    let number = |text: &str| text.parse::<u32>().ok().map(u64::from);
    let (user, group) = word.text.split_once(':').unwrap_or((&word.text, &word.text));
    match (number(user), number(group)) {
        (Some(user), Some(group)) if word.unclear.is_none() => Ok((user, group)),
        _ => Err(format!("the owner `{}` is a name of the image", word.text)),
    }
}

/// A destination without double and trailing slashes, and whether it ended in one.
fn cleaned(text: &str) -> (String, bool) {
    let is_folder = text.ends_with('/') || text.ends_with("/.");
    (absolute(text), is_folder)
}

fn join(folder: &str, name: &str) -> String {
    if folder == "/" { format!("/{name}") } else { format!("{folder}/{name}") }
}
