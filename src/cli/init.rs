//! `layerlift init`: shows the CI file for the repository as a diff, and writes it where nothing is lost.

use crate::cli::app::{InitArgs, InitProvider};
use crate::cli::failure::{ExitCode, Failure};
use crate::workflow::init::{self, Error, Provider, Wanted};
use crate::workflow::world::World;

/// Runs it.
pub async fn run(arguments: InitArgs, world: &World) -> Result<u8, Failure> {
    let provider = match arguments.provider {
        InitProvider::Gitlab => Provider::GitLab,
        InitProvider::Github => Provider::GitHub,
        InitProvider::Circleci => Provider::CircleCi,
    };
    let wanted =
        Wanted { provider, files: arguments.files, image: arguments.image, sha256: arguments.sha256 };
    let proposal = match init::propose(&world.folder, wanted).await {
        // The lines are what the user has to put there.
        Err(Error::Unmergeable { file, reason, wanted }) => {
            world.printer.data(&wanted);
            let message = format!("{file} is left as it is: {reason}");
            return Err(Failure::new(ExitCode::CANNOT_WRITE, message)
                .with_hint("put the lines above into it by hand"));
        }
        other => other.map_err(failure)?,
    };
    // Names of files are in it, which must not steer the terminal.
    let say = |text: &str| {
        let text = text.replace(|letter: char| letter.is_control() && letter != '\n', " ");
        world.printer.message(&format!("layerlift: {text}\n"));
    };
    proposal.notes.iter().for_each(|note| say(note));
    say(&format!("jobs for {}", proposal.builds.join(", ")));
    let file = proposal.file;
    if proposal.old.as_ref() == Some(&proposal.new) {
        say(&format!("{file} has them already"));
        return Ok(0);
    }
    world.printer.data(&proposal.diff());
    if arguments.dry_run {
        say(&format!("{file} was not written: --dry-run"));
    } else if proposal.old.is_some() && !arguments.force {
        let hint = match proposal.keeps_all {
            true => "--force writes what the diff shows; every line that is there stays",
            false => "--force replaces it by what the diff shows",
        };
        let message = format!("{file} is there already, and was not changed");
        return Err(Failure::new(ExitCode::CANNOT_WRITE, message).with_hint(hint));
    } else {
        proposal.write().map_err(failure)?;
        say(&format!("{file} is written"));
    }
    if !proposal.left_to_do.is_empty() {
        say(&format!("left to do:\n  - {}", proposal.left_to_do.join("\n  - ")));
    }
    Ok(0)
}

fn failure(error: Error) -> Failure {
    let failed = |code| Failure::from_error(code, &error);
    match &error {
        Error::NothingFound { notes, .. } => {
            let hint = "name what is to be built: `layerlift init gitlab path/to/Dockerfile`";
            notes.iter().fold(failed(ExitCode::NO_INPUT), Failure::with_hint).with_hint(hint)
        }
        Error::NoFile { .. } | Error::Unreadable { .. } => failed(ExitCode::NO_INPUT),
        Error::Broken { .. } => failed(ExitCode::DOCKERFILE),
        Error::Image(_) => {
            failed(ExitCode::USAGE).with_hint("it is [registry/]repository in lower case, without a tag")
        }
        Error::Sum(_) => failed(ExitCode::USAGE),
        Error::Unmergeable { .. } | Error::Write(_) => failed(ExitCode::CANNOT_WRITE),
    }
}
