//! The plugin of Docker's client, and `layerlift install`, on the real clients.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::cli::TestEnv;
use crate::support::engine::Kind;
use crate::support::program::run;
use crate::support::project::Project;
use crate::support::scene::Scene;

const SMALL: &str = "FROM busybox:latest\nCOPY src/one.txt /app/source.txt\n";

#[test]
fn a_plugins_build_is_cached_on_the_next_empty_engine() {
    for kind in [Kind::Docker28Containerd, Kind::Docker20] {
        let mut scene = Scene::new(kind, "plugin", Project::new());
        scene.is_cached(|_| {
            "layerlift install && docker --context default layerlift build --network=host --push -t $IMAGE ."
                .to_owned()
        });
    }
}

#[test]
fn the_default_build_is_cached_on_the_next_empty_engine() {
    for kind in [Kind::Docker28Containerd, Kind::Docker20] {
        let mut scene = Scene::new(kind, "plugin", Project::new());
        scene.is_cached(|_| {
            "layerlift install --default && docker build --network=host -t $IMAGE . && docker push -q $IMAGE".to_owned()
        });
    }
}

fn every_form_of_the_default_build(kind: Kind) {
    let scene = Scene::new(kind, "plugin", Project::with_dockerfile(SMALL));
    let script = |line: &str| scene.test.script(scene.project.folder(), line);
    let _ = script("layerlift install --default").finished.ok();
    for form in ["build", "image build", "builder build", "--debug build"] {
        let build = script(&format!("docker {form} --network=host -t app ."));
        assert_eq!(build.finished.code, 0, "{form}: {build}");
        assert_eq!(build.report["status"], "succeeded", "{form}: {build}");
    }
    // What is not ours is Docker's, as before.
    let _ = script("docker builder prune --force").finished.ok();
    let refused = script("docker build --no-such-flag .").finished;
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("it does not know `--no-such-flag`"), "{}", refused.stderr);
    assert!(refused.stderr.contains("unknown flag: --no-such-flag"), "{}", refused.stderr);
    // Docker's newer clients take the classic builder by themselves, the old one asks us for it.
    let classic = script("DOCKER_BUILDKIT=0 docker build --network=host -t classic .");
    assert_eq!(classic.finished.code, 0, "{classic}");
    assert_eq!(classic.report.is_null(), kind != Kind::Docker20, "{classic}");

    let _ = script("layerlift uninstall").finished.ok();
    let plain = script("docker build --network=host -t app .");
    assert_eq!((plain.finished.code, plain.report.is_null()), (0, true), "{plain}");
    assert_ne!(script("docker layerlift plan .").finished.code, 0, "the plugin is gone");
}

#[test]
fn docker_20_hands_over_every_form_of_build() {
    every_form_of_the_default_build(Kind::Docker20);
}

#[test]
fn docker_26_hands_over_every_form_of_build() {
    every_form_of_the_default_build(Kind::Docker26Containerd);
}

#[test]
fn docker_28_hands_over_every_form_of_build() {
    every_form_of_the_default_build(Kind::Docker28Containerd);
}

#[test]
fn the_client_is_told_what_the_plugin_is() {
    let scene = Scene::new(Kind::Docker28Containerd, "plugin", Project::with_dockerfile(SMALL));
    let script = |line: &str| scene.test.script(scene.project.folder(), line).finished;
    let _ = script("layerlift install").ok();
    let format = "'{{range .ClientInfo.Plugins}}{{.Name}} {{.SchemaVersion}} {{.Err}}\n{{end}}'";
    let plugins = script(&format!("docker info --format {format}")).ok().text();
    assert!(plugins.lines().any(|line| line.trim() == "layerlift 0.1.0 <nil>"), "{plugins}");
    assert_eq!(script("docker layerlift --version").ok().text(), script("layerlift --version").ok().text());
    let planned = script("docker layerlift plan -t app .").ok().text();
    assert!(planned.contains("strategy"), "{planned}");
}

#[test]
fn a_client_that_is_ended_ends_the_build() {
    let scene = Scene::new(Kind::Docker28Containerd, "plugin", Project::new());
    scene.project.write("Dockerfile", "FROM busybox:latest\nRUN echo begun && sleep 60\n");
    let _ = scene.test.script(scene.project.folder(), "layerlift install").finished.ok();
    let mut command = scene.test.program(
        "docker",
        scene.project.folder(),
        &["layerlift", "build", "--network=host", "--progress=plain", "."],
    );
    let log = scene.test.path("log");
    let file = || Stdio::from(std::fs::File::options().append(true).create(true).open(&log).unwrap());
    let mut child = command.stdout(file()).stderr(file()).spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    while !said().contains(" begun\n") {
        assert!(child.try_wait().unwrap().is_none(), "it ended: {}", said());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let _ = run(Command::new("kill").args(["-TERM", &child.id().to_string()])).ok();
    // The client waits for its plugin; that it ends long before the RUN does is what is asked for.
    assert_eq!(child.wait().unwrap().code(), Some(143), "{}", said());
}

/// A Docker folder without an engine.
struct Folder(TestEnv);

impl Folder {
    #[track_caller]
    fn layerlift(&self, arguments: &[&str]) -> crate::support::program::Finished {
        self.0.run(&self.0.path(""), arguments)
    }

    #[track_caller]
    fn config(&self) -> String {
        std::fs::read_to_string(self.0.path("docker/config.json")).unwrap()
    }

    /// Installs and uninstalls, and tells the configuration between.
    #[track_caller]
    fn there_and_back(&self) -> String {
        let _ = self.layerlift(&["install", "--default"]).ok();
        let between = self.config();
        let again = self.layerlift(&["install", "--default"]).ok();
        assert!(again.stderr.contains("already"), "{}", again.stderr);
        assert_eq!(self.config(), between, "once is enough");
        let _ = self.layerlift(&["uninstall"]).ok();
        between
    }
}

#[test]
fn other_keys_stay_byte_for_byte() {
    let folder = Folder(TestEnv::bare());
    for text in [
        "{\n\t\"auths\": {\n\t\t\"r\": {\"auth\":\"eDp5\"}\n\t},\n\t\"n\":1.50e3\n}",
        "{ \"aliases\" : { \"other\":\"x\" }, \"s\":\"\\u00e4\" }\n\n",
        "{\"aliases\":{}}",
        "{\"aliases\":{\"builder\":\"buildx\"},\"z\":[1 ,2]}",
    ] {
        folder.0.set_docker_config(text);
        let between = folder.there_and_back();
        assert!(
            between.contains("\"builder\": \"layerlift\"") || between.contains("\"builder\":\"layerlift\""),
            "{between}"
        );
        assert_eq!(folder.config(), text);
    }
    assert!(!folder.0.path("docker/layerlift.json").exists());
}

#[test]
fn a_configuration_keeps_its_mode_and_its_place() {
    let folder = Folder(TestEnv::bare());
    let real = folder.0.path("real.json");
    let link = folder.0.path("docker/config.json");
    std::fs::write(&real, "{}").unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&real, &link).unwrap();
    let between = folder.there_and_back();
    assert_eq!(between, "{\"aliases\": {\"builder\": \"layerlift\"}}");
    assert_eq!((folder.config().as_str(), link.is_symlink()), ("{}", true));
    assert_eq!(mode(&real), 0o640);

    // One that was not there is private, and goes again.
    std::fs::remove_file(&link).unwrap();
    let _ = folder.layerlift(&["install", "--default"]).ok();
    assert_eq!(mode(&link), 0o600);
    let _ = folder.layerlift(&["uninstall"]).ok();
    assert!(!link.exists());
    let nothing = folder.layerlift(&["uninstall"]).ok();
    assert!(nothing.stderr.contains("nothing to undo"), "{}", nothing.stderr);
}

fn mode(file: &Path) -> u32 {
    file.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn what_others_changed_meanwhile_is_kept() {
    let folder = Folder(TestEnv::bare());
    folder.0.set_docker_config("{\"aliases\":{\"builder\":\"buildx\"}}");
    let _ = folder.layerlift(&["install", "--default"]).ok();
    // Docker's client writes the file anew at every login.
    let written = "{\n\t\"auths\": {},\n\t\"aliases\": {\n\t\t\"builder\": \"layerlift\"\n\t}\n}";
    folder.0.set_docker_config(written);
    let _ = folder.layerlift(&["uninstall"]).ok();
    assert_eq!(folder.config(), written.replace("layerlift", "buildx"));

    let _ = folder.layerlift(&["install", "--default"]).ok();
    folder.0.set_docker_config("{\"aliases\":{\"builder\":\"another\"}}");
    let _ = folder.layerlift(&["uninstall"]).ok();
    assert_eq!(folder.config(), "{\"aliases\":{\"builder\":\"another\"}}");
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let folder = Folder(TestEnv::bare());
    let plugins = folder.0.path("docker/cli-plugins");
    for broken in ["{\"auths\": ", "[]", "{\"aliases\": 3}"] {
        folder.0.set_docker_config(broken);
        let refused = folder.layerlift(&["install", "--default"]);
        assert_eq!(refused.code, 78, "{}", refused.all());
        assert!(
            refused.stderr.contains("config.json is not valid, and stays as it is"),
            "{}",
            refused.stderr
        );
        assert_eq!((folder.config().as_str(), plugins.exists()), (broken, false));
    }
    folder.0.set_docker_config("{}");
    std::fs::create_dir(&plugins).unwrap();
    std::fs::write(plugins.join("docker-layerlift"), "another program").unwrap();
    let refused = folder.layerlift(&["install", "--default"]);
    assert_eq!(refused.code, 73, "{}", refused.all());
    assert_eq!(folder.config(), "{}");
    // Another version's link is put back in the end.
    std::fs::remove_file(plugins.join("docker-layerlift")).unwrap();
    symlink("/opt/older/layerlift", plugins.join("docker-layerlift")).unwrap();
    let _ = folder.layerlift(&["install"]).ok();
    assert_ne!(
        std::fs::read_link(plugins.join("docker-layerlift")).unwrap(),
        Path::new("/opt/older/layerlift")
    );
    let _ = folder.layerlift(&["uninstall"]).ok();
    assert_eq!(
        std::fs::read_link(plugins.join("docker-layerlift")).unwrap(),
        Path::new("/opt/older/layerlift")
    );
}
