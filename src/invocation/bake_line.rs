//! What follows `docker buildx bake`: the flags that matter to whoever runs it with a cache.
//!
//! Source: docker/buildx `commands/bake.go` up to 0.36.

use crate::invocation::words::{self, Definition, Left, Word};

const FLAGS: &[Definition] = &[
    ("allow", None, true),
    ("builder", None, true),
    ("call", None, true),
    ("check", None, false),
    ("debug", Some('D'), false),
    ("file", Some('f'), true),
    ("list", None, true),
    ("load", None, false),
    ("metadata-file", None, true),
    ("no-cache", None, false),
    ("print", None, false),
    ("progress", None, true),
    ("provenance", None, true),
    ("pull", None, false),
    ("push", None, false),
    ("sbom", None, true),
    ("set", None, true),
    ("var", None, true),
];

/// A bake line, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BakeLine {
    /// The flags as given, without the form of the log and the file for metadata.
    pub flags: Vec<String>,
    /// What is to be built: names of targets and groups, perhaps an address before them.
    pub targets: Vec<String>,
    /// `--progress`.
    pub progress: Option<String>,
    /// `--builder`.
    pub builder: Option<String>,
    /// `--metadata-file`.
    pub metadata_file: Option<String>,
    /// `--allow`, in order: `network.host`, `fs.read=/path`.
    pub allowed: Vec<String>,
    /// A definition comes from standard input.
    pub reads_stdin: bool,
}

/// Reads a bake line. The error is why it is to be run as it stands: it builds nothing, or holds a flag that is not
/// known.
pub fn bake_line(words: &[String]) -> Result<BakeLine, Left> {
    let parts = words::split(words, FLAGS, false)?;
    let mut line = BakeLine::default();
    for part in parts {
        match part {
            Word::Text(text) => line.targets.push(text),
            Word::Flag { name, value, given } => {
                let asks = matches!(name, "print" | "check" | "list" | "call");
                if asks && words::is_on(value.as_deref()) && value.as_deref() != Some("build") {
                    return Err(Left::no_build(format!("`--{name}` builds nothing")));
                }
                match name {
                    "allow" => line.allowed.extend(value.clone()),
                    "builder" => line.builder.clone_from(&value),
                    "metadata-file" => line.metadata_file.clone_from(&value),
                    "file" => line.reads_stdin |= value.as_deref() == Some("-"),
                    _ => {}
                }
                match name {
                    "progress" => line.progress = value,
                    "metadata-file" => {}
                    _ => line.flags.extend(given),
                }
            }
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<BakeLine, Left> {
        bake_line(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn takes_a_line_apart() {
        let line =
            read("-f a.hcl --file=- api --push --progress=plain --set *.args.X=1 web").expect("a build");
        assert_eq!(line.flags, ["-f", "a.hcl", "--file=-", "--push", "--set", "*.args.X=1"]);
        assert_eq!(line.targets, ["api", "web"]);
        assert_eq!(line.progress.as_deref(), Some("plain"));
        assert!(line.reads_stdin && line.builder.is_none());
    }

    #[test]
    fn leaves_what_builds_nothing() {
        for question in ["--print", "api --check", "--list targets", "--call=outline", "--newest-flag api"] {
            assert!(read(question).is_err(), "{question}");
        }
        assert!(read("--print=false --call build").is_ok());
    }
}
