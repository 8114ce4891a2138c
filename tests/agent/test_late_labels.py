"""A label that comes as feedback is sent with its captured row: in it while the row waits, as a record after that."""

from collections import Counter, deque
from random import Random
from typing import Any

import numpy as np

from agent.config import Capture
from agent.flash.spool import Spool
from agent.serving.capture import MAX_WAITING, Capturer
from agent.uplink.captures import Captures
from contract.captured import Captured, CapturedRow, LateLabel
from contract.erasure import Erasure
from contract.wire import decode
from firmware_sim.flash import Flash
from tests.agent.test_capture import Sent
from tests.agent.test_truth import Echo, World


class Line:
    """A slot whose rows are captured, and the batches that leave the device."""

    def __init__(self, rate: float = 1.0, session: Any = None) -> None:
        self.world, self.link, self.dropped = World(session=session), Sent(), Counter[str]()
        self.random = [0.0]
        policy = Capture(model="m", rate=rate)
        self.capturer = Capturer(
            policy, random=lambda: self.random[0], clock=lambda: self.world.now, dropped=self.dropped
        )
        slot = self.world.slot
        slot.watchers = (self.capturer,)
        self.capturer.note_captured, slot.truth.follow = slot.note_captured, self.capturer.take_label
        self.spool = Spool(Flash(Random(1)), 1_000_000)
        self.captures = Captures(
            "d", self.spool, self.link, batch_s=10.0, queues=lambda: [self.capturer.waiting],
            labels=lambda: [self.capturer.labels], dropped=self.dropped,
        )  # fmt: skip
        self._number = 0

    def tick(self) -> None:
        self.world.now += 100.0
        self.captures.link_up(self.world.now - 100.0)  # long enough ago to have settled
        self.captures.tick(self.world.now, self.name)

    def name(self) -> tuple[int, int]:
        self._number += 1
        return 1, self._number


def test_a_label_that_arrives_early_is_in_the_captured_row() -> None:
    line = Line()
    names = [line.world.ask() for _ in range(3)]
    line.world.slot.feedback(names[1], 0)
    line.tick()
    (batch,) = line.link.batches
    assert [(row.id, row.label) for row in batch.rows] == [(names[0], None), (names[1], 0), (names[2], None)]
    assert batch.labels == ()


def test_a_label_that_arrives_after_its_row_was_sent_follows_in_a_later_batch() -> None:
    line = Line()
    name = line.world.ask()
    line.tick()
    line.world.slot.feedback(name, "1")
    assert line.captures.wake_at() < line.world.now + 100
    line.captures.link_down(line.world.now)
    line.spool.drop((1, 1))
    line.tick()
    assert (line.link.batches[-1].rows, line.link.batches[-1].labels) == (
        (),
        (LateLabel(model="m", id=name, label="1"),),
    )


def test_the_label_of_a_row_that_was_not_captured_is_never_sent() -> None:
    line = Line(rate=0.5)
    line.random[0] = 0.9
    line.world.slot.feedback(line.world.ask(), 1)
    assert not line.capturer.labels
    assert [each.labelled for each in line.world.told()] == [1]


def test_each_captured_row_of_a_request_has_its_own_label() -> None:
    line = Line(session=Echo())
    asked = line.world.slot.ask({"X": np.ones((10, 1), dtype=np.float32)})
    line.world.slot.feedback(asked.id, [row % 2 for row in range(10)])
    line.tick()
    assert [row.label for row in line.link.batches[0].rows] == [0, 1, 0, 1, 0, 1, 0, 1]
    assert line.link.batches[0].labels == ()


def test_labels_that_wait_too_long_are_replaced_by_new_ones_and_counted() -> None:
    dropped = Counter[str]()
    capturer = Capturer(Capture(model="m", rate=1.0), random=lambda: 0.0, clock=lambda: 0.0, dropped=dropped)
    for number in range(MAX_WAITING + 2):
        capturer.take_label(f"a-{number}", 1)
    assert (len(capturer.labels), dropped["captured_labels"], capturer.labels[0].id) == (MAX_WAITING, 2, "a-2")


def test_the_label_of_a_deleted_row_is_deleted_too_and_others_stay() -> None:
    flash = Flash(Random(1))
    spool, queue, labels = Spool(flash, 1_000_000), deque[CapturedRow](), deque[LateLabel]()
    captures = Captures(
        "d", spool, Sent(), batch_s=10.0, queues=lambda: [queue], labels=lambda: [labels], dropped=Counter()
    )

    def row(name: str, key: str) -> CapturedRow:
        return CapturedRow(at=1.0, model="m", release=1, why="hard", inputs={}, value="1", id=name, key=key)

    queue.extend([row("a-1", "ada"), row("a-2", "bob")])
    captures.tick(0.0, lambda: (1, 1))
    labels.extend([LateLabel(model="m", id=name, label="x") for name in ("a-1", "a-2", "a-9")])
    captures.tick(20.0, lambda: (1, 2))
    labels.append(LateLabel(model="m", id="a-1", label="y"))
    assert captures.erase((Erasure(id="del-1", keys=("ada",)), Erasure(id="del-2", answers=("a-9",)))) == {
        "del-1": 1, "del-2": 0,
    }  # fmt: skip
    assert not labels
    kept = [read(spool, name) for name in spool.names()]
    assert [[each.id for each in (*batch.rows, *batch.labels)] for batch in kept] == [["a-2"], ["a-2"]]


def read(spool: Spool, name: tuple[int, int]) -> Captured:
    body = spool.read(name)
    assert body is not None
    return decode(body, Captured)
