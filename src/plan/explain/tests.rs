mod answered;

use std::time::Duration;

use super::*;
use crate::model::inputs::{File, FileKind, Part, PartKind, StageInputs, StepRules, Unknown};
use crate::model::outcome::{BuildStatus, StepOutcome, StepStatus};

/// A step as a test writes it: instruction, parts, paths of files with their content.
#[derive(Clone)]
struct Given {
    instruction: String,
    parts: Vec<Part>,
    files: Vec<(&'static str, &'static str)>,
}

fn part(kind: PartKind, name: &str, value: &str) -> Part {
    Part { kind, name: name.to_owned(), value: value.to_owned() }
}

fn hash(text: &str) -> String {
    Digest::of(text.as_bytes()).hex()[..32].to_owned()
}

fn step(instruction: &str) -> Given {
    let text = part(PartKind::Instruction, instruction, &hash(instruction));
    Given { instruction: instruction.to_owned(), parts: vec![text], files: Vec::new() }
}

impl Given {
    fn with(mut self, kind: PartKind, name: &str, value: &str) -> Self {
        self.parts.push(part(kind, name, value));
        self
    }

    fn reading(mut self, files: &[(&'static str, &'static str)]) -> Self {
        self.files = files.to_vec();
        self
    }
}

fn from(image: &str, digest: &str) -> Given {
    let digest = Digest::of(digest.as_bytes()).to_string();
    let base = Given { parts: Vec::new(), ..step(&format!("FROM {image}")) };
    base.with(PartKind::Image, image, &digest)
}

/// What a copy depends on: the last step of another stage.
fn of_stage(stages: &[(&str, Vec<Given>)], name: &str) -> String {
    let inputs = inputs(stages);
    let stage = inputs.stages.iter().find(|stage| stage.name == name).unwrap();
    stage.steps.last().unwrap().digest.to_string()
}

/// Digests are those of all that was before in the stage, as in the real ones.
fn inputs(stages: &[(&str, Vec<Given>)]) -> Inputs {
    let mut files = Vec::new();
    let stages: Vec<StageInputs> = stages
        .iter()
        .map(|(name, steps)| {
            let mut chain = String::new();
            let steps = steps.iter().enumerate().map(|(index, given)| {
                let from = files.len();
                files.extend(given.files.iter().map(|(path, content)| File {
                    context: None,
                    path: (*path).to_owned(),
                    kind: FileKind::File,
                    mode: 0o644,
                    size: content.len() as u64,
                    digest: hash(content),
                    link: None,
                }));
                chain += &format!("{:?}{:?}", given.parts, given.files);
                StepInputs {
                    number: index + 1,
                    line: index + 1,
                    instruction: given.instruction.clone(),
                    digest: Digest::of(chain.as_bytes()),
                    parts: given.parts.clone(),
                    files: if from == files.len() { Vec::new() } else { vec![(from, files.len())] },
                }
            });
            StageInputs { name: (*name).to_owned(), platform: None, steps: steps.collect() }
        })
        .collect();
    let digest = Digest::of(format!("{stages:?}").as_bytes());
    Inputs { digest, unknown: Vec::new(), rules: StepRules::BuildKit, stages, image: Vec::new(), files }
}

/// How the steps of a build went, each `RUN` in ten seconds.
fn went(inputs: &Inputs, status: impl Fn(&str, usize) -> StepStatus) -> Vec<StageOutcome> {
    let stage = |stage: &StageInputs| StageOutcome {
        name: stage.name.clone(),
        steps: stage
            .steps
            .iter()
            .filter(|step| !is_base(step))
            .map(|step| StepOutcome {
                started: None,
                number: step.number as u32,
                of: stage.steps.len() as u32,
                instruction: step.instruction.clone(),
                platform: None,
                status: status(&stage.name, step.number),
                duration: Duration::from_secs(if step.instruction.starts_with("RUN") { 10 } else { 0 }),
            })
            .collect(),
    };
    inputs.stages.iter().map(stage).collect()
}

fn recorded(scope: &str, inputs: Inputs) -> Recorded {
    let record = Record {
        scope: Some(scope.to_owned()),
        stages: went(&inputs, |_, _| StepStatus::Run),
        inputs: Some(inputs),
        ..Record::sample()
    };
    let reference = format!("localhost:5000/cache:{scope}--record");
    Recorded { reference, scope: Some(scope.to_owned()), record: Arc::new(record) }
}

/// What is said of two builds, a line for each miss, its causes below it.
fn told(now: &[(&str, Vec<Given>)], before: &[(&str, Vec<Given>)]) -> String {
    show(&explain(&inputs(now), &[&recorded("branch-main", inputs(before))], None, None))
}

fn show(explanation: &Explanation) -> String {
    let (run, of) = explanation.predicted.unwrap();
    let mut text = format!("{run} of {of}\n");
    for miss in &explanation.misses {
        text += &format!("{} {} {}\n", miss.stage, miss.number, miss.instruction);
        for cause in &miss.causes {
            let advice = cause.advice.iter().map(|advice| format!(": {advice}")).collect::<String>();
            text += &format!("  {}{advice}\n", cause.text);
        }
    }
    explanation.notes.iter().for_each(|note| text += &format!("{note}\n"));
    text
}

/// Two stages: one that builds, one that copies what came of it.
fn project(base: &str, source: &'static str) -> Vec<(&'static str, Vec<Given>)> {
    let mut stages = vec![(
        "build",
        vec![
            from("python:3.12", base),
            step("COPY requirements.txt ./").reading(&[("requirements.txt", "flask")]),
            step("RUN pip install -r requirements.txt"),
            step("COPY src ./src").reading(&[("src/app.py", source), ("src/db.py", "db")]),
            step("RUN python -m build"),
        ],
    )];
    let last = of_stage(&stages, "build");
    stages.push((
        "stage-1",
        vec![
            from("alpine:3.22", "alpine"),
            step("RUN adduser app"),
            step("COPY --from=build /out /app").with(PartKind::Stage, "build", &last),
        ],
    ));
    stages
}

#[test]
fn nothing_changed() {
    assert_eq!(told(&project("1", "a"), &project("1", "a")), "0 of 6\n");
}

#[test]
fn a_file_changed() {
    insta::assert_snapshot!(told(&project("1", "print(12345678)"), &project("1", "abc")), @r"
    3 of 6
    build 4 COPY src ./src
      `src/app.py` changed (+12 bytes)
    stage-1 3 COPY --from=build /out /app
      stage `build` changed
    ");
}

#[test]
fn a_base_moved() {
    insta::assert_snapshot!(told(&project("2", "a"), &project("1", "a")), @r"
    5 of 6
    build 1 FROM python:3.12
      base `python:3.12` moved from sha256:6b86b273ff34.. to sha256:d4735e3a265e..
    stage-1 3 COPY --from=build /out /app
      stage `build` changed
    ");
    let mut other = project("1", "a");
    other[1].1[0] = from("alpine:3.23", "alpine");
    insta::assert_snapshot!(told(&other, &project("1", "a")), @r"
    2 of 6
    stage-1 1 FROM alpine:3.23
      base is `alpine:3.23`, it was `alpine:3.22`
    ");
}

/// A stage with an early ARG: three steps have it in scope, the last one names it.
fn argued(value: &str) -> Vec<(&'static str, Vec<Given>)> {
    let value = Digest::of(value.as_bytes()).to_string();
    let argued = |text: &str| step(text).with(PartKind::Argument, "GIT_SHA", &value);
    vec![(
        "build",
        vec![
            from("python:3.12", "1"),
            step("RUN apt-get update"),
            argued("RUN pip install flask"),
            argued("RUN pip install pandas"),
            step("COPY . .").reading(&[("a", "a")]),
            argued("RUN echo $GIT_SHA > version"),
            argued("RUN make"),
        ],
    )]
}

#[test]
fn an_early_argument_differs() {
    insta::assert_snapshot!(told(&argued("1"), &argued("2")), @r"
    5 of 6
    build 3 RUN pip install flask
      build arg `GIT_SHA` differs, first used in step 3 of stage `build`: moving its ARG below step 5 would keep 3 steps (20.0s)
    ");
    let mut late = [argued("1"), argued("2")];
    for stages in &mut late {
        stages[0].1.remove(5);
    }
    let [now, before] = late;
    insta::assert_snapshot!(told(&now, &before), @r"
    4 of 5
    build 3 RUN pip install flask
      build arg `GIT_SHA` differs, first used in step 3 of stage `build`: moving its ARG below step 6 would keep 4 steps (30.0s), unless a program reads it
    ");
    // After the build, what the steps took just now counts.
    let done = went(&inputs(&argued("1")), |_, _| StepStatus::Run);
    let mut cached = recorded("branch-main", inputs(&argued("2")));
    Arc::make_mut(&mut cached.record).stages = went(&inputs(&argued("2")), |_, _| StepStatus::Cached);
    let before = show(&explain(&inputs(&argued("1")), &[&cached], None, None));
    assert!(before.ends_with("would keep 3 steps\n"), "{before}");
    let after = show(&explain(&inputs(&argued("1")), &[&cached], Some(&done), None));
    assert!(after.ends_with("would keep 3 steps (20.0s)\n"), "{after}");
}

#[test]
fn an_argument_that_is_used_at_once_has_no_better_place() {
    let stages = |value: &str| {
        let used = step("RUN echo ${GIT_SHA}").with(PartKind::Argument, "GIT_SHA", value);
        vec![("build", vec![from("a", "1"), used])]
    };
    insta::assert_snapshot!(told(&stages("1"), &stages("2")), @r"
    1 of 1
    build 2 RUN echo ${GIT_SHA}
      build arg `GIT_SHA` differs, first used in step 2 of stage `build`
    ");
}

#[test]
fn instructions_are_changed_inserted_and_removed() {
    let stages = |texts: &[&str]| {
        let steps = texts.iter().map(|text| step(text));
        vec![("build", [from("a", "1")].into_iter().chain(steps).collect::<Vec<_>>())]
    };
    let whole = stages(&["RUN one", "RUN two", "RUN three", "COPY a b"]);
    let cases = [
        stages(&["RUN one", "RUN 2", "RUN three", "COPY a b"]),
        stages(&["RUN one", "RUN two", "WORKDIR /new", "RUN three", "COPY a b"]),
        stages(&["RUN one", "RUN three", "COPY a b"]),
        stages(&["RUN one", "RUN two", "COPY x y", "COPY a b"]),
        stages(&["RUN one", "RUN two", "RUN three", "COPY a b", "RUN four"]),
    ];
    let text = cases.map(|now| told(&now, &whole)).join("--\n");
    insta::assert_snapshot!(text, @r"
    3 of 4
    build 3 RUN 2
      the instruction is `RUN 2`, it was `RUN two`
    --
    3 of 5
    build 4 WORKDIR /new
      `WORKDIR /new` is new
    --
    2 of 3
    build 3 RUN three
      `RUN two` was removed, which was step 3
    --
    2 of 4
    build 4 COPY x y
      `COPY x y` is new
    --
    1 of 5
    build 6 RUN four
      `RUN four` is new
    ");
}

#[test]
fn what_the_text_does_not_show_is_said_to_have_changed() {
    let stages = |text: &str, value: &str| {
        let mut step = step(text);
        step.parts[0].value = hash(value);
        vec![("build", vec![from("a", "1"), step])]
    };
    let differ = |text: &str| told(&stages(text, "2"), &stages(text, "1"));
    insta::assert_snapshot!([differ("RUN <<EOF"), differ("COPY $from /x")].concat(), @r"
    1 of 1
    build 2 RUN <<EOF
      its heredoc changed
    1 of 1
    build 2 COPY $from /x
      what its variables stand for changed
    ");
}

#[test]
fn stages_are_renamed_and_new() {
    let mut renamed = project("1", "new content");
    renamed[0].0 = "compile";
    let last = of_stage(&renamed, "compile");
    renamed[1].1[2] = step("COPY --from=compile /out /app").with(PartKind::Stage, "compile", &last);
    let mut extended = project("1", "a");
    extended.insert(1, ("docs", vec![from("node:22", "1"), step("RUN mkdocs")]));
    let text = [told(&renamed, &project("1", "a")), told(&extended, &project("1", "a"))].join("--\n");
    insta::assert_snapshot!(text, @r"
    3 of 6
    compile 4 COPY src ./src
      `src/app.py` changed (+10 bytes)
    stage-1 3 COPY --from=compile /out /app
      the instruction is `COPY --from=compile /out /app`, it was `COPY --from=build /out /app`
      stage `compile` changed
    --
    1 of 7
    docs 1 FROM node:22
      stage `docs` is new
    ");
}

#[test]
fn options_states_contexts_and_variables() {
    let stages = |value: &str| {
        let run = step("RUN make")
            .with(PartKind::Option, "--network", value)
            .with(PartKind::State, "user", value)
            .with(PartKind::Context, "docs", value)
            .with(PartKind::Frontend, "docker/dockerfile:1", &Digest::of(value.as_bytes()).to_string())
            .with(PartKind::Variable, "DEBUG", value)
            .with(PartKind::Files, "src", value);
        vec![("build", vec![from("a", "1"), run])]
    };
    insta::assert_snapshot!(told(&stages("b"), &stages("a")), @r"
    1 of 1
    build 2 RUN make
      frontend `docker/dockerfile:1` moved from sha256:ca978112ca1b.. to sha256:3e23e8160039..
      named context `docs` changed
      user is `b`, it was `a`
      `--network` is `b`, it was `a`
      variable `DEBUG` of ENV differs, first used in step 2 of stage `build`
      files of `src` changed
    ");
}

#[test]
fn settings_of_the_image_are_told_where_no_step_differs() {
    let image = |text: &str, label: &str| {
        let cmd = part(PartKind::Instruction, text, &hash(text));
        let label_of_file = part(PartKind::Instruction, "LABEL sha=$SHA", &hash(label));
        let image = vec![cmd, label_of_file, part(PartKind::Option, "--label", &hash(label))];
        Inputs { digest: Digest::of(text.as_bytes()), image, ..inputs(&project("1", "a")) }
    };
    let before = recorded("branch-main", image("CMD a", "1"));
    let explanation = explain(&image("CMD b", "2"), &[&before], None, None);
    insta::assert_snapshot!(show(&explanation), @r"
    0 of 6
    the image differs although no step does: `CMD b`, it was `CMD a`
    the image differs although no step does: what the variables in `LABEL sha=$SHA` stand for differs
    the image differs although no step does: `--label` differs
    ");
}

#[test]
fn what_went_otherwise_is_said() {
    let now = inputs(&project("1", "new"));
    let records = [recorded("branch-main", inputs(&project("1", "old")))];
    let records: Vec<&Recorded> = records.iter().collect();
    let said = |status: &dyn Fn(&str, usize) -> StepStatus, suspect: Suspect<'_>| {
        surprises(&now, &records, &went(&now, status), None, suspect).join("\n")
    };
    let as_said = |stage: &str, number: usize| match (stage, number) {
        ("build", 4 | 5) | ("stage-1", 3) => StepStatus::Run,
        _ => StepStatus::Cached,
    };
    assert_eq!(said(&as_said, Suspect::default()), "");
    let same_output = |stage: &str, number: usize| match stage {
        "stage-1" => StepStatus::Cached,
        _ => as_said(stage, number),
    };
    insta::assert_snapshot!(said(&same_output, Suspect::default()), @"step 3 of stage `stage-1`, `COPY --from=build /out /app`, did not have to run: what it takes from stage `build` came out the same");
    let cold = |_: &str, _: usize| StepStatus::Run;
    insta::assert_snapshot!(said(&cold, Suspect { buildkit: Some("0.8.3"), ..Suspect::default() }), @r"
    step 2 of stage `build`, `COPY requirements.txt ./`, ran although the record has it: the cache was made by BuildKit 0.25.0, this is 0.8.3
    step 2 of stage `stage-1`, `RUN adduser app`, ran although the record has it: the cache was made by BuildKit 0.25.0, this is 0.8.3
    ");
    let twice = said(&cold, Suspect { without_cache: true, ..Suspect::default() });
    assert!(twice.contains("the build was run once more without the cache"), "{twice}");
    let warm = |_: &str, _: usize| StepStatus::Cached;
    insta::assert_snapshot!(said(&warm, Suspect::default()), @"step 4 of stage `build`, `COPY src ./src`, did not have to run: the engine's own store or an older build in the cache had it");
}

#[test]
fn hostile_ranges_and_empty_stages_are_harmless() {
    let mut before = inputs(&project("1", "a"));
    before.stages[0].steps[3].files = vec![(7, 2), (0, usize::MAX)];
    before.stages.push(StageInputs { name: "build".to_owned(), platform: None, steps: Vec::new() });
    let text = show(&explain(&inputs(&project("1", "b")), &[&recorded("x", before)], None, None));
    assert!(text.contains("file `src/app.py` entered the context"), "{text}");
    let empty = Inputs { stages: Vec::new(), ..inputs(&[]) };
    assert_eq!(explain(&inputs(&project("1", "b")), &[&recorded("x", empty)], None, None).misses.len(), 2);
}

#[test]
fn what_is_read_decides_which_records_count() {
    let (old, new) = (inputs(&project("1", "old")), inputs(&project("1", "new")));
    let main = recorded("branch-main", old.clone());
    let mine = Recorded { scope: None, ..recorded("mine", new.clone()) };
    let sources = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
    let said = |reading, records: &[Recorded], scopes: &[&str], is_empty| {
        let situation = Situation {
            inputs: Ok(&new),
            uncounted: None,
            reading,
            records,
            folder: None,
            sources: &sources(scopes),
            candidates: &[],
            own: Some("branch-main"),
            is_empty,
            links: None,
        };
        let explanation = situation.explain(None);
        let held = if situation.is_held() { "held" } else { "" };
        format!("{:?} {held}{}", explanation.predicted, explanation.notes.join("; "))
    };
    let main_only = std::slice::from_ref(&main);
    let all = [mine.clone(), main.clone()];
    let same = [mine.clone(), recorded("branch-main", new.clone())];
    let mut given_up = main.clone();
    Arc::make_mut(&mut given_up.record).given_up = true;
    let text = [
        said(Reading::Chain, main_only, &["branch-main"], true),
        said(Reading::Chain, main_only, &[], true),
        said(Reading::Chain, main_only, &[], false),
        said(Reading::Chain, &all, &["branch-main"], false),
        said(Reading::Chain, &[], &["branch-main"], true),
        said(Reading::Nothing, &all, &["branch-main"], true),
        said(Reading::Elsewhere, &all, &[], false),
        said(Reading::Elsewhere, main_only, &[], true),
        said(Reading::Unknown, &all, &[], true),
        said(Reading::GivenUp, main_only, &["branch-main"], true),
        said(Reading::GivenUp, main_only, &["branch-main"], false),
        said(Reading::GivenUp, &all, &[], false),
        said(Reading::Chain, &[given_up], &["branch-main"], true),
        said(Reading::Chain, &same, &["branch-main"], false),
        said(Reading::Elsewhere, &same, &["branch-main"], false),
    ];
    insta::assert_snapshot!(text.join("\n"), @r"
    Some((3, 6)) 
    Some((6, 6)) 
    None 
    Some((0, 6)) 
    None no record lies beside the cache of branch-main: which steps will run is not known
    Some((6, 6)) --no-cache was given: every step runs
    Some((0, 6)) 
    None 
    None 
    Some((6, 6)) 
    None 
    Some((0, 6)) 
    None the last build of branch-main kept no cache, an older one did: which steps will run is not known
    Some((0, 6)) held
    Some((0, 6)) 
    ");
}

#[test]
fn what_may_move_unseen_is_told_and_blamed() {
    let mut now = inputs(&[("app", vec![from("img", "1"), step("ADD https://host/x /x")])]);
    let what = "ADD fetches https://host/x without --checksum".to_owned();
    now.unknown = vec![Unknown { line: now.stages[0].steps[1].line, what: what.clone() }; 2];
    let records = [recorded("branch-main", now.clone())];
    let situation = Situation {
        inputs: Ok(&now),
        uncounted: None,
        reading: Reading::Chain,
        records: &records,
        folder: None,
        sources: &["branch-main".to_owned()],
        candidates: &[],
        own: Some("branch-main"),
        is_empty: true,
        links: None,
    };
    let line = now.unknown[0].line;
    let told = situation.conclude(&went(&now, |_, _| StepStatus::Run), Suspect::default());
    assert_eq!(told.notes, [format!("the image is not reusable: line {line}: {what}, and 1 more")]);
    assert!(told.surprises[0].ends_with(&what), "{:?}", told.surprises);
}
