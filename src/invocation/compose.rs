//! `docker compose ...` and `docker-compose ...`: project flags, then `build`, `up --build` or `run --build`.
//!
//! Source: docker/compose `cmd/compose/{compose,build,up,run}.go` (2.26 to 2.40). The words of docker-compose v1 that v2
//! no longer takes are left alone.

use crate::invocation::flags::{Known, Style, leading, switch, value};
use crate::invocation::{ComposeVerb, Invocation, Tool, asks_for_help};

/// Flags before the subcommand.
const GLOBALS: [Known; 13] = [
    value("ansi"),
    value("env-file"),
    value("file").lettered('f'),
    value("parallel"),
    value("profile"),
    value("progress"),
    value("project-directory"),
    value("project-name").lettered('p'),
    value("workdir"),
    switch("all-resources"),
    switch("compatibility"),
    switch("verbose"),
    switch("dry-run"),
];

/// Flags of `run`, which ends its flags at the service's name: what follows is the container's command.
const RUN: [Known; 28] = [
    value("cap-add"),
    value("cap-drop"),
    value("entrypoint"),
    value("env").lettered('e'),
    value("env-from-file"),
    value("label").lettered('l'),
    value("name"),
    value("publish").lettered('p'),
    value("pull"),
    value("user").lettered('u'),
    value("volume").lettered('v'),
    value("workdir").lettered('w'),
    switch("build"),
    switch("detach").lettered('d'),
    switch("dry-run"),
    switch("help").lettered('h'),
    switch("interactive").lettered('i'),
    switch("no-TTY").lettered('T'),
    switch("no-tty"),
    switch("no-deps"),
    switch("quiet").lettered('q'),
    switch("quiet-build"),
    switch("quiet-pull"),
    switch("remove-orphans"),
    switch("rm"),
    switch("service-ports").lettered('P'),
    switch("tty").lettered('t'),
    switch("use-aliases"),
];

/// Flags with which `build` answers a question.
const QUESTIONS: [&str; 3] = ["--print", "--check", "--dry-run"];

/// Reads the words after `docker compose` or `docker-compose`.
pub(super) fn recognise(words: &[String], standalone: bool) -> Option<Invocation> {
    let line = leading(words, &GLOBALS, Style::Pflag)?;
    let (command, arguments) = line.rest.split_first()?;
    if line.is_on("dry-run") {
        return None;
    }
    let verb = match command.as_str() {
        "build" if !arguments.iter().any(|word| asks(word)) => ComposeVerb::Build,
        "up" if builds_up(arguments) => ComposeVerb::Up,
        "run" if builds_run(arguments) => ComposeVerb::Run,
        _ => return None,
    };
    Some(Invocation {
        tool: Tool::Compose { standalone, verb },
        names_buildx: false,
        environment: Vec::new(),
        globals: line.words.to_vec(),
        arguments: arguments.to_vec(),
    })
}

fn asks(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    asks_for_help(word) || QUESTIONS.contains(&name) && !word.ends_with("=false")
}

/// `up` takes its flags before and behind the services.
fn builds_up(arguments: &[String]) -> bool {
    let builds = |word: &String| matches!(word.as_str(), "--build" | "--build=true" | "--build=1");
    // `up --build --no-build` is compose's to refuse, and `up -h` is a question.
    arguments.iter().any(builds) && !arguments.iter().any(|word| asks(word) || word.starts_with("--no-build"))
}

fn builds_run(arguments: &[String]) -> bool {
    leading(arguments, &RUN, Style::Pflag)
        .is_some_and(|line| line.is_on("build") && !line.is_on("dry-run") && !line.is_on("help"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, standalone: bool) -> Option<Invocation> {
        recognise(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), standalone)
    }

    #[test]
    fn recognises_what_builds() {
        for (line, verb, globals, arguments) in [
            ("build", ComposeVerb::Build, "", ""),
            ("build --pull web", ComposeVerb::Build, "", "--pull web"),
            ("-f a.yml --file=b.yml -p x build", ComposeVerb::Build, "-f a.yml --file=b.yml -p x", ""),
            ("--profile p --ansi never build", ComposeVerb::Build, "--profile p --ansi never", ""),
            ("up --build -d", ComposeVerb::Up, "", "--build -d"),
            ("up -d web --build", ComposeVerb::Up, "", "-d web --build"),
            ("run --build --rm web sh -h", ComposeVerb::Run, "", "--build --rm web sh -h"),
            ("run -e A=1 --build web", ComposeVerb::Run, "", "-e A=1 --build web"),
        ] {
            for standalone in [false, true] {
                let found = read(line, standalone).expect(line);
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
            "ps",
            "up",
            "up -d",
            "up --build --no-build",
            "up --build --help",
            "up --build=false",
            "run web",
            "run --rm web --build",
            "run -e --build web",
            "run --no-such-flag --build web",
            "build --print",
            "build --help",
            "build --dry-run",
            "--dry-run build",
            "--dry-run up --build",
            "--tls build",
            "version",
        ] {
            assert_eq!(read(line, true), None, "{line}");
        }
    }
}
