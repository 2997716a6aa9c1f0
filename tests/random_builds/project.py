"""A random project: a context, a Dockerfile and the flags of its build, as values, and as files on the disk."""

import copy
import os
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

FOLDERS = ["a", "b", "src", "src/lib", "docs", ".hidden", "a/deep/er"]
NAMES = ["x.txt", "y.txt", "z.md", "run.sh", "data.bin", "odd name", "x.py"]
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
IGNORED = ["docs", "**/*.md", "*.bin", "a/*", "src/**", "!src/lib", "!**/x.txt", "*", "!a", "!b/*.txt", ".hidden", "**/x.py"]
WILDCARDS = ["*.txt", "s*", "*/x.txt", "src/*", "[a-d]*", "a/?.txt", "src/l*/*", "*", "*/*/*.txt", "[^s]*"]
EXCLUDES = ["*.md", "**/*.txt", "lib", "x.*", "!x.txt", "**/lib/*"]


@dataclass
class Node:
    """A file, a folder or a symbolic link."""

    kind: str
    content: str = ""
    """Of a file its text, of a link its target."""
    mode: int = 0o644
    version: int = 0
    """Raised to have it written again, and so to give it another time."""


@dataclass
class Line:
    """An instruction of a stage."""

    text: str
    comment: str = ""
    body: list[str] = field(default_factory=list)
    """Of a heredoc, with its end."""

    def render(self) -> list[str]:
        comment = [f"# {self.comment}"] if self.comment else []
        return [*comment, self.text, *self.body]


@dataclass
class Stage:
    name: str
    base: str
    lines: list[Line]
    platform: str = ""


@dataclass
class Project:
    """Everything that a build is given."""

    base: str
    """A repository; its tags `one` and `two` are moved between variants."""
    nodes: dict[str, Node] = field(default_factory=dict)
    ignore: list[str] = field(default_factory=list)
    globals: list[str] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    build_args: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    secret: str = "first"
    target: str = ""
    other: dict[str, str] = field(default_factory=dict)
    """The files of the named context `other`, where there is one."""
    own_ignore: bool = False
    """Whether the ignore file is the Dockerfile's own."""
    inside: bool = True
    """Whether the Dockerfile lies in the context."""
    bases: dict[str, int] = field(default_factory=lambda: {"one": 0, "two": 1})
    """Which variant each tag means."""

    def copy(self) -> "Project":
        return copy.deepcopy(self)

    def dockerfile(self) -> str:
        lines = list(self.globals)
        for stage in self.stages:
            lines.append(f"FROM {stage.platform}{stage.base} AS {stage.name}")
            lines += [text for line in stage.lines for text in line.render()]
        return "\n".join(lines) + "\n"

    def flags(self, folder: Path) -> list[str]:
        """Of `docker build`, the context last."""
        flags = [f"--build-arg={name}={value}" for name, value in self.build_args.items()]
        flags += [f"--label={name}={value}" for name, value in self.labels.items()]
        flags += [f"--target={self.target}"] * bool(self.target)
        flags += [f"--build-context=other={folder}/other"] * bool(self.other)
        flags += [f"--secret=id=token,src={folder}/token", f"--file={self.file(folder)}"]
        return [*flags, f"{folder}/context"]

    def file(self, folder: Path) -> Path:
        return folder / "context/Dockerfile" if self.inside else folder / "Dockerfile"

    def write(self, folder: Path, before: "Project | None") -> None:
        """Brings a folder that holds `before` to hold this. What is the same is left alone, times included."""
        context = folder / "context"
        context.mkdir(parents=True, exist_ok=True)
        known = before.nodes if before else {}
        for path in sorted(known, reverse=True):
            if self.nodes.get(path) != known[path] and (path not in self.nodes or self.nodes[path].kind != known[path].kind):
                there = context / path
                shutil.rmtree(there) if there.is_dir() and not there.is_symlink() else there.unlink(missing_ok=True)
        for path, node in sorted(self.nodes.items()):
            there = context / path
            if known.get(path) == node and os.path.lexists(there):
                continue
            if node.kind == "folder":
                there.mkdir(exist_ok=True)
            elif node.kind == "link":
                there.unlink(missing_ok=True)
                there.symlink_to(node.content)
            else:
                there.unlink(missing_ok=True)
                there.write_text(node.content)
                there.chmod(node.mode)
        for name, content in self.other.items():
            there = folder / "other" / name
            if not before or before.other.get(name) != content:
                there.parent.mkdir(exist_ok=True)
                there.write_text(content)
        ignore = self.file(folder).with_name("Dockerfile.dockerignore") if self.own_ignore else context / ".dockerignore"
        text = "".join(f"{line}\n" for line in self.ignore)
        if not text:
            ignore.unlink(missing_ok=True)
        elif not ignore.exists() or ignore.read_text() != text:
            ignore.write_text(text)
        file = self.file(folder)
        if not file.exists() or file.read_text() != self.dockerfile():
            file.write_text(self.dockerfile())
        (folder / "token").write_text(self.secret)

    def put(self, path: str, node: Node) -> None:
        """Adds a node with the folders that it lies in; nothing, where something else is in the way."""
        parents = [path[:at] for at, letter in enumerate(path) if letter == "/"]
        if any(self.nodes.get(parent, Node("folder")).kind != "folder" for parent in parents):
            return
        if node.kind != "folder" and any(other.startswith(f"{path}/") for other in self.nodes):
            return
        for parent in parents:
            self.nodes.setdefault(parent, Node("folder", mode=0o755))
        self.nodes[path] = node

    def drop(self, path: str) -> None:
        for other in [other for other in self.nodes if other == path or other.startswith(f"{path}/")]:
            del self.nodes[other]

    def without(self, source: str) -> None:
        """Takes out the instructions that name a source."""
        for stage in self.stages:
            stage.lines = [line for line in stage.lines if source.lstrip("/") not in line.text or line.text.startswith("ARG")]

    def paths(self, *kinds: str) -> list[str]:
        return sorted(path for path, node in self.nodes.items() if node.kind in kinds)


KNOWN = {"20": {"chmod"}, "26c": {"chmod", "link", "heredoc", "contexts"}}
KNOWN["28c"] = KNOWN["26c"] | {"exclude", "chmod in words"}
"""What the Dockerfile frontend of each engine knows. None has `--parents`, and there is no other frontend to be had."""


class Grammar:
    """Makes projects, and parts of them, for the frontend of an engine."""

    def __init__(self, chance: random.Random, kind: str):
        self.chance, self.knows = chance, KNOWN[kind]

    def word(self) -> str:
        return self.chance.choice(WORDS)

    def path(self) -> str:
        folder = self.chance.choice(["", *FOLDERS])
        return f"{folder}/{self.chance.choice(NAMES)}".lstrip("/")

    def file(self) -> Node:
        return Node("file", " ".join(self.chance.choices(WORDS, k=3)) + "\n", self.chance.choice([0o644, 0o644, 0o755]))

    def project(self, base: str) -> Project:
        project = Project(base, inside=self.chance.random() < 0.4)
        for _ in range(self.chance.randint(5, 12)):
            project.put(self.path(), self.file())
        for _ in range(self.chance.randint(0, 2)):
            project.put(self.chance.choice(["empty", "a/empty", "src/none"]), Node("folder", mode=0o755))
        for _ in range(self.chance.randint(0, 3)):
            self.add_link(project)
        if self.chance.random() < 0.6:
            project.ignore = self.chance.sample(IGNORED, self.chance.randint(1, 3))
        project.globals = [f"ARG TAG={self.chance.choice(['one', 'two'])}"] + ["ARG GLOBAL=everywhere"] * (self.chance.random() < 0.5)
        for name in self.chance.sample(["USED", "UNUSED", "PLACE"], self.chance.randint(0, 2)):
            project.build_args[name] = self.word()
        project.own_ignore = self.chance.random() < 0.15
        if "contexts" in self.knows and self.chance.random() < 0.4:
            project.other = {name: self.word() for name in ("p.txt", "q.md")}
        for number in range(self.chance.randint(1, 4)):
            self.add_stage(project, number)
        return project

    def add_link(self, project: Project) -> None:
        name = self.chance.choice(["link", "to-src", "a/up", "src/in"])
        target = self.chance.choice(["a", "src", "../src", "x.txt", "/src/lib", "no/such", "../b/x.txt", "b"])
        if name not in project.nodes:
            project.put(name, Node("link", target, 0o777))

    def add_stage(self, project: Project, number: int) -> None:
        earlier = [stage.name for stage in project.stages]
        name = ["first", "second", "third", "fourth", "fifth"][number]
        image = self.chance.choice([f"{project.base}:$TAG", f"{project.base}:one", f"{project.base}:two"])
        base = self.chance.choice([image, image, *earlier])
        stage = Stage(name, base, [])
        project.stages.append(stage)
        for _ in range(self.chance.randint(2, 6)):
            stage.lines.append(self.line(project, stage))
        for other in earlier:
            if self.chance.random() < 0.7:
                stage.lines.append(self.copy_from([other]))

    def line(self, project: Project, stage: Stage) -> Line:
        makers = [self.copy] * 6 + [self.run] * 3 + [self.setting] * 6 + [self.bind]
        makers += [self.heredoc] * ("heredoc" in self.knows) + [self.exclude] * 2 * ("exclude" in self.knows)
        earlier = [other.name for other in project.stages[: project.stages.index(stage)]]
        if earlier:
            makers += [lambda _: self.copy_from(earlier)]
        makers += [lambda _: Line(f"COPY --from={project.base}:{self.chance.choice(['one', 'two'])} /etc/*release /image/")]
        if project.other:
            makers += [self.other] * 3
        return self.chance.choice(makers)(project)

    def setting(self, _: Project) -> Line:
        word = self.word()
        return Line(
            self.chance.choice(
                [
                    f"ARG USED={word}",
                    "ARG USED",
                    "ARG PLACE=x.txt",
                    "ARG GLOBAL",
                    f"ARG A={word} B",
                    f"ENV V={word} W=$USED",
                    "ENV V=$V:more",
                    f"ENV OLD {word} style",
                    f"WORKDIR /work/{word}",
                    "WORKDIR rel",
                    f"LABEL said={word}",
                    f'CMD ["echo", "{word}"]',
                    f"ENTRYPOINT echo {word}",
                    "EXPOSE 80",
                    "VOLUME /data",
                    f"USER {self.chance.choice(['root', '0', '0:0'])}",
                    'SHELL ["/bin/sh", "-e", "-c"]',
                    f"STOPSIGNAL {self.chance.choice(['SIGTERM', 'SIGINT'])}",
                    f"HEALTHCHECK --interval={self.chance.randint(1, 9)}s CMD true",
                    f"ONBUILD RUN echo {word}",
                    "ONBUILD COPY x* /onbuild/",
                    "ONBUILD ENV TRIGGERED=1",
                ]
            )
        )

    def run(self, project: Project) -> Line:
        word = self.word()
        commands = [f"echo {word}", "echo $USED $V", f"echo {word} > /made", f"cat /etc/*release; true # {word}"]
        flags = self.chance.choice(["", "", "--mount=type=cache,target=/cache ", "--mount=type=tmpfs,target=/tmpfs ", "--mount=type=secret,id=token "])
        text = f"RUN {flags}{self.chance.choice(commands)}"
        return Line(self.chance.choice([text, text, f'RUN ["echo", "{word}", "$USED"]', text.replace("RUN ", "RUN \\\n  ", 1)]))

    def bind(self, project: Project) -> Line:
        source = self.chance.choice([".", *project.paths("file", "folder", "link")])
        if " " in source:
            source = "."
        return Line(f"RUN --mount=type=bind,source={source},target=/bound ls -R /bound | head -n 3")

    def other(self, _: Project) -> Line:
        bound = "RUN --mount=type=bind,from=other,target=/bound cat /bound/p.txt"
        return Line(self.chance.choice([f"COPY --from=other {source} /other/" for source in (".", "*.txt", "q.md")] + [bound]))

    def source(self, project: Project) -> str:
        sorts = [["."], ["$PLACE"], WILDCARDS, WILDCARDS, *[project.paths(kind) for kind in ("file", "folder", "folder", "link")]]
        return self.chance.choice(self.chance.choice([sort for sort in sorts if sort]))

    def copy(self, project: Project) -> Line:
        sources = [self.source(project) for _ in range(self.chance.choice([1, 1, 1, 2, 3]))]
        flags = ["--chown=1:2"] * (self.chance.random() < 0.1)
        for feature, flag in (("link", "--link"), ("chmod", "--chmod=0750"), ("chmod in words", "--chmod=u+x")):
            if feature in self.knows and self.chance.random() < 0.12:
                flags.append(flag)
        name = self.chance.choice(["COPY", "COPY", "COPY", "ADD"])
        if name == "ADD":
            # A variable that the file does not set could be the base image's, and an address.
            sources = [source.replace("$PLACE", "*.txt") for source in sources]
        return self.transfer(name, flags, sources)

    def transfer(self, name: str, flags: list[str], sources: list[str]) -> Line:
        to = f"/to/{self.word()}/"
        if any(" " in source for source in sources):
            words = ", ".join(f'"{word}"' for word in [*sources, to])
            return Line(" ".join([name, *flags, f"[{words}]"]))
        return Line(" ".join([name, *flags, *sources, self.chance.choice([to, to, f"/to/{self.word()}/x/", "./"])]))

    def exclude(self, project: Project) -> Line:
        excludes = [f"--exclude={pattern}" for pattern in self.chance.sample(EXCLUDES, self.chance.randint(1, 2))]
        return self.transfer("COPY", excludes, [self.source(project)])

    def heredoc(self, _: Project) -> Line:
        word = self.word()
        return self.chance.choice(
            [
                Line("RUN <<EOF", body=[f"echo {word}", "echo $USED", "EOF"]),
                Line("COPY <<EOF <<'RAW' /heredoc/", body=[f"{word} $USED", "EOF", f"{word} $USED", "RAW"]),
                Line("COPY --chmod=0700 <<-EOF /script.sh", body=["\t#!/bin/sh", f"\techo {word}", "\tEOF"]),
            ]
        )

    def copy_from(self, earlier: list[str]) -> Line:
        source = self.chance.choice(["/to*", "/to*", "/to/*", "/made*", "/onbuild*", "/work*", "/bin/busybox"])
        link = "--link " if "link" in self.knows and self.chance.random() < 0.2 else ""
        return Line(f"COPY {link}--from={self.chance.choice(earlier)} {source} /from/{self.word()}/")
