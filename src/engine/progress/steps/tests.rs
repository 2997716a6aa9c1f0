use super::*;

/// Events of vertices: name, spans in seconds, cached, error.
type Given<'a> = (&'a str, &'a [(u64, Option<u64>)], bool, Option<&'a str>);

fn collect(vertices: &[Given<'_>]) -> Steps {
    let mut steps = Steps::default();
    for (index, (name, spans, cached, error)) in vertices.iter().enumerate() {
        let vertex = Vertex {
            key: index.to_string(),
            name: (*name).to_owned(),
            cached: *cached,
            error: error.map(str::to_owned),
            ..Vertex::default()
        };
        steps.push(&Event::Vertex(vertex.clone()));
        for (started, completed) in *spans {
            let started = Some(Duration::from_secs(*started));
            let completed = completed.map(Duration::from_secs);
            // What was said once stays true, although later events do not repeat it.
            let later = Vertex { started, completed, cached: false, error: None, ..vertex.clone() };
            steps.push(&Event::Vertex(later));
        }
    }
    steps
}

fn table(steps: &Steps, labels: &[&str]) -> Vec<String> {
    let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
    let mut lines = Vec::new();
    for stage in steps.stages(&labels) {
        for step in stage.steps {
            let platform = step.platform.map(|platform| format!(" ({platform})")).unwrap_or_default();
            lines.push(format!(
                "{} {}/{}{platform} {:?} {}s {}",
                stage.name,
                step.number,
                step.of,
                step.status,
                step.duration.as_secs(),
                step.instruction
            ));
        }
    }
    lines
}

#[test]
fn tells_what_became_of_a_step() {
    let canceled = Some("failed to solve: context canceled");
    let cases: &[(&str, Given<'_>, &str)] = &[
        ("run", ("[a 2/2] RUN x", &[(1, Some(3)), (5, Some(6))], false, None), "a 2/2 Run 3s RUN x"),
        (
            "cached, then pulled",
            ("[a 2/2] RUN x", &[(1, Some(1)), (5, Some(6))], true, None),
            "a 2/2 Cached 1s RUN x",
        ),
        ("cached without a start", ("[a 2/2] RUN x", &[], true, None), "a 2/2 Cached 0s RUN x"),
        ("failed", ("[a 2/2] RUN x", &[(1, Some(3))], false, Some("no")), "a 2/2 Failed 2s RUN x"),
        ("given up", ("[a 2/2] RUN x", &[(1, Some(3))], false, canceled), "a 2/2 Skipped 2s RUN x"),
        ("not reached", ("[a 2/2] RUN x", &[], false, None), "a 2/2 Skipped 0s RUN x"),
        ("interrupted", ("[a 2/2] RUN x", &[(1, None)], false, None), "a 2/2 Skipped 0s RUN x"),
        ("without a stage", ("[2/2] RUN x", &[(1, Some(3))], false, None), "stage-0 2/2 Run 2s RUN x"),
        (
            "a FROM that failed",
            ("[a 1/2] FROM x", &[(1, Some(3))], false, Some("no")),
            "a 1/2 Failed 2s FROM x",
        ),
    ];
    for (name, given, expected) in cases {
        assert_eq!(table(&collect(&[*given]), &[]), [*expected], "{name}");
    }
    assert_eq!(table(&collect(&[("[a 1/2] FROM x", &[(1, Some(3))], false, None)]), &[]), [""; 0]);
    let named = [
        "[a 1/2] FROM r.io/x:1@sha256:01 AS a",
        "FROM y@sha256:02",
        "[b 1/2] FROM z",
        "[b 2/2] RUN FROM a@sha256:03",
    ];
    let bases = collect(&named.map(|name| (name, &[][..], false, None)));
    assert_eq!(bases.resolved_images().collect::<Vec<_>>(), ["r.io/x:1@sha256:01", "y@sha256:02"]);
}

#[test]
fn tells_when_a_step_began() {
    let starts = |steps: &Steps| -> Vec<Option<u64>> {
        let all = steps.stages(&[]).into_iter().flat_map(|stage| stage.steps);
        all.map(|step| step.started.map(|started| started.as_secs())).collect()
    };
    let mut steps = collect(&[
        ("pushing a:1 with docker", &[(1, Some(2))], false, None),
        ("[internal] booting buildkit", &[(2, Some(3))], false, None),
        ("[internal] load build definition from Dockerfile", &[(10, Some(11))], false, None),
        ("[a 1/3] COPY x y", &[(12, Some(13)), (15, Some(16))], false, None),
        ("[a 2/3] RUN x", &[(17, Some(19))], false, None),
        ("[a 3/3] RUN y", &[], true, None),
    ]);
    assert_eq!(starts(&steps), [Some(2), Some(7), None], "since the engine began");
    let seen = Vertex { key: "4".to_owned(), seen: Some(Duration::from_secs(40)), ..Vertex::default() };
    steps.push(&Event::Vertex(seen.clone()));
    steps.push(&Event::Vertex(Vertex { seen: Some(Duration::from_secs(41)), ..seen }));
    assert_eq!(starts(&steps)[1], Some(40), "by the client's clock");
    let bake = collect(&[
        ("[web internal] load build definition", &[(5, Some(6))], false, None),
        ("[api 1/1] RUN x", &[(9, Some(10))], false, None),
    ]);
    assert_eq!(starts(&bake.of_target("api")), [Some(4)], "since the whole began");
}

#[test]
fn orders_stages_as_the_file_does() {
    let steps = collect(&[
        ("[stage-2 2/2] COPY x y", &[(9, Some(9))], false, None),
        ("[late 2/2] RUN l", &[(5, Some(6))], false, None),
        ("[early 3/3] RUN b", &[(3, Some(4))], false, None),
        ("[early 2/3] RUN a", &[(2, Some(3))], false, None),
    ]);
    let names =
        |labels: &[String]| steps.stages(labels).into_iter().map(|stage| stage.name).collect::<Vec<_>>();
    assert_eq!(names(&[]), ["early", "late", "stage-2"]);
    let labels = ["unused", "late", "Early"].map(str::to_owned);
    assert_eq!(names(&labels), ["late", "early", "stage-2"]);
    assert_eq!(table(&steps, &[])[0], "early 2/3 Run 1s RUN a");
}

#[test]
fn the_only_stage_has_its_name() {
    let steps = collect(&[("[2/2] RUN x", &[], true, None)]);
    assert_eq!(table(&steps, &["app"]), ["app 2/2 Cached 0s RUN x"]);
}

#[test]
fn two_vertices_of_a_link_are_one_step() {
    let link = |first: bool, second: bool| {
        let steps = collect(&[
            ("[a 2/2] LINK COPY --link x y", &[(3, Some(4))], second, None),
            ("[a 2/2] COPY --link x y", &[(1, Some(2))], first, None),
        ]);
        table(&steps, &[])
    };
    assert_eq!(link(false, false), ["a 2/2 Run 2s COPY --link x y"]);
    assert_eq!(link(false, true), ["a 2/2 Run 2s COPY --link x y"]);
    assert_eq!(link(true, false), ["a 2/2 Cached 2s COPY --link x y"]);
    assert_eq!(link(true, true), ["a 2/2 Cached 2s COPY --link x y"]);
}

#[test]
fn platforms_are_kept_apart() {
    let steps = collect(&[
        ("[linux/amd64 a 2/2] RUN x", &[(1, Some(2))], false, None),
        ("[linux/amd64->arm64 a 2/2] RUN x", &[(1, Some(3))], false, None),
    ]);
    let expected = ["a 2/2 (linux/amd64) Run 1s RUN x", "a 2/2 (linux/amd64->arm64) Run 2s RUN x"];
    assert_eq!(table(&steps, &[]), expected);
}

#[test]
fn targets_are_told_apart_and_share_steps() {
    let mut steps = Steps::default();
    let mut push = |key: &str, name: &str, cached: bool| {
        let vertex = Vertex { key: key.to_owned(), name: name.to_owned(), cached, ..Vertex::default() };
        steps.push(&Event::Vertex(vertex));
    };
    push("0", "[api tools 2/2] RUN x", false);
    push("0", "[web tools 2/2] RUN x", true);
    push("1", "[api 2/2] COPY a b", true);
    push("2", "[web web 2/2] COPY a b", true);
    push("3", "[api] exporting cache to registry", false);
    push("4", "[apiary 2/2] RUN no", false);
    let table = |target: &str, labels: &[&str]| table(&steps.of_target(target), labels);
    assert_eq!(table("api", &["only"]), ["only 2/2 Cached 0s COPY a b", "tools 2/2 Cached 0s RUN x"]);
    assert_eq!(table("web", &[]), ["tools 2/2 Cached 0s RUN x", "web 2/2 Cached 0s COPY a b"]);
    assert_eq!(steps.of_target("api").transfers()[0].kind, TransferKind::CacheExport);
    assert!(steps.of_target("web").transfers().is_empty());
}

#[test]
fn counts_bytes_once() {
    let mut steps = collect(&[
        ("[internal] load build context", &[], false, None),
        ("[internal] load .dockerignore", &[], false, None),
        ("[a 1/2] FROM x", &[], false, None),
    ]);
    let mut status = |vertex: &str, id: &str, current: u64, total: u64| {
        let (vertex, id) = (vertex.to_owned(), id.to_owned());
        steps.push(&Event::Status { vertex, id, current, total, started: None, at: None, completed: false });
    };
    status("0", "transferring context:", 5, 0);
    status("0", "transferring context:", 38, 0);
    status("1", "transferring context:", 2, 0);
    status("2", "sha256:a", 10, 100);
    status("2", "sha256:a", 100, 100);
    status("1", "sha256:a", 100, 100);
    status("2", "sha256:b", 7, 7);
    status("2", "extracting sha256:b", 7, 7);
    status("2", "sha256:c", u64::MAX, u64::MAX);
    assert_eq!(steps.traffic(), Traffic { context: 38, fetched: u64::MAX, asked: 0 });
}

/// What is extracted was fetched, if it was begun to be.
#[test]
fn a_layer_whose_last_bytes_are_not_told_is_counted_whole() {
    let mut steps = Steps::default();
    for (id, current, total) in
        [("sha256:a", 10, 42), ("extracting sha256:a", 0, 0), ("extracting sha256:there", 0, 0)]
    {
        let (vertex, id) = ("0".to_owned(), id.to_owned());
        steps.push(&Event::Status { vertex, id, current, total, started: None, at: None, completed: false });
    }
    assert_eq!(steps.traffic().fetched, 42);
}

#[test]
fn names_transfers_with_and_without_a_target() {
    let steps = collect(&[
        ("[app] importing cache manifest from r.example/c:1", &[(1, Some(2))], false, Some("not found")),
        ("exporting cache to registry", &[(2, Some(5))], false, None),
        ("pushing r.example/a:1 with docker", &[], false, None),
        ("[internal] load build context", &[], false, Some("context canceled")),
    ]);
    let subjects: Vec<_> =
        steps.transfers().into_iter().map(|t| (t.kind, t.subject, t.duration.as_secs())).collect();
    let expected = [
        (TransferKind::CacheImport, "r.example/c:1".to_owned(), 1),
        (TransferKind::CacheExport, "exporting cache to registry".to_owned(), 3),
        (TransferKind::Image, "pushing r.example/a:1 with docker".to_owned(), 0),
    ];
    assert_eq!(subjects, expected);
    assert_eq!((steps.failures().len(), steps.push_failures().len()), (1, 0));
    let failed = collect(&[
        ("[api] pushing r.example/a:1 with docker", &[], false, Some("unexpected status: 500")),
        ("[api final 2/2] RUN make", &[], false, Some("exit code: 500")),
    ]);
    assert_eq!(failed.push_failures(), ["unexpected status: 500"]);
}
