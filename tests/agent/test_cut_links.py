"""The MQTT client on a link that is cut: what is sent first on the next connection, and that nothing is sent twice."""

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from agent.adapters.mqtt.paho_link import PahoLink
from agent.config import Broker
from agent.stimuli import LinkDown, LinkUp
from contract import topics

CONNECT, PUBLISH, SUBSCRIBE = 1, 3, 8
Packet = tuple[int, bytes]


class DeafBroker:
    """Accepts connections and confirms no message unless it `confirms`; each connection's packets are in `packets`."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._listening.getsockname()[1]}"
        self.packets: list[list[Packet]] = []
        self.confirms = False
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        """Ends the server and all connections."""
        self.cut()
        self._listening.close()

    def sent(self, connection: int, kind: str) -> int:
        """Returns how often a message of this kind came on a connection."""
        return sum(type_ == PUBLISH and f"/up/{kind}".encode() in body for type_, body in self.packets[connection])

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listening.accept()
            except OSError:
                return
            self.packets.append([])
            self._open.append(stream)
            threading.Thread(target=self._read_all, args=(stream, self.packets[-1]), daemon=True).start()

    def _read_all(self, stream: socket.socket, packets: list[Packet]) -> None:
        with suppress(OSError):
            self._read(stream, packets)

    def _read(self, stream: socket.socket, packets: list[Packet]) -> None:
        reader = stream.makefile("rb")
        while head := reader.read(1):
            length = shift = 0
            while (byte := int.from_bytes(reader.read(1))) & 0x80:
                length, shift = length | (byte & 0x7F) << shift, shift + 7
            body = reader.read(length | byte << shift)
            packets.append((head[0] >> 4, body))
            if head[0] >> 4 == CONNECT:
                stream.sendall(b"\x20\x03\x00\x00\x00")
            elif head[0] >> 4 == PUBLISH and self.confirms:
                number = 2 + int.from_bytes(body[:2])
                stream.sendall(b"\x40\x02" + body[number : number + 2])


@pytest.fixture
def broker() -> Iterator[DeafBroker]:
    made = DeafBroker()
    yield made
    made.close()


@pytest.fixture
def heard(broker: DeafBroker) -> Iterator[tuple[PahoLink, "queue.Queue[Any]"]]:
    arrived: queue.Queue[Any] = queue.Queue()
    link = PahoLink(Broker(url=broker.url), "a", 1, arrived.put)
    link.start()
    assert arrived.get(timeout=10) == LinkUp()
    yield link, arrived
    broker.confirms = True
    link.stop()


def wait_until(look: Any) -> None:
    until = time.monotonic() + 10
    while not look():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def test_after_a_cut_the_device_asks_first_and_the_client_resends_no_batch(
    broker: DeafBroker, heard: tuple[PahoLink, "queue.Queue[Any]"]
) -> None:
    link, arrived = heard
    link.subscribe([topics.ack("a")])
    for _ in range(3):
        link.publish(topics.captured("a"), b"a batch" * 1000)
    link.publish(topics.report("a"), b"a report")
    wait_until(lambda: broker.sent(0, "report"))
    assert broker.sent(0, "captured") == 1
    broker.cut()
    assert (arrived.get(timeout=10), arrived.get(timeout=10)) == (LinkDown(), LinkUp())
    link.publish(topics.captured("a"), b"a batch" * 1000)
    time.sleep(0.1)
    assert [kind for kind, _ in broker.packets[1]] == [CONNECT], "what waits does not go before a question"
    link.subscribe([topics.ack("a")])
    wait_until(lambda: broker.sent(1, "captured"))
    assert [kind for kind, _ in broker.packets[1]] == [CONNECT, SUBSCRIBE, PUBLISH, PUBLISH]
    assert (broker.sent(1, "report"), broker.sent(1, "captured")) == (1, 1)


def test_an_unconfirmed_heartbeat_delays_the_next_one_and_the_newest_is_sent(
    broker: DeafBroker, heard: tuple[PahoLink, "queue.Queue[Any]"]
) -> None:
    link, _ = heard
    link.subscribe([topics.ack("a")])
    for number in range(5):
        link.publish(topics.heartbeat("a"), b"beat %d" % number)
    link.publish(topics.report("a"), b"a report")
    wait_until(lambda: broker.sent(0, "report"))
    assert broker.sent(0, "heartbeat") == 1
    broker.confirms = True
    link.publish(topics.answered("a"), b"an answer")
    first = next(body for kind, body in broker.packets[0] if kind == PUBLISH and b"/up/heartbeat" in body)
    number = 2 + int.from_bytes(first[:2])
    broker._open[0].sendall(b"\x40\x02" + first[number : number + 2])
    wait_until(lambda: broker.sent(0, "heartbeat") == 2)
    assert broker.packets[0][-1][1].endswith(b"beat 4")
