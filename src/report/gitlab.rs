//! What GitLab reads: collapsible sections in the log, and variables for later jobs.
//!
//! The rules are GitLab's own: lib/gitlab/regex.rb for sections, app/services/ci/parse_dotenv_artifact_service.rb for
//! variables. A dotenv file that breaks one of its rules is refused whole, and the job with it.

use std::path::Path;

use jiff::Timestamp;

use crate::model::outcome::Outcome;
use crate::report::file;
use crate::report::line::clean;

/// GitLab refuses a dotenv file of this size, in bytes, or a larger one.
const DOTENV_LIMIT: usize = 5 * 1024;

/// The line that opens a section, which begins folded.
pub fn section_start(name: &str, title: &str, now: Timestamp) -> String {
    let (name, seconds) = (section_name(name), now.as_second());
    format!("\u{1b}[0Ksection_start:{seconds}:{name}[collapsed=true]\r\u{1b}[0K{}\n", clean(title))
}

/// The line that closes it.
pub fn section_end(name: &str, now: Timestamp) -> String {
    format!("\u{1b}[0Ksection_end:{}:{}\r\u{1b}[0K\n", now.as_second(), section_name(name))
}

/// Letters, digits, `_`, `.` and `-`: all that GitLab takes for a name.
fn section_name(name: &str) -> String {
    let takes = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    name.chars().map(|character| if takes(character) { character } else { '_' }).collect()
}

/// Writes the file that `artifacts:reports:dotenv` names.
pub fn write_dotenv(path: &Path, outcome: &Outcome) -> Result<(), file::Error> {
    file::replace(path, dotenv(outcome).as_bytes())
}

/// Variables for later jobs: the image's digest (empty where it is not known), whether every step was cached (`true` or
/// `false`), and the cache refs that were read or written, separated by spaces.
///
/// Lines are `NAME=VALUE` without quotes, which GitLab would keep as part of the value. Values that hold anything but
/// the characters of references are left out, because `$` is expanded where the variable is used; and refs that do not
/// fit into the file.
pub fn dotenv(outcome: &Outcome) -> String {
    let digest = outcome.digest.as_deref().filter(|digest| is_plain(digest)).unwrap_or_default();
    let hit = outcome.is_full_hit();
    let mut text = format!("LAYERLIFT_DIGEST={digest}\nLAYERLIFT_CACHE_HIT={hit}\n");
    add_cache_refs(&mut text, outcome.cache_refs());
    text
}

/// The last line of such a file: the refs that still fit.
pub(super) fn add_cache_refs(text: &mut String, references: Vec<&str>) {
    text.push_str("LAYERLIFT_CACHE_REFS=");
    let mut separator = "";
    for reference in references.into_iter().filter(|reference| is_plain(reference)) {
        if text.len() + separator.len() + reference.len() + 1 >= DOTENV_LIMIT {
            break;
        }
        text.push_str(separator);
        text.push_str(reference);
        separator = " ";
    }
    text.push('\n');
}

/// Whether a value has only the characters of references and digests, and not too many of them.
pub(super) fn is_plain(value: &str) -> bool {
    value.len() <= 512
        && value.chars().all(|character| character.is_ascii_alphanumeric() || "._-/:@+".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use insta::assert_snapshot;
    use proptest::prelude::*;

    #[test]
    fn sections_have_the_form_that_gitlab_looks_for() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(
            section_start("the build", "build\u{1b}[0K of\nall", now),
            "\u{1b}[0Ksection_start:1700000000:the_build[collapsed=true]\r\u{1b}[0Kbuild of all\n"
        );
        assert_eq!(section_end("the build", now), "\u{1b}[0Ksection_end:1700000000:the_build\r\u{1b}[0K\n");
    }

    #[test]
    fn dotenv_of_builds() {
        let cases = [
            samples::cold(),
            samples::full_hit(),
            samples::reused(),
            samples::failed_step(),
            samples::hostile(),
        ];
        assert_snapshot!(cases.map(|outcome| dotenv(&outcome)).join("--\n"), @r"
        LAYERLIFT_DIGEST=sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a
        LAYERLIFT_CACHE_HIT=false
        LAYERLIFT_CACHE_REFS=localhost:5000/app/cache:branch-main
        --
        LAYERLIFT_DIGEST=sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a
        LAYERLIFT_CACHE_HIT=true
        LAYERLIFT_CACHE_REFS=localhost:5000/app/cache:branch-main
        --
        LAYERLIFT_DIGEST=sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a
        LAYERLIFT_CACHE_HIT=true
        LAYERLIFT_CACHE_REFS=localhost:5000/app/cache:branch-main--image-0123456789abcdef0123456789abcdef
        --
        LAYERLIFT_DIGEST=
        LAYERLIFT_CACHE_HIT=false
        LAYERLIFT_CACHE_REFS=localhost:5000/app/cache:branch-main
        --
        LAYERLIFT_DIGEST=
        LAYERLIFT_CACHE_HIT=false
        LAYERLIFT_CACHE_REFS=localhost:5000/app/cache:branch-main
        ");
    }

    #[test]
    fn a_dotenv_file_stays_below_the_limit() {
        let mut outcome = samples::cold();
        let one = outcome.written[1].clone();
        outcome.written = (0..200)
            .map(|number| {
                let mut written = one.clone();
                written.reference = format!("{}-{number}", one.reference);
                written
            })
            .collect();
        let text = dotenv(&outcome);
        assert!(text.len() < DOTENV_LIMIT && text.len() > DOTENV_LIMIT - 100, "{}", text.len());
    }

    proptest! {
        #[test]
        fn gitlab_accepts_every_file(text in "([ -~]|\n|\r|=|\\$)*") {
            let file = dotenv(&samples::everywhere(&text));
            let names: Vec<_> = file.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
            prop_assert_eq!(names, ["LAYERLIFT_DIGEST", "LAYERLIFT_CACHE_HIT", "LAYERLIFT_CACHE_REFS"]);
            prop_assert_eq!(file.lines().count(), 3);
            prop_assert!(!file.contains('$'));
        }
    }
}
