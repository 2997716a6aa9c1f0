//! What the engine is given in the place of the user's folders: shadows of them with the modes that git records.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::env::{self, Environment};
use crate::context::shadow::Shadow;
use crate::context::survey::Survey;
use crate::model::engine::{Engine, Frontend};
use crate::model::request::{Context, Flag, Value};
use crate::plan::command::Build;
use crate::workflow::contexts::{Contexts, Dockerfile};
use crate::workflow::world::World;

/// What stands in for the folders of one build. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct StandIn {
    /// For the context.
    context: Option<PathBuf>,
    /// For named contexts.
    named: BTreeMap<String, PathBuf>,
    /// For the Dockerfile, where it has to be named.
    dockerfile: Option<PathBuf>,
    /// The Dockerfile as the user names it.
    given: String,
    /// Where git finds the work tree of the context.
    git: Option<Git>,
    /// They are there as long as this is.
    _shadows: Vec<Arc<Shadow>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Git {
    folder: PathBuf,
    tree: PathBuf,
}

/// Makes what the builds of these contexts need, in their order; nothing for those whose modes are right. All contexts of a
/// work tree share a shadow.
///
/// `Err`: why they cannot be made, which is warned of already.
pub async fn make(
    world: &World,
    contexts: &[Arc<Contexts>],
    warnings: &mut Vec<String>,
) -> Result<Vec<StandIn>, String> {
    if !contexts.iter().any(|it| it.modes.changes()) {
        return Ok(vec![StandIn::default(); contexts.len()]);
    }
    let (interrupts, environment) = (world.interrupts.clone(), world.environment.clone());
    let contexts = contexts.to_vec();
    let work = move || {
        let stop = || *interrupts.borrow() != 0;
        let shadows = shadows(&contexts, &stop).map_err(|error| error.to_string())?;
        Ok(contexts.iter().map(|it| stand_in(it, &shadows, &environment)).collect())
    };
    let made = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()));
    // Who interrupts us knows what was not done.
    made.inspect_err(|reason| {
        if *world.interrupts.borrow() == 0 {
            let warning = left_as_they_are(reason);
            world.printer.warning(&warning);
            warnings.push(warning);
        }
    })
}

/// The warning for contexts that are built as they are although they should not be.
pub fn left_as_they_are(reason: &str) -> String {
    format!("file modes are left as they are: {reason} (--normalize-modes=off asks for that)")
}

fn surveys(contexts: &Contexts) -> impl Iterator<Item = &Survey> {
    let all = contexts.main.iter().chain(contexts.named.iter().map(|(_, survey)| survey));
    all.filter(|_| contexts.modes.normalized)
}

fn shadows(
    contexts: &[Arc<Contexts>],
    stop: &(dyn Fn() -> bool + Sync),
) -> std::io::Result<BTreeMap<PathBuf, Arc<Shadow>>> {
    let mut trees: BTreeMap<&Path, (Vec<&Survey>, Vec<PathBuf>)> = BTreeMap::new();
    for contexts in contexts {
        for survey in surveys(contexts) {
            trees.entry(survey.base()).or_default().0.push(survey);
        }
        if let (Some(main), Dockerfile::Inside { path, ignore }) = (&contexts.main, &contexts.dockerfile) {
            let files = std::iter::once(path).chain(ignore).cloned();
            trees.entry(main.base()).or_default().1.extend(files);
        }
    }
    trees.retain(|_, (surveys, _)| surveys.iter().any(|survey| !survey.differences.is_empty()));
    let temporary = tempfile::env::temp_dir();
    let make = |(base, (surveys, files)): (&Path, (Vec<&Survey>, Vec<PathBuf>))| {
        Ok((base.to_path_buf(), Arc::new(Shadow::make(&surveys, &files, &temporary, stop)?)))
    };
    trees.into_iter().map(make).collect()
}

fn stand_in(
    contexts: &Contexts,
    shadows: &BTreeMap<PathBuf, Arc<Shadow>>,
    environment: &Environment,
) -> StandIn {
    let mut stand_in = StandIn { given: contexts.given.clone(), ..StandIn::default() };
    if !contexts.modes.normalized {
        return stand_in;
    }
    let shadow = |survey: &Survey| shadows.get(survey.base());
    let place = |survey: &Survey| shadow(survey).and_then(|shadow| shadow.of(&survey.root));
    if let Some(main) = &contexts.main
        && let Some(shadow) = shadow(main)
    {
        stand_in.context = shadow.of(&main.root);
        stand_in.dockerfile = match &contexts.dockerfile {
            Dockerfile::NoFile => None,
            Dockerfile::Inside { path, .. } => shadow.of(path),
            Dockerfile::Elsewhere(path) => Some(path.clone()),
        };
        let said = [env::GIT_DIR, env::GIT_WORK_TREE].iter().any(|name| environment.get(*name).is_some());
        // Named outright, git reads a repository whoever it belongs to; of itself it does not read a stranger's.
        let repository = main.repository.as_ref().filter(|it| !said && it.is_ours());
        stand_in.git = repository
            .map(|repository| Git { folder: repository.folder.clone(), tree: shadow.tree().to_path_buf() });
    }
    let named = contexts.named.iter().filter_map(|(name, survey)| Some((name.clone(), place(survey)?)));
    stand_in.named = named.collect();
    stand_in._shadows = shadows.values().cloned().collect();
    stand_in
}

impl StandIn {
    /// The build with its folders replaced.
    pub fn applied(&self, build: &Build) -> Build {
        let mut build = build.clone();
        if let (Context::Folder(folder), Some(shadow)) = (&mut build.context, &self.context) {
            folder.clone_from(shadow);
        }
        let text = |path: &Path| path.to_string_lossy().into_owned();
        for flag in &mut build.flags {
            let Value::Text(value) = &mut flag.value else { continue };
            match flag.name {
                "build-context" => {
                    if let Some((name, _)) = value.split_once('=')
                        && let Some(shadow) = self.named.get(name)
                    {
                        *value = format!("{name}={}", text(shadow));
                    }
                }
                // Another Dockerfile than the user's is one of ours.
                "file" if *value == self.given => {
                    if let Some(shadow) = &self.dockerfile {
                        *value = text(shadow);
                    }
                }
                _ => {}
            }
        }
        if let Some(path) = &self.dockerfile
            && !build.flags.iter().any(|flag| flag.name == "file")
        {
            build.flags.push(Flag::text("file", text(path)));
        }
        build
    }

    /// The same for a bake: overrides of a target.
    pub fn overrides(&self, target: &str) -> Vec<String> {
        let set = |key: &str, path: &Path| format!("{target}.{key}={}", path.display());
        let context = self.context.iter().map(|path| set("context", path));
        let dockerfile = self.dockerfile.iter().map(|path| set("dockerfile", path));
        let named = self.named.iter().map(|(name, path)| set(&format!("contexts.{name}"), path));
        context.chain(dockerfile).chain(named).collect()
    }

    /// Variables that tell git, and buildx, which asks it, where the context belongs.
    pub fn variables(&self, engine: &Engine) -> Vec<(String, Option<OsString>)> {
        let Some(git) = self.git.as_ref().filter(|_| engine.frontend == Frontend::Buildx) else {
            return Vec::new();
        };
        let set = |name: &str, path: &Path| (name.to_owned(), Some(path.as_os_str().to_owned()));
        vec![set(env::GIT_DIR.name, &git.folder), set(env::GIT_WORK_TREE.name, &git.tree)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::arguments;

    #[test]
    fn folders_are_replaced_wherever_a_build_names_them() {
        let stand_in = StandIn {
            context: Some("/s/app".into()),
            named: [("more".to_owned(), PathBuf::from("/s/more"))].into(),
            dockerfile: Some("/s/app/Dockerfile".into()),
            given: "app/Dockerfile".to_owned(),
            ..StandIn::default()
        };
        let line = |stand_in: &StandIn, flags: &[(&'static str, &str)]| {
            let flags = flags.iter().map(|(name, value)| Flag::text(name, *value)).collect();
            let build = stand_in.applied(&Build { flags, context: Context::Folder("app".into()) });
            format!("{} {:?}", arguments(&build.flags).join(" "), build.context)
        };
        insta::assert_snapshot!(line(&stand_in, &[("build-context", "more=more"), ("build-context", "a=b")]),
            @r#"--build-context more=/s/more --build-context a=b --file /s/app/Dockerfile Folder("/s/app")"#);
        insta::assert_snapshot!(line(&stand_in, &[("file", "app/Dockerfile")]),
            @r#"--file /s/app/Dockerfile Folder("/s/app")"#);
        // That of a stage image, with names for all stages, or from standard input.
        insta::assert_snapshot!(line(&stand_in, &[("file", "/tmp/x/Dockerfile")]),
            @r#"--file /tmp/x/Dockerfile Folder("/s/app")"#);
        insta::assert_snapshot!(line(&StandIn::default(), &[("tag", "a")]), @r#"--tag a Folder("app")"#);
        insta::assert_snapshot!(stand_in.overrides("web").join(" "),
            @"web.context=/s/app web.dockerfile=/s/app/Dockerfile web.contexts.more=/s/more");
    }
}
