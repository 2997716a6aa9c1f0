//! One build after the other, for engines or composes that cannot build all services at once: Docker 20.10, the classic
//! builder, compose before 2.35.

use std::time::{Duration, Instant};

use crate::model::member::Member;
use crate::model::outcome::{BuildStatus, GroupOutcome, MemberOutcome, Traffic};
use crate::model::request::{Flag, Request};
use crate::model::settings::Settings;
use crate::workflow::build;
use crate::workflow::builder::Act;
use crate::workflow::decide::{self, Prepared};
use crate::workflow::error::Error;
use crate::workflow::world::World;
use crate::workflow::{source, tell};

/// Services with the requests that stand for them.
#[derive(Debug)]
pub struct Services {
    /// The services, each after those that it needs.
    pub members: Vec<Member>,
    /// `--progress`.
    pub progress: Option<String>,
    /// Only failures are told.
    pub quiet: bool,
}

impl Services {
    /// A member's request with the form of the log, and its settings.
    fn asked(&self, member: &Member, settings: &Settings) -> (Request, Settings) {
        let mut request = member.request.clone();
        request.flags.extend(self.progress.iter().map(|value| Flag::text("progress", value.clone())));
        if self.quiet {
            // `-q` of `docker build` prints the image's id, which compose does not.
            request.flags.push(Flag::text("progress", "quiet"));
        }
        (request, Settings { member: Some(member.name.clone()), ..settings.clone() })
    }
}

/// Gathers facts and decides, for each.
pub async fn prepare(
    world: &World,
    settings: &Settings,
    services: &Services,
) -> Result<Vec<(Member, Prepared)>, Error> {
    let mut prepared = Vec::new();
    for member in &services.members {
        let (request, settings) = services.asked(member, settings);
        let inline = member.inline.as_deref().unwrap_or_default();
        let source = source::read(&request, inline.as_bytes())?;
        let done = decide::prepare_source(world, &request, &settings, source, Act::Suppose).await?;
        prepared.push((member.clone(), done));
    }
    Ok(prepared)
}

/// Builds one after the other and ends with the first that fails. The outcome is reported already.
pub async fn run(
    world: &World,
    settings: &Settings,
    services: &Services,
    begun: Instant,
) -> Result<GroupOutcome, Error> {
    let mut group = GroupOutcome {
        status: BuildStatus::Succeeded,
        exit_code: 0,
        members: Vec::new(),
        traffic: Traffic::default(),
        duration: Duration::ZERO,
        preparation: begun.elapsed(),
        cache_export: Duration::ZERO,
        warnings: Vec::new(),
    };
    let mut failure = None;
    for member in &services.members {
        let (request, settings) = services.asked(member, settings);
        let inline = member.inline.as_deref().unwrap_or_default();
        let source = source::read(&request, inline.as_bytes())?;
        let (outcome, failed) = build::carry_out(world, &request, &settings, source, Instant::now()).await?;
        group.traffic.context += outcome.traffic.context;
        group.traffic.fetched += outcome.traffic.fetched;
        group.traffic.asked += outcome.traffic.asked;
        group.preparation += outcome.preparation;
        group.cache_export += outcome.cache_export;
        (group.status, group.exit_code) = (outcome.status, outcome.exit_code);
        group.members.push(MemberOutcome { name: member.name.clone(), outcome });
        failure = failed;
        if group.status != BuildStatus::Succeeded {
            break;
        }
    }
    group.duration = begun.elapsed();
    tell::group(world, settings, services.quiet, &group)?;
    failure.map_or(Ok(group), Err)
}
