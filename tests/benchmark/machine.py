"""What the numbers were taken on."""

import contextlib
import os
import platform
import subprocess
from pathlib import Path

from . import engines


def machine() -> dict:
    """The processor, the memory and the kernel."""
    processors = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").open() if line.startswith("model name")]
    return {
        "processor": processors[0] if processors else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
    }


def versions(kind: str, registry: str) -> dict[str, str]:
    """The versions of an engine and of its buildx, if it has one; or of buildah."""
    if kind == "buildah":
        return {"buildah": first_line(["buildah", "--version"]).split()[2]}
    with engines.Docker(kind, registry) as engine, contextlib.suppress(subprocess.CalledProcessError):
        found = {"docker": engine.output("docker", "version", "--format={{.Server.Version}}").decode().strip()}
        found["buildx"] = engine.output("docker", "buildx", "version").decode().split()[1]
    return found


def first_line(command: list[str]) -> str:
    """What a program says of itself."""
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()[0]
