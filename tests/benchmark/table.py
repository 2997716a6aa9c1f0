"""What was measured, as Markdown."""

from . import engines
from .contenders import Contender
from .runs import MOST_OVERHEAD, Runs
from .workloads import WORKLOADS

MEGABYTE = 1e6
FAILED = "FAIL"
"""The end of a line about overhead that is too large."""


def title(workload: str, round_trip_ms: float) -> str:
    way = f"registry {round_trip_ms:g} ms away" if round_trip_ms else "registry on loopback"
    return f"{WORKLOADS[workload].title}, {way}"


def markdown(rows: list[list[str]]) -> str:
    """A table; the first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows)


def text(runs: Runs, titles: dict[str, str]) -> str:
    """Two tables for each workload and latency, times and what they cost; then the overhead of a cold build."""
    parts = []
    for workload in runs.values("workload"):
        for round_trip_ms in runs.values("round_trip_ms"):
            of = {"workload": workload, "round_trip_ms": round_trip_ms}
            if not runs.lines(**of):
                continue
            parts += [
                f"{title(workload, round_trip_ms)}:",
                table(runs, titles, of, seconds),
                "What that cost:",
                table(runs, titles, of, costs),
            ]
    return "\n\n".join(parts + overhead(runs))


def titles(contenders: list[Contender]) -> dict[str, str]:
    """What contenders are called in tables and charts."""
    return {contender.name: contender.title for contender in contenders}


def table(runs: Runs, titles: dict[str, str], of: dict, cell) -> str:
    """One line for a contender on an engine, one column for a scenario."""
    scenarios = runs.values("scenario")
    rows = [["engine", "build", *scenarios]]
    for contender, engine in runs.lines(**of):
        cells = [cell(runs, contender, engine, of | {"scenario": scenario}) for scenario in scenarios]
        rows.append([engines.ENGINES[engine], titles.get(contender, contender), *cells])
    return markdown(rows)


def seconds(runs: Runs, contender: str, engine: str, of: dict) -> str:
    """The time, and how many times as long as layerlift's it is."""
    took = runs.spread("seconds", contender=contender, engine=engine, **of)
    if not took:
        return "failed"
    ratio = runs.to_layerlift(contender, engine, **of)
    return took.text(1, " s") + (f", {ratio.text(1, 'x')}" if ratio else "")


def costs(runs: Runs, contender: str, engine: str, of: dict) -> str:
    """Megabytes from and to the registry, and CPU seconds of client and engine, as medians."""
    of = of | {"contender": contender, "engine": engine}
    down, up = runs.spread("bytes_down", **of), runs.spread("bytes_up", **of)
    if not down:
        return "failed"
    client, engine_used = runs.spread("cpu_client", **of), runs.spread("cpu_engine", **of)
    processor = f"{client.median:.1f}" + (f" + {engine_used.median:.1f}" if engine_used else "")
    return f"{down.median / MEGABYTE:.1f} down, {up.median / MEGABYTE:.1f} up MB; CPU {processor} s"


def overhead(runs: Runs) -> list[str]:
    """layerlift beside the same exports by hand, cold: a line for each workload and latency that has both."""
    lines = []
    for workload in runs.values("workload"):
        for round_trip_ms in runs.values("round_trip_ms"):
            ratio = runs.overhead(workload=workload, round_trip_ms=round_trip_ms)
            if ratio:
                verdict = "pass" if ratio.median <= 1 + MOST_OVERHEAD else FAILED
                lines.append(
                    f"cold, layerlift to buildx with the same exports, {title(workload, round_trip_ms)}: "
                    f"{ratio.text(3, 'x')}, {ratio.count} pairs; at most {1 + MOST_OVERHEAD:.2f}x: {verdict}"
                )
    return lines
