//! Exports that were left for later: one file for each cache ref, in a folder for each project.
//!
//! They lie in `$XDG_CACHE_HOME/layerlift/pending`, and are the user's alone (mode 0600): a file holds the line of the
//! build, and with it the values of build args that came by flag, which may be what nobody else should see. Logins and
//! secrets are not among it. It goes when it is carried out, when it cannot be, and after a day.

use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::clock;
use crate::engine::progress::Steps;
use crate::model::outcome::Outcome;
use crate::model::record::{Record, RecordedEngine};
use crate::model::reference::{Digest, Reference};
use crate::model::request::{self, Context, Flag, Request, Value};
use crate::model::settings::Settings;
use crate::pipeline;
use crate::plan::command::{self, Build};
use crate::plan::steps::Keep;
use crate::workflow::decide::Prepared;
use crate::workflow::link::Rewritten;
use crate::workflow::records::{self, Place};
use crate::workflow::source::{Source, Text};
use crate::workflow::world::World;
use crate::workflow::{account, last_build};

/// Version of the form. A file of another version is deleted.
const VERSION: u32 = 1;

/// The most exports that wait for one project; of more, the oldest are forgotten.
const MOST: usize = 32;

/// When an export waits no longer: whoever left it will not come back, and the file may tell too much.
const OLDEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest file: the record in it names every file of the context.
const LARGEST: u64 = 64 << 20;

/// An export that was left for later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    version: u32,
    /// When it was left.
    pub(super) left: Timestamp,
    /// How often it was tried.
    pub(super) tries: u32,
    /// The ref to be written.
    own: String,
    /// The folder that the build was started in.
    pub(super) folder: PathBuf,
    /// What the user asked for.
    context: PathBuf,
    request: Vec<(String, Value)>,
    /// The flags of the build that exports.
    export: Vec<(String, Value)>,
    pub(super) settings: Settings,
    /// The Dockerfile that came over standard input, and the one that was built in the place of the user's; base64.
    given: Option<String>,
    linked: Option<String>,
    /// What the image was made from. Another context, or another base image, has another cache.
    pub(super) inputs: Digest,
    /// What built. Another engine has none of the steps.
    pub(super) engine: RecordedEngine,
    pub(super) remote: Option<String>,
    /// The record of the build, and its ref.
    record: Option<(String, Record)>,
}

impl Pending {
    /// The ref to be written.
    pub fn own(&self) -> &str {
        &self.own
    }

    /// What the user asked for. `None` where this layerlift does not know a flag.
    pub(super) fn request(&self) -> Option<Request> {
        Some(Request { flags: flags(&self.request)?, context: Context::Folder(self.context.clone()) })
    }

    /// The build that exports.
    pub(super) fn build(&self) -> Option<Build> {
        Some(Build { flags: flags(&self.export)?, context: Context::Folder(self.context.clone()) })
    }

    /// The Dockerfile that came over standard input.
    pub(super) fn given(&self) -> Option<Vec<u8>> {
        self.given.as_ref().and_then(|text| STANDARD.decode(text).ok())
    }

    /// The Dockerfile that was built in the place of the user's.
    pub(super) fn linked(&self) -> Option<Vec<u8>> {
        self.linked.as_ref().and_then(|text| STANDARD.decode(text).ok())
    }

    /// The record of the build, and its ref.
    pub(super) fn record(&self) -> Option<(Reference, &Record)> {
        let (place, record) = self.record.as_ref()?;
        Some((place.parse().ok()?, record))
    }
}

fn named(flags: &[Flag]) -> Vec<(String, Value)> {
    flags.iter().map(|flag| (flag.name.to_owned(), flag.value.clone())).collect()
}

fn flags(named: &[(String, Value)]) -> Option<Vec<Flag>> {
    named.iter().map(|(name, value)| request::flag(name, value.clone())).collect()
}

/// Leaves the export of a finished build for later. `Err`: why that is not possible.
pub(in crate::workflow) async fn leave(
    world: &World,
    settings: &Settings,
    request: &Request,
    prepared: &Prepared,
    rewritten: Option<&Rewritten>,
    outcome: &Outcome,
    steps: &Steps,
) -> Result<(), String> {
    let (facts, plan) = (&prepared.facts, &prepared.plan);
    let (Keep::Deferred(deferred), Context::Folder(context)) = (&plan.keep, &request.context) else {
        return Err("it is made by the build".to_owned());
    };
    let given = match (&prepared.source, &prepared.source.dockerfile) {
        (Source { spooled: Some(_), .. }, Text::Known(text)) => Some(STANDARD.encode(text)),
        _ => None,
    };
    let linked = rewritten.map(Rewritten::text).transpose().map_err(|error| error.to_string())?;
    let record = match records::place(facts, plan, outcome) {
        Some(Place::Registry(place)) => Some((place.to_string(), account::whole(prepared, outcome, steps))),
        _ => None,
    };
    let pending = Pending {
        version: VERSION,
        left: clock::now(),
        tries: 0,
        own: deferred.own.to_string(),
        folder: world.folder.clone(),
        context: context.clone(),
        request: named(&request.flags),
        export: named(&command::export_build(&plan.build, &deferred.to).flags),
        settings: settings.clone(),
        given,
        linked: linked.map(|text| STANDARD.encode(text)),
        inputs: facts.inputs.as_ref()?.digest.clone(),
        engine: records::engine(&facts.engine),
        remote: facts.engine.remote.clone(),
        record,
    };
    let folder = Folder::of(world)
        .await
        .ok_or("the user has no cache folder: neither HOME nor XDG_CACHE_HOME is set")?;
    folder.write(&pending).map_err(|error| error.to_string())
}

/// The exports that wait for one project.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Those of the project that the working folder is in; `None` where the user has no cache folder. Deletes what has
    /// waited for too long in any project.
    pub(super) async fn of(world: &World) -> Option<Self> {
        let all = world.environment.cache_folder()?.join("pending");
        forget(&all, clock::now().into());
        let project = pipeline::detect(&world.environment, &world.folder).await.pipeline.project_folder;
        let project = project.unwrap_or_else(|| world.folder.clone());
        let whole = project.canonicalize().unwrap_or(project);
        Some(Folder(all.join(last_build::name(whole.as_os_str().as_encoded_bytes()))))
    }

    fn file(&self, pending: &Pending) -> PathBuf {
        self.0.join(last_build::name(pending.own.as_bytes()))
    }

    /// Writes one, in the place of an older one of the same ref.
    fn write(&self, pending: &Pending) -> std::io::Result<()> {
        let text = serde_json::to_vec(pending)?;
        if text.len() as u64 > LARGEST {
            return Err(std::io::Error::other(
                "what the image was made from is too much to be kept in a file",
            ));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        last_build::replace(&self.file(pending), &text, 0o600)?;
        last_build::forget_oldest(&self.0, MOST)
    }

    /// Writes one again, unless a later build has taken its place.
    pub(super) fn update(&self, pending: &Pending) -> std::io::Result<()> {
        if self.is_there(pending) { self.write(pending) } else { Ok(()) }
    }

    /// Forgets one, unless a later build has taken its place.
    pub(super) fn remove(&self, pending: &Pending) {
        if self.is_there(pending) {
            // One that stays is found to be of no use, or exports the same again.
            let _ = std::fs::remove_file(self.file(pending));
        }
    }

    fn is_there(&self, pending: &Pending) -> bool {
        read(&self.file(pending)).is_some_and(|there| there.left == pending.left)
    }

    /// All of them, the oldest first. What cannot be read is deleted.
    pub(super) fn all(&self) -> Vec<Pending> {
        let read = |path: PathBuf| match read(&path) {
            Some(pending) => Some(pending),
            None => {
                let _ = std::fs::remove_file(&path);
                None
            }
        };
        let mut all: Vec<Pending> =
            last_build::files(&self.0).into_iter().filter_map(|(_, path)| read(path)).collect();
        all.sort_by_key(|pending| pending.left);
        all
    }
}

/// Deletes what has waited for too long. `all`: the folder of the projects' folders.
fn forget(all: &Path, now: SystemTime) {
    for project in std::fs::read_dir(all).into_iter().flatten().flatten() {
        for (left, path) in last_build::files(&project.path()) {
            if now.duration_since(left).is_ok_and(|age| age > OLDEST) {
                let _ = std::fs::remove_file(path);
            }
        }
        // Of no use as long as it is empty; another one stays.
        let _ = std::fs::remove_dir(project.path());
    }
}

fn read(path: &Path) -> Option<Pending> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LARGEST + 1).read_to_end(&mut bytes).ok()?;
    let pending: Pending = serde_json::from_slice(&bytes).ok()?;
    (pending.version == VERSION).then_some(pending)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::model::settings::CacheCompression;

    fn pending(own: &str, second: i64) -> Pending {
        let flags = [Flag::text("build-arg", "A=1"), Flag::on("pull")];
        Pending {
            version: VERSION,
            left: Timestamp::from_second(second).unwrap(),
            tries: 0,
            own: own.to_owned(),
            folder: "/work/app".into(),
            context: ".".into(),
            request: named(&flags),
            export: named(&flags[..1]),
            settings: Settings {
                cache_repo: Some("r.io/app/cache".parse().unwrap()),
                cache_compression: CacheCompression::Zstd,
                detach_cache: true,
                ..Settings::default()
            },
            given: Some(STANDARD.encode(b"FROM \xff\n")),
            linked: None,
            inputs: Digest::of(b"inputs"),
            engine: Record::sample().engine,
            remote: Some("tcp://docker:2375".to_owned()),
            record: Some(("r.io/app/cache:branch-main--record".to_owned(), Record::sample())),
        }
    }

    #[test]
    fn what_is_left_is_found_as_it_was_and_is_the_users_alone() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder(home.path().join("layerlift/pending/project"));
        assert_eq!(folder.all(), []);
        let (first, second) = (pending("r.io/app/cache:b", 2), pending("r.io/app/cache:a", 1));
        folder.write(&first).unwrap();
        folder.write(&second).unwrap();
        assert_eq!(folder.all(), [second.clone(), first.clone()], "in their order");
        for (path, mode) in [(folder.0.clone(), 0o700), (folder.file(&first), 0o600)] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        }
        let request = first.request().unwrap();
        assert_eq!(request::arguments(&request.flags), ["--build-arg", "A=1", "--pull"]);
        assert_eq!(request::arguments(&first.build().unwrap().flags), ["--build-arg", "A=1"]);
        assert_eq!(first.given().unwrap(), b"FROM \xff\n");
        assert_eq!(first.record().unwrap().0.tag(), Some("branch-main--record"));

        // A later build of the same ref takes its place, and keeps it.
        let later = pending(first.own(), 3);
        folder.write(&later).unwrap();
        assert_eq!(folder.all(), [second.clone(), later.clone()]);
        folder.update(&Pending { tries: 1, ..first.clone() }).unwrap();
        folder.remove(&first);
        assert_eq!(folder.all(), [second.clone(), later.clone()]);
        folder.remove(&second);
        folder.update(&Pending { tries: 1, ..later.clone() }).unwrap();
        assert_eq!(folder.all(), [Pending { tries: 1, ..later }]);
    }

    #[test]
    fn what_is_broken_or_too_much_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder(home.path().join("project"));
        let unknown = Pending { version: VERSION + 1, ..pending("r.io/app/cache:a", 1) };
        folder.write(&unknown).unwrap();
        std::fs::write(folder.0.join("0123456789abcdef"), b"{\"version\":1").unwrap();
        // Another process is writing it.
        std::fs::write(folder.0.join(".tmpAbCdEf"), b"{").unwrap();
        assert_eq!((folder.all(), last_build::files(&folder.0).len()), (Vec::new(), 0));
        assert!(folder.0.join(".tmpAbCdEf").exists());
        let flag = ("no-such-flag".to_owned(), Value::Switch(true));
        let strange = Pending { request: vec![flag], ..pending("r.io/app/cache:a", 1) };
        assert!(strange.request().is_none());
        for number in 0..MOST + 3 {
            folder.write(&pending(&format!("r.io/app/cache:{number}"), 1)).unwrap();
        }
        assert_eq!(last_build::files(&folder.0).len(), MOST);
    }

    #[test]
    fn what_has_waited_for_a_day_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder(home.path().join("project"));
        folder.write(&pending("r.io/app/cache:a", 1)).unwrap();
        forget(home.path(), SystemTime::from(clock::now()) + OLDEST - Duration::from_secs(60));
        assert_eq!(folder.all().len(), 1);
        forget(home.path(), SystemTime::from(clock::now()) + OLDEST + Duration::from_secs(60));
        assert!(!folder.0.exists());
    }
}
