//! What a repository has to build: Dockerfiles, a compose file whose services are built, a bake file.
//!
//! Folders whose names begin with a dot, `node_modules` and `vendor` hold what others wrote, and are not looked into; nor
//! are symbolic links followed. The walk has bounds, which a note tells where they were met.

use std::collections::BTreeSet;
use std::path::Path;

use super::context::context_of;
use super::{Error, read};
use crate::base::yaml::{self, Node};
use crate::dockerfile::Dockerfile;

/// Folders below the root that are looked into, one in the other.
const DEEPEST: usize = 6;
/// Files and folders that are looked at.
const MOST_ENTRIES: usize = 50_000;
/// Dockerfiles that get a job.
const MOST_DOCKERFILES: usize = 50;
/// Folders of dependencies, which bring Dockerfiles of their own.
const SKIPPED: [&str; 2] = ["node_modules", "vendor"];
/// Ends of names that make `Dockerfile.x` something else: its ignore file, a template, a copy.
const NO_DOCKERFILE: [&str; 9] = ["dockerignore", "j2", "tmpl", "tpl", "template", "in", "md", "bak", "orig"];
/// In compose's own order.
const COMPOSE_FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// In bake's own order.
const BAKE_FILES: [&str; 2] = ["docker-bake.json", "docker-bake.hcl"];

/// A Dockerfile that gets a job. Paths are counted from the root of the repository, with slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// The Dockerfile.
    pub(super) file: String,
    /// The folder that it is built in; `.` is the root.
    pub(super) context: String,
    /// The image's part of the project's repository; empty where it is the project's own image.
    pub(super) name: String,
}

/// What there is to build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The user named the files: nothing beside them is to be read.
    pub(super) named: bool,
    /// Dockerfiles with a job each.
    pub(super) images: Vec<Image>,
    /// Compose files for one job.
    pub(super) compose: Vec<String>,
    /// Bake files for one job.
    pub(super) bake: Vec<String>,
    /// What the user should know of the choice.
    pub(super) notes: Vec<String>,
    /// Variables that the images' names in the compose files want from the environment.
    pub(super) variables: BTreeSet<String>,
}

/// Looks through the repository.
pub(super) fn in_repository(root: &Path) -> Found {
    let mut found = Found::default();
    if let Some(file) = BAKE_FILES.iter().find(|name| root.join(name).is_file()) {
        found.notes.push(format!("{file} says what is built: Dockerfiles get no jobs of their own"));
        found.bake.push((*file).to_owned());
        return found;
    }
    let mut built = BTreeSet::new();
    if let Some(file) = COMPOSE_FILES.iter().find(|name| root.join(name).is_file()) {
        built = of_compose(root, file, &mut found).unwrap_or_else(|error| {
            found.notes.push(format!("{error}: left out"));
            BTreeSet::new()
        });
    }
    let dockerfiles = walk(root, &mut found.notes);
    add_images(root, dockerfiles.into_iter().filter(|file| !built.contains(file)), &mut found);
    found
}

/// Takes the files that were named, as counted from the root.
pub(super) fn named(root: &Path, files: Vec<String>) -> Result<Found, Error> {
    let mut found = Found { named: true, ..Found::default() };
    let mut dockerfiles = Vec::new();
    for file in files {
        let name = file.rsplit('/').next().unwrap_or(&file).to_ascii_lowercase();
        let ends_in = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        if name.contains("bake") && ends_in(&[".hcl", ".json"]) {
            found.bake.push(file);
        } else if ends_in(&[".yaml", ".yml"]) {
            of_compose(root, &file, &mut found)?;
        } else {
            dockerfiles.push(file);
        }
    }
    add_images(root, dockerfiles.into_iter(), &mut found);
    Ok(found)
}

fn add_images(root: &Path, files: impl Iterator<Item = String>, found: &mut Found) {
    for file in files {
        let text = match read(&root.join(&file)) {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => {
                found.notes.push(format!("{error}"));
                continue;
            }
        };
        let dockerfile = match Dockerfile::parse(text.as_bytes()) {
            Ok(dockerfile) => dockerfile,
            Err(error) => {
                found.notes.push(format!("{file}:{}: {}: left out", error.line, error.fault));
                continue;
            }
        };
        if found.images.len() == MOST_DOCKERFILES {
            found.notes.push(format!(
                "more than {MOST_DOCKERFILES} Dockerfiles: {file} and later ones are left out"
            ));
            break;
        }
        let context = context_of(root, &file, &dockerfile);
        found.images.push(Image { name: image_name(&file), file, context });
    }
    // The only image is the project's.
    if let ([image], true) = (found.images.as_mut_slice(), found.compose.is_empty()) {
        image.name.clear();
    }
    let mut taken = BTreeSet::new();
    for image in &mut found.images {
        let plain = image.name.clone();
        let mut count = 1;
        while !taken.insert(image.name.clone()) {
            count += 1;
            image.name = format!("{}-{count}", if plain.is_empty() { "image" } else { &plain });
        }
    }
}

/// Folders and what tells several Dockerfiles of one folder apart: `services/api/Dockerfile.dev` is `services-api-dev`.
fn image_name(file: &str) -> String {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let kind = name.split('.').filter(|word| !is_plain_name(word)).collect::<Vec<_>>().join("-");
    let lower = format!("{folder}-{kind}").to_ascii_lowercase();
    let kept = lower.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    kept.collect::<Vec<_>>().join("-")
}

fn is_plain_name(word: &str) -> bool {
    ["dockerfile", "containerfile"].contains(&word.to_ascii_lowercase().as_str())
}

fn is_dockerfile(name: &str) -> bool {
    let words: Vec<&str> = name.split('.').collect();
    let (first, last) = (words[0], words[words.len() - 1]);
    let is_other = NO_DOCKERFILE.contains(&last.to_ascii_lowercase().as_str());
    (is_plain_name(first) && !is_other) || (words.len() > 1 && last.eq_ignore_ascii_case("dockerfile"))
}

/// Every Dockerfile, those nearest to the root first.
fn walk(root: &Path, notes: &mut Vec<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    let mut seen = 0;
    for _ in 0..=DEEPEST {
        let mut below = Vec::new();
        for folder in &folders {
            // A folder that cannot be read has nothing for CI either.
            let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
            for entry in entries.flatten() {
                seen += 1;
                if seen > MOST_ENTRIES {
                    notes.push(format!("more than {MOST_ENTRIES} files: not all were looked at"));
                    return found;
                }
                let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else {
                    continue;
                };
                let path = format!("{folder}{name}");
                if kind.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                    below.push(format!("{path}/"));
                } else if kind.is_file() && is_dockerfile(&name) {
                    found.push(path);
                }
            }
        }
        found.sort_by_key(|path| (path.matches('/').count(), path.clone()));
        below.sort();
        folders = below;
    }
    if !folders.is_empty() {
        notes.push(format!("folders more than {DEEPEST} deep were not looked into"));
    }
    found
}

/// Adds a compose file that builds something, and tells the Dockerfiles that it builds.
fn of_compose(root: &Path, file: &str, found: &mut Found) -> Result<BTreeSet<String>, Error> {
    let broken = |reason: String| Error::Broken { file: file.to_owned(), reason };
    let text = read(&root.join(file))?.unwrap_or_default();
    let documents = yaml::documents(&text).map_err(|error| broken(error.to_string()))?;
    let services = documents.first().and_then(|document| document.get("services"));
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut built = BTreeSet::new();
    let mut unnamed = Vec::new();
    let mut builds = false;
    for (service, definition) in services.map(Node::entries).unwrap_or_default() {
        let Some(build) = definition.get("build") else { continue };
        builds = true;
        match definition.get("image").and_then(Node::scalar) {
            Some(image) => found.variables.extend(wanted(&image)),
            None => unnamed.push(service.as_str()),
        }
        let text = |key: &str| build.get(key).and_then(Node::scalar);
        if build.get("dockerfile_inline").is_some() {
            continue;
        }
        let context = build.scalar().or_else(|| text("context")).unwrap_or(".".to_owned());
        let dockerfile = text("dockerfile").unwrap_or("Dockerfile".to_owned());
        built.extend(lexical(&format!("{folder}/{context}/{dockerfile}")));
    }
    if !builds {
        found.notes.push(format!("{file} builds nothing"));
        return Ok(BTreeSet::new());
    }
    if !unnamed.is_empty() {
        let services = unnamed.join(", ");
        found.notes.push(format!("services of {file} without `image` are built, and not pushed: {services}"));
    }
    found.compose.push(file.to_owned());
    Ok(built)
}

/// The variables of a name that have no default: `$NAME`, `${NAME}`, `${NAME:?error}`.
fn wanted(image: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in image.match_indices('$') {
        let rest = &image[at + 1..];
        let (braced, rest) = rest.strip_prefix('{').map_or((false, rest), |inner| (true, inner));
        let end =
            rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
        let has_default = braced && rest[end..].trim_start_matches(':').starts_with(['-', '+']);
        let is_name = rest.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
        if is_name && !has_default && !image[..at].ends_with('$') {
            found.push(rest[..end].to_owned());
        }
    }
    found
}

/// A path without `.` and `..`; `None` where it leads out of the root.
fn lexical(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dockerfiles_and_of_their_images() {
        for (file, name) in [
            ("Dockerfile", ""),
            ("Dockerfile.multi", "multi"),
            ("web.Dockerfile", "web"),
            ("services/API/Containerfile", "services-api"),
            ("a b/Dockerfile.x_y", "a-b-x-y"),
        ] {
            assert!(is_dockerfile(file.rsplit('/').next().unwrap()), "{file}");
            assert_eq!(image_name(file), name, "{file}");
        }
        for file in ["Dockerfile.dockerignore", "Dockerfile.j2", "dockerfiles", "Dockerfile-old", "docker"] {
            assert!(!is_dockerfile(file), "{file}");
        }
    }

    #[test]
    fn variables_without_a_default_are_wanted() {
        let image = "$REGISTRY/${GROUP}/a:${TAG:-latest}-${KIND:?no kind}$$X-${Y-}";
        assert_eq!(wanted(image), ["REGISTRY", "GROUP", "KIND"]);
        assert_eq!(wanted("plain:1"), Vec::<String>::new());
    }

    #[test]
    fn paths_are_cleaned_and_stay_inside() {
        assert_eq!(lexical("/./api/../worker//Dockerfile").as_deref(), Some("worker/Dockerfile"));
        assert_eq!(lexical("../Dockerfile"), None);
    }

    #[test]
    fn folders_of_others_and_links_are_not_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "FROM scratch\n").unwrap();
        };
        let all = ["b/Dockerfile", "Dockerfile", "a/deep/Dockerfile.x"];
        all.iter().for_each(|path| write(path));
        [".git/Dockerfile", "node_modules/x/Dockerfile", "a/vendor/Dockerfile", ".devcontainer/Dockerfile"]
            .iter()
            .for_each(|path| write(path));
        write("1/2/3/4/5/6/7/Dockerfile");
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        let mut notes = Vec::new();
        assert_eq!(walk(folder.path(), &mut notes), ["Dockerfile", "b/Dockerfile", "a/deep/Dockerfile.x"]);
        assert_eq!(notes, ["folders more than 6 deep were not looked into"]);
    }
}
