//! The one door to YAML: bytes in, a typed value out, errors with line and column.

use serde::de::DeserializeOwned;

/// Why a YAML text was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
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
    serde_yaml::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
        let whole = error.to_string();
        let message = whole.split(" at line ").next().unwrap_or(&whole).to_owned();
        Error { line, column, message }
    })
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
}
