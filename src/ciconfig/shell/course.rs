//! Which commands of a script are run: `&&`, `||`, `if`, loops, and the tests that they hang on, as far as those compare
//! what is known.
//!
//! A test of something unknown leaves both ways open. A command that is no test is taken to succeed, as the scripts of
//! jobs want it: what follows `&&` is run, what follows `||` may be.

use crate::ciconfig::unknown;

/// How much may be open at once. What is opened in it is read as if it stood in the last.
const DEEPEST: usize = 500;

/// Whether a command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Runs {
    /// Its condition does not hold.
    No,
    /// That hangs on what is not known, or it is run more than once.
    Maybe,
    /// It is.
    Yes,
}

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// With zero.
    True,
    /// With something else.
    False,
    /// With zero, if all is well.
    Presumed,
    /// A test of what is not known.
    Unknown,
}

/// What holds commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `if`.
    If,
    /// `for`, `while`, `until`, `select`.
    Loop,
    /// `case`.
    Case,
    /// `{ ... }`.
    Group,
    /// The body of a function, which is read where it is defined.
    Function,
    /// `( ... )`.
    Subshell,
    /// A script in this one: `sh -c`, `eval`.
    Script,
}

#[derive(Debug)]
struct Block {
    kind: Kind,
    /// Whether the branch that is being read is run.
    branch: Runs,
    /// Whether those after it can be.
    left: Runs,
    /// What stood before it, for what follows it.
    here: Runs,
    status: Status,
    negated: bool,
}

/// Where a walk through a script stands.
#[derive(Debug)]
pub(super) struct Course {
    blocks: Vec<Block>,
    /// Of the command before.
    status: Status,
    /// Whether the next command is run, by the operator before it.
    here: Runs,
    /// A line may end after that operator.
    goes_on: bool,
    /// `!` stands before the command.
    negated: bool,
}

impl Course {
    /// At the begin of a script.
    pub fn new() -> Self {
        Course {
            blocks: Vec::new(),
            status: Status::Presumed,
            here: Runs::Yes,
            goes_on: false,
            negated: false,
        }
    }

    /// Whether the next command is run.
    pub fn runs(&self) -> Runs {
        self.blocks.last().map_or(Runs::Yes, |block| block.branch).min(self.here)
    }

    /// A command begins.
    pub fn begin(&mut self) {
        self.goes_on = false;
    }

    /// The command before was one that ended so.
    pub fn end(&mut self, status: Status) {
        let negated = std::mem::take(&mut self.negated);
        // One that is left out, or may be, changes nothing that is known.
        if self.here == Runs::Yes {
            self.status = match status {
                Status::True if negated => Status::False,
                Status::False if negated => Status::True,
                Status::Presumed if negated => Status::Unknown,
                other => other,
            };
        }
    }

    /// An operator follows.
    pub fn operator(&mut self, operator: &str) {
        if operator == "\n" && self.goes_on {
            return;
        }
        self.here = match (operator, self.status) {
            ("&&", Status::False) | ("||", Status::True) => Runs::No,
            ("&&", Status::Unknown) | ("||", Status::Unknown | Status::Presumed) => Runs::Maybe,
            ("|" | "|&", _) => self.here,
            _ => Runs::Yes,
        };
        self.goes_on = matches!(operator, "&&" | "||" | "|" | "|&");
    }

    /// `!`.
    pub fn negate(&mut self) {
        self.negated = !self.negated;
    }

    /// Something begins that holds commands.
    pub fn open(&mut self, kind: Kind) {
        self.begin();
        if self.blocks.len() >= DEEPEST {
            return;
        }
        let runs = self.runs();
        let branch = if matches!(kind, Kind::Loop | Kind::Case) { runs.min(Runs::Maybe) } else { runs };
        self.blocks.push(Block {
            kind,
            branch,
            left: branch,
            here: self.here,
            status: self.status,
            negated: std::mem::take(&mut self.negated),
        });
        (self.here, self.status) = (Runs::Yes, Status::Presumed);
    }

    /// It ends, with whatever is still open in it.
    pub fn close(&mut self, kinds: &[Kind]) {
        // What stands in a script of its own cannot end what is outside of it.
        let ends = |block: &Block| kinds.contains(&block.kind) || block.kind == Kind::Script;
        let Some(at) = self.blocks.iter().rposition(ends) else { return };
        if !kinds.contains(&self.blocks[at].kind) {
            return;
        }
        self.begin();
        let closed = self.blocks.split_off(at).into_iter().next();
        if let Some(Block { kind, here, status, negated, .. }) = closed {
            let inner = match kind {
                Kind::Group | Kind::Subshell => self.status,
                _ => Status::Presumed,
            };
            (self.here, self.status, self.negated) = (here, status, negated);
            self.end(inner);
        }
    }

    /// Whether the innermost of what is open is of that kind.
    pub fn is_in(&self, kind: Kind) -> bool {
        self.blocks.last().is_some_and(|block| block.kind == kind)
    }

    /// Whether a function is open.
    pub fn is_in_function(&self) -> bool {
        self.blocks.iter().any(|block| block.kind == Kind::Function)
    }

    /// `then`: the command before it decides.
    pub fn then(&mut self) {
        let status = self.status;
        if let Some(block) = self.blocks.last_mut().filter(|block| block.kind == Kind::If) {
            let left = block.left;
            (block.branch, block.left) = match status {
                Status::True => (left, Runs::No),
                Status::False => (Runs::No, left),
                Status::Presumed | Status::Unknown => (left.min(Runs::Maybe), left.min(Runs::Maybe)),
            };
        }
    }

    /// `elif`, `else`.
    pub fn otherwise(&mut self) {
        if let Some(block) = self.blocks.last_mut().filter(|block| block.kind == Kind::If) {
            block.branch = block.left;
        }
    }

    /// What a test comes to. In a loop or a function its variables have other values another time.
    pub fn test(&self, words: &[&str]) -> Status {
        let repeats = self.blocks.iter().any(|block| matches!(block.kind, Kind::Loop | Kind::Function));
        match test(words).filter(|_| !repeats) {
            Some(true) => Status::True,
            Some(false) => Status::False,
            None => Status::Unknown,
        }
    }
}

/// The words between `[` and `]` (POSIX, "test"): texts that are empty, equal, or not. `None`: something is unknown, or it
/// is another test.
fn test(words: &[&str]) -> Option<bool> {
    if words.iter().any(|word| unknown::is_unknown(word)) {
        return None;
    }
    match words {
        [] => Some(false),
        [text] => Some(!text.is_empty()),
        ["!", rest @ ..] => test(rest).map(|holds| !holds),
        ["-n", text] => Some(!text.is_empty()),
        ["-z", text] => Some(text.is_empty()),
        [one, "=" | "==", other] => Some(one == other),
        [one, "!=", other] => Some(one != other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use crate::ciconfig::unknown::shown;

    /// The commands that are run: those that may be have a `?`, those that are not a `-`.
    fn commands(script: &str) -> String {
        let mut state = State::default();
        [("A", "a"), ("E", "")].into_iter().for_each(|(name, value)| state.export(name, value));
        let found = state.walk(script);
        let found = found.iter().filter(|it| it.words[0] != "[" && it.words[0] != "[[");
        let show = |it: &super::super::Found| {
            let mark = if it.left_out { "-" } else { ["", "?"][usize::from(it.conditional)] };
            format!("{mark}{}", shown(&it.words.join(" ")))
        };
        found.map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lists_are_followed() {
        for (script, expected) in [
            ("[ -n \"$A\" ] && x || y; z", "x ?y z"),
            ("[ \"$A\" != a ] || x; [ \"$A\" = a ] ||\n  y\nz", "x -y z"),
            ("[ -z \"$E\" ] && [ \"$U\" ] && x; y", "?x y"),
            ("[ a = b ] && { x; y; } | v; z", "-x -y -v z"),
            ("! [ $A == a ] || (x; y) && z", "x y z"),
            ("[[ $A == b ]] && (x)\ny || z", "-x y ?z"),
            ("[ -f x ] && x; true || y; false || z", "?x true -y false z"),
            ("[ $E ] && x; [ ! $E ] || y; [ ! \"$E\" ] && z", "-x -y z"),
        ] {
            assert_eq!(commands(script), expected, "{script}");
        }
    }

    #[test]
    fn branches_are_followed() {
        for (script, expected) in [
            ("if [ -n \"$E\" ]; then x; elif [ $A = a ]; then y; else z; fi; w", "-x y -z w"),
            ("if [ $A = a ]; then x; elif [ $U ]; then y; else z; fi", "x -y -z"),
            ("if [ $U ]; then x; elif [ $A = a ]; then y; else z; fi", "?x ?y -z"),
            ("if [ $A = b ]\nthen if x; then y; fi; case $A in a) z ;; esac\nfi\nw", "-x -y -z w"),
            ("if [ $A = b ]; then case $A in a) x ;; esac; fi; (case $A in (b) y;; esac); z", "-x ?y z"),
            ("if p; then x; else y; fi; until [ $A = b ]; do z; done", "p ?x ?y ?z"),
            // Another time round, or called from elsewhere, the values are others.
            ("for i in 1 2; do if [ $A = a ]; then x; else y; fi; A=b; done; z", "?x ?y z"),
            ("f() { if [ $A = b ]; then x; fi; }; function g { [ $E ] && y; }; z", "?x ?y z"),
            ("[ $E ] && sh -c 'x; fi; y'; z", "-x -y z"),
            ("fi; } done; x", "x"),
        ] {
            assert_eq!(commands(script), expected, "{script}");
        }
    }

    #[test]
    fn a_hostile_script_ends() {
        let script = format!("{}x{}y", "if {\n".repeat(100_000), "\ndone".repeat(100_000) + "\n");
        assert_eq!(commands(&script), "x y");
    }

    #[test]
    fn what_is_not_run_sets_nothing_and_what_may_be_is_asked_for() {
        for (script, expected) in [
            ("T=1; if [ $A = b ]; then T=2; cd x; export A=c; unset A; fi; p $A $T", "p a 1"),
            ("T=1; if [ $A = a ]; then T=2; else T=3; fi; p $T", "p 2"),
            ("T=1; [ $A = b ] && for T in 1 2; do x; done; p $T", "p 1"),
            ("T=1; if [ $U ]; then T=2; fi; p $T", "p $T"),
            ("T=1; [ $U ] && export T=1; p $T", "p 1"),
            ("set -- a 'b c' $E \"$E\"; p \"$@\" $@", "p a b c  a b c"),
            ("set -e; p \"$@\" x; set y; [ -z \"$A\" ] || set -- \"$@\" z; p \"$@\"", "set -e p x p y z"),
            ("set -- a; [ $U ] && set -- b; p \"$@\"", "p $U"),
            ("set -- a; f() { p \"$@\"; set -- b; }; p \"$@\"; p x\"$@\"", "p $@ p a p x$@"),
        ] {
            let found: String = commands(script)
                .split(' ')
                .filter(|word| !word.starts_with('-') || *word == "-e")
                .collect::<Vec<_>>()
                .join(" ");
            assert_eq!(found, expected, "{script}");
        }
    }
}
