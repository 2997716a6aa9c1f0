//! The program, and the line that it is given.

use std::time::Duration;

use crate::base::process::{self, Command, Input};
use crate::invocation::BuildahLine;
use crate::model::engine::Version;
use crate::plan::buildah::Cache;

/// How long the program may take to tell its version.
const LIMIT: Duration = Duration::from_secs(30);

/// What begins the line that tells of a step's image being pushed to a cache repository.
const PUSHING: &str = "--> Pushing cache ";

/// Which program builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `buildah build`, `buildah bud`.
    Buildah,
    /// `podman build`.
    Podman,
}

impl Tool {
    /// The program's name.
    pub fn program(self) -> &'static str {
        match self {
            Tool::Buildah => "buildah",
            Tool::Podman => "podman",
        }
    }

    /// The first version that has a remote cache: buildah 1.27 (2022-08), which podman has since 4.2.
    pub fn first_with_cache(self) -> Version {
        match self {
            Tool::Buildah => Version(1, 27, 0),
            Tool::Podman => Version(4, 2, 0),
        }
    }

    /// The first version that reads several `--cache-from` in order (containers/buildah ffed85036): buildah 1.29, which
    /// podman has since 4.4. Before, the last one stands alone.
    pub fn first_with_several(self) -> Version {
        match self {
            Tool::Buildah => Version(1, 29, 0),
            Tool::Podman => Version(4, 4, 0),
        }
    }
}

/// Asks the program for its version: `buildah version 1.28.2 (image-spec ...)`. `None`: it said something else.
pub async fn version(tool: Tool) -> Result<Option<Version>, process::Error> {
    let answer = process::capture(&Command::new(tool.program(), ["--version"]), LIMIT).await?;
    let mut words = answer.stdout.split_whitespace().skip_while(|word| *word != "version");
    Ok(words.nth(1).and_then(|word| word.parse().ok()))
}

/// The line with the cache's flags right behind `build`. Without any, it is the user's own.
pub fn command(tool: Tool, line: &BuildahLine, cache: &Cache) -> Command {
    let mut words = line.globals.clone();
    words.push("build".to_owned());
    if cache.layers && !line.has("layers") {
        words.push("--layers".to_owned());
    }
    let from = cache.from.iter().map(|repository| ("--cache-from", repository));
    for (flag, repository) in from.chain(cache.to.iter().map(|repository| ("--cache-to", repository))) {
        words.extend([flag.to_owned(), repository.to_string()]);
    }
    words.extend(line.arguments.iter().cloned());
    let mut command = Command::new(tool.program(), words);
    command.input = Input::Inherited;
    command
}

/// Whether a line of the program tells that a step's image goes to a cache repository.
pub fn pushed(line: &str) -> bool {
    line.starts_with(PUSHING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::buildah_line;
    use crate::model::reference::Repository;

    fn shown(text: &str, cache: &Cache) -> String {
        let line = buildah_line("podman", &shlex::split(text).expect("words")).expect("a build");
        command(Tool::Podman, &line, cache).to_string()
    }

    #[test]
    fn the_cache_stands_behind_the_verb() {
        let repository = |text: &str| text.parse::<Repository>().expect("repository");
        let cache = Cache {
            layers: true,
            from: vec![repository("r.io/a/cache/mr-1"), repository("r.io/a/cache/branch-main")],
            to: Some(repository("r.io/a/cache/mr-1")),
        };
        insta::assert_snapshot!(shown("--root /r build -t x --secret 'id=a b' .", &cache),
            @"podman --root /r build --layers --cache-from r.io/a/cache/mr-1 --cache-from r.io/a/cache/branch-main --cache-to r.io/a/cache/mr-1 -t x --secret 'id=a b' .");
        insta::assert_snapshot!(shown("build --layers -t x .", &Cache { from: Vec::new(), ..cache.clone() }),
            @"podman build --cache-to r.io/a/cache/mr-1 --layers -t x .");
        insta::assert_snapshot!(shown("image build -t x .", &Cache::default()), @"podman build -t x .");
    }
}
