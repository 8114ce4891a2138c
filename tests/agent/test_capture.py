"""The inferences that a device captures: chosen on the device, kept on flash until they arrive, without private
columns.
"""

import json
from collections import Counter, deque
from itertools import count, cycle
from random import Random
from threading import Lock
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from agent.config import Capture
from agent.core.model import Assignment
from agent.flash.spool import MAX_FILES, Spool
from agent.ports import Sample
from agent.serving.capture import MAX_WAITING, Capturer
from agent.serving.outbox import line_of
from agent.serving.slot import ModelSlot
from agent.uplink.captures import BATCH_BYTES, RESEND_S, Captures
from agent.uplink.link_age import SETTLES_S
from agent.uplink.send_queue import MAX_AT_CLIENT_BYTES
from benchmarks.swap import assignment_for
from contract import topics
from contract.captured import Captured, CapturedRow
from contract.manifest import Tensor
from contract.messages import Ack
from contract.wire import decode
from firmware_sim.flash import Flash
from firmware_sim.power import Power, PowerCut
from firmware_sim.power import at as cut_at
from tests.agent.test_serving_slot import Says

COLUMNS = tuple(f"x{number}" for number in range(20))
VALUES = {column: float(number) for number, column in enumerate(COLUMNS)}


class Sure:
    """A session whose confidence in each row is the row's first column."""

    def run(self, inputs: Any) -> list[Any]:
        sure = inputs["X"][:, :1]
        return [np.zeros(len(sure), np.int64), np.hstack([sure, 1 - sure])]


def slot_with(**policy: Any) -> tuple[ModelSlot, Capturer]:
    slot = ModelSlot("m", perf_s=count().__next__, lock=Lock())  # type: ignore[arg-type]
    numbers = cycle([0.05, 0.5, 0.95])
    capturer = Capturer(Capture(model="m", **policy), random=numbers.__next__, clock=lambda: 1000.0, dropped=Counter())
    assignment: Assignment = assignment_for(b"x", 3, "m")
    slot.swap(slot.prepare(assignment, Sure()))
    slot.watchers = (capturer,)
    return slot, capturer


def test_a_share_of_all_rows_is_captured_with_inputs_answer_and_label() -> None:
    slot, capturer = slot_with(rate=0.1)
    for _ in range(9):
        slot.predict(Sample(VALUES | {"x0": 0.9}, label="1"))
    assert len(capturer.waiting) == 3
    row = capturer.waiting[0]
    assert (row.why, row.release, row.value, row.label, row.confidence) == ("sampled", 3, "0", "1", 0.9)
    assert row.inputs == VALUES | {"x0": 0.9}


def test_all_rows_with_a_low_confidence_are_captured() -> None:
    slot, capturer = slot_with(below_confidence=0.7)
    for sure in (0.95, 0.6, 0.69, 0.71):
        slot.predict(Sample(VALUES | {"x0": sure}))
    assert [(row.why, row.confidence) for row in capturer.waiting] == [("hard", 0.6), ("hard", 0.69)]


def test_a_private_column_never_reaches_the_queue() -> None:
    slot, capturer = slot_with(rate=1.0, remove=("x3", "x4"))
    slot.predict(Sample(VALUES))
    slot.run({"X": np.full((1, 20), 0.9, np.float32)})
    assert all(set(row.inputs) == set(COLUMNS) - {"x3", "x4"} for row in capturer.waiting)
    assert len(capturer.waiting) == 2


def test_only_the_first_rows_of_a_large_request_are_captured() -> None:
    slot, capturer = slot_with(rate=1.0)
    slot.run({"X": np.full((1000, 20), 0.9, np.float32)})
    assert len(capturer.waiting) == 8


def test_tensors_that_are_not_tables_are_not_captured() -> None:
    slot, capturer = slot_with(rate=1.0)
    slot.run({"X": np.full((1, 21), 0.9, np.float32)})
    assert not capturer.waiting


def test_a_cell_that_is_not_a_number_is_captured_as_none() -> None:
    slot, capturer = slot_with(rate=1.0)
    slot.predict(Sample(VALUES | {"x7": float("nan"), "x8": np.float32(2.0)}))
    assert (capturer.waiting[0].inputs["x7"], capturer.waiting[0].inputs["x8"]) == (None, 2.0)


def test_a_cell_is_captured_in_the_type_of_the_signature_through_every_interface() -> None:
    types = {"size": "FP32", "rooms": "INT64", "new": "BOOL", "place": "BYTES", "note": "BYTES"}
    manifest = replace_manifest(types)
    slot = ModelSlot("m", perf_s=count().__next__, lock=Lock())  # type: ignore[arg-type]
    capturer = Capturer(Capture(model="m", rate=1.0), random=lambda: 0.0, clock=lambda: 1.0, dropped=Counter())
    slot.swap(slot.prepare(manifest, Says(1)))
    slot.watchers = (capturer,)
    as_csv_says = {"size": " 82.5", "rooms": "3.0", "new": "True", "place": "Ulm", "note": "7", "extra": "4"}
    found = slot.predict(Sample(as_csv_says))
    tensors = {
        "size": np.array([[82.5]], np.float32), "rooms": np.array([[3]]), "new": np.array([[True]]),
        "place": np.array([["Ulm"]], object), "note": np.array([["7"]], object),
    }  # fmt: skip
    slot.run(tensors)
    by_row, by_tensors = (row.inputs for row in capturer.waiting)
    assert by_row == by_tensors == {"size": 82.5, "rooms": 3, "new": True, "place": "Ulm", "note": "7"}
    assert {name: type(cell) for name, cell in by_row.items()} == {
        name: type(cell) for name, cell in by_tensors.items()
    }
    assert found is not None
    told = json.loads(line_of(found, 5.0, ["size", "rooms", "extra"]))["inputs"]
    assert told == {"size": 82.5, "rooms": 3, "extra": "4"}


def test_a_missing_cell_is_captured_as_missing_and_not_as_its_replacement() -> None:
    slot, capturer = slot_with(rate=1.0)
    slot.predict(Sample(dict.fromkeys(COLUMNS, "1.5") | {"x7": "", "x8": "nan", "x9": None}))
    assert capturer.waiting[0].inputs == dict.fromkeys(COLUMNS, 1.5) | {"x7": None, "x8": None, "x9": None}


def test_a_row_that_arrives_as_one_list_is_captured_by_column() -> None:
    slot, capturer = slot_with(rate=1.0)
    slot.predict(Sample({"X": list(VALUES.values())}))
    assert capturer.waiting[0].inputs == VALUES


def replace_manifest(types: dict[str, str]) -> Assignment:
    """A version with one input, shape (rows, 1), for each column."""
    made = assignment_for(b"x", 3, "m")
    inputs = tuple(Tensor(name=name, datatype=kind, shape=(-1, 1)) for name, kind in types.items())
    manifest = replace(made.manifest, inputs=inputs, columns=tuple(types), variants=())
    manifest = replace(manifest, outputs=manifest.outputs[:1])
    return replace(made, manifest=manifest)


def test_rows_that_wait_too_long_are_replaced_by_new_ones_and_counted() -> None:
    slot, capturer = slot_with(rate=1.0)
    for number in range(MAX_WAITING + 5):
        slot.predict(Sample(VALUES | {"x1": float(number)}))
    assert len(capturer.waiting) == MAX_WAITING
    assert capturer.waiting[0].inputs["x1"] == 5.0
    assert capturer._dropped["captured_rows"] == 5


class Sent:
    """A link that records messages."""

    def __init__(self) -> None:
        self.batches: list[Captured] = []

    def publish(self, topic: str, payload: bytes, **_: Any) -> None:
        assert topic == topics.captured("d")
        self.batches.append(decode(payload, Captured))

    def subscribe(self, topics: Any, *, qos: int = 1) -> None: ...

    def unsubscribe(self, topics: Any) -> None: ...


def row(number: int) -> CapturedRow:
    return CapturedRow(at=float(number), model="m", release=1, why="sampled", inputs={"x": number}, value="1")


class Device:
    """Captures on a flash; boots repeatedly."""

    def __init__(self, flash: Flash, boot: int = 1, max_bytes: int = 1_000_000) -> None:
        self.link = Sent()
        self.queue: deque[CapturedRow] = deque()
        self.dropped: Counter[str] = Counter()
        self.spool = Spool(flash, max_bytes)
        self._boot, self._seq, self._online = boot, 0, False
        self.captures = Captures(
            "d", self.spool, self.link, batch_s=10.0, queues=lambda: [self.queue], dropped=self.dropped
        )

    def name(self) -> tuple[int, int]:
        self._seq += 1
        return self._boot, self._seq

    def tick(self, now: float, *, online: bool = True, transfers: bool = False) -> None:
        if online and not self._online:
            self.captures.link_up(now - SETTLES_S)
        self._online = online
        self.captures.tick(now, self.name, transfers=transfers)


@pytest.fixture
def flash() -> Flash:
    return Flash(Random(1))


def test_rows_written_offline_arrive_in_order_and_once_after_reboots(flash: Flash) -> None:
    for boot in (1, 2, 3):
        device = Device(flash, boot)
        device.queue.append(row(boot))
        device.tick(0.0, online=False)
    later = Device(flash, 4)
    later.tick(0.0)
    for _ in range(5):
        if later.link.batches:
            newest = later.link.batches[-1]
            later.captures.acknowledged(Ack(boot=newest.boot, seq=newest.seq))
            later.tick(1.0)
    assert [batch.rows[0].at for batch in later.link.batches] == [1.0, 2.0, 3.0]
    assert len(later.spool) == 0
    assert Device(flash, 5).spool.oldest() is None


def test_one_batch_is_in_flight_and_is_sent_again_until_it_is_acknowledged(flash: Flash) -> None:
    device = Device(flash)
    for at in (0.0, 20.0):
        device.queue.append(row(int(at)))
        device.tick(at)
    assert [batch.seq for batch in device.link.batches] == [1]
    device.tick(RESEND_S + 1)
    assert [batch.seq for batch in device.link.batches] == [1, 1]
    assert not device.captures.acknowledged(Ack(boot=1, seq=2))
    assert device.captures.acknowledged(Ack(boot=1, seq=1))
    device.tick(40.0)
    assert [batch.seq for batch in device.link.batches] == [1, 1, 2]


def test_batches_wait_while_chunks_arrive_and_until_the_link_has_settled(
    flash: Flash,
) -> None:
    device = Device(flash)
    device.queue.append(row(1))
    device.tick(0.0, online=False)
    assert device.captures.wake_at() == float("inf")
    device.captures.link_up(100.0)
    device.captures.tick(100.0, device.name)
    assert (device.link.batches, device.captures.wake_at()) == ([], 100.0 + SETTLES_S)
    device.captures.tick(100.0 + SETTLES_S, device.name, transfers=True)
    assert (device.link.batches, device.captures.wake_at()) == ([], float("inf"))
    device.captures.tick(200.0, device.name)
    assert len(device.link.batches) == 1
    device.captures.link_down(201.0)
    device.captures.tick(300.0, device.name)
    assert len(device.link.batches) == 1


def test_a_batch_fits_a_link_that_is_cut_often(flash: Flash) -> None:
    device = Device(flash)
    large = msgspec.structs.replace(row(1), inputs={f"x{number}": "y" * 100 for number in range(20)})
    device.queue.extend([large] * 100)
    device.tick(0.0, online=False)
    sizes = [flash.size_bytes(name) for name in flash.names()]
    assert sum(sizes) > 200_000
    assert max(sizes) < 1.2 * BATCH_BYTES <= MAX_AT_CLIENT_BYTES


def test_a_full_spool_drops_the_oldest_batch_and_counts_it(flash: Flash) -> None:
    device = Device(flash, max_bytes=1000)
    for number in range(20):
        device.queue.append(row(number))
        device.tick(number * 10.0, online=False)
    assert device.dropped["captured_batches"] == 20 - len(device.spool)
    assert sum(flash.size_bytes(name) - 32 for name in flash.names()) <= 1000
    found = device.spool.oldest()
    assert found is not None
    assert found[0][1] == 21 - len(device.spool)


def test_the_number_of_files_is_limited(flash: Flash, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.flash.spool.MAX_FILES", 3)
    spool = Spool(flash, 1_000_000)
    for number in range(10):
        spool.put((1, number), b"x")
    assert len(spool) == 3
    assert MAX_FILES > 1000


def test_batches_keep_their_order_when_the_agent_starts_again_with_any_number(flash: Flash) -> None:
    for number in (900, 7, 30):
        Spool(flash, 1_000_000).put((number, 1), b"x")
    again = Spool(flash, 1_000_000)
    order = []
    while (oldest := again.oldest()) is not None:
        order.append(oldest[0])
        again.drop(oldest[0])
    assert order == [(900, 1), (7, 1), (30, 1)]


def test_a_damaged_batch_is_dropped_and_the_next_one_is_sent(flash: Flash) -> None:
    spool = Spool(flash, 1_000_000)
    spool.put((1, 1), b"first")
    spool.put((1, 2), b"second")
    flash.write("captured-1-1-1", b"?" * 40)
    assert spool.oldest() == ((1, 2), b"second")


def test_a_disk_that_refuses_writes_loses_rows_and_nothing_else(flash: Flash, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(flash)
    device.queue.append(row(1))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(flash, "write", full)
    device.tick(0.0)
    assert device.dropped["captured_rows"] == 1
    assert device.link.batches == []


def test_power_cut_at_every_operation_leaves_whole_batches_in_order() -> None:
    cuts = 0
    for at in range(1, 200):
        flash = Flash(Random(at), Power(cut_at(at)))
        device = Device(flash)
        written = 0
        try:
            for number in range(4):
                device.queue.append(row(number))
                device.tick(number * 10.0, online=False)
                written += 1
        except PowerCut:
            cuts += 1
        else:
            break
        flash.lose_power()
        again = Spool(flash, 1_000_000)
        found = []
        while (oldest := again.oldest()) is not None:
            found.append(decode(oldest[1], Captured).rows[0].at)
            again.drop(oldest[0])
        assert flash.names() == []
        assert found[:written] == [float(number) for number in range(written)]
        assert len(found) <= written + 1
    assert cuts > 10
