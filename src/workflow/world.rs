//! What every command gets: the surroundings, as values.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::base::env::Environment;
use crate::base::printer::Printer;
use crate::base::process::{self, Interrupts};
use crate::context::stat_cache::StatCache;
use crate::workflow::error::Error;

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
    /// What was read of contexts in this run, by their roots: images of one project take the same files.
    pub files: Arc<Mutex<BTreeMap<PathBuf, StatCache>>>,
}

impl World {
    /// Does work that only asks and copies. An interrupt drops it where it stands, and with it the programs that it asks:
    /// they have a process group of their own, so that a terminal's interrupt does not reach them.
    ///
    /// # Errors
    ///
    /// Those of the work, and the interrupt.
    pub async fn unless_interrupted<T, E: From<Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut interrupts = self.interrupts.clone();
        tokio::select! {
            result = work => result,
            () = process::interrupted(&mut interrupts) => {
                let signal = *interrupts.borrow();
                Err(Error::Process(process::Error::Interrupted { signal }).into())
            }
        }
    }
}
