//! What is to be built: the definition, as bake and compose themselves resolve it.
//!
//! Whatever cannot be had or understood is no error here: the line is then run as it stands, and the tool says what is
//! wrong with it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::base::process::{self, Captured, Command, Input};
use crate::engine::bake::Bake;
use crate::engine::buildx::Buildx;
use crate::invocation::{BakeLine, ComposeLine};
use crate::model::bake::{Definition, Rights};
use crate::model::member::Member;
use crate::model::request::Flag;
use crate::workflow::world::World;

/// How long bake and compose may take to resolve a definition; it may lie behind a git address.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// A definition with the way to build it.
#[derive(Debug)]
pub struct Group {
    /// The bake that builds it.
    pub bake: Bake,
    /// The images, each after those that it needs.
    pub members: Vec<Member>,
    /// `--progress`.
    pub progress: Option<String>,
    /// Only failures are told.
    pub quiet: bool,
    /// `--metadata-file`.
    pub metadata_file: Option<PathBuf>,
    /// There is another way to build it where the engine cannot bake.
    pub has_other_way: bool,
    /// A builder was chosen by `--builder`.
    pub has_builder: bool,
    /// Whether bake must check for itself what the definition may do. With `--progress rawjson` it does not (docker/buildx
    /// `commands/bake.go`): it is for programs that have asked already.
    pub is_to_check: bool,
    /// The definition, where it came through standard input or was made by us.
    spooled: Option<NamedTempFile>,
}

/// Why a line is to be run as it stands.
#[derive(Debug)]
pub struct Untouched {
    /// In words that end `... is run as it stands: `.
    pub reason: String,
    /// What it is to read in the place of our standard input, which is read already.
    pub stdin: Option<File>,
}

impl Untouched {
    /// For a reason, with nothing read.
    pub fn because(reason: impl Into<String>) -> Self {
        Untouched { reason: reason.into(), stdin: None }
    }

    fn with(reason: String, spooled: Option<NamedTempFile>) -> Self {
        let stdin = spooled.and_then(|file| {
            let mut file = file.into_file();
            file.rewind().ok().map(|()| file)
        });
        Untouched { reason, stdin }
    }
}

/// Asks `docker buildx bake` what a line means.
pub async fn of_bake(world: &World, line: BakeLine) -> Result<Group, Untouched> {
    let spooled = match line.reads_stdin {
        true => Some(spool().map_err(|error| Untouched::because(error.to_string()))?),
        false => None,
    };
    let input = spooled.as_ref().map_or(Input::Nothing, |file| Input::File(file.path().to_path_buf()));
    let bake = Bake { flags: line.flags, targets: line.targets, input };
    let definition = match ask(&bake.print(&Buildx::find(&world.environment))).await {
        Ok(answer) => Definition::parse(&answer.stdout),
        Err(reason) => Err(reason),
    };
    let definition = match definition {
        Ok(definition) => definition,
        Err(reason) => return Err(Untouched::with(reason, spooled)),
    };
    let members = definition.members();
    if members.is_empty() {
        return Err(Untouched::with("it builds nothing".to_owned(), spooled));
    }
    Ok(Group {
        bake,
        members,
        quiet: matches!(line.progress.as_deref(), Some("quiet" | "none")),
        progress: line.progress,
        metadata_file: line.metadata_file.map(PathBuf::from),
        has_other_way: false,
        has_builder: line.builder.is_some(),
        is_to_check: !is_allowed(&definition.rights(), &line.allowed, &world.folder),
        spooled,
    })
}

/// Makes the bake of what compose printed: compose itself hands that to bake, with these flags (docker/compose
/// `pkg/compose/build_bake.go`).
pub(super) fn of_compose(world: &World, line: &ComposeLine, printed: &str) -> Result<Group, String> {
    let definition = Definition::parse(printed)?;
    // Values that compose takes from an env file are known to compose alone.
    let unknown = |name: &&String| world.environment.by_name(name).is_none();
    if let Some(name) = definition.secret_variables().iter().find(unknown) {
        return Err(format!("a secret is taken from `{name}`, which only compose knows"));
    }
    let mut file = NamedTempFile::with_prefix("layerlift-").map_err(|error| error.to_string())?;
    file.write_all(printed.as_bytes()).map_err(|error| error.to_string())?;
    let mut flags = vec!["--file".to_owned(), "-".to_owned()];
    let mut flag = |name: &str, value: String| flags.extend([format!("--{name}"), value]);
    definition.folders().into_iter().for_each(|folder| flag("allow", format!("fs.read={folder}")));
    let rights: BTreeSet<String> = definition.entitlements();
    rights.into_iter().for_each(|right| flag("allow", right));
    let build = &line.build;
    for (name, value) in
        [("builder", &build.builder), ("sbom", &build.sbom), ("provenance", &build.provenance)]
    {
        value.iter().for_each(|value| flag(name, value.clone()));
    }
    let mut members = definition.members();
    for member in &mut members {
        // They are in none of what compose printed.
        let attested = [("sbom", &build.sbom), ("provenance", &build.provenance)];
        let flags = attested.into_iter().flat_map(|(name, value)| value.iter().map(move |it| (name, it)));
        member.request.flags.extend(flags.map(|(name, value)| Flag::text(name, value.clone())));
    }
    if members.is_empty() {
        return Err("no service is built".to_owned());
    }
    Ok(Group {
        bake: Bake { flags, targets: Vec::new(), input: Input::File(file.path().to_path_buf()) },
        members,
        progress: line.progress.clone(),
        quiet: build.quiet,
        metadata_file: None,
        has_other_way: true,
        has_builder: build.builder.is_some(),
        // compose does not let bake check either.
        is_to_check: false,
        spooled: Some(file),
    })
}

/// Whether what a definition asks for is beyond doubt allowed: by name, or because it lies in the working folder.
fn is_allowed(rights: &Rights, allowed: &[String], working: &Path) -> bool {
    let Ok(working) = working.canonicalize() else { return false };
    let whole = |path: &Path| working.join(path).canonicalize().ok();
    let given = |name: &'static str| {
        allowed
            .iter()
            .filter_map(move |it| it.strip_prefix(name)?.strip_prefix('='))
            .filter_map(|it| whole(Path::new(it)))
    };
    // Read and write access are told apart by bake; here one that has both, or the working folder.
    let folders: Vec<PathBuf> = given("fs").chain(std::iter::once(working.clone())).collect();
    let is_inside = |path: &String| {
        // Without a dot at the end, which would hide that it is a link.
        let path: PathBuf = Path::new(path.trim_start_matches("cwd://")).components().collect();
        // What is to be written need not be there yet; its folder must be. A link that leads nowhere could lead anywhere.
        let parent = || path.parent().filter(|_| !working.join(&path).is_symlink());
        let place = whole(&path).or_else(|| whole(parent()?));
        place.is_some_and(|place| folders.iter().any(|folder| place.starts_with(folder)))
    };
    rights.entitlements.iter().all(|right| allowed.contains(right)) && rights.paths.iter().all(is_inside)
}

/// Runs a question; what went wrong with it, in one line, where something did.
pub(super) async fn ask(command: &Command) -> Result<Captured, String> {
    match process::capture(command, LIMIT).await {
        Ok(answer) if answer.status.success() => Ok(answer),
        Ok(answer) => {
            let last = answer.stderr.lines().rev().find(|line| !line.trim().is_empty());
            Err(last.unwrap_or("it gives no reason").trim().chars().take(300).collect())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn spool() -> std::io::Result<NamedTempFile> {
    let mut file = NamedTempFile::with_prefix("layerlift-")?;
    std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
    Ok(file)
}

impl Group {
    /// Gives up: what is to be read where the line is run as it stands after all.
    pub fn untouched(self, reason: String) -> Untouched {
        Untouched::with(reason, self.spooled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_working_folder_is_allowed_by_itself() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir(folder.path().join("sub")).expect("folder");
        std::os::unix::fs::symlink("/etc", folder.path().join("link")).expect("link");
        std::os::unix::fs::symlink("/etc/no-such", folder.path().join("nowhere")).expect("link");
        let check = |paths: &[&str], entitlements: &[&str], allowed: &[&str]| {
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            let rights = Rights { entitlements: owned(entitlements), paths: owned(paths) };
            let allowed: Vec<String> = allowed.iter().map(|word| (*word).to_owned()).collect();
            is_allowed(&rights, &allowed, folder.path())
        };
        assert!(check(&[".", "sub", "cwd://sub", "sub/new", "new"], &[], &[]));
        for path in ["..", "/etc", "link", "nowhere", "nowhere/.", "sub/../..", "no/such"] {
            assert!(!check(&[path], &[], &[]), "{path}");
        }
        assert!(check(&["/etc/ssl"], &[], &["fs=/etc"]));
        assert!(!check(&["/etc/ssl"], &[], &["fs.read=/usr"]));
        assert!(check(&[], &["network.host"], &["network.host"]));
        assert!(!check(&[], &["network.host"], &[]));
    }
}
