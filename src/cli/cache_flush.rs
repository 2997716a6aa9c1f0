//! `layerlift cache flush`: the exports that builds left for later. What it tells goes to standard error.

use clap::Args;

use crate::cli::failure::{ExitCode, Failure};
use crate::cli::settings::SettingsArgs;
use crate::report::line::clean;
use crate::workflow::export::flush::{self, Flushed};
use crate::workflow::world::World;

/// Arguments of `cache flush`.
#[derive(Debug, Args)]
pub struct CacheFlushArgs {
    /// Fail where a cache could not be written [variable: LAYERLIFT_STRICT]
    #[arg(long)]
    pub strict: bool,
}

/// Runs it.
pub async fn run(arguments: &CacheFlushArgs, world: &World) -> Result<u8, Failure> {
    // Before the work: the folder of a build is not this one.
    let settings = SettingsArgs::default().resolve(&world.environment, &world.folder)?;
    let is_strict = arguments.strict || settings.strict;
    let printer = world.printer;
    if settings.read_only == Some(true) {
        printer.message("no cache is exported: this job writes none (--read-only)\n");
        return Ok(0);
    }
    let all = flush::flush(world, |own| printer.message(&format!("exporting to {}\n", clean(own)))).await;
    if all.is_empty() {
        printer.message("no cache is waiting to be exported here\n");
    }
    for Flushed { own, written, left, warnings } in &all {
        if let Some(reason) = left {
            printer.message(&format!("cache {} is not written: {}\n", clean(own), clean(reason)));
        }
        for written in written {
            printer.message(&format!("written {}: {}\n", written.what, clean(&written.reference)));
        }
        warnings.iter().for_each(|warning| printer.warning(warning));
    }
    let warnings: Vec<&str> = all.iter().flat_map(|it| &it.warnings).map(String::as_str).collect();
    if is_strict && !warnings.is_empty() {
        let hint = "without --strict these are warnings";
        return Err(Failure::new(ExitCode::STRICT, warnings.join("; ")).with_hint(hint));
    }
    Ok(0)
}
