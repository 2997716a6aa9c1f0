"""A Docker engine that stays warm: what it ran for a build, and the configuration of the image."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TESTBED = Path(__file__).resolve().parent.parent / "testbed/lib.sh"


def testbed(script: str) -> bytes:
    """What a script prints that has the testbed's functions; engines that it starts belong to this process."""
    environment = os.environ | {"ENGINE_OWNER": str(os.getpid())}
    return subprocess.run(["bash", "-uc", f'. "{TESTBED}" && {script}'], env=environment, stdout=subprocess.PIPE, check=True).stdout


@dataclass
class Built:
    """What an engine did."""

    ok: bool
    log: str
    ran: list[str] = field(default_factory=list)
    """The steps that it did not answer from its cache."""
    cached: list[str] = field(default_factory=list)
    config: str = ""
    """The image's configuration without times that the engine took, as JSON with sorted keys."""


class Engine:
    """One engine, for one `with` block."""

    def __init__(self, kind: str, suffix: str = "first"):
        self.kind, self.name = kind, f"differential-{kind}-{os.getpid()}-{suffix}"
        self.old = kind == "20"
        self.environment: dict[str, str] = {}
        self.folder = Path()

    def __enter__(self):
        self.folder = Path(testbed('echo "$TESTBED/run"').decode().strip()) / self.name
        try:
            found = testbed(f"engine_up {self.kind} {self.name} >&2 && env -0")
        except subprocess.CalledProcessError:
            self.__exit__()
            raise SystemExit(f"error: no engine {self.kind}: run tests/testbed/setup") from None
        self.environment = dict(pair.split("=", 1) for pair in found.decode().split("\0") if pair)
        self.environment = {name: value for name, value in self.environment.items() if not name.startswith("CI")}
        return self

    def __exit__(self, *_):
        testbed(f"engine_down {self.name}")

    def options(self) -> list[str]:
        """Flags that every build has; the image is given no attestations, so that it has one manifest."""
        return ["--network=host"] if self.old else ["--network=host", "--provenance=false"]

    def build(self, flags: list[str], folder: Path) -> Built:
        image = folder / "image-id"
        environment = self.environment | {"DOCKER_BUILDKIT": "1"}
        # Without Docker's own client before it, which takes as long again.
        buildx = f"{environment['DOCKER_CONFIG']}/cli-plugins/docker-buildx"
        command = ["docker", "build", "--progress=plain"] if self.old else [buildx, "build", "--progress=rawjson"]
        done = subprocess.run(
            [*command, *self.options(), f"--iidfile={image}", *flags],
            env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
        )  # fmt: skip
        log = done.stdout.decode(errors="replace")
        if done.returncode:
            return Built(False, log)
        ran, cached = plain(log) if self.old else rawjson(log)
        has_time = any(flag.startswith("--build-arg=SOURCE_DATE_EPOCH=") for flag in flags)
        return Built(True, log, ran, cached, self.config(image.read_text().strip(), has_time))

    def config(self, image: str, has_time: bool) -> str:
        """Read from where the engine keeps it. `has_time`: it was told the image's time, so that this is no accident."""
        kind, digest = image.split(":")
        if self.kind.endswith("c"):
            store = self.folder / f"data/containerd/daemon/io.containerd.content.v1.content/blobs/{kind}"
            # An image is known by its manifest in newer engines, by its configuration in older ones.
            config = json.loads((store / digest).read_bytes())
            if "rootfs" not in config:
                config = json.loads((store / config["config"]["digest"].split(":")[1]).read_bytes())
        else:
            config = json.loads((self.folder / f"data/image/overlay2/imagedb/content/{kind}/{digest}").read_bytes())
        if not has_time:
            config.pop("created", None)
        for entry in config.get("history", []):
            entry.pop("created", None)
        return json.dumps(config, sort_keys=True)


def place(name: str) -> tuple[str, int]:
    """Stage and number of a step, from its name: `[build 2/5] RUN make`. The stage of a file with only one is empty."""
    stage, number = re.match(r"\[(?:(.*) )?\s*(\d+)/\d+\]", name).groups()
    return (stage or "").strip(), int(number)


def is_step(name: str) -> bool:
    """Whether it is a step of a Dockerfile. Looking up a base image is none."""
    return bool(re.match(r"\[[^\]]*\d+/\d+\] (?!FROM )", name))


def events(log: str) -> Iterator[dict]:
    """The JSON objects in a log. Buildx 0.13 lays each out on many lines."""
    decoder = json.JSONDecoder()
    end = 0
    for begin in (match.start() for match in re.finditer(r"^\{", log, re.MULTILINE)):
        if begin >= end:
            event, end = decoder.raw_decode(log, begin)
            yield event


def rawjson(log: str) -> tuple[list[str], list[str]]:
    """What ran and what did not. That a step was cached is said once, in any of its events."""
    names: dict[str, str] = {}
    started: set[str] = set()
    cached: set[str] = set()
    for event in events(log):
        for vertex in event.get("vertexes") or []:
            digest = vertex["digest"]
            names[digest] = vertex.get("name") or names.get(digest, "")
            started |= {digest} if vertex.get("started") else set()
            cached |= {digest} if vertex.get("cached") else set()
    steps = {digest: name for digest, name in names.items() if is_step(name)}
    ran = [name for digest, name in steps.items() if digest in started - cached]
    return ran, [name for digest, name in steps.items() if digest in cached]


def plain(log: str) -> tuple[list[str], list[str]]:
    """The same of the log for people, which says `CACHED` or `DONE` once for a step."""
    names: dict[str, str] = {}
    ran, cached = [], []
    for line in log.splitlines():
        match = re.match(r"#(\d+) (.*)", line)
        if not match:
            continue
        number, text = match.groups()
        if is_step(text):
            names.setdefault(number, text)
        elif number in names and text == "CACHED":
            cached.append(names[number])
        elif number in names and re.match(r"DONE [\d.]+s$", text):
            ran.append(names[number])
    return ran, cached
