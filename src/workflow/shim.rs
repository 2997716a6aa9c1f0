//! A folder of shims: links called `docker` and so on, which lead to our own binary.
//!
//! The folder is private (0700) and holds nothing but links. It lies where the machine keeps what belongs to a job:
//! GitHub's `RUNNER_TEMP`, else the user's `XDG_RUNTIME_DIR`, else `TMPDIR`; so it goes with the job, with the job's
//! container, or with the login.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::base::env::{CI, Environment, RUNNER_TEMP, TMPDIR, XDG_RUNTIME_DIR};
use crate::workflow::handover::{Own, SHIM_FOLDER, is_shim_folder};

/// The program that always gets a shim.
const DOCKER: &str = "docker";

/// Programs that get one where they exist: scripts look for them to find out what there is.
const OTHERS: [&str; 3] = ["docker-compose", "podman", "buildah"];

/// Whether a name is that of a shim.
pub fn is_name(name: &str) -> bool {
    name == DOCKER || OTHERS.contains(&name)
}

/// Why there is no folder of shims.
#[derive(Debug, thiserror::Error)]
#[error("the folder of shims {} cannot be written", folder.display())]
pub struct Error {
    /// The folder, or the one that it was to be in.
    pub folder: PathBuf,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// Makes a folder that is deleted with the value.
pub fn temporary(own: &Own, environment: &Environment) -> Result<TempDir, Error> {
    let parent = parent(environment);
    let failed = |source| Error { folder: parent.clone(), source };
    let private = std::fs::Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix(SHIM_FOLDER).permissions(private).tempdir_in(&parent);
    let folder = folder.map_err(failed)?;
    fill(folder.path(), own, environment)?;
    Ok(folder)
}

/// The folder of shims that is on `PATH` already, with links to this very binary; else a new one, which stays.
pub fn lasting(own: &Own, environment: &Environment) -> Result<PathBuf, Error> {
    if let Some(folder) = ours(own, environment).next() {
        fill(&folder, own, environment)?;
        return Ok(folder);
    }
    Ok(temporary(own, environment)?.keep())
}

/// Deletes the folders of shims that are on `PATH`, and tells them.
pub fn remove(own: &Own, environment: &Environment) -> Result<Vec<PathBuf>, Error> {
    let folders: Vec<PathBuf> = ours(own, environment).collect();
    for folder in &folders {
        let failed = |source| Error { folder: folder.clone(), source };
        // Nothing is taken along that we did not put there.
        for name in std::iter::once(&DOCKER).chain(&OTHERS).map(|name| folder.join(name)) {
            if name.is_symlink() {
                std::fs::remove_file(name).map_err(failed)?;
            }
        }
        std::fs::remove_dir(folder).map_err(failed)?;
    }
    Ok(folders)
}

/// Folders on `PATH` that are called as ours are and lead to us.
fn ours<'a>(own: &'a Own, environment: &'a Environment) -> impl Iterator<Item = PathBuf> + 'a {
    environment.path_folders().filter(|folder| is_shim_folder(folder) && own.is(&folder.join(DOCKER)))
}

/// Where the folder is made.
fn parent(environment: &Environment) -> PathBuf {
    // A CI job's user is often nobody's session, whose runtime folder ends when it likes.
    let session = (!environment.is_true(CI)).then_some(XDG_RUNTIME_DIR);
    let places = [Some(RUNNER_TEMP), session, Some(TMPDIR)];
    let folders = places.into_iter().flatten().filter_map(|variable| environment.get(variable));
    let usable = folders.map(PathBuf::from).find(|folder| folder.is_absolute() && folder.is_dir());
    usable.unwrap_or_else(|| "/tmp".into())
}

/// Puts the links into the folder; those that are there already stay.
fn fill(folder: &Path, own: &Own, environment: &Environment) -> Result<(), Error> {
    let failed = |source| Error { folder: folder.to_owned(), source };
    let exists = |name: &&&str| environment.programs(name).any(|file| !own.is(&file));
    for name in std::iter::once(&DOCKER).chain(OTHERS.iter().filter(exists)) {
        match symlink(&own.file, folder.join(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.map_err(failed)?,
        }
    }
    Ok(())
}
