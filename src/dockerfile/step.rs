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

use std::collections::{BTreeMap, BTreeSet};

use super::budget::Budget;
use super::error::GraphError;
use super::expand::{ExpandError, Expansion, Lexer};
use super::graph::{Base, Placed, Source};
use super::heredoc::Heredoc;
use super::instruction::{Instruction, Kind, Transfer};
use super::mount::Mount;
use super::operation::{Copy, CopySource, Operation, Run, RunMount, Setting, Word};
use super::resolve::expansion_failed;
use super::variables::{Variable, Variables};
use super::words;
use crate::model::reference::{Digest, Reference};

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
    /// The instruction as written, on one line.
    pub written: String,
    /// Its first line in the file, from 1.
    pub line: usize,
    /// Whether this is the base image and no instruction that makes a layer.
    pub is_base: bool,
    /// What it does.
    pub operation: Operation,
}

/// What a stage has become so far.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    variables: Variables,
    /// That of an image is not known; most that are built upon have none.
    workdir: String,
    /// The working folder depends on what is not known.
    unknown_workdir: bool,
    user: String,
    /// The `SHELL` instruction.
    shell: String,
    /// Whether variables may exist that are not known here.
    unknown_base: bool,
}

impl Walk {
    /// Where nothing was before. BuildKit sets a `PATH` where there is none.
    pub(super) fn from_scratch() -> Self {
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let mut variables = Variables::default();
        variables.set("PATH", Variable { value: Word::plain(path), is_argument: false });
        let (user, shell) = (String::new(), String::new());
        Walk { variables, workdir: "/".to_owned(), unknown_workdir: false, user, shell, unknown_base: false }
    }

    /// On an image or a context.
    pub(super) fn from_unknown() -> Self {
        let variables = Variables::default();
        Walk { variables, unknown_workdir: true, unknown_base: true, ..Walk::from_scratch() }
    }

    /// How much there is to copy for a stage that stands on this one.
    pub(super) fn size(&self) -> usize {
        self.variables.size()
    }

    /// Walks through the instructions. `given` is global arguments and build arguments.
    #[expect(clippy::too_many_arguments, reason = "one caller, which has them all at hand")]
    pub(super) fn steps(
        &mut self,
        base: &Base,
        from_line: usize,
        label: Option<&str>,
        instructions: &[Placed],
        escape: char,
        given: (&BTreeMap<String, String>, &BTreeMap<String, Option<String>>),
        budget: &mut Budget,
    ) -> Result<(Vec<Step>, Vec<Setting>), GraphError> {
        let counts =
            |kind: &Kind| matches!(kind, Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_));
        let counted =
            instructions.iter().filter(|placed| placed.is_trigger || counts(&placed.instruction.kind));
        let total = counted.count() + usize::from(matches!(base, Base::Image(_) | Base::Context(_)));
        let width = total.to_string().len();
        let mut steps: Vec<Step> = Vec::new();
        let mut settings = Vec::new();
        let mut push = |text: String, written: String, line, operation: Operation| {
            let number = steps.len() + 1;
            let label = label.map(|label| format!("{label} ")).unwrap_or_default();
            let prefix = format!("[{label}{number:width$}/{total}]");
            let is_base = operation == Operation::Base;
            steps.push(Step { number, total, prefix, text, written, line, is_base, operation });
        };
        if let Base::Image(image) = base {
            let name = image.parse::<Reference>().map_or_else(|_| image.clone(), |image| image.to_string());
            push(format!("FROM {name}"), format!("FROM {image}"), from_line, Operation::Base);
        }
        let mut reader = Expander { walk: self, lexer: Lexer::new(escape), budget };
        for placed in instructions {
            let line = placed.instruction.span.first;
            let done =
                reader.instruction(placed, given).map_err(|error| expansion_failed(error, line, ""))?;
            match done {
                Done::Step(text, operation) => {
                    let onbuild = if placed.is_trigger { "ONBUILD " } else { "" };
                    let written = format!("{onbuild}{}", placed.instruction.text);
                    push(format!("{onbuild}{text}"), written, line, operation);
                }
                Done::Setting(value) => {
                    let text = placed.instruction.text.clone();
                    settings.push(Setting { line, text, value });
                }
            }
        }
        Ok((steps, settings))
    }
}

/// What became of an instruction.
enum Done {
    /// BuildKit shows it, with this text.
    Step(String, Operation),
    /// It is no step.
    Setting(Word),
}

struct Expander<'a> {
    walk: &'a mut Walk,
    lexer: Lexer,
    budget: &'a mut Budget,
}

impl Expander<'_> {
    /// Takes one instruction into account.
    fn instruction(
        &mut self,
        placed: &Placed,
        (globals, build_args): (&BTreeMap<String, String>, &BTreeMap<String, Option<String>>),
    ) -> Result<Done, ExpandError> {
        let instruction = &placed.instruction;
        match &instruction.kind {
            Kind::Arg(arguments) => {
                let mut noted = Vec::new();
                for argument in arguments {
                    let value = match (build_args.get(&argument.name), &argument.default) {
                        (Some(Some(given)), _) => Word::plain(given),
                        (_, Some(default)) => self.word(default)?,
                        (_, None) => match globals.get(&argument.name) {
                            Some(global) => Word::plain(global),
                            None => continue,
                        },
                    };
                    noted.push(format!("{}={value:?}", argument.name));
                    self.set(&argument.name, value, true)?;
                }
                Ok(Done::Setting(Word::plain(format!("{} {}", instruction.text, noted.join(" ")))))
            }
            Kind::Env(pairs) => {
                let mut values = Vec::new();
                for (name, value) in pairs {
                    values.push((self.word(name)?, self.word(value)?));
                }
                for (name, value) in &values {
                    self.set(&name.text, value.clone(), false)?;
                }
                Ok(Done::Setting(Word::plain(format!("{} {values:?}", instruction.text))))
            }
            Kind::Copy(transfer) | Kind::Add(transfer) => {
                let is_add = matches!(instruction.kind, Kind::Add(_));
                let from = placed.sources.first().map(|(_, source)| source.clone());
                let copy = self.copy(instruction, transfer, is_add, from)?;
                Ok(Done::Step(self.shown(&instruction.text), Operation::Copy(Box::new(copy))))
            }
            Kind::Run(mounts) => {
                let run = self.run(instruction, mounts, &placed.sources)?;
                Ok(Done::Step(self.command(instruction, mounts), Operation::Run(Box::new(run))))
            }
            Kind::Workdir(path) => {
                let word = self.word(path)?;
                // A variable of the base image is taken for unset: whether there is a step depends on the path.
                let path = match self.expand(self.lexer, path) {
                    Err(ExpandError::Required { .. }) if self.walk.unknown_base => path.clone(),
                    expanded => expanded?.text,
                };
                let is_absolute = path.starts_with('/');
                let from = if is_absolute { "/" } else { &self.walk.workdir };
                self.walk.workdir = absolute(&format!("{from}/{path}"));
                self.walk.unknown_workdir =
                    word.unclear.is_some() || self.walk.unknown_workdir && !is_absolute;
                let word = Word { text: format!("{} {}", self.walk.user, self.walk.workdir), ..word };
                Ok(match self.walk.workdir == "/" {
                    true => Done::Setting(word),
                    false => Done::Step(self.shown(&instruction.text), Operation::Workdir(word)),
                })
            }
            _ if placed.is_trigger => Ok(Done::Setting(self.word(&instruction.text)?)),
            _ => {
                let value = self.word(&instruction.text).unwrap_or_else(|_| Word::plain(""));
                let rest = words::split(&instruction.text, self.lexer.escape).rest;
                match instruction.name.as_str() {
                    "USER" => self.walk.user = self.word(rest)?.text,
                    "SHELL" => self.walk.shell = rest.to_owned(),
                    _ => {}
                }
                Ok(Done::Setting(value))
            }
        }
    }

    fn set(&mut self, name: &str, value: Word, is_argument: bool) -> Result<(), ExpandError> {
        self.budget.spend(name.len() + value.text.len())?;
        self.walk.variables.set(name, Variable { value, is_argument });
        Ok(())
    }

    fn expand(&mut self, lexer: Lexer, word: &str) -> Result<Expansion, ExpandError> {
        let variables = &self.walk.variables;
        lexer.expand(word, &|name| variables.get(name), self.budget)
    }

    /// A word, as a cache key depends on it.
    fn word(&mut self, word: &str) -> Result<Word, ExpandError> {
        let text = match self.expand(self.lexer, word) {
            Ok(expansion) if expansion.unset.is_empty() || !self.walk.unknown_base => {
                return Ok(Word::plain(expansion.text));
            }
            Ok(expansion) => expansion.text,
            Err(ExpandError::Required { .. }) if self.walk.unknown_base => String::new(),
            Err(error) => return Err(error),
        };
        let scope = format!("{word:?} {:?}", self.in_scope()?);
        Ok(Word { text, unclear: Some(Digest::of(scope.as_bytes())) })
    }

    /// Everything that is in scope, in order.
    fn in_scope(&mut self) -> Result<Vec<(String, Variable)>, ExpandError> {
        self.budget.spend(self.walk.variables.size())?;
        Ok(self.walk.variables.in_order())
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
            if secrets.contains(&name) { Some("****".to_owned()) } else { variables.get(name) }
        };
        let lexer = Lexer { raw_quotes: true, keep_unset: true, ..self.lexer };
        let expanded = lexer.expand(&text, &lookup, self.budget).map_or(text, |expansion| expansion.text);
        upper_case_name(&expanded)
    }

    fn run(
        &mut self,
        instruction: &Instruction,
        mounts: &[Mount],
        sources: &[(String, Source)],
    ) -> Result<Run, ExpandError> {
        let mut sources = sources.iter().map(|(_, source)| source.clone());
        let mut of_mounts = Vec::new();
        for mount in mounts {
            let from = mount.from.as_ref().and_then(|_| sources.next());
            let mut fields = Vec::new();
            for (key, value) in mount.fields.iter().filter(|(key, _)| key != "from") {
                fields.push((key.clone(), self.word(value.as_deref().unwrap_or_default())?));
            }
            let files = match from.is_some() || mount.reads_context() {
                true => Some((from, self.path(mount.source.as_deref().unwrap_or("/"))?)),
                false => None,
            };
            of_mounts.push(RunMount { fields, files });
        }
        let mut command = words::split(&instruction.text, self.lexer.escape).rest.to_owned();
        for heredoc in &instruction.heredocs {
            command.push_str(&format!("\n{}{}", heredoc.content, heredoc.name));
        }
        let flags = instruction.flags.iter().filter(|flag| flag.name != "mount");
        Ok(Run {
            command,
            options: flags.map(|flag| (flag.name.clone(), flag.value.clone().unwrap_or_default())).collect(),
            mounts: of_mounts,
            variables: self.in_scope()?,
            state: vec![
                ("user", self.walk.user.clone()),
                ("working folder", self.walk.workdir.clone()),
                ("shell", self.walk.shell.clone()),
            ],
        })
    }

    fn copy(
        &mut self,
        instruction: &Instruction,
        transfer: &Transfer,
        is_add: bool,
        from: Option<Source>,
    ) -> Result<Copy, ExpandError> {
        let mut sources = Vec::new();
        for source in &transfer.sources {
            let word = self.word(source)?;
            sources.push(match is_add && (word.unclear.is_some() || is_remote(&word.text)) {
                true => CopySource::Remote(word),
                false => CopySource::Path(self.path(source)?),
            });
        }
        let mut options = Vec::new();
        for flag in instruction.flags.iter().filter(|flag| !["from", "link"].contains(&flag.name.as_str())) {
            options.push((flag.name.clone(), self.word(flag.value.as_deref().unwrap_or_default())?));
        }
        let mut inline = Vec::new();
        for heredoc in &instruction.heredocs {
            // Whatever the rules for quotes in it are: as written, and what its variables are.
            let lexer = Lexer { raw_quotes: true, raw_escapes: true, ..self.lexer };
            let expanded = match heredoc.expand {
                true => self.expand(lexer, &heredoc.content).map(|it| it.text).unwrap_or_default(),
                false => String::new(),
            };
            let text = format!("{} {} {expanded}", heredoc.strip_tabs, heredoc.content);
            let unclear = match heredoc.expand && self.walk.unknown_base {
                true => self.word(&heredoc.content).map_or(None, |word| word.unclear),
                false => None,
            };
            inline.push((heredoc.name.clone(), Word { text, unclear }));
        }
        let mut destination = self.word(&transfer.destination)?;
        if !destination.text.starts_with('/') {
            let folder = &self.walk.workdir;
            let slash = if destination.text.ends_with('/') || destination.text == "." { "/" } else { "" };
            destination.text = format!("{}{slash}", absolute(&format!("{folder}/{}", destination.text)));
            if self.walk.unknown_workdir {
                destination.unclear.get_or_insert_with(|| Digest::of(b"the base's working folder"));
            }
        }
        let names = self.named_in(&instruction.text);
        let mut variables = self.in_scope()?;
        variables.retain(|(name, _)| names.contains(name));
        Ok(Copy {
            is_add,
            from,
            sources,
            inline,
            destination,
            options,
            // With `--chmod` BuildKit copies in the ordinary way.
            link: transfer.link && !instruction.flags.iter().any(|flag| flag.name == "chmod"),
            variables,
        })
    }

    /// A path in a context: from `/`, without needless parts.
    fn path(&mut self, source: &str) -> Result<Word, ExpandError> {
        let word = self.word(source)?;
        Ok(Word { text: clean_source(&word.text), ..word })
    }

    /// The variables that a text names.
    fn named_in(&mut self, text: &str) -> BTreeSet<String> {
        let names = std::cell::RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            names.borrow_mut().insert(name.to_owned());
            None
        };
        // One that cannot be read names what was read so far.
        let _ = self.lexer.expand(text, &lookup, self.budget);
        names.into_inner()
    }
}

/// A source as BuildKit keeps it: from `/`; `/./`, which `--parents` gives a meaning, stays.
fn clean_source(source: &str) -> String {
    match source.split_once("/./") {
        Some((parent, rest)) => format!("{}/./{}", absolute(parent), absolute(rest).trim_start_matches('/')),
        None => absolute(source),
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
    use super::*;
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
            ("COPY a . /x", &["/a", "/"], &[]),
            ("ARG dir=default\nCOPY $dir /x", &["/given"], &[]),
            ("COPY $unknown/a /x", &["?/a"], &[]),
            ("ENV p=$unknown q=a\nCOPY $p $q /x", &["?/", "/a"], &[]),
            ("COPY --from=img a /x", &["/a"], &[]),
            ("COPY <<a b /x/\na", &["/b"], &[]),
            (
                "ADD https://example.com/a git@example.com:b c@d /x/",
                &["/c@d"],
                &["https://example.com/a", "git@example.com:b"],
            ),
            ("ADD $unknown /x", &[], &["?"]),
            ("RUN --mount=target=/src --mount=type=cache,source=y,target=/z x", &["/"], &[]),
            ("RUN --mount=source=go.mod,target=go.mod --mount=type=secret,source=s x", &["/go.mod"], &[]),
            ("COPY --parents x/y/./z/../*.c /d", &["/x/y/./*.c"], &[]),
        ];
        for (text, paths, remote) in cases {
            let file = Dockerfile::parse(format!("FROM img\n{text}").as_bytes()).expect("Dockerfile");
            let graph = graph(&file, &inputs).expect("graph");
            let step = graph.stages[0].steps.last().expect("step");
            let (mut found, mut fetched) = (Vec::new(), Vec::new());
            let shown = |word: &Word| match word.unclear {
                Some(_) => format!("?{}", word.text),
                None => word.text.clone(),
            };
            match &step.operation {
                Operation::Copy(copy) => {
                    for source in &copy.sources {
                        match source {
                            CopySource::Path(word) => found.push(shown(word)),
                            CopySource::Remote(word) => fetched.push(shown(word)),
                        }
                    }
                }
                Operation::Run(run) => {
                    found.extend(run.mounts.iter().filter_map(|mount| Some(shown(&mount.files.as_ref()?.1))));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!((found, fetched), (paths_of(paths), paths_of(remote)), "{text}");
        }
    }

    fn paths_of(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }
}
