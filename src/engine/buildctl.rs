//! buildctl: the client of a BuildKit that somebody runs.

use std::path::Path;

use serde::Deserialize;

use crate::base::process::Command;
use crate::invocation::BuildctlLine;
use crate::model::engine::{Driver, Engine, Frontend, Store, Version};
use crate::model::platform::Platform;
use crate::model::request::Flag;
use crate::plan::command::{Build, CACHE_ONLY};

/// Asks the BuildKit behind a line who it is. BuildKit before 0.11 does not tell its version.
pub fn workers(line: &BuildctlLine) -> Command {
    let question = ["debug", "workers", "--format", "{{json .}}"].into_iter().map(str::to_owned);
    Command::new("buildctl", line.globals.iter().cloned().chain(question))
}

/// Asks buildctl for its own version.
pub fn version() -> Command {
    Command::new("buildctl", ["--version"])
}

/// Reads the answer: `buildctl github.com/moby/buildkit v0.25.2 <revision>`.
pub fn read_version(answer: &str) -> Option<Version> {
    answer.split_whitespace().nth(2)?.parse().ok()
}

/// What builds behind a line, by the answer to [`workers`]; what the answer does not tell is taken to be new, and for this
/// machine. `client`: buildctl's own version.
pub fn engine(answer: &str, client: Option<Version>, address: Option<&str>) -> Engine {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Worker {
        // Lists are `null` where they are empty.
        platforms: Option<Vec<RawPlatform>>,
        buildkit_version: Option<RawVersion>,
    }
    #[derive(Deserialize)]
    struct RawPlatform {
        os: String,
        architecture: String,
        variant: Option<String>,
    }
    #[derive(Deserialize)]
    struct RawVersion {
        version: String,
    }
    let workers: Vec<Worker> = serde_json::from_str(answer).unwrap_or_default();
    let first = workers.into_iter().next().unwrap_or_default();
    let platform = first.platforms.and_then(|platforms| platforms.into_iter().next());
    let platform = platform.map(|it| Platform::new(&it.os, &it.architecture, it.variant.as_deref()));
    let version = first.buildkit_version.and_then(|it| it.version.parse::<Version>().ok());
    Engine {
        client,
        server: None,
        buildx: None,
        frontend: Frontend::Buildctl,
        builder: "buildctl".to_owned(),
        driver: Driver::Remote,
        store: Store::GraphDriver,
        buildkit: version.filter(|version| *version > Version(0, 0, 0)),
        platform: platform.unwrap_or_else(|| Platform::new("linux", std::env::consts::ARCH, None)),
        remote: address
            .filter(|address| address.contains("://") && !address.starts_with("unix:"))
            .map(str::to_owned),
    }
}

/// The line with the cache of a plan. `metadata`: where buildctl writes what came of it; without it, the line is one to be
/// shown.
pub fn build(engine: &Engine, line: &BuildctlLine, build: &Build, metadata: Option<&Path>) -> Command {
    let given = line.request.as_ref().map(|request| request.flags.as_slice()).unwrap_or_default();
    let mut words = line.globals.clone();
    words.push("build".to_owned());
    let is_for_cache = build.flags.contains(&Flag::text("output", CACHE_ONLY));
    words.extend(if is_for_cache { &line.of_steps } else { &line.flags }.iter().cloned());
    for (flag, name) in [("cache-from", "--import-cache"), ("cache-to", "--export-cache")] {
        // What the user gave stands in the line already.
        for added in build.flags.iter().filter(|it| it.name == flag && !given.contains(it)) {
            words.extend([name.to_owned(), added.value.text().unwrap_or_default().to_owned()]);
        }
    }
    if let Some(metadata) = metadata {
        let progress = if engine.has_raw_progress() { "rawjson" } else { "plain" };
        words.extend(["--progress".to_owned(), progress.to_owned()]);
        words.extend(["--metadata-file".to_owned(), metadata.to_string_lossy().into_owned()]);
    }
    Command::new("buildctl", words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::buildctl_line;
    use crate::model::request::{Context, Flag};

    fn line(text: &str) -> BuildctlLine {
        buildctl_line(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).expect("a line")
    }

    #[test]
    fn the_cache_is_added_to_the_line_as_given() {
        let line = line(
            "--addr tcp://b:1234 build --frontend dockerfile.v0 --local context=. --export-cache type=inline",
        );
        let flags = vec![
            Flag::text("cache-to", "type=inline"),
            Flag::text("cache-from", "type=registry,ref=r/c:main"),
        ];
        let plan = Build { flags, context: Context::Folder(".".into()) };
        let old = super::engine("", Some(Version(0, 12, 5)), None);
        let new = super::engine("", read_version("buildctl github.com/moby/buildkit v0.25.2 \n"), None);
        insta::assert_snapshot!(build(&old, &line, &plan, None),
            @"buildctl --addr tcp://b:1234 build --frontend dockerfile.v0 --local 'context=.' --export-cache 'type=inline' --import-cache 'type=registry,ref=r/c:main'");
        insta::assert_snapshot!(build(&old, &line, &plan.without_cache_from(), Some(Path::new("m.json"))),
            @"buildctl --addr tcp://b:1234 build --frontend dockerfile.v0 --local 'context=.' --export-cache 'type=inline' --progress plain --metadata-file m.json");
        assert!(build(&new, &line, &plan, Some(Path::new("m"))).to_string().contains("--progress rawjson"));
        let cache = crate::plan::command::export_build(&plan, "type=registry,ref=r/c:x");
        let pushes = self::line(
            "build --output type=image,push=true -o=type=oci --frontend dockerfile.v0 --local context=.",
        );
        insta::assert_snapshot!(build(&old, &pushes, &cache, None),
            @"buildctl build --frontend dockerfile.v0 --local 'context=.' --import-cache 'type=registry,ref=r/c:main' --export-cache 'type=registry,ref=r/c:x'");
        insta::assert_snapshot!(workers(&line), @"buildctl --addr tcp://b:1234 debug workers --format '{{json .}}'");
    }

    #[test]
    fn reads_who_builds() {
        let answer = r#"[{"id":"x","labels":{"org.mobyproject.buildkit.worker.executor":"oci"},"platforms":[{"architecture":"arm64","os":"linux"},{"architecture":"arm","os":"linux","variant":"v7"}],"gcPolicy":null,"buildkitVersion":{"package":"github.com/moby/buildkit","version":"v0.11.6","revision":"2951a28cd7085eb18979b1f710678623d94ed578"}}]"#;
        let engine = super::engine(answer, None, Some("tcp://b:1234"));
        assert_eq!(
            (engine.buildkit, engine.platform.to_string()),
            (Some(Version(0, 11, 6)), "linux/arm64".into())
        );
        assert_eq!(engine.remote.as_deref(), Some("tcp://b:1234"));
        assert!(engine.can_export_cache() && !engine.can_push_unstored());
        for silent in ["", "[]", "null", r#"[{"platforms":null,"buildkitVersion":{"version":""}}]"#] {
            assert_eq!(super::engine(silent, None, Some("unix:///run/b.sock")).buildkit, None, "{silent}");
        }
    }
}
