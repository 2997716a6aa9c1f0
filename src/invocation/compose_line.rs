//! What follows `docker compose`, or `docker-compose`: global flags, a subcommand, and what of its arguments matters to
//! whoever builds in its place.
//!
//! Source: docker/compose `cmd/compose/{compose,build,up,run}.go` from 2.20 to 5.

use crate::invocation::ComposeVerb;
use crate::invocation::words::{self, Definition, Left, Word};

const GLOBALS: &[Definition] = &[
    ("all-resources", None, false),
    ("ansi", None, true),
    ("compatibility", None, false),
    ("env-file", None, true),
    ("file", Some('f'), true),
    ("insecure-registry", None, true),
    ("no-ansi", None, false),
    ("parallel", None, true),
    ("profile", None, true),
    ("progress", None, true),
    ("project-directory", None, true),
    ("project-name", Some('p'), true),
    ("verbose", None, false),
    ("workdir", None, true),
];

const BUILD: &[Definition] = &[
    ("build-arg", None, true),
    ("builder", None, true),
    ("compress", None, false),
    ("force-rm", None, false),
    ("memory", Some('m'), true),
    ("no-cache", None, false),
    ("no-rm", None, false),
    ("parallel", None, false),
    ("progress", None, true),
    ("provenance", None, true),
    ("pull", None, false),
    ("push", None, false),
    ("quiet", Some('q'), false),
    ("sbom", None, true),
    ("ssh", None, true),
    ("with-dependencies", None, false),
];

const UP: &[Definition] = &[
    ("abort-on-container-exit", None, false),
    ("abort-on-container-failure", None, false),
    ("always-recreate-deps", None, false),
    ("attach", None, true),
    ("attach-dependencies", None, false),
    ("build", None, false),
    ("detach", Some('d'), false),
    ("exit-code-from", None, true),
    ("force-recreate", None, false),
    ("menu", None, false),
    ("no-attach", None, true),
    ("no-build", None, false),
    ("no-color", None, false),
    ("no-deps", None, false),
    ("no-log-prefix", None, false),
    ("no-recreate", None, false),
    ("no-start", None, false),
    ("pull", None, true),
    ("quiet-build", None, false),
    ("quiet-pull", None, false),
    ("remove-orphans", None, false),
    ("renew-anon-volumes", Some('V'), false),
    ("scale", None, true),
    ("timeout", Some('t'), true),
    ("timestamps", None, false),
    ("wait", None, false),
    ("wait-timeout", None, true),
    ("yes", Some('y'), false),
];

const RUN: &[Definition] = &[
    ("build", None, false),
    ("cap-add", None, true),
    ("cap-drop", None, true),
    ("detach", Some('d'), false),
    ("entrypoint", None, true),
    ("env", Some('e'), true),
    ("env-from-file", None, true),
    ("interactive", Some('i'), false),
    ("label", Some('l'), true),
    ("name", None, true),
    ("no-TTY", Some('T'), false),
    ("no-deps", None, false),
    ("publish", Some('p'), true),
    ("pull", None, true),
    ("quiet", Some('q'), false),
    ("quiet-build", None, false),
    ("quiet-pull", None, false),
    ("remove-orphans", None, false),
    ("rm", None, false),
    ("service-ports", Some('P'), false),
    ("tty", Some('t'), false),
    ("use-aliases", None, false),
    ("user", Some('u'), true),
    ("volume", Some('v'), true),
    ("workdir", Some('w'), true),
];

/// A compose line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeLine {
    /// The global flags as given, without the form of the log.
    pub globals: Vec<String>,
    /// The subcommand.
    pub verb: ComposeVerb,
    /// `--progress`, before or after the subcommand.
    pub progress: Option<String>,
    /// What is to be built, as the arguments of `compose build`.
    pub build: BuildFlags,
    /// The arguments of the subcommand once all is built: without `--build`, for `up` with `--no-build`. Empty for
    /// `build`.
    pub afterwards: Vec<String>,
}

/// The arguments of `compose build`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildFlags {
    /// As given, without the form of the log, with the services.
    pub given: Vec<String>,
    /// The services that were named; none means all.
    pub services: Vec<String>,
    /// `--build-arg`, in order.
    pub build_args: Vec<String>,
    /// `--builder`.
    pub builder: Option<String>,
    /// `--memory`, which only the classic builder heeds.
    pub memory: Option<String>,
    /// `--provenance`.
    pub provenance: Option<String>,
    /// `--sbom`.
    pub sbom: Option<String>,
    /// `--ssh`, in order.
    pub ssh: Vec<String>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--pull`.
    pub pull: bool,
    /// `--push`.
    pub push: bool,
    /// `--quiet`.
    pub quiet: bool,
    /// `--with-dependencies`.
    pub with_dependencies: bool,
}

/// Reads a compose line. The error is why it is to be run as it stands: it builds nothing, or holds a flag that is not
/// known.
pub fn compose_line(words: &[String]) -> Result<ComposeLine, Left> {
    let mut globals = Vec::new();
    let mut progress = None;
    let mut rest = Vec::new();
    for part in words::split(words, GLOBALS, true)? {
        match part {
            Word::Flag { name: "progress", value, .. } => progress = value,
            Word::Flag { given, .. } => globals.extend(given),
            Word::Text(text) => rest.push(text),
        }
    }
    let Some((verb, rest)) = rest.split_first() else { return Err(Left::no_build("it names no subcommand")) };
    let (verb, table) = match verb.as_str() {
        "build" => (ComposeVerb::Build, BUILD),
        "up" => (ComposeVerb::Up, UP),
        "run" => (ComposeVerb::Run, RUN),
        other => return Err(Left::no_build(format!("`compose {other}` builds nothing"))),
    };
    let parts = words::split(rest, table, verb == ComposeVerb::Run)?;
    let mut line =
        ComposeLine { globals, verb, progress, build: BuildFlags::default(), afterwards: Vec::new() };
    match verb {
        ComposeVerb::Build => of_build(parts, &mut line),
        ComposeVerb::Up | ComposeVerb::Run => of_start(parts, &mut line)?,
    }
    Ok(line)
}

fn of_build(parts: Vec<Word>, line: &mut ComposeLine) {
    let build = &mut line.build;
    for part in parts {
        let (name, value, given) = match part {
            Word::Text(service) => {
                build.services.push(service.clone());
                build.given.push(service);
                continue;
            }
            Word::Flag { name, value, given } => (name, value, given),
        };
        let on = words::is_on(value.as_deref());
        match name {
            "progress" => {
                line.progress = value;
                continue;
            }
            "build-arg" => build.build_args.extend(value),
            "ssh" => build.ssh.extend(value),
            "builder" => build.builder = value,
            "memory" => build.memory = value,
            "provenance" => build.provenance = value,
            "sbom" => build.sbom = value,
            "no-cache" => build.no_cache = on,
            "pull" => build.pull = on,
            "push" => build.push = on,
            "quiet" => build.quiet = on,
            "with-dependencies" => build.with_dependencies = on,
            _ => {}
        }
        build.given.extend(given);
    }
}

/// `up` and `run` with `--build`: what they build is what `compose build --with-dependencies` of their services builds.
fn of_start(parts: Vec<Word>, line: &mut ComposeLine) -> Result<(), Left> {
    let build = &mut line.build;
    let mut builds = false;
    build.with_dependencies = true;
    for part in parts {
        match part {
            Word::Flag { name: "build", value, .. } => builds = words::is_on(value.as_deref()),
            Word::Flag { name, given, value } => {
                let on = words::is_on(value.as_deref());
                build.with_dependencies &= !(name == "no-deps" && on);
                build.quiet |= name == "quiet-build" && on;
                line.afterwards.extend(given);
            }
            Word::Text(text) => {
                // Of `run`, the first is the service and the others are the command.
                if line.verb == ComposeVerb::Up || build.services.is_empty() {
                    build.services.push(text.clone());
                }
                line.afterwards.push(text);
            }
        }
    }
    if !builds {
        return Err(Left::no_build("it has no `--build`"));
    }
    if line.verb == ComposeVerb::Up {
        line.afterwards.insert(0, "--no-build".to_owned());
    }
    if build.quiet {
        build.given.push("--quiet".to_owned());
    }
    if build.with_dependencies && !build.services.is_empty() {
        build.given.push("--with-dependencies".to_owned());
    }
    build.given.extend(build.services.iter().cloned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<ComposeLine, Left> {
        compose_line(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn takes_build_apart() {
        let line = read("-f a.yml -fb.yml --profile x build --progress plain --build-arg A=1 --push api");
        let line = line.expect("a build");
        assert_eq!(line.globals, ["-f", "a.yml", "-f", "b.yml", "--profile", "x"]);
        assert_eq!(line.build.given, ["--build-arg", "A=1", "--push", "api"]);
        assert_eq!((line.build.services, line.build.push), (vec!["api".to_owned()], true));
        assert_eq!(line.progress.as_deref(), Some("plain"));
    }

    #[test]
    fn up_and_run_build_first() {
        let up = read("up -d --build --scale api=2 api").expect("builds");
        assert_eq!(up.build.given, ["--with-dependencies", "api"]);
        assert_eq!(up.afterwards, ["--no-build", "-d", "--scale", "api=2", "api"]);
        let all = read("up --build").expect("builds");
        assert_eq!((all.build.given.len(), all.afterwards), (0, vec!["--no-build".to_owned()]));
        let run = read("run --rm --build -e A=b api sh -c --build").expect("builds");
        assert_eq!(run.build.services, ["api"]);
        assert_eq!(run.afterwards, ["--rm", "-e", "A=b", "api", "sh", "-c", "--build"]);
    }

    #[test]
    fn leaves_what_builds_nothing() {
        for line in [
            "",
            "ps",
            "up -d",
            "run api",
            "up --build=false",
            "build --print",
            "build --check",
            "--dry-run build",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
