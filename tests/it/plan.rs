//! `layerlift plan` as its reader meets it: facts, decisions with reasons, commands; and the JSON form's keys.

use std::process::Stdio;

use serde_json::Value;

use crate::support::engine::Kind;
use crate::support::job::Event;
use crate::support::program::run;
use crate::support::project::Project;
use crate::support::scene::Scene;

#[track_caller]
fn scene(kind: Kind) -> Scene {
    Scene::new(kind, "plan", Project::new())
}

/// What `plan` prints, with what differs from run to run by its name.
#[track_caller]
fn plan(scene: &Scene, arguments: &[&str]) -> String {
    let image = scene.image("1");
    let mut all = vec!["plan", "--push", "-t", &image];
    all.extend(arguments);
    all.push(".");
    let before = scene.registry.tags(&scene.repository);
    let text = scene.test.run(scene.project.folder(), &all).ok().text();
    assert_eq!(scene.registry.tags(&scene.repository), before, "a plan wrote");
    assert_eq!(scene.test.temporary_files(), [""; 0], "a temporary file was left");
    let text = text.replace(&scene.registry.reference(&scene.repository), "registry/project");
    let text = text.replace(scene.project.folder().to_str().unwrap(), "<project>");
    // Where the tests have their base images from, that engines are to build, and that all is kept.
    let of_tests = |line: &&str| {
        ["LAYERLIFT_REGISTRY_MIRROR", "LAYERLIFT_REUSE", "LAYERLIFT_WEIGH_CACHE"]
            .iter()
            .any(|name| line.ends_with(&format!("by {name}\n")))
    };
    let text: String = text.split_inclusive('\n').filter(|line| !of_tests(line)).collect();
    // The modes of the test's own files are those of whoever runs it.
    let start = text.find("a CI job; ").unwrap() + "a CI job; ".len();
    let end = start + text[start..].find(')').unwrap();
    format!("{}<files>{}", &text[..start], &text[end..])
}

#[track_caller]
fn build(scene: &Scene) {
    let image = scene.image("1");
    let build = scene.test.build(&scene.project, &["--push", "-t", &image]);
    let _ = build.made(&scene.registry, &image, &scene.project);
}

#[test]
fn of_a_new_engine() {
    let mut scene = scene(Kind::Docker28Containerd);
    insta::assert_snapshot!(plan(&scene, &[]), @"
    facts
      pipeline    GitLab, branch `main`, default branch `main`
      engine      Docker 28.5.2, buildx 0.29.1, builder `default`, containerd store, linux/amd64
      cache ref   registry/project/cache:branch-main
                  (not found)

    decisions
      scope       branch-main
                  (reads branch-main)
      cache repo  registry/project/cache
                  (below registry/project, which the CI system offers)
      modes       those that git records
                  (a CI job; <files>)
      stages      tools, dependencies, build, final
                  (what the target needs, in the Dockerfile's order)
      reuse       build
                  (it was turned off)
      strategy    registry
                  (the builder can export its cache to a registry)
      write       registry/project/cache:branch-main
                  (the project's own code)
      read        nothing
                  (no cache ref of the chain can be used)
      compression gzip, level 1
                  (layers that only the cache has need no better)
      output      --push became --output type=image,push=true,store=false,unpack=false
                  (the image is only pushed: nothing is stored or unpacked in the engine (--keep-image stores it))
      link        nothing
                  (what lies below the last steps is not known yet)

    prediction
      all 12 steps will run
      no cache ref existed for branch main

    commands
      # build
      docker buildx build --tag registry/project/app:1 --output 'type=image,push=true,store=false,unpack=false' --cache-to 'type=registry,ref=registry/project/cache:branch-main,mode=max,ignore-error=true,image-manifest=true,oci-mediatypes=true,compression-level=1' --progress rawjson .
      # tell what made the cache
      (registry) annotate registry/project/cache:branch-main

    `build` adds --iidfile and, with buildx, --metadata-file where you give none, to learn what was built.
    ");
    build(&scene);
    scene.project.change_source("changed\n");
    scene.test.set_job(scene.gitlab(Event::Request { number: 12, branch: "feature/x" }));
    insta::assert_snapshot!(plan(&scene, &["--keep-image"]), @"
    facts
      pipeline    GitLab, merge request 12 into `main`, default branch `main`
      engine      Docker 28.5.2, buildx 0.29.1, builder `default`, containerd store, linux/amd64
      cache ref   registry/project/cache:mr-12
                  (not found)
      cache ref   registry/project/cache:branch-main
                  (used)
      setting     --keep-image by flag

    decisions
      scope       mr-12
                  (reads mr-12, then branch-main)
      cache repo  registry/project/cache
                  (below registry/project, which the CI system offers)
      modes       those that git records
                  (a CI job; <files>)
      stages      tools, dependencies, build, final
                  (what the target needs, in the Dockerfile's order)
      reuse       build
                  (it was turned off)
      strategy    registry
                  (the builder can export its cache to a registry)
      write       registry/project/cache:mr-12
                  (the project's own code)
      read        registry/project/cache:branch-main
                  (the only usable cache ref)
      compression gzip, level 1
                  (layers that only the cache has need no better)

    prediction
      11 of 12 steps will run, compared with branch-main at 1ecfd275
        tools 2, line 3  RUN mkdir /tools && cat /proc/sys/kernel/random/uuid > /tools/stamp
          because `--network` is not set, it was `host`
        dependencies 1, line 6  COPY dependencies.txt /dependencies/
          because stage `tools` changed
        build 1, line 10  WORKDIR /build
          because stage `tools` changed
        final 3, line 17  COPY --from=tools /tools/stamp tools.stamp
          because stage `tools` changed
      no cache ref existed for merge request 12; main's was read

    commands
      # build
      docker buildx build --push --tag registry/project/app:1 --cache-from 'type=registry,ref=registry/project/cache:branch-main' --cache-to 'type=registry,ref=registry/project/cache:mr-12,mode=max,ignore-error=true,image-manifest=true,oci-mediatypes=true,compression-level=1' --progress rawjson .
      # tell what made the cache
      (registry) annotate registry/project/cache:mr-12

    `build` adds --iidfile and, with buildx, --metadata-file where you give none, to learn what was built.
    ");
    build(&scene);
    // Now there are two caches with something of their own.
    insta::assert_snapshot!(plan(&scene, &["--strategy", "inline"]), @"
    facts
      pipeline    GitLab, merge request 12 into `main`, default branch `main`
      engine      Docker 28.5.2, buildx 0.29.1, builder `default`, containerd store, linux/amd64
      cache ref   registry/project/cache:mr-12
                  (merged)
      cache ref   registry/project/cache:branch-main
                  (merged)
      setting     --strategy by flag

    decisions
      scope       mr-12
                  (reads mr-12, then branch-main)
      cache repo  registry/project/cache
                  (below registry/project, which the CI system offers)
      modes       those that git records
                  (a CI job; <files>)
      stages      tools, dependencies, build, final
                  (what the target needs, in the Dockerfile's order)
      reuse       build
                  (it was turned off)
      strategy    inline
                  (asked for)
      write       registry/project/cache:mr-12
                  (the project's own code)
      read        registry/project/cache:mr-12
                  (2 cache refs merged into one: BuildKit would race between them)
      output      --push became --output type=image,push=true,store=false,unpack=false
                  (the image is only pushed: nothing is stored or unpacked in the engine (--keep-image stores it))

    prediction
      11 of 12 steps will run, compared with mr-12 at 1ecfd275
        tools 2, line 3  RUN mkdir /tools && cat /proc/sys/kernel/random/uuid > /tools/stamp
          because `--network` is not set, it was `host`
        dependencies 1, line 6  COPY dependencies.txt /dependencies/
          because stage `tools` changed
        build 1, line 10  WORKDIR /build
          because stage `tools` changed
        final 3, line 17  COPY --from=tools /tools/stamp tools.stamp
          because stage `tools` changed

    commands
      # merge the chain
      (registry) put registry/project/cache:mr-12 from registry/project/cache:mr-12 + registry/project/cache:branch-main
      # build
      docker buildx build --tag registry/project/app:1 --output 'type=image,push=true,store=false,unpack=false' --cache-from 'type=registry,ref=registry/project/cache:mr-12' --progress rawjson .
      # keep stage dependencies and in it tools, if a step ran
      docker buildx build --target dependencies --tag registry/project/cache:mr-12--stage-dependencies --cache-from 'type=registry,ref=registry/project/cache:mr-12' --cache-to 'type=inline' --provenance false --sbom false --output 'type=image,push=true,store=false,unpack=false' --progress rawjson .
      # keep stage build and in it tools, if a step ran
      docker buildx build --target build --tag registry/project/cache:mr-12--stage-build --cache-from 'type=registry,ref=registry/project/cache:mr-12' --cache-to 'type=inline' --provenance false --sbom false --output 'type=image,push=true,store=false,unpack=false' --progress rawjson .
      # keep stage final, if one of its steps ran
      docker buildx build --tag registry/project/cache:mr-12--stage-final --cache-from 'type=registry,ref=registry/project/cache:mr-12' --cache-to 'type=inline' --provenance false --sbom false --output 'type=image,push=true,store=false,unpack=false' --progress rawjson .
      # merge the stages
      (registry) put registry/project/cache:mr-12 from the stage images

    `build` adds --iidfile and, with buildx, --metadata-file where you give none, to learn what was built.
    ");
    scene.test.set_job(scene.gitlab(Event::Fork { number: 13, branch: "main" }));
    insta::assert_snapshot!(plan(&scene, &["--no-cache"]), @"
    facts
      pipeline    GitLab, merge request 13 into `main`, default branch `main`, a fork: the change comes from 2
      engine      Docker 28.5.2, buildx 0.29.1, builder `default`, containerd store, linux/amd64

    decisions
      scope       mr-13
                  (reads mr-13, then branch-main)
      cache repo  registry/project/cache
                  (below registry/project, which the CI system offers)
      modes       those that git records
                  (a CI job; <files>)
      stages      tools, dependencies, build, final
                  (what the target needs, in the Dockerfile's order)
      reuse       build
                  (it was turned off)
      strategy    registry
                  (the builder can export its cache to a registry)
      write       nothing
                  (forks never write a cache: the change comes from 2)
      read        nothing
                  (--no-cache was given)
      output      --push became --output type=image,push=true,store=false,unpack=false
                  (the image is only pushed: nothing is stored or unpacked in the engine (--keep-image stores it))
      link        nothing
                  (what lies below the last steps is not known yet)

    prediction
      all 12 steps will run
      --no-cache was given: every step runs

    commands
      # build
      docker buildx build --tag registry/project/app:1 --no-cache --output 'type=image,push=true,store=false,unpack=false' --progress rawjson .

    `build` adds --iidfile and, with buildx, --metadata-file where you give none, to learn what was built.
    ");
}

#[test]
fn of_an_old_engine() {
    let mut scene = scene(Kind::Docker20);
    scene.test.set("DOCKER_BUILDKIT", "1");
    scene.project.write(
        "Dockerfile",
        "FROM busybox:latest\nRUN echo 1 > /x\nFROM busybox:latest AS final\nCOPY --from=0 /x /x\n",
    );
    insta::assert_snapshot!(plan(&scene, &[]), @"
    facts
      pipeline    GitLab, branch `main`, default branch `main`
      engine      Docker 20.10.24, no buildx, builder `default`, graph driver store, linux/amd64
      cache ref   registry/project/cache:branch-main
                  (not found)

    decisions
      scope       branch-main
                  (reads branch-main)
      cache repo  registry/project/cache
                  (below registry/project, which the CI system offers)
      modes       those that git records
                  (a CI job; <files>)
      stages      stage-0, final
                  (what the target needs, in the Dockerfile's order)
      reuse       build
                  (it was turned off)
      strategy    inline
                  (this engine's BuildKit exports no cache but the inline one)
      write       registry/project/cache:branch-main
                  (the project's own code)
      read        nothing
                  (no cache ref of the chain can be used)
      output      --push became `docker push` after the build
                  (the `docker build` of this engine cannot push)

    prediction
      all 2 steps will run
      no cache ref existed for branch main

    commands
      # build
      DOCKER_BUILDKIT=1 docker build --tag registry/project/app:1 --progress plain .
      # push the image
      docker push registry/project/app:1
      # give stages without a name one, for --target
      (file) <Dockerfile with names>: a copy with `AS stage-0`
      # keep stage stage-0, if one of its steps ran
      DOCKER_BUILDKIT=1 docker build --target stage-0 --tag registry/project/cache:branch-main--stage-stage-0 --build-arg 'BUILDKIT_INLINE_CACHE=1' --file '<Dockerfile with names>' --progress plain .
      # keep stage stage-0, if one of its steps ran
      docker push registry/project/cache:branch-main--stage-stage-0
      # keep stage final, if one of its steps ran
      DOCKER_BUILDKIT=1 docker build --tag registry/project/cache:branch-main--stage-final --build-arg 'BUILDKIT_INLINE_CACHE=1' --progress plain .
      # keep stage final, if one of its steps ran
      docker push registry/project/cache:branch-main--stage-final
      # merge the stages
      (registry) put registry/project/cache:branch-main from the stage images

    `build` adds --iidfile and, with buildx, --metadata-file where you give none, to learn what was built.
    ");
    scene.test.set("DOCKER_BUILDKIT", "0");
    insta::assert_snapshot!(plan(&scene, &[]), @"
    facts
      pipeline    GitLab, branch `main`, default branch `main`
      engine      Docker 20.10.24, no buildx, builder `default`, graph driver store, linux/amd64
      cache ref   registry/project/cache:branch-main--stage-classic-final-0b2baa7f
                  (not found)
      cache ref   registry/project/cache:branch-main--stage-classic-stage-0-9695cbbb
                  (not found)

    decisions
      scope       branch-main
                  (reads branch-main)
      cache repo  registry/project/cache
                  (below registry/project, which the CI system offers)
      modes       those that git records
                  (a CI job; <files>)
      stages      stage-0, final
                  (what the target needs, in the Dockerfile's order)
      reuse       build
                  (it was turned off)
      strategy    classic
                  (the classic builder reads its cache from local images)
      write       registry/project/cache:branch-main--stage-*
                  (the project's own code)
      read        nothing
                  (no stage image of the chain can be used)
      output      --push became `docker push` after the build
                  (the `docker build` of this engine cannot push)

    prediction
      all 2 steps will run
      no cache ref existed for branch main

    commands
      # build
      DOCKER_BUILDKIT=0 docker build --tag registry/project/app:1 .
      # push the image
      docker push registry/project/app:1
      # keep stage stage-0, if one of its steps ran
      docker tag '<image of the stage>' registry/project/cache:branch-main--stage-classic-stage-0-9695cbbb
      # keep stage stage-0, if one of its steps ran
      docker push registry/project/cache:branch-main--stage-classic-stage-0-9695cbbb
      # keep stage final, if one of its steps ran
      docker tag '<image of the stage>' registry/project/cache:branch-main--stage-classic-final-0b2baa7f
      # keep stage final, if one of its steps ran
      docker push registry/project/cache:branch-main--stage-classic-final-0b2baa7f

    `build` adds --iidfile and, with buildx, --metadata-file where you give none, to learn what was built.
    ");
}

#[test]
fn a_dry_run_is_the_plan() {
    let scene = scene(Kind::Docker28Containerd);
    let image = scene.image("1");
    let line = ["--push", "-t", &image, "."];
    let said = |start: &[&str]| scene.test.run(scene.project.folder(), &[start, &line].concat()).ok().text();
    assert_eq!(said(&["build", "--dry-run"]), said(&["plan"]));
    assert_eq!(scene.registry.tags(&scene.repository).len(), 0, "a dry run wrote");
}

#[test]
fn the_keys_of_the_json_form() {
    let scene = scene(Kind::Docker28Containerd);
    let text = plan(&scene, &["--format", "json", "--registry-timeout", "5"]);
    let plan: Value = serde_json::from_str(&text).unwrap();
    let keys = |value: &Value| value.as_object().map(|it| it.keys().cloned().collect::<Vec<_>>().join(" "));
    let shape = [
        ("plan", keys(&plan)),
        ("facts", keys(&plan["facts"])),
        ("pipeline", keys(&plan["facts"]["pipeline"])),
        ("engine", keys(&plan["facts"]["engine"])),
        ("candidate", keys(&plan["facts"]["candidates"][0])),
        ("decision", keys(&plan["decisions"][0])),
        ("command", keys(&plan["commands"][0])),
    ];
    let shape: String =
        shape.into_iter().map(|(name, keys)| format!("{name}: {}\n", keys.unwrap_or_default())).collect();
    insta::assert_snapshot!(shape, @"
    plan: cache_from commands decisions facts prediction scope strategy version warnings
    facts: candidates engine pipeline platforms settings
    pipeline: commit default_branch image_repository project_folder provider trigger trust url
    engine: builder buildkit buildx client driver frontend platform remote server store
    candidate: reference scope verdict
    decision: choice reason topic
    command: command purpose
    ");
    assert_eq!(
        (&plan["version"], &plan["strategy"], &plan["scope"]),
        (&1.into(), &"registry".into(), &"branch-main".into())
    );
    assert_eq!(plan["cache_from"], Value::Null);
    assert_eq!(plan["facts"]["settings"]["LAYERLIFT_REGISTRY_TIMEOUT"], "flag");
}

#[test]
fn says_what_it_cannot_see() {
    let mut scene = scene(Kind::Docker28Containerd);
    scene.test.set_job(Vec::new());
    scene.test.set("LAYERLIFT_REGISTRY_MIRROR", "");
    let archive = scene.test.path("context.tar.xz");
    std::fs::write(&archive, b"\xfd7zXZ\0...").unwrap();
    let mut command = scene.test.command(scene.project.folder(), &["plan", "-"]);
    command.stdin(Stdio::from(std::fs::File::open(&archive).unwrap()));
    insta::assert_snapshot!(run(&mut command).ok().text(), @"
    facts
      pipeline    no CI, branch `main`
      engine      Docker 28.5.2, buildx 0.29.1, builder `default`, containerd store, linux/amd64
      setting     --reuse by LAYERLIFT_REUSE
      setting     --weigh-cache by LAYERLIFT_WEIGH_CACHE

    decisions
      scope       branch-main
                  (reads branch-main)
      cache repo  none
                  (no cache repository is set, the CI system offers none, and no image is named by `-t`)
      modes       as they are
                  (this is no CI job; --normalize-modes=on takes git's)
      stages      unknown
                  (the Dockerfile is not known here: it is in an xz archive on standard input)
      reuse       build
                  (it was turned off)
      strategy    local
                  (no cache repo is known)
      read        nothing
                  (no scope of the chain has a cache folder here)
      write       nothing
                  (not a CI job, and not told to write)

    prediction
      which steps will run is not known: it is in an xz archive on standard input

    commands
      # build
      docker buildx build --progress rawjson -

    `build` adds --iidfile and, with buildx, --metadata-file where you give none, to learn what was built.
    ");
}
