//! Handing a command line on: to the subcommand of ours that takes its place, or to the program that it names.
//!
//! Wherever `docker` is a link to layerlift, the true program is the next one on `PATH` that is not. Two things keep a
//! command from going round: files that are our own are skipped, and since another copy of layerlift is not our own,
//! [`LAYERLIFT_SHIMS`] carries the files that this process has been on its way. It counts for this process alone: what
//! the true program starts later begins anew.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::base::env::{
    BUILDX_BUILDER, BUILDX_CONFIG, DOCKER_CONFIG, DOCKER_CONTEXT, DOCKER_HOST, Environment, LAYERLIFT_SHIMS,
    PATH,
};
use crate::base::process::Handover;
use crate::invocation::{Invocation, Tool};
use crate::workflow::docker_config::DockerConfig;

/// How the names of shim folders begin.
pub const SHIM_FOLDER: &str = "layerlift-shim-";

/// A file, whatever it is called: device and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    fn of(file: &Path) -> Option<Identity> {
        file.metadata().ok().map(|found| Identity(found.dev(), found.ino()))
    }

    fn parse(text: &str) -> Option<Identity> {
        let (device, number) = text.split_once('.')?;
        Some(Identity(device.parse().ok()?, number.parse().ok()?))
    }
}

/// Our own binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its file, without links.
    pub file: PathBuf,
    identity: Identity,
}

impl Own {
    /// Finds it. `None` where the system does not tell: no `/proc`, or the file is gone.
    pub fn find() -> Option<Own> {
        let file = std::env::current_exe().ok()?;
        let identity = Identity::of(&file)?;
        Some(Own { file, identity })
    }

    /// Whether a file is it, by any name.
    pub fn is(&self, file: &Path) -> bool {
        Identity::of(file) == Some(self.identity)
    }
}

/// The build of a recognised line, carried out by our own binary. `variables` are settings of layerlift.
pub fn to_ourselves(
    own: &Own,
    invocation: &Invocation,
    environment: &Environment,
    variables: &[(String, OsString)],
) -> Handover {
    let mut changes: Vec<(String, Option<OsString>)> = Vec::new();
    for (name, value) in &invocation.environment {
        changes.push((name.clone(), (!value.is_empty()).then(|| value.into())));
    }
    if let Some(builder) = builder_of_docker(invocation, environment) {
        changes.push((BUILDX_BUILDER.name.to_owned(), Some(builder.into())));
    }
    if let Some(path) = path_without_shims(environment) {
        changes.push((PATH.name.to_owned(), Some(path)));
    }
    changes.extend(variables.iter().map(|(name, value)| (name.clone(), Some(value.clone()))));
    Handover {
        program: own.file.clone().into(),
        called_as: Some("layerlift".into()),
        arguments: invocation.translated().into_iter().map(OsString::from).collect(),
        environment: changes,
    }
}

/// A command that a shim was called with, for the program that it stands before. `None`: there is none.
pub fn behind_shim(
    own: &Own,
    name: &str,
    arguments: &[OsString],
    environment: &Environment,
    process: u32,
) -> Option<Handover> {
    let mut passed = passed(environment.get(LAYERLIFT_SHIMS), process);
    passed.push(own.identity);
    let (file, identity) = environment.programs(name).find_map(|file| {
        let identity = Identity::of(&file)?;
        (!passed.contains(&identity)).then_some((file, identity))
    })?;
    // A wrapper may call its own name again, and shall then meet the program behind it.
    passed.push(identity);
    let list: Vec<String> =
        passed.iter().map(|Identity(device, number)| format!("{device}.{number}")).collect();
    Some(Handover {
        program: file.into(),
        called_as: Some(name.into()),
        arguments: arguments.to_vec(),
        environment: vec![(
            LAYERLIFT_SHIMS.name.to_owned(),
            Some(format!("{process}:{}", list.join(",")).into()),
        )],
    })
}

/// What this process has been on its way; nothing where the variable tells of another one.
fn passed(variable: Option<&str>, process: u32) -> Vec<Identity> {
    let Some((number, list)) = variable.and_then(|text| text.split_once(':')) else { return Vec::new() };
    if number.parse() != Ok(process) {
        return Vec::new();
    }
    list.split(',').filter_map(Identity::parse).collect()
}

/// `PATH` without the folders of shims; `None` where there are none in it.
pub fn path_without_shims(environment: &Environment) -> Option<OsString> {
    let all: Vec<PathBuf> = environment.path_folders().collect();
    let kept: Vec<&PathBuf> = all.iter().filter(|folder| !is_shim_folder(folder)).collect();
    if kept.len() == all.len() {
        return None;
    }
    std::env::join_paths(kept).ok()
}

/// Whether a folder is one of ours, by its name.
pub fn is_shim_folder(folder: &Path) -> bool {
    folder.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(SHIM_FOLDER))
}

/// The builder of a `docker build`: that of the engine, although `buildx use` has chosen another, so that the image is in
/// the engine afterwards (docker/cli cmd/docker/builder.go). `None`: what layerlift would find by itself is right.
fn builder_of_docker(invocation: &Invocation, environment: &Environment) -> Option<String> {
    let given =
        |name: &str| invocation.environment.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str());
    let names_builder = |word: &String| word == "--builder" || word.starts_with("--builder=");
    if invocation.tool != Tool::Build
        || invocation.names_buildx
        || environment.get(BUILDX_BUILDER).is_some()
        || invocation.arguments.iter().any(names_builder)
    {
        return None;
    }
    let folder = given(DOCKER_CONFIG.name).map_or_else(|| environment.docker_folder(), PathBuf::from);
    let buildx = environment.get(BUILDX_CONFIG).map_or_else(|| folder.join("buildx"), PathBuf::from);
    if !buildx.join("current").exists() {
        return None;
    }
    let config = DockerConfig::read(&folder);
    if config.builder_alias.is_some() {
        return None;
    }
    let host = given(DOCKER_HOST.name).filter(|host| !host.is_empty());
    let context = given(DOCKER_CONTEXT.name).map(str::to_owned).or_else(|| {
        let has_host = host.is_some() || environment.get(DOCKER_HOST).is_some();
        let chosen = || environment.get(DOCKER_CONTEXT).map(str::to_owned).or(config.current_context);
        (!has_host).then(chosen).flatten()
    });
    Some(context.unwrap_or_else(|| "default".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::recognise;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    /// A folder with files that can be executed.
    fn programs(names: &[&str]) -> tempfile::TempDir {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        for name in names {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().expect("folder")).expect("folder");
            std::fs::write(&file, "").expect("file");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("mode");
        }
        folder
    }

    fn own(file: &Path) -> Own {
        Own { file: file.to_owned(), identity: Identity::of(file).expect("there") }
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().copied().collect()
    }

    #[test]
    fn two_copies_of_layerlift_do_not_play_ball() {
        let machine = programs(&["one/docker", "two/docker", "bin/docker"]);
        let at = |name: &str| machine.path().join(name);
        let path =
            std::env::join_paths(["one", "two", "bin"].map(at)).expect("path").into_string().expect("text");
        let (one, two) = (own(&at("one/docker")), own(&at("two/docker")));
        let first = behind_shim(&one, "docker", &[], &environment(&[("PATH", &path)]), 7).expect("two");
        assert_eq!(first.program, at("two/docker"));
        let carried = first.environment[0].1.clone().expect("set").into_string().expect("text");
        let then = environment(&[("PATH", &path), ("LAYERLIFT_SHIMS", &carried)]);
        let second = behind_shim(&two, "docker", &[], &then, 7).expect("the program");
        assert_eq!(second.program, at("bin/docker"));
        // Another process begins anew.
        assert_eq!(behind_shim(&two, "docker", &[], &then, 8).expect("one").program, at("one/docker"));
        // Nothing is behind them.
        assert_eq!(behind_shim(&two, "podman", &[], &then, 7), None);
    }

    #[test]
    fn our_own_build_gets_the_flags_as_variables_and_no_shim() {
        let machine = programs(&["layerlift"]);
        let own = own(&machine.path().join("layerlift"));
        let found = recognise(&words("docker -c x build -t a .")).expect("build");
        let path = format!("/tmp/{SHIM_FOLDER}1:/usr/bin");
        let handed = to_ourselves(&own, &found, &environment(&[("PATH", &path)]), &[]);
        assert_eq!(handed.arguments, ["build", "-t", "a", "."]);
        assert_eq!(
            handed.environment,
            [
                ("DOCKER_CONTEXT".to_owned(), Some("x".into())),
                ("DOCKER_HOST".to_owned(), None),
                ("PATH".to_owned(), Some("/usr/bin".into())),
            ]
        );
    }

    #[test]
    fn docker_build_takes_the_engines_own_builder() {
        let folder = programs(&["buildx/current"]);
        let config = folder.path().to_str().expect("text");
        let builder = |line: &str, more: &[(&str, &str)]| {
            let variables = [&[("DOCKER_CONFIG", config)], more].concat();
            builder_of_docker(&recognise(&words(line)).expect(line), &environment(&variables))
        };
        assert_eq!(builder("docker build .", &[]).as_deref(), Some("default"));
        assert_eq!(builder("docker build .", &[("DOCKER_CONTEXT", "x")]).as_deref(), Some("x"));
        let both = [("DOCKER_CONTEXT", "x"), ("DOCKER_HOST", "tcp://d:2375")];
        assert_eq!(builder("docker build .", &both).as_deref(), Some("default"));
        assert_eq!(builder("docker -c y build .", &both).as_deref(), Some("y"));
        assert_eq!(builder("docker buildx build .", &[]), None);
        assert_eq!(builder("docker build --builder b .", &[]), None);
        assert_eq!(builder("docker build .", &[("BUILDX_BUILDER", "b")]), None);
        std::fs::write(folder.path().join("config.json"), r#"{"currentContext":"z"}"#).expect("written");
        assert_eq!(builder("docker build .", &[]).as_deref(), Some("z"));
        std::fs::write(folder.path().join("config.json"), r#"{"aliases":{"builder":"buildx"}}"#)
            .expect("written");
        assert_eq!(builder("docker build .", &[]), None);
        std::fs::remove_file(folder.path().join("buildx/current")).expect("removed");
        assert_eq!(builder("docker build .", &[]), None);
    }
}
