//! Parser directives: `# syntax=`, `# escape=`, `# check=` at the very top.
//!
//! BuildKit reads them twice, with different eyes (`parser/directives.go`, `parser/parser.go`): the frontend's name is
//! looked for after a shebang line too, and in `//` and JSON form; the parser itself skips leading blanks, but stops at a
//! shebang. Both stop at the first line that is no directive.

use super::error::{ParseError, ParseFault};
use super::line::{Lines, trim_ending};

/// What the directives say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directives {
    /// The frontend image.
    pub(super) syntax: Option<String>,
    /// `\`, or a backtick.
    pub(super) escape: char,
}

/// Reads the directives of a file.
pub(super) fn read(text: &str) -> Result<Directives, ParseError> {
    let mut directives = Directives { syntax: syntax(text), escape: '\\' };
    let mut seen = Vec::new();
    let mut lines = Lines::new(text);
    while let Some((key, value)) =
        lines.raw()?.and_then(|line| directive(trim_ending(line).trim_start(), "#"))
    {
        let failed = |fault| ParseError {
            line: lines.number(),
            word: value.to_owned(),
            certain: directives.syntax.is_none(),
            fault,
        };
        if seen.contains(&key) {
            return Err(failed(ParseFault::RepeatedDirective(key)));
        }
        if key == "escape" {
            directives.escape = match value {
                "\\" => '\\',
                "`" => '`',
                other => return Err(failed(ParseFault::Escape(other.to_owned()))),
            };
        }
        seen.push(key);
    }
    Ok(directives)
}

fn syntax(text: &str) -> Option<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let body = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("#!") => rest,
        _ => text,
    };
    let in_comments = |comment: &str| {
        let value = body
            .lines()
            .map_while(|line| directive(line, comment))
            .find_map(|(key, value)| (key == "syntax").then_some(value))?;
        value.split(' ').next().map(str::to_owned)
    };
    in_comments("#").or_else(|| in_comments("//")).or_else(|| {
        let object: serde_json::Value = serde_json::from_str(body).ok()?;
        Some(object.get("syntax")?.as_str()?.to_owned())
    })
}

/// `# key = value` with a known key, in lower case.
fn directive<'a>(line: &'a str, comment: &str) -> Option<(String, &'a str)> {
    let (key, value) = line.strip_prefix(comment)?.trim_start().split_once('=')?;
    let (key, value) = (key.trim_end().to_ascii_lowercase(), value.trim());
    (["syntax", "escape", "check"].contains(&key.as_str()) && !value.is_empty()).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_of_a_file() {
        let cases = [
            ("none", "FROM a", None, '\\'),
            ("syntax", "# syntax=docker/dockerfile:1\nFROM a", Some("docker/dockerfile:1"), '\\'),
            ("spaces and case", "#   SYNTAX =  x/y  \r\nFROM a", Some("x/y"), '\\'),
            ("both", "# escape=`\n# syntax=x\n", Some("x"), '`'),
            ("after a comment", "# hello\n# syntax=x\n# escape=`", None, '\\'),
            ("after a blank line", "\n# syntax=x\n", None, '\\'),
            ("unknown key ends them", "# foo=bar\n# escape=`", None, '\\'),
            ("check is passed over", "# check=skip=all\n# escape=`", None, '`'),
            ("shebang hides only escape", "#!/x\n# syntax=x\n# escape=`", Some("x"), '\\'),
            ("slashes", "// syntax=x\n{}", Some("x"), '\\'),
            ("json", "{\"syntax\": \"x\"}", Some("x"), '\\'),
            ("byte order mark", "\u{feff}# syntax=x\n", Some("x"), '\\'),
            ("words after the image", "# syntax=x y=z\n", Some("x"), '\\'),
            ("leading blanks", "  # escape=`\n", None, '`'),
        ];
        for (name, text, syntax, escape) in cases {
            let expected = Directives { syntax: syntax.map(str::to_owned), escape };
            assert_eq!(read(text), Ok(expected), "{name}");
        }
    }

    #[test]
    fn bad_directives() {
        let fault = |text: &str| read(text).map_err(|error| (error.line, error.fault.to_string()));
        insta::assert_debug_snapshot!(fault("# escape=`\n# escape=`"), @r#"
        Err(
            (
                2,
                "the `escape` directive is given twice",
            ),
        )
        "#);
        assert!(fault("# escape=x").is_err());
    }
}
