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
use super::expand::{ExpandError, Lexer};
use super::expander::{Expander, absolute};
use super::graph::{Base, Placed};
use super::instruction::Kind;
use super::operation::{Operation, Setting, Word};
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
    pub(super) variables: Variables,
    /// That of an image is not known; most that are built upon have none.
    pub(super) workdir: String,
    /// What the working folder depends on beside its text: the base's own, or variables that are not known.
    pub(super) unclear_workdir: Option<Digest>,
    pub(super) user: String,
    /// The `SHELL` instruction.
    pub(super) shell: String,
    /// Whether variables may exist that are not known here.
    pub(super) unknown_base: bool,
}

impl Walk {
    /// Where nothing was before. BuildKit sets a `PATH` where there is none.
    pub(super) fn from_scratch() -> Self {
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let mut variables = Variables::default();
        variables.set("PATH", Variable { value: Word::plain(path), is_argument: false });
        let (user, shell) = (String::new(), String::new());
        Walk { variables, workdir: "/".to_owned(), unclear_workdir: None, user, shell, unknown_base: false }
    }

    /// On an image or a context.
    pub(super) fn from_unknown() -> Self {
        let variables = Variables::default();
        let unclear_workdir = Some(Digest::of(b"the base's"));
        Walk { variables, unclear_workdir, unknown_base: true, ..Walk::from_scratch() }
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
        let mut after = usize::from(matches!(base, Base::Image(_)));
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
                    after += 1;
                }
                Done::Setting(value) => {
                    let text = as_noted(&placed.instruction.text);
                    settings.push(Setting { line, text, value, after });
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
                Ok(Done::Setting(Word::plain(format!("{} {}", as_noted(&instruction.text), noted.join(" ")))))
            }
            Kind::Env(pairs) => {
                let mut values = Vec::new();
                for (name, value) in pairs {
                    values.push((self.word(name)?, self.word(value)?));
                }
                for (name, value) in &values {
                    self.set(&name.whole(), value.clone(), false)?;
                }
                Ok(Done::Setting(Word::plain(format!("{} {values:?}", as_noted(&instruction.text)))))
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
                self.walk.unclear_workdir = match (&word.unclear, &self.walk.unclear_workdir) {
                    (Some(own), Some(before)) => Some(Digest::of(format!("{before} {own}").as_bytes())),
                    (Some(own), None) => Some(own.clone()),
                    (None, before) => before.clone().filter(|_| !is_absolute),
                };
                let word = Word { text: format!("{} {}", self.walk.user, self.walk.workdir), ..word };
                Ok(match self.walk.workdir == "/" {
                    true => Done::Setting(word),
                    false => Done::Step(self.shown(&instruction.text), Operation::Workdir(word)),
                })
            }
            _ => {
                let value = self.word(&as_noted(&instruction.text)).unwrap_or_else(|_| Word::plain(""));
                let rest = words::split(&instruction.text, self.lexer.escape).rest;
                match instruction.name.as_str() {
                    "USER" => self.walk.user = self.word(rest)?.whole(),
                    "SHELL" => self.walk.shell = rest.to_owned(),
                    _ => {}
                }
                Ok(Done::Setting(value))
            }
        }
    }
}

/// An instruction as BuildKit notes it, however it is spelt: its name in capitals, one blank.
fn as_noted(text: &str) -> String {
    match text.split_once(char::is_whitespace) {
        Some((name, rest)) => format!("{} {}", name.to_uppercase(), rest.trim_start()),
        None => text.to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::CopySource;
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
