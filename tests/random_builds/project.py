"""A project: a context, a Dockerfile and the flags of its build, as values, and as files on the disk."""

import copy
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Node:
    """A file, a folder, a symbolic link or a pipe."""

    kind: str
    content: str = ""
    """Of a file its text, of a link its target."""
    mode: int = 0o644
    version: int = 0
    """Raised to have it written again, and so to give it another time."""
    attribute: str = ""
    """Of a file or a folder: the value of the extended attribute `user.said`; it has none where this is empty."""
    kept: int = 0
    """Of a file: how often it was edited so that size and time stayed as they were."""

    def is_written_anew(self, before: "Node | None") -> bool:
        """Whether the change from `before` gives it another time; of what is no folder."""
        if before is None or (before.kind, before.mode, before.version) != (self.kind, self.mode, self.version):
            return True
        return before.content != self.content and before.kept == self.kept

    def is_seen(self, before: "Node") -> bool:
        """Whether a BuildKit that has `before` in the same place compares enough to tell it from this."""
        is_other_folder = self.kind == "folder" and self.mode != before.mode
        return self.kind != before.kind or (self.attribute, self.kept) == (before.attribute, before.kept) and not is_other_folder

    def write(self, there: Path, before: "Node | None") -> None:
        """Brings what is `before` to be this."""
        is_new = self.kind != "folder" and self.is_written_anew(before)
        if is_new:
            there.unlink(missing_ok=True)
        match self.kind:
            case "folder":
                there.mkdir(exist_ok=True)
                there.chmod(self.mode)
            case "link" if is_new:
                there.symlink_to(self.content)
            case "pipe" if is_new:
                os.mkfifo(there, self.mode)
            case "file" if is_new:
                there.write_text(self.content)
                there.chmod(self.mode)
            case "file" if before.content != self.content:
                times = there.stat()
                there.write_text(self.content)
                os.utime(there, ns=(times.st_atime_ns, times.st_mtime_ns))
        if self.attribute:
            os.setxattr(there, "user.said", self.attribute.encode())
        elif before and before.kind == self.kind and before.attribute and not is_new:
            os.removexattr(there, "user.said")


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
    syntax: str = ""
    """The image of the frontend; the engine's own reads the Dockerfile where this is empty."""
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
        lines = [f"# syntax={self.syntax}"] * bool(self.syntax) + self.globals
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
        return [*flags, str(self.context(folder))]

    def context(self, folder: Path) -> Path:
        """Buildx lets contexts of the same name be one place for BuildKit, wherever they are."""
        return folder / f"context-{folder.name}"

    def file(self, folder: Path) -> Path:
        return (self.context(folder) if self.inside else folder) / "Dockerfile"

    def write(self, folder: Path, before: "Project | None") -> None:
        """Brings a folder that holds `before` to hold this. What is the same is left alone, times included."""
        context = self.context(folder)
        context.mkdir(parents=True, exist_ok=True)
        known = before.nodes if before else {}
        for path in sorted(known, reverse=True):
            if self.nodes.get(path) != known[path] and (path not in self.nodes or self.nodes[path].kind != known[path].kind):
                there = context / path
                shutil.rmtree(there) if there.is_dir() and not there.is_symlink() else there.unlink(missing_ok=True)
        for path, node in sorted(self.nodes.items()):
            there = context / path
            # It goes with a folder that became something else.
            old = known.get(path) if os.path.lexists(there) else None
            if old != node:
                node.write(there, old)
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

    def is_seen(self, before: "Project") -> bool:
        """Whether an engine that has the context of `before` from the same folder finds all that is another."""
        return all(node.is_seen(before.nodes[path]) for path, node in self.nodes.items() if path in before.nodes)

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
        source = source.strip("/")
        for stage in self.stages:
            stage.lines = [line for line in stage.lines if line.text.startswith("ARG") or source not in line.text.replace("/./", "/")]

    def paths(self, *kinds: str) -> list[str]:
        return sorted(path for path, node in self.nodes.items() if node.kind in kinds)
