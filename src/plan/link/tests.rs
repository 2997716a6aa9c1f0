use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::cachefmt::merge;
use crate::dockerfile::{Dockerfile, Inputs as GraphInputs, Operation, graph};
use crate::model::inputs::{FileKind, Part, StageInputs, StepInputs, StepRules};
use crate::model::outcome::{StageOutcome, StepOutcome, StepStatus};
use crate::model::parent_state::{Entry, EntryKind};
use crate::model::platform::Platform;
use crate::model::record::Record;
use crate::model::request::Flag;

/// What lies below: `/a` a file, `/a/` a folder, `/a -> b` a symbolic link; a folder's mode, owner or `xattrs` after it.
fn state(step: &Digest, known: &[&str], entries: &[&str]) -> ParentState {
    let entry = |text: &&str| {
        let mut words = text.split(' ');
        let path = words.next().expect("a path");
        let rest: Vec<&str> = words.collect();
        let kind = match (path.ends_with('/'), rest.first()) {
            (_, Some(&"->")) => EntryKind::Symlink,
            (true, _) => EntryKind::Folder,
            (false, _) => EntryKind::File,
        };
        let mode = rest.iter().find_map(|word| u32::from_str_radix(word.strip_prefix('0')?, 8).ok());
        let uid = rest.iter().find_map(|word| word.strip_suffix(":0")?.parse().ok()).unwrap_or(0);
        let xattrs = rest.contains(&"xattrs");
        Entry {
            path: path.trim_end_matches('/').to_owned(),
            kind,
            mode: mode.unwrap_or(0o755),
            uid,
            gid: 0,
            xattrs,
        }
    };
    ParentState {
        step: step.clone(),
        layers: vec![Digest::of(b"layer")],
        known: known.iter().map(|place| (*place).to_owned()).collect(),
        entries: entries.iter().map(entry).collect(),
        again: false,
    }
}

fn graph_of(text: &str) -> Graph {
    let platform = Platform::new("linux", "amd64", None);
    let inputs = GraphInputs {
        build_args: BTreeMap::new(),
        target: None,
        platform: platform.clone(),
        build_platform: platform,
        contexts: BTreeMap::new(),
    };
    graph(&Dockerfile::parse(text.as_bytes()).expect("Dockerfile"), &inputs).expect("graph")
}

fn files() -> Vec<File> {
    let file = |path: &str, kind| File {
        context: None,
        path: path.to_owned(),
        kind,
        mode: 0o755,
        size: 1,
        digest: String::new(),
        link: None,
    };
    vec![
        file("a.txt", FileKind::File),
        file("dir", FileKind::Folder),
        file("dir/b", FileKind::File),
        file("dir/sub", FileKind::Folder),
        file("dir/sub/c", FileKind::File),
        file("link", FileKind::Symlink),
        file("tree", FileKind::Folder),
        file("tree/to", FileKind::Symlink),
        file("tree/pipe", FileKind::Other),
    ]
}

/// What comes of the last of some instructions on top of a tree, where everything below `/` is known.
fn effect(entries: &[&str], instructions: &str) -> String {
    let graph = graph_of(&format!("FROM x AS tools\nFROM img\nWORKDIR /w\n{instructions}"));
    let mut tree = Tree::new(&state(&Digest::of(b""), &["/"], entries));
    let all = files();
    let files: Vec<&File> = all.iter().collect();
    let node = graph.stages.iter().find(|node| node.index == graph.target).expect("target");
    let copies = node.steps.iter().filter_map(|step| match &step.operation {
        Operation::Copy(copy) => Some(copy),
        _ => None,
    });
    match copies.map(|copy| writes::copy(&mut tree, copy, &files)).last().expect("a copy") {
        Effect::Same => "same".to_owned(),
        Effect::Bounded(reason) => reason,
        Effect::Unbounded(reason) => format!("{reason}!"),
    }
}

#[test]
fn what_is_the_same_as_a_layer_of_its_own() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "COPY dir /app"),
        (&["/app/"], "COPY . /app"),
        (&["/w/"], "COPY . ."),
        (&["/app/", "/app/b", "/app/sub/ 0700"], "COPY dir/ /app/"),
        (&["/usr/", "/usr/bin/", "/usr/bin/x"], "COPY a.txt /usr/bin/tool"),
        (&["/usr/", "/usr/bin/", "/usr/bin/a.txt"], "COPY a.txt /usr/bin/"),
        (&["/usr/", "/usr/bin/"], "COPY --from=tools /out/app /usr/bin/app"),
        (&["/app/"], "COPY --from=tools /out/ /app/"),
        (&["/app/ 1000:0"], "COPY --chown=1000:0 dir /app"),
        (&["/app/"], "ADD dir dir /app/"),
        (&[], "COPY *.txt /app/"),
        (&[], "COPY dir /app\nCOPY a.txt /app/sub/"),
        (&["/etc/"], "COPY --chmod=0700 dir /app\nCOPY a.txt /etc/"),
        (&["/srv/", "/srv/www/"], "COPY --chown=www dir /srv/www/html\nCOPY a.txt /srv/www/conf"),
        (&["/srv/ 0700"], "COPY --chmod=0700 dir /srv/html\nCOPY a.txt /etc"),
        (&[], "COPY --chown=7 --exclude=x dir /srv/html\nCOPY --chown=7 a.txt /srv/conf"),
        (&["/app/"], "COPY --link --chown=7 --exclude=x dir /b\nCOPY dir /app/dir"),
    ];
    for (entries, instructions) in cases {
        assert_eq!(effect(entries, instructions), "same", "{instructions} on {entries:?}");
    }
}

#[test]
fn what_may_not_be_the_same() {
    let cases: &[(&[&str], &str)] = &[
        (&["/app/ 0700"], "COPY dir /app"),
        (&["/app/ 1000:0"], "COPY dir /app"),
        (&["/app/"], "COPY --chown=1000 dir /app"),
        (&["/app/ xattrs"], "COPY dir /app"),
        (&["/app/", "/app/sub/ xattrs"], "COPY dir /app"),
        (&["/var/", "/var/run -> /run"], "COPY dir /var/run/x"),
        (&["/app -> data"], "COPY dir /app"),
        (&["/app/", "/app/b -> c"], "COPY dir /app"),
        (&["/app/", "/app/b/"], "COPY dir /app"),
        (&["/app/", "/app/sub"], "COPY dir /app"),
        (&["/app"], "COPY dir /app"),
        (&["/usr/bin/x"], "COPY a.txt /usr/bin/a"),
        (&["/tool/"], "COPY a.txt /tool"),
        (&["/usr/", "/usr/bin/", "/usr/bin/x"], "COPY --from=tools /out/app /usr/bin/"),
        (&["/app/"], "COPY --from=tools /out/app /app"),
        (&[], "COPY link /app"),
        (&[], "COPY none /app"),
        (&[], "ADD a.txt /app/"),
        (&[], "ADD https://example.com/x /app/"),
        (&[], "COPY --chown=www dir /app"),
        (&[], "COPY --chmod=0700 dir /app"),
        (&[], "COPY --parents dir /app"),
        (&[], "COPY --exclude=x dir /app"),
        (&[], "COPY $FROM_BASE /app"),
        (&[], "COPY a.txt /$FROM_BASE"),
        (&[], "COPY <<x /app/\n1\nx"),
        (&[], "COPY --chmod=0700 dir /app\nCOPY a.txt /app/"),
        (&[], "COPY --from=tools /out /app\nCOPY a.txt /app/"),
        (&[], "COPY --chown=1000 dir /app\nCOPY a.txt /app/"),
        (&[], "COPY tree /app\nCOPY a.txt /app/to"),
        (&[], "COPY tree /app\nCOPY --from=tools /out/ /app/to/"),
        (&[], "COPY tree /app\nCOPY a.txt /app/pipe"),
        (&["/srv/"], "COPY --chown=www dir /srv/www/html\nCOPY a.txt /srv/www/conf"),
        (&[], "COPY --chown=7 --exclude=x dir /srv/html\nCOPY a.txt /srv/conf"),
        (&[], "COPY --chmod=0700 dir /srv/html\nCOPY a.txt /srv/conf"),
        (&["/app/"], "COPY --link --chown=7 a.txt /app/a\nCOPY dir /app/dir"),
    ];
    let lines: Vec<String> = cases
        .iter()
        .map(|(entries, copies)| format!("{}: {}", copies.replace('\n', "; "), effect(entries, copies)))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    COPY dir /app: /app has mode 0700 and owner 0:0
    COPY dir /app: /app has mode 0755 and owner 1000:0
    COPY --chown=1000 dir /app: /app has mode 0755 and owner 0:0
    COPY dir /app: /app has extended attributes
    COPY dir /app: /app/sub has extended attributes
    COPY dir /var/run/x: /var/run is a symbolic link!
    COPY dir /app: /app is a symbolic link!
    COPY dir /app: /app/b is a symbolic link
    COPY dir /app: /app/b is a folder
    COPY dir /app: /app/sub is a file
    COPY dir /app: /app is a file
    COPY a.txt /usr/bin/a: what is at /usr is not known!
    COPY a.txt /tool: /tool is a folder
    COPY --from=tools /out/app /usr/bin/: /usr/bin is there already, and what is copied is not known before
    COPY --from=tools /out/app /app: /app is there already, and what is copied is not known before
    COPY link /app: `link` is no plain file
    COPY none /app: `none` is not known
    ADD a.txt /app/: ADD may unpack what it takes!
    ADD https://example.com/x /app/: it fetches!
    COPY --chown=www dir /app: the owner `www` is a name of the image
    COPY --chmod=0700 dir /app: `--chmod` is left as it is
    COPY --parents dir /app: `--parents` is left as it is
    COPY --exclude=x dir /app: `--exclude` is left as it is
    COPY $FROM_BASE /app: a source depends on the base image
    COPY a.txt /$FROM_BASE: its destination depends on the base image!
    COPY <<x /app/; 1; x: it writes files that stand in the Dockerfile
    COPY --chmod=0700 dir /app; COPY a.txt /app/: what is at /app is not known!
    COPY --from=tools /out /app; COPY a.txt /app/: what is at /app is not known!
    COPY --chown=1000 dir /app; COPY a.txt /app/: /app has mode 0755 and owner 1000:1000
    COPY tree /app; COPY a.txt /app/to: /app/to is a symbolic link!
    COPY tree /app; COPY --from=tools /out/ /app/to/: /app/to is a symbolic link!
    COPY tree /app; COPY a.txt /app/pipe: /app/pipe is neither file nor folder!
    COPY --chown=www dir /srv/www/html; COPY a.txt /srv/www/conf: what is at /srv is not known!
    COPY --chown=7 --exclude=x dir /srv/html; COPY a.txt /srv/conf: /srv has mode 0755 and owner 7:7
    COPY --chmod=0700 dir /srv/html; COPY a.txt /srv/conf: what is at /srv is not known!
    COPY --link --chown=7 a.txt /app/a; COPY dir /app/dir: what is at /app is not known!
    ");
}

/// A build of `text`; the digest of a step is that of all that was written before it and of a word that stands for files.
fn inputs(graph: &Graph, word: &str) -> Inputs {
    let stages = graph.stages.iter().map(|node| {
        let mut chain = String::new();
        let steps = node.steps.iter().map(|step| {
            chain += &step.written;
            if let Operation::Copy(_) = step.operation {
                chain += word;
            }
            StepInputs {
                number: step.number,
                line: step.line,
                instruction: step.written.clone(),
                digest: Digest::of(chain.as_bytes()),
                parts: Vec::<Part>::new(),
                files: vec![(0, files().len())],
            }
        });
        StageInputs { name: node.label.clone(), platform: None, steps: steps.collect() }
    });
    Inputs {
        digest: Digest::of(word.as_bytes()),
        unknown: Vec::new(),
        rules: StepRules::default(),
        stages: stages.collect(),
        image: Vec::new(),
        files: files(),
    }
}

fn recorded(inputs: Inputs, linked: Vec<Link>, parent_states: Vec<ParentState>) -> Recorded {
    let record = Record { inputs: Some(inputs), linked, parent_states, ..Record::sample() };
    Recorded { reference: "r.io/cache:main--record".to_owned(), scope: None, record: Arc::new(record) }
}

/// What is decided of a build, after a build with other files.
fn decided(text: &str, before: &str, known: &[&str], linked_before: bool) -> (Linking, String) {
    let graph = graph_of(text);
    let (earlier, now) = (inputs(&graph, before), inputs(&graph, "new"));
    let steps: Vec<&StepInputs> = earlier.stages.iter().flat_map(|stage| &stage.steps).collect();
    let below = trailing(&graph, &earlier).map_or_else(|| Digest::of(b""), |it| it.below.digest.clone());
    let last =
        Link { line: steps[steps.len() - 1].line, step: steps[steps.len() - 1].digest.clone(), above: None };
    let linked = if linked_before { vec![last] } else { Vec::new() };
    let recorded = recorded(earlier.clone(), linked, vec![state(&below, known, &[])]);
    let cached: BTreeSet<&Digest> =
        earlier.stages.iter().flat_map(|stage| &stage.steps).map(|step| &step.digest).collect();
    let mut decisions = Vec::new();
    let all = std::slice::from_ref(&recorded);
    let cache = Cache::of_layers(&[Digest::of(b"layer")]);
    let imported = Some(&cache);
    let known = Known { graph: &graph, inputs: &now, all, records: &[&recorded], cached: &cached, imported };
    let linking = decide(known, &mut decisions);
    let said: Vec<String> = decisions.iter().map(|it| format!("{}: {}", it.choice, it.reason)).collect();
    (linking, said.join("; "))
}

fn lines(linking: &Linking) -> Vec<usize> {
    linking.links.iter().map(|link| link.line).collect()
}

#[test]
fn what_changed_is_linked_and_what_is_cached_stays() {
    let text = "FROM img\nRUN make\nCOPY dir /app\nCOPY a.txt /etc/x\nCMD x";
    let (linking, said) = decided(text, "old", &["/app", "/etc/x"], false);
    assert_eq!(lines(&linking), [3, 4], "{said}");
    assert!(linking.state.is_some() && linking.wanted.is_none() && linking.layers == 2);
    let (linking, said) = decided(text, "new", &["/app", "/etc/x"], false);
    assert_eq!((lines(&linking), linking.state.is_some()), (Vec::new(), true), "{said}");
    assert_eq!(said, "nothing: the cache has it as it is written");
    let (linking, said) = decided(text, "new", &["/app", "/etc/x"], true);
    assert_eq!(lines(&linking), [4], "{said}");
    assert!(said.starts_with("nothing up to line 3: the cache has it as it is written; line 4: "), "{said}");
}

#[test]
fn without_knowledge_nothing_is_linked_and_much_is_learnt() {
    let text = "FROM img\nRUN make\nCOPY dir /app\nCOPY a.txt /etc/x";
    let (linking, said) = decided(text, "old", &["/app"], false);
    assert_eq!(said, "nothing: what lies below the last steps is not known yet");
    let destinations = linking.wanted.map(|wanted| wanted.destinations);
    assert_eq!(destinations, Some(vec!["/app".to_owned(), "/etc/x".to_owned()]));
    // What is copied before the last RUN has changed: the layers below are made anew.
    let (linking, said) =
        decided("FROM img\nCOPY a.txt /w/\nRUN make\nCOPY dir /app", "old", &["/app"], false);
    assert!(linking.links.is_empty() && linking.wanted.is_some(), "{said}");
    for text in [
        "FROM img\nCOPY dir /app\nRUN make",
        "FROM scratch\nCOPY dir /app",
        "FROM img\nRUN x\nCOPY --link dir /app",
    ] {
        let (linking, said) = decided(&format!("FROM x\nRUN y\nFROM z\n{text}"), "old", &["/app"], false);
        assert_eq!((linking, said.as_str()), (Linking::default(), ""), "{text}");
    }
}

#[test]
fn only_the_end_of_the_target_is_linked() {
    let text = "FROM img AS a\nRUN make\nCOPY dir /app\nFROM a\nCOPY --chmod=0700 a.txt /x\nCOPY a.txt /y";
    let (linking, said) = decided(text, "old", &["/app", "/x", "/y"], false);
    assert_eq!(lines(&linking), [6], "{said}");
    assert!(said.starts_with("nothing up to line 5: `--chmod` is left as it is; line 6: "), "{said}");
}

/// What is known must be all that the cache has of the step below.
#[test]
fn the_cache_has_just_what_is_known() {
    let graph = graph_of("FROM img\nRUN make\nCOPY dir /app");
    let (earlier, now) = (inputs(&graph, "old"), inputs(&graph, "new"));
    let below = earlier.stages[0].steps[1].digest.clone();
    let recorded = recorded(earlier.clone(), Vec::new(), vec![state(&below, &["/app"], &[])]);
    let cached: BTreeSet<&Digest> = earlier.stages[0].steps.iter().map(|step| &step.digest).collect();
    let decided = |imported: Option<&Cache>| {
        let all = std::slice::from_ref(&recorded);
        let known =
            Known { graph: &graph, inputs: &now, all, records: &[&recorded], cached: &cached, imported };
        let linking = decide(known, &mut Vec::new());
        (lines(&linking), linking.wanted.is_some(), linking.reason)
    };
    let [own, other] = ["layer", "other"].map(|name| Cache::of_layers(&[Digest::of(name.as_bytes())]));
    assert_eq!(decided(Some(&own)), (vec![3], false, None));
    let reason = "the cache has other layers below than those that are known".to_owned();
    assert_eq!(decided(Some(&other)), (vec![], true, Some(reason.clone())));
    assert_eq!(decided(None), (vec![], true, Some(reason)));
    let reason = "the cache has several results of the last step below".to_owned();
    assert_eq!(decided(Some(&merge(&[&own, &other]))), (vec![], false, Some(reason)));
}

/// Lines that are linked, `line^above` of those that rise, and the numbers of the steps in the order of the build.
fn shape(linking: &Linking) -> String {
    let link = |link: &Link| match link.above {
        Some(above) => format!("{}^{above}", link.line),
        None => link.line.to_string(),
    };
    let order = linking.order.as_ref().map(|it| format!(" {} {}{:?}", it.stage, it.first, it.written));
    linking.links.iter().map(link).collect::<Vec<_>>().join(" ") + &order.unwrap_or_default()
}

#[test]
fn a_workdir_behind_copies_is_built_above_them() {
    let everything = &["/", "/app", "/app/bin", "/app/x", "/srv", "/etc/x"];
    let decided = |end: &str| {
        let (linking, said) = decided(&format!("FROM img AS a\nRUN make\n{end}"), "old", everything, false);
        [shape(&linking), said]
    };
    let told = |end: &str| decided(end)[0].clone();
    assert_eq!(told("COPY dir /app\nWORKDIR /app\nCMD x"), "3 4^3 a 3[4, 3]");
    assert_eq!(told("COPY dir /app/bin\nWORKDIR /app/bin\nCOPY a.txt ."), "3 4^3 5 a 3[4, 3]");
    let twice = told("COPY dir /app/bin\nWORKDIR /app/bin\nCOPY a.txt /etc/x\nWORKDIR /app");
    assert_eq!(twice, "3 4^3 5 6^3 a 3[4, 6, 3, 5]");
    assert_eq!(told("COPY --link dir /app\nWORKDIR /app"), "4^3 a 3[4, 3]");
    assert_eq!(told("COPY --from=tools /out/ /app/\nWORKDIR /app"), "3 4^3 a 3[4, 3]");
    assert_eq!(told("COPY dir /app\nWORKDIR /app\nRUN x"), "");
    let ends = [
        "COPY dir /app\nWORKDIR /srv",
        "COPY dir /app\nWORKDIR /srv\nCOPY a.txt /etc/x",
        "COPY --from=tools /out /app\nWORKDIR /app",
        "COPY a.txt /app\nWORKDIR /app",
        "COPY dir /app\nWORKDIR /app\nCOPY a.txt x\nWORKDIR /app\nCOPY a.txt /etc/x",
        "COPY dir /app\nFROM a\nCOPY a.txt /etc/x\nWORKDIR /app",
    ];
    let why = ends.map(|end| format!("{}: {}", end.replace('\n', "; "), decided(end).join(" ")));
    insta::assert_snapshot!(why.join("\n"), @"
    COPY dir /app; WORKDIR /srv:  nothing: /srv is made by WORKDIR
    COPY dir /app; WORKDIR /srv; COPY a.txt /etc/x:  nothing: what lies below the last steps is not known yet
    COPY --from=tools /out /app; WORKDIR /app:  nothing: what is at /app is not known
    COPY a.txt /app; WORKDIR /app:  nothing: /app is a file
    COPY dir /app; WORKDIR /app; COPY a.txt x; WORKDIR /app; COPY a.txt /etc/x: 7 nothing up to line 6: WORKDIR changes where a COPY before it goes; line 7: built as COPY --link: the tree is the same, and no layer below is fetched
    COPY dir /app; FROM a; COPY a.txt /etc/x; WORKDIR /app:  nothing: WORKDIR stands in another stage than the COPYs before it
    ");
}

#[test]
fn steps_have_the_numbers_of_the_dockerfile() {
    let step = |number: u32, instruction: &str| StepOutcome {
        number,
        of: 5,
        instruction: instruction.to_owned(),
        platform: None,
        status: StepStatus::Cached,
        started: None,
        duration: std::time::Duration::ZERO,
    };
    let built = [(2, "RUN a"), (3, "WORKDIR /c"), (4, "COPY --link b /c"), (5, "COPY --link d /e")];
    let steps = built.map(|(number, instruction)| step(number, instruction)).to_vec();
    let mut stages = vec![StageOutcome { name: "app".to_owned(), steps }];
    Order { stage: "app".to_owned(), first: 3, written: vec![4, 3] }.restore(&mut stages);
    let told: Vec<String> =
        stages[0].steps.iter().map(|step| format!("{} {}", step.number, step.instruction)).collect();
    assert_eq!(told, ["2 RUN a", "3 COPY --link b /c", "4 WORKDIR /c", "5 COPY --link d /e"]);
}

/// Linked, a stage would have another cache key for all that need it.
#[test]
fn a_stage_that_others_need_as_well_is_left() {
    let shared = "FROM img AS base\nRUN make\nCOPY dir /app\nFROM base AS test\nCOPY a.txt /x\n";
    let lines = |end: &str| lines(&decided(&format!("{shared}{end}"), "old", &["/app", "/x", "/y"], false).0);
    assert_eq!(lines(""), [3, 5]);
    assert_eq!(lines("FROM base\nCOPY a.txt /y"), [3, 7], "nobody needs the test");
    // The COPY of the base runs as it is written, so that its layers are at hand.
    for end in [
        "FROM base\nCOPY --from=test a.txt /y",
        "FROM base\nCOPY --from=base a.txt /y",
        "FROM base\nCOPY a.txt /z\nRUN --mount=from=base x\nCOPY a.txt /y",
    ] {
        assert_eq!(lines(end), [0; 0], "{end}");
    }
}

#[test]
fn what_takes_too_long_is_tried_three_times() {
    let wanted = |tries| Linking {
        wanted: Some(Wanted { step: Digest::of(b"step"), destinations: vec!["/app".to_owned()], tries }),
        ..Linking::default()
    };
    let tries = |tries| wanted(tries).unlinked(Some(&Vain::Slow)).expect("remembered").tries;
    assert_eq!([tries(0), tries(1), tries(2)], [Some(1), Some(2), None]);
    assert_eq!(wanted(0).unlinked(Some(&Vain::passing("no registry"))), None);
    assert_eq!(wanted(0).unlinked(None), None);
}

#[test]
fn what_is_linked_no_longer_is_known() {
    let graph = graph_of("FROM img\nRUN make\nCOPY dir /app\nCOPY a.txt /etc/x");
    let now = inputs(&graph, "new");
    let steps: Vec<&StepInputs> = now.stages.iter().flat_map(|stage| &stage.steps).collect();
    let last = Link { line: 9, step: steps[3].digest.clone(), above: None };
    let linked = recorded(now.clone(), vec![last.clone()], Vec::new());
    let as_written = recorded(now.clone(), Vec::new(), Vec::new());
    let lines = |records: &[&Recorded], links: &[Link]| {
        let known = Known {
            graph: &graph,
            inputs: &now,
            all: &[],
            records,
            cached: &BTreeSet::new(),
            imported: None,
        };
        no_longer(known, &Linking { links: links.to_vec(), ..Linking::default() })
    };
    assert_eq!(lines(&[&linked], &[]), [4]);
    assert_eq!(lines(&[&linked], std::slice::from_ref(&last)), [0; 0]);
    assert_eq!(lines(&[&linked, &as_written], &[]), [0; 0], "the cache has it in both forms");
    let other = recorded(inputs(&graph, "old"), vec![last], Vec::new());
    assert_eq!(lines(&[&other], &[]), [0; 0], "it is another step by now");
}

#[test]
fn what_holds_is_handed_on() {
    let graph = graph_of("FROM img AS a\nRUN make\nFROM a\nRUN more\nCOPY dir /app");
    let now = inputs(&graph, "new");
    let of_step = |stage: usize, number: usize| now.stages[stage].steps[number].digest.clone();
    let (lower, upper) = (of_step(0, 1), of_step(1, 1));
    let known = |step: &Digest, place: &str| state(step, &[place], &[]);
    let near = recorded(now.clone(), Vec::new(), vec![known(&upper, "/a"), known(&Digest::of(b"x"), "/x")]);
    let far = recorded(now.clone(), Vec::new(), vec![known(&upper, "/b"), known(&lower, "/c")]);
    let records = [near, far];
    let handed_on = |ran: Option<(&str, u32)>, refuted: Option<ParentState>, own: &[ParentState]| {
        let went = |stage: &StageInputs| StageOutcome {
            name: stage.name.clone(),
            steps: stage
                .steps
                .iter()
                .map(|step| StepOutcome {
                    number: step.number as u32,
                    of: 2,
                    instruction: step.instruction.clone(),
                    platform: None,
                    status: match ran == Some((&stage.name, step.number as u32)) {
                        true => StepStatus::Run,
                        false => StepStatus::Cached,
                    },
                    started: None,
                    duration: std::time::Duration::ZERO,
                })
                .collect(),
        };
        let done: Vec<StageOutcome> = now.stages.iter().map(went).collect();
        let linking = Linking { refuted: refuted.map(Arc::new), ..Linking::default() };
        let states = carried(&graph, &now, &records, &linking, &done, own);
        states.into_iter().flat_map(|state| state.known).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(handed_on(None, None, &[]), "/a /c");
    assert_eq!(handed_on(None, Some(known(&upper, "/a")), &[]), "/c", "nor another of that step");
    assert_eq!(handed_on(None, None, &[known(&upper, "/own")]), "/c");
    assert_eq!(handed_on(Some(("stage-1", 3)), None, &[]), "/a /c", "the COPY is above");
    assert_eq!(handed_on(Some(("stage-1", 2)), None, &[]), "/c");
    assert_eq!(handed_on(Some(("a", 2)), None, &[]), "");
    let linking = Linking { state: Some(Arc::new(known(&upper, "/used"))), ..Linking::default() };
    let used = carried(&graph, &now, &records, &linking, &[], &[]);
    assert_eq!(used.iter().flat_map(|state| &state.known).collect::<Vec<_>>(), ["/used", "/c"]);
    let many: Vec<String> = (0..6_000).map(|number| format!("/a/{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let large = recorded(now.clone(), Vec::new(), vec![state(&upper, &["/a"], &many)]);
    assert_eq!(carried(&graph, &now, &[large], &Linking::default(), &[], &[]), [], "too much");
}

#[test]
fn a_frontend_must_know_the_flag() {
    for (image, knows) in [
        ("docker/dockerfile:1", true),
        ("docker/dockerfile", true),
        ("docker.io/docker/dockerfile:1.4.2@sha256:0", true),
        ("docker/dockerfile:1@sha256:0", false),
        ("docker/dockerfile@sha256:0", false),
        ("localhost:5000/docker/dockerfile:1.7-labs", true),
        ("docker/dockerfile:1.3", false),
        ("docker/dockerfile:1.0.0-experimental", false),
        ("docker/dockerfile:experimental", false),
        ("docker/dockerfile:master", false),
    ] {
        let mut inputs = inputs(&graph_of("FROM img\nCOPY a b"), "");
        let value = String::new();
        inputs.image.push(Part { kind: PartKind::Frontend, name: image.to_owned(), value });
        assert_eq!(knows_link(&inputs), knows, "{image}");
    }
}

#[test]
fn what_the_image_tells_is_left_as_it_is() {
    let mut inputs = inputs(&graph_of("FROM img\nCOPY a b"), "");
    let reason = |inputs: &Inputs, name: &'static str, value: &str| {
        told(&Request { flags: vec![Flag::text(name, value)], context: Context::Stdin }, inputs)
    };
    let provenance = Some("provenance with mode=max has the Dockerfile in it");
    assert_eq!(reason(&inputs, "provenance", "mode=max"), provenance);
    assert_eq!(reason(&inputs, "attest", "type=provenance,mode=max"), provenance);
    let rewritten = reason(&inputs, "output", "type=image,push=true,rewrite-timestamp=true");
    assert_eq!(rewritten, Some("with rewrite-timestamp the image's digest would depend on the cache"));
    for (name, value) in
        [("provenance", "true"), ("attest", "type=sbom"), ("output", "type=image,rewrite-timestamp=false")]
    {
        assert_eq!(reason(&inputs, name, value), None, "{name} {value}");
    }
    let (name, value) = ("BUILDX_GIT_LABELS".to_owned(), "a digest".to_owned());
    inputs.image.push(Part { kind: PartKind::Option, name, value });
    assert_eq!(reason(&inputs, "provenance", "true"), Some("BUILDX_GIT_LABELS names the Dockerfile"));
}

#[test]
fn what_is_tried_in_vain_is_not_tried_again() {
    let graph = graph_of("FROM img\nRUN make\nCOPY dir /app\nCOPY a.txt /etc/x");
    let now = inputs(&graph, "new");
    let below = now.stages[0].steps[1].digest.clone();
    let decided = |unlinked: Vec<Unlinked>| {
        let record = Record {
            inputs: Some(now.clone()),
            parent_states: vec![state(&below, &["/app", "/etc/x"], &[])],
            unlinked,
            ..Record::sample()
        };
        let recorded =
            Recorded { reference: "r.io/c:main--record".to_owned(), scope: None, record: Arc::new(record) };
        let all = [recorded];
        let cached = BTreeSet::from([&now.stages[0].steps[0].digest, &below]);
        let cache = Cache::of_layers(&[Digest::of(b"layer")]);
        let imported = Some(&cache);
        let records = &[&all[0]];
        let known = Known { graph: &graph, inputs: &now, all: &all, records, cached: &cached, imported };
        let mut decisions = Vec::new();
        let linking = decide(known, &mut decisions);
        let own = linking.unlinked(None);
        (linking, decisions.pop().map(|it| it.reason), carried_unlinked(&graph, &now, &all, own))
    };
    let (mut linking, _, carried) = decided(Vec::new());
    assert_eq!((lines(&linking), carried), (vec![3, 4], Vec::new()));

    // Once, what lies below is learnt anew; the second time it is left.
    linking.refute("others");
    assert!(linking.wanted.is_some() && linking.links.is_empty() && linking.unlinked(None).is_none());
    let unlearnt = linking.unlinked(Some(&Vain::lasting("too large"))).expect("known");
    assert_eq!(unlearnt.reason, "what lies below the last steps cannot be learnt: too large");
    linking.state = Some(Arc::new(ParentState { again: true, ..state(&below, &["/app", "/etc/x"], &[]) }));
    linking.refute("others");
    let refuted = linking.unlinked(None).expect("known");
    assert_eq!((&linking.wanted, refuted.destinations.len()), (&None, 0));

    let (linking, said, carried) = decided(vec![refuted.clone(), unlearnt.clone()]);
    assert_eq!((lines(&linking), linking.wanted, said), (Vec::new(), None, Some(refuted.reason.clone())));
    assert_eq!(carried, [refuted]);
    // Elsewhere it may be possible.
    let elsewhere = Unlinked { destinations: vec!["/srv".to_owned()], ..unlearnt };
    let (linking, _, carried) = decided(vec![elsewhere.clone()]);
    assert_eq!((lines(&linking), carried), (vec![3, 4], vec![elsewhere.clone()]));
    let (.., carried) = decided(vec![Unlinked { step: Digest::of(b"gone"), ..elsewhere }]);
    assert_eq!(carried, []);
}
