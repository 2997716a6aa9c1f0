"""Every cell of the comparison, in turns: within a scenario all contenders come one after another, each on an empty engine.

A round has a registry of its own with nothing in it, and each contender its own repository there and its own copy of the
project. The order of the contenders turns from round to round.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import engines, proof, testbed
from .contenders import NETWORK_FILE, Contender, Job, network_file
from .measuring import Failed, measure
from .proxy import Proxy
from .registry import Registry
from .runs import Run, Runs
from .scenarios import SCENARIOS, needed
from .testbed import say
from .workloads import WORKLOADS, Workload


@dataclass(frozen=True)
class Selection:
    """Which cells."""

    workloads: list[str]
    scenarios: list[str]
    contenders: list[Contender]
    round_trips_ms: list[float]
    rounds: int


@dataclass
class Outcome:
    """What came of them."""

    runs: Runs = field(default_factory=Runs)
    engines: dict[str, dict[str, str]] = field(default_factory=dict)
    """The versions of each engine that built."""
    failures: list[str] = field(default_factory=list)
    """What failed, and where, with the end of its output. The contender sits out the rest of its round."""


def run_all(selection: Selection, folder: Path, outcome: Outcome, after_round: Callable[[], None]) -> None:
    """Runs the cells, and adds what they took to the outcome."""
    for number in range(selection.rounds):
        for name in selection.workloads:
            for round_trip_ms in selection.round_trips_ms:
                place = folder / f"{number}-{name}-{round_trip_ms:g}"
                with Registry() as registry, Proxy(registry.port, round_trip_ms / 1000) as proxy:
                    registry.add_base(WORKLOADS[name].base)
                    Round(name, number, round_trip_ms, registry, proxy, place).run(selection, outcome)
                shutil.rmtree(place, ignore_errors=True)
                after_round()


@dataclass
class Round:
    """One round of a workload."""

    name: str
    number: int
    round_trip_ms: float
    registry: Registry
    proxy: Proxy
    folder: Path
    bases: dict[str, str] = field(default_factory=dict)
    """By repository: the state of the base image that its contender builds from."""

    @property
    def workload(self) -> Workload:
        return WORKLOADS[self.name]

    def run(self, selection: Selection, outcome: Outcome) -> None:
        """All contenders' builds."""
        turned = self.number % len(selection.contenders)
        going = selection.contenders[turned:] + selection.contenders[:turned]
        for place, scenario in enumerate(SCENARIOS):
            for contender in list(going):
                if scenario not in needed(selection.scenarios, contender.keeps_state):
                    continue
                where = f"{self.name}, {scenario}, {contender.title} on {engines.ENGINES[contender.engine]}"
                try:
                    run = self.build(contender, scenario, place + 1, outcome)
                except (Failed, proof.Stale) as error:
                    outcome.failures.append(f"{where}:\n{error}")
                    say(outcome.failures[-1])
                    going.remove(contender)
                    continue
                asked = scenario in selection.scenarios
                if asked:
                    outcome.runs.all.append(run)
                say(f"{run.seconds:7.2f} s  {where}, {self.round_trip_ms:g} ms{'' if asked else ' (not asked for, but needed)'}")

    def build(self, contender: Contender, scenario: str, number: int, outcome: Outcome) -> Run:
        """One build on an empty engine, and the proof of what it pushed."""
        sample = self.folder / f"{contender.name}-{contender.engine}"
        if not sample.exists():
            shutil.copytree(testbed.ROOT / self.workload.folder, sample)
            if self.workload.bakefile:
                (sample / NETWORK_FILE).write_text(network_file(self.workload))
        what = SCENARIOS[scenario]
        what.prepare(self.workload, sample, number)
        repository = f"bench/{contender.name}-{contender.engine}"
        # A base that has moved does not move back.
        state = self.bases[repository] = "moved" if what.moves_base else self.bases.get(repository, "now")
        base = self.registry.put_base(self.workload.base, state, repository)
        job = Job(self.workload, f"{self.proxy.address}/{repository}", f"{self.proxy.address}/{base}", what.branch)
        with engines.empty(contender.engine, self.proxy.address) as engine:
            environment = engine.environment | contender.environment(job)
            took = measure(contender.commands(job), sample, environment, engine.processes(), self.proxy)
            if contender.engine not in outcome.engines:
                outcome.engines[contender.engine] = engine.versions()
        proof.check(job, f"{self.registry.address}/{base}", what, sample, f"{self.registry.address}/{repository}")
        return Run(
            workload=self.name, scenario=scenario, contender=contender.name, engine=contender.engine,
            round_trip_ms=self.round_trip_ms, round=self.number, seconds=took.seconds, bytes_up=took.up, bytes_down=took.down,
            cpu_client=took.client, cpu_engine=took.engine,
        )  # fmt: skip
