//! Script lines, read as a POSIX shell reads them, as far as that goes without running anything: which commands there
//! are, in which folder, with which variables. What cannot be known without running it is unknown, by its name.

mod course;
mod expand;
mod lex;
mod walk;

pub use walk::{Found, State, joined};
