//! The list of a repository's tags, page by page (`Link`, RFC 8288, as the distribution spec uses it).

use reqwest::header::LINK;
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::model::reference::Repository;
use crate::registry::auth::Access;
use crate::registry::client::Client;
use crate::registry::error::Error;
use crate::registry::host::same_origin;
use crate::registry::http::Request;

/// What one page may hold, in bytes.
const LARGEST_PAGE: u64 = 4 << 20;

/// The number of tags that a page is asked to hold.
const PAGE: &str = "1000";

/// A repository with more pages is not listed to its end by anyone.
const MOST_PAGES: usize = 200;

#[derive(Deserialize)]
struct Page {
    /// Absent, or `null`, in a repository that has lost all its tags.
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of a repository, in the registry's order. A repository that does not exist has none.
    pub async fn list_tags(&self, repository: &Repository) -> Result<Vec<String>, Error> {
        let mut url = self.first_page(repository, PAGE)?;
        let mut tags = Vec::new();
        for _ in 0..MOST_PAGES {
            let Some((page, next)) = self.page(repository, &url).await? else { return Ok(tags) };
            tags.extend(page);
            match next {
                Some(next) => url = next,
                None => return Ok(tags),
            }
        }
        Err(Error::malformed(&what(repository), format!("more than {MOST_PAGES} pages")))
    }

    /// Whether a repository has a tag at all.
    pub async fn has_tags(&self, repository: &Repository) -> Result<bool, Error> {
        let page = self.page(repository, &self.first_page(repository, "1")?).await?;
        Ok(page.is_some_and(|(tags, _)| !tags.is_empty()))
    }

    fn first_page(&self, repository: &Repository, size: &str) -> Result<Url, Error> {
        let base = self.base(repository.registry())?;
        let first = base.join(&format!("v2/{}/tags/list?n={size}", repository.path()));
        first.map_err(|_| Error::malformed(&what(repository), "not a path of a registry"))
    }

    /// The tags of one page, and the address of the next one. `None`: there is no such repository.
    async fn page(
        &self,
        repository: &Repository,
        url: &Url,
    ) -> Result<Option<(Vec<String>, Option<Url>)>, Error> {
        let what = what(repository);
        let base = self.base(repository.registry())?;
        let mut request =
            Request::new(Method::GET, &base, url.clone(), Access::pull(repository), what.clone());
        request.keep = Some(LARGEST_PAGE);
        let reply = match self.send(&request).await {
            Err(error) if error.is_not_found() => return Ok(None),
            reply => reply?,
        };
        let page: Page = serde_json::from_slice(&reply.body)
            .map_err(|error| Error::malformed(&what, format!("the answer is no list of tags: {error}")))?;
        let links = reply.response.headers().get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let next = links.filter_map(next_of).next().map(|next| {
            next_page(url, &next)
                .ok_or_else(|| Error::malformed(&what, "the registry names a next page elsewhere"))
        });
        Ok(Some((page.tags.unwrap_or_default(), next.transpose()?)))
    }
}

/// What is asked for, in the words of an error.
fn what(repository: &Repository) -> String {
    format!("tags of {repository}")
}

/// The address of the page after this one: another one, of the same server.
fn next_page(page: &Url, next: &str) -> Option<Url> {
    page.join(next).ok().filter(|url| same_origin(url, page) && url != page)
}

/// The target of `rel="next"` in a `Link` header with one or several links.
fn next_of(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let end = after.find('<').unwrap_or(after.len());
        let is_next = after[..end].split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim().eq_ignore_ascii_case("rel")
                && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = &after[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_every_form() {
        let cases = [
            (r#"</v2/a/tags/list?last=b&n=2>; rel="next""#, Some("/v2/a/tags/list?last=b&n=2")),
            (r#"<x>; title="t"; REL=Next"#, Some("x")),
            (r#"<p>; rel="prev", <n>; rel="next""#, Some("n")),
            (r#"<p>; rel="prev""#, None),
            (r#"<n; rel="next""#, None),
            ("", None),
        ];
        for (header, expected) in cases {
            assert_eq!(next_of(header).as_deref(), expected, "{header}");
        }
    }

    #[test]
    fn the_next_page_is_another_one_of_the_same_server() {
        let page: Url = "https://r.io/v2/a/tags/list?n=1".parse().expect("url");
        let next = |text| next_page(&page, text).map(String::from);
        assert_eq!(next("?n=1&last=x").as_deref(), Some("https://r.io/v2/a/tags/list?n=1&last=x"));
        assert_eq!(next("https://evil.example/v2/a/tags/list"), None);
        assert_eq!(next("?n=1"), None);
    }
}
