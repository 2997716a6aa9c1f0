//! The walk through a script: what is set, where we stand, and every command that would be run.

use std::collections::{BTreeMap, BTreeSet};

use super::course::{Course, Kind, Runs, Status};
use super::expand::{self, Variables};
use super::lex::{Token, Word, assignment, keyword, literal, tokens};
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
    /// The script's own arguments, `$@`.
    pub arguments: Vec<String>,
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
    /// It hangs on what is not known, or stands in a loop or a `case`: CI may not run it, or more than once.
    pub conditional: bool,
    /// CI does not run it: its condition does not hold.
    pub left_out: bool,
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
            left_out: false,
            line: String::new(),
        }
    }

    /// Walks through a script and returns its commands.
    pub fn walk(&mut self, script: &str) -> Vec<Found> {
        let mut walk = Walk {
            state: self,
            found: Vec::new(),
            lines: Vec::new(),
            course: Course::new(),
            is_function: false,
            asked: None,
            deep: 0,
        };
        walk.script(script);
        walk.found
    }
}

struct Walk<'a> {
    state: &'a mut State,
    found: Vec<Found>,
    lines: Vec<String>,
    course: Course,
    /// What follows is the body of a function.
    is_function: bool,
    /// What the last test would have to know.
    asked: Option<String>,
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
                // `case x in a) ...` in one line, or a pattern in one of its own: no command.
                Token::Operator("(" | ")") if begins(&simple, "case") => {
                    self.simple(std::mem::take(&mut simple))
                }
                Token::Operator(")") if self.course.is_in(Kind::Case) && !begins(&simple, "esac") => {
                    simple = Simple::default();
                }
                // A function's name.
                Token::Operator("(") if simple.words.iter().any(|(word, _)| keyword(word).is_none()) => {
                    self.is_function = true;
                    simple = Simple::default();
                }
                Token::Operator(")") if self.is_function => {}
                Token::Operator("(") => {
                    // `if (`, `! (`.
                    self.simple(std::mem::take(&mut simple));
                    self.is_function = false;
                    self.course.open(Kind::Subshell);
                    let State { folder, variables, exported, .. } = &*self.state;
                    subshells.push((folder.clone(), variables.clone(), exported.clone()));
                }
                Token::Operator(")") => match subshells.pop() {
                    Some((folder, variables, exported)) => {
                        self.simple(std::mem::take(&mut simple));
                        self.course.close(&[Kind::Subshell]);
                        (self.state.folder, self.state.variables, self.state.exported) =
                            (folder, variables, exported);
                    }
                    None => simple = Simple::default(),
                },
                Token::Operator(operator) => {
                    self.simple(std::mem::take(&mut simple));
                    self.course.operator(operator);
                }
            }
        }
        self.simple(simple);
        self.lines = outer;
    }

    fn simple(&mut self, mut simple: Simple) {
        if simple.words.is_empty() && simple.redirects.is_empty() {
            return;
        }
        self.course.begin();
        while let Some(keyword) = simple.words.first().and_then(|(word, _)| keyword(word)) {
            match keyword {
                "if" => self.course.open(Kind::If),
                "then" => self.course.then(),
                "elif" | "else" => self.course.otherwise(),
                "while" | "until" => self.course.open(Kind::Loop),
                "!" => self.course.negate(),
                "{" if std::mem::take(&mut self.is_function) => self.course.open(Kind::Function),
                "{" => self.course.open(Kind::Group),
                "}" => self.course.close(&[Kind::Group, Kind::Function]),
                "fi" => self.course.close(&[Kind::If]),
                "done" => self.course.close(&[Kind::Loop]),
                "esac" => self.course.close(&[Kind::Case]),
                "function" => {
                    self.is_function = true;
                    simple.words.drain(1..simple.words.len().min(2));
                }
                "for" | "select" => {
                    self.course.open(Kind::Loop);
                    let name = simple.words.get(1).and_then(|(word, _)| literal(word));
                    if let Some(name) = name.filter(|_| self.course.runs() != Runs::No) {
                        self.state.variables.insert(name.clone(), unknown::unknown(&name));
                    }
                    return;
                }
                "case" => {
                    self.course.open(Kind::Case);
                    return;
                }
                _ => {}
            }
            simple.words.remove(0);
        }
        if simple.words.is_empty() {
            return;
        }
        self.is_function = false;
        let runs = self.course.runs();
        let line =
            simple.words.first().and_then(|(_, line)| self.lines.get(*line)).cloned().unwrap_or_default();
        let assigned = simple.words.iter().take_while(|(word, _)| assignment(word).is_some()).count();
        let rest = simple.words.split_off(assigned);
        let assignments: Vec<(String, String)> =
            simple.words.iter().filter_map(|(word, _)| self.assigned(word)).collect();
        // What is not run is only told.
        let before = (runs == Runs::No).then(|| self.state.clone());
        let mut status = Status::Presumed;
        if rest.is_empty() {
            if !assignments.iter().any(|(_, value)| unknown::is_unknown(value)) {
                status = Status::True;
            }
            assignments.into_iter().for_each(|(name, value)| self.set(name, value));
        } else if rest.first().is_some_and(|(word, _)| literal(word).as_deref() == Some("export")) {
            self.export(&rest);
        } else {
            let unknown = self.course.is_in_function().then(expand::unknown_arguments);
            let arguments = unknown.as_ref().unwrap_or(&self.state.arguments);
            let fields = |(word, _): &(Word, usize)| expand::fields(word, &self.state.variables, arguments);
            let words = rest.iter().flat_map(fields).collect();
            status = self.run(words, assignments, &simple, line);
        }
        self.course.end(status);
        if let Some(before) = before {
            *self.state = before;
        }
    }

    /// Sets a variable. If that may not be done, its value is taken from the user, else is unknown.
    fn set(&mut self, name: String, value: String) {
        let is_other = self.state.variables.get(&name) != Some(&value);
        let value = match self.course.runs() {
            Runs::Maybe if is_other => self.given(&name),
            _ => value,
        };
        self.state.variables.insert(name, value);
    }

    fn given(&self, name: &str) -> String {
        self.state.given.get(name).cloned().unwrap_or_else(|| unknown::unknown(name))
    }

    /// The value that a word assigns. What would have to be run is taken from the user, else is unknown by that name.
    fn assigned(&self, word: &Word) -> Option<(String, String)> {
        let (name, value) = assignment(word)?;
        let text = expand::text(&value, &self.state.variables);
        let run = unknown::names(&text).iter().any(|name| name.starts_with(['$', '`']));
        let value = if run { self.given(&name) } else { text };
        Some((name, value))
    }

    fn export(&mut self, words: &[(Word, usize)]) {
        for (word, _) in words.iter().skip(1) {
            match self.assigned(word) {
                Some((name, value)) => {
                    self.state.exported.insert(name.clone());
                    self.set(name, value);
                }
                None => self.state.exported.extend(literal(word).filter(|name| !name.starts_with('-'))),
            }
        }
    }

    fn run(
        &mut self,
        mut words: Vec<String>,
        mut own: Vec<(String, String)>,
        simple: &Simple,
        line: String,
    ) -> Status {
        let mut status = Status::Presumed;
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
            ["set", "--", arguments @ ..] => self.arguments(arguments),
            ["set", first, ..] if !first.starts_with(['-', '+']) => self.arguments(&texts[1..]),
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
                let arguments = std::mem::take(&mut self.state.arguments);
                own.iter().for_each(|(name, value)| self.state.export(name, value));
                self.inner(script);
                (self.state.folder, self.state.variables, self.state.exported) = before;
                self.state.arguments = arguments;
            }
            ["eval", rest @ ..] if self.deep < DEEPEST && !rest.iter().any(|it| unknown::is_unknown(it)) => {
                self.inner(&rest.join(" "));
            }
            _ => {
                status = match texts.as_slice() {
                    ["[", test @ .., "]"] | ["test", test @ ..] => self.course.test(test),
                    // What is on the right is a pattern.
                    ["[[", test @ .., "]]"] if !test.iter().any(|it| it.contains(['*', '?', '[', '\\'])) => {
                        self.course.test(test)
                    }
                    ["[" | "[[", ..] => Status::Unknown,
                    ["true" | ":", ..] => Status::True,
                    ["false", ..] => Status::False,
                    _ => status,
                };
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
                let runs = self.course.runs();
                (found.conditional, found.left_out) = (runs == Runs::Maybe, runs == Runs::No);
                found.line = line;
                if status == Status::Unknown {
                    let names = found.words.iter().flat_map(|word| unknown::names(word));
                    self.asked = names.into_iter().find(|name| !name.starts_with(['$', '`']));
                }
                self.found.push(found);
            }
        }
        status
    }

    /// `set -- ...`.
    fn arguments(&mut self, texts: &[&str]) {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        // Those of a function are its own.
        if self.course.is_in_function() || self.state.arguments == texts {
            return;
        }
        self.state.arguments = match &self.asked {
            _ if self.course.runs() == Runs::Yes => texts,
            // Once that is given, so are they.
            Some(name) => vec![unknown::unknown(name)],
            None => expand::unknown_arguments(),
        };
    }

    fn inner(&mut self, script: &str) {
        self.deep += 1;
        self.course.open(Kind::Script);
        self.script(script);
        self.course.close(&[Kind::Script]);
        self.deep -= 1;
    }
}

/// Whether a command begins with that keyword, after others or none.
fn begins(simple: &Simple, wanted: &str) -> bool {
    simple.words.iter().map_while(|(word, _)| keyword(word)).any(|keyword| keyword == wanted)
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
        assert_eq!(commands(script), ["> [ -n $X ]", "? > a", "? > b", "> c"]);
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
