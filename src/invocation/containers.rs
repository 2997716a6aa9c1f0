//! `podman ...` and `buildah ...`: global flags, then the subcommands that build, then the flags of a build. Globals are
//! kept as given.
//!
//! Sources: containers/podman `cmd/podman/root.go`, `cmd/podman/images/{build,buildx}.go`, `cmd/podman/common/build.go` (3
//! to 5); containers/buildah `cmd/buildah/main.go`, `cmd/buildah/build.go`, `pkg/cli/common.go` (1.28 to 1.44).

use crate::invocation::flags::{Line, Style, Table, anywhere, leading};
use crate::invocation::{Invocation, Left, Tool, asks_for_help};

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

/// Flags of a build, with those global ones that are often given behind it.
const BUILD: Table = Table(
    "add-host= all-platforms annotation= arch= authfile= blob-cache= build-arg= build-arg-file= build-context=
    cache-from= cache-to= cache-ttl= cap-add= cap-drop= cdi-config-dir= cert-dir= cgroup-parent= cgroupns=
    cni-config-dir= cni-plugin-path= compat-volumes compress compression-format= compression-level= cpp-flag=
    cpu-period= cpu-quota= cpu-shares|c= cpuset-cpus= cpuset-mems= created-annotation creds= cw= decryption-key=
    device= disable-compression|D disable-content-trust dns= dns-option= dns-search= env|e= file|f=
    force-compression force-rm format= from= help|h hooks-dir= http-proxy identity-label ignorefile= iidfile=
    iidfile-raw= inherit-annotations inherit-labels ipc= isolation= jobs= label= layer-label= layers log-level=
    log-rusage logfile= logsplit manifest= memory|m= memory-swap= metadata-file= mount= net= network= no-cache
    no-hostname no-hosts omit-history os= os-feature= os-version= output|o= pid= platform= pull? pull-always
    pull-never quiet|q registries-conf= registries-conf-dir= retry= retry-delay= rewrite-timestamp rm root=
    runroot= runtime= runtime-flag= rusage-logfile= save-stages sbom= sbom-image-output= sbom-image-purl-output=
    sbom-merge-strategy= sbom-output= sbom-purl-output= sbom-scanner-command= sbom-scanner-image= secret=
    security-opt= shm-size= sign-by= signature-policy= skip-unused-stages source-date-epoch= source-policy-file=
    squash squash-all ssh= stage-labels stdin storage-driver= storage-opt= tag|t= target= timestamp= tls-verify
    ulimit= unsetannotation= unsetenv= unsetlabel= userns= userns-gid-map= userns-gid-map-group= userns-uid-map=
    userns-uid-map-user= uts= variant= volume|v=",
);

/// Global flags of podman with which another machine builds.
const REMOTE: [&str; 3] = ["connection", "context", "url"];

/// A build line, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildahLine {
    /// The global flags, as given.
    pub globals: Vec<String>,
    /// What follows `build`, as given.
    pub arguments: Vec<String>,
    /// Where the files come from, as given; `None`: the working folder.
    pub context: Option<String>,
    /// All flags.
    given: Line,
}

/// Takes the words after `buildah` or `podman` apart. The error is why they are to be run as they stand.
pub fn buildah_line(program: &str, words: &[String]) -> Result<BuildahLine, Left> {
    let Invocation { globals, arguments, .. } = recognise(program, words).ok_or(Left::NoBuild)?;
    let mut given = global_flags(program, &globals).ok_or(Left::NoBuild)?;
    if given.is_on("remote") || given.flags.iter().any(|flag| REMOTE.contains(&flag.name)) {
        return Err(Left::Because("another machine builds".to_owned()));
    }
    let build = anywhere(&arguments, BUILD)?;
    let context = match build.rest.as_slice() {
        [] => None,
        [context] => Some(context.clone()),
        [_, second, ..] => return Err(Left::Because(format!("`{second}` is a second build context"))),
    };
    given.flags.extend(build.flags);
    Ok(BuildahLine { globals, arguments, context, given })
}

impl BuildahLine {
    /// Every value of a flag.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.given.flags.iter().filter(move |flag| flag.name == name).map(|flag| flag.value.as_str())
    }

    /// The value that stands.
    pub fn last<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).last()
    }

    /// Whether a flag was given at all.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Whether a switch was given, and how: `--layers`, `--layers=false`.
    pub fn switch(&self, name: &str) -> Option<bool> {
        self.has(name).then(|| self.given.is_on(name))
    }

    /// Whether its result goes to standard output, where the program then logs nothing.
    pub fn writes_to_stdout(&self) -> bool {
        self.all("output").any(|output| output == "-" || output.split(',').any(|part| part == "dest=-"))
    }
}

fn global_flags(program: &str, words: &[String]) -> Option<Line> {
    let table = if program == "podman" { PODMAN } else { BUILDAH };
    leading(words, table, Style::Pflag).ok()
}

/// Recognises the words after the program's name.
pub(super) fn recognise(program: &str, words: &[String]) -> Option<Invocation> {
    let line = global_flags(program, words)?;
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

    fn line(text: &str) -> Result<BuildahLine, Left> {
        buildah_line("buildah", &shlex::split(text).expect("words"))
    }

    #[test]
    fn the_words_are_told_apart() {
        let line =
            line("--storage-driver vfs --root=/r bud -qt app:1 --pull=newer -f docker/Dockerfile --layers=false src")
                .expect("a build");
        assert_eq!(line.globals, ["--storage-driver", "vfs", "--root=/r"]);
        assert_eq!(
            line.arguments,
            ["-qt", "app:1", "--pull=newer", "-f", "docker/Dockerfile", "--layers=false", "src"]
        );
        assert_eq!(line.context.as_deref(), Some("src"));
        assert_eq!((line.last("tag"), line.last("file")), (Some("app:1"), Some("docker/Dockerfile")));
        assert_eq!((line.switch("layers"), line.switch("quiet")), (Some(false), Some(true)));
        assert_eq!((line.switch("no-cache"), line.has("root")), (None, true));
    }

    #[test]
    fn what_is_not_known_is_left_alone() {
        for (text, flag) in
            [("build --new-flag .", "--new-flag"), ("build -tx -Z .", "-Z"), ("build -t", "-t")]
        {
            assert_eq!(line(text), Err(Left::Unknown(flag.into())), "{text}");
        }
        assert!(matches!(line("build . other"), Err(Left::Because(_))));
        for text in ["from busybox", "build --help", "", "--new-flag build ."] {
            assert_eq!(line(text), Err(Left::NoBuild), "{text}");
        }
    }

    #[test]
    fn another_machine_has_files_and_credentials_of_its_own() {
        let podman = |text: &str| buildah_line("podman", &shlex::split(text).expect("words"));
        for text in ["-r build .", "--remote build .", "--url ssh://m build .", "-c m image build ."] {
            assert!(matches!(podman(text), Err(Left::Because(_))), "{text}");
        }
        assert!(podman("--remote=false buildx build -t x .").is_ok());
    }

    #[test]
    fn a_result_on_standard_output_is_seen() {
        assert!(line("build -o type=tar,dest=- .").expect("a build").writes_to_stdout());
        assert!(!line("build -o out .").expect("a build").writes_to_stdout());
    }
}
