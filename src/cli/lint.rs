//! `layerlift lint`: advice on a Dockerfile, each piece with the line that it is about and what it costs.
//!
//! Keys of `--format json`:
//!
//! | key | meaning |
//! |---|---|
//! | `version` | of this form; it rises when a key goes or means something else |
//! | `dockerfile` | its name |
//! | `advice` | `line`, `rule`, `text`, `help`, and `costs` in seconds or null; in the order of the lines |
//! | `measured` | when the build began that tells how long steps take, or null |
//! | `unseen` | what could not be looked at and why, or null |

use std::fmt::Write;

use serde_json::{Value, json};

use crate::base::units::{duration, plural};
use crate::cli::app::{Format, LintArgs};
use crate::cli::failure::{ExitCode, Failure};
use crate::dockerfile::snippet;
use crate::report::line::clean;
use crate::workflow::lint::{self, Findings};
use crate::workflow::record_file;
use crate::workflow::world::World;

/// Version of the JSON form.
const VERSION: u32 = 1;

/// Runs it.
pub async fn run(arguments: LintArgs, world: &World) -> Result<u8, Failure> {
    let request = arguments.engine.into_request();
    let settings = arguments.settings.resolve(&world.environment, &world.folder)?;
    let record = match record_file::find(world, &settings, arguments.record.as_deref()).await {
        Ok(record) => Some(record),
        // Nobody named one; without it, nobody knows how long steps take.
        Err(_) if arguments.record.is_none() => None,
        Err(error) => return Err(error.into()),
    };
    let findings = lint::lint(world, &request, record.as_deref())?;
    match arguments.format {
        Format::Text => {
            world.printer.data(&text(&findings));
            if let Some(unseen) = &findings.unseen {
                world.printer.warning(unseen);
            }
            let said = match findings.advice.len() {
                0 => format!("nothing to say about {}", clean(&findings.name)),
                some => format!("{} of advice", plural(some, "piece")),
            };
            world.printer.message(&format!("layerlift: {said}\n"));
        }
        Format::Json => world.printer.data(&format!("{:#}\n", as_json(&findings))),
    }
    let failed = arguments.error && !findings.advice.is_empty();
    Ok(if failed { ExitCode::ADVICE.0 } else { 0 })
}

/// Each piece of advice as a compiler would give it.
fn text(findings: &Findings) -> String {
    let mut out = String::new();
    for advice in &findings.advice {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{}:{}: {}: {}",
            clean(&findings.name),
            advice.line,
            advice.rule,
            clean(&advice.text)
        );
        out.push_str(&snippet(&findings.text, advice.line, ""));
        let margin = " ".repeat(advice.line.to_string().len());
        let _ = writeln!(out, "{margin} = {}", clean(&advice.help));
        if let Some(costs) = advice.costs {
            let when =
                findings.measured.map(|at| at.strftime(", by the build of %Y-%m-%d %H:%M UTC").to_string());
            let _ =
                writeln!(out, "{margin} = costs {} each time{}", duration(costs), when.unwrap_or_default());
        }
        out.push('\n');
    }
    out
}

fn as_json(findings: &Findings) -> Value {
    json!({
        "version": VERSION,
        "dockerfile": findings.name,
        "advice": findings.advice,
        "measured": findings.measured,
        "unseen": findings.unseen,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::lint::{Advice, Rule};

    fn findings() -> Findings {
        let advice = |line, rule, text: &str, help: &str, costs| Advice {
            line,
            rule,
            text: text.to_owned(),
            help: help.to_owned(),
            costs,
        };
        Findings {
            name: "docker/Dockerfile".to_owned(),
            text: "FROM node\n  COPY . .\nRUN npm ci\n".to_owned(),
            advice: vec![
                advice(
                    2,
                    Rule::CopyBeforeInstall,
                    "sources first",
                    "turn it round",
                    Some(Duration::from_millis(41_250)),
                ),
                advice(3, Rule::Unknown, "what\u{1b}[2J is\nthis", "nothing", None),
            ],
            unseen: None,
            measured: Some("2026-11-23T12:00:30Z".parse().expect("a time")),
        }
    }

    #[test]
    fn advice_is_shown_with_its_line() {
        insta::assert_snapshot!(text(&findings()), @r"
        docker/Dockerfile:2: copy-before-install: sources first
          |
        2 |   COPY . .
          |   ^^^^^^^^
          = turn it round
          = costs 41.2s each time, by the build of 2026-11-23 12:00 UTC

        docker/Dockerfile:3: unknown: what is this
          |
        3 | RUN npm ci
          | ^^^^^^^^^^
          = nothing
        ");
    }

    #[test]
    fn the_json_form_has_seconds() {
        let json = as_json(&findings());
        assert_eq!(json["advice"][0]["rule"], "copy-before-install");
        assert_eq!(json["advice"][0]["costs"], 41.25);
        assert_eq!(json["advice"][1]["costs"], Value::Null);
        assert_eq!(json["measured"], "2026-11-23T12:00:30Z");
    }
}
