//! A part of the tree that layers make together, from the headers of their tar files.
//!
//! Whiteouts are those of the image-spec ("Layer Changeset"): `.wh.name` takes away what lower layers have under that
//! name, `.wh..wh..opq` everything that they have below a folder. What cannot be told from headers is told as
//! [`EntryKind::Other`], which nothing is proven about.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::model::parent_state::{Entry, EntryKind};

/// More entries than any layer has.
const MOST_ENTRIES: usize = 4_000_000;

/// Entries of the wanted part that are kept of one layer.
const MOST_KEPT: usize = 100_000;

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
}

/// Whether something at `path` counts, where all is wanted of some places: it is above, at or below one of them.
fn counts(path: &str, places: &[String]) -> bool {
    places.iter().any(|place| is_within(path, place) || is_within(place, path))
}

/// Reads the headers of an unpacked layer.
pub fn layer_part(layer: impl Read, places: &[String]) -> io::Result<LayerPart> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut part = LayerPart::default();
    let mut archive = tar::Archive::new(layer);
    for (index, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        if index == MOST_ENTRIES || part.entries.len() + part.removed.len() == MOST_KEPT {
            return Err(broken("more entries than are looked at"));
        }
        let path = cleaned(&entry.path_bytes()).ok_or_else(|| broken("an entry outside of the root"))?;
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let (removes, place) = match name.strip_prefix(WHITEOUT) {
            Some(_) if name == OPAQUE => (true, if folder.is_empty() { "/" } else { folder }.to_owned()),
            Some(name) => (true, format!("{folder}/{name}")),
            None => (false, path.clone()),
        };
        if path == "/" || !counts(&place, places) {
            continue;
        }
        if removes {
            let list = if name == OPAQUE { &mut part.opaque } else { &mut part.removed };
            list.push(place);
            continue;
        }
        let (mut uid, mut gid, mut xattrs) = (entry.header().uid()?, entry.header().gid()?, false);
        if let Some(extensions) = entry.pax_extensions()? {
            for extension in extensions {
                let extension = extension?;
                let number = || extension.value().ok().and_then(|value| value.parse().ok());
                match extension.key_bytes() {
                    b"uid" => uid = number().ok_or_else(|| broken("an owner that is no number"))?,
                    b"gid" => gid = number().ok_or_else(|| broken("a group that is no number"))?,
                    key => {
                        xattrs |= key.starts_with(b"SCHILY.xattr.") || key.starts_with(b"LIBARCHIVE.xattr.")
                    }
                }
            }
        }
        let header = entry.header();
        let kind = match header.entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::Link => EntryKind::File,
            tar::EntryType::Directory => EntryKind::Folder,
            tar::EntryType::Symlink => EntryKind::Symlink,
            _ => EntryKind::Other,
        };
        part.entries.push(Entry { kind, mode: header.mode()? & 0o7777, uid, gid, xattrs, path });
    }
    Ok(part)
}

/// The tree of several layers, the lowest first, as far as it is wanted; the layers may have been read for other places too.
pub fn overlaid<'a>(parts: impl IntoIterator<Item = &'a LayerPart>, places: &[String]) -> Vec<Entry> {
    let mut tree: BTreeMap<String, Entry> = BTreeMap::new();
    for part in parts {
        for folder in &part.opaque {
            remove_below(&mut tree, folder);
        }
        for path in &part.removed {
            tree.remove(path);
            remove_below(&mut tree, path);
        }
        for entry in &part.entries {
            if entry.kind != EntryKind::Folder {
                remove_below(&mut tree, &entry.path);
            }
            tree.insert(entry.path.clone(), entry.clone());
        }
    }
    tree.into_values().filter(|entry| counts(&entry.path, places)).collect()
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

/// Whether a path is another one, or below it.
fn is_within(path: &str, folder: &str) -> bool {
    folder == "/" || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of entries: `d/` is a folder, `l -> x` a symbolic link, anything else a file; `!` before it: with xattrs.
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
        overlaid(&parts, &places).iter().map(shown).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn upper_layers_change_and_take_away() {
        let lower: &[&str] =
            &["./", "./app/", "app/a", "app/sub/", "app/sub/b", "var/", "!var/x/", "etc/", "run -> var"];
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
        insta::assert_snapshot!(tree(&[lower, &["app/.wh.a", "app/sub/.wh..wh..opq", "app/sub/c"]], &["/app"]), @r"
        /app Folder 755 7:0
        /app/sub Folder 755 7:0
        /app/sub/c File 644 7:0
        ");
        insta::assert_snapshot!(tree(&[lower, &[".wh.app"]], &["/app"]), @"");
        insta::assert_snapshot!(tree(&[lower, &["app/sub -> a"]], &["/app"]), @r"
        /app Folder 755 7:0
        /app/a File 644 7:0
        /app/sub Symlink 644 7:0
        ");
        // In one layer, a whiteout takes away what is below, wherever it stands.
        insta::assert_snapshot!(tree(&[lower, &["app/a", "app/.wh.a"]], &["/app/a"]), @r"
        /app Folder 755 7:0
        /app/a File 644 7:0
        ");
    }

    #[test]
    fn what_was_read_for_others_is_left_out() {
        let places = |places: &[&str]| places.iter().map(|place| (*place).to_owned()).collect::<Vec<_>>();
        let lower = layer(&["app/", "app/a", "srv/", "srv/b"]);
        let part = layer_part(&lower[..], &places(&["/app", "/srv"])).expect("read");
        let names = |of: &[&str]| -> Vec<String> {
            overlaid([&part], &places(of)).into_iter().map(|entry| entry.path).collect()
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
