"""Messages, worlds and rollouts for tests of the edges of one pass."""

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from contract.messages import (
    Hardware,
    Heartbeat,
    ModelInterval,
    ModelState,
    Report,
    Telemetry,
    VersionRef,
)
from controller.fleet.fit import Form
from controller.reconcile.world import Caches, Durable, World
from controller.rollout.model import Member, Rollout, Strategy, Wave

HARDWARE = Hardware(machine="x86_64", cpus=2, memory_mb=512, python="3.11", onnxruntime="1.32", agent="0.1.0")
V1, V2 = (VersionRef(release=number, digest=str(number) * 64) for number in (1, 2))
FORM = Form(
    name="",
    digest=V2.digest,
    artifact_bytes=1,
    golden_bytes=1,
    release=2,
    hardware=("x86_64",),
    memory_mb=64,
    opset=18,
    ml_opset=3,
)
STRATEGY = Strategy(name="s", waves=(Wave(percent=100),))


def beat(device: str = "a", seq: int = 1, **fields: Any) -> tuple[str, Heartbeat]:
    known = {"protocol": 1, "device": device, "boot": 1, "seq": seq, "uptime_s": 1, "hardware": HARDWARE}
    return device, Heartbeat(**{**known, **fields})


def report(device: str = "a", seq: int = 2, **fields: Any) -> tuple[str, Report]:
    return device, Report(protocol=1, device=device, boot=1, seq=seq, **fields)


def telemetry(*intervals: ModelInterval, device: str = "a", seq: int = 1, received: int = 0) -> tuple[str, Telemetry]:
    made = Telemetry(
        protocol=1, device=device, boot=1, seq=seq, interval_s=10.0, intervals=intervals, bytes_received=received
    )
    return device, made


def interval(version: VersionRef = V2, **fields: Any) -> ModelInterval:
    return ModelInterval(**{"model": "m", "version": version, "inferences": 10, "errors": 1, **fields})


def state(generation: int = 1, stable: VersionRef | None = V1, **fields: Any) -> ModelState:
    return ModelState(model="m", phase="steady", generation=generation, stable=stable, **fields)


def campaign(*devices: str, **changes: Any) -> Rollout:
    members = tuple(Member(device=name, wave=0, previous_release=1, previous_digest=V1.digest) for name in devices)
    made = Rollout(id="r", model="m", release=2, digest=V2.digest, strategy=STRATEGY, members=members, forms=(FORM,))
    return replace(made, **changes)


def world(*rollouts: Rollout, waiting: Iterable[str] = (), **fields: Any) -> World:
    kept = {name: fields.pop(name) for name in ("twins", "quarantine", "deliveries") if name in fields}
    durable = Durable(rollouts={each.id: each for each in rollouts}, **kept)
    caches = Caches(waiting=set(waiting), published_at=fields.pop("published_at", {}))
    return World(silent_s=90.0, durable=durable, caches=caches, **fields)
