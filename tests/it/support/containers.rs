//! buildah and podman without a Docker engine: a job in which they have a store of their own, and nothing in it.
//!
//! As in a container without privileges: `chroot` isolation and the `vfs` driver. Docker's own images come from the
//! testbed's registry; how the cache's registry is reached, the job does not say.

use super::cli::{Build, TestEnv};
use super::job::{self, Event};
use super::program::testbed;
use super::project::Project;
use super::registry::Registry;

#[derive(Debug)]
pub struct Containers {
    pub project: Project,
    pub test: TestEnv,
    /// What the project's registry is called: `HOST:PORT/NAME`.
    pub repository: String,
    stores: u32,
}

impl Containers {
    /// A GitLab job on `main` of a project with a repository of this name.
    #[track_caller]
    pub fn new(repository: &str, project: Project) -> Containers {
        let mut test = TestEnv::bare();
        test.set_job(job::gitlab(repository, Event::Branch("main")));
        test.set("BUILDAH_ISOLATION", "chroot");
        // A file that is named, and not there, is an error to `buildah push`.
        test.set_docker_config("{}");
        let said = testbed(r#"registry_up && echo "$REGISTRY" "$TESTBED/engines""#, &[], &[]).ok().text();
        let (registry, engines) = said.split_once(' ').unwrap();
        let registries = format!(
            "unqualified-search-registries = [\"docker.io\"]\n\
             [[registry]]\nprefix = \"docker.io\"\nlocation = \"{registry}\"\ninsecure = true\n"
        );
        // podman looks for its helpers in the system's folders, where the testbed installs nothing.
        let engine = format!(
            "[engine]\nconmon_path = [\"{engines}/podman/usr/bin/conmon\"]\ntmp_dir = \"{}\"\n\
             [engine.runtimes]\nrunc = [\"{engines}/20/usr/sbin/runc\"]\n",
            test.path("podman").display()
        );
        for (variable, name, text) in [
            ("CONTAINERS_REGISTRIES_CONF", "registries.conf", registries),
            ("CONTAINERS_CONF", "containers.conf", engine),
        ] {
            std::fs::write(test.path(name), text).unwrap();
            let file = test.path(name);
            test.set(variable, file.to_str().unwrap());
        }
        test.set_path(&format!("{engines}/podman/usr/bin:{}", std::env::var("PATH").unwrap()));
        let mut containers = Containers { project, test, repository: repository.to_owned(), stores: 0 };
        containers.reset();
        containers
    }

    /// From now on with an empty store: the next runner.
    #[track_caller]
    pub fn reset(&mut self) {
        self.stores += 1;
        let folder = self.test.path(&format!("store{}", self.stores));
        let folder = folder.to_str().unwrap();
        let text = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{folder}/graph\"\nrunroot = \"{folder}/run\"\n"
        );
        let file = self.test.path("storage.conf");
        std::fs::write(&file, text).unwrap();
        self.test.set("CONTAINERS_STORAGE_CONF", file.to_str().unwrap());
    }

    /// The variables of another job of the same project.
    pub fn set_job(&mut self, event: Event<'_>) {
        self.test.set_job(job::gitlab(&self.repository, event));
    }

    /// Runs a line that builds `$IMAGE` by the program `$TOOL`, pushes the image, and checks what is in it.
    #[track_caller]
    pub fn build(&mut self, tool: &str, line: &str, registry: &Registry, image: &str) -> Build {
        self.test.set("IMAGE", image);
        self.test.set("TOOL", tool);
        let line = format!("{line} && $TOOL push -q --tls-verify=false $IMAGE");
        self.test.script(self.project.folder(), &line).made(registry, image, &self.project)
    }
}
