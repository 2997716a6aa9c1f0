//! A part of the tree that layers make together, from the headers of their tar files.
//!
//! Whiteouts are those of the image-spec ("Layer Changeset"): `.wh.name` takes away what lower layers have under that
//! name, `.wh..wh..opq` everything that they have below a folder. What cannot be told from headers is told as
//! [`EntryKind::Other`], which nothing is proven about: hard links too, since a symbolic link may have two names.
//!
//! A layer that was made by comparing trees names every folder that something in it is in. Others need not: what is in a
//! folder without an entry goes through a symbolic link that lower layers have in its place, or makes the folder in a way
//! that the headers do not tell (containerd `pkg/archive`).

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Read};
use std::rc::Rc;

use crate::model::parent_state::{Entry, EntryKind, folders_above, is_within};

/// More entries than any layer has.
const MOST_ENTRIES: usize = 4_000_000;

/// What is kept of one layer, in bytes of paths with what goes with each.
const MOST_KEPT: usize = 16 << 20;

/// What goes with a path.
const BESIDE_A_PATH: usize = 64;

/// The longest path that Linux takes (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;

/// More than the folders of any layer, in the same bytes.
const MOST_OF_FOLDERS: usize = 64 << 20;

/// The most bytes of headers before one entry. Long names and attributes are read whole; Go takes 1 MiB of each.
const MOST_OF_HEADERS: u64 = 4 << 20;

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// What one layer says of the wanted part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayerPart {
    /// What it has.
    entries: Vec<Entry>,
    /// What it takes away of lower layers.
    removed: Vec<String>,
    /// The folders below which it takes all away.
    opaque: Vec<String>,
    /// The folders that something in it is in, and that have no entry before that.
    bare: BTreeSet<String>,
    /// Its symbolic links, wherever they are.
    links: BTreeSet<String>,
}

/// Hands on no more than what is left.
struct Rationed<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Rationed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(broken("larger headers than are looked at"));
        }
        let most = buffer.len().min(usize::try_from(self.left.get()).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - read as u64);
        Ok(read)
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Whether something at `path` counts, where all is wanted of some places: it is above, at or below one of them.
fn counts(path: &str, places: &[String]) -> bool {
    places.iter().any(|place| is_within(path, place) || is_within(place, path))
}

/// Reads the headers of an unpacked layer.
pub fn layer_part(layer: impl Read, places: &[String]) -> io::Result<LayerPart> {
    let mut part = LayerPart::default();
    let mut folders: HashSet<String> = HashSet::new();
    let (mut kept, mut of_folders) = (0, 0);
    let left = Rc::new(Cell::new(MOST_OF_HEADERS));
    let mut archive = tar::Archive::new(Rationed { inner: layer, left: Rc::clone(&left) });
    for (index, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        if index == MOST_ENTRIES || kept >= MOST_KEPT || of_folders >= MOST_OF_FOLDERS {
            return Err(broken("more entries than are looked at"));
        }
        let content = entry.size().max(entry.header().entry_size()?);
        left.set(content.saturating_add(MOST_OF_HEADERS));
        let path = cleaned(&entry.path_bytes()).ok_or_else(|| broken("an entry outside of the root"))?;
        if path.len() > LONGEST_PATH {
            return Err(broken("a path that is longer than any"));
        }
        for folder in folders_above(&path) {
            if !folders.contains(folder) && !part.bare.contains(folder) {
                kept += folder.len() + BESIDE_A_PATH;
                part.bare.insert(folder.to_owned());
            }
        }
        let attributes = attributes(&mut entry)?;
        let kind = kind(&entry);
        match kind {
            EntryKind::Folder if folders.insert(path.clone()) => of_folders += path.len() + BESIDE_A_PATH,
            EntryKind::Folder => {}
            _ => drop(folders.remove(&path)),
        }
        if kind == EntryKind::Symlink || is_second_name(&entry, &part.links) {
            kept += path.len() + BESIDE_A_PATH;
            part.links.insert(path.clone());
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let (removes, place) = match name.strip_prefix(WHITEOUT) {
            Some(_) if name == OPAQUE => (true, if folder.is_empty() { "/" } else { folder }.to_owned()),
            Some(name) => (true, format!("{folder}/{name}")),
            None => (false, path.clone()),
        };
        if path == "/" || !counts(&place, places) {
            continue;
        }
        kept += place.len() + BESIDE_A_PATH;
        if removes {
            let list = if name == OPAQUE { &mut part.opaque } else { &mut part.removed };
            list.push(place);
            continue;
        }
        let Attributes { uid, gid, xattrs } = attributes;
        let mode = entry.header().mode()? & 0o7777;
        part.entries.push(Entry { kind, mode, uid, gid, xattrs, path });
    }
    Ok(part)
}

/// What stands in an entry's header, or in the records before it.
struct Attributes {
    uid: u64,
    gid: u64,
    xattrs: bool,
}

/// Records that readers take for different things are an error: a name that comes twice, of which this reader takes the
/// first and Go's the last, and the names of sparse files, which this one does not know.
fn attributes(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Attributes> {
    let (mut uid, mut gid, mut xattrs) = (entry.header().uid()?, entry.header().gid()?, false);
    let mut names: Vec<Vec<u8>> = Vec::new();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        let number = || extension.value().ok().and_then(|value| value.parse().ok());
        match extension.key_bytes() {
            b"uid" => uid = number().ok_or_else(|| broken("an owner that is no number"))?,
            b"gid" => gid = number().ok_or_else(|| broken("a group that is no number"))?,
            key @ (b"path" | b"linkpath") => {
                if names.iter().any(|name| name == key) {
                    return Err(broken("an entry with two names"));
                }
                names.push(key.to_owned());
            }
            key if key.starts_with(b"GNU.sparse.") => return Err(broken("a sparse file")),
            key => xattrs |= key.starts_with(b"SCHILY.xattr.") || key.starts_with(b"LIBARCHIVE.xattr."),
        }
    }
    Ok(Attributes { uid, gid, xattrs })
}

fn kind(entry: &tar::Entry<'_, impl Read>) -> EntryKind {
    match entry.header().entry_type() {
        // In the oldest form of headers that is a folder, and not every reader knows it.
        tar::EntryType::Regular if entry.path_bytes().ends_with(b"/") => EntryKind::Other,
        tar::EntryType::Regular | tar::EntryType::Continuous => EntryKind::File,
        tar::EntryType::Directory => EntryKind::Folder,
        tar::EntryType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Other,
    }
}

/// Whether it is a second name of one of some entries.
fn is_second_name(entry: &tar::Entry<'_, impl Read>, of: &BTreeSet<String>) -> bool {
    let first = entry.header().entry_type() == tar::EntryType::Link;
    let first = first.then(|| entry.link_name_bytes()).flatten();
    first.and_then(|name| cleaned(&name)).is_some_and(|name| of.contains(&name))
}

/// The tree of several layers, the lowest first, as far as it is wanted; the layers may have been read for other places
/// too. `None` where a layer may write through a symbolic link, so that nobody knows where its entries are.
pub fn overlaid<'a>(parts: impl IntoIterator<Item = &'a LayerPart>, places: &[String]) -> Option<Vec<Entry>> {
    let mut tree: BTreeMap<String, Entry> = BTreeMap::new();
    let mut links: HashSet<&str> = HashSet::new();
    for part in parts {
        links.extend(part.links.iter().map(String::as_str));
        if part.bare.iter().any(|folder| links.contains(folder.as_str())) {
            return None;
        }
        for folder in &part.opaque {
            remove_below(&mut tree, folder);
        }
        for path in &part.removed {
            tree.remove(path);
            remove_below(&mut tree, path);
        }
        for folder in &part.bare {
            tree.entry(folder.clone()).or_insert_with(|| unclear(folder));
        }
        for entry in &part.entries {
            if entry.kind != EntryKind::Folder {
                remove_below(&mut tree, &entry.path);
            }
            tree.insert(entry.path.clone(), entry.clone());
        }
        // Of a layer that has something and takes it away, it depends on their order what is left.
        for path in &part.removed {
            tree.entry(path.clone()).and_modify(|entry| *entry = unclear(path));
        }
    }
    Some(tree.into_values().filter(|entry| counts(&entry.path, places)).collect())
}

/// Something that the headers do not tell.
fn unclear(path: &str) -> Entry {
    let path = path.to_owned();
    Entry { path, kind: EntryKind::Other, mode: 0, uid: 0, gid: 0, xattrs: false }
}

fn remove_below(tree: &mut BTreeMap<String, Entry>, folder: &str) {
    let inside = if folder == "/" { folder.to_owned() } else { format!("{folder}/") };
    let gone: Vec<String> = tree
        .range(inside.clone()..)
        .map(|(path, _)| path)
        .take_while(|path| path.starts_with(&inside))
        .cloned()
        .collect();
    gone.iter().for_each(|path| drop(tree.remove(path)));
}

/// A tar's path from `/`, without `.` and double slashes; `None` for one that leads out. Bytes that are no UTF-8 are
/// replaced: such a name is in nobody's way.
fn cleaned(path: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(path);
    let mut clean = String::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part => {
                clean.push('/');
                clean.push_str(part);
            }
        }
    }
    Some(if clean.is_empty() { "/".to_owned() } else { clean })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of entries: `d/` is a folder, `l -> x` a symbolic link, `h = x` a hard link, anything else a file; `!` before
    /// it: with xattrs.
    fn layer(entries: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for entry in entries {
            let (name, has_xattrs) = entry.strip_prefix('!').map_or((*entry, false), |name| (name, true));
            if has_xattrs {
                let pax = [("SCHILY.xattr.user.a", &b"b"[..])];
                builder.append_pax_extensions(pax).expect("appended");
            }
            let mut header = tar::Header::new_ustar();
            header.set_size(0);
            header.set_mode(if name.ends_with('/') { 0o40755 } else { 0o100_644 });
            header.set_uid(7);
            header.set_gid(0);
            if let Some((name, to)) = name.split_once(" -> ") {
                header.set_entry_type(tar::EntryType::Symlink);
                builder.append_link(&mut header, name, to).expect("appended");
                continue;
            }
            if let Some((name, to)) = name.split_once(" = ") {
                header.set_entry_type(tar::EntryType::Link);
                builder.append_link(&mut header, name, to).expect("appended");
                continue;
            }
            let kind = if name.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
            header.set_entry_type(kind);
            builder.append_data(&mut header, name, io::empty()).expect("appended");
        }
        builder.into_inner().expect("finished")
    }

    fn tree(layers: &[&[&str]], places: &[&str]) -> String {
        let places: Vec<String> = places.iter().map(|place| (*place).to_owned()).collect();
        let parts = layers.iter().map(|entries| layer_part(&layer(entries)[..], &places).expect("read"));
        let shown = |entry: &Entry| {
            let xattrs = if entry.xattrs { " xattrs" } else { "" };
            format!("{} {:?} {:o} {}:{}{xattrs}", entry.path, entry.kind, entry.mode, entry.uid, entry.gid)
        };
        let parts: Vec<LayerPart> = parts.collect();
        let Some(entries) = overlaid(&parts, &places) else { return "not known".to_owned() };
        entries.iter().map(shown).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn upper_layers_change_and_take_away() {
        let lower: &[&str] =
            &["./", "./app/", "app/a", "app/sub/", "app/sub/b", "var/", "!var/x/", "etc/", "run -> var"];
        let folders: &[&str] = &["app/", "app/sub/"];
        insta::assert_snapshot!(tree(&[lower], &["/app"]), @r"
        /app Folder 755 7:0
        /app/a File 644 7:0
        /app/sub Folder 755 7:0
        /app/sub/b File 644 7:0
        ");
        insta::assert_snapshot!(tree(&[lower], &["/var/x/y", "/run/z"]), @r"
        /run Symlink 644 7:0
        /var Folder 755 7:0
        /var/x Folder 755 7:0 xattrs
        ");
        insta::assert_snapshot!(tree(&[lower, folders, &["app/", "app/.wh.a", "app/sub/", "app/sub/.wh..wh..opq", "app/sub/c"]], &["/app"]), @r"
        /app Folder 755 7:0
        /app/sub Folder 755 7:0
        /app/sub/c File 644 7:0
        ");
        insta::assert_snapshot!(tree(&[lower, &[".wh.app"]], &["/app"]), @"");
        insta::assert_snapshot!(tree(&[lower, &["app/", "app/sub -> a"]], &["/app"]), @r"
        /app Folder 755 7:0
        /app/a File 644 7:0
        /app/sub Symlink 644 7:0
        ");
        // In one layer, it depends on their order.
        insta::assert_snapshot!(tree(&[lower, &["app/a", "app/.wh.a"]], &["/app/a"]), @r"
        /app Folder 755 7:0
        /app/a Other 0 0:0
        ");
    }

    #[test]
    fn what_a_hard_link_leads_to_is_not_told() {
        let layer: &[&str] = &["app/", "app/a -> x", "app/b = app/a", "app/c", "app/d = app/c"];
        insta::assert_snapshot!(tree(&[layer], &["/app"]), @r"
        /app Folder 755 7:0
        /app/a Symlink 644 7:0
        /app/b Other 644 7:0
        /app/c File 644 7:0
        /app/d Other 644 7:0
        ");
        assert_eq!(tree(&[layer, &["app/", "app/b/x"]], &["/x"]), "not known");
    }

    #[test]
    fn folders_without_an_entry_are_not_told() {
        let lower: &[&str] = &["var/", "var/run -> ../run", "run/", "app/"];
        // It goes to `/run/ko/x`, where the links lead.
        assert_eq!(tree(&[lower, &["var/run/ko/x"]], &["/run/ko"]), "not known");
        assert_eq!(tree(&[lower, &["var/run/.wh.x"]], &["/run/ko"]), "not known");
        assert_eq!(tree(&[&["a -> run", "a/x"]], &["/run"]), "not known");
        assert_eq!(tree(&[&["a/x", "a -> run"]], &["/run"]), "not known");
        insta::assert_snapshot!(tree(&[lower, &["var/", "var/run/", "var/run/x"]], &["/var/run"]), @r"
        /var Folder 755 7:0
        /var/run Folder 755 7:0
        /var/run/x File 644 7:0
        ");
        // Whoever unpacks it makes `/srv`; `/app` is there.
        let upper: &[&str] = &["srv/bin/x", "app/y"];
        insta::assert_snapshot!(tree(&[lower, upper], &["/srv/www", "/app"]), @r"
        /app Folder 755 7:0
        /app/y File 644 7:0
        /srv Other 0 0:0
        ");
        insta::assert_snapshot!(tree(&[lower, upper, &["srv/"]], &["/srv/www"]), @"/srv Folder 755 7:0");
    }

    #[test]
    fn headers_of_any_size_are_not_read() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        let long = vec![b'x'; usize::try_from(MOST_OF_HEADERS).expect("a size")];
        builder.append_pax_extensions([("comment", &long[..])]).expect("appended");
        builder.append_data(&mut header, "a", io::empty()).expect("appended");
        let layer = builder.into_inner().expect("finished");
        let error = layer_part(&layer[..], &["/".to_owned()]).expect_err("too much");
        assert!(error.to_string().contains("larger headers than are looked at"), "{error}");
        // Contents may have any size.
        let mut builder = tar::Builder::new(Vec::new());
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(0o644);
        header.set_size(MOST_OF_HEADERS * 2);
        builder.append_data(&mut header, "a", io::repeat(0).take(MOST_OF_HEADERS * 2)).expect("appended");
        builder.append_data(&mut header, "b", io::repeat(0).take(MOST_OF_HEADERS * 2)).expect("appended");
        let layer = builder.into_inner().expect("finished");
        let part = layer_part(&layer[..], &["/".to_owned()]).expect("read");
        assert_eq!(part.entries.len(), 2);
    }

    /// Appends an empty file with records before it.
    fn append(builder: &mut tar::Builder<Vec<u8>>, extensions: &[(&str, &str)]) {
        let extensions = extensions.iter().map(|(name, value)| (*name, value.as_bytes()));
        builder.append_pax_extensions(extensions).expect("appended");
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(0o644);
        builder.append_data(&mut header, "a", io::empty()).expect("appended");
    }

    #[test]
    fn what_readers_take_for_different_things_is_refused() {
        let named = |extensions: &[(&str, &str)]| {
            let mut builder = tar::Builder::new(Vec::new());
            append(&mut builder, extensions);
            let layer = builder.into_inner().expect("finished");
            let part = layer_part(&layer[..], &["/".to_owned()]).map_err(|error| error.to_string())?;
            Ok::<_, String>(part.entries.into_iter().map(|entry| entry.path).collect::<Vec<_>>())
        };
        assert_eq!(named(&[("path", "b")]), Ok(vec!["/b".to_owned()]));
        assert_eq!(named(&[("path", "b"), ("path", "c")]), Err("an entry with two names".to_owned()));
        assert_eq!(named(&[("GNU.sparse.name", "b")]), Err("a sparse file".to_owned()));
        let long = "/x".repeat(LONGEST_PATH);
        assert_eq!(named(&[("path", &long)]), Err("a path that is longer than any".to_owned()));
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut builder = tar::Builder::new(Vec::new());
        for number in 0..12 {
            let path = format!("{number:04}{}", "/x".repeat(LONGEST_PATH / 2 - 4));
            append(&mut builder, &[("path", &path)]);
        }
        let layer = builder.into_inner().expect("finished");
        let error = layer_part(&layer[..], &["/".to_owned()]).expect_err("too much");
        assert_eq!(error.to_string(), "more entries than are looked at");
    }

    #[test]
    fn what_was_read_for_others_is_left_out() {
        let places = |places: &[&str]| places.iter().map(|place| (*place).to_owned()).collect::<Vec<_>>();
        let lower = layer(&["app/", "app/a", "srv/", "srv/b"]);
        let part = layer_part(&lower[..], &places(&["/app", "/srv"])).expect("read");
        let names = |of: &[&str]| -> Vec<String> {
            overlaid([&part], &places(of)).expect("known").into_iter().map(|entry| entry.path).collect()
        };
        assert_eq!(names(&["/app"]), ["/app", "/app/a"]);
        assert_eq!(names(&["/srv/b", "/app/x"]), ["/app", "/srv", "/srv/b"]);
    }

    #[test]
    fn what_leads_out_is_refused() {
        assert_eq!(cleaned(b"a/../b"), None);
        assert_eq!(cleaned(b"./a//b/").as_deref(), Some("/a/b"));
        assert_eq!(cleaned(b"./").as_deref(), Some("/"));
    }
}
