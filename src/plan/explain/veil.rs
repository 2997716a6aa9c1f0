//! The values of build args are taken out of what is kept: a record lies in a registry, where more people read than in CI.
//!
//! The inputs hold digests of values and instructions as written, but paths, mounts and folders in them, and the steps as
//! the engine shows them, have variables replaced. Every value of a build arg is replaced back by its name there, unless
//! the name says that it is harmless. A value that was changed so gets a digest of what it was, so that another one is
//! still another one.

use std::sync::Arc;

use crate::model::inputs::{Inputs, Part, PartKind};
use crate::model::outcome::StageOutcome;
use crate::model::reference::Digest;

/// Shorter values are no secrets, and would be found everywhere.
const SHORTEST: usize = 4;

/// Words in names of secrets.
const SECRET: [&str; 8] = ["TOKEN", "PASS", "SECRET", "KEY", "CREDENTIAL", "AUTH", "PRIVATE", "CERT"];

/// The ends of names whose values may be read by all.
const HARMLESS: [&str; 18] = [
    "ARCH", "BASE", "BRANCH", "COMMIT", "DATE", "DEBUG", "DIST", "DISTRO", "FLAVOR", "IMAGE", "LEVEL",
    "MODE", "OS", "PLATFORM", "REVISION", "SHA", "TAG", "VERSION",
];

/// The values that are not shown.
#[derive(Clone, Default)]
pub struct Veil {
    /// Value and name, the longest value first.
    hidden: Vec<(String, String)>,
}

impl std::fmt::Debug for Veil {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.hidden.iter().map(|(_, name)| name)).finish()
    }
}

impl Veil {
    /// Of a build's args: names and values.
    pub fn new<'a>(arguments: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let hides = |(name, value): &(&str, &str)| value.len() >= SHORTEST && !is_harmless(name);
        let mut hidden: Vec<(String, String)> = arguments
            .into_iter()
            .filter(hides)
            .map(|(name, value)| (value.to_owned(), name.to_owned()))
            .collect();
        hidden.sort_by_key(|(value, name)| (std::cmp::Reverse(value.len()), name.clone()));
        Veil { hidden }
    }

    /// A text with names in the place of values.
    pub fn text(&self, text: &str) -> String {
        self.hidden.iter().fold(text.to_owned(), |text, (value, name)| {
            if text.contains(value.as_str()) {
                text.replace(value.as_str(), &format!("${name}"))
            } else {
                text
            }
        })
    }

    /// Inputs of which nothing is shown that must not be.
    pub fn inputs(&self, inputs: &Arc<Inputs>) -> Arc<Inputs> {
        if self.hidden.is_empty() {
            return Arc::clone(inputs);
        }
        let mut inputs = Inputs::clone(inputs);
        for step in inputs.stages.iter_mut().flat_map(|stage| &mut stage.steps) {
            step.instruction = self.text(&step.instruction);
            step.parts.iter_mut().for_each(|part| self.part(part));
        }
        inputs.image.iter_mut().for_each(|part| self.part(part));
        inputs.unknown.iter_mut().for_each(|unknown| unknown.what = self.text(&unknown.what));
        Arc::new(inputs)
    }

    /// The same for the steps as the engine showed them.
    pub fn stages(&self, stages: &[StageOutcome]) -> Vec<StageOutcome> {
        let mut stages = stages.to_vec();
        for step in stages.iter_mut().flat_map(|stage| &mut stage.steps) {
            step.instruction = self.text(&step.instruction);
        }
        stages
    }

    fn part(&self, part: &mut Part) {
        // Those are digests.
        if matches!(part.kind, PartKind::Argument | PartKind::Variable) {
            return;
        }
        let veiled = self.text(&part.value);
        if veiled != part.value {
            part.value = format!("{veiled} ({})", Digest::of(part.value.as_bytes()).short());
        }
        part.name = self.text(&part.name);
    }
}

fn is_harmless(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    !SECRET.iter().any(|word| name.contains(word)) && HARMLESS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inputs::{StageInputs, StepInputs, StepRules};

    #[test]
    fn values_give_way_to_names() {
        let arguments = [
            ("TOKEN", "hunter22"),
            ("VERSION", "2.0.1"),
            ("TOKEN_VERSION", "99.9"),
            ("ENV", "dev"),
            ("HOST", "db.example.com"),
        ];
        let veil = Veil::new(arguments);
        assert_eq!(
            veil.text("RUN curl -u hunter22 https://db.example.com/2.0.1/dev/99.9"),
            "RUN curl -u $TOKEN https://$HOST/2.0.1/dev/$TOKEN_VERSION"
        );
        assert_eq!(format!("{veil:?}"), r#"["HOST", "TOKEN", "TOKEN_VERSION"]"#);
    }

    #[test]
    fn another_hidden_value_is_another_text() {
        let inputs = |value: &str| {
            let instruction = "RUN make".to_owned();
            let folder = format!("/home/{value}");
            let part = Part { kind: PartKind::State, name: "working folder".to_owned(), value: folder };
            let step = StepInputs {
                number: 1,
                line: 1,
                instruction,
                digest: Digest::of(value.as_bytes()),
                parts: vec![part],
                files: Vec::new(),
            };
            let inputs = Inputs {
                digest: Digest::of(value.as_bytes()),
                unknown: Vec::new(),
                rules: StepRules::BuildKit,
                stages: vec![StageInputs { name: "a".to_owned(), platform: None, steps: vec![step] }],
                image: Vec::new(),
                files: Vec::new(),
            };
            Veil::new([("TOKEN", value)]).inputs(&Arc::new(inputs))
        };
        let (one, other) = (inputs("hunter22"), inputs("hunter23"));
        let (one, other) = (&one.stages[0].steps[0], &other.stages[0].steps[0]);
        assert!(one.parts[0].value.starts_with("/home/$TOKEN ("), "{one:?}");
        assert_ne!(one.parts, other.parts);
        assert!(!format!("{one:?}").contains("hunter"));
    }
}
