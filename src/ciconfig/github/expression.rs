//! `${{ ... }}` (GitHub's docs, "Evaluate expressions in workflows and actions").
//!
//! A value that only GitHub knows is an unknown of its own name: `secrets.TOKEN`. What is computed from it is as unknown,
//! but for texts that it is put into.

use super::contexts::Contexts;
use crate::base::yaml::{self, Node};
use crate::ciconfig::{LONGEST_VALUE, unknown};

/// Brackets in brackets are followed this far.
const DEEPEST: usize = 50;

/// A value with all expressions in it replaced. A text that is one expression alone becomes what that is: a list, a flag.
pub(super) fn evaluated(node: &Node, contexts: &Contexts<'_>) -> Node {
    match node {
        Node::Text(whole) => match alone(whole) {
            Some(expression) => evaluate(expression, contexts),
            None => Node::Text(text(whole, contexts)),
        },
        Node::List(items) => Node::List(items.iter().map(|item| evaluated(item, contexts)).collect()),
        Node::Map(entries) => {
            Node::Map(entries.iter().map(|(key, node)| (key.clone(), evaluated(node, contexts))).collect())
        }
        other => other.clone(),
    }
}

/// A text with all expressions in it replaced by texts.
pub(super) fn text(whole: &str, contexts: &Contexts<'_>) -> String {
    let mut replaced = String::new();
    let mut rest = whole;
    while let Some((before, after)) = rest.split_once("${{") {
        let Some(end) = end(after).filter(|_| replaced.len() <= LONGEST_VALUE) else { break };
        replaced += before;
        replaced += &shown(&evaluate(&after[..end], contexts));
        rest = &after[end + "}}".len()..];
    }
    replaced + rest
}

/// Whether an `if:` holds; `None` where that hangs on what is unknown.
pub(super) fn holds(condition: &str, contexts: &Contexts<'_>) -> Option<bool> {
    let value = match (alone(condition), condition.contains("${{")) {
        (Some(expression), _) => evaluate(expression, contexts),
        (None, false) => evaluate(condition, contexts),
        (None, true) => Node::Text(text(condition, contexts)),
    };
    truth(&value)
}

/// The expression that is all of a text.
fn alone(text: &str) -> Option<&str> {
    let inside = text.trim().strip_prefix("${{")?;
    let end = end(inside)?;
    inside[end..].trim_start_matches("}}").is_empty().then(|| &inside[..end])
}

/// Where `}}` ends an expression: not in a string.
fn end(text: &str) -> Option<usize> {
    let mut quoted = false;
    let ends = |(at, it): &(usize, char)| {
        quoted ^= *it == '\'';
        !quoted && text[*at..].starts_with("}}")
    };
    text.char_indices().find(ends).map(|(at, _)| at)
}

/// The value of an expression. One that is not understood is unknown by its own text.
fn evaluate(expression: &str, contexts: &Contexts<'_>) -> Node {
    let understood = || {
        let tokens = tokens(expression)?;
        let mut parser = Parser { tokens: &tokens, contexts, depth: 0 };
        let value = parser.either()?;
        parser.tokens.is_empty().then_some(value)
    };
    understood().unwrap_or_else(|| Node::Text(unknown::unknown(expression.trim())))
}

/// A value as text.
pub(super) fn shown(node: &Node) -> String {
    match node {
        Node::Null => String::new(),
        Node::List(_) => "Array".to_owned(),
        Node::Map(_) => "Object".to_owned(),
        other => other.scalar().unwrap_or_default(),
    }
}

fn is_unknown(node: &Node) -> bool {
    matches!(node, Node::Text(text) if unknown::is_unknown(text))
}

fn truth(node: &Node) -> Option<bool> {
    match node {
        Node::Null => Some(false),
        Node::Bool(value) => Some(*value),
        Node::Number(text) => Some(text.parse::<f64>().is_ok_and(|it| it != 0.0)),
        Node::Text(text) if unknown::is_unknown(text) => None,
        Node::Text(text) => Some(!text.is_empty()),
        _ => Some(true),
    }
}

fn number(node: &Node) -> f64 {
    match node {
        Node::Null => 0.0,
        Node::Bool(value) => f64::from(u8::from(*value)),
        Node::Number(text) => text.parse().unwrap_or(f64::NAN),
        Node::Text(text) if text.trim().is_empty() => 0.0,
        Node::Text(text) => text.trim().parse().unwrap_or(f64::NAN),
        _ => f64::NAN,
    }
}

/// Equal as GitHub has it: texts without case, different kinds as numbers.
fn equal(left: &Node, right: &Node) -> bool {
    match (left, right) {
        (Node::Text(left), Node::Text(right)) => left.eq_ignore_ascii_case(right),
        (Node::Null, Node::Null) => true,
        (Node::List(_) | Node::Map(_), _) | (_, Node::List(_) | Node::Map(_)) => left == right,
        #[expect(clippy::float_cmp, reason = "what GitHub does")]
        _ => number(left) == number(right),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Symbol(&'static str),
    Name(String),
    Literal(Node),
}

/// Longest first.
const SYMBOLS: [&str; 15] = ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ".", ","];

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            // `''` is one quote.
            let mut literal = String::new();
            let mut inside = &rest[1..];
            loop {
                let (part, after) = inside.split_once('\'')?;
                literal += part;
                match after.strip_prefix('\'') {
                    Some(after) => {
                        literal.push('\'');
                        inside = after;
                    }
                    None => {
                        rest = after;
                        break;
                    }
                }
            }
            tokens.push(Token::Literal(Node::Text(literal)));
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|it| rest.starts_with(it)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else if first.is_ascii_digit() || first == '-' {
            let length = rest.find(|it: char| !it.is_ascii_alphanumeric() && !"+-.".contains(it));
            let (digits, after) = rest.split_at(length.unwrap_or(rest.len()));
            digits.parse::<f64>().ok()?;
            tokens.push(Token::Literal(Node::Number(digits.to_owned())));
            rest = after;
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_' && it != '-');
            let (name, after) = rest.split_at(length.unwrap_or(rest.len()));
            tokens.push(match name {
                "true" => Token::Literal(Node::Bool(true)),
                "false" => Token::Literal(Node::Bool(false)),
                "null" => Token::Literal(Node::Null),
                _ => Token::Name(name.to_owned()),
            });
            rest = after;
        } else {
            return None;
        }
        rest = rest.trim_start();
    }
    Some(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    contexts: &'a Contexts<'a>,
    depth: usize,
}

impl Parser<'_> {
    fn eat(&mut self, wanted: &'static str) -> bool {
        let found = self.tokens.first() == Some(&Token::Symbol(wanted));
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn name(&mut self) -> Option<String> {
        let (Token::Name(name), rest) = self.tokens.split_first()? else { return None };
        self.tokens = rest;
        Some(name.clone())
    }

    fn either(&mut self) -> Option<Node> {
        let mut left = self.both()?;
        while self.eat("||") {
            let right = self.both()?;
            // The first that holds; as unknown as the first of which it is not known.
            left = if truth(&left) == Some(false) { right } else { left };
        }
        Some(left)
    }

    fn both(&mut self) -> Option<Node> {
        let mut left = self.comparison()?;
        while self.eat("&&") {
            let right = self.comparison()?;
            left = match (truth(&left), truth(&right)) {
                (Some(true), _) => right,
                // Whatever the left is, this does not hold.
                (None, Some(false)) => right,
                _ => left,
            };
        }
        Some(left)
    }

    fn comparison(&mut self) -> Option<Node> {
        let mut left = self.negation()?;
        while let Some(operator) = ["==", "!=", "<=", ">=", "<", ">"].into_iter().find(|it| self.eat(it)) {
            let right = self.negation()?;
            if is_unknown(&left) {
                continue;
            }
            if is_unknown(&right) {
                left = right;
                continue;
            }
            left = Node::Bool(match operator {
                "==" => equal(&left, &right),
                "!=" => !equal(&left, &right),
                "<=" => number(&left) <= number(&right),
                ">=" => number(&left) >= number(&right),
                "<" => number(&left) < number(&right),
                _ => number(&left) > number(&right),
            });
        }
        Some(left)
    }

    fn negation(&mut self) -> Option<Node> {
        if self.eat("!") {
            let value = self.negation()?;
            return Some(truth(&value).map_or(value, |it| Node::Bool(!it)));
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let value = self.value();
        self.depth -= 1;
        value
    }

    fn value(&mut self) -> Option<Node> {
        let mut value = if self.eat("(") {
            let inside = self.either()?;
            self.eat(")").then_some(inside)?
        } else if let Some((Token::Literal(literal), rest)) = self.tokens.split_first() {
            self.tokens = rest;
            literal.clone()
        } else {
            let name = self.name()?;
            if self.eat("(") {
                let mut arguments = Vec::new();
                while !self.eat(")") {
                    arguments.push(self.either()?);
                    let more = self.eat(",");
                    if !more && self.tokens.first() != Some(&Token::Symbol(")")) {
                        return None;
                    }
                }
                call(&name, &arguments)?
            } else {
                let mut path = vec![name];
                while let Some(key) = self.key()? {
                    path.push(shown(&key));
                }
                return Some(self.contexts.get(&path));
            }
        };
        while let Some(key) = self.key()? {
            value = match (&value, &key) {
                (Node::List(items), Node::Number(index)) => index
                    .parse()
                    .ok()
                    .and_then(|index: usize| items.get(index))
                    .cloned()
                    .unwrap_or(Node::Null),
                (value, _) if is_unknown(value) => value.clone(),
                (value, key) => value.get(&shown(key)).cloned().unwrap_or(Node::Null),
            };
        }
        Some(value)
    }

    /// `.name` or `[...]`; nothing where neither follows.
    fn key(&mut self) -> Option<Option<Node>> {
        if self.eat(".") {
            return Some(Some(Node::Text(self.name()?)));
        }
        if self.eat("[") {
            let key = self.either()?;
            return self.eat("]").then_some(Some(key));
        }
        Some(None)
    }
}

/// The value of a function; `None` for those that are not known here, such as `hashFiles`.
fn call(name: &str, arguments: &[Node]) -> Option<Node> {
    if let Some(unknown) =
        arguments.iter().find(|it| is_unknown(it)).filter(|_| !name.eq_ignore_ascii_case("format"))
    {
        return Some(unknown.clone());
    }
    let text = |index: usize| arguments.get(index).map(shown).unwrap_or_default();
    let lower = |index: usize| text(index).to_ascii_lowercase();
    Some(match (name.to_ascii_lowercase().as_str(), arguments) {
        ("success" | "always", []) => Node::Bool(true),
        ("failure" | "cancelled", []) => Node::Bool(false),
        ("contains", [Node::List(items), wanted]) => Node::Bool(items.iter().any(|item| equal(item, wanted))),
        ("contains", [_, _]) => Node::Bool(lower(0).contains(&lower(1))),
        ("startswith", [_, _]) => Node::Bool(lower(0).starts_with(&lower(1))),
        ("endswith", [_, _]) => Node::Bool(lower(0).ends_with(&lower(1))),
        ("join", [Node::List(items), rest @ ..]) => {
            let separator = rest.first().map_or(",".to_owned(), shown);
            Node::Text(items.iter().map(shown).collect::<Vec<_>>().join(&separator))
        }
        ("join", [single, ..]) => Node::Text(shown(single)),
        ("format", [_, values @ ..]) => Node::Text(format(&text(0), values)?),
        // JSON is a part of YAML.
        ("fromjson", [_]) => yaml::documents(&text(0)).ok()?.into_iter().next()?,
        _ => return None,
    })
}

/// `{0}` replaced; `{{` and `}}` are brackets.
fn format(template: &str, values: &[Node]) -> Option<String> {
    let mut formatted = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        formatted += &rest[..at];
        let (bracket, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(bracket) {
            formatted += bracket;
            rest = after;
            continue;
        }
        let (index, after) = after.split_once('}')?;
        formatted += &shown(values.get(index.trim().parse::<usize>().ok()?)?);
        rest = after;
        if formatted.len() > LONGEST_VALUE {
            return None;
        }
    }
    Some(formatted + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts<'a>(known: &'a std::collections::BTreeMap<String, String>) -> Contexts<'a> {
        let event = yaml::documents("{pull_request: {number: 7, head: {ref: x}}}").unwrap().remove(0);
        let matrix =
            yaml::documents("{os: [a, b], image: {name: api, port: 80}, on: true}").unwrap().remove(0);
        let mut contexts = Contexts::new(known, &[], event);
        contexts.set("matrix", matrix);
        contexts
    }

    fn value(whole: &str) -> String {
        let known = [("GITHUB_REF_NAME", "main"), ("GITHUB_REPOSITORY", "Octo/App"), ("GITHUB_HEAD_REF", "")];
        let known = known.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        unknown::shown(&text(whole, &contexts(&known)))
    }

    #[test]
    fn texts_are_filled_in() {
        for (written, expected) in [
            ("ghcr.io/${{ github.repository }}:${{github.ref_name}}", "ghcr.io/Octo/App:main"),
            ("${{ github.head_ref || github.ref_name }}", "main"),
            ("${{ github.ref_name == 'MAIN' && 'yes' || 'no' }}", "yes"),
            ("${{ format('{0}-{{{1}}}', matrix.image.name, matrix.image['port']) }}", "api-{80}"),
            ("${{ github.event.pull_request.number }}/${{ github.event.release.name }}", "7/"),
            (
                "${{ join(matrix.os, '+') }} ${{ fromJSON('[1, 2]')[1] }} ${{ contains(matrix.os, 'b') }}",
                "a+b 2 true",
            ),
            ("${{ !matrix.on }} ${{ matrix.none == '' }} ${{ (1 < 2) && 3 }}", "false true 3"),
            ("x ${{ secrets.TOKEN }}", "x ${{ secrets.TOKEN }}"),
            (
                "${{ vars.IMAGE || 'app' }} ${{ format('r/{0}', vars.IMAGE) }}",
                "${{ vars.IMAGE }} r/${{ vars.IMAGE }}",
            ),
            ("${{ hashFiles('**/x') }} ${{ matrix. }}", "${{ hashFiles('**/x') }} ${{ matrix. }}"),
            ("${{ 'it''s }}' }} ${{ never ends", "it's }} ${{ never ends"),
        ] {
            assert_eq!(value(written), expected, "{written}");
        }
    }

    #[test]
    fn conditions_hold_or_not_or_nobody_knows() {
        let known = [("GITHUB_REF_NAME".to_owned(), "main".to_owned())].into();
        let contexts = contexts(&known);
        for (condition, expected) in [
            ("github.ref_name == 'main'", Some(true)),
            ("${{ failure() }}", Some(false)),
            ("always() && !cancelled()", Some(true)),
            ("vars.X == 'a'", None),
            ("vars.X == 'a' && github.ref_name == 'x'", Some(false)),
            ("!vars.X", None),
            ("startsWith(github.ref_name, 'MA') && matrix.on", Some(true)),
        ] {
            assert_eq!(holds(condition, &contexts), expected, "{condition}");
        }
    }

    #[test]
    fn what_is_deep_is_not_followed() {
        assert!(value(&format!("${{{{ {}1{} }}}}", "(".repeat(9000), ")".repeat(9000))).starts_with("${{ ("));
    }
}
