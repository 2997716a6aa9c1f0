//! Foldable parts of a log, in the dialect of whoever shows it; nothing at all on a person's machine.
//!
//! At most one section is open at a time: GitHub's groups do not nest. Opening the next closes the last.

use jiff::Timestamp;

use crate::model::pipeline::Provider;
use crate::report::{github, gitlab};

/// The sections of one log.
#[derive(Debug)]
pub struct Sections {
    provider: Provider,
    /// How many there were.
    number: u32,
    open: Option<String>,
}

impl Sections {
    /// A log that this provider shows, with no section open.
    pub fn new(provider: Provider) -> Self {
        Sections { provider, number: 0, open: None }
    }

    /// What to print to begin the section of a run of whoever builds: empty or whole lines.
    pub fn open(&mut self, now: Timestamp) -> String {
        const TITLE: &str = "layerlift: build";
        let close = self.close(now);
        self.number += 1;
        // GitLab tells them apart by their names.
        let name = self.open.insert(format!("layerlift_build_{}", self.number));
        match self.provider {
            Provider::GitLab => close + &gitlab::section_start(name, TITLE, now),
            Provider::GitHub => close + &github::group(TITLE),
            Provider::OtherCi | Provider::Local => close,
        }
    }

    /// What to print to end the section that is open, if one is.
    pub fn close(&mut self, now: Timestamp) -> String {
        match (self.provider, self.open.take()) {
            (Provider::GitLab, Some(name)) => gitlab::section_end(&name, now),
            (Provider::GitHub, Some(_)) => github::endgroup(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_has_its_dialect_and_sections_do_not_nest() {
        let now = Timestamp::from_second(7).unwrap();
        let log = |provider| {
            let mut sections = Sections::new(provider);
            [sections.open(now), sections.open(now), sections.close(now), sections.close(now)].concat()
        };
        let group = "::group::layerlift: build\n::endgroup::\n";
        assert_eq!(log(Provider::GitHub), group.repeat(2));
        assert_eq!(
            log(Provider::GitLab).replace("\u{1b}[0K", "").replace('\r', " "),
            "section_start:7:layerlift_build_1[collapsed=true] layerlift: build\nsection_end:7:layerlift_build_1 \n\
             section_start:7:layerlift_build_2[collapsed=true] layerlift: build\nsection_end:7:layerlift_build_2 \n"
        );
        assert_eq!(log(Provider::Local) + &log(Provider::OtherCi), "");
    }
}
