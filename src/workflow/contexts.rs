//! The folders that a build takes its files from, looked at before anything is decided: are their modes those that git
//! records?
//!
//! Whatever is not understood here leaves the contexts as they are. An ignore file is applied only as far as every client
//! of this engine applies it alike, since the engine's client applies it once more: too much in a shadow costs time, too
//! little would build something else.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::base::env::{self, Environment};
use crate::context::ignore::Ignore;
use crate::context::survey::{Error, Survey};
use crate::context::walk;
use crate::model::engine::{Engine, Frontend, Version};
use crate::model::modes::Modes;
use crate::model::request::{Context, Request};
use crate::model::settings::{Settings, Strategy};

/// More than any list of names.
const LARGEST_IGNORE_FILE: u64 = 1 << 20;

/// The first buildx whose client looks at every folder above a path (tonistiigi/fsutil `MatchesUsingParentResults`).
const MATCHES_PARENTS: Version = Version(0, 10, 0);

/// What was found.
#[derive(Debug, Default)]
pub struct Contexts {
    /// What was decided from it.
    pub modes: Modes,
    /// The context itself, where it is a folder of this machine.
    pub main: Option<Survey>,
    /// Named contexts that are folders of this machine.
    pub named: Vec<(String, Survey)>,
    /// Where the Dockerfile is.
    pub dockerfile: Dockerfile,
    /// The same as the user names it.
    pub given: String,
}

/// Where the Dockerfile is that belongs to the context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Dockerfile {
    /// On standard input, or at an address.
    #[default]
    NoFile,
    /// A file of the same work tree, without symbolic links, with the ignore file of its own if there is one.
    Inside {
        /// The Dockerfile.
        path: PathBuf,
        /// `<Dockerfile>.dockerignore`.
        ignore: Option<PathBuf>,
    },
    /// Anywhere else, or behind a link: it is read where it is.
    Elsewhere(PathBuf),
}

/// Whether modes are to be normalised, and why: `Err` where not.
pub fn wanted(
    request: &Request,
    settings: &Settings,
    environment: &Environment,
    is_ci: bool,
) -> Result<String, String> {
    let is_folder = matches!(request.context, Context::Folder(_));
    // Asked about a shadow, git would call files changed that are only not in it.
    let asks_git = environment.is_true(env::BUILDX_GIT_CHECK_DIRTY);
    match settings.normalize_modes {
        _ if request.is_question() => Err("the request asks a question about the Dockerfile".to_owned()),
        _ if settings.strategy == Some(Strategy::Off) => Err("--strategy=off leaves all as it is".to_owned()),
        Some(false) => Err("--normalize-modes=off".to_owned()),
        None if !is_ci => Err("this is no CI job; --normalize-modes=on takes git's".to_owned()),
        _ if !is_folder && request.build_contexts().next().is_none() => {
            Err("the context is no folder of this machine".to_owned())
        }
        _ if asks_git => Err("BUILDX_GIT_CHECK_DIRTY lets buildx compare the work tree itself".to_owned()),
        Some(true) => Ok("--normalize-modes=on".to_owned()),
        None => Ok("a CI job".to_owned()),
    }
}

/// Looks at all folders of a request: what is in them, git's index, ignore files. `dockerfile`: as the user names
/// it, `-` for standard input; `why`: the reason to do it. `Err`: why the folders are left as they are.
pub fn look(
    request: &Request,
    dockerfile: &str,
    engine: &Engine,
    working: &Path,
    why: &str,
) -> Result<Contexts, String> {
    let contexts = surveys(request, dockerfile, engine, working)?;
    let all = || contexts.main.iter().chain(contexts.named.iter().map(|(_, survey)| survey));
    let tracked = all().map(Survey::tracked_entries).sum();
    let different = all().map(|survey| survey.differences.len()).sum();
    let modes = match tracked {
        0 => Modes::untouched("git tracks nothing of the build context"),
        _ => Modes { normalized: true, reason: why.to_owned(), tracked, different },
    };
    Ok(Contexts { modes, ..contexts })
}

fn surveys(request: &Request, name: &str, engine: &Engine, working: &Path) -> Result<Contexts, String> {
    let told = |error: Error| error.to_string();
    let mut contexts = Contexts { given: name.to_owned(), ..Contexts::default() };
    if let Context::Folder(folder) = &request.context {
        let folder = working.join(folder);
        let root = folder.canonicalize().map_err(|error| error.to_string())?;
        let file = dockerfile(name, working);
        let ignore = ignore(&file, &root, engine);
        let mut kept = vec![b".dockerignore".to_vec()];
        if let Dockerfile::Inside { path, ignore } = &file {
            let files = std::iter::once(path).chain(ignore);
            kept.extend(files.filter_map(|file| walk::relative(file, &root)));
        }
        let survey = Survey::of(&folder, &ignore, &kept).map_err(told)?;
        contexts.dockerfile = match file {
            Dockerfile::Inside { path, .. } if !path.starts_with(survey.base()) => {
                Dockerfile::Elsewhere(path)
            }
            other => other,
        };
        // The classic builder's client would take a file from elsewhere along, under another name.
        let in_context = |path: &Path| working.join(path).parent().is_some_and(|it| is_in(it, &root));
        match &contexts.dockerfile {
            Dockerfile::Elsewhere(path) if engine.frontend == Frontend::Classic && in_context(path) => {
                return Err("the Dockerfile is a symbolic link".to_owned());
            }
            _ => contexts.main = Some(survey),
        }
    }
    for (name, place) in request.build_contexts() {
        let folder = working.join(place);
        // Images, other targets and addresses are no folders.
        if folder.is_dir() {
            let survey = Survey::of(&folder, &Ignore::nothing(), &[]).map_err(told)?;
            contexts.named.push((name.to_owned(), survey));
        }
    }
    Ok(contexts)
}

fn is_in(folder: &Path, root: &Path) -> bool {
    folder.canonicalize().is_ok_and(|folder| folder.starts_with(root))
}

fn dockerfile(name: &str, working: &Path) -> Dockerfile {
    if name == "-" || name.contains("://") {
        return Dockerfile::NoFile;
    }
    let given = working.join(name);
    let inside = || {
        let path = given.parent()?.canonicalize().ok()?.join(given.file_name()?);
        path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
        let own = own_ignore_file(&path);
        match own.symlink_metadata() {
            Ok(found) if found.is_file() => Some(Dockerfile::Inside { path, ignore: Some(own) }),
            Ok(_) => None,
            Err(_) => Some(Dockerfile::Inside { path, ignore: None }),
        }
    };
    inside().unwrap_or_else(|| Dockerfile::Elsewhere(given.clone()))
}

fn own_ignore_file(dockerfile: &Path) -> PathBuf {
    let mut name = OsString::from(dockerfile);
    name.push(".dockerignore");
    PathBuf::from(name)
}

/// What the ignore file of a context leaves out whatever client reads it; nothing, where that is not known.
fn ignore(dockerfile: &Dockerfile, root: &Path, engine: &Engine) -> Ignore {
    let is_classic = engine.frontend == Frontend::Classic;
    let file = match dockerfile {
        Dockerfile::Inside { ignore: Some(own), .. } if !is_classic => own.clone(),
        Dockerfile::Elsewhere(path) if !is_classic && own_ignore_file(path).exists() => {
            return Ignore::nothing();
        }
        _ => root.join(".dockerignore"),
    };
    let is_exact = engine.frontend == Frontend::Buildx && engine.buildx >= Some(MATCHES_PARENTS);
    read_ignore(&file).ok().filter(|ignore| is_exact || ignore.is_plain()).unwrap_or_default()
}

/// The ignore rules of a context, as BuildKit chooses them: those beside the Dockerfile, else those in the root.
/// `dockerfile`: as the user names it, for the build context alone. `Err`: they are not understood.
pub(super) fn ignore_rules(dockerfile: Option<&str>, root: &Path, working: &Path) -> Result<Ignore, String> {
    let named = dockerfile.filter(|name| *name != "-" && !name.contains("://"));
    let own = named.map(|name| own_ignore_file(&working.join(name)));
    let there = own.filter(|file| file.symlink_metadata().is_ok());
    read_ignore(&there.unwrap_or_else(|| root.join(".dockerignore")))
}

/// Reads an ignore file; one that is not there leaves nothing out.
fn read_ignore(file: &Path) -> Result<Ignore, String> {
    let failed = |reason: &dyn std::fmt::Display| format!("{}: {reason}", file.display());
    match file.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Ignore::nothing()),
        Err(error) => return Err(failed(&error)),
        Ok(found) if found.is_file() => {}
        // A link means something else to an engine, which cannot leave the context.
        Ok(_) => return Err(failed(&"it is no regular file")),
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(|error| failed(&error))?;
    opened.take(LARGEST_IGNORE_FILE + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() as u64 > LARGEST_IGNORE_FILE {
        return Err(failed(&"it is larger than 1 MiB"));
    }
    Ignore::read(&bytes).map_err(|doubt| failed(&doubt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::samples::git;
    use crate::model::engine::Store;
    use crate::model::request::Flag;
    use crate::plan::strategy::tests::engine;

    fn request(flags: Vec<Flag>) -> Request {
        Request { flags, context: Context::Folder(".".into()) }
    }

    #[test]
    fn modes_are_normalised_in_ci_or_on_demand() {
        let decide = |normalize_modes, strategy, variables: &[(&str, &str)], is_ci| {
            let settings = Settings { normalize_modes, strategy, ..Settings::default() };
            wanted(&request(Vec::new()), &settings, &variables.iter().copied().collect(), is_ci).is_ok()
        };
        assert!(decide(None, None, &[], true) && !decide(None, None, &[], false));
        assert!(decide(Some(true), None, &[], false) && !decide(Some(false), None, &[], true));
        assert!(!decide(None, Some(Strategy::Off), &[], true));
        assert!(!decide(Some(true), None, &[("BUILDX_GIT_CHECK_DIRTY", "1")], true));
        let (settings, none) = (Settings::default(), Environment::default());
        let remote = Request { context: Context::Remote("https://host/a.git".into()), ..request(Vec::new()) };
        assert!(wanted(&remote, &settings, &none, true).is_err());
        assert!(wanted(&request(vec![Flag::on("check")]), &settings, &none, true).is_err());
    }

    #[tokio::test]
    async fn too_much_is_looked_at_rather_than_too_little() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for (file, text) in [
            ("Dockerfile", "FROM scratch\n"),
            (".dockerignore", "a\nb\n"),
            ("dev.Dockerfile", "FROM scratch\n"),
            ("dev.Dockerfile.dockerignore", "*\n!a\n"),
            ("a", ""),
            ("b", ""),
        ] {
            std::fs::write(root.join(file), text).unwrap();
        }
        std::os::unix::fs::symlink("Dockerfile", root.join("link.Dockerfile")).unwrap();
        let look = |name: &str, engine: &Engine| look(&request(Vec::new()), name, engine, &root, "asked");
        let (old, new) = (Version(20, 10, 24), Version(28, 5, 2));
        let classic = engine(old, Store::GraphDriver, Frontend::Classic);
        let buildkit = engine(old, Store::GraphDriver, Frontend::BuildKit);
        let buildx = engine(new, Store::Containerd, Frontend::Buildx);
        let not_tracked = look("Dockerfile", &buildx).unwrap();
        assert_eq!(not_tracked.modes, Modes::untouched("git tracks nothing of the build context"));

        git(&root, &["init", "-q"]).await;
        git(&root, &["add", "."]).await;
        let names = |contexts: &Contexts| {
            let entries = &contexts.main.as_ref().unwrap().entries;
            let names = entries.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned());
            names.filter(|name| ["a", "b", "Dockerfile", "dev.Dockerfile"].contains(&&**name)).collect()
        };
        let listed = |name: &str, engine: &Engine| -> Vec<String> { names(&look(name, engine).unwrap()) };
        assert_eq!(listed("Dockerfile", &buildx), ["Dockerfile", "dev.Dockerfile"]);
        // An ignore file of its own, which the classic builder does not know, and older clients take otherwise.
        assert_eq!(listed("dev.Dockerfile", &buildx), ["a", "dev.Dockerfile"]);
        assert_eq!(listed("dev.Dockerfile", &buildkit), ["Dockerfile", "a", "b", "dev.Dockerfile"]);
        assert_eq!(listed("dev.Dockerfile", &classic), ["Dockerfile", "dev.Dockerfile"]);
        assert_eq!(listed("-", &buildx), ["Dockerfile", "dev.Dockerfile"]);

        let linked = look("link.Dockerfile", &buildx).unwrap();
        assert_eq!(linked.dockerfile, Dockerfile::Elsewhere(root.join("link.Dockerfile")));
        assert_eq!(look("link.Dockerfile", &classic).unwrap_err(), "the Dockerfile is a symbolic link");
    }
}
