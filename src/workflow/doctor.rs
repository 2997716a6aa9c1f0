//! Whether this job could build with a cache: engine, CI variables, cache repo, credentials, settings; as values.
//!
//! Every check says what it looked at. A *problem* makes builds fail or leaves them without cache although one is meant
//! to be there; a *warning* makes them colder, or may be meant so. Secrets are named by their source. Nothing is left
//! behind: write permission is proved by an upload that is begun and given back.

use std::time::Duration;

use crate::base::env::{self, Environment};
use crate::base::process::{self, Command};
use crate::engine::probe::{self, Probe};
use crate::model::engine::{Driver, Engine, Frontend, Store};
use crate::model::pipeline::{ChangeKind, Pipeline, Provider, Trigger, Trust};
use crate::model::settings::{Settings, Strategy};
use crate::pipeline::{self, Detected};
use crate::plan::cache_repo::{CacheRepo, cache_repo};
use crate::plan::scope::{self, Chain, Scope};
use crate::plan::strategy;
use crate::registry::{Client, Error as RegistryError, Keychain};
use crate::workflow::doctor_variables as variables;
use crate::workflow::facts;
use crate::workflow::world::World;

/// How long the Docker client may take to tell its version.
const CLIENT_LIMIT: Duration = Duration::from_secs(10);

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Builds may be colder than they could be.
    Warning,
    /// Builds fail, or have no cache.
    Problem,
}

impl Verdict {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "problem",
        }
    }
}

/// What a check is about: whoever is to be asked when it finds a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// What builds.
    Engine,
    /// Where the cache is.
    Registry,
    /// How layerlift was told to behave.
    Settings,
    /// Where we run.
    Surroundings,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at: `docker engine`.
    pub name: &'static str,
    /// What it is about.
    pub about: About,
    /// What it came to.
    pub verdict: Verdict,
    /// What was seen, in lines.
    pub evidence: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Check {
    fn of(name: &'static str, about: About, evidence: Vec<String>) -> Self {
        Check { name, about, verdict: Verdict::Ok, evidence, hint: None }
    }

    fn ok(name: &'static str, about: About, evidence: impl Into<String>) -> Self {
        Check::of(name, about, vec![evidence.into()])
    }

    fn warning(self, hint: &str) -> Self {
        Check { verdict: Verdict::Warning, hint: Some(hint.to_owned()), ..self }
    }

    fn problem(self, hint: &str) -> Self {
        Check { verdict: Verdict::Problem, hint: Some(hint.to_owned()), ..self }
    }

    fn and(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(lines);
        self
    }
}

/// Checks everything at once. `settings` is what is wrong with them where they cannot be used; nothing that depends on
/// them is checked then.
pub async fn examine(world: &World, settings: Result<&Settings, &str>) -> Vec<Check> {
    let detected = pipeline::detect(&world.environment, &world.folder).await;
    let (engine, registry) = tokio::join!(engine(world, settings.ok(), &detected.pipeline), async {
        match settings {
            Ok(settings) => registry(world, settings, &detected.pipeline).await,
            Err(_) => Vec::new(),
        }
    });
    let mut checks = engine;
    checks.extend(surroundings(world, settings.ok(), &detected));
    checks.extend(registry);
    checks.extend(of_settings(&world.environment, settings));
    checks
}

async fn engine(world: &World, settings: Option<&Settings>, pipeline: &Pipeline) -> Vec<Check> {
    let (question, probe) = (Command::new("docker", ["--version"]), Probe::default());
    let (client, engine) =
        tokio::join!(process::capture(&question, CLIENT_LIMIT), probe::probe(&world.environment, &probe));
    let mut checks = Vec::new();
    if let Ok(answer) = client {
        checks.push(Check::ok("docker client", About::Engine, variables::plain(answer.stdout.trim())));
    }
    match engine {
        Ok(engine) => {
            checks.extend(builder(&world.environment, &engine));
            if let Some(settings) = settings {
                let has_repo = cache_repo(settings.cache_repo.as_ref(), pipeline, &[]).is_ok();
                checks.push(choice(&engine, settings, has_repo));
            }
        }
        Err(error) => {
            let hint =
                error.hint().unwrap_or_else(|| "`docker version` and `docker buildx ls` say more".to_owned());
            let address = world
                .environment
                .get(env::DOCKER_HOST)
                .map(|host| format!("DOCKER_HOST={}", variables::plain(host)));
            checks.push(Check::ok("docker engine", About::Engine, whole(&error)).and(address).problem(&hint));
        }
    }
    checks
}

/// What builds, as the probe found it.
fn builder(environment: &Environment, engine: &Engine) -> Vec<Check> {
    let buildx = match (engine.buildx, engine.frontend) {
        (Some(version), _) => Check::ok("buildx", About::Engine, version.to_string()),
        (None, Frontend::Classic) if environment.get(env::DOCKER_BUILDKIT).is_some() => {
            Check::ok("buildx", About::Engine, "not asked for: DOCKER_BUILDKIT wants the classic builder")
        }
        (None, _) => Check::ok("buildx", About::Engine, "not installed").warning(
            "the plugin `docker-buildx` builds faster and can export caches; the image `docker:cli` has it",
        ),
    };
    let address = match (&engine.remote, environment.get(env::DOCKER_HOST)) {
        (Some(address), _) => address.as_str(),
        (None, Some(host)) => host,
        (None, None) => "this machine's socket",
    };
    let server = engine.server.map_or_else(
        || "none, and none is needed: the builder is elsewhere".to_owned(),
        |version| format!("Docker {version} at {}", variables::plain(address)),
    );
    let kind = match (&engine.frontend, &engine.driver) {
        (Frontend::Classic, _) => "the classic builder".to_owned(),
        (_, Driver::Docker) => "the engine's own BuildKit".to_owned(),
        (_, Driver::DockerContainer) => "BuildKit in a container".to_owned(),
        (_, Driver::Kubernetes) => "BuildKit in Kubernetes".to_owned(),
        (_, Driver::Remote) => "a remote BuildKit".to_owned(),
        (_, Driver::Other(name)) => format!("driver {}", variables::plain(name)),
    };
    let buildkit = engine.buildkit.filter(|_| engine.frontend != Frontend::Classic);
    let version = buildkit.map(|version| format!(" {version}")).unwrap_or_default();
    let store = match (&engine.driver, engine.store) {
        (Driver::Docker, Store::Containerd) => ", containerd image store",
        (Driver::Docker, Store::GraphDriver) => ", graph driver store",
        _ => "",
    };
    let builder = format!("`{}`: {kind}{version}{store}, for {}", engine.builder, engine.platform);
    vec![
        buildx,
        Check::ok("docker engine", About::Engine, server),
        Check::ok("builder", About::Engine, builder),
    ]
}

fn choice(engine: &Engine, settings: &Settings, has_repo: bool) -> Check {
    let choice = strategy::choose(engine, settings.strategy, has_repo);
    let check = Check::ok("strategy", About::Engine, format!("{}: {}", choice.strategy, choice.reason))
        .and(choice.warning.clone());
    if choice.warning.is_some() {
        check.warning("leave --strategy out, and the best that is possible is chosen")
    } else if choice.strategy == Strategy::Off && settings.strategy.is_none() {
        check.warning("name a cache repo with --cache-repo, or the image with -t")
    } else {
        check
    }
}

/// Where we run: the CI system, its variables, the scopes, proxies.
fn surroundings(world: &World, settings: Option<&Settings>, detected: &Detected) -> Vec<Check> {
    let pipeline = &detected.pipeline;
    let provider = match pipeline.provider {
        Provider::GitLab => "GitLab CI",
        Provider::GitHub => "GitHub Actions",
        Provider::OtherCi => "another CI system",
        Provider::Local => "no CI job",
    };
    let seen = variables::plain(&format!("{provider}, {}", words(&pipeline.trigger)));
    let ci = Check::ok("pipeline", About::Surroundings, seen).and(variables::of_ci(&world.environment));
    let warnings: Vec<String> = detected.warnings.iter().map(|warning| whole(warning)).collect();
    let ci = if warnings.is_empty() {
        ci
    } else {
        ci.and(warnings).warning("less is known of this pipeline, and less is trusted")
    };
    let mut checks = vec![ci];
    if let Some(settings) = settings {
        checks.push(scopes(pipeline, settings));
    }
    let proxies = variables::proxies(&world.environment);
    if !proxies.is_empty() {
        let check =
            Check::ok("proxy", About::Surroundings, "registries are reached through it, if not in NO_PROXY");
        checks.push(check.and(proxies));
    }
    checks
}

/// What the build is for.
fn words(trigger: &Trigger) -> String {
    let to = |branch: &Option<String>| branch.as_ref().map(|name| format!(" to {name}")).unwrap_or_default();
    match trigger {
        Trigger::Branch { name } => format!("branch {name}"),
        Trigger::Change { change: ChangeKind::MergeRequest, number, target } => {
            format!("merge request {number}{}", to(target))
        }
        Trigger::Change { change: ChangeKind::PullRequest, number, target } => {
            format!("pull request {number}{}", to(target))
        }
        Trigger::Tag { name } => format!("tag {name}"),
        Trigger::Schedule { branch } => format!("a schedule on {}", branch.as_deref().unwrap_or("no branch")),
        Trigger::MergeQueue { target } => format!("a merge queue{}", to(target)),
        Trigger::Unknown => "no branch is known".to_owned(),
    }
}

fn scopes(pipeline: &Pipeline, settings: &Settings) -> Check {
    let Chain { own, read } = scope::scopes(pipeline, settings.scope.as_deref(), &settings.fallback);
    let (may_write, reason) = scope::may_write(pipeline, settings.read_only);
    let read: Vec<&str> = read.iter().map(Scope::as_str).collect();
    let reads = if read.is_empty() { "nothing".to_owned() } else { read.join(", ") };
    let writes = own.filter(|_| may_write).map_or_else(|| "nothing".to_owned(), |own| own.to_string());
    let check = Check::ok("scope", About::Surroundings, format!("reads {reads}"))
        .and([format!("writes {writes}: {reason}")]);
    match (&pipeline.trigger, &pipeline.trust) {
        _ if !pipeline.is_ci() => check,
        (Trigger::Unknown, _) if settings.scope.is_none() => {
            check.warning("name a scope with --scope: nothing tells which branch this is")
        }
        (_, Trust::Unknown) if !may_write && settings.read_only.is_none() => {
            check.warning("set LAYERLIFT_READ_ONLY=false in jobs that build the project's own code")
        }
        _ => check,
    }
}

/// The cache repo, and what may be done with it.
async fn registry(world: &World, settings: &Settings, pipeline: &Pipeline) -> Vec<Check> {
    let repo = match cache_repo(settings.cache_repo.as_ref(), pipeline, &[]) {
        Ok(repo) => repo,
        Err(_) => {
            let evidence =
                "none is set and the CI system offers none: a build derives it from its first `-t`";
            return vec![
                Check::ok("cache repo", About::Registry, evidence)
                    .warning("name it with --cache-repo or LAYERLIFT_CACHE_REPO, here too"),
            ];
        }
    };
    let client = match facts::registry(world, settings) {
        Ok(client) => client,
        Err(error) => {
            let hint = "a file with trusted roots, or with certificates, cannot be used";
            return vec![Check::ok("cache repo", About::Registry, whole(&error)).problem(hint)];
        }
    };
    let found = Check::ok("cache repo", About::Registry, format!("{} ({})", repo.repository, repo.reason));
    let scopes = scope::scopes(pipeline, settings.scope.as_deref(), &settings.fallback);
    let may_write = scope::may_write(pipeline, settings.read_only);
    let keychain = Keychain::new(&world.environment);
    let (credential, permissions) =
        tokio::join!(credential(&keychain, &repo), permissions(&client, &repo, &scopes, may_write));
    let mut checks = vec![found, credential];
    checks.extend(permissions);
    checks
}

async fn credential(keychain: &Keychain, repo: &CacheRepo) -> Check {
    match keychain.find(&repo.repository).await {
        Ok(Some(found)) => Check::ok("credential", About::Registry, format!("from {}", found.source)),
        Ok(None) => Check::ok("credential", About::Registry, "none was found: asked without a login"),
        Err(error) => Check::ok("credential", About::Registry, whole(&error))
            .problem("repair it, or log in again with `docker login`"),
    }
}

/// Reaching, reading, writing: each only where the one before it went well enough to make sense.
async fn permissions(
    client: &Client,
    repo: &CacheRepo,
    scopes: &Chain,
    (may_write, reason): (bool, String),
) -> Vec<Check> {
    let host = repo.repository.registry();
    let tag = scopes
        .read
        .first()
        .map_or_else(|| "latest".to_owned(), |scope| format!("{}{scope}", repo.tag_prefix));
    let answer = match repo.repository.with_tag(&tag) {
        Ok(reference) => client.head_manifest(&reference).await.map(|found| (reference, found)),
        // A scope is always a tag; asking for another one tells the same.
        Err(_) => return Vec::new(),
    };
    let reached = Check::ok("registry", About::Registry, format!("{host} answers"));
    let read = |evidence: String| Check::ok("read permission", About::Registry, evidence);
    let mut checks = match answer {
        Ok((reference, Some(found))) => {
            vec![reached, read(format!("{reference} is there, {}", found.digest))]
        }
        Ok((reference, None)) => {
            let evidence =
                format!("{reference} is not there yet; some registries say so where reading is forbidden");
            vec![reached, read(evidence)]
        }
        Err(error) if is_refusal(&error) => {
            vec![reached, read(whole(&error)).problem(&login_hint(host))]
        }
        Err(error) => {
            let hint = "is the name right, and is the registry to be reached over plain HTTP (--insecure-registry), \
                through a proxy (HTTPS_PROXY), or with roots of its own (/etc/docker/certs.d)?";
            return vec![Check::ok("registry", About::Registry, whole(&error)).problem(hint)];
        }
    };
    let write = |evidence: String| Check::ok("write permission", About::Registry, evidence);
    checks.push(if may_write {
        match client.check_push(&repo.repository).await {
            Ok(()) => write("an upload was begun and given back".to_owned()),
            Err(error) => write(whole(&error)).problem(&login_hint(host)),
        }
    } else {
        write(format!("not tried: {reason}"))
    });
    checks
}

/// Whether the registry was reached and said no.
fn is_refusal(error: &RegistryError) -> bool {
    use RegistryError::{Credential, Forbidden, Refused, Unauthorized};
    matches!(error, Unauthorized { .. } | Forbidden { .. } | Refused { .. } | Credential { .. })
}

fn login_hint(host: &str) -> String {
    format!(
        "log in with `docker login {host}`, or set DOCKER_AUTH_CONFIG; on GitHub, give the job `packages: write`"
    )
}

/// The settings with their origins, and variables that look like settings.
fn of_settings(environment: &Environment, settings: Result<&Settings, &str>) -> Vec<Check> {
    let check = match settings {
        Ok(settings) if settings.origins.is_empty() => {
            Check::ok("settings", About::Settings, "nothing is set: all defaults")
        }
        Ok(settings) => {
            let origins = settings.origins.iter().map(|(name, origin)| format!("{name} from {origin}"));
            Check::of("settings", About::Settings, origins.collect())
        }
        Err(problem) => {
            let lines = problem.lines().filter(|line| !line.is_empty()).map(variables::plain);
            Check::of("settings", About::Settings, lines.collect())
                .problem("until they can be read, scopes and cache repo are not checked")
        }
    };
    let unknown = variables::unknown(environment);
    let mut checks = vec![check];
    if let Some((first, others)) = unknown.split_first() {
        let check = Check::ok("variables", About::Settings, first.clone()).and(others.to_vec());
        checks.push(check.warning("layerlift reads no variable of this name"));
    }
    checks
}

/// An error with its causes, in one line.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    variables::plain(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::engine::Version;
    use crate::plan::strategy::tests::engine;

    fn pipeline(provider: Provider, trigger: Trigger, trust: Trust) -> Pipeline {
        Pipeline {
            provider,
            trigger,
            default_branch: Some("main".to_owned()),
            trust,
            commit: None,
            url: None,
            image_repository: None,
            project_folder: None,
        }
    }

    #[test]
    fn a_scope_is_worth_a_warning_only_where_something_can_be_done() {
        let branch = || Trigger::Branch { name: "main".to_owned() };
        let fork = Trust::Fork { evidence: "the change comes from someone/app".to_owned() };
        let read_only = Settings { read_only: Some(true), ..Settings::default() };
        let named = Settings { scope: Some("nightly".to_owned()), ..Settings::default() };
        let none = Settings::default();
        for (provider, trigger, trust, settings, expected) in [
            (Provider::GitLab, branch(), Trust::Trusted, &none, Verdict::Ok),
            (Provider::GitHub, branch(), fork, &none, Verdict::Ok),
            (Provider::Local, Trigger::Unknown, Trust::Unknown, &none, Verdict::Ok),
            (Provider::OtherCi, branch(), Trust::Unknown, &none, Verdict::Warning),
            (Provider::OtherCi, branch(), Trust::Unknown, &read_only, Verdict::Ok),
            (Provider::GitLab, Trigger::Unknown, Trust::Trusted, &none, Verdict::Warning),
            (Provider::GitLab, Trigger::Unknown, Trust::Trusted, &named, Verdict::Ok),
        ] {
            let check = scopes(&pipeline(provider, trigger, trust), settings);
            assert_eq!(check.verdict, expected, "{check:?}");
            assert_eq!(check.hint.is_some(), expected != Verdict::Ok, "{check:?}");
        }
    }

    #[test]
    fn a_wish_that_cannot_be_followed_is_a_warning() {
        let graph = engine(Version(28, 5, 2), Store::GraphDriver, Frontend::Buildx);
        let verdict = |strategy, has_repo| {
            choice(&graph, &Settings { strategy, ..Settings::default() }, has_repo).verdict
        };
        assert_eq!(verdict(None, true), Verdict::Ok);
        assert_eq!(verdict(Some(Strategy::Off), false), Verdict::Ok);
        assert_eq!(verdict(None, false), Verdict::Warning);
        assert_eq!(verdict(Some(Strategy::Registry), true), Verdict::Warning);
    }

    #[test]
    fn the_builder_is_told_in_words() {
        let tell = |engine: &Engine| -> String {
            let checks = builder(&Environment::default(), engine);
            checks.iter().map(|check| format!("{}: {}\n", check.name, check.evidence.join("; "))).collect()
        };
        let containerd = engine(Version(28, 5, 2), Store::Containerd, Frontend::Buildx);
        let old = engine(Version(20, 10, 24), Store::GraphDriver, Frontend::Classic);
        let text = tell(&containerd) + &tell(&old);
        insta::assert_snapshot!(text, @"
        buildx: 0.29.1
        docker engine: Docker 28.5.2 at this machine's socket
        builder: `default`: the engine's own BuildKit 0.25.0, containerd image store, for linux/amd64
        buildx: not installed
        docker engine: Docker 20.10.24 at this machine's socket
        builder: `default`: the classic builder, graph driver store, for linux/amd64
        ");
    }

    #[test]
    fn refusals_are_told_from_silence() {
        let denied = RegistryError::NotFound { what: "x".to_owned() };
        let late = RegistryError::TimedOut { what: "x".to_owned(), limit: CLIENT_LIMIT };
        assert!(!is_refusal(&denied) && !is_refusal(&late));
        let answer = crate::registry::Answer::default();
        assert!(is_refusal(&RegistryError::Forbidden { what: "x".to_owned(), answer }));
    }
}
