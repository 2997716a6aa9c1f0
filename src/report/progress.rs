//! What a running build looks like at this moment: events in, a screenful of lines out.
//!
//! Pure, so that every picture can be tested: time, width and height are parameters. `live` draws it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::units;
use crate::model::event::Event;
use crate::report::line::{Paint, cut, strip};
use crate::report::task::Task;

/// Lines of a running step's output that are shown below it.
const TAIL: usize = 6;

/// Vertices that are followed; the display of a build with more of them is incomplete.
const FOLLOWED: usize = 4096;

/// The state of a build, as far as its events told.
#[derive(Debug, Default)]
pub struct Progress {
    verbose: bool,
    /// In the order in which they were named.
    tasks: Vec<Task>,
    places: BTreeMap<String, usize>,
}

impl Progress {
    /// Nothing happened yet. Verbose: [`Progress::apply`] hands out the engine's log as it comes.
    pub fn new(verbose: bool) -> Self {
        Progress { verbose, ..Progress::default() }
    }

    /// Takes an event that came at this time since the begin, and gives the lines that are to stay on the screen: the
    /// log of a failed step, messages of the client, and the engine's log if it was asked for.
    pub fn apply(&mut self, event: &Event, now: Duration) -> Vec<String> {
        let verbose = self.verbose;
        match event {
            Event::Vertex(vertex) => {
                self.task(&vertex.key).map_or_else(Vec::new, |task| task.update(vertex, now, verbose))
            }
            Event::Log { vertex, data, .. } => {
                let Some(task) = self.task(vertex) else { return Vec::new() };
                let lines = task.hear(data);
                let label = task.label().to_owned();
                lines.into_iter().filter(|_| verbose).map(|line| format!("{label} | {line}")).collect()
            }
            Event::Status { vertex, id, current, total, completed, .. } => {
                if let Some(task) = self.task(vertex) {
                    task.move_on(id, *current, *total, *completed);
                }
                Vec::new()
            }
            Event::Line { text } => vec![strip(text)],
            // The summary lists them.
            Event::Warning { .. } => Vec::new(),
        }
    }

    fn task(&mut self, key: &str) -> Option<&mut Task> {
        if let Some(place) = self.places.get(key) {
            return self.tasks.get_mut(*place);
        }
        if self.tasks.len() >= FOLLOWED {
            return None;
        }
        self.places.insert(key.to_owned(), self.tasks.len());
        self.tasks.push(Task::default());
        self.tasks.last_mut()
    }

    /// The picture: each running task with its download and the end of its output, then the count of steps. Never more
    /// than `height` lines of `width` columns.
    pub fn picture(&self, now: Duration, width: usize, height: usize, color: bool) -> Vec<String> {
        let running: Vec<&Task> = self.tasks.iter().filter(|task| task.is_running()).collect();
        let fixed: usize =
            1 + running.iter().map(|task| 1 + usize::from(task.fetching().is_some())).sum::<usize>();
        let talking = running.iter().filter(|task| !task.log.is_empty()).count().max(1);
        let tail = if self.verbose { 0 } else { (height.saturating_sub(fixed) / talking).min(TAIL) };
        let mut lines: Vec<String> =
            running.iter().flat_map(|task| task.lines(now, width, tail, color)).collect();
        if lines.len() + 1 > height {
            let shown = height.saturating_sub(2);
            let hidden = lines.len() - shown;
            lines.truncate(shown);
            lines.push(cut(&format!("{:>10}and {hidden} more lines", ""), width));
        }
        lines.push(Paint::Strong.on(&cut(&self.count(now), width), color));
        lines.split_off(lines.len().saturating_sub(height))
    }

    /// `layerlift: 3 of 5 steps done, 2 cached, 12.0s`.
    fn count(&self, now: Duration) -> String {
        let steps = || self.tasks.iter().filter(|task| task.is_step());
        let done = steps().filter(|task| task.vertex.completed.is_some()).count();
        let cached = steps().filter(|task| task.vertex.cached).count();
        let time = units::duration(now);
        match steps().count() {
            0 => format!("layerlift: {time}"),
            all => {
                format!("layerlift: {done} of {} done, {cached} cached, {time}", units::plural(all, "step"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Vertex;
    use crate::report::task::{KEPT, LAYERS, LONGEST_LINE};
    use insta::assert_snapshot;
    use proptest::prelude::*;

    fn seconds(value: u64) -> Duration {
        Duration::from_secs(value)
    }

    fn vertex(key: &str, name: &str, started: Option<u64>, completed: Option<u64>) -> Event {
        Event::Vertex(Vertex {
            key: key.to_owned(),
            name: name.to_owned(),
            started: started.map(seconds),
            completed: completed.map(seconds),
            ..Vertex::default()
        })
    }

    fn cached(key: &str, name: &str) -> Event {
        Event::Vertex(Vertex {
            key: key.to_owned(),
            name: name.to_owned(),
            started: Some(seconds(1)),
            completed: Some(seconds(1)),
            cached: true,
            ..Vertex::default()
        })
    }

    fn log(key: &str, text: &str) -> Event {
        Event::Log { vertex: key.to_owned(), data: text.as_bytes().to_vec(), at: None }
    }

    fn layer(key: &str, id: &str, current: u64, total: u64, completed: bool) -> Event {
        Event::Status {
            vertex: key.to_owned(),
            id: id.to_owned(),
            current,
            total,
            started: None,
            at: None,
            completed,
        }
    }

    fn failed(key: &str, error: &str) -> Event {
        Event::Vertex(Vertex {
            key: key.to_owned(),
            completed: Some(seconds(9)),
            error: Some(error.to_owned()),
            ..Vertex::default()
        })
    }

    fn apply(progress: &mut Progress, events: &[Event]) -> String {
        events.iter().flat_map(|event| progress.apply(event, seconds(2))).map(|line| line + "\n").collect()
    }

    fn middle() -> Vec<Event> {
        vec![
            vertex("i", "[internal] load build context", Some(0), None),
            layer("i", "transferring context:", 1_200_000, 0, false),
            cached("a", "[build 1/4] FROM docker.io/library/golang"),
            cached("b", "[build 2/4] COPY . ."),
            vertex("c", "[build 3/4] RUN make", Some(2), None),
            vertex("d", "[build 4/4] RUN test", None, None),
            cached("l", "[stage-1 2/2] COPY --link --from=build /out /"),
            cached("m", "[stage-1 2/2] LINK COPY --link --from=build /out /"),
            layer("c", "sha256:1", 50, 50_000_000, true),
            layer("c", "sha256:2", 12_000_000, 70_000_000, false),
            log("c", "one\ntwo\nthree\nfour\nfive\nsix\nseven\n 10%\r 20%\r\u{1b}[32m100%\u{1b}[0m\nun"),
            vertex("p", "exporting to image", Some(2), None),
            layer("p", "pushing layers", 0, 0, false),
        ]
    }

    #[test]
    fn the_middle_of_a_build() {
        let mut progress = Progress::new(false);
        assert_eq!(apply(&mut progress, &middle()), "");
        assert_snapshot!(progress.picture(seconds(12), 80, 24, false).join("\n"), @r"
           10.0s  [internal] load build context (1.2 MB sent)
           10.0s  [build 3/4] RUN make
                  [============>           ] 62.0 MB of 120.0 MB, 1 of 2 layers fetched
                  | three
                  | four
                  | five
                  | six
                  | seven
                  | 100%
           10.0s  exporting to image (pushing layers)
        layerlift: 3 of 5 steps done, 3 cached, 12.0s
        ");
    }

    #[test]
    fn a_small_terminal_shows_less() {
        let mut progress = Progress::new(false);
        apply(&mut progress, &middle());
        assert_snapshot!(progress.picture(seconds(12), 40, 7, false).join("\n"), @r"
           10.0s  [internal] load build context…
           10.0s  [build 3/4] RUN make
                  [============>           ] 62…
                  | seven
                  | 100%
           10.0s  exporting to image (pushing l…
        layerlift: 3 of 5 steps done, 3 cached,…
        ");
        assert_snapshot!(progress.picture(seconds(12), 40, 3, false).join("\n"), @r"
           10.0s  [internal] load build context…
                  and 3 more lines
        layerlift: 3 of 5 steps done, 3 cached,…
        ");
        assert_eq!(progress.picture(seconds(12), 40, 0, false).len(), 0);
    }

    #[test]
    fn a_failed_step_is_shown_with_its_whole_log() {
        let mut progress = Progress::new(false);
        apply(&mut progress, &middle());
        let kept = apply(
            &mut progress,
            &[
                failed("c", "process \"/bin/sh -c make\" did not complete successfully: exit code: 2"),
                failed("d", "rpc error: context canceled"),
                Event::Line { text: "ERROR: failed to solve".to_owned() },
            ],
        );
        assert_snapshot!(kept, @r#"
        failed: [build 3/4] RUN make
          | one
          | two
          | three
          | four
          | five
          | six
          | seven
          | 100%
          | un
          process "/bin/sh -c make" did not complete successfully: exit code: 2
        ERROR: failed to solve
        "#);
    }

    #[test]
    fn the_engines_log_on_demand() {
        let mut progress = Progress::new(true);
        let mut kept = apply(&mut progress, &middle());
        kept += &apply(
            &mut progress,
            &[vertex("c", "", None, Some(9)), failed("p", "denied"), vertex("i", "", None, Some(9))],
        );
        assert_snapshot!(kept, @r"
        [internal] load build context
        [build 1/4] FROM docker.io/library/golang cached
        [build 2/4] COPY . . cached
        [build 3/4] RUN make
        [stage-1 2/2] COPY --link --from=build /out / cached
        [stage-1 2/2] LINK COPY --link --from=build /out / cached
        [build 3/4] | one
        [build 3/4] | two
        [build 3/4] | three
        [build 3/4] | four
        [build 3/4] | five
        [build 3/4] | six
        [build 3/4] | seven
        [build 3/4] | 100%
        exporting to image
        [build 3/4] | un
        [build 3/4] done, 0.0s
        failed: exporting to image
          denied
        [internal] load build context done, 0.0s
        ");
    }

    #[test]
    fn a_cached_step_that_is_fetched_after_all_runs_again() {
        let mut progress = Progress::new(false);
        apply(&mut progress, &[cached("a", "[2/2] RUN make")]);
        assert_eq!(progress.picture(seconds(5), 80, 24, false).len(), 1);
        apply(&mut progress, &[vertex("a", "[2/2] RUN make", Some(3), None)]);
        assert_eq!(progress.picture(seconds(5), 80, 24, false)[0].trim(), "3.0s  [2/2] RUN make");
        apply(&mut progress, &[vertex("a", "[2/2] RUN make", Some(3), Some(4))]);
        assert_eq!(
            progress.picture(seconds(5), 80, 24, false),
            ["layerlift: 1 of 1 step done, 1 cached, 5.0s"]
        );
    }

    #[test]
    fn what_is_kept_has_bounds() {
        let mut progress = Progress::new(false);
        apply(&mut progress, &[vertex("a", "[1/1] RUN yes", Some(1), None)]);
        let flood = "y".repeat(1000) + "\n";
        for _ in 0..1000 {
            apply(&mut progress, &[log("a", &flood)]);
        }
        apply(&mut progress, &[log("a", &"x".repeat(50_000))]);
        for number in 0..10_000 {
            apply(&mut progress, &[layer("a", &format!("sha256:{number}"), 1, u64::MAX, false)]);
            apply(&mut progress, &[vertex(&number.to_string(), "x", None, None)]);
        }
        assert!(progress.tasks[0].kept <= KEPT && progress.tasks[0].partial.len() <= LONGEST_LINE);
        assert_eq!((progress.tasks.len(), progress.tasks[0].layers.len()), (FOLLOWED, LAYERS));
        let lost = apply(&mut progress, &[failed("a", "exit code: 1")]);
        assert!(lost.lines().nth(1).unwrap().ends_with("lines before)"), "{}", lost.lines().nth(1).unwrap());
    }

    proptest! {
        #[test]
        fn a_picture_stays_in_its_frame(name in any::<String>(), text in any::<String>(), width in 12usize..120, height in 0usize..30) {
            let mut progress = Progress::new(false);
            apply(&mut progress, &[vertex("a", &name, Some(1), None), log("a", &text), log("a", "\n")]);
            let picture = progress.picture(seconds(3), width, height, false);
            prop_assert!(picture.len() <= height);
            for line in picture {
                prop_assert!(crate::report::line::columns(&line) <= width, "{}", line);
                prop_assert!(!line.chars().any(char::is_control), "{}", line);
            }
        }
    }
}
