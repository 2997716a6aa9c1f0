//! Words -> texts: variables replaced, unquoted ones split at blanks (POSIX, 2.6.2 and 2.6.5).

use std::collections::BTreeMap;

use super::lex::{Operation, Piece, Word};
use crate::ciconfig::unknown::{self, is_unknown};

/// The longest text that a word becomes; Linux gives no program a longer one (`MAX_ARG_STRLEN`). Without it, some lines of
/// `X=$X$X` are more than any memory.
const LONGEST: usize = 128 << 10;

/// Variables and their values; a value may hold what is unknown.
pub(super) type Variables = BTreeMap<String, String>;

/// What `$@` stands for where that is not known.
pub(super) fn unknown_arguments() -> Vec<String> {
    vec![unknown::unknown("$@")]
}

/// The texts that a word becomes: none, one, or several. `arguments` are those of the script, `"$@"`.
pub(super) fn fields(word: &Word, variables: &Variables, arguments: &[String]) -> Vec<String> {
    // In a word with anything else they are not told apart.
    let is_empty = |piece: &Piece| matches!(piece, Piece::Text { text, .. } if text.is_empty());
    if word.contains(&Piece::Arguments) && word.iter().all(|it| *it == Piece::Arguments || is_empty(it)) {
        let quoted = word.len() > 1;
        let split = arguments.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned);
        return if quoted { arguments.to_vec() } else { split.collect() };
    }
    let mut fields: Vec<String> = Vec::new();
    let mut current: Option<String> = word.is_empty().then(String::new);
    let mut length = 0;
    for piece in word {
        let (text, splits) = expanded(piece, variables);
        length += text.len();
        if length > LONGEST {
            return vec![too_long()];
        }
        if !splits {
            // An unquoted variable that is empty is nothing; quotes make it an empty text.
            if !text.is_empty() || matches!(piece, Piece::Text { .. } | Piece::Variable { quoted: true, .. })
            {
                current.get_or_insert_default().push_str(&text);
            }
            continue;
        }
        if text.starts_with(char::is_whitespace) {
            fields.extend(current.take());
        }
        let ends = text.ends_with(char::is_whitespace);
        let mut parts = text.split_whitespace().peekable();
        while let Some(part) = parts.next() {
            current.get_or_insert_default().push_str(part);
            if parts.peek().is_some() || ends {
                fields.extend(current.take());
            }
        }
    }
    fields.extend(current);
    fields
}

fn too_long() -> String {
    unknown::unknown("$(a text that is too long)")
}

/// The one text that a word becomes where nothing is split: the value of an assignment.
pub(super) fn text(word: &Word, variables: &Variables) -> String {
    let mut whole = String::new();
    for piece in word {
        whole += &expanded(piece, variables).0;
        if whole.len() > LONGEST {
            return too_long();
        }
    }
    whole
}

/// A piece's text, and whether it is split at blanks.
fn expanded(piece: &Piece, variables: &Variables) -> (String, bool) {
    match piece {
        Piece::Text { text, .. } => (text.clone(), false),
        Piece::Opaque { text } => (unknown::unknown(text), false),
        Piece::Arguments => (unknown_arguments().concat(), false),
        Piece::Variable { name, operation, quoted } => {
            let value = apply(name, operation, variables);
            let splits = !quoted && !is_unknown(&value);
            (value, splits)
        }
    }
}

fn apply(name: &str, operation: &Operation, variables: &Variables) -> String {
    let value = variables.get(name);
    let known = |cut: &dyn Fn(&str) -> String| match value {
        Some(value) if !is_unknown(value) => cut(value),
        Some(value) => value.clone(),
        None => unknown::unknown(name),
    };
    match operation {
        Operation::Plain => known(&str::to_owned),
        Operation::Lower => known(&str::to_lowercase),
        Operation::Upper => known(&str::to_uppercase),
        Operation::Substring { offset, length } => {
            known(&|value| value.chars().skip(*offset).take(length.unwrap_or(usize::MAX)).collect())
        }
        Operation::WithoutPrefix(prefix) => {
            known(&|value| value.strip_prefix(prefix.as_str()).unwrap_or(value).to_owned())
        }
        Operation::WithoutSuffix(suffix) => {
            known(&|value| value.strip_suffix(suffix.as_str()).unwrap_or(value).to_owned())
        }
        Operation::Default { word, empty_counts } => match value {
            Some(value) if !(value.is_empty() && *empty_counts) => value.clone(),
            _ => text(word, variables),
        },
        Operation::Instead { word, empty_counts } => match value {
            Some(value) if !(value.is_empty() && *empty_counts) => text(word, variables),
            _ => String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::lex::{Token, tokens};
    use super::*;

    fn expand(script: &str) -> Vec<String> {
        let variables = [("A", "one two"), ("E", ""), ("SHA", "0123456789"), ("U", "Me/App")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let word = |token| match token {
            Token::Word(word, _) => word,
            other => panic!("{other:?}"),
        };
        let all = tokens(script).into_iter().flat_map(|token| fields(&word(token), &variables, &[]));
        all.map(|text| unknown::shown(&text)).collect()
    }

    #[test]
    fn as_a_shell_does() {
        assert_eq!(expand("x$A \"x$A\""), ["xone", "two", "xone two"]);
        assert_eq!(expand("$E \"$E\" '' a$E"), ["", "", "a"]);
        assert_eq!(
            expand("${SHA::7} ${SHA:8} ${U,,} ${U#Me/} ${U%App}"),
            ["0123456", "89", "me/app", "App", "Me/"]
        );
        assert_eq!(expand("${E:-x} ${E-x}y ${N:-$SHA} ${A:+yes}${N:+no}"), ["x", "y", "0123456789", "yes"]);
        assert_eq!(expand("r/${N}:$(git log)"), ["r/$N:$(git log)"]);
    }

    #[test]
    fn a_hostile_text_ends() {
        assert_eq!(expand(&"$SHA".repeat(20_000)), ["$(a text that is too long)"]);
        let nested = format!("{}x{}", "${N:-".repeat(20_000), "}".repeat(20_000));
        assert!(expand(&nested)[0].starts_with("${N:-"));
    }
}
