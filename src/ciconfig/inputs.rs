//! The inputs of an action that builds images -> the command that it runs.
//!
//! Known are docker/build-push-action and docker/bake-action (their `src/context.ts`), and layerlift's own action and orb
//! (`ci-templates/`). Inputs are read when the job's steps are: an output of an earlier step may be in one.

use std::collections::BTreeMap;

use super::unknown;
use crate::model::request::csv_fields;

/// Who reads the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// docker/build-push-action.
    BuildPush,
    /// docker/bake-action.
    Bake,
    /// layerlift's own action, or the job and the command of its orb.
    Layerlift,
}

/// What an action runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Variables for it: secrets, which never stand among the words.
    pub environment: Vec<(String, String)>,
    /// What of the inputs was left aside, and why.
    pub notes: Vec<String>,
}

/// `(input, flag, commas separate as well)`, in the order of build-push-action's command line.
const LISTS: [(&str, &str, bool); 18] = [
    ("add-hosts", "add-host", true),
    ("allow", "allow", true),
    ("annotations", "annotation", false),
    ("attests", "attest", false),
    ("build-args", "build-arg", false),
    ("build-contexts", "build-context", false),
    ("cache-from", "cache-from", false),
    ("cache-to", "cache-to", false),
    ("labels", "label", false),
    ("no-cache-filters", "no-cache-filter", true),
    ("outputs", "output", false),
    ("ssh", "ssh", true),
    ("tags", "tag", true),
    ("ulimit", "ulimit", false),
    ("files", "file", true),
    ("set", "set", false),
    ("vars", "var", false),
    ("args", "", false),
];
const VALUES: [&str; 10] = [
    "builder",
    "cgroup-parent",
    "network",
    "provenance",
    "sbom",
    "shm-size",
    "target",
    "cache-repo",
    "strategy",
    "scope",
];
const SWITCHES: [&str; 4] = ["load", "no-cache", "pull", "push"];
/// What another action puts together from the time and the commit; no step of a build hangs on it.
const MADE_BY_OTHERS: [&str; 3] = ["tags", "labels", "annotations"];

/// The command line that an action makes of its inputs.
pub fn command(builder: Builder, inputs: &BTreeMap<String, String>) -> Command {
    let input = |name: &str| inputs.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let mut command = Command {
        words: match builder {
            Builder::BuildPush => words(&["docker", "buildx", "build"]),
            Builder::Bake => words(&["docker", "buildx", "bake"]),
            Builder::Layerlift => words(&["layerlift", "build"]),
        },
        ..Command::default()
    };
    let context = input("context").unwrap_or_default();
    let is_bake = builder == Builder::Bake;
    for (name, flag, commas) in LISTS {
        // `files` and `set` are bake's alone, `args` are ours.
        let fits = match name {
            "files" | "set" | "vars" => is_bake,
            "args" => builder == Builder::Layerlift,
            _ => !is_bake || name == "allow",
        };
        for item in input(name).filter(|_| fits).map(|text| items(text, commas)).unwrap_or_default() {
            if MADE_BY_OTHERS.contains(&name) && is_output(&item) {
                command.notes.push(format!("`{name}: {}` is left out", unknown::shown(&item)));
            } else if flag.is_empty() {
                command.words.push(item);
            } else {
                command.words.extend([format!("--{flag}"), item]);
            }
        }
    }
    for name in VALUES {
        let value = input(name).filter(|_| !is_bake || name != "target");
        command.words.extend(value.into_iter().flat_map(|value| [format!("--{name}"), value.to_owned()]));
    }
    let is_on = |name: &&str| input(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    command.words.extend(SWITCHES.iter().filter(|name| is_on(name)).map(|name| format!("--{name}")));
    if is_bake {
        if input("source").is_none_or(|source| source != ".") && input("workdir").is_none() {
            command.notes.push("CI reads the definition from git, not from these files".to_owned());
        }
        command.words.extend(input("targets").map(|text| items(text, true)).unwrap_or_default());
        return command;
    }
    let platforms = input("platforms").map(|text| items(text, true)).unwrap_or_default();
    if !platforms.is_empty() {
        command.words.extend(["--platform".to_owned(), platforms.join(",")]);
    }
    secrets(&input, &mut command);
    let folder = folder_of(builder, context, &mut command);
    if let Some(file) = input("file") {
        // Of a git context the Dockerfile is counted from there.
        let from_git = context.starts_with("{{") && folder != ".";
        let file = if from_git { format!("{folder}/{file}") } else { file.to_owned() };
        command.words.extend(["--file".to_owned(), file]);
    }
    command.words.push(folder);
    command
}

/// The context. build-push-action takes the files from git unless it is told a folder.
fn folder_of(builder: Builder, context: &str, command: &mut Command) -> String {
    let of_git = context.strip_prefix("{{").and_then(|it| it.trim_start().strip_prefix("defaultContext"));
    match (builder, of_git.and_then(|it| it.trim_start().strip_prefix("}}"))) {
        (Builder::BuildPush, folder) if folder.is_some() || context.is_empty() => {
            command
                .notes
                .push("CI takes the files from git, here they are those of this checkout".to_owned());
            let folder = folder.unwrap_or_default().trim_start_matches(':');
            if folder.is_empty() { ".".to_owned() } else { folder.to_owned() }
        }
        _ if context.is_empty() => ".".to_owned(),
        _ => context.to_owned(),
    }
}

/// `secrets`, `secret-envs` and `secret-files`. A value goes by a variable of its own.
fn secrets<'a>(input: &dyn Fn(&str) -> Option<&'a str>, command: &mut Command) {
    for item in input("secrets").map(|text| items(text, false)).unwrap_or_default() {
        match item.split_once('=') {
            Some(("id", _)) => command.words.extend(["--secret".to_owned(), item]),
            Some((name, value)) => {
                let kept = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_uppercase() } else { '_' };
                let variable = format!("INPUT_SECRET_{}", name.chars().map(kept).collect::<String>());
                command.words.extend(["--secret".to_owned(), format!("id={name},env={variable}")]);
                command.environment.push((variable, value.to_owned()));
            }
            // The line itself may be the secret.
            None => command.notes.push("a line of `secrets` is not NAME=VALUE, and is left out".to_owned()),
        }
    }
    for (name, source) in [("secret-envs", "env"), ("secret-files", "src")] {
        for item in input(name).map(|text| items(text, true)).unwrap_or_default() {
            if let Some((id, value)) = item.split_once('=') {
                command.words.extend(["--secret".to_owned(), format!("id={id},{source}={value}")]);
            }
        }
    }
}

/// The items of a list: one a line, or between commas as well. Quotes keep commas, and lines, together.
fn items(text: &str, commas: bool) -> Vec<String> {
    let mut items = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut item = line.trim().to_owned();
        // A quote that is open at the line's end goes on in the next.
        while item.starts_with('"') && item.matches('"').count() % 2 == 1 {
            let Some(next) = lines.next() else { break };
            item = format!("{item}\n{next}");
        }
        if commas {
            items.extend(csv_fields(&item).into_iter().map(|field| field.trim().to_owned()));
        } else if let Some(inside) = item.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
            items.push(inside.replace("\"\"", "\""));
        } else {
            items.push(item);
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

/// Whether an item is what an earlier step has made, and nothing else.
fn is_output(item: &str) -> bool {
    let names = unknown::names(item);
    let name = names.first().filter(|name| names.len() == 1 && name.starts_with("steps."));
    name.is_some_and(|name| item == unknown::unknown(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(builder: Builder, inputs: &[(&str, &str)]) -> Command {
        let inputs = inputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        command(builder, &inputs.collect())
    }

    fn line(builder: Builder, inputs: &[(&str, &str)]) -> String {
        run(builder, inputs).words.join(" ")
    }

    #[test]
    fn the_line_of_an_action() {
        let meta = unknown::unknown("steps.meta.outputs.tags");
        for (builder, inputs, expected) in [
            (
                Builder::BuildPush,
                &[
                    ("context", "."),
                    ("push", "true"),
                    ("tags", "a:1,a:2\nb"),
                    ("build-args", "X=1,2\n\"Y=a\nb\"\n\n"),
                    ("platforms", "linux/amd64,linux/arm64"),
                    ("file", "docker/Dockerfile"),
                    ("provenance", "false"),
                ][..],
                "docker buildx build --build-arg X=1,2 --build-arg Y=a\nb --tag a:1 --tag a:2 --tag b --provenance false \
                 --push --platform linux/amd64,linux/arm64 --file docker/Dockerfile .",
            ),
            (
                Builder::BuildPush,
                &[("context", "{{defaultContext}}:api"), ("file", "D"), ("tags", &meta)],
                "docker buildx build --file api/D api",
            ),
            (
                Builder::Bake,
                &[("files", "a.hcl,b.hcl"), ("targets", "api\nweb"), ("set", "*.args.X=1,2"), ("tags", "no")],
                "docker buildx bake --file a.hcl --file b.hcl --set *.args.X=1,2 api web",
            ),
            (
                Builder::Layerlift,
                &[("args", "--network=host\n--pull"), ("cache-repo", "r/c"), ("tags", "a"), ("push", "auto")],
                "layerlift build --tag a --network=host --pull --cache-repo r/c .",
            ),
        ] {
            assert_eq!(line(builder, inputs), expected, "{inputs:?}");
        }
    }

    #[test]
    fn what_is_left_aside_is_said() {
        let meta = unknown::unknown("steps.meta.outputs.tags");
        let notes = run(Builder::BuildPush, &[("tags", &meta)]).notes;
        assert_eq!(
            notes,
            [
                "`tags: ${{ steps.meta.outputs.tags }}` is left out",
                "CI takes the files from git, here they are those of this checkout"
            ]
        );
    }

    #[test]
    fn secrets_stand_in_no_line() {
        let inputs =
            [("context", "."), ("secrets", "npm-token=hunter2\nid=a,src=b\nhunter3"), ("secret-envs", "X=Y")];
        let command = run(Builder::BuildPush, &inputs);
        assert_eq!(
            command.words.join(" "),
            "docker buildx build --secret id=npm-token,env=INPUT_SECRET_NPM_TOKEN --secret id=a,src=b --secret id=X,env=Y ."
        );
        assert_eq!(command.environment, [("INPUT_SECRET_NPM_TOKEN".to_owned(), "hunter2".to_owned())]);
        assert!(!command.notes.concat().contains("hunter3"));
    }
}
