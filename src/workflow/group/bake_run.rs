//! One run of bake, which builds some members of a group.

use tokio::sync::mpsc::UnboundedSender;

use crate::base::process::{self, Output};
use crate::engine::bake;
use crate::engine::buildx::Buildx;
use crate::engine::docker::Docker;
use crate::engine::progress::{Format, Steps};
use crate::model::reference::Reference;
use crate::model::request::{Context, Flag, Request};
use crate::model::settings::Settings;
use crate::report::section::Sections;
use crate::workflow::attempts::{self, Tries};
use crate::workflow::display::Display;
use crate::workflow::engine_run::{self, Built, Results};
use crate::workflow::group::define::Group;
use crate::workflow::group::places::{places, variables};
use crate::workflow::group::prepare::PreparedGroup;
use crate::workflow::stand_in::StandIn;
use crate::workflow::world::World;

/// What is the same for every run.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) settings: &'a Settings,
    pub(super) group: &'a Group,
    pub(super) docker: &'a Docker,
    /// What stands in for the folders of every member.
    pub(super) stand_ins: &'a [StandIn],
    /// Where images are told as soon as they are pushed.
    pub(super) pushed: &'a UnboundedSender<Reference>,
    /// There is one run, which is the line as it was given.
    pub(super) is_only: bool,
}

/// What one run did for its members.
pub(super) struct Whole {
    pub(super) code: i32,
    pub(super) steps: Steps,
    errors: Vec<String>,
    /// What buildx tells of every target.
    pub(super) metadata: serde_json::Map<String, serde_json::Value>,
    /// How many targets were solved.
    targets: usize,
}

impl Whole {
    /// What it did for one. bake puts a target's name before its steps only where it builds several.
    pub(super) fn of(&self, member: &str) -> Built {
        let steps = match self.targets {
            1 => self.steps.clone(),
            _ => self.steps.of_target(member),
        };
        let results = Results::of_target(self.metadata.get(member));
        Built { code: self.code, steps, errors: self.errors.clone(), results }
    }
}

/// A run of bake, shown as it goes; once more where reading a cache made it fail, or a push may pass.
pub(super) async fn run(
    world: &World,
    way: Way<'_>,
    members: &[usize],
    prepared: &mut PreparedGroup,
    sections: &mut Sections,
    general: &mut Vec<String>,
) -> Result<Whole, process::Error> {
    let (printer, group) = (world.printer, way.group);
    let files = engine_run::folder()?;
    let metadata = files.path().join("metadata.json");
    let buildx = Buildx::find(&world.environment);
    let folder = prepared.cache_folder(way.settings);
    let description = format!("building with \"{}\" instance", prepared.engine.builder);
    let format = match group.is_to_check {
        true => Format::Plain,
        false => Format::of(&prepared.engine),
    };
    let bake = match way.is_only {
        true => group.bake.clone(),
        false => group.bake.of(&prepared.names(members)),
    };
    let mut tries = Tries::default();
    loop {
        let wave = prepared.wave(members);
        let overrides = [wave.overrides, places(world, prepared, way.stand_ins)].concat();
        let added = bake::added(&prepared.engine, &overrides, folder.as_deref());
        let for_us_alone = group.metadata_file.is_none();
        let mut command = way.docker.applied(bake.run(&buildx, format, added, &metadata, for_us_alone));
        command.environment.extend(variables(prepared, way.stand_ins));
        let display = Display::of(&shown(group), format, description.clone(), world);
        let is_quiet = matches!(display, Display::Quiet);
        let run = async |display: &mut Display| {
            engine_run::watch(world, &command, format, Output::Inherited, display, Some(way.pushed)).await
        };
        let (code, steps, messages) = display.during(printer, sections, run).await?;
        let steps = tries.whole(steps);
        let errors = engine_run::errors(&steps, messages);
        let metadata = if code == 0 { engine_run::metadata(&metadata) } else { serde_json::Map::new() };
        let whole = Whole { code, steps, errors, metadata, targets: wave.targets };
        if code == 0 {
            return Ok(whole);
        }
        let mut blamed = Vec::new();
        for index in members {
            let it = &mut prepared.members[*index].prepared;
            if let Some(reference) = attempts::blamed(&it.plan, &it.facts, &whole.errors) {
                blamed.push(reference);
                it.plan.forget_cache();
            }
        }
        let warn = |warning: String| {
            printer.warning(&warning);
            general.push(warning);
        };
        if !tries.again(&blamed, (&whole.steps, &whole.errors), "an image", warn).await {
            if is_quiet {
                attempts::tell_failure(printer, &whole.errors);
            }
            return Ok(whole);
        }
    }
}

/// What the display needs to know of the line.
fn shown(group: &Group) -> Request {
    let mut flags: Vec<Flag> =
        group.progress.iter().map(|value| Flag::text("progress", value.clone())).collect();
    if group.quiet {
        flags.push(Flag::on("quiet"));
    }
    Request { flags, context: Context::Folder(".".into()) }
}
