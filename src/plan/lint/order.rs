//! Sources that are copied before an installation that does not need them: every change of a source installs again.

use std::collections::BTreeSet;

use crate::dockerfile::Copy;
use crate::plan::lint::course::Act;
use crate::plan::lint::installs::{Install, installs};
use crate::plan::lint::{Advice, Rule, Subject, listed};

/// Folders that installations are known to read: patches, generators' schemas, vendored packages.
const READ_BY_INSTALLATIONS: [&str; 10] =
    ["patches", "prisma", ".yarn", "vendor", ".mvn", "gradle", "scripts", "bin", "packages", "wheels"];

/// Where files go that an installation of packages of the system reads, or that are no sources.
const OF_THE_SYSTEM: [&str; 6] = ["/etc", "/usr/share", "/usr/local/share", "/root", "/var", "/run"];

/// As many manifests as are named.
const MOST_NAMED: usize = 4;

/// Looks at one way.
pub(super) fn look(subject: Subject<'_>, course: &[Act<'_>], advice: &mut Vec<Advice>) {
    for (place, act) in course.iter().enumerate() {
        let Some(command) = act.command() else { continue };
        // One that needs files says more than one that needs none.
        let mut found = installs(command);
        found.sort_by_key(|install| install.needs.is_empty());
        let told = found.iter().find_map(|install| judge(subject, &course[..place], act, install));
        advice.extend(told);
    }
}

/// What is to be said of one installation.
fn judge(subject: Subject<'_>, before: &[Act<'_>], act: &Act<'_>, install: &Install) -> Option<Advice> {
    let mut manifests: BTreeSet<String> = BTreeSet::new();
    let mut hostile: Option<&Act<'_>> = None;
    for earlier in before {
        // What others have made was installed before the sources came; this installs the project itself.
        let again = |it: &Install| !install.needs.is_empty() && it.name == install.name;
        if hostile.is_none() && earlier.command().is_some_and(|command| installs(command).iter().any(again)) {
            return None;
        }
        let Some(copy) = earlier.copy().filter(|copy| copy.from.is_none()) else { continue };
        let files = earlier.takes(subject)?;
        let mut wide = false;
        for (source, places) in files {
            let paths = places.iter().filter_map(|place| subject.files?.entries.get(*place));
            let paths: Vec<&str> = paths.map(|(path, _)| path.as_str()).collect();
            manifests.extend(paths.iter().filter(|path| install.wants(path)).map(|path| (*path).to_owned()));
            wide |= is_wide(&source, &paths, install);
        }
        if wide && hostile.is_none() && !is_of_the_system(copy) && !is_named(act, earlier) {
            hostile = Some(earlier);
        }
    }
    let hostile = hostile?;
    if !install.needs.is_empty() && manifests.is_empty() {
        // What it needs comes from elsewhere.
        return None;
    }
    let (line, name) = (act.line(), &install.name);
    let quoted = hostile.quoted();
    let (text, help) = if install.needs.is_empty() {
        (
            format!(
                "`{quoted}` comes before `{name}` in line {line}, which needs none of these files: every change of them installs again"
            ),
            format!("move it below line {}", act.instruction.span.last),
        )
    } else {
        let mut names: Vec<String> = manifests.into_iter().collect();
        names.sort_by_key(|name| name.matches('/').count());
        let more = names.len() > MOST_NAMED;
        names.truncate(MOST_NAMED);
        let list = if more { format!("{} and the like", listed(&names)) } else { listed(&names) };
        (
            format!(
                "`{quoted}` comes before `{name}` in line {line}, which needs only {list}: every change of another file installs again"
            ),
            format!("copy {list} first, then `{name}`{}, then the rest", install.hint),
        )
    };
    Some(Advice { line: hostile.line(), rule: Rule::CopyBeforeInstall, text, help, costs: act.took })
}

/// Whether a source takes more than single files that were named: a folder, or what wildcards match, with something in it
/// that the installation does not need.
fn is_wide(source: &str, paths: &[&str], install: &Install) -> bool {
    let name = source.trim_matches('/').rsplit('/').next().unwrap_or_default();
    let folder = paths.len() > 1 || paths.iter().any(|path| path.ends_with('/'));
    let other = paths.iter().any(|path| !path.ends_with('/') && !install.wants(path));
    folder && other && !READ_BY_INSTALLATIONS.contains(&name)
}

fn is_of_the_system(copy: &Copy) -> bool {
    let destination = copy.destination.text.as_str();
    OF_THE_SYSTEM.iter().any(|folder| {
        destination.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Whether a command names what was copied: a source by its last part, or the place where it is now.
fn is_named(act: &Act<'_>, copy: &Act<'_>) -> bool {
    let (Some(command), Some(copy)) = (act.command(), copy.copy()) else { return false };
    let sources = copy.sources.iter().filter_map(|source| match source {
        crate::dockerfile::CopySource::Path(word) => Some(word.text.as_str()),
        crate::dockerfile::CopySource::Remote(_) => None,
    });
    let places = sources.chain([copy.destination.text.as_str()]);
    let names = places.filter_map(|place| place.trim_end_matches('/').rsplit('/').next());
    let mut names = names.filter(|name| name.len() > 2 && !name.contains(['*', '?', '[']));
    names.any(|name| mentions(command, name))
}

/// Whether a text holds a word that stands alone.
pub(super) fn mentions(text: &str, word: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
        !before.is_some_and(inner) && !after.is_some_and(inner)
    })
}
