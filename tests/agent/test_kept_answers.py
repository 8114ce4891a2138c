"""Answers survive the end of the process: their labels count once for the version that answered, and flash has a
limit.
"""

import math
import threading
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agent.adapters.posix_disk import PosixDisk
from agent.core.model import Assignment
from agent.flash.answer_log import AnswerLog
from agent.ports import Disk, Sample
from agent.serving.kept_answers import MAX_KEPT_ROWS, KeptAnswers
from agent.serving.oip import Endpoint
from agent.serving.oip_messages import Request
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.manifest import Manifest, Tensor
from firmware_sim.models import make_model

X = {"x": np.array([[1.0]], np.float32)}


class Labels:
    """Answers `yes` to every row."""

    def run(self, inputs: Any, stop: Any = None) -> list[Any]:
        return [np.full(len(inputs["x"]), "yes", dtype=object)]


def version(release: int) -> Assignment:
    manifest: Manifest = msgspec.structs.replace(
        make_model(release, "good").manifest,
        inputs=(Tensor(name="x", datatype="FP32", shape=(-1, 1)),),
        outputs=(Tensor(name="y", datatype="BYTES", shape=(-1,)),),
        columns=("x",),
        classes=("no", "yes"),
    )
    return Assignment(model="m", generation=release, manifest=manifest, policy=TrialPolicy(soak_s=Decimal(1)))


class Start:
    """One start of an agent over a directory. `boot` names it, `at` is the date at its beginning."""

    def __init__(self, disk: Disk, boot: str, at: float = 1e9, *, release: int = 1, max_bytes: int = 1 << 20) -> None:
        self.now = 0.0
        self.dropped: Counter[str] = Counter()
        log = AnswerLog(disk, "m", max_bytes)
        kept = KeptAnswers(log, clock=lambda: at + self.now, perf_s=lambda: self.now, dropped=self.dropped)
        self.log = log
        self.slot = ModelSlot(
            "m",
            perf_s=lambda: self.now,
            lock=threading.Lock(),
            prefix=f"{boot}-0-",
            dropped=self.dropped,
            kept_answers=kept,
        )
        self.slot.swap(self.slot.prepare(version(release), Labels()))

    def answer(self, count: int = 1) -> list[str]:
        found = [self.slot.predict(Sample({"x": 1.0})) for _ in range(count)]
        self.slot.keep_answers()
        return [each.id for each in found if each is not None]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return PosixDisk(tmp_path)


def test_labels_after_a_restart_count_for_the_version_and_minute_of_the_answer(disk: Disk) -> None:
    before = Start(disk, "a")
    ids = before.answer(3)
    after = Start(disk, "b", 1e9 + 600, release=2)
    after.answer()
    assert after.slot.feedback(ids[0], "yes").release == 1
    assert after.slot.feedback(ids[1], "no").release == 1
    with pytest.raises(BadInput) as caught:
        after.slot.feedback(ids[2], "maybe")
    assert caught.value.code == Code.LABEL_UNKNOWN
    (told,) = after.slot.truth.take(8)
    assert (told.version.release, told.labelled, told.correct, told.labels_unknown) == (1, 2, 1, 1)
    assert told.age_s == 600.0
    after.slot.metric("scrap_rate", 0.5, ids[2])
    assert after.slot.truth.take(8)[0].version.release == 1


def test_a_label_counts_once_even_if_a_second_start_receives_it(disk: Disk) -> None:
    first = Start(disk, "a")
    ids = first.answer(2)
    first.slot.feedback(ids[0], "yes")
    second = Start(disk, "b")
    second.slot.feedback(ids[1], "yes")
    for start in (second, Start(disk, "c")):
        for name in ids:
            with pytest.raises(BadInput) as caught:
                start.slot.feedback(name, "yes")
            assert caught.value.code == Code.LABEL_REPEATED


def test_an_answer_of_many_rows_is_found_by_row_and_a_large_one_is_not_written(disk: Disk) -> None:
    before = Start(disk, "a")
    few = before.slot.ask({"x": np.zeros((3, 1), np.float32)}).id
    many = before.slot.ask({"x": np.zeros((MAX_KEPT_ROWS + 1, 1), np.float32)}).id
    before.slot.note_captured(f"{few}.1")
    before.slot.keep_answers()
    after, followed = Start(disk, "b"), []
    after.slot.truth.follow = lambda name, label: followed.append((name, label))  # type: ignore[assignment]
    after.slot.feedback(f"{few}.1", "yes")
    assert followed == [(f"{few}.1", "yes")]
    assert after.slot.feedback(few, ["yes", "no", "yes"]).rows == 2
    with pytest.raises(BadInput, match="kept_bytes"):
        after.slot.feedback(many, ["yes"] * (MAX_KEPT_ROWS + 1))


def test_flash_keeps_the_newest_answers_up_to_its_limit(disk: Disk) -> None:
    before, limit = Start(disk, "a", max_bytes=32 * 1024), 32 * 1024
    ids = [name for _ in range(40) for name in before.answer(100)]
    written = sum(map(disk.size_bytes, disk.names()))
    assert written == before.log.size_bytes
    assert limit // 2 < written <= limit
    after = Start(disk, "b")
    assert after.slot.feedback(ids[-1], "yes").rows == 1
    with pytest.raises(BadInput):
        after.slot.feedback(ids[0], "yes")


def test_an_answer_takes_few_bytes(disk: Disk) -> None:
    start = Start(disk, "a")
    start.answer(100)
    first = start.log.size_bytes
    start.answer(1000)
    assert (start.log.size_bytes - first) / 1000 < 16
    start.answer()
    assert start.log.size_bytes - first < 16_100


def test_a_cut_or_damaged_frame_ends_its_segment_and_no_other(disk: Disk) -> None:
    ids = Start(disk, "a").answer(2)
    (name,) = disk.names()
    disk.write(name, disk.read(name) + b"\x20\x00\x00\x00half a fra")
    assert Start(disk, "b").slot.feedback(ids[0], "yes").rows == 1
    raw = bytearray(disk.read(name))
    raw[len(raw) // 2] ^= 1
    disk.write(name, bytes(raw))
    with pytest.raises(BadInput):
        Start(disk, "c").slot.feedback(ids[1], "yes")


def test_a_frame_with_changed_content_is_ignored(disk: Disk) -> None:
    log = AnswerLog(disk, "m", 65_536)
    for content in (b"first", b"second", b"third"):
        log.append(content)
    (name,) = disk.names()
    disk.write(name, disk.read(name).replace(b"second", b"sEcond"))
    assert list(AnswerLog(disk, "m", 65_536).frames()) == [b"first"]


def test_a_full_disk_stops_no_answer(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Start(disk, "a")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(PosixDisk, "write_at", full)
        lost = start.answer(5)
    assert start.dropped["answers_unkept"] == 5
    assert start.slot.feedback(lost[0], "yes").rows == 1
    ids = start.answer()
    assert Start(disk, "b").slot.feedback(ids[0], "yes").rows == 1


def test_the_log_is_read_once_and_outside_the_request_loop(disk: Disk) -> None:
    ids = Start(disk, "a").answer()
    after = Start(disk, "b")
    endpoint = Endpoint(lambda: {"m": after.slot}, Statistics(lambda: 0, lambda: 0.0, threading.Lock()), version="1")
    body = msgspec.json.encode({"id": ids[0], "label": "yes"})
    request = Request("POST", "/v2/models/m/feedback", body)
    assert endpoint.expected_s(request) == math.inf
    assert endpoint.answer(request).status == 200
    assert endpoint.expected_s(request) == 0.0


def test_ids_of_other_models_and_invented_ids_are_unknown(disk: Disk) -> None:
    Start(disk, "a").answer()
    after = Start(disk, "b")
    assert not after.slot.gave("zz-0-1")
    assert after.slot.gave("a-0-1")
    assert after.slot.gave("b-0-1")
