//! A project in a GitLab job: its engine, its registry, and its repository there.

use super::cli::TestEnv;
use super::engine::{Engine, Kind};
use super::job::{self, Event, Variables};
use super::project::Project;
use super::registry::Registry;

#[derive(Debug)]
pub struct Scene {
    pub engine: Engine,
    pub registry: Registry,
    pub project: Project,
    pub test: TestEnv,
    pub repository: String,
}

impl Scene {
    /// A job on `main`. `name` is the test's own part of the repository.
    ///
    /// Docker 20.10 builds classically unless it is asked not to; the recipes of its time ask.
    #[track_caller]
    pub fn new(kind: Kind, name: &str, project: Project) -> Scene {
        let registry = Registry::shared();
        let repository = registry.unique(name);
        let engine = Engine::start(kind);
        let mut test = TestEnv::new(&engine);
        if kind == Kind::Docker20 {
            test.set("DOCKER_BUILDKIT", "1");
        }
        let mut scene = Scene { engine, registry, project, test, repository };
        scene.test.set_job(scene.gitlab(Event::Branch("main")));
        scene
    }

    /// The variables of another job of the same project.
    pub fn gitlab(&self, event: Event<'_>) -> Variables {
        job::gitlab(&self.registry.reference(&self.repository), event)
    }

    /// An engine of the same kind without any state.
    #[track_caller]
    pub fn reset(&mut self) {
        self.engine.reset();
        self.test.use_engine(&self.engine);
    }

    /// The project's image.
    pub fn image(&self, tag: &str) -> String {
        self.registry.reference(&format!("{}/app:{tag}", self.repository))
    }

    /// The name of a file of the test's own folder.
    #[track_caller]
    pub fn path(&self, name: &str) -> String {
        self.test.path(name).to_str().unwrap().to_owned()
    }
}
