use super::*;
use crate::dockerfile::{Inputs as GraphInputs, graph};
use crate::model::platform::Platform;
use crate::plan::digest::{self, Known};
use crate::plan::wanted::Asked;

const DOCKERFILE: &str = "\
ARG BASE=img
ARG A B
FROM $BASE AS other
RUN unneeded
FROM $BASE AS build
LABEL a=1
ARG STAMP=none
RUN make
ENV X=$STAMP
FROM build
COPY --from=build /a /a
CMD x
";

fn given(text: &str, rules: StepRules, stamp: Option<&str>, labels: &[&str]) -> (Inputs, Vec<String>) {
    let file = Dockerfile::parse(text.as_bytes()).expect("Dockerfile");
    let platform = Platform::new("linux", "amd64", None);
    let arguments = stamp.map(|stamp| ("STAMP".to_owned(), Some(stamp.to_owned())));
    let given = GraphInputs {
        build_args: arguments.into_iter().collect(),
        target: None,
        platform: platform.clone(),
        build_platform: platform.clone(),
        contexts: BTreeMap::new(),
    };
    let graph = graph(&file, &given).expect("graph");
    let contexts = BTreeMap::new();
    let asked = Asked { graph: &graph, platform: &platform, contexts: &contexts };
    let known = digest::inputs(asked, Known::default());
    (inputs(&known, &file, &graph, rules, labels), needless(&file, &graph))
}

fn shown(inputs: &Inputs) -> String {
    let of_stage = |stage: &StageInputs| {
        let steps = stage.steps.iter();
        steps.map(|step| format!("{} {} {}\n", stage.name, step.number, step.instruction)).collect::<String>()
    };
    inputs.stages.iter().map(of_stage).collect()
}

/// The steps whose digests differ.
fn changed(one: &Inputs, other: &Inputs) -> Vec<String> {
    let steps = |inputs: &Inputs| -> Vec<(String, Digest)> {
        let of_stage = |stage: &StageInputs| {
            let step = |step: &StepInputs| (format!("{} {}", stage.name, step.number), step.digest.clone());
            stage.steps.iter().map(step).collect::<Vec<_>>()
        };
        inputs.stages.iter().flat_map(of_stage).collect()
    };
    let both = steps(one).into_iter().zip(steps(other));
    both.filter(|(one, other)| one.1 != other.1).map(|(one, _)| one.0).collect()
}

#[test]
fn the_classic_builder_counts_from_the_top_of_the_file() {
    let (inputs, needless) = given(DOCKERFILE, StepRules::Classic, None, &["z=1", "y", "z=2"]);
    insta::assert_snapshot!(shown(&inputs), @r"
    build 5 FROM img
    build 6 LABEL a=1
    build 7 ARG STAMP=none
    build 8 RUN make
    build 9 ENV X=$STAMP
    stage-2 11 COPY --from=build /a /a
    stage-2 12 CMD x
    stage-2 13 LABEL y
    stage-2 14 LABEL z
    ");
    assert_eq!(needless, ["other"]);
}

#[test]
fn buildah_counts_from_the_begin_of_the_stage() {
    let (inputs, _) = given(DOCKERFILE, StepRules::Buildah, None, &["z=1", "y"]);
    insta::assert_snapshot!(shown(&inputs), @r"
    build 1 FROM img
    build 2 LABEL a=1
    build 3 ARG STAMP=none
    build 4 RUN make
    build 5 ENV X=$STAMP
    stage-2 2 COPY --from=build /a /a
    stage-2 3 CMD x
    stage-2 4 LABEL z
    stage-2 5 LABEL y
    ");
}

#[test]
fn every_instruction_stands_on_those_before_it() {
    for rules in [StepRules::Classic, StepRules::Buildah] {
        let before = given(DOCKERFILE, rules, None, &[]).0;
        let after = given(&DOCKERFILE.replace("LABEL a=1", "LABEL a=2"), rules, None, &[]).0;
        let changed = changed(&after, &before);
        assert_eq!(changed.len(), 6, "{changed:?}");
        assert_eq!(self::changed(&given(DOCKERFILE, rules, Some("none"), &[]).0, &before), [""; 0]);
        let made = after.stages[1].steps.iter().any(|step| step.instruction == "CMD x");
        assert!(made && after.digest != before.digest);
    }
    let classic = given(DOCKERFILE, StepRules::Classic, None, &[]).0;
    let buildah = given(DOCKERFILE, StepRules::Buildah, None, &[]).0;
    assert_eq!(changed(&classic, &buildah).len(), 7, "digests of different rules have nothing in common");
}

#[test]
fn a_build_argument_counts_where_the_builder_sees_it() {
    let changed = |rules| {
        let [before, after] = ["1", "2"].map(|stamp| given(DOCKERFILE, rules, Some(stamp), &[]).0);
        let changed = self::changed(&after, &before);
        let is_told = |part: &Part| part.kind == PartKind::Argument && part.name == "STAMP";
        let first = after.stages[0].steps.iter().find(|step| changed[0] == format!("build {}", step.number));
        assert!(first.is_some_and(|step| step.parts.iter().any(is_told)), "{after:#?}");
        changed
    };
    assert_eq!(changed(StepRules::Classic), ["build 8", "build 9", "stage-2 11", "stage-2 12"]);
    assert_eq!(changed(StepRules::Buildah), ["build 3", "build 4", "build 5", "stage-2 2", "stage-2 3"]);
}

#[test]
fn what_only_an_engine_is_told_does_not_count() {
    let text = "FROM img\nRUN make\n";
    let plain = given(text, StepRules::Classic, None, &[]).0;
    let mut with_option = plain.clone();
    let step = &mut with_option.stages[0].steps[1];
    step.parts.push(part(PartKind::Option, "--network", "host"));
    let file = Dockerfile::parse(text.as_bytes()).expect("Dockerfile");
    let platform = Platform::new("linux", "amd64", None);
    let asked = GraphInputs {
        build_args: BTreeMap::new(),
        target: None,
        platform: platform.clone(),
        build_platform: platform,
        contexts: BTreeMap::new(),
    };
    let graph = graph(&file, &asked).expect("graph");
    let again = |known: &Inputs| inputs(known, &file, &graph, StepRules::Classic, &[]);
    assert_eq!(changed(&again(&plain), &again(&with_option)), [""; 0]);
}
