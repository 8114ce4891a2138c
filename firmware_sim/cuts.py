"""Power cuts at every operation of every script with one device, and sampled pairs of cuts, which also hit recovery."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from firmware_sim import power
from firmware_sim.checkers.device import check
from firmware_sim.checkers.law import Violation
from firmware_sim.flash import Flash
from firmware_sim.scripts import SCRIPTS, Script
from firmware_sim.solo import Broker, Solo


@dataclass(frozen=True, slots=True)
class CutResult:
    """The result of one run."""

    scenario: str
    seed: int
    operations: tuple[int, ...]
    violation: str = ""

    @property
    def reproduce(self) -> str:
        """The command that repeats this run."""
        cuts = " ".join(str(operation) for operation in self.operations)
        return f"edgeward-sim cuts --script {self.scenario} --seed {self.seed} --at {cuts}"


def run_once(scenario: Script, seed: int, operations: tuple[int, ...]) -> tuple[CutResult, Solo]:
    """Runs a script with cuts at these operations on flash. Returns the result and the world."""
    flash = Flash(Random(f"{seed}/flash"), power.Power(power.at(*operations)))  # noqa: S311 - a simulation
    world = Solo(flash, Broker(), scenario.models)
    try:
        scenario.script(world)
        world.run(scenario.ends_at)
        check(scenario, world.device)
    except Violation as violation:
        return CutResult(scenario.name, seed, operations, str(violation)), world
    return CutResult(scenario.name, seed, operations), world


def every_cut(scenario: Script, seed: int, step: int = 1) -> Iterator[CutResult]:
    """Yields the results of one run without a cut, then of one run for each operation of it, or for each `step`-th."""
    calm, world = run_once(scenario, seed, ())
    yield calm
    for operation in range(1, world.flash.power.operations + 1, step):
        yield run_once(scenario, seed, (operation,))[0]


def sampled_pairs(scenario: Script, seed: int, count: int) -> Iterator[CutResult]:
    """Yields the results of runs with two cuts.

    The second comes soon after the first, so that it falls into recovery.
    """
    operations = run_once(scenario, seed, ())[1].flash.power.operations
    rng = Random(f"{seed}/{scenario.name}/pairs")  # noqa: S311 - a simulation
    for number in range(count):
        first = rng.randint(1, operations)
        yield run_once(scenario, seed + number, (first, first + rng.randint(1, 12)))[0]


def by_name(name: str) -> Script:
    """Returns the script of this name. KeyError if there is none."""
    return {scenario.name: scenario for scenario in SCRIPTS}[name]
