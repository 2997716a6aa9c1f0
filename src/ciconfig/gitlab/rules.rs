//! `rules:`: whether a job is in this pipeline, and the variables that its rule adds.
//!
//! The first rule whose `if` holds stands (GitLab's docs, "Specify when jobs run with rules"). `changes` and `exists`
//! are taken to hold: they are about commits and files that only the pipeline knows.

use regex_lite::Regex;

use super::variables::{self, Values, Variables};
use crate::base::yaml::Node;
use crate::ciconfig::unknown;

/// What the rules decided.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// What the rule adds.
    pub(super) variables: Variables,
    /// Why the job is not in this pipeline.
    pub(super) left_out: Option<String>,
    /// What could not be decided.
    pub(super) notes: Vec<String>,
}

/// Decides a job's rules. Without any it is in every pipeline.
pub(super) fn evaluate(rules: Option<&Node>, values: &Values) -> Decided {
    let mut decided = Decided::default();
    let Some(rules) = rules else { return decided };
    for rule in rules.items() {
        let condition = rule.get("if").and_then(Node::scalar);
        match condition.as_deref().map(|text| (text, holds(text, values))) {
            None | Some((_, Some(true))) => {}
            Some((_, Some(false))) => continue,
            Some((text, None)) => {
                decided
                    .notes
                    .push(format!("the rule `{text}` could not be decided, and is taken not to hold"));
                continue;
            }
        }
        if rule.get("when").and_then(Node::scalar).as_deref() == Some("never") {
            let why =
                condition.map_or("`when: never`".to_owned(), |text| format!("the rule `{text}`: never"));
            decided.left_out = Some(why);
        } else if let Some(added) = rule.get("variables") {
            decided.variables = variables::read(added);
        }
        return decided;
    }
    decided.left_out = Some("no rule of it holds".to_owned());
    decided
}

/// What `workflow: rules:` adds to every job.
pub(super) fn variables_of(workflow: Option<&Node>, values: &Values) -> Decided {
    let rules = workflow.and_then(|workflow| workflow.get("rules"));
    Decided { left_out: None, notes: Vec::new(), ..evaluate(rules, values) }
}

/// Whether a condition holds; `None` where it is not understood, or hangs on what is unknown.
///
/// Variables that are not set are `null`: those of a branch are absent in a merge request's pipeline, by intent.
fn holds(text: &str, values: &Values) -> Option<bool> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, values };
    let value = parser.either()?;
    parser.tokens.is_empty().then(|| value.truth())?
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Operator(&'static str),
    Variable(String),
    Text(String),
    Pattern(String),
    Null,
}

/// A value, `None` for `null`; or the outcome of a comparison.
#[derive(Debug, Clone)]
enum Value {
    Text(Option<String>),
    Pattern(String),
    Truth(bool),
}

impl Value {
    /// A text holds when it is there and not empty.
    fn truth(&self) -> Option<bool> {
        match self {
            Value::Truth(value) => Some(*value),
            Value::Text(Some(text)) if unknown::is_unknown(text) => None,
            Value::Text(text) => Some(text.as_ref().is_some_and(|text| !text.is_empty())),
            Value::Pattern(_) => None,
        }
    }
}

const OPERATORS: [&str; 8] = ["&&", "||", "==", "!=", "=~", "!~", "(", ")"];

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(operator) = OPERATORS.into_iter().find(|it| rest.starts_with(it)) {
            tokens.push(Token::Operator(operator));
            rest = &rest[operator.len()..];
        } else if first == '"' || first == '\'' {
            let (inside, after) = rest[1..].split_once(first)?;
            tokens.push(Token::Text(inside.to_owned()));
            rest = after;
        } else if first == '/' {
            let (pattern, after) = pattern(rest)?;
            tokens.push(Token::Pattern(pattern));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('$') {
            let after_brace = after.strip_prefix('{').unwrap_or(after);
            let end = after_brace
                .find(|it: char| !it.is_ascii_alphanumeric() && it != '_')
                .unwrap_or(after_brace.len());
            tokens.push(Token::Variable(after_brace[..end].to_owned()));
            rest = &after_brace[end..];
            rest = if after.starts_with('{') { rest.strip_prefix('}')? } else { rest };
        } else {
            rest = rest.strip_prefix("null")?;
            tokens.push(Token::Null);
        }
        rest = rest.trim_start();
    }
    Some(tokens)
}

/// `/.../i` at the text's begin, as a pattern of this crate's, and what follows.
fn pattern(text: &str) -> Option<(String, &str)> {
    let body = text.strip_prefix('/')?;
    let mut escaped = false;
    let end = body.find(|it| {
        let ends = it == '/' && !escaped;
        escaped = it == '\\' && !escaped;
        ends
    })?;
    let rest = &body[end + 1..];
    let flags = rest.len() - rest.trim_start_matches(|it: char| it.is_ascii_alphabetic()).len();
    let (flags, rest) = rest.split_at(flags);
    let source = body[..end].replace("\\/", "/");
    let flags: String = flags.chars().filter(|it| "ims".contains(*it)).collect();
    Some((if flags.is_empty() { source } else { format!("(?{flags}){source}") }, rest))
}

struct Parser<'a> {
    tokens: &'a [Token],
    values: &'a Values,
}

impl Parser<'_> {
    fn eat(&mut self, wanted: &str) -> bool {
        match self.tokens.split_first() {
            Some((Token::Operator(operator), rest)) if *operator == wanted => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn either(&mut self) -> Option<Value> {
        let mut left = self.both()?;
        while self.eat("||") {
            let right = self.both()?;
            left = match (left.truth(), right.truth()) {
                (Some(true), _) | (_, Some(true)) => Value::Truth(true),
                (Some(false), Some(false)) => Value::Truth(false),
                _ => return None,
            };
        }
        Some(left)
    }

    fn both(&mut self) -> Option<Value> {
        let mut left = self.comparison()?;
        while self.eat("&&") {
            let right = self.comparison()?;
            left = match (left.truth(), right.truth()) {
                (Some(false), _) | (_, Some(false)) => Value::Truth(false),
                (Some(true), Some(true)) => Value::Truth(true),
                _ => return None,
            };
        }
        Some(left)
    }

    fn comparison(&mut self) -> Option<Value> {
        let left = self.value()?;
        let Some(operator) = ["==", "!=", "=~", "!~"].into_iter().find(|it| self.eat(it)) else {
            return Some(left);
        };
        let (Value::Text(left), right) = (left, self.value()?) else { return None };
        if left.as_deref().is_some_and(unknown::is_unknown) {
            return None;
        }
        let equal = match (operator, right) {
            ("==" | "!=", Value::Text(right)) => left == right,
            ("=~" | "!~", Value::Pattern(source)) => matches(&source, left.as_deref())?,
            // A variable may hold the pattern, slashes included.
            ("=~" | "!~", Value::Text(Some(text))) => matches(&pattern(&text)?.0, left.as_deref())?,
            _ => return None,
        };
        Some(Value::Truth(equal == matches!(operator, "==" | "=~")))
    }

    fn value(&mut self) -> Option<Value> {
        if self.eat("(") {
            let inside = self.either()?;
            return self.eat(")").then_some(inside);
        }
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        match first {
            Token::Variable(name) => Some(Value::Text(self.values.get(name).cloned())),
            Token::Text(text) => Some(Value::Text(Some(text.clone()))),
            Token::Pattern(source) => Some(Value::Pattern(source.clone())),
            Token::Null => Some(Value::Text(None)),
            Token::Operator(_) => None,
        }
    }
}

fn matches(source: &str, text: Option<&str>) -> Option<bool> {
    Some(Regex::new(source).ok()?.is_match(text.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(text: &str) -> Option<bool> {
        let values = [
            ("CI_COMMIT_BRANCH", "feature/x"),
            ("EMPTY", ""),
            ("PATTERN", "/^fea/"),
            ("U", &unknown::unknown("U")),
        ];
        holds(text, &values.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    #[test]
    fn conditions() {
        for (text, expected) in [
            ("$CI_COMMIT_BRANCH", Some(true)),
            ("$CI_COMMIT_TAG", Some(false)),
            ("$EMPTY", Some(false)),
            ("$EMPTY == \"\"", Some(true)),
            ("$CI_COMMIT_TAG == null", Some(true)),
            ("$CI_COMMIT_BRANCH == 'feature/x' && $CI_COMMIT_TAG", Some(false)),
            ("($EMPTY || ${CI_COMMIT_BRANCH} != \"main\") && $CI_COMMIT_TAG == null", Some(true)),
            ("$CI_COMMIT_BRANCH =~ /^FEATURE\\/.+$/i", Some(true)),
            ("$CI_COMMIT_BRANCH !~ /^feature/", Some(false)),
            ("$CI_COMMIT_BRANCH =~ $PATTERN", Some(true)),
            ("$U == 'a'", None),
            ("$U && $EMPTY", Some(false)),
            ("$CI_COMMIT_BRANCH = 'x'", None),
            ("$A == ", None),
        ] {
            assert_eq!(decide(text), expected, "{text}");
        }
    }
}
