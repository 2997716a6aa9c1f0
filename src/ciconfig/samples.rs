//! Jobs as text, for tests.

use super::unknown::shown;
use super::{Action, Job, Provider};

/// Place, variables, steps, notes.
pub(super) fn text(jobs: &[Job]) -> String {
    let mut text = String::new();
    for job in jobs {
        text += &format!("{} ({}:{})\n", job.name, job.file, job.line);
        for (name, value) in &job.variables {
            text += &format!("  {name}={}\n", shown(value));
        }
        for step in &job.steps {
            let mark = if step.conditional { "?" } else { "$" };
            if let Some(folder) = step.folder.as_ref().filter(|folder| !folder.is_empty()) {
                text += &format!("  in {folder}:\n");
            }
            for (name, value) in &step.environment {
                text += &format!("  + {name}={}\n", shown(value));
            }
            match &step.action {
                Action::Script { text: script, fresh } => {
                    // Those of the others always are.
                    let after = *fresh && job.provider == Provider::GitLab;
                    text += if after { "  after:\n" } else { "" };
                    script.lines().for_each(|line| text += &format!("  {} {}\n", mark, shown(line)));
                }
                Action::Build { builder, inputs } => {
                    text += &format!("  {} {builder:?}\n", mark);
                    for (name, value) in inputs.iter().filter(|(_, value)| !value.is_empty()) {
                        text += &format!("      {name}: {}\n", shown(value).replace('\n', "\\n"));
                    }
                }
                Action::Foreign { what, reason } => text += &format!("  - {what}: {reason}\n"),
            }
        }
        job.notes.iter().chain(&job.left_out).for_each(|note| text += &format!("  # {note}\n"));
    }
    text
}
