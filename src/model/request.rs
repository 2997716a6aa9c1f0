//! What the user asked for: the line of a `docker build`, as a value.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::flags::{self, Kind};

/// A flag's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// Of a switch.
    Switch(bool),
    /// Of any other flag.
    Text(String),
}

impl Value {
    /// The text, of a flag that is no switch.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Switch(_) => None,
        }
    }
}

/// One flag as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The long name, as in [`flags::BUILD_FLAGS`].
    pub name: &'static str,
    /// Its value.
    pub value: Value,
}

impl Flag {
    /// A flag with a text.
    pub fn text(name: &'static str, value: impl Into<String>) -> Self {
        Flag { name, value: Value::Text(value.into()) }
    }

    /// A switch that is on.
    pub fn on(name: &'static str) -> Self {
        Flag { name, value: Value::Switch(true) }
    }
}

/// Where the files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A git or HTTP address, which the engine fetches.
    Remote(String),
    /// `-`: a tar archive or a Dockerfile on standard input.
    Stdin,
}

impl Context {
    /// Reads the positional argument as docker does: `-`, an address, else a folder.
    pub fn parse(text: &str) -> Self {
        const ADDRESSES: [&str; 5] = ["http://", "https://", "git://", "git@", "github.com/"];
        const SCHEMES: [&str; 2] = ["ssh://", "file://"];
        if text == "-" {
            Context::Stdin
        } else if ADDRESSES.iter().chain(&SCHEMES).any(|start| text.starts_with(start)) {
            Context::Remote(text.to_owned())
        } else {
            Context::Folder(PathBuf::from(text))
        }
    }
}

/// A whole request. The flags keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// All flags that were given.
    pub flags: Vec<Flag>,
    /// Where the files come from.
    pub context: Context,
}

impl Request {
    /// Every value of a flag.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.flags.iter().filter(move |flag| flag.name == name).filter_map(|flag| flag.value.text())
    }

    /// The value that stands: the last one.
    pub fn last<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).last()
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.flags
            .iter()
            .rev()
            .find(|flag| flag.name == name)
            .is_some_and(|flag| flag.value == Value::Switch(true))
    }

    /// Whether a flag was given at all.
    pub fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|flag| flag.name == name)
    }

    /// The image names asked for by `-t` and by `name=` of an output.
    pub fn tags(&self) -> Vec<String> {
        let named = self.outputs().into_iter().flat_map(|output| output.names);
        self.all("tag").map(str::to_owned).chain(named).collect()
    }

    /// Build arguments by name; `None` for one that takes its value from the environment.
    pub fn build_args(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.all("build-arg").map(|text| match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        })
    }

    /// Named build contexts.
    pub fn build_contexts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all("build-context").filter_map(|text| text.split_once('='))
    }

    /// The platforms asked for, in order.
    pub fn platforms(&self) -> Vec<&str> {
        self.all("platform")
            .flat_map(|list| list.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// The outputs asked for by `--output`.
    pub fn outputs(&self) -> Vec<OutputSpec> {
        self.all("output").map(OutputSpec::parse).collect()
    }

    /// Whether an image is to be pushed, by `--push` or by an output that pushes.
    pub fn pushes(&self) -> bool {
        self.is_on("push") || self.outputs().iter().any(|output| output.push)
    }

    /// Whether it asks a question about the Dockerfile instead of building it.
    pub fn is_question(&self) -> bool {
        self.is_on("check") || self.last("call").is_some_and(|method| method != "build")
    }

    /// Whether standard output is the build's result: `--output -`, `dest=-`.
    pub fn writes_to_stdout(&self) -> bool {
        self.outputs().iter().any(|output| output.to_stdout)
    }

    /// The flags without some, for a command derived from this one.
    pub fn flags_without<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a Flag> {
        self.flags.iter().filter(move |flag| !names.contains(&flag.name))
    }
}

/// What layerlift needs to know of an `--output` value; the value itself is handed on as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputSpec {
    /// `image`, `registry`, `docker`, `local`, `tar`, `oci`, `cacheonly`.
    pub kind: String,
    /// It pushes.
    pub push: bool,
    /// Image names in it.
    pub names: Vec<String>,
    /// It is written to standard output.
    pub to_stdout: bool,
    /// How its layers are packed, where that is said: `gzip`, `zstd`, `estargz`, `uncompressed`.
    pub compression: Option<String>,
    /// Layers that are packed otherwise are packed anew.
    pub forced: bool,
}

impl OutputSpec {
    /// Reads the comma separated form of buildx (`util/buildflags/export.go`): a text without `=` is a folder, `-` is
    /// a tar on standard output.
    pub fn parse(text: &str) -> Self {
        if text == "-" {
            return OutputSpec { kind: "tar".to_owned(), to_stdout: true, ..OutputSpec::default() };
        }
        if !text.contains('=') {
            return OutputSpec { kind: "local".to_owned(), ..OutputSpec::default() };
        }
        let mut output = OutputSpec::default();
        for (key, value) in csv_fields(text).iter().filter_map(|field| field.split_once('=')) {
            match key.trim().to_ascii_lowercase().as_str() {
                "type" => output.kind = value.to_owned(),
                "push" => output.push = value == "true" || value == "1",
                "name" => output.names = value.split(',').map(str::to_owned).collect(),
                "dest" => output.to_stdout = value == "-",
                "compression" => output.compression = Some(value.to_owned()),
                "force-compression" => output.forced = value == "true" || value == "1",
                _ => {}
            }
        }
        output.push |= output.kind == "registry";
        output
    }
}

/// Splits one CSV record as Go's `encoding/csv` does for buildx flags: fields may be quoted whole.
pub fn csv_fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(field) = fields.last_mut() else { break };
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                field.push('"');
                characters.next();
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    fields
}

/// Turns flags into arguments: `--name value`, `--switch`, `--switch=false`.
pub fn arguments<'a>(given: impl IntoIterator<Item = &'a Flag>) -> Vec<String> {
    let mut arguments = Vec::new();
    for flag in given {
        match &flag.value {
            Value::Switch(true) => arguments.push(format!("--{}", flag.name)),
            Value::Switch(false) => arguments.push(format!("--{}=false", flag.name)),
            Value::Text(text) => arguments.extend([format!("--{}", flag.name), text.clone()]),
        }
    }
    arguments
}

/// Makes a flag from a known name, checking that the kind fits.
pub fn flag(name: &str, value: Value) -> Option<Flag> {
    let definition = flags::definition(name)?;
    let fits = (definition.kind == Kind::Switch) == matches!(value, Value::Switch(_));
    fits.then_some(Flag { name: definition.name, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts() {
        assert_eq!(Context::parse("-"), Context::Stdin);
        assert_eq!(Context::parse("git@host:a/b.git#main"), Context::Remote("git@host:a/b.git#main".into()));
        assert_eq!(Context::parse("./app"), Context::Folder("./app".into()));
    }

    #[test]
    fn outputs() {
        let output = OutputSpec::parse(r#"type=image,"name=a/b:1,a/b:2",push=true"#);
        assert!(output.push && !output.to_stdout);
        assert_eq!(output.names, ["a/b:1", "a/b:2"]);
        assert!(OutputSpec::parse("type=registry").push);
        assert!(OutputSpec::parse("-").to_stdout);
        assert!(OutputSpec::parse("type=tar,dest=-").to_stdout);
        assert_eq!(OutputSpec::parse("out").kind, "local");
    }

    #[test]
    fn the_last_switch_stands() {
        let off = Flag { name: "push", value: Value::Switch(false) };
        let request = Request { flags: vec![Flag::on("push"), off], context: Context::Stdin };
        assert!(!request.is_on("push") && request.has("push") && !request.pushes());
        assert_eq!(arguments(&request.flags), ["--push", "--push=false"]);
    }
}
