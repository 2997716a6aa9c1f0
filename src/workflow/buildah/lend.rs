//! What the program is lent for one build: credentials that only layerlift knows, and the way to the cache's registry.

use crate::base::process::Command;
use crate::engine::buildah::{AuthFile, Registries};
use crate::model::reference::Repository;
use crate::plan::buildah::Cache;
use crate::workflow::build::lent;
use crate::workflow::buildah::Prepared;
use crate::workflow::world::World;

/// What is lent. It is deleted with this value.
#[derive(Debug, Default)]
pub struct Loan {
    authentication: Option<AuthFile>,
    registries: Option<Registries>,
    /// What the program is given by flags.
    pub flags: Cache,
}

impl Loan {
    /// Makes the files that this plan needs. What cannot be made costs cache, and a warning.
    pub async fn new(world: &World, prepared: &Prepared, warnings: &mut Vec<String>) -> Loan {
        let mut loan = Loan { flags: prepared.plan.flags(), ..Loan::default() };
        // All of them are in one registry.
        let cache = &prepared.plan.cache;
        let Some(any) = cache.from.iter().chain(&cache.to).next() else { return loan };
        loan.lend_registries(world, prepared, any.registry(), warnings);
        // A file or a login that is named on the line would win over ours.
        let has_own = prepared.line.has("authfile") || prepared.line.has("creds");
        if !has_own && let Some(credential) = lent(&prepared.client, any).await {
            match AuthFile::new(&world.environment, &[credential]) {
                Ok(file) => loan.authentication = Some(file),
                Err(error) => {
                    warnings
                        .push(format!("{} gets no login of the CI job: {error}", prepared.tool.program()));
                }
            }
        }
        loan
    }

    fn lend_registries(
        &mut self,
        world: &World,
        prepared: &Prepared,
        registry: &str,
        warnings: &mut Vec<String>,
    ) {
        let cache = &prepared.plan.cache;
        let is_checked = prepared.line.switch("tls-verify") != Some(false);
        let is_plain = is_checked && prepared.client.speaks_plainly(registry);
        if !is_plain && !prepared.plan.mirrors {
            return;
        }
        let mut repositories: Vec<&Repository> = Vec::new();
        for repository in self.flags.from.iter().chain(&self.flags.to) {
            if !repositories.contains(&repository) {
                repositories.push(repository);
            }
        }
        let mirrors = if prepared.plan.mirrors { cache.from.as_slice() } else { &[] };
        let made = match prepared.line.last("registries-conf") {
            Some(file) => Err(format!("--registries-conf {file} stands")),
            None => Registries::new(&world.environment, &repositories, mirrors, is_plain)
                .map_err(|error| error.to_string()),
        };
        match made {
            Ok(registries) => self.registries = Some(registries),
            Err(reason) if is_plain => {
                warnings.push(format!("no cache: {registry} is spoken to over plain HTTP, and {reason}"));
                self.flags = Cache::default();
            }
            Err(reason) => warnings.push(format!("the nearest scope's cache alone is read: {reason}")),
        }
    }

    /// Makes a command use it.
    pub fn applied(&self, command: Command) -> Command {
        let command = match &self.registries {
            Some(registries) => registries.applied(command),
            None => command,
        };
        match &self.authentication {
            Some(file) => file.applied(command),
            None => command,
        }
    }
}
