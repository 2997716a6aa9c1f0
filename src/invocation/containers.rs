//! `podman ...` and `buildah ...`: global flags, then the subcommands that build. Their globals are kept as given.
//!
//! Sources: containers/podman `cmd/podman/root.go`, `cmd/podman/images/{build,buildx}.go` (3 to 5); containers/buildah
//! `cmd/buildah/main.go`, `cmd/buildah/build.go`.

use crate::invocation::flags::{Known, Style, leading, switch, value};
use crate::invocation::{Invocation, Tool, asks_for_help};

/// Flags before the subcommand of podman.
const PODMAN: [Known; 33] = [
    value("cdi-spec-dir"),
    value("cgroup-manager"),
    value("cni-config-dir"),
    value("config"),
    value("conmon"),
    value("connection").lettered('c'),
    value("context"),
    value("events-backend"),
    value("hooks-dir"),
    value("identity"),
    value("imagestore"),
    value("log-level"),
    value("module"),
    value("namespace"),
    value("network-cmd-path"),
    value("network-config-dir"),
    value("out"),
    value("pull-option"),
    value("root"),
    value("runroot"),
    value("runtime"),
    value("runtime-flag"),
    value("ssh"),
    value("storage-driver"),
    value("storage-opt"),
    value("tmpdir"),
    value("url"),
    value("volumepath"),
    switch("debug"),
    switch("noout"),
    switch("remote").lettered('r'),
    switch("syslog"),
    switch("transient-store"),
];

/// Flags before the subcommand of buildah.
const BUILDAH: [Known; 15] = [
    value("cgroup-manager"),
    value("cpu-profile"),
    value("default-mounts-file"),
    value("log-level"),
    value("memory-profile"),
    value("registries-conf"),
    value("registries-conf-dir"),
    value("root"),
    value("runroot"),
    value("short-name-alias-conf"),
    value("storage-driver"),
    value("storage-opt"),
    value("userns-gid-map"),
    value("userns-uid-map"),
    switch("debug"),
];

/// Reads the words after the program's name.
pub(super) fn recognise(program: &str, words: &[String]) -> Option<Invocation> {
    let table: &[Known] = if program == "podman" { &PODMAN } else { &BUILDAH };
    let line = leading(words, table, Style::Pflag)?;
    let (command, rest) = line.rest.split_first()?;
    let arguments = match (program, command.as_str()) {
        ("podman", "build") | ("buildah", "build" | "bud" | "build-using-dockerfile") => rest,
        ("podman", "image" | "buildx" | "builder") => rest.strip_prefix(&["build".to_owned()])?,
        _ => return None,
    };
    if arguments.iter().any(|word| asks_for_help(word)) {
        return None;
    }
    Some(Invocation {
        tool: Tool::Buildah(program.to_owned()),
        names_buildx: false,
        environment: Vec::new(),
        globals: line.words.to_vec(),
        arguments: arguments.to_vec(),
    })
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
