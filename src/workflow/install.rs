//! Makes layerlift a plugin of Docker's client, and on demand the one that `docker build` is handed to; and undoes it.
//!
//! The plugin is a link in `cli-plugins` of Docker's folder. The default is the key `aliases.builder` of `config.json`, as
//! `docker buildx install` sets it (docker/buildx commands/install.go). What was there before is remembered in
//! `layerlift.json` beside `config.json`: Docker's client writes `config.json` anew at every login, and drops the keys
//! that it does not know.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::env::Environment;
use crate::workflow::handover::Own;
use crate::workflow::json_text::{self, Invalid};

/// The plugin's name: `docker-` and the subcommand.
pub const PLUGIN: &str = "docker-layerlift";

/// The alias as JSON.
const ALIAS: &str = "\"layerlift\"";
const ALIAS_PATH: [&str; 2] = ["aliases", "builder"];

/// The largest `config.json` that is edited.
const LARGEST: u64 = 4 << 20;

/// Why nothing was changed, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is no JSON object. It was not touched.
    #[error("{} is not valid, and stays as it is: {invalid}", file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        invalid: Invalid,
    },
    /// A file that is no link is in the place of the plugin.
    #[error("{} is a file of its own, which is left alone", .0.display())]
    Occupied(PathBuf),
    /// The system refused.
    #[error("{} cannot be {verb}", file.display())]
    System {
        /// `read`, `written`, `removed`.
        verb: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

fn system(verb: &'static str, file: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let file = file.to_owned();
    move |source| Error::System { verb, file, source }
}

/// What was there before. Absent parts were not touched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Before {
    /// Where another link of the plugin's name led.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<PathBuf>,
    /// Set by `--default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<BeforeDefault>,
}

/// What `config.json` had before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct BeforeDefault {
    /// There was a file.
    had_config: bool,
    /// It had the key `aliases`.
    had_aliases: bool,
    /// The alias, as it stood there.
    #[serde(skip_serializing_if = "Option::is_none")]
    builder: Option<String>,
}

/// What was done, one line each, for the user.
pub type Done = Vec<String>;

/// The files in question.
#[derive(Debug)]
struct Place {
    plugin: PathBuf,
    config: PathBuf,
    memory: PathBuf,
}

impl Place {
    fn of(environment: &Environment) -> Place {
        let folder = environment.docker_folder();
        Place {
            plugin: folder.join("cli-plugins").join(PLUGIN),
            config: folder.join("config.json"),
            memory: folder.join("layerlift.json"),
        }
    }

    fn before(&self) -> Result<Before, Error> {
        let Some(text) = read(&self.memory)? else { return Ok(Before::default()) };
        // A memory that cannot be read remembers nothing.
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    fn remember(&self, before: &Before) -> Result<(), Error> {
        if *before == Before::default() {
            return match std::fs::remove_file(&self.memory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(system("removed", &self.memory)(error))
                }
                _ => Ok(()),
            };
        }
        let text = serde_json::to_string_pretty(before).unwrap_or_default();
        write(&self.memory, &format!("{text}\n"))
    }
}

/// Links the plugin; `default` makes it the builder of `docker build`.
pub fn install(own: &Own, environment: &Environment, default: bool) -> Result<Done, Error> {
    let place = Place::of(environment);
    let mut before = place.before()?;
    let mut done = Vec::new();
    // What could be refused comes first, so that nothing is half done.
    let edit = if default { edited(&place, &mut before)? } else { None };
    link(own, &place, &mut before, &mut done)?;
    if let Some(text) = edit {
        place.remember(&before)?;
        write(&place.config, &text)?;
        done.push(format!(
            "`docker build` is handed to layerlift: aliases.builder in {}",
            place.config.display()
        ));
    } else if default {
        done.push(format!("`docker build` was handed to layerlift already, by {}", place.config.display()));
    }
    Ok(done)
}

/// `config.json` with the alias, and what it had before. `None`: it has the alias already.
fn edited(place: &Place, before: &mut Before) -> Result<Option<String>, Error> {
    let broken = |invalid| Error::Broken { file: place.config.clone(), invalid };
    let found = read(&place.config)?;
    // Docker takes an empty file for an empty configuration.
    let text = found.as_deref().filter(|text| !text.trim().is_empty()).unwrap_or("{}\n");
    let builder = json_text::get(text, &ALIAS_PATH).map_err(broken)?.map(str::to_owned);
    if builder.as_deref() == Some(ALIAS) {
        return Ok(None);
    }
    let had_aliases = json_text::get(text, &ALIAS_PATH[..1]).map_err(broken)?.is_some();
    let edited = json_text::set(text, ALIAS_PATH, ALIAS).map_err(broken)?;
    before.default = Some(BeforeDefault { had_config: found.is_some(), had_aliases, builder });
    Ok(Some(edited))
}

fn link(own: &Own, place: &Place, before: &mut Before, done: &mut Done) -> Result<(), Error> {
    let plugin = &place.plugin;
    if own.is(plugin) {
        done.push(format!("the plugin is there already: {}", plugin.display()));
        return Ok(());
    }
    match std::fs::read_link(plugin) {
        Ok(target) => before.link = Some(target),
        Err(_) if plugin.exists() => return Err(Error::Occupied(plugin.clone())),
        Err(_) => {}
    }
    let folder = plugin.parent().unwrap_or(plugin);
    std::fs::create_dir_all(folder).map_err(system("written", folder))?;
    place.remember(before)?;
    replace_link(&own.file, plugin)?;
    done.push(format!("`docker layerlift` works: {} leads to {}", plugin.display(), own.file.display()));
    Ok(())
}

/// Undoes what [`install`] did, as far as nobody has changed it since.
pub fn uninstall(own: &Own, environment: &Environment) -> Result<Done, Error> {
    let place = Place::of(environment);
    let before = place.before()?;
    let mut done = Vec::new();
    let default = before.default.clone().unwrap_or(BeforeDefault {
        had_config: true,
        had_aliases: true,
        builder: None,
    });
    if let Some(text) = restored(&place, &default)? {
        if !default.had_config && text.trim() == "{}" {
            let file = std::fs::canonicalize(&place.config).unwrap_or_else(|_| place.config.clone());
            std::fs::remove_file(&file).map_err(system("removed", &file))?;
        } else {
            write(&place.config, &text)?;
        }
        let now = default.builder.as_deref().map_or("Docker's own builder", |name| name.trim_matches('"'));
        done.push(format!("`docker build` is handed to {now} again"));
    }
    let plugin = &place.plugin;
    if plugin.is_symlink() && (own.is(plugin) || !plugin.exists()) {
        match &before.link {
            Some(target) => replace_link(target, plugin)?,
            None => std::fs::remove_file(plugin).map_err(system("removed", plugin))?,
        }
        done.push(format!("`docker layerlift` is gone: {}", plugin.display()));
    }
    place.remember(&Before::default())?;
    if done.is_empty() {
        done.push("there was nothing to undo".to_owned());
    }
    Ok(done)
}

/// `config.json` as it was. `None`: the alias is not ours.
fn restored(place: &Place, default: &BeforeDefault) -> Result<Option<String>, Error> {
    let broken = |invalid| Error::Broken { file: place.config.clone(), invalid };
    let Some(text) = read(&place.config)?.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if json_text::get(&text, &ALIAS_PATH).map_err(broken)? != Some(ALIAS) {
        return Ok(None);
    }
    if let Some(builder) = &default.builder {
        return json_text::set(&text, ALIAS_PATH, builder).map(Some).map_err(broken);
    }
    let without = json_text::remove(&text, &ALIAS_PATH).map_err(broken)?;
    let aliases = json_text::get(&without, &ALIAS_PATH[..1]).map_err(broken)?;
    let is_empty = aliases.is_some_and(|object| object.trim_matches(['{', '}']).trim().is_empty());
    if is_empty && !default.had_aliases {
        return json_text::remove(&without, &ALIAS_PATH[..1]).map(Some).map_err(broken);
    }
    Ok(Some(without))
}

/// The text of a file; `None` where there is none.
fn read(file: &Path) -> Result<Option<String>, Error> {
    let failed = |source| Error::System { verb: "read", file: file.to_owned(), source };
    let opened = match std::fs::File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    let mut text = String::new();
    opened.take(LARGEST + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LARGEST {
        return Err(failed(std::io::Error::other("it is larger than 4 MiB")));
    }
    Ok(Some(text))
}

/// Writes a file at once or not at all; mode and owner stay, links are followed, a new file is private.
fn write(file: &Path, text: &str) -> Result<(), Error> {
    let real =
        std::fs::canonicalize(file).or_else(|_| std::fs::read_link(file)).unwrap_or_else(|_| file.to_owned());
    // A link that leads nowhere yet is counted from its own folder.
    let real = file.parent().map_or(real.clone(), |folder| folder.join(&real));
    let failed = |source| Error::System { verb: "written", file: real.clone(), source };
    let folder = real.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    new.write_all(text.as_bytes()).and_then(|()| new.as_file().sync_all()).map_err(failed)?;
    if let Ok(old) = std::fs::metadata(&real) {
        let made = new.as_file().metadata().map_err(failed)?;
        if (old.uid(), old.gid()) != (made.uid(), made.gid()) {
            chown(new.path(), Some(old.uid()), Some(old.gid())).map_err(failed)?;
        }
        let mode = std::fs::Permissions::from_mode(old.mode() & 0o7777);
        std::fs::set_permissions(new.path(), mode).map_err(failed)?;
    }
    new.persist(&real).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Makes a link in the place of another one, or of none.
fn replace_link(target: &Path, link: &Path) -> Result<(), Error> {
    let failed = |source| Error::System { verb: "written", file: link.to_owned(), source };
    let folder = link.parent().unwrap_or(Path::new("."));
    let staging = tempfile::Builder::new().prefix(".layerlift-").tempdir_in(folder).map_err(failed)?;
    let new = staging.path().join("link");
    symlink(target, &new).and_then(|()| std::fs::rename(&new, link)).map_err(failed)
}
