//! Advice on the Dockerfile of a request: what is needed for it is read, and no engine is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;

use crate::context::select;
use crate::context::walk::{self, Kind};
use crate::dockerfile::{Dockerfile, Graph};
use crate::model::inputs::Selector;
use crate::model::record::Record;
use crate::model::request::{Context, Request};
use crate::plan::lint::{self, Advice, Files, Subject};
use crate::plan::wanted::{self, Asked};
use crate::workflow::error::Error;
use crate::workflow::source::{self, Source, Text};
use crate::workflow::world::World;
use crate::workflow::{contexts, facts, graph};

/// What came of it.
#[derive(Debug)]
pub struct Findings {
    /// The Dockerfile's name.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The advice, in the order of the lines.
    pub advice: Vec<Advice>,
    /// What could not be looked at, and why.
    pub unseen: Option<String>,
    /// When the build began that tells how long steps take.
    pub measured: Option<Timestamp>,
}

/// Reads what a request names, and gives advice. `record`: an earlier build, which tells how long steps take.
pub fn lint(world: &World, request: &Request, record: Option<&Record>) -> Result<Findings, Error> {
    let source = source::read(request, std::io::stdin().lock())?;
    let bytes = match &source.dockerfile {
        Text::Known(bytes) => bytes,
        Text::Unknown(reason) => {
            return Err(Error::Missing(format!("the Dockerfile cannot be looked at: {reason}")));
        }
    };
    let text = String::from_utf8_lossy(bytes).into_owned();
    let machine = facts::this_machine();
    let asked_for = request.platforms().first().and_then(|name| name.parse().ok());
    let platform = asked_for.unwrap_or_else(|| machine.clone());
    let platforms = std::slice::from_ref(&platform);
    let mut findings = Findings {
        name: source.name.trim_start_matches("./").to_owned(),
        text,
        advice: Vec::new(),
        unseen: None,
        measured: record.map(|record| record.created),
    };
    let graph = match graph::graph(request, &source, platforms, &machine, &world.environment)? {
        Ok((graph, _)) => graph,
        Err(reason) => {
            findings.unseen = Some(format!("what the Dockerfile means is not known here: {reason}"));
            return Ok(findings);
        }
    };
    let Ok(dockerfile) = Dockerfile::parse(bytes) else { return Ok(findings) };
    let contexts = BTreeMap::new();
    let wanted = wanted::wanted(Asked { graph: &graph, platform: &platform, contexts: &contexts });
    let files = files(request, &source, &world.folder, &wanted.files);
    findings.unseen =
        files.as_ref().err().map(|reason| format!("the build context was not looked at: {reason}"));
    findings.advice = advice(&dockerfile, &findings.text, &graph, files.as_ref().ok(), &source, record);
    Ok(findings)
}

fn advice(
    dockerfile: &Dockerfile,
    text: &str,
    graph: &Graph,
    files: Option<&Files>,
    source: &Source,
    record: Option<&Record>,
) -> Vec<Advice> {
    let own = format!("{}.dockerignore", source.name);
    lint::lint(Subject {
        dockerfile,
        text,
        graph,
        files,
        ignore_file: if Path::new(&own).exists() { &own } else { ".dockerignore" },
        past: record.map(|record| record.stages.as_slice()).unwrap_or_default(),
    })
}

/// What is in the build context, and what each source takes of it.
fn files(
    request: &Request,
    source: &Source,
    working: &Path,
    wanted: &BTreeSet<Selector>,
) -> Result<Files, String> {
    let Context::Folder(folder) = &request.context else {
        return Err("it is no folder of this machine".to_owned());
    };
    let folder = working.join(folder);
    let root = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
    let ignore = contexts::ignore_rules(Some(&source.name), &root, working)?;
    let entries = walk::walk(&root, &ignore, &[]).map_err(|error| error.to_string())?;
    let mut files = Files::default();
    for selector in wanted.iter().filter(|selector| selector.context.is_none()) {
        // What is not understood is passed over: no advice is better than a wrong one.
        let places = select::select(&root, &entries, selector).unwrap_or_default();
        files.selected.insert(selector.clone(), places);
    }
    files.entries = entries
        .into_iter()
        .map(|entry| {
            let path = String::from_utf8_lossy(&entry.path);
            let end = if entry.kind == Kind::Folder { "/" } else { "" };
            (format!("{path}{end}"), entry.size)
        })
        .collect();
    Ok(files)
}
