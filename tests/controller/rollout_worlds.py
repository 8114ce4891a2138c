"""Small rollouts and facts that the tests of the engine share."""

from typing import Any

import msgspec

from contract.desired import TrialPolicy
from contract.messages import ModelState, UpdateOutcome, VersionRef
from controller.fleet.twin import Assigned, PresenceWord
from controller.rollout.facts import DeviceFact, Sums
from controller.rollout.model import Rollout, Rule, Strategy, Wave
from controller.rollout.plan import Target, expand, plan_members
from controller.rollout.rows import Rows

NEW, OLD = "n" * 64, "o" * 64
REFS = {1: VersionRef(release=1, digest=OLD), 2: VersionRef(release=2, digest=NEW)}
STRATEGY = Strategy(
    name="s",
    waves=(Wave(percent=20, soak_s=10.0), Wave(percent=100)),
    rules=(Rule(metric="failed_ratio", threshold=0.0),),
    start_s=100.0,
    deadline_s=200.0,
)
DEVICES = [f"d{number}" for number in range(5)]


def targets(devices: list[str], stratum: str = "") -> list[Target]:
    return [Target(device, stratum) for device in devices]


def rollout(strategy: Strategy = STRATEGY, *, among: list[Target] | None = None, **fields: Any) -> Rollout:
    chosen = targets(DEVICES) if among is None else among
    expanded = expand(strategy, chosen)
    members = plan_members("m v2", chosen, expanded, {target.device: REFS[1] for target in chosen})
    return msgspec.structs.replace(
        Rollout(id="r-1", model="m", release=2, digest=NEW, strategy=expanded, members=members), **fields
    )


def fact(
    device: str,
    *,
    assigned: int | None = 1,
    stable: int | None = 1,
    result: str = "",
    code: str = "",
    generation: int = 7,
    offered_at: float = 0.0,
    attempt: int = 1,
    mode: str = "serve",
    proven: bool = True,
    presence: PresenceWord = "online",
) -> DeviceFact:
    """A device whose document has generation 7; `result` is how its update to release 2 ended."""
    outcome = UpdateOutcome(generation=generation, version=REFS[2], result=result, code=code) if result else None  # type: ignore[arg-type]
    state = ModelState(
        model="m",
        phase="steady",
        generation=generation,
        stable=REFS[stable] if stable else None,
        stable_proven=proven,
        serving=REFS[stable].digest if stable else "",
        outcome=outcome,
    )
    policy = TrialPolicy(mode=mode)  # type: ignore[arg-type]
    told = (
        Assigned(release=assigned, generation=7, rollout="r-1", policy=policy, attempt=attempt, offered_at=offered_at)
        if assigned
        else None
    )
    return DeviceFact(device, presence, told, state)


def facts(**special: DeviceFact) -> dict[str, DeviceFact]:
    return {device: special.get(device, fact(device)) for device in DEVICES}


def done(device: str, **fields: Any) -> DeviceFact:
    return fact(device, assigned=2, stable=2, result="confirmed", **fields)


def broken(device: str, **fields: Any) -> DeviceFact:
    return fact(device, assigned=2, result="rolled_back", code="health_accuracy", **fields)


CANARY = rollout().members[0].device


def sums(
    inferences: int, *, errors: int = 0, accuracy: float | None = None, bucket: int = 10, agreed: float | None = None
) -> Sums:
    histogram = tuple(inferences if index == bucket else 0 for index in range(54))
    labelled = inferences if accuracy is not None else 0
    compared = inferences if agreed is not None else 0
    return Sums(
        inferences,
        errors,
        labelled,
        round(labelled * (accuracy or 0)),
        histogram,
        compared,
        round(compared * (agreed or 0)),
    )


def measured(*found: tuple[str, float, Sums, Sums | None]) -> Rows:
    """Rows of (device, when, the release, what ran beside it on the same device)."""
    rows = Rows()
    for device, at, treated, control in found:
        rows.add(device, at, treated, treated=True)
        if control is not None:
            rows.add(device, at, control, treated=False)
    return rows


def cells(treated: Sums, control: Sums | None = None, *, at: float = 0.0) -> Rows:
    """Rows of the canary alone."""
    return measured((CANARY, at, treated, control))
