//! `docker ...`: global flags, then the subcommands that build.

use crate::invocation::{Invocation, Tool};

/// Reads the words after `docker`.
pub(super) fn recognise(words: &[String]) -> Option<Invocation> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (tool, arguments) = match words.as_slice() {
        ["build", rest @ ..]
        | ["image" | "builder" | "buildx", "build", rest @ ..]
        | ["buildx", "b", rest @ ..] => (Tool::Build, rest),
        _ => return None,
    };
    Some(Invocation {
        tool,
        environment: Vec::new(),
        globals: Vec::new(),
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_the_forms_of_docker_build() {
        for form in [
            "build -t x .",
            "image build -t x .",
            "builder build -t x .",
            "buildx build -t x .",
            "buildx b -t x .",
        ] {
            let words: Vec<String> = form.split(' ').map(str::to_owned).collect();
            let found = recognise(&words).expect(form);
            assert_eq!((found.tool, found.arguments.join(" ").as_str()), (Tool::Build, "-t x ."), "{form}");
        }
        assert_eq!(recognise(&["ps".to_owned()]), None);
    }
}
