"""One run of a scenario with one seed, and operations on runs: sweep, shrink, trace.

Decides the content of a result. Refuses to know how it is shown.
"""

import gc
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context

import msgspec

from contract.errors import BadInput, Code
from firmware_sim.checkers.delay import never_delays
from firmware_sim.checkers.fleet import check_world
from firmware_sim.checkers.law import Violation
from firmware_sim.device import Moment
from firmware_sim.scenario import DeviceFault, Scenario
from firmware_sim.sensors import Signal
from firmware_sim.world import FleetWorld

MAX_SHRINK_RUNS = 200
TRACE_LINES = 15
"""The number of newest moments that are shown before a broken law."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of one run."""

    scenario: str
    seed: int
    devices: int
    updates: int
    cuts: int
    events: int
    trace_hash: str
    law: str = ""
    violation: str = ""
    where: str = ""
    at: float = 0.0
    trace: tuple[str, ...] = ()
    """The moments around a broken law."""

    @property
    def reproduce(self) -> str:
        """The command that repeats this run."""
        return f"edgeward-sim run {self.scenario} --seed {self.seed} --devices {self.devices}"


def run_once(scenario: Scenario, seed: int) -> tuple[RunResult, FleetWorld]:
    """Runs and checks a scenario. A violation, or an exception in the agent, is a result and is not raised."""
    collects = gc.isenabled()
    gc.disable()  # a world is large and lives until the end: a search for cycles would take a tenth of the run
    try:
        return _run_and_check(FleetWorld(scenario, seed))
    finally:
        if collects:
            gc.enable()


def _run_and_check(world: FleetWorld) -> tuple[RunResult, FleetWorld]:
    law = violation = where = ""
    at = 0.0
    try:
        world.run()
        check_world(world)
        if world.hit:
            never_delays(world, _without_faults_of_devices(world))
    except Violation as broken:
        law, violation, where, at = broken.law, str(broken), broken.where, broken.at
    except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError, OSError) as error:
        law, violation, at = "never_falls_over", f"{type(error).__name__}: {error}", world.clock.now
    cuts = sum(device.flash.power.cuts for device in world.devices.values())
    counted = (len(world.devices), world.updates, cuts, world.clock.events)
    trace = _last_lines(world, where, at) if law else ()
    result = RunResult(world.scenario.name, world.seed, *counted, world.trace_hash(), law, violation, where, at, trace)
    return result, world


def _without_faults_of_devices(world: FleetWorld) -> FleetWorld:
    """Returns the same world at its end, without the faults of single devices."""
    faults = tuple(each for each in world.scenario.fault if not isinstance(each, DeviceFault))
    well = FleetWorld(msgspec.structs.replace(world.scenario, fault=faults), world.seed)
    well.run()
    return well


def _last_lines(world: FleetWorld, where: str, at: float) -> tuple[str, ...]:
    device = where if where in world.devices else None
    return tuple(trace_lines(world, device, until=at))[-TRACE_LINES:]


def sweep(scenarios: Sequence[Scenario], seeds: Iterable[int], processes: int) -> Iterator[RunResult]:
    """Runs every scenario with every seed over several processes. Yields results in order of completion."""
    jobs = [(scenario, seed) for seed in seeds for scenario in scenarios]
    with get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_result_only, jobs, chunksize=4)


def _result_only(job: tuple[Scenario, int]) -> RunResult:
    return run_once(*job)[0]


def shrink(scenario: Scenario, seed: int, law: str) -> tuple[Scenario, int]:
    """Returns a smaller scenario that breaks the same law with the same seed, and the number of runs that this took."""
    runs = 0
    smaller = True
    while smaller and runs < MAX_SHRINK_RUNS:
        smaller = False
        for candidate in _smaller(scenario):
            runs += 1
            if run_once(candidate, seed)[0].law == law:
                scenario, smaller = candidate, True
                break
            if runs >= MAX_SHRINK_RUNS:
                break
    return scenario, runs


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Yields scenarios with fewer devices, faults, strata and releases, a quieter network, or a shorter run."""
    replace = msgspec.structs.replace
    for devices in (1, scenario.devices // 2, scenario.devices - 1):
        if 0 < devices < scenario.devices:
            yield replace(scenario, devices=devices)
    for number in range(len(scenario.fault)):
        yield replace(scenario, fault=scenario.fault[:number] + scenario.fault[number + 1 :])
    if len(scenario.release) > 1:
        yield replace(scenario, release=scenario.release[:-1])
    for field in ("loss", "drop", "duplicate", "bandwidth_bytes_s"):
        if getattr(scenario.network, field):
            yield replace(scenario, network=replace(scenario.network, **{field: 0.0}))
    if scenario.sensor != Signal():
        yield replace(scenario, sensor=Signal())
    if len(scenario.stratum) > 1:
        yield replace(scenario, stratum=(replace(scenario.stratum[0], fraction=1.0),))
    if scenario.hours / 2 * 3600 > scenario.heal_at_s + 600:
        yield replace(scenario, hours=scenario.hours / 2)


def resized(scenario: Scenario, devices: int | None, hours: float | None) -> Scenario:
    """Returns the scenario with another size. BadInput `config_invalid` if it would end before its faults do."""
    if devices is not None:
        scenario = msgspec.structs.replace(scenario, devices=devices)
    if hours is not None:
        scenario = msgspec.structs.replace(scenario, hours=hours)
    if scenario.heal_at_s >= scenario.ends_at_s:
        detail = f"{scenario.name} heals at {scenario.heal_at_s:.0f} s: run it for more than that"
        raise BadInput(Code.CONFIG_INVALID, detail)
    return scenario


def trace_lines(world: FleetWorld, device: str | None, until: float = math.inf) -> Iterator[str]:
    """Yields lines in the order of time, aligned: changes of rollouts, and the moments of the chosen device."""
    entries: list[tuple[float, str]] = []
    for at, rollout in world.controller.history:
        entries.append((at, f"controller  {rollout.id} {rollout.status}, wave {rollout.wave} {rollout.reason}"))
    for at, name, release, generation in world.controller.offers:
        if name == device:
            entries.append((at, f"controller  offers v{release} to {name} as generation {generation}"))
    if device is not None:
        for before, after in _pairs(world.devices[device].history):
            entries.append((after.at, f"{device:10}  {_change(before, after)}"))
    for at, words in sorted(entries):
        if at <= until:
            yield f"{at:9.2f} s  {words}"


def _pairs(history: Sequence[Moment]) -> Iterator[tuple[Moment | None, Moment]]:
    before = None
    for moment in history:
        yield before, moment
        before = moment


def _change(before: Moment | None, after: Moment) -> str:
    record = after.record
    stable = f"v{record.stable.manifest.release}" if record.stable else "-"
    trial = f"v{record.trial.manifest.release}/{record.trial_boots}" if record.trial else "-"
    outcome = f" {record.outcome.result} {record.outcome.code}" if record.outcome else ""
    booted = "boots      " if before is None or before.boots != after.boots else "           "
    serving = after.serving[:8] or "nothing"
    return f"{booted} stable {stable:3} trial {trial:5} generation {record.generation:2}  serves {serving:8}{outcome}"
