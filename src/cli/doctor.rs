//! `layerlift doctor`: every check with what it saw, as text or JSON, and an exit code that tells whom to ask.

use serde_json::{Value, json};

use crate::cli::app::{DoctorArgs, Format};
use crate::cli::failure::{ExitCode, Failure};
use crate::workflow::doctor::{self, About, Check, Verdict};
use crate::workflow::world::World;

/// Version of the JSON form. It rises when a key goes or means something else.
const VERSION: u32 = 1;

/// Width of the verdicts, and of the names, in the text form.
const VERDICT_WIDTH: usize = 7;
const NAME_WIDTH: usize = 16;

/// Runs it.
pub async fn run(arguments: DoctorArgs, world: &World) -> Result<u8, Failure> {
    let resolved = arguments.settings.resolve(&world.environment, &world.folder);
    let settings = match &resolved {
        Ok(settings) => Ok(settings),
        // A flag that makes no sense is no finding.
        Err(failure) if failure.code() == ExitCode::USAGE => return Err(failure.clone()),
        Err(failure) => Err(failure.to_string()),
    };
    let checks =
        doctor::examine(world, settings.as_ref().map(|settings| *settings).map_err(String::as_str)).await;
    world.printer.data(&match arguments.format {
        Format::Text => text(&checks),
        Format::Json => format!("{:#}\n", as_json(&checks)),
    });
    Ok(exit_code(&checks).map_or(0, |code| code.0))
}

/// The code of the first problem in the order of the way: without an engine no registry helps.
fn exit_code(checks: &[Check]) -> Option<ExitCode> {
    let order = [
        (About::Engine, ExitCode::ENGINE),
        (About::Registry, ExitCode::REGISTRY),
        (About::Settings, ExitCode::CONFIG),
    ];
    let has_problem =
        |about| checks.iter().any(|check| check.about == about && check.verdict == Verdict::Problem);
    order.into_iter().find(|(about, _)| has_problem(*about)).map(|(_, code)| code)
}

fn text(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let mut start = format!("{:<VERDICT_WIDTH$}  {:<NAME_WIDTH$}", check.verdict.as_str(), check.name);
        let hint = check.hint.iter().map(|hint| format!("hint: {hint}"));
        for line in check.evidence.iter().cloned().chain(hint) {
            text += &format!("{start}  {line}\n");
            start = " ".repeat(VERDICT_WIDTH + 2 + NAME_WIDTH);
        }
    }
    text
}

fn as_json(checks: &[Check]) -> Value {
    let check = |check: &Check| {
        json!({
            "name": check.name,
            "verdict": check.verdict.as_str(),
            "evidence": check.evidence,
            "hint": check.hint,
        })
    };
    json!({
        "version": VERSION,
        "healthy": exit_code(checks).is_none(),
        "checks": checks.iter().map(check).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, about: About, verdict: Verdict) -> Check {
        let hint = (verdict != Verdict::Ok).then(|| "do something".to_owned());
        Check { name, about, verdict, evidence: vec!["seen".to_owned(), "seen too".to_owned()], hint }
    }

    #[test]
    fn checks_are_shown_with_their_evidence() {
        let checks = [
            check("docker engine", About::Engine, Verdict::Ok),
            check("write permission", About::Registry, Verdict::Problem),
        ];
        insta::assert_snapshot!(text(&checks), @"
        ok       docker engine     seen
                                   seen too
        problem  write permission  seen
                                   seen too
                                   hint: do something
        ");
        assert_eq!(as_json(&checks)["healthy"], false);
        assert_eq!(as_json(&checks)["checks"][1]["verdict"], "problem");
    }

    #[test]
    fn the_engine_comes_first() {
        let problem = |about| check("x", about, Verdict::Problem);
        let code = |checks: &[Check]| exit_code(checks).map(|code| code.0);
        assert_eq!(
            code(&[problem(About::Settings), problem(About::Registry), problem(About::Engine)]),
            Some(69)
        );
        assert_eq!(code(&[problem(About::Settings), problem(About::Registry)]), Some(74));
        assert_eq!(code(&[problem(About::Settings)]), Some(78));
        assert_eq!(code(&[check("x", About::Engine, Verdict::Warning)]), None);
    }
}
