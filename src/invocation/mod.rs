//! PURE: the argument list of a build tool -> the build that it asks for.
//!
//! Recognising goes by the tool's name and its global flags; what follows the subcommand is left to the subcommand of
//! layerlift that takes its place.

mod docker;

/// A build that was recognised in a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// What was to build.
    pub tool: Tool,
    /// Variables that the global flags before the subcommand stand for: `--context x` is `DOCKER_CONTEXT=x`.
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

/// Which of compose's subcommands builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComposeVerb {
    /// `build`.
    Build,
    /// `up --build`.
    Up,
    /// `run --build`.
    Run,
}

/// Reads a command line, the program's name or path first. `None`: it is no build, or one that cannot be recognised
/// with certainty.
pub fn recognise(words: &[String]) -> Option<Invocation> {
    let (program, rest) = words.split_first()?;
    match program.rsplit('/').next()? {
        "docker" => docker::recognise(rest),
        _ => None,
    }
}
