//! `layerlift init`: finds what a repository builds, and writes the CI jobs for it.
//!
//! Nothing is written over without a word: [`Proposal`] holds the file as it is and as it would be, and the caller decides.
//! GitLab and CircleCI have one file for all jobs, which ours are added to; the workflow on GitHub is a file of its own.

mod context;
mod find;
mod merge;
mod render;
mod there;

use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use similar::TextDiff;

use crate::model::reference::{Digest, InvalidReference, Repository};
use crate::pipeline::{self, Checkout};
use crate::report::file as whole;
use find::Found;
use there::There;

/// The largest file that is read.
const LARGEST: u64 = 4 << 20;

/// Whose file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// `.gitlab-ci.yml`.
    GitLab,
    /// `.github/workflows/layerlift-build.yml`.
    GitHub,
    /// `.circleci/config.yml`.
    CircleCi,
}

impl Provider {
    /// Its file, from the root of the repository.
    fn file(self) -> &'static str {
        match self {
            Provider::GitLab => ".gitlab-ci.yml",
            Provider::GitHub => ".github/workflows/layerlift-build.yml",
            Provider::CircleCi => ".circleci/config.yml",
        }
    }
}

/// What the user said.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose file.
    pub provider: Provider,
    /// Dockerfiles, compose and bake files, from the working folder; empty: whatever there is.
    pub files: Vec<PathBuf>,
    /// The image's repository.
    pub image: Option<String>,
    /// SHA-256 of the release's binary.
    pub sha256: Option<String>,
}

/// What a CI file is filled in with.
#[derive(Debug)]
struct Setup {
    provider: Provider,
    /// Given or guessed.
    image: Option<String>,
    sha256: Option<String>,
    /// The branch whose pushes are built on GitHub; `None`: the checkout does not tell.
    branch: Option<String>,
    /// The code is on GitLab.
    is_on_gitlab: bool,
}

/// Why there is nothing to propose, or it could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to build.
    #[error("no Dockerfile, and no compose or bake file that builds something, was found in {}", root.display())]
    NothingFound {
        /// Where it was looked for.
        root: PathBuf,
        /// What was left out.
        notes: Vec<String>,
    },
    /// A named file is not in the repository.
    #[error("{} is no file in {}", file.display(), root.display())]
    NoFile {
        /// As named.
        file: PathBuf,
        /// The repository.
        root: PathBuf,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A compose file is none.
    #[error("{file} is not valid: {reason}")]
    Broken {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The CI file is there, and cannot be added to.
    #[error("{file} cannot be added to: {reason}")]
    Unmergeable {
        /// The file.
        file: &'static str,
        /// Why not.
        reason: String,
        /// What would have to be in it.
        wanted: String,
    },
    /// `--image` is no repository.
    #[error("--image: {0}")]
    Image(InvalidReference),
    /// `--sha256` is no sum.
    #[error("--sha256 {0}: 64 hexadecimal digits are expected")]
    Sum(String),
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] whole::Error),
}

/// A CI file, as it is and as it would be.
#[derive(Debug)]
pub struct Proposal {
    /// Its name, from the root of the repository.
    pub file: &'static str,
    /// What it holds now; `None`: it is not there.
    pub old: Option<String>,
    /// What it would hold.
    pub new: String,
    /// Whether every line that it holds now would stay.
    pub keeps_all: bool,
    /// The Dockerfiles, compose and bake files that get jobs.
    pub builds: Vec<String>,
    /// What the user should know of the choice.
    pub notes: Vec<String>,
    /// What the user has to do before it works.
    pub left_to_do: Vec<String>,
    path: PathBuf,
}

impl Proposal {
    /// What would change, as `patch -p1` and `git apply` take it; empty where nothing would.
    pub fn diff(&self) -> String {
        let old = self.old.as_deref().unwrap_or_default();
        let before = if self.old.is_some() { format!("a/{}", self.file) } else { "/dev/null".to_owned() };
        let diff = TextDiff::from_lines(old, &self.new);
        diff.unified_diff().header(&before, &format!("b/{}", self.file)).to_string()
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self) -> Result<(), Error> {
        if let Some(folder) = self.path.parent() {
            let failed = |source| whole::Error::Unwritable { path: self.path.clone(), source };
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        Ok(whole::replace(&self.path, self.new.as_bytes())?)
    }
}

/// Looks at the repository that holds `folder`, and proposes its CI file.
pub async fn propose(folder: &Path, wanted: Wanted) -> Result<Proposal, Error> {
    let checkout = pipeline::checkout(folder).await.unwrap_or_default();
    let root = if checkout.root.as_os_str().is_empty() { folder.to_owned() } else { checkout.root.clone() };
    let found = match wanted.files.as_slice() {
        [] => find::in_repository(&root),
        files => find::named(
            &root,
            files.iter().map(|file| inside(&root, folder, file)).collect::<Result<_, _>>()?,
        )?,
    };
    if found.images.is_empty() && found.compose.is_empty() && found.bake.is_empty() {
        return Err(Error::NothingFound { root, notes: found.notes });
    }
    let file = wanted.provider.file();
    let path = root.join(file);
    let old = read(&path)?;
    let setup = setup(wanted, &checkout)?;
    let keeps_all = setup.provider != Provider::GitHub;
    let text = old.as_deref().filter(|_| keeps_all).unwrap_or_default();
    let rendered = render::file(&found, &setup, &There::parse(text));
    let new = merge::merged(text, &rendered.text).map_err(|reason| Error::Unmergeable {
        file,
        reason,
        wanted: rendered.text,
    })?;
    let Found { images, compose, bake, notes, .. } = found;
    let builds = images.into_iter().map(|image| image.file).chain(compose).chain(bake).collect();
    Ok(Proposal { file, old, new, keeps_all, builds, notes, left_to_do: rendered.left_to_do, path })
}

fn setup(wanted: Wanted, checkout: &Checkout) -> Result<Setup, Error> {
    let Wanted { provider, image, sha256, .. } = wanted;
    if let Some(image) = image.as_ref().filter(|image| !image.contains('$')) {
        Repository::from_str(image).map_err(Error::Image)?;
    }
    let sha256 = match sha256.map(|sum| sum.to_ascii_lowercase()) {
        Some(sum) if Digest::from_str(&format!("sha256:{sum}")).is_err() => return Err(Error::Sum(sum)),
        sum => sum,
    };
    // A clone knows the default branch; a new repository is on it.
    let usual = checkout.branch.clone().filter(|branch| ["main", "master"].contains(&branch.as_str()));
    let branch = checkout.default_branch.clone().or(usual);
    let is_on_gitlab = checkout.origin.as_ref().is_some_and(|origin| origin.host.contains("gitlab"));
    let image = image.or_else(|| guessed(provider, checkout));
    Ok(Setup { provider, image, sha256, branch, is_on_gitlab })
}

/// The registry that belongs to the place of `origin`. On GitLab the job knows by itself.
fn guessed(provider: Provider, checkout: &Checkout) -> Option<String> {
    let origin = checkout.origin.as_ref()?;
    let registry = match (provider, origin.host.as_str()) {
        (Provider::GitHub | Provider::CircleCi, "github.com") => "ghcr.io",
        (Provider::CircleCi, "gitlab.com") => "registry.gitlab.com",
        _ => return None,
    };
    Some(format!("{registry}/{}", origin.path.to_lowercase()))
}

/// A named file, from the root of the repository, with slashes.
fn inside(root: &Path, folder: &Path, file: &Path) -> Result<String, Error> {
    let missing = || Error::NoFile { file: file.to_owned(), root: root.to_owned() };
    let path = folder.join(file).canonicalize().map_err(|_| missing())?;
    let real_root = root.canonicalize().map_err(|_| missing())?;
    let inner = path.strip_prefix(&real_root).ok().filter(|_| path.is_file()).ok_or_else(missing)?;
    let parts: Option<Vec<&str>> = inner
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    parts.map(|parts| parts.join("/")).ok_or_else(missing)
}

/// The text of a file; `None` where there is none.
fn read(file: &Path) -> Result<Option<String>, Error> {
    let failed = |source| Error::Unreadable { file: file.to_owned(), source };
    let opened = match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        // A pipe would wait for a writer.
        Ok(found) if !found.is_file() => return Err(failed(std::io::Error::other("it is no regular file"))),
        Ok(_) => std::fs::File::open(file).map_err(failed)?,
    };
    let mut text = String::new();
    opened.take(LARGEST + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LARGEST {
        return Err(failed(std::io::Error::other("it is larger than 4 MiB")));
    }
    Ok(Some(text))
}
