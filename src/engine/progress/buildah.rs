//! The output of buildah, and of podman's `build` (buildah, imagebuildah/stage_executor.go): one instruction after
//! another, on standard output, with an error on standard error at the end.
//!
//! `[2/3] STEP 4/5: RUN make`, where `[2/3]` is the stage and stands only in files with several; then what the program
//! prints; then marks, each at most once for a step and in this order: `--> Cache pulled from remote <ref>`, `--> Using
//! cache <image>`, `--> Pushing cache <ref>`, `--> <image>`. The last one is left out where an image id goes to a file.
//!
//! Marks do not say whose they are. A step that copies from a stage which is not built yet waits for it: other stages'
//! lines come between the step's own line and its marks. So open steps are kept on a stack, and a mark that the top one
//! has had already, after its stage's last step, belongs to the one below. With several that wait it may be another one's:
//! the next line of a stage tells, since the marks right before it are those of the stage's step before.
//!
//! It tells no times: a step lasts from its line to its end. As with the classic builder, only the next number in order
//! is taken for a step.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::process::Stream;
use crate::model::event::{Event, Vertex};

/// The most stages of a file that are told apart.
const MOST_STAGES: usize = 1 << 12;

/// The marks, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Nothing,
    Pulled,
    Hit,
    Committed,
    Pushing,
    Image,
}

#[derive(Debug, Default)]
pub(super) struct Buildah {
    stages: BTreeMap<u32, Stage>,
    /// Steps under way; the top one is the last.
    open: Vec<Open>,
    /// The stage that the marks since the last line of a step, or since the group of marks before, were taken for.
    marked: Option<u32>,
    error: Option<String>,
}

#[derive(Debug, Default)]
struct Stage {
    label: String,
    /// The number of the last step, and how many there are.
    last: (u32, u32),
}

#[derive(Debug)]
struct Open {
    stage: u32,
    is_last: bool,
    vertex: Vertex,
    mark: Mark,
}

/// `[2/3] STEP 4/5: RUN make`.
struct Step<'a> {
    stage: u32,
    number: u32,
    of: u32,
    instruction: &'a str,
}

impl Buildah {
    pub(super) fn line(&mut self, stream: Stream, line: &str, at: Duration) -> Vec<Event> {
        if stream == Stream::Stderr {
            if line.starts_with("Error: ") || line.starts_with("error building ") {
                self.error = Some(line.to_owned());
            }
            return vec![Event::Line { text: line.to_owned() }];
        }
        if let Some(step) = step(line).filter(|step| self.is_next(step)) {
            return self.begin(&step, at);
        }
        if let Some(mark) = mark(line) {
            let mut events = self.mark(mark, at);
            events.push(Event::Line { text: line.to_owned() });
            return events;
        }
        match self.open.last() {
            Some(open) if open.mark == Mark::Nothing => {
                let data = format!("{line}\n").into_bytes();
                vec![Event::Log { vertex: open.vertex.key.clone(), data, at: Some(at) }]
            }
            _ => vec![Event::Line { text: line.to_owned() }],
        }
    }

    pub(super) fn finish(&mut self, at: Duration) -> Vec<Event> {
        let is_marked = |open: &Open| open.mark > Mark::Nothing;
        let Some(error) = self.error.take() else {
            // All came to their ends: where steps are no layers, they are not marked.
            return self.open.drain(..).map(|open| close(open, at)).collect();
        };
        let failed = self.open.pop_if(|open| !is_marked(open)).map(|mut open| {
            open.vertex.error = Some(error);
            close(open, at)
        });
        // A step that was marked came to its end; an error after that is not its own. The others wait, and never ended.
        let ended = self.open.drain(..).filter(is_marked).map(|open| close(open, at));
        ended.chain(failed).collect()
    }

    fn is_next(&self, step: &Step<'_>) -> bool {
        match self.stages.get(&step.stage) {
            None => step.number == 1 && step.of >= 1 && self.stages.len() < MOST_STAGES,
            Some(stage) => {
                step.number == stage.last.0 + 1 && step.of == stage.last.1 && step.number <= step.of
            }
        }
    }

    fn begin(&mut self, step: &Step<'_>, at: Duration) -> Vec<Event> {
        self.claim(step.stage);
        // The step before it in its stage is over, and so is another stage's last one that was marked. Anything else waits.
        let is_over = |open: &mut Open| open.stage == step.stage || open.is_last && open.mark > Mark::Nothing;
        let mut events: Vec<Event> = self.open.extract_if(.., is_over).map(|open| close(open, at)).collect();
        let stage = self.stages.entry(step.stage).or_default();
        stage.last = (step.number, step.of);
        if step.number == 1 {
            let words: Vec<&str> = step.instruction.split_whitespace().collect();
            stage.label = match words.as_slice() {
                [.., keyword, name] if keyword.eq_ignore_ascii_case("AS") => name.to_ascii_lowercase(),
                _ => format!("stage-{}", step.stage.saturating_sub(1)),
            };
        }
        let vertex = Vertex {
            key: format!("{}/{}", step.stage, step.number),
            name: format!("[{} {}/{}] {}", stage.label, step.number, step.of, step.instruction),
            started: Some(at),
            ..Vertex::default()
        };
        events.push(Event::Vertex(vertex.clone()));
        // `FROM` gets no marks, and nothing comes between it and the next step.
        let mark = if step.number == 1 { Mark::Image } else { Mark::Nothing };
        self.open.push(Open { stage: step.stage, is_last: step.number == step.of, vertex, mark });
        events
    }

    fn mark(&mut self, mark: Mark, at: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        while let [.., _, top] = self.open.as_slice()
            && top.is_last
            && mark <= top.mark
        {
            events.extend(self.open.pop().map(|open| close(open, at)));
        }
        if let Some(open) = self.open.last_mut() {
            open.mark = open.mark.max(mark);
            open.vertex.cached |= mark == Mark::Hit;
            self.marked = Some(open.stage);
        }
        events
    }

    /// Gives the marks right before a stage's line to the step before it in that stage, if it waits for some.
    fn claim(&mut self, stage: u32) {
        let Some(taken_for) = self.marked.take().filter(|taken_for| *taken_for != stage) else { return };
        let waits = |open: &Open| open.stage == stage && open.mark == Mark::Nothing;
        let Some(to) = self.open.iter().position(waits) else { return };
        let Some(from) = self.open.iter_mut().find(|open| open.stage == taken_for) else { return };
        let mark = std::mem::replace(&mut from.mark, Mark::Nothing);
        let cached = std::mem::take(&mut from.vertex.cached);
        (self.open[to].mark, self.open[to].vertex.cached) = (mark, cached);
    }
}

fn close(mut open: Open, at: Duration) -> Event {
    open.vertex.completed = Some(at);
    Event::Vertex(open.vertex)
}

fn step(line: &str) -> Option<Step<'_>> {
    let (stage, rest) = without_stage(line);
    let (place, instruction) = rest.strip_prefix("STEP ")?.split_once(": ")?;
    let (number, of) = place.split_once('/')?;
    Some(Step { stage, number: number.parse().ok()?, of: of.parse().ok()?, instruction })
}

/// Takes `[2/3] ` off. A file with one stage has none.
fn without_stage(line: &str) -> (u32, &str) {
    let stage = line.strip_prefix('[').and_then(|rest| {
        let (place, rest) = rest.split_once("] ")?;
        Some((place.split_once('/')?.0.parse().ok()?, rest))
    });
    stage.unwrap_or((1, line))
}

fn mark(line: &str) -> Option<Mark> {
    let (_, rest) = without_stage(line);
    if rest == "COMMIT" || rest.starts_with("COMMIT ") {
        return Some(Mark::Committed);
    }
    let rest = rest.strip_prefix("--> ")?;
    if rest.starts_with("Cache pulled from remote ") {
        Some(Mark::Pulled)
    } else if rest.starts_with("Using cache ") {
        Some(Mark::Hit)
    } else if rest.starts_with("Pushing cache ") {
        Some(Mark::Pushing)
    } else {
        let is_id = (11..=64).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then_some(Mark::Image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::progress::Steps;

    macro_rules! sample {
        ($name:literal) => {
            include_str!(concat!("../samples/progress/buildah-", $name))
        };
    }

    /// What is known at the end of a stream whose lines come one second after the other.
    fn told(stdout: &str, stderr: &str) -> String {
        let (mut reader, mut steps, mut at) = (Buildah::default(), Steps::default(), Duration::ZERO);
        let lines = stdout.lines().map(|line| (Stream::Stdout, line));
        for (stream, line) in lines.chain(stderr.lines().map(|line| (Stream::Stderr, line))) {
            at += Duration::from_secs(1);
            reader.line(stream, line, at).iter().for_each(|event| steps.push(event));
        }
        reader.finish(at).iter().for_each(|event| steps.push(event));
        let labels = ["tools", "build", "stage-2"].map(str::to_owned);
        let row = |stage: &str, step: &crate::model::outcome::StepOutcome| {
            let status = format!("{:?}", step.status).to_lowercase();
            format!("{stage} {}/{} {status} {}\n", step.number, step.of, step.instruction)
        };
        steps
            .stages(&labels)
            .iter()
            .flat_map(|stage| stage.steps.iter().map(|step| row(&stage.name, step)))
            .chain(steps.failures().into_iter().map(|failure| format!("failed: {}\n", failure.error)))
            .collect()
    }

    #[test]
    fn a_cold_build() {
        insta::assert_snapshot!(told(sample!("cold"), ""), @r#"
        tools 2/2 run RUN mkdir /tools && cat /proc/sys/kernel/random/uuid > /tools/stamp
        build 2/4 run WORKDIR /build
        build 3/4 run COPY src/ /build/src/
        build 4/4 run RUN echo hello; mkdir out && cat src/* > out/source.txt
        stage-2 2/5 run WORKDIR /app
        stage-2 3/5 run ENV A=b
        stage-2 4/5 run COPY --from=build /build/out/ ./
        stage-2 5/5 run CMD ["cat", "/app/source.txt"]
        "#);
    }

    #[test]
    fn a_cached_build() {
        insta::assert_snapshot!(told(sample!("cached"), ""), @r#"
        tools 2/2 cached RUN mkdir /tools && cat /proc/sys/kernel/random/uuid > /tools/stamp
        build 2/4 cached WORKDIR /build
        build 3/4 cached COPY src/ /build/src/
        build 4/4 cached RUN echo hello; mkdir out && cat src/* > out/source.txt
        stage-2 2/5 cached WORKDIR /app
        stage-2 3/5 cached ENV A=b
        stage-2 4/5 cached COPY --from=build /build/out/ ./
        stage-2 5/5 cached CMD ["cat", "/app/source.txt"]
        "#);
    }

    #[test]
    fn steps_that_wait_for_the_same_stage_get_their_own_marks() {
        insta::assert_snapshot!(told(sample!("waiting"), ""), @r#"
        tools 2/2 cached RUN mkdir /tools && cat /proc/sys/kernel/random/uuid > /tools/stamp
        build 2/5 cached WORKDIR /build
        build 3/5 cached COPY --from=dependencies /dependencies /build/dependencies
        build 4/5 cached COPY src/ /build/src/
        build 5/5 cached RUN mkdir out && cat src/* > out/source.txt && cat /proc/sys/kernel/random/uuid > out/stamp
        final 2/7 cached WORKDIR /app
        final 3/7 cached COPY --from=tools /tools/stamp tools.stamp
        final 4/7 cached COPY --from=dependencies /dependencies/stamp dependencies.stamp
        final 5/7 cached COPY --from=build /build/out/ ./
        final 6/7 cached COPY assets/ assets/
        final 7/7 cached CMD ["cat", "/app/source.txt"]
        dependencies 2/3 cached COPY dependencies.txt /dependencies/
        dependencies 3/3 cached RUN cat /proc/sys/kernel/random/uuid > /dependencies/stamp
        "#);
    }

    #[test]
    fn one_file_changed() {
        insta::assert_snapshot!(told(sample!("changed"), ""), @r#"
        tools 2/2 cached RUN mkdir /tools && cat /proc/sys/kernel/random/uuid > /tools/stamp
        build 2/4 cached WORKDIR /build
        build 3/4 run COPY src/ /build/src/
        build 4/4 run RUN echo hello; mkdir out && cat src/* > out/source.txt
        stage-2 2/5 cached WORKDIR /app
        stage-2 3/5 cached ENV A=b
        stage-2 4/5 run COPY --from=build /build/out/ ./
        stage-2 5/5 run CMD ["cat", "/app/source.txt"]
        "#);
    }

    #[test]
    fn a_failure_is_that_of_the_step_under_way() {
        let error = "subprocess exited with status 1\nError: building at STEP \"RUN echo gone && false\": exit status 1\n";
        insta::assert_snapshot!(told(sample!("fail"), error), @r#"
        tools 2/2 cached RUN mkdir /tools && cat /proc/sys/kernel/random/uuid > /tools/stamp
        build 2/5 cached WORKDIR /build
        build 3/5 run COPY src/ /build/src/
        build 4/5 run RUN echo hello; mkdir out && cat src/* > out/source.txt
        build 5/5 failed RUN echo gone && false
        failed: Error: building at STEP "RUN echo gone && false": exit status 1
        "#);
    }

    #[test]
    fn without_image_ids_marks_find_their_steps_too() {
        let text = "[1/2] STEP 1/2: FROM a AS tools\n[2/2] STEP 1/2: FROM b\n[2/2] STEP 2/2: COPY --from=tools /a /a\n\
            [1/2] STEP 2/2: RUN x\n--> Using cache 52bfb3c907d4f40e\n--> Pushing cache r.io/c:1\n--> Cache pulled from remote r.io/c:2\n\
            --> Using cache 29842f596d7\n[2/2] COMMIT app\n";
        insta::assert_snapshot!(told(text, ""), @r"
        tools 2/2 cached RUN x
        stage-1 2/2 cached COPY --from=tools /a /a
        ");
    }

    #[test]
    fn steps_that_are_no_layers_come_to_their_ends_too() {
        let text = "[1/2] STEP 1/2: FROM a AS tools\n[1/2] STEP 2/2: RUN x\n[2/2] STEP 1/3: FROM b\n[2/2] STEP 2/3: ENV A=b\n\
            [2/2] STEP 3/3: RUN y\n[2/2] COMMIT app\n--> c0e50378e44\n";
        insta::assert_snapshot!(told(text, ""), @r"
        tools 2/2 run RUN x
        stage-1 2/3 run ENV A=b
        stage-1 3/3 run RUN y
        ");
    }

    #[test]
    fn output_of_a_step_is_not_taken_for_more() {
        let text = "STEP 1/3: FROM a\nSTEP 2/3: RUN x\nSTEP 9/9: RUN y\n[3/3] STEP 2/2: RUN z\nSTEP 3/3: RUN last\n\
            --> not an image\nCOMMIT\n";
        insta::assert_snapshot!(told(text, "Error: of a program\n"), @r"
        stage-0 2/3 run RUN x
        stage-0 3/3 run RUN last
        ");
    }
}
