//! Everything on a page but the waterfall: the answer first, then numbers, causes, the chain, facts and warnings.

use jiff::Timestamp;

use crate::base::units::{bytes, duration, plural};
use crate::model::outcome::{BuildStatus, StepStatus};
use crate::model::record::{Explanation, Miss};
use crate::report::html::markup::Markup;
use crate::report::html::steps;
use crate::report::html::view::View;
use crate::report::line::fit;

/// The longest instruction in a title.
const INSTRUCTION_IN_TITLE: usize = 70;

/// More stages than this are not searched for a miss: a hostile record could have a page made for hours.
const MOST_STAGES: usize = 10_000;

/// The answer in one line.
pub(super) fn answer(view: &View<'_>) -> String {
    let of = |status| view.count(status);
    let (all, cached, ran) = (view.steps(), of(StepStatus::Cached), of(StepStatus::Run));
    let failed =
        view.stages.iter().flat_map(|stage| &stage.steps).find(|step| step.status == StepStatus::Failed);
    match (view.status, failed) {
        (BuildStatus::Interrupted, _) => {
            format!("Interrupted: {cached} of {} cached, {ran} ran", plural(all, "step"))
        }
        (BuildStatus::Failed, Some(step)) => {
            format!("Failed at {}", fit(&step.instruction, INSTRUCTION_IN_TITLE))
        }
        (BuildStatus::Failed, None) => "The build failed".to_owned(),
        (BuildStatus::Succeeded, _) if view.reused.is_some() => {
            "Answered by an image that was there: nothing was built".to_owned()
        }
        (BuildStatus::Succeeded, _) if all == 0 => "Built, without a step that is known".to_owned(),
        (BuildStatus::Succeeded, _) if ran == 0 && cached == 1 => "The only step was cached".to_owned(),
        (BuildStatus::Succeeded, _) if ran == 0 => format!("All {cached} steps were cached"),
        (BuildStatus::Succeeded, _) => format!("{cached} of {} cached, {ran} ran", plural(all, "step")),
    }
}

/// One build. `level`: 1 where it is the page's only one, else 2. `member`: which of the page's builds.
pub(super) fn build(markup: &mut Markup, view: &View<'_>, member: usize, level: usize) {
    head(markup, view, level);
    cards(markup, view);
    let heading = |markup: &mut Markup, text: &'static str| {
        markup.raw(if level == 1 { "<h2>" } else { "<h3>" }).raw(text);
        markup.raw(if level == 1 { "</h2>\n" } else { "</h3>\n" });
    };
    if let Some(explanation) = view.explanation.filter(|it| **it != Explanation::default()) {
        heading(markup, "Why steps ran");
        causes(markup, view, member, explanation);
    }
    heading(markup, "Where the time went");
    steps::waterfall(markup, member, view);
    if !view.candidates.is_empty() || !view.cache_from.is_empty() || view.cache_to.is_some() {
        heading(markup, "Cache");
        cache(markup, view);
    }
    heading(markup, "Build");
    facts(markup, view);
    if !view.warnings.is_empty() {
        heading(markup, "Warnings");
        warnings(markup, view.warnings);
    }
}

/// The sign and the answer.
pub(super) fn seal(markup: &mut Markup, status: BuildStatus) {
    let (class, sign, word) = match status {
        BuildStatus::Succeeded => ("good", "✓", "succeeded"),
        BuildStatus::Failed => ("bad", "✕", "failed"),
        BuildStatus::Interrupted => ("off", "–", "interrupted"),
    };
    markup.raw("<span class=\"seal ").raw(class).raw("\" role=\"img\" aria-label=\"").raw(word).raw("\">");
    markup.raw(sign).raw("</span>");
}

fn head(markup: &mut Markup, view: &View<'_>, level: usize) {
    markup.raw("<header class=\"head\">");
    seal(markup, view.status);
    markup.raw("<div>").raw(if level == 1 { "<h1>" } else { "<h2>" });
    if let Some(name) = view.name {
        markup.text(name).raw(": ");
    }
    markup.text(&answer(view)).raw(if level == 1 { "</h1>\n" } else { "</h2>\n" });
    markup.raw("<p class=\"about\">");
    for tag in view.tags.iter().take(1) {
        markup.raw("<span><b>").text(tag).raw("</b></span>");
    }
    if let Some(scope) = view.scope {
        markup.raw("<span>scope <b>").text(scope).raw("</b></span>");
    }
    if let Some(commit) = view.commit {
        let short: String = commit.chars().take(9).collect();
        markup.raw("<span>commit ");
        match view.commit_url() {
            Some(url) => markup.link(&url, &short),
            None => markup.raw("<b>").text(&short).raw("</b>"),
        };
        markup.raw("</span>");
    }
    if let Some(url) = view.pipeline_url {
        markup.raw("<span>").link(url, "pipeline").raw("</span>");
    }
    markup.raw("<span><time datetime=\"").text(&view.created.to_string()).raw("\">");
    markup.text(&time(view.created)).raw("</time></span></p></div></header>\n");
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn cards(markup: &mut Markup, view: &View<'_>) {
    let (all, cached) = (view.steps(), view.count(StepStatus::Cached));
    let mut cards: Vec<(&'static str, String, String)> =
        vec![("total time", duration(view.duration), String::new())];
    if all > 0 {
        cards.push(("cached", cached.to_string(), format!("of {}", plural(all, "step"))));
        let ran = view.count(StepStatus::Run) + view.count(StepStatus::Failed);
        let ran = if ran == 0 { String::new() } else { format!("in {}", plural(ran, "step")) };
        cards.push(("spent in steps that ran", duration(view.worked()), ran));
    }
    cards.push(("build context sent", bytes(view.traffic.context), String::new()));
    cards.push(("layers fetched", bytes(view.traffic.fetched), String::new()));
    markup.raw("<dl class=\"cards\">\n");
    for (name, value, small) in &cards {
        markup.raw("<div><dt>").raw(name).raw("</dt><dd>").text(value);
        if !small.is_empty() {
            markup.raw(" <small>").text(small).raw("</small>");
        }
        markup.raw("</dd></div>\n");
    }
    markup.raw("</dl>\n");
}

fn causes(markup: &mut Markup, view: &View<'_>, member: usize, explanation: &Explanation) {
    markup.raw("<div class=\"box\">\n");
    if !explanation.misses.is_empty() {
        markup.raw("<ul class=\"misses\">\n");
        for miss in &explanation.misses {
            markup.raw("<li>");
            cause(markup, view, member, miss);
            markup.raw("</li>\n");
        }
        markup.raw("</ul>\n");
    }
    let mut foot: Vec<String> = Vec::new();
    if let Some((run, all)) = explanation.predicted {
        foot.push(format!("Said before the build: {run} of {} will run.", plural(all, "step")));
    }
    foot.extend(explanation.surprises.iter().map(|surprise| format!("Otherwise than said: {surprise}")));
    foot.extend(explanation.notes.iter().cloned());
    let compared = explanation.against.as_ref().map(|against| {
        let commit = against.commit.as_deref().map(|commit| commit.chars().take(9).collect::<String>());
        let commit = commit.map(|commit| format!(", commit {commit}")).unwrap_or_default();
        format!("Compared with {}{commit}, built {}.", against.reference, time(against.created))
    });
    if !foot.is_empty() || compared.is_some() {
        markup.raw("<div class=\"foot\">");
        for line in &foot {
            markup.raw("<p>").prose(line).raw("</p>");
        }
        if let Some(compared) = compared {
            markup.raw("<p>").text(&compared).raw("</p>");
        }
        markup.raw("</div>\n");
    }
    markup.raw("</div>\n");
}

fn cause(markup: &mut Markup, view: &View<'_>, member: usize, miss: &Miss) {
    let stages = view.stages.iter().take(MOST_STAGES).enumerate();
    let place = stages.filter(|(_, stage)| stage.name == miss.stage).find_map(|(index, stage)| {
        let row = stage.steps.iter().position(|step| step.number as usize == miss.number)?;
        Some((index, row))
    });
    let name = format!("{} step {}", miss.stage, miss.number);
    markup.raw("<div class=\"where\">");
    match place {
        Some((stage, row)) => {
            markup.raw("<a href=\"#");
            steps::anchor(markup, member, stage, row);
            markup.raw("\">").text(&name).raw("</a>");
        }
        None => {
            markup.raw("<b>").text(&name).raw("</b>");
        }
    }
    markup.raw("<code>").text(&fit(&miss.instruction, 160)).raw("</code>");
    if miss.line > 0 {
        markup.raw("<span class=\"muted\">line ").number(miss.line).raw("</span>");
    }
    markup.raw("</div>\n<ul>");
    for cause in &miss.causes {
        markup.raw("<li>").prose(&cause.text);
        if let Some(advice) = &cause.advice {
            markup.raw(" <span class=\"advice\">").prose(advice).raw("</span>");
        }
        markup.raw("</li>\n");
    }
    if miss.causes.is_empty() {
        markup.raw("<li class=\"muted\">what differs is not known</li>");
    }
    markup.raw("</ul>");
}

fn cache(markup: &mut Markup, view: &View<'_>) {
    markup.raw("<div class=\"box\">\n");
    if !view.candidates.is_empty() {
        markup.raw("<table class=\"plain\" aria-label=\"Candidate cache refs\">\n<tr>");
        markup.raw(
            "<th scope=\"col\" class=\"narrow\">Scope</th><th scope=\"col\" class=\"narrow\">Verdict</th>",
        );
        markup.raw("<th scope=\"col\">Cache ref</th></tr>\n");
        for candidate in view.candidates {
            markup.raw("<tr><td>").text(&candidate.scope).raw("</td><td>").text(&candidate.verdict);
            markup.raw("</td><td><code>").text(&candidate.reference).raw("</code></td></tr>\n");
        }
        markup.raw("</table>\n");
    }
    markup.raw("<div class=\"pad\"><dl class=\"facts\">\n");
    let read = view.cache_from.join(", ");
    let read = if read.is_empty() { "nothing" } else { read.as_str() };
    fact(markup, "read", read, true);
    fact(markup, "written", view.cache_to.unwrap_or("nothing"), true);
    fact(markup, "strategy", view.strategy, false);
    markup.raw("</dl></div>\n</div>\n");
}

fn facts(markup: &mut Markup, view: &View<'_>) {
    markup.raw("<div class=\"box pad\"><dl class=\"facts\">\n");
    if !view.tags.is_empty() {
        fact(markup, "image", &view.tags.join(", "), true);
    }
    if let Some(digest) = view.digest {
        fact(markup, "digest", digest, true);
    }
    if let Some(reused) = &view.reused {
        fact(markup, "answered by", reused, true);
    }
    if let Some(inputs) = view.inputs {
        fact(markup, "input digest", inputs, true);
    }
    for written in view.written {
        fact(markup, "wrote", &format!("{}: {}", written.what, written.reference), false);
    }
    if !view.engine.is_empty() {
        fact(markup, "engine", &view.engine, false);
    }
    if let Some(commit) = view.commit {
        fact(markup, "commit", commit, true);
    }
    markup.raw("</dl></div>\n");
}

fn fact(markup: &mut Markup, name: &'static str, value: &str, code: bool) {
    markup.raw("<dt>").raw(name).raw("</dt><dd>").raw(if code { "<code>" } else { "" }).text(value);
    markup.raw(if code { "</code></dd>\n" } else { "</dd>\n" });
}

/// A list of warnings.
pub(super) fn warnings(markup: &mut Markup, warnings: &[String]) {
    markup.raw("<div class=\"box pad\"><ul class=\"warnings\">\n");
    for warning in warnings {
        markup.raw("<li>").text(warning).raw("</li>\n");
    }
    markup.raw("</ul></div>\n");
}
