//! The flags of `docker build` and `docker buildx build`: one table that the command line, its help, its completion and
//! the engines' argument lists are made from.
//!
//! Sources: docker/buildx `commands/build.go` up to 0.36, docker/cli `cli/command/image/build.go` of 20.10 for what
//! only the classic builder knew.

/// How a flag takes its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A switch: `--push`, `--push=false`.
    Switch,
    /// One value; the last one stands.
    Value,
    /// A value each time; all of them stand.
    List,
}

/// Who understands a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Every `docker build`.
    Always,
    /// `docker build` with BuildKit, 18.09 to 20.10, and buildx.
    BuildKit,
    /// buildx only.
    Buildx,
    /// The classic builder; buildx takes it and does nothing.
    Classic,
}

/// One flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// The long name, without dashes.
    pub name: &'static str,
    /// The letter, where it has one.
    pub short: Option<char>,
    /// How it takes its value.
    pub kind: Kind,
    /// Who understands it.
    pub since: Since,
    /// One line for `--help`; empty for flags that docker hides as well.
    pub help: &'static str,
}

const fn flag(name: &'static str, kind: Kind, since: Since, help: &'static str) -> Definition {
    Definition { name, short: None, kind, since, help }
}

const fn lettered(
    name: &'static str,
    short: char,
    kind: Kind,
    since: Since,
    help: &'static str,
) -> Definition {
    Definition { name, short: Some(short), kind, since, help }
}

use Kind::{List, Switch, Value};
use Since::{Always, BuildKit, Buildx, Classic};

/// All flags, in the order of docker's own help.
pub const BUILD_FLAGS: &[Definition] = &[
    flag("add-host", List, Always, "Add a custom host-to-IP mapping (format: host:ip)"),
    flag("allow", List, Buildx, "Allow extra privileged entitlement"),
    flag("annotation", List, Buildx, "Add annotation to the image"),
    flag("attest", List, Buildx, "Attestation parameters (format: type=sbom,generator=image)"),
    flag("build-arg", List, Always, "Set build-time variables"),
    flag("build-context", List, Buildx, "Additional build contexts (e.g., name=path)"),
    flag("builder", Value, Buildx, "Override the configured builder instance"),
    flag("cache-from", List, Always, "External cache sources; replaces the chain that layerlift would read"),
    flag(
        "cache-to",
        List,
        Buildx,
        "Cache export destinations; replaces the export that layerlift would make",
    ),
    flag("call", Value, Buildx, "Set method for evaluating build (check, outline, targets)"),
    flag("cgroup-parent", Value, Always, "Set the parent cgroup for the RUN instructions during build"),
    flag("check", Switch, Buildx, "Shorthand for --call=check"),
    lettered("debug", 'D', Switch, Buildx, "Enable debug logging"),
    lettered("file", 'f', Value, Always, "Name of the Dockerfile (default: PATH/Dockerfile)"),
    flag("iidfile", Value, Always, "Write the image ID to a file"),
    flag("label", List, Always, "Set metadata for an image"),
    flag("load", Switch, Buildx, "Shorthand for --output=type=docker"),
    flag("metadata-file", Value, Buildx, "Write build result metadata to a file"),
    flag("network", Value, Always, "Set the networking mode for the RUN instructions during build"),
    flag("no-cache", Switch, Always, "Do not use cache when building the image"),
    flag("no-cache-filter", List, Buildx, "Do not cache specified stages"),
    lettered("output", 'o', List, BuildKit, "Output destination (format: type=local,dest=path)"),
    flag("platform", List, Always, "Set target platform for build"),
    flag("policy", List, Buildx, "Policy to check the build's sources against"),
    flag("progress", Value, BuildKit, "Set type of progress output (auto, plain, tty, quiet, rawjson)"),
    flag("provenance", Value, Buildx, "Shorthand for --attest=type=provenance"),
    flag("pull", Switch, Always, "Always attempt to pull all referenced images"),
    flag("push", Switch, Buildx, "Shorthand for --output=type=registry; works with every engine"),
    lettered("quiet", 'q', Switch, Always, "Suppress the build output and print image ID on success"),
    flag("sbom", Value, Buildx, "Shorthand for --attest=type=sbom"),
    flag("secret", List, BuildKit, "Secret to expose to the build (format: id=mysecret[,src=/local/secret])"),
    flag("shm-size", Value, Always, "Shared memory size for build containers"),
    flag("ssh", List, BuildKit, "SSH agent socket or keys to expose to the build"),
    lettered("tag", 't', List, Always, "Name and optionally a tag (format: name:tag)"),
    flag("target", Value, Always, "Set the target build stage to build"),
    flag("ulimit", List, Always, "Ulimit options"),
    // Hidden by buildx, which takes and ignores most of them; the classic builder heeds them.
    flag("compress", Switch, Classic, ""),
    flag("cpu-period", Value, Classic, ""),
    flag("cpu-quota", Value, Classic, ""),
    lettered("cpu-shares", 'c', Value, Classic, ""),
    flag("cpuset-cpus", Value, Classic, ""),
    flag("cpuset-mems", Value, Classic, ""),
    flag("disable-content-trust", Switch, Classic, ""),
    flag("force-rm", Switch, Classic, ""),
    flag("isolation", Value, Classic, ""),
    lettered("memory", 'm', Value, Classic, ""),
    flag("memory-swap", Value, Classic, ""),
    flag("rm", Switch, Classic, ""),
    flag("security-opt", List, Classic, ""),
    flag("squash", Switch, Classic, ""),
];

/// The flag of that long name.
pub fn definition(name: &str) -> Option<&'static Definition> {
    BUILD_FLAGS.iter().find(|flag| flag.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_letters_are_unique() {
        let mut names: Vec<&str> = BUILD_FLAGS.iter().map(|flag| flag.name).collect();
        let mut letters: Vec<char> = BUILD_FLAGS.iter().filter_map(|flag| flag.short).collect();
        let (all, lettered) = (names.len(), letters.len());
        names.sort_unstable();
        names.dedup();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!((names.len(), letters.len()), (all, lettered));
    }
}
