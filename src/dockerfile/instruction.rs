//! Instructions: one logical line, typed where the graph of a build or the identity of its inputs depends on it.
//!
//! The others (`LABEL`, `CMD`, `EXPOSE`, ...) are kept as text: they change the image, never what is read. Their
//! arguments are not checked, the engine does that.

use super::error::{ParseError, ParseFault, nearest};
use super::heredoc::Heredoc;
use super::line::Span;
use super::mount::Mount;
use super::words::{self, Split};

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Its name in upper case.
    pub name: String,
    /// The logical line: continuations joined, comments dropped, nothing expanded.
    pub text: String,
    /// Where it stands, its heredocs included.
    pub span: Span,
    /// Its flags in their order.
    pub flags: Vec<Flag>,
    /// Its heredocs in their order.
    pub heredocs: Vec<Heredoc>,
    /// What it does.
    pub kind: Kind,
}

/// `--name` or `--name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Without the dashes.
    pub name: String,
    /// As written, without quotes.
    pub value: Option<String>,
}

/// What an instruction does, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `FROM`.
    From(From),
    /// `ARG`: several are possible in one line.
    Arg(Vec<Argument>),
    /// `ENV`: names and values as written, quotes included.
    Env(Vec<(String, String)>),
    /// `COPY`.
    Copy(Transfer),
    /// `ADD`.
    Add(Transfer),
    /// `RUN`, with its mounts.
    Run(Vec<Mount>),
    /// `WORKDIR`, with the path as written.
    Workdir(String),
    /// `ONBUILD`, with the instruction for the child, heredocs included.
    Onbuild(String),
    /// Anything else, known or not.
    Other,
}

/// `FROM [--platform=...] base [AS name]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// As written.
    pub base: String,
    /// In lower case, as BuildKit keeps it.
    pub name: Option<String>,
    /// As written.
    pub platform: Option<String>,
}

/// `name` or `name=default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// As written, quotes included.
    pub default: Option<String>,
}

/// What `COPY` and `ADD` move.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transfer {
    /// `--from`: stage, index, image or named context.
    pub from: Option<String>,
    /// `--link`.
    pub link: bool,
    /// Paths and URLs as written; heredocs are not among them.
    pub sources: Vec<String>,
    /// As written.
    pub destination: String,
}

/// The instructions with the flags that BuildKit knows for each.
const KNOWN: [(&str, &[&str]); 18] = [
    ("ADD", &["chown", "chmod", "link", "keep-git-dir", "checksum", "unpack", "exclude"]),
    ("ARG", &[]),
    ("CMD", &[]),
    ("COPY", &["chown", "from", "chmod", "link", "exclude", "parents"]),
    ("ENTRYPOINT", &[]),
    ("ENV", &[]),
    ("EXPOSE", &[]),
    ("FROM", &["platform"]),
    ("HEALTHCHECK", &["interval", "timeout", "start-period", "start-interval", "retries"]),
    ("LABEL", &[]),
    ("MAINTAINER", &[]),
    ("ONBUILD", &[]),
    ("RUN", &["mount", "network", "security", "device"]),
    ("SHELL", &[]),
    ("STOPSIGNAL", &[]),
    ("USER", &[]),
    ("VOLUME", &[]),
    ("WORKDIR", &[]),
];

/// Flags that are on or off.
const SWITCHES: [&str; 4] = ["link", "parents", "keep-git-dir", "unpack"];

/// Flags that may stand several times.
const REPEATED: [&str; 3] = ["mount", "device", "exclude"];

/// What the parsing of one line gives.
pub(super) struct Parsed {
    /// The instruction, still without its heredocs.
    pub(super) instruction: Instruction,
    /// What is not known about it.
    pub(super) unknown: Vec<String>,
    /// Whether the name is none of BuildKit's.
    pub(super) foreign: Option<ParseFault>,
}

/// Reads one logical line that begins at line `line`.
pub(super) fn parse(text: &str, line: usize, escape: char) -> Result<Parsed, ParseError> {
    let text = text.trim();
    let Split { name: written, flags, rest } = words::split(text, escape);
    let name = written.to_uppercase();
    let flags: Vec<Flag> = flags.iter().map(|flag| Flag::read(flag)).collect();
    let mut unknown = Vec::new();
    let known = KNOWN.iter().find(|(known, _)| *known == name);
    let foreign = known.is_none().then(|| ParseFault::UnknownInstruction {
        name: written.to_owned(),
        suggestion: nearest(written, KNOWN.iter().map(|(known, _)| *known)),
    });
    for flag in &flags {
        if known.is_some_and(|(_, known)| !known.contains(&flag.name.as_str())) {
            unknown.push(format!("flag `--{}` of {name}", flag.name));
        }
    }
    let kind = check_flags(&name, &flags).and_then(|()| kind(&name, &flags, rest, escape, &mut unknown));
    let kind = kind.map_err(|(word, fault)| {
        let fault = match fault {
            Fault::Name => ParseFault::StageName(word.clone()),
            Fault::Arguments(reason) => ParseFault::Arguments { instruction: name.clone(), reason },
        };
        ParseError { line, word, certain: true, fault }
    })?;
    let span = Span { first: line, last: line };
    let instruction = Instruction { name, text: text.to_owned(), span, flags, heredocs: Vec::new(), kind };
    Ok(Parsed { instruction, unknown, foreign })
}

enum Fault {
    Name,
    Arguments(&'static str),
}

/// The word to point at, and what is wrong.
type Trouble = (String, Fault);

fn trouble(reason: &'static str) -> Trouble {
    (String::new(), Fault::Arguments(reason))
}

/// What BuildKit refuses in every stage, also in one that the target does not reach (`instructions/bflag.go`).
fn check_flags(name: &str, flags: &[Flag]) -> Result<(), Trouble> {
    let known = KNOWN.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, flags)| flags);
    // Those before `HEALTHCHECK NONE` are not looked at.
    let checked = flags.iter().filter(|flag| name != "HEALTHCHECK" && known.contains(&flag.name.as_str()));
    let mut before: Vec<&str> = Vec::new();
    for flag in checked {
        let is_refused = match flag.value.as_deref() {
            _ if before.contains(&flag.name.as_str()) => Some("has a flag twice that is taken once"),
            None if !SWITCHES.contains(&flag.name.as_str()) => Some("has a flag without its value"),
            Some(value) if SWITCHES.contains(&flag.name.as_str()) && switched(value).is_none() => {
                Some("has a flag whose value is neither `true` nor `false`")
            }
            _ => None,
        };
        if let Some(reason) = is_refused {
            return Err((format!("--{}", flag.name), Fault::Arguments(reason)));
        }
        if !REPEATED.contains(&flag.name.as_str()) {
            before.push(&flag.name);
        }
    }
    Ok(())
}

/// The value of a switch, whose letters may be small or large.
fn switched(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn kind(
    name: &str,
    flags: &[Flag],
    rest: &str,
    escape: char,
    unknown: &mut Vec<String>,
) -> Result<Kind, Trouble> {
    let value =
        |wanted: &str| flags.iter().find(|flag| flag.name == wanted).and_then(|flag| flag.value.clone());
    Ok(match name {
        "FROM" => {
            let words = words::separated(rest);
            let (base, stage) = match words.as_slice() {
                [base] => (base, None),
                [base, keyword, stage] if keyword.eq_ignore_ascii_case("as") => (base, Some(stage)),
                _ => return Err(trouble("requires either one argument or three: base AS name")),
            };
            let stage = match stage.map(|stage| (stage, stage.to_lowercase())) {
                Some((written, lower)) if !is_stage_name(&lower) => {
                    return Err((written.clone(), Fault::Name));
                }
                other => other.map(|(_, lower)| lower),
            };
            Kind::From(From { base: base.clone(), name: stage, platform: value("platform") })
        }
        "ARG" => {
            let words = words::quoted(rest, escape);
            if words.is_empty() {
                return Err(trouble("requires at least one argument"));
            }
            let arguments: Vec<Argument> = words.iter().map(|word| Argument::read(word)).collect();
            if arguments.iter().any(|argument| argument.name.is_empty()) {
                return Err(trouble("has a value without a name"));
            }
            Kind::Arg(arguments)
        }
        "ENV" => Kind::Env(words::pairs(rest, escape).map_err(trouble)?),
        "COPY" | "ADD" => {
            let words = match words::json(rest).map_err(trouble)? {
                Some(words) => words,
                None => words::separated(rest),
            };
            let Some((destination, sources @ [_, ..])) = words.split_last() else {
                return Err(trouble("requires at least two arguments, a source and a destination"));
            };
            let link = flags.iter().rfind(|flag| flag.name == "link");
            let transfer = Transfer {
                from: value("from").filter(|from| name == "COPY" && !from.is_empty()),
                link: link.is_some_and(|flag| flag.value.as_deref().and_then(switched) != Some(false)),
                sources: sources.iter().filter(|word| Heredoc::of_word(word).is_none()).cloned().collect(),
                destination: destination.clone(),
            };
            if name == "COPY" { Kind::Copy(transfer) } else { Kind::Add(transfer) }
        }
        "RUN" => {
            words::json(rest).map_err(trouble)?;
            let mounts = flags.iter().filter(|flag| flag.name == "mount");
            let read = mounts.map(|flag| {
                let (mount, strange) = Mount::read(flag.value.as_deref().unwrap_or_default());
                unknown.extend(strange);
                mount
            });
            Kind::Run(read.collect())
        }
        "WORKDIR" if rest.is_empty() => return Err(trouble("requires exactly one argument")),
        "WORKDIR" => Kind::Workdir(rest.to_owned()),
        "ONBUILD" => {
            let trigger = words::split(rest, escape).name.to_uppercase();
            match trigger.as_str() {
                "" => return Err(trouble("requires at least one argument")),
                "ONBUILD" | "FROM" | "MAINTAINER" => {
                    return Err((trigger, Fault::Arguments("has an instruction that cannot be a trigger")));
                }
                _ => Kind::Onbuild(rest.to_owned()),
            }
        }
        _ => Kind::Other,
    })
}

/// The heredocs that a line announces: only `RUN`, `COPY`, `ADD` and `ONBUILD` of those have any, and not in JSON form.
pub(super) fn announced_heredocs(text: &str, escape: char) -> Vec<Heredoc> {
    let mut line = words::split(text, escape);
    if line.name.eq_ignore_ascii_case("ONBUILD") {
        line = words::split(line.rest, escape);
    }
    let takes = ["RUN", "COPY", "ADD"].iter().any(|name| line.name.eq_ignore_ascii_case(name));
    let json = || matches!(words::json(line.rest), Ok(Some(_)));
    if takes && !json() { Heredoc::announced(text) } else { Vec::new() }
}

/// Whether this is `[a-z][a-z0-9-_.]*`.
fn is_stage_name(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    name.starts_with(|letter: char| letter.is_ascii_lowercase()) && name.bytes().all(rest)
}

impl Flag {
    fn read(text: &str) -> Self {
        let text = text.trim_start_matches("--");
        match text.split_once('=') {
            Some((name, value)) => Flag { name: name.to_owned(), value: Some(value.to_owned()) },
            None => Flag { name: text.to_owned(), value: None },
        }
    }
}

impl Argument {
    fn read(word: &str) -> Self {
        match word.split_once('=') {
            Some((name, default)) => Argument { name: name.to_owned(), default: Some(default.to_owned()) },
            None => Argument { name: word.to_owned(), default: None },
        }
    }
}
