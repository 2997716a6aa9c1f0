//! Shadows of real repositories, made by git.

use super::*;
use crate::context::ignore::Ignore;
use crate::context::samples::git;

fn set_mode(path: PathBuf, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: PathBuf) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

/// A checkout under umask 0002: `app/a`, `app/run` (executable), `app/link`, `other/b`, and an untracked `app/made/x`.
async fn checkout(folder: &Path) -> PathBuf {
    let root = folder.canonicalize().unwrap().join("project");
    for file in ["app/a", "app/run", "other/b"] {
        std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        std::fs::write(root.join(file), file).unwrap();
        set_mode(root.join(file), 0o664);
    }
    std::os::unix::fs::symlink("a", root.join("app/link")).unwrap();
    set_mode(root.join("app/run"), 0o775);
    git(&root, &["init", "-q"]).await;
    git(&root, &["add", "."]).await;
    std::fs::create_dir(root.join("app/made")).unwrap();
    std::fs::write(root.join("app/made/x"), "x").unwrap();
    set_mode(root.join("app/made/x"), 0o660);
    for made in ["app/made", "app", "other"] {
        set_mode(root.join(made), 0o775);
    }
    root
}

fn never() -> bool {
    false
}

#[tokio::test]
async fn has_the_content_with_the_modes_of_git_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = checkout(folder.path()).await;
    let looks = |root: &Path| {
        let entries = crate::context::walk::walk(root, &Ignore::nothing(), &[]).unwrap();
        let look = |entry: &crate::context::walk::Entry| {
            let found = root.join(entry.path()).symlink_metadata().unwrap();
            (entry.path.clone(), found.mode(), found.mtime_nsec(), found.ino())
        };
        entries.iter().map(look).collect::<Vec<_>>()
    };
    let before = looks(&root);
    let survey = Survey::of(&root, &Ignore::nothing(), &[]).unwrap();
    let shadow = Shadow::make(&[&survey], &[], folder.path(), &never).unwrap();
    let there = shadow.of(&root).unwrap();
    assert!(there.ends_with("project"), "{}", there.display());
    for (path, expected) in
        [("app/a", 0o644), ("app/run", 0o755), ("app", 0o755), ("other/b", 0o644), ("app/made/x", 0o660)]
    {
        assert_eq!(mode(there.join(path)), expected, "{path}");
    }
    assert_eq!(mode(there.join("app/made")), 0o775, "git does not know it");
    for path in ["app/a", "app", "app/link"] {
        let time = |root: &Path| root.join(path).symlink_metadata().unwrap().modified().unwrap();
        assert_eq!(time(&there), time(&root), "{path}");
    }
    assert_eq!(std::fs::read_link(there.join("app/link")).unwrap(), Path::new("a"));
    assert_eq!(std::fs::read(there.join("app/run")).unwrap(), b"app/run");
    let inode = |path: PathBuf| path.metadata().unwrap().ino();
    assert_eq!(inode(there.join("app/made/x")), inode(root.join("app/made/x")), "linked");
    assert_ne!(inode(there.join("app/a")), inode(root.join("app/a")));
    assert_eq!(looks(&root), before);
    assert_eq!(git(&root, &["diff-files", "--name-only"]).await, "", "git takes nothing for changed");
    drop(shadow);
    assert!(!there.exists());
}

#[tokio::test]
async fn contexts_lie_as_in_their_work_tree() {
    let folder = tempfile::tempdir().unwrap();
    let root = checkout(folder.path()).await;
    std::fs::write(root.join("Dockerfile"), "FROM scratch\n").unwrap();
    let survey = |path: &str| Survey::of(&root.join(path), &Ignore::nothing(), &[]).unwrap();
    let (app, other) = (survey("app"), survey("other"));
    assert_eq!((app.tracked_entries(), app.differences.len()), (3, 2), "the root itself does not count");
    let file = root.join("Dockerfile");
    let shadow =
        Shadow::make(&[&app, &other, &app], std::slice::from_ref(&file), folder.path(), &never).unwrap();
    assert_eq!(shadow.of(&root.join("app")).unwrap(), shadow.tree().join("app"));
    assert_eq!(std::fs::read(shadow.of(&file).unwrap()).unwrap(), b"FROM scratch\n");
    assert_eq!(mode(shadow.tree().join("other/b")), 0o644);
    assert_eq!(mode(shadow.tree().join("app")), 0o755, "whatever our umask");
    assert_eq!(shadow.of(Path::new("/elsewhere")), None);
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_is_made_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let root = checkout(folder.path()).await;
    set_mode(root.join("app/made"), 0o555);
    let survey = Survey::of(&root, &Ignore::nothing(), &[]).unwrap();
    let shadow = Shadow::make(&[&survey], &[], folder.path(), &never).unwrap();
    let made = shadow.of(&root.join("app/made")).unwrap();
    assert_eq!((mode(made.clone()), made.join("x").exists()), (0o555, true));
    drop(shadow);
    assert!(!made.exists());
    set_mode(root.join("app/made"), 0o755);
}

#[tokio::test]
async fn what_cannot_be_made_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = checkout(folder.path()).await;
    let survey = Survey::of(&root, &Ignore::nothing(), &[]).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let stopped = Shadow::make(&[&survey], &[], temporary.path(), &|| true).unwrap_err();
    assert_eq!(stopped.kind(), io::ErrorKind::Interrupted);
    std::fs::remove_file(root.join("app/a")).unwrap();
    let gone = Shadow::make(&[&survey], &[], temporary.path(), &never).unwrap_err();
    assert!(gone.to_string().contains("app/a: "), "{gone}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn repositories_in_a_context_have_their_own_index() {
    let folder = tempfile::tempdir().unwrap();
    let root = checkout(folder.path()).await;
    let inner = checkout(&root.join("app")).await;
    set_mode(inner.clone(), 0o777);
    let survey = Survey::of(&root, &Ignore::nothing(), &[]).unwrap();
    let changed: Vec<&[u8]> =
        survey.differences.iter().map(|it| survey.entries[it.entry].path.as_slice()).collect();
    for path in ["app/project", "app/project/app/a", "app/project/other", "app/a"] {
        assert!(changed.contains(&path.as_bytes()), "{path}");
    }
    assert!(!changed.contains(&b"app/project/app/made".as_slice()));
}

#[tokio::test]
async fn extended_attributes_come_along() {
    // The source stands on a file system that has some, unlike some for temporary files.
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap();
    let root = checkout(folder.path()).await;
    for path in ["app/a", "app"] {
        rustix::fs::setxattr(root.join(path), "user.x", path.as_bytes(), rustix::fs::XattrFlags::empty())
            .unwrap();
    }
    let survey = Survey::of(&root, &Ignore::nothing(), &[]).unwrap();
    let shadow = Shadow::make(&[&survey], &[], folder.path(), &never).unwrap();
    let there = shadow.of(&root).unwrap();
    for path in ["app/a", "app"] {
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(there.join(path), "user.x", &mut value[..]).unwrap();
        assert_eq!(&value[..length], path.as_bytes());
    }
}
