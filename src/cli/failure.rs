//! Failures as the user meets them: one message, its causes, a way out, and a documented exit code. The only place
//! where an error of a lower floor gets an exit code.

use std::fmt;

use crate::base::process;
use crate::plan::command::Unsupported;
use crate::plan::scope::Scope;
use crate::registry;
use crate::workflow::builder;
use crate::workflow::cache_refs;
use crate::workflow::error::Error;
use crate::workflow::source;

/// Exit codes. The engine's own code is passed on unchanged; ours lie where no Docker client puts one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitCode(pub u8);

impl ExitCode {
    /// `lint --error` has something to say.
    pub const ADVICE: ExitCode = ExitCode(1);
    /// The command line makes no sense.
    pub const USAGE: ExitCode = ExitCode(2);
    /// The Dockerfile has an error, or the target is not in it.
    pub const DOCKERFILE: ExitCode = ExitCode(65);
    /// A file or folder that was named is not there.
    pub const NO_INPUT: ExitCode = ExitCode(66);
    /// No engine that could build: none installed, none running, too old, buildx missing.
    pub const ENGINE: ExitCode = ExitCode(69);
    /// A mistake in layerlift.
    pub const INTERNAL: ExitCode = ExitCode(70);
    /// A file that was asked for cannot be written.
    pub const CANNOT_WRITE: ExitCode = ExitCode(73);
    /// The image was built, but could not be pushed; or a registry failed a command that only talks to one.
    pub const REGISTRY: ExitCode = ExitCode(74);
    /// The build succeeded with cache warnings, and `--strict` was given.
    pub const STRICT: ExitCode = ExitCode(75);
    /// The build succeeded and a step ran, and `--fail-on-miss` was given.
    pub const MISS: ExitCode = ExitCode(76);
    /// Settings are invalid.
    pub const CONFIG: ExitCode = ExitCode(78);
    /// The command of `run`, or the program behind a shim, cannot be executed; as in a shell.
    pub const NOT_EXECUTABLE: ExitCode = ExitCode(126);
    /// It was not found; as in a shell.
    pub const NOT_FOUND: ExitCode = ExitCode(127);
}

/// A failure, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: ExitCode,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
}

impl Failure {
    /// A failure with its message: a lower-case fragment that names the thing.
    pub fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Failure { code, message: message.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// From an error: its message, and its sources as causes.
    pub fn from_error(code: ExitCode, error: &dyn std::error::Error) -> Self {
        let failure = Failure::new(code, error.to_string());
        match error.source() {
            Some(source) => failure.caused_by(source),
            None => failure,
        }
    }

    /// Adds an error and its sources as causes.
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// Adds a way out.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// From a program that was to go on in our place and cannot.
    pub fn of_handover(error: &process::Error) -> Self {
        let is_missing = match error {
            process::Error::NotFound { .. } => true,
            process::Error::Failed { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        };
        if is_missing {
            let hint = "install the program, or give its path; a script's first line names a program too";
            return Failure::from_error(ExitCode::NOT_FOUND, error).with_hint(hint);
        }
        let hint =
            "a command is a program or a script that may be executed; a line for a shell goes to --shell";
        Failure::from_error(ExitCode::NOT_EXECUTABLE, error).with_hint(hint)
    }

    /// The exit code.
    pub fn code(&self) -> ExitCode {
        self.code
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failed = |code| Failure::from_error(code, &error);
        match &error {
            Error::Source(source::Error::NoContext { .. }) => failed(ExitCode::NO_INPUT),
            Error::Source(source::Error::NoDockerfile { .. }) => failed(ExitCode::NO_INPUT)
                .with_hint("name it with `-f`, counted from the working folder, or check the build context"),
            Error::Source(source::Error::TwoStdins) => failed(ExitCode::USAGE)
                .with_hint("put the Dockerfile into the archive, or give the context as a folder"),
            Error::Source(_) => failed(ExitCode::NO_INPUT),
            // The source line stands in the message; the fault is in it already.
            Error::Inputs(_) => failed(ExitCode::DOCKERFILE),
            Error::Dockerfile { .. } | Error::Graph { .. } => {
                Failure::new(ExitCode::DOCKERFILE, error.to_string())
            }
            Error::Engine(engine) => match engine.hint() {
                Some(hint) => failed(ExitCode::ENGINE).with_hint(hint),
                None => failed(ExitCode::ENGINE),
            },
            Error::Unsupported(Unsupported::NeedsBuildx { .. }) => {
                failed(ExitCode::ENGINE).with_hint("install the docker-buildx plugin, or leave the flag out")
            }
            Error::Unsupported(Unsupported::NeedsBuildKit { .. }) => {
                failed(ExitCode::ENGINE).with_hint("unset DOCKER_BUILDKIT, or leave the flag out")
            }
            Error::Reference { .. } => failed(ExitCode::USAGE)
                .with_hint("a reference is [registry/]repository[:tag], in lower case but for the tag"),
            Error::Report(_) => failed(ExitCode::CANNOT_WRITE),
            Error::Push(_) | Error::Registry(_) => failed(ExitCode::REGISTRY),
            Error::Process(process::Error::Interrupted { signal }) => {
                Failure::new(ExitCode(128 + u8::try_from(*signal).unwrap_or(0)), "interrupted")
            }
            Error::Builder(builder::Error::NoImage { .. }) => failed(ExitCode::ENGINE)
                .with_hint("name one that can be: `image` below `builder` in .layerlift.yml"),
            Error::Builder(builder::Error::File { .. }) => failed(ExitCode::CANNOT_WRITE),
            Error::Process(_) | Error::Builder(_) => failed(ExitCode::ENGINE),
            Error::Missing(_) => failed(ExitCode::USAGE),
        }
    }
}

impl From<cache_refs::Error> for Failure {
    fn from(error: cache_refs::Error) -> Self {
        let failed = |code| Failure::from_error(code, &error);
        match &error {
            cache_refs::Error::NoRepository => {
                failed(ExitCode::USAGE).with_hint("name it with --cache-repo, or set LAYERLIFT_CACHE_REPO")
            }
            cache_refs::Error::NoScope => {
                failed(ExitCode::USAGE).with_hint("name one with --scope; `layerlift cache ls` shows them")
            }
            cache_refs::Error::NothingThere { present, .. } => {
                let present: Vec<&str> = present.iter().map(Scope::as_str).collect();
                match present.as_slice() {
                    [] => failed(ExitCode::REGISTRY).with_hint("there are no cache refs at all"),
                    some => failed(ExitCode::REGISTRY).with_hint(format!(
                        "--scope chooses one of those that are there: {}",
                        some.join(", ")
                    )),
                }
            }
            cache_refs::Error::ReadOnly { can_be_told: true, .. } => {
                failed(ExitCode::USAGE).with_hint("--read-only=false writes all the same")
            }
            cache_refs::Error::ReadOnly { .. } => failed(ExitCode::USAGE),
            cache_refs::Error::NoCache { .. } => failed(ExitCode::REGISTRY)
                .with_hint("an image carries a cache when it was built with BUILDKIT_INLINE_CACHE=1"),
            cache_refs::Error::NoLayout(_) => {
                failed(ExitCode::NO_INPUT).with_hint("`layerlift cache pull` makes one")
            }
            cache_refs::Error::Registry(source) if source.is_not_found() => failed(ExitCode::REGISTRY)
                .with_hint("some registries say so too where reading is forbidden; `layerlift doctor` tells"),
            cache_refs::Error::Registry(registry::Error::File { .. } | registry::Error::Write { .. }) => {
                failed(ExitCode::CANNOT_WRITE)
            }
            cache_refs::Error::Registry(_) => failed(ExitCode::REGISTRY),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.message)?;
        self.causes.iter().try_for_each(|cause| write!(formatter, "\n  caused by: {cause}"))?;
        if !self.hints.is_empty() {
            writeln!(formatter)?;
        }
        self.hints.iter().try_for_each(|hint| write!(formatter, "\nhint: {hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_causes_and_hints() {
        let source = std::io::Error::other("disk on fire");
        let failure = Failure::new(ExitCode::CANNOT_WRITE, "report `r.json` cannot be written")
            .caused_by(&source)
            .with_hint("choose another folder");
        insta::assert_snapshot!(failure, @r"
        report `r.json` cannot be written
          caused by: disk on fire

        hint: choose another folder
        ");
    }
}
