from collections import Counter
from collections.abc import Sequence

import pytest

from agent.ports import Usage
from agent.uplink.reporter import MAX_RESEND_S, MAX_UNACKED, RESEND_S, Reporter
from agent.uplink.telemetry_queue import MAX_QUEUED, TelemetryQueue
from contract.errors import BadInput, Code
from contract.messages import Ack, ModelState, Report, Telemetry
from contract.wire import decode


class Wire:
    """A link that records messages."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        self.sent.append((topic.rpartition("/")[2], payload))

    def subscribe(self, topics: Sequence[str], *, qos: int = 1) -> None:
        raise AssertionError

    def unsubscribe(self, topics: Sequence[str]) -> None:
        raise AssertionError


def reporter() -> tuple[Reporter, Wire, Counter[str]]:
    wire, dropped = Wire(), Counter[str]()
    return Reporter("cam-1", 3, wire, dropped), wire, dropped


STATE = ModelState(model="m", phase="steady", generation=1)


def sequence_numbers(wire: Wire) -> list[int]:
    return [decode(raw, Report).seq for kind, raw in wire.sent if kind == "report"]


def test_reports_wait_for_the_link_and_go_out_in_order() -> None:
    made, wire, _ = reporter()
    made.report(STATE, 0.0)
    made.refuse(BadInput(Code.WRONG_DEVICE, "x"), 0.0)
    assert wire.sent == []
    made.link_up(1.0)
    assert [kind for kind, _ in wire.sent] == ["presence", "report", "report"]
    assert sequence_numbers(wire) == [1, 2]


def test_a_report_is_sent_again_until_it_is_acknowledged() -> None:
    made, wire, _ = reporter()
    made.link_up(0.0)
    made.report(STATE, 0.0)
    made.tick(RESEND_S)
    assert sequence_numbers(wire) == [1, 1]
    made.acknowledged(Ack(boot=2, seq=1))
    made.tick(3 * RESEND_S)
    assert sequence_numbers(wire) == [1, 1, 1]
    made.acknowledged(Ack(boot=3, seq=1))
    made.tick(100 * RESEND_S)
    assert sequence_numbers(wire) == [1, 1, 1]
    assert made.wake_at() == float("inf")


def test_reports_are_repeated_less_often_to_an_absent_controller_and_at_once_when_it_returns() -> None:
    made, wire, _ = reporter()
    made.link_up(0.0)
    made.report(STATE, 0.0)
    pauses, before = [], 0.0
    for _ in range(7):
        at = made.wake_at()
        assert at is not None
        made.tick(at)
        pauses.append(at - before)
        before = at
    assert pauses == [15.0, 30.0, 60.0, 120.0, MAX_RESEND_S, MAX_RESEND_S, MAX_RESEND_S]
    made.link_up(before)
    assert made.wake_at() == before + RESEND_S
    made.acknowledged(Ack(boot=3, seq=1))
    made.report(STATE, before)
    assert made.wake_at() == before + RESEND_S
    assert len(sequence_numbers(wire)) == 10


def test_the_oldest_report_is_dropped_and_counted() -> None:
    made, wire, dropped = reporter()
    for _ in range(MAX_UNACKED + 2):
        made.report(STATE, 0.0)
    made.link_up(0.0)
    assert sequence_numbers(wire)[0] == 3
    assert dropped["reports"] == 2


def test_telemetry_is_kept_while_offline_up_to_a_limit() -> None:
    dropped: Counter[str] = Counter()
    queue = TelemetryQueue(dropped)
    for number in range(MAX_QUEUED + 5):
        queue.put(Telemetry(protocol=1, device="d", boot=1, seq=number, interval_s=1.0))
    assert next(queue.drain()).seq == 5
    assert (len(queue), dropped["telemetry"]) == (MAX_QUEUED - 1, 5)


def test_telemetry_reports_the_share_of_a_core_used_in_the_interval() -> None:
    made, wire, _ = reporter()
    made.link_up(0.0)
    usage = Usage(rss_mb=51.26, cpu_s=9.0, temperature_c=41.5)
    made.telemetry((), usage, interval_s=10.0, cpu_s=0.5, stall_ms=0.0, swap_rss_mb=-3.04, received=0)
    found = decode(wire.sent[-1][1], Telemetry)
    assert (found.rss_mb, found.cpu_ratio, found.temperature_c, found.swap_rss_mb) == (51.3, 0.05, 41.5, -3.0)


def test_telemetry_is_signed_unless_the_controller_has_sent_a_key_for_codes() -> None:
    wire, dropped = Wire(), Counter[str]()
    made = Reporter("cam-1", 3, wire, dropped, lambda _: "signed", code=lambda key, _: f"mac:{key}")
    made.link_up(0.0)
    for agreement in (None, "key", ""):
        if agreement is not None:
            made.agree(agreement)
        made.telemetry((), Usage(0.0, 0.0, None), interval_s=1.0, cpu_s=0.0, stall_ms=0.0, swap_rss_mb=0.0, received=0)
    sent = [decode(raw, Telemetry).signature for kind, raw in wire.sent if kind == "telemetry"]
    assert sent == ["signed", "mac:key", "signed"]


def test_telemetry_that_waited_for_the_link_has_the_code_or_signature_valid_when_sent() -> None:
    wire, dropped = Wire(), Counter[str]()
    made = Reporter("cam-1", 3, wire, dropped, lambda _: "signed", code=lambda key, _: f"mac:{key}")
    made.agree("former")
    made.telemetry((), Usage(0.0, 0.0, None), interval_s=1.0, cpu_s=0.0, stall_ms=0.0, swap_rss_mb=0.0, received=0)
    made.agree("")
    made.link_up(0.0)
    assert [decode(raw, Telemetry).signature for kind, raw in wire.sent if kind == "telemetry"] == ["signed"]


def test_forged_acknowledgements_that_change_the_key_each_time_write_few_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made, _, _ = reporter()
    with caplog.at_level("INFO", "edgeward.agent"):
        for number in range(10_000):
            made.agree(f"key-{number // 2}" if number % 2 else "")
        for _ in range(100):
            made.agree("the last")
    assert 8 < len(caplog.messages) <= 8 + 10
    assert "telemetry carries codes from here on" in caplog.messages[0]
