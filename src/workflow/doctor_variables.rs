//! Environment variables as `doctor` tells them: those of the CI system, proxies, and settings that were misspelt.
//!
//! Values are shown where they explain a decision and cannot be a secret. What nobody here declared is never shown.

use crate::base::env::{self, Environment};

/// Names of the variables of CI systems begin with these.
const CI_PREFIXES: [&str; 4] = ["CI", "GITLAB_", "GITHUB_", "CIRCLE"];

/// A name with one of these has a value that is not shown.
const SECRET_WORDS: [&str; 4] = ["TOKEN", "PASSWORD", "SECRET", "AUTH"];

/// What Go programs and reqwest look at, in this order.
const PROXIES: [&str; 8] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

const OWN_PREFIX: &str = "LAYERLIFT_";

/// Names that begin like settings and are none: what our dotenv report sets for later jobs, and what the CI templates
/// use.
const NO_SETTINGS: [&str; 16] = [
    "LAYERLIFT_DIGEST",
    "LAYERLIFT_CACHE_HIT",
    "LAYERLIFT_CACHE_REFS",
    "LAYERLIFT_VERSION",
    "LAYERLIFT_SHA256",
    "LAYERLIFT_URL",
    "LAYERLIFT_PATH",
    "LAYERLIFT_DOCKER_VERSION",
    "LAYERLIFT_BUILDAH_IMAGE",
    "LAYERLIFT_CONTEXT",
    "LAYERLIFT_DOCKERFILE",
    "LAYERLIFT_TARGET",
    "LAYERLIFT_IMAGE",
    "LAYERLIFT_TAG",
    "LAYERLIFT_PUSH",
    "LAYERLIFT_ARGS",
];

/// The longest name that is compared with ours.
const LONGEST_NAME: usize = 64;

/// The variables of the CI system that layerlift reads, as `NAME=value`; secrets as `NAME is set`.
pub(super) fn of_ci(environment: &Environment) -> Vec<String> {
    let of_ci = env::ALL.iter().filter(|variable| CI_PREFIXES.iter().any(|it| variable.name.starts_with(it)));
    of_ci
        .filter_map(|variable| {
            let value = environment.get(*variable)?;
            let is_secret = SECRET_WORDS.iter().any(|word| variable.name.contains(word));
            Some(if is_secret {
                format!("{} is set", variable.name)
            } else {
                format!("{}={}", variable.name, plain(value))
            })
        })
        .collect()
}

/// The proxy variables that are set, without what stands before an `@`.
pub(super) fn proxies(environment: &Environment) -> Vec<String> {
    let value = |name: &'static str| environment.by_name(name).filter(|value| !value.is_empty());
    PROXIES
        .iter()
        .filter_map(|name| Some(format!("{name}={}", plain(&without_login(value(name)?)))))
        .collect()
}

/// `http://user:password@proxy:3128` is `http://***@proxy:3128`.
fn without_login(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").map_or(("", address), |(scheme, rest)| (scheme, rest));
    let shown = rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, host)| format!("***@{host}"));
    if scheme.is_empty() { shown } else { format!("{scheme}://{shown}") }
}

/// Variables that begin like our settings and are none, with the setting that may have been meant.
pub(super) fn unknown(environment: &Environment) -> Vec<String> {
    let is_known =
        |name: &str| NO_SETTINGS.contains(&name) || env::ALL.iter().any(|variable| variable.name == name);
    let unknown = environment.names_with_prefix(OWN_PREFIX).filter(|name| !is_known(name));
    unknown
        .map(|name| match nearest(name) {
            Some(meant) => format!("{}: did you mean {meant}?", plain(name)),
            None => plain(name),
        })
        .collect()
}

/// The setting whose name differs in at most three characters.
fn nearest(name: &str) -> Option<&'static str> {
    let ours = env::ALL.iter().map(|variable| variable.name).filter(|ours| ours.starts_with(OWN_PREFIX));
    ours.filter(|_| name.len() <= LONGEST_NAME)
        .map(|ours| (distance(name.as_bytes(), ours.as_bytes()), ours))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, ours)| ours)
}

/// How many bytes have to be put in, left out or changed (Levenshtein), row by row.
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, byte) in one.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], place + 1);
        for (column, against) in other.iter().enumerate() {
            let changed = diagonal + usize::from(byte != against);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// On one line, without control characters: what others wrote must not steer a terminal or a log.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_recognized() {
        let environment: Environment = [
            ("LAYERLIFT_CACHEREPO", "x"),
            ("LAYERLIFT_CACHE_REPO", "x"),
            ("LAYERLIFT_STRATEGIE", "x"),
            ("LAYERLIFT_DIGEST", "x"),
            ("LAYERLIFT_VERSION", "x"),
            ("LAYERLIFT_SOMETHING_ELSE", "x"),
            ("LAYER_LIFT_SCOPE", "x"),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            unknown(&environment),
            [
                "LAYERLIFT_CACHEREPO: did you mean LAYERLIFT_CACHE_REPO?",
                "LAYERLIFT_SOMETHING_ELSE",
                "LAYERLIFT_STRATEGIE: did you mean LAYERLIFT_STRATEGY?",
            ]
        );
    }

    #[test]
    fn distances() {
        for (one, other, expected) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(one.as_bytes(), other.as_bytes()), expected, "{one} {other}");
            assert_eq!(distance(other.as_bytes(), one.as_bytes()), expected, "{other} {one}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let environment: Environment = [
            ("CI_COMMIT_BRANCH", "a\u{1b}[2Jb"),
            ("CI_REGISTRY_PASSWORD", "hunter2"),
            ("CI_JOB_TOKEN", "hunter2"),
            ("GITHUB_TOKEN", "hunter2"),
            ("DOCKER_AUTH_CONFIG", "hunter2"),
            ("HTTPS_PROXY", "http://me:hunter2@proxy:3128"),
            ("all_proxy", "me:hunt@er2@proxy"),
            ("NO_PROXY", "localhost,.lan"),
            ("http_proxy", ""),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            of_ci(&environment),
            ["CI_COMMIT_BRANCH=a [2Jb", "CI_REGISTRY_PASSWORD is set", "GITHUB_TOKEN is set"]
        );
        let expected =
            ["HTTPS_PROXY=http://***@proxy:3128", "all_proxy=***@proxy", "NO_PROXY=localhost,.lan"];
        assert_eq!(proxies(&environment), expected);
    }
}
