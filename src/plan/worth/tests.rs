use std::sync::Arc;

use super::*;
use crate::model::inputs::StepRules;
use crate::model::outcome::StepOutcome;
use crate::model::record::Record;

const REGISTRY: Strategy = Strategy::Registry;

/// One stage, `build`. A step is its instruction and what it takes in, which is in its digest as all before it is.
fn inputs(steps: &[(&str, &str)]) -> Inputs {
    let mut chain = String::new();
    let step = |(index, (instruction, takes)): (usize, &(&str, &str))| {
        chain += &format!("{instruction} {takes}\n");
        StepInputs {
            number: index + 1,
            line: index + 1,
            instruction: (*instruction).to_owned(),
            digest: Digest::of(chain.as_bytes()),
            parts: Vec::new(),
            files: Vec::new(),
        }
    };
    let steps = steps.iter().enumerate().map(step).collect();
    Inputs {
        digest: Digest::of(b"image"),
        unknown: Vec::new(),
        rules: StepRules::BuildKit,
        stages: vec![StageInputs { name: "build".to_owned(), platform: None, steps }],
        image: Vec::new(),
        files: Vec::new(),
    }
}

fn project(source: &str) -> Inputs {
    inputs(&[
        ("FROM python:3.12", ""),
        ("RUN pip install flask", ""),
        ("COPY src ./src", source),
        ("RUN make", ""),
    ])
}

/// How a build of the project went: the seconds of each step that ran, `None` for one from the cache.
fn went(seconds: [Option<u64>; 3]) -> Vec<StageOutcome> {
    let names = ["RUN pip install flask", "COPY src ./src", "RUN make"];
    let step = |(index, (seconds, name)): (usize, (Option<u64>, &str))| StepOutcome {
        number: index as u32 + 2,
        of: 4,
        instruction: name.to_owned(),
        platform: None,
        status: if seconds.is_some() { StepStatus::Run } else { StepStatus::Cached },
        started: None,
        duration: Duration::from_secs(seconds.unwrap_or_default()),
    };
    let steps = seconds.into_iter().zip(names).enumerate().map(step).collect();
    vec![StageOutcome { name: "build".to_owned(), steps }]
}

fn cost(seconds: f64, days_ago: i64) -> CacheCost {
    let measured = Record::sample().created - SignedDuration::from_hours(24 * days_ago);
    CacheCost { measured, export: seconds, import: 0.0 }
}

/// The record of a build of which all steps ran, in twelve seconds.
fn record(costs: &[f64]) -> Record {
    Record {
        strategy: "registry".to_owned(),
        stages: went([Some(8), Some(0), Some(4)]),
        inputs: Some(project("a")),
        cache_costs: costs.iter().map(|seconds| cost(*seconds, 0)).collect(),
        cache_to: Some("localhost:5000/app/cache:branch-main".to_owned()),
        ..Record::sample()
    }
}

fn recorded(record: Record) -> Vec<Recorded> {
    let scope = Some("branch-main".to_owned());
    vec![Recorded { reference: "localhost:5000/record".to_owned(), scope, record: Arc::new(record) }]
}

/// What is given up, in whole seconds: what the cache took, and the steps.
type Seconds = Option<(u64, u64)>;

fn lost(now: &Inputs, record: Record) -> Seconds {
    let loss = loss(now, &recorded(record), REGISTRY, Waits::Both)?;
    Some((loss.cost.as_secs(), loss.steps.as_secs()))
}

#[test]
fn a_cache_that_takes_longer_than_all_steps_is_given_up() {
    let now = project("a");
    let cases: [(&str, &[f64], Seconds); 7] = [
        ("both builds lost", &[41.0, 19.0], Some((19, 12))),
        ("it is no clear loss", &[41.0, 17.9], None),
        ("it is cheap", &[1.0, 1.0], None),
        ("the first carries every layer, the next what is new", &[2.0, 41.0], None),
        ("one slow day", &[41.0, 2.0], None),
        ("there was one build", &[41.0], None),
        ("nothing is known", &[], None),
    ];
    for (name, costs, expected) in cases {
        assert_eq!(lost(&now, record(costs)), expected, "{name}");
    }
    // Of short steps a cache that takes a little longer is no matter.
    let short = Record { stages: went([Some(0), Some(0), Some(1)]), ..record(&[2.9, 2.9]) };
    assert_eq!(lost(&now, short.clone()), None);
    assert_eq!(lost(&now, Record { cache_costs: record(&[3.1, 3.1]).cache_costs, ..short }), Some((3, 1)));
    let text =
        loss(&now, &recorded(record(&[41.0, 41.0])), REGISTRY, Waits::Both).expect("a loss").to_string();
    assert_eq!(text, "the cache took 41.0s or more to read and write, all steps together take 12.0s");
}

#[test]
fn a_job_that_does_not_write_waits_for_the_reading_alone() {
    let now = project("a");
    assert_eq!(loss(&now, &recorded(record(&[41.0, 41.0])), REGISTRY, Waits::Reading), None);
    let import = CacheCost { export: 41.0, import: 20.0, ..cost(0.0, 0) };
    let slow = Record { cache_costs: vec![import; 2], ..record(&[]) };
    let text = loss(&now, &recorded(slow), REGISTRY, Waits::Reading).expect("a loss").to_string();
    assert_eq!(text, "the cache took 20.0s or more to read, all steps together take 12.0s");
}

#[test]
fn what_is_given_up_stays_so_until_the_steps_take_as_long() {
    let given_up = |costs: &[f64]| Record { given_up: true, ..record(costs) };
    let now = project("a");
    assert_eq!(lost(&now, given_up(&[13.0, 13.0])), Some((13, 12)), "no reason to try it again");
    assert_eq!(lost(&now, given_up(&[12.0, 13.0])), None);
    // What it took is carried on as long as it is given up, and begins anew after it.
    let before = recorded(given_up(&[13.0, 14.0]));
    assert_eq!(costs(&before, REGISTRY, None), [cost(13.0, 0), cost(14.0, 0)]);
    assert_eq!(costs(&before, REGISTRY, Some(cost(1.0, 0))), [cost(1.0, 0)]);
    let before = recorded(record(&[13.0, 14.0]));
    assert_eq!(costs(&before, REGISTRY, Some(cost(1.0, 0))), [cost(1.0, 0), cost(13.0, 0)]);
    assert_eq!(costs(&[], REGISTRY, Some(cost(1.0, 0))), [cost(1.0, 0)]);
    // What another strategy took says nothing.
    assert_eq!(costs(&before, Strategy::Inline, Some(cost(1.0, 0))), [cost(1.0, 0)]);
    assert_eq!(loss(&now, &recorded(record(&[41.0, 41.0])), Strategy::Inline, Waits::Both), None);
}

#[test]
fn an_old_cost_counts_no_more() {
    let now = project("a");
    let aged = |days| Record { given_up: true, cache_costs: vec![cost(41.0, days); 2], ..record(&[]) };
    assert_eq!(lost(&now, aged(7)), Some((41, 12)));
    assert_eq!(lost(&now, aged(8)), None);
}

#[test]
fn a_step_of_which_nothing_is_known_is_worth_any_cache() {
    let losing = || record(&[41.0, 41.0]);
    // Another source file: the same instructions will take about what they took.
    assert_eq!(lost(&project("b"), losing()), Some((41, 12)));
    let more = inputs(&[("FROM python:3.12", ""), ("RUN pip install flask", ""), ("RUN other", "")]);
    assert_eq!(lost(&more, losing()), None);
    // Steps from the cache have no time, unless an earlier record has told it.
    let cached = || Record { stages: went([None, Some(0), Some(4)]), ..losing() };
    assert_eq!(lost(&project("b"), cached()), None);
    let times = carried(&project("a"), &recorded(record(&[])), &cached().stages);
    assert_eq!(
        times.values().copied().collect::<Vec<_>>(),
        [8.0],
        "those that ran are in the record already"
    );
    assert_eq!(lost(&project("b"), Record { times: times.clone(), ..cached() }), Some((41, 12)));
    // From record to record, as long as the step is the same.
    let next = recorded(Record { times: times.clone(), ..cached() });
    assert_eq!(carried(&project("b"), &next, &cached().stages), times);
    let moved = inputs(&[("FROM python:3.13", ""), ("RUN pip install flask", "")]);
    assert_eq!(carried(&moved, &next, &cached().stages), BTreeMap::new());
}

#[test]
fn the_record_of_the_last_build_here_tells_no_costs() {
    let mut own = recorded(record(&[41.0, 41.0]));
    own[0].scope = None;
    assert_eq!(loss(&project("a"), &own, REGISTRY, Waits::Both), None);
}

#[test]
fn hostile_times_are_harmless() {
    let huge = |seconds: f64| {
        let mut times = BTreeMap::new();
        for step in &project("a").stages[0].steps {
            times.insert(step.digest.clone(), seconds);
        }
        Record { stages: went([None, None, None]), times, ..record(&[1e300, f64::MAX]) }
    };
    for seconds in [-1.0, 1e300, 1.8e19, 0.0] {
        assert_eq!(lost(&project("a"), huge(seconds)), None, "{seconds}");
    }
    assert_eq!(lost(&project("a"), record(&[-5.0, -5.0])), None);
}
