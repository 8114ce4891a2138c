"""The numbers on the fleet's page."""

from typing import Any

import msgspec

from contract.messages import (
    Hardware,
    Heartbeat,
    ModelState,
    Presence,
    Progress,
    SensorState,
    SinkState,
    Telemetry,
    VersionRef,
)
from controller.api.fleet_view import MAX_TRANSFERS, fleet_view
from controller.fleet.traffic import Traffic
from controller.reconcile.decisions import reconcile
from controller.reconcile.world import World

HARDWARE = Hardware(machine="x86_64", cpus=2, memory_mb=512, python="3.11", onnxruntime="1.32", agent="0.1.0")
OLD, NEW = VersionRef(release=1, digest="1" * 64), VersionRef(release=2, digest="2" * 64)


def fetching(device: str, done_bytes: int) -> Heartbeat:
    progress = Progress(done_bytes=done_bytes, total_bytes=1000)
    state = ModelState(
        model="m", phase="fetching", generation=2, stable=OLD, target=NEW, progress=progress, serving=OLD.digest
    )
    return Heartbeat(protocol=1, device=device, boot=1, seq=1, uptime_s=1, hardware=HARDWARE, models=(state,))


def telemetry(seq: int, received: int, boot: int = 1) -> Telemetry:
    return Telemetry(protocol=1, device="a", boot=boot, seq=seq, interval_s=10.0, bytes_received=received)


def test_the_receiving_rate_is_the_growth_of_the_counter_since_the_last_message() -> None:
    first = Traffic(telemetry(1, 5_000), at=100.0)
    assert first.bytes_s == 0.0
    second = first.then(telemetry(2, 25_000), 110.0)
    assert second.bytes_s == 2_000.0
    assert second.then(telemetry(4, 45_000), 130.0).bytes_s == 1_000.0, "a message was lost: the time is longer"


def test_a_counter_reset_by_a_boot_gives_no_negative_rate() -> None:
    before = Traffic(telemetry(9, 80_000), at=100.0)
    assert before.then(telemetry(1, 3_000, boot=2), 130.0).bytes_s == 100.0
    assert before.then(telemetry(10, 70_000), 110.0).bytes_s == 0.0


def test_a_device_that_went_offline_during_its_trial_is_not_counted_as_answering() -> None:
    world = World(silent_s=90.0)
    trial = ModelState(model="m", phase="trial", generation=2, stable=OLD, trial=NEW, serving=NEW.digest)
    beats = [(name, msgspec.structs.replace(fetching(name, 0), models=(trial,))) for name in ("a", "b")]
    confirmed = ModelState(model="m", phase="steady", generation=2, stable=OLD, serving=OLD.digest)
    beats.append(("c", msgspec.structs.replace(fetching("c", 0), models=(confirmed,))))
    reconcile(world, beats, 1000.0)
    reconcile(world, [(name, Presence(protocol=1, device=name, online=False)) for name in ("b", "c")], 1001.0)
    found = fleet_view(world, 1002.0).serving
    assert [(each.release, each.devices, each.unsure) for each in found] == [(1, 1, 0), (2, 1, 1)]


def test_the_fleet_is_summarised_in_counts_and_the_first_few_transfers() -> None:
    world = World(silent_s=90.0)
    names = [f"d{number:03}" for number in range(MAX_TRANSFERS + 10)]
    inbox: list[Any] = [(name, fetching(name, 250)) for name in names]
    inbox += [("d000", telemetry(2, 1_000)), ("gone", Presence(protocol=1, device="gone", online=False))]
    reconcile(world, inbox, 1000.0)
    reconcile(world, [("d000", telemetry(3, 3_000))], 1010.0)
    found = fleet_view(world, 1010.0)
    assert (found.devices, found.presence) == (61, {"offline": 1, "online": 60})
    assert (found.fetching, len(found.transfers)) == (60, MAX_TRANSFERS)
    assert [(each.model, each.release, each.devices) for each in found.serving] == [("m", 1, 60)]
    first = found.transfers[0]
    assert (first.device, first.release, first.done_bytes, first.total_bytes, first.bytes_s) == (
        "d000", 2, 250, 1000, 200.0,
    )  # fmt: skip
    assert (found.bytes_received, found.bytes_s) == (3_000, 200.0)


def test_an_offline_device_receives_nothing() -> None:
    world = World(silent_s=90.0)
    reconcile(world, [("a", fetching("a", 0)), ("a", telemetry(2, 1_000))], 1000.0)
    reconcile(world, [("a", telemetry(3, 3_000))], 1010.0)
    assert fleet_view(world, 1010.0).bytes_s == 200.0
    assert fleet_view(world, 1200.0).bytes_s == 0.0


def test_sensors_and_sinks_are_counted_and_failing_ones_are_named_with_the_reason() -> None:
    made = World(silent_s=90.0)
    sensors = (
        SensorState(name="serial-1", kind="serial", model="m", state="waiting", error="no such port", row_age_s=7.0),
        SensorState(name="topic-2", kind="topic", model="m", state="running"),
        SensorState(name="topic-4", kind="topic", model="m", state="paused"),
        SensorState(name="topic-3", kind="topic", model="m", state="invented"),
    )
    sinks = (SinkState(name="webhook-1", kind="webhook", state="failing", error="500"),)
    told = Heartbeat(protocol=1, device="d", boot=1, seq=1, uptime_s=1, hardware=HARDWARE, sensors=sensors, sinks=sinks)
    reconcile(made, [("d", told)], 1000.0)
    found = fleet_view(made, 1000.0)
    assert found.sources == {"failing": 1, "other": 1, "paused": 1, "running": 1, "waiting": 1}
    assert [(each.name, each.state, each.age_s, each.error) for each in found.failing_sources] == [
        ("sensor serial-1", "waiting", 7.0, "no such port"),
        ("sensor topic-3", "invented", None, ""),
        ("sink webhook-1", "failing", None, "500"),
    ]


def test_a_release_missing_in_the_registry_is_counted_separately() -> None:
    made = World(silent_s=90.0, registered={"m": {1: frozenset({"1" * 64})}})
    reconcile(made, [(name, fetching(name, 0)) for name in ("a", "b")], 1000.0)
    assert [(each.devices, each.lost) for each in fleet_view(made, 1000.0).serving] == [(2, 0)]
    made.registered = {"m": {1: frozenset({"f" * 64})}}
    (served,) = fleet_view(made, 1000.0).serving
    assert (served.release, served.devices, served.lost) == (1, 2, 2), "another v1 than the registry's"
