//! How the cache travels: chosen from what the engine can do, or checked against it where the user chose.
//!
//! | strategy | when it is chosen |
//! |---|---|
//! | registry | the builder can export a cache |
//! | inline | BuildKit that cannot export: Docker 18.09 to 22, the graph driver store of any age |
//! | classic | `DOCKER_BUILDKIT=0`, or an engine without BuildKit |
//! | local | no cache repo, and a builder that can export |
//! | off | asked for, or nothing else is possible |

use crate::model::engine::{Engine, Frontend};
use crate::model::settings::Strategy;

/// What was chosen and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The strategy.
    pub strategy: Strategy,
    /// Why, for the plan and the report.
    pub reason: String,
    /// Set where the user's own choice could not be followed.
    pub warning: Option<String>,
}

/// Chooses. `has_repo`: a cache repo is known.
pub fn choose(engine: &Engine, asked: Option<Strategy>, has_repo: bool) -> Choice {
    let (strategy, reason) = automatic(engine, has_repo);
    let chosen = |strategy, reason: &str| Choice { strategy, reason: reason.to_owned(), warning: None };
    match asked {
        None => chosen(strategy, reason),
        Some(asked) => match obstacle(engine, asked, has_repo) {
            None => chosen(asked, "asked for"),
            Some(obstacle) => Choice {
                strategy,
                reason: reason.to_owned(),
                warning: Some(format!(
                    "strategy `{asked}` is not possible here, `{strategy}` is used: {obstacle}"
                )),
            },
        },
    }
}

fn automatic(engine: &Engine, has_repo: bool) -> (Strategy, &'static str) {
    match (engine.frontend, has_repo) {
        (Frontend::Classic, true) => {
            (Strategy::Classic, "the classic builder reads its cache from local images")
        }
        (Frontend::Classic, false) => {
            (Strategy::Off, "the classic builder needs a cache repo, and none is known")
        }
        (_, true) if engine.can_export_cache() => {
            (Strategy::Registry, "the builder can export its cache to a registry")
        }
        (_, true) => (Strategy::Inline, "this engine's BuildKit exports no cache but the inline one"),
        (_, false) if engine.can_export_cache() => (Strategy::Local, "no cache repo is known"),
        (_, false) => {
            (Strategy::Off, "no cache repo is known, and the builder cannot export a cache to a folder")
        }
    }
}

/// Why a strategy cannot be followed on this engine.
fn obstacle(engine: &Engine, asked: Strategy, has_repo: bool) -> Option<&'static str> {
    let classic = engine.frontend == Frontend::Classic;
    match asked {
        Strategy::Off => None,
        Strategy::Registry | Strategy::Inline | Strategy::Classic if !has_repo => {
            Some("no cache repo is known; name one with --cache-repo")
        }
        Strategy::Registry | Strategy::Local if !engine.can_export_cache() => Some(
            "the builder cannot export a cache (it needs the containerd image store or a docker-container builder)",
        ),
        Strategy::Inline if classic => Some("the classic builder has no inline cache"),
        Strategy::Inline if engine.frontend == Frontend::Buildctl => {
            Some("stages are built one by one with docker alone")
        }
        Strategy::Classic if !classic => Some("it is for DOCKER_BUILDKIT=0"),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::engine::{Driver, Store, Version, buildkit_of_docker};

    /// An engine for tests: Docker's version, its store, the front.
    pub(crate) fn engine(server: Version, store: Store, frontend: Frontend) -> Engine {
        Engine {
            client: Some(server),
            server: Some(server),
            buildx: (frontend == Frontend::Buildx).then_some(Version(0, 29, 1)),
            frontend,
            builder: "default".to_owned(),
            driver: Driver::Docker,
            store,
            buildkit: Some(buildkit_of_docker(server)),
            platform: "linux/amd64".parse().expect("platform"),
            remote: None,
        }
    }

    #[test]
    fn follows_the_engine() {
        let containerd = engine(Version(28, 5, 2), Store::Containerd, Frontend::Buildx);
        let graph = engine(Version(28, 5, 2), Store::GraphDriver, Frontend::Buildx);
        let old = engine(Version(20, 10, 24), Store::GraphDriver, Frontend::BuildKit);
        let classic = engine(Version(20, 10, 24), Store::GraphDriver, Frontend::Classic);
        let table = [
            (&containerd, true, Strategy::Registry),
            (&containerd, false, Strategy::Local),
            (&graph, true, Strategy::Inline),
            (&graph, false, Strategy::Off),
            (&old, true, Strategy::Inline),
            (&classic, true, Strategy::Classic),
            (&classic, false, Strategy::Off),
        ];
        for (engine, has_repo, expected) in table {
            assert_eq!(choose(engine, None, has_repo).strategy, expected, "{engine:?}");
        }
    }

    #[test]
    fn an_impossible_wish_is_a_warning() {
        let graph = engine(Version(26, 1, 5), Store::GraphDriver, Frontend::Buildx);
        let choice = choose(&graph, Some(Strategy::Registry), true);
        assert_eq!(choice.strategy, Strategy::Inline);
        assert!(choice.warning.expect("warned").contains("containerd image store"));
        assert_eq!(choose(&graph, Some(Strategy::Off), true).warning, None);
    }
}
