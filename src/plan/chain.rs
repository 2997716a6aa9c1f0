//! The chain: many candidate cache refs in, exactly one ref out.
//!
//! BuildKit does not treat several `--cache-from` as an order of preference: it merges all of them, and where two hold
//! the same key, one with a result and one without (every inline image does, for the stages that it copies from), a
//! race between goroutines decides (moby/buildkit#6418, #4674; measured on Docker 28.5: correct refs hit 1 to 5 times
//! of 6). So the chain is resolved here. One usable ref is passed as it is, and so is one that holds all that the others
//! hold. Several are merged into one, under the scope's own tag, where we may write; where we may not, the nearest is
//! passed.
//!
//! A ref is also written anew, alone, when BuildKit could not read it as it is: a form that an old engine does not
//! know, a config above the import limit, blobs that are gone.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::units::plural;
use crate::cachefmt::{self, Authored, Cache, IMPORT_LIMIT, Kind, Provenance};
use crate::model::engine::{Engine, ManifestForm};
use crate::model::outcome::CandidateOutcome;
use crate::model::platform::Platform;
use crate::model::reference::{Digest, Reference};

/// A cache ref that may be read, and what the registry said of it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The ref.
    pub reference: Reference,
    /// The scope that it belongs to.
    pub scope: String,
    /// What was found.
    pub finding: Finding,
}

/// What the registry said of a candidate.
#[derive(Debug, Clone)]
pub enum Finding {
    /// There is no such ref.
    Missing,
    /// It cannot be used, for this reason: forbidden, malformed, the registry failing.
    Unusable(String),
    /// The registry cannot be reached from here; the engine may still reach it.
    Unreachable(String),
    /// There is a cache.
    Found(Box<Found>),
    /// There is a stage's image for the classic builder, which needs no cache metadata.
    Image {
        /// Digest of the manifest.
        digest: Digest,
    },
}

/// A cache that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Digest of the manifest.
    pub digest: Digest,
    /// What it holds.
    pub cache: Cache,
    /// The form that it has.
    pub form: FoundForm,
    /// Size of its config, in bytes.
    pub config_size: u64,
    /// What its annotations tell.
    pub provenance: Provenance,
    /// The platforms that it is for, where that is known.
    pub platforms: Vec<Platform>,
    /// Blobs that the registry no longer has.
    pub gone: BTreeSet<Digest>,
}

/// The form of a cache in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundForm {
    /// An image, or an index of images, with inline caches.
    Inline,
    /// A registry cache.
    Exported(ManifestForm),
}

impl FoundForm {
    /// Of a manifest that was classified.
    pub fn of(kind: &Kind) -> Self {
        match kind {
            Kind::CacheImage { .. } => FoundForm::Exported(ManifestForm::Image),
            Kind::CacheIndex { .. } => FoundForm::Exported(ManifestForm::Index),
            Kind::Image { .. } | Kind::Index { .. } => FoundForm::Inline,
        }
    }
}

/// A cache ref that is to be written before the build.
#[derive(Debug, Clone)]
pub struct Put {
    /// Where.
    pub reference: Reference,
    /// What.
    pub authored: Authored,
    /// The refs that it was made of.
    pub sources: Vec<Reference>,
    /// What to read where writing fails: the nearest ref that can be read as it is.
    pub otherwise: Option<Reference>,
}

/// What the chain came to.
#[derive(Debug, Clone, Default)]
pub struct Resolution {
    /// The one ref to read.
    pub read: Option<Reference>,
    /// What has to be written first, so that `read` is what it should be.
    pub put: Option<Put>,
    /// What became of each candidate, in the chain's order.
    pub verdicts: Vec<CandidateOutcome>,
    /// All that the usable refs hold, where they could be looked into.
    pub cache: Option<Cache>,
    /// What is read holds all that the usable refs hold.
    is_united: bool,
    /// The scopes whose caches are in what is read, the nearest first.
    pub sources: Vec<String>,
    /// What is wrong with candidates that should have been usable.
    pub troubles: Vec<String>,
    /// Why.
    pub reason: String,
}

impl Resolution {
    /// What is in the ref that is read, where somebody has looked into it and all its layers are there.
    pub fn content<'a>(&'a self, candidates: &'a [Candidate]) -> Option<&'a Cache> {
        let read = self.read.as_ref()?;
        let found = |candidate: &'a Candidate| match &candidate.finding {
            Finding::Found(found) if candidate.reference == *read && found.gone.is_empty() => {
                Some(&found.cache)
            }
            _ => None,
        };
        match &self.put {
            Some(_) => self.cache.as_ref(),
            None => candidates.iter().find_map(found),
        }
    }
}

/// What the chain is resolved for.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The engine that is to read it.
    pub engine: &'a Engine,
    /// What is built for.
    pub platforms: &'a [Platform],
    /// The scope's own ref, where we may write it.
    pub own: Option<&'a Reference>,
}

/// Resolves the chain.
pub fn resolve(candidates: &[Candidate], reader: Reader<'_>) -> Resolution {
    let mut resolution = Resolution::default();
    let mut usable: Vec<(usize, &Found, Cache)> = Vec::new();
    for (place, candidate) in candidates.iter().enumerate() {
        let verdict = match &candidate.finding {
            Finding::Missing => "not found".to_owned(),
            Finding::Unusable(reason) | Finding::Unreachable(reason) => reason.clone(),
            Finding::Image { .. } => "without cache metadata".to_owned(),
            Finding::Found(found) => match examine(found, reader, &usable, candidates) {
                Ok(cache) => {
                    usable.push((place, found, cache));
                    "usable".to_owned()
                }
                Err(reason) => reason,
            },
        };
        let (reference, scope) = (candidate.reference.to_string(), candidate.scope.clone());
        resolution.troubles.extend(trouble(candidate));
        resolution.verdicts.push(CandidateOutcome { reference, scope, verdict });
    }
    let caches: Vec<&Cache> = usable.iter().map(|(_, _, cache)| cache).collect();
    resolution.cache = (!caches.is_empty()).then(|| cachefmt::merge(&caches));
    match (usable.as_slice(), reader.own) {
        ([], _) => nearest_unprobed(candidates, &mut resolution),
        ([(place, found, _)], _) if is_readable(found, reader.engine) => {
            read(candidates, *place, "the only usable cache ref", &mut resolution);
        }
        (several, own) => unite(candidates, several, own, reader, &mut resolution),
    }
    resolution.sources = sources(candidates, &usable, &resolution);
    resolution
}

/// The scopes that are in what is read: all that are usable where one ref holds all of them, else that of the one ref. Of
/// several refs to one manifest, each counts.
fn sources(
    candidates: &[Candidate],
    usable: &[(usize, &Found, Cache)],
    resolution: &Resolution,
) -> Vec<String> {
    let Some(reference) = &resolution.read else { return Vec::new() };
    let is_read = |place: usize| resolution.is_united || candidates[place].reference == *reference;
    let digests: BTreeSet<&Digest> =
        usable.iter().filter(|(place, ..)| is_read(*place)).map(|(_, found, _)| &found.digest).collect();
    let counts = |candidate: &&Candidate| match &candidate.finding {
        Finding::Found(found) => digests.contains(&found.digest),
        // Passed unprobed.
        Finding::Unreachable(_) => candidate.reference == *reference,
        Finding::Missing | Finding::Unusable(_) | Finding::Image { .. } => false,
    };
    candidates.iter().filter(counts).map(|candidate| candidate.scope.clone()).collect()
}

/// What the user should be told of a candidate: not that it is absent or for others, but that it is broken or withheld.
fn trouble(candidate: &Candidate) -> Option<String> {
    let reason = match &candidate.finding {
        Finding::Missing | Finding::Image { .. } => return None,
        Finding::Unusable(reason) | Finding::Unreachable(reason) => reason.clone(),
        Finding::Found(found) => match found.gone.len() {
            0 => return None,
            count => format!("{} gone from the registry", plural(count, "layer")),
        },
    };
    Some(format!("cache ref {}: {reason}", candidate.reference))
}

/// Resolves the chain of the classic builder: every distinct image is read, in the chain's order, which that builder
/// follows.
pub fn resolve_classic(candidates: &[Candidate]) -> (Vec<Reference>, Resolution) {
    let mut resolution = Resolution::default();
    let mut seen: BTreeMap<&Digest, &Reference> = BTreeMap::new();
    let mut images = Vec::new();
    for candidate in candidates {
        let verdict = match &candidate.finding {
            Finding::Missing => "not found".to_owned(),
            Finding::Unusable(reason) => reason.clone(),
            Finding::Image { digest } => match seen.get(digest) {
                Some(earlier) => format!("the same as {earlier}"),
                None => {
                    seen.insert(digest, &candidate.reference);
                    images.push(candidate.reference.clone());
                    "used".to_owned()
                }
            },
            // The engine pulls; it may reach what we cannot.
            Finding::Unreachable(reason) => {
                images.push(candidate.reference.clone());
                format!("used unprobed: {reason}")
            }
            Finding::Found(_) => "not a stage's image".to_owned(),
        };
        let (reference, scope) = (candidate.reference.to_string(), candidate.scope.clone());
        resolution.troubles.extend(trouble(candidate));
        resolution.verdicts.push(CandidateOutcome { reference, scope, verdict });
    }
    let is_used = |(candidate, outcome): &(&Candidate, &CandidateOutcome)| {
        images.contains(&candidate.reference) || outcome.verdict.starts_with("the same as ")
    };
    let used = candidates.iter().zip(&resolution.verdicts).filter(is_used);
    resolution.sources = used.map(|(candidate, _)| candidate.scope.clone()).collect();
    resolution.sources.dedup();
    resolution.reason = match images.len() {
        0 => "no stage image of the chain can be used".to_owned(),
        _ => "the classic builder reads images in the order given".to_owned(),
    };
    (images, resolution)
}

fn read(candidates: &[Candidate], place: usize, reason: &str, resolution: &mut Resolution) {
    resolution.read = Some(candidates[place].reference.clone());
    "used".clone_into(&mut resolution.verdicts[place].verdict);
    reason.clone_into(&mut resolution.reason);
}

/// The registry may be out of reach from here and not from the engine (a remote dind).
fn nearest_unprobed(candidates: &[Candidate], resolution: &mut Resolution) {
    let unreachable = |candidate: &Candidate| matches!(candidate.finding, Finding::Unreachable(_));
    match candidates.iter().position(unreachable) {
        Some(place) => {
            let reason = "the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed";
            let verdict = format!("used unprobed: {}", resolution.verdicts[place].verdict);
            read(candidates, place, reason, resolution);
            resolution.verdicts[place].verdict = verdict;
        }
        None if candidates.is_empty() => "there is no scope to read".clone_into(&mut resolution.reason),
        None => "no cache ref of the chain can be used".clone_into(&mut resolution.reason),
    }
}

/// Several refs, or one that the engine cannot read as it is: one that holds everything is read, else they are merged
/// under our own, else the nearest is read.
fn unite(
    candidates: &[Candidate],
    usable: &[(usize, &Found, Cache)],
    own: Option<&Reference>,
    reader: Reader<'_>,
    resolution: &mut Resolution,
) {
    // The nearest scope comes first, and what is cut for size is cut from the farthest.
    let prune = |caches: &[&Cache]| cachefmt::prune(&cachefmt::merge(caches), IMPORT_LIMIT).0;
    let merged = prune(&usable.iter().map(|(_, _, cache)| cache).collect::<Vec<_>>());
    let write = |cache: &Cache| {
        let provenance = Provenance {
            generation: Some(reader.engine.generation()),
            buildkit: reader.engine.buildkit,
            platforms: reader.platforms.to_vec(),
            created: usable.iter().filter_map(|(_, found, _)| found.provenance.created).max(),
        };
        cachefmt::write(cache, reader.engine.manifest_form(), &provenance.annotations())
    };
    let authored = write(&merged);
    let readable = || usable.iter().filter(|(_, found, _)| is_readable(found, reader.engine));
    let direct = readable().next().map(|(place, ..)| *place);
    let whole = readable()
        .find(|(_, _, cache)| write(&prune(&[cache])).config_digest == authored.config_digest)
        .map(|(place, ..)| *place);
    match (whole, own, direct) {
        (Some(place), ..) => {
            read(candidates, place, "it holds all that the other usable refs hold", resolution);
            resolution.is_united = true;
        }
        (None, Some(own), _) => {
            let verdict =
                if usable.len() > 1 { "merged" } else { "written anew, in a form that this engine reads" };
            for (place, ..) in usable {
                verdict.clone_into(&mut resolution.verdicts[*place].verdict);
            }
            resolution.reason = match usable.len() {
                1 => "the only usable cache ref, written anew so that this engine can read it".to_owned(),
                several => format!("{several} cache refs merged into one: BuildKit would race between them"),
            };
            resolution.read = Some(own.clone());
            resolution.is_united = true;
            resolution.put = Some(Put {
                reference: own.clone(),
                authored,
                sources: usable.iter().map(|(place, ..)| candidates[*place].reference.clone()).collect(),
                otherwise: direct.map(|place| candidates[place].reference.clone()),
            });
        }
        (None, None, Some(place)) => {
            let reason = "the nearest of several, which may not be merged without writing";
            read(candidates, place, reason, resolution);
        }
        (None, None, None) => {
            for (place, ..) in usable {
                "not in a form that this engine reads".clone_into(&mut resolution.verdicts[*place].verdict);
            }
            "no cache ref can be read by this engine as it is, and none may be written"
                .clone_into(&mut resolution.reason);
        }
    }
}

/// Whether the cache is of use to this engine: what can be used of it, or why nothing can.
fn examine(
    found: &Found,
    reader: Reader<'_>,
    usable: &[(usize, &Found, Cache)],
    candidates: &[Candidate],
) -> Result<Cache, String> {
    if let Some((place, ..)) = usable.iter().find(|(_, earlier, _)| earlier.digest == found.digest) {
        return Err(format!("the same as {}", candidates[*place].reference));
    }
    if found.provenance.generation.is_some_and(|generation| generation != reader.engine.generation()) {
        let maker = found
            .provenance
            .buildkit
            .map_or_else(|| "another BuildKit".to_owned(), |version| format!("BuildKit {version}"));
        return Err(format!("made by {maker}, whose cache keys this engine does not share"));
    }
    let known = if found.platforms.is_empty() { &found.provenance.platforms } else { &found.platforms };
    if !known.is_empty() && !known.iter().any(|platform| reader.platforms.contains(platform)) {
        return Err(format!("for {}", list(known)));
    }
    let cache = if found.gone.is_empty() {
        found.cache.clone()
    } else {
        cachefmt::without_blobs(&found.cache, &found.gone)
    };
    match (cache.is_empty(), found.gone.is_empty()) {
        (true, true) => Err("holds no layer".to_owned()),
        (true, false) => Err("its layers are gone from the registry".to_owned()),
        (false, _) => Ok(cache),
    }
}

/// Whether the engine's BuildKit can import the ref as it stands.
fn is_readable(found: &Found, engine: &Engine) -> bool {
    let form = match found.form {
        FoundForm::Inline => true,
        FoundForm::Exported(form) => form == ManifestForm::Index || engine.manifest_form() == form,
    };
    let small = found.form == FoundForm::Inline || found.config_size <= IMPORT_LIMIT as u64;
    form && small && found.gone.is_empty()
}

fn list(platforms: &[Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
