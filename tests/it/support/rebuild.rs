//! The same build twice, each on an engine without any state: what the second one reused.

use super::cli::Build;
use super::scene::Scene;

impl Scene {
    /// Runs a script's line that builds and pushes `$IMAGE`, on an empty engine, and once more on the next one, whose
    /// image must hold what the first one made.
    #[track_caller]
    pub fn is_cached(&mut self, line: impl Fn(&Scene) -> String) {
        let build = |scene: &mut Scene, tag: &str| -> (Build, String) {
            let image = scene.image(tag);
            scene.test.set("IMAGE", &image);
            let build = scene.test.script(scene.project.folder(), &line(scene));
            let build = build.made(&scene.registry, &image, &scene.project);
            let stamp = scene.registry.file(&image, "app/dependencies.stamp");
            (build, stamp)
        };
        let (cold, first) = build(self, "1");
        assert!(!cold.executed().is_empty(), "{cold}");
        self.reset();
        let (warm, second) = build(self, "2");
        assert_eq!(warm.executed(), [], "{warm}");
        assert_eq!(second, first, "{warm}");
    }
}
