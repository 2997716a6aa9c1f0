//! Changes in the text of a JSON object that leave everything else as it is, byte for byte: order, spaces, numbers that no
//! other program would write so.
//!
//! A member is put in at the begin of its object, so that taking it out again gives the bytes that were there. Of a key
//! that stands twice the last one counts, as for Go's decoder.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::value::RawValue;

/// An object's members: where in the text each value stands.
type Members = HashMap<String, Range<usize>>;

/// The text is no JSON object, or a part that must be an object is none.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Invalid {
    reason: String,
}

/// The members of the object that stands in a part of the text.
fn members(text: &str, part: Range<usize>) -> Result<Members, Invalid> {
    let found: HashMap<String, &RawValue> =
        serde_json::from_str(&text[part]).map_err(|error| Invalid { reason: error.to_string() })?;
    // The values are slices of the text itself.
    let place = |value: &RawValue| {
        let begin = value.get().as_ptr().addr() - text.as_ptr().addr();
        begin..begin + value.get().len()
    };
    Ok(found.into_iter().map(|(key, value)| (key, place(value))).collect())
}

/// Where the value behind a path of keys stands. `None`: there is no such member.
fn find(text: &str, path: &[&str]) -> Result<Option<Range<usize>>, Invalid> {
    let begin = text.len() - text.trim_start().len();
    let mut part = begin..text.trim_end().len().max(begin);
    members(text, part.clone())?;
    for key in path {
        match members(text, part)?.remove(*key) {
            Some(next) => part = next,
            None => return Ok(None),
        }
    }
    Ok(Some(part))
}

/// The text of the value behind a path of keys.
pub fn get<'a>(text: &'a str, path: &[&str]) -> Result<Option<&'a str>, Invalid> {
    Ok(find(text, path)?.map(|part| &text[part]))
}

/// The text with another value behind a path of two keys. `value` is JSON.
pub fn set(text: &str, [outer, inner]: [&str; 2], value: &str) -> Result<String, Invalid> {
    if let Some(place) = find(text, &[outer, inner])? {
        return Ok(replaced(text, place, value));
    }
    if let Some(object) = find(text, &[outer])? {
        return Ok(with_member(text, object, inner, value));
    }
    let all = find(text, &[])?.unwrap_or(0..text.len());
    Ok(with_member(text, all, outer, &format!("{{{inner:?}: {value}}}")))
}

/// The text without the member behind a path of keys; itself, if it has none.
pub fn remove(text: &str, path: &[&str]) -> Result<String, Invalid> {
    let Some((key, parents)) = path.split_last() else { return Ok(text.to_owned()) };
    let (Some(object), Some(value)) = (find(text, parents)?, find(text, path)?) else {
        return Ok(text.to_owned());
    };
    // The key's own text ends before the colon; nothing but spaces is between them.
    let before_colon = text[..value.start].trim_end().trim_end_matches(':').trim_end();
    let quoted = format!("{key:?}");
    let Some(key_begin) = before_colon.strip_suffix(&quoted).map(str::len) else {
        return Err(Invalid { reason: format!("the key {quoted} is written in an unusual way") });
    };
    let after = &text[value.end..object.end];
    let is_first = text[object.start + 1..key_begin].trim().is_empty();
    let part = if is_first {
        let comma = after.trim_start().starts_with(',').then(|| after.find(',')).flatten();
        object.start + 1..value.end + comma.map_or(0, |at| at + 1)
    } else {
        text[..key_begin].trim_end().len() - 1..value.end
    };
    Ok(replaced(text, part, ""))
}

/// Puts a member in at the begin of an object, set off as its first member is.
fn with_member(text: &str, object: Range<usize>, key: &str, value: &str) -> String {
    let begin = object.start + 1;
    let inside = &text[begin..object.end - 1];
    let spaces = &inside[..inside.len() - inside.trim_start().len()];
    let is_empty = inside.trim().is_empty();
    let (spaces, comma) = if is_empty { ("", "") } else { (spaces, ",") };
    replaced(text, begin..begin, &format!("{spaces}{key:?}: {value}{comma}"))
}

fn replaced(text: &str, part: Range<usize>, with: &str) -> String {
    format!("{}{with}{}", &text[..part.start], &text[part.end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: [&str; 2] = ["aliases", "builder"];

    #[test]
    fn a_member_goes_in_and_out_without_a_trace() {
        for (text, with) in [
            ("{}", r#"{"aliases": {"builder": "x"}}"#),
            ("{}\n", "{\"aliases\": {\"builder\": \"x\"}}\n"),
            ("{\n}", "{\"aliases\": {\"builder\": \"x\"}\n}"),
            (r#"{"a":1.50}"#, r#"{"aliases": {"builder": "x"},"a":1.50}"#),
            ("{\n\t\"a\": {}\n}\n", "{\n\t\"aliases\": {\"builder\": \"x\"},\n\t\"a\": {}\n}\n"),
            ("  {\n  \"a\" : [ 1,2 ]}", "  {\n  \"aliases\": {\"builder\": \"x\"},\n  \"a\" : [ 1,2 ]}"),
        ] {
            let set = set(text, PATH, "\"x\"").expect(text);
            assert_eq!(set, with);
            assert_eq!(get(&set, &PATH).expect(text), Some("\"x\""));
            assert_eq!(remove(&set, &PATH[..1]).expect(text), text);
        }
        for (text, with) in [
            (r#"{"b":2,"aliases":{}}"#, r#"{"b":2,"aliases":{"builder": "x"}}"#),
            (
                "{\"aliases\": {\n\t\t\"c\": \"d\"\n\t}}",
                "{\"aliases\": {\n\t\t\"builder\": \"x\",\n\t\t\"c\": \"d\"\n\t}}",
            ),
        ] {
            let set = set(text, PATH, "\"x\"").expect(text);
            assert_eq!(set, with);
            assert_eq!(remove(&set, &PATH).expect(text), text);
        }
    }

    #[test]
    fn a_value_is_replaced_where_it_stands() {
        let text = r#"{ "aliases" : { "z":1, "builder":"buildx" } , "q":"\u00e4" }"#;
        let set = set(text, PATH, "\"x\"").expect("set");
        assert_eq!(set, r#"{ "aliases" : { "z":1, "builder":"x" } , "q":"\u00e4" }"#);
        assert_eq!(super::set(&set, PATH, "\"buildx\"").expect("set"), text);
    }

    #[test]
    fn a_member_is_taken_out_wherever_it_stands() {
        for (text, without) in [
            (r#"{"aliases":{"builder":"x","c":1}}"#, r#"{"aliases":{"c":1}}"#),
            (r#"{"aliases":{"c":1 , "builder" : "x"}}"#, r#"{"aliases":{"c":1 }}"#),
            (r#"{"aliases":{"c":",", "builder":"x", "d":2}}"#, r#"{"aliases":{"c":",", "d":2}}"#),
            (r#"{"aliases":{"builder":"x"}}"#, r#"{"aliases":{}}"#),
            (r#"{"other":{}}"#, r#"{"other":{}}"#),
        ] {
            assert_eq!(remove(text, &PATH).expect(text), without);
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "{", "{\"a\":}", "{} x", r#"{"aliases": 3}"#] {
            assert!(set(text, PATH, "\"x\"").is_err(), "{text}");
        }
        let error = set("{\n  \"a\": tru\n}", PATH, "1").expect_err("broken").to_string();
        assert!(error.contains("line 3"), "{error}");
    }
}
