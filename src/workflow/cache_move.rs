//! Cache refs on the move: a scope's refs between the cache repo and an OCI-layout folder, under the same tags.
//!
//! Refs go one after the other, each with its blobs first and its name last (`registry::copy`), so that an interrupted
//! move leaves whole refs and, at worst, blobs that the next one finds in place.
//!
//! What is pushed is one scope, and the pipeline's own unless the user names another: a folder that came from `main`
//! must not become `main`'s cache by way of a merge request.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::plan::scope::Scope;
use crate::registry::{self, Copied, Layout, Place, copy};
use crate::workflow::cache_refs::{CacheRefs, Error, sort};

/// The longest sum of pauses in one transfer: who moves a cache by hand wants it moved.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a move tells while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// So many bytes of blobs have been moved in all.
    Bytes(u64),
    /// A ref has arrived.
    Arrived {
        /// Its tag.
        tag: &'a str,
        /// What was done for it.
        copied: &'a Copied,
    },
}

/// Who is told.
pub type Watch<'a> = &'a (dyn Fn(Event<'_>) + Send + Sync);

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The scope.
    pub scope: Scope,
    /// How many refs.
    pub refs: usize,
    /// Bytes of blobs that were sent.
    pub bytes: u64,
}

impl CacheRefs {
    /// Copies a scope's refs from the cache repo into a folder, which is made where there is none: the scope that the
    /// user chose, else the nearest of the chain that has refs.
    pub async fn pull(&self, folder: &Path, watch: Watch<'_>) -> Result<Moved, Error> {
        let wanted = if self.is_chosen { self.scopes.own.as_slice() } else { &self.scopes.read };
        let tags = self.client.list_tags(&self.repo.repository).await?;
        let (scope, tags) = pick(self.repo.tag_prefix, tags, wanted, &self.repo.repository.to_string())?;
        let layout = Layout::create(folder).await?;
        self.copy(scope, &tags, &layout, Direction::Pull, watch).await
    }

    /// Copies a scope's refs from a folder into the cache repo, where this pipeline may write: its own scope, or the one
    /// that the user chose.
    pub async fn push(&self, folder: &Path, watch: Watch<'_>) -> Result<Moved, Error> {
        let layout = match Layout::open(folder).await {
            Err(registry::Error::NotFound { .. } | registry::Error::Malformed { .. }) => {
                return Err(Error::NoLayout(folder.to_owned()));
            }
            layout => layout?,
        };
        if let (false, reason) = &self.may_write {
            return Err(Error::ReadOnly { reason: reason.clone(), can_be_told: self.can_be_told });
        }
        let wanted = if self.scopes.own.is_some() { self.scopes.own.as_slice() } else { &self.scopes.read };
        let tags = layout.list_tags().await?;
        let (scope, tags) = pick(self.repo.tag_prefix, tags, wanted, &folder.display().to_string())?;
        self.copy(scope, &tags, &layout, Direction::Push, watch).await
    }

    async fn copy(
        &self,
        scope: Scope,
        tags: &[String],
        layout: &Layout,
        direction: Direction,
        watch: Watch<'_>,
    ) -> Result<Moved, Error> {
        let client = self.client.with_budget(PATIENCE);
        let moved = AtomicU64::new(0);
        let progress = |bytes| {
            let before = moved.fetch_add(bytes, Ordering::Relaxed);
            watch(Event::Bytes(before.saturating_add(bytes)));
        };
        let mut bytes = 0;
        for tag in tags {
            // A tag that was read from a tag is one.
            let Ok(reference) = self.repo.repository.with_tag(tag) else { continue };
            let (remote, local) = (Place::Registry(&client, &reference), Place::Layout(layout, tag));
            let copied = match direction {
                Direction::Pull => copy(remote, local, &progress).await?,
                Direction::Push => copy(local, remote, &progress).await?,
            };
            bytes += copied.bytes;
            watch(Event::Arrived { tag, copied: &copied });
        }
        Ok(Moved { scope, refs: tags.len(), bytes })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Pull,
    Push,
}

/// The first wanted scope that has tags, with them.
fn pick(
    tag_prefix: &str,
    tags: Vec<String>,
    wanted: &[Scope],
    place: &str,
) -> Result<(Scope, Vec<String>), Error> {
    let (mut named, _) = sort(tag_prefix, tags);
    // A finished image is no cache: who moves caches does not want a copy of every image ever built.
    named.retain(|(it, _)| it.finished.is_none());
    let is_there = |scope: &&Scope| named.iter().any(|(it, _)| it.scope == **scope && !it.record);
    match wanted.iter().find(is_there) {
        Some(scope) => {
            let tags = named.iter().filter(|(it, _)| it.scope == *scope).map(|(_, tag)| tag.clone());
            Ok((scope.clone(), tags.collect()))
        }
        None if wanted.is_empty() => Err(Error::NoScope),
        None => {
            let mut present: Vec<Scope> = named.into_iter().map(|(it, _)| it.scope).collect();
            present.dedup();
            Err(Error::NothingThere { place: place.to_owned(), wanted: wanted.to_vec(), present })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick_from(tags: &[&str], wanted: &[&str]) -> Result<(String, Vec<String>), String> {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let wanted: Vec<Scope> = wanted.iter().map(|scope| Scope::named(scope)).collect();
        pick("", tags, &wanted, "the folder")
            .map(|(scope, tags)| (scope.to_string(), tags))
            .map_err(|error| format!("{error}: {error:?}"))
    }

    #[test]
    fn the_nearest_scope_that_is_there_is_taken_whole() {
        let image = "branch-main--image-0123456789abcdef0123456789abcdef";
        let tags = ["branch-main--api", image, "mr-1--stage-a", "branch-main", "mr-2"];
        let main = ("branch-main".to_owned(), vec!["branch-main".to_owned(), "branch-main--api".to_owned()]);
        assert_eq!(pick_from(&tags, &["mr-7", "branch-main"]), Ok(main));
        let one = ("mr-1".to_owned(), vec!["mr-1--stage-a".to_owned()]);
        assert_eq!(pick_from(&tags, &["mr-1", "branch-main"]), Ok(one));
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_there() {
        let error = pick_from(&["mr-2", "mr-2--api", "branch-a"], &["mr-7", "branch-main"]).unwrap_err();
        assert!(error.starts_with("the folder holds no cache of mr-7, branch-main: "), "{error}");
        assert!(error.contains(r#"present: [Scope("branch-a"), Scope("mr-2")]"#), "{error}");
        assert!(pick_from(&["mr-2"], &[]).unwrap_err().starts_with("no scope is known here"));
    }
}
