"""The timeline of a rollout in the zone of whoever reads it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from edgeward.answers.rollout_looks import RolloutEvent
from edgeward.cli.rollout_timeline import story_lines

AT = datetime(2026, 11, 27, 8, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_times_and_moments_within_words_are_those_of_the_readers_zone() -> None:
    told = {"action": "rollout pause", "by": "mara", "kind": "paused", "device": ""}
    event = RolloutEvent.read({"at": AT.isoformat(), "text": f"until {AT.isoformat()}", **told})
    (line,) = story_lines([event])
    assert line.plain == "2026-11-27 17:10:00  pause by mara: until 2026-11-27 17:10:00 JST"
