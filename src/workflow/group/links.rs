//! Links in a group: the Dockerfiles that members are built from instead, and the check that their images stand on what
//! the links were decided from.
//!
//! bake is told by `--set` which file to read; what is set on its command line needs no `--allow`, wherever it is (buildx
//! 0.29). It has no such override for a text that stands in the definition, so that nothing is linked there.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::registry::Client;
use crate::workflow::engine_run::Built;
use crate::workflow::group::prepare::PreparedGroup;
use crate::workflow::link::{self, Rewritten};

/// The Dockerfiles of members, in their order; they are there as long as this value.
pub(super) struct Links(Vec<Option<Rewritten>>);

impl Links {
    /// Writes them, and has the members' plans read them.
    pub(super) fn make(prepared: &mut PreparedGroup) -> Self {
        Links(prepared.members.iter_mut().map(|it| link::rewrite(&mut it.prepared)).collect())
    }

    /// The places of those members of a run whose images stand on other layers than was expected, or that failed and would
    /// perhaps not have failed as they are written; their plans are now to build so. `warn` gets each with the warning.
    pub(super) async fn refuted(
        &self,
        client: &Client,
        prepared: &mut PreparedGroup,
        members: &[usize],
        built: &BTreeMap<usize, Built>,
        mut warn: impl FnMut(usize, String),
    ) -> Vec<usize> {
        let checks = members.iter().map(|index| async {
            let (it, built) = (&prepared.members[*index], built.get(index)?);
            let linking = &it.prepared.plan.link;
            let rewritten = self.0.get(*index)?.as_ref().filter(|_| !linking.links.is_empty())?;
            let checked = link::check(client, &it.member.request, built, linking, rewritten);
            Some((*index, checked.await.err()?))
        });
        let mut refuted = Vec::new();
        for (index, reason) in join_all(checks).await.into_iter().flatten() {
            let Some(rewritten) = self.0.get(index).and_then(Option::as_ref) else { continue };
            warn(index, format!("building once more without links: {reason}"));
            link::restore(&mut prepared.members[index].prepared.plan, rewritten, &reason);
            refuted.push(index);
        }
        refuted
    }
}
