//! `podman ...` and `buildah ...`: global flags, then the subcommands that build. Their globals are kept as given.
//!
//! Sources: containers/podman `cmd/podman/root.go`, `cmd/podman/images/{build,buildx}.go` (3 to 5); containers/buildah
//! `cmd/buildah/main.go`, `cmd/buildah/build.go`.

use crate::invocation::flags::{Style, Table, leading};
use crate::invocation::{Invocation, Tool, asks_for_help};

/// Flags before the subcommand of podman.
const PODMAN: Table = Table(
    "cdi-spec-dir= cgroup-manager= cni-config-dir= config= conmon= connection|c= context= debug events-backend=
    hooks-dir= identity= imagestore= log-level= module= namespace= network-cmd-path= network-config-dir= noout out=
    pull-option= remote|r root= runroot= runtime= runtime-flag= ssh= storage-driver= storage-opt= syslog tmpdir=
    transient-store url= volumepath=",
);

/// Flags before the subcommand of buildah.
const BUILDAH: Table = Table(
    "cgroup-manager= cpu-profile= debug default-mounts-file= log-level= memory-profile= registries-conf=
    registries-conf-dir= root= runroot= short-name-alias-conf= storage-driver= storage-opt= userns-gid-map=
    userns-uid-map=",
);

/// Recognises the words after the program's name.
pub(super) fn recognise(program: &str, words: &[String]) -> Option<Invocation> {
    let table = if program == "podman" { PODMAN } else { BUILDAH };
    let line = leading(words, table, Style::Pflag).ok()?;
    let (command, rest) = line.rest.split_first()?;
    let arguments = match (program, command.as_str()) {
        ("podman", "build") | ("buildah", "build" | "bud" | "build-using-dockerfile") => rest,
        ("podman", "image" | "buildx" | "builder") => rest.strip_prefix(&["build".to_owned()])?,
        _ => return None,
    };
    if arguments.iter().any(|word| asks_for_help(word)) {
        return None;
    }
    Some(Invocation::new(Tool::Buildah(program.to_owned()), line.words_without(&[]), arguments.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(program: &str, line: &str) -> Option<(String, String)> {
        let found = recognise(program, &line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())?;
        assert_eq!(found.tool, Tool::Buildah(program.to_owned()));
        Some((found.globals.join(" "), found.arguments.join(" ")))
    }

    #[test]
    fn recognises_the_forms_of_a_build() {
        for (program, line, globals) in [
            ("podman", "build -t x .", ""),
            ("podman", "image build -t x .", ""),
            ("podman", "buildx build -t x .", ""),
            ("podman", "builder build -t x .", ""),
            ("podman", "--root /r -r --log-level=debug build -t x .", "--root /r -r --log-level=debug"),
            ("podman", "-c host build -t x .", "-c host"),
            ("buildah", "build -t x .", ""),
            ("buildah", "bud -t x .", ""),
            ("buildah", "build-using-dockerfile -t x .", ""),
            ("buildah", "--storage-driver vfs --root /r bud -t x .", "--storage-driver vfs --root /r"),
        ] {
            assert_eq!(read(program, line), Some((globals.into(), "-t x .".into())), "{program} {line}");
        }
    }

    #[test]
    fn what_builds_nothing_is_left_alone() {
        for (program, line) in [
            ("podman", "ps"),
            ("podman", "bud ."),
            ("podman", "image ls"),
            ("podman", "farm build ."),
            ("podman", "build --help"),
            ("podman", "--no-such-flag build ."),
            ("buildah", "from scratch"),
            ("buildah", "image build ."),
            ("buildah", "--version"),
        ] {
            assert_eq!(read(program, line), None, "{program} {line}");
        }
    }
}
