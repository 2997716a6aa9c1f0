"""What layerlift adds: to each form of command that it wraps, with the same work for the engine; `layerlift plan`; the shim."""

import json
import statistics
import subprocess
import time
from pathlib import Path

from .contenders import gitlab_variables
from .engines import Docker
from .measuring import Command, measure
from .testbed import ROOT, say

HELLO = ROOT / "examples/hello"
CANDIDATES = 5
"""Scopes that `plan` looks for beside the job's own."""
CALLS_OF_SHIM = 200


def forms(layerlift: Path, repository: str, folder: Path) -> dict[str, tuple[Command, Command]]:
    """Every form of a build: the command as people write it, and with layerlift."""
    program, hello, tag = str(layerlift), str(HELLO), f"{repository}:1"
    build = {"context": hello, "network": "host"}
    bakefile, composefile = folder / "bake.json", folder / "compose.json"
    bakefile.write_text(json.dumps({"target": {"default": {**build, "tags": [tag]}}}))
    composefile.write_text(json.dumps({"services": {"app": {"image": tag, "build": build}}}))
    arguments = ["--network=host", f"--tag={tag}", "--push", hello]
    bake = [f"--file={bakefile}", "--allow=network.host", f"--allow=fs.read={hello}", "--push"]
    compose = [f"--file={composefile}", "build", "--push"]
    cache = f"type=registry,ref={repository}/bare:cache"
    plain = ["--keep-image", "--strategy=off"]
    buildx = ["docker", "buildx", "build"]
    return {
        "build": ([*buildx, *arguments], [program, "build", *plain, *arguments]),
        "build with a registry cache": (
            [*buildx, f"--cache-from={cache}", f"--cache-to={cache},mode=max", *arguments],
            [program, "build", "--keep-image", "--strategy=registry", *arguments],
        ),
        "run": ([*buildx, *arguments], [program, "run", *plain, "--", *buildx, *arguments]),
        "bake": (["docker", "buildx", "bake", *bake], [program, "bake", *plain, *bake]),
        "compose": (["docker", "compose", *compose], [program, "compose", *plain, *compose]),
    }


def run(layerlift: Path, rounds: int, registry: str, folder: Path) -> dict:
    """Seconds of each form, bare and wrapped, in turns; and of `plan` with six candidates in the chain."""
    pairs: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds):
        repository = f"{registry}/bench/overhead-{number}"
        for index, (name, commands) in enumerate(forms(layerlift, repository, folder).items()):
            for who, command in zip(("bare", "layerlift"), commands):
                job = gitlab_variables(f"{repository}/{index}") if who == "layerlift" else {}
                with Docker("28c", registry) as engine:
                    seconds = measure([command], folder, engine.environment | job, None, None).seconds
                pairs.setdefault(name, {}).setdefault(who, []).append(seconds)
                say(f"{seconds:7.2f} s  cold hello  {name}  {who}")
    with Docker("28c", registry) as engine:
        fallback = ",".join(f"branch-{number}" for number in range(CANDIDATES))
        environment = engine.environment | gitlab_variables(f"{registry}/bench/plan") | {"LAYERLIFT_FALLBACK": fallback}
        plan = [str(layerlift), "plan", "--network=host", f"--tag={registry}/bench/plan:1", "--push", "."]
        taken = [measure([plan], HELLO, environment, None, None).seconds for _ in range(11)]
    # The first one is not counted: it reads the binary from disk.
    return {"builds": pairs, "plan": taken[1:]}


def text(overhead: dict) -> str:
    lines = []
    for name, pair in overhead["builds"].items():
        bare, lifted = (statistics.median(pair[who]) for who in ("bare", "layerlift"))
        lines.append(f"cold {name}: {bare:.2f} s bare, {lifted:.2f} s layerlift ({(lifted / bare - 1) * 100:+.1f} %)")
    lines.append(f"layerlift plan: {statistics.median(overhead['plan']):.3f} s, at most {max(overhead['plan']):.3f} s")
    return "\n".join(lines)


def run_shim(layerlift: Path, folder: Path) -> dict[str, list[float]]:
    """Milliseconds of `docker --version`, a program that ends at once, called by its own path and through the shim, in turns."""
    times: dict[str, list[float]] = {"bare": [], "shim": []}
    for part in ("bin", "tmp"):
        (folder / part).mkdir(parents=True)
    (folder / "bin/docker").symlink_to("/bin/true")
    bare = {"PATH": f"{folder}/bin:/usr/bin:/bin", "TMPDIR": f"{folder}/tmp"}
    subprocess.run([layerlift, "shim"], env=bare, stdout=subprocess.DEVNULL, check=True)
    (shims,) = (folder / "tmp").iterdir()
    paths = {"bare": bare, "shim": bare | {"PATH": f"{shims}:{bare['PATH']}"}}
    programs = {"bare": f"{folder}/bin/docker", "shim": f"{shims}/docker"}
    for _ in range(CALLS_OF_SHIM):
        for who, collected in times.items():
            begin = time.monotonic()
            subprocess.run([programs[who], "--version"], env=paths[who], stdout=subprocess.DEVNULL, check=True)
            collected.append(round((time.monotonic() - begin) * 1000, 3))
    return times


def shim_text(times: dict[str, list[float]]) -> str:
    bare, shim = (statistics.median(times[who]) for who in ("bare", "shim"))
    worst = statistics.quantiles(times["shim"], n=20)[-1]
    medians = f"{bare:.1f} ms bare, {shim:.1f} ms through the shim (+{shim - bare:.1f} ms), 19 of 20 below {worst:.1f} ms"
    return f"docker --version, {len(times['bare'])} calls: {medians}"
