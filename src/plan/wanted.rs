//! What has to be found out before a digest can be made: images, and files of contexts.

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{Base, Copy, CopySource, Graph, Operation, Source, Word};
use crate::model::inputs::Selector;
use crate::model::platform::Platform;
use crate::model::reference::Digest;

/// What has to be found out before a digest can be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Images, as the Dockerfile names them, with the platform that is meant.
    pub images: BTreeSet<(String, Platform)>,
    /// Files of contexts.
    pub files: BTreeSet<Selector>,
}

/// A named build context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A folder of this machine.
    Folder,
    /// An image.
    Image(String),
    /// The result of another target of the same bake: the digest of what that is made from. Equal inputs mean the result
    /// that a warm BuildKit would have.
    Target(Digest),
    /// Anything else, with the reason why it cannot be looked at.
    Unknown(String),
}

/// What is asked of a graph.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The stages.
    pub graph: &'a Graph,
    /// The platform that is built for.
    pub platform: &'a Platform,
    /// The named contexts.
    pub contexts: &'a BTreeMap<String, NamedContext>,
}

/// What has to be found out.
pub fn wanted(asked: Asked<'_>) -> Wanted {
    let mut wanted = Wanted::default();
    for node in &asked.graph.stages {
        match &node.base {
            Base::Image(image) => drop(wanted.images.insert((image.clone(), node.platform.clone()))),
            Base::Context(key) => asked.want_context(key, &node.platform, None, &mut wanted),
            Base::Scratch | Base::Stage(_) => {}
        }
        for step in &node.steps {
            for (source, selector) in taken(&step.operation) {
                match source {
                    None => drop(wanted.files.insert(selector)),
                    Some(Source::Image(image)) => {
                        wanted.images.insert((image.clone(), asked.platform.clone()));
                    }
                    Some(Source::Context(key)) => {
                        asked.want_context(key, asked.platform, Some(selector), &mut wanted);
                    }
                    Some(Source::Stage(_) | Source::Nothing) => {}
                }
            }
        }
    }
    wanted
}

impl Asked<'_> {
    fn want_context(self, key: &str, platform: &Platform, selector: Option<Selector>, wanted: &mut Wanted) {
        match self.contexts.get(key) {
            Some(NamedContext::Folder) => {
                let all = || Selector::all(None);
                let selector = Selector { context: Some(key.to_owned()), ..selector.unwrap_or_else(all) };
                wanted.files.insert(selector);
            }
            Some(NamedContext::Image(image)) => {
                wanted.images.insert((image.clone(), platform.clone()));
            }
            Some(NamedContext::Target(_) | NamedContext::Unknown(_)) | None => {}
        }
    }
}

/// The files that a step takes: from where, and which. A path that is not clear stands for everything.
pub(super) fn taken(operation: &Operation) -> Vec<(Option<&Source>, Selector)> {
    let all = || Selector::all(None);
    match operation {
        Operation::Copy(copy) => {
            let paths = copy.sources.iter().filter_map(|source| match source {
                CopySource::Path(word) => Some(word),
                CopySource::Remote(_) => None,
            });
            let selectors = paths.map(|word| {
                let selector = selector(copy, word).unwrap_or_else(all);
                (copy.from.as_ref(), selector)
            });
            selectors.collect()
        }
        Operation::Run(run) => {
            let files = run.mounts.iter().filter_map(|mount| mount.files.as_ref());
            let selectors = files.map(|(source, word)| {
                let selector = match word.unclear {
                    None => Selector { source: word.text.replace("/./", "/"), ..all() },
                    Some(_) => all(),
                };
                (source.as_ref(), selector)
            });
            selectors.collect()
        }
        Operation::Base | Operation::Workdir(_) | Operation::Nothing => Vec::new(),
    }
}

/// What a source of a `COPY` means; `None` where that is not clear.
fn selector(copy: &Copy, word: &Word) -> Option<Selector> {
    let named = |name: &'static str| copy.options.iter().filter(move |(option, _)| option == name);
    let parents =
        named("parents").next_back().is_some_and(|(_, value)| !value.text.eq_ignore_ascii_case("false"));
    let excludes: Vec<&Word> = named("exclude").map(|(_, value)| value).collect();
    if word.unclear.is_some() || excludes.iter().any(|exclude| exclude.unclear.is_some()) {
        return None;
    }
    Some(Selector {
        context: None,
        source: if parents { word.text.clone() } else { word.text.replace("/./", "/") },
        wildcard: true,
        parents,
        excludes: excludes.into_iter().map(|exclude| exclude.text.clone()).collect(),
    })
}

/// Why what `ADD` fetches may move; `None` where it cannot.
pub(super) fn moving(copy: &Copy, word: &Word) -> Option<String> {
    if word.unclear.is_some() {
        return Some("ADD fetches from an address that the base image decides".to_owned());
    }
    let is_pinned = copy.options.iter().any(|(name, value)| name == "checksum" && !value.text.is_empty());
    let is_commit = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let reference =
        word.text.split_once('#').map(|(_, fragment)| fragment.split(':').next().unwrap_or_default());
    match is_pinned || reference.is_some_and(is_commit) {
        true => None,
        false => Some(format!("ADD fetches {} without --checksum", without_userinfo(&word.text))),
    }
}

/// An address without what may be a password.
fn without_userinfo(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[start..])
        }
        None => address.to_owned(),
    }
}
