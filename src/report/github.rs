//! What GitHub Actions reads: the step's Markdown summary, its outputs, and groups in the log.
//!
//! The rules are those of actions/runner: FileCommandManager.cs (outputs, summaries) and ActionCommand.cs (log lines).

use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::model::outcome::{Outcome, StepStatus};
use crate::report::file;
use crate::report::line::{clean, fit};
use crate::report::{explanation, rows, text};

/// A step's summary may have 1 MiB, and the runner drops it whole if it is larger, or without a word when it is nearly
/// that (actions/runner#4337): stay well below.
const LARGEST_SUMMARY: usize = 1_000_000;

/// Misses that are told; the JSON report has them all.
const MOST_MISSES: usize = 20;

/// Longer instructions are cut; the JSON report has them whole.
const INSTRUCTION: usize = 160;

/// Appends the Markdown summary to the file that `GITHUB_STEP_SUMMARY` names. What the step wrote there before counts
/// towards the limit.
pub fn write_step_summary(path: &Path, outcome: &Outcome) -> Result<(), file::Error> {
    let before = path.metadata().map_or(0, |metadata| metadata.len());
    let room = LARGEST_SUMMARY.saturating_sub(usize::try_from(before).unwrap_or(usize::MAX));
    let text = step_summary(outcome, room);
    if text.is_empty() { Ok(()) } else { file::append(path, &text) }
}

/// The summary in Markdown, in at most `room` bytes: without its tables, then without anything but the first line, if
/// it must be; empty if even that does not fit.
pub fn step_summary(outcome: &Outcome, room: usize) -> String {
    let head = format!("### {}\n\n", escape(&text::headline(outcome)));
    let tables = format!("{}{}{}", steps(outcome), misses(outcome), candidates(outcome));
    let facts = facts(outcome);
    let smaller_and_smaller = [
        format!("{head}{tables}{facts}"),
        format!("{head}The tables are too large for a summary.\n\n{facts}"),
        head,
    ];
    smaller_and_smaller.into_iter().find(|text| text.len() <= room).unwrap_or_default()
}

fn steps(outcome: &Outcome) -> String {
    if outcome.stages.is_empty() {
        return String::new();
    }
    let fold = rows::is_huge(outcome);
    let mut text = "| Stage | Step | Result | Time | Instruction |\n|---|---|---|---:|---|\n".to_owned();
    for stage in &outcome.stages {
        for row in rows::rows(stage, fold) {
            let word = rows::word(row.status);
            let result = match row.status {
                StepStatus::Failed | StepStatus::Run => format!("**{word}**"),
                StepStatus::Cached | StepStatus::Skipped => word.to_owned(),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {result} | {} | {} |",
                escape(&clean(&stage.name)),
                row.number,
                row.time,
                code(&fit(&row.what(), INSTRUCTION))
            );
        }
    }
    if let Some(source) = text::cached_from(outcome) {
        let _ = writeln!(text, "\nCached steps are from {}.", escape(&source));
    }
    text.push('\n');
    text
}

/// Why steps ran: the first miss of each stage, its causes below it.
fn misses(outcome: &Outcome) -> String {
    let Some(explained) = &outcome.explanation else { return String::new() };
    let mut text = String::new();
    for miss in explained.misses.iter().take(MOST_MISSES) {
        let (place, instruction) = (explanation::place(miss), fit(&miss.instruction, INSTRUCTION));
        let _ = writeln!(text, "- {}: {}", escape(&place), code(&instruction));
        for cause in &miss.causes {
            let _ = writeln!(text, "  - because {}", escape(&explanation::cause(cause)));
        }
    }
    for note in &explained.notes {
        let _ = writeln!(text, "- {}", escape(&clean(note)));
    }
    if let Some(fared) = explanation::fared(explained, &outcome.stages) {
        let _ = writeln!(text, "- {}", escape(&fared));
    }
    for surprise in &explained.surprises {
        let _ = writeln!(text, "- **Surprise:** {}", escape(&clean(surprise)));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn candidates(outcome: &Outcome) -> String {
    if outcome.candidates.is_empty() {
        return String::new();
    }
    let mut text = "| Scope | Verdict | Cache ref |\n|---|---|---|\n".to_owned();
    for candidate in &outcome.candidates {
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            escape(&clean(&candidate.scope)),
            escape(&clean(&candidate.verdict)),
            code(&clean(&candidate.reference))
        );
    }
    text.push('\n');
    text
}

fn facts(outcome: &Outcome) -> String {
    let mut text = String::new();
    for warning in &outcome.warnings {
        let _ = writeln!(text, "- **Warning:** {}", escape(&clean(warning)));
    }
    if let Some(reused) = &outcome.reused {
        let _ = writeln!(text, "- Reused: {}", escape(&text::answer_whole(reused)));
    }
    for written in &outcome.written {
        let digest = written.digest.as_ref().map_or(String::new(), |digest| format!("@{}", clean(digest)));
        let name = code(&format!("{}{digest}", clean(&written.reference)));
        let _ = writeln!(text, "- Written: {} {name}", escape(&clean(&written.what)));
    }
    if let Some(reference) = &outcome.pending {
        let _ = writeln!(text, "- Pending: cache {}, by `layerlift cache flush`", code(&clean(reference)));
    }
    if let Some(reason) = text::read_only(outcome) {
        let _ = writeln!(text, "- Written: {}", escape(&reason));
    }
    let times = text::times_of(outcome);
    let _ = writeln!(text, "- Moved: {}\n- Time: {times}\n", text::traffic(outcome.traffic));
    text
}

/// A clean text that Markdown shows as it is: punctuation that Markdown or HTML could take for its own is written as a
/// character reference, which also holds in table cells; so is the colon that would make a link.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\`*_{}[]<>|#~^!$&".contains(character) {
            let _ = write!(escaped, "&#{};", character as u32);
        } else {
            escaped.push(character);
        }
    }
    escaped.replace("://", "&#58;//")
}

/// The same, shown as code. Markdown's own code marks cannot hold every text in a table.
fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// Appends `digest`, `cache-hit` and `cache-refs` to the file that `GITHUB_OUTPUT` names.
pub fn write_outputs(path: &Path, outcome: &Outcome) -> Result<(), file::Error> {
    file::append(path, &outputs(outcome))
}

/// The step's outputs: the image's digest (empty where it is not known), whether every step was cached (`true` or
/// `false`), and the cache refs that were read or written, separated by spaces.
pub fn outputs(outcome: &Outcome) -> String {
    [
        output("digest", outcome.digest.as_deref().unwrap_or_default()),
        output("cache-hit", if outcome.is_full_hit() { "true" } else { "false" }),
        output("cache-refs", &outcome.cache_refs().join(" ")),
    ]
    .concat()
}

/// One output in the form with a delimiter, the only one that holds every value. The value ends at the first line that
/// is the delimiter; a text cannot contain its own SHA-256, so that no value can end itself and go on with another.
pub(super) fn output(name: &str, value: &str) -> String {
    let digest = Sha256::digest(value);
    let mut delimiter = "layerlift_".to_owned();
    for byte in digest.iter() {
        let _ = write!(delimiter, "{byte:02x}");
    }
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

/// The line that opens a group in the log.
pub fn group(title: &str) -> String {
    format!("::group::{}\n", clean(title).replace('%', "%25"))
}

/// The line that closes the open group.
pub fn endgroup() -> String {
    "::endgroup::\n".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use insta::assert_snapshot;
    use proptest::prelude::*;

    /// What the runner makes of an output file (SetOutputFileCommand, the form with a delimiter and `NAME=VALUE`).
    fn read_as_the_runner(text: &str) -> Vec<(String, String)> {
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let mut outputs = Vec::new();
        while let Some(line) = lines.next() {
            match (line.find('='), line.find("<<")) {
                _ if line.is_empty() => {}
                (equals, Some(at)) if equals.is_none_or(|equals| at < equals) => {
                    let delimiter = &line[at + 2..];
                    let value: Vec<_> = lines.by_ref().take_while(|line| *line != delimiter).collect();
                    outputs.push((line[..at].to_owned(), value.join("\n")));
                }
                (Some(equals), _) => outputs.push((line[..equals].to_owned(), line[equals + 1..].to_owned())),
                _ => panic!("invalid format: {line}"),
            }
        }
        outputs
    }

    #[test]
    fn outputs_of_a_hostile_build_parse_back() {
        let outcome = samples::hostile();
        let read = read_as_the_runner(&outputs(&outcome));
        let expected = [
            ("digest", "sha256:x\nlayerlift_EOF\ncache-hit=true"),
            ("cache-hit", "false"),
            ("cache-refs", "localhost:5000/app/cache:branch-main"),
        ];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn outputs_of_a_hit() {
        assert_snapshot!(outputs(&samples::full_hit()), @r"
        digest<<layerlift_f15d684316ebe2747fce771fdd1b253e29d6c9365010ccdfb22b5d7ddd8b8163
        sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a
        layerlift_f15d684316ebe2747fce771fdd1b253e29d6c9365010ccdfb22b5d7ddd8b8163
        cache-hit<<layerlift_b5bea41b6c623f7c09f1bf24dcae58ebab3c0cdd90ad966bc43a45b44867e12b
        true
        layerlift_b5bea41b6c623f7c09f1bf24dcae58ebab3c0cdd90ad966bc43a45b44867e12b
        cache-refs<<layerlift_9cfc49d58af6e137de200187e1746547b3f350b8aa86105685cff5f4fa854db1
        localhost:5000/app/cache:branch-main
        layerlift_9cfc49d58af6e137de200187e1746547b3f350b8aa86105685cff5f4fa854db1
        ");
    }

    proptest! {
        #[test]
        fn no_value_can_end_itself(value in "(layerlift_|<<|=|\n|\r|digest|[0-9a-f]{64}|x)*") {
            let text = format!("{}{}", output("first", &value), output("second", "2"));
            let read = read_as_the_runner(&text);
            prop_assert_eq!(read, vec![("first".to_owned(), value), ("second".to_owned(), "2".to_owned())]);
        }

        #[test]
        fn no_text_gets_out_of_its_cell(text in "[ -~\n]*") {
            let escaped = escape(&clean(&text));
            prop_assert!(!escaped.contains(['|', '<', '>', '`', '*', '_', '[', ']', '\\', '$', '\n']), "{}", escaped);
            prop_assert!(!escaped.contains("://"), "{}", escaped);
        }
    }

    #[test]
    fn files_are_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let (output, summary) = (folder.path().join("output"), folder.path().join("summary"));
        std::fs::write(&output, "mine=1").unwrap();
        std::fs::write(&summary, "# Mine\n").unwrap();
        write_outputs(&output, &samples::cold()).unwrap();
        write_step_summary(&summary, &samples::cold()).unwrap();
        let read = read_as_the_runner(&std::fs::read_to_string(&output).unwrap());
        assert_eq!(read[0], ("mine".to_owned(), "1".to_owned()));
        assert_eq!(read.len(), 4);
        assert!(std::fs::read_to_string(&summary).unwrap().starts_with("# Mine\n### layerlift"));
    }

    #[test]
    fn a_summary_shrinks_into_its_room() {
        let outcome = samples::cold();
        let whole = step_summary(&outcome, LARGEST_SUMMARY).len();
        let small = step_summary(&outcome, whole - 1);
        assert!(small.contains("too large") && small.contains("- Moved:"), "{small}");
        let first_line = step_summary(&outcome, 120);
        assert_eq!(first_line.trim_end().lines().count(), 1, "{first_line}");
        assert_eq!(step_summary(&outcome, 10), "");
    }

    #[test]
    fn groups_hold_no_command() {
        assert_eq!(group("100%\n::error::x"), "::group::100%25 ::error::x\n");
        assert_eq!(endgroup(), "::endgroup::\n");
    }

    #[test]
    fn markdown_of_one_file_changed() {
        assert_snapshot!(step_summary(&samples::one_file_changed(), LARGEST_SUMMARY), @r"
        ### layerlift: 4 of 7 steps cached, 3 run, 14.2s (cache: localhost:5000/app/cache:mr-12)

        | Stage | Step | Result | Time | Instruction |
        |---|---|---|---:|---|
        | build | 1/5 | cached |  | <code>FROM docker.io/library/golang:1.26</code> |
        | build | 2/5 | cached |  | <code>COPY go.mod go.sum ./</code> |
        | build | 3/5 | cached | 2.6s | <code>RUN go mod download</code> |
        | build | 4/5 | **run** | 0.2s | <code>COPY . .</code> |
        | build | 5/5 | **run** | 10.2s | <code>RUN go build -trimpath -o /out/app ./cmd/app</code> |
        | stage-1 | 1/2 | cached |  | <code>FROM docker.io/library/alpine:3.22</code> |
        | stage-1 | 2/2 | **run** | 0.4s | <code>COPY --from=build /out/app /usr/bin/app</code> |

        Cached steps are from localhost:5000/app/cache:mr-12.

        | Scope | Verdict | Cache ref |
        |---|---|---|
        | mr-12 | merged | <code>localhost:5000/app/cache:mr-12</code> |
        | branch-main | merged | <code>localhost:5000/app/cache:branch-main</code> |

        - Written: image <code>localhost:5000/app:latest@sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a</code>
        - Written: cache <code>localhost:5000/app/cache:mr-12</code>
        - Moved: 84.0 kB build context, 34.0 MB layers fetched, 96.1 kB read by layerlift
        - Time: 14.2s in all, 0.3s before the engine started, 0.9s for cache images
        ");
    }

    #[test]
    fn markdown_of_what_is_explained() {
        assert_snapshot!(misses(&samples::explained()), @r"
        - build 4, line 5: <code>COPY . .</code>
          - because &#96;src/app.py&#96; changed (+12 bytes)
          - because file &#96;tmp/log&#96; entered the context: add it to .dockerignore
        - stage-1 2, line 9: <code>COPY --from=build /out/app /usr/bin/app</code>
          - because stage &#96;build&#96; changed
        - no cache ref existed for merge request 12; main's was read
        - 3 of 7 steps were to run, and did
        - **Surprise:** step 3 of stage &#96;build&#96;, &#96;RUN go mod download&#96;, ran although the record has it: layers of the cache are gone from the registry
        ");
        assert_eq!(misses(&samples::cold()), "");
    }

    #[test]
    fn markdown_of_a_reused_image() {
        assert_snapshot!(step_summary(&samples::reused(), LARGEST_SUMMARY), @"
        ### layerlift: reused sha256:9f2c1d0e8b7a of branch-main, built 2h ago from commit 5e1c309dae7f, 0.2s

        - Reused: localhost:5000/app/cache:branch-main--image-0123456789abcdef0123456789abcdef@sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a, built by https&#58;//gitlab.example/app/-/pipelines/6
        - Written: image <code>localhost:5000/app:latest@sha256:9f2c1d0e8b7a6f5e4d3c2b1a09182736455463728190a1b2c3d4e5f60718293a</code>
        - Moved: 0 B build context, 0 B layers fetched, 3.1 kB read by layerlift
        - Time: 0.2s in all, nothing was built
        ");
    }

    #[test]
    fn markdown_of_a_fork() {
        assert_snapshot!(step_summary(&samples::fork(), LARGEST_SUMMARY), @r"
        ### layerlift: 4 of 7 steps cached, 3 run, 14.2s (cache: localhost:5000/app/cache:branch-main)

        | Stage | Step | Result | Time | Instruction |
        |---|---|---|---:|---|
        | build | 1/5 | cached |  | <code>FROM docker.io/library/golang:1.26</code> |
        | build | 2/5 | cached |  | <code>COPY go.mod go.sum ./</code> |
        | build | 3/5 | cached | 2.6s | <code>RUN go mod download</code> |
        | build | 4/5 | **run** | 0.2s | <code>COPY . .</code> |
        | build | 5/5 | **run** | 10.2s | <code>RUN go build -trimpath -o /out/app ./cmd/app</code> |
        | stage-1 | 1/2 | cached |  | <code>FROM docker.io/library/alpine:3.22</code> |
        | stage-1 | 2/2 | **run** | 0.4s | <code>COPY --from=build /out/app /usr/bin/app</code> |

        Cached steps are from localhost:5000/app/cache:branch-main.

        | Scope | Verdict | Cache ref |
        |---|---|---|
        | pr-7 | dropped: 503 Service Unavailable | <code>localhost:5000/app/cache:pr-7</code> |
        | branch-main | used | <code>localhost:5000/app/cache:branch-main</code> |

        - **Warning:** localhost:5000/app/cache:pr-7: 503 Service Unavailable after 3 attempts
        - **Warning:** Dockerfile line 4: JSON arguments recommended for CMD
        - Written: no cache: the pull request comes from someone/app
        - Moved: 84.0 kB build context, 34.0 MB layers fetched, 96.1 kB read by layerlift
        - Time: 14.2s in all, 0.3s before the engine started, 0.9s for cache images
        ");
    }

    #[test]
    fn markdown_of_a_hostile_build() {
        assert_snapshot!(step_summary(&samples::hostile(), LARGEST_SUMMARY), @r"
        ### layerlift: failed at &#91;::error::stage 5/5&#93; RUN very-long very-long very-long very-long very-long very-…, 3 of 7 steps cached, 1 run, 1 failed, 2 not reached, 6.1s (cache: localhost:5000/app/cache:branch-main)

        | Stage | Step | Result | Time | Instruction |
        |---|---|---|---:|---|
        | ::error::stage | 1/5 | cached |  | <code>RUN echo a ::set-output name=digest::evil ::error::boo</code> |
        | ::error::stage | 2/5 | cached |  | <code>RUN section&#95;start:1:x&#91;collapsed=true&#93; gone</code> |
        | ::error::stage | 3/5 | cached |  | <code>RUN echo '&#124; &#60;/code&#62;&#60;img src=x&#62; &#96;a&#96; &#91;x&#93;(http&#58;//evil) &#35; &#35;&#91;group&#93;'</code> |
        | ::error::stage | 4/5 | **run** | 0.2s | <code>linux/arm64 COPY . .</code> |
        | ::error::stage | 5/5 | **failed** | 4.5s | <code>RUN very-long very-long very-long very-long very-long very-long very-long very-long very-long very-long very-long very-long very-long very-long very-long very-…</code> |
        | stage-1 | 1/2 | not reached |  | <code>FROM docker.io/library/alpine:3.22</code> |
        | stage-1 | 2/2 | not reached |  | <code>COPY --from=build /out/app /usr/bin/app</code> |

        Cached steps are from localhost:5000/app/cache:branch-main.

        | Scope | Verdict | Cache ref |
        |---|---|---|
        | branch-main | dropped: ::warning::no | <code>localhost:5000/app/cache:branch-main</code> |

        - **Warning:** ::add-mask::x &#124; &#60;script&#62;alert(1)&#60;/script&#62;
        - Moved: 1.2 kB build context, 0 B layers fetched, 48.3 kB read by layerlift
        - Time: 6.1s in all, 0.3s before the engine started
        ");
    }
}
