"""Random images whose last steps copy, on top of trees that make it hard to see where a copy goes."""

import os
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

PLACES = ("/app", "/app/sub", "/data", "/srv/www", "/opt", "/var/lib/thing")
LINKS = ("/lib -> usr/lib", "/sbin -> bin", "/var/run -> ../run", "/app -> data", "/app/sub -> /data", "/srv/www -> /nowhere", "/app/a.txt -> b.txt")
NAMES = ("a.txt", "b.txt", "sub", "sub/c.txt", "sub/deep/d.txt", "run", "lib/e.txt", "x")
ENDS = ("/tool", "/a.txt", "/sub", "/run", "/x", "/sub/new")
SHARED = ("/srv/www/html", "/srv/www/conf", "/new/deep", "/new/other")

BASES = {
    # Folders without an entry of their own, as tools make them that build no layer by comparing trees.
    "bare": ((("app/bin/tool", ""), ("srv/www/index", "")),),
    # The same below a symbolic link of a lower layer, so that it is elsewhere.
    "through": ((("srv/", ""), ("linked", "srv")), (("linked/www/index", ""),)),
}
"""Layers on top of busybox, by name: entries, and where they lead."""


@dataclass
class Image:
    """A project: what it is built on, which files it has, and how it ends."""

    below: list[str]
    """Commands of the steps that are built once."""
    copies: list[str]
    """The instructions at the end."""
    between: str
    """An instruction before them that makes no layer, or the folder that they count from."""
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Content and mode of each file of the context, by path."""
    folders: dict[str, int] = field(default_factory=dict)
    """Modes of its folders."""
    made: str = ""
    """What the other stage makes."""
    kind: str = "busybox"
    """What it is built on: `busybox`, or a key of BASES."""

    def dockerfile(self, base: str) -> str:
        steps = "\n".join(f"RUN {command}" for command in self.below)
        tools = f"FROM {base} AS tools\nRUN mkdir -p /out/many && echo {self.made} > /out/one && echo 2 > /out/many/two && chmod 0711 /out/many\n"
        attributes = "COPY attributes /attributes\n"
        return f"{tools}FROM {base}\n{attributes}{steps}\n{self.between}\n" + "\n".join(self.copies) + '\nCMD ["true"]\n'

    def write(self, folder: Path, base: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "attributes/inner").mkdir(parents=True)
        os.setxattr(folder / "attributes/inner", "user.layerlift", b"1")
        (folder / "Dockerfile").write_text(self.dockerfile(base))
        (folder / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
        (folder / "src").mkdir()
        for path, (content, mode) in self.files.items():
            file = folder / "src" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith("-> "):
                file.symlink_to(content[3:])
            else:
                file.write_text(content)
                file.chmod(mode)
        for path, mode in self.folders.items():
            if (folder / "src" / path).is_dir():
                (folder / "src" / path).chmod(mode)


def image(choose: random.Random) -> Image:
    files = {"a.txt": ("a", 0o644), "b.txt": ("b", 0o644), "sub/c.txt": ("c", 0o644), "lib/e.txt": ("e", 0o644)}
    folders = {"sub": choose.choice((0o755, 0o755, 0o700)), "lib": 0o755}
    between = choose.choice(("ENV A=1", "WORKDIR /app", "WORKDIR /srv", "LABEL a=1"))
    project = Image(below(choose), copies(choose), between, files, folders)
    if choose.random() < 0.2:
        # Copied from the first time on, so that what is copied next may meet it.
        files["run"] = ("-> b.txt", 0)
    if choose.random() < 0.2:
        project.kind = choose.choice(tuple(BASES))
    change(choose, project)
    return project


def below(choose: random.Random) -> list[str]:
    commands = []
    for place in choose.sample(PLACES, choose.randrange(4)):
        command = f"mkdir -p {place}"
        if choose.random() < 0.25:
            command += f" && chmod {choose.choice(('0700', '0775', '1777', '0755'))} {place}"
        if choose.random() < 0.2:
            command += f" && chown 1000:1000 {place}"
        if choose.random() < 0.4:
            command += f" && echo old > {place}/{choose.choice(('a.txt', 'x', 'one', 'sub'))} || true"
        commands.append(command)
    for link in choose.sample(LINKS, choose.randrange(3)):
        path, to = link.split(" -> ")
        commands.append(f"mkdir -p $(dirname {path}) && {{ test -e {path} || ln -s {to} {path}; }}")
    if choose.random() < 0.3:
        commands.append(f"rm -rf {choose.choice(PLACES)}")
    if choose.random() < 0.2:
        commands.append("mkfifo /x || true")
    if choose.random() < 0.3:
        place, name = choose.choice(PLACES), choose.choice(("a.txt", "x", "one", "tool"))
        commands.append(f"mkdir -p {place} /data && ln -s /data/{name} {place}/first && ln {place}/first {place}/{name} || true")
    return commands or ["true"]


def copies(choose: random.Random) -> list[str]:
    lines = shared(choose) if choose.random() < 0.3 else []
    for _ in range(choose.choice((1, 1, 2, 3))):
        flags = ""
        if choose.random() < 0.25:
            flags += f" --chown={choose.choice(('1000:1000', '0', '1000', 'root:root', '0:0'))}"
        if choose.random() < 0.05:
            flags += f" --chmod={choose.choice(('0700', '0755'))}"
        if choose.random() < 0.15:
            flags += " --link"
        source = choose.choice(("src/", "src", "src/sub", "src/a.txt", "src/*.txt", "src/a.txt src/b.txt", ".", "src/sub src/lib"))
        if choose.random() < 0.25:
            flags, source = flags + " --from=tools", choose.choice(("/out/one", "/out/many", "/out", "/out/*"))
        place = choose.choice((*PLACES, *PLACES, "/bin", "/lib", "/sbin", "/var/run", "/attributes/inner", "/", ".", "new/deep"))
        if " " in source or "*" in source or choose.random() < 0.5:
            place = place.rstrip("/") + "/"
        elif choose.random() < 0.3:
            place = place.rstrip("/") + choose.choice(ENDS)
        is_folder = source in ("src/", "src", "src/sub", ".", "src/sub src/lib")
        name = "ADD" if "--from" not in flags and choose.random() < (0.25 if is_folder else 0.05) else "COPY"
        lines.append(f"{name}{flags} {source} {place}")
        if choose.random() < 0.3:
            entered = place if place.startswith("/") and choose.random() < 0.7 else choose.choice((*PLACES, "/bin", "/lib", "/var/run", "sub"))
            lines.append(f"WORKDIR {entered}")
    return lines


def shared(choose: random.Random) -> list[str]:
    """Two copies into folders that nobody has made, the first one with something of its own."""
    flags = choose.choice((" --chown=daemon", " --chown=daemon --chmod=0700", " --chown=1000 --chmod=0700", " --chown=1000", " --link --chown=1000", " --link", ""))
    first, second = choose.sample(SHARED, 2)
    owner = choose.choice(("", "", " --chown=1000"))
    return [f"COPY{flags} {choose.choice(('src', 'src/a.txt'))} {first}", f"COPY{owner} src/sub {second}"]


def change(choose: random.Random, project: Image) -> None:
    """Changes everything that is copied, and a file more."""
    project.made = str(choose.random())
    files = project.files
    for name in choose.sample(NAMES, choose.choice((1, 2))):
        taken = [other for other in files if other.startswith(f"{name}/") or name.startswith(f"{other}/")]
        if not taken:
            link = name not in ("a.txt", "sub/c.txt") and choose.random() < 0.2
            files[name] = ("-> a.txt", 0) if link else (str(choose.random()), choose.choice((0o644, 0o755, 0o600)))
    files["a.txt"] = (str(choose.random()), 0o644)
    files["sub/c.txt"] = (str(choose.random()), 0o644)
    files["b.txt"] = (str(choose.random()), 0o644)
