//! Looking for the image that answers a build, in all scopes that the build reads, at once.

use std::time::Duration;

use futures_util::future::join_all;

use crate::base::clock;
use crate::base::units;
use crate::cachefmt;
use crate::engine::docker::Docker;
use crate::model::inputs::Inputs;
use crate::model::reference::Reference;
use crate::model::request::Request;
use crate::model::reuse::Reused;
use crate::model::settings::Settings;
use crate::plan::cache_repo::CacheRepo;
use crate::plan::keys::Keys;
use crate::plan::reuse::{self, Found, Looked, Place, Refusal, Wanted};
use crate::plan::scope::Chain;
use crate::registry::{Client, Error, Manifest};
use crate::workflow::reuse::store;

/// The longest time for it: a registry that takes longer is no faster than a build.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest time that an engine is given that may not be there.
const ENGINE_PATIENCE: Duration = Duration::from_secs(2);

/// The search for an image that answers a build.
#[derive(Debug)]
pub struct Search {
    /// What the request wants, or why nobody looks.
    pub wanted: Result<Wanted, String>,
    /// What came of looking before the engine was asked; `None` where nobody could, or is to.
    pub early: Option<Early>,
}

/// What came of looking before the engine was asked.
#[derive(Debug)]
pub struct Early {
    /// What the image is made from.
    pub inputs: Result<Inputs, String>,
    /// The image, or why the engine is to build.
    pub found: Result<Box<Answer>, Looked>,
}

impl Search {
    /// Nobody looks.
    pub fn none(reason: &str) -> Self {
        Search { wanted: Err(reason.to_owned()), early: None }
    }
}

/// An image that answers a build.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What the report tells of it.
    pub reused: Reused,
    /// Where it is.
    pub reference: Reference,
    /// Its manifest.
    pub root: Manifest,
    /// What it was made from.
    pub inputs: String,
}

/// Where images are looked for, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Where<'a> {
    /// The request.
    pub request: &'a Request,
    /// The registry.
    pub client: &'a Client,
    /// The cache repo, or why there is none.
    pub repo: &'a Result<CacheRepo, String>,
    /// The scopes of the build.
    pub scopes: &'a Chain,
    /// How its refs are named.
    pub keys: &'a Keys,
}

/// Looks, where what the image is made from is known.
///
/// # Errors
///
/// Why the engine is to build.
pub async fn seek(
    place: Where<'_>,
    wanted: &Wanted,
    inputs: &Result<Inputs, String>,
    settings: &Settings,
) -> Result<Answer, Looked> {
    let inputs = match inputs {
        Ok(inputs) => inputs,
        Err(reason) => {
            return Err(Looked::not(format!("what the image is made from is not known: {reason}")));
        }
    };
    if let Some(unknown) = inputs.unknown.first() {
        return Err(Looked::not(unknown.to_string()));
    }
    if let Some(reason) = &wanted.anew {
        return Err(Looked::absent(reason.clone()));
    }
    let repo = place.repo.as_ref().map_err(|reason| Looked::not(reason.clone()))?;
    let places = reuse::places(repo, place.scopes, place.keys, &inputs.digest);
    if places.is_empty() {
        return Err(Looked::absent("this build reads no scope"));
    }
    let (found, roots, trouble) = ask(place.client, places, settings).await;
    match reuse::choose(&found, &inputs.digest, clock::now(), settings.max_age) {
        Ok((index, reused)) => match made_here(place.request, inputs).await {
            Some(base) => Err(Looked::absent(format!(
                "the engine has {base} under a base image's name, which is not the registry's"
            ))),
            None => Ok(Answer {
                reused,
                reference: found[index].place.image.clone(),
                root: roots[index].clone(),
                inputs: inputs.digest.to_string(),
            }),
        },
        Err(Refusal::TooOld(age)) => {
            let age =
                age.map_or_else(|| "of unknown age".to_owned(), |age| format!("{} old", units::age(age)));
            Err(Looked::too_old(format!(
                "the image of the same inputs is {age}, which --max-age does not take"
            )))
        }
        Err(Refusal::Absent) => Err(Looked::absent(match trouble {
            Some(trouble) => format!("nobody could look for an image: {trouble}"),
            None => {
                let scopes: Vec<&str> = place.scopes.read.iter().map(|scope| scope.as_str()).collect();
                format!("no image of the same inputs in {}", scopes.join(", "))
            }
        })),
    }
}

/// A base image that was made on this machine and not pushed, as a job may do that builds its own base first: the engine
/// would build on that. Only the registry that the image goes to can have such a name; for all others, and where no
/// engine answers at once, nobody is asked.
async fn made_here(request: &Request, inputs: &Inputs) -> Option<String> {
    if request.is_on("pull") {
        return None;
    }
    let registry = |image: &str| Some(image.parse::<Reference>().ok()?.repository().registry().to_owned());
    let own: Vec<String> = request.tags().iter().filter_map(|tag| registry(tag)).collect();
    let mut bases = store::bases(std::iter::once(inputs));
    bases.retain(|image, _| {
        let is_own = registry(image).is_some_and(|registry| own.contains(&registry));
        is_own && !image.contains('@')
    });
    if bases.is_empty() {
        return None;
    }
    let docker = Docker { login: None };
    let asked = tokio::time::timeout(ENGINE_PATIENCE, store::own_base(&docker, &bases)).await;
    asked.ok()?.ok()?
}

/// Asks for the image and the note of every place: what is there, in the same order, and the last trouble.
async fn ask(
    client: &Client,
    places: Vec<Place>,
    settings: &Settings,
) -> (Vec<Found>, Vec<Manifest>, Option<String>) {
    let client = &client.with_budget(settings.registry_timeout.min(PATIENCE));
    let asked = places.into_iter().map(|place| async move {
        let (image, note) = tokio::join!(client.get_manifest(&place.image), client.get_manifest(&place.note));
        let root = image?;
        let note = note.ok().and_then(|manifest| cachefmt::read_note(&manifest.bytes).ok().flatten());
        Ok::<_, Error>((Found { digest: root.digest.clone(), place, note }, root))
    });
    let (mut found, mut roots, mut trouble) = (Vec::new(), Vec::new(), None);
    for answer in join_all(asked).await {
        match answer {
            Ok((image, root)) => {
                found.push(image);
                roots.push(root);
            }
            Err(Error::NotFound { .. }) => {}
            Err(error) => trouble = Some(error.to_string()),
        }
    }
    (found, roots, trouble)
}
