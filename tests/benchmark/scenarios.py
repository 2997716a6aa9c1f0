"""What happened to a project since its last build. Each comes upon the state that the ones before it left."""

from dataclasses import dataclass
from pathlib import Path

from .workloads import Workload

MAIN = "main"
BRANCH = "feature/faster"


@dataclass(frozen=True)
class Scenario:
    """One build of a project by a runner that has never seen it."""

    title: str
    """As in `with ...`, for the help."""
    changes_source: bool = False
    changes_dependencies: bool = False
    moves_base: bool = False
    """The base image's tag points to another digest."""
    branch: str = MAIN
    """The branch of the pipeline. A new one has nothing in the registry; the default branch has what was built before."""

    def prepare(self, workload: Workload, sample: Path, number: int) -> None:
        """Edits the project."""
        if self.changes_source:
            workload.change_source(sample, number)
        if self.changes_dependencies:
            workload.change_dependencies(sample)


SCENARIOS = {
    "cold": Scenario("nothing of the project in the registry"),
    "unchanged": Scenario("the same again"),
    "source": Scenario("one source file changed", changes_source=True),
    "dependency": Scenario("the dependency file changed", changes_dependencies=True),
    "base": Scenario("the base image's tag moved to another digest", moves_base=True),
    "branch": Scenario("one source file changed on a branch that was never built", changes_source=True, branch=BRANCH),
}


def needed(chosen: list[str], keeps_state: bool) -> list[str]:
    """The scenarios to run, in their order: those that were chosen, after a cold build where there is a state to keep."""
    return [name for name in SCENARIOS if name in chosen or (keeps_state and name == "cold")]
