//! The one door to environment variables: every variable that layerlift reads is declared here, with its meaning.
//!
//! The process environment is read once, into an [`Environment`] value that travels as a parameter; nothing below asks
//! the process again, and tests build their own.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// One variable that layerlift reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name, as in the environment.
    pub name: &'static str,
    /// What it means to layerlift, one line, for the README.
    pub meaning: &'static str,
}

macro_rules! variables {
    ($($constant:ident = $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $constant: Variable = Variable { name: stringify!($constant), meaning: $meaning };)*
        /// Every declared variable, in the order of this file.
        pub const ALL: &[Variable] = &[$($constant),*];
    };
}

variables! {
    // Our own settings; a flag of the same name wins over each.
    LAYERLIFT_CACHE_REPO = "repository that holds the cache refs";
    LAYERLIFT_STRATEGY = "how the cache travels: auto, registry, inline, classic, local, off";
    LAYERLIFT_SCOPE = "scope to write and to read first, instead of the one found from CI";
    LAYERLIFT_READ_ONLY = "`true`: never write a cache; `false`: write although this is no CI job";
    LAYERLIFT_STRICT = "`true`: a cache problem fails the job";
    LAYERLIFT_FAIL_ON_MISS = "`true`: a build in which a step ran fails the job, after everything is pushed and kept";
    LAYERLIFT_KEEP_IMAGE = "`true`: a pushed image is stored in the engine as well";
    LAYERLIFT_REPORT = "file that receives the JSON report";
    LAYERLIFT_HTML = "file that receives the report as a page";
    LAYERLIFT_DOTENV = "file that receives the outcome as GitLab dotenv variables";
    LAYERLIFT_CACHE_DIR = "folder of the `local` strategy";
    LAYERLIFT_REGISTRY_TIMEOUT = "longest time that one cache question to a registry may take, in seconds";
    LAYERLIFT_INSECURE_REGISTRY = "registries to be spoken to over plain HTTP, separated by commas";
    LAYERLIFT_REGISTRY_MIRROR = "registries that have what Docker Hub has, separated by commas";
    LAYERLIFT_BUILDER_AUTO = "`true`: a builder is made where the default one cannot export a cache";
    LAYERLIFT_CONFIG = "settings file, instead of `.layerlift.yml`";
    LAYERLIFT_NORMALIZE_MODES = "`on`, `off` or `auto`: tracked files are built with the modes that git records";
    LAYERLIFT_REUSE = "`on`, `off` or `auto`: an unchanged build is answered with the image that it made before";
    LAYERLIFT_AUTO_LINK = "`auto` or `off`: the last COPYs are built as layers of their own where the tree is the same";
    LAYERLIFT_CACHE_COMPRESSION = "`auto`, `gzip` or `zstd`: how the layers are packed that only the cache has";
    LAYERLIFT_WEIGH_CACHE = "`auto` or `off`: a stage or a cache that takes longer than what it saves is not kept";
    LAYERLIFT_DETACH_CACHE = "`true`: the cache is exported by `layerlift cache flush`, not before the build ends";
    LAYERLIFT_MAX_AGE = "the oldest image that may answer a build: `7d`, `12h`";
    LAYERLIFT_FALLBACK = "scopes to read after the chain's own, separated by commas";

    // Set by layerlift itself, so that its shims and its plugin never call each other in a circle.
    LAYERLIFT_INSIDE = "set for every program that layerlift starts: shims and plugin hand on what comes from it";
    LAYERLIFT_SHIMS = "process number and files that a command has come through on its way to the true program";

    // GitLab CI.
    GITLAB_CI = "`true` in every GitLab job";
    CI_COMMIT_BRANCH = "the branch; absent in merge-request and tag pipelines";
    CI_COMMIT_TAG = "the tag, in tag pipelines only";
    CI_COMMIT_SHA = "the commit";
    CI_COMMIT_REF_NAME = "branch or tag; in merge-request pipelines the source branch";
    CI_DEFAULT_BRANCH = "the project's default branch";
    CI_PIPELINE_SOURCE = "what started the pipeline: push, merge_request_event, schedule, ...";
    CI_PIPELINE_URL = "address of the pipeline";
    CI_PROJECT_DIR = "folder of the checkout";
    CI_MERGE_REQUEST_IID = "number of the merge request, in its pipelines only";
    CI_MERGE_REQUEST_TARGET_BRANCH_NAME = "the branch that the merge request goes to";
    CI_MERGE_REQUEST_SOURCE_BRANCH_NAME = "the branch that the merge request comes from";
    CI_MERGE_REQUEST_PROJECT_ID = "the project that the merge request goes to";
    CI_MERGE_REQUEST_SOURCE_PROJECT_ID = "the project that the merge request comes from; another one is a fork";
    CI_MERGE_REQUEST_SOURCE_PROJECT_PATH = "that project's path, for messages";
    CI_MERGE_REQUEST_EVENT_TYPE = "`detached`, `merged_result` or `merge_train`";
    CI_EXTERNAL_PULL_REQUEST_IID = "number of a GitHub pull request that GitLab runs";
    CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY = "where that pull request comes from";
    CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY = "where that pull request goes to";
    CI_EXTERNAL_PULL_REQUEST_TARGET_BRANCH_NAME = "the branch that the pull request goes to";
    CI_REGISTRY = "GitLab's own registry";
    CI_REGISTRY_IMAGE = "the project's repository in it, already in lower case";
    CI_REGISTRY_USER = "login name for GitLab's own registry";
    CI_REGISTRY_PASSWORD = "its password, which dies with the job";
    CI_SERVER_TLS_CA_FILE = "roots of a self-managed GitLab";
    CI_JOB_URL = "address of the job";

    // GitHub Actions.
    GITHUB_ACTIONS = "`true` in every GitHub job";
    GITHUB_EVENT_NAME = "what started the workflow";
    GITHUB_EVENT_PATH = "JSON file with the event's payload";
    GITHUB_REF = "the full ref: refs/heads/main, refs/pull/7/merge, refs/tags/v1";
    GITHUB_REF_NAME = "the short ref";
    GITHUB_REF_TYPE = "`branch` or `tag`";
    GITHUB_BASE_REF = "the branch that a pull request goes to";
    GITHUB_HEAD_REF = "the branch that a pull request comes from";
    GITHUB_REPOSITORY = "owner/name, with its capitals";
    GITHUB_SHA = "the commit";
    GITHUB_ACTOR = "who started the workflow; login name for ghcr.io";
    GITHUB_TOKEN = "the job's token, where the workflow maps it";
    GITHUB_SERVER_URL = "address of the GitHub server";
    GITHUB_RUN_ID = "number of the run";
    GITHUB_WORKSPACE = "folder of the checkout";
    GITHUB_OUTPUT = "file that receives the step's outputs";
    GITHUB_STEP_SUMMARY = "file that receives the step's Markdown summary";
    GITHUB_PATH = "file that receives folders for the PATH of later steps";
    RUNNER_TEMP = "folder that the runner empties when the job ends";

    // CircleCI.
    CIRCLECI = "`true` in every CircleCI job";
    CIRCLE_BRANCH = "the branch; `pull/7` for a fork's pull request";
    CIRCLE_TAG = "the tag, in tag pipelines only";
    CIRCLE_SHA1 = "the commit";
    CIRCLE_PULL_REQUEST = "address of the pull request";
    CIRCLE_PR_NUMBER = "number of the pull request, for forks only";
    CIRCLE_PR_USERNAME = "owner of the fork that the pull request comes from, for forks only";
    CIRCLE_BUILD_URL = "address of the job";

    // Any CI.
    CI = "`true` in most CI systems";

    // Docker, buildx and BuildKit.
    DOCKER_BUILDKIT = "`0` asks for the classic builder";
    DOCKER_HOST = "the engine's address";
    DOCKER_CONFIG = "folder of the Docker configuration";
    DOCKER_AUTH_CONFIG = "registry credentials as JSON, in the form of Docker's config.json";
    DOCKER_CERT_PATH = "folder of the TLS files for the engine";
    DOCKER_TLS_VERIFY = "speak TLS to the engine, and check who answers";
    DOCKER_TLS = "speak TLS to the engine";
    DOCKER_CONTEXT = "the Docker context in use, unless DOCKER_HOST is set";
    DOCKER_DEFAULT_PLATFORM = "platform to build for when none is given";
    BUILDX_BUILDER = "the builder in use";
    BUILDX_CONFIG = "folder of buildx's state";
    BUILDX_GIT_LABELS = "buildx labels images with the commit";
    BUILDX_NO_DEFAULT_ATTESTATIONS = "`true`: buildx adds no provenance by itself";
    EXPERIMENTAL_BUILDKIT_SOURCE_POLICY = "file with which BuildKit takes other sources than those named";
    SOURCE_DATE_EPOCH = "seconds since 1970 that BuildKit gives to what it makes; buildx hands it on";
    BUILDX_GIT_CHECK_DIRTY = "`true`: buildx asks git whether the work tree was changed";
    DOCKER_CLI_PLUGIN_SOCKET = "set by Docker's client for its plugins: they are to end when it closes";
    DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND = "set by Docker's client for its plugins: the client's own name";
    BUILDKIT_HOST = "address of the BuildKit that buildctl speaks to";
    BUILDKIT_PROGRESS = "form of the engine's log when `--progress` is absent or auto";
    REGISTRY_AUTH_FILE = "registry credentials of podman and skopeo";
    XDG_RUNTIME_DIR = "the user's folder until logout; podman keeps `containers/auth.json` in it";
    XDG_CONFIG_HOME = "where podman and buildah look for `containers/auth.json` too";
    XDG_CACHE_HOME = "where `layerlift` remembers digests of files and its last builds; `.cache` in the user's folder when absent";
    CONTAINER_HOST = "the machine that builds for podman";
    CONTAINER_CONNECTION = "the name of the machine that builds for podman";
    CONTAINERS_REGISTRIES_CONF = "the file of podman and buildah that says how registries are reached";

    // Git.
    GIT_DIR = "where git keeps its state, for programs that ask it";
    GIT_WORK_TREE = "the work tree that belongs to it";

    // The machine.
    HOME = "the user's folder";
    PATH = "where programs are looked for";
    TMPDIR = "folder for temporary files";
    TERM = "the terminal's kind; `dumb` has no live progress";
    NO_COLOR = "set: no colours";
    SSL_CERT_FILE = "file of trusted roots";
    SSL_CERT_DIR = "folder of trusted roots";
}

/// A snapshot of environment variables. `Debug` prints their names only: values may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// Reads the process environment. Values that are not UTF-8 are read with replacement characters.
    #[expect(clippy::disallowed_methods, reason = "this file is the door")]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect()
    }

    /// The value, unless it is absent or empty: CI systems set variables that do not apply to the empty text.
    pub fn get(&self, variable: Variable) -> Option<&str> {
        self.0.get(variable.name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether the variable says yes: `1`, `true`, `yes` or `on`, in any case.
    pub fn is_true(&self, variable: Variable) -> bool {
        self.get(variable)
            .is_some_and(|value| ["1", "true", "yes", "on"].iter().any(|yes| value.eq_ignore_ascii_case(yes)))
    }

    /// The folder of Docker's configuration: `DOCKER_CONFIG`, or `.docker` in the user's folder.
    pub fn docker_folder(&self) -> PathBuf {
        match self.get(DOCKER_CONFIG) {
            Some(folder) => folder.into(),
            None => Path::new(self.get(HOME).unwrap_or("/root")).join(".docker"),
        }
    }

    /// The folder for what may be deleted at any time: `layerlift` in `XDG_CACHE_HOME`, or in `.cache` of the user's
    /// folder. `None` where neither is an absolute path.
    pub fn cache_folder(&self) -> Option<PathBuf> {
        let given = self.get(XDG_CACHE_HOME).map(PathBuf::from).filter(|folder| folder.is_absolute());
        let folder = given.or_else(|| Some(Path::new(self.get(HOME)?).join(".cache")))?;
        folder.is_absolute().then(|| folder.join("layerlift"))
    }

    /// The file of a program on `PATH`, as a shell would take it.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        self.programs(name).next()
    }

    /// All programs of that name on `PATH`, in its order; a shell would take the first.
    pub fn programs(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        self.path_folders().map(move |folder| folder.join(name)).filter(|file| is_executable(file))
    }

    /// The folders of `PATH`, in its order.
    pub fn path_folders(&self) -> impl Iterator<Item = PathBuf> {
        self.get(PATH).into_iter().flat_map(std::env::split_paths)
    }

    /// A variable that the user names, such as the one behind a `--build-arg NAME` without a value.
    pub fn by_name(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Names that begin with a prefix, for finding misspelt settings.
    pub fn names_with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

impl<Name: Into<String>, Value: Into<String>> FromIterator<(Name, Value)> for Environment {
    fn from_iter<T: IntoIterator<Item = (Name, Value)>>(pairs: T) -> Self {
        Environment(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_an_absent_one() {
        let environment: Environment = [("CI_COMMIT_TAG", ""), ("CI", "TRUE")].into_iter().collect();
        assert_eq!(environment.get(CI_COMMIT_TAG), None);
        assert!(environment.is_true(CI));
        assert!(!environment.is_true(GITLAB_CI));
    }

    #[test]
    fn the_cache_folder_is_absolute_or_none() {
        let folder = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Environment>().cache_folder();
        let home = ("HOME", "/home/u");
        assert_eq!(folder(&[home]), Some("/home/u/.cache/layerlift".into()));
        assert_eq!(folder(&[home, ("XDG_CACHE_HOME", "/c")]), Some("/c/layerlift".into()));
        assert_eq!(folder(&[home, ("XDG_CACHE_HOME", "c")]), Some("/home/u/.cache/layerlift".into()));
        assert_eq!(folder(&[]), None);
        assert_eq!(folder(&[("HOME", "u")]), None);
    }
}
