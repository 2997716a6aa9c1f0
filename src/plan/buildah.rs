//! The plan of a build by buildah or podman: which repositories it reads its cache from, and which one it writes.
//!
//! buildah's cache is not BuildKit's: each step's image is pushed to a repository, under a tag that is the hash of the step
//! and of all that went before. So a scope is a repository here, below the cache repo, with the image's part behind it as
//! in a tag: `app/cache/branch-main--api`. Repositories never contradict one another, several are read in order, and
//! nothing has to be merged.

use crate::invocation::BuildahLine;
use crate::model::engine::Engine;
use crate::model::outcome::CandidateOutcome;
use crate::model::pipeline::Pipeline;
use crate::model::reference::Repository;
use crate::model::settings::{Settings, Strategy};
use crate::plan::cache_repo::{CacheRepo, no_room_below};
use crate::plan::keys::Keys;
use crate::plan::scope::{Chain, Scope, hashed_slug};
use crate::plan::steps::Decision;

/// The longest name of a scope's repository below the cache repo: 47 of the scope, 30 of the image, and room.
const LONGEST_NAME: usize = 90;

/// How a build uses the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cache {
    /// Every step is a layer of its own, without which there is nothing to keep.
    pub layers: bool,
    /// Read, in this order.
    pub from: Vec<Repository>,
    /// Written.
    pub to: Option<Repository>,
}

/// A scope's repository, and what the registry said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The repository.
    pub repository: Repository,
    /// The scope that it belongs to.
    pub scope: String,
    /// What was found.
    pub finding: Finding,
}

/// What the registry said of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It holds steps.
    Found,
    /// There is none, or it is empty.
    Missing,
    /// It may not be read, or the registry answers with an error.
    Unusable(String),
    /// The registry cannot be reached; buildah, which runs here, would not reach it either.
    Unreachable(String),
}

/// What was learnt before deciding.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Where we run.
    pub pipeline: Pipeline,
    /// What builds.
    pub engine: Engine,
    /// The scopes of this build.
    pub scopes: Chain,
    /// Whether this build may write a cache, and why.
    pub may_write: (bool, String),
    /// Where the scopes' repositories are, or why nowhere.
    pub cache_repo: Result<CacheRepo, String>,
    /// Whether the program reads several repositories in order; else it reads one, and the others as its mirrors.
    pub reads_several: bool,
    /// How this build's repositories are named.
    pub keys: Keys,
    /// The candidates of the chain, in its order; none where nobody was asked.
    pub candidates: Vec<Candidate>,
    /// What went wrong while the facts were gathered.
    pub warnings: Vec<String>,
}

/// The plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Every decision, in the order of the way.
    pub decisions: Vec<Decision>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// `registry`, or `off`.
    pub strategy: Strategy,
    /// What is read and written.
    pub cache: Cache,
    /// The program is given the first repository alone, and the others as its mirrors.
    pub mirrors: bool,
    /// What became of each candidate, in the chain's order.
    pub verdicts: Vec<CandidateOutcome>,
}

impl Plan {
    /// What the program is given by flags.
    pub fn flags(&self) -> Cache {
        let read = if self.mirrors { 1 } else { usize::MAX };
        Cache { from: self.cache.from.iter().take(read).cloned().collect(), ..self.cache.clone() }
    }
}

/// A scope's repository in the cache repo. `None`: the name is too long for one.
///
/// A repository's name is pickier than a tag: `a..b` is none. Such a name is written without its separators, and told
/// apart by a hash.
pub fn repository(repo: &CacheRepo, keys: &Keys, scope: &Scope) -> Option<Repository> {
    let name = keys.cache_tag(scope);
    let plain = || hashed_slug(&name.replace(['.', '_'], "-"), &name, LONGEST_NAME);
    repo.repository.nested(&name).or_else(|_| repo.repository.nested(&plain())).ok()
}

/// The cache repo, where repositories can be made below it. Where a registry has no room for them, the user is told.
pub fn with_room(found: Result<CacheRepo, String>, warnings: &mut Vec<String>) -> Result<CacheRepo, String> {
    let repo = found?;
    let Some(why) = no_room_below(repo.repository.registry()) else { return Ok(repo) };
    let reason = format!(
        "there is no cache in {}, which would need a repository for each scope: {why}",
        repo.repository
    );
    warnings.push(reason.clone());
    Err(reason)
}

/// Why no cache is used, by the user's own words; `None`: one may be.
pub fn off(line: &BuildahLine, settings: &Settings) -> Option<&'static str> {
    if settings.strategy == Some(Strategy::Off) {
        Some("asked for")
    } else if line.switch("layers") == Some(false) {
        Some("`--layers=false` keeps no steps")
    } else if line.switch("squash") == Some(true) || line.switch("squash-all") == Some(true) {
        Some("a squashed image has no layers that could be kept")
    } else if line.writes_to_stdout() {
        Some("the result goes to standard output")
    } else {
        None
    }
}

/// Whether the line leaves reading to us.
pub fn reads(line: &BuildahLine) -> bool {
    !line.has("cache-from") && line.switch("no-cache") != Some(true)
}

/// Decides.
pub fn plan(line: &BuildahLine, settings: &Settings, facts: &Facts) -> Plan {
    let mut decisions = surroundings(facts);
    let mut warnings = facts.warnings.clone();
    let (strategy, reason) = match (off(line, settings), &facts.cache_repo) {
        (Some(reason), _) => (Strategy::Off, reason),
        (None, Err(_)) => {
            (Strategy::Off, "its cache is kept in repositories of a registry, and none is known")
        }
        (None, Ok(_)) => (Strategy::Registry, "steps are kept in repositories of a registry"),
    };
    if let Some(asked) =
        settings.strategy.filter(|asked| *asked != strategy && strategy == Strategy::Registry)
    {
        let program = &facts.engine.builder;
        warnings.push(format!("strategy `{asked}` is not possible with {program}, `{strategy}` is used"));
    }
    decisions.push(decision("strategy", strategy.to_string(), reason));
    let cache = Cache::default();
    let mut plan = Plan { decisions, warnings, strategy, cache, mirrors: false, verdicts: Vec::new() };
    if strategy == Strategy::Registry {
        read(line, facts, &mut plan);
        write(line, facts, &mut plan);
        plan.cache.layers = !plan.cache.from.is_empty() || plan.cache.to.is_some();
    }
    plan
}

fn decision(topic: &'static str, choice: impl Into<String>, reason: impl Into<String>) -> Decision {
    Decision { topic, choice: choice.into(), reason: reason.into() }
}

fn surroundings(facts: &Facts) -> Vec<Decision> {
    let scopes: Vec<&str> = facts.scopes.read.iter().map(Scope::as_str).collect();
    let own = facts.scopes.own.as_ref().map_or("none", Scope::as_str);
    let scope = match scopes.as_slice() {
        [] => decision("scope", own, "no branch, merge request or default branch is known"),
        scopes => decision("scope", own, format!("reads {}", scopes.join(", then "))),
    };
    let repo = match &facts.cache_repo {
        Ok(repo) => decision("cache repo", repo.repository.to_string(), repo.reason.as_str()),
        Err(reason) => decision("cache repo", "none", reason.as_str()),
    };
    vec![scope, repo]
}

fn read(line: &BuildahLine, facts: &Facts, plan: &mut Plan) {
    for Candidate { repository, scope, finding } in &facts.candidates {
        let verdict = match finding {
            Finding::Found => "used".to_owned(),
            Finding::Missing => "not found".to_owned(),
            Finding::Unusable(reason) | Finding::Unreachable(reason) => {
                plan.warnings.push(format!("{repository}: {reason}"));
                reason.clone()
            }
        };
        if *finding == Finding::Found {
            plan.cache.from.push(repository.clone());
        }
        plan.verdicts.push(CandidateOutcome {
            reference: repository.to_string(),
            scope: scope.clone(),
            verdict,
        });
    }
    plan.mirrors = plan.cache.from.len() > 1 && !facts.reads_several;
    let names: Vec<String> = plan.cache.from.iter().map(ToString::to_string).collect();
    plan.decisions.push(match names.as_slice() {
        _ if line.has("cache-from") => decision("read", "nothing", "your own --cache-from stands"),
        _ if !reads(line) => decision("read", "nothing", "--no-cache was given"),
        [] => decision("read", "nothing", "no scope of the chain has a repository that can be read"),
        names => decision("read", names.join(", then "), "the scopes that have one, the nearest first"),
    });
    if plan.mirrors {
        let reason = "this version reads one repository, and its mirrors before it";
        plan.decisions.push(decision("mirrors", "in a registries.conf for this build", reason));
    }
}

fn write(line: &BuildahLine, facts: &Facts, plan: &mut Plan) {
    let own = match (&facts.scopes.own, &facts.cache_repo, &facts.may_write) {
        _ if line.has("cache-to") => Err("your own --cache-to stands"),
        (_, _, (false, reason)) => Err(reason.as_str()),
        (None, ..) => Err("this build has no scope of its own that would come again"),
        (_, Err(reason), _) => Err(reason.as_str()),
        (Some(scope), Ok(repo), _) => {
            repository(repo, &facts.keys, scope).ok_or("the name of its repository would be too long")
        }
    };
    let is_down = |own: &Repository| {
        let of_own = |it: &&Candidate| it.repository == *own && matches!(it.finding, Finding::Unreachable(_));
        facts.candidates.iter().any(|it| of_own(&it))
    };
    plan.decisions.push(match own {
        Ok(own) if is_down(&own) => decision("write", "nothing", "its registry cannot be reached"),
        Ok(own) => {
            let name = own.to_string();
            plan.cache.to = Some(own);
            decision("write", name, facts.may_write.1.as_str())
        }
        Err(reason) => decision("write", "nothing", reason),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::buildah_line;
    use crate::model::engine::{Driver, Frontend, Store};
    use crate::model::pipeline::{Provider, Trigger, Trust};
    use crate::model::platform::Platform;
    use crate::plan::keys::Image;

    fn keys() -> Keys {
        Keys::new("", &Image { dockerfile: "Dockerfile", ..Image::default() })
    }

    fn repo() -> CacheRepo {
        let repository = "r.io/app/cache".parse().expect("repository");
        CacheRepo { repository, tag_prefix: "", reason: "as set".to_owned() }
    }

    fn facts(findings: [Finding; 2]) -> Facts {
        let [own, main] = [Scope::parse("mr-1"), Scope::parse("branch-main")].map(|it| it.expect("scope"));
        let found = |(scope, finding): (&Scope, Finding)| Candidate {
            repository: repository(&repo(), &keys(), scope).expect("repository"),
            scope: scope.to_string(),
            finding,
        };
        let candidates = [&own, &main].into_iter().zip(findings).map(found).collect();
        Facts {
            pipeline: Pipeline {
                provider: Provider::GitLab,
                trigger: Trigger::Unknown,
                default_branch: None,
                trust: Trust::Trusted,
                commit: None,
                url: None,
                image_repository: None,
                project_folder: None,
            },
            engine: Engine {
                client: None,
                server: None,
                buildx: None,
                frontend: Frontend::Buildah,
                builder: "buildah".to_owned(),
                driver: Driver::Other("buildah".to_owned()),
                store: Store::Containers,
                buildkit: None,
                platform: Platform::new("linux", "amd64", None),
                remote: None,
            },
            scopes: Chain { own: Some(own.clone()), read: vec![own, main] },
            may_write: (true, "the project's own code".to_owned()),
            cache_repo: Ok(repo()),
            reads_several: true,
            keys: keys(),
            candidates,
            warnings: Vec::new(),
        }
    }

    fn decided(text: &str, settings: &Settings, facts: &Facts) -> String {
        let line = buildah_line("buildah", &shlex::split(text).expect("words")).expect("a build");
        let plan = plan(&line, settings, facts);
        let decisions = plan.decisions.iter().skip(2);
        let lines = decisions.map(|it| format!("{}: {} ({})\n", it.topic, it.choice, it.reason));
        lines.chain(plan.warnings.iter().map(|warning| format!("warning: {warning}\n"))).collect()
    }

    #[test]
    fn the_chain_is_read_in_order_and_the_own_scope_written() {
        let facts = facts([Finding::Found, Finding::Found]);
        insta::assert_snapshot!(decided("build .", &Settings::default(), &facts), @r"
        strategy: registry (steps are kept in repositories of a registry)
        read: r.io/app/cache/mr-1, then r.io/app/cache/branch-main (the scopes that have one, the nearest first)
        write: r.io/app/cache/mr-1 (the project's own code)
        ");
    }

    #[test]
    fn one_repository_stands_for_all_where_only_one_is_read() {
        let facts = Facts { reads_several: false, ..facts([Finding::Found, Finding::Found]) };
        let line = buildah_line("buildah", &["build".to_owned()]).expect("a build");
        let plan = plan(&line, &Settings::default(), &facts);
        assert_eq!((plan.mirrors, plan.cache.from.len(), plan.flags().from.len()), (true, 2, 1));
        assert_eq!(plan.flags().from[0].to_string(), "r.io/app/cache/mr-1");
    }

    #[test]
    fn what_is_not_there_is_not_read() {
        let facts = facts([Finding::Missing, Finding::Unusable("forbidden".to_owned())]);
        insta::assert_snapshot!(decided("build .", &Settings::default(), &facts), @r"
        strategy: registry (steps are kept in repositories of a registry)
        read: nothing (no scope of the chain has a repository that can be read)
        write: r.io/app/cache/mr-1 (the project's own code)
        warning: r.io/app/cache/branch-main: forbidden
        ");
    }

    #[test]
    fn a_registry_that_is_down_is_left_alone() {
        let down = || Finding::Unreachable("connection refused".to_owned());
        insta::assert_snapshot!(decided("build .", &Settings::default(), &facts([down(), down()])), @r"
        strategy: registry (steps are kept in repositories of a registry)
        read: nothing (no scope of the chain has a repository that can be read)
        write: nothing (its registry cannot be reached)
        warning: r.io/app/cache/mr-1: connection refused
        warning: r.io/app/cache/branch-main: connection refused
        ");
    }

    #[test]
    fn a_fork_writes_nothing() {
        let mut facts = facts([Finding::Missing, Finding::Found]);
        facts.may_write = (false, "forks never write a cache".to_owned());
        insta::assert_snapshot!(decided("build .", &Settings::default(), &facts), @r"
        strategy: registry (steps are kept in repositories of a registry)
        read: r.io/app/cache/branch-main (the scopes that have one, the nearest first)
        write: nothing (forks never write a cache)
        ");
    }

    #[test]
    fn the_users_own_words_stand() {
        let asked = || facts([Finding::Found, Finding::Found]);
        let unasked = || Facts { candidates: Vec::new(), ..asked() };
        let inline = Settings { strategy: Some(Strategy::Inline), ..Settings::default() };
        let off = Settings { strategy: Some(Strategy::Off), ..Settings::default() };
        let text = [
            decided("build --cache-from r.io/x .", &Settings::default(), &unasked()),
            decided("build --no-cache --cache-to r.io/x .", &Settings::default(), &unasked()),
            decided("build --layers=false .", &Settings::default(), &unasked()),
            decided("build --squash .", &Settings::default(), &unasked()),
            decided("build .", &inline, &asked()),
            decided("build .", &off, &unasked()),
        ]
        .concat();
        insta::assert_snapshot!(text, @r"
        strategy: registry (steps are kept in repositories of a registry)
        read: nothing (your own --cache-from stands)
        write: r.io/app/cache/mr-1 (the project's own code)
        strategy: registry (steps are kept in repositories of a registry)
        read: nothing (--no-cache was given)
        write: nothing (your own --cache-to stands)
        strategy: off (`--layers=false` keeps no steps)
        strategy: off (a squashed image has no layers that could be kept)
        strategy: registry (steps are kept in repositories of a registry)
        read: r.io/app/cache/mr-1, then r.io/app/cache/branch-main (the scopes that have one, the nearest first)
        write: r.io/app/cache/mr-1 (the project's own code)
        warning: strategy `inline` is not possible with buildah, `registry` is used
        strategy: off (asked for)
        ");
    }

    #[test]
    fn a_registry_without_room_holds_no_cache() {
        let docker_hub = CacheRepo { repository: "docker.io/me/app".parse().expect("repository"), ..repo() };
        let mut warnings = Vec::new();
        assert!(with_room(Ok(docker_hub), &mut warnings).is_err());
        insta::assert_snapshot!(warnings.concat(), @"there is no cache in docker.io/me/app, which would need a repository for each scope: Docker Hub's names have two parts");
        assert_eq!(with_room(Ok(repo()), &mut warnings), Ok(repo()));
    }

    #[test]
    fn every_scope_has_a_repository() {
        let name = |branch: &str| {
            let found = repository(&repo(), &keys(), &Scope::branch(branch)).expect("repository");
            format!("{branch}: {found}\n")
        };
        let text =
            ["main", "release-1.2_x", "a..b", "a._b", "renovate/a-very-long-name-of-a-dependency"].map(name);
        insta::assert_snapshot!(text.concat(), @r"
        main: r.io/app/cache/branch-main
        release-1.2_x: r.io/app/cache/branch-release-1.2_x
        a..b: r.io/app/cache/branch-a-b-6b90a809
        a._b: r.io/app/cache/branch-a-b-0520a4f6
        renovate/a-very-long-name-of-a-dependency: r.io/app/cache/branch-renovate-a-very-long-name-of-a-52f74dcb
        ");
    }
}
