//! What a registry's `WWW-Authenticate` headers ask for (RFC 9110, section 11; the distribution project's token spec).
//!
//! Registries send one challenge or several, in one header or in several, in any order. Bearer wins over Basic: where
//! both are offered, Basic is often the password of a web page.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// More than that no registry sends.
const MOST_CHALLENGES: usize = 16;

/// How a host wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// Address of the token server.
        realm: String,
        /// Name that the token server knows the registry by; may be empty.
        service: String,
        /// Scopes that the refused request needs, in the registry's view.
        scopes: Vec<String>,
    },
}

/// The challenge that we answer, if there is one that we can.
pub(super) fn best(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    for (scheme, parameters) in values.flat_map(split).take(MOST_CHALLENGES) {
        let find = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            if let Some(realm) = find("realm") {
                let scopes = find("scope").unwrap_or_default();
                let scopes = scopes.split_whitespace().map(str::to_owned).collect();
                return Some(Challenge::Bearer {
                    realm,
                    service: find("service").unwrap_or_default(),
                    scopes,
                });
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

type Parameters = Vec<(String, String)>;

/// Splits one header value into challenges. A word followed by a space begins a challenge, a word followed by `=` is a
/// parameter of the present one.
fn split(header: &str) -> Vec<(String, Parameters)> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(['=', ' ', '\t', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return challenges;
        }
        let after = after.trim_start();
        let Some(value) = after.strip_prefix('=') else {
            challenges.push((word.to_owned(), Vec::new()));
            rest = after;
            continue;
        };
        let (value, after) = read_value(value.trim_start());
        if let Some((_, parameters)) = challenges.last_mut() {
            parameters.push((word.to_owned(), value));
        }
        rest = after;
    }
}

/// A token, or a quoted string with its backslashes removed; and what follows it.
fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().expect("header value"));
        }
        best(&headers)
    }

    fn bearer(realm: &str, service: &str, scopes: &[&str]) -> Option<Challenge> {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Some(Challenge::Bearer { realm: realm.to_owned(), service: service.to_owned(), scopes })
    }

    #[test]
    fn challenges_are_found_in_every_form() {
        let hub = r#"Bearer realm="https://a.example/token",service="a b",scope="repository:x/y:pull,push""#;
        let cases: &[(&str, &[&str], Option<Challenge>)] = &[
            ("nothing", &[], None),
            ("basic", &[r#"Basic realm="Registry""#], Some(Challenge::Basic)),
            ("hub", &[hub], bearer("https://a.example/token", "a b", &["repository:x/y:pull,push"])),
            (
                "two scopes",
                &[r#"bearer realm="https://a",scope="repository:a:pull repository:b:pull""#],
                bearer("https://a", "", &["repository:a:pull", "repository:b:pull"]),
            ),
            ("two headers", &["Basic realm=x", r#"Bearer realm="https://a""#], bearer("https://a", "", &[])),
            (
                "one header",
                &[r#"Basic realm="x, y", Bearer realm = "https://a""#],
                bearer("https://a", "", &[]),
            ),
            ("escapes", &[r#"Bearer realm="https://a/\"q\"""#], bearer("https://a/\"q\"", "", &[])),
            ("unquoted", &["Bearer realm=https://a,service=s"], bearer("https://a", "s", &[])),
            ("without realm", &["Bearer service=s", "Basic"], Some(Challenge::Basic)),
            ("unknown", &["Negotiate", "NTLM abc=="], None),
            ("open quote", &[r#"Bearer realm="https://a"#], bearer("https://a", "", &[])),
        ];
        for (name, headers, expected) in cases {
            assert_eq!(&read(headers), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_to_its_end(text in "[ -~]{0,200}") {
            prop_assert!(split(&text).len() <= text.len());
        }
    }
}
