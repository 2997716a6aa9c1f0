//! A list of files made shorter: files are gathered by the folder that they are below.
//!
//! A gathered folder is a [`File`] whose path ends with `/` (`src/`, `./` for the whole context), which no file's path
//! does. Its digest is of all that is below it, its size their sum, its mode 0. So a record of a context with very many
//! files still tells below which folder something changed.

use std::collections::HashMap;
use std::fmt::Write;

use crate::model::inputs::{File, FileKind, Inputs};
use crate::model::reference::Digest;

/// Hexadecimal digits of a digest of files, as [`File::digest`] has them.
const DIGITS: usize = 32;

/// The inputs with all files gathered that are more than `depth` folders deep.
pub fn folded(inputs: &Inputs, depth: usize) -> Inputs {
    let mut folded = Inputs { files: Vec::new(), ..inputs.clone() };
    // Steps that read the same files, as a RUN that mounts what a COPY took, share the list.
    let mut done: HashMap<Vec<(usize, usize)>, (usize, usize)> = HashMap::new();
    for (step, short) in steps(inputs).zip(folded.stages.iter_mut().flat_map(|stage| &mut stage.steps)) {
        if step.files.is_empty() {
            continue;
        }
        let range = *done.entry(step.files.clone()).or_insert_with(|| {
            let from = folded.files.len();
            folded.files.extend(gathered(inputs.files_of(step), depth));
            (from, folded.files.len())
        });
        short.files = vec![range];
    }
    folded
}

/// The inputs without any files. What changed in them is then told by a step's parts alone.
pub fn without_files(inputs: &Inputs) -> Inputs {
    let mut bare = Inputs { files: Vec::new(), ..inputs.clone() };
    bare.stages.iter_mut().flat_map(|stage| &mut stage.steps).for_each(|step| step.files.clear());
    bare
}

fn steps(inputs: &Inputs) -> impl Iterator<Item = &crate::model::inputs::StepInputs> {
    inputs.stages.iter().flat_map(|stage| &stage.steps)
}

/// The files, those below `depth` folders gathered. They keep the order of their first ones.
pub fn gathered<'a>(files: impl Iterator<Item = &'a File>, depth: usize) -> Vec<File> {
    let mut list: Vec<File> = Vec::new();
    let mut below: HashMap<(Option<&str>, String), (usize, String)> = HashMap::new();
    for file in files {
        let Some(folder) = folder(&file.path, depth) else {
            list.push(file.clone());
            continue;
        };
        let (place, text) =
            below.entry((file.context.as_deref(), folder)).or_insert_with_key(|(_, folder)| {
                list.push(File {
                    context: file.context.clone(),
                    path: folder.clone(),
                    kind: FileKind::Folder,
                    mode: 0,
                    size: 0,
                    digest: String::new(),
                    link: None,
                });
                (list.len() - 1, String::new())
            });
        list[*place].size = list[*place].size.saturating_add(file.size);
        // The separator stands in no path.
        let File { path, kind, mode, digest, link, .. } = file;
        let link = link.as_deref().unwrap_or_default();
        // Writing to a string does not fail.
        let _ = write!(text, "{path}\0{kind:?}\0{mode:o}\0{digest}\0{link}\0");
    }
    for (place, text) in below.into_values() {
        list[place].digest = Digest::of(text.as_bytes()).hex()[..DIGITS].to_owned();
    }
    list
}

/// How deep a list was gathered; `None`: it was not.
pub fn depth<'a>(files: impl Iterator<Item = &'a File>) -> Option<usize> {
    let folders = files.filter(|file| file.path.ends_with('/'));
    folders.map(|file| if file.path == "./" { 0 } else { file.path.matches('/').count() }).max()
}

/// The folder that a path is gathered into: its first `depth` names.
fn folder(path: &str, depth: usize) -> Option<String> {
    if depth == 0 {
        return Some("./".to_owned());
    }
    let (end, _) = path.match_indices('/').nth(depth - 1)?;
    Some(path[..=end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, digest: &str) -> File {
        File {
            context: None,
            path: path.to_owned(),
            kind: FileKind::File,
            mode: 0o644,
            size: 10,
            digest: digest.to_owned(),
            link: None,
        }
    }

    fn show(files: &[File], at: usize) -> Vec<String> {
        gathered(files.iter(), at).iter().map(|file| format!("{} {}", file.path, file.size)).collect()
    }

    #[test]
    fn files_are_gathered_by_folder() {
        let files = [file("a", "1"), file("src/b", "2"), file("src/x/c", "3"), file("src/x/y/d", "4")];
        assert_eq!(show(&files, 3), ["a 10", "src/b 10", "src/x/c 10", "src/x/y/ 10"]);
        assert_eq!(show(&files, 2), ["a 10", "src/b 10", "src/x/ 20"]);
        assert_eq!(show(&files, 1), ["a 10", "src/ 30"]);
        assert_eq!(show(&files, 0), ["./ 40"]);
        for at in 0..4 {
            assert_eq!(depth(gathered(files.iter(), at).iter()), Some(at));
        }
        assert_eq!(depth(files.iter()), None);
    }

    #[test]
    fn a_folders_digest_is_of_all_below_it() {
        let of = |files: &[File]| gathered(files.iter(), 1)[0].digest.clone();
        let before = of(&[file("src/a", "1"), file("src/b", "2")]);
        assert_eq!(before.len(), DIGITS);
        assert_eq!(before, of(&[file("src/a", "1"), file("src/b", "2")]));
        assert_ne!(before, of(&[file("src/a", "1"), file("src/b", "3")]));
        assert_ne!(before, of(&[file("src/a", "1"), file("src/c", "2")]));
        let executable = File { mode: 0o755, ..file("src/a", "1") };
        assert_ne!(before, of(&[executable, file("src/b", "2")]));
    }
}
