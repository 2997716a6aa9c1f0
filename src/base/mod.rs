//! The ground floor: what every other folder may stand on. Each file is the single door to one part of the outside.

pub mod clock;
pub mod env;
pub mod printer;
pub mod process;
pub mod secret;
pub mod units;
pub mod yaml;
