//! Several images that were built together: one line for the whole, some for each, in every form but JSON.
//!
//! What a single image's report tells in a table of all steps is told here of the steps that were not cached; the JSON
//! report has all of it. As in `text`, no line begins with a text from outside.

use std::fmt::Write;
use std::path::Path;

use crate::base::units::{duration, plural};
use crate::model::outcome::{BuildStatus, GroupOutcome, Outcome, StepStatus};
use crate::report::github::{escape, output};
use crate::report::gitlab::{add_cache_refs, is_plain};
use crate::report::line::{Paint, clean, fit};
use crate::report::rows;
use crate::report::text::{self, Style};
use crate::report::{explanation, file};

/// Images that get a dotenv variable of their own: GitLab takes twenty variables of a file unless its administrators say
/// otherwise.
const MOST_VARIABLES: usize = 15;

/// A line of a step has this before its instruction.
const BEFORE_INSTRUCTION: usize = 40;

/// The first line: how it ended, how many images there are, how much of them was cached.
pub fn headline(group: &GroupOutcome) -> String {
    let ended = match group.status {
        BuildStatus::Succeeded => String::new(),
        BuildStatus::Interrupted => "interrupted, ".to_owned(),
        BuildStatus::Failed => format!("failed with exit code {}, ", group.exit_code),
    };
    let (images, reused) = (group.members.len(), group.reused());
    let counts = || text::counts(|status| group.count(status));
    let how = match reused {
        0 => counts(),
        _ if reused == images => "all reused".to_owned(),
        _ => format!("{reused} reused, {}", counts()),
    };
    format!("layerlift: {ended}{}, {how}, {}", plural(images, "image"), duration(group.duration))
}

/// One image in a line: its counts, where its hits came from, what it failed at.
fn member(outcome: &Outcome) -> String {
    if let Some(reused) = &outcome.reused {
        return text::answer(reused);
    }
    let mut line = text::counts(|status| outcome.count(status));
    if let Some((stage, step)) = text::failed_step(outcome) {
        let _ = write!(line, ", failed at [{} {}/{}]", clean(stage), step.number, step.of);
    }
    let cache = match text::source(outcome) {
        Some(source) => format!("cache: {source}"),
        None if outcome.strategy == "off" => "cache: off".to_owned(),
        None => "no cache to read".to_owned(),
    };
    format!("{line} ({cache})")
}

/// The summary at the end of a log.
pub fn summary(group: &GroupOutcome, style: Style) -> String {
    let (head, rest) = ("layerlift:", headline(group));
    let paint = if group.status == BuildStatus::Succeeded { Paint::Strong } else { Paint::Bad };
    let mut out = format!("{}{}\n", paint.on(head, style.color), rest.strip_prefix(head).unwrap_or(&rest));
    for it in &group.members {
        let name = format!("image {}", clean(&it.name));
        let _ = writeln!(out, "  {}  {}", Paint::Strong.on(&name, style.color), member(&it.outcome));
        steps(&mut out, &it.outcome, style);
        for line in it.outcome.explanation.iter().flat_map(|explained| explanation::misses(&explained.misses))
        {
            let _ = writeln!(out, "    why      {line}");
        }
        if let Some(linked) = explanation::linked(&it.outcome.linked) {
            let _ = writeln!(out, "    linked   {linked}");
        }
        for written in &it.outcome.written {
            let _ = writeln!(out, "    written  {}: {}", clean(&written.what), clean(&written.reference));
        }
        if let Some(reason) = text::read_only(&it.outcome) {
            let _ = writeln!(out, "    written  {reason}");
        }
    }
    let _ = writeln!(out, "  moved    {}", text::traffic(group.traffic));
    let _ = writeln!(out, "  time     {}", times(group));
    for warning in group.all_warnings() {
        let _ = writeln!(out, "  {}  {}", Paint::Work.on("warning", style.color), clean(&warning));
    }
    out
}

/// The steps that were executed.
fn steps(out: &mut String, outcome: &Outcome, style: Style) {
    for stage in &outcome.stages {
        for row in rows::rows(stage, true) {
            if !matches!(row.status, StepStatus::Run | StepStatus::Failed) {
                continue;
            }
            let word = format!("{:<6}", rows::word(row.status));
            let room = style.width.saturating_sub(BEFORE_INSTRUCTION).max(20);
            let _ = writeln!(
                out,
                "    {}  {:>7}  [{} {}] {}",
                text::paint_of(row.status).on(&word, style.color),
                row.time,
                clean(&stage.name),
                row.number,
                fit(&row.what(), room)
            );
        }
    }
}

fn times(group: &GroupOutcome) -> String {
    if group.reused() == group.members.len() {
        return format!("{} in all, nothing was built", duration(group.duration));
    }
    text::times(group.duration, group.preparation, group.cache_export)
}

/// Appends a table of the images to the file that `GITHUB_STEP_SUMMARY` names.
pub fn write_step_summary(path: &Path, group: &GroupOutcome) -> Result<(), file::Error> {
    file::append(path, &step_summary(group))
}

/// The summary in Markdown: a line for each image.
pub fn step_summary(group: &GroupOutcome) -> String {
    let mut out = format!("### {}\n\n| Image | Steps |\n|---|---|\n", escape(&headline(group)));
    for it in &group.members {
        let _ = writeln!(out, "| {} | {} |", escape(&clean(&it.name)), escape(&member(&it.outcome)));
    }
    out.push('\n');
    for warning in group.all_warnings() {
        let _ = writeln!(out, "- **Warning:** {}", escape(&clean(&warning)));
    }
    let _ = writeln!(out, "- Moved: {}\n- Time: {}\n", text::traffic(group.traffic), times(group));
    out
}

/// Appends the outputs to the file that `GITHUB_OUTPUT` names.
pub fn write_outputs(path: &Path, group: &GroupOutcome) -> Result<(), file::Error> {
    file::append(path, &outputs(group))
}

/// The step's outputs: `digest` where there is one image, `digests` as a JSON object by the images' names, `cache-hit`
/// where every step of every image was cached, `cache-refs` of all.
pub fn outputs(group: &GroupOutcome) -> String {
    let known = |outcome: &Outcome| outcome.digest.clone();
    let digests: serde_json::Map<String, serde_json::Value> =
        group.members.iter().filter_map(|it| Some((it.name.clone(), known(&it.outcome)?.into()))).collect();
    [
        output("digest", &only_digest(group).unwrap_or_default()),
        output("digests", &serde_json::Value::Object(digests).to_string()),
        output("cache-hit", if group.is_full_hit() { "true" } else { "false" }),
        output("cache-refs", &group.cache_refs().join(" ")),
    ]
    .concat()
}

fn only_digest(group: &GroupOutcome) -> Option<String> {
    match group.members.as_slice() {
        [only] => only.outcome.digest.clone(),
        _ => None,
    }
}

/// Writes the file that `artifacts:reports:dotenv` names.
pub fn write_dotenv(path: &Path, group: &GroupOutcome) -> Result<(), file::Error> {
    file::replace(path, dotenv(group).as_bytes())
}

/// Variables for later jobs: those of a single image, and `LAYERLIFT_DIGEST_<IMAGE>` for each with a digest, its name in
/// upper case with `_` for what a variable's name cannot hold.
pub fn dotenv(group: &GroupOutcome) -> String {
    let digest = only_digest(group).filter(|digest| is_plain(digest)).unwrap_or_default();
    let mut text = format!("LAYERLIFT_DIGEST={digest}\nLAYERLIFT_CACHE_HIT={}\n", group.is_full_hit());
    let mut names: Vec<String> = Vec::new();
    for it in &group.members {
        let name = variable(&it.name);
        let Some(digest) = it.outcome.digest.as_deref().filter(|digest| is_plain(digest)) else { continue };
        if names.len() < MOST_VARIABLES && !names.contains(&name) && name.len() <= 128 {
            let _ = writeln!(text, "LAYERLIFT_DIGEST_{name}={digest}");
            names.push(name);
        }
    }
    add_cache_refs(&mut text, group.cache_refs());
    text
}

fn variable(name: &str) -> String {
    let letter = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_uppercase() } else { '_' };
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;
    use crate::report::samples;

    const PLAIN: Style = Style { color: false, width: 100 };

    #[test]
    fn the_whole_then_each() {
        assert_snapshot!(summary(&samples::group(), PLAIN), @"
        layerlift: 2 images, 11 of 14 steps cached, 3 run, 14.2s
          image api  4 of 7 steps cached, 3 run (cache: localhost:5000/app/cache:mr-12)
            run        0.2s  [build 4/5] COPY . .
            run       10.2s  [build 5/5] RUN go build -trimpath -o /out/app ./cmd/app
            run        0.4s  [stage-1 2/2] COPY --from=build /out/app /usr/bin/app
            written  image: localhost:5000/app:latest
            written  cache: localhost:5000/app/cache:mr-12
          image web  all 7 steps cached (cache: localhost:5000/app/cache:branch-main)
            written  image: localhost:5000/app:latest
          moved    84.0 kB build context, 34.0 MB layers fetched, 96.1 kB read by layerlift
          time     14.2s in all, 0.3s before the engine started, 0.9s for cache images
        ");
    }

    #[test]
    fn images_that_were_there_are_counted_apart() {
        let mut group = samples::group();
        group.members[0].outcome = samples::reused();
        assert!(
            headline(&group).starts_with("layerlift: 2 images, 1 reused, all 7 steps cached, "),
            "{group:?}"
        );
        assert!(group.is_full_hit());
        group.members.truncate(1);
        assert!(headline(&group).starts_with("layerlift: 1 image, all reused, "), "{group:?}");
        assert!(group.is_full_hit());
    }

    #[test]
    fn a_failure_names_its_image() {
        let text = summary(&samples::failed_group(), PLAIN);
        assert!(text.starts_with("layerlift: failed with exit code 1, 2 images, "), "{text}");
        assert!(
            text.contains(
                "image web  3 of 7 steps cached, 1 run, 1 failed, 2 not reached, failed at [build 5/5]"
            ),
            "{text}"
        );
        assert!(text.contains("  warning  a push was tried again\n"), "{text}");
    }

    #[test]
    fn programs_get_every_digest() {
        let text = dotenv(&samples::group());
        assert_snapshot!(text, @"
        LAYERLIFT_DIGEST=
        LAYERLIFT_CACHE_HIT=false
        LAYERLIFT_DIGEST_API=sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a
        LAYERLIFT_DIGEST_WEB=sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a
        LAYERLIFT_CACHE_REFS=localhost:5000/app/cache:mr-12 localhost:5000/app/cache:branch-main
        ");
        let outputs = outputs(&samples::group());
        assert!(outputs.contains("\n{\"api\":\"sha256:9f2c"), "{outputs}");
        assert!(outputs.contains("cache-hit<<"), "{outputs}");
    }

    proptest! {
        #[test]
        fn nothing_from_outside_begins_a_line_or_escapes(text in "(::|##\\[|\u{1b}\\[|[\r\n]| |error|x|\\$|=)*") {
            let group = samples::group_everywhere(&text);
            for line in summary(&group, PLAIN).split('\n') {
                prop_assert!(!line.trim_start().starts_with("::"), "{}", line);
                prop_assert!(!line.contains("##[") && !line.chars().any(char::is_control), "{}", line);
            }
            for line in dotenv(&group).lines() {
                let (name, value) = line.split_once('=').expect("a variable");
                prop_assert!(name.starts_with("LAYERLIFT_") && !value.contains('$'), "{}", line);
            }
        }
    }
}
