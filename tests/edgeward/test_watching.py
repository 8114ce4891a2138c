"""A client that watches a rollout sees its end, even if the controller is unreachable in between."""

from typing import Any

import pytest

from contract.errors import Code, WorldError
from edgeward import rollout_handle
from edgeward.answers.rollouts import Rollout
from edgeward.rollout_handle import AWAY_S, RolloutHandle

AWAY = WorldError(Code.CONTROLLER_UNREACHABLE, "nobody answers")


class View:
    def __init__(self, *, is_open: bool) -> None:
        self.open = is_open


def watched(monkeypatch: pytest.MonkeyPatch, answers: list[Any], *, seconds: float = 1.0) -> list[bool]:
    """A watched rollout; each read takes the given seconds."""
    clock = [0.0]

    class Transport:
        def get(self, path: str) -> Any:
            assert path == "/v1/rollouts/r-1"
            found = answers.pop(0)
            if isinstance(found, WorldError):
                raise found
            return found

    monkeypatch.setattr(rollout_handle.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(rollout_handle.time, "sleep", lambda _: clock.__setitem__(0, clock[0] + seconds))
    monkeypatch.setattr(Rollout, "read", classmethod(lambda cls, plain: plain))
    return [view.open for view in RolloutHandle(Transport(), "r-1").watch()]  # type: ignore[arg-type]


def test_watching_continues_when_a_controller_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(monkeypatch, [View(is_open=True), AWAY, AWAY, View(is_open=False)]) == [True, False]


def test_a_controller_that_stays_unreachable_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorldError, match="nobody answers"):
        watched(monkeypatch, [View(is_open=True), AWAY, AWAY], seconds=AWAY_S + 1)
    with pytest.raises(WorldError, match="nobody answers"):
        watched(monkeypatch, [AWAY])
