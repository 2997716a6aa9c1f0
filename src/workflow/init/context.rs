//! Which folder a Dockerfile is built in. Nothing says so; what it copies from there does.

use std::path::Path;

use crate::dockerfile::{Dockerfile, Kind};

/// The Dockerfile's own folder where it has what is copied, else the root where that has it all, else its own folder.
pub(super) fn context_of(root: &Path, file: &str, dockerfile: &Dockerfile) -> String {
    let Some((own, _)) = file.rsplit_once('/') else { return ".".to_owned() };
    let sources = sources(dockerfile);
    let has = |folder: &Path| sources.iter().all(|source| exists(folder, source));
    match !has(&root.join(own)) && has(root) {
        true => ".".to_owned(),
        false => own.to_owned(),
    }
}

/// What is copied out of the context, as far as its name is known.
fn sources(dockerfile: &Dockerfile) -> Vec<&str> {
    let instructions = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let transfers = instructions.filter_map(|instruction| match &instruction.kind {
        Kind::Copy(transfer) | Kind::Add(transfer) if transfer.from.is_none() => Some(&transfer.sources),
        _ => None,
    });
    let is_known =
        |source: &&str| !source.contains('$') && !source.contains("://") && !source.starts_with("git@");
    transfers.flatten().map(String::as_str).filter(is_known).collect()
}

/// Whether a folder has a source; of a pattern, the part before the first wildcard.
fn exists(folder: &Path, source: &str) -> bool {
    let whole = source.split(['*', '?', '[']).next().unwrap_or_default();
    let certain =
        if whole.len() == source.len() { source } else { whole.rsplit_once('/').map_or("", |(it, _)| it) };
    folder.join(certain.trim_start_matches('/')).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_that_has_what_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["docker/entry.sh", "src/main.c", "api/src/main.c", "api/go.mod"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        for (file, lines, context) in [
            ("Dockerfile", "COPY missing /", "."),
            ("api/Dockerfile", "COPY go.* src/ /", "api"),
            ("docker/Dockerfile", "COPY src/*.c /src/", "."),
            ("docker/Dockerfile", "COPY docker/entry.sh ./src /", "."),
            ("docker/Dockerfile", "COPY entry.sh $X https://a/b /", "docker"),
            ("docker/Dockerfile", "COPY made-by-ci /", "docker"),
            ("docker/Dockerfile", "COPY --from=a src /", "docker"),
            ("docker/Dockerfile", "COPY . .", "docker"),
        ] {
            let text = format!("FROM scratch AS a\nFROM scratch\n{lines}\n");
            let dockerfile = Dockerfile::parse(text.as_bytes()).unwrap();
            assert_eq!(context_of(folder.path(), file, &dockerfile), context, "{file}: {lines}");
        }
    }
}
