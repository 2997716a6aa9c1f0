//! Settings: flag > `LAYERLIFT_*` variable > settings file > CI default > built-in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use crate::base::env::{self, Environment, Variable};
use crate::base::yaml;
use crate::cli::failure::{ExitCode, Failure};
use crate::model::platform::Platform;
use crate::model::settings::{BuilderNode, BuilderSettings, Origin, Settings};

mod parse;

/// The file that is read when no other is named.
pub const FILE_NAME: &str = ".layerlift.yml";

/// The file is a page of settings; a larger one is a mistake.
const LARGEST_FILE: u64 = 1 << 20;

/// Settings as typed. Every flag has a variable and a key of the same name.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings of layerlift")]
pub struct SettingsArgs {
    /// Repository that holds the cache refs [default: the CI's registry, else the first -t]
    #[arg(long, value_name = "REPOSITORY")]
    cache_repo: Option<String>,
    /// How the cache travels: auto, registry, inline, classic, local, off
    #[arg(long, value_name = "NAME")]
    strategy: Option<String>,
    /// Scope to write and to read first [default: found from CI: branch-main, mr-12, pr-7]
    #[arg(long, value_name = "NAME")]
    scope: Option<String>,
    /// Scope to read after the chain's own; may be given several times
    #[arg(long, value_name = "NAME")]
    fallback: Vec<String>,
    /// Never write a cache; `--read-only=false` writes outside of CI too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    read_only: Option<bool>,
    /// A cache problem fails the job
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    strict: Option<bool>,
    /// A build in which a step ran fails the job, after everything is pushed and kept
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    fail_on_miss: Option<bool>,
    /// Store a pushed image in the engine as well
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    keep_image: Option<bool>,
    /// Build tracked files with the modes that git records: auto (in CI), on, off
    #[arg(long, value_name = "WHEN")]
    normalize_modes: Option<String>,
    /// Answer an unchanged build with the image that it made before: auto (pushes in CI), on, off
    #[arg(long, value_name = "WHEN")]
    reuse: Option<String>,
    /// Build the last COPYs as `COPY --link` where that is provably the same: auto, off
    #[arg(long, value_name = "WHEN")]
    auto_link: Option<String>,
    /// Pack the layers that only the cache has: auto (as the image's), gzip, zstd
    #[arg(long, value_name = "KIND")]
    cache_compression: Option<String>,
    /// Keep nothing that takes longer than what it saves, a stage or the whole cache: auto, off
    #[arg(long, value_name = "WHEN")]
    weigh_cache: Option<String>,
    /// End when the image is there, and leave the export of the cache to `layerlift cache flush`
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    detach_cache: Option<bool>,
    /// Build anew, from nothing, what was made longer ago: 30m, 12h, 7d, 2w [default: any age will do]
    #[arg(long, value_name = "AGE")]
    max_age: Option<String>,
    /// Write the outcome as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the outcome as a page: the steps over time, what hit, what ran and why
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the outcome as GitLab dotenv variables
    #[arg(long, value_name = "FILE")]
    dotenv: Option<PathBuf>,
    /// Folder of the `local` strategy [default: .layerlift/cache]
    #[arg(long, value_name = "FOLDER")]
    cache_dir: Option<PathBuf>,
    /// Longest time for one cache question to a registry [default: 10]
    #[arg(long, value_name = "SECONDS")]
    registry_timeout: Option<String>,
    /// Registry to speak to over plain HTTP; may be given several times
    #[arg(long, value_name = "HOST[:PORT]")]
    insecure_registry: Vec<String>,
    /// Registry that has what Docker Hub has, asked before it for base images; may be given several times
    #[arg(long, value_name = "HOST[:PORT]")]
    registry_mirror: Vec<String>,
    /// Make and use a BuildKit container where the default builder cannot export a cache
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    builder_auto: Option<bool>,
    /// Settings file [default: .layerlift.yml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The settings file. Keys are the flags' names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct SettingsFile {
    cache_repo: Option<String>,
    strategy: Option<String>,
    scope: Option<String>,
    fallback: Option<Vec<String>>,
    read_only: Option<bool>,
    strict: Option<bool>,
    fail_on_miss: Option<bool>,
    keep_image: Option<bool>,
    normalize_modes: Option<String>,
    reuse: Option<String>,
    auto_link: Option<String>,
    cache_compression: Option<String>,
    weigh_cache: Option<String>,
    detach_cache: Option<bool>,
    max_age: Option<String>,
    report: Option<PathBuf>,
    html: Option<PathBuf>,
    dotenv: Option<PathBuf>,
    cache_dir: Option<PathBuf>,
    registry_timeout: Option<f64>,
    insecure_registry: Option<Vec<String>>,
    registry_mirror: Option<Vec<String>>,
    builder_auto: Option<bool>,
    builder: Option<BuilderFile>,
}

/// The file's part about the builder of `builder-auto`, which has no flags.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct BuilderFile {
    image: Option<String>,
    mirrors: Vec<String>,
    nodes: Vec<NodeFile>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NodeFile {
    name: String,
    endpoint: String,
    #[serde(default)]
    platforms: Vec<Platform>,
}

impl From<BuilderFile> for BuilderSettings {
    fn from(file: BuilderFile) -> Self {
        let node = |NodeFile { name, endpoint, platforms }| BuilderNode { name, endpoint, platforms };
        let nodes = file.nodes.into_iter().map(node).collect();
        BuilderSettings { image: file.image, mirrors: file.mirrors, nodes }
    }
}

impl SettingsArgs {
    /// Whether `flag` (`--reuse`) is one of them.
    pub(super) fn has(flag: &str) -> bool {
        let all = SettingsArgs::augment_args(clap::Command::new("settings"));
        flag.strip_prefix("--").is_some_and(|name| all.get_arguments().any(|it| it.get_long() == Some(name)))
    }

    /// Resolves every setting. `folder` is where the default settings file is looked for.
    pub fn resolve(&self, environment: &Environment, folder: &Path) -> Result<Settings, Failure> {
        let named = self.config.clone().or_else(|| environment.get(env::LAYERLIFT_CONFIG).map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| folder.join(FILE_NAME));
        let file = read_file(&path, named.is_some())?;
        let mut resolver = Resolver { environment, path, origins: BTreeMap::new() };
        let defaults = Settings::default();
        let timeout = file.registry_timeout.map(|seconds| seconds.to_string());
        Ok(Settings {
            cache_repo: resolver.parsed(
                env::LAYERLIFT_CACHE_REPO,
                &self.cache_repo,
                &file.cache_repo,
                parse::repository,
            )?,
            strategy: resolver
                .parsed(env::LAYERLIFT_STRATEGY, &self.strategy, &file.strategy, parse::strategy)?
                .flatten(),
            normalize_modes: resolver
                .parsed(
                    env::LAYERLIFT_NORMALIZE_MODES,
                    &self.normalize_modes,
                    &file.normalize_modes,
                    parse::when,
                )?
                .flatten(),
            reuse: resolver.parsed(env::LAYERLIFT_REUSE, &self.reuse, &file.reuse, parse::when)?.flatten(),
            auto_link: resolver
                .parsed(env::LAYERLIFT_AUTO_LINK, &self.auto_link, &file.auto_link, parse::unless_off)?
                .flatten(),
            weigh_cache: resolver
                .parsed(env::LAYERLIFT_WEIGH_CACHE, &self.weigh_cache, &file.weigh_cache, parse::unless_off)?
                .flatten(),
            cache_compression: resolver
                .parsed(
                    env::LAYERLIFT_CACHE_COMPRESSION,
                    &self.cache_compression,
                    &file.cache_compression,
                    parse::compression,
                )?
                .unwrap_or(defaults.cache_compression),
            max_age: resolver.parsed(env::LAYERLIFT_MAX_AGE, &self.max_age, &file.max_age, parse::age)?,
            registry_timeout: resolver
                .parsed(env::LAYERLIFT_REGISTRY_TIMEOUT, &self.registry_timeout, &timeout, parse::seconds)?
                .unwrap_or(defaults.registry_timeout),
            scope: resolver.text(env::LAYERLIFT_SCOPE, &self.scope, &file.scope),
            fallback: resolver.list(env::LAYERLIFT_FALLBACK, &self.fallback, file.fallback),
            read_only: resolver.switch(env::LAYERLIFT_READ_ONLY, self.read_only, file.read_only)?,
            strict: resolver.switch(env::LAYERLIFT_STRICT, self.strict, file.strict)?.unwrap_or(false),
            fail_on_miss: resolver
                .switch(env::LAYERLIFT_FAIL_ON_MISS, self.fail_on_miss, file.fail_on_miss)?
                .unwrap_or(false),
            detach_cache: resolver
                .switch(env::LAYERLIFT_DETACH_CACHE, self.detach_cache, file.detach_cache)?
                .unwrap_or(false),
            keep_image: resolver
                .switch(env::LAYERLIFT_KEEP_IMAGE, self.keep_image, file.keep_image)?
                .unwrap_or(false),
            report: resolver.path(env::LAYERLIFT_REPORT, &self.report, &file.report),
            html: resolver.path(env::LAYERLIFT_HTML, &self.html, &file.html),
            dotenv: resolver.path(env::LAYERLIFT_DOTENV, &self.dotenv, &file.dotenv),
            cache_dir: resolver
                .path(env::LAYERLIFT_CACHE_DIR, &self.cache_dir, &file.cache_dir)
                .unwrap_or(defaults.cache_dir),
            insecure_registries: resolver.list(
                env::LAYERLIFT_INSECURE_REGISTRY,
                &self.insecure_registry,
                file.insecure_registry,
            ),
            registry_mirrors: resolver.list(
                env::LAYERLIFT_REGISTRY_MIRROR,
                &self.registry_mirror,
                file.registry_mirror,
            ),
            member: None,
            builder_auto: resolver
                .switch(env::LAYERLIFT_BUILDER_AUTO, self.builder_auto, file.builder_auto)?
                .unwrap_or(false),
            builder: file.builder.unwrap_or_default().into(),
            origins: resolver.origins,
        })
    }
}

/// Applies the precedence, and remembers where each value came from.
struct Resolver<'a> {
    environment: &'a Environment,
    path: PathBuf,
    origins: BTreeMap<&'static str, Origin>,
}

impl Resolver<'_> {
    fn pick<T>(&mut self, variable: Variable, candidates: [(Option<T>, Origin); 3]) -> Option<T> {
        let (value, origin) =
            candidates.into_iter().find_map(|(value, origin)| value.map(|value| (value, origin)))?;
        self.origins.insert(variable.name, origin);
        Some(value)
    }

    fn text(&mut self, variable: Variable, flag: &Option<String>, file: &Option<String>) -> Option<String> {
        let of_environment = self.environment.get(variable).map(str::to_owned);
        let path = self.path.clone();
        self.pick(
            variable,
            [
                (flag.clone(), Origin::Flag),
                (of_environment, Origin::Variable(variable.name)),
                (file.clone(), Origin::File(path)),
            ],
        )
    }

    fn path(
        &mut self,
        variable: Variable,
        flag: &Option<PathBuf>,
        file: &Option<PathBuf>,
    ) -> Option<PathBuf> {
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        self.text(variable, &text(flag), &text(file)).map(PathBuf::from)
    }

    fn list(&mut self, variable: Variable, flag: &[String], file: Option<Vec<String>>) -> Vec<String> {
        let of_flag = (!flag.is_empty()).then(|| flag.join(","));
        let text = self.text(variable, &of_flag, &file.map(|list| list.join(","))).unwrap_or_default();
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    fn switch(
        &mut self,
        variable: Variable,
        flag: Option<bool>,
        file: Option<bool>,
    ) -> Result<Option<bool>, Failure> {
        let text = |value: Option<bool>| value.map(|value| value.to_string());
        self.parsed(variable, &text(flag), &text(file), parse::switch)
    }

    fn parsed<T>(
        &mut self,
        variable: Variable,
        flag: &Option<String>,
        file: &Option<String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let text = self.text(variable, flag, file);
        text.map(|text| self.checked(variable, parse(&text))).transpose()
    }

    /// Turns a value's error into a failure that names the flag, variable or file that it came from.
    fn checked<T>(&self, variable: Variable, parsed: Result<T, String>) -> Result<T, Failure> {
        parsed.map_err(|reason| {
            let setting =
                variable.name.trim_start_matches("LAYERLIFT_").to_ascii_lowercase().replace('_', "-");
            let place = match self.origins.get(variable.name) {
                Some(Origin::Flag) | None => format!("--{setting}"),
                Some(Origin::File(path)) => format!("`{setting}` in {}", path.display()),
                Some(other) => other.to_string(),
            };
            let code = match self.origins.get(variable.name) {
                Some(Origin::Flag) => ExitCode::USAGE,
                _ => ExitCode::CONFIG,
            };
            Failure::new(code, format!("{place}: {reason}"))
        })
    }
}

fn read_file(path: &Path, named: bool) -> Result<SettingsFile, Failure> {
    let failed = |source: std::io::Error| {
        Failure::new(ExitCode::CONFIG, format!("settings file {} cannot be read", path.display()))
            .caused_by(&source)
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
            return Ok(SettingsFile::default());
        }
        Err(error) => return Err(failed(error)),
        Ok(metadata) if metadata.len() > LARGEST_FILE => {
            let message = format!("settings file {} is larger than 1 MiB", path.display());
            return Err(Failure::new(ExitCode::CONFIG, message));
        }
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(SettingsFile::default());
    }
    yaml::parse(&text).map_err(|error| {
        let message = format!("{}:{}:{}: {}", path.display(), error.line, error.column, error.message);
        Failure::new(ExitCode::CONFIG, message)
            .with_hint("the keys are the flags of `layerlift build --help`, without the dashes")
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::settings::Strategy;

    fn resolve(
        arguments: &SettingsArgs,
        variables: &[(&str, &str)],
        file: &str,
    ) -> Result<Settings, Failure> {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join(FILE_NAME), file).expect("written");
        arguments.resolve(&variables.iter().copied().collect(), folder.path())
    }

    #[test]
    fn flag_beats_variable_beats_file() {
        let file =
            "normalize-modes: off\nstrategy: local\nscope: of-file\nfallback: [a, b]\nregistry-timeout: 2\n";
        let variables = [("LAYERLIFT_SCOPE", "of-variable"), ("LAYERLIFT_STRATEGY", "inline")];
        let arguments = SettingsArgs { strategy: Some("off".into()), ..SettingsArgs::default() };
        let settings = resolve(&arguments, &variables, file).expect("valid");
        assert_eq!(settings.strategy, Some(Strategy::Off));
        assert_eq!(settings.normalize_modes, Some(false));
        assert_eq!(settings.scope.as_deref(), Some("of-variable"));
        assert_eq!(settings.fallback, ["a", "b"]);
        assert_eq!(settings.registry_timeout, Duration::from_secs(2));
        assert_eq!(settings.origins["LAYERLIFT_STRATEGY"], Origin::Flag);
        assert_eq!(settings.origins["LAYERLIFT_SCOPE"], Origin::Variable("LAYERLIFT_SCOPE"));
    }

    #[test]
    fn the_builder_is_described_in_the_file() {
        let file = "builder-auto: true\nbuilder:\n  image: r.lan/buildkit:1\n  nodes:\n  - name: arm\n    endpoint: ssh://arm.lan\n    platforms: [linux/aarch64]\n";
        let settings = resolve(&SettingsArgs::default(), &[], file).expect("valid");
        assert!(settings.builder_auto);
        assert_eq!(settings.builder.image.as_deref(), Some("r.lan/buildkit:1"));
        assert_eq!(settings.builder.nodes[0].platforms[0].to_string(), "linux/arm64");
        let settings = resolve(&SettingsArgs::default(), &[("LAYERLIFT_BUILDER_AUTO", "0")], file);
        assert!(!settings.expect("valid").builder_auto);
        let wrong =
            resolve(&SettingsArgs::default(), &[], "builder:\n  nodes:\n  - name: arm\n").expect_err("wrong");
        assert!(wrong.to_string().contains("missing field `endpoint`"), "{wrong}");
    }

    #[test]
    fn ages_have_a_unit() {
        let hours = |text: &str| parse::age(text).map(|age| age.as_secs() / 3600).ok();
        assert_eq!(
            ["90m", "12h", "7d", "2w", "0d"].map(hours),
            [Some(1), Some(12), Some(168), Some(336), Some(0)]
        );
        assert_eq!(["", "7", "d", "1.5d", "-1d", "7 days", "7é", "99999999999d"].map(hours), [None; 8]);
        let settings =
            resolve(&SettingsArgs::default(), &[("LAYERLIFT_MAX_AGE", "1w")], "reuse: on\nmax-age: 1d\n");
        let settings = settings.expect("valid");
        assert_eq!((settings.reuse, settings.max_age), (Some(true), Some(Duration::from_secs(604_800))));
    }

    #[test]
    fn a_wrong_value_names_its_place() {
        let message = |result: Result<Settings, Failure>| result.expect_err("invalid").to_string();
        let none = SettingsArgs::default();
        let error = message(resolve(&none, &[("LAYERLIFT_STRATEGY", "fast")], ""));
        assert!(error.starts_with("LAYERLIFT_STRATEGY: unknown strategy `fast`"), "{error}");
        let error = message(resolve(&none, &[], "strict: true\nstrategi: off\n"));
        assert!(error.contains(".layerlift.yml:2:1: unknown field `strategi`"), "{error}");
        let error = message(resolve(&none, &[], "normalize-modes: never\n"));
        assert!(error.contains("`normalize-modes` in ") && error.contains("one of auto, on, off"), "{error}");
        let error = message(resolve(&none, &[], "cache-repo: a/b:tag\n"));
        assert!(error.contains("`cache-repo` in "), "{error}");
    }

    #[test]
    fn a_named_file_must_exist() {
        let arguments = SettingsArgs { config: Some("/nowhere/x.yml".into()), ..SettingsArgs::default() };
        assert!(resolve(&arguments, &[], "").is_err());
    }
}
