"""The grammar of random projects: what can stand in a context, an ignore file and a Dockerfile."""

import random

from .project import Line, Node, Project, Stage

FOLDERS = ["a", "b", "src", "src/lib", "docs", ".hidden", "a/deep/er"]
NAMES = ["x.txt", "y.txt", "z.md", "run.sh", "data.bin", "odd name", "x.py"]
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
IGNORED = ["docs", "**/*.md", "*.bin", "a/*", "src/**", "!src/lib", "!**/x.txt", "*", "!a", "!b/*.txt", ".hidden", "**/x.py"]
WILDCARDS = ["*.txt", "s*", "*/x.txt", "src/*", "[a-d]*", "a/?.txt", "src/l*/*", "*", "*/*/*.txt", "[^s]*"]
PARENTS = ["**/*.txt", "*/x.txt", "src/l*/*", "**/lib", "[a-d]*/*.txt", "a/*/er", "*.txt", "**", "s*/lib", "*/*/*"]
"""Wildcards after `--parents`, which alone knows `**`."""
EXCLUDES = ["*.md", "**/*.txt", "lib", "x.*", "!x.txt", "**/lib/*"]

KNOWN = {"20": {"chmod"}, "26c": {"chmod", "link", "heredoc", "contexts", "network"}}
KNOWN["28c"] = KNOWN["26c"] | {"exclude", "chmod in words"}
"""What the engine's own frontend knows, and its client. None knows `--parents`."""

OF_A_FRONTEND = {"chmod", "link", "heredoc", "exclude", "chmod in words", "network", "parents"}
"""What `docker/dockerfile` knows from 1.20 on."""


class Grammar:
    """Makes projects, and parts of them, for the frontend of an engine."""

    def __init__(self, chance: random.Random, kind: str, syntax: str = ""):
        """`syntax`: a frontend image, which knows more than the engine's own."""
        self.chance, self.syntax = chance, syntax
        self.knows = KNOWN[kind] | (OF_A_FRONTEND if syntax else set())

    def word(self) -> str:
        return self.chance.choice(WORDS)

    def path(self) -> str:
        folder = self.chance.choice(["", *FOLDERS])
        return f"{folder}/{self.chance.choice(NAMES)}".lstrip("/")

    def file(self) -> Node:
        return Node("file", " ".join(self.chance.choices(WORDS, k=3)) + "\n", self.chance.choice([0o644, 0o644, 0o755]))

    def project(self, base: str) -> Project:
        project = Project(base, self.syntax, inside=self.chance.random() < 0.4)
        for _ in range(self.chance.randint(5, 12)):
            project.put(self.path(), self.file())
        for _ in range(self.chance.randint(0, 2)):
            project.put(self.chance.choice(["empty", "a/empty", "src/none"]), Node("folder", mode=0o755))
        for _ in range(self.chance.randint(0, 3)):
            self.add_link(project)
        if self.chance.random() < 0.1:
            self.add_pipe(project)
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

    def add_pipe(self, project: Project) -> None:
        path = self.chance.choice(["pipe", "a/pipe", "src/pipe"])
        if path not in project.nodes:
            project.put(path, Node("pipe", mode=0o644))

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
        makers = [self.copy] * 6 + [self.run] * 3 + [self.setting] * 6 + [self.bind] * 2
        makers += [self.heredoc] * ("heredoc" in self.knows) + [self.exclude] * 2 * ("exclude" in self.knows)
        makers += [self.parents] * 4 * ("parents" in self.knows)
        earlier = [other.name for other in project.stages[: project.stages.index(stage)]]
        if earlier:
            makers += [lambda _: self.copy_from(earlier), lambda _: self.bind_from(earlier)]
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
        mounts = ["cache,target=/cache", "cache,target=/cache,id=own,sharing=locked", "tmpfs,target=/tmpfs", "secret,id=token", "ssh"]
        flags = ["", "", *[f"--mount=type={mount} " for mount in mounts], *["--network=none "] * ("network" in self.knows)]
        text = f"RUN {self.chance.choice(flags)}{self.chance.choice(commands)}"
        return Line(self.chance.choice([text, text, f'RUN ["echo", "{word}", "$USED"]', text.replace("RUN ", "RUN \\\n  ", 1)]))

    def bind(self, project: Project) -> Line:
        source = self.chance.choice([".", *project.paths("file", "folder", "link")])
        if " " in source:
            source = "."
        return self.bound(f"source={source}")

    def bind_from(self, earlier: list[str]) -> Line:
        source = self.chance.choice(["/", "/etc", "/to", "/from"])
        return self.bound(f"from={self.chance.choice(earlier)},source={source}")

    def bound(self, source: str) -> Line:
        """A bind mount, which may be written to, although nothing of that is kept."""
        if self.chance.random() < 0.4:
            kind = self.chance.choice(["rw", "readwrite=true"])
            return Line(f"RUN --mount=type=bind,{source},target=/bound,{kind} touch /bound/new || true; ls /bound | head -n 3")
        return Line(f"RUN --mount=type=bind,{source},target=/bound ls -R /bound | head -n 3")

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
                flags = [other for other in flags if not other.startswith("--chmod")] + [flag]
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
        return self.transfer(self.chance.choice(["COPY", "COPY", "ADD"]), excludes, [self.source(project).replace("$PLACE", "*")])

    def parents(self, project: Project) -> Line:
        flags = ["--parents"]
        for feature, flag in (("link", "--link"), ("chmod", "--chmod=0750"), ("exclude", f"--exclude={self.chance.choice(EXCLUDES)}")):
            if feature in self.knows and self.chance.random() < 0.2:
                flags.append(flag)
        return self.transfer("COPY", flags, [self.with_pivot(project) for _ in range(self.chance.choice([1, 1, 2]))])

    def with_pivot(self, project: Project) -> str:
        """A source of `--parents`: often with the `.` after which the folders come along."""
        parts = self.chance.choice([PARENTS, *[paths for kind in ("file", "folder", "link") if (paths := project.paths(kind))]])
        parts = self.chance.choice(parts).split("/")
        if self.chance.random() < 0.6:
            parts.insert(self.chance.randint(0, len(parts)), ".")
        return self.chance.choice(["", "", "./", "/"]) + "/".join(parts)

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
        if "parents" in self.knows and self.chance.random() < 0.3:
            source = self.chance.choice(["--parents /to/./*/*", "--parents /to/**/*.txt", "--parents /to*/./*", "--parents /etc/./*release /from*"])
        link = "--link " if "link" in self.knows and self.chance.random() < 0.2 else ""
        return Line(f"COPY {link}--from={self.chance.choice(earlier)} {source} /from/{self.word()}/")
