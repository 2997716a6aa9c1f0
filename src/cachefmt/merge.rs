//! The merge: several caches in, one out that hits wherever one of them did.
//!
//! BuildKit finds a record by its digest and one key for each input. Two records of equal digest therefore
//! answer the same question as soon as they share a key at every input, and BuildKit unites such records
//! itself when it reads a cache (cache/remotecache/v1/chains.go Add). Here they are united beforehand, to the
//! end: keys by input, results by layer. Uniting matters: the same step appears with different keys in
//! different builds (a base known by manifest and by content, or by content alone; a copied file's content
//! key is only there where it had to be computed), everything built on it would be there twice, and the
//! import limit is small.
//!
//! Only records of the same *height* (longest way down to a key without inputs) are united. A link then
//! always leads to a lower height, so that uniting cannot make a loop (a file copied to where it came from
//! would: moby/buildkit 846a4ccd1), a record's height never changes, and the result is the same in whatever
//! order and grouping caches are merged. What stays apart for its height costs space, never a hit: every
//! record of every input keeps all its keys and results.

use std::collections::{BTreeMap, BTreeSet};

use sha2::Digest as _;

use crate::cachefmt::cache::{Cache, Found, Layer, Layers, Link, Record};

/// Records with the same digest and number of inputs at one height that are compared pair by pair. Real
/// caches have a handful; above it, only equal ones are united.
const GROUP_LIMIT: usize = 512;

/// Unites the caches. The nearest comes first: where blobs are described differently its word counts, and
/// [`prune`](super::prune()) keeps its results longest. For the rest the order does not matter.
pub fn merge(caches: &[&Cache]) -> Cache {
    let mut layers = Layers::default();
    let mut records = Vec::new();
    let mut blobs = BTreeMap::new();
    for (rank, cache) in caches.iter().enumerate() {
        let mut places: Vec<usize> = Vec::with_capacity(cache.layers.len());
        for layer in &cache.layers {
            let parent = layer.parent.map(|parent| places[parent]);
            places.push(layers.place(parent, &layer.blob));
        }
        let offset = records.len();
        for record in &cache.records {
            let mut record = record.clone();
            record.relink(|old| old + offset);
            let results = record.results.into_iter();
            record.results = results.map(|(layer, found)| (places[layer], Found { rank, ..found })).collect();
            records.push(record);
        }
        for (digest, blob) in &cache.blobs {
            blobs.entry(digest.clone()).or_insert_with(|| blob.clone());
        }
    }
    settle(Cache { layers: layers.list, records, blobs })
}

/// Makes the normal form: records united and in canonical order, layers without results above them dropped.
/// Links and parents must lead back.
pub(crate) fn settle(cache: Cache) -> Cache {
    let Cache { layers, records, mut blobs } = cache;
    let mut records = unite(records);
    let (layers, places) = needed_layers(&layers, &records);
    for record in &mut records {
        let results = std::mem::take(&mut record.results);
        record.results =
            results.into_iter().filter_map(|(layer, found)| Some((places[layer]?, found))).collect();
    }
    let used: BTreeSet<_> = layers.iter().map(|layer| &layer.blob).collect();
    blobs.retain(|digest, _| used.contains(digest));
    Cache { layers, records, blobs }
}

/// Unites records height by height, from the ground up: when a height's turn comes, what its links lead to is
/// final.
fn unite(records: Vec<Record>) -> Vec<Record> {
    let mut levels: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut heights: Vec<usize> = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        let height = record.inputs.iter().flatten().map(|link| heights[link.record] + 1).max().unwrap_or(0);
        heights.push(height);
        levels.entry(height).or_default().push(index);
    }

    let mut united: Vec<Record> = Vec::new();
    let mut names: Vec<[u8; 32]> = Vec::new();
    let mut places = vec![0; records.len()];
    let mut records: Vec<Option<Record>> = records.into_iter().map(Some).collect();
    for level in levels.into_values() {
        let mut groups: BTreeMap<(String, usize), Vec<Member>> = BTreeMap::new();
        for index in level {
            let Some(mut record) = records[index].take() else { continue };
            record.relink(|old| places[old]);
            let group = groups.entry((record.digest.clone(), record.inputs.len())).or_default();
            group.push(Member { record, origins: vec![index] });
        }
        let united_here = groups.into_values().flat_map(unite_group);
        let mut named: Vec<([u8; 32], Member)> =
            united_here.map(|member| (name(&member.record, &names), member)).collect();
        named.sort_by(|(a, left), (b, right)| (&left.record.digest, a).cmp(&(&right.record.digest, b)));
        for (name, member) in named {
            for origin in member.origins {
                places[origin] = united.len();
            }
            united.push(member.record);
            names.push(name);
        }
    }
    united
}

/// A united record, and which ones it was made of.
struct Member {
    record: Record,
    origins: Vec<usize>,
}

impl Member {
    fn shares_every_input(&self, other: &Member) -> bool {
        let pairs = self.record.inputs.iter().zip(&other.record.inputs);
        pairs.into_iter().all(|(mine, theirs)| !mine.is_disjoint(theirs))
    }

    fn absorb(&mut self, other: Member) {
        for (mine, theirs) in self.record.inputs.iter_mut().zip(other.record.inputs) {
            mine.extend(theirs);
        }
        for (layer, found) in other.record.results {
            self.record.results.entry(layer).and_modify(|mine| *mine = mine.and(found)).or_insert(found);
        }
        self.origins.extend(other.origins);
    }
}

/// Records of equal digest, number of inputs and height: first the equal ones, then those that share a key at
/// every input, until no two do. One that has grown may share with more, so each is compared again after
/// every union.
fn unite_group(group: Vec<Member>) -> Vec<Member> {
    let mut distinct: BTreeMap<Vec<BTreeSet<Link>>, Member> = BTreeMap::new();
    for member in group {
        match distinct.get_mut(&member.record.inputs) {
            Some(equal) => equal.absorb(member),
            None => drop(distinct.insert(member.record.inputs.clone(), member)),
        }
    }
    if distinct.len() > GROUP_LIMIT {
        return distinct.into_values().collect();
    }
    let mut united: Vec<Member> = Vec::new();
    for mut member in distinct.into_values() {
        while let Some(at) = united.iter().position(|other| other.shares_every_input(&member)) {
            member.absorb(united.swap_remove(at));
        }
        united.push(member);
    }
    united
}

/// A record's canonical identity: its digest, and for every input the selectors and identities of its keys.
/// What the record was called and where it stood before does not enter.
fn name(record: &Record, names: &[[u8; 32]]) -> [u8; 32] {
    let mut hash = sha2::Sha256::new();
    let mut text = |text: &[u8]| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    text(record.digest.as_bytes());
    for keys in &record.inputs {
        let keys: BTreeSet<_> =
            keys.iter().map(|link| (link.selector.as_str(), names[link.record])).collect();
        text(&(keys.len() as u64).to_le_bytes());
        for (selector, name) in keys {
            text(selector.as_bytes());
            text(&name);
        }
    }
    hash.finalize().into()
}

/// The layers that results need, bottom first and by blob, and for every old layer its new place.
fn needed_layers(layers: &[Layer], records: &[Record]) -> (Vec<Layer>, Vec<Option<usize>>) {
    let mut needed = vec![false; layers.len()];
    for &layer in records.iter().flat_map(|record| record.results.keys()) {
        needed[layer] = true;
    }
    let mut depths = vec![0_usize; layers.len()];
    for (index, layer) in layers.iter().enumerate().rev() {
        if let (true, Some(parent)) = (needed[index], layer.parent) {
            needed[parent] = true;
        }
    }
    let mut levels: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        depths[index] = layer.parent.map_or(0, |parent| depths[parent] + 1);
        if needed[index] {
            levels.entry(depths[index]).or_default().push(index);
        }
    }
    let mut kept: Vec<Layer> = Vec::new();
    let mut places = vec![None; layers.len()];
    for level in levels.into_values() {
        let place = |index: usize| {
            let Layer { parent, blob } = &layers[index];
            (Layer { parent: parent.and_then(|parent| places[parent]), blob: blob.clone() }, index)
        };
        let mut placed: Vec<(Layer, usize)> = level.into_iter().map(place).collect();
        placed.sort();
        for (layer, index) in placed {
            places[index] = Some(kept.len());
            kept.push(layer);
        }
    }
    (kept, places)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cachefmt::cache::DIFF_ID;
    use crate::cachefmt::cacheconfig::config_bytes;
    use crate::cachefmt::manifest::Descriptor;
    use crate::cachefmt::record::{WireLayer, WireLink, WireRecord, WireResult};
    use crate::cachefmt::samples::{
        INLINE_BUILD, INLINE_FINAL, INLINE_FINAL_20, INLINE_LOOP, MODE_MAX, read, show, stack,
    };
    use crate::model::reference::Digest;

    /// A small cache over few names, so that records, keys and layers of two caches often meet.
    pub(crate) fn any_cache() -> impl Strategy<Value = Cache> {
        let link = (0..1000_usize, 0..2_u8);
        let keys = prop::collection::vec(link, 1..3);
        let result = (0..1000_usize, 0..5_i64);
        let record = (0..4_u8, prop::collection::vec(keys, 0..3), prop::collection::vec(result, 0..2));
        let layers = prop::collection::vec((0..4_u8, prop::option::of(0..1000_usize)), 1..6);
        (layers, prop::collection::vec(record, 0..9)).prop_map(|(layers, records)| {
            let blob = |name: u8| Digest::of(&[name]);
            let layers: Vec<WireLayer> = layers
                .into_iter()
                .enumerate()
                .map(|(index, (name, parent))| WireLayer {
                    blob: blob(name),
                    parent: parent.filter(|_| index > 0).map(|parent| parent % index),
                })
                .collect();
            let records =
                records.into_iter().enumerate().map(|(index, (name, inputs, results))| WireRecord {
                    digest: name.to_string(),
                    inputs: inputs
                        .into_iter()
                        .filter(|_| index > 0)
                        .map(|keys| {
                            let selector = |number: u8| "s".repeat(number.into());
                            keys.into_iter()
                                .map(|(link, number)| WireLink {
                                    link: link % index,
                                    selector: selector(number),
                                })
                                .collect()
                        })
                        .collect(),
                    layers: results
                        .into_iter()
                        .map(|(layer, second)| WireResult {
                            layer: layer % layers.len(),
                            created_at: jiff::Timestamp::from_second(second).ok(),
                        })
                        .collect(),
                    chains: Vec::new(),
                });
            let descriptor = |name: u8| Descriptor {
                media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
                digest: blob(name),
                size: 1,
                annotations: BTreeMap::from([(DIFF_ID.to_owned(), blob(name).to_string())]),
            };
            Cache::from_wire(&layers, records.collect(), (0..4).map(descriptor).collect()).expect("valid")
        })
    }

    /// Asserts that whatever is found in `part` is found in `whole` by the same keys: every record of `part` has a
    /// counterpart with all its keys, and all its results by their blobs.
    fn assert_contains(whole: &Cache, part: &Cache) {
        let mut places: Vec<usize> = Vec::new();
        for record in &part.records {
            let inputs: Vec<BTreeSet<Link>> = record
                .inputs
                .iter()
                .map(|keys| {
                    keys.iter().map(|link| Link { record: places[link.record], ..link.clone() }).collect()
                })
                .collect();
            let place = whole.records.iter().position(|other| {
                other.digest == record.digest
                    && other.inputs.len() == inputs.len()
                    && inputs.iter().zip(&other.inputs).all(|(mine, theirs)| mine.is_subset(theirs))
            });
            let place = place.expect("a counterpart");
            let results: Vec<_> =
                whole.records[place].results.keys().map(|layer| stack(whole, *layer)).collect();
            for layer in record.results.keys() {
                assert!(results.contains(&stack(part, *layer)), "{}\n{}", show(part), show(whole));
            }
            places.push(place);
        }
        assert!(part.blobs.keys().all(|blob| whole.blobs.contains_key(blob)));
    }

    pub(crate) fn assert_valid(cache: &Cache) {
        for (index, record) in cache.records.iter().enumerate() {
            assert!(record.inputs.iter().flatten().all(|link| link.record < index));
            assert!(record.inputs.iter().all(|keys| !keys.is_empty()));
            assert!(record.results.keys().all(|layer| *layer < cache.layers.len()));
        }
        for (index, layer) in cache.layers.iter().enumerate() {
            assert!(layer.parent.is_none_or(|parent| parent < index));
            assert!(cache.blobs.contains_key(&layer.blob));
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost(a in any_cache(), b in any_cache()) {
            let merged = merge(&[&a, &b]);
            assert_valid(&merged);
            assert_contains(&merged, &a);
            assert_contains(&merged, &b);
        }

        #[test]
        fn order_and_grouping_do_not_matter(a in any_cache(), b in any_cache(), c in any_cache()) {
            let whole = config_bytes(&merge(&[&a, &b, &c]));
            prop_assert_eq!(&config_bytes(&merge(&[&c, &b, &a])), &whole);
            prop_assert_eq!(&config_bytes(&merge(&[&merge(&[&a, &b]), &c])), &whole);
            prop_assert_eq!(&config_bytes(&merge(&[&a, &merge(&[&c, &b])])), &whole);
        }

        #[test]
        fn merging_with_itself_changes_nothing(a in any_cache()) {
            prop_assert_eq!(merge(&[&a]), a.clone());
            prop_assert_eq!(merge(&[&a, &a]), a);
        }
    }

    /// `digest key,key;key =blob/blob`, one line for each record; keys are line numbers, a key with a
    /// selector is `3@s`.
    pub(crate) fn cache(text: &str) -> Cache {
        let mut layers: Vec<WireLayer> = Vec::new();
        let mut records = Vec::new();
        let mut descriptors = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let mut record =
                WireRecord { digest: words.next().expect("digest").to_owned(), ..WireRecord::default() };
            for word in words {
                if let Some(blobs) = word.strip_prefix('=') {
                    for (depth, name) in blobs.split('/').enumerate() {
                        let blob = Digest::of(name.as_bytes());
                        let annotations = BTreeMap::from([(DIFF_ID.to_owned(), blob.to_string())]);
                        let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
                        let descriptor =
                            Descriptor { media_type, digest: blob.clone(), size: 1, annotations };
                        descriptors.insert(blob.clone(), descriptor);
                        layers.push(WireLayer { blob, parent: (depth > 0).then(|| layers.len() - 1) });
                    }
                    record.layers.push(WireResult { layer: layers.len() - 1, created_at: None });
                    continue;
                }
                let keys = word.split(';').map(|input| {
                    let keys = input.split(',').map(|key| {
                        let (link, selector) = key.split_once('@').unwrap_or((key, ""));
                        WireLink { link: link.parse().expect("line number"), selector: selector.to_owned() }
                    });
                    keys.collect()
                });
                record.inputs = keys.collect();
            }
            records.push(record);
        }
        Cache::from_wire(&layers, records, descriptors.into_values().collect()).expect("valid")
    }

    #[test]
    fn a_base_with_another_manifest_is_still_the_same_base() {
        let before = cache("manifest1\nchain\nrun 0,1 =a\nrun2 2 =a/b");
        let after = cache("manifest2\nchain\nrun 0,1 =c\nrun2 2 =c/d");
        let merged = merge(&[&before, &after]);
        insta::assert_snapshot!(show(&merged), @r"
        0 chai
        1 mani
        2 mani
        3 run (>0 or >1 or >2) = 2e7d = ca97
        4 run2 (>3) = 2e7d/18ac = ca97/3e23
        ");
    }

    #[test]
    fn a_key_without_result_gets_the_other_caches_result() {
        let end = cache("source\nbuild 0\nend 1@file =x");
        let stage = cache("source\nbuild 0 =a/b");
        insta::assert_snapshot!(show(&merge(&[&end, &stage])), @r"
        0 sour
        1 buil (>0) = ca97/3e23
        2 end (file>1) = 2d71
        ");
    }

    #[test]
    fn a_third_record_joins_two_that_share_nothing() {
        let apart = cache("a\nb\nrun 0 =x\nrun 1 =y");
        assert_eq!(apart.records.len(), 4);
        let bridge = cache("a\nb\nrun 0,1 =z");
        insta::assert_snapshot!(show(&merge(&[&apart, &bridge])), @r"
        0 a
        1 b
        2 run (>0 or >1) = 2d71 = 594e = a1fc
        ");
    }

    #[test]
    fn every_input_must_share_a_key() {
        let one = cache("a\nb\nc\ncopy 0;1 =x");
        let other = cache("a\nb\nc\ncopy 0;2 =y");
        assert_eq!(merge(&[&one, &other]).records.len(), 5);
    }

    /// The same file copied by the same command, from where the first copy put it: uniting both would make
    /// the record its own input.
    #[test]
    fn a_copy_of_a_copy_makes_no_loop() {
        let looping = cache("base\ncontent\ncopy 0;1 =x\ncopy 0;2@file,1 =x/y");
        assert_eq!(looping.records.len(), 4);
        assert_valid(&merge(&[&looping, &cache("base\ncontent\ncopy 0;1 =z")]));
    }

    /// BuildKit 0.13 unrolls the loop once: the second `f419` has the result of the first as a key.
    #[test]
    fn a_real_copy_of_a_copy_stays_unrolled() {
        insta::assert_snapshot!(show(&read(INLINE_LOOP)), @r"
        0 156c
        1 1bd1
        2 d142
        3 f419 (>1) (84ea>0 or >2) = 20b8/6ec8/aef9
        4 156c (8a5e>3) = 20b8/6ec8/aef9/09fd
        5 f419 (>1) (>2 or 84ea>4) = 20b8/6ec8/aef9
        6 156c (8a5e>5) = 20b8/6ec8/aef9/09fd
        7 8bf9 (8a5e>6) = 20b8/6ec8/aef9/09fd/bf11
        ");
    }

    #[test]
    fn a_flood_of_records_is_only_united_where_equal() {
        let mut text = "root\n".to_owned();
        let count = GROUP_LIMIT + 1;
        (0..count).for_each(|number| text.push_str(&format!("key{number}\n")));
        (0..count).for_each(|number| text.push_str(&format!("run 0,{}\n", number + 1)));
        let flood = cache(&text);
        assert_eq!(flood.records.len(), 1 + 2 * count);
        assert_eq!(merge(&[&flood, &flood]), flood);
    }

    #[test]
    fn real_caches_keep_everything() {
        let parts = [INLINE_FINAL, INLINE_BUILD, MODE_MAX, INLINE_FINAL_20, INLINE_LOOP].map(read);
        let merged = merge(&parts.iter().collect::<Vec<_>>());
        parts.iter().for_each(|part| assert_contains(&merged, part));
        insta::assert_snapshot!(show(&merge(&[&parts[0], &parts[1], &parts[2]])), @r"
        0 0990
        1 0d58
        2 12f2
        3 1bd1
        4 6b9d
        5 6ef0
        6 95ce
        7 57a5 (>3) = 78a7/3118/e6df
        8 70a0 (>4) = 551f
        9 747f (8a5e>0 or 8a5e>3) = 78a7/3118/a6c8
        10 0dd2 (>3) (>5 or 1491>9) = 78a7/3118/a6c8
        11 1163 (>7) (>2) = 78a7/3118/e6df/f9bb
        12 5dbf (>10) (>8) = 78a7/3118/a6c8/551f
        13 6f5c (8a5e>11) = 78a7/3118/e6df/f9bb/5d94
        14 9bf2 (>13) (>1) = 78a7/3118/e6df/f9bb/5d94/5ab1
        15 9264 (8a5e>14) = 78a7/3118/e6df/f9bb/5d94/5ab1/3313
        16 d95b (>12) (>6 or c016>15) = 78a7/3118/a6c8/551f/318d
        17 1484 (8a5e>16) = 78a7/3118/a6c8/551f/318d/49aa
        ");
    }
}
