//! The modes of the files that a build takes in: as git records them, or as they are.

use serde::Serialize;

/// What was found and decided about them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Modes {
    /// Tracked files enter the build with the mode that git records.
    pub normalized: bool,
    /// Why, or why not.
    pub reason: String,
    /// Files and folders of the build's contexts that git tracks; 0 where nobody looked.
    pub tracked: usize,
    /// Those of them that have another mode here.
    pub different: usize,
}

impl Modes {
    /// They are left as they are.
    pub fn untouched(reason: impl Into<String>) -> Self {
        Modes { reason: reason.into(), ..Modes::default() }
    }

    /// Whether any mode is changed on the way into the build.
    pub fn changes(&self) -> bool {
        self.normalized && self.different > 0
    }

    /// `12 of 340 tracked files and folders have another mode here`.
    pub fn count(&self) -> String {
        match self.different {
            0 => format!("all {} tracked files and folders have it here", self.tracked),
            some => format!("{some} of {} tracked files and folders have another here", self.tracked),
        }
    }
}
