"""What was measured, one run a build, and what follows from many: medians, and ratios pair by pair.

A pair is two contenders' builds of the same workload and scenario in the same round, at the same latency. They were made
minutes apart, so a slow hour of the machine is in both and falls out of their ratio.
"""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass

MOST_OVERHEAD = 0.03
"""What layerlift may take longer than the same exports by hand, cold."""


@dataclass(frozen=True)
class Run:
    """One build."""

    workload: str
    scenario: str
    contender: str
    engine: str
    round_trip_ms: float
    """Latency that was added on the way to the registry."""
    round: int
    seconds: float
    bytes_up: int
    bytes_down: int
    cpu_client: float
    """Seconds."""
    cpu_engine: float | None
    """Seconds; None where no engine builds."""

    def cell(self) -> tuple:
        """What it has in common with the other rounds of itself."""
        return (self.workload, self.round_trip_ms, self.scenario, self.contender, self.engine)


@dataclass(frozen=True)
class Spread:
    """Several numbers in short."""

    least: float
    median: float
    most: float
    count: int

    @staticmethod
    def of(numbers: Iterable[float]) -> "Spread | None":
        """None of none."""
        numbers = list(numbers)
        return Spread(min(numbers), statistics.median(numbers), max(numbers), len(numbers)) if numbers else None

    def text(self, digits: int, unit: str) -> str:
        """The median, and from where to where the others are."""
        between = f" ({self.least:.{digits}f} to {self.most:.{digits}f})" if self.count > 1 else ""
        return f"{self.median:.{digits}f}{unit}{between}"


class Runs:
    """All builds of the comparison."""

    def __init__(self, runs: Iterable[Run] = ()):
        self.all = list(runs)

    def chosen(self, **of: object) -> list[Run]:
        """The runs with these values, by round."""
        found = [run for run in self.all if all(getattr(run, name) == value for name, value in of.items())]
        return sorted(found, key=lambda run: run.round)

    def values(self, name: str) -> list:
        """The different values of a field, in the order in which they came."""
        return list(dict.fromkeys(getattr(run, name) for run in self.all))

    def lines(self, **of: object) -> list[tuple[str, str]]:
        """Contender and engine of every line, in order."""
        return list(dict.fromkeys((run.contender, run.engine) for run in self.chosen(**of)))

    def spread(self, field: str, **of: object) -> Spread | None:
        """Of a field over the rounds; of what is known of it."""
        return Spread.of(value for run in self.chosen(**of) if (value := getattr(run, field)) is not None)

    def ratios(self, of: dict, to: dict, **both: object) -> Spread | None:
        """How many times as long one takes as the other, in the rounds in which both were built."""
        others = {run.round: run.seconds for run in self.chosen(**to, **both)}
        return Spread.of(run.seconds / others[run.round] for run in self.chosen(**of, **both) if run.round in others)

    def to_layerlift(self, contender: str, engine: str, **both: object) -> Spread | None:
        """How many times as long as layerlift on the same engine; where that was not run, on the containerd store."""
        for kind in (engine, "28c"):
            if contender != "layerlift" and (
                found := self.ratios(
                    {"contender": contender, "engine": engine}, {"contender": "layerlift", "engine": kind}, **both
                )
            ):
                return found
        return None

    def overhead(self, **both: object) -> Spread | None:
        """layerlift to the same exports by hand, cold."""
        return self.ratios({"contender": "layerlift"}, {"contender": "same-exports"}, engine="28c", scenario="cold", **both)

    def as_json(self) -> dict:
        """Every run, and what was worked out of them."""
        ratios = []
        for workload, round_trip_ms, scenario, contender, engine in dict.fromkeys(run.cell() for run in self.all):
            both = {"workload": workload, "round_trip_ms": round_trip_ms, "scenario": scenario}
            if ratio := self.to_layerlift(contender, engine, **both):
                ratios.append({**both, "contender": contender, "engine": engine, "times_layerlift": asdict(ratio)})
        return {"runs": [asdict(run) for run in self.all], "ratios": ratios}

    @staticmethod
    def from_json(found: dict) -> "Runs":
        """What `as_json` wrote."""
        return Runs(Run(**run) for run in found["runs"])
