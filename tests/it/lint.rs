//! `layerlift lint` on projects as they are. No engine is there to ask.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::cli::TestEnv;
use crate::support::project::Project;

const HOSTILE: &str = "\
FROM node:22
ARG GIT_SHA
COPY . .
RUN npm ci
RUN npm run build -- --rev $GIT_SHA
";

/// A record in which the installation took 41.25 s.
fn record() -> Value {
    let step = |number: u32, instruction: &str, status: &str, seconds: f64| {
        json!({"number": number, "of": 4, "instruction": instruction, "platform": null, "status": status,
            "started": 1.5, "duration": seconds})
    };
    json!({
        "version": 1, "created": "2026-11-23T12:00:30Z", "layerlift": "0.1.0",
        "engine": {"version": "28.5.2", "buildkit": "0.25.0", "builder": "default"},
        "strategy": "registry", "scope": "branch-main", "commit": null, "pipeline_url": null, "status": "succeeded",
        "cache_from": [], "cache_to": null, "tags": [], "digest": null,
        "duration": 60.0, "preparation": 0.5, "cache_export": 0.0,
        "stages": [{"name": "stage-0", "steps": [
            step(2, "COPY . .", "run", 0.25), step(3, "RUN npm ci", "run", 41.25),
            step(4, "RUN npm run build -- --rev $GIT_SHA", "cached", 0.0),
        ]}],
        "inputs": null, "explanation": null,
    })
}

#[track_caller]
fn hostile() -> Project {
    let project = Project::with_dockerfile(HOSTILE);
    project.write("package.json", "{}\n");
    project.write("package-lock.json", "{}\n");
    project.write("node_modules/x/index.js", &"x".repeat(300_000));
    project
}

#[test]
fn advice_has_its_line_and_its_price() {
    let (test, project) = (TestEnv::bare(), hostile());
    let path = test.path("record.json");
    std::fs::write(&path, record().to_string()).unwrap();
    let linted = test.run(project.folder(), &["lint", "--record", path.to_str().unwrap()]).ok();
    let text = linted.text();
    // How much git keeps differs between its versions.
    let start = text.find("`.git` (").unwrap();
    let end = start + text[start..].find(')').unwrap();
    insta::assert_snapshot!(format!("{}`.git` (<size>{}", &text[..start], &text[end..]), @"
    Dockerfile:2: volatile-argument: with every new `GIT_SHA`, the step in line 4 runs again without using it
      |
    2 | ARG GIT_SHA
      | ^^^^^^^^^^^
      = move it to line 5, above the first step that uses it
      = costs 41.2s each time, by the build of 2026-11-23 12:00 UTC

    Dockerfile:3: copy-before-install: `COPY . .` comes before `npm ci` in line 4, which needs only `package-lock.json` and `package.json`: every change of another file installs again
      |
    3 | COPY . .
      | ^^^^^^^^
      = copy `package-lock.json` and `package.json` first, then `npm ci`, then the rest
      = costs 41.2s each time, by the build of 2026-11-23 12:00 UTC

    Dockerfile:3: needless-files: `COPY . .` takes `node_modules` (300.0 kB), `.git` (<size>); `.git` changes with every commit, and this step and all after it run again
      |
    3 | COPY . .
      | ^^^^^^^^
      = add to .dockerignore: node_modules .git
      = costs 41.5s each time, by the build of 2026-11-23 12:00 UTC
    ");
    assert!(linted.stderr.contains("layerlift: 3 pieces of advice\n"), "{}", linted.stderr);

    let found = test.run(project.folder(), &["lint", "--format", "json", "--error", "."]);
    assert_eq!(found.code, 1, "{}", found.all());
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let rules: Vec<&str> =
        found["advice"].as_array().unwrap().iter().map(|it| it["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["volatile-argument", "copy-before-install", "needless-files"]);
    assert_eq!(found["advice"][1]["costs"], Value::Null, "no record was given");
}

#[test]
fn what_is_mended_is_told_no_more() {
    let (test, project) = (TestEnv::bare(), hostile());
    project.write(".dockerignore", ".git\nnode_modules\n");
    project.write(
        "Dockerfile",
        "FROM node:22\nCOPY package*.json ./\nRUN npm ci\nCOPY . .\nARG GIT_SHA\nRUN npm run build -- --rev $GIT_SHA\n",
    );
    let linted = test.run(project.folder(), &["lint", "--error"]).ok();
    assert_eq!(
        (linted.text().as_str(), linted.stderr.as_str()),
        ("", "layerlift: nothing to say about Dockerfile\n")
    );
    // Another Dockerfile, with an ignore file of its own, and a waiver.
    project
        .write("dev/Dockerfile", &HOSTILE.replace("COPY", "# layerlift: ignore copy-before-install\nCOPY"));
    project.write("dev/Dockerfile.dockerignore", "**/node_modules\n.git\n");
    let linted = test.run(project.folder(), &["lint", "-f", "dev/Dockerfile", "."]).ok();
    assert!(linted.text().starts_with("dev/Dockerfile:2: volatile-argument: "), "{}", linted.text());
    assert!(linted.stderr.contains("layerlift: 1 piece of advice\n"), "{}", linted.stderr);
}

#[test]
fn what_cannot_be_looked_at_is_said() {
    let (test, project) = (TestEnv::bare(), hostile());
    let run = |arguments: &[&str]| test.run(project.folder(), arguments);
    let missing = run(&["lint", "-f", "nowhere", "."]);
    assert_eq!(missing.code, 66, "{}", missing.all());
    let remote = run(&["lint", "https://token@git.example/x.git"]);
    assert_eq!(remote.code, 2, "{}", remote.all());
    assert!(remote.stderr.contains("git.example") && !remote.stderr.contains("token"), "{}", remote.stderr);
    project.write("Dockerfile", "FROM a\nRUNN x\n");
    let broken = run(&["lint"]);
    assert_eq!(broken.code, 65, "{}", broken.all());
    project.write("Dockerfile", HOSTILE);
    project.write(".dockerignore", "[\n");
    let unclear = run(&["lint"]).ok();
    assert!(unclear.stderr.contains("the build context was not looked at: "), "{}", unclear.stderr);
    assert!(unclear.text().contains("volatile-argument"), "{}", unclear.text());
    let other = run(&["lint", "--record", "Dockerfile"]);
    assert_eq!(other.code, 66, "{}", other.all());
}

/// Dockerfiles below a folder of the repository.
fn dockerfiles(folder: &str) -> Vec<PathBuf> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                open.push(path);
            } else if name.starts_with("Dockerfile") && !name.ends_with(".dockerignore") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn well_made_files_get_no_advice() {
    let test = TestEnv::bare();
    let files: Vec<PathBuf> = ["examples", "tests/it/services"].into_iter().flat_map(dockerfiles).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let linted = test.run(file.parent().unwrap(), &["lint", "-f", file.to_str().unwrap(), "."]).ok();
        assert_eq!(linted.text(), "", "{}", file.display());
        assert!(linted.stderr.contains("nothing to say"), "{}", linted.stderr);
    }
    let project = Project::new();
    assert_eq!(test.run(project.folder(), &["lint"]).ok().text(), "");
}
