//! The arguments of a CI job's build, made into those of a build that stays here.

use crate::base::env;
use crate::model::flags::{self, Kind};
use crate::model::request::OutputSpec;

/// Settings of layerlift that take no value of their own.
const SWITCHES: [&str; 5] = ["dry-run", "read-only", "strict", "keep-image", "fail-on-miss"];
/// What a reproduction does by itself, or must not do.
const TAKEN_OFF: [&str; 12] = [
    "push",
    "load",
    "output",
    "cache-to",
    "builder",
    "read-only",
    "report",
    "dotenv",
    "dry-run",
    "iidfile",
    "metadata-file",
    // An engine of a person's machine is not expected to hit all.
    "fail-on-miss",
];

/// Arguments, and what was taken off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Local {
    /// What is left, and `--load`.
    pub arguments: Vec<String>,
    /// What was taken off, as given.
    pub taken_off: Vec<String>,
}

/// One argument as it was given: its words, and the long name and value of a flag.
struct Given<'a> {
    words: &'a [String],
    flag: Option<(&'a str, Option<&'a str>)>,
}

/// Takes off what pushes, exports a cache, chooses a builder or writes a report, and asks for the image to be loaded.
/// Several platforms become this machine's own, unless `all_platforms`.
pub fn local(arguments: &[String], all_platforms: bool) -> Local {
    let mut local = Local::default();
    let mut rest = arguments;
    let mut asks = false;
    while let Some(given) = next(&mut rest) {
        let drops = match given.flag {
            // A folder or an archive is a result like an image; it stays.
            Some(("output", Some(value))) => {
                let output = OutputSpec::parse(value);
                output.push || matches!(output.kind.as_str(), "image" | "docker" | "registry")
            }
            Some(("platform", Some(value))) => value.contains(',') && !all_platforms,
            // GitHub's cache answers inside of GitHub's jobs only.
            Some(("cache-from", Some(value))) => value.contains("type=gha"),
            Some((name, _)) => TAKEN_OFF.contains(&name),
            None => false,
        };
        let keeps_output = matches!(given.flag, Some(("output" | "check" | "call", _))) && !drops;
        asks |= keeps_output;
        if drops { &mut local.taken_off } else { &mut local.arguments }.extend(given.words.iter().cloned());
    }
    if !asks {
        local.arguments.insert(0, "--load".to_owned());
    }
    local
}

/// The same for a line of bake or compose: what its definition pushes, exports as a cache or writes elsewhere is left in
/// the engine, as far as the line can say so, which bake's can; there several platforms become the engine's own, too.
pub fn local_group(subcommand: &str, arguments: &[String], all_platforms: bool) -> Local {
    let mut local = Local::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let flag = word.strip_prefix("--").unwrap_or_default();
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        let has_value = matches!(name, "builder" | "report" | "dotenv" | "metadata-file" | "set");
        let next = words.clone().next().filter(|_| has_value && value.is_none());
        words.by_ref().take(usize::from(next.is_some())).for_each(drop);
        let drops = match name {
            "push" | "load" | "read-only" | "dry-run" => true,
            // Several such overrides add up.
            "set" => value.or(next.map(String::as_str)).is_some_and(|text| sends(text, all_platforms)),
            _ => has_value,
        };
        if drops { &mut local.taken_off } else { &mut local.arguments }
            .extend([word].into_iter().chain(next).cloned());
    }
    if subcommand == "bake" {
        // In front of bake's arguments, where no flag of the job's can take one for its value.
        // buildx takes an empty list for none, and `local` for the engine's own platform, since 0.13 at least.
        let platform = (!all_platforms).then_some("--set=*.platform=local");
        let overrides = ["--set=*.output=type=docker", "--set=*.cache-to="].into_iter().chain(platform);
        let at = settings(&local.arguments);
        local.arguments.splice(at..at, overrides.map(str::to_owned));
    }
    local
}

/// How many words are settings of layerlift, which stand before what is bake's.
fn settings(words: &[String]) -> usize {
    let mut count = 0;
    while let Some(flag) = words.get(count).and_then(|word| word.strip_prefix("--")) {
        let (name, has_value) = flag.split_once('=').map_or((flag, false), |(name, _)| (name, true));
        let variable = format!("LAYERLIFT_{}", name.to_ascii_uppercase().replace('-', "_"));
        if !env::ALL.iter().any(|known| known.name == variable) {
            break;
        }
        count += if has_value || SWITCHES.contains(&name) { 1 } else { 2 };
    }
    count.min(words.len())
}

/// Whether an override of bake's says where a result or a cache goes, `app.output=...`, `*.cache-to+=...`, or which
/// platforms it is for, unless they stay.
fn sends(text: &str, all_platforms: bool) -> bool {
    let key = text.split('=').next().unwrap_or_default().trim_end_matches('+');
    let field = key.split_once('.').map_or("", |(_, field)| field);
    matches!(field, "output" | "cache-to" | "push" | "load") || (field == "platform" && !all_platforms)
}

fn next<'a>(rest: &mut &'a [String]) -> Option<Given<'a>> {
    let (first, _) = rest.split_first()?;
    let (flag, length) = read(first, rest.get(1));
    let (words, after) = rest.split_at(length);
    *rest = after;
    Some(Given { words, flag })
}

/// The flag that a word is, with its value, and how many words they are.
fn read<'a>(word: &'a str, next: Option<&'a String>) -> (Option<(&'a str, Option<&'a str>)>, usize) {
    let follows = next.map_or(1, |_| 2);
    if let Some(long) = word.strip_prefix("--") {
        return match long.split_once('=') {
            Some((name, value)) => (Some((name, Some(value))), 1),
            None if takes_value(long) => (Some((long, next.map(String::as_str))), follows),
            None => (Some((long, None)), 1),
        };
    }
    let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
        return (None, 1);
    };
    // `-qt name`, `-tname`: the first letter that takes a value takes what follows it.
    for (index, letter) in letters.char_indices() {
        let definition = flags::BUILD_FLAGS.iter().find(|flag| flag.short == Some(letter));
        let Some(definition) = definition.filter(|flag| flag.kind != Kind::Switch) else { continue };
        let attached = letters[index + letter.len_utf8()..].trim_start_matches('=');
        // A cluster is one word with its switches: only a flag that stands alone is taken for that flag.
        let name = if index == 0 { definition.name } else { "" };
        return if attached.is_empty() {
            (Some((name, next.map(String::as_str))), follows)
        } else {
            (Some((name, Some(attached))), 1)
        };
    }
    (Some(("", None)), 1)
}

fn takes_value(name: &str) -> bool {
    match flags::definition(name) {
        Some(definition) => definition.kind != Kind::Switch,
        None => !SWITCHES.contains(&name),
    }
}

/// Every flag with its value, and every other word. The name of a flag that stands in one word with others is empty.
pub fn all(arguments: &[String]) -> Vec<(Option<&str>, &str)> {
    let mut rest = arguments;
    let given = std::iter::from_fn(|| next(&mut rest));
    given
        .map(|given| match given.flag {
            Some((name, value)) => (Some(name), value.unwrap_or_default()),
            None => (None, given.words.first().map_or("", String::as_str)),
        })
        .collect()
}

/// The values of a flag.
pub fn values<'a>(arguments: &'a [String], wanted: &str) -> Vec<&'a str> {
    let mut rest = arguments;
    let mut values = Vec::new();
    while let Some(given) = next(&mut rest) {
        values.extend(given.flag.filter(|(name, _)| *name == wanted).and_then(|(_, value)| value));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_leaves_the_machine_is_taken_off() {
        for (line, left, off) in [
            ("-t a:1 --push .", "--load -t a:1 .", "--push"),
            ("-t a --output type=registry,name=b .", "--load -t a .", "--output type=registry,name=b"),
            ("-o type=local,dest=out .", "-o type=local,dest=out .", ""),
            ("--cache-to=type=inline --cache-from a .", "--load --cache-from a .", "--cache-to=type=inline"),
            ("--platform linux/amd64,linux/arm64 .", "--load .", "--platform linux/amd64,linux/arm64"),
            ("--platform=linux/arm64 .", "--load --platform=linux/arm64 .", ""),
            (
                "--builder x --cache-repo r/c --strict -qt a .",
                "--load --cache-repo r/c --strict -qt a .",
                "--builder x",
            ),
            ("--build-arg --push .", "--load --build-arg --push .", ""),
            ("--iidfile /tmp/id --metadata-file=m .", "--load .", "--iidfile /tmp/id --metadata-file=m"),
        ] {
            let local = local(&words(line), false);
            assert_eq!(
                (local.arguments.join(" ").as_str(), local.taken_off.join(" ").as_str()),
                (left, off),
                "{line}"
            );
        }
    }

    #[test]
    fn a_group_stays_here_too() {
        let local = |subcommand: &str, line: &str| {
            let local = local_group(subcommand, &words(line), line.contains("arm64"));
            (local.arguments.join(" "), local.taken_off.join(" "))
        };
        assert_eq!(
            local(
                "bake",
                "--read-only=false --scope s --strict --report r.json --push --builder=b -f a.hcl web"
            ),
            (
                "--scope s --strict --set=*.output=type=docker --set=*.cache-to= --set=*.platform=local -f a.hcl web"
                    .into(),
                "--read-only=false --report r.json --push --builder=b".into()
            )
        );
        assert_eq!(
            local("bake", "--set a.output=x --set=*.cache-to+=y --set a.platform=z --set a.args.output=z --set"),
            (
                "--set=*.output=type=docker --set=*.cache-to= --set=*.platform=local --set a.args.output=z --set"
                    .into(),
                "--set a.output=x --set=*.cache-to+=y --set a.platform=z".into()
            )
        );
        assert_eq!(
            local("bake", "--set *.platform=linux/arm64").0,
            "--set=*.output=type=docker --set=*.cache-to= --set *.platform=linux/arm64"
        );
        assert_eq!(
            local("compose", "-p x build --with-dependencies --push=true api"),
            ("-p x build --with-dependencies api".into(), "--push=true".into())
        );
    }

    #[test]
    fn values_are_found_in_every_form() {
        assert_eq!(
            values(&words("--secret id=a --secret=id=b -f x -t secret ."), "secret"),
            ["id=a", "id=b"]
        );
    }
}
