"""A single fault affects one device: unreadable rows, invalid names, floods, invented models."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from contract import topics
from contract.captured import Captured, CapturedRow
from contract.messages import Hardware, Heartbeat, ModelInterval, ModelState, Report, Telemetry, VersionRef
from contract.protocol import MAX_FEATURES, MAX_MODELS_PER_DEVICE
from contract.wire import encode
from controller.broker import allowance as allowances
from controller.broker.allowance import BURST_BYTES, BYTES_PER_S, OVERHEAD_BYTES, Allowance
from controller.broker.inbox import Inbox
from controller.config import Config, StorageConfig
from controller.fleet.invented import names_of
from controller.fleet.twin import Assigned, Twin
from controller.reconcile.decisions import reconcile
from controller.reconcile.durable import FleetRecords
from controller.reconcile.fold import fold_captured
from controller.reconcile.world import Durable, World
from controller.registry import journal as journals
from controller.registry.journal import Journal
from controller.state import open_state
from controller.trust.senders import Senders
from firmware_sim.durable import DurableTables
from tests.controller.heard import hear
from tests.controller.registry_worlds import manifest, version
from tests.controller.rollout_worlds import rollout, targets
from tests.controller.test_inbox import Keys

HARDWARE = Hardware(machine="x86_64", cpus=2, memory_mb=512, python="3.11", onnxruntime="1.32", agent="0.1.0")
KNOWN = {"m": {1: frozenset({"1" * 64})}}


def beat(device: str, seq: int = 1) -> Heartbeat:
    return Heartbeat(protocol=1, device=device, boot=1, seq=seq, uptime_s=1, hardware=HARDWARE)


def telemetry(*intervals: ModelInterval) -> Telemetry:
    return Telemetry(protocol=1, device="a", boot=1, seq=1, interval_s=1.0, intervals=intervals)


def measured(model: str, release: int, **fields: object) -> ModelInterval:
    version = VersionRef(release=release, digest="1" * 64)
    return ModelInterval(model=model, version=version, inferences=1, errors=0, **fields)  # type: ignore[arg-type]


def test_a_heartbeat_with_an_invalid_name_is_dropped_and_one_with_a_real_name_is_accepted(
    tmp_path: Path,
) -> None:
    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    try:
        assert not state.inbox.put(f"{topics.ROOT}/d/Bad Name/up/heartbeat", encode(beat("Bad Name")))
        assert (state.inbox.counts["wrong_name"], state.inbox.refused) == (1, 1)
        hear(state, beat("Pi_1"), beat("b8:27:eb:12:34:56"))
        assert set(state.world.durable.twins) == {"Pi_1", "b8:27:eb:12:34:56"}
        for device in state.world.durable.twins:
            assert state.publisher.desired(replace(state.world.durable.twins[device], document_version=1)).payload
    finally:
        state.close()


def test_one_unreadable_row_is_set_aside_and_named_and_the_controller_starts() -> None:
    tables = DurableTables()
    records = FleetRecords(tables)
    twins = {name: Twin(name, document_version=3, desired={"m": Assigned(1, 3, "r")}) for name in ("a", "b")}  # type: ignore[misc]
    started = rollout(among=targets(["a", "b"]))
    records.save(Durable(twins, {started.id: started}), twins, [started.id], [])
    tables.write(
        {
            "devices": {"a": b'{"document_version":', "Bad Name": b"{}"},
            "rollouts": {"r-9": b"\xff"},
            "quarantine": {"a": b"[]"},
        }
    )
    words = {"a": encode(beat("a")), "b": b"{", "Bad Name": encode(beat("Bad Name"))}
    again = FleetRecords(tables)
    world = again.load_world(words, 90.0)
    assert {name: twin.document_version for name, twin in world.durable.twins.items()} == {"a": 0, "b": 3}
    assert world.durable.twins["a"].hardware == HARDWARE
    assert set(world.durable.rollouts) == {started.id}
    assert set(again.unreadable) == {
        "last words 'Bad Name'", "last words b", "devices 'Bad Name'", "devices a", "rollouts r-9", "quarantine a",
    }  # fmt: skip
    assert tables.rows("rollouts")["r-9"] == b"\xff", "it stays where it is, for a person to look at"


def test_known_fields_of_a_stored_heartbeat_of_a_newer_agent_are_read() -> None:
    said = json.loads(encode(beat("a"))) | {"since": 2, "serve_at": None}
    world = FleetRecords(DurableTables()).load_world({"a": json.dumps(said).encode()}, 90.0)
    assert world.durable.twins["a"].hardware == HARDWARE


def test_a_device_that_sends_too_much_is_throttled_before_decoding_and_no_other_is() -> None:
    clock = [0.0]
    inbox = Inbox(Senders(Keys(), require_signed=False), lambda: clock[0])
    payload = encode(beat("loud"))
    cost = len(payload) + OVERHEAD_BYTES
    taken = sum(inbox.put(topics.heartbeat("loud"), payload) for _ in range(2 * BURST_BYTES // cost))
    assert taken == BURST_BYTES // cost
    assert inbox.counts["throttled"] > 0
    assert not inbox.put(topics.heartbeat("loud"), b"{" * len(payload))
    assert inbox.counts["malformed"] == 0, "it was not looked into"
    assert inbox.put(topics.heartbeat("quiet"), encode(beat("quiet")))
    clock[0] = 1.0
    assert sum(inbox.put(topics.heartbeat("loud"), payload) for _ in range(1000)) in (
        BYTES_PER_S // cost, BYTES_PER_S // cost + 1,
    )  # fmt: skip


def test_the_rate_limiter_forgets_a_device_that_was_quiet_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowances, "MAX_BUCKETS", 10)
    allowance = Allowance()
    for number in range(100):
        assert allowance.spend(f"d{number}", 100, float(number))
    assert len(allowance._left) <= 11


def test_an_unreadable_part_is_counted_and_the_message_is_accepted() -> None:
    inbox = Inbox(Senders(Keys(), require_signed=False), lambda: 0.0)
    plain = json.loads(encode(telemetry(measured("m", 1))))
    plain["intervals"].append(None)
    assert inbox.put(topics.telemetry("a"), json.dumps(plain).encode())
    assert inbox.counts == {"parts": 1}


def test_invented_models_releases_and_columns_of_a_device_use_no_memory() -> None:
    world = World(silent_s=90.0, registered=KNOWN)
    for number in range(200):
        columns = {f"column-{number}-{each}": (1,) for each in range(MAX_FEATURES)}
        invented = (measured(f"model-{number}", 1), measured("m", number + 2), measured("m", 1, features=columns))
        reported = Report(
            protocol=1, device="a", boot=1, seq=number + 1,
            state=ModelState(model=f"model-{number}", phase="steady", generation=0),
        )  # fmt: skip
        reconcile(world, [("a", telemetry(*invented)), ("a", reported)], float(number))
    assert set(world.measured.totals) == {("a", "m", 1)}
    assert set(world.measured.distributions) == {("m", 1)}
    assert len(world.measured.distributions["m", 1]) == MAX_FEATURES + 1
    assert len(world.durable.twins["a"].reported) == MAX_MODELS_PER_DEVICE


def test_names_unknown_to_a_version_are_left_out_of_its_figures_counted_and_reported() -> None:
    names = names_of(manifest(classes=("0", "1", "x" * 200), groups=("site",)))
    world = World(silent_s=90.0, registered=KNOWN, names=lambda _model, _release: names)
    honest = measured(
        "m", 1, predictions={"1": 3, "0.0": 1, "x" * 128: 1, "other": 2}, features={"a": (1, 2)},
        breaches={"b": (1, 0, 0, 0)}, groups={"site=north": (1,) * 6, "other": (1,) * 6},
    )  # fmt: skip
    lies = replace(
        honest, predictions={"1": 3, "free beer": 10**6}, features={"a": (1, 2), "zz": (9,)},
        breaches={"b": (1, 0, 0, 0), "yy": (9,) * 4}, groups={"site=north": (1,) * 6, "race=x": (1,) * 6},
    )  # fmt: skip
    found = reconcile(world, [("a", telemetry(honest)), ("b", replace(telemetry(lies), device="b"))], 1.0)
    assert world.measured.predictions["m", 1] == {"1": 6, "0.0": 1, "x" * 128: 1, "other": 2}
    assert set(world.measured.distributions["m", 1]) <= {"", "a"}
    stored = {each.device: each.interval for each in found.measured}
    assert stored["a"] == honest, "what is true is not touched"
    assert set(stored["b"].groups) == {"site=north"}
    assert set(stored["b"].breaches) == {"b"}
    told = world.measured.faults
    assert ("a", "m", 1) not in told
    assert told["b", "m", 1]["names_invented"] == "4 counts or cells were left out: v1 has no class 'free beer'"


def test_a_controller_knows_the_names_of_its_versions(tmp_path: Path) -> None:
    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    state.registry.add(version(classes=("no", "yes")))
    names = state.world.names("m", 1)
    state.close()
    assert names == names_of(manifest(classes=("no", "yes")))
    assert names_of(manifest()).classes is None, "where the manifest names none, any class is taken"


def test_captured_rows_of_a_model_missing_in_the_registry_are_not_kept() -> None:
    rows = tuple(
        CapturedRow(at=1.0, model=model, release=1, why="hard", inputs={}, value=None) for model in ("m", "made-up")
    )
    batch = Captured(protocol=1, device="a", boot=1, seq=1, rows=rows)
    world = World(silent_s=90.0, registered=KNOWN)
    kept = fold_captured(world, "a", batch, 0.0)
    assert [row.model for row in kept.rows] == ["m"]
    assert world.measured.left_out.rows == {("made-up", 1): 1}


def test_history_is_limited_for_each_device_and_by_age_and_the_audit_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_HISTORY_PER_DEVICE", 20)
    monkeypatch.setattr(journals, "PRUNE_EVERY", 10)
    journal = Journal(tmp_path / "journal.sqlite")
    journal.audit("2024-01-01T00:00:00+00:00", "ada", "push", "m")
    old = [("quiet", json.dumps({"boot": 1, "seq": seq})) for seq in range(3)]
    journal.record("2024-01-01T00:00:00+00:00", old)
    journal.record("2026-01-01T00:00:00+00:00", [("quiet", json.dumps({"boot": 2, "seq": 1}))])
    for first in range(0, 100, 10):
        told = [("loud", json.dumps({"boot": 1, "seq": seq})) for seq in range(first, first + 10)]
        journal.record("2026-01-01T00:00:00+00:00", told)
    loud = [json.loads(body)["seq"] for _, body in journal.history_of("loud", 500)]
    assert loud == list(range(80, 100))
    assert [json.loads(body)["boot"] for _, body in journal.history_of("quiet")] == [2]
    assert len(journal.whole_audit()) == 1
    journal.close()
