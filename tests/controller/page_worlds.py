"""A water utility's fleet in a controller's state, for tests and pictures of the page: the same at every run."""

import json
import math
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.histogram import LATENCY_BUCKETS, bucket_of
from contract.messages import (
    Hardware,
    Heartbeat,
    ModelInterval,
    ModelState,
    Presence,
    Progress,
    Report,
    SensorState,
    Telemetry,
    UpdateOutcome,
    VersionRef,
)
from controller.clock import stamp_of
from controller.events.notifier import Notifier
from controller.fleet.twin import Assigned
from controller.fleet.vitals import Vitals
from controller.reconcile.decisions import reconcile
from controller.rollout.model import Rollout, Strategy, Wave
from controller.rollout.plan import Target, expand, plan_members
from controller.state import State
from controller.telemetry.counts import Counted
from controller.verbs.alerts import look_again

SITES = ("aldern", "brackwater", "cole-mill", "dunmore", "eastfen", "farrow", "holm", "ivel", "kestrel-bay", "ostley")
KINDS = (("aarch64", 948), ("aarch64", 3797), ("armv7l", 431), ("x86_64", 7800))
MODEL, SECOND = "pump-vibration", "flow-forecast"
ALERT_RULES = """
[[rule]]
name = "DeviceDisk"
measure = "device_fault"
codes = ["disk_full"]
severity = "critical"
summary = "A device cannot write to its disk"
[[rule]]
name = "DevicesOffline"
measure = "offline_ratio"
above = 0.05
min_devices = 5
by = "site"
summary = "Many devices are offline or silent"
[[rule]]
name = "DeviceUnheard"
measure = "unheard_s"
above = 600
for_s = 3600
summary = "A device has not been heard"
"""
STAR = "aldern-004"
"""A device that rolled v13 back by itself a moment ago."""
ROLLOUT = "r-20261126-083012-5c1e"
LAST_ROLLOUT = "r-20261118-095540-a0f3"


def digest(release: int) -> str:
    return f"{release:x}".rjust(64, "0")


def version(release: int) -> VersionRef:
    return VersionRef(release=release, digest=digest(release))


def steady(model: str, release: int, **fields: Any) -> ModelState:
    made = ModelState(
        model=model, phase="steady", generation=release + 1, stable=version(release), stable_proven=True,
        serving=digest(release),
        outcome=UpdateOutcome(generation=release + 1, version=version(release), result="confirmed"),
    )  # fmt: skip
    return msgspec.structs.replace(made, **fields)


def heartbeat(device: str, place: int, models: tuple[ModelState, ...], **fields: Any) -> Heartbeat:
    machine, memory_mb = KINDS[place % 7 % len(KINDS)]
    hardware = Hardware(
        machine=machine, cpus=4, memory_mb=memory_mb, python="3.11", onnxruntime="1.32.0", agent="0.1.0"
    )
    labels = {"site": device.rpartition("-")[0], "gateway": f"gw-{1 + place % 4}"}
    return Heartbeat(
        protocol=1, device=device, boot=31, seq=1, uptime_s=1_036_800, hardware=hardware, labels=labels, models=models,
        **fields,
    )  # fmt: skip


def names(count: int) -> list[str]:
    width = 3 if count < 10_000 else 5
    return [f"{SITES[place % len(SITES)]}-{1 + place // len(SITES):0{width}}" for place in range(count)]


def fill(state: State, now: float, count: int = 300) -> None:
    """Makes a fleet of `count` devices, two rollouts, what people did, and a day of telemetry of one device."""
    draw = random.Random(26)
    online, quiet = [], []
    for place, device in enumerate(names(count)):
        at = draw.random()
        models: tuple[ModelState, ...] = (steady(MODEL, 12),)
        fields: dict[str, Any] = {}
        if at < 0.4:
            models += (steady(SECOND, 5),)
        if at < 0.08:
            models = (steady(MODEL, 13), *models[1:])
        elif at < 0.1:
            target = {"phase": "fetching", "target": version(13), "progress": Progress(150_000, 208_000)}
            models = (steady(MODEL, 12, **target), *models[1:])
        elif at > 0.985:
            fields["sensors"] = (
                SensorState(name="serial-1", kind="serial", model=MODEL, state="waiting", error="no such port"),
            )
        if device == "ostley-003":
            fields["faults"] = {"disk_full": "0 B free in /var/lib/edgeward"}
        if device == STAR:
            ended = UpdateOutcome(
                generation=14, version=version(13), result="rolled_back", code="health_latency",
                detail="p95 118 ms over 1,000 inferences, 100 ms allowed",
            )  # fmt: skip
            models = (steady(MODEL, 12, outcome=ended), steady(SECOND, 5))
        is_quiet = device.startswith("kestrel-bay") and place % 4 == 2 and place < 180
        (quiet if is_quiet else online).append((device, heartbeat(device, place, models, **fields)))
    reconcile(state.world, quiet, now - 2640)
    reconcile(state.world, online, now - 5)
    gone = [(device, Presence(protocol=1, device=device, online=False)) for device, _ in online[7::61]]
    reconcile(state.world, gone, now - 4)
    reconcile(state.world, [(STAR, _telemetry())], now - 5)
    judge_alerts(state)
    _rollouts(state, now, [device for device, _ in online + quiet])
    _deeds(state, now)
    _day_of(state, now)


def judge_alerts(state: State) -> None:
    """Judges the rules now. For a fleet of this size nothing is awaited, so that no event loop is needed."""
    state.alerts.next_look = 0.0
    looking = look_again(state, Notifier((), Path(), lambda *_: None))
    with pytest.raises(StopIteration):
        looking.send(None)


def _telemetry() -> Telemetry:
    return Telemetry(
        protocol=1, device=STAR, boot=31, seq=2, interval_s=10.0, rss_mb=96.2, cpu_ratio=0.345, temperature_c=52.2,
        bytes_received=4_120_000, bytes_sent=310_000,
    )  # fmt: skip


def _rollouts(state: State, now: float, devices: list[str]) -> None:
    strategy = Strategy(name="staged-water", waves=(Wave(percent=10, soak_s=7200.0), Wave(percent=100)))
    targets = [Target(device, "") for device in devices]
    expanded = expand(strategy, targets)
    before = {device: version(12) for device in devices}
    made = Rollout(
        id=ROLLOUT, model=MODEL, release=13, digest=digest(13), strategy=expanded,
        members=plan_members(f"{MODEL} v13", targets, expanded, before), created_by="mara", approved_by="jonas",
        created_at=stamp_of(now - 21_000), began_at=now - 20_700, wave_began_at=now - 20_700,
    )  # fmt: skip
    ended = msgspec.structs.replace(
        made, id=LAST_ROLLOUT, release=12, digest=digest(12), status="completed", created_at=stamp_of(now - 777_600)
    )
    state.save_rollouts(ended, made)
    twin = state.world.durable.twins[STAR]
    told = Assigned(release=13, generation=14, rollout=ROLLOUT, digest=digest(13), offered_at=now - 11_900)
    state.world.durable.twins[STAR] = msgspec.structs.replace(twin, desired={MODEL: told}, document_version=57)
    state.world.durable.quarantine[STAR] = {digest(13): ROLLOUT}


def _deeds(state: State, now: float) -> None:
    deeds = [
        (88_000, "local:lena", "device note", "dunmore-011", ""),  # yesterday, also late in the evening
        (82_000, "dunmore-012", "device enrolled", "dunmore-012", ""),
        (81_900, "dunmore-013", "device enrolled", "dunmore-013", ""),
        (69_000, "ci-release", "push", f"{MODEL} v13", "parity passed; variant fp16 passed"),
        (21_000, "mara", "rollout propose", ROLLOUT, f"{MODEL} v13 by staged-water to 300 devices"),
        (20_700, "jonas", "rollout approve", ROLLOUT, "7be19c40d2f1"),
        (11_600, "controller", "device quarantine", STAR, f"{MODEL} v13: failed in {ROLLOUT}"),
        (7_200, "local:lena", "device unquarantine", "greyling-088", "1 quarantined versions"),
        (3_000, "controller", "rollout wave", ROLLOUT, "wave 2 of 2 begins"),
    ]
    for ago_s, actor, action, subject, detail in deeds:
        state.journal.audit(stamp_of(now - ago_s), actor, action, subject, detail)
    outcome = state.world.durable.twins[STAR].reported[MODEL].outcome
    trial = {"phase": "trial", "trial": version(13), "serving": digest(13), "outcome": None}
    told = [
        (11_800, steady(MODEL, 12, phase="fetching", target=version(13), outcome=None)),
        (11_780, steady(MODEL, 12, phase="probing", target=version(13), outcome=None)),
        (11_700, steady(MODEL, 12, **trial)),
        (11_600, steady(MODEL, 12, outcome=outcome)),
    ]
    for seq, (ago_s, model) in enumerate(told, start=1):
        report = Report(protocol=1, device=STAR, boot=31, seq=seq, state=model)
        body = json.dumps(msgspec.to_builtins(report))
        state.journal.record(stamp_of(now - ago_s), history=[(STAR, body)])


def _day_of(state: State, now: float) -> None:
    """A day of telemetry of the main device by ten minutes, with two hours offline."""
    draw, rows = random.Random(4), []
    for number in range(144):
        at = now - 86_400 + 600 * number
        if 40 <= number < 52:
            continue
        on_trial = 123 <= number < 124
        counts = [0] * LATENCY_BUCKETS
        for _ in range(200):
            wait_us = draw.lognormvariate(9.4, 0.25) * (4 if on_trial else 1)
            counts[bucket_of(wait_us)] += 1
        interval = ModelInterval(
            model=MODEL, version=version(13 if on_trial else 12), inferences=5_400 + draw.randrange(400),
            errors=draw.randrange(3), rows=200, labelled=120, correct=112 + draw.randrange(6),
            latency_counts=tuple(counts),
        )  # fmt: skip
        rows.append(Counted(STAR, 31, 10 + number, at, interval))
    state.telemetry.keep(rows)
    state.vitals.keep(_vitals_of_a_day(now, draw))
    for _ in range(3):
        state.telemetry.tend(now)


def _vitals_of_a_day(now: float, draw: random.Random) -> list[tuple[str, Vitals]]:
    """A day of vitals of the main device by five minutes; during the trial it is hot and busy."""
    rows = []
    for number in (each for each in range(288) if not 80 <= each < 104):
        busy = 1.0 if 246 <= number < 248 else 0.3 + 0.05 * math.sin(number / 46)
        means = (busy, 92 + number / 60, 40 + 30 * busy + draw.random(), 9.3, 0.0002, 12.1)
        lows, highs = tuple(0.96 * mean for mean in means), tuple(1.05 * mean for mean in means)
        rows.append((STAR, Vitals(now - 86_400 + 300 * number, 300.0, 5, means, lows, highs)))
    return rows
