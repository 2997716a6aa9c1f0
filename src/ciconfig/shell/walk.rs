//! The walk through a script: what is set, where we stand, and every command that would be run.

use std::collections::{BTreeMap, BTreeSet};

use super::expand::{self, Variables};
use super::lex::{Piece, Token, Word, literal, tokens};
use crate::ciconfig::unknown;

/// Scripts in scripts (`sh -c`, `eval`) are followed this far.
const DEEPEST: usize = 5;

/// What a script starts with and what it leaves to the next one of the same job.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The working folder, counted from the checkout; empty is the checkout itself. It may hold what is unknown.
    pub folder: String,
    /// Every variable, exported or not.
    pub variables: BTreeMap<String, String>,
    /// The names of those that programs see.
    pub exported: BTreeSet<String>,
    /// What the user has given: it stands for what a script sets to something that would have to be run.
    pub given: BTreeMap<String, String>,
    /// Where the checkout is, for `cd` with a whole path.
    pub root: String,
    /// What was not understood.
    pub notes: Vec<String>,
}

/// A command that the script would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// The variables that it sees: those that are exported, and its own.
    pub environment: BTreeMap<String, String>,
    /// The folder that it is run in.
    pub folder: String,
    /// The file that it reads, of `< file`.
    pub input: Option<String>,
    /// The file that it writes to, of `> file` and `>> file`.
    pub output: Option<String>,
    /// It stands in an `if`, a loop or a `case`: CI may not run it, or more than once.
    pub conditional: bool,
    /// The script's line that it begins in, without white space around it.
    pub line: String,
}

impl State {
    /// Sets an exported variable.
    pub fn export(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
        self.exported.insert(name.to_owned());
    }

    /// A command that is run as things stand.
    pub fn found(&self, words: Vec<String>) -> Found {
        let value = |name: &String| Some((name.clone(), self.variables.get(name)?.clone()));
        Found {
            words,
            environment: self.exported.iter().filter_map(value).collect(),
            folder: self.folder.clone(),
            input: None,
            output: None,
            conditional: false,
            line: String::new(),
        }
    }

    /// Walks through a script and returns its commands.
    pub fn walk(&mut self, script: &str) -> Vec<Found> {
        let mut walk = Walk { state: self, found: Vec::new(), lines: Vec::new(), depth: 0, deep: 0 };
        walk.script(script);
        walk.found
    }
}

struct Walk<'a> {
    state: &'a mut State,
    found: Vec<Found>,
    lines: Vec<String>,
    /// How many `if`, loops and `case` are open.
    depth: usize,
    /// How many scripts this one stands in.
    deep: usize,
}

/// A simple command as it is collected.
#[derive(Debug, Default)]
struct Simple {
    words: Vec<(Word, usize)>,
    redirects: Vec<(&'static str, Word)>,
    /// A here-document is its input.
    document: bool,
}

impl Walk<'_> {
    fn script(&mut self, script: &str) {
        let lines = script.lines().map(|line| line.trim().to_owned()).collect();
        let outer = std::mem::replace(&mut self.lines, lines);
        let mut simple = Simple::default();
        let mut redirect = None;
        // A subshell's folder and variables end with it.
        let mut subshells: Vec<(String, Variables, BTreeSet<String>)> = Vec::new();
        for token in tokens(script) {
            match token {
                Token::Redirect(operator) => redirect = Some(operator),
                Token::Document => simple.document = true,
                Token::Word(word, line) => match redirect.take() {
                    Some(operator) => simple.redirects.push((operator, word)),
                    None => simple.words.push((word, line)),
                },
                Token::Operator("(") if simple.words.is_empty() => {
                    let State { folder, variables, exported, .. } = &*self.state;
                    subshells.push((folder.clone(), variables.clone(), exported.clone()));
                }
                // A function's name, or a pattern of `case`: no command.
                Token::Operator("(") => simple = Simple::default(),
                Token::Operator(")") => match subshells.pop() {
                    Some((folder, variables, exported)) => {
                        self.command(std::mem::take(&mut simple));
                        (self.state.folder, self.state.variables, self.state.exported) =
                            (folder, variables, exported);
                    }
                    None => {
                        // `case x in a) ...` in one line.
                        let is_case = |(word, _): &(Word, usize)| keyword(word) == Some("case");
                        self.depth += usize::from(simple.words.first().is_some_and(is_case));
                        simple = Simple::default();
                    }
                },
                Token::Operator(_) => self.command(std::mem::take(&mut simple)),
            }
        }
        self.command(simple);
        self.lines = outer;
    }

    fn command(&mut self, mut simple: Simple) {
        while let Some(keyword) = simple.words.first().and_then(|(word, _)| keyword(word)) {
            match keyword {
                "if" | "while" | "until" => self.depth += 1,
                "fi" | "done" | "esac" => self.depth = self.depth.saturating_sub(1),
                "for" | "select" => {
                    self.depth += 1;
                    if let Some(name) = simple.words.get(1).and_then(|(word, _)| literal(word)) {
                        self.state.variables.insert(name.clone(), unknown::unknown(&name));
                    }
                    return;
                }
                "case" => {
                    self.depth += 1;
                    return;
                }
                "function" => return,
                _ => {}
            }
            simple.words.remove(0);
        }
        let line =
            simple.words.first().and_then(|(_, line)| self.lines.get(*line)).cloned().unwrap_or_default();
        let assigned = simple.words.iter().take_while(|(word, _)| assignment(word).is_some()).count();
        let rest = simple.words.split_off(assigned);
        let assignments: Vec<(String, String)> =
            simple.words.iter().filter_map(|(word, _)| self.assigned(word)).collect();
        if rest.is_empty() {
            self.state.variables.extend(assignments);
            return;
        }
        if rest.first().is_some_and(|(word, _)| literal(word).as_deref() == Some("export")) {
            self.export(&rest);
            return;
        }
        let fields = |words: &[(Word, usize)]| -> Vec<String> {
            words.iter().flat_map(|(word, _)| expand::fields(word, &self.state.variables)).collect()
        };
        let words = fields(&rest);
        self.run(words, assignments, &simple, line);
    }

    /// The value that a word assigns. What would have to be run is taken from the user, else is unknown by that name.
    fn assigned(&self, word: &Word) -> Option<(String, String)> {
        let (name, value) = assignment(word)?;
        let text = expand::text(&value, &self.state.variables);
        let run = unknown::names(&text).iter().any(|name| name.starts_with(['$', '`']));
        let value = if run {
            self.state.given.get(&name).cloned().unwrap_or_else(|| unknown::unknown(&name))
        } else {
            text
        };
        Some((name, value))
    }

    fn export(&mut self, words: &[(Word, usize)]) {
        for (word, _) in words.iter().skip(1) {
            match self.assigned(word) {
                Some((name, value)) => self.state.export(&name, &value),
                None => self.state.exported.extend(literal(word).filter(|name| !name.starts_with('-'))),
            }
        }
    }

    fn run(&mut self, mut words: Vec<String>, mut own: Vec<(String, String)>, simple: &Simple, line: String) {
        // What only starts another program is not the program.
        while let Some(first) = words.first() {
            match first.as_str() {
                "sudo" | "exec" | "command" | "time" | "nohup"
                    if words.len() > 1 && !words[1].starts_with('-') =>
                {
                    words.remove(0);
                }
                "env" if words.len() > 1 && !words[1].starts_with('-') => {
                    words.remove(0);
                    while let Some((name, value)) = words.first().and_then(|word| word.split_once('=')) {
                        own.push((name.to_owned(), value.to_owned()));
                        words.remove(0);
                    }
                }
                _ => break,
            }
        }
        let texts: Vec<&str> = words.iter().map(String::as_str).collect();
        match texts.as_slice() {
            [] => self.state.variables.extend(own),
            ["cd" | "pushd"] => self.state.folder = String::new(),
            ["cd" | "pushd", to] => self.state.folder = joined(&self.state.folder, to, &self.state.root),
            ["popd"] => self.state.folder = String::new(),
            ["unset", names @ ..] => {
                for name in names {
                    self.state.variables.remove(*name);
                    self.state.exported.remove(*name);
                }
            }
            ["." | "source", file, ..] => {
                self.state.notes.push(format!("what `{}` sets is not known", unknown::shown(file)));
            }
            ["sh" | "bash" | "ash" | "/bin/sh" | "/bin/bash", .., flag, script]
                if flag.starts_with('-') && flag.ends_with('c') && self.deep < DEEPEST =>
            {
                let before =
                    (self.state.folder.clone(), self.state.variables.clone(), self.state.exported.clone());
                own.iter().for_each(|(name, value)| self.state.export(name, value));
                self.inner(script);
                (self.state.folder, self.state.variables, self.state.exported) = before;
            }
            ["eval", rest @ ..] if self.deep < DEEPEST && !rest.iter().any(|it| unknown::is_unknown(it)) => {
                self.inner(&rest.join(" "));
            }
            _ => {
                let mut found = self.state.found(words);
                found.environment.extend(own);
                let variables = &self.state.variables;
                let last = |is: &dyn Fn(&str) -> bool| {
                    let redirect = simple.redirects.iter().rfind(|(operator, _)| is(operator));
                    redirect.map(|(_, word)| expand::text(word, variables))
                };
                let document = || simple.document.then(|| unknown::unknown("$(a here-document)"));
                found.input = last(&|operator| operator == "<").or_else(document);
                found.output = last(&|operator| matches!(operator, ">" | ">>"));
                (found.conditional, found.line) = (self.depth > 0, line);
                self.found.push(found);
            }
        }
    }

    fn inner(&mut self, script: &str) {
        self.deep += 1;
        self.script(script);
        self.deep -= 1;
    }
}

fn keyword(word: &Word) -> Option<&'static str> {
    const KEYWORDS: [&str; 19] = [
        "if", "then", "elif", "else", "fi", "for", "select", "while", "until", "do", "done", "case", "esac",
        "{", "}", "!", "function", "time", "in",
    ];
    match word.as_slice() {
        [Piece::Text { text, quoted: false }] => KEYWORDS.into_iter().find(|it| it == text),
        _ => None,
    }
}

/// Takes `name=value` apart.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let (Piece::Text { text, quoted: false }, rest) = word.split_first()? else { return None };
    let (name, value) = text.split_once('=')?;
    let valid = name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
        && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    let first = Piece::Text { text: value.to_owned(), quoted: false };
    valid.then(|| (name.to_owned(), std::iter::once(first).chain(rest.iter().cloned()).collect()))
}

/// A folder, seen from another one, without `.` and `..` as far as they can be taken out. A path that begins with the
/// checkout's place is counted from there.
pub fn joined(folder: &str, to: &str, root: &str) -> String {
    let inside =
        to.strip_prefix(root).filter(|rest| !root.is_empty() && (rest.is_empty() || rest.starts_with('/')));
    let path = match inside {
        Some(rest) => rest.trim_start_matches('/').to_owned(),
        None if to.starts_with('/') || folder.is_empty() => to.to_owned(),
        None => format!("{folder}/{to}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match (part, parts.last()) {
            ("" | ".", _) => {}
            ("..", Some(last)) if *last != ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let start = if path.starts_with('/') { "/" } else { "" };
    format!("{start}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let mut state = State { root: "/builds/app".to_owned(), ..State::default() };
        state.export("IMAGE", "r/app");
        state.given.insert("VERSION".to_owned(), "7".to_owned());
        state
    }

    fn commands(script: &str) -> Vec<String> {
        let found = state().walk(script);
        let show = |it: &Found| {
            let condition = if it.conditional { "? " } else { "" };
            let input = it.input.as_ref().map(|file| format!(" < {file}")).unwrap_or_default();
            format!("{condition}{}> {}{input}", it.folder, unknown::shown(&it.words.join(" ")))
        };
        found.iter().map(show).collect()
    }

    #[test]
    fn folders_and_variables_are_followed() {
        assert_eq!(
            commands("cd services/api && docker build -t $IMAGE:$TAG ..\ncd ../web; docker build ."),
            ["services/api> docker build -t r/app:$TAG ..", "services/web> docker build ."]
        );
        assert_eq!(commands("(cd a; make); make"), ["a> make", "> make"]);
        assert_eq!(commands("cd /builds/app/x; a; cd /tmp; b"), ["x> a", "/tmp> b"]);
        assert_eq!(commands("TAG=1; export NAME=\"$IMAGE:$TAG\" && p $NAME"), ["> p r/app:1"]);
        assert_eq!(
            commands("docker build -f - . < Dockerfile | tee log"),
            ["> docker build -f - . < Dockerfile", "> tee log"]
        );
    }

    #[test]
    fn what_would_have_to_be_run_is_named_or_given() {
        assert_eq!(commands("TAG=$(git describe)\nVERSION=`cat v`; p $TAG $VERSION"), ["> p $TAG 7"]);
        assert_eq!(commands("p $(date)"), ["> p $(date)"]);
        assert_eq!(commands("for s in a b; do docker build $s; done; p"), ["? > docker build $s", "> p"]);
    }

    #[test]
    fn conditions_are_told() {
        let script = "if [ -n \"$X\" ]; then\n  a\nelse\n  b\nfi\nc";
        assert_eq!(commands(script), ["? > [ -n $X ]", "? > a", "? > b", "> c"]);
        assert_eq!(commands("case $X in\n  a) b ;;\n  *) c ;;\nesac\nd"), ["? > b", "? > c", "> d"]);
        assert_eq!(commands("retry() { a; }\nb"), ["> a", "> b"]);
    }

    #[test]
    fn programs_behind_programs() {
        assert_eq!(
            commands("sudo docker ps; env A=1 docker ps; sh -ec 'cd x && docker ps'"),
            ["> docker ps", "> docker ps", "x> docker ps"]
        );
        let found = state().walk("B=2 env A=1 p");
        let environment: Vec<_> =
            found[0].environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(environment, ["A=1", "B=2", "IMAGE=r/app"]);
    }
}
