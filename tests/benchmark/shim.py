"""What the shim adds to a command that builds nothing: a program called `docker` that ends at once, in turns."""

import statistics
import subprocess
import time
from pathlib import Path

CALLS = 200


def run(layerlift: Path, folder: Path) -> dict[str, list[float]]:
    """Milliseconds of `docker --version`, called by its own path and through the shim."""
    times: dict[str, list[float]] = {"bare": [], "shim": []}
    for part in ("bin", "tmp"):
        (folder / part).mkdir(parents=True)
    (folder / "bin/docker").symlink_to("/bin/true")
    bare = {"PATH": f"{folder}/bin:/usr/bin:/bin", "TMPDIR": f"{folder}/tmp"}
    subprocess.run([layerlift, "shim"], env=bare, stdout=subprocess.DEVNULL, check=True)
    (shims,) = (folder / "tmp").iterdir()
    paths = {"bare": bare, "shim": bare | {"PATH": f"{shims}:{bare['PATH']}"}}
    programs = {"bare": f"{folder}/bin/docker", "shim": f"{shims}/docker"}
    for _ in range(CALLS):
        for who, collected in times.items():
            begin = time.monotonic()
            subprocess.run([programs[who], "--version"], env=paths[who], stdout=subprocess.DEVNULL, check=True)
            collected.append(round((time.monotonic() - begin) * 1000, 3))
    return times


def text(times: dict[str, list[float]]) -> str:
    bare, shim = (statistics.median(times[who]) for who in ("bare", "shim"))
    worst = statistics.quantiles(times["shim"], n=20)[-1]
    return f"docker --version, {len(times['bare'])} calls: {bare:.1f} ms bare, {shim:.1f} ms through the shim (+{shim - bare:.1f} ms), 19 of 20 below {worst:.1f} ms"
