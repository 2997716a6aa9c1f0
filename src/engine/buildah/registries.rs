//! How buildah reaches the cache repositories, in a `registries.conf` of our own that lives as long as this value.
//!
//! It is the user's own file with tables for the cache repositories behind it, nothing less (containers-registries.conf(5)):
//!
//! - A registry that layerlift speaks to over plain HTTP is marked `insecure` for the cache repositories alone.
//!   `--tls-verify=false` would stop all checks of certificates, those for the base images as well.
//! - Before buildah 1.29, one `--cache-from` stands. The chain is then written as mirrors of the own scope's repository:
//!   pulls try them in order, pushes go to the repository itself.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::base::env::{self, Environment};
use crate::base::process::Command;
use crate::model::reference::Repository;

/// No such file is larger.
const LARGEST_FILE: u64 = 1 << 20;

/// Where the file is on every machine.
const OF_THE_MACHINE: &str = "/etc/containers/registries.conf";

/// The file; it is deleted with this value.
#[derive(Debug)]
pub struct Registries {
    folder: TempDir,
}

/// Why the user's own file cannot be extended.
#[derive(Debug, thiserror::Error)]
pub enum Unextendable {
    /// It is in the first version of the format, which cannot be mixed with the second.
    #[error("{} is in the old form, which has no room for one repository", path.display())]
    OldForm {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read, or ours cannot be written.
    #[error("{} cannot be read, or a copy of it not be written: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Registries {
    /// Writes the file. `plain`: the cache's registry is spoken to over plain HTTP. `mirrors`: what is pulled for the
    /// first of `repositories`, in order; empty where each is read under its own name.
    pub fn new(
        environment: &Environment,
        repositories: &[&Repository],
        mirrors: &[Repository],
        plain: bool,
    ) -> Result<Registries, Unextendable> {
        let path = file(environment);
        let failed = |source| Unextendable::File { path: path.clone(), source };
        let mut text = read(&path).map_err(failed)?;
        if text.lines().any(|line| line.trim_start().starts_with("[registries.")) {
            return Err(Unextendable::OldForm { path });
        }
        text += "\n\n# Added by layerlift for one build.\n";
        for (number, repository) in repositories.iter().enumerate() {
            text += &table(repository, if number == 0 { mirrors } else { &[] }, plain);
        }
        let made = tempfile::Builder::new().prefix("layerlift-").tempdir().map_err(failed)?;
        let registries = Registries { folder: made };
        std::fs::write(registries.path(), text).map_err(failed)?;
        Ok(registries)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("registries.conf")
    }

    /// Makes a command read it.
    pub fn applied(&self, command: Command) -> Command {
        command.with_variable(env::CONTAINERS_REGISTRIES_CONF.name, self.path())
    }
}

/// The longest prefix wins, so that this holds for the one repository whatever is said of its registry. A repository's
/// name needs no quoting in TOML.
fn table(repository: &Repository, mirrors: &[Repository], plain: bool) -> String {
    let mut text =
        format!("[[registry]]\nprefix = \"{repository}\"\nlocation = \"{repository}\"\ninsecure = {plain}\n");
    for mirror in mirrors {
        text += &format!("[[registry.mirror]]\nlocation = \"{mirror}\"\ninsecure = {plain}\n");
    }
    text
}

/// The file that buildah would read (containers/image, pkg/sysregistriesv2).
fn file(environment: &Environment) -> PathBuf {
    if let Some(named) = environment.get(env::CONTAINERS_REGISTRIES_CONF) {
        return named.into();
    }
    let home = environment.get(env::HOME).unwrap_or("/root");
    let of_user = Path::new(home).join(".config/containers/registries.conf");
    if of_user.is_file() { of_user } else { OF_THE_MACHINE.into() }
}

fn read(path: &Path) -> io::Result<String> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > LARGEST_FILE => Err(io::Error::other("it is larger than 1 MiB")),
        Ok(_) => std::fs::read_to_string(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(own: &str, mirrors: &[Repository]) -> Result<String, Unextendable> {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), own).expect("written");
        let environment: Environment =
            [("CONTAINERS_REGISTRIES_CONF", file.path().to_str().expect("text"))].into_iter().collect();
        let own: Repository = "localhost:5000/a/cache/mr-1".parse().expect("repository");
        let registries = Registries::new(&environment, &[&own], mirrors, true)?;
        Ok(std::fs::read_to_string(registries.path()).expect("read"))
    }

    #[test]
    fn the_chain_becomes_mirrors() {
        let mirrors = ["localhost:5000/a/cache/mr-1", "localhost:5000/a/cache/branch-main"];
        let mirrors = mirrors.map(|text| text.parse().expect("repository"));
        insta::assert_snapshot!(written("short-name-mode = \"enforcing\"", &mirrors).expect("written"), @r#"
        short-name-mode = "enforcing"

        # Added by layerlift for one build.
        [[registry]]
        prefix = "localhost:5000/a/cache/mr-1"
        location = "localhost:5000/a/cache/mr-1"
        insecure = true
        [[registry.mirror]]
        location = "localhost:5000/a/cache/mr-1"
        insecure = true
        [[registry.mirror]]
        location = "localhost:5000/a/cache/branch-main"
        insecure = true
        "#);
    }

    #[test]
    fn the_old_form_is_left_alone() {
        let old = "[registries.search]\nregistries = ['docker.io']\n";
        assert!(matches!(written(old, &[]), Err(Unextendable::OldForm { .. })));
    }
}
