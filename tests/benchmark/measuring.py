"""Seconds of commands, and what they cost: bytes to and from the registry, CPU seconds of the client and of the engine.

CPU seconds of the client are those of the commands and of all processes that they waited for (wait4). Those of the engine
are of dockerd, containerd, its shims and their descendants, from /proc: a process that has ended is in its parent's sum
of ended children, and BuildKit runs each step as a descendant of dockerd. So the steps' own work is in it. The registry's
work is in neither.
"""

import contextlib
import os
import platform
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .proxy import Proxy

Command = list[str]
TICK = 1 / os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A command failed; with the end of what it said."""


@dataclass
class Measured:
    """What some commands took, one after another."""

    seconds: float
    up: int
    """Bytes to the registry."""
    down: int
    """Bytes from the registry."""
    client: float
    """CPU seconds."""
    engine: float | None
    """CPU seconds; None where no engine builds."""


def measure(
    commands: list[Command], folder: Path, environment: dict[str, str], engine: str | None, proxy: Proxy | None
) -> Measured:
    """Runs commands in a folder; `engine` is a text in the command lines of the engine's processes."""
    client = 0.0
    with tempfile.TemporaryFile() as log:
        bytes_before, before = proxy.counted() if proxy else {}, cpu_seconds(engine)
        begin = time.monotonic()
        for command in commands:
            code, seconds = run(command, folder, environment, log)
            client += seconds
            if code:
                log.seek(0)
                tail = log.read().decode(errors="replace").splitlines()[-30:]
                raise Failed("\n".join([*tail, f"error: exit code {code}: {' '.join(command)}"]))
        seconds = time.monotonic() - begin
    after = cpu_seconds(engine)
    moved = {way: number - bytes_before[way] for way, number in proxy.counted().items()} if proxy else {"up": 0, "down": 0}
    used = None if after is None or before is None else round(after - before, 2)
    return Measured(round(seconds, 3), moved["up"], moved["down"], round(client, 2), used)


def run(command: Command, folder: Path, environment: dict[str, str], log) -> tuple[int, float]:
    """Exit code and CPU seconds of a command. It is ended when this is interrupted."""
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime


def cpu_seconds(text: str | None) -> float | None:
    """CPU seconds so far of the processes with a text in their command line, of their descendants, and of ended children."""
    if text is None:
        return None
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    counted: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # After the name, which may hold blanks: state, parent, ...; user, system and both of ended children from 11 on.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            pid = int(entry.name)
            parents[pid], ticks[pid] = int(fields[1]), sum(map(int, fields[11:15]))
            if text.encode() in (entry / "cmdline").read_bytes():
                counted.add(pid)

    def belongs(pid: int) -> bool:
        while pid in parents:
            if pid in counted:
                return True
            pid = parents[pid]
        return False

    return sum(ticks[pid] for pid in parents if belongs(pid)) * TICK


def machine() -> dict:
    """What is measured on: the processor, the memory and the kernel."""
    processors = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").open() if line.startswith("model name")]
    return {
        "processor": processors[0] if processors else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
    }
