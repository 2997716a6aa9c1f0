//! The command lines of `docker buildx bake` and of compose, where they are asked what they would build.

use std::path::Path;

use crate::base::process::{Command, Input};
use crate::engine::buildx::Buildx;
use crate::engine::progress::Format;
use crate::model::engine::{Engine, Version};
use crate::model::member::Member;
use crate::plan::command::Build;
use crate::plan::group::{self, Planned};

/// The first buildx that wants to be allowed to write outside of the working folder.
const GUARDS_FILES: Version = Version(0, 19, 0);

/// A bake: where its definition is, and what of it is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bake {
    /// Flags, without the form of the log.
    pub flags: Vec<String>,
    /// Targets, groups, an address.
    pub targets: Vec<String>,
    /// What it reads.
    pub input: Input,
}

impl Bake {
    /// The address that the definition comes from.
    pub fn address(&self) -> Option<&String> {
        self.targets.first().filter(|word| word.contains("://") || word.starts_with("git@"))
    }

    /// The same with other targets; an address before them stays.
    pub fn of(&self, targets: &[String]) -> Bake {
        Bake { targets: self.address().into_iter().chain(targets).cloned().collect(), ..self.clone() }
    }

    /// The same without what says where images go: bake adds an output to those that are set before it.
    pub fn without_outputs(self) -> Bake {
        let mut kept = Vec::new();
        let mut words = self.flags.into_iter();
        while let Some(word) = words.next() {
            match word.split_once('=') {
                _ if word == "--set" => {
                    let value = words.next();
                    if !value.as_deref().is_some_and(sets_output) {
                        kept.push(word);
                        kept.extend(value);
                    }
                }
                Some(("--set", value)) if sets_output(value) => {}
                Some(("--push" | "--load", _)) => {}
                None if ["--push", "--load"].contains(&word.as_str()) => {}
                _ => kept.push(word),
            }
        }
        Bake { flags: kept, targets: self.targets, input: self.input }
    }

    fn command(&self, buildx: &Buildx, added: Vec<String>) -> Command {
        let words = std::iter::once("bake".to_owned())
            .chain(self.flags.iter().cloned())
            .chain(added)
            .chain(self.targets.iter().cloned())
            .collect::<Vec<_>>();
        Command { input: self.input.clone(), ..buildx.command(words.iter().map(String::as_str)) }
    }

    /// Asks for the whole definition, with everything resolved, as JSON on standard output.
    pub fn print(&self, buildx: &Buildx) -> Command {
        self.command(buildx, vec!["--print".to_owned()])
    }

    /// As it is shown to a person: with what is added, without what we need for ourselves.
    pub fn shown(&self, added: Vec<String>) -> Command {
        let words = ["buildx", "bake"].into_iter().map(str::to_owned).chain(self.flags.iter().cloned());
        let words = words.chain(added).chain(self.targets.iter().cloned());
        Command::new("docker", words)
    }

    /// Builds. `added`: what [`added`] gives; `metadata`: where buildx is to write what came of it, for us alone or for the
    /// user as well.
    pub fn run(
        &self,
        buildx: &Buildx,
        format: Format,
        added: Vec<String>,
        metadata: &Path,
        for_us_alone: bool,
    ) -> Command {
        let mut words = added;
        let progress = if format == Format::RawJson { "rawjson" } else { "plain" };
        words.extend(["--progress".to_owned(), progress.to_owned()]);
        words.extend(["--metadata-file".to_owned(), metadata.to_string_lossy().into_owned()]);
        let command = self.command(buildx, words);
        // For us alone, the provenance in it is only time lost (buildx 0.14).
        if for_us_alone { command.with_variable("BUILDX_METADATA_PROVENANCE", "disabled") } else { command }
    }
}

/// Whether an override is one of outputs: `*.output=type=registry`, `app.output+=type=tar`.
fn sets_output(value: &str) -> bool {
    let key = value.split_once('=').map(|(key, _)| key.trim_end_matches('+'));
    key.and_then(|key| key.rsplit_once('.')).is_some_and(|(_, key)| ["output", "push", "load"].contains(&key))
}

/// A bake of one member, where no line of `docker build` says how it is built.
#[derive(Debug)]
pub struct MemberBake<'a> {
    /// The bake, of this member alone.
    pub bake: Bake,
    /// The member.
    pub member: &'a Member,
    /// Members below it: they are taken in, and were built already.
    pub below: Vec<&'a str>,
    /// Overrides of folders and Dockerfiles, of all of them.
    pub places: &'a [String],
}

impl MemberBake<'_> {
    /// What bake is told for a build of the member.
    fn added(&self, engine: &Engine, build: &Build) -> Vec<String> {
        let mut overrides = group::overrides(&[Planned { member: self.member, build }], &self.below);
        overrides.extend_from_slice(self.places);
        added(engine, &overrides, None)
    }

    /// As it is shown to a person.
    pub fn shown(&self, engine: &Engine, build: &Build) -> Command {
        self.bake.shown(self.added(engine, build))
    }

    /// Builds.
    pub fn build(&self, engine: &Engine, build: &Build, metadata: &Path) -> Command {
        self.bake.run(&Buildx::of_client(), Format::of(engine), self.added(engine, build), metadata, true)
    }
}

/// What a bake is told beside its definition. `folder`: where caches are read from and written to, for the `local`
/// strategy.
pub fn added(engine: &Engine, overrides: &[String], folder: Option<&Path>) -> Vec<String> {
    let mut words: Vec<String> =
        overrides.iter().flat_map(|value| ["--set".to_owned(), value.clone()]).collect();
    if let Some(folder) = folder.filter(|_| engine.buildx >= Some(GUARDS_FILES)) {
        words.extend(["--allow".to_owned(), format!("fs={}", folder.display())]);
    }
    words
}

/// `docker compose`, or `docker-compose`, with global flags, a subcommand and its arguments.
pub fn compose<'a>(
    standalone: bool,
    globals: &'a [String],
    subcommand: &'a [&'a str],
    arguments: &'a [String],
) -> Command {
    let plugin = if standalone { None } else { Some("compose") };
    let words = plugin.into_iter().chain(globals.iter().map(String::as_str));
    let words = words.chain(subcommand.iter().copied()).chain(arguments.iter().map(String::as_str));
    Command::new(if standalone { "docker-compose" } else { "docker" }, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::engine::{Driver, Frontend, Store};

    #[test]
    fn overrides_stand_between_flags_and_targets() {
        let engine = Engine {
            client: None,
            server: Some(Version(28, 5, 2)),
            buildx: Some(Version(0, 29, 1)),
            frontend: Frontend::Buildx,
            builder: "default".to_owned(),
            driver: Driver::Docker,
            store: Store::Containerd,
            buildkit: None,
            platform: "linux/amd64".parse().expect("platform"),
            remote: None,
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let bake = Bake { flags: words(&["-f", "a.hcl"]), targets: words(&["api"]), input: Input::Nothing };
        let overrides = words(&["api.cache-from=type=local,src=/c/x"]);
        insta::assert_snapshot!(bake.shown(added(&engine, &overrides, Some(Path::new("/c")))),
            @"docker buildx bake -f a.hcl --set 'api.cache-from=type=local,src=/c/x' --allow 'fs=/c' api");
        assert_eq!(bake.of(&words(&["web"])).targets, ["web"]);
        let remote = Bake { targets: words(&["https://host/a.git", "all"]), ..bake.clone() };
        assert_eq!(remote.of(&words(&["web"])).targets, ["https://host/a.git", "web"]);
        let outputs = words(&[
            "-f",
            "a",
            "--push",
            "--set",
            "*.output=type=oci",
            "--set=a.output+=x",
            "--set",
            "a.tags=b",
        ]);
        let none = Bake { flags: outputs, ..bake.clone() }.without_outputs();
        assert_eq!(none.flags, ["-f", "a", "--set", "a.tags=b"]);
        let old = Engine { buildx: Some(Version(0, 13, 1)), ..engine };
        insta::assert_snapshot!(bake.shown(added(&old, &[], Some(Path::new("/c")))), @"docker buildx bake -f a.hcl api");
        insta::assert_snapshot!(compose(false, &words(&["-p", "x"]), &["build", "--print"], &words(&["api"])),
            @"docker compose -p x build --print api");
        insta::assert_snapshot!(compose(true, &[], &["config"], &[]), @"docker-compose config");
    }
}
