//! What a step of a job leaves to the later ones: `echo "NAME=value" >> "$GITHUB_ENV"`, `>> "$GITHUB_OUTPUT"`, and
//! `echo 'export NAME=value' >> "$BASH_ENV"` of CircleCI. What is written in other ways is not learnt.

use std::collections::BTreeMap;

use crate::ciconfig::shell::{Found, State};
use crate::ciconfig::{Step, unknown};

/// What later steps begin with.
#[derive(Debug)]
pub struct Later {
    /// Their variables.
    pub begin: State,
    /// Values by their names in expressions: `steps.ID.outputs.NAME`, `env.NAME`.
    pub values: BTreeMap<String, String>,
}

impl Later {
    /// A text of a later step with what is known by now.
    pub fn resolved(&self, text: &str) -> String {
        unknown::resolve(text, &|name| {
            let variable = || self.begin.variables.get(name.strip_prefix("env.")?);
            self.values.get(name).or_else(variable).cloned()
        })
    }

    /// Takes note of what a command writes for later steps.
    pub fn learn(&mut self, found: &Found, step: &Step) {
        let files = found.output.as_deref().map(unknown::names).unwrap_or_default();
        let [program, words @ ..] = found.words.as_slice() else { return };
        if found.left_out || files.is_empty() || !matches!(program.as_str(), "echo" | "printf") {
            return;
        }
        let uncertain = found.conditional || step.conditional;
        let words = words.iter().filter(|word| !word.starts_with('-'));
        if files.contains("BASH_ENV") {
            let words: Vec<&str> = words.map(String::as_str).collect();
            let before = self.begin.variables.clone();
            self.begin.walk(&words.join(" "));
            for (name, value) in self.begin.variables.iter_mut().filter(|_| uncertain) {
                if before.get(name) != Some(value) {
                    *value = self.begin.given.get(name).cloned().unwrap_or_else(|| unknown::unknown(name));
                }
            }
            return;
        }
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            // What had to be run, and what may not be run at all, is asked for by the name that it is given to.
            let run = unknown::names(value).iter().any(|name| name.starts_with(['$', '`']));
            let is_format = program == "printf" && value.contains(['%', '\\']);
            let known = |name: &str, given: &BTreeMap<String, String>| {
                let given = || given.get(name).cloned().unwrap_or_else(|| unknown::unknown(name));
                if run || is_format || uncertain { given() } else { value.to_owned() }
            };
            if files.contains("GITHUB_ENV") {
                let value = known(name, &self.begin.given);
                self.begin.export(name, &value);
            }
            if let Some(id) = step.id.as_ref().filter(|_| files.contains("GITHUB_OUTPUT")) {
                let name = format!("steps.{id}.outputs.{name}");
                let value = known(&name, &self.begin.given);
                self.values.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `TEXT` is in a step after one, with the identifier `id`, that runs a script.
    fn after(script: &str, text: &str) -> String {
        let step = Step { id: Some("id".to_owned()), ..Step::script(script) };
        let mut begin = State::default();
        begin.export("A", "old");
        begin.given.insert("GIVEN".to_owned(), "given".to_owned());
        let mut later = Later { begin: begin.clone(), values: BTreeMap::new() };
        let found = begin.walk(script);
        found.iter().for_each(|found| later.learn(found, &step));
        unknown::shown(&later.resolved(text))
    }

    #[test]
    fn values_are_learnt_or_asked_for() {
        let output = unknown::unknown("steps.id.outputs.x");
        let variable = |name: &str| unknown::unknown(&format!("env.{name}"));
        for (script, text, expected) in [
            ("echo \"x=$A-1\" >> \"$GITHUB_OUTPUT\"", &output, "old-1"),
            (
                "echo x=1 >> $GITHUB_OUTPUT; if y; then echo x=2 >> $GITHUB_OUTPUT; fi",
                &output,
                "${{ steps.id.outputs.x }}",
            ),
            ("echo \"x=$(date)\" >> $GITHUB_OUTPUT", &output, "${{ steps.id.outputs.x }}"),
            ("printf 'x=%s\\n' 1 >> $GITHUB_OUTPUT", &output, "${{ steps.id.outputs.x }}"),
            ("echo x=1", &output, "${{ steps.id.outputs.x }}"),
            ("echo A=new >> $GITHUB_ENV", &variable("A"), "new"),
            ("echo \"GIVEN=$(date)\" >> $GITHUB_ENV", &variable("GIVEN"), "given"),
            ("echo \"export A='n e w'\" >> $BASH_ENV", &variable("A"), "n e w"),
            ("[ x ] || true; case y in z) echo 'export A=new' >> $BASH_ENV;; esac", &variable("A"), "$A"),
        ] {
            assert_eq!(after(script, text), expected, "{script}");
        }
    }
}
