//! HTML as it is written: only literals of ours go in as they are; whatever comes from elsewhere is escaped on its way.

use crate::report::line;

/// Schemes that a link may have. `javascript:` and `data:` run what they hold.
const SCHEMES: [&str; 2] = ["https://", "http://"];

/// Longer texts are cut: a page is read by a person.
const LONGEST: usize = 4000;

/// A piece of a page.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Adds markup of our own.
    pub(super) fn raw(&mut self, html: &'static str) -> &mut Self {
        self.0.push_str(html);
        self
    }

    /// Adds a text from elsewhere, in one line; also within quotes.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for character in line::cut(&line::clean(text), LONGEST).chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        self
    }

    /// Adds a number.
    pub(super) fn number(&mut self, number: usize) -> &mut Self {
        self.0.push_str(&number.to_string());
        self
    }

    /// Adds a share of the whole, `12.34%`, kept between none and all.
    pub(super) fn percent(&mut self, share: f64) -> &mut Self {
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self.0.push_str(&format!("{:.2}%", share * 100.0));
        self
    }

    /// Adds a text whose words in backticks are code.
    pub(super) fn prose(&mut self, text: &str) -> &mut Self {
        let parts: Vec<&str> = text.split('`').collect();
        if parts.len().is_multiple_of(2) {
            return self.text(text);
        }
        for (index, part) in parts.into_iter().enumerate() {
            if index % 2 == 1 {
                self.raw("<code>").text(part).raw("</code>");
            } else {
                // Spaces around code belong to the prose.
                let (before, after) = (part.starts_with(' '), part.ends_with(' '));
                self.raw(if before { " " } else { "" }).text(part);
                self.raw(if after && !part.trim().is_empty() { " " } else { "" });
            }
        }
        self
    }

    /// Adds a link, or the text alone where the address is none that may be followed.
    pub(super) fn link(&mut self, address: &str, text: &str) -> &mut Self {
        if !may_be_followed(address) {
            return self.text(text);
        }
        self.raw("<a rel=\"noopener noreferrer\" href=\"").text(address).raw("\">").text(text).raw("</a>")
    }

    /// The whole.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Whether an address is one of the web, without anything in it that a browser takes out or reads otherwise.
pub(super) fn may_be_followed(address: &str) -> bool {
    let lower = address.to_ascii_lowercase();
    SCHEMES.iter().any(|scheme| lower.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
        && address.len() <= 2000
        && address.chars().all(|letter| letter.is_ascii_graphic() && !"\"'<>\\`{}|^".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(make: impl FnOnce(&mut Markup)) -> String {
        let mut markup = Markup::default();
        make(&mut markup);
        markup.finish()
    }

    #[test]
    fn texts_are_escaped() {
        let text = "<script>alert('x' & \"y\")</script>\u{1b}[2J\u{202e}";
        let escaped = "&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;";
        assert_eq!(
            made(|it| {
                it.text(text);
            }),
            escaped
        );
        assert_eq!(
            made(|it| {
                it.prose("`<b>` changed (`+1`) now");
            }),
            "<code>&lt;b&gt;</code> changed (<code>+1</code>) now"
        );
        assert_eq!(
            made(|it| {
                it.prose("one ` <b>");
            }),
            "one ` &lt;b&gt;"
        );
    }

    #[test]
    fn only_addresses_of_the_web_are_links() {
        for address in ["https://gitlab.example/a/-/pipelines/7?x=1&y=2#z", "HTTP://h/"] {
            assert!(
                made(|it| {
                    it.link(address, "x");
                })
                .starts_with("<a rel="),
                "{address}"
            );
        }
        for address in [
            "javascript:alert(1)",
            "java\nscript:alert(1)",
            " https://x",
            "https://",
            "//evil.example",
            "data:text/html,x",
            "https://x/\" onclick=\"x",
            "https://x/ y",
            "https://x/\u{202e}y",
            "file:///etc/passwd",
        ] {
            assert_eq!(
                made(|it| {
                    it.link(address, "<x>");
                }),
                "&lt;x&gt;",
                "{address}"
            );
        }
    }

    #[test]
    fn shares_stay_within_the_whole() {
        let shares = [0.1234, -1.0, 7.0, f64::NAN, f64::INFINITY];
        assert_eq!(
            made(|it| shares.iter().for_each(|share| {
                it.percent(*share);
            })),
            "12.34%0.00%100.00%0.00%0.00%"
        );
    }
}
