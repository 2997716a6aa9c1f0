//! The steps of a stage, numbered and worded as BuildKit shows them: `[build 2/5] RUN make`.
//!
//! `ADD`, `COPY`, `RUN` and `WORKDIR` count, and the base where it is no other stage and not `scratch`. Every trigger of
//! an `ONBUILD` counts, whatever it is. Not everything that counts is shown: `WORKDIR /` makes no step, and a named context
//! as base is shown under another name. The numbers after it are then one lower than the count says.
//!
//! Numbers are those of Docker 28 (BuildKit 0.25). Not followed: Docker 26 and older leave triggers out of the count
//! (`[child 2/1]`) and let an `ARG` with several names see none of its own line; and a stage that only the `COPY --from`
//! of a trigger reaches begins at 2 (`[tools 3/2]`), since BuildKit resolves its base twice. Docker 20.10 without a
//! `# syntax=` knows no heredocs and refuses such files.

use std::collections::BTreeMap;

use super::budget::Budget;
use super::error::GraphError;
use super::expand::{ExpandError, Expansion, Lexer};
use super::graph::Base;
use super::heredoc::Heredoc;
use super::instruction::{Instruction, Kind, Transfer};
use super::mount::Mount;
use super::resolve::expansion_failed;
use super::words;
use crate::model::reference::Reference;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number, from 1.
    pub number: usize,
    /// How many steps BuildKit counts for the stage.
    pub total: usize,
    /// What BuildKit shows before the text: `[build  2/10]`, without the stage where it is the only one.
    pub prefix: String,
    /// The instruction as BuildKit shows it: variables replaced, where they are known.
    pub text: String,
    /// Its first line in the file, from 1.
    pub line: usize,
    /// Whether this is the base image and no instruction that makes a layer.
    pub is_base: bool,
    /// The paths of the build context that it reads, from `/`; `/` alone where they are not known.
    pub context_paths: Vec<String>,
    /// URLs and git repositories that it fetches.
    pub remote_sources: Vec<String>,
}

/// What a stage has become so far.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// `None` is a value that depends on what is not known.
    variables: BTreeMap<String, Option<String>>,
    /// That of an image is not known; most that are built upon have none.
    workdir: String,
    /// Whether variables may exist that are not known here.
    unknown_base: bool,
}

impl Walk {
    /// Where nothing was before. BuildKit sets a `PATH` where there is none.
    pub(super) fn from_scratch() -> Self {
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let variables = BTreeMap::from([("PATH".to_owned(), Some(path.to_owned()))]);
        Walk { variables, workdir: "/".to_owned(), unknown_base: false }
    }

    /// On an image or a context.
    pub(super) fn from_unknown() -> Self {
        Walk { variables: BTreeMap::new(), workdir: "/".to_owned(), unknown_base: true }
    }

    /// How much there is to copy for a stage that stands on this one.
    pub(super) fn size(&self) -> usize {
        let size =
            |(name, value): (&String, &Option<String>)| name.len() + value.as_ref().map_or(0, String::len);
        self.variables.iter().map(size).sum()
    }

    /// Walks through the instructions; those with `true` are triggers. `given` is global arguments and build arguments.
    #[expect(clippy::too_many_arguments, reason = "one caller, which has them all at hand")]
    pub(super) fn steps(
        &mut self,
        base: &Base,
        from_line: usize,
        label: Option<&str>,
        instructions: &[(Instruction, bool)],
        escape: char,
        given: (&BTreeMap<String, String>, &BTreeMap<String, Option<String>>),
        budget: &mut Budget,
    ) -> Result<Vec<Step>, GraphError> {
        let counts =
            |kind: &Kind| matches!(kind, Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_));
        let counted =
            instructions.iter().filter(|(instruction, trigger)| *trigger || counts(&instruction.kind));
        let total = counted.count() + usize::from(matches!(base, Base::Image(_) | Base::Context(_)));
        let width = total.to_string().len();
        let mut steps: Vec<Step> = Vec::new();
        let mut push = |text: String, line, is_base, reads: Reads| {
            let number = steps.len() + 1;
            let label = label.map(|label| format!("{label} ")).unwrap_or_default();
            let prefix = format!("[{label}{number:width$}/{total}]");
            let Reads { paths: context_paths, remote: remote_sources } = reads;
            steps.push(Step { number, total, prefix, text, line, is_base, context_paths, remote_sources });
        };
        if let Base::Image(image) = base {
            let name = image.parse::<Reference>().map_or_else(|_| image.clone(), |image| image.to_string());
            push(format!("FROM {name}"), from_line, true, Reads::default());
        }
        let mut reader = Expander { walk: self, lexer: Lexer::new(escape), budget };
        for (instruction, trigger) in instructions {
            let line = instruction.span.first;
            let shown =
                reader.instruction(instruction, given).map_err(|error| expansion_failed(error, line, ""))?;
            if let Some((text, reads)) = shown {
                push(if *trigger { format!("ONBUILD {text}") } else { text }, line, false, reads);
            }
        }
        Ok(steps)
    }
}

/// What a step reads from outside.
#[derive(Default)]
struct Reads {
    paths: Vec<String>,
    remote: Vec<String>,
}

struct Expander<'a> {
    walk: &'a mut Walk,
    lexer: Lexer,
    budget: &'a mut Budget,
}

impl Expander<'_> {
    /// Takes one instruction into account; gives its text where it is shown.
    fn instruction(
        &mut self,
        instruction: &Instruction,
        (globals, build_args): (&BTreeMap<String, String>, &BTreeMap<String, Option<String>>),
    ) -> Result<Option<(String, Reads)>, ExpandError> {
        match &instruction.kind {
            Kind::Arg(arguments) => {
                for argument in arguments {
                    let value = match (build_args.get(&argument.name), &argument.default) {
                        (Some(Some(given)), _) => Some(given.clone()),
                        (_, Some(default)) => self.value(default)?,
                        (_, None) => match globals.get(&argument.name) {
                            Some(global) => Some(global.clone()),
                            None => continue,
                        },
                    };
                    self.set(&argument.name, value)?;
                }
                Ok(None)
            }
            Kind::Env(pairs) => {
                let mut values = Vec::new();
                for (name, value) in pairs {
                    values.push((self.value(name)?, self.value(value)?));
                }
                for (name, value) in values {
                    if let Some(name) = name {
                        self.set(&name, value)?;
                    }
                }
                Ok(None)
            }
            Kind::Copy(transfer) | Kind::Add(transfer) => {
                let reads = self.transfer(transfer, matches!(instruction.kind, Kind::Add(_)))?;
                Ok(Some((self.shown(&instruction.text), reads)))
            }
            Kind::Run(mounts) => {
                let reads = self.mounts(mounts)?;
                Ok(Some((self.command(instruction, mounts), reads)))
            }
            Kind::Workdir(path) => {
                // A variable of the base image is taken for unset: whether there is a step depends on the path.
                let path = match self.expand(self.lexer, path) {
                    Err(ExpandError::Required { .. }) if self.walk.unknown_base => path.clone(),
                    expanded => expanded?.text,
                };
                let from = if path.starts_with('/') { "/" } else { &self.walk.workdir };
                self.walk.workdir = absolute(&format!("{from}/{path}"));
                let made = self.walk.workdir != "/";
                Ok(made.then(|| (self.shown(&instruction.text), Reads::default())))
            }
            Kind::From(_) | Kind::Onbuild(_) | Kind::Other => Ok(None),
        }
    }

    fn set(&mut self, name: &str, value: Option<String>) -> Result<(), ExpandError> {
        self.budget.spend(name.len() + value.as_ref().map_or(0, String::len))?;
        self.walk.variables.insert(name.to_owned(), value);
        Ok(())
    }

    fn expand(&mut self, lexer: Lexer, word: &str) -> Result<Expansion, ExpandError> {
        let variables = &self.walk.variables;
        lexer.expand(word, &|name| variables.get(name).cloned().flatten(), self.budget)
    }

    /// A word's value; `None` where it depends on what is not known.
    fn value(&mut self, word: &str) -> Result<Option<String>, ExpandError> {
        match self.expand(self.lexer, word) {
            Ok(expansion) if expansion.unset.is_empty() || !self.walk.unknown_base => {
                Ok(Some(expansion.text))
            }
            Err(ExpandError::Required { .. }) if self.walk.unknown_base => Ok(None),
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A whole instruction as shown; one that cannot be expanded is shown as written.
    fn shown(&mut self, text: &str) -> String {
        let expanded =
            self.expand(self.lexer, text).map_or_else(|_| text.to_owned(), |expansion| expansion.text);
        upper_case_name(&expanded)
    }

    /// A `RUN` as shown: with its quotes, and the first line of a heredoc that is all there is.
    fn command(&mut self, instruction: &Instruction, mounts: &[Mount]) -> String {
        let mut text = instruction.text.clone();
        let rest = words::split(&instruction.text, self.lexer.escape).rest;
        if let (Some(heredoc), Some(_)) = (instruction.heredocs.first(), Heredoc::of_word(rest)) {
            text.push_str(&format!(" ({})", heredoc.summary()));
        }
        let secrets: Vec<&str> = mounts
            .iter()
            .filter(|mount| mount.kind == "secret")
            .flat_map(|mount| &mount.fields)
            .filter_map(|(key, value)| if key == "env" { value.as_deref() } else { None })
            .collect();
        let variables = &self.walk.variables;
        let lookup = |name: &str| {
            if secrets.contains(&name) {
                Some("****".to_owned())
            } else {
                variables.get(name).cloned().flatten()
            }
        };
        let lexer = Lexer { raw_quotes: true, keep_unset: true, ..self.lexer };
        let expanded = lexer.expand(&text, &lookup, self.budget).map_or(text, |expansion| expansion.text);
        upper_case_name(&expanded)
    }

    fn transfer(&mut self, transfer: &Transfer, add: bool) -> Result<Reads, ExpandError> {
        let mut reads = Reads::default();
        for source in &transfer.sources {
            match self.value(source)? {
                _ if transfer.from.is_some() => {}
                Some(source) if add && is_remote(&source) => reads.remote.push(source),
                Some(source) => reads.paths.push(absolute(&source)),
                // It may be a URL as well: both are said.
                None => {
                    reads.paths.push("/".to_owned());
                    reads.remote.extend(add.then(|| source.clone()));
                }
            }
        }
        Ok(reads.tidy())
    }

    fn mounts(&mut self, mounts: &[Mount]) -> Result<Reads, ExpandError> {
        let mut reads = Reads::default();
        for mount in mounts.iter().filter(|mount| mount.reads_context()) {
            let source = self.value(mount.source.as_deref().unwrap_or("/"))?;
            reads.paths.push(source.map_or_else(|| "/".to_owned(), |source| absolute(&source)));
        }
        Ok(reads.tidy())
    }
}

impl Reads {
    fn tidy(mut self) -> Self {
        self.paths.sort();
        self.paths.dedup();
        if self.paths.first().is_some_and(|first| first == "/") {
            self.paths.truncate(1);
        }
        self
    }
}

fn upper_case_name(text: &str) -> String {
    match text.split_once(' ') {
        Some((name, rest)) => format!("{} {rest}", name.to_uppercase()),
        None => text.to_uppercase(),
    }
}

/// From `/`, without `.`, `..` and doubled slashes.
fn absolute(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether `ADD` fetches it: a URL, or `user@host:path`.
fn is_remote(source: &str) -> bool {
    let scp = || source.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    source.contains("://") || scp()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::dockerfile::{Dockerfile, Inputs, graph};
    use crate::model::platform::Platform;

    #[test]
    fn what_is_read_is_known_or_everything() {
        let platform = Platform::new("linux", "amd64", None);
        let inputs = Inputs {
            build_args: BTreeMap::from([("dir".to_owned(), Some("given".to_owned()))]),
            target: None,
            platform: platform.clone(),
            build_platform: platform,
            contexts: BTreeMap::new(),
        };
        let cases: [(&str, &[&str], &[&str]); 12] = [
            ("COPY a ./b/../c /x", &["/a", "/c"], &[]),
            ("COPY a . /x", &["/"], &[]),
            ("ARG dir=default\nCOPY $dir /x", &["/given"], &[]),
            ("COPY $unknown/a /x", &["/"], &[]),
            ("ENV p=$unknown q=a\nCOPY $p $q /x", &["/"], &[]),
            ("COPY --from=img a /x", &[], &[]),
            ("COPY <<a b /x/\na", &["/b"], &[]),
            (
                "ADD https://example.com/a git@example.com:b c@d /x/",
                &["/c@d"],
                &["https://example.com/a", "git@example.com:b"],
            ),
            ("ADD $unknown /x", &["/"], &["$unknown"]),
            ("RUN --mount=target=/src --mount=type=cache,source=y,target=/z x", &["/"], &[]),
            ("RUN --mount=source=go.mod,target=go.mod --mount=type=secret,source=s x", &["/go.mod"], &[]),
            ("RUN --mount=from=img,source=a,target=/b x", &[], &[]),
        ];
        for (text, paths, remote) in cases {
            let file = Dockerfile::parse(format!("FROM img\n{text}").as_bytes()).expect("Dockerfile");
            let graph = graph(&file, &inputs).expect("graph");
            let step = graph.stages[0].steps.last().expect("step");
            assert_eq!(
                (&step.context_paths[..], &step.remote_sources[..]),
                (paths_of(paths).as_slice(), paths_of(remote).as_slice()),
                "{text}"
            );
        }
    }

    fn paths_of(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }
}
