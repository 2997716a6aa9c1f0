//! Git, for the tests that need repositories as git makes them.

use std::path::Path;
use std::time::Duration;

use crate::base::process::{Command, capture};

/// Runs git in a folder, without anybody's configuration; what it printed.
pub(crate) async fn git(folder: &Path, arguments: &[&str]) -> String {
    let identity =
        ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "protocol.file.allow=always"];
    let place = ["-C", folder.to_str().unwrap()];
    let all = place.iter().chain(&identity).chain(arguments).copied();
    let command = Command::new("git", all).with_variable("GIT_CONFIG_GLOBAL", "/dev/null");
    let answer = capture(&command, Duration::from_secs(30)).await.unwrap();
    assert!(answer.status.success(), "{command}: {}", answer.stderr);
    answer.stdout
}
