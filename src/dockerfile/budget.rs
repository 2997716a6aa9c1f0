//! A bound on the work that the expansions of one file make, for values that double with every `ENV` line.

use super::expand::ExpandError;

/// What all expansions of a file may cost together, in characters produced and pattern steps made.
#[derive(Debug)]
pub(super) struct Budget(pub(super) usize);

impl Budget {
    /// Enough for any real file: hundreds of stages with environments of kilobytes use a hundredth.
    pub(super) fn new() -> Self {
        Budget(64 << 20)
    }

    /// Takes `amount`, or says that there is no more.
    pub(super) fn spend(&mut self, amount: usize) -> Result<(), ExpandError> {
        self.0 = self.0.checked_sub(amount).ok_or(ExpandError::TooMuch)?;
        Ok(())
    }
}
