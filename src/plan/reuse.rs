//! Whether a build may be answered with an image that is there already, and with which. Pure.
//!
//! An image answers a build when it was made from what has the same input digest. What the image cannot give (files of a
//! folder, an export to a cache of the user's own) and what asks for a new build (`--no-cache`) goes to the engine.

use std::time::Duration;

use jiff::Timestamp;

use crate::base::units;
use crate::model::inputs::Inputs;
use crate::model::pipeline::Pipeline;
use crate::model::platform::Platform;
use crate::model::reference::{Digest, Reference};
use crate::model::request::{OutputSpec, Request, csv_fields};
use crate::model::reuse::{Note, Reused};
use crate::model::settings::{Settings, Strategy};
use crate::plan::cache_repo::CacheRepo;
use crate::plan::keys::Keys;
use crate::plan::scope::{Chain, Scope};
use crate::plan::steps::{Decision, Facts};

/// What a request wants, where an image that is there can give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The names that the image gets in registries.
    pub push: Vec<Reference>,
    /// It is to be in the engine too, under these names.
    pub load: Vec<Reference>,
    /// Why only a new build will do. What it makes may answer later ones all the same.
    pub anew: Option<String>,
}

/// Whether any build of this run may be answered, as far as that does not depend on the build.
pub fn is_possible(settings: &Settings, pipeline: &Pipeline) -> bool {
    settings.reuse.unwrap_or(pipeline.is_ci()) && settings.strategy != Some(Strategy::Off)
}

/// What of a request an image that is there can answer.
///
/// # Errors
///
/// Why none is looked for and none is kept, as a fragment of a sentence.
pub fn wanted(request: &Request, settings: &Settings, pipeline: &Pipeline) -> Result<Wanted, String> {
    let no = |reason: &str| Err(reason.to_owned());
    match settings.reuse {
        _ if request.is_question() => return no("the request asks a question about the Dockerfile"),
        Some(false) => return no("it was turned off"),
        None if !pipeline.is_ci() => return no("not a CI job, and not asked for (--reuse=on)"),
        None if !request.pushes() => return no("nothing is pushed, and not asked for (--reuse=on)"),
        None if settings.strategy == Some(Strategy::Local) => {
            return no("the strategy `local` was chosen, and not asked for (--reuse=on)");
        }
        _ => {}
    }
    if settings.strategy == Some(Strategy::Off) {
        return no("the strategy `off` keeps nothing");
    }
    if request.has("cache-to") {
        return no("your own --cache-to asks for an export, which only a build makes");
    }
    if request.has("policy") {
        return no("--policy is for the engine to check");
    }
    let platforms = request.platforms();
    let unknown = platforms.iter().find(|name| name.parse::<Platform>().is_err());
    if let Some(name) = unknown.filter(|_| platforms.len() > 1) {
        return Err(format!("only the engine knows what --platform {name} is"));
    }
    let (push, load) = destinations(request, settings)?;
    let again = ["no-cache", "no-cache-filter"].into_iter().find(|name| match *name {
        "no-cache" => request.is_on(name),
        name => request.has(name),
    });
    Ok(Wanted { push, load, anew: again.map(|name| format!("--{name} was given")) })
}

/// The names that are pushed, and those that are loaded.
fn destinations(request: &Request, settings: &Settings) -> Result<(Vec<Reference>, Vec<Reference>), String> {
    let given: Vec<&str> = request.all("output").collect();
    let (mut pushes, mut loads) = (request.is_on("push"), request.is_on("load"));
    // With `-t`, buildx does not look at the names of an output (util/buildflags, build/opt.go).
    let mut names: Vec<String> = request.all("tag").map(str::to_owned).collect();
    match given.as_slice() {
        [] => loads |= !pushes,
        [output] => {
            let spec = OutputSpec::parse(output);
            pushes |= spec.push;
            match spec.kind.as_str() {
                "image" | "registry" if spec.push && is_plain(output) => {}
                "docker" if is_plain(output) => loads = true,
                _ => return Err(format!("--output {output} is more than an image in a registry")),
            }
            if names.is_empty() {
                names = spec.names;
            }
        }
        _ => return Err("several outputs are for the engine to write".to_owned()),
    }
    loads |= pushes && settings.keep_image;
    if names.is_empty() {
        return Err("the image gets no name".to_owned());
    }
    if loads && request.platforms().len() > 1 {
        return Err("an image of several platforms is not loaded".to_owned());
    }
    let named = |name: &String| name.parse::<Reference>().ok().filter(|name| name.digest().is_none());
    let names: Option<Vec<Reference>> = names.iter().map(named).collect();
    let names = names.ok_or("one of the image's names is none")?;
    let when = |wanted: bool| if wanted { names.clone() } else { Vec::new() };
    Ok((when(pushes), when(loads)))
}

/// Whether all that an output asks for is in the image's bytes and names. What changes the bytes is part of the input
/// digest.
fn is_plain(output: &str) -> bool {
    csv_fields(output).iter().all(|field| {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        match key.trim().to_ascii_lowercase().as_str() {
            "type" | "name" | "push" | "registry.insecure" | "oci-mediatypes" | "rewrite-timestamp" => true,
            "compression" | "compression-level" | "force-compression" => true,
            "store" | "unpack" => value == "false",
            _ => false,
        }
    })
}

/// Where the images of an input digest are looked for: each scope's, the nearest first.
pub fn places(repo: &CacheRepo, scopes: &Chain, keys: &Keys, inputs: &Digest) -> Vec<Place> {
    let place = |scope: &Scope| Place::new(repo, scope, keys, inputs);
    scopes.read.iter().filter_map(place).collect()
}

/// Where a scope keeps the image of an input digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The scope.
    pub scope: Scope,
    /// The image.
    pub image: Reference,
    /// The note on it.
    pub note: Reference,
}

impl Place {
    fn new(repo: &CacheRepo, scope: &Scope, keys: &Keys, inputs: &Digest) -> Option<Self> {
        Some(Place {
            scope: scope.clone(),
            image: repo.repository.with_tag(&keys.image_tag(scope, inputs)).ok()?,
            note: repo.repository.with_tag(&keys.note_tag(scope, inputs)).ok()?,
        })
    }
}

/// Where this build keeps its image for later ones.
///
/// # Errors
///
/// Why it does not, as a fragment of a sentence.
fn own_place(
    may_write: &(bool, String),
    repo: Result<&CacheRepo, &String>,
    scopes: &Chain,
    keys: &Keys,
    inputs: &Inputs,
) -> Result<Place, String> {
    if !may_write.0 {
        return Err(may_write.1.clone());
    }
    let scope = scopes.own.as_ref().ok_or("this build has no scope of its own that would come again")?;
    let repo = repo.map_err(String::clone)?;
    Place::new(repo, scope, keys, &inputs.digest).ok_or_else(|| "its name would be too long".to_owned())
}

/// An image that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub place: Place,
    /// Its digest.
    pub digest: Digest,
    /// The note on it, where there is one.
    pub note: Option<Note>,
}

/// The image that answers the build, and its place among the found: the nearest scope's that is young enough.
///
/// # Errors
///
/// Why none of them does: there is none, or each is older than `max_age`. The latter asks for a build from nothing, since a
/// build from the cache would only put the same layers together again.
pub fn choose(
    found: &[Found],
    inputs: &Digest,
    now: Timestamp,
    max_age: Option<Duration>,
) -> Result<(usize, Reused), Refusal> {
    let mut refusal = Refusal::Absent;
    for (index, Found { place, digest, note }) in found.iter().enumerate() {
        // A note on another image is left over: two builds of the same inputs ended at the same time.
        let note = note.as_ref().filter(|note| note.image == *digest);
        if note.is_some_and(|note| note.inputs != *inputs) {
            continue;
        }
        let age = note.map(|note| age(now, note.created));
        match max_age {
            Some(most) if age.is_none_or(|age| age > most) => {
                if refusal == Refusal::Absent {
                    refusal = Refusal::TooOld(age);
                }
                continue;
            }
            _ => {}
        }
        let reused = Reused {
            reference: place.image.to_string(),
            digest: digest.to_string(),
            scope: place.scope.to_string(),
            created: note.map(|note| note.created),
            age,
            commit: note.and_then(|note| note.commit.clone()),
            pipeline_url: note.and_then(|note| note.pipeline_url.clone()),
        };
        return Ok((index, reused));
    }
    Err(refusal)
}

/// Why no image answers a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is none.
    Absent,
    /// The nearest one is of this age, which is too old; `None` inside where nothing tells its age.
    TooOld(Option<Duration>),
}

/// What came of looking for an image that answers the build, as far as it concerns the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// What is to be done: `build`, `build from nothing`, or the image that answers.
    pub choice: String,
    /// Why, as a fragment of a sentence.
    pub reason: String,
    /// What is built now may answer later builds.
    pub keeps: bool,
    /// Nothing of what was built before is to be taken: neither layers nor the engine's own copies of images.
    pub from_nothing: bool,
}

impl Looked {
    /// Nobody looked, and nothing is kept.
    pub fn not(reason: impl Into<String>) -> Self {
        Looked { choice: "build".to_owned(), reason: reason.into(), keeps: false, from_nothing: false }
    }

    /// There is no image, and what is built now may be one.
    pub fn absent(reason: impl Into<String>) -> Self {
        Looked { keeps: true, ..Looked::not(reason) }
    }

    /// There is an image that is too old.
    pub fn too_old(reason: impl Into<String>) -> Self {
        Looked { choice: "build from nothing".to_owned(), from_nothing: true, ..Looked::absent(reason) }
    }

    /// An image answers.
    pub fn found(reused: &Reused) -> Self {
        let age = reused.age.map(|age| format!(", built {} ago", units::age(age))).unwrap_or_default();
        Looked {
            choice: format!("{}@{}", reused.reference, reused.digest),
            ..Looked::absent(format!("it was made from the same inputs{age}"))
        }
    }

    /// As a decision.
    pub fn decision(&self) -> Decision {
        Decision { topic: "reuse", choice: self.choice.clone(), reason: self.reason.clone() }
    }
}

/// What came of looking for an image, and where the one is kept that is built now.
pub fn keeping(facts: &Facts, decisions: &mut Vec<Decision>) -> Option<Place> {
    let looked = &facts.reuse;
    decisions.push(looked.decision());
    let inputs = facts.inputs.as_ref().ok().filter(|inputs| looked.keeps && inputs.is_reusable())?;
    let place = own_place(&facts.may_write, facts.cache_repo.as_ref(), &facts.scopes, &facts.keys, inputs);
    let (choice, reason) = match &place {
        Ok(place) => (place.image.to_string(), "answers later builds of the same inputs".to_owned()),
        Err(reason) => ("nothing".to_owned(), reason.clone()),
    };
    decisions.push(Decision { topic: "keep", choice, reason });
    place.ok()
}

/// How long ago something was. Clocks of several machines disagree: never less than nothing.
fn age(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::model::pipeline::{Provider, Trigger, Trust};
    use crate::model::request::{Context, Flag};

    fn pipeline(provider: Provider) -> Pipeline {
        Pipeline {
            provider,
            trigger: Trigger::Branch { name: "main".to_owned() },
            default_branch: Some("main".to_owned()),
            trust: Trust::Trusted,
            commit: None,
            url: None,
            image_repository: None,
            project_folder: None,
        }
    }

    fn request(flags: &[Flag]) -> Request {
        Request { flags: flags.to_vec(), context: Context::Folder(".".into()) }
    }

    /// `-t r.io/a:1` and further flags, in CI; what is pushed and what is loaded.
    fn in_ci(flags: &[Flag], settings: &Settings) -> String {
        let flags = [&[Flag::text("tag", "r.io/a:1")], flags].concat();
        let shown =
            |names: Vec<Reference>| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match wanted(&request(&flags), settings, &pipeline(Provider::GitLab)) {
            Ok(Wanted { push, load, anew }) => {
                format!("push <{}> load <{}> {}", shown(push), shown(load), anew.as_deref().unwrap_or("-"))
            }
            Err(reason) => reason,
        }
    }

    #[test]
    fn what_an_image_can_answer() {
        let auto = Settings::default();
        let on = Settings { reuse: Some(true), ..Settings::default() };
        let output = |text: &str| Flag::text("output", text);
        let push = Flag::on("push");
        let lines = [
            in_ci(from_ref(&push), &auto),
            in_ci(&[push.clone(), Flag::on("load")], &auto),
            in_ci(from_ref(&push), &Settings { keep_image: true, ..auto.clone() }),
            in_ci(&[output("type=registry,name=r.io/b:1")], &auto),
            in_ci(&[output("type=image,push=true,compression=zstd,store=false")], &auto),
            in_ci(&[push.clone(), Flag::on("no-cache")], &auto),
            in_ci(&[push.clone(), Flag::text("no-cache-filter", "build")], &auto),
            in_ci(&[push.clone(), Flag::on("pull")], &auto),
            in_ci(&[], &on),
            in_ci(&[Flag::on("load")], &on),
            in_ci(&[output("type=docker")], &on),
            in_ci(&[], &auto),
            in_ci(from_ref(&push), &Settings { reuse: Some(false), ..auto.clone() }),
            in_ci(from_ref(&push), &Settings { strategy: Some(Strategy::Local), ..auto.clone() }),
            in_ci(&[push.clone(), Flag::on("check")], &on),
            in_ci(&[push.clone(), Flag::text("cache-to", "type=local,dest=x")], &on),
            in_ci(&[push.clone(), Flag::text("policy", "p.rego")], &on),
            in_ci(&[output("type=image,push=true,push-by-digest=true")], &on),
            in_ci(&[output("type=image,push=true,store=true")], &on),
            in_ci(&[output("type=docker,dest=a.tar")], &on),
            in_ci(&[output("out")], &on),
            in_ci(&[output("type=registry"), output("out")], &on),
            in_ci(&[Flag::on("load"), Flag::text("platform", "linux/amd64,linux/arm64")], &on),
            in_ci(&[push.clone(), Flag::text("platform", "local,linux/arm64")], &on),
            in_ci(&[push, Flag::text("tag", "A:B:C")], &on),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        push <r.io/a:1> load <> -
        push <r.io/a:1> load <r.io/a:1> -
        push <r.io/a:1> load <r.io/a:1> -
        push <r.io/a:1> load <> -
        push <r.io/a:1> load <> -
        push <r.io/a:1> load <> --no-cache was given
        push <r.io/a:1> load <> --no-cache-filter was given
        push <r.io/a:1> load <> -
        push <> load <r.io/a:1> -
        push <> load <r.io/a:1> -
        push <> load <r.io/a:1> -
        nothing is pushed, and not asked for (--reuse=on)
        it was turned off
        the strategy `local` was chosen, and not asked for (--reuse=on)
        the request asks a question about the Dockerfile
        your own --cache-to asks for an export, which only a build makes
        --policy is for the engine to check
        --output type=image,push=true,push-by-digest=true is more than an image in a registry
        --output type=image,push=true,store=true is more than an image in a registry
        --output type=docker,dest=a.tar is more than an image in a registry
        --output out is more than an image in a registry
        several outputs are for the engine to write
        an image of several platforms is not loaded
        only the engine knows what --platform local is
        one of the image's names is none
        ");
    }

    #[test]
    fn only_ci_pushes_by_itself() {
        let push = [Flag::text("tag", "r.io/a:1"), Flag::on("push")];
        let at = |provider, reuse| {
            let settings = Settings { reuse, ..Settings::default() };
            wanted(&request(&push), &settings, &pipeline(provider)).is_ok()
        };
        assert!(at(Provider::OtherCi, None) && at(Provider::Local, Some(true)));
        assert!(!at(Provider::Local, None));
        let nameless = wanted(&request(&push[1..]), &Settings::default(), &pipeline(Provider::GitHub));
        assert_eq!(nameless, Err("the image gets no name".to_owned()));
    }

    fn found(scope: &str, made: &str, noted: Option<(&str, &str)>) -> Found {
        let repository: crate::model::reference::Repository = "r.io/a/cache".parse().expect("repository");
        let digest = Digest::of(made.as_bytes());
        let note = noted.map(|(inputs, created)| Note {
            inputs: Digest::of(inputs.as_bytes()),
            image: digest.clone(),
            created: created.parse().expect("time"),
            commit: Some("1ecfd275".to_owned()),
            pipeline_url: None,
        });
        let place = Place {
            scope: Scope::named(scope),
            image: repository.with_tag(scope).expect("tag"),
            note: repository.with_tag("note").expect("tag"),
        };
        Found { place, digest, note }
    }

    #[test]
    fn the_nearest_image_that_is_young_enough_answers() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().expect("time");
        let inputs = Digest::of(b"inputs");
        let day = Duration::from_secs(86_400);
        let taken = |found: &[Found], max_age| {
            choose(found, &inputs, now, max_age).map(|(_, it)| (it.scope, it.age, it.commit))
        };
        let old = found("mr-1", "a", Some(("inputs", "2026-11-20T12:00:00Z")));
        let young = found("branch-main", "b", Some(("inputs", "2026-11-23T11:00:00Z")));
        let commit = Some("1ecfd275".to_owned());
        let both = [old.clone(), young];
        assert_eq!(taken(&both, None), Ok(("mr-1".to_owned(), Some(3 * day), commit.clone())));
        assert_eq!(taken(&both, Some(day)), Ok(("branch-main".to_owned(), Some(day / 24), commit.clone())));
        assert_eq!(taken(&both[..1], Some(day)), Err(Refusal::TooOld(Some(3 * day))));
        assert_eq!(taken(&[], Some(day)), Err(Refusal::Absent));
        let ahead = found("mr-1", "a", Some(("inputs", "2026-11-23T12:00:05Z")));
        assert_eq!(taken(&[ahead], Some(day)), Ok(("mr-1".to_owned(), Some(Duration::ZERO), commit)));
        // Without a note the image is good, and of no age.
        let bare = found("mr-1", "a", None);
        assert_eq!(taken(from_ref(&bare), None), Ok(("mr-1".to_owned(), None, None)));
        assert_eq!(taken(from_ref(&bare), Some(day)), Err(Refusal::TooOld(None)));
        // A note on another image says nothing of this one; one of other inputs says that this is not the image.
        let mut left_over = old.clone();
        left_over.digest = Digest::of(b"another");
        assert_eq!(taken(&[left_over], None), Ok(("mr-1".to_owned(), None, None)));
        let foreign = found("mr-1", "a", Some(("other inputs", "2026-11-23T11:00:00Z")));
        assert_eq!(taken(&[foreign], None), Err(Refusal::Absent));
    }
}
