"""A push says at which step it is and what share is done, to the page and to whoever waits."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from controller.api.app import make_app
from controller.config import Config, StorageConfig
from controller.convert.under_way import FULL, STEP_FILE, STEPS, Pushing, UnderWay
from controller.state import open_state
from controller.verbs.push import begun


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


def test_a_push_under_way_is_told_with_its_step_words_and_share(tmp_path: Path) -> None:
    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    mine = begun(state, "weather", "ada", 100)
    mine.receive(50)

    async def run() -> Any:
        async with TestClient(TestServer(make_app(state, "t")), headers={"Authorization": "Bearer t"}) as client:
            with state.pushing.begin(mine):
                during = await (await client.get("/v1/pushes")).json()
            return during, await (await client.get("/v1/pushes")).json()

    ((told,), after) = asyncio.run(run())
    state.close()
    assert (told["model"], told["by"], told["step"], told["number"], told["of"]) == ("weather", "ada", "receive", 1, 8)
    assert (told["ratio"], told["received_bytes"], told["total_bytes"]) == (0.05, 50, 100)
    assert after == []
