//! The command line: subcommands and their arguments.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

use crate::cli::cache_flush::CacheFlushArgs;
use crate::cli::engine_flags::{EngineFlags, WordOrLine};
use crate::cli::examples::{
    BAKE_EXAMPLES, BUILD_EXAMPLES, BUILDAH_EXAMPLES, BUILDCTL_EXAMPLES, COMPOSE_EXAMPLES, EXIT_CODES,
    EXPLAIN_EXAMPLES, FLUSH_EXAMPLES, INIT_EXAMPLES, LINT_EXAMPLES, REPORT_EXAMPLES, RUN_EXAMPLES,
    SHIM_EXAMPLES,
};
use crate::cli::run::HandedOn;
use crate::cli::settings::SettingsArgs;

/// Stands in front of `docker build` in CI and makes an empty runner build as if it had built before
///
/// Put `layerlift build` in the place of `docker build`, with the same flags. It finds out where it runs, what the
/// engine can do and which caches the registry holds, gives the engine the one that fits, and keeps the cache of this
/// branch for the next job. A cache problem never fails a build.
#[derive(Debug, Parser)]
#[command(name = "layerlift", version, max_term_width = 110, arg_required_else_help = true)]
#[command(after_help = EXIT_CODES)]
pub struct App {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build an image, with the flags of `docker build`
    #[command(after_help = BUILD_EXAMPLES)]
    Build(BuildArgs),
    /// Build the targets of a bake file, with the arguments of `docker buildx bake`
    ///
    /// What is built is what `docker buildx bake ARGUMENTS --print` says: files, variables, groups, matrices and --set work
    /// as they do there. Every target has a chain and a cache ref of its own, and all are built by one run of bake, which
    /// is given them by --set; no file of yours is touched. A target's own cache-from and cache-to stand as given.
    #[command(after_help = BAKE_EXAMPLES)]
    Bake(BakeArgs),
    /// Build the services of a compose project, with the arguments of `docker compose`
    ///
    /// Takes the place of `docker compose` before `build`, `up --build` and `run --build`: builds first, then lets compose
    /// start what was built. Every service has a chain and a cache ref of its own. Where compose can say how bake would
    /// build them (2.35 and later, with buildx), all are built by one run of bake; else, as with Docker 20.10, one after
    /// the other. Any other subcommand is run by compose as it stands.
    #[command(after_help = COMPOSE_EXAMPLES)]
    Compose(ComposeArgs),
    /// Build an image with buildah, with the arguments of `buildah`
    ///
    /// Takes the place of `buildah` before `build` and `bud`, and adds `--layers`, `--cache-from` and `--cache-to`: each
    /// scope has a repository below the cache repo. Any other subcommand is run by buildah as it stands.
    #[command(after_help = BUILDAH_EXAMPLES)]
    Buildah(LineArgs),
    /// Build an image with podman, with the arguments of `podman`: as `buildah` does it
    Podman(LineArgs),
    /// Build with the arguments of `buildctl build`, on a BuildKit of your own
    ///
    /// A build of the Dockerfile frontend gets --import-cache and --export-cache of this branch, unless they are given;
    /// anything else is run by buildctl as it stands.
    #[command(after_help = BUILDCTL_EXAMPLES)]
    Buildctl(LineArgs),
    /// Show what `build` would do and why, with the exact commands; runs nothing
    Plan(PlanArgs),
    /// Print the input digest: the identity of everything that can change the image
    ///
    /// Two builds with the same digest make the same image, so that it can name one, or be a key of other caches. No engine
    /// is needed: the Dockerfile, the files that it takes and the registry's digests of its base images are looked at.
    /// What could change the image unseen is told on standard error; such an image is never reused.
    Digest(PlanArgs),
    /// Tell why steps of a build ran: of the last one here, or of the one that wrote a cache
    ///
    /// Every build that writes a cache keeps a record beside it: its inputs, step by step, and how it went. Without
    /// REF, tells of the last build that was started in this folder. With --against, takes the flags of `docker build`,
    /// and tells which steps would run now, and why; no engine is needed. Exits with 66 where no build is known here,
    /// with 74 where the cache repo holds no such record.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Look at cache refs, and move them
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Make or remove the builder that --builder-auto uses
    #[command(subcommand)]
    Builder(BuilderCommand),
    /// Check engine, registry, credentials, CI variables and settings
    ///
    /// Exits with 0 when nothing is a problem, else with 69 (engine), 74 (registry) or 78 (settings).
    Doctor(DoctorArgs),
    /// List the CI jobs that build images, or run one job's builds here, reading the caches that CI would read
    ///
    /// Reads `.gitlab-ci.yml`, `.github/workflows` and `.circleci/config.yml` of the checkout. Nothing is pushed and no
    /// cache is written; the image is loaded into the engine. Exits with 78 when a build uses what only CI knows, else with the first failure of a build.
    Repro(ReproArgs),
    /// Give advice on a Dockerfile: what makes its cache miss more often than it must, and what that costs
    ///
    /// Takes the flags of `build`, and looks at the stages that the target reaches and the files that they take. No engine
    /// is asked. `# layerlift: ignore RULE` in a comment right above an instruction waives a rule for it.
    #[command(after_help = LINT_EXAMPLES)]
    Lint(LintArgs),
    /// Make a page of a build that is over, from its record: the steps over time, what hit, what ran and why
    ///
    /// The page is one file that needs no network. `layerlift build --html FILE` writes it right after the build.
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Write the CI job for the repository: its Dockerfiles, compose file or bake file, with layerlift
    ///
    /// Shows what it writes as a diff. A file that is there is changed with --force only, and then on GitLab and CircleCI
    /// added to. Exits with 66 where there is nothing to build, with 73 where the file is there.
    #[command(after_help = INIT_EXAMPLES)]
    Init(InitArgs),
    /// Print the completion script of a shell
    Completion {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Run a command line; a build in it is carried out by layerlift
    ///
    /// Recognises the builds of docker, compose, bake, podman, buildah and buildctl. Anything else is run as it stands,
    /// with the same input, output, signals and exit code.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Print the shell line after which every build of the job is carried out by layerlift
    ///
    /// Makes a private folder of links called `docker`, and `docker-compose`, `podman`, `buildah` where those exist.
    /// What builds nothing goes to the program itself.
    #[command(after_help = SHIM_EXAMPLES)]
    Shim(ShimArgs),
    /// Make `docker layerlift` work, a plugin of Docker's client
    Install {
        /// Hand `docker build` to layerlift: `aliases.builder` in Docker's config.json
        ///
        /// Docker's client 23 and later builds classically all the same where DOCKER_BUILDKIT is 0.
        #[arg(long)]
        default: bool,
    },
    /// Undo `install`: the plugin goes, and `docker build` is what it was before
    Uninstall,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
#[command(group = clap::ArgGroup::new("what").args(["shell", "command"]).required(true))]
#[command(
    override_usage = "layerlift run [OPTIONS] -- COMMAND...\n       layerlift run [OPTIONS] --shell LINE"
)]
pub struct RunArgs {
    /// Run a line of a script with `sh`, with shims first on PATH
    #[arg(long, value_name = "LINE")]
    pub shell: Option<String>,
    /// Settings.
    #[command(flatten)]
    pub settings: HandedOn,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Arguments of `shim`.
#[derive(Debug, Args)]
pub struct ShimArgs {
    /// Shell that reads the line
    #[arg(long, value_enum, default_value_t = Shell::Posix)]
    pub shell: Shell,
    /// Write to GITHUB_PATH, for the later steps of the job
    #[arg(long, conflicts_with = "remove")]
    pub github: bool,
    /// Delete the folder that is on PATH, and print the line that takes it off
    #[arg(long)]
    pub remove: bool,
}

/// Shells, by how they assign and quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// sh, bash, zsh, dash, ash.
    Posix,
    /// fish.
    Fish,
}

/// Arguments of `buildah`, `podman` and `buildctl`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct LineArgs {
    /// Show the plan instead of building
    #[arg(long, help_heading = "Settings of layerlift")]
    pub dry_run: bool,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Arguments of the program, global flags first
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub line: Vec<String>,
}

/// Arguments of `bake`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct BakeArgs {
    /// Show the plan of every target instead of building
    #[arg(long, help_heading = "Settings of layerlift")]
    pub dry_run: bool,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Arguments of `docker buildx bake`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub line: Vec<String>,
}

/// Arguments of `compose`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct ComposeArgs {
    /// Show the plan of every service instead of building
    #[arg(long, help_heading = "Settings of layerlift")]
    pub dry_run: bool,
    /// compose is the program `docker-compose`, not the plugin.
    #[arg(long, hide = true)]
    pub standalone: bool,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Arguments of `docker compose`, global flags first
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub line: Vec<String>,
}

/// Arguments of `build`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct BuildArgs {
    /// Show the plan instead of building
    #[arg(long, help_heading = "Settings of layerlift")]
    pub dry_run: bool,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// The `docker build` line.
    #[command(flatten)]
    pub engine: EngineFlags,
}

/// Arguments of `plan` and `digest`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct PlanArgs {
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Settings of layerlift")]
    pub format: Format,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// The `docker build` line.
    #[command(flatten)]
    pub engine: EngineFlags,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs; the fields are versioned.
    Json,
}

/// What can be done with cache refs.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List the cache refs of the cache repo
    Ls(CacheListArgs),
    /// Tell what an inline or registry cache holds: records, layers, sizes, age, platforms
    Inspect(CacheInspectArgs),
    /// Copy a scope's cache refs from the registry into an OCI-layout folder
    ///
    /// The scope is --scope, else the nearest of this pipeline's that has cache refs. What the folder has is not
    /// fetched again.
    Pull(CacheMoveArgs),
    /// Copy a scope's cache refs from an OCI-layout folder into the cache repo
    ///
    /// The scope is --scope, else this pipeline's own. Where a build would write no cache (forks, tags, outside of CI
    /// without --read-only=false), nothing is pushed.
    Push(CacheMoveArgs),
    /// Export the caches that builds with --detach-cache left for later
    ///
    /// Takes all builds of this project folder, whatever folder of it they were started in, each with the settings that it
    /// had. It wants the engine that built and the files that were built: where one of them is another, the cache is not
    /// written, and a warning says why. Nothing to do is no failure.
    #[command(after_help = FLUSH_EXAMPLES)]
    Flush(CacheFlushArgs),
}

/// What can be done with the builder of `--builder-auto`.
#[derive(Debug, Subcommand)]
pub enum BuilderCommand {
    /// Make the builder, or start it where it is there, and print its name
    ///
    /// A build with --builder-auto does so by itself, where its default builder cannot export a cache.
    Create {
        /// Make it buildx's current builder, which `docker buildx build` uses without being told
        #[arg(long = "use")]
        current: bool,
        /// Settings.
        #[command(flatten)]
        settings: Box<SettingsArgs>,
    },
    /// Remove every builder that layerlift made, with its cache, its Docker context and its configuration
    Rm,
}

/// Arguments of `cache ls`.
#[derive(Debug, Args)]
pub struct CacheListArgs {
    /// Form of the list
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Settings of layerlift")]
    pub format: Format,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Arguments of `cache inspect`.
#[derive(Debug, Args)]
pub struct CacheInspectArgs {
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Settings of layerlift")]
    pub format: Format,
    /// An image with an inline cache, or a cache ref
    pub reference: String,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Arguments of `cache pull` and `cache push`.
#[derive(Debug, Args)]
pub struct CacheMoveArgs {
    /// The OCI-layout folder
    pub folder: PathBuf,
    /// Settings. `--scope` chooses the scope.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct ExplainArgs {
    /// Compare what would be built now with the last build of this branch or scope; builds nothing
    #[arg(long, value_name = "BRANCH | SCOPE", help_heading = "Settings of layerlift")]
    pub against: Option<String>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Settings of layerlift")]
    pub format: Format,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// What is to be explained.
    #[command(flatten)]
    pub line: WordOrLine,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Settings of layerlift")]
    pub format: Format,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Arguments of `lint`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
#[command(mut_arg("context", |context| context.required(false).default_value(".")))]
pub struct LintArgs {
    /// Form of the advice
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Settings of layerlift")]
    pub format: Format,
    /// Exit with 1 where there is something to say
    #[arg(long, help_heading = "Settings of layerlift")]
    pub error: bool,
    /// The record of an earlier build, which tells how long steps take: a file, or what `explain` takes
    /// [default: the last build here]
    #[arg(long, value_name = "RECORD", help_heading = "Settings of layerlift")]
    pub record: Option<String>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// The `docker build` line.
    #[command(flatten)]
    pub engine: EngineFlags,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A branch or scope, a cache ref, an image that was pushed, a record's file, or `-` [default: the last build here]
    #[arg(value_name = "RECORD")]
    pub record: Option<String>,
    /// Settings. `--html` names the page.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Arguments of `repro`.
#[derive(Debug, Args)]
pub struct ReproArgs {
    /// The job; without one, the jobs are listed
    pub job: Option<String>,
    /// Show the job's builds instead of running them
    #[arg(long)]
    pub show: bool,
    /// Form of the list
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Read the caches of this branch [default: the one that is checked out]
    #[arg(long = "ref", value_name = "BRANCH")]
    pub reference: Option<String>,
    /// Read the caches of this merge request of GitLab
    #[arg(long, value_name = "NUMBER", conflicts_with = "pr")]
    pub mr: Option<u64>,
    /// Read the caches of this pull request of GitHub
    #[arg(long, value_name = "NUMBER")]
    pub pr: Option<u64>,
    /// The branch that the request goes to [default: the default branch]
    #[arg(long, value_name = "BRANCH")]
    pub target_branch: Option<String>,
    /// The project's default branch [default: what `origin` calls so]
    #[arg(long, value_name = "BRANCH")]
    pub default_branch: Option<String>,
    /// A variable that only CI knows; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub var: Vec<String>,
    /// File of such variables, one NAME=VALUE a line; may be given several times
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Build for every platform that CI builds for, not for the engine's own alone
    #[arg(long)]
    pub all_platforms: bool,
    /// Build although variables are missing; they are empty
    #[arg(long)]
    pub allow_missing: bool,
    /// Build although the job reads or writes outside of the checkout
    #[arg(long)]
    pub allow_outside: bool,
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Whose file: .gitlab-ci.yml, .github/workflows/layerlift-build.yml or .circleci/config.yml
    #[arg(value_enum)]
    pub provider: InitProvider,
    /// Dockerfiles, compose and bake files to build [default: those of the repository]
    pub files: Vec<PathBuf>,
    /// Repository that the image is pushed to [default: that of the project's own registry]
    #[arg(long, value_name = "REPOSITORY")]
    pub image: Option<String>,
    /// SHA-256 of the release's layerlift-linux-amd64 [default: a variable, to be set]
    #[arg(long, value_name = "SUM")]
    pub sha256: Option<String>,
    /// Change a file that is there already
    #[arg(long)]
    pub force: bool,
    /// Show the diff, and write nothing
    #[arg(long, conflicts_with = "force")]
    pub dry_run: bool,
}

/// CI systems that `init` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InitProvider {
    /// GitLab CI.
    Gitlab,
    /// GitHub Actions.
    Github,
    /// CircleCI.
    Circleci,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        App::command().debug_assert();
    }
}
