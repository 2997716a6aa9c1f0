//! Pages: `--html` of a build, and `layerlift report` of a record.

use crate::support::cli::TestEnv;
use crate::support::engine::Kind;
use crate::support::project::{Project, STEPS};
use crate::support::scene::Scene;
use crate::support::services::Services;

#[track_caller]
fn read(path: &str) -> String {
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.starts_with("<!doctype html>\n") && page.ends_with("</html>\n"), "{page}");
    for forbidden in ["<script", "src=\"", "<link", "url(", "@import"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    page
}

#[test]
fn a_build_leaves_a_page() {
    let mut scene = Scene::new(Kind::Docker28Containerd, "html", Project::new());
    let (image, path) = (scene.image("1"), scene.path("page.html"));
    let arguments = ["--push", "-t", &image, "--html", &path];
    let build = |scene: &Scene| {
        scene.test.build(&scene.project, &arguments).made(&scene.registry, &image, &scene.project)
    };
    let _ = build(&scene);
    let cold = read(&path);
    assert!(cold.contains(&format!("<h1>0 of {STEPS} steps cached, {STEPS} ran</h1>")), "{cold}");
    // Every step says when it began.
    assert_eq!(cold.matches("class=\"bar run\" style=").count(), STEPS, "{cold}");
    assert!(cold.contains("<td>branch-main</td><td>not found</td>"), "{cold}");

    scene.reset();
    scene.project.change_source("changed <script>alert(1)</script>\n");
    let build = build(&scene);
    let ran = build.executed().len();
    let warm = read(&path);
    assert!(warm.contains(&format!("<h1>{} of {STEPS} steps cached, {ran} ran</h1>", STEPS - ran)), "{warm}");
    assert_eq!(warm.matches("class=\"badge run\"").count(), ran, "{warm}");
    assert!(warm.contains("<td>branch-main</td><td>used</td>"), "{warm}");

    // So has its record, whichever way it is named, and it tells what the build's own page tells.
    let rows = |page: &str| {
        let table = page.split_once("<table class=\"steps\"").unwrap().1.split_once("</table>").unwrap().0;
        table.matches("<tr role=\"row\" id=").count()
    };
    let list = scene.test.run(scene.project.folder(), &["explain", "main", "--format", "json"]).ok().stdout;
    let list_file = scene.path("list.json");
    std::fs::write(&list_file, list).unwrap();
    for name in ["main", "branch-main", &image, &list_file] {
        let page = scene.test.run(scene.project.folder(), &["report", name, "--html", "-"]).ok().text();
        assert!(
            page.contains(&format!("<h1>{} of {STEPS} steps cached, {ran} ran</h1>", STEPS - ran)),
            "{page}"
        );
        assert_eq!(rows(&page), rows(&warm), "{page}");
        assert!(page.contains("<code>src/one.txt</code> changed"), "{page}");
    }
    let linted = scene.test.run(scene.project.folder(), &["lint", "--record", "main"]).ok();
    assert_eq!(linted.text(), "");

    // A build that an image answers has a page without steps.
    scene.test.set("LAYERLIFT_REUSE", "on");
    let made = scene.test.build(&scene.project, &arguments);
    assert_eq!(made.finished.code, 0, "{made}");
    let _ = scene.test.build(&scene.project, &arguments).made(&scene.registry, &image, &scene.project);
    let page = read(&path);
    assert!(page.contains("<h1>Answered by an image that was there: nothing was built</h1>"), "{page}");
    assert!(page.contains("<dt>answered by</dt>") && !page.contains("class=\"badge"), "{page}");
    scene.test.set("LAYERLIFT_REUSE", "off");

    // A build that fails has a page as well; one that cannot be written is told before anything is built.
    scene.project.write("Dockerfile", "FROM busybox:latest\nRUN echo '<b>' && false\n");
    let failed = scene.test.build(&scene.project, &["--html", &path]);
    assert_ne!(failed.finished.code, 0, "{failed}");
    let page = read(&path);
    assert!(page.contains("<h1>Failed at RUN echo &#39;&lt;b&gt;&#39; &amp;&amp; false</h1>"), "{page}");
    let nowhere = scene.test.build(&scene.project, &["--html", "/no/such/folder/page.html"]);
    assert_eq!(nowhere.finished.code, 73, "{nowhere}");
    assert!(nowhere.report.is_null(), "{nowhere}");
}

#[test]
fn images_that_are_built_together_share_a_page() {
    let scene = Services::new(Kind::Docker28Containerd);
    let path = scene.test.path("page.html").to_str().unwrap().to_owned();
    let _ = scene.build("bake", &["--html", &path, "--allow=network.host", "--push"]).made();
    let page = read(&path);
    for name in ["api", "web"] {
        assert!(page.contains(&format!("<h2>{name}: 0 of ")), "{page}");
    }
    assert!(page.contains("<h1>2 images: 0 of "), "{page}");
}

#[test]
fn a_record_becomes_a_page() {
    let test = TestEnv::bare();
    let folder = test.path("home");
    let text = "\"<img src=x onerror=alert(1)>\"";
    let record = format!(
        r#"{{"version":1,"created":"2026-11-23T12:00:30Z","layerlift":"0.1.0","engine":{{"version":"28.5.2","buildkit":null,
        "builder":"default"}},"strategy":"registry","scope":{text},"commit":null,"pipeline_url":"javascript:alert(1)",
        "status":"succeeded","cache_from":[{text}],"cache_to":null,"tags":[{text}],"digest":null,"duration":-1e300,
        "preparation":0.5,"cache_export":0,"stages":[{{"name":{text},"steps":[{{"number":1,"of":1,"instruction":{text},
        "platform":null,"status":"run","started":1e15,"duration":1e15}}]}}],"inputs":null,"explanation":null}}"#
    );
    std::fs::write(folder.join("record.json"), &record).unwrap();
    let run = |arguments: &[&str]| test.run(&folder, arguments);
    let made = run(&["report", "record.json", "--html", "page.html"]).ok();
    assert!(made.stderr.contains("page.html is written"), "{}", made.stderr);
    let page = read(folder.join("page.html").to_str().unwrap());
    assert!(!page.contains("<img") && !page.contains("href=\"javascript"), "{page}");
    assert!(page.contains("scope <b>&lt;img src=x"), "{page}");
    let printed = run(&["report", "record.json", "--html", "-"]).ok();
    assert_eq!(printed.text().trim(), page.trim());

    let nothing = run(&["report", "--html", "refused.html"]);
    assert_eq!(nothing.code, 66, "{}", nothing.all());
    let unnamed = run(&["report", "record.json"]);
    assert_eq!(unnamed.code, 2, "{}", unnamed.all());
    assert!(unnamed.stderr.contains("--html"), "{}", unnamed.stderr);
    for (name, content, reason) in [
        ("missing.json", None, "cannot be read"),
        ("other.json", Some(r#"{"version":9}"#), "a record of another version"),
        ("report.json", Some(r#"{"version":1,"exit_code":0}"#), "it is what --report writes"),
    ] {
        if let Some(content) = content {
            std::fs::write(folder.join(name), content).unwrap();
        }
        let refused = run(&["report", name, "--html", "refused.html"]);
        assert_eq!(refused.code, 66, "{}", refused.all());
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
        assert!(!folder.join("refused.html").exists());
    }
}
