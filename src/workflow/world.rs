//! What every command gets: the surroundings, as values.

use std::path::PathBuf;

use crate::base::env::Environment;
use crate::base::printer::Printer;
use crate::base::process::Interrupts;

/// The surroundings of one run.
#[derive(Debug, Clone)]
pub struct World {
    /// The environment's variables.
    pub environment: Environment,
    /// The working folder.
    pub folder: PathBuf,
    /// Where words go.
    pub printer: Printer,
    /// Whether somebody wants us to stop.
    pub interrupts: Interrupts,
}
