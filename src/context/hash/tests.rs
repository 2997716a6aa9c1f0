//! What a digest sees, what it does not, and what becomes of files that change.

use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::*;
use crate::base::clock;
use crate::context::ignore::Ignore;
use crate::context::walk::walk;

fn never() -> bool {
    false
}

fn listed(root: &Path) -> Vec<Entry> {
    walk(root, &Ignore::nothing(), &[]).unwrap()
}

fn all(root: &Path, cache: Option<&mut StatCache>) -> Result<Vec<File>, Error> {
    let entries = listed(root);
    let wanted = (0..entries.len()).collect();
    Ok(hash(root, &entries, &wanted, cache, &never)?.into_iter().flatten().collect())
}

fn one(root: &Path, name: &str) -> File {
    all(root, None).unwrap().into_iter().find(|file| file.path == name).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Sets both times of a file. The time of its last change stays the system's.
fn set_time(path: &Path, time: SystemTime) {
    std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_file_is_its_content_its_mode_and_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let large: Vec<u8> = (0..BLOCK * 5 + 3).map(|number| (number / 7) as u8).collect();
    write(root.join("large"), &large).unwrap();
    write(root.join("empty"), "").unwrap();
    std::fs::create_dir(root.join("folder")).unwrap();
    symlink("no/such", root.join("link")).unwrap();
    set_permissions(root.join("large"), Permissions::from_mode(0o4751)).unwrap();
    let files = all(root, None).unwrap();
    let expected = |path: &str, kind, mode, size, digest: &str, link: Option<&str>| File {
        context: None,
        path: path.to_owned(),
        kind,
        mode,
        size,
        digest: digest.to_owned(),
        link: link.map(str::to_owned),
    };
    let default = |path: &str| root.join(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        files,
        [
            expected("empty", FileKind::File, default("empty"), 0, &sha256(b""), None),
            expected("folder", FileKind::Folder, default("folder"), 0, "", None),
            expected("large", FileKind::File, 0o4751, large.len() as u64, &sha256(&large), None),
            expected("link", FileKind::Symlink, 0o777, 0, &sha256(b"no/such"), Some("no/such")),
        ]
    );
}

#[test]
fn only_what_is_wanted_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..100 {
        write(folder.path().join(format!("{number:03}")), number.to_string()).unwrap();
    }
    let entries = listed(folder.path());
    let wanted: BTreeSet<usize> = (0..100).filter(|number| number % 3 == 0).collect();
    let files = hash(folder.path(), &entries, &wanted, None, &never).unwrap();
    assert_eq!(files.len(), 100);
    for (number, file) in files.iter().enumerate() {
        let digest = file.as_ref().map(|file| file.digest.clone());
        assert_eq!(
            digest,
            wanted.contains(&number).then(|| sha256(number.to_string().as_bytes())),
            "{number}"
        );
    }
}

#[test]
fn neither_time_nor_a_second_name_counts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a");
    write(&file, "text").unwrap();
    let before = one(folder.path(), "a");
    set_time(&file, SystemTime::UNIX_EPOCH + Duration::from_secs(12));
    std::fs::hard_link(&file, folder.path().join("b")).unwrap();
    assert_eq!(one(folder.path(), "a"), before);
    assert_eq!(one(folder.path(), "b").digest, before.digest);
}

/// The folder of the source stands on a file system with extended attributes, unlike some for temporary files.
fn folder_with_attributes() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap();
    write(folder.path().join("file"), "text").unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    folder
}

fn attribute(path: &Path, name: &str, value: &str) {
    rustix::fs::setxattr(path, name, value.as_bytes(), rustix::fs::XattrFlags::empty()).unwrap();
}

#[test]
fn extended_attributes_count_but_those_of_the_system() {
    let folder = folder_with_attributes();
    let root = folder.path();
    let plain = one(root, "file");
    attribute(&root.join("file"), "security.layerlift", "1");
    assert_eq!(one(root, "file"), plain, "needs root, as the tests do");
    attribute(&root.join("file"), "user.one", "1");
    let with_one = one(root, "file");
    assert_ne!(with_one.digest, plain.digest);
    attribute(&root.join("file"), "user.one", "2");
    assert_ne!(one(root, "file").digest, with_one.digest);
    assert_eq!(one(root, "sub").digest, "");
    attribute(&root.join("sub"), "user.one", "1");
    assert_eq!(one(root, "sub").digest.len(), 32);
}

#[test]
fn a_pipe_is_no_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other");
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, pipe, rustix::fs::Mode::RWXU, 0).unwrap();
    let digest = one(folder.path(), "other").digest;
    std::fs::remove_file(&path).unwrap();
    std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_ne!(one(folder.path(), "other").digest, digest);
    assert_eq!(digest.len(), 32);
}

#[test]
fn what_changed_since_it_was_listed_is_named() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 5] = [
        ("gone", |file| std::fs::remove_file(file).unwrap()),
        ("mode", |file| set_permissions(file, Permissions::from_mode(0o600)).unwrap()),
        ("link", |file| {
            std::fs::remove_file(file).unwrap();
            symlink("elsewhere", file).unwrap();
        }),
        ("folder", |file| {
            std::fs::remove_file(file).unwrap();
            std::fs::create_dir(file).unwrap();
        }),
        ("pipe", |file| {
            std::fs::remove_file(file).unwrap();
            let (pipe, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
            rustix::fs::mknodat(rustix::fs::CWD, file, pipe, mode, 0).unwrap();
        }),
    ];
    for (name, change) in changes {
        for with_cache in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("a");
            write(&file, "text").unwrap();
            set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
            let entries = listed(folder.path());
            change(&file);
            let caches = tempfile::tempdir().unwrap();
            let mut cache = StatCache::open(&caches.path().join("it"), folder.path(), clock::now());
            let cache = with_cache.then_some(&mut cache);
            let error = hash(folder.path(), &entries, &BTreeSet::from([0]), cache, &never).unwrap_err();
            assert_eq!(error.to_string(), "`a` changed while it was read", "{name}");
        }
    }
}

#[test]
fn what_grows_while_it_is_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a");
    write(&file, vec![0; 2 * BLOCK]).unwrap();
    let entries = listed(folder.path());
    // Asked between blocks, and so in the middle of the file.
    let grow = || {
        use std::io::Write;
        std::fs::File::options().append(true).open(&file).unwrap().write_all(b"more").unwrap();
        false
    };
    let error = hash(folder.path(), &entries, &BTreeSet::from([0]), None, &grow).unwrap_err();
    assert!(matches!(error, Error::Changed(path) if path == Path::new("a")));
}

#[test]
fn it_stops_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("a"), "text").unwrap();
    let entries = listed(folder.path());
    let stopped = hash(folder.path(), &entries, &BTreeSet::from([0]), None, &|| true);
    assert!(matches!(stopped, Err(Error::Stopped)));
}

#[test]
fn the_cache_answers_for_files_that_are_as_they_were() {
    let (folder, caches) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (root, file) = (folder.path(), folder.path().join("a"));
    write(&file, "text").unwrap();
    let later = clock::now() + jiff::SignedDuration::from_secs(10);
    let mut cache = StatCache::open(&caches.path().join("it"), root, later);
    let first = all(root, Some(&mut cache)).unwrap();
    cache.save().unwrap();

    // A digest that is no file's shows that the cache was asked.
    let mut cache = StatCache::open(&caches.path().join("it"), root, later);
    let stat = Stat::of(&file.symlink_metadata().unwrap());
    assert_eq!(cache.get(b"a", &stat).as_ref().map(hexadecimal), Some(first[0].digest.clone()));
    cache.put(b"a", stat, [0xab; 16]);
    assert_eq!(all(root, Some(&mut cache)).unwrap()[0].digest, "ab".repeat(16));

    // The same size, and the time set back: the system's own time tells.
    let modified = file.metadata().unwrap().modified().unwrap();
    write(&file, "txet").unwrap();
    set_time(&file, modified);
    assert_eq!(all(root, Some(&mut cache)).unwrap()[0].digest, sha256(b"txet"));
}

#[test]
fn files_that_changed_just_now_are_read_again() {
    let (folder, caches) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(folder.path().join("a"), "text").unwrap();
    let mut cache = StatCache::open(&caches.path().join("it"), folder.path(), clock::now());
    all(folder.path(), Some(&mut cache)).unwrap();
    let stat = Stat::of(&folder.path().join("a").symlink_metadata().unwrap());
    assert_eq!(cache.get(b"a", &stat), None);
}
