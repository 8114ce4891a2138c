"""A push says at which step it is and what share is done, to the page and to whoever waits."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from controller.convert.under_way import FULL, STEP_FILE, STEPS, Pushing, UnderWay


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def push(clock: Clock, **fields: Any) -> UnderWay:
    return UnderWay("m", "ada", 1000.0, clock, **fields)


def test_the_weights_of_all_steps_are_the_whole() -> None:
    assert sum(weight for _, weight in STEPS.values()) == pytest.approx(1.0)


def test_the_share_grows_from_step_to_step_and_never_reaches_the_whole() -> None:
    mine, seen = push(Clock()), []
    for step in STEPS:
        mine.enter(step)
        seen.append(mine.ratio)
    assert seen == sorted(seen)
    assert seen[0] == 0.0
    assert seen[-1] < 1.0


def test_while_it_is_received_the_share_is_that_of_its_bytes() -> None:
    mine = push(Clock(), total_bytes=200)
    mine.receive(100)
    assert mine.ratio == pytest.approx(STEPS["receive"][1] / 2)
    unsaid = push(Clock())
    unsaid.receive(100)
    assert unsaid.ratio == 0.0


def test_within_a_step_the_share_follows_the_time_that_the_version_before_took_and_then_stands_still() -> None:
    clock = Clock()
    mine, first = push(clock, usual_s=9.0), push(clock)
    for each in (mine, first):
        each.enter("convert")
    begun = mine.ratio
    clock.now = 1.75  # half of what this step took before
    assert mine.ratio - begun == pytest.approx(STEPS["convert"][1] / 2)
    clock.now = 1e6
    assert mine.ratio - begun == pytest.approx(STEPS["convert"][1] * FULL)
    assert first.ratio == begun, "nobody knows how long a first version takes"


def test_the_child_says_its_own_steps_and_may_not_say_others(tmp_path: Path) -> None:
    mine = push(Clock(), directory=tmp_path)
    mine.enter("read")
    for said, step in (("convert", "convert"), ("register", "convert"), ("read", "convert"), ("golden", "golden")):
        (tmp_path / STEP_FILE).write_text(said)
        mine.look()
        assert mine.step == step
    mine.enter("measure")
    (tmp_path / STEP_FILE).write_text("convert")
    mine.look()
    assert mine.step == "measure"


def test_a_push_is_under_way_until_it_ends_however_that_is() -> None:
    kept, mine = Pushing(), push(Clock())

    def ends() -> None:
        with kept.begin(mine):
            assert kept.all == [mine]
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        ends()
    assert (kept.all, kept.changes) == ([], 2)
