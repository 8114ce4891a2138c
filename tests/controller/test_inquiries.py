"""Questions to a device: audited, only for some roles, with a clear error in time for an offline or slow device."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract import topics
from contract.inquiries import Answered, Inquiry
from contract.messages import Presence
from contract.wire import decode, encode
from controller.config import Config, StorageConfig
from controller.state import State, open_state
from controller.verbs import inquiries
from controller.verbs.tokens import create_token
from tests.controller.heard import hear
from tests.controller.test_api import call, deeds_of_people, meet


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    meet(made, "a", "b")
    yield made
    made.close()


class Link:
    """A link to a device with fixed answers."""

    connected = True

    def __init__(self, state: State, answer: Any) -> None:
        self._state, self._answer = state, answer
        self.asked: list[Inquiry] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        self.asked.append(decode(payload, Inquiry))
        assert (topic, retain) == (topics.inquiry(self.asked[-1].device), False)
        for device, answer in self._answer(self.asked[-1]):
            self._state.inbox.put(topics.answered(device), encode(answer))

    def stop(self) -> None:
        """There is nothing to end."""


def said(inquiry: Inquiry, device: str = "", **changed: Any) -> Answered:
    known = {"device": device or inquiry.device, "id": inquiry.id, "lines": ("one", "two"), **changed}
    return Answered(protocol=1, boot=1, seq=9, **known)


def ask(state: State, answer: Any, path: str = "/v1/devices/a/logs?lines=7") -> tuple[int, Any, Link]:
    link = Link(state, answer)
    state.links = (link,)  # type: ignore[assignment]  # the one method that is called
    status, body = call(state, "GET", path)
    return status, body, link


def test_log_lines_are_returned_by_the_device_and_the_question_is_audited(state: State) -> None:
    status, body, link = ask(state, lambda asked: [("a", said(asked))])
    assert (status, body["lines"], link.asked[0].lines, link.asked[0].what) == (200, ["one", "two"], 7, "logs")
    assert deeds_of_people(state)[0] == "device logs"
    assert ask(state, lambda asked: [("a", said(asked))], "/v1/devices/a/doctor")[1]["device"] == "a"


def test_an_answer_to_another_question_or_of_another_device_is_ignored(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inquiries, "WAIT_S", 0.2)
    for wrong in (
        lambda asked: [("a", said(asked, id="other"))],
        lambda asked: [("b", said(asked, "b"))],
        lambda asked: [("b", said(asked, "a"))],
    ):
        status, body, _ = ask(state, wrong)
        assert (status, body["code"]) == (503, "device_unreachable")


def test_a_device_that_does_not_answer_is_reported_in_time_and_can_be_asked_again(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inquiries, "WAIT_S", 0.2)
    began = time.monotonic()
    status, body, _ = ask(state, lambda _: [])
    assert (status, body["code"]) == (503, "device_unreachable")
    assert "edgeward-agent doctor" in body["detail"]
    assert time.monotonic() - began < 5
    assert ask(state, lambda asked: [("a", said(asked))])[0] == 200


def test_an_offline_device_is_not_asked(state: State) -> None:
    hear(state, Presence(protocol=1, device="a", online=False, boot=1))
    status, body, link = ask(state, lambda _: [])
    assert (status, body["code"], link.asked) == (503, "device_unreachable", [])
    assert "a is offline" in body["detail"]
    assert ask(state, lambda _: [], "/v1/devices/gone/logs")[1]["code"] == "unknown_device"
    assert ask(state, lambda _: [], "/v1/devices/b/logs?lines=0")[1]["code"] == "request_invalid"


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("approver", 403), ("operator", 200), ("admin", 200)])
def test_viewers_cannot_read_logs(state: State, role: Any, status: int) -> None:
    _, token = create_token(state, "someone", (role,), days=1.0, actor="test")
    state.links = (Link(state, lambda asked: [("a", said(asked))]),)  # type: ignore[assignment]

    assert call(state, "GET", "/v1/devices/a/logs", {"Authorization": f"Bearer {token}"})[0] == status


def test_two_people_cannot_ask_one_device_at_the_same_time(state: State) -> None:
    async def both() -> Any:
        state.inquiries.open("a", "first")
        try:
            return await inquiries.ask(state, "a", "logs", 5, actor="ada")
        except Exception as error:
            return error

    state.links = (Link(state, lambda _: []),)  # type: ignore[assignment]
    assert "somebody is asking a now" in str(asyncio.run(both()))
