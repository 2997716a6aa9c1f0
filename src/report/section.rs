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
    open: Option<String>,
}

impl Sections {
    /// A log that this provider shows, with no section open.
    pub fn new(provider: Provider) -> Self {
        Sections { provider, open: None }
    }

    /// What to print to begin a section: empty or whole lines. The name must be unique in the log.
    pub fn open(&mut self, name: &str, title: &str, now: Timestamp) -> String {
        let close = self.close(now);
        self.open = Some(name.to_owned());
        match self.provider {
            Provider::GitLab => close + &gitlab::section_start(name, title, now),
            Provider::GitHub => close + &github::group(title),
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
            [
                sections.open("a", "First", now),
                sections.open("b", "Second", now),
                sections.close(now),
                sections.close(now),
            ]
            .concat()
        };
        assert_eq!(log(Provider::GitHub), "::group::First\n::endgroup::\n::group::Second\n::endgroup::\n");
        assert_eq!(
            log(Provider::GitLab).replace("\u{1b}[0K", "").replace('\r', " "),
            "section_start:7:a[collapsed=true] First\nsection_end:7:a \n\
             section_start:7:b[collapsed=true] Second\nsection_end:7:b \n"
        );
        assert_eq!(log(Provider::Local) + &log(Provider::OtherCi), "");
    }
}
