//! Which records stand for what this build reads, and what follows from them: the prediction, and after the build the
//! explanation.

use std::collections::BTreeSet;

use crate::model::inputs::Inputs;
use crate::model::outcome::{CandidateOutcome, StageOutcome};
use crate::model::record::Explanation;
use crate::model::reference::Digest;
use crate::plan::explain::{
    Circumstances, Links, Recorded, Suspect, answered, explain, missed, notes, surprises,
};
use crate::plan::facts::CacheFolder;

/// Where a build's cache comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// From the chain.
    Chain,
    /// From nowhere: `--no-cache`.
    Nothing,
    /// From a folder of the `local` strategy, or from nothing where there is none yet.
    Folder,
    /// From nowhere: the cache takes longer than what it saves.
    GivenUp,
    /// From where the user says: nobody has looked into that.
    Elsewhere,
    /// Nothing can be said: a question about the Dockerfile.
    Unknown,
}

/// What is known of a build before it.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What it is made from, or why that is not known.
    pub inputs: Result<&'a Inputs, &'a str>,
    /// Why it is not known how many steps will run.
    pub uncounted: Option<&'a str>,
    /// Where its cache comes from.
    pub reading: Reading,
    /// All records that were found, the nearest first.
    pub records: &'a [Recorded],
    /// The folder that is read, where one is.
    pub folder: Option<&'a CacheFolder>,
    /// The scopes that are in what is read.
    pub sources: &'a [String],
    /// The candidates of the chain.
    pub candidates: &'a [CandidateOutcome],
    /// The scope of this build.
    pub own: Option<&'a str>,
    /// Whether the engine may be taken to be empty, as a CI job's is.
    pub is_empty: bool,
    /// What this build links; `None` where that is not decided.
    pub links: Option<Links<'a>>,
}

impl<'a> Situation<'a> {
    /// What can be said before the build, or, with the steps as they went, after it.
    pub fn explain(self, done: Option<&[StageOutcome]>) -> Explanation {
        if self.reading == Reading::Unknown {
            return Explanation::default();
        }
        let no_cache = self.reading == Reading::Nothing;
        let circumstances = Circumstances { own: self.own, candidates: self.candidates, no_cache };
        let mut explanation = match (self.inputs, self.used()) {
            (Ok(inputs), Ok(used)) => explain(inputs, &used, done, self.links),
            (Err(_), _) if self.reading == Reading::Elsewhere => Explanation::default(),
            (Err(reason), _) => noted(format!("which steps will run is not known: {reason}")),
            (_, Err(Some(reason))) => noted(reason),
            (_, Err(None)) => Explanation::default(),
        };
        if let (Some(reason), Some(_)) =
            (self.uncounted, explanation.predicted.take_if(|_| self.uncounted.is_some()))
        {
            explanation.notes.push(reason.to_owned());
        }
        explanation.notes.splice(0..0, notes(circumstances));
        if self.is_empty
            && let Ok(inputs) = self.inputs
        {
            explanation.notes.extend(not_reusable(inputs));
        }
        explanation
    }

    /// The explanation after the build, with what went otherwise than was said.
    pub fn conclude(self, done: &[StageOutcome], suspect: Suspect<'_>) -> Explanation {
        let mut explanation = self.explain(Some(done));
        if let (Ok(inputs), Ok(used)) = (self.inputs, self.used()) {
            let own_store = used.iter().any(|recorded| recorded.scope.is_none());
            let suspect = Suspect { own_store, ..suspect };
            explanation.surprises = surprises(inputs, &used, done, self.links, suspect);
        }
        explanation
    }

    /// The records of what is read, and the digests of the steps that their builds have left there, linked or not. None
    /// where nobody knows.
    pub fn cache(self) -> Option<(Vec<&'a Recorded>, BTreeSet<&'a Digest>)> {
        let used = self.used().ok().filter(|_| self.reading == Reading::Chain)?;
        let cached = answered(self.inputs.ok()?, &used, None).into_iter().collect();
        Some((used, cached))
    }

    /// Whether all steps are in what the chain reads, as the records beside it say: what a machine's engine has in its own
    /// store is under no ref. Where a record tells of more than its cache has, a machine that has the rest itself does not
    /// notice; a job does.
    pub fn is_held(self) -> bool {
        let (Ok(inputs), Ok(used), None) = (self.inputs, self.used(), self.uncounted) else { return false };
        let beside: Vec<&Recorded> = used.into_iter().filter(|it| it.scope.is_some()).collect();
        let (misses, all) = missed(inputs, &answered(inputs, &beside, self.links));
        self.reading == Reading::Chain && misses == 0 && all > 0
    }

    /// The records of a folder and of the engine's own store.
    fn of_folder(self, own_store: Vec<&'a Recorded>) -> Result<Vec<&'a Recorded>, Option<String>> {
        let record = |folder: &'a CacheFolder| folder.record.as_ref().filter(|it| self.shares(it));
        match self.folder.map(|folder| (folder, record(folder))) {
            Some((_, Some(record))) => Ok(std::iter::once(record).chain(own_store).collect()),
            Some((folder, None)) if own_store.is_empty() => Err(Some(format!(
                "no record lies in the cache folder {}: which steps will run is not known",
                folder.path.display()
            ))),
            None if own_store.is_empty() && !self.is_empty => Err(None),
            _ => Ok(own_store),
        }
    }

    /// Whether a record counts the steps as this build does: another builder's cache is of no use.
    fn shares(self, recorded: &Recorded) -> bool {
        let theirs = recorded.record.inputs.as_ref().map(|inputs| inputs.rules);
        self.inputs.ok().zip(theirs).is_none_or(|(own, theirs)| own.rules == theirs)
    }

    /// The records of what is read; an error with a reason, or without one, where they are not known.
    fn used(self) -> Result<Vec<&'a Recorded>, Option<String>> {
        let own_store: Vec<&Recorded> =
            self.records.iter().filter(|it| it.scope.is_none() && self.shares(it)).collect();
        match self.reading {
            Reading::Nothing => return Ok(Vec::new()),
            Reading::GivenUp if own_store.is_empty() && !self.is_empty => return Err(None),
            Reading::GivenUp => return Ok(own_store),
            Reading::Elsewhere if own_store.is_empty() => return Err(None),
            Reading::Elsewhere => return Ok(own_store),
            Reading::Unknown => return Err(None),
            Reading::Folder => return self.of_folder(own_store),
            Reading::Chain => {}
        }
        let is_read = |it: &&Recorded| match &it.scope {
            Some(scope) => self.sources.contains(scope),
            None => true,
        };
        let read = || self.records.iter().filter(is_read).filter(|it| self.shares(it));
        // What such a build ran is in no cache; what lies beside its record is of another build.
        let used: Vec<&Recorded> = read().filter(|it| it.scope.is_none() || !it.record.given_up).collect();
        match (used.is_empty(), self.sources) {
            (false, _) => Ok(used),
            (true, [scope, ..]) if read().next().is_some() => Err(Some(format!(
                "the last build of {scope} kept no cache, an older one did: which steps will run is not known"
            ))),
            (true, []) if self.is_empty => Ok(used),
            (true, []) => Err(None),
            (true, [scope, ..]) => Err(Some(format!(
                "no record lies beside the cache of {scope}: which steps will run is not known"
            ))),
        }
    }
}

fn noted(note: String) -> Explanation {
    Explanation { notes: vec![note], ..Explanation::default() }
}

/// Why later builds are not answered with the image of this one.
fn not_reusable(inputs: &Inputs) -> Option<String> {
    let first = inputs.unknown.first()?;
    let more = match inputs.unknown.len() {
        1 => String::new(),
        all => format!(", and {} more", all - 1),
    };
    Some(format!("the image is not reusable: {first}{more}"))
}
