"""The controller's MQTT edge: paho in a thread; passes messages to the event loop, and watches retained messages of
other clients.

Telemetry has its own connection, so that a flood of it cannot push reports out of the broker's queue. Refuses to
know what messages mean.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import paho.mqtt.client as paho

from contract.mqtt_address import parse_mqtt_address
from controller.broker.buffered_client import BufferedClient, OnMessage
from controller.broker.feed import Feed
from controller.broker.messages import Retained
from controller.config import BrokerConfig

KEEPALIVE_S = 30
MAX_QUEUED = 20_000
MAX_ARRIVED, MAX_ARRIVED_BYTES = 5_000, 8 * 1024**2
"""The most messages that wait for the event loop: half a second of messages of one connection, or eight of the
largest. Above this limit, the connection is not read, and the broker keeps or drops messages by its own limits.
"""
PAUSE_S = 0.005
TURN = 200
"""Messages that are handled before other tasks of the event loop run: about 5 ms."""

_AS_PUBLISHED = paho.SubscribeOptions(qos=1, retainAsPublished=True)
_BY_OTHERS = paho.SubscribeOptions(qos=0, noLocal=True, retainAsPublished=True, retainHandling=2)
"""Subscribes to later messages of other clients, without those that are retained already. At QoS 0, so that no
flood of it pushes reports out of the broker's queue."""

_log = logging.getLogger("edgeward.link")

OnConnected = Callable[[], None]


class ControllerLink:
    """One connection that reconnects by itself. Callbacks run in the event loop.

    On the topics `watched` it receives messages of other clients, never its own.
    """

    def __init__(
        self,
        client_id: str,
        broker_url: str,
        tls: BrokerConfig,
        filters: Iterable[str],
        *,
        watched: Iterable[str] = (),
        loop: asyncio.AbstractEventLoop,
        on_message: OnMessage,
        on_connected: OnConnected,
    ) -> None:
        self._loop = loop
        self._filters = [(topic, _AS_PUBLISHED) for topic in filters]
        self._filters += [(topic, _BY_OTHERS) for topic in watched]
        self._on_message = on_message
        self._on_connected = on_connected
        self._client = BufferedClient(client_id, self._message)
        self._client.max_queued_messages_set(MAX_QUEUED)
        self._client.max_inflight_messages_set(100)
        self._client.reconnect_delay_set(1, 15)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_publish = self._confirmed
        self._feed = Feed(self._hand_over, self._client.is_connected)
        self._fed = False
        """Whether the event loop must hand over more."""
        self._client.on_socket_open = _no_delay
        self._host, self._port = _address(self._client, broker_url, tls)
        self._arrived: deque[tuple[str, bytes, bool]] = deque()
        self._received_bytes = self._given_bytes = 0
        """Each count is written by only one thread: paho's, or the event loop's."""
        self._woken = self._stopped = False

    @property
    def connected(self) -> bool:
        """Whether the connection is up."""
        return self._client.is_connected()

    def start(self) -> None:
        """Connects in the background and reconnects until `stop`."""
        self._client.connect_async(self._host, self._port, keepalive=KEEPALIVE_S, clean_start=True)
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnects and ends the thread."""
        self._stopped = True
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Queues a QoS 1 message, without properties, so that devices parse it with less work (docs/adr/0014)."""
        self._client.publish(topic, payload, qos=1, retain=retain)

    def retain(self, messages: Iterable[Retained]) -> None:
        """Queues retained messages; in the event loop. They are made only when they are sent: see `feed`."""
        self._feed.add(messages)

    def _hand_over(self, message: Retained) -> paho.MQTTMessageInfo:
        return self._client.publish(message.topic, message.payload, qos=1, retain=True)

    def _confirmed(self, *_: Any) -> None:
        """Wakes the event loop, in paho's thread, if more messages wait."""
        if self._feed.is_empty or self._fed:
            return
        self._fed = True
        try:
            self._loop.call_soon_threadsafe(self._go_on)
        except RuntimeError:
            _log.debug("the event loop has ended; nothing more is published")

    def _go_on(self) -> None:
        self._fed = False  # before the work: a message that is confirmed after this line wakes the loop again
        self._feed.go_on()

    def subscribe(self, topic: str) -> None:
        """Subscribes again: after an unsubscription every broker sends the retained message again."""
        self._client.unsubscribe(topic)
        self._client.subscribe(topic, options=paho.SubscribeOptions(qos=1))

    def unsubscribe(self, topic: str) -> None:
        """Ends a subscription."""
        self._client.unsubscribe(topic)

    def _connected(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            _log.error("broker refused the connection: %s", reason)
            return
        client.subscribe(self._filters)
        self._loop.call_soon_threadsafe(self._on_connected)
        self._loop.call_soon_threadsafe(self._go_on)

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            _log.error("the connection to the broker is lost (%s): trying again", reason)

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        """Passes a message on, in paho's thread. One wake-up of the loop handles all messages that have arrived
        before it.
        """
        while self._is_full() and not self._stopped:
            time.sleep(PAUSE_S)
        self._received_bytes += len(payload)
        self._arrived.append((topic, payload, retained))
        if self._woken:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._take_arrived)
        except RuntimeError:
            _log.debug("the event loop has ended; message dropped")

    def _is_full(self) -> bool:
        return len(self._arrived) >= MAX_ARRIVED or self._received_bytes - self._given_bytes >= MAX_ARRIVED_BYTES

    def _take_arrived(self) -> None:
        """Handles messages in the event loop; after TURN of them other tasks may run."""
        self._woken = False  # before the work: a message that arrives after this line wakes the loop again
        for _ in range(min(TURN, len(self._arrived))):
            topic, payload, retained = self._arrived.popleft()
            self._given_bytes += len(payload)
            self._on_message(topic, payload, retained)
        if self._arrived and not self._woken:
            self._woken = True
            self._loop.call_soon(self._take_arrived)


def _address(client: paho.Client, broker_url: str, tls: BrokerConfig) -> tuple[str, int]:
    address = parse_mqtt_address(broker_url)
    if address.username:
        client.username_pw_set(address.username, address.password)
    if address.tls:
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file or None)
        client.tls_set_context(context)
    return address.host, address.port


def _no_delay(_client: Any, _data: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
