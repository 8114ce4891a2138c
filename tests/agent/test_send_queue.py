"""The queue to the broker: by importance, one copy of each message, few of them at the client."""

from collections import Counter

import pytest

from agent.uplink.link_age import (
    FIRST_PAUSE_S,
    MAX_PAUSE_S,
    SETTLES_AFTER_CUT_S,
    SETTLES_S,
    SHORT_LIVED_S,
    Pauses,
    Settling,
)
from agent.uplink.send_queue import MAX_AT_CLIENT_BYTES, MAX_WAITING, MAX_WAITING_BYTES, RANKS, SendQueue, Unsent
from agent.uplink.telemetry_queue import MAX_QUEUED


@pytest.fixture
def queue() -> SendQueue:
    made = SendQueue(Counter())
    made.open()
    return made


def message(kind: str, payload: bytes = b"x") -> Unsent:
    return Unsent(f"edgeward/v1/d/a/up/{kind}" if kind else "plant/line-1/predictions", payload)


def taken(queue: SendQueue) -> list[str]:
    found = []
    while (each := queue.take(0.0)) is not None:
        found.append(each.payload.decode())
    return found


def test_messages_are_sent_by_importance_and_not_by_arrival(queue: SendQueue) -> None:
    for kind in reversed(RANKS):
        queue.put(message(kind, kind.encode()))
    assert taken(queue) == ["presence", "report", "answered", "heartbeat", "telemetry", "", "captured"]


@pytest.mark.parametrize("kind", ["heartbeat", "telemetry", "captured"])
def test_the_client_holds_one_message_at_a_time_until_it_is_confirmed(queue: SendQueue, kind: str) -> None:
    queue.put(message(kind, b"1"))
    first = queue.take(0.0)
    assert first is not None
    for number in range(2, 6):
        queue.put(message(kind, b"%d" % number))
    assert taken(queue) == []
    queue.confirmed(first)
    assert taken(queue) == ["2" if kind == "telemetry" else "5"], "of state the newest, of intervals each"


def test_heartbeats_behind_unconfirmed_chunks_are_sent_once_a_minute(queue: SendQueue) -> None:
    sent = []
    for now in range(0, 300, 5):
        queue.put(message("heartbeat", b"%d" % now))
        sent += [each.payload for each in (queue.take(100.0 + now), queue.take(100.0 + now)) if each is not None]
    assert sent == [b"0", b"50", b"100", b"150", b"200", b"250"]


def test_a_batch_or_report_that_is_queued_or_held_by_the_client_is_not_queued_twice(
    queue: SendQueue,
) -> None:
    for kind in ("captured", "report"):
        for _ in range(3):
            queue.put(message(kind, kind.encode()))
    assert taken(queue) == ["report", "captured"]
    for kind in ("captured", "report"):
        queue.put(message(kind, kind.encode()))
    assert len(queue) == 0


def test_the_client_holds_few_bytes_and_a_larger_message_is_sent_alone(queue: SendQueue) -> None:
    body = bytes(MAX_AT_CLIENT_BYTES // 4)
    for _ in range(10):
        queue.put(message("", body))
    held = [each for each in iter(lambda: queue.take(0.0), None) if each is not None]
    assert len(held) == 4
    assert queue.at_client_bytes <= MAX_AT_CLIENT_BYTES
    queue.put(message("report", bytes(MAX_AT_CLIENT_BYTES + 1)))
    for each in held[:3]:
        queue.confirmed(each)
        assert queue.take(0.0) is None, "what is small does not overtake a report for ever"
    queue.confirmed(held[3])
    large = queue.take(0.0)
    assert large is not None
    assert large.kind == "report"
    assert queue.take(0.0) is None


def test_a_cut_returns_all_messages_in_order_and_the_device_asks_before_it_sends_any(queue: SendQueue) -> None:
    for kind in ("presence", "report", "heartbeat", "telemetry", "captured"):
        queue.put(message(kind, kind.encode() + b"-1"))
    assert len(taken(queue)) == 5
    queue.put(message("report", b"report-2"))
    queue.put(message("telemetry", b"telemetry-2"))
    queue.cut()
    assert taken(queue) == []
    queue.open()
    first = queue.take(0.0)
    assert first is not None
    assert [first.payload, *taken(queue)] == [b"report-1", "report-2", "telemetry-1"]
    assert len(queue) == 1, "state is said anew on each connection, and rows are on flash"


def test_beyond_the_limits_the_least_important_is_dropped_and_counted() -> None:
    dropped: Counter[str] = Counter()
    queue = SendQueue(dropped)
    queue.put(message("report", b"kept"))
    for number in range(MAX_WAITING + 9):
        queue.put(message("", b"%d" % number))
    assert dropped["messages_unsent"] == 10
    queue.put(message("", bytes(MAX_WAITING_BYTES)))
    queue.open()
    assert taken(queue) == ["kept"], "the large one and all before it were dropped for the limit of bytes"


def test_telemetry_waits_for_its_hours_as_it_does_offline() -> None:
    dropped: Counter[str] = Counter()
    queue = SendQueue(dropped)
    for number in range(MAX_QUEUED + 3):
        queue.put(message("telemetry", b"%d" % number))
    queue.open()
    assert (len(queue), taken(queue), dropped["telemetry"]) == (MAX_QUEUED, ["3"], 3)


def test_pauses_grow_while_connections_are_short_and_differ_by_device() -> None:
    pauses = Pauses()
    assert [pauses.after(3.0, 1.0) for _ in range(7)] == [1, 2, 4, 8, MAX_PAUSE_S, MAX_PAUSE_S, MAX_PAUSE_S]
    assert pauses.after(SHORT_LIVED_S, 1.0) == FIRST_PAUSE_S
    assert (Pauses().after(0.0, 0.0), Pauses().after(0.0, 0.5)) == (FIRST_PAUSE_S / 2, FIRST_PAUSE_S * 0.75)


def test_a_link_is_settled_at_once_and_later_after_a_cut() -> None:
    link = Settling()
    assert link.settled_at == float("inf")
    link.link_up(100.0)
    assert link.settled_at == 100.0 + SETTLES_S
    link.link_down(110.0)
    assert link.settled_at == float("inf")
    link.link_up(120.0)
    assert link.settled_at == 120.0 + SETTLES_AFTER_CUT_S
    link.link_down(120.0 + SHORT_LIVED_S)
    link.link_up(200.0)
    assert link.settled_at == 200.0 + SETTLES_S
