use super::*;
use crate::model::inputs::{Inputs, StepRules};
use crate::model::outcome::{BuildStatus, CandidateOutcome, StageOutcome, Traffic, Written};
use crate::model::record::{Against, Cause, Explanation, Miss, RecordedEngine, VERSION};
use crate::model::reference::Digest;
use crate::report::samples;

const HOSTILE: &str = "x`<script>alert('1')</script><img src=x onerror=\"y\">\"'&<!--body-->\u{1b}]0;t\u{7}`";

fn now() -> Timestamp {
    "2026-11-23T12:00:30Z".parse().unwrap()
}

/// A record with one text in every place that takes one.
fn everywhere(text: &str) -> Record {
    let outcome = samples::everywhere(text);
    let text = || text.to_owned();
    let miss = |stage: &StageOutcome| Miss {
        stage: stage.name.clone(),
        platform: Some(text()),
        number: 4,
        line: 3,
        instruction: text(),
        causes: vec![Cause { text: text(), advice: Some(text()) }, Cause { text: text(), advice: None }],
    };
    Record {
        version: VERSION,
        created: now(),
        layerlift: text(),
        engine: RecordedEngine { version: text(), buildkit: Some(text()), builder: text() },
        strategy: text(),
        scope: Some(text()),
        commit: Some(text()),
        pipeline_url: Some(text()),
        status: BuildStatus::Failed,
        candidates: outcome.candidates.clone(),
        cache_from: vec![text()],
        cache_to: Some(text()),
        tags: vec![text(), text()],
        digest: Some(text()),
        traffic: Traffic { context: u64::MAX, fetched: u64::MAX, asked: 0 },
        duration: 14.2,
        preparation: 0.3,
        cache_export: 0.9,
        inputs: Some(Inputs {
            digest: Digest::of(b""),
            unknown: Vec::new(),
            rules: StepRules::BuildKit,
            stages: Vec::new(),
            image: Vec::new(),
            files: Vec::new(),
        }),
        linked: Vec::new(),
        parent_states: Vec::new(),
        unlinked: Vec::new(),
        cache_costs: Vec::new(),
        times: std::collections::BTreeMap::new(),
        given_up: false,
        left_out: Vec::new(),
        explanation: Some(Explanation {
            against: Some(Against {
                reference: text(),
                scope: Some(text()),
                commit: Some(text()),
                created: now(),
            }),
            predicted: Some((2, 11)),
            misses: outcome.stages.iter().map(miss).collect(),
            notes: vec![text()],
            surprises: vec![text()],
        }),
        stages: outcome.stages,
    }
}

/// The names of all elements and attributes of a page, in order, as a browser would find them: `div`, `div class`.
fn tags(page: &str) -> Vec<String> {
    let body = page.split_once("</style>").unwrap().1;
    let mut found = Vec::new();
    for tag in body.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("an open tag: {tag}"));
        let mut rest = tag;
        let name_ends = rest.find(' ').unwrap_or(rest.len());
        let mut names = rest[..name_ends].to_owned();
        rest = &rest[name_ends..];
        while let Some((attribute, after)) = rest.split_once("=\"") {
            names.push_str(attribute);
            rest = after.split_once('"').unwrap_or_else(|| panic!("an open quote: {tag}")).1;
        }
        names.push_str(rest);
        found.push(names);
    }
    found
}

#[test]
fn no_text_becomes_markup() {
    let harmless = of_record(&everywhere("x`a`"));
    let hostile = of_record(&everywhere(HOSTILE));
    assert_eq!(tags(&hostile), tags(&harmless));
    for forbidden in ["<script", "<img", "onerror=\"", "\u{1b}", "javascript:"] {
        assert!(!hostile.contains(forbidden), "{forbidden}");
    }
    assert_eq!(
        of_record(&everywhere("javascript:alert(1)")).matches("<a ").count(),
        2,
        "to the page's own rows"
    );
    let group = samples::group_everywhere(HOSTILE);
    assert_eq!(tags(&of_group(&group, now())), tags(&of_group(&samples::group_everywhere("x`a`"), now())));
}

#[test]
fn nothing_comes_from_elsewhere() {
    let page = of_record(&everywhere("https://evil.example/x"));
    assert!(
        page.contains("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'")
    );
    for forbidden in ["src=", "<link", "@import", "url(", "<script", "<iframe", "http-equiv=\"refresh\""] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    // Addresses are links to follow, and never loaded.
    let addresses = page.matches("href=\"https://").count();
    assert_eq!(page.matches("<a rel=\"noopener noreferrer\" href=\"https://").count(), addresses);
}

#[test]
fn the_answer_comes_first() {
    let answers = [
        (samples::cold(), "0 of 7 steps cached, 7 ran"),
        (samples::full_hit(), "All 7 steps were cached"),
        (samples::one_file_changed(), "4 of 7 steps cached, 3 ran"),
        (samples::failed_step(), "Failed at RUN go build -trimpath -o /out/app ./cmd/app"),
        (samples::reused(), "Answered by an image that was there: nothing was built"),
        (Outcome { stages: Vec::new(), ..samples::cold() }, "Built, without a step that is known"),
        (
            Outcome { status: BuildStatus::Interrupted, ..samples::failed_step() },
            "Interrupted: 3 of 7 steps cached, 1 ran",
        ),
    ];
    for (outcome, answer) in answers {
        let page = of_outcome(&outcome, now());
        let heading = page.split_once("<h1>").unwrap().1.split_once("</h1>").unwrap().0;
        assert_eq!(heading, answer);
    }
}

#[test]
fn a_page_tells_steps_causes_chain_and_numbers() {
    let mut outcome = samples::one_file_changed();
    outcome.explanation = Some(Explanation {
        predicted: Some((3, 7)),
        misses: vec![Miss {
            stage: "build".to_owned(),
            platform: None,
            number: 4,
            line: 5,
            instruction: "COPY . .".to_owned(),
            causes: vec![Cause {
                text: "`src/app.go` changed (+12 bytes)".to_owned(),
                advice: Some("nothing".to_owned()),
            }],
        }],
        ..Explanation::default()
    });
    let page = of_outcome(&outcome, now());
    for expected in [
        "<a href=\"#step-0-0-3\">build step 4</a>",
        "id=\"step-0-0-3\"",
        "because <code>src/app.go</code> changed (+12 bytes)",
        "Said before the build: 3 of 7 steps will run.",
        "<td>mr-12</td><td>merged</td>",
        "href=\"https://gitlab.example/app/-/commit/5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689\">5e1c309da</a>",
        "34.0 MB",
        "2026-11-23 12:00 UTC",
        "28.5.2, BuildKit 0.25.0, builder default",
        "role=\"rowheader\">build <span>5 steps, 3 cached, 2 run, 13.0s</span></th>",
        // 0.31 s before the engine, then 5 s, of the 15.51 s until its end.
        "title=\"from 5.3s to 15.5s\"",
        "class=\"bar run\" style=\"left:34.24%;width:65.76%\"",
    ] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
    assert_eq!(page.matches("class=\"badge run\"").count(), 3);
    assert_eq!(page.matches("class=\"badge cached\"").count(), 4);
}

#[test]
fn a_huge_build_has_a_row_for_every_step() {
    let mut outcome = samples::huge();
    let steps = outcome.stages[0].steps.clone();
    outcome.stages[0].steps = [steps.clone(), steps.clone(), steps.clone(), steps].concat();
    let page = of_outcome(&outcome, now());
    assert_eq!(page.matches("<tr role=\"row\" id=").count(), 200);
    assert!(page.len() < 200_000, "{}", page.len());
}

#[test]
fn several_images_have_a_part_each() {
    let page = of_group(&samples::failed_group(), now());
    assert!(page.contains("<h1>2 images: 10 of 14 steps cached, 1 ran, 14.2s</h1>"), "{page}");
    assert!(page.contains("<h2>api: All 7 steps were cached</h2>"));
    assert!(page.contains("<h2>web: Failed at RUN go build"));
    assert!(page.contains("a push was tried again"));
    assert!(page.contains("id=\"step-1-0-4\""), "rows of the second have addresses of their own");
}

#[test]
fn is_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let mut outcome = samples::hostile();
    outcome.written = vec![Written { what: "x".to_owned(), reference: HOSTILE.to_owned(), digest: None }];
    outcome.candidates.push(CandidateOutcome {
        reference: HOSTILE.to_owned(),
        scope: HOSTILE.to_owned(),
        verdict: HOSTILE.to_owned(),
    });
    let page = of_outcome(&outcome, now());
    write(&path, &page).unwrap();
    let read = std::fs::read_to_string(&path).unwrap();
    assert!(read.starts_with("<!doctype html>\n") && read.ends_with("</html>\n"));
    assert_eq!(tags(&read).last().map(String::as_str), Some("/html"));
}
