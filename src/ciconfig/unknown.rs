//! What only CI knows, inside of a text: a name between two marks, until somebody gives its value.
//!
//! A variable that nobody has set, `${{ secrets.TOKEN }}` and `$(git describe)` all become marks. They travel through
//! scripts, variables and inputs as text does; what a build line still holds when it is found is what is missing.

use std::collections::BTreeSet;

/// Private-use characters, which no file of ours holds: [`without_marks`] takes them out of what is read.
pub(super) const OPEN: char = '\u{f000}';
/// Ends a mark.
pub(super) const CLOSE: char = '\u{f001}';

/// The text that stands for an unknown value of that name.
pub fn unknown(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// Whether a text holds anything unknown.
pub fn is_unknown(text: &str) -> bool {
    text.contains(OPEN)
}

/// The names of what is unknown in a text.
pub fn names(text: &str) -> BTreeSet<String> {
    text.split(OPEN).skip(1).filter_map(|rest| Some(rest.split_once(CLOSE)?.0.to_owned())).collect()
}

/// The text with every unknown value replaced by what `value` gives for its name; what it does not give stays unknown.
pub fn resolve(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut parts = text.split(OPEN);
    let mut resolved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let Some((name, rest)) = part.split_once(CLOSE) else { continue };
        resolved += &value(name).unwrap_or_else(|| unknown(name));
        resolved += rest;
    }
    resolved
}

/// A text in which only what is known was changed.
pub(super) fn outside_of_marks(text: &str, change: &dyn Fn(&str) -> String) -> String {
    let mut parts = text.split(OPEN);
    let mut changed = change(parts.next().unwrap_or_default());
    for part in parts {
        let Some((name, rest)) = part.split_once(CLOSE) else { continue };
        changed += &unknown(name);
        changed += &change(rest);
    }
    changed
}

/// The text for people: `$NAME`, `${{ github.actor }}`, `<< pipeline.id >>`, `$(date)`.
pub fn shown(text: &str) -> String {
    resolve(text, &|name| {
        Some(if name.starts_with(['$', '`']) {
            name.to_owned()
        } else if name.starts_with("pipeline.") {
            format!("<< {name} >>")
        } else if name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_') {
            format!("${name}")
        } else {
            format!("${{{{ {name} }}}}")
        })
    })
}

/// A text from outside, in which nothing can pass for a mark.
pub(super) fn without_marks(text: &str) -> String {
    text.replace([OPEN, CLOSE], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_replaced_or_stays() {
        let text = format!("a-{}-{}", unknown("TAG"), unknown("secrets.TOKEN"));
        assert_eq!(names(&text).into_iter().collect::<Vec<_>>(), ["TAG", "secrets.TOKEN"]);
        let resolved = resolve(&text, &|name| (name == "TAG").then(|| "v1".to_owned()));
        assert_eq!(shown(&resolved), "a-v1-${{ secrets.TOKEN }}");
        assert!(is_unknown(&resolved) && !is_unknown(&without_marks(&resolved)));
    }
}
