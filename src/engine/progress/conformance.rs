//! What real engines said, read from end to end. The samples are streams of Docker 20.10.24, 26.1.5 (buildx 0.13.1) and
//! 28.5.2 (buildx 0.29.1), with the containerd store (`c`) and a graph driver (`g`), recorded on 2026-11-23; digests in
//! `rawjson` are shortened.

use std::fmt::Write as _;
use std::time::Duration;

use crate::base::process::Stream;
use crate::engine::progress::{Format, Reader, Renderer, Steps};
use crate::model::event::Event;

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../samples/progress/", $name))
    };
}

fn events(format: Format, lines: &[(Stream, &str)]) -> Vec<Event> {
    let mut reader = Reader::new(format);
    let mut events = Vec::new();
    for (stream, text) in lines {
        for line in text.split_inclusive('\n') {
            events.extend(reader.push(*stream, line.as_bytes(), Duration::ZERO));
        }
    }
    events.extend(reader.finish(Duration::ZERO));
    events
}

/// Everything that is known at the end, as a table.
fn told(events: &[Event]) -> String {
    let mut steps = Steps::default();
    events.iter().for_each(|event| steps.push(event));
    let mut out = String::new();
    for stage in steps.stages(&["build".to_owned(), "stage-1".to_owned()]) {
        for step in stage.steps {
            let status = format!("{:?}", step.status).to_lowercase();
            let milliseconds = step.duration.as_millis();
            let _ = writeln!(
                out,
                "{} {}/{} {status} {milliseconds} ms {}",
                stage.name, step.number, step.of, step.instruction
            );
        }
    }
    let traffic = steps.traffic();
    let _ = writeln!(out, "context {}, fetched {}", traffic.context, traffic.fetched);
    for transfer in steps.transfers() {
        let state = if transfer.error.is_some() { "failed" } else { "done" };
        let _ = writeln!(out, "{:?} {} {state}", transfer.kind, transfer.subject);
    }
    for failure in steps.failures() {
        let _ = writeln!(out, "failed: {}: {}", failure.vertex, failure.error);
    }
    out
}

fn raw(sample: &str) -> String {
    told(&events(Format::RawJson, &[(Stream::Stderr, sample)]))
}

fn plain(sample: &str) -> String {
    told(&events(Format::Plain, &[(Stream::Stderr, sample)]))
}

fn classic(stdout: &str, stderr: &str) -> String {
    told(&events(Format::Classic, &[(Stream::Stdout, stdout), (Stream::Stderr, stderr)]))
}

/// What is shown of a stream, as though a millisecond lay between its events.
fn shown(sample: &str) -> String {
    let mut renderer = Renderer::new(Some("building with \"default\" instance using docker driver".into()));
    let mut out = String::new();
    for (millisecond, event) in (1..).zip(&events(Format::RawJson, &[(Stream::Stderr, sample)])) {
        out.push_str(&renderer.push(event, Duration::from_millis(millisecond)));
    }
    out + &renderer.finish()
}

#[test]
fn a_cold_build() {
    insta::assert_snapshot!(raw(sample!("28c-cold.rawjson")), @r##"
    build 2/4 run 10 ms WORKDIR /src
    build 3/4 run 12 ms COPY a.txt .
    build 4/4 run 375 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 run 9 ms COPY --from=build /out /out
    stage-1 3/3 run 53 ms RUN echo done
    context 38, fetched 1083452
    Image exporting to image done
    CacheExport exporting cache to registry done
    "##);
    insta::assert_snapshot!(raw(sample!("28g-cold.rawjson")), @r##"
    build 2/4 run 10 ms WORKDIR /src
    build 3/4 run 9 ms COPY a.txt .
    build 4/4 run 395 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 run 6 ms COPY --from=build /out /out
    stage-1 3/3 run 73 ms RUN echo done
    context 38, fetched 1084965
    Image exporting to image done
    "##);
    insta::assert_snapshot!(raw(sample!("26c-cold.rawjson")), @r##"
    build 2/4 run 11 ms WORKDIR /src
    build 3/4 run 10 ms COPY a.txt .
    build 4/4 run 360 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 run 7 ms COPY --from=build /out /out
    stage-1 3/3 run 61 ms RUN echo done
    context 38, fetched 1083452
    Image exporting to image done
    CacheExport exporting cache to registry done
    "##);
    insta::assert_snapshot!(plain(sample!("20-cold.plain")), @r##"
    build 2/4 run 0 ms WORKDIR /src
    build 3/4 run 0 ms COPY a.txt .
    build 4/4 run 300 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 run 0 ms COPY --from=build /out /out
    stage-1 3/3 run 0 ms RUN echo done
    context 38, fetched 1085033
    Image exporting to image done
    CacheExport exporting cache done
    "##);
}

#[test]
fn a_build_from_cache() {
    insta::assert_snapshot!(raw(sample!("28c-cached.rawjson")), @r##"
    build 2/4 cached 0 ms WORKDIR /src
    build 3/4 cached 0 ms COPY a.txt .
    build 4/4 cached 0 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 cached 0 ms COPY --from=build /out /out
    stage-1 3/3 cached 47 ms RUN echo done
    context 38, fetched 1083582
    CacheImport localhost:5077/engine/cache-28:main done
    Image exporting to image done
    "##);
    insta::assert_snapshot!(raw(sample!("28g-cached.rawjson")), @r##"
    build 2/4 cached 0 ms WORKDIR /src
    build 3/4 cached 0 ms COPY a.txt .
    build 4/4 cached 0 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 cached 0 ms COPY --from=build /out /out
    stage-1 3/3 cached 114 ms RUN echo done
    context 38, fetched 0
    CacheImport localhost:5077/engine/cache-28:main done
    Image exporting to image done
    "##);
    insta::assert_snapshot!(raw(sample!("26c-cached.rawjson")), @r##"
    build 2/4 cached 0 ms WORKDIR /src
    build 3/4 cached 0 ms COPY a.txt .
    build 4/4 cached 0 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 cached 0 ms COPY --from=build /out /out
    stage-1 3/3 cached 73 ms RUN echo done
    context 38, fetched 1083588
    CacheImport localhost:5077/engine/cache-26:main done
    Image exporting to image done
    "##);
    insta::assert_snapshot!(raw(sample!("26g-cached.rawjson")), @r##"
    build 2/4 cached 0 ms WORKDIR /src
    build 3/4 cached 0 ms COPY a.txt .
    build 4/4 cached 0 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 cached 0 ms COPY --from=build /out /out
    stage-1 3/3 cached 122 ms RUN echo done
    context 38, fetched 0
    CacheImport localhost:5077/engine/cache-26:main done
    Image exporting to image done
    "##);
    insta::assert_snapshot!(plain(sample!("20-cached.plain")), @r##"
    build 2/4 cached 0 ms WORKDIR /src
    build 3/4 cached 0 ms COPY a.txt .
    build 4/4 cached 0 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 cached 0 ms COPY --from=build /out /out
    stage-1 3/3 cached 0 ms RUN echo done
    context 38, fetched 0
    CacheImport localhost:5077/engine/inline:20 done
    Image exporting to image done
    "##);
    insta::assert_snapshot!(plain(sample!("20-again.plain")), @r##"
    build 2/4 cached 0 ms WORKDIR /src
    build 3/4 cached 0 ms COPY a.txt .
    build 4/4 cached 0 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 cached 0 ms COPY --from=build /out /out
    stage-1 3/3 cached 0 ms RUN echo done
    context 26, fetched 0
    Image exporting to image done
    "##);
}

#[test]
fn a_step_that_fails() {
    insta::assert_snapshot!(raw(sample!("28c-fail.rawjson")), @r##"
    build 2/2 run 144 ms RUN echo before
    stage-1 2/4 run 15 ms COPY --from=build /bin/busybox /b
    stage-1 3/4 failed 102 ms RUN echo here we go && echo oh no >&2 && exit 7
    stage-1 4/4 skipped 0 ms RUN echo never
    context 0, fetched 1083452
    failed: [stage-1 3/4] RUN echo here we go && echo oh no >&2 && exit 7: process "/bin/sh -c echo here we go && echo oh no >&2 && exit 7" did not complete successfully: exit code: 7
    "##);
    insta::assert_snapshot!(raw(sample!("28g-fail.rawjson")), @r##"
    build 2/2 run 574 ms RUN echo before
    stage-1 2/4 run 48 ms COPY --from=build /bin/busybox /b
    stage-1 3/4 failed 80 ms RUN echo here we go && echo oh no >&2 && exit 7
    stage-1 4/4 skipped 0 ms RUN echo never
    context 0, fetched 1084965
    failed: [stage-1 3/4] RUN echo here we go && echo oh no >&2 && exit 7: process "/bin/sh -c echo here we go && echo oh no >&2 && exit 7" did not complete successfully: exit code: 7
    "##);
    insta::assert_snapshot!(raw(sample!("26c-fail.rawjson")), @r##"
    build 2/2 run 62 ms RUN echo before
    stage-1 2/4 run 9 ms COPY --from=build /bin/busybox /b
    stage-1 3/4 failed 61 ms RUN echo here we go && echo oh no >&2 && exit 7
    stage-1 4/4 skipped 0 ms RUN echo never
    context 0, fetched 1083452
    failed: [stage-1 3/4] RUN echo here we go && echo oh no >&2 && exit 7: process "/bin/sh -c echo here we go && echo oh no >&2 && exit 7" did not complete successfully: exit code: 7
    "##);
    insta::assert_snapshot!(raw(sample!("26g-fail.rawjson")), @r##"
    build 2/2 run 60 ms RUN echo before
    stage-1 2/4 run 6 ms COPY --from=build /bin/busybox /b
    stage-1 3/4 failed 53 ms RUN echo here we go && echo oh no >&2 && exit 7
    stage-1 4/4 skipped 0 ms RUN echo never
    context 0, fetched 1084965
    failed: [stage-1 3/4] RUN echo here we go && echo oh no >&2 && exit 7: process "/bin/sh -c echo here we go && echo oh no >&2 && exit 7" did not complete successfully: exit code: 7
    "##);
    insta::assert_snapshot!(plain(sample!("20-fail.plain")), @r##"
    build 2/2 run 100 ms RUN echo before
    stage-1 2/4 run 0 ms COPY --from=build /bin/busybox /b
    stage-1 3/4 failed 38 ms RUN echo here we go && echo oh no >&2 && exit 7
    context 0, fetched 1085033
    failed: [stage-1 3/4] RUN echo here we go && echo oh no >&2 && exit 7: executor failed running [/bin/sh -c echo here we go && echo oh no >&2 && exit 7]: exit code: 7
    "##);
}

#[test]
fn a_cache_that_is_not_there() {
    insta::assert_snapshot!(raw(sample!("28c-missing.rawjson")), @r##"
    build 2/4 run 11 ms WORKDIR /src
    build 3/4 run 10 ms COPY a.txt .
    build 4/4 run 355 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 run 9 ms COPY --from=build /out /out
    stage-1 3/3 run 54 ms RUN echo done
    context 38, fetched 1083452
    CacheImport localhost:5077/engine/nothere:1 failed
    Image exporting to image done
    failed: importing cache manifest from localhost:5077/engine/nothere:1: failed to configure registry cache importer: localhost:5077/engine/nothere:1: not found
    "##);
    insta::assert_snapshot!(raw(sample!("26g-missing.rawjson")), @r##"
    build 2/4 run 18 ms WORKDIR /src
    build 3/4 run 5 ms COPY a.txt .
    build 4/4 run 359 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 run 6 ms COPY --from=build /out /out
    stage-1 3/3 run 53 ms RUN echo done
    context 38, fetched 1084965
    CacheImport localhost:5077/engine/nothere:1 failed
    Image exporting to image done
    failed: importing cache manifest from localhost:5077/engine/nothere:1: failed to configure registry cache importer: localhost:5077/engine/nothere:1: not found
    "##);
    insta::assert_snapshot!(plain(sample!("20-missing.plain")), @r##"
    build 2/4 run 0 ms WORKDIR /src
    build 3/4 run 0 ms COPY a.txt .
    build 4/4 run 300 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 run 0 ms COPY --from=build /out /out
    stage-1 3/3 run 100 ms RUN echo done
    context 38, fetched 1085033
    CacheImport localhost:5077/engine/nothere:1 failed
    Image exporting to image done
    failed: importing cache manifest from localhost:5077/engine/nothere:1: localhost:5077/engine/nothere:1: not found
    "##);
}

#[test]
fn a_cache_that_cannot_be_written() {
    insta::assert_snapshot!(raw(sample!("28c-exportfail.rawjson")), @r##"
    build 2/4 run 9 ms WORKDIR /src
    build 3/4 run 10 ms COPY a.txt .
    build 4/4 run 363 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 run 7 ms COPY --from=build /out /out
    stage-1 3/3 run 68 ms RUN echo done
    context 38, fetched 1083452
    Image exporting to image done
    CacheExport exporting cache to registry failed
    failed: exporting cache to registry: error writing layer blob: failed to do request: Head "https://localhost:1/v2/engine/blobs/sha256:2cefb4064f73": dial tcp 127.0.0.1:1: connect: connection refused
    "##);
}

#[test]
fn an_image_that_docker_pushes_again() {
    insta::assert_snapshot!(raw(sample!("26c-unstored.rawjson")), @r##"
    build 2/4 run 8 ms WORKDIR /src
    build 3/4 run 9 ms COPY a.txt .
    build 4/4 run 367 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 2/3 run 6 ms COPY --from=build /out /out
    stage-1 3/3 run 68 ms RUN echo done
    context 38, fetched 1083452
    Image exporting to image done
    Image pushing localhost:5077/engine/un:26c with docker failed
    failed: pushing localhost:5077/engine/un:26c with docker: tag does not exist: localhost:5077/engine/un:26c
    "##);
}

#[test]
fn a_linked_copy() {
    insta::assert_snapshot!(raw(sample!("28c-link.rawjson")), @r##"
    stage-0 2/3 run 103 ms COPY --link a.txt /a.txt
    stage-0 3/3 run 68 ms RUN --mount=type=cache,target=/c echo hi
    context 38, fetched 1083452
    Image exporting to image done
    "##);
}

#[test]
fn the_classic_builder() {
    insta::assert_snapshot!(classic(sample!("20-cold.classic"), ""), @r##"
    build 2/7 run 0 ms WORKDIR /src
    build 3/7 run 0 ms COPY a.txt .
    build 4/7 run 0 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 6/7 run 0 ms COPY --from=build /out /out
    stage-1 7/7 run 0 ms RUN echo done
    context 3072, fetched 0
    "##);
    insta::assert_snapshot!(classic(sample!("20-cached.classic"), ""), @r##"
    build 2/7 cached 0 ms WORKDIR /src
    build 3/7 cached 0 ms COPY a.txt .
    build 4/7 cached 0 ms RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    stage-1 6/7 cached 0 ms COPY --from=build /out /out
    stage-1 7/7 cached 0 ms RUN echo done
    context 3072, fetched 0
    "##);
    let error =
        "The command '/bin/sh -c echo here we go && echo oh no >&2 && exit 7' returned a non-zero code: 7\n";
    let notice = "DEPRECATED: The legacy builder is deprecated and will be removed in a future release.\n            \
        BuildKit is currently disabled; enable it by removing the DOCKER_BUILDKIT=0\n            environment-variable.\n\n";
    insta::assert_snapshot!(classic(sample!("28g-fail.classic"), &(notice.to_owned() + error)), @r##"
    build 2/6 run 0 ms RUN echo before
    stage-1 4/6 run 0 ms COPY --from=build /bin/busybox /b
    stage-1 5/6 failed 0 ms RUN echo here we go && echo oh no >&2 && exit 7
    context 2048, fetched 0
    failed: [stage-1 5/6] RUN echo here we go && echo oh no >&2 && exit 7: The command '/bin/sh -c echo here we go && echo oh no >&2 && exit 7' returned a non-zero code: 7
    "##);
    insta::assert_snapshot!(classic(sample!("20-fail.classic"), error), @r##"
    build 2/6 run 0 ms RUN echo before
    stage-1 4/6 run 0 ms COPY --from=build /bin/busybox /b
    stage-1 5/6 failed 0 ms RUN echo here we go && echo oh no >&2 && exit 7
    context 2048, fetched 0
    failed: [stage-1 5/6] RUN echo here we go && echo oh no >&2 && exit 7: The command '/bin/sh -c echo here we go && echo oh no >&2 && exit 7' returned a non-zero code: 7
    "##);
}

#[test]
fn a_failing_build_is_shown_as_the_engine_would() {
    insta::assert_snapshot!(shown(sample!("28c-fail.rawjson")), @r##"
    #0 building with "default" instance using docker driver

    #1 [internal] load build definition from Dockerfile
    #1 transferring dockerfile: 201B done
    #1 DONE 0.0s

    #2 [internal] load metadata for docker.io/library/busybox:latest
    #2 DONE 0.1s

    #3 [internal] load .dockerignore
    #3 transferring context: 2B done
    #3 DONE 0.0s

    #4 [build 1/2] FROM docker.io/library/busybox:latest@sha256:d10e01191504
    #4 resolve docker.io/library/busybox:latest@sha256:d10e01191504 0.0s done
    #4 sha256:3118a9b042dc 3.52kB / 3.52kB done
    #4 sha256:78a76cadf9b7 1.08MB / 1.08MB 0.0s done
    #4 extracting sha256:78a76cadf9b7 0.0s done
    #4 extracting sha256:3118a9b042dc 0.1s done
    #4 DONE 0.2s

    #5 [build 2/2] RUN echo before
    #5 0.079 before
    #5 DONE 0.1s

    #6 [stage-1 2/4] COPY --from=build /bin/busybox /b
    #6 DONE 0.0s

    #7 [stage-1 3/4] RUN echo here we go && echo oh no >&2 && exit 7
    #7 0.080 here we go
    #7 0.080 oh no
    #7 ERROR: process "/bin/sh -c echo here we go && echo oh no >&2 && exit 7" did not complete successfully: exit code: 7
    ------
     > [stage-1 3/4] RUN echo here we go && echo oh no >&2 && exit 7:
    0.080 here we go
    0.080 oh no
    ------
    Dockerfile:5
    --------------------
       3 |     FROM busybox:latest
       4 |     COPY --from=build /bin/busybox /b
       5 | >>> RUN echo here we go && echo oh no >&2 && exit 7
       6 |     RUN echo never
       7 |     
    --------------------
    ERROR: failed to build: failed to solve: process "/bin/sh -c echo here we go && echo oh no >&2 && exit 7" did not complete successfully: exit code: 7
    "##);
}

#[test]
fn a_cached_build_is_shown_as_the_engine_would() {
    insta::assert_snapshot!(shown(sample!("26c-cached.rawjson")), @r##"
    #0 building with "default" instance using docker driver

    #1 [internal] load build definition from Dockerfile
    #1 transferring dockerfile: 226B done
    #1 DONE 0.0s

    #2 [internal] load metadata for docker.io/library/busybox:latest
    #2 DONE 0.0s

    #3 [internal] load .dockerignore
    #3 transferring context: 2B done
    #3 DONE 0.0s

    #4 importing cache manifest from localhost:5077/engine/cache-26:main
    #4 inferred cache manifest type: application/vnd.oci.image.manifest.v1+json done
    #4 DONE 0.0s

    #5 [stage-1 1/3] FROM docker.io/library/busybox:latest@sha256:d10e01191504
    #5 resolve docker.io/library/busybox:latest@sha256:d10e01191504 0.0s done
    #5 DONE 0.0s

    #6 [internal] load build context
    #6 transferring context: 38B done
    #6 DONE 0.0s

    #7 [stage-1 2/3] COPY --from=build /out /out
    #7 CACHED

    #8 [build 4/4] RUN echo building && sleep 0.3 && cat a.txt > /out && echo warned >&2
    #8 CACHED

    #9 [build 3/4] COPY a.txt .
    #9 CACHED

    #10 [build 2/4] WORKDIR /src
    #10 CACHED

    #11 [stage-1 3/3] RUN echo done
    #11 sha256:4f4fb700ef54 32B / 32B done
    #11 sha256:de2f0f80061b 104B / 104B 0.0s done
    #11 sha256:3118a9b042dc 3.52kB / 3.52kB 0.0s done
    #11 sha256:78a76cadf9b7 1.08MB / 1.08MB 0.0s done
    #11 CACHED

    #12 exporting to image
    #12 exporting layers done
    #12 exporting manifest sha256:0b540be5b2d9 done
    #12 exporting config sha256:6f17bbfee08b done
    #12 naming to docker.io/library/engine:ok done
    #12 unpacking to docker.io/library/engine:ok 0.1s done
    #12 DONE 0.1s
    "##);
}
