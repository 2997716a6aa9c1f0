//! The one door to YAML: text in, a typed value or a tree out, errors with line and column.

use serde::de::DeserializeOwned;

/// Why a YAML text was refused.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("line {line}, column {column}: {message}")]
pub struct Error {
    /// Counted from 1; 0 when the parser could not tell.
    pub line: usize,
    /// Counted from 1; 0 when the parser could not tell.
    pub column: usize,
    /// What is wrong, without the place.
    pub message: String,
}

/// Reads one document. A byte order mark is dropped first: libyaml takes it for a second document.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_yaml::from_str(text).map_err(refused)
}

/// A document of which little is known beforehand: the files of CI systems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Nothing, or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it is printed.
    Number(String),
    /// A text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in its order. Keys that are no texts are printed.
    Map(Vec<(String, Node)>),
    /// A value with a tag of its own: `!reference`.
    Tagged(String, Box<Node>),
}

impl Node {
    /// The value of a key; `None` where this is no mapping, or the key is absent.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The entries of a mapping; none of anything else.
    pub fn entries(&self) -> &[(String, Node)] {
        match self {
            Node::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; a single value counts as a sequence of itself, nothing as an empty one.
    pub fn items(&self) -> &[Node] {
        match self {
            Node::List(items) => items,
            Node::Null => &[],
            other => std::slice::from_ref(other),
        }
    }

    /// A scalar as text; `None` of `null` and of collections.
    pub fn scalar(&self) -> Option<String> {
        match self {
            Node::Bool(value) => Some(value.to_string()),
            Node::Number(text) | Node::Text(text) => Some(text.clone()),
            Node::Null | Node::List(_) | Node::Map(_) | Node::Tagged(..) => None,
        }
    }
}

/// Reads all documents of a text as trees, with aliases resolved and merge keys (`<<`) applied.
pub fn documents(text: &str) -> Result<Vec<Node>, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let read = |document| {
        let mut value = <serde_yaml::Value as serde::Deserialize>::deserialize(document)?;
        value.apply_merge()?;
        Ok(node(value))
    };
    serde_yaml::Deserializer::from_str(text).map(read).collect::<Result<_, _>>().map_err(refused)
}

fn node(value: serde_yaml::Value) -> Node {
    use serde_yaml::Value;
    match value {
        Value::Null => Node::Null,
        Value::Bool(value) => Node::Bool(value),
        Value::Number(number) => Node::Number(number.to_string()),
        Value::String(text) => Node::Text(text),
        Value::Sequence(items) => Node::List(items.into_iter().map(node).collect()),
        Value::Mapping(entries) => {
            let key = |key| node(key).scalar().unwrap_or_default();
            Node::Map(entries.into_iter().map(|(name, value)| (key(name), node(value))).collect())
        }
        Value::Tagged(tagged) => Node::Tagged(tagged.tag.to_string(), Box::new(node(tagged.value))),
    }
}

fn refused(error: serde_yaml::Error) -> Error {
    let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
    let whole = error.to_string();
    let message = whole.split(" at line ").next().unwrap_or(&whole).to_owned();
    Error { line, column, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        strict: bool,
    }

    #[test]
    fn reads_with_a_byte_order_mark() {
        assert_eq!(parse::<Settings>("\u{feff}strict: true\n"), Ok(Settings { strict: true }));
    }

    #[test]
    fn names_line_and_column() {
        let error = parse::<Settings>("strict: true\nstrikt: 1\n").expect_err("unknown key");
        assert_eq!((error.line, error.column), (2, 1));
        assert!(error.message.contains("unknown field `strikt`"), "{}", error.message);
    }

    #[test]
    fn trees_keep_tags_order_and_merged_keys() {
        let text = "a: &a {x: 1, y: two}\nb:\n  <<: *a\n  y: 3.10\nc: !reference [a, x]\n---\ntrue: ~\n";
        let read = documents(text).expect("valid");
        assert_eq!(read.len(), 2);
        let b = read[0].get("b").expect("there");
        assert_eq!(
            (b.get("x").and_then(Node::scalar), b.get("y").and_then(Node::scalar)),
            (Some("1".into()), Some("3.1".into()))
        );
        let Some(Node::Tagged(tag, value)) = read[0].get("c") else { panic!("{read:?}") };
        assert_eq!((tag.as_str(), value.items().len()), ("!reference", 2));
        assert_eq!(read[1], Node::Map(vec![("true".into(), Node::Null)]));
        assert!(documents("a: [1\nb").expect_err("open list").line > 1);
    }
}
