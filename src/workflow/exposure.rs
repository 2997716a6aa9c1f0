//! Whether the `local` strategy's folder lies in the build context, where a `COPY . .` would take the cache along: into
//! the image, and into the step's key, which would then be another one after every build.
//!
//! `.dockerignore` is only looked at for a plain line that leaves the folder or one above it out. A line that could let
//! something back in, or a pattern that is more than a name, counts as nothing: a warning too many harms nobody.

use std::path::{Component, Path, PathBuf};

use crate::model::request::{Context, Request};
use crate::model::settings::Settings;
use crate::workflow::source::Source;

/// More than any list of names.
const LARGEST_IGNORE_FILE: u64 = 1 << 20;

/// The cache folder's path in the context, where nothing keeps it out of there. `working` is the working folder.
pub fn exposed(request: &Request, settings: &Settings, source: &Source, working: &Path) -> Option<PathBuf> {
    let Context::Folder(context) = &request.context else { return None };
    let plain = |path: &Path| {
        let whole = std::path::absolute(working.join(path)).ok()?;
        Some(whole.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>())
    };
    let inside = plain(&settings.cache_dir)?.strip_prefix(plain(context)?).ok()?.to_path_buf();
    let files = [PathBuf::from(format!("{}.dockerignore", source.name)), context.join(".dockerignore")];
    let lines = files.iter().find_map(|file| {
        let small = std::fs::metadata(working.join(file)).is_ok_and(|it| it.len() <= LARGEST_IGNORE_FILE);
        if small { std::fs::read_to_string(working.join(file)).ok() } else { None }
    });
    let kept_out = lines.unwrap_or_default().lines().any(|line| {
        let name =
            line.trim().trim_start_matches("**/").trim_start_matches(['.', '/']).trim_end_matches("/**");
        let name = name.trim_end_matches('/');
        let parts = inside.ancestors().filter(|part| !part.as_os_str().is_empty());
        let mut names = parts.map(|part| part.to_string_lossy().trim_start_matches('.').to_owned());
        line.trim() == "*" || line.trim() == "**" || (!name.is_empty() && names.any(|part| part == name))
    });
    (!kept_out).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::Flag;
    use crate::workflow::source::Text;

    #[test]
    fn a_folder_in_the_context_must_be_left_out_of_it() {
        let project = tempfile::tempdir().expect("folder");
        let check = |cache: &str, context: &str, ignore: Option<&str>| {
            let file = project.path().join(".dockerignore");
            match ignore {
                Some(text) => std::fs::write(&file, text).expect("written"),
                None => drop(std::fs::remove_file(&file)),
            }
            let settings = Settings { cache_dir: cache.into(), ..Settings::default() };
            let request =
                Request { flags: vec![Flag::text("tag", "a")], context: Context::Folder(context.into()) };
            let source = Source {
                dockerfile: Text::Known(Vec::new()),
                name: "Dockerfile".to_owned(),
                in_archive: false,
                spooled: None,
            };
            exposed(&request, &settings, &source, project.path()).map(|path| path.display().to_string())
        };
        let found = Some(".layerlift/cache".to_owned());
        assert_eq!(check(".layerlift/cache", ".", None), found);
        assert_eq!(check("./.layerlift//cache", "./", Some("node_modules\n")), found);
        assert_eq!(check(".layerlift/cache", "app", None), None, "beside the context");
        assert_eq!(check("/var/cache/layers", ".", None), None, "elsewhere");
        for line in [
            ".layerlift",
            "/.layerlift/",
            ".layerlift/cache",
            "**/.layerlift",
            ".layerlift/**",
            "*",
            "a\r\n.layerlift\r\n",
        ] {
            assert_eq!(check(".layerlift/cache", ".", Some(line)), None, "{line:?}");
        }
        for line in ["!.layerlift", "# .layerlift", ".layerlift/cache/x", ""] {
            assert_eq!(check(".layerlift/cache", ".", Some(line)), found, "{line:?}");
        }
    }
}
