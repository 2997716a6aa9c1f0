//! `docker ...`: global flags, then the subcommands that build.
//!
//! Sources: docker/cli `cli/flags/options.go` for the flags and their variables, `cli/command/cli.go`
//! (`resolveContextName`) for who wins, `cmd/docker/builder.go` for what `docker build` is; docker/buildx
//! `commands/root.go`.

use crate::invocation::flags::{Flag, Style, Table, leading};
use crate::invocation::{Invocation, Left, Tool, asks_for_help, bake, compose};

/// Flags before the subcommand.
const GLOBALS: Table =
    Table("config= context|c= debug|D host|H= log-level|l= tls tlscacert= tlscert= tlskey= tlsverify");

/// Flags between `buildx` and its subcommand; they may stand behind it as well.
const BUILDX_GLOBALS: Table = Table("builder= debug|D");

/// Recognises the words after `docker`.
pub(super) fn recognise(words: &[String]) -> Option<Invocation> {
    let line = leading(words, GLOBALS, Style::Pflag).ok()?;
    let environment = environment(&line.flags)?;
    let (command, rest) = line.rest.split_first()?;
    let found = match command.as_str() {
        "build" => build(rest),
        "image" | "builder" => build(rest.strip_prefix(&["build".to_owned()])?),
        "bake" => bake(rest).map(|found| Invocation { names_buildx: true, ..found }),
        "buildx" => buildx(rest),
        "compose" => compose::recognise(rest, false),
        _ => None,
    }?;
    Some(Invocation { environment: [environment, found.environment].concat(), ..found })
}

/// See [`crate::invocation::docker_globals`].
pub(super) fn globals(words: &[String]) -> Option<Vec<(String, String)>> {
    let mut line = leading(words, GLOBALS, Style::Pflag).ok()?;
    line.flags.retain(|flag| !["debug", "log-level"].contains(&flag.name));
    environment(&line.flags).filter(|_| line.rest.is_empty())
}

fn build(arguments: &[String]) -> Option<Invocation> {
    let is_help = arguments.iter().any(|word| asks_for_help(word));
    (!is_help).then(|| Invocation::new(Tool::Build, Vec::new(), arguments.to_vec()))
}

fn bake(arguments: &[String]) -> Option<Invocation> {
    let builds = bake::bake_line(arguments) != Err(Left::NoBuild);
    builds.then(|| Invocation::new(Tool::Bake, Vec::new(), arguments.to_vec()))
}

fn buildx(words: &[String]) -> Option<Invocation> {
    let line = leading(words, BUILDX_GLOBALS, Style::Pflag).ok()?;
    let (command, rest) = line.rest.split_first()?;
    let arguments = [&line.words_without(&[]), rest].concat();
    let mut found = match command.as_str() {
        "build" | "b" => build(&arguments),
        "bake" | "f" => bake(&arguments),
        _ => None,
    }?;
    found.names_buildx = true;
    // buildx builds with BuildKit whatever the variable says, which `docker build` heeds.
    found.environment.push(("DOCKER_BUILDKIT".to_owned(), "1".to_owned()));
    Some(found)
}

/// The variables that the flags stand for; `None` where one has none, or where docker would refuse them.
fn environment(flags: &[Flag]) -> Option<Vec<(String, String)>> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut files = Vec::new();
    for (at, flag) in flags.iter().enumerate() {
        // Docker takes the last, but refuses a second host.
        if flags[..at].iter().any(|earlier| earlier.name == flag.name) || flag.value.is_empty() {
            return None;
        }
        let value = flag.value.as_str();
        match flag.name {
            "config" => pairs.push(("DOCKER_CONFIG", value)),
            "host" => pairs.push(("DOCKER_HOST", value)),
            // The default context is what DOCKER_HOST says.
            "context" if value == "default" => pairs.push(("DOCKER_CONTEXT", value)),
            // The flag wins over DOCKER_HOST, which wins over the variable.
            "context" => pairs.extend([("DOCKER_CONTEXT", value), ("DOCKER_HOST", "")]),
            "tls" if flag.is_on() => pairs.push(("DOCKER_TLS", "1")),
            "tlsverify" if flag.is_on() => pairs.push(("DOCKER_TLS_VERIFY", "1")),
            "tlscacert" | "tlscert" | "tlskey" => files.push(flag),
            _ => return None,
        }
    }
    let given = |name: &str| flags.iter().any(|flag| flag.name == name);
    if given("host") && given("context") {
        return None;
    }
    if !files.is_empty() {
        pairs.push(("DOCKER_CERT_PATH", certificate_folder(&files)?));
    }
    Some(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// The folder that holds all three files under the names that `DOCKER_CERT_PATH` means.
fn certificate_folder<'a>(files: &[&'a Flag]) -> Option<&'a str> {
    let names = [("tlscacert", "ca.pem"), ("tlscert", "cert.pem"), ("tlskey", "key.pem")];
    let folder = |(flag, name): (&str, &str)| {
        let file = files.iter().find(|given| given.name == flag)?;
        file.value.strip_suffix(name)?.strip_suffix('/')
    };
    let first = folder(names[0]).filter(|folder| !folder.is_empty())?;
    names.into_iter().all(|name| folder(name) == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Invocation> {
        recognise(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn recognises_the_forms_of_a_build() {
        for (form, tool, arguments) in [
            ("build -t x .", Tool::Build, "-t x ."),
            ("image build -t x .", Tool::Build, "-t x ."),
            ("builder build -t x .", Tool::Build, "-t x ."),
            ("buildx build -t x .", Tool::Build, "-t x ."),
            ("buildx b -t x .", Tool::Build, "-t x ."),
            ("buildx --builder b build .", Tool::Build, "--builder b ."),
            ("buildx --builder=b -D b .", Tool::Build, "--builder=b -D ."),
            ("buildx bake app", Tool::Bake, "app"),
            ("buildx f app", Tool::Bake, "app"),
            ("buildx --builder b bake --print=false", Tool::Bake, "--builder b --print=false"),
            ("buildx bake --call build", Tool::Bake, "--call build"),
            ("buildx bake --newest-flag", Tool::Bake, "--newest-flag"),
            ("bake --set *.tags=x", Tool::Bake, "--set *.tags=x"),
        ] {
            let found = read(form).expect(form);
            assert_eq!((found.tool, found.arguments.join(" ").as_str()), (tool, arguments), "{form}");
            assert_eq!(found.globals, [""; 0], "{form}");
        }
    }

    #[test]
    fn what_builds_nothing_is_left_alone() {
        for line in [
            "ps",
            "builder prune",
            "image ls",
            "image",
            "buildx ls",
            "buildx debug build .",
            "build --help",
            "buildx build -h",
            "buildx bake --print",
            "buildx bake --list=targets",
            "buildx bake --list-targets",
            "buildx bake --check",
            "--version",
            "-v",
            "--help build",
            "-- build .",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn global_flags_become_variables() {
        for (flags, variables) in [
            ("", ""),
            ("--config /c", "DOCKER_CONFIG=/c"),
            ("--config=/c", "DOCKER_CONFIG=/c"),
            ("--context x", "DOCKER_CONTEXT=x DOCKER_HOST="),
            ("-c default", "DOCKER_CONTEXT=default"),
            ("-c x", "DOCKER_CONTEXT=x DOCKER_HOST="),
            ("-H tcp://d:2375", "DOCKER_HOST=tcp://d:2375"),
            ("-Htcp://d:2375", "DOCKER_HOST=tcp://d:2375"),
            ("--host=tcp://d:2376 --tls", "DOCKER_HOST=tcp://d:2376 DOCKER_TLS=1"),
            (
                "--tlsverify --tlscacert=/t/ca.pem --tlscert /t/cert.pem --tlskey /t/key.pem",
                "DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=/t",
            ),
        ] {
            let found = read(&format!("{flags} build .")).expect(flags);
            let shown = found.environment.iter().map(|(name, value)| format!("{name}={value}"));
            assert_eq!(shown.collect::<Vec<_>>().join(" "), variables, "{flags}");
        }
        let buildx = read("-c x buildx build .").expect("buildx");
        assert_eq!(buildx.environment.last(), Some(&("DOCKER_BUILDKIT".to_owned(), "1".to_owned())));
    }

    #[test]
    fn a_global_flag_without_a_variable_leaves_the_line_alone() {
        for flags in [
            "--debug",
            "-D",
            "-l debug",
            "--log-level=info",
            "--tls=false",
            "--tlscacert /t/ca.pem",
            "--tlscacert /t/ca.pem --tlscert /t/mine.pem --tlskey /t/key.pem",
            "--tlscacert /t/ca.pem --tlscert /u/cert.pem --tlskey /t/key.pem",
            "-H a -H b",
            "-H a -c b",
            "--config=",
            "--no-such-flag",
        ] {
            assert_eq!(read(&format!("{flags} build .")), None, "{flags}");
        }
    }
}
