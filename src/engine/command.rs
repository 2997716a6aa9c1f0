//! From a [`Build`] to the command that runs it, for each kind of engine.

use std::path::Path;

use crate::base::process::{Command, Input};
use crate::model::engine::{Engine, Frontend};
use crate::model::request::{Context, Flag, Value, arguments};
use crate::plan::command::Build;

/// What layerlift needs from a run beside the build itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Collect<'a> {
    /// Where buildx is to write its metadata, unless the user named a file.
    pub metadata_file: Option<&'a Path>,
    /// Where the image id is to be written, unless the user named a file.
    pub iidfile: Option<&'a Path>,
}

/// The command of a build. The engine's own display is replaced by one that can be read by a program: `rawjson` where
/// it is clean, else `plain`.
pub fn build(engine: &Engine, build: &Build, collect: Collect<'_>) -> Command {
    let mut flags: Vec<Flag> =
        build.flags.iter().filter(|flag| !["progress", "quiet"].contains(&flag.name)).cloned().collect();
    let given = |name: &str| flags.iter().any(|flag| flag.name == name);
    let mut collected = Vec::new();
    let own_metadata = engine.frontend == Frontend::Buildx && !given("metadata-file");
    if let Some(file) = collect.metadata_file.filter(|_| own_metadata) {
        collected.push(Flag::text("metadata-file", file.to_string_lossy()));
    }
    if let Some(file) = collect.iidfile
        && !given("iidfile")
        && build.has_image_id()
    {
        collected.push(Flag::text("iidfile", file.to_string_lossy()));
    }
    flags.extend(collected);
    match engine.frontend {
        Frontend::Classic | Frontend::Buildah => {}
        _ if engine.has_raw_progress() => flags.push(Flag::text("progress", "rawjson")),
        _ => flags.push(Flag::text("progress", "plain")),
    }
    let mut words: Vec<String> = match engine.frontend {
        Frontend::Buildx => vec!["buildx".into(), "build".into()],
        // The lines of buildctl and buildah are made elsewhere.
        Frontend::BuildKit | Frontend::Classic | Frontend::Buildctl | Frontend::Buildah => {
            vec!["build".into()]
        }
    };
    words.extend(arguments(&flags));
    words.push(match &build.context {
        Context::Folder(path) => path.to_string_lossy().into_owned(),
        Context::Remote(address) => address.clone(),
        Context::Stdin => "-".to_owned(),
    });
    let command = Command::new("docker", words);
    match engine.frontend {
        // Where the metadata is for us alone, the provenance in it is only time lost (buildx 0.14).
        Frontend::Buildx if own_metadata && collect.metadata_file.is_some() => {
            command.with_variable("BUILDX_METADATA_PROVENANCE", "disabled")
        }
        Frontend::Buildx | Frontend::Buildctl => command,
        Frontend::BuildKit => command.with_variable("DOCKER_BUILDKIT", "1"),
        Frontend::Classic | Frontend::Buildah => command.with_variable("DOCKER_BUILDKIT", "0"),
    }
}

/// Gives the command what it reads from standard input: the context or the Dockerfile, kept in a file, since several
/// builds may read it.
pub fn with_input(mut command: Command, build: &Build, spooled: Option<&Path>) -> Command {
    let file_from_stdin =
        build.flags.iter().any(|flag| flag.name == "file" && flag.value == Value::Text("-".into()));
    if (build.context == Context::Stdin || file_from_stdin)
        && let Some(path) = spooled
    {
        command.input = Input::File(path.to_path_buf());
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::engine::{Driver, Store, Version, buildkit_of_docker};

    fn engine(server: Version, frontend: Frontend) -> Engine {
        Engine {
            client: Some(server),
            server: Some(server),
            buildx: (frontend == Frontend::Buildx).then_some(Version(0, 13, 1)),
            frontend,
            builder: "default".to_owned(),
            driver: Driver::Docker,
            store: Store::GraphDriver,
            buildkit: Some(buildkit_of_docker(server)),
            platform: "linux/amd64".parse().expect("platform"),
            remote: None,
        }
    }

    #[test]
    fn every_kind_of_engine_gets_its_line() {
        let flags = vec![Flag::text("tag", "a b"), Flag::on("quiet"), Flag::text("progress", "tty")];
        let line = Build { flags, context: Context::Folder(".".into()) };
        let collect = Collect { metadata_file: Some(Path::new("m.json")), iidfile: Some(Path::new("i")) };
        let shown = |version, frontend| build(&engine(version, frontend), &line, collect).to_string();
        insta::assert_snapshot!(shown(Version(26, 1, 5), Frontend::Buildx),
            @"BUILDX_METADATA_PROVENANCE=disabled docker buildx build --tag 'a b' --metadata-file m.json --iidfile i --progress rawjson .");
        insta::assert_snapshot!(shown(Version(20, 10, 24), Frontend::BuildKit),
            @"DOCKER_BUILDKIT=1 docker build --tag 'a b' --iidfile i --progress plain .");
        insta::assert_snapshot!(shown(Version(20, 10, 24), Frontend::Classic),
            @"DOCKER_BUILDKIT=0 docker build --tag 'a b' --iidfile i .");
        let archive = Build {
            flags: vec![Flag::text("output", "type=tar,dest=-")],
            context: Context::Folder(".".into()),
        };
        let modern = engine(Version(28, 5, 2), Frontend::Buildx);
        insta::assert_snapshot!(super::build(&modern, &archive, collect).to_string(),
            @"BUILDX_METADATA_PROVENANCE=disabled docker buildx build --output 'type=tar,dest=-' --metadata-file m.json --progress rawjson .");
    }
}
