//! `layerlift init`: for every CI system and every kind of repository, the file has the form that the CI system knows, keeps
//! what is there, and is run by runners that no one here wrote.

use std::path::Path;

use serde_json::Value;

use crate::support::act::{Run, check_schema};
use crate::support::cli::TestEnv;
use crate::support::engine::Kind;
use crate::support::gitlab::GitLab;
use crate::support::job::Event;
use crate::support::program::{Finished, run};
use crate::support::recipe::{self, scene, stamps, stamps_of};
use crate::support::release::Release;
use crate::support::scripts;

/// Each CI system with its file and the file's form.
const PROVIDERS: [(&str, &str, &str); 3] = [
    ("gitlab", ".gitlab-ci.yml", "vendor.gitlab-ci"),
    ("github", ".github/workflows/layerlift-build.yml", "vendor.github-workflows"),
    ("circleci", ".circleci/config.yml", "vendor.circle-ci"),
];

/// Paths with their texts.
type Files = &'static [(&'static str, &'static str)];

/// Repositories by what there is to build, with the files of each and what the CI file must name.
const KINDS: [(&str, Files, &[&str]); 4] = [
    ("one Dockerfile", &[("Dockerfile", "FROM scratch\n")], &["build"]),
    (
        "several Dockerfiles",
        &[
            ("Dockerfile", "FROM scratch\n"),
            ("api/Dockerfile", "FROM scratch\nCOPY main.c /\n"),
            ("api/main.c", ""),
            ("docker/Dockerfile.worker", "FROM scratch\nCOPY api /\n"),
            ("node_modules/left/Dockerfile", "FROM scratch\n"),
            ("Dockerfile.md", "no such thing"),
        ],
        &["/api\n", "docker/Dockerfile.worker", "/docker-worker"],
    ),
    (
        "a compose file",
        &[
            (
                "compose.yaml",
                "services:\n  a: {image: $REGISTRY/a, build: {context: a}}\n  b: {image: busybox}\n",
            ),
            ("a/Dockerfile", "FROM scratch\n"),
            ("tools/Dockerfile", "FROM scratch\n"),
        ],
        &["COMPOSE_FILE: compose.yaml", "/tools"],
    ),
    ("a bake file", &[("docker-bake.hcl", ""), ("Dockerfile", "FROM scratch\n")], &["bake"]),
];

/// A repository whose origin is on github.com.
struct Repository {
    folder: tempfile::TempDir,
    test: TestEnv,
}

impl Repository {
    #[track_caller]
    fn new(files: &[(&str, &str)]) -> Repository {
        let repository = Repository { folder: tempfile::tempdir().unwrap(), test: TestEnv::bare() };
        repository.git(&["init", "-q", "-b", "main"]);
        repository.git(&["remote", "add", "origin", "https://name:token@github.com/Group/Project.git"]);
        files.iter().for_each(|(path, text)| repository.write(path, text));
        repository
    }

    #[track_caller]
    fn git(&self, arguments: &[&str]) {
        let _ = run(&mut self.test.program("git", self.folder.path(), arguments)).ok();
    }

    #[track_caller]
    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[track_caller]
    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).unwrap()
    }

    #[track_caller]
    fn init(&self, arguments: &[&str]) -> Finished {
        let all: Vec<&str> = std::iter::once("init").chain(arguments.iter().copied()).collect();
        self.test.run(self.folder.path(), &all)
    }
}

#[test]
fn every_kind_of_repository_gets_a_file_of_the_right_form() {
    for (provider, file, schema) in PROVIDERS {
        let folder = tempfile::tempdir().unwrap();
        let mut written = Vec::new();
        for (kind, files, names) in KINDS {
            let repository = Repository::new(files);
            let shown = repository.init(&[provider, "--dry-run"]).ok();
            assert!(!repository.folder.path().join(file).exists(), "--dry-run wrote\n{}", shown.all());
            let done = repository.init(&[provider]).ok();
            assert_eq!(done.text(), shown.text(), "{kind}");
            let text = repository.read(file);
            for name in names {
                assert!(text.contains(name), "{provider}, {kind}: no {name} in\n{text}");
            }
            assert!(!text.contains("name:token") && !text.contains("left"), "{text}");
            assert!(text.contains("v0.1.0") && !text.contains('%'), "{text}");
            let said = &done.stderr;
            assert!(
                said.contains("SHA-256 of layerlift-linux-amd64 0.1.0, from its release's page"),
                "{said}"
            );
            assert_eq!(said.contains("named with: REGISTRY"), kind == "a compose file", "{said}");

            // The diff is one that git takes, and leads to the same file.
            let copy = Repository::new(files);
            copy.write("init.diff", &format!("{}\n", done.text()));
            copy.git(&["apply", "init.diff"]);
            assert_eq!(copy.read(file), text);

            let again = repository.init(&[provider]).ok();
            assert!(again.stderr.contains("has them already") && again.stdout.is_empty(), "{}", again.all());
            written.push(folder.path().join(format!("{}.yml", written.len())));
            std::fs::write(written.last().unwrap(), text).unwrap();
        }
        check_schema(schema, &written);
        for script in written.iter().filter(|_| provider != "gitlab").flat_map(|file| scripts::in_yaml(file))
        {
            scripts::check("bash", &script);
        }
    }
}

#[test]
fn contexts_and_names_are_found() {
    let repository = Repository::new(KINDS[1].1);
    let sum = "0123456789abcdef".repeat(4);
    let _ = repository.init(&["github", "--sha256", &sum]).ok();
    let text = repository.read(PROVIDERS[1].1);
    let workflow: Value = serde_yaml::from_str(&text).unwrap();
    let job = &workflow["jobs"]["build"];
    let entries = job["strategy"]["matrix"]["include"].as_array().unwrap().iter();
    let entries: Vec<[&str; 3]> =
        entries.map(|it| ["image", "context", "file"].map(|key| it[key].as_str().unwrap())).collect();
    let expected = [
        ["ghcr.io/group/project", ".", "Dockerfile"],
        ["ghcr.io/group/project/api", "api", "api/Dockerfile"],
        ["ghcr.io/group/project/docker-worker", ".", "docker/Dockerfile.worker"],
    ];
    assert_eq!(entries, expected);
    assert_eq!(job["steps"][1]["with"]["sha256"], sum.as_str(), "{text}");

    // A file that is named is the only one that is built; another registry wants a login.
    let one =
        repository.init(&["github", "--force", "--image", "registry.example.com/a", "api/Dockerfile"]).ok();
    assert!(one.stderr.contains("replaces") || one.stderr.contains("is written"), "{}", one.all());
    let text = repository.read(PROVIDERS[1].1);
    assert!(text.contains("tags: registry.example.com/a:${{ github.sha }}"), "{text}");
    assert!(text.contains("docker login") && !text.contains("matrix"), "{text}");
}

#[test]
fn what_is_there_stays_and_is_changed_on_demand_only() {
    let theirs = [
        (
            "gitlab",
            "# ours since 2019\nstages: [test, deploy]\ninclude:\n- local: x.yml # why\n\nbuild:   {stage: test, script: make}\n",
        ),
        ("github", "on: push\njobs: {}\n"),
        (
            "circleci",
            "version: 2.1\nworkflows:\n    version: 2 # old\n    images:\n        jobs: [bake]\n\njobs:\n    bake:\n        machine: true\n        steps: [checkout]\n",
        ),
    ];
    for ((provider, before), (_, file, schema)) in theirs.into_iter().zip(PROVIDERS) {
        let repository = Repository::new(&[KINDS[3].1[0], (file, before)]);
        let refused = repository.init(&[provider]);
        assert_eq!(refused.code, 73, "{}", refused.all());
        assert_eq!(repository.read(file), before);
        assert!(
            refused.stderr.contains("is there already, and was not changed\n\nhint: --force"),
            "{}",
            refused.all()
        );
        assert!(refused.text().starts_with(&format!("--- a/{file}\n+++ b/{file}\n@@ ")), "{}", refused.all());
        let shown = repository.init(&[provider, "--dry-run"]).ok();
        assert_eq!(shown.text(), refused.text());

        let forced = repository.init(&[provider, "--force"]).ok();
        assert_eq!(forced.text(), refused.text());
        let after = repository.read(file);
        let removed = forced.text().lines().filter(|line| line.starts_with('-')).count();
        match provider {
            "github" => assert!(!after.contains("jobs: {}"), "{after}"),
            // The heading alone.
            _ => assert_eq!(removed, 1, "{}", forced.all()),
        }
        check_schema(schema, &[repository.folder.path().join(file)]);
        assert_eq!(repository.init(&[provider]).ok().text(), "", "{after}");
        if provider == "circleci" {
            let config: Value = serde_yaml::from_str(&after).unwrap();
            assert_eq!(config["workflows"]["images-2"]["jobs"][0], "layerlift-bake", "{after}");
        }
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let repository = Repository::new(&[]);
    let cases: [(&[&str], u8, &str); 5] = [
        (&["gitlab"], 66, "no Dockerfile, and no compose or bake file that builds something, was found in"),
        (&["gitlab", "missing/Dockerfile"], 66, "missing/Dockerfile is no file in"),
        (&["gitlab", "/etc/hostname"], 66, "/etc/hostname is no file in"),
        (&["github", "--sha256", "abc", "Dockerfile"], 2, "--sha256 abc: 64 hexadecimal digits are expected"),
        (&["github", "--image", "A/B", "Dockerfile"], 2, "--image: invalid reference `A/B`"),
    ];
    repository.write("compose.yaml", "services: {a: {image: b}}\n");
    let nothing = repository.init(&["gitlab"]);
    assert!(nothing.stderr.contains("hint: compose.yaml builds nothing"), "{}", nothing.all());
    for (index, (arguments, code, message)) in cases.into_iter().enumerate() {
        if index == 3 {
            repository.write("Dockerfile", "FROM scratch\n");
        }
        let failed = repository.init(arguments);
        assert_eq!(failed.code, i32::from(code), "{arguments:?}: {}", failed.all());
        assert!(failed.stderr.contains(message), "{arguments:?}: {}", failed.all());
    }
    // A file that cannot be added to is left alone, and the user gets what belongs there.
    repository.write(".gitlab-ci.yml", "include: [a.yml]\n");
    let failed = repository.init(&["gitlab", "--force"]);
    assert_eq!(failed.code, 73, "{}", failed.all());
    assert!(failed.text().contains("extends: .layerlift-build"), "{}", failed.all());
    assert_eq!(repository.read(".gitlab-ci.yml"), "include: [a.yml]\n");

    // What cannot be read is told, and the rest is built.
    repository.write("compose.yaml", "services: [\n");
    let rest = repository.init(&["github", "--dry-run"]).ok();
    assert!(rest.stderr.contains("compose.yaml is not valid: line 2"), "{}", rest.all());
    assert!(rest.stderr.contains("jobs for Dockerfile\n"), "{}", rest.all());

    // Which branch is the default one is not guessed from the one that somebody is on.
    repository.git(&["symbolic-ref", "HEAD", "refs/heads/feature"]);
    let unknown = repository.init(&["github", "--dry-run"]).ok();
    assert!(unknown.text().contains("branches: [main, master]"), "{}", unknown.all());
    assert!(unknown.stderr.contains("say in `branches` whose pushes are built"), "{}", unknown.all());

    // Where nothing tells the registry, it is left to be set.
    repository.git(&["remote", "set-url", "origin", "/srv/git/project"]);
    let done = repository.init(&["github"]).ok();
    assert!(done.stderr.contains("set the repository's variable IMAGE"), "{}", done.all());
    assert!(repository.read(PROVIDERS[1].1).contains("tags: ${{ vars.IMAGE }}:${{ github.sha }}"));
}

/// Writes the file into a project and tells its text.
#[track_caller]
fn written(folder: &Path, arguments: &[&str], file: &str) -> String {
    let all: Vec<&str> = std::iter::once("init").chain(arguments.iter().copied()).collect();
    let _ = TestEnv::bare().run(folder, &all).ok();
    std::fs::read_to_string(folder.join(file)).unwrap()
}

/// A bake file with one target, which has one name.
fn bake_file(image: &str) -> String {
    format!("target \"default\" {{\n  tags = [\"{image}\"]\n}}\n")
}

#[test]
fn the_workflow_on_github_builds_every_image() {
    let scene = scene(Kind::Docker28Containerd, "init");
    let release = Release::start();
    let image = |name: &str| scene.registry.reference(&format!("{}/{name}", scene.repository));
    let service = format!("services:\n  api:\n    image: {}\n    build: .\n", image("api:1"));
    scene.project.write("compose.yaml", &service);
    scene.project.write("docker-bake.hcl", &bake_file(&image("web:1")));
    let options = ["github", "--image", &image("app"), "--sha256", &release.sha256];
    let files = ["Dockerfile", "Dockerfile.multi", "compose.yaml", "docker-bake.hcl"];
    let text = written(scene.project.folder(), &[options.as_slice(), &files].concat(), PROVIDERS[1].1);
    let done = Run::of(&scene, &release, &text, Event::Branch("main")).ok();
    let tags = scene.registry.tags(&scene.repository);
    for name in ["app", "app/multi", "api", "web"] {
        let start = format!("{}/{name}:", scene.repository);
        let found = tags.keys().find(|name| name.starts_with(&start));
        let found = found.unwrap_or_else(|| panic!("no {name} in {tags:#?}\n{}", done.log()));
        let _ = stamps(&scene, &scene.registry.reference(found));
    }
}

#[test]
fn the_jobs_on_gitlab_build_and_push() {
    let gitlab = GitLab::new(recipe::project(Kind::Docker28Containerd));
    let theirs = "stages: [test]\n\nbuild:\n  stage: test\n  image: docker:28-cli\n  script: [\"true\"]\n";
    gitlab.project.write(".gitlab-ci.yml", theirs);
    let web = format!("{}/web:1", gitlab.image);
    gitlab.project.write("docker-bake.hcl", &bake_file(&web));
    let arguments = ["gitlab", "--force", "Dockerfile.multi", "docker-bake.hcl"];
    let file = written(gitlab.project.folder(), &arguments, ".gitlab-ci.yml");
    assert!(file.starts_with(theirs), "{file}");
    let _ = gitlab.run(&file).ok().said("(no cache to read)");
    let tags = gitlab.registry.tags("group/project");
    let name = tags.keys().find(|name| name.starts_with("group/project:")).unwrap();
    for image in [gitlab.registry.reference(name), web] {
        let _ = stamps_of(&gitlab.registry, &gitlab.project, &image);
    }
}
