//! The first pass over the stages: global arguments, bases, platforms, named contexts, the target.

use std::collections::BTreeMap;

use super::budget::Budget;
use super::error::{GraphError, GraphFault, nearest};
use super::expand::{ExpandError, Lexer};
use super::graph::{Base, Inputs};
use super::stage::{Dockerfile, Stage};
use crate::model::platform::Platform;
use crate::model::reference::Reference;

/// A stage after the first pass.
pub(super) struct Resolved {
    pub(super) base: Base,
    pub(super) platform: Platform,
    pub(super) replaced: bool,
}

/// A file with its inputs; after the first pass it knows every stage's base.
pub(super) struct Resolver<'a> {
    pub(super) dockerfile: &'a Dockerfile,
    pub(super) inputs: &'a Inputs,
    pub(super) budget: Budget,
    pub(super) globals: BTreeMap<String, String>,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) stages: Vec<Resolved>,
}

impl<'a> Resolver<'a> {
    /// Does the first pass.
    pub(super) fn new(dockerfile: &'a Dockerfile, inputs: &'a Inputs) -> Result<Self, GraphError> {
        let mut resolver = Resolver {
            dockerfile,
            inputs,
            budget: Budget::new(),
            globals: BTreeMap::new(),
            names: BTreeMap::new(),
            stages: Vec::new(),
        };
        resolver.globals()?;
        for stage in &dockerfile.stages {
            resolver.base(stage)?;
        }
        Ok(resolver)
    }

    /// The platform arguments and those before the first `FROM`, each seeing the ones before it.
    fn globals(&mut self) -> Result<(), GraphError> {
        let target = self.inputs.target.clone();
        let last = || self.dockerfile.stages.last().and_then(|stage| stage.name.clone());
        let stage = target.or_else(last).unwrap_or_else(|| "default".to_owned());
        self.globals.insert("TARGETSTAGE".to_owned(), stage);
        for (prefix, platform) in [("BUILD", &self.inputs.build_platform), ("TARGET", &self.inputs.platform)]
        {
            let variant = platform.variant.clone().unwrap_or_default();
            for (name, value) in [
                ("PLATFORM", platform.to_string()),
                ("OS", platform.os.clone()),
                ("OSVERSION", String::new()),
                ("ARCH", platform.architecture.clone()),
                ("VARIANT", variant),
            ] {
                self.globals.insert(format!("{prefix}{name}"), value);
            }
        }
        for (name, value) in &mut self.globals {
            if let Some(Some(given)) = self.inputs.build_args.get(name) {
                value.clone_from(given);
            }
        }
        for (argument, line) in &self.dockerfile.global_args {
            let value = match (self.inputs.build_args.get(&argument.name), &argument.default) {
                (Some(Some(given)), _) => given.clone(),
                (_, Some(default)) => self.expand(default, *line)?,
                (_, None) => continue,
            };
            self.globals.insert(argument.name.clone(), value);
        }
        Ok(())
    }

    /// Expands with the global arguments.
    fn expand(&mut self, word: &str, line: usize) -> Result<String, GraphError> {
        let globals = &self.globals;
        Lexer::new(self.dockerfile.escape)
            .expand(word, &|name| globals.get(name).cloned(), &mut self.budget)
            .map(|expansion| expansion.text)
            .map_err(|error| expansion_failed(error, line, word))
    }

    /// The first pass for one stage.
    fn base(&mut self, stage: &Stage) -> Result<(), GraphError> {
        let line = stage.from.first;
        let failed = |fault| GraphError { line, word: stage.base.clone(), fault };
        let name = self.expand(&stage.base, line)?;
        if name.is_empty() {
            return Err(failed(GraphFault::BlankBase(stage.base.clone())));
        }
        let platform = match &stage.platform {
            None => self.inputs.platform.clone(),
            Some(written) => {
                let expanded = self.expand(written, line)?;
                self.platform(&expanded)
                    .ok_or_else(|| failed(GraphFault::Platform(written.clone(), expanded)))?
            }
        };
        let own_context = stage.name.as_deref().and_then(|name| self.context(name, &platform));
        let replaced = own_context.is_some();
        let mut resolved = Resolved { base: Base::Scratch, platform, replaced };
        if let Some(context) = own_context {
            resolved.base = Base::Context(context);
        } else if let Some(&earlier) = self.names.get(&name) {
            resolved.base = Base::Stage(earlier);
            resolved.platform = self.stages[earlier].platform.clone();
        } else if name != "scratch" {
            resolved.base = self.context(&name, &resolved.platform).map_or(Base::Image(name), Base::Context);
        }
        self.stages.push(resolved);
        self.names.extend(stage.name.clone().map(|name| (name, stage.index)));
        Ok(())
    }

    /// A platform as containerd reads it: the system or the architecture may stand alone.
    fn platform(&self, text: &str) -> Option<Platform> {
        let own = &self.inputs.build_platform;
        match text {
            "linux" | "windows" | "darwin" | "freebsd" => {
                Some(Platform { os: text.to_owned(), ..own.clone() })
            }
            "" => None,
            other if other.contains('/') => other.parse().ok(),
            architecture => Some(Platform::new(&own.os, architecture, None)),
        }
    }

    /// The key of the named context that stands for `name`.
    pub(super) fn context(&self, name: &str, platform: &Platform) -> Option<String> {
        let wanted = context_name(name);
        let with_platform = format!("{wanted}::{platform}");
        let key = |wanted: &str| {
            self.inputs.contexts.keys().find(|key| {
                let (name, platform) =
                    key.split_once("::").map_or((key.as_str(), None), |(name, it)| (name, Some(it)));
                let name = context_name(name);
                platform.map_or(name.clone(), |platform| format!("{name}::{platform}")) == wanted
            })
        };
        let special = ["scratch", "context"].iter().any(|special| name.eq_ignore_ascii_case(special));
        if special { None } else { key(&with_platform).or_else(|| key(&wanted)).cloned() }
    }

    /// The index of the stage that is built.
    pub(super) fn target(&self) -> Result<usize, GraphError> {
        let last = self.dockerfile.stages.len() - 1;
        let Some(wanted) = &self.inputs.target else { return Ok(last) };
        self.names.get(&wanted.to_lowercase()).copied().ok_or_else(|| {
            let stages: Vec<String> =
                self.dockerfile.stages.iter().filter_map(|stage| stage.name.clone()).collect();
            let suggestion = nearest(wanted, stages.iter().map(String::as_str));
            let fault = GraphFault::UnknownTarget { name: wanted.clone(), suggestion, stages };
            GraphError { line: self.dockerfile.stages[last].from.first, word: String::new(), fault }
        })
    }
}

/// How a failed expansion is told.
pub(super) fn expansion_failed(error: ExpandError, line: usize, word: &str) -> GraphError {
    GraphError { line, word: word.to_owned(), fault: GraphFault::Expansion(error) }
}

/// A context's name as BuildKit compares it: the familiar form of an image's name without `:latest`.
fn context_name(name: &str) -> String {
    let Ok(reference) = name.parse::<Reference>() else { return name.to_owned() };
    let whole = reference.to_string();
    let familiar = whole.strip_prefix("docker.io/").unwrap_or(&whole);
    let familiar = familiar.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(familiar);
    familiar.strip_suffix(":latest").unwrap_or(familiar).to_owned()
}
