//! A project as a user has it: a git repository with a Dockerfile of four stages.
//!
//! Every `RUN` writes a random number. Two images with the same number in a file share the run that made it, so that
//! reuse is seen in the image and not only believed from a report.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::program::run;

const DOCKERFILE: &str = "\
ARG BASE=busybox:latest
FROM ${BASE} AS tools
RUN mkdir /tools && cat /proc/sys/kernel/random/uuid > /tools/stamp

FROM tools AS dependencies
COPY dependencies.txt /dependencies/
RUN cat /proc/sys/kernel/random/uuid > /dependencies/stamp

FROM tools AS build
WORKDIR /build
COPY --from=dependencies /dependencies /build/dependencies
COPY src/ /build/src/
RUN mkdir out && cat src/* > out/source.txt && cat /proc/sys/kernel/random/uuid > out/stamp

FROM ${BASE} AS final
WORKDIR /app
COPY --from=tools /tools/stamp tools.stamp
COPY --from=dependencies /dependencies/stamp dependencies.stamp
COPY --from=build /build/out/ ./
COPY assets/ assets/
CMD [\"cat\", \"/app/source.txt\"]
";

/// The steps that depend on `src/`, as stage and instruction.
pub const STEPS_OF_SOURCE: [(&str, &str); 4] = [
    ("build", "COPY src/ /build/src/"),
    ("build", "RUN mkdir out"),
    ("final", "COPY --from=build /build/out/ ./"),
    ("final", "COPY assets/ assets/"),
];

/// How many steps the file has, without `FROM` and what only changes metadata.
pub const STEPS: usize = 12;

/// A work tree on branch `main`, with one commit.
#[derive(Debug)]
pub struct Project {
    folder: TempDir,
}

impl Project {
    #[track_caller]
    pub fn new() -> Project {
        Project::with_dockerfile(DOCKERFILE)
    }

    #[track_caller]
    pub fn with_dockerfile(dockerfile: &str) -> Project {
        let project = Project { folder: tempfile::tempdir().unwrap() };
        project.write("Dockerfile", dockerfile);
        project.write("dependencies.txt", "left-pad 1.3.0\n");
        project.write("src/one.txt", "one\n");
        project.write("src/two.txt", "two\n");
        project.write("assets/logo.txt", "a logo\n");
        project.git(&["init", "-q", "-b", "main"]);
        project.git(&["remote", "add", "origin", "git@localhost:group/project.git"]);
        project.commit();
        project
    }

    /// A clone of another one, made under a umask.
    #[track_caller]
    pub fn checkout(origin: &Project, umask: &str) -> Project {
        let project = Project { folder: tempfile::tempdir().unwrap() };
        let script = r#"umask "$1" && git clone -q "$2" "$3" && git -C "$3" remote set-url origin "$4""#;
        let folders = [origin, &project].map(|it| it.folder().to_str().unwrap());
        let [origin, own] = folders;
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh", umask, origin, own, "git@localhost:group/project.git"]);
        let _ = run(shell.env("GIT_CONFIG_GLOBAL", "/dev/null")).ok();
        project
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file below the folder.
    #[track_caller]
    pub fn write(&self, path: &str, content: &str) {
        let path = self.folder().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Runs `chmod -R` on the work tree.
    #[track_caller]
    pub fn set_modes(&self, modes: &str) {
        let _ = run(Command::new("chmod").args(["-R", modes]).arg(self.folder())).ok();
    }

    /// Changes one source file and commits it.
    #[track_caller]
    pub fn change_source(&self, content: &str) {
        self.write("src/one.txt", content);
        self.commit();
    }

    /// The text of its Dockerfile.
    pub fn dockerfile(&self) -> String {
        std::fs::read_to_string(self.folder().join("Dockerfile")).unwrap()
    }

    /// What `/app/source.txt` of a right image holds, but for white space around it.
    pub fn source(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder().join(name)).unwrap();
        format!("{}{}", read("src/one.txt"), read("src/two.txt")).trim().to_owned()
    }

    /// Commits all that there is.
    #[track_caller]
    pub fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "change"]);
    }

    #[track_caller]
    pub fn git(&self, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.current_dir(self.folder()).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "test")
                .env(format!("GIT_{role}_EMAIL"), "test@localhost");
        }
        let _ = run(&mut command).ok();
    }
}
