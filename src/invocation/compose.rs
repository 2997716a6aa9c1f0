//! `docker compose ...` and `docker-compose ...`: global flags, then `build`, `up --build` or `run --build`, recognised
//! and taken apart for whoever builds in its place.
//!
//! Source: docker/compose `cmd/compose/{compose,build,up,run}.go` from 2.20 to 5. The words of docker-compose v1 that v2
//! no longer takes are left alone.

use crate::invocation::flags::{Line, Style, Table, anywhere, leading};
use crate::invocation::{Invocation, Left, Tool};

/// Flags before the subcommand.
const GLOBALS: Table = Table(
    "all-resources ansi= compatibility dry-run env-file= file|f= help|h insecure-registry= no-ansi parallel= profile=
    progress= project-directory= project-name|p= verbose workdir=",
);

const BUILD: Table = Table(
    "build-arg= builder= check compress dry-run force-rm help|h memory|m= no-cache no-rm parallel print progress=
    provenance= pull push quiet|q sbom= ssh= with-dependencies",
);

const UP: Table = Table(
    "abort-on-container-exit abort-on-container-failure always-recreate-deps attach= attach-dependencies build detach|d
    dry-run exit-code-from= force-recreate help|h menu no-attach= no-build no-color no-deps no-log-prefix no-recreate
    no-start pull= quiet-build quiet-pull remove-orphans renew-anon-volumes|V scale= timeout|t= timestamps wait
    wait-timeout= yes|y",
);

const RUN: Table = Table(
    "build cap-add= cap-drop= detach|d dry-run entrypoint= env|e= env-from-file= help|h interactive|i label|l= name=
    no-TTY|T no-deps no-tty publish|p= pull= quiet|q quiet-build quiet-pull remove-orphans rm service-ports|P tty|t
    use-aliases user|u= volume|v= workdir|w=",
);

/// Switches with which compose answers a question.
const QUESTIONS: [&str; 4] = ["check", "dry-run", "help", "print"];

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

/// Recognises the words after `docker compose` or `docker-compose`.
pub(super) fn recognise(words: &[String], standalone: bool) -> Option<Invocation> {
    let globals = leading(words, GLOBALS, Style::Pflag).ok()?;
    let (verb, arguments) = globals.rest.split_first()?;
    let verb = ComposeVerb::parse(verb)?;
    // A build with a flag that is not known is ours to say so.
    if compose_line(words) == Err(Left::NoBuild) {
        return None;
    }
    Some(Invocation::new(Tool::Compose { standalone, verb }, globals.words_without(&[]), arguments.to_vec()))
}

/// Takes such a line apart. The error is why it is to be run as it stands.
pub fn compose_line(words: &[String]) -> Result<ComposeLine, Left> {
    let globals = leading(words, GLOBALS, Style::Pflag)?;
    let (verb, arguments) = globals.rest.split_first().ok_or(Left::NoBuild)?;
    let verb = ComposeVerb::parse(verb).ok_or(Left::NoBuild)?;
    let found = match verb {
        ComposeVerb::Build => anywhere(arguments, BUILD),
        ComposeVerb::Up => anywhere(arguments, UP),
        // What follows the service is the container's command.
        ComposeVerb::Run => leading(arguments, RUN, Style::Pflag),
    };
    if verb != ComposeVerb::Build && !arguments.iter().any(|word| word.starts_with("--build")) {
        return Err(Left::NoBuild);
    }
    let line = found?;
    if QUESTIONS.iter().any(|name| globals.is_on(name) || line.is_on(name)) {
        return Err(Left::NoBuild);
    }
    let (build, afterwards) = match verb {
        ComposeVerb::Build => (of_build(&line), Vec::new()),
        ComposeVerb::Up | ComposeVerb::Run => of_start(&line, verb)?,
    };
    Ok(ComposeLine {
        globals: globals.words_without(&["progress"]),
        verb,
        progress: line.value("progress").or(globals.value("progress")),
        build,
        afterwards,
    })
}

fn of_build(line: &Line) -> BuildFlags {
    BuildFlags {
        given: [line.words_without(&["progress"]), line.rest.clone()].concat(),
        services: line.rest.clone(),
        build_args: line.values("build-arg"),
        builder: line.value("builder"),
        memory: line.value("memory"),
        provenance: line.value("provenance"),
        sbom: line.value("sbom"),
        ssh: line.values("ssh"),
        no_cache: line.is_on("no-cache"),
        pull: line.is_on("pull"),
        push: line.is_on("push"),
        quiet: line.is_on("quiet"),
        with_dependencies: line.is_on("with-dependencies"),
    }
}

/// `up` and `run` with `--build`: what they build is what `compose build --with-dependencies` of their services builds.
/// Then, what starts them.
fn of_start(line: &Line, verb: ComposeVerb) -> Result<(BuildFlags, Vec<String>), Left> {
    // Compose refuses `--build --no-build`.
    if !line.is_on("build") || line.is_on("no-build") {
        return Err(Left::NoBuild);
    }
    let services = match verb {
        ComposeVerb::Run => line.rest.iter().take(1).cloned().collect(),
        ComposeVerb::Up | ComposeVerb::Build => line.rest.clone(),
    };
    let (quiet, with_dependencies) = (line.is_on("quiet-build"), !line.is_on("no-deps"));
    let switches = [("--quiet", quiet), ("--with-dependencies", with_dependencies && !services.is_empty())];
    let given = switches.into_iter().filter(|(_, on)| *on).map(|(flag, _)| flag.to_owned());
    let given = given.chain(services.iter().cloned()).collect();
    let no_build = (verb == ComposeVerb::Up).then(|| "--no-build".to_owned());
    let afterwards = no_build
        .into_iter()
        .chain(line.words_without(&["build", "no-build"]))
        .chain(line.rest.iter().cloned());
    let build = BuildFlags { given, services, quiet, with_dependencies, ..BuildFlags::default() };
    Ok((build, afterwards.collect()))
}

impl ComposeVerb {
    fn parse(text: &str) -> Option<Self> {
        [ComposeVerb::Build, ComposeVerb::Up, ComposeVerb::Run].into_iter().find(|verb| verb.name() == text)
    }

    /// The subcommand's name.
    pub fn name(self) -> &'static str {
        match self {
            ComposeVerb::Build => "build",
            ComposeVerb::Up => "up",
            ComposeVerb::Run => "run",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn read(line: &str) -> Result<ComposeLine, Left> {
        compose_line(&words(line))
    }

    #[test]
    fn recognises_what_builds() {
        for (line, verb, globals, arguments) in [
            ("build", ComposeVerb::Build, "", ""),
            ("build --pull web", ComposeVerb::Build, "", "--pull web"),
            ("-f a.yml --file=b.yml -p x build", ComposeVerb::Build, "-f a.yml --file=b.yml -p x", ""),
            ("--profile p --ansi never build", ComposeVerb::Build, "--profile p --ansi never", ""),
            ("build --newest-flag", ComposeVerb::Build, "", "--newest-flag"),
            ("up --build -d", ComposeVerb::Up, "", "--build -d"),
            ("up -d web --build", ComposeVerb::Up, "", "-d web --build"),
            ("up --build --newest-flag", ComposeVerb::Up, "", "--build --newest-flag"),
            ("run --build --rm web sh -h", ComposeVerb::Run, "", "--build --rm web sh -h"),
            ("run -e A=1 --build web", ComposeVerb::Run, "", "-e A=1 --build web"),
            ("run --newest-flag --build web", ComposeVerb::Run, "", "--newest-flag --build web"),
        ] {
            for standalone in [false, true] {
                let found = recognise(&words(line), standalone).expect(line);
                assert_eq!(found.tool, Tool::Compose { standalone, verb }, "{line}");
                assert_eq!(
                    (found.globals.join(" "), found.arguments.join(" ")),
                    (globals.into(), arguments.into())
                );
            }
        }
    }

    #[test]
    fn what_builds_nothing_is_left_alone() {
        for line in [
            "",
            "ps",
            "up",
            "up -d",
            "up --newest-flag",
            "up --build --no-build",
            "up --build --help",
            "up --build=false",
            "run web",
            "run --rm web --build",
            "run -e --build web",
            "build --print",
            "build --check",
            "build --help",
            "build --dry-run",
            "--dry-run build",
            "--dry-run up --build",
            "version",
        ] {
            assert_eq!(read(line), Err(Left::NoBuild), "{line}");
            assert_eq!(recognise(&words(line), true), None, "{line}");
        }
        assert_eq!(recognise(&words("--tls build"), true), None);
        assert_eq!(read("--tls build"), Err(Left::Unknown("--tls".into())));
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
}
