"""Packets of MQTT that come in any pieces, over a real socket into paho's own loop."""

import inspect
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.broker.buffered_client import MAX_PACKET_BYTES, BufferedClient, plain_message, whole_packet

CONNACK = bytes([0x20, 3, 0, 0, 0])


def length_of(size: int) -> bytes:
    digits = b""
    while True:
        size, digit = divmod(size, 128)
        digits += bytes([digit | 128 if size else digit])
        if not size:
            return digits


def packet(header: int, content: bytes) -> bytes:
    return bytes([header]) + length_of(len(content)) + content


def message(topic: bytes, payload: bytes, *, number: int = 0, retain: bool = False, properties: bytes = b"") -> bytes:
    head = struct.pack("!H", len(topic)) + topic + (struct.pack("!H", number) if number else b"")
    body = head + bytes([len(properties)]) + properties + payload
    return packet(0x30 | (2 if number else 0) | retain, body)


class Heard:
    """A client on one end of a socket, what it received, and the broker's end."""

    def __init__(self, client: BufferedClient, broker: socket.socket, told: list[tuple[str, bytes, bool]]) -> None:
        self.client, self.broker, self.told = client, broker, told

    def read(self) -> paho.MQTTErrorCode:
        """Does what paho does when the socket has data."""
        code = self.client.loop_read()
        if self.client.socket() is not None:
            self.client.loop_write()
        return code

    def answered(self) -> bytes:
        self.broker.setblocking(False)
        try:
            return self.broker.recv(65536)
        except BlockingIOError:
            return b""


@contextmanager
def connected() -> Iterator[Heard]:
    ours, broker = socket.socketpair()
    told: list[tuple[str, bytes, bool]] = []
    client = BufferedClient("t", lambda *each: told.append(each))
    with ours, broker:
        ours.setblocking(False)
        client._sock = ours
        client._thread = object()  # type: ignore[assignment]  # as within `loop_start`: what is queued is sent later
        yield Heard(client, broker, told)


@given(st.lists(st.integers(1, 400), max_size=30), st.booleans())
def test_messages_are_the_same_for_any_split_of_the_bytes(cuts: list[int], retained: bool) -> None:
    sent = [(f"up/{number}", b"x" * number, retained) for number in (0, 1, 126, 127, 128, 300)]
    stream = b"".join(
        message(topic.encode(), payload, number=number + 1, retain=retained)
        for number, (topic, payload, _) in enumerate(sent)
    )
    with connected() as heard:
        for cut in [*cuts, len(stream)]:
            piece, stream = stream[:cut], stream[cut:]
            if piece:
                heard.broker.sendall(piece)
                assert heard.read() == paho.MQTT_ERR_SUCCESS
        assert heard.told == sent
        assert heard.answered() == b"".join(struct.pack("!BBH", 0x40, 2, number) for number in range(1, 7))


def test_messages_of_one_read_are_acknowledged_by_one_write() -> None:
    with connected() as heard:
        heard.broker.sendall(b"".join(message(b"t", b"", number=each) for each in (7, 8, 9)))
        heard.client.loop_read()
        assert len(heard.client._out_packet) == 1


def test_a_message_is_acknowledged_only_after_it_was_handed_over() -> None:
    with connected() as heard:
        queued: list[int] = []
        heard.client._on_bytes = lambda *_: queued.append(len(heard.client._out_packet))
        heard.broker.sendall(message(b"t", b"p", number=1) + message(b"t", b"q", number=2))
        heard.read()
        assert queued == [0, 0]


def test_qos_0_is_not_acknowledged_and_properties_are_left_out() -> None:
    with connected() as heard:
        heard.broker.sendall(message(b"t", b"p", properties=b"\x01\x00"))
        heard.read()
        assert (heard.told, heard.answered()) == ([("t", b"p", False)], b"")


def test_paho_handles_all_other_packets() -> None:
    with connected() as heard:
        seen: list[bool] = []
        heard.client.on_connect = lambda *each: seen.append(each[3].is_failure)
        heard.broker.sendall(CONNACK + message(b"t", b"p"))
        heard.read()
        assert (seen, heard.told) == ([False], [("t", b"p", False)])


def test_a_topic_that_is_not_utf_8_loses_only_its_own_message() -> None:
    with connected() as heard:
        heard.broker.sendall(message(b"\xff", b"p", number=1) + message(b"t", b"q", number=2))
        assert heard.read() == paho.MQTT_ERR_SUCCESS
        assert [payload for _, payload, _ in heard.told] == [b"p", b"q"]


@pytest.mark.parametrize(
    "bad",
    [
        b"\x30\xff\xff\xff\xff\x01",
        bytes([0x30]) + length_of(MAX_PACKET_BYTES + 1),
        packet(0x30, b"\x00\x09t"),
        packet(0x30, b"\x00\x01t\x05p"),
    ],
)
def test_an_invalid_packet_ends_the_connection_and_not_the_thread(bad: bytes) -> None:
    with connected() as heard:
        heard.broker.sendall(bad)
        assert heard.client._packet_read() == paho.MQTT_ERR_PROTOCOL


def test_an_unfinished_packet_of_a_lost_connection_is_not_continued_by_the_next() -> None:
    whole = message(b"t", b"payload")
    with connected() as heard, connected() as other:
        heard.broker.sendall(whole[:5])
        heard.read()
        heard.client._sock = other.client._sock
        other.broker.sendall(whole)
        heard.read()
        assert heard.told == [("t", b"payload", False)]


@given(st.binary(max_size=40))
def test_arbitrary_bytes_raise_only_errors_that_end_a_connection(raw: bytes) -> None:
    try:
        found = whole_packet(raw, 0)
        if found is not None:
            plain_message(found[0], raw, found[1], found[2])
    except ValueError:
        pass


def test_paho_still_calls_the_replaced_function() -> None:
    assert "self._packet_read()" in inspect.getsource(paho.Client.loop_read)
    assert {"command", "packet", "pos", "remaining_length", "to_process"} <= set(BufferedClient("t", print)._in_packet)
    assert list(inspect.signature(paho.Client._packet_queue).parameters)[1:5] == ["command", "packet", "mid", "qos"]
