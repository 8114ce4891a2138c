"""A fleet with a history: a model with two versions, a rollout in its second wave, failed and absent devices.

Time is handed in, and the devices' reports are invented; the controller's own passes, stores and verbs are the real
ones.
"""

import time
from collections.abc import Coroutine, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from contract.messages import (
    Hardware,
    Heartbeat,
    ModelInterval,
    ModelState,
    Presence,
    Report,
    Telemetry,
    UpdateOutcome,
    VersionRef,
)
from controller.clock import stamp_of
from controller.reconcile.one_pass import Passes
from controller.rollout.model import Strategy
from controller.service import _History
from controller.state import State
from controller.verbs import audit, rollouts
from controller.verbs.rollouts import resolve_strategy

Message = Heartbeat | Presence | Report | Telemetry
KINDS = (("aarch64", 1024), ("x86_64", 8192), ("aarch64", 1024), ("aarch64", 512))
STEP_S = 300.0
STRATEGY = {
    "name": "staged",
    "waves": [{"percent": 25, "soak_s": 1800}, {"percent": 50, "soak_s": 7200}, {"percent": 100}],
    "rules": [
        {"metric": "accuracy_drop", "threshold": 0.05, "scope": "stratum", "on_fail": "roll_back_stratum"},
        {"metric": "failed_ratio", "threshold": 0.2},
        {"metric": "error_ratio", "threshold": 0.02, "on_fail": "pause"},
        {"metric": "agreement", "threshold": 0.95, "min_samples": 2000, "on_missing": "skip"},
    ],
    "trial": {"soak_s": "60", "reverse_share": "0.1"},
}


class Fleet:
    """Devices that report what they run, and how often they were right."""

    def __init__(self, state: State, devices: int, refs: dict[int, VersionRef]) -> None:
        self.state, self.refs = state, refs
        self.names = [f"pump-{number:03d}" for number in range(devices)]
        self.runs = dict.fromkeys(self.names, 1)
        self.outcomes: dict[str, UpdateOutcome] = {}
        self.generations = dict.fromkeys(self.names, 0)
        self.seq = 0
        self.random = np.random.default_rng(7)
        self.passes = Passes(
            state.world, state.records, history=_History(state), broker=_NoBroker(), listener=_NoListener()
        )

    def step(self, now: float, *, away: Iterable[str] = (), broken: Iterable[str] = ()) -> None:
        """Runs one pass: every device that is not absent acts on its document and reports what it measured."""
        self.seq += 1
        gone, messages = set(away), []
        for name in self.names:
            if name not in gone:
                self._follow(name, name in set(broken))
                messages += [(name, self._heartbeat(name, now)), (name, self._telemetry(name))]
        messages += [(name, Presence(protocol=1, device=name, online=False)) for name in gone]
        inbox = SimpleNamespace(take=lambda: (messages, []))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(audit, "stamp", lambda: stamp_of(now))
            _finish(self.passes.run(inbox, now))

    def _follow(self, name: str, broken: bool) -> None:
        twin = self.state.world.durable.twins.get(name)
        told = twin.desired.get("pump") if twin is not None else None
        if told is None or told.generation == self.generations[name]:
            return
        self.generations[name] = told.generation
        result = "rolled_back" if broken and told.release == 2 else "confirmed"
        code, detail = ("health_latency", "p95 41 ms, 30 ms allowed") if result == "rolled_back" else ("", "")
        self.outcomes[name] = UpdateOutcome(
            generation=told.generation, version=self.refs[told.release], result=result, code=code, detail=detail
        )
        self.runs[name] = told.release if result == "confirmed" else 1

    def _heartbeat(self, name: str, now: float) -> Heartbeat:
        machine, memory = KINDS[int(name[-3:]) % len(KINDS)] if not name.endswith("11") else ("armv7l", 256)
        version = self.refs[self.runs[name]]
        state = ModelState(
            model="pump", phase="steady", generation=self.generations[name], stable=version, stable_proven=True,
            serving=version.digest, outcome=self.outcomes.get(name),
        )  # fmt: skip
        hardware = Hardware(machine=machine, cpus=4, memory_mb=memory, python="3.11", onnxruntime="1.32", agent="0.1.0")
        return Heartbeat(
            protocol=1, device=name, boot=1, seq=self.seq, uptime_s=1, hardware=hardware, labels={"site": "north"},
            models=(state,), at=int(now),
        )  # fmt: skip

    def _telemetry(self, name: str) -> Telemetry:
        release, rows = self.runs[name], 40
        right = int(self.random.binomial(rows, 0.93 if release == 1 else 0.95))
        errors = int(self.random.binomial(rows, 0.002))
        interval = ModelInterval(
            model="pump", version=self.refs[release], inferences=rows, errors=errors, labelled=rows, correct=right,
            latency_counts=tuple(rows if place == 20 else 0 for place in range(54)),
        )  # fmt: skip
        return Telemetry(protocol=1, device=name, boot=1, seq=self.seq, interval_s=STEP_S, intervals=(interval,))


def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Runs a pass that waits for nothing, also if an event loop runs already."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("a pass without a broker waits for nothing")


class _NoBroker:
    async def publish(self, devices: frozenset[str], *, again: bool) -> bool:
        return True

    def acknowledge(self, device: str, ack: Any) -> None:
        pass


class _NoListener:
    def saved(self, rollouts: Any) -> None:
        pass

    def judged(self, points: Any) -> None:
        pass

    def reported(self, reports: Any) -> None:
        pass


def play(state: State, *, devices: int = 24, hours: float = 5.0) -> str:
    """Two versions are pushed already; a day of v1, then `hours` of a rollout of v2 that end now. Returns its id."""
    versions = {each.release: each for each in state.registry.versions("pump")}
    refs = {n: VersionRef(release=n, digest=each.manifest.artifact.sha256) for n, each in versions.items()}
    fleet, now = Fleet(state, devices, refs), time.time()
    began = now - hours * 3600.0
    for at in np.arange(began - 6 * 3600.0, began, STEP_S):
        fleet.step(float(at))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rollouts, "time", _clock(began))
        patched.setattr(rollouts, "stamp", lambda: stamp_of(began))
        started = rollouts.start(state, "pump", 2, _strategy(), {}, actor="mara")
    sick = [next(m.device for m in started.members if m.wave == 0)]
    away = [m.device for m in started.members if m.wave == 1][-1:]
    for at in np.arange(began + 1.0, now, STEP_S):
        fleet.step(float(at), away=away, broken=sick)
    fleet.step(now, away=away, broken=sick)
    return started.id


def _strategy() -> Strategy:
    return resolve_strategy(STRATEGY)


def _clock(at: float) -> Any:
    return SimpleNamespace(time=lambda: at, gmtime=lambda: time.gmtime(at), strftime=time.strftime)
