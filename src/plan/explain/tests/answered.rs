//! Which steps the records say will be answered.

use super::*;
use crate::model::parent_state::Link;

#[test]
fn several_records_answer_together() {
    let own = recorded("mr-1", inputs(&project("1", "mine")));
    let main = recorded("branch-main", inputs(&project("1", "theirs")));
    let now = project("1", "theirs");
    let explanation = explain(&inputs(&now), &[&own, &main], None, None);
    assert_eq!(explanation.predicted, Some((0, 6)));
    assert_eq!(explanation.against.unwrap().scope.as_deref(), Some("branch-main"));
    let alone = explain(&inputs(&now), &[&own], None, None);
    assert_eq!(alone.predicted, Some((3, 6)));
    let none = explain(&inputs(&now), &[], None, None);
    assert_eq!((none.predicted, none.misses.len(), none.against), (Some((6, 6)), 0, None));
}

#[test]
fn a_failed_build_has_left_what_it_finished() {
    let before = inputs(&project("1", "a"));
    let mut failed = recorded("branch-main", before.clone());
    let record = Arc::make_mut(&mut failed.record);
    record.status = BuildStatus::Failed;
    record.stages = went(&before, |stage, number| match (stage, number) {
        ("build", 5) => StepStatus::Failed,
        ("build", _) => StepStatus::Run,
        _ => StepStatus::Skipped,
    });
    assert_eq!(explain(&before, &[&failed], None, None).predicted, Some((3, 6)));
}

#[test]
fn the_classic_builder_stays_with_the_first_image_that_it_takes_a_step_from() {
    let of = |content: &'static str| Inputs { rules: StepRules::Classic, ..inputs(&project("1", content)) };
    // Both have the first steps of `build`; only main's has the rest.
    let (own, main) = (recorded("mr-1", of("mine")), recorded("branch-main", of("theirs")));
    let now = of("theirs");
    assert_eq!(explain(&now, &[&main, &own], None, None).predicted, Some((0, 6)));
    assert_eq!(explain(&now, &[&own, &main], None, None).predicted, Some((3, 6)));
    // BuildKit's are merged.
    let merged = [("mr-1", "mine"), ("branch-main", "theirs")]
        .map(|(scope, content)| recorded(scope, inputs(&project("1", content))));
    let merged: Vec<&Recorded> = merged.iter().collect();
    assert_eq!(explain(&inputs(&project("1", "theirs")), &merged, None, None).predicted, Some((0, 6)));
}

#[test]
fn what_early_buildah_does_not_find_is_told() {
    let early = |stages: &[(&str, Vec<Given>)]| Inputs { rules: StepRules::EarlyBuildah, ..inputs(stages) };
    let argument = step("ARG A=b").with(PartKind::Argument, "A", "1");
    let build = ("build", vec![from("img", "1"), step("RUN a"), argument, step("RUN b")]);
    let copy = step("COPY --from=build /a /a").with(PartKind::Stage, "build", "1");
    let now = early(&[build, ("app", vec![from("img", "1"), step("WORKDIR /app"), copy])]);
    let record = recorded("branch-main", now.clone());
    insta::assert_snapshot!(show(&explain(&now, &[&record], None, None)), @r"
    3 of 5
    build 3 ARG A=b
      this version finds no `ARG` in a registry, and runs all below it; buildah 1.29 and podman 4.4 do
    app 3 COPY --from=build /a /a
      stage `build` is made anew
    ");
    // The local store has them.
    let here = Recorded { scope: None, ..record };
    assert_eq!(explain(&now, &[&here], None, None).predicted, Some((0, 5)));
}

#[test]
fn of_several_platforms_each_step_is_told_once_where_it_is_the_same() {
    let of = |platform: &str, base: &str, content: &'static str| {
        let copy = step("COPY src /src").reading(&[("src/a", content)]);
        let mut inputs = inputs(&[("app", vec![from("img", base), copy, step("RUN make")])]);
        inputs.stages[0].platform = Some(platform.to_owned());
        inputs
    };
    let both = |arm: &str, content: &'static str| {
        let (mut first, second) = (of("linux/amd64", "1", content), of("linux/arm64", arm, content));
        first.stages.extend(second.stages);
        first
    };
    let record = recorded("branch-main", both("2", "old"));
    // The same file for both: told once, and run twice, since what lies below differs.
    let explanation = explain(&both("2", "new"), &[&record], None, None);
    assert_eq!((explanation.predicted, explanation.misses.len()), (Some((4, 4)), 1));
    assert_eq!(explanation.misses[0].platform, None);
    // A base that moved for one of them.
    let explanation = explain(&both("3", "old"), &[&record], None, None);
    assert_eq!((explanation.predicted, explanation.misses.len()), (Some((2, 4)), 1));
    assert_eq!(explanation.misses[0].platform.as_deref(), Some("linux/arm64"));
    // What is one step for both may run for either, and be cached for the other.
    let (same, before) = (both("1", "new"), both("1", "old"));
    let record = recorded("branch-main", before);
    assert_eq!(explain(&same, &[&record], None, None).predicted, Some((2, 2)));
    let mut done = went(&same, |_, _| StepStatus::Run);
    let mut other = done.remove(1).steps;
    done[0].steps.iter_mut().for_each(|step| step.platform = Some("linux/amd64".to_owned()));
    other.iter_mut().for_each(|step| {
        (step.platform, step.status) = (Some("linux/arm64".to_owned()), StepStatus::Cached);
    });
    done[0].steps.extend(other);
    assert_eq!(surprises(&same, &[&record], &done, None, Suspect::default()), [""; 0]);
}

#[test]
fn a_step_that_is_linked_is_another_in_the_cache() {
    let now = inputs(&project("1", "a"));
    let copy = &now.stages[1].steps[2];
    let link = [Link { line: copy.line, step: copy.digest.clone(), above: None }];
    let mut before = recorded("branch-main", now.clone());
    Arc::make_mut(&mut before.record).linked = link.to_vec();
    let links = |made, reason| Some(Links { made, reason });
    assert_eq!(explain(&now, &[&before], None, links(&link, None)).predicted, Some((0, 6)));
    let told = explain(&now, &[&before], None, links(&[], Some("it was turned off")));
    insta::assert_snapshot!(show(&told), @r"
    1 of 6
    stage-1 3 COPY --from=build /out /app
      it was built as `COPY --link`, and is built as it is written now: it was turned off
    ");
    let as_written = recorded("branch-main", now.clone());
    assert_eq!(explain(&now, &[&before, &as_written], None, links(&[], None)).predicted, Some((0, 6)));
    // Nobody decided: the step is there.
    assert_eq!(explain(&now, &[&before], None, None).predicted, Some((0, 6)));
}

#[test]
fn what_was_not_kept_is_built_where_it_is_needed() {
    let left_out = |inputs: Inputs| {
        let mut recorded = recorded("mr-1", inputs);
        Arc::make_mut(&mut recorded.record).left_out = vec!["build".to_owned()];
        recorded
    };
    let before = inputs(&project("1", "a"));
    let own = left_out(before.clone());
    assert_eq!(explain(&before, &[&own], None, None).predicted, Some((0, 6)), "nobody needs it");
    // What copies from it runs, after another step that is new.
    let mut stages = project("1", "a");
    stages[1].1.insert(1, step("RUN first"));
    let now = inputs(&stages);
    let told = explain(&now, &[&own], None, None);
    assert_eq!(told.predicted, Some((7, 7)));
    let cause = "stage `build` was not kept: it costs less to build";
    assert_eq!((told.misses[0].stage.as_str(), told.misses[0].causes[0].text.as_str()), ("build", cause));
    // Its last steps are new, and run on the first ones.
    assert_eq!(explain(&inputs(&project("1", "b")), &[&own], None, None).predicted.unwrap().0, 5);
    // Another scope has kept it, and both are read.
    let main = recorded("branch-main", before);
    assert_eq!(explain(&now, &[&own, &main], None, None).predicted, Some((3, 7)));
}
