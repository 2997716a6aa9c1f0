//! Cutting a cache to what can be hit and to what BuildKit imports.
//!
//! A record is worth its bytes when it has a result, or when one with a result is found through it. Beyond
//! that, results go until config and manifest fit: first those of the caches that are farthest away, among
//! these the oldest builds, each from its end to its beginning.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cachefmt::cache::{Cache, Found, Record};
use crate::cachefmt::{merge, write};
use crate::model::engine::ManifestForm;
use crate::model::reference::Digest;

/// Bytes of the manifest that are left for its annotations and for the difference between its two forms.
const MANIFEST_RESERVE: usize = 8 << 10;

/// What was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Records that led to no result.
    pub dropped_records: usize,
    /// Results that were dropped for size.
    pub dropped_results: usize,
    /// Layers that no result needs any more.
    pub dropped_layers: usize,
}

/// Cuts the cache so that its config, and its manifest in either form with a few kilobytes of annotations,
/// have at most `limit` bytes each ([`IMPORT_LIMIT`](super::IMPORT_LIMIT)). A cache that fits loses only what
/// can never be hit.
pub fn prune(cache: &Cache, limit: usize) -> (Cache, PruneReport) {
    let victims = victims(cache);
    // The fewest victims with which it fits, by bisection: dropping one more never makes it larger.
    let (mut enough, mut pruned) = (victims.len(), without(cache, &victims));
    let mut fewest = 0;
    while fewest < enough {
        let middle = fewest + (enough - fewest) / 2;
        let candidate = without(cache, &victims[..middle]);
        if fits(&candidate, limit) {
            (enough, pruned) = (middle, candidate);
        } else {
            fewest = middle + 1;
        }
    }
    let report = PruneReport {
        dropped_records: cache.records.len() - pruned.records.len(),
        dropped_results: enough,
        dropped_layers: cache.layers.len() - pruned.layers.len(),
    };
    (pruned, report)
}

/// The cache without every result that needs one of these blobs.
pub fn without_blobs(cache: &Cache, gone: &BTreeSet<Digest>) -> Cache {
    // A layer's parent comes before it.
    let mut lost: Vec<bool> = Vec::with_capacity(cache.layers.len());
    for layer in &cache.layers {
        lost.push(gone.contains(&layer.blob) || layer.parent.is_some_and(|parent| lost[parent]));
    }
    let mut victims: Vec<Victim> = Vec::new();
    for (index, record) in cache.records.iter().enumerate() {
        victims.extend(record.results.keys().filter(|layer| lost[**layer]).map(|layer| (index, *layer)));
    }
    without(cache, &victims)
}

/// The part of a cache whose results are layers of another one as well: blob by blob, from the bottom up.
///
/// BuildKit before 0.25 forgets, when it writes an inline cache, the keys of steps that it took from an import (seen on
/// 20.10 and 26.1). Their layers are still in the image, so the keys are carried over from what was imported.
pub fn within(cache: &Cache, other: &Cache) -> Cache {
    let known: BTreeSet<Digest> = stacks(other).into_iter().collect();
    let kept: Vec<bool> = stacks(cache).iter().map(|stack| known.contains(stack)).collect();
    let mut victims: Vec<Victim> = Vec::new();
    for (index, record) in cache.records.iter().enumerate() {
        victims.extend(record.results.keys().filter(|layer| !kept[**layer]).map(|layer| (index, *layer)));
    }
    without(cache, &victims)
}

/// What identifies each layer with everything below it.
fn stacks(cache: &Cache) -> Vec<Digest> {
    let mut stacks: Vec<Digest> = Vec::with_capacity(cache.layers.len());
    for layer in &cache.layers {
        let below = layer.parent.map_or("", |parent| stacks[parent].as_str());
        stacks.push(Digest::of(format!("{below} {}", layer.blob).as_bytes()));
    }
    stacks
}

/// A result: record and layer.
type Victim = (usize, usize);

/// All results, the least valuable first: those of far caches, then those of builds that are long ago, each
/// from its end to its beginning. A result dropped from the middle of a build would free next to nothing,
/// since the layers above it stand on its own; from the end, records, layers and blobs go with it.
fn victims(cache: &Cache) -> Vec<Victim> {
    // A result is as young as the youngest that was built on it: the base from last year that today's build
    // stands on is today's. Merge-op results of inline caches have no date and count as young.
    let date = |found: &Found| found.created_at.unwrap_or(Timestamp::MAX);
    let own = |record: &Record| record.results.values().map(date).max().unwrap_or(Timestamp::MIN);
    let mut youngest: Vec<Timestamp> = cache.records.iter().map(own).collect();
    for (index, record) in cache.records.iter().enumerate().rev() {
        for link in record.inputs.iter().flatten() {
            youngest[link.record] = youngest[link.record].max(youngest[index]);
        }
    }
    let mut victims: Vec<_> = Vec::new();
    for (index, record) in cache.records.iter().enumerate() {
        for (layer, found) in &record.results {
            victims.push((Reverse(found.rank), youngest[index], Reverse(index), date(found), *layer));
        }
    }
    victims.sort_unstable();
    victims.into_iter().map(|(_, _, Reverse(record), _, layer)| (record, layer)).collect()
}

fn fits(cache: &Cache, limit: usize) -> bool {
    let authored = write(cache, ManifestForm::Image, &BTreeMap::new());
    authored.config.len() <= limit && authored.manifest.len() + MANIFEST_RESERVE <= limit
}

/// The cache without these results, and without the records that then lead to none.
fn without(cache: &Cache, victims: &[Victim]) -> Cache {
    let mut cache = cache.clone();
    for (record, layer) in victims {
        cache.records[*record].results.remove(layer);
    }
    let mut useful: Vec<bool> = cache.records.iter().map(|record| !record.results.is_empty()).collect();
    for index in (0..cache.records.len()).rev() {
        if useful[index] {
            cache.records[index].inputs.iter().flatten().for_each(|link| useful[link.record] = true);
        }
    }
    let mut kept = Vec::new();
    let mut places = vec![0; cache.records.len()];
    for (index, mut record) in std::mem::take(&mut cache.records).into_iter().enumerate() {
        if !useful[index] {
            continue;
        }
        record.relink(|old| places[old]);
        places[index] = kept.len();
        kept.push(record);
    }
    cache.records = kept;
    merge::settle(cache)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cachefmt::cacheconfig::IMPORT_LIMIT;
    use crate::cachefmt::merge::tests::any_cache;
    use crate::cachefmt::samples::{INLINE_BUILD, INLINE_FINAL, read};

    proptest! {
        #[test]
        fn it_fits_and_nothing_is_left_that_leads_nowhere(
            a in any_cache(), b in any_cache(), limit in MANIFEST_RESERVE..MANIFEST_RESERVE + 3000
        ) {
            let (pruned, _) = prune(&merge::merge(&[&a, &b]), limit);
            prop_assert!(fits(&pruned, limit) || pruned == Cache::default());
            let mut useful: Vec<bool> = pruned.records.iter().map(|record| !record.results.is_empty()).collect();
            for (index, record) in pruned.records.iter().enumerate().rev() {
                prop_assert!(useful[index]);
                record.inputs.iter().flatten().for_each(|link| useful[link.record] = true);
            }
            prop_assert_eq!(prune(&pruned, limit), (pruned, PruneReport::default()));
        }

        #[test]
        fn what_is_carried_over_stands_on_layers_of_the_other(a in any_cache(), b in any_cache()) {
            let known: BTreeSet<Digest> = stacks(&b).into_iter().collect();
            let carried = within(&a, &b);
            prop_assert!(stacks(&carried).iter().all(|stack| known.contains(stack)));
            prop_assert_eq!(within(&a, &merge::merge(&[&a, &b])), prune(&a, usize::MAX / 2).0);
        }

        #[test]
        fn nothing_is_left_of_a_blob_that_is_gone(a in any_cache(), place in any::<prop::sample::Index>()) {
            let blobs: Vec<Digest> = a.blobs().map(|(digest, _)| digest.clone()).collect();
            prop_assume!(!blobs.is_empty());
            let gone = BTreeSet::from([place.get(&blobs).clone()]);
            prop_assert!(without_blobs(&a, &gone).blobs().all(|(digest, _)| !gone.contains(digest)));
        }

        #[test]
        fn a_near_result_outlives_every_far_one(a in any_cache(), b in any_cache(), limit in MANIFEST_RESERVE..MANIFEST_RESERVE + 3000) {
            let merged = merge::merge(&[&a, &b]);
            let (pruned, _) = prune(&merged, limit);
            let count = |cache: &Cache, rank| {
                cache.records.iter().flat_map(|it| it.results.values()).filter(|found| found.rank == rank).count()
            };
            prop_assert!(count(&pruned, 0) == count(&merged, 0) || count(&pruned, 1) == 0);
        }
    }

    #[test]
    fn a_cache_that_fits_keeps_its_results() {
        let cache = read(INLINE_BUILD);
        let (pruned, report) = prune(&cache, IMPORT_LIMIT);
        assert_eq!((report.dropped_results, report.dropped_layers), (0, 0));
        assert_eq!(pruned.summary().records_with_results, cache.summary().records_with_results);
    }

    #[test]
    fn keys_are_carried_to_an_image_that_has_their_layers() {
        let (end, stage) = (read(INLINE_FINAL), read(INLINE_BUILD));
        let all = merge::merge(&[&stage, &end]);
        let with_results = |cache: &Cache| cache.summary().records_with_results;
        assert_eq!(with_results(&within(&all, &stage)), with_results(&stage));
        assert!(with_results(&within(&all, &end)) < with_results(&all));
        assert!(within(&all, &Cache::default()).is_empty());
    }

    /// The records that still have results when the manifest has to save so many bytes.
    fn left(cache: &Cache, saved: usize) -> String {
        let manifest = write(cache, ManifestForm::Image, &BTreeMap::new()).manifest;
        let (pruned, report) = prune(cache, MANIFEST_RESERVE + manifest.len() - saved);
        assert!(report.dropped_results > 0 && report.dropped_layers > 0, "{report:?}");
        let with_results = pruned.records.iter().filter(|record| !record.results.is_empty());
        with_results
            .map(|record| record.digest["sha256:".len()..][..4].to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn the_farthest_goes_first_and_from_its_end() {
        let (end, stage) = (read(INLINE_FINAL), read(INLINE_BUILD));
        let near_end = merge::merge(&[&end, &stage]);
        insta::assert_snapshot!(left(&near_end, 1), @"57a5 70a0 747f 0dd2 1163 5dbf 6f5c 9bf2 d95b 1484");
        insta::assert_snapshot!(left(&near_end, 1500), @"70a0 747f 0dd2 5dbf d95b 1484");
        let near_stage = merge::merge(&[&stage, &end]);
        insta::assert_snapshot!(left(&near_stage, 1), @"57a5 70a0 747f 0dd2 1163 5dbf 6f5c 9bf2 9264 d95b");
        insta::assert_snapshot!(left(&near_stage, 1500), @"57a5 1163 6f5c 9bf2");
    }
}
