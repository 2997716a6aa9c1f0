//! A compose project: built by one bake where compose can say what that bake is, else service by service.

use crate::base::process::Captured;
use crate::engine::bake;
use crate::engine::plugin::Plugin;
use crate::engine::probe::{self, Probe};
use crate::invocation::ComposeLine;
use crate::model::compose::{Added, Project};
use crate::model::engine::{Engine, Version};
use crate::model::request::Flag;
use crate::model::settings::Settings;
use crate::workflow::error::Error;
use crate::workflow::group::decide::{self, Start};
use crate::workflow::group::define::{self, Group, Untouched};
use crate::workflow::group::prepare::can_bake;
use crate::workflow::group::singly::Services;
use crate::workflow::world::World;

/// How a project is built.
#[derive(Debug)]
pub enum Way {
    /// All services at once.
    Bake(Box<Group>, Box<Start>),
    /// One after the other.
    Singly(Services),
}

/// Finds out what a line builds and how. The inner error: it is to be run as it stands.
pub async fn define(
    world: &World,
    settings: &Settings,
    line: &ComposeLine,
    standalone: bool,
) -> Result<Result<Way, Untouched>, Error> {
    let wanted = Probe { builder: line.build.builder.clone(), needs_buildx: None };
    let asked = async {
        let print = ask(world, standalone, &line.globals, &["build", "--print"], &line.build.given);
        let (start, printed) = tokio::join!(decide::start(world, settings, wanted), print);
        Ok::<_, Error>((start?, printed))
    };
    let (start, printed) = world.unless_interrupted(asked).await?;
    // compose before 2.35 does not know `--print`. What else is wrong with the line is wrong with `config` as well.
    if let Ok(printed) = printed.as_ref()
        && may_bake(world, start.engine.as_ref())
        && printed.stdout.trim_start().starts_with('{')
    {
        if !line.build.quiet {
            world.printer.message(&printed.stderr);
        }
        let group = define::of_compose(world, line, &printed.stdout);
        return Ok(group
            .map(|group| Way::Bake(Box::new(group), Box::new(start)))
            .map_err(Untouched::because));
    }
    let engine = match start.engine {
        Some(engine) => engine,
        None => {
            let asked = async { Ok::<_, Error>(probe::probe(&world.environment, &start.probe).await?) };
            world.unless_interrupted(asked).await?
        }
    };
    Ok(singly(world, line, standalone, &engine).await?.map(Way::Singly))
}

/// Whether one bake builds the project, as far as that is known.
fn may_bake(world: &World, engine: Option<&Engine>) -> bool {
    engine.map_or_else(|| !probe::asks_for_classic(&world.environment), can_bake)
}

/// Finds out what is built where it is built service by service. The inner error: it is to be run as it stands.
pub async fn singly(
    world: &World,
    line: &ComposeLine,
    standalone: bool,
    engine: &Engine,
) -> Result<Result<Services, Untouched>, Error> {
    let services = async { Ok::<_, Error>(services(world, line, standalone, engine).await) };
    Ok(world.unless_interrupted(services).await?.map_err(Untouched::because))
}

async fn services(
    world: &World,
    line: &ComposeLine,
    standalone: bool,
    engine: &Engine,
) -> Result<Services, String> {
    let build = &line.build;
    let config = ask(world, standalone, &line.globals, &["config", "--format", "json"], &build.services);
    let version = ask(world, standalone, &[], &["version", "--short"], &[]);
    let (config, version) = tokio::join!(config, version);
    let config = config?;
    if !build.quiet {
        world.printer.message(&config.stderr);
    }
    let project = Project::parse(&config.stdout)?;
    if let Some(name) = project.secret_variables().find(|name| world.environment.by_name(name).is_none()) {
        return Err(format!("a secret is taken from `{name}`, which only compose knows"));
    }
    let version: Option<Version> = version.ok().and_then(|answer| answer.stdout.parse().ok());
    let flags = flags(line);
    let added = Added { flags: &flags, push: build.push, version, frontend: engine.frontend };
    let members = project.members(&build.services, build.with_dependencies, added)?;
    if members.is_empty() {
        return Err("no service is built".to_owned());
    }
    Ok(Services { members, progress: line.progress.clone(), quiet: build.quiet })
}

/// Asks compose, without the Docker client before it.
async fn ask(
    world: &World,
    standalone: bool,
    globals: &[String],
    subcommand: &[&str],
    arguments: &[String],
) -> Result<Captured, String> {
    let command = bake::compose(standalone, globals, subcommand, arguments);
    let compose = Plugin::find("compose", &world.environment);
    define::ask(&if standalone { command } else { compose.direct(command) }).await
}

/// What the command line says of every image.
fn flags(line: &ComposeLine) -> Vec<Flag> {
    let build = &line.build;
    let mut flags = Vec::new();
    flags.extend(build.build_args.iter().map(|value| Flag::text("build-arg", value.clone())));
    flags.extend(build.ssh.iter().map(|value| Flag::text("ssh", value.clone())));
    for (name, value) in [
        ("builder", &build.builder),
        ("memory", &build.memory),
        ("provenance", &build.provenance),
        ("sbom", &build.sbom),
    ] {
        flags.extend(value.iter().map(|value| Flag::text(name, value.clone())));
    }
    let switches = [("no-cache", build.no_cache), ("pull", build.pull)];
    flags.extend(switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| Flag::on(name)));
    flags
}
