"""Messages from paho's thread to the event loop: one wake-up for many, in order, within a bound."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from controller.broker import link as module
from controller.broker.link import TURN, ControllerLink
from controller.config import BrokerConfig


class Loop:
    """Stores the functions to call."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.call_soon = self.call_soon_threadsafe = lambda call: self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def heard() -> list[tuple[str, bytes, bool]]:
    return []


@pytest.fixture
def link(loop: Loop, heard: list[tuple[str, bytes, bool]]) -> ControllerLink:
    def hear(*message: Any) -> None:
        heard.append(message)

    return ControllerLink(
        "c",
        "mqtt://127.0.0.1:1",
        BrokerConfig(),
        (),
        loop=loop,
        on_message=hear,
        on_connected=lambda: None,  # type: ignore[arg-type]
    )


def arrive(link: ControllerLink, payload: bytes, *, retain: bool = False) -> None:
    link._message("t", payload, retain)


def test_messages_that_arrive_together_wake_the_loop_once_and_are_returned_in_order(
    link: ControllerLink, loop: Loop, heard: list[tuple[str, bytes, bool]]
) -> None:
    for number in range(3):
        arrive(link, b"%d" % number, retain=number == 1)
    assert (len(loop.calls), heard) == (1, [])
    loop.turn()
    assert heard == [("t", b"0", False), ("t", b"1", True), ("t", b"2", False)]
    arrive(link, b"3")
    loop.turn()
    assert heard[-1] == ("t", b"3", False)


def test_many_messages_do_not_stop_other_tasks_of_the_loop(
    link: ControllerLink, loop: Loop, heard: list[tuple[str, bytes, bool]]
) -> None:
    for _ in range(2 * TURN + 1):
        arrive(link, b"x")
    turns = 0
    while loop.calls:
        loop.turn()
        turns += 1
    assert (turns, len(heard)) == (3, 2 * TURN + 1)


@pytest.mark.parametrize(("count", "size_bytes"), [(10, 1), (2, 5)])
def test_messages_waiting_for_the_loop_are_limited_and_reading_pauses_at_the_limit(
    link: ControllerLink, loop: Loop, monkeypatch: pytest.MonkeyPatch, count: int, size_bytes: int
) -> None:
    monkeypatch.setattr(module, "MAX_ARRIVED", 10)
    monkeypatch.setattr(module, "MAX_ARRIVED_BYTES", 10)
    for _ in range(count):
        arrive(link, b"x" * size_bytes)
    late = threading.Thread(target=arrive, args=(link, b"late"))
    late.start()
    time.sleep(0.1)
    assert late.is_alive()
    loop.turn()
    late.join(2)
    assert not late.is_alive()
    loop.turn()
    link.stop()
