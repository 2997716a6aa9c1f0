//! The Docker client beside its builds: pull, tag, push and forget images. Only for engines whose build cannot do it.

use std::process::ExitStatus;
use std::time::Duration;

use crate::base::process::{self, Command, Interrupts, Output};
use crate::engine::login::Login;
use crate::model::reference::Digest;

/// An image may be large and the way to the registry long; what is stuck for longer than this is lost.
const LIMIT: Duration = Duration::from_secs(1800);

/// The most of the client's answer that is repeated in a message, in characters.
const LONGEST_REASON: usize = 500;

/// Why the client did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It said no.
    #[error("`docker {verb} {image}` failed: {reason}")]
    Refused {
        /// `pull`, `push`, `tag`, `image inspect`.
        verb: &'static str,
        /// The image.
        image: String,
        /// The last thing that it said.
        reason: String,
    },
    /// It could not be run to its end.
    #[error(transparent)]
    Process(#[from] process::Error),
}

/// The Docker client, with a login of the CI job where the user's own configuration has none.
#[derive(Debug, Default)]
pub struct Docker {
    /// See [`Login`].
    pub login: Option<Login>,
}

impl Docker {
    /// Gives any command the login.
    pub fn applied(&self, command: Command) -> Command {
        match &self.login {
            Some(login) => login.applied(command),
            None => command,
        }
    }

    fn call<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        self.applied(Command::new("docker", words))
    }

    /// Pulls an image quietly.
    pub async fn pull(&self, image: &str, interrupts: &mut Interrupts) -> Result<(), Error> {
        let mut last = String::new();
        let pull = self.call(["pull", "--quiet", image]);
        let status =
            process::stream(&pull, Output::Lines, interrupts, |_, bytes| keep_last(&mut last, bytes)).await?;
        accept("pull", image, status, &last)
    }

    /// Gives an image another name.
    pub async fn tag(&self, image: &str, name: &str) -> Result<(), Error> {
        let answer = process::capture(&self.call(["tag", image, name]), LIMIT).await?;
        accept("tag", name, answer.status, &answer.stderr)
    }

    /// The names by digest under which the engine knows these images: one list for each that it has, and none for one that
    /// it has not.
    pub async fn digests(&self, images: &[&str]) -> Result<Vec<Vec<String>>, Error> {
        let words = ["image", "inspect", "--format", "{{json .RepoDigests}}", "--"];
        let call = self.call(words.into_iter().chain(images.iter().copied()));
        let answer = process::capture(&call, LIMIT).await?;
        let complaints = answer.stderr.lines().filter(|line| !line.trim().is_empty());
        let only_absent = complaints.clone().count() > 0
            && complaints.clone().all(|line| line.to_ascii_lowercase().contains("no such image"));
        if !only_absent {
            accept("image inspect", &images.join(" "), answer.status, &answer.stderr)?;
        }
        let lines = answer.stdout.lines().filter(|line| !line.trim().is_empty());
        // `null` is an image that is known by no digest: it was built here.
        Ok(lines.map(|line| serde_json::from_str(line).unwrap_or_default()).collect())
    }

    /// Takes names off images; layers that a build cache holds stay. Failing to do so harms nobody.
    pub async fn forget(&self, names: &[String]) {
        if !names.is_empty() {
            let words = ["image", "rm", "--no-prune"].into_iter().chain(names.iter().map(String::as_str));
            let _ = process::capture(&self.call(words), LIMIT).await;
        }
    }

    /// Pushes an image and tells its digest. `line` gets what docker says as it comes.
    pub async fn push(
        &self,
        image: &str,
        interrupts: &mut Interrupts,
        mut line: impl FnMut(&[u8]),
    ) -> Result<Option<Digest>, Error> {
        let (mut digest, mut last) = (None, String::new());
        let status = process::stream(&self.call(["push", image]), Output::Lines, interrupts, |_, bytes| {
            let text = String::from_utf8_lossy(bytes);
            digest = pushed_digest(&text).or(digest.take());
            keep_last(&mut last, bytes);
            line(bytes);
        })
        .await?;
        accept("push", image, status, &last)?;
        Ok(digest)
    }
}

/// Keeps the last line that says anything: the reason, where there is one.
fn keep_last(last: &mut String, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if !text.trim().is_empty() {
        text.trim().clone_into(last);
    }
}

/// `1: digest: sha256:... size: 946` is the last line of a push, in every version.
fn pushed_digest(line: &str) -> Option<Digest> {
    line.split_whitespace().skip_while(|word| *word != "digest:").nth(1)?.parse().ok()
}

fn accept(verb: &'static str, image: &str, status: ExitStatus, said: &str) -> Result<(), Error> {
    if status.success() {
        return Ok(());
    }
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    let reason = last.trim().chars().take(LONGEST_REASON).collect();
    Err(Error::Refused { verb, image: image.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_digest_of_a_push() {
        let digest = Digest::of(b"");
        assert_eq!(pushed_digest(&format!("1: digest: {digest} size: 946")), Some(digest));
        assert_eq!(pushed_digest("digest: none"), None);
        assert_eq!(pushed_digest("78a76cadf9b7: Pushed"), None);
    }
}
