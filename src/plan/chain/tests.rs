//! The chain under test: every verdict by name, then what must hold for any chain.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::engine::{Frontend, Generation, Store, Version};
use crate::plan::strategy::tests::engine;

/// A cache of steps that know nothing of each other: each a key with a layer of its own.
fn cache(steps: &[&str]) -> Cache {
    let digests: Vec<Digest> = steps.iter().map(|step| Digest::of(step.as_bytes())).collect();
    let layers: Vec<_> = digests.iter().map(|digest| json!({"blob": digest, "parent": -1})).collect();
    let record = |(at, digest)| json!({"digest": digest, "layers": [{"layer": at, "createdAt": "2026-01-01T00:00:00Z"}]});
    let records: Vec<_> = digests.iter().enumerate().map(record).collect();
    let config = json!({"layers": layers, "records": records}).to_string();
    let blob = |digest: &Digest| {
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": 10,
            "annotations": {"containerd.io/uncompressed": digest}})
    };
    let manifest = json!({
        "config": {"mediaType": "application/vnd.buildkit.cacheconfig.v0",
            "digest": Digest::of(config.as_bytes()), "size": config.len()},
        "layers": digests.iter().map(blob).collect::<Vec<_>>(),
    });
    Cache::read(manifest.to_string().as_bytes(), config.as_bytes()).expect("cache")
}

fn reference(scope: &str) -> Reference {
    format!("r.io/app/cache:{scope}").parse().expect("reference")
}

/// A cache that BuildKit 0.12 and later read as it is.
fn found(steps: &[&str]) -> Found {
    Found {
        digest: Digest::of(format!("{steps:?}").as_bytes()),
        cache: cache(steps),
        form: FoundForm::Exported(ManifestForm::Image),
        config_size: 1000,
        provenance: Provenance::default(),
        platforms: Vec::new(),
        gone: BTreeSet::new(),
    }
}

fn candidate(scope: &str, finding: Finding) -> Candidate {
    Candidate { reference: reference(scope), scope: scope.to_owned(), finding }
}

fn has(scope: &str, found: Found) -> Candidate {
    candidate(scope, Finding::Found(Box::new(found)))
}

fn modern() -> Engine {
    engine(Version(28, 5, 2), Store::Containerd, Frontend::Buildx)
}

fn old() -> Engine {
    engine(Version(20, 10, 24), Store::GraphDriver, Frontend::BuildKit)
}

fn resolved(candidates: &[Candidate], engine: &Engine, own: Option<&str>) -> Resolution {
    let own = own.map(reference);
    let platforms = ["linux/amd64".parse().expect("platform")];
    resolve(candidates, Reader { engine, platforms: &platforms, own: own.as_ref() })
}

/// The steps that a written cache holds.
fn steps_of(put: &Put) -> Vec<String> {
    let config: serde_json::Value = serde_json::from_slice(&put.authored.config).expect("JSON");
    let records = config["records"].as_array().expect("records");
    let mut names: Vec<String> = records.iter().map(|it| it["digest"].to_string()).collect();
    names.sort();
    names
}

/// The resolution in a few lines.
fn shown(resolution: &Resolution) -> String {
    let name = |reference: &Reference| reference.tag().unwrap_or_default().to_owned();
    let read = resolution.read.as_ref().map_or("nothing".to_owned(), name);
    let mut text = format!("read {read}: {}\n", resolution.reason);
    if let Some(put) = &resolution.put {
        let sources: Vec<String> = put.sources.iter().map(name).collect();
        let otherwise = put.otherwise.as_ref().map_or("nothing".to_owned(), name);
        let (to, sources) = (name(&put.reference), sources.join(" + "));
        text += &format!("put {to} from {sources}, otherwise read {otherwise}\n");
    }
    for verdict in &resolution.verdicts {
        text += &format!("  {}: {}\n", verdict.scope, verdict.verdict);
    }
    text
}

#[test]
fn every_reason_to_drop_a_ref_is_told() {
    let mut foreign = found(&["a"]);
    foreign.provenance.generation = Some(Generation(1));
    foreign.provenance.buildkit = Some(Version(0, 8, 3));
    let mut unnamed = found(&["b"]);
    unnamed.provenance.generation = Some(Generation(1));
    let arm = Found { platforms: vec!["linux/arm64".parse().expect("platform")], ..found(&["c"]) };
    let mut annotated_arm = found(&["d"]);
    annotated_arm.provenance.platforms = arm.platforms.clone();
    let gone = Found { gone: [Digest::of(b"e")].into(), ..found(&["e"]) };
    let candidates = [
        candidate("missing", Finding::Missing),
        candidate("forbidden", Finding::Unusable("the registry refuses it".to_owned())),
        candidate("stage", Finding::Image { digest: Digest::of(b"image") }),
        has("foreign", foreign),
        has("unnamed", unnamed),
        has("arm", arm),
        has("annotated-arm", annotated_arm),
        has("gone", gone),
        has("empty", found(&[])),
        has("main", found(&["f"])),
        has("copy", found(&["f"])),
    ];
    insta::assert_snapshot!(shown(&resolved(&candidates, &modern(), Some("missing"))), @"
    read main: the only usable cache ref
      missing: not found
      forbidden: the registry refuses it
      stage: without cache metadata
      foreign: made by BuildKit 0.8.3, whose cache keys this engine does not share
      unnamed: made by another BuildKit, whose cache keys this engine does not share
      arm: for linux/arm64
      annotated-arm: for linux/arm64
      gone: its layers are gone from the registry
      empty: holds no layer
      main: used
      copy: the same as r.io/app/cache:main
    ");
    insta::assert_snapshot!(shown(&resolved(&candidates[..9], &modern(), Some("missing"))), @"
    read nothing: no cache ref of the chain can be used
      missing: not found
      forbidden: the registry refuses it
      stage: without cache metadata
      foreign: made by BuildKit 0.8.3, whose cache keys this engine does not share
      unnamed: made by another BuildKit, whose cache keys this engine does not share
      arm: for linux/arm64
      annotated-arm: for linux/arm64
      gone: its layers are gone from the registry
      empty: holds no layer
    ");
    insta::assert_snapshot!(shown(&resolved(&[], &modern(), Some("own"))), @"read nothing: there is no scope to read");
}

#[test]
fn what_cannot_be_seen_from_here_is_passed_unprobed_if_nothing_else_is_there() {
    let unreachable = || Finding::Unreachable("no route to r.io".to_owned());
    let near = [candidate("own", unreachable()), candidate("main", unreachable())];
    insta::assert_snapshot!(shown(&resolved(&near, &modern(), Some("own"))), @"
    read own: the registry cannot be reached from here; the engine may reach it, so the nearest ref is passed unprobed
      own: used unprobed: no route to r.io
      main: no route to r.io
    ");
    let mixed = [candidate("own", unreachable()), has("main", found(&["a"]))];
    insta::assert_snapshot!(shown(&resolved(&mixed, &modern(), Some("own"))), @"
    read main: the only usable cache ref
      own: no route to r.io
      main: used
    ");
}

#[test]
fn several_are_merged_where_we_may_write_else_the_nearest_is_read() {
    let chain = [has("own", found(&["a", "b"])), has("main", found(&["b", "c"]))];
    let merged = resolved(&chain, &modern(), Some("own"));
    insta::assert_snapshot!(shown(&merged), @"
    read own: 2 cache refs merged into one: BuildKit would race between them
    put own from own + main, otherwise read own
      own: merged
      main: merged
    ");
    let put = merged.put.expect("put");
    assert_eq!(put.authored.blobs.len(), 3);
    assert_eq!(put.authored.manifest_media_type, "application/vnd.oci.image.manifest.v1+json");
    insta::assert_snapshot!(shown(&resolved(&chain, &modern(), None)), @"
    read own: the nearest of several, which may not be merged without writing
      own: used
      main: usable
    ");
    let new_branch = [candidate("own", Finding::Missing), chain[1].clone(), has("old", found(&["d"]))];
    insta::assert_snapshot!(shown(&resolved(&new_branch, &modern(), Some("own"))), @"
    read own: 2 cache refs merged into one: BuildKit would race between them
    put own from main + old, otherwise read main
      own: not found
      main: merged
      old: merged
    ");
}

#[test]
fn nothing_is_written_where_one_ref_holds_everything() {
    let own = has("own", found(&["a", "b"]));
    let chain = [own.clone(), has("main", found(&["a"]))];
    insta::assert_snapshot!(shown(&resolved(&chain, &modern(), Some("own"))), @"
    read own: it holds all that the other usable refs hold
      own: used
      main: usable
    ");
    // A merge that was written before is recognised, whatever its bytes.
    let first = resolved(&[own, has("main", found(&["c"]))], &modern(), Some("own")).put.expect("put");
    let again = Found {
        cache: Cache::read(&first.authored.manifest, &first.authored.config).expect("cache"),
        digest: first.authored.manifest_digest,
        ..found(&[])
    };
    let chain = [has("own", again), has("main", found(&["c"]))];
    assert!(resolved(&chain, &modern(), Some("own")).put.is_none());
    // Without writing, the ref that holds everything is better than the nearest.
    let chain = [has("near", found(&["a"])), has("far", found(&["a", "b"]))];
    assert_eq!(resolved(&chain, &modern(), None).read, Some(reference("far")));
}

#[test]
fn what_the_engine_cannot_read_is_written_anew() {
    let large = Found { config_size: IMPORT_LIMIT as u64 + 1, ..found(&["a"]) };
    let part = Found { gone: [Digest::of(b"a")].into(), ..found(&["a", "b"]) };
    let inline = Found { form: FoundForm::Inline, config_size: u64::MAX, ..found(&["a"]) };
    let index = Found { form: FoundForm::Exported(ManifestForm::Index), ..found(&["a"]) };
    insta::assert_snapshot!(shown(&resolved(&[has("main", large.clone())], &modern(), Some("own"))), @"
    read own: the only usable cache ref, written anew so that this engine can read it
    put own from main, otherwise read nothing
      main: written anew, in a form that this engine reads
    ");
    insta::assert_snapshot!(shown(&resolved(&[has("main", large)], &modern(), None)), @"
    read nothing: no cache ref can be read by this engine as it is, and none may be written
      main: not in a form that this engine reads
    ");
    let left = resolved(&[has("main", part)], &modern(), Some("own")).put.expect("put");
    assert_eq!(steps_of(&left), [format!("\"{}\"", Digest::of(b"b"))]);
    // The image form is what BuildKit before 0.12 fails on; an index and an inline cache every BuildKit reads.
    let image = resolved(&[has("main", found(&["a"]))], &old(), Some("own")).put.expect("put");
    assert_eq!(image.authored.manifest_media_type, "application/vnd.oci.image.index.v1+json");
    for readable in [inline, index] {
        let chain = [has("main", readable)];
        for engine in [modern(), old()] {
            let resolution = resolved(&chain, &engine, Some("own"));
            assert_eq!((resolution.read, resolution.put.is_none()), (Some(reference("main")), true));
        }
    }
}

#[test]
fn the_classic_builder_reads_every_distinct_image() {
    let image = |text: &[u8]| Finding::Image { digest: Digest::of(text) };
    let (images, resolution) = resolve_classic(&[
        candidate("own-final", image(b"1")),
        candidate("own-build", Finding::Missing),
        candidate("main-final", image(b"1")),
        candidate("main-build", image(b"2")),
        candidate("old-final", Finding::Unusable("forbidden".to_owned())),
        candidate("old-build", Finding::Unreachable("no route".to_owned())),
        has("cache", found(&["a"])),
    ]);
    let names: Vec<_> = images.iter().filter_map(Reference::tag).collect();
    assert_eq!(names, ["own-final", "main-build", "old-build"]);
    assert!(resolution.read.is_none() && resolution.put.is_none());
    insta::assert_snapshot!(shown(&resolution), @"
    read nothing: the classic builder reads images in the order given
      own-final: used
      own-build: not found
      main-final: the same as r.io/app/cache:own-final
      main-build: used
      old-final: forbidden
      old-build: used unprobed: no route
      cache: not a stage's image
    ");
    let (none, resolution) = resolve_classic(&[candidate("own", Finding::Missing)]);
    assert_eq!((none.len(), resolution.reason.as_str()), (0, "no stage image of the chain can be used"));
}

const STEPS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Blobs that the registry has lost, for every ref that names them.
const GONE: [&str; 2] = ["e", "f"];

fn any_finding() -> impl Strategy<Value = Finding> {
    let form = prop_oneof![
        Just(FoundForm::Inline),
        Just(FoundForm::Exported(ManifestForm::Image)),
        Just(FoundForm::Exported(ManifestForm::Index)),
    ];
    let platform = || "linux/(amd64|arm64)".prop_map(|text| text.parse::<Platform>().expect("platform"));
    let steps = prop::sample::subsequence(&STEPS[..], 0..=STEPS.len());
    let generation = proptest::option::of(1..=2_u32);
    let there = (steps, form, generation, proptest::option::of(platform()), any::<bool>()).prop_map(
        |(steps, form, generation, platform, large)| {
            let gone = steps.iter().filter(|step| GONE.contains(*step));
            let mut found = Found {
                form,
                config_size: if large { IMPORT_LIMIT as u64 + 1 } else { 1000 },
                platforms: platform.into_iter().collect(),
                gone: gone.map(|step| Digest::of(step.as_bytes())).collect(),
                ..found(&steps)
            };
            found.provenance.generation = generation.map(Generation);
            Finding::Found(Box::new(found))
        },
    );
    prop_oneof![
        1 => Just(Finding::Missing),
        1 => Just(Finding::Unusable("no".to_owned())),
        1 => Just(Finding::Unreachable("no route".to_owned())),
        6 => there,
    ]
}

/// Whether anything of it can be used by this engine, by the rules of DESIGN.md and not by the code under test.
fn is_useful(finding: &Finding, engine: &Engine) -> bool {
    let Finding::Found(found) = finding else { return false };
    let lost = cachefmt::without_blobs(&found.cache, &found.gone).is_empty();
    let foreign = found.provenance.generation.is_some_and(|generation| generation != engine.generation());
    !lost && !foreign && found.platforms.iter().all(|platform| platform.architecture == "amd64")
}

fn is_readable_as_it_is(finding: &Finding, engine: &Engine) -> bool {
    let Finding::Found(found) = finding else { return false };
    let image = found.form == FoundForm::Exported(ManifestForm::Image);
    let large = found.form != FoundForm::Inline && found.config_size > IMPORT_LIMIT as u64;
    is_useful(finding, engine)
        && found.gone.is_empty()
        && !large
        && (engine.server >= Some(Version(25, 0, 0)) || !image)
}

proptest! {
    #[test]
    fn one_ref_at_most_is_read_and_never_a_dropped_one(
        findings in prop::collection::vec(any_finding(), 0..5),
        writes: bool,
        is_old: bool,
    ) {
        let engine = if is_old { old() } else { modern() };
        let named = findings.into_iter().enumerate();
        let chain: Vec<_> = named.map(|(at, finding)| candidate(&format!("scope-{at}"), finding)).collect();
        let resolution = resolved(&chain, &engine, writes.then_some("scope-0"));
        let finding = |reference: &Reference| {
            &chain.iter().find(|it| it.reference == *reference).expect("a candidate").finding
        };
        prop_assert_eq!(resolution.verdicts.len(), chain.len());
        prop_assert!(!resolution.reason.is_empty());
        let useful = |it: &&Candidate| is_useful(&it.finding, &engine);
        match (&resolution.put, &resolution.read) {
            (Some(put), read) => {
                prop_assert!(writes && put.reference == reference("scope-0") && read.as_ref() == Some(&put.reference));
                prop_assert!(put.sources.iter().all(|source| is_useful(finding(source), &engine)));
                prop_assert!(put.otherwise.iter().all(|other| is_readable_as_it_is(finding(other), &engine)));
                prop_assert!(put.authored.config.len() <= IMPORT_LIMIT);
                let lost: Vec<Digest> = GONE.iter().map(|step| Digest::of(step.as_bytes())).collect();
                prop_assert!(put.authored.blobs.iter().all(|(blob, _)| !lost.contains(blob)));
            }
            (None, Some(read)) => match finding(read) {
                Finding::Unreachable(_) => prop_assert!(!chain.iter().any(|it| useful(&it))),
                found => prop_assert!(is_readable_as_it_is(found, &engine)),
            },
            (None, None) => {
                prop_assert!(!chain.iter().any(|it| is_readable_as_it_is(&it.finding, &engine)));
                prop_assert!(!writes || !chain.iter().any(|it| useful(&it)));
                prop_assert!(!writes || !chain.iter().any(|it| matches!(it.finding, Finding::Unreachable(_))));
            }
        }
    }

    #[test]
    fn the_order_of_the_chain_does_not_change_what_is_merged(
        (sets, shuffled) in prop::collection::vec(prop::sample::subsequence(&STEPS[..], 1..4), 2..5)
            .prop_flat_map(|sets| (Just(sets.clone()), Just(sets).prop_shuffle())),
    ) {
        let held = |sets: &[Vec<&str>]| {
            let named = sets.iter().enumerate();
            let chain: Vec<_> = named.map(|(at, steps)| has(&format!("scope-{at}"), found(steps))).collect();
            let resolution = resolved(&chain, &modern(), Some("scope-0"));
            let read = resolution.read.expect("read");
            let at = chain.iter().position(|it| it.reference == read).expect("a candidate");
            resolution.put.map_or_else(
                || cache(&sets[at]).blobs().map(|(blob, _)| blob.clone()).collect::<Vec<_>>(),
                |put| put.authored.blobs.into_iter().map(|(blob, _)| blob).collect(),
            )
        };
        let all: BTreeSet<Digest> = sets.iter().flatten().map(|step| Digest::of(step.as_bytes())).collect();
        prop_assert_eq!(held(&sets), all.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(held(&sets), held(&shuffled));
    }
}
