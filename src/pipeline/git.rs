//! What a git checkout tells: its root, branch, commit, and of `origin` the place and the default branch.
//!
//! Git's files are read, no program is run: images for CI jobs that build images (`docker:cli`) have no `git`, and a
//! program that reads a stranger's `.git/config` can be made to run theirs. Known are worktrees, submodules, detached
//! heads and packed refs (git's docs, gitrepository-layout); in a repository with reftables only the root is found.

use std::path::{Path, PathBuf};

use super::file;

/// `HEAD`, `.git` and a loose ref are one line.
const LARGEST_REF: u64 = 64 << 10;
/// `config`, with a remote for each of hundreds of forks.
const LARGEST_CONFIG: u64 = 4 << 20;
/// Half a million packed refs.
const LARGEST_PACKED_REFS: u64 = 32 << 20;
/// Git itself stops after five symbolic refs.
const MOST_SYMBOLIC_REFS: usize = 5;

/// A checkout, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkout {
    /// The working tree's topmost folder, without symbolic links.
    pub root: PathBuf,
    /// Where `origin` is; none where the checkout has no such remote, or it is a folder.
    pub origin: Option<Origin>,
    /// The branch that is checked out; none when the head is detached.
    pub branch: Option<String>,
    /// What `origin` calls its default branch. `git clone` notes it; checkouts made by `git fetch`, as CI systems do, do
    /// not have it.
    pub default_branch: Option<String>,
    /// The commit that is checked out; none before the first one.
    pub commit: Option<String>,
}

/// A repository on a host, without whatever stands before and between: no login, no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The host's name, without a port.
    pub host: String,
    /// The path there, without `.git`: `group/project`.
    pub path: String,
}

impl Origin {
    /// From an address as git takes it: a URL, or `user@host:path` (git-clone(1), "Git URLs").
    fn parse(address: &str) -> Option<Origin> {
        let (place, path) = match address.split_once("://") {
            Some(("file", _)) => return None,
            Some((_, rest)) => rest.split_once('/')?,
            None => address.split_once(':').filter(|(place, _)| !place.contains('/'))?,
        };
        let place = place.rsplit('@').next()?;
        let host = place.split(':').next()?.to_ascii_lowercase();
        let path = path.trim_matches('/').trim_end_matches(".git").trim_end_matches('/').to_owned();
        (!host.is_empty() && !path.is_empty()).then_some(Origin { host, path })
    }

    /// From the text of git's `config`.
    fn of_config(text: &str) -> Option<Origin> {
        let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "[remote \"origin\"]").skip(1);
        let in_section = lines.by_ref().take_while(|line| !line.starts_with('['));
        let mut values = in_section.filter_map(|line| line.split_once('='));
        let (_, address) = values.find(|(name, _)| name.trim() == "url")?;
        Origin::parse(address.trim().trim_matches('"'))
    }
}

/// Reads the checkout that holds `folder`; `None` outside of any.
pub async fn read(folder: &Path) -> Option<Checkout> {
    let folder = tokio::fs::canonicalize(folder).await.ok()?;
    for root in folder.ancestors() {
        if let Some(store) = Store::open(root).await {
            return Some(store.checkout(root).await);
        }
    }
    None
}

/// Where git keeps a working tree's state.
struct Store {
    /// This working tree's own: `HEAD`.
    own: PathBuf,
    /// What all working trees share: branches, remote branches, packed refs.
    shared: PathBuf,
}

/// What a ref's file holds.
enum Ref {
    Commit(String),
    Symbolic(String),
}

impl Store {
    /// The store of a working tree, if there is one with a head in it: git, too, ignores anything else named `.git`.
    async fn open(root: &Path) -> Option<Store> {
        let dot_git = root.join(".git");
        let own = match first_line(&dot_git).await {
            // Worktrees and submodules have a file that points to the folder.
            Some(line) => root.join(line.strip_prefix("gitdir:")?.trim()),
            None => dot_git,
        };
        first_line(&own.join("HEAD")).await?;
        let shared = match first_line(&own.join("commondir")).await {
            Some(path) => own.join(path),
            None => own.clone(),
        };
        Some(Store { own, shared })
    }

    async fn checkout(&self, root: &Path) -> Checkout {
        let head = loose(&self.own, "HEAD").await;
        let default_branch = loose(&self.shared, "refs/remotes/origin/HEAD").await;
        let config = file::read(&self.shared.join("config"), LARGEST_CONFIG).await.unwrap_or_default();
        Checkout {
            root: root.to_owned(),
            origin: Origin::of_config(&String::from_utf8_lossy(&config)),
            branch: match &head {
                Some(Ref::Symbolic(name)) => short(name, "refs/heads/"),
                _ => None,
            },
            default_branch: match default_branch {
                Some(Ref::Symbolic(name)) => short(&name, "refs/remotes/origin/"),
                _ => None,
            },
            commit: match head {
                Some(head) => self.commit(head).await,
                None => None,
            },
        }
    }

    async fn commit(&self, mut found: Ref) -> Option<String> {
        for _ in 0..MOST_SYMBOLIC_REFS {
            let name = match found {
                Ref::Commit(commit) => return Some(commit),
                Ref::Symbolic(name) => name,
            };
            found = match loose(&self.shared, &name).await {
                Some(found) => found,
                None => return self.packed(&name).await,
            };
        }
        None
    }

    async fn packed(&self, name: &str) -> Option<String> {
        let bytes = file::read(&self.shared.join("packed-refs"), LARGEST_PACKED_REFS).await.ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let (commit, _) = text.lines().filter_map(|line| line.split_once(' ')).find(|(_, it)| *it == name)?;
        is_commit(commit).then(|| commit.to_owned())
    }
}

/// Reads a ref's own file. The name comes from a file as well: it must not lead out of the store.
async fn loose(store: &Path, name: &str) -> Option<Ref> {
    let inside = name == "HEAD" || name.starts_with("refs/");
    if !inside || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return None;
    }
    let line = first_line(&store.join(name)).await?;
    match line.strip_prefix("ref:") {
        Some(name) => Some(Ref::Symbolic(name.trim().to_owned())),
        None => is_commit(&line).then_some(Ref::Commit(line)),
    }
}

async fn first_line(path: &Path) -> Option<String> {
    let bytes = file::read(path, LARGEST_REF).await.ok()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(text.lines().next()?.trim_end().to_owned())
}

/// A branch's name. `.invalid` is what repositories with reftables put into `HEAD`.
fn short(name: &str, prefix: &str) -> Option<String> {
    let branch = name.strip_prefix(prefix)?;
    (!branch.is_empty() && branch != ".invalid").then(|| branch.to_owned())
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::process::{Command, capture};

    async fn git(folder: &Path, arguments: &[&str]) -> String {
        let identity =
            ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"];
        let place = ["-C", folder.to_str().unwrap()];
        let all = place.iter().chain(&identity).chain(arguments).copied();
        let command = Command::new("git", all).with_variable("GIT_CONFIG_GLOBAL", "/dev/null");
        let answer = capture(&command, Duration::from_secs(30)).await.unwrap();
        assert!(answer.status.success(), "{command}: {}", answer.stderr);
        answer.stdout.trim().to_owned()
    }

    /// A repository with one commit on `main`.
    async fn repository() -> (tempfile::TempDir, PathBuf, String) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("origin");
        std::fs::create_dir(&root).unwrap();
        git(&root, &["init", "-q"]).await;
        git(&root, &["commit", "-q", "--allow-empty", "-m", "first"]).await;
        let commit = git(&root, &["rev-parse", "HEAD"]).await;
        (folder, root, commit)
    }

    #[tokio::test]
    async fn a_clone_knows_branch_commit_and_default_branch() {
        let (folder, origin, commit) = repository().await;
        let clone = folder.path().canonicalize().unwrap().join("clone");
        git(&origin, &["clone", "-q", origin.to_str().unwrap(), clone.to_str().unwrap()]).await;
        git(&clone, &["checkout", "-q", "-b", "feature/a"]).await;
        let nested = clone.join("services/api");
        std::fs::create_dir_all(&nested).unwrap();
        let expected = Checkout {
            root: clone,
            origin: None,
            branch: Some("feature/a".to_owned()),
            default_branch: Some("main".to_owned()),
            commit: Some(commit),
        };
        assert_eq!(read(&nested).await, Some(expected));
    }

    #[test]
    fn the_origin_is_read_in_every_form_and_without_its_login() {
        for address in [
            "git@github.com:Group/Project.git",
            "https://github.com/Group/Project",
            "https://user:token@GitHub.com/Group/Project.git/",
            "ssh://git@github.com:22/Group/Project.git",
        ] {
            let config =
                format!("[core]\n\tbare = false\n[remote \"origin\"]\n\turl = {address}\n\tfetch = +x\n");
            let expected = Origin { host: "github.com".to_owned(), path: "Group/Project".to_owned() };
            assert_eq!(Origin::of_config(&config), Some(expected), "{address}");
        }
        for address in ["/srv/git/project.git", "file:///srv/project", "../project", "host:", ""] {
            assert_eq!(Origin::parse(address), None, "{address}");
        }
        assert_eq!(Origin::of_config("[remote \"other\"]\n\turl = git@host:path\n[x]\n"), None);
    }

    #[tokio::test]
    async fn a_detached_head_has_a_commit_only() {
        let (_folder, root, commit) = repository().await;
        git(&root, &["checkout", "-q", "--detach"]).await;
        let expected = Checkout { root: root.clone(), commit: Some(commit), ..Checkout::default() };
        assert_eq!(read(&root).await, Some(expected));
    }

    #[tokio::test]
    async fn packed_refs_are_read() {
        let (_folder, root, commit) = repository().await;
        git(&root, &["pack-refs", "--all"]).await;
        assert!(!root.join(".git/refs/heads/main").exists());
        assert_eq!(read(&root).await.and_then(|it| it.commit), Some(commit));
    }

    #[tokio::test]
    async fn a_worktree_has_its_own_head_and_shared_branches() {
        let (folder, root, commit) = repository().await;
        let tree = folder.path().canonicalize().unwrap().join("tree");
        git(&root, &["worktree", "add", "-q", "-b", "other", tree.to_str().unwrap()]).await;
        let expected = Checkout {
            root: tree.clone(),
            branch: Some("other".to_owned()),
            commit: Some(commit),
            ..Checkout::default()
        };
        assert_eq!(read(&tree).await, Some(expected));
    }

    #[tokio::test]
    async fn before_the_first_commit_there_is_a_branch_only() {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "-q"]).await;
        let checkout = read(folder.path()).await.unwrap();
        assert_eq!((checkout.branch.as_deref(), checkout.commit), (Some("main"), None));
    }

    #[tokio::test]
    async fn no_checkout_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join("missing")).await, None);
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        assert_eq!(read(folder.path()).await, None, "a folder named .git without a head");
    }

    #[tokio::test]
    async fn hostile_refs_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join(".git");
        std::fs::create_dir_all(store.join("refs/heads")).unwrap();
        std::fs::write(folder.path().join("outside"), "0".repeat(40)).unwrap();
        for head in
            ["ref: refs/heads/../../../outside\n", "ref: /etc/hostname\n", "ref: refs/heads/loop\n", "ref:\n"]
        {
            std::fs::write(store.join("HEAD"), head).unwrap();
            std::fs::write(store.join("refs/heads/loop"), "ref: refs/heads/loop\n").unwrap();
            assert_eq!(read(folder.path()).await.and_then(|it| it.commit), None, "{head}");
        }
        std::fs::write(store.join("HEAD"), "ref: refs/heads/.invalid\n").unwrap();
        assert_eq!(read(folder.path()).await.and_then(|it| it.branch), None);
    }
}
