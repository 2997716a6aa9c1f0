//! By which client's line a build is run.

use std::path::Path;

use crate::base::process::Command;
use crate::engine::bake::MemberBake;
use crate::engine::buildctl;
use crate::engine::command::{self, Collect};
use crate::invocation::BuildctlLine;
use crate::model::engine::Engine;
use crate::plan::command::Build;

/// By which client's line a build is run.
#[derive(Debug, Clone, Copy)]
pub enum Line<'a> {
    /// `docker build`, or that of buildx.
    Docker,
    /// `buildctl build`, as the user's line has it.
    Buildctl(&'a BuildctlLine),
    /// `docker buildx bake`, of one member.
    Bake(&'a MemberBake<'a>),
}

impl<'a> Line<'a> {
    /// The user's own line of buildctl, where there is one.
    pub fn of(buildctl: Option<&'a BuildctlLine>) -> Self {
        buildctl.map_or(Line::Docker, Line::Buildctl)
    }

    /// The command, which writes to these files what came of it: bake of every target, and no image id.
    pub fn command(self, engine: &Engine, build: &Build, metadata: &Path, image_id: &Path) -> Command {
        match self {
            Line::Docker => {
                let collect = Collect { metadata_file: Some(metadata), iidfile: Some(image_id) };
                command::build(engine, build, collect)
            }
            Line::Buildctl(line) => buildctl::build(engine, line, build, Some(metadata)),
            Line::Bake(member) => member.build(engine, build, metadata),
        }
    }

    /// The command as it is shown to a person: without what we need for ourselves.
    pub fn shown(self, engine: &Engine, build: &Build) -> Command {
        match self {
            Line::Docker => command::build(engine, build, Collect::default()),
            Line::Buildctl(line) => buildctl::build(engine, line, build, None),
            Line::Bake(member) => member.shown(engine, build),
        }
    }
}
