"""An unchanged build that is answered from the registry, without an engine, also behind a slow line; and many files."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from . import testbed
from .contenders import gitlab_variables
from .engines import Docker
from .measuring import Command, measure
from .proxy import Proxy

CALLS = 7
ROUND_TRIP = 0.025
"""Seconds that the proxy adds."""


def make_image(folder: Path) -> None:
    """A project whose image has 300 MB, and whose context has 2,000 files."""
    for number in range(2000):
        path = folder / f"src/{number // 100}/{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"print({number})\n" * 100)
    layers = "".join(f"RUN dd if=/dev/urandom of=/{number} bs=1M count=100\n" for number in range(3))
    (folder / "Dockerfile").write_text(f"FROM busybox\n{layers}COPY src /src\n")


def make_files(folder: Path) -> None:
    """A context of 20,000 files and 1 GB."""
    for number in range(20000):
        path = folder / f"{number // 200}/{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(50000))
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")


def run(layerlift: Path, registry: str, folder: Path) -> dict[str, list[float]]:
    """Seconds by what was done."""
    sample, files = folder / "reuse", folder / "files"
    make_image(sample)
    make_files(files)
    name = "bench/reuse"
    nowhere = testbed.clean_environment() | {"DOCKER_HOST": "unix:///nowhere", "HOME": str(folder)}

    def build(host: str, tag: object) -> Command:
        return [str(layerlift), "build", "--network=host", "--push", f"--tag={host}/{name}/app:{tag}", "."]

    def times(command: Callable[[int], Command], where: Path, job: dict[str, str]) -> list[float]:
        taken = []
        for number in range(CALLS):
            begin = time.monotonic()
            subprocess.run(command(number), cwd=where, env=nowhere | job, capture_output=True, check=True)
            taken.append(round(time.monotonic() - begin, 3))
        return taken

    with Docker("28c", registry) as engine:
        job = gitlab_variables(f"{registry}/{name}")
        measure([build(registry, "first")], sample, engine.environment | job, None, None)
    result = {"loopback": times(lambda number: build(registry, number), sample, job)}
    with Proxy(int(registry.rsplit(":", 1)[1]), ROUND_TRIP) as proxy:
        job = gitlab_variables(f"{proxy.address}/{name}")
        result["25 ms"] = times(lambda number: build(proxy.address, f"later-{number}"), sample, job)
    result["1 GB of files"] = times(lambda _: [str(layerlift), "digest", "."], files, {"CI": "true"})
    return result


def text(reuse: dict[str, list[float]]) -> str:
    return "\n".join(
        f"{name:14} {min(taken):.2f} s, median {statistics.median(taken):.2f} s, at most {max(taken):.2f} s"
        for name, taken in reuse.items()
    )
