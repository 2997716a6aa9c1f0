//! What of a build lies outside of the checkout.
//!
//! A CI job sees nothing but its checkout and what it made itself. On a person's machine the same words, written by
//! whoever wrote the branch, reach the person's files: `docker build $HOME`, `--secret src=$HOME/.ssh/id_ed25519`,
//! `--output $HOME/.config`. Such a build is named and not run, unless the person says so. Variables that make programs do
//! what the checkout says (`LD_PRELOAD=./x.so`) are not set here at all.
//!
//! Only the line is looked at. What a compose or bake file names is compose's and bake's to guard.

use std::path::{Component, Path, PathBuf};

use crate::ciconfig::unknown;
use crate::model::request::{Context, csv_fields};
use crate::workflow::repro::arguments;
use crate::workflow::repro::builds::{Build, Line};
use crate::workflow::repro::surroundings::Surroundings;

/// Flags whose value is a path.
const PATHS: [&str; 8] =
    ["cache-dir", "config", "env-file", "file", "iidfile", "metadata-file", "policy", "project-directory"];
/// Flags whose value has paths in its fields.
const FIELDS: [&str; 4] = ["cache-from", "cache-to", "output", "secret"];
/// Files that are everybody's.
const HARMLESS: [&str; 2] = ["/dev/null", "/dev/stdin"];

/// Variables by which the dynamic linker, git, ssh and interpreters load code, or that say where they read and write.
const CODE: [&str; 19] = [
    "BASH_ENV",
    "ENV",
    "GIT_ASKPASS",
    "GIT_DIR",
    "GIT_EXEC_PATH",
    "GIT_INDEX_FILE",
    "GIT_PROXY_COMMAND",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_TEMPLATE_DIR",
    "GIT_WORK_TREE",
    "NODE_OPTIONS",
    "PERL5LIB",
    "PERL5OPT",
    "PYTHONHOME",
    "PYTHONPATH",
    "SSH_ASKPASS",
    "SSH_AUTH_SOCK",
    "TMPDIR",
];
/// How the names of others begin.
const CODE_FROM: [&str; 5] = ["DYLD_", "GIT_CONFIG", "GIT_TRACE", "LD_", "XDG_"];

/// Whether a variable could make this machine's programs do what the checkout says.
pub fn changes_programs(name: &str) -> bool {
    CODE.contains(&name) || CODE_FROM.iter().any(|begin| name.starts_with(begin))
}

/// The places outside of the checkout that a build reads or writes, as given. A place that the user gave a variable for is
/// none of them.
pub fn outside(build: &Build, surroundings: &Surroundings) -> Vec<String> {
    let Ok(line) = &build.line else { return Vec::new() };
    let empty = |text: &str| unknown::resolve(text, &|_| Some(String::new()));
    let folder = surroundings.root.join(empty(&build.folder));
    let mut allowed = vec![surroundings.root.clone()];
    let given = surroundings.given.values().map(PathBuf::from).filter(|path| path.is_absolute());
    allowed.extend(given.filter_map(|path| path.canonicalize().ok()));
    let is_outside = |place: &Path| {
        let place = real(place);
        !place.is_some_and(|place| allowed.iter().any(|folder| place.starts_with(folder)))
    };
    if is_outside(&folder) {
        return vec![folder.to_string_lossy().into_owned()];
    }
    let places = places(line).into_iter().chain(build.input.clone()).map(|text| empty(&text));
    let places = places.filter(|text| !HARMLESS.contains(&text.as_str()));
    places.filter(|text| is_outside(&folder.join(text))).collect()
}

/// Every place that a line names.
fn places(line: &Line) -> Vec<String> {
    let mut places = Vec::new();
    for (flag, value) in arguments::all(&line.arguments) {
        match flag {
            // Of bake and compose, other words are names of targets and services.
            None if line.subcommand == "build" => match Context::parse(value) {
                Context::Folder(_) => places.push(value.to_owned()),
                Context::Remote(_) | Context::Stdin => {}
            },
            None => {}
            Some(name) if PATHS.contains(&name) => places.push(value.to_owned()),
            Some(name) if FIELDS.contains(&name) => places.extend(of_fields(value, name == "output")),
            Some("build-context" | "ssh") => {
                let of_value = value.split_once('=').map_or("", |(_, places)| places);
                places.extend(
                    of_value
                        .split(',')
                        .map(|place| place.trim_start_matches("oci-layout://"))
                        .map(str::to_owned),
                );
            }
            // bake's own guard, and overrides of what a definition says.
            Some("allow" | "set") => {
                places.extend(value.split(['=', ',']).filter(|part| is_path(part)).map(str::to_owned))
            }
            // Letters in one word, of which the last takes this.
            Some("") => {
                places.extend(of_fields(value, true));
                places.extend(Some(value.to_owned()).filter(|value| is_path(value)));
            }
            Some(_) => {}
        }
    }
    // Addresses, `-` and names are no places.
    places.retain(|place| !place.is_empty() && place != "-" && !place.contains("://"));
    places
}

/// Whether a word that may be anything leads somewhere else; `*` is everywhere.
fn is_path(text: &str) -> bool {
    text == "*"
        || text.starts_with('/')
        || Path::new(text).components().any(|part| part == Component::ParentDir)
}

/// `src` and `dest` of a record; `alone`: a word without a name is a place as well.
fn of_fields(value: &str, alone: bool) -> Vec<String> {
    let place = |field: String| match field.split_once('=') {
        Some((name, place)) => {
            let name = name.trim().to_ascii_lowercase();
            ["src", "source", "dest"].contains(&name.as_str()).then(|| place.to_owned())
        }
        None => Some(field).filter(|_| alone),
    };
    csv_fields(value).into_iter().filter_map(place).collect()
}

/// A path without links. What is not there yet is counted from the last folder that is; `None`: it could be anywhere.
fn real(path: &Path) -> Option<PathBuf> {
    let path: PathBuf = path.components().collect();
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            let rest = path.strip_prefix(ancestor).ok()?;
            let is_plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
            return is_plain.then(|| real.join(rest));
        }
        if ancestor.is_symlink() {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_line_are_found() {
        let places = |subcommand: &str, words: &str| {
            let arguments = words.split_whitespace().map(str::to_owned).collect();
            super::places(&Line { subcommand: subcommand.to_owned(), arguments, taken_off: Vec::new() })
                .join(" ")
        };
        for (words, found) in [
            ("-t a --build-arg P=/usr .", "."),
            ("-f /x/Dockerfile https://host/a.git", "/x/Dockerfile"),
            ("--build-context h=/root --build-context i=docker-image://a -", "/root"),
            ("--build-context=o=oci-layout:///oci .", "/oci ."),
            ("--secret id=k,src=/k --secret id=T,env=T --ssh default --ssh k=/a,/b .", "/k /a /b ."),
            ("-o out --output type=local,DEST=/o --cache-to type=local,dest=/c .", "out /o /c ."),
            ("-qo /home .", "/home /home ."),
            ("-qt name .", "name ."),
        ] {
            assert_eq!(places("build", words), found, "{words}");
        }
        assert_eq!(places("compose", "-f ../a.yml --env-file /e build api"), "../a.yml /e");
        assert_eq!(
            places("bake", "--allow fs.read=/ --allow fs=* --set *.output=type=local,dest=/o api"),
            "/ * /o"
        );
    }

    #[test]
    fn links_are_followed() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().canonicalize().expect("folder");
        std::os::unix::fs::symlink("/etc", root.join("link")).expect("link");
        std::os::unix::fs::symlink("/no/such", root.join("nowhere")).expect("link");
        assert_eq!(real(&root.join("new/file")), Some(root.join("new/file")));
        assert_eq!(real(&root.join("link")), Some("/etc".into()));
        assert_eq!(real(&root.join("link/no-such")), Some("/etc/no-such".into()));
        assert_eq!(real(&root.join("nowhere/.")), None);
        assert_eq!(real(&root.join("new/../..")), None);
    }
}
