//! The normal form of a cache: what BuildKit would make of an inline cache or a cache config after reading it.
//!
//! A *layer* is a blob on top of a parent layer, each such pair once. A *record* is an operation's key with,
//! for every input, the keys that stand for it, and the layers that are its results. Merge-op results
//! (`chains`) become ordinary results: to BuildKit both are the same list of blobs
//! (cache/remotecache/v1/parse.go).
//!
//! Invariants, held by construction: a layer's parent and a record's links come before it, so nothing loops
//! or dangles; every blob has a descriptor; layers without a result above them are not kept; the order
//! follows from the content alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use crate::cachefmt::manifest::{Descriptor, Kind, Manifest};
use crate::cachefmt::record::{WireLayer, WireLink, WireRecord};
use crate::cachefmt::{Error, cacheconfig, inline, mediatype, merge};
use crate::model::reference::Digest;

/// Records, layers and links that are read of one cache. BuildKit's import limit leaves room for a quarter of them.
const RECORD_LIMIT: usize = 1 << 15;
const LAYER_LIMIT: usize = 1 << 15;
const LINK_LIMIT: usize = 1 << 18;

/// Annotation of a layer descriptor that BuildKit needs: the digest of the unpacked layer.
pub(crate) const DIFF_ID: &str = "containerd.io/uncompressed";
/// Annotation of a layer descriptor: when the layer was made.
pub(crate) const CREATED_AT: &str = "buildkit/createdat";
/// Annotation that tells a layer's command. Not carried: it costs import space, and build arguments stand in it.
const DESCRIPTION: &str = "buildkit/description";
/// Prefix of annotations that name the repository of a blob; wrong as soon as it is mounted elsewhere.
const SOURCE: &str = "containerd.io/distribution.source.";

/// A cache in normal form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cache {
    pub(crate) layers: Vec<Layer>,
    pub(crate) records: Vec<Record>,
    pub(crate) blobs: BTreeMap<Digest, Blob>,
}

/// A blob on top of its parent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Layer {
    pub(crate) parent: Option<usize>,
    pub(crate) blob: Digest,
}

/// What a blob's descriptor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) media_type: &'static str,
    pub(crate) size: u64,
    /// `containerd.io/uncompressed` is always among them.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// How a cache holds the layers of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It does not.
    Not,
    /// What has them has other results too, and BuildKit may take either.
    AmongOthers,
    /// What has them has no other result: a hit comes to just these.
    Alone,
}

/// An operation's key, and what it gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) digest: String,
    pub(crate) inputs: Vec<BTreeSet<Link>>,
    /// By layer.
    pub(crate) results: BTreeMap<usize, Found>,
}

/// A key that stands for an input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Link {
    pub(crate) record: usize,
    /// The part of that record's result which counts; empty for all of it.
    pub(crate) selector: String,
}

/// When a result was made, and how near the cache is that had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) created_at: Option<Timestamp>,
    /// Position in the merge's list of the first cache that had it: what is near is dropped last.
    pub(crate) rank: usize,
}

impl Found {
    /// The same result from two caches: the newer date, the nearer place.
    pub(crate) fn and(self, other: Found) -> Found {
        Found { created_at: self.created_at.max(other.created_at), rank: self.rank.min(other.rank) }
    }
}

impl Cache {
    /// Reads whatever [`classify`](super::classify) calls an image or a cache. `config` is the blob that the
    /// manifest names; its digest is checked. Errors: an index of images (read its children), an image
    /// without cache metadata, and everything that BuildKit itself would refuse, except size.
    pub fn read(manifest: &[u8], config: &[u8]) -> Result<Cache, Error> {
        let manifest = Manifest::parse(manifest)?;
        let (expected, is_inline) = match &manifest.kind {
            Kind::CacheImage { config } | Kind::CacheIndex { config } => (&config.digest, false),
            Kind::Image { config } => (&config.digest, true),
            Kind::Index { .. } => return Err(Error::Unsupported("it is an index of images")),
        };
        let actual = Digest::of(config);
        if actual != *expected {
            return Err(Error::WrongConfig { expected: expected.clone(), actual });
        }
        if is_inline {
            inline::read(manifest.layers, config)
        } else {
            cacheconfig::read(manifest.layers, config)
        }
    }

    /// Whether nothing in it can be hit: no record has a result.
    pub fn is_empty(&self) -> bool {
        self.records.iter().all(|record| record.results.is_empty())
    }

    /// How it holds these layers, the lowest first, by the digests of what they unpack to.
    pub fn holds(&self, diff_ids: &[Digest]) -> Held {
        let mut tops: BTreeSet<Option<usize>> = BTreeSet::from([None]);
        for diff_id in diff_ids {
            let is_next = |layer: &Layer| {
                let unpacked = self.blobs.get(&layer.blob).and_then(|blob| blob.annotations.get(DIFF_ID));
                tops.contains(&layer.parent) && unpacked.is_some_and(|unpacked| unpacked == diff_id.as_str())
            };
            tops = (0..self.layers.len()).filter(|at| is_next(&self.layers[*at])).map(Some).collect();
        }
        let is_of = |record: &&Record| record.results.keys().any(|layer| tops.contains(&Some(*layer)));
        match self.records.iter().filter(is_of).map(|record| record.results.len()).max() {
            None => Held::Not,
            Some(1) => Held::Alone,
            Some(_) => Held::AmongOthers,
        }
    }

    /// The blobs that it needs, with their sizes, in the order of their digests.
    pub fn blobs(&self) -> impl Iterator<Item = (&Digest, u64)> {
        self.blobs.iter().map(|(digest, blob)| (digest, blob.size))
    }

    /// From the wire's parts. A result is dropped, as BuildKit drops it, when a layer below it has no usable
    /// descriptor.
    pub(crate) fn from_wire(
        layers: &[WireLayer],
        records: Vec<WireRecord>,
        descriptors: Vec<Descriptor>,
    ) -> Result<Cache, Error> {
        check_size(layers, &records)?;
        let mut blobs = BTreeMap::new();
        for descriptor in descriptors {
            let digest = descriptor.digest.clone();
            if let Some(blob) = Blob::from_descriptor(descriptor) {
                blobs.insert(digest, blob);
            }
        }
        let mut known = Layers::default();
        let places = place_layers(layers, &blobs, &mut known)?;
        let records = place_records(records, layers, &places, &blobs, &mut known)?;
        Ok(merge::settle(Cache { layers: known.list, records, blobs }))
    }
}

impl Record {
    /// Gives every link the new place of the record that it leads to.
    pub(crate) fn relink(&mut self, place: impl Fn(usize) -> usize) {
        for keys in &mut self.inputs {
            let old = std::mem::take(keys).into_iter();
            *keys = old.map(|link| Link { record: place(link.record), ..link }).collect();
        }
    }
}

impl Blob {
    /// `None` when BuildKit could not use it: not a layer, or the digest of its content unknown.
    fn from_descriptor(descriptor: Descriptor) -> Option<Blob> {
        let media_type = mediatype::layer(&descriptor.media_type)?;
        let mut annotations = descriptor.annotations;
        annotations.get(DIFF_ID)?.parse::<Digest>().ok()?;
        annotations.retain(|key, _| key != DESCRIPTION && !key.starts_with(SOURCE));
        Some(Blob { media_type, size: descriptor.size, annotations })
    }
}

/// Layers under construction: every (parent, blob) once.
#[derive(Default)]
pub(crate) struct Layers {
    pub(crate) list: Vec<Layer>,
    index: HashMap<Layer, usize>,
}

impl Layers {
    /// The layer's place; a new one when it was not known.
    pub(crate) fn place(&mut self, parent: Option<usize>, blob: &Digest) -> usize {
        let layer = Layer { parent, blob: blob.clone() };
        *self.index.entry(layer).or_insert_with_key(|layer| {
            self.list.push(layer.clone());
            self.list.len() - 1
        })
    }
}

fn check_size(layers: &[WireLayer], records: &[WireRecord]) -> Result<(), Error> {
    let check =
        |what, count, limit| if count > limit { Err(Error::TooMany { what, count, limit }) } else { Ok(()) };
    check("layers", layers.len(), LAYER_LIMIT)?;
    check("records", records.len(), RECORD_LIMIT)?;
    let links = records.iter().map(|record| {
        record.layers.len()
            + record.chains.iter().map(|chain| chain.layers.len()).sum::<usize>()
            + record.inputs.iter().map(Vec::len).sum::<usize>()
    });
    check("links", links.sum(), LINK_LIMIT)
}

/// For every wire layer its place among the known ones, or `None` when its blob or one below it cannot be had.
fn place_layers(
    layers: &[WireLayer],
    blobs: &BTreeMap<Digest, Blob>,
    known: &mut Layers,
) -> Result<Vec<Option<usize>>, Error> {
    let parents: Vec<Vec<usize>> = layers.iter().map(|layer| layer.parent.into_iter().collect()).collect();
    let mut places = vec![None; layers.len()];
    for index in dependencies_first("layer", "layers", &parents)? {
        let blob = &layers[index].blob;
        places[index] = match (blobs.contains_key(blob), parents[index].first()) {
            (false, _) => None,
            (true, None) => Some(known.place(None, blob)),
            (true, Some(parent)) => places[*parent].map(|parent| known.place(Some(parent), blob)),
        };
    }
    Ok(places)
}

/// The records in an order in which links lead back, with results in terms of known layers.
fn place_records(
    records: Vec<WireRecord>,
    layers: &[WireLayer],
    places: &[Option<usize>],
    blobs: &BTreeMap<Digest, Blob>,
    known: &mut Layers,
) -> Result<Vec<Record>, Error> {
    let links = |record: &WireRecord| record.inputs.iter().flatten().map(|link| link.link).collect();
    let dependencies: Vec<Vec<usize>> = records.iter().map(links).collect();
    let order = dependencies_first("record", "records", &dependencies)?;
    let mut new_index = vec![0; records.len()];
    for (new, old) in order.iter().enumerate() {
        new_index[*old] = new;
    }
    let mut placed = Vec::with_capacity(records.len());
    for (index, wire) in records.into_iter().enumerate() {
        if wire.inputs.iter().any(Vec::is_empty) {
            return Err(Error::EmptyInput(index));
        }
        let mut results: BTreeMap<usize, Found> = BTreeMap::new();
        let mut add = |layer: Option<usize>, created_at| {
            let found = Found { created_at, rank: 0 };
            if let Some(layer) = layer {
                results.entry(layer).and_modify(|old| *old = old.and(found)).or_insert(found);
            }
        };
        for result in &wire.layers {
            let dangling = Error::Dangling { what: "layer", index: result.layer };
            add(*places.get(result.layer).ok_or(dangling)?, result.created_at);
        }
        for chain in &wire.chains {
            add(place_chain(&chain.layers, layers, blobs, known)?, chain.created_at);
        }
        let link = |link: &WireLink| Link { record: new_index[link.link], selector: link.selector.clone() };
        let inputs = wire.inputs.iter().map(|keys| keys.iter().map(link).collect()).collect();
        placed.push((new_index[index], Record { digest: wire.digest, inputs, results }));
    }
    placed.sort_by_key(|(index, _)| *index);
    Ok(placed.into_iter().map(|(_, record)| record).collect())
}

/// The top of a merge-op result, as a stack of its own.
fn place_chain(
    chain: &[usize],
    layers: &[WireLayer],
    blobs: &BTreeMap<Digest, Blob>,
    known: &mut Layers,
) -> Result<Option<usize>, Error> {
    let mut stack = Vec::with_capacity(chain.len());
    for &index in chain {
        stack.push(&layers.get(index).ok_or(Error::Dangling { what: "layer", index })?.blob);
    }
    if !stack.iter().all(|blob| blobs.contains_key(*blob)) {
        return Ok(None);
    }
    Ok(stack.into_iter().fold(None, |parent, blob| Some(known.place(parent, blob))))
}

/// Indices in an order in which everything comes after what it depends on. Errors: a dependency that does not
/// exist, a loop.
fn dependencies_first(
    one: &'static str,
    all: &'static str,
    dependencies: &[Vec<usize>],
) -> Result<Vec<usize>, Error> {
    let mut dependents = vec![Vec::new(); dependencies.len()];
    for (index, needed) in dependencies.iter().enumerate() {
        for &needed in needed {
            dependents.get_mut(needed).ok_or(Error::Dangling { what: one, index: needed })?.push(index);
        }
    }
    let mut waiting: Vec<usize> = dependencies.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..dependencies.len()).filter(|index| waiting[*index] == 0).collect();
    let mut done = 0;
    while let Some(&ready) = order.get(done) {
        done += 1;
        for &dependent in &dependents[ready] {
            waiting[dependent] -= 1;
            if waiting[dependent] == 0 {
                order.push(dependent);
            }
        }
    }
    if order.len() < dependencies.len() { Err(Error::Loop(all)) } else { Ok(order) }
}

#[cfg(test)]
impl Cache {
    /// One record whose result is these layers, the lowest first, by what they unpack to.
    pub(crate) fn of_layers(diff_ids: &[Digest]) -> Cache {
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip".to_owned();
        let blob = |diff_id: &Digest| Descriptor {
            media_type: media_type.clone(),
            digest: Digest::of(diff_id.as_str().as_bytes()),
            size: 1,
            annotations: BTreeMap::from([(DIFF_ID.to_owned(), diff_id.to_string())]),
        };
        let blobs: Vec<Descriptor> = diff_ids.iter().map(blob).collect();
        let layer = |(at, blob): (usize, &Descriptor)| WireLayer {
            blob: blob.digest.clone(),
            parent: at.checked_sub(1),
        };
        let layers: Vec<WireLayer> = blobs.iter().enumerate().map(layer).collect();
        let result =
            crate::cachefmt::record::WireResult { layer: layers.len().saturating_sub(1), created_at: None };
        let record = WireRecord {
            digest: "run".to_owned(),
            layers: vec![result],
            chains: Vec::new(),
            inputs: Vec::new(),
        };
        Cache::from_wire(&layers, vec![record], blobs).expect("a cache")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cachefmt::merge::tests::assert_valid;
    use crate::cachefmt::record::{WireChain, WireResult};

    fn descriptor(name: &str, media_type: &str, annotations: &[(&str, &str)]) -> Descriptor {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(name.as_bytes()),
            size: 1,
            annotations: annotations.collect(),
        }
    }

    proptest! {
        /// Indices that dangle and loop as they like: refused, or a valid cache.
        #[test]
        fn hostile_indices_do_no_harm(
            parents in prop::collection::vec(prop::option::of(0..5_usize), 0..5),
            records in prop::collection::vec((prop::collection::vec(0..7_usize, 0..3), 0..6_usize, 0..6_usize), 0..7),
        ) {
            let diff_id = Digest::of(b"content");
            let blob = descriptor("blob", "application/vnd.oci.image.layer.v1.tar", &[(DIFF_ID, diff_id.as_str())]);
            let layers: Vec<_> =
                parents.into_iter().map(|parent| WireLayer { blob: blob.digest.clone(), parent }).collect();
            let records = records.into_iter().map(|(links, layer, chained)| WireRecord {
                digest: "run".to_owned(),
                layers: vec![WireResult { layer, created_at: None }],
                chains: vec![WireChain { layers: vec![chained, layer], created_at: None }],
                inputs: links.iter().map(|&link| vec![WireLink { link, selector: String::new() }]).collect(),
            });
            if let Ok(cache) = Cache::from_wire(&layers, records.collect(), vec![blob]) {
                assert_valid(&cache);
            }
        }
    }

    #[test]
    fn a_result_is_known_by_what_its_layers_unpack_to() {
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        let unpacked = |name: &str| Digest::of(format!("unpacked {name}").as_bytes());
        let blob = |name: &str| descriptor(name, media_type, &[(DIFF_ID, unpacked(name).as_str())]);
        let layer = |name: &str, parent| WireLayer { blob: Digest::of(name.as_bytes()), parent };
        let layers = [layer("a", None), layer("b", Some(0)), layer("b", None)];
        let record = |name: &str, layers: &[usize]| WireRecord {
            digest: name.to_owned(),
            layers: layers.iter().map(|layer| WireResult { layer: *layer, created_at: None }).collect(),
            chains: Vec::new(),
            inputs: Vec::new(),
        };
        let held = |records: Vec<WireRecord>, names: &[&str]| {
            let cache = Cache::from_wire(&layers, records, vec![blob("a"), blob("b")]).expect("cache");
            let diff_ids: Vec<Digest> = names.iter().map(|name| unpacked(name)).collect();
            cache.holds(&diff_ids)
        };
        let one = || vec![record("make", &[1]), record("copy", &[2])];
        assert_eq!([held(one(), &["a", "b"]), held(one(), &["b"])], [Held::Alone; 2]);
        for names in [&["a"][..], &["b", "a"], &["a", "b", "b"], &["c"], &[]] {
            assert_eq!(held(one(), names), Held::Not, "{names:?}");
        }
        assert_eq!(held(vec![record("make", &[1, 2])], &["a", "b"]), Held::AmongOthers);
    }

    #[test]
    fn only_blobs_that_can_be_unpacked_are_kept() {
        let diff_id = Digest::of(b"content").to_string();
        let gzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let read =
            |media_type, annotations: &[_]| Blob::from_descriptor(descriptor("a", media_type, annotations));
        assert_eq!(read("application/vnd.oci.image.config.v1+json", &[(DIFF_ID, &diff_id)]), None);
        assert_eq!(read(gzip, &[]), None);
        assert_eq!(read(gzip, &[(DIFF_ID, "sha256:x")]), None);
        let kept = [(DIFF_ID, diff_id.as_str()), (CREATED_AT, "2026-11-23T04:32:35Z"), ("toc", "1")];
        let dropped = [(DESCRIPTION, "RUN secret"), ("containerd.io/distribution.source.ghcr.io", "a/b")];
        let blob = read(gzip, &[&kept[..], &dropped[..]].concat()).expect("usable");
        assert_eq!(blob.media_type, "application/vnd.oci.image.layer.v1.tar+gzip");
        assert_eq!(blob.annotations, kept.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn dependencies_come_first() {
        let order = |dependencies: &[&[usize]]| {
            let dependencies: Vec<_> = dependencies.iter().map(|needed| needed.to_vec()).collect();
            dependencies_first("record", "records", &dependencies).map_err(|error| error.to_string())
        };
        assert_eq!(order(&[&[2], &[], &[1, 1]]), Ok(vec![1, 2, 0]));
        assert_eq!(order(&[&[1], &[0], &[]]), Err("cache records form a loop".to_owned()));
        assert_eq!(order(&[&[3]]), Err("cache record 3 does not exist".to_owned()));
    }
}
