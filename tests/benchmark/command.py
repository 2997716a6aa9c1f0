"""The command line of tests/bench."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import builds, chart, interrupts, measuring, overhead, reuse, table
from .builds import Outcome, Selection
from .contenders import NAMES, Contender, contenders
from .engines import ENGINES
from .registry import Registry
from .runs import Runs
from .scenarios import SCENARIOS
from .testbed import ROOT, say
from .workloads import COMPARED, WORKLOADS

PARTS = ("builds", "overhead", "reuse", "shim")


def described(things: dict) -> str:
    return "\n".join(f"  {name:<12}{thing.title}" for name, thing in things.items())


DESCRIPTION = f"""\
Times builds on empty engines: layerlift beside the lines that people write by hand.

Every contender builds and pushes the same projects; each build has an engine without any state. Its time covers all
commands up to the pushed image, and not the engine's start. Contenders take turns within a scenario, so that a slow
minute of the machine meets all of them. The registry is the benchmark's own and empty at first; the way to it is a proxy
that counts bytes and adds latency. After each build the pushed image is read back: it must stand on the base and hold
the source that it was built from.

Workloads (--workload):
{described(WORKLOADS)}
Scenarios (--scenario); each build comes after a cold one:
{described(SCENARIOS)}
Contenders (--contender):
  no-cache          docker build, docker push
  two-step          the recipe for stages: the first one is built and pushed with its inline cache, then the whole
  buildx            cache in the registry, mode=max, the engine's own builder
  same-exports      buildx with the output and the cache export that layerlift chooses, written by hand
  buildx-container  cache in the registry, a builder in a container (needs --builder-image)
  buildah           --layers --cache-from --cache-to
  layerlift         before the line of no-cache

Other parts (--only): `overhead` of each form of command that layerlift wraps, and of `layerlift plan`; `reuse` of an
unchanged image of 300 MB without an engine, and the reading of 20,000 files; `shim` before a command that builds nothing.

Needs root on Debian, as tests/testbed/setup does; run that with --with-python before. Everything takes some
hours; one workload on one engine, without latency, about a quarter of an hour a round.
"""

EXAMPLES = """\
examples:
  tests/bench --rounds 3 --svg target/bench.svg                          everything
  tests/bench --only builds --workload app --engine 28c --latency 0      one project on one engine
  tests/bench --only builds --scenario cold --engine 28c --rounds 5 \\
      --contender layerlift --contender same-exports                     what layerlift costs, cold
  tests/bench --from target/bench.json --svg target/bench.svg            table and chart of an earlier run
"""


def parse() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(
        "tests/bench", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    binary = ROOT / "target/static/layerlift"
    parser.add_argument(
        "--layerlift", metavar="FILE", default=binary, type=Path, help="binary, as CI ships it [default: target/static/layerlift]"
    )
    parser.add_argument("--rounds", metavar="N", default=1, type=positive, help="repetitions; the medians count [default: 1]")
    parser.add_argument("--only", choices=PARTS, help="one part; the shim needs no engine")
    parser.add_argument(
        "--workload", action="append", choices=WORKLOADS, help="only this one; may be repeated [default: all but hello]"
    )
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this one; may be repeated")
    parser.add_argument("--contender", action="append", choices=NAMES, help="only this one; may be repeated")
    parser.add_argument(
        "--engine", action="append", choices=ENGINES, help="only this engine; may be repeated; `buildah` is no engine"
    )
    parser.add_argument(
        "--latency",
        metavar="MS",
        action="append",
        type=milliseconds,
        help="added round-trip time to the registry; may be repeated [default: 0 and 25]",
    )
    parser.add_argument("--by-hand", action="store_true", help="only the lines written by hand; needs no binary")
    parser.add_argument("--builder-image", metavar="REF", help="image of BuildKit, for the builder in a container")
    parser.add_argument(
        "--json",
        metavar="FILE",
        default=ROOT / "target/bench.json",
        type=Path,
        help="every run, and the ratios [default: target/bench.json]",
    )
    parser.add_argument("--svg", metavar="FILE", type=Path, help="a chart of the medians")
    parser.add_argument(
        "--from",
        dest="earlier",
        metavar="FILE",
        action="append",
        type=Path,
        help="run nothing: show the chosen builds of an earlier run's JSON; may be repeated",
    )
    return parser, parser.parse_args()


def positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def milliseconds(text: str) -> float:
    if not 0 <= float(text) <= 10000:
        raise ValueError
    return float(text)


def selected(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Selection:
    """The cells that the options ask for."""
    found: list[Contender] = [
        one
        for one in contenders(options.layerlift, options.builder_image)
        if one.name in (options.contender or NAMES)
        and one.engine in (options.engine or ENGINES)
        and not (options.by_hand and not one.by_hand)
    ]
    if "buildx-container" in (options.contender or ()) and not options.builder_image:
        parser.error("buildx-container needs --builder-image")
    if not found:
        parser.error("no contender is left: not every one builds on every engine")
    scenarios = [name for name in SCENARIOS if name in (options.scenario or SCENARIOS)]
    round_trips = list(dict.fromkeys(options.latency or [0.0, 25.0]))
    return Selection(list(dict.fromkeys(options.workload or COMPARED)), scenarios, found, round_trips, options.rounds)


def earlier(options: argparse.Namespace) -> Runs:
    """What earlier runs measured, of what the options ask for."""
    found = []
    for file in options.earlier:
        found += Runs.from_json(json.loads(file.read_text()).get("builds", {"runs": []})).all
    wanted = {
        "workload": options.workload, "scenario": options.scenario, "contender": options.contender,
        "engine": options.engine, "round_trip_ms": options.latency,
    }  # fmt: skip
    return Runs(
        run for run in found if all(getattr(run, name) in (values or [getattr(run, name)]) for name, values in wanted.items())
    )


def main() -> None:
    parser, options = parse()
    if options.earlier:
        runs = earlier(options)
        if not runs.all:
            parser.error("there are no such builds")
        return show(runs, options)
    options.layerlift = options.layerlift.resolve()
    parts = [part for part in PARTS if part == (options.only or part)]
    if options.by_hand:
        parts = ["builds"]
    elif not os.access(options.layerlift, os.X_OK):
        parser.error(f"{options.layerlift} is no program: ./examples/quickstart builds it, --layerlift FILE names another")
    selection = selected(parser, options)
    interrupts.install()
    outcome = Outcome()
    result = {"date": time.strftime("%Y-%m-%d"), "machine": measuring.machine(), "rounds": options.rounds}

    def write() -> None:
        if "builds" in parts:
            result["engines"] = outcome.engines
            result["builds"] = outcome.runs.as_json() | {"failures": outcome.failures}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")

    if not options.by_hand:
        result["layerlift"] = (
            subprocess.run([options.layerlift, "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
        )
    with tempfile.TemporaryDirectory(prefix="layerlift-bench-") as name:
        folder = Path(name)
        try:
            if "builds" in parts:
                builds.run_all(selection, folder, outcome, write)
            other_parts(parts, options, folder, result)
        finally:
            # Also what there is when it is interrupted.
            write()
            say(f"written: {options.json}")
            if outcome.runs.all:
                show(outcome.runs, options)
    if outcome.failures:
        sys.exit(f"error: {len(outcome.failures)} failed:\n\n" + "\n\n".join(outcome.failures))
    if any(line.endswith(table.FAILED) for line in table.overhead(outcome.runs)):
        sys.exit("error: a cold build with layerlift takes too long")


def other_parts(parts: list[str], options: argparse.Namespace, folder: Path, result: dict) -> None:
    """Runs the parts that are no comparison of contenders, and prints what they took."""
    if "overhead" in parts or "reuse" in parts:
        with Registry() as registry:
            registry.add_base("busybox:latest")
            if "overhead" in parts:
                result["overhead"] = overhead.run(options.layerlift, max(3, options.rounds), registry.address, folder)
                print(overhead.text(result["overhead"]))
            if "reuse" in parts:
                result["reuse"] = reuse.run(options.layerlift, registry.address, folder)
                print(reuse.text(result["reuse"]))
    if "shim" in parts:
        result["shim"] = overhead.run_shim(options.layerlift, folder / "shim")
        print(overhead.shim_text(result["shim"]))


def show(runs: Runs, options: argparse.Namespace) -> None:
    """Prints the tables, and writes the chart that was asked for."""
    titles = table.titles(contenders(options.layerlift, "of the builder"))
    print(table.text(runs, titles))
    if options.svg:
        options.svg.parent.mkdir(parents=True, exist_ok=True)
        options.svg.write_text(chart.svg(runs, titles))
        say(f"written: {options.svg}")
