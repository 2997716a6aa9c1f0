//! PURE: the argument list of a build tool -> the build that it asks for.
//!
//! `flags` reads any argument list by a table of flags. A file for each tool, with its tables, recognises what builds by
//! the tool's global flags and subcommand; what follows is left to the subcommand of layerlift that takes its place. Lines
//! of bake, buildah, buildctl and compose are also taken apart here. Questions (`--help`, `--print`, `--dry-run`) are no
//! builds.

mod bake;
mod buildctl;
mod compose;
mod containers;
mod docker;
mod flags;

pub use bake::{BakeLine, bake_line};
pub use buildctl::{BuildctlLine, buildctl_line, with_subcommand};
pub use compose::{BuildFlags, ComposeLine, ComposeVerb, compose_line};
pub use containers::{BuildahLine, buildah_line};

/// A build that was recognised in a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// What was to build.
    pub tool: Tool,
    /// buildx was named, whose chosen builder builds then; `docker build` takes the engine's own.
    pub names_buildx: bool,
    /// Variables that the global flags before the subcommand stand for: `--context x` is `DOCKER_CONTEXT=x`. The empty
    /// text: the variable must be absent, since it would win over the flag.
    pub environment: Vec<(String, String)>,
    /// Global flags that no variable stands for, as given: `-f a.yml -p x` of compose.
    pub globals: Vec<String>,
    /// What follows the subcommand.
    pub arguments: Vec<String>,
}

/// What builds, in the words of `layerlift`'s own subcommands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tool {
    /// `docker build`, `docker image build`, `docker builder build`, `docker buildx build`.
    Build,
    /// `docker buildx bake`.
    Bake,
    /// `docker compose`, or `docker-compose` where `standalone`.
    Compose {
        /// It is the program `docker-compose`, no plugin.
        standalone: bool,
        /// `build`, `up` with `--build`, `run` with `--build`.
        verb: ComposeVerb,
    },
    /// `podman build`, `buildah build`, `buildah bud`: the program's name.
    Buildah(String),
    /// `buildctl build`.
    Buildctl,
}

/// Why a line is left as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// It builds nothing.
    NoBuild,
    /// It may build, but holds this flag, which is not known or has no fitting value.
    Unknown(String),
    /// It may build, but this, a sentence's fragment, speaks against helping it.
    Because(String),
}

impl From<flags::Unknown> for Left {
    fn from(flags::Unknown(flag): flags::Unknown) -> Self {
        Left::Unknown(flag)
    }
}

/// Recognises a build in a command line, the program's name or path first. `None`: it is no build, or one that cannot be recognised
/// with certainty.
pub fn recognise(words: &[String]) -> Option<Invocation> {
    let (program, rest) = words.split_first()?;
    match program.rsplit('/').next()? {
        "docker" => docker::recognise(rest),
        "docker-compose" => compose::recognise(rest, true),
        name @ ("podman" | "buildah") => containers::recognise(name, rest),
        "buildctl" => buildctl::recognise(rest),
        _ => None,
    }
}

/// The variables that global flags of docker stand for, with the empty text for those that must be absent. `None`: one of
/// them has none. Flags that only make docker talk more count for nothing here.
pub fn docker_globals(words: &[String]) -> Option<Vec<(String, String)>> {
    docker::globals(words)
}

impl Invocation {
    fn new(tool: Tool, globals: Vec<String>, arguments: Vec<String>) -> Self {
        Invocation { tool, names_buildx: false, environment: Vec::new(), globals, arguments }
    }

    /// The arguments of `layerlift` that take the line's place.
    pub fn translated(&self) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (command, verb) = match &self.tool {
            Tool::Build => (words(&["build"]), None),
            Tool::Bake => (words(&["bake"]), None),
            Tool::Compose { standalone: false, verb } => (words(&["compose"]), Some(verb.name())),
            Tool::Compose { standalone: true, verb } => {
                (words(&["compose", "--standalone"]), Some(verb.name()))
            }
            // podman has a flag `--config` of its own.
            Tool::Buildah(program) => (words(&[program, "--"]), Some("build")),
            // Without globals the subcommand's own name says it all.
            Tool::Buildctl => (words(&["buildctl"]), (!self.globals.is_empty()).then_some("build")),
        };
        let verb = verb.map(str::to_owned);
        let parts = [command, self.globals.clone(), verb.into_iter().collect()];
        parts.into_iter().flatten().chain(self.arguments.iter().cloned()).collect()
    }
}

/// Whether a word asks for the help text instead of the deed.
fn asks_for_help(word: &str) -> bool {
    matches!(word, "--help" | "-h" | "--help=true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(line: &str) -> Option<String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Some(recognise(&words)?.translated().join(" "))
    }

    #[test]
    fn a_line_becomes_a_subcommand_of_our_own() {
        for (line, ours) in [
            ("docker build -t x .", "build -t x ."),
            ("/usr/bin/docker buildx bake app", "bake app"),
            ("docker compose -p x build web", "compose -p x build web"),
            ("docker-compose up --build", "compose --standalone up --build"),
            ("buildah --root /r bud .", "buildah -- --root /r build ."),
            ("podman build .", "podman -- build ."),
            ("buildctl build --frontend f", "buildctl --frontend f"),
            ("buildctl --addr a build --no-cache", "buildctl --addr a build --no-cache"),
        ] {
            assert_eq!(translated(line).as_deref(), Some(ours), "{line}");
        }
    }

    #[test]
    fn other_programs_are_no_builds() {
        for line in ["", "make build", "dockerd build", "docker", "docker-compose", "podman", "buildctl"] {
            assert_eq!(translated(line), None, "{line}");
        }
    }
}
