//! When the cache of the `registry` strategy is exported: by the build itself, or apart from it. Pure.
//!
//! BuildKit exports a cache at the end of the call that builds, after it has pushed the image (measured on Docker 28.5.2,
//! BuildKit 0.25: `exporting to image` ends before `exporting cache to registry` begins). So an image never waits for its
//! cache, but the job does. Two things take the export out of the build:
//!
//! - *No step will run*, as the record of what is read says for certain. The ref that is read then holds all that would be
//!   exported, and one manifest puts it under the scope's own ref. Should a step run all the same, the export is made up
//!   for by a second call, in which every step is cached.
//! - *`--detach-cache`*: that second call is left to `layerlift cache flush`.
//!
//! Of images that are built together each has such a call of its own, unless that call would build something else.

use crate::model::engine::Frontend;
use crate::model::reference::{Digest, Reference};
use crate::model::request::{Context, Request, csv_fields};
use crate::model::settings::Settings;
use crate::plan::chain::{Candidate, Finding, Resolution};
use crate::plan::steps::{Decision, Keep};

/// An export that the build itself does not make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferred {
    /// The scope's own ref.
    pub own: Reference,
    /// The value of `--cache-to` for it.
    pub to: String,
    /// Where all that would be exported is already, if no step runs.
    pub covered: Option<Cover>,
    /// If a step runs, the export is left to `layerlift cache flush`.
    pub detached: bool,
}

/// Where all that would be exported is already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cover {
    /// Under the scope's own ref.
    Own,
    /// Under another ref of the same repository.
    Other {
        /// The ref.
        reference: Reference,
        /// What it was found to hold.
        digest: Digest,
    },
}

/// What an export is decided from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) request: &'a Request,
    pub(super) settings: &'a Settings,
    pub(super) frontend: Frontend,
    /// Whether a call of its own can export its cache.
    pub(super) exports_alone: bool,
    /// Whether it is known what the image is made from, or why not.
    pub(super) inputs: Result<(), &'a str>,
    pub(super) candidates: &'a [Candidate],
    pub(super) chain: &'a Resolution,
    /// Whether all steps are in what is read, as its records say.
    pub(super) is_held: bool,
}

/// Takes the export out of the build, where that is of use. `to`: what the build is told to export to.
pub(super) fn apart(
    keep: Keep,
    known: Known<'_>,
    to: &mut Vec<String>,
    decisions: &mut Vec<Decision>,
) -> Keep {
    let own = match keep {
        Keep::Export(own) if known.can_defer() => own,
        other => {
            if known.settings.detach_cache && !matches!(other, Keep::Nothing | Keep::GivenUp) {
                decisions.push(with_build(ONLY_BUILD));
            }
            return other;
        }
    };
    let covered = known.cover(&own);
    let detached = match known.may_detach() {
        Some(Ok(())) => true,
        Some(Err(reason)) => {
            decisions.push(with_build(&reason));
            false
        }
        None => false,
    };
    if covered.is_none() && !detached {
        return Keep::Export(own);
    }
    let Some(value) = to.pop() else { return Keep::Export(own) };
    let written = decisions.iter_mut().find(|it| it.topic == TOPIC && it.choice == own.to_string());
    if let Some(written) = written {
        written.choice += match (&covered, detached) {
            (Some(Cover::Own), false) => ", as it is when no step runs",
            (Some(Cover::Own), true) => ", as it is when no step runs, else by `layerlift cache flush`",
            (Some(Cover::Other { .. }), false) => ", by one manifest when no step runs",
            (Some(Cover::Other { .. }), true) => {
                ", by one manifest when no step runs, else by `layerlift cache flush`"
            }
            (None, _) => ", by `layerlift cache flush`",
        };
    }
    Keep::Deferred(Deferred { own, to: value, covered, detached })
}

const TOPIC: &str = "write";

const ONLY_BUILD: &str = "only the `registry` strategy of `build` with buildx can leave it for later";

fn with_build(reason: &str) -> Decision {
    Decision {
        topic: TOPIC,
        choice: "before the job's step ends, in spite of --detach-cache".to_owned(),
        reason: reason.to_owned(),
    }
}

impl<'a> Known<'a> {
    /// Whether a second call can export what the first one built.
    fn can_defer(self) -> bool {
        matches!(self.frontend, Frontend::Buildx | Frontend::Buildctl) && self.exports_alone
    }

    /// Whether the export is left for later; an error says why not, although that was asked for.
    fn may_detach(self) -> Option<Result<(), String>> {
        let reason = match (&self.request.context, self.inputs) {
            _ if !self.settings.detach_cache => return None,
            _ if self.frontend != Frontend::Buildx || self.settings.member.is_some() => ONLY_BUILD.to_owned(),
            (Context::Stdin, _) => "the build context on standard input comes once".to_owned(),
            (Context::Remote(_), _) => "what is at the build context's address may change".to_owned(),
            // A step that an engine has forgotten would run without it, and the cache would hold what that came to.
            _ if self.request.has("secret") || self.request.has("ssh") => {
                "a secret may be gone by then".to_owned()
            }
            _ if has_credentials(self.request) => "its line has credentials in it".to_owned(),
            // Nobody could say later whether it would still be the same.
            (Context::Folder(_), Err(reason)) => {
                format!("what the image is made from is not known: {reason}")
            }
            (Context::Folder(_), Ok(())) => return Some(Ok(())),
        };
        Some(Err(reason))
    }

    /// Where all that would be exported is already, if it is certain that no step runs.
    fn cover(self, own: &Reference) -> Option<Cover> {
        let is_certain = self.is_held && !self.request.has("no-cache-filter");
        // Layers that are gone from the registry come back with an export.
        let is_whole = |finding: &Finding| match finding {
            Finding::Found(found) => found.gone.is_empty(),
            Finding::Unreachable(_) => false,
            Finding::Missing | Finding::Unusable(_) | Finding::Image { .. } => true,
        };
        if !is_certain || !self.candidates.iter().all(|candidate| is_whole(&candidate.finding)) {
            return None;
        }
        let read = self.chain.read.as_ref()?;
        if self.chain.put.is_some() {
            // It is written before the build.
            return (read == own).then_some(Cover::Own);
        }
        let digest = self.digest_of(read).filter(|_| read.repository() == own.repository())?;
        Some(match self.digest_of(own) == Some(digest) {
            true => Cover::Own,
            false => Cover::Other { reference: read.clone(), digest: digest.clone() },
        })
    }

    fn digest_of(self, reference: &Reference) -> Option<&'a Digest> {
        self.candidates.iter().find_map(|candidate| match &candidate.finding {
            Finding::Found(found) if candidate.reference == *reference => Some(&found.digest),
            _ => None,
        })
    }
}

/// Whether a flag has something in it that is not to lie in a file: a field that is called so (BUILDKIT.md 2.2), or an
/// address with a name or a token in front of its host.
fn has_credentials(request: &Request) -> bool {
    let is_secret = |field: &str| {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let name = name.trim().to_ascii_lowercase();
        !value.is_empty() && ["token", "secret_access_key", "password"].iter().any(|end| name.ends_with(end))
    };
    let has_user = |text: &str| {
        let hosts = text.split("://").skip(1).map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(rest));
        hosts.into_iter().any(|host| host.contains('@'))
    };
    let texts = request.flags.iter().filter_map(|flag| Some((flag.name, flag.value.text()?)));
    let is_of_cache = |name: &str| ["cache-from", "cache-to", "output"].contains(&name);
    texts.into_iter().any(|(name, text)| {
        has_user(text) || is_of_cache(name) && csv_fields(text).iter().any(|it| is_secret(it))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cachefmt::{Cache, Provenance};
    use crate::model::engine::ManifestForm;
    use crate::model::request::Flag;
    use crate::plan::chain::{Found, FoundForm};

    const OWN: &str = "r.io/app/cache:branch-x";
    const MAIN: &str = "r.io/app/cache:branch-main";

    fn reference(text: &str) -> Reference {
        text.parse().expect("reference")
    }

    fn found(text: &str, content: &str) -> Candidate {
        let found = Found {
            digest: Digest::of(content.as_bytes()),
            cache: Cache::default(),
            form: FoundForm::Exported(ManifestForm::Image),
            config_size: 1,
            provenance: Provenance::default(),
            platforms: Vec::new(),
            gone: BTreeSet::new(),
        };
        Candidate {
            reference: reference(text),
            scope: text.to_owned(),
            finding: Finding::Found(Box::new(found)),
        }
    }

    fn member() -> Settings {
        Settings { member: Some("api".to_owned()), ..Settings::default() }
    }

    fn missing(text: &str) -> Candidate {
        Candidate { finding: Finding::Missing, ..found(text, "") }
    }

    /// A build of a branch that reads main's cache; each test changes what it is about.
    struct Case {
        request: Request,
        settings: Settings,
        frontend: Frontend,
        exports_alone: bool,
        inputs: Result<(), &'static str>,
        candidates: Vec<Candidate>,
        read: &'static str,
        is_held: bool,
    }

    impl Default for Case {
        fn default() -> Self {
            Case {
                request: Request { flags: Vec::new(), context: Context::Folder(".".into()) },
                settings: Settings::default(),
                frontend: Frontend::Buildx,
                exports_alone: true,
                inputs: Ok(()),
                candidates: vec![missing(OWN), found(MAIN, "main")],
                read: MAIN,
                is_held: true,
            }
        }
    }

    impl Case {
        fn keep(&self, keep: Keep) -> (Keep, Vec<String>, String) {
            let mut chain = Resolution::default();
            chain.read = Some(reference(self.read));
            let known = Known {
                request: &self.request,
                settings: &self.settings,
                frontend: self.frontend,
                exports_alone: self.exports_alone,
                inputs: self.inputs,
                candidates: &self.candidates,
                chain: &chain,
                is_held: self.is_held,
            };
            let (mut to, reason) = (vec!["type=registry".to_owned()], String::new());
            let mut decisions = vec![Decision { topic: "write", choice: OWN.to_owned(), reason }];
            let keep = apart(keep, known, &mut to, &mut decisions);
            let said = decisions.into_iter().map(|it| it.choice + &it.reason).collect::<Vec<_>>().join("\n");
            (keep, to, said)
        }

        /// What became of an export to the own ref: where it is covered, and whether it is detached.
        #[track_caller]
        fn deferred(&self) -> Option<(Option<Cover>, bool)> {
            let (keep, to, _) = self.keep(Keep::Export(reference(OWN)));
            match keep {
                Keep::Deferred(Deferred { own, to: value, covered, detached }) => {
                    assert_eq!((own, value.as_str(), to.len()), (reference(OWN), "type=registry", 0));
                    Some((covered, detached))
                }
                Keep::Export(own) => {
                    assert_eq!((own, to.len()), (reference(OWN), 1), "the build is told");
                    None
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_read_covers_the_export_where_no_step_runs() {
        let main = Cover::Other { reference: reference(MAIN), digest: Digest::of(b"main") };
        assert_eq!(Case::default().deferred(), Some((Some(main), false)));
        let said = Case::default().keep(Keep::Export(reference(OWN))).2;
        assert_eq!(said, format!("{OWN}, by one manifest when no step runs"));
        let same = Case { candidates: vec![found(OWN, "main"), found(MAIN, "main")], ..Case::default() };
        assert_eq!(same.deferred(), Some((Some(Cover::Own), false)));
        let own = || Case { candidates: vec![found(OWN, "own")], read: OWN, ..Case::default() };
        assert_eq!(own().deferred(), Some((Some(Cover::Own), false)));
        assert!(Case { settings: member(), ..own() }.deferred().is_some(), "one of several images");
        assert!(Case { frontend: Frontend::Buildctl, ..own() }.deferred().is_some(), "buildctl");
    }

    #[test]
    fn a_doubt_exports_with_the_build() {
        let mut gone = found(MAIN, "main");
        if let Finding::Found(found) = &mut gone.finding {
            found.gone.insert(Digest::of(b"layer"));
        }
        let hidden = Candidate { finding: Finding::Unreachable(String::new()), ..missing(OWN) };
        let filter = Request {
            flags: vec![Flag::text("no-cache-filter", "build")],
            context: Context::Folder(".".into()),
        };
        let elsewhere = vec![found("r.io/other/cache:branch-main", "main")];
        let cases = [
            ("a step may run", Case { is_held: false, ..Case::default() }),
            ("layers are gone", Case { candidates: vec![gone], ..Case::default() }),
            ("it is not seen", Case { candidates: vec![hidden, found(MAIN, "main")], ..Case::default() }),
            ("steps run for sure", Case { request: filter, ..Case::default() }),
            ("no call of its own", Case { exports_alone: false, ..Case::default() }),
            ("buildah", Case { frontend: Frontend::Buildah, ..Case::default() }),
            (
                "another repository",
                Case { candidates: elsewhere, read: "r.io/other/cache:branch-main", ..Case::default() },
            ),
        ];
        for (name, case) in cases {
            assert_eq!(case.deferred(), None, "{name}");
        }
    }

    #[test]
    fn an_export_is_detached_where_it_can_be_made_later() {
        let detach = || Case {
            settings: Settings { detach_cache: true, ..Settings::default() },
            is_held: false,
            ..Case::default()
        };
        assert_eq!(detach().deferred(), Some((None, true)));
        let said = |case: Case| case.keep(Keep::Export(reference(OWN))).2;
        assert_eq!(said(detach()), format!("{OWN}, by `layerlift cache flush`"));
        let stdin = Case { request: Request { flags: Vec::new(), context: Context::Stdin }, ..detach() };
        assert_eq!(stdin.deferred(), None);
        assert!(said(stdin).ends_with("--detach-cachethe build context on standard input comes once"));
        let unknown = Case { inputs: Err("an unknown frontend"), ..detach() };
        assert!(said(unknown).ends_with("not known: an unknown frontend"));
        for (name, value) in [
            ("cache-from", "type=s3,bucket=b,secret_access_key=x"),
            ("cache-to", "type=gha,token=x"),
            ("build-context", "lib=https://user:token@git.example.com/lib.git"),
            ("build-arg", "INDEX=https://token@index.example.com/simple?a=b"),
        ] {
            let request = Request { flags: vec![Flag::text(name, value)], ..detach().request };
            let case = Case { request, ..detach() };
            assert!(said(case).ends_with("its line has credentials in it"), "{value}");
        }
        for value in ["MAIL=a@example.com", "URL=https://example.com/@scope/x", "TOKEN_FILE=x"] {
            let request = Request { flags: vec![Flag::text("build-arg", value)], ..detach().request };
            assert_eq!(Case { request, ..detach() }.deferred(), Some((None, true)), "{value}");
        }
        let several = Settings { detach_cache: true, ..member() };
        for case in
            [Case { settings: several, ..detach() }, Case { frontend: Frontend::Buildctl, ..detach() }]
        {
            assert!(
                case.deferred().is_none() && said(case).contains("only the `registry` strategy of `build`")
            );
        }
        let folder = Keep::Folder { fresh: "a".into(), place: "b".into() };
        let (keep, _, said) = detach().keep(folder.clone());
        assert_eq!(keep, folder);
        assert!(said.contains("in spite of --detach-cache"), "{said}");
        assert!(!detach().keep(Keep::Nothing).2.contains("--detach-cache"));
    }
}
