//! The HTML report: what `--html FILE` writes and `layerlift report` makes of a record, for people.
//!
//! One file that needs no network: no script, style, font or image comes from elsewhere, and the page's own policy
//! (CSP) forbids it. There is no script at all; folding is `<details>`. What a page tells comes from Dockerfiles,
//! engines, registries and records, and is taken for hostile: `markup` escapes every text, and lets no address but those
//! of the web become a link.

mod markup;
mod page;
mod steps;
mod view;

use std::path::Path;

use jiff::Timestamp;

use crate::base::units::{duration, plural};
use crate::model::outcome::{GroupOutcome, Outcome, StepStatus};
use crate::model::record::Record;
use crate::report::file;
use crate::report::html::markup::Markup;
use crate::report::html::view::View;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

/// The page of a build that ended at `now`.
pub fn of_outcome(outcome: &Outcome, now: Timestamp) -> String {
    of_view(&View::of_outcome(outcome, now))
}

/// The page of a build that left a record.
pub fn of_record(record: &Record) -> String {
    of_view(&View::of_record(record))
}

/// The page of several images that were built together, and done at `now`.
pub fn of_group(group: &GroupOutcome, now: Timestamp) -> String {
    let answer = format!(
        "{}: {} of {} cached, {} ran, {}",
        plural(group.members.len(), "image"),
        group.count(StepStatus::Cached),
        plural(group.members.iter().flat_map(|it| &it.outcome.stages).map(|it| it.steps.len()).sum(), "step"),
        group.count(StepStatus::Run),
        duration(group.duration),
    );
    let mut body = Markup::default();
    body.raw("<header class=\"head\">");
    page::seal(&mut body, group.status);
    body.raw("<h1>").text(&answer).raw("</h1></header>\n");
    if !group.warnings.is_empty() {
        body.raw("<h2>Warnings</h2>\n");
        page::warnings(&mut body, &group.warnings);
    }
    for (number, member) in group.members.iter().enumerate() {
        let view = View { name: Some(&member.name), ..View::of_outcome(&member.outcome, now) };
        body.raw("<section class=\"member\">\n");
        page::build(&mut body, &view, number, 2);
        body.raw("</section>\n");
    }
    whole(&answer, body)
}

/// Writes a page, whole or not at all.
pub fn write(path: &Path, page: &str) -> Result<(), file::Error> {
    file::replace(path, page.as_bytes())
}

fn of_view(view: &View<'_>) -> String {
    let mut body = Markup::default();
    page::build(&mut body, view, 0, 1);
    whole(&format!("{}, {}", page::answer(view), duration(view.duration)), body)
}

/// Puts title, style and body into the page.
fn whole(title: &str, mut body: Markup) -> String {
    body.raw("<footer>Made by layerlift ")
        .raw(env!("CARGO_PKG_VERSION"))
        .raw(". Times of steps count from the begin of the build; steps run side by side.</footer>\n");
    let mut escaped = Markup::default();
    escaped.text(title);
    let parts = [
        ("<!--title-->", format!("{} · layerlift", escaped.finish())),
        ("/*style*/", STYLE.to_owned()),
        ("<!--body-->", body.finish()),
    ];
    let mut rest = PAGE;
    let mut page = String::new();
    for (mark, part) in parts {
        let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(&part);
        rest = after;
    }
    page + rest
}

#[cfg(test)]
mod tests;
