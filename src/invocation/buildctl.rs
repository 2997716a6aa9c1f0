//! `buildctl ...`: global flags, then `build`. Both are kept as given; what the build is about is read beside it.
//!
//! Source: moby/buildkit `cmd/buildctl/main.go`, `cmd/buildctl/build.go` (0.8 to 0.31), which read flags with Go's own
//! `flag`; frontend/dockerui/config.go and context.go for what `--opt` means to the Dockerfile frontend.

use crate::invocation::flags::{Line, Style, Table, leading};
use crate::invocation::{Invocation, Left, Tool};
use crate::model::request::{Context, Flag, Request};

/// Flags before the subcommand.
const GLOBALS: Table =
    Table("addr= debug log-format= timeout= tlscacert= tlscert= tlsdir= tlskey= tlsservername= wait");

/// Flags of `build`.
const FLAGS: Table = Table(
    "allow= debug-json-cache-metrics= export-cache= export-cache-opt= exporter= exporter-opt= frontend= frontend-opt=
    import-cache= local= metadata-file= no-cache o= oci-layout= opt= output= progress= proxy-network ref-file=
    registry-auth-tlscontext= secret= source-policy-file= ssh= trace=",
);

/// Flags of `build` that say how it is told of.
const OF_THE_LOG: [&str; 2] = ["progress", "metadata-file"];

/// Flags of `build` that say what becomes of its result.
const OF_THE_RESULT: [&str; 5] = ["o", "output", "exporter", "exporter-opt", "ref-file"];

/// A `buildctl build` line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildctlLine {
    /// Flags before `build`, as given.
    pub globals: Vec<String>,
    /// `--addr`.
    pub address: Option<String>,
    /// Flags of `build` as given, without the form of the log and the file for metadata.
    pub flags: Vec<String>,
    /// Of these, what says how to build, and not what becomes of the result. Without an output, buildctl drops it.
    pub of_steps: Vec<String>,
    /// The same build as a line of `docker build`, or why it cannot be said so.
    pub request: Result<Request, &'static str>,
}

/// Takes the words after `buildctl` apart: global flags and `build`, where they are there, and the flags of `build`. The
/// error is why they are to be run as they stand.
pub fn buildctl_line(words: &[String]) -> Result<BuildctlLine, Left> {
    let words = with_subcommand(words);
    if words.iter().any(|word| asks(word)) {
        return Err(Left::NoBuild);
    }
    let Some(invocation) = recognise(&words) else { return Err(Left::NoBuild) };
    let line = leading(&invocation.arguments, FLAGS, Style::GoFlag)?;
    if let Some(word) = line.rest.first() {
        return Err(Left::Unknown(word.clone()));
    }
    let globals = invocation.globals;
    let address = leading(&globals, GLOBALS, Style::GoFlag)?.value("addr");
    let flags = line.words_without(&OF_THE_LOG);
    let of_steps = line.words_without(&[&OF_THE_LOG[..], &OF_THE_RESULT[..]].concat());
    Ok(BuildctlLine { globals, address, flags, of_steps, request: request(&line) })
}

/// The words with `build` in front, unless there is a subcommand among them: `layerlift buildctl --frontend ...` is a build.
pub fn with_subcommand(words: &[String]) -> Vec<String> {
    let names_one = leading(words, GLOBALS, Style::GoFlag).is_ok();
    let build = (!names_one).then(|| "build".to_owned());
    build.into_iter().chain(words.iter().cloned()).collect()
}

fn asks(word: &str) -> bool {
    matches!(word, "--help" | "-help" | "-h" | "--h")
}

/// What the Dockerfile frontend makes of the flags.
fn request(line: &Line) -> Result<Request, &'static str> {
    let pairs = |names: &[&str]| -> Vec<(String, String)> {
        let values = names.iter().flat_map(|name| line.values(name));
        let pair = |text: String| match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (text, String::new()),
        };
        values.map(pair).collect()
    };
    let (options, locals) = (pairs(&["opt", "frontend-opt"]), pairs(&["local"]));
    let last = |pairs: &[(String, String)], name: &str| {
        pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    };
    let reads_dockerfile = match line.value("frontend").as_deref() {
        Some("dockerfile.v0") => true,
        Some("gateway.v0") => last(&options, "source").is_some_and(|image| image.contains("/dockerfile")),
        _ => false,
    };
    if !reads_dockerfile {
        return Err("it builds from something else than a Dockerfile");
    }
    let context = match (last(&options, "context"), last(&locals, "context")) {
        (Some(address), _) => Context::parse(&address),
        (None, Some(folder)) => Context::Folder(folder.into()),
        (None, None) => return Err("it has no build context"),
    };
    let is_remote = matches!(context, Context::Remote(_));
    if !is_remote && last(&options, "context").is_some() {
        return Err("its build context is neither a folder nor an address");
    }
    let mut flags = Vec::new();
    let mut add = |name, value: String| flags.push(Flag::text(name, value));
    // A Dockerfile beside the context has the name that `docker build` would look for.
    let (folder, name) = (last(&locals, "dockerfile"), last(&options, "filename"));
    match (folder, name) {
        (Some(folder), name)
            if !is_remote && (name.is_some() || Some(&folder) != last(&locals, "context").as_ref()) =>
        {
            let name = name.unwrap_or_else(|| "Dockerfile".to_owned());
            add("file", format!("{}/{name}", folder.trim_end_matches('/')));
        }
        (_, Some(name)) => add("file", name),
        (_, None) => {}
    }
    flags.extend(options.iter().filter_map(|(key, value)| option(key, value)));
    let kept = [
        ("o", "output"),
        ("output", "output"),
        ("import-cache", "cache-from"),
        ("export-cache", "cache-to"),
        ("progress", "progress"),
        ("metadata-file", "metadata-file"),
    ];
    for (given, ours) in kept {
        flags.extend(line.values(given).into_iter().map(|value| Flag::text(ours, value)));
    }
    if line.is_on("no-cache") {
        flags.push(Flag::on("no-cache"));
    }
    Ok(Request { flags, context })
}

/// What an `--opt` is as a flag of `docker build`; the frontend's finer settings are none.
fn option(key: &str, value: &str) -> Option<Flag> {
    let named = |prefix: &str| key.strip_prefix(prefix).map(|name| format!("{name}={value}"));
    Some(match key {
        "target" => Flag::text("target", value),
        "platform" => Flag::text("platform", value),
        "no-cache" if value.is_empty() => Flag::on("no-cache"),
        "no-cache" => Flag::text("no-cache-filter", value),
        "force-network-mode" => Flag::text("network", value),
        "cache-from" | "cache-imports" => Flag::text("cache-from", value),
        _ => match (named("build-arg:"), named("context:")) {
            (Some(argument), _) => Flag::text("build-arg", argument),
            (None, Some(context)) => Flag::text("build-context", context),
            (None, None) => return None,
        },
    })
}

/// Recognises the words after `buildctl`.
pub(super) fn recognise(words: &[String]) -> Option<Invocation> {
    let line = leading(words, GLOBALS, Style::GoFlag).ok()?;
    let (command, arguments) = line.rest.split_first()?;
    let builds = matches!(command.as_str(), "build" | "b");
    if !builds || arguments.iter().any(|word| asks(word)) {
        return None;
    }
    Some(Invocation::new(Tool::Buildctl, line.words_without(&[]), arguments.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(String, String)> {
        let found = recognise(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())?;
        Some((found.globals.join(" "), found.arguments.join(" ")))
    }

    #[test]
    fn recognises_a_build() {
        for (line, globals, arguments) in [
            ("build --frontend dockerfile.v0", "", "--frontend dockerfile.v0"),
            ("b --no-cache", "", "--no-cache"),
            ("--addr unix:///s -debug build --no-cache", "--addr unix:///s -debug", "--no-cache"),
            ("-addr=tcp://b:1 --tlsdir /t build", "-addr=tcp://b:1 --tlsdir /t", ""),
        ] {
            assert_eq!(read(line), Some((globals.into(), arguments.into())), "{line}");
        }
    }

    fn taken_apart(line: &str) -> Result<BuildctlLine, Left> {
        buildctl_line(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_line_is_a_build_as_docker_would_have_it() {
        let said = |line: &str| {
            let line = taken_apart(line).expect("a build");
            let request = line.request.expect("of a Dockerfile");
            (crate::model::request::arguments(&request.flags).join(" "), request.context)
        };
        let here = || Context::Folder(".".into());
        let plain = "--frontend dockerfile.v0 --local context=. --local dockerfile=.";
        assert_eq!(said(plain), (String::new(), here()));
        let elsewhere = "--frontend=gateway.v0 --opt source=docker/dockerfile:1 --opt filename=prod.Dockerfile --local dockerfile=docker/ \
            -local context=. --opt target=final --opt build-arg:X=1=2 --opt context:base=docker-image://a --opt platform=linux/arm64 \
            --output type=image,name=r/a:1,push=true --import-cache type=local,src=x --no-cache --progress=plain --metadata-file m";
        let expected = "--file docker/prod.Dockerfile --target final --build-arg X=1=2 --build-context base=docker-image://a \
            --platform linux/arm64 --output type=image,name=r/a:1,push=true --cache-from type=local,src=x --progress plain \
            --metadata-file m --no-cache";
        assert_eq!(said(elsewhere), (expected.into(), here()));
        let remote = "--frontend dockerfile.v0 --opt context=https://github.com/a/b.git --opt filename=x";
        let address = Context::Remote("https://github.com/a/b.git".into());
        assert_eq!(said(remote), ("--file x".into(), address));
    }

    #[test]
    fn its_words_are_kept() {
        let line = "--addr unix:///s -debug build --progress=tty --frontend dockerfile.v0 -o type=oci,dest=x --metadata-file m \
            --local context=. --secret id=a";
        let line = taken_apart(line).expect("a build");
        assert_eq!(line.globals.join(" "), "--addr unix:///s -debug");
        assert_eq!(line.address.as_deref(), Some("unix:///s"));
        let flags = "--frontend dockerfile.v0 -o type=oci,dest=x --local context=. --secret id=a";
        assert_eq!(line.flags.join(" "), flags);
        assert_eq!(
            taken_apart("--frontend dockerfile.v0 --local context=.").expect("a build").globals,
            [""; 0]
        );
    }

    #[test]
    fn what_cannot_be_said_is_told() {
        assert_eq!(taken_apart("build --help"), Err(Left::NoBuild));
        assert_eq!(taken_apart("--newest-flag x"), Err(Left::Unknown("--newest-flag".into())));
        assert_eq!(taken_apart("--addr tcp://b:1 du"), Err(Left::NoBuild));
        assert_eq!(taken_apart("build now"), Err(Left::Unknown("now".into())));
        for line in [
            "--no-cache",
            "--frontend gateway.v0 --opt source=me/nix --local context=.",
            "--frontend dockerfile.v0",
            "--frontend dockerfile.v0 --opt context=local:x",
        ] {
            assert!(taken_apart(line).expect("a line").request.is_err(), "{line}");
        }
    }

    #[test]
    fn what_builds_nothing_is_left_alone() {
        for line in ["du", "prune", "debug workers", "build --help", "--no-such-flag build", "--version"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
