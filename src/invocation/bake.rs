//! What follows `docker buildx bake`, taken apart for whoever runs it with a cache.
//!
//! Source: docker/buildx `commands/bake.go` up to 0.36.

use crate::invocation::Left;
use crate::invocation::flags::{Table, anywhere};

const FLAGS: Table = Table(
    "allow= builder= call= check debug|D file|f= help|h list= list-targets list-variables load metadata-file= no-cache
    print progress= provenance= pull push sbom= set= var=",
);

/// Switches with which bake answers a question.
const QUESTIONS: [&str; 5] = ["check", "help", "list-targets", "list-variables", "print"];

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

/// Takes a bake line apart. The error is why it is to be run as it stands.
pub fn bake_line(words: &[String]) -> Result<BakeLine, Left> {
    let line = anywhere(words, FLAGS)?;
    let calls = line.value("call").is_some_and(|call| call != "build");
    if calls || line.value("list").is_some() || QUESTIONS.iter().any(|name| line.is_on(name)) {
        return Err(Left::NoBuild);
    }
    Ok(BakeLine {
        flags: line.words_without(&["progress", "metadata-file"]),
        progress: line.value("progress"),
        builder: line.value("builder"),
        metadata_file: line.value("metadata-file"),
        allowed: line.values("allow"),
        reads_stdin: line.values("file").iter().any(|file| file == "-"),
        targets: line.rest,
    })
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
        for question in ["--print", "api --check", "--list targets", "--list-targets", "--call=outline", "-h"]
        {
            assert_eq!(read(question), Err(Left::NoBuild), "{question}");
        }
        assert_eq!(read("--newest-flag api"), Err(Left::Unknown("--newest-flag".into())));
        assert!(read("--print=false --call build").is_ok());
    }
}
