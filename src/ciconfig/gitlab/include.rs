//! `include:`: the files that a file is put together from, and their merge.
//!
//! Included mappings are merged key by key, in their order, and the including file's own keys stand above them; lists
//! are replaced whole (GitLab's docs, "Use CI/CD configuration from other files").

use std::collections::BTreeMap;

use crate::base::yaml::Node;
use crate::ciconfig::{Error, Files, Load};

/// Files in files are followed this far.
const DEEPEST: usize = 20;

/// The end of the address of layerlift's own template, at any version.
const OWN_ADDRESS: &str = "/ci-templates/gitlab/layerlift.yml";
/// The template as it is at the version of this binary.
const OWN_TEMPLATE: &str = include_str!("../../../ci-templates/gitlab/layerlift.yml");

/// Which file a top-level key was last set by.
pub(super) type Origins = BTreeMap<String, String>;

/// Reads a file with everything that it includes from the checkout. layerlift's own template is known without that.
pub(super) fn read(
    file: &str,
    load: &Load<'_>,
    files: &mut Files,
    notes: &mut Vec<String>,
) -> Result<(Node, Origins), Error> {
    let mut path = Vec::new();
    let load = |name: &str| if is_own(name) { Ok(Some(OWN_TEMPLATE.to_owned())) } else { load(name) };
    one(file, &load, files, notes, &mut path)
}

fn one(
    file: &str,
    load: &Load<'_>,
    files: &mut Files,
    notes: &mut Vec<String>,
    path: &mut Vec<String>,
) -> Result<(Node, Origins), Error> {
    let mut documents = files.read(file, load)?;
    // A first document with `spec:` alone is the header of a component.
    if documents.len() > 1 && documents[0].get("spec").is_some() {
        documents.remove(0);
    }
    let Some(own) = documents.into_iter().next() else { return Ok((Node::Map(Vec::new()), Origins::new())) };
    if !matches!(own, Node::Map(_) | Node::Null) {
        return Err(Error::meaning(file, 1, "a mapping of jobs is expected"));
    }
    path.push(file.to_owned());
    let mut whole = Node::Map(Vec::new());
    let mut origins = Origins::new();
    for entry in own.get("include").map(Node::items).unwrap_or_default() {
        let Some(name) = known(entry, notes) else { continue };
        if path.contains(&name) {
            let message = format!("`include` goes in a circle: {} -> {name}", path.join(" -> "));
            return Err(Error::meaning(file, files.line_of(file, "", "include"), message));
        }
        if path.len() > DEEPEST {
            let message = format!("`include` is more than {DEEPEST} files deep");
            return Err(Error::meaning(file, files.line_of(file, "", "include"), message));
        }
        let (included, from) = one(&name, load, files, notes, path)?;
        whole = merged(whole, included);
        origins.extend(from);
    }
    path.pop();
    origins.extend(own.entries().iter().map(|(key, _)| (key.clone(), file.to_owned())));
    Ok((merged(whole, own), origins))
}

/// Whether that is where layerlift's own template is fetched from.
fn is_own(name: &str) -> bool {
    name.starts_with("https://") && name.ends_with(OWN_ADDRESS)
}

/// The file of the checkout that an entry names, or the address of our own template. Others are noted: they are fetched by
/// GitLab.
fn known(entry: &Node, notes: &mut Vec<String>) -> Option<String> {
    let mut note = |note: String| {
        if !notes.contains(&note) {
            notes.push(note);
        }
    };
    let remote = entry.scalar().or_else(|| entry.get("remote")?.scalar());
    if let Some(address) = remote.filter(|address| is_own(address)) {
        let version = env!("CARGO_PKG_VERSION");
        note(format!("`include` of {address} is answered by the copy in layerlift {version}"));
        return Some(address);
    }
    let mut left = |what: String| {
        note(format!("`include` of {what} was not followed"));
        None
    };
    let name = match entry.scalar() {
        Some(text) if text.starts_with("http://") || text.starts_with("https://") => return left(text),
        Some(text) => text,
        None => match entry.get("local").and_then(Node::scalar) {
            Some(text) => text,
            None => {
                let key = entry.entries().iter().find(|(key, _)| key != "rules" && key != "inputs");
                let value = key.map(|(key, value)| format!("{key}: {}", value.scalar().unwrap_or_default()));
                return left(value.unwrap_or_else(|| "an unknown form".to_owned()));
            }
        },
    };
    if name.contains(['*', '$']) {
        return left(format!("local: {name}"));
    }
    Some(name.trim_start_matches('/').to_owned())
}

/// The second above the first: mappings key by key, everything else as a whole.
pub(super) fn merged(below: Node, above: Node) -> Node {
    match (below, above) {
        (Node::Map(mut entries), Node::Map(others)) => {
            for (key, value) in others {
                match entries.iter_mut().find(|(name, _)| *name == key) {
                    Some((_, there)) => {
                        let below = std::mem::replace(there, Node::Null);
                        *there = merged(below, value);
                    }
                    None => entries.push((key, value)),
                }
            }
            Node::Map(entries)
        }
        (below, Node::Null) if matches!(below, Node::Map(_)) => below,
        (_, above) => above,
    }
}
