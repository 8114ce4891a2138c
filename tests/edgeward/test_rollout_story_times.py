"""The timeline of a rollout in the time zone of its reader."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edgeward.answers.rollout_looks import RolloutEvent
from edgeward.cli.rollout_timeline import picture, story_lines

AT = datetime(2026, 11, 27, 8, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_times_in_a_story_are_in_the_readers_time_zone() -> None:
    told = {"action": "rollout pause", "by": "mara", "kind": "paused", "device": ""}
    event = RolloutEvent.read({"at": AT.isoformat(), "text": f"until {AT.isoformat()}", **told})
    (line,) = story_lines([event])
    assert line.plain == "2026-11-27 17:10:00  pause by mara: until 2026-11-27 17:10:00 JST"


def event(after_s: float, kind: str, action: str) -> RolloutEvent:
    told = {"at": (AT + timedelta(seconds=after_s)).isoformat(), "kind": kind, "action": action}
    return RolloutEvent.read({"by": "mara", "device": "", "text": "", **told})


def test_a_comment_on_the_next_day_does_not_lengthen_an_ended_rollout() -> None:
    told = [event(0, "running", "rollout start"), event(300, "ended", "rollout completed")]
    ended = cast("Any", SimpleNamespace(open=False))
    late = event(86_400, "written", "rollout note")
    heads = [picture(ended, events, AT, 80)[0].plain.split() for events in (told, [*told, late])]
    assert heads[0] == heads[1]
    assert "5 min" in " ".join(heads[0])
