use std::collections::BTreeMap;

use super::*;
use crate::dockerfile::{Inputs, graph};
use crate::model::outcome::{StepOutcome, StepStatus};
use crate::model::platform::Platform;
use crate::plan::wanted::{Asked, wanted};

const NODE: [(&str, u64); 5] = [
    ("package.json", 400),
    ("package-lock.json", 90_000),
    ("src/", 0),
    ("src/index.js", 2000),
    (".npmrc", 10),
];

/// What is told of a file, a line each: `2 copy-before-install 12.0s text -> help`.
fn told(text: &str, files: &[(&str, u64)], past: &[(&str, f64)]) -> Vec<String> {
    let platform = Platform::new("linux", "amd64", None);
    let inputs = Inputs {
        build_args: BTreeMap::new(),
        target: None,
        platform: platform.clone(),
        build_platform: platform.clone(),
        contexts: BTreeMap::new(),
    };
    let dockerfile = Dockerfile::parse(text.as_bytes()).expect("Dockerfile");
    let graph = graph(&dockerfile, &inputs).expect("graph");
    let mut context = Files {
        entries: files.iter().map(|(path, size)| ((*path).to_owned(), *size)).collect(),
        ..Files::default()
    };
    let contexts = BTreeMap::new();
    for selector in wanted(Asked { graph: &graph, platform: &platform, contexts: &contexts }).files {
        let source = selector.source.trim_matches('/').to_owned();
        let takes = |path: &str| match source.split_once('*') {
            _ if source.is_empty() => true,
            Some((begin, end)) => path.starts_with(begin) && path.ends_with(end) && !path.contains('/'),
            None => path.trim_end_matches('/') == source || path.starts_with(&format!("{source}/")),
        };
        let places = context.entries.iter().enumerate().filter(|(_, (path, _))| takes(path));
        let places = places.map(|(place, _)| place).collect();
        context.selected.insert(selector, places);
    }
    let step = |(instruction, seconds): &(&str, f64)| StepOutcome {
        number: 1,
        of: 1,
        instruction: (*instruction).to_owned(),
        platform: None,
        status: StepStatus::Run,
        started: None,
        duration: Duration::from_secs_f64(*seconds),
    };
    let stages: Vec<StageOutcome> = graph
        .stages
        .iter()
        .map(|stage| StageOutcome { name: stage.label.clone(), steps: past.iter().map(step).collect() })
        .collect();
    let subject = Subject {
        dockerfile: &dockerfile,
        text,
        graph: &graph,
        files: Some(&context),
        ignore_file: ".dockerignore",
        past: &stages,
    };
    let line = |it: Advice| {
        let costs = it.costs.map(|costs| format!(" {:.1}s", costs.as_secs_f64())).unwrap_or_default();
        format!("{} {}{costs}: {} -> {}", it.line, it.rule, it.text, it.help)
    };
    lint(subject).into_iter().map(line).collect()
}

/// The line and the rule of all that is told.
fn rules(text: &str, files: &[(&str, u64)]) -> String {
    let short = |line: String| line.split(':').next().unwrap_or_default().to_owned();
    told(text, files, &[]).into_iter().map(short).collect::<Vec<_>>().join(", ")
}

#[test]
fn sources_before_an_installation() {
    assert_eq!(
        told("FROM node\nCOPY . .\nRUN npm ci\nRUN npm run build\n", &NODE, &[("RUN npm ci", 41.25)]),
        [
            "2 copy-before-install 41.2s: `COPY . .` comes before `npm ci` in line 3, which needs only `.npmrc`, \
          `package-lock.json` and `package.json`: every change of another file installs again -> copy `.npmrc`, \
          `package-lock.json` and `package.json` first, then `npm ci`, then the rest"
        ]
    );
    assert_eq!(
        told("FROM debian\nCOPY src /src\nRUN apt-get update && apt-get install -y curl", &NODE, &[]),
        [
            "2 copy-before-install: `COPY src /src` comes before `apt-get install` in line 3, which needs none of these \
          files: every change of them installs again -> move it below line 3"
        ]
    );
    let cases = [
        ("manifests first", "FROM node\nCOPY package*.json .npmrc ./\nRUN npm ci\nCOPY . .\n", ""),
        (
            "sources of another stage",
            "FROM node AS a\nCOPY . .\nFROM node\nCOPY --from=a /x /x\nRUN npm install -g x\n",
            "",
        ),
        ("in the stage below", "FROM node AS a\nCOPY . .\nFROM a\nRUN npm ci\n", "2 copy-before-install"),
        (
            "told once for both",
            "FROM node AS a\nCOPY . .\nRUN npm ci\nFROM a AS b\nRUN x\nFROM a\nCOPY --from=b /x /x\n",
            "2 copy-before-install",
        ),
        ("single files", "FROM node\nCOPY src/index.js ./\nCOPY package.json ./\nRUN npm ci\n", ""),
        ("patches", "FROM node\nCOPY patches patches\nCOPY package.json ./\nRUN npm ci\n", ""),
        (
            "a script of the context",
            "FROM debian\nCOPY src /opt/src\nRUN apt-get install -y curl && /opt/src/setup\n",
            "",
        ),
        ("settings of the system", "FROM debian\nCOPY src/ /etc/apt/\nRUN apt-get install -y curl\n", ""),
        (
            "manifests from elsewhere",
            "FROM node\nCOPY src src\nCOPY --from=x /package.json ./\nRUN npm ci\n",
            "",
        ),
        ("after it", "FROM debian\nRUN apt-get install -y curl\nCOPY . .\n", ""),
        ("a bind mount", "FROM node\nRUN --mount=target=. npm ci\nCOPY . .\n", ""),
        ("what nothing needs", "FROM node AS unused\nCOPY . .\nRUN npm ci\nFROM node\nCOPY src src\n", ""),
        (
            "the project itself at the end",
            "FROM python\nCOPY pyproject.toml uv.lock ./\nRUN uv sync --no-install-project\nCOPY . .\nRUN uv sync\n",
            "",
        ),
        ("all at once", "FROM python\nCOPY . .\nRUN uv sync\n", "2 copy-before-install"),
        (
            "waived",
            "FROM node\n# All of it: a monorepo.\n# layerlift: ignore copy-before-install\nCOPY . .\nRUN npm ci\n",
            "",
        ),
        (
            "another rule waived",
            "FROM node\n# layerlift: ignore update-alone\nCOPY . .\nRUN npm ci\n",
            "3 copy-before-install",
        ),
    ];
    let files: Vec<(&str, u64)> = NODE
        .into_iter()
        .chain([
            ("pyproject.toml", 1),
            ("uv.lock", 1),
            ("patches/", 0),
            ("patches/a.patch", 1),
            ("patches/b.patch", 1),
        ])
        .collect();
    for (name, text, expected) in cases {
        assert_eq!(rules(text, &files), expected, "{name}");
    }
}

#[test]
fn arguments_of_every_build() {
    let past = [("RUN apt-get install -y curl", 20.0), ("RUN make", 5.0)];
    assert_eq!(
        told(
            "FROM debian\nARG GIT_SHA\nRUN apt-get install -y curl\nRUN make\nLABEL a=$GIT_SHA\nRUN echo $GIT_SHA > v\n",
            &[],
            &past
        ),
        [
            "2 volatile-argument 25.0s: with every new `GIT_SHA`, 2 steps from line 3 on run again without using it -> \
          move it to line 6, above the first step that uses it"
        ]
    );
    assert_eq!(
        told(
            "FROM debian\nARG CI_COMMIT_SHA=none\nENV REV=$CI_COMMIT_SHA\nRUN apt-get install -y curl\nRUN make\n",
            &[],
            &past
        ),
        [
            "2 volatile-argument 20.0s: with every new `CI_COMMIT_SHA`, the step in line 4 runs again without using it -> \
          move it below line 4"
        ]
    );
    for (name, text) in [
        ("used at once", "FROM a\nARG VERSION\nRUN wget x/$VERSION\nRUN make"),
        ("used by its other name", "FROM a\nARG VERSION\nENV V=$VERSION\nRUN wget x/$V\nRUN make"),
        ("at the end", "FROM a\nRUN make\nARG GIT_SHA\nLABEL r=$GIT_SHA"),
        ("a program may read it", "FROM a\nARG VERSION\nRUN make"),
        ("not volatile", "FROM a\nARG NODE_VERSION=20\nRUN apt-get install -y curl\nRUN echo $NODE_VERSION"),
        ("of the bases", "ARG VERSION=1\nFROM a:$VERSION\nRUN apt-get install -y curl"),
    ] {
        assert_eq!(rules(text, &[]), "", "{name}");
    }
}

#[test]
fn what_no_image_needs() {
    let files = [
        (".git/", 0),
        (".git/HEAD", 20),
        (".git/objects/x", 12_000_000),
        ("a.log", 300_000),
        ("package.json", 10),
        ("web/node_modules/", 0),
        ("web/node_modules/x.js", 5_000_000),
        ("web/node_modules/y.js", 1),
        ("src/main.c", 10),
        ("data/dump.sql", 300_000_000),
    ];
    assert_eq!(
        told(
            "FROM a\nCOPY . .\nRUN npm run build\n",
            &files,
            &[("RUN npm run build", 7.0), ("COPY . .", 1.5)]
        ),
        [
            "2 needless-files 8.5s: `COPY . .` takes `data/dump.sql` (300.0 MB), `.git` (12.0 MB, 2 files), `web/node_modules` \
          (5.0 MB, 2 files), `a.log` (300.0 kB); `.git` changes with every commit, and this step and all after it run \
          again -> add to .dockerignore: data/dump.sql .git **/node_modules a.log"
        ]
    );
    let small = [
        (".git/HEAD", 20),
        ("x.log", 10),
        ("venv/bin/x", 900_000),
        ("target/x.jar", 900_000),
        ("dist/x.js", 900_000),
    ];
    for (name, text, expected) in [
        ("named by the source", "FROM a\nCOPY dist /usr/share/nginx/html\n", ""),
        ("below what is named", "FROM a\nCOPY .git/HEAD /x\n", ""),
        ("git is asked", "FROM a\nCOPY . .\nRUN git describe > v\n", ""),
        ("small, but of every commit", "FROM a\nCOPY . .\nRUN make\n", "2 needless-files"),
        ("results of the job before", "FROM a\nCOPY target dist venv /x\n", ""),
        ("nothing is copied", "FROM a\nRUN make\n", ""),
    ] {
        assert_eq!(rules(text, &small), expected, "{name}");
    }
    let built =
        [("Cargo.toml", 10), ("target/debug/x", 900_000), ("venv/pyvenv.cfg", 1), ("venv/x", 700_000)];
    assert_eq!(
        told("FROM a\nCOPY . .\nRUN cargo build\n", &built, &[]),
        [
            "2 needless-files: `COPY . .` takes `target` (900.0 kB), `venv` (700.0 kB, 2 files) -> add to .dockerignore: \
          target venv"
        ]
    );
}

#[test]
fn what_comes_from_elsewhere() {
    let text = "# syntax=docker/dockerfile\nFROM a\nRUN apt-get update\nRUN apt-get install -y curl\n\
        ADD https://example.com/tool.tar.gz?x=1 /x\nADD --checksum=sha256:00 https://example.com/y /y\n\
        ADD https://example.com/p.git#main /p\n\
        ADD https://example.com/q.git#0123456789012345678901234567890123456789:sub /q\nCOPY --shiny a /a\n";
    let told = told(text, &[("a", 1)], &[]);
    let begins = [
        "1 moving-frontend: `docker/dockerfile` is another frontend",
        "3 update-alone: `apt-get update` is a step of its own",
        "5 unverified-download: nobody knows whether `tool.tar.gz` is the same tomorrow",
        "7 unverified-download: nobody knows whether `p.git` is the same tomorrow",
        "9 unknown: layerlift does not know this flag `--shiny` of COPY",
    ];
    assert_eq!(told.len(), begins.len(), "{told:#?}");
    for (line, begin) in told.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
    for text in [
        "# syntax=docker/dockerfile:1\nFROM a\nRUN apt-get update && apt-get install -y curl\n",
        "# syntax=docker/dockerfile:1.7-labs\nFROM a\nRUN apt-get update\nRUN apt-get update && apt-get install -y curl\n",
        "FROM a\nRUN <<E\napt-get update\napt-get install -y curl\nE\nRUN apk add --no-cache git\n",
        "FROM a\nRUN apk update\nRUN make\n",
    ] {
        assert_eq!(rules(text, &[]), "", "{text}");
    }
}
