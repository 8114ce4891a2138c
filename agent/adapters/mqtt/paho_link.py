"""The Link port on paho-mqtt: MQTT 5, independent of broker sessions, with callbacks that only put into a queue.

Decides when paho gets a message from the send queue, and the delays between connections. Refuses to know what messages
mean. paho itself keeps nothing when a connection is cut: it would send everything before the device can ask for
anything. An exception in a callback would end paho's thread while `is_connected()` stays true. Therefore every callback
is wrapped, and `revive` starts a thread that has ended.
"""

import logging
import random
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.adapters.mqtt.bare_client import BareClient
from agent.config import Broker
from agent.stimuli import LinkDown, LinkUp, MessageArrived, Stimulus
from agent.uplink.link_age import Pauses
from agent.uplink.send_queue import SendQueue, Unsent
from contract import topics
from contract.errors import BadInput, Code
from contract.messages import Presence
from contract.mqtt_address import MqttAddress, parse_mqtt_address
from contract.protocol import PROTOCOL
from contract.wire import encode

KEEPALIVE_S = 30
RECONNECT_MAX_S = 30
"""The longest time between attempts to reach a broker that does not answer; `Pauses` decides the first, paho doubles
it."""
SESSION_TAKEN_OVER = 0x8E
"""The reason code with which a broker ends a connection whose client identifier has connected again."""

_log = logging.getLogger("edgeward.link")


class PahoLink:
    """One connection to the broker, which reconnects by itself."""

    def __init__(
        self,
        broker: Broker,
        device: str,
        boot: int,
        deliver: Callable[[Stimulus], None],
        *,
        dropped: Counter[str] | None = None,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._deliver = deliver
        self._spread = spread
        self._pauses = Pauses()
        self._connected_at: float | None = None
        self._queue = SendQueue(Counter() if dropped is None else dropped)
        self._numbers: dict[int, Unsent] = {}
        """The messages that paho holds, by paho's number of the message."""
        self._changes: deque[Callable[[], object]] = deque()
        self._changing = threading.Lock()
        self._client = BareClient(device, self._wrapped(self._arrived))
        self._client.max_inflight_messages_set(100)
        self._pause_before_next(0.0)
        self._client.on_connect = self._wrapped(self._on_connect)
        self._client.on_disconnect = self._wrapped(self._on_disconnect)
        self._client.on_connect_fail = self._wrapped(self._on_connect_fail)
        self._client.on_publish = self._wrapped(self._on_publish)
        self._client.on_message = self._wrapped(self._on_message)
        self._client.on_socket_open = self._wrapped(_no_delay)
        gone = Presence(protocol=PROTOCOL, device=device, online=False, boot=boot)
        self._gone = (topics.presence(device), encode(gone))
        self._client.will_set(*self._gone, qos=1, retain=True)
        self._address = _configure(self._client, broker)

    def start(self) -> None:
        """Connects in the background; tries again until it succeeds, every half second to 30 s."""
        self._client.connect_async(self._address.host, self._address.port, keepalive=KEEPALIVE_S, clean_start=True)
        self._client.loop_start()

    def stop(self) -> None:
        """Announces that the device is offline and ends the network thread."""
        topic, payload = self._gone
        self._client.publish(topic, payload, qos=1, retain=True)
        self._client.disconnect()
        self._client.loop_stop()

    def hand_over(self) -> None:
        """Ends this connection without announcing that the device is offline: another connection of it
        takes its place.
        """
        self._client.disconnect()
        self._client.loop_stop()

    def revive(self) -> None:
        """Starts the network thread again if it has died."""
        thread = self._client._thread  # paho has no public method for this (adapters/private_parts.py)
        if thread is not None and not thread.is_alive():
            _log.error("network thread died; starting it again")
            self._client.loop_stop()
            self._client.loop_start()

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        """Queues a message; from any thread. At QoS 0 it is sent now or dropped."""
        if qos:
            self._change(partial(self._queue.put, Unsent(topic, payload, retain, expiry_s)))
        elif self._client.is_connected():
            self._client.publish(topic, payload, qos=0, retain=retain)

    def subscribe(self, topics: Sequence[str], *, qos: int = 1) -> None:
        """Subscribes to the topics while connected. Does nothing without topics, because paho would raise.

        Queued messages are sent after the first subscription on a connection, not before.
        """
        if topics and self._client.is_connected():
            self._client.subscribe([(topic, paho.SubscribeOptions(qos=qos)) for topic in topics])
            self._change(self._queue.open)

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """Unsubscribes from the topics while connected. Messages that were sent before may still arrive."""
        if topics and self._client.is_connected():
            self._client.unsubscribe(list(topics))

    def _change(self, change: Callable[[], object]) -> None:
        """Makes a change of the queue, and gives paho the messages that may be sent after it; from any thread.

        Never waits for another thread: paho calls back while it holds its own lock, for which `publish` waits. If
        another thread is doing this already, that thread makes this change as well.
        """
        self._changes.append(change)
        while self._changes and self._changing.acquire(blocking=False):
            try:
                while self._changes:
                    self._changes.popleft()()
                while (message := self._queue.take(time.monotonic())) is not None:
                    self._send(message)
            finally:
                self._changing.release()

    def _send(self, message: Unsent) -> None:
        """Gives paho one message. Only a message with `expiry_s` has properties: no receiver reads any other."""
        properties = None
        if message.expiry_s is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it untyped
            properties.MessageExpiryInterval = message.expiry_s
        sent = self._client.publish(message.topic, message.payload, 1, message.retain, properties)
        self._numbers[sent.mid] = message

    def _confirmed(self, number: int) -> None:
        if (message := self._numbers.pop(number, None)) is not None:
            self._queue.confirmed(message)

    def _cut(self) -> None:
        self._numbers.clear()
        self._queue.cut()

    def _pause_before_next(self, lived_s: float) -> None:
        pause_s = self._pauses.after(lived_s, self._spread())
        self._client.reconnect_delay_set(pause_s, RECONNECT_MAX_S)  # type: ignore[arg-type]  # it takes fractions, too

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            _log.error("broker refused the connection: %s", reason)
            return
        self._connected_at = time.monotonic()
        self._client.drop_out_messages()
        self._deliver(LinkUp(_broker_expires(self._client.socket())))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.value == SESSION_TAKEN_OVER:
            _log.error("another client has connected under this device's name: does a copy of this device run?")
        self._change(self._cut)
        if self._connected_at is not None:
            self._pause_before_next(time.monotonic() - self._connected_at)
            self._connected_at = None
        self._deliver(LinkDown())

    def _on_connect_fail(self, *_: Any) -> None:
        _log.warning(
            "%s: %s:%d does not answer; trying again", Code.BROKER_UNREACHABLE, self._address.host, self._address.port
        )

    def _on_publish(self, _client: Any, _data: Any, number: int, reason: Any, _properties: Any) -> None:
        self._change(partial(self._confirmed, number))
        if reason.is_failure:
            _log.error("the broker refused a message: %s", reason)

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self._arrived(message.topic, bytes(message.payload))

    def _arrived(self, topic: str, payload: bytes) -> None:
        self._deliver(MessageArrived(topic, payload))

    def _wrapped(self, callback: Callable[..., None]) -> Callable[..., None]:
        def safe(*args: Any) -> None:
            try:
                callback(*args)
            except Exception:
                _log.exception("callback failed")

        return safe


def _configure(client: paho.Client, broker: Broker) -> MqttAddress:
    """Sets the password and the certificates of the client; returns the broker's address. BadInput `config_invalid`."""
    address = parse_mqtt_address(broker.url)
    if address.username:
        client.username_pw_set(address.username, address.password or None)
    if address.tls:
        client.tls_set_context(tls_context(broker))
    return address


def _broker_expires(stream: Any) -> int:
    """When the broker's certificate expires, in seconds since 1970; 0 without TLS."""
    shown = stream.getpeercert() if isinstance(stream, ssl.SSLSocket) else None
    return int(ssl.cert_time_to_seconds(str(shown["notAfter"]))) if shown else 0


def tls_context(broker: Broker) -> ssl.SSLContext:
    """Returns a TLS context from the files that `broker` names.

    BadInput `config_invalid` names the file that is missing or is not PEM.
    """
    try:
        named = f"broker.ca_file {broker.ca_file}"
        context = ssl.create_default_context(cafile=broker.ca_file or None)
        if broker.cert_file:
            named = f"broker.cert_file {broker.cert_file}, broker.key_file {broker.key_file}"
            context.load_cert_chain(broker.cert_file, broker.key_file or None)
    except OSError as error:  # ssl.SSLError is an OSError
        raise BadInput(Code.CONFIG_INVALID, f"{named}: {error.strerror or error}") from None
    return context


def _no_delay(_client: Any, _data: Any, sock: Any) -> None:
    """Disables Nagle's algorithm, with which a QoS 1 round trip takes 44 ms in place of 0.4 ms."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
