"""Messages of devices that no pass has taken: bounded, in order, and distinguished from foreign ones."""

import pytest

from contract import topics
from contract.captured import Captured
from contract.messages import Ack, Hardware, Heartbeat, ModelState, Presence, Report, Telemetry
from contract.wire import encode
from controller.broker import inbox as module
from controller.broker import refusals as refusals_module
from controller.broker.inbox import Inbox
from controller.broker.refusals import ALL_LINES_A_MINUTE, LINES_A_MINUTE, MINUTE_S, WORTH_TELLING, Refusals
from controller.broker.refusals import LATELY_S as QUIET_AFTER_S
from controller.broker.strangers import LATELY_S, MAX_NAMES, Strangers
from controller.trust.senders import Senders

HARDWARE = Hardware(machine="x86_64", cpus=2, memory_mb=512, python="3.11", onnxruntime="1.32", agent="0.1.0")
STATE = ModelState(model="m", phase="steady", generation=1)


class Keys:
    """`enrolled` alone has a certificate."""

    def public_keys(self, device: str, now: float) -> list[str]:
        return []

    def enrolled(self, device: str) -> bool:
        return device == "enrolled"


@pytest.fixture
def inbox() -> Inbox:
    return Inbox(Senders(Keys(), require_signed=False), lambda: 0.0)


def put(inbox: Inbox, kind: type, seq: int, device: str = "a", topic_of: str = "") -> bool:
    head = {"protocol": 1, "device": device, "boot": 1, "seq": seq}
    topic, message = {
        Heartbeat: (topics.heartbeat, lambda: Heartbeat(**head, uptime_s=1, hardware=HARDWARE)),
        Report: (topics.report, lambda: Report(**head, state=STATE)),
        Telemetry: (topics.telemetry, lambda: Telemetry(**head, interval_s=1.0)),
        Captured: (topics.captured, lambda: Captured(**head, rows=())),
        Presence: (topics.presence, lambda: Presence(protocol=1, device=device, online=True)),
    }[kind]
    return inbox.put(topic(topic_of or device), encode(message()))


@pytest.mark.parametrize("kind", [Heartbeat, Report, Telemetry, Captured, Presence])
def test_a_message_that_names_another_device_and_an_unsigned_message_have_different_codes(
    inbox: Inbox, kind: type
) -> None:
    assert not put(inbox, kind, 1, device="enrolled", topic_of="a")
    assert inbox.counts == {"wrong_device": 1}
    if kind is not Presence:  # the broker's word carries no signature
        assert not put(inbox, kind, 1, device="enrolled")
        assert inbox.counts == {"wrong_device": 1, "unsigned": 1}
    assert inbox.take() == ([], [])


def test_messages_are_returned_once_in_the_order_of_their_arrival(inbox: Inbox) -> None:
    for number, kind in enumerate((Presence, Heartbeat, Telemetry, Report, Heartbeat)):
        assert put(inbox, kind, number)
    messages, _ = inbox.take()
    assert [type(message) for _, message in messages] == [Presence, Heartbeat, Telemetry, Report, Heartbeat]
    assert inbox.take() == ([], [])


def test_a_full_inbox_drops_telemetry_first_and_reports_last(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_INBOX", 4)
    for number, kind in enumerate((Report, Heartbeat, Telemetry, Presence)):
        put(inbox, kind, number)
    left = []
    for number in range(4, 8):
        put(inbox, Report, number)
        messages, _ = inbox.take()
        left.append({type(message).__name__ for _, message in messages})
        for device, message in messages:
            assert inbox.put(getattr(topics, type(message).__name__.lower())(device), encode(message))
    assert left == [
        {"Report", "Heartbeat", "Presence"},
        {"Report", "Presence"},
        {"Report"},
        {"Report"},
    ]
    assert (inbox.counts["overflow"], inbox.refused) == (4, 4)
    seqs = [message.seq for _, message in inbox.take()[0] if isinstance(message, Report)]
    assert seqs == [4, 5, 6, 7], "the oldest report went; its device says it again"


def test_the_number_of_captured_batches_is_limited_too(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CAPTURED", 2)
    for seq in (1, 2, 3):
        put(inbox, Captured, seq)
    assert [batch.seq for _, batch in inbox.take()[1]] == [2, 3]
    assert inbox.counts["overflow"] == 1


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"protocol":1}'])
def test_a_message_that_cannot_be_decoded_is_counted(inbox: Inbox, payload: bytes) -> None:
    assert not inbox.put(topics.heartbeat("a"), payload)
    assert not inbox.put(topics.desired("a"), payload), "not a topic on which devices speak"
    assert not inbox.put(topics.heartbeat("a"), b""), "a retained message that was taken back"
    assert inbox.counts == {"malformed": 1, "wrong_name": 1}


def test_unsigned_messages_of_a_device_are_reported_for_a_while_by_its_name() -> None:
    at = [1000.0]
    made = Inbox(Senders(Keys(), require_signed=False), lambda: at[0])
    for seq in (1, 2):
        put(made, Heartbeat, seq, device="enrolled")
    assert made.strangers() == {"enrolled": "2 messages, the newest 0 s ago"}
    at[0] += LATELY_S + 1
    assert made.strangers() == {}
    strangers = Strangers()
    for number in range(MAX_NAMES + 5):
        strangers.note(f"d{number}", 1.0)
    assert len(strangers.told(1.0)) == MAX_NAMES


def test_a_retired_device_that_returns_is_counted_separately_and_stored_for_an_answer() -> None:
    senders = Senders(Keys(), require_signed=False)
    senders.retired = {"gone"}
    made = Inbox(senders, lambda: 1000.0)
    for kind in (Heartbeat, Presence):
        assert not put(made, kind, 1, device="gone")
    assert (dict(made.counts), made.retired_heard, made.strangers()) == ({"retired": 2}, {"gone"}, {})


def test_a_device_with_an_invalid_key_is_told_so_once_per_check() -> None:
    made = Inbox(Senders(Keys(), require_signed=False), lambda: 1000.0)
    for seq, signature in ((1, ""), (2, "x"), (3, "x")):
        signed = Heartbeat(
            protocol=1, device="enrolled", boot=7, seq=seq, uptime_s=1, hardware=HARDWARE, signature=signature
        )
        made.put(topics.heartbeat("enrolled"), encode(signed))
    assert made.unheard == {"enrolled": Ack(boot=7, seq=3, heard=False)}
    made.unheard.clear()
    for name, signature in (("never enrolled here", "x"), ("plain", "")):
        head = {"protocol": 1, "device": name.replace(" ", "-"), "boot": 7, "seq": 4, "uptime_s": 1}
        beat = Heartbeat(**head, hardware=HARDWARE, signature=signature)
        assert made.put(topics.heartbeat(beat.device), encode(beat)), "it is heard as devices without a key are"
    assert made.unheard == {"never-enrolled-here": Ack(boot=7, seq=4, heard=False)}


def test_a_message_in_another_protocol_is_refused_without_an_attempt_to_read_it(inbox: Inbox) -> None:
    message = Telemetry(protocol=2, device="a", boot=1, seq=1, interval_s=1.0)
    assert not inbox.put(topics.telemetry("a"), encode(message))
    assert inbox.counts == {"malformed": 1}


def test_many_malformed_messages_are_few_log_lines_a_sum_and_a_name_in_health(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING", logger="edgeward.controller")
    now = [1000.0]
    made = Inbox(Senders(Keys(), require_signed=False), lambda: now[0])
    for _ in range(500):
        made.put(topics.heartbeat("loud"), b"{}")
        made.put(topics.heartbeat("quiet"), b"{}") if now[0] == 1000.0 else None
        now[0] += 0.01
    made.take()
    assert (len(caplog.messages), made.loudest()) == (LINES_A_MINUTE + 1, {}), "the minute is not over"
    now[0] += MINUTE_S
    made.take()
    assert caplog.messages[-1] == "dropped: loud: 500 malformed messages in a minute, 5 of them logged"
    assert made.loudest() == {"loud": "500 malformed messages in a minute"}
    assert made.counts["malformed"] == 501
    now[0] += QUIET_AFTER_S + 1
    assert made.loudest() == {}


def test_a_throttled_device_is_reported_and_the_worst_is_first() -> None:
    refusals = Refusals()
    for device, messages in (("bad", 200), ("worse", 300), ("new", WORTH_TELLING - 1)):
        for _ in range(messages):
            refusals.throttled(device, 0.0)
    assert refusals.sums(MINUTE_S)[0] == "worse: 300 throttled messages in a minute, 0 of them logged"
    assert list(refusals.told(MINUTE_S)) == ["worse", "bad"]


def test_malformed_messages_of_a_whole_fleet_fill_neither_log_nor_memory() -> None:
    refusals = Refusals()
    lines = sum(refusals.refused(f"d{number}", 0.0) for number in range(10_000))
    assert lines == ALL_LINES_A_MINUTE
    assert len(refusals._minute) == refusals_module.MAX_NAMES + 1
    assert refusals.sums(MINUTE_S) == ["other devices: 9900 malformed messages in a minute, 0 of them logged"]
