"""The order of a pass: durable before published, published before acknowledged; and what a failed pass leaves."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from contract.captured import Captured
from contract.errors import Code, WorldError
from contract.messages import Ack, Hardware, Heartbeat, ModelState, Report
from controller.fleet.twin import Twin
from controller.reconcile.deeds import Deed
from controller.reconcile.durable import FleetRecords
from controller.reconcile.one_pass import Passes
from controller.reconcile.ports import Rows
from controller.reconcile.world import Durable, FromDevice, World
from controller.rollout.model import Rollout
from firmware_sim.durable import DurableTables
from tests.controller.rollout_worlds import rollout, targets

HARDWARE = Hardware(machine="x86_64", cpus=2, memory_mb=512, python="3.11", onnxruntime="1.32", agent="0.1.0")
REPORT = Report(protocol=1, device="a", boot=1, seq=3, state=ModelState(model="m", phase="trial", generation=1))
BEAT = Heartbeat(protocol=1, device="a", boot=1, seq=2, uptime_s=1, hardware=HARDWARE)
BATCH = Captured(protocol=1, device="a", boot=1, seq=9, rows=())


class Outside(DurableTables):
    """Every port of a pass; it records the calls in order. `full` refuses writes, `connected` is the broker."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.full = ""
        self.connected = True
        self.waiting: list[tuple[str, FromDevice]] = []
        self.batches: list[tuple[str, Captured]] = []
        self.published: list[tuple[set[str], bool]] = []
        self.stand: list[str] = []
        self.deeds: list[Deed] = []

    def take(self) -> tuple[list[tuple[str, FromDevice]], list[tuple[str, Captured]]]:
        self._note("take")
        taken, self.waiting = self.waiting, []
        batches, self.batches = self.batches, []
        return taken, batches

    def write(self, rows: Rows) -> None:
        self._note("write")
        super().write(rows)

    def audit(self, deeds: Sequence[Deed]) -> None:
        self._note("audit")
        self.deeds += deeds

    def record(self, at: str, history: Iterable[tuple[str, str]], reported: Iterable[tuple[str, bytes]]) -> None:
        self._note("record")
        assert at == "1970-01-01T00:00:05+00:00"

    def keep_measured(self, measured: Sequence[Any], verdicts: Sequence[Any]) -> None:
        self._note("count")

    def keep_vitals(self, vitals: Sequence[Any]) -> None:
        self._note("vitals")

    def judged(self, points: Sequence[Any]) -> None:
        self._note("judge")

    def keep_captured(self, batches: Sequence[tuple[str, Captured]]) -> None:
        self._note("keep")

    async def publish(self, devices: frozenset[str], *, again: bool) -> bool:
        self._note("publish")
        self.published.append((set(devices), again))
        return self.connected

    def acknowledge(self, device: str, ack: Ack) -> None:
        self._note(f"ack {ack.seq}")

    def saved(self, rollouts: Sequence[Rollout]) -> None:
        self._note("tell")
        self.stand = [each.status for each in rollouts]

    def reported(self, reports: Sequence[tuple[str, Report]]) -> None:
        self._note("hear")

    def _note(self, what: str) -> None:
        self.asked.append(what)
        if what == self.full:
            raise WorldError(Code.DISK_FULL, "full")


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def world() -> World:
    started = rollout(among=targets(["a"]))
    return World(silent_s=90.0, durable=Durable({"a": Twin("a", seen_at=5.0, connected=True)}, {started.id: started}))


def passes(world: World, outside: Outside) -> Passes:
    return Passes(world, FleetRecords(outside), history=outside, broker=outside, listener=outside)


def run(made: Passes, outside: Any, now: float = 5.0) -> list[str]:
    outside.asked = []
    asyncio.run(made.run(outside, now))
    return outside.asked


def test_changes_are_durable_then_published_then_acknowledged(world: World, outside: Outside) -> None:
    outside.waiting, outside.batches = [("a", BEAT), ("a", REPORT)], [("a", BATCH)]
    assert run(passes(world, outside), outside) == [
        "take",
        "write",
        "count",
        "keep",
        "record",
        "hear",
        "judge",
        "publish",
        "ack 3",
        "ack 9",
    ]
    assert outside.published == [({"a"}, False)]


def test_a_pass_without_changes_writes_nothing(world: World, outside: Outside) -> None:
    made = passes(world, outside)
    run(made, outside)
    assert run(made, outside) == ["take", "publish"]
    assert outside.published[-1] == (set(), False)


@pytest.mark.parametrize("step", ["write", "count", "keep", "record"])
def test_a_failed_write_is_repeated_first_by_the_next_pass_and_nothing_was_published(
    world: World, outside: Outside, step: str
) -> None:
    made = passes(world, outside)
    outside.waiting, outside.batches = [("a", BEAT), ("a", REPORT)], [("a", BATCH)]
    outside.full = step
    for _ in range(2):
        with pytest.raises(WorldError):
            run(made, outside)
        assert not {"publish", "ack 3", "ack 9", "tell", "hear", "judge"} & set(outside.asked)
    assert "take" not in outside.asked, "a world that is not durable takes no message"
    outside.full = ""
    counted = ["count"] if step in ("write", "count") else []
    last = ["hear", "judge", "take", "publish", "ack 3", "ack 9"]
    assert run(made, outside) == ["write", *counted, "keep", "record", *last]
    assert outside.published == [({"a"}, False)]
    assert b'"release":2' in outside.rows("devices")["a"]


def test_without_a_broker_documents_and_acknowledgements_wait(world: World, outside: Outside) -> None:
    made = passes(world, outside)
    outside.waiting, outside.connected = [("a", REPORT)], False
    assert run(made, outside)[-1] == "publish"
    outside.connected = True
    assert run(made, outside) == ["take", "publish", "ack 3"]
    assert outside.published == [({"a"}, False), ({"a"}, False)]
    assert run(made, outside) == ["take", "publish"]


def test_a_fault_of_publishing_holds_back_no_acknowledgement_and_is_retried(world: World, outside: Outside) -> None:
    made = passes(world, outside)
    outside.waiting, outside.full = [("a", REPORT)], "publish"
    with pytest.raises(WorldError):
        run(made, outside)
    assert outside.asked[-2:] == ["publish", "ack 3"]
    outside.full = ""
    assert run(made, outside) == ["take", "publish"]
    assert outside.published == [({"a"}, False)]


def test_an_operators_decision_on_a_full_disk_is_not_overwritten_by_an_older_change(
    world: World, outside: Outside
) -> None:
    made, known = passes(world, outside), world.durable.rollouts
    known["r-1"] = replace(known["r-1"], status="aborting")
    outside.full = "write"
    with pytest.raises(WorldError):
        run(made, outside)
    assert known["r-1"].status == "aborted", "a pass has changed it, and could not write that"
    known["r-1"] = replace(known["r-1"], status="rolling_back")  # what a verb has written by itself
    outside.full = ""
    run(made, outside)
    assert FleetRecords(outside).load_world({}, 90.0).durable.rollouts["r-1"].status == known["r-1"].status
    assert outside.stand == [known["r-1"].status] != ["aborted"]


def test_a_document_that_was_not_received_is_published_with_all_trust_again(world: World, outside: Outside) -> None:
    made = passes(world, outside)
    run(made, outside)
    world.caches.published_at["a"], world.caches.sweep_at = -1000.0, 0.0
    world.durable.twins["a"] = replace(world.durable.twins["a"], seen_at=5.0)
    run(made, outside)
    assert outside.published[-1] == ({"a"}, True)
    run(made, outside)
    assert outside.published[-1] == (set(), False)
