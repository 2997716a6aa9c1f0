//! The plan: what will be done, as a value. `layerlift plan` prints it, `layerlift build` runs it.

use std::path::PathBuf;

use crate::base::units;
use crate::dockerfile::StageNode;
use crate::model::record::Explanation;
use crate::model::reference::Reference;
use crate::model::request::Request;
use crate::model::settings::{Settings, Strategy};
use crate::plan::cache_flags;
use crate::plan::chain::{self, Reader, Resolution};
use crate::plan::cheap;
use crate::plan::command::{self, Build, CacheFlags, Unsupported};
use crate::plan::compression::{self, Compression};
use crate::plan::explain::{Reading, Situation};
use crate::plan::export::{self, Deferred};
use crate::plan::link::{self, Linking};
use crate::plan::reuse::{self, Place};
use crate::plan::scope::{Chain, Scope};
use crate::plan::stage_images::{self, stage_images};
use crate::plan::strategy;
use crate::plan::worth::{self, Loss, Waits};

pub use crate::plan::facts::{CacheFolder, Facts, Unnamed};
pub use crate::plan::stage_images::{StageImage, classic_stage};

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What it is about.
    pub topic: &'static str,
    /// What was decided.
    pub choice: String,
    /// Why.
    pub reason: String,
}

/// What is kept for the next build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// Nothing but the record: the cache takes longer than what it saves.
    GivenUp,
    /// The build itself exports to this ref.
    Export(Reference),
    /// The export is no part of the build.
    Deferred(Deferred),
    /// Stage images, and the ref that their inline records are merged into.
    Inline {
        /// The stages, in the Dockerfile's order.
        stages: Vec<StageImage>,
        /// The merged ref.
        merged: Reference,
        /// The stages that cost less to build than to keep.
        left_out: Vec<String>,
    },
    /// Stage images for the classic builder.
    Classic(Vec<StageImage>),
    /// A folder that the build exports to, and the place that it then takes.
    Folder {
        /// Where the build writes.
        fresh: PathBuf,
        /// Where it belongs.
        place: PathBuf,
    },
}

/// The plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Every decision, in the order of the way.
    pub decisions: Vec<Decision>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// How the cache travels.
    pub strategy: Strategy,
    /// What the chain came to.
    pub chain: Resolution,
    /// Images to pull before the build (classic).
    pub pull: Vec<Reference>,
    /// The user's build.
    pub build: Build,
    /// Images to push after it, where it cannot push.
    pub push: Vec<String>,
    /// What is kept for the next build.
    pub keep: Keep,
    /// Why neither is read nor kept what could be.
    pub loss: Option<Loss>,
    /// Where the cache comes from, as far as a prediction needs it.
    pub reading: Reading,
    /// Which steps will run, and why.
    pub explanation: Explanation,
    /// The `COPY`s that are made layers of their own.
    pub link: Linking,
    /// Where the image is kept, for the next build that has the same inputs.
    pub store: Option<Place>,
}

impl Plan {
    /// What is known of the build before it.
    pub fn situation<'a>(&'a self, facts: &'a Facts) -> Situation<'a> {
        Situation { links: Some(self.link.links()), ..situation(facts, self.reading, &self.chain) }
    }

    /// Reads no cache any more: what was to be read made the build fail.
    pub fn forget_cache(&mut self) {
        self.build = self.build.without_cache_from();
        match &mut self.keep {
            Keep::Inline { stages, .. } => {
                for stage in stages {
                    stage.build = stage.build.without_cache_from();
                }
            }
            // What cannot be read covers nothing.
            Keep::Deferred(deferred) => deferred.covered = None,
            _ => {}
        }
    }
}

fn situation<'a>(facts: &'a Facts, reading: Reading, chain: &'a Resolution) -> Situation<'a> {
    Situation {
        inputs: facts.inputs.as_deref().map_err(String::as_str),
        uncounted: facts.uncounted.as_deref(),
        reading,
        records: &facts.records,
        folder: facts.folder.as_ref(),
        sources: &chain.sources,
        candidates: &chain.verdicts,
        own: facts.scopes.own.as_ref().map(Scope::as_str),
        is_empty: facts.pipeline.is_ci(),
        links: None,
    }
}

/// Decides. Fails where this engine cannot do what was asked.
pub fn plan(request: &Request, settings: &Settings, facts: &Facts) -> Result<Plan, Unsupported> {
    let mut decisions = surroundings(facts);
    let store = reuse::keeping(facts, &mut decisions);
    let mut warnings = facts.warnings.clone();
    let choice = if request.is_question() {
        strategy::Choice {
            strategy: Strategy::Off,
            reason: "the request asks a question about the Dockerfile".to_owned(),
            warning: None,
        }
    } else {
        strategy::choose(&facts.engine, settings.strategy, facts.cache_repo.is_ok())
    };
    let strategy = choice.strategy;
    decisions.push(Decision { topic: "strategy", choice: strategy.to_string(), reason: choice.reason });
    warnings.extend(choice.warning);

    let loss = loss(request, settings, facts, strategy);
    let own = own_reference(request, facts, strategy, loss, &mut decisions);
    let reads = reading(request, strategy, loss, &mut decisions);
    let mut chain = Resolution::default();
    let mut pull = Vec::new();
    if reads && strategy == Strategy::Classic {
        (pull, chain) = chain::resolve_classic(&facts.candidates);
    } else if reads && matches!(strategy, Strategy::Registry | Strategy::Inline) {
        let reader = Reader { engine: &facts.engine, platforms: &facts.platforms, own: own.as_ref() };
        chain = chain::resolve(&facts.candidates, reader);
    }
    warnings.append(&mut chain.troubles);
    if reads && strategy != Strategy::Local {
        let choice = match (&chain.read, pull.as_slice()) {
            (Some(reference), _) => reference.to_string(),
            (None, []) => "nothing".to_owned(),
            (None, images) => images.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        decisions.push(Decision { topic: "read", choice, reason: chain.reason.clone() });
    }

    let mut cache = CacheFlags::default();
    if let Some(reference) = &chain.read {
        cache.from.push(cache_flags::from_registry(&facts.engine, settings, reference));
    }
    cache.from.extend(pull.iter().map(ToString::to_string));
    let reading = match strategy {
        _ if request.is_question() => Reading::Unknown,
        _ if request.is_on("no-cache") => Reading::Nothing,
        Strategy::Off => Reading::Elsewhere,
        _ if loss.is_some() => Reading::GivenUp,
        _ if !reads => Reading::Elsewhere,
        Strategy::Local => Reading::Folder,
        _ => Reading::Chain,
    };
    let situation = situation(facts, reading, &chain);
    let mut linking = Vec::new();
    let link = link::linking(
        request,
        settings,
        facts,
        strategy,
        (situation, chain.content(&facts.candidates)),
        &mut linking,
    );
    let situation = Situation { links: Some(link.links()), ..situation };
    let mut explanation = situation.explain(None);
    explanation.notes.extend(loss.map(Loss::note));
    let keep = match (loss, own) {
        (Some(_), Some(_)) => Keep::GivenUp,
        (_, own) => keeping(request, settings, facts, strategy, own, &mut cache, &mut decisions),
    };
    let known = export::Known {
        request,
        settings,
        frontend: facts.engine.frontend,
        exports_alone: facts.exports_alone,
        inputs: facts.inputs.as_ref().map(drop).map_err(String::as_str),
        candidates: &facts.candidates,
        chain: &chain,
        is_held: situation.is_held(),
    };
    let keep = export::apart(keep, known, &mut cache.to, &mut decisions);
    let rewritten = command::rewrite(request, &facts.engine, &cache, settings.keep_image)?;
    for (choice, reason) in rewritten.changes {
        decisions.push(Decision { topic: "output", choice, reason });
    }
    if let Some(folder) = facts.exposed.as_ref().filter(|_| matches!(keep, Keep::Folder { .. })) {
        warnings.push(format!(
            "the cache folder {} is in the build context, where a `COPY .` takes it along and never hits: add it to .dockerignore",
            folder.display()
        ));
    }
    decisions.append(&mut linking);
    Ok(Plan {
        decisions,
        warnings,
        strategy,
        chain,
        pull,
        build: rewritten.build,
        push: rewritten.push,
        keep,
        loss,
        reading,
        explanation,
        link,
        store,
    })
}

/// The scopes, said as a decision.
pub fn scope_decision(scopes: &Chain) -> Decision {
    let read: Vec<&str> = scopes.read.iter().map(|scope| scope.as_str()).collect();
    Decision {
        topic: "scope",
        choice: scopes.own.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
        reason: match read.is_empty() {
            true => "no branch, merge request or default branch is known".to_owned(),
            false => format!("reads {}", read.join(", then ")),
        },
    }
}

/// What was found, said as decisions: scope, builder, cache repo, stages.
fn surroundings(facts: &Facts) -> Vec<Decision> {
    let mut decisions = vec![scope_decision(&facts.scopes)];
    if let Some(builder) = &facts.builder {
        let choice = builder.name.as_ref().unwrap_or(&facts.engine.builder).clone();
        decisions.push(Decision { topic: "builder", choice, reason: builder.reason.clone() });
    }
    decisions.push(match &facts.cache_repo {
        Ok(repo) => {
            Decision { topic: "cache repo", choice: repo.repository.to_string(), reason: repo.reason.clone() }
        }
        Err(reason) => Decision { topic: "cache repo", choice: "none".to_owned(), reason: reason.clone() },
    });
    let modes = &facts.modes;
    decisions.push(match modes.normalized {
        true => Decision {
            topic: "modes",
            choice: "those that git records".to_owned(),
            reason: format!("{}; {}", modes.reason, modes.count()),
        },
        false => Decision { topic: "modes", choice: "as they are".to_owned(), reason: modes.reason.clone() },
    });
    decisions.push(match &facts.graph {
        Ok(graph) => Decision {
            topic: "stages",
            choice: graph.stages.iter().map(|stage| stage.label.as_str()).collect::<Vec<_>>().join(", "),
            reason: "what the target needs, in the Dockerfile's order".to_owned(),
        },
        Err(reason) => Decision {
            topic: "stages",
            choice: "unknown".to_owned(),
            reason: format!("the Dockerfile is not known here: {reason}"),
        },
    });
    decisions
}

/// Whether the cache takes longer than what it saves. What the user says about caches stands, whatever it takes.
fn loss(request: &Request, settings: &Settings, facts: &Facts, strategy: Strategy) -> Option<Loss> {
    let of_user = request.has("cache-to") || request.has("cache-from") || request.is_on("no-cache");
    let is_weighed = matches!(strategy, Strategy::Registry | Strategy::Inline)
        && settings.weigh_cache != Some(false)
        && !of_user;
    let inputs = facts.inputs.as_deref().ok().filter(|_| is_weighed)?;
    let is_later = settings.detach_cache && strategy == Strategy::Registry;
    let waits = if facts.may_write.0 && !is_later { Waits::Both } else { Waits::Reading };
    worth::loss(inputs, &facts.records, strategy, waits)
}

/// The scope's own ref, where it may be written, and the decision about it.
fn own_reference(
    request: &Request,
    facts: &Facts,
    strategy: Strategy,
    loss: Option<Loss>,
    decisions: &mut Vec<Decision>,
) -> Option<Reference> {
    let mut decide = |choice: String, reason: &str| {
        decisions.push(Decision { topic: "write", choice, reason: reason.to_owned() });
    };
    let nothing = || "nothing".to_owned();
    if matches!(strategy, Strategy::Off | Strategy::Local) {
        return None;
    }
    let (allowed, reason) = &facts.may_write;
    match (&facts.scopes.own, &facts.cache_repo) {
        _ if request.has("cache-to") => decide(nothing(), "your own --cache-to stands"),
        _ if !allowed => decide(nothing(), reason),
        (None, _) => decide(nothing(), "this build has no scope of its own that would come again"),
        (_, Err(reason)) => decide(nothing(), reason),
        (Some(scope), Ok(repo)) => match repo.repository.with_tag(&facts.keys.cache_tag(scope)) {
            Ok(reference) if let Some(loss) = loss => {
                decide(nothing(), &loss.to_string());
                return Some(reference);
            }
            Ok(reference) => {
                let stages = if strategy == Strategy::Classic { "--stage-*" } else { "" };
                decide(format!("{reference}{stages}"), reason);
                return Some(reference);
            }
            Err(error) => decide(nothing(), &error.to_string()),
        },
    }
    None
}

/// Whether the chain is read.
fn reading(request: &Request, strategy: Strategy, loss: Option<Loss>, decisions: &mut Vec<Decision>) -> bool {
    let reason = if strategy == Strategy::Off {
        return false;
    } else if loss.is_some() {
        "the cache is given up, and what is left of it is old"
    } else if request.has("cache-from") {
        "your own --cache-from stands"
    } else if request.is_on("no-cache") {
        "--no-cache was given"
    } else {
        return true;
    };
    decisions.push(Decision { topic: "read", choice: "nothing".to_owned(), reason: reason.to_owned() });
    false
}

/// What is kept for the next build; adds what the build itself must be told.
fn keeping(
    request: &Request,
    settings: &Settings,
    facts: &Facts,
    strategy: Strategy,
    own: Option<Reference>,
    cache: &mut CacheFlags,
    decisions: &mut Vec<Decision>,
) -> Keep {
    match (strategy, own) {
        (Strategy::Registry, Some(own)) => {
            let layers = compression(request, settings, facts, decisions);
            cache.to.push(cache_flags::to_registry(&facts.engine, settings, &own, layers));
            Keep::Export(own)
        }
        (Strategy::Inline, Some(merged)) => {
            let mut without = nameless(facts, decisions);
            let mut left_out = left_out(settings, facts, &without, decisions);
            without.extend(left_out.iter().cloned());
            let stages = stage_images(request, facts, &cache.from, &without);
            left_out.retain(|label| !stages.iter().any(|stage| stage.holds.contains(label)));
            Keep::Inline { stages, merged, left_out }
        }
        (Strategy::Classic, Some(_)) => Keep::Classic(stage_images(request, facts, &[], &[])),
        (Strategy::Local, _) => folder(request, settings, facts, cache, decisions),
        _ => Keep::Nothing,
    }
}

/// How the layers that only the cache has are packed.
fn compression(
    request: &Request,
    settings: &Settings,
    facts: &Facts,
    decisions: &mut Vec<Decision>,
) -> Compression {
    let (compression, reason) = compression::choose(request, settings.cache_compression, &facts.engine);
    if let Some(choice) = compression.named() {
        decisions.push(Decision { topic: "compression", choice, reason: reason.to_owned() });
    }
    compression
}

/// The stages that no build can be told to make: they have no name, and there is no Dockerfile that gives them one.
fn nameless(facts: &Facts, decisions: &mut Vec<Decision>) -> Vec<String> {
    let (Ok(graph), Err(reason)) = (&facts.graph, &facts.unnamed.named) else { return Vec::new() };
    let is_nameless = |stage: &&StageNode| {
        stage.index != graph.target && stage.layer_steps() > 0 && facts.unnamed.stages.contains(&stage.label)
    };
    let labels: Vec<String> =
        graph.stages.iter().filter(is_nameless).map(|stage| stage.label.clone()).collect();
    decisions.extend(labels.iter().map(|label| Decision {
        topic: "write",
        choice: format!("nothing of stage {label}"),
        reason: format!("it has no name for --target, and {reason}"),
    }));
    labels
}

/// The stages that cost less to build than to keep.
fn left_out(
    settings: &Settings,
    facts: &Facts,
    without: &[String],
    decisions: &mut Vec<Decision>,
) -> Vec<String> {
    let (Ok(graph), Ok(inputs)) = (&facts.graph, &facts.inputs) else { return Vec::new() };
    if settings.weigh_cache == Some(false) {
        return Vec::new();
    }
    let heads = stage_images::heads(graph, false, without);
    let cheap = cheap::cheap(graph, inputs, &facts.records, &heads);
    decisions.extend(cheap.iter().map(|cheap| Decision {
        topic: "write",
        choice: format!("nothing of stage {}", cheap.label),
        reason: format!(
            "with all that depends on it, it takes {}: less than keeping it",
            units::duration(cheap.takes)
        ),
    }));
    cheap.into_iter().flat_map(|cheap| cheap.holds).collect()
}

/// The `local` strategy: a folder per cache ref, written beside and swapped in, because a folder that is written again
/// and again only grows (moby/buildkit#1896).
fn folder(
    request: &Request,
    settings: &Settings,
    facts: &Facts,
    cache: &mut CacheFlags,
    decisions: &mut Vec<Decision>,
) -> Keep {
    let mut decide = |topic, choice: String, reason: &str| {
        decisions.push(Decision { topic, choice, reason: reason.to_owned() });
    };
    let reads = !request.has("cache-from") && !request.is_on("no-cache");
    match &facts.folder {
        _ if !reads => {}
        Some(CacheFolder { path, .. }) => {
            cache.from.push(cache_flags::from_folder(path));
            decide("read", path.display().to_string(), "the nearest cache folder that is there");
        }
        None => decide("read", "nothing".to_owned(), "no scope of the chain has a cache folder here"),
    }
    let (allowed, reason) = &facts.may_write;
    // On a person's machine, whose engine keeps its own cache, asking for this strategy is asking to write.
    let asked_for = settings.strategy == Some(Strategy::Local) && !facts.pipeline.is_ci();
    let forbidden = settings.read_only == Some(true) || !(*allowed || asked_for);
    match &facts.scopes.own {
        _ if request.has("cache-to") => decide("write", "nothing".to_owned(), "your own --cache-to stands"),
        _ if forbidden => decide("write", "nothing".to_owned(), reason),
        None => {
            decide("write", "nothing".to_owned(), "this build has no scope of its own that would come again")
        }
        Some(scope) => {
            let place = settings.cache_dir.join(facts.keys.cache_tag(scope));
            let fresh = settings.cache_dir.join(format!("{}.new", facts.keys.cache_tag(scope)));
            decide("write", place.display().to_string(), "a folder of this machine or of the CI's own cache");
            let layers = compression(request, settings, facts, decisions);
            cache.to.push(cache_flags::to_folder(&fresh, layers));
            return Keep::Folder { fresh, place };
        }
    }
    Keep::Nothing
}

#[cfg(test)]
mod tests;
