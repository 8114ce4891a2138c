"""Records, versions and a step function for tests of the edges of the device's pure core."""

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from agent.core import machine
from agent.core.events import (
    Event,
)
from agent.core.judged import Inference, JudgedInferences
from agent.core.model import (
    Assignment,
    Baseline,
    Record,
    State,
    Trial,
)
from contract.desired import TrialPolicy
from contract.messages import UpdateOutcome
from firmware_sim.models import make_model

POLICY = TrialPolicy(soak_s=Decimal(10), give_up_s=Decimal(50), boot_budget=2, min_samples=20)
SHADOW = replace(POLICY, mode="shadow")
NOW = 100.0


def version(release: int, generation: int, policy: TrialPolicy = POLICY) -> Assignment:
    return Assignment(model="m", generation=generation, manifest=make_model(release, "good").manifest, policy=policy)


A1, B2 = version(1, 1), version(2, 2)
GOOD = Baseline(labelled=100, correct=90)
STABLE = Record(generation=1, stable=A1, baseline=GOOD)
ON_TRIAL = Record(generation=2, stable=A1, trial=B2, trial_boots=1, baseline=GOOD)
TRIAL = Trial(ON_TRIAL, soak_until=NOW + 10, give_up_at=NOW + 50)


def after(state: State, *events: Event, now: float = NOW) -> tuple[State, tuple[Any, ...]]:
    commands: tuple[Any, ...] = ()
    for event in events:
        state, commands = machine.step(state, event, now)
    return state, commands


def outcome(assignment: Assignment, result: Any, code: str = "", detail: str = "") -> UpdateOutcome:
    return UpdateOutcome(
        generation=assignment.generation, version=assignment.ref, result=result, code=code, detail=detail
    )


def filled(latencies_us: list[float], size: int = 1000) -> JudgedInferences:
    made = JudgedInferences(size)
    for latency_us in latencies_us:
        made.add(Inference(latency_us))
    return made
