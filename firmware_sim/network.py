"""A simulated broker and the links to it: retained messages, QoS 1, wills; latency, loss, duplicates, partitions.

A lost QoS 1 message is sent again after a pause, so loss causes delay and reordering; a broken connection loses the
messages in flight. Refuses to know what messages mean.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Annotated, Any, Protocol

import msgspec

from contract import topics
from contract.messages import Presence
from contract.protocol import PROTOCOL
from contract.wire import Message, encode
from firmware_sim.clock import Clock

Probability = Annotated[float, msgspec.Meta(ge=0, le=0.9)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e7)]

MAX_WAITING = 1000
"""QoS 1 messages that a device's client keeps while the connection is down."""


class Conditions(Message, frozen=True):
    """The conditions of links: latency, loss and limits."""

    latency_s: Seconds = 0.05
    bandwidth_bytes_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """The bytes a second that a device's link carries towards it; 0: no limit. Messages wait for earlier ones."""
    loss: Probability = 0.0
    """Probability that a message is lost once, and sent again."""
    resend_s: Seconds = 2.0
    drop: Probability = 0.0
    """Probability that the broker drops a message to a device permanently, as one with a full queue does."""
    duplicate: Probability = 0.0
    keepalive_s: Seconds = 45.0
    """The time after which the broker publishes the will of a device that is disconnected."""
    reconnect_s: Seconds = 5.0

    def calm(self) -> "Conditions":
        """The same link without faults."""
        return msgspec.structs.replace(self, loss=0.0, drop=0.0, duplicate=0.0)


class Receiver(Protocol):
    """A device's side of a link."""

    def link_up(self) -> None:
        """The connection has begun."""
        ...

    def link_down(self) -> None:
        """The connection has ended."""
        ...

    def message(self, topic: str, payload: bytes) -> None:
        """A message has arrived."""
        ...


class Network:
    """One broker, one controller, any number of links."""

    def __init__(self, clock: Clock, conditions: Conditions) -> None:
        self.clock = clock
        self.conditions = conditions
        self.retained: dict[str, bytes] = {}
        self.to_controller: Callable[[str, bytes], None] = lambda topic, payload: None
        self.controller_up = True
        self.broker_up = True
        self.broker_history: list[tuple[float, bool]] = []
        """(time, whether the broker is up from then on)"""
        self.messages = 0
        self._subscribers: dict[str, dict[str, SimLink]] = {}
        self._sessions: dict[str, SimLink] = {}

    def set_broker(self, *, up: bool) -> None:
        """Ends the broker, or starts it again with its retained messages."""
        self.broker_up = up
        self.broker_history.append((self.clock.now, up))

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publishes for the controller, whose link has no faults."""
        if not self.broker_up:
            return
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        for link in list(self._subscribers.get(topic, {}).values()):
            link.deliver(topic, payload)

    def arrived(self, topic: str, payload: bytes, retain: bool) -> None:
        """Takes a message that a device has published."""
        if not self.broker_up:
            return  # the will of a device whose connection ended with the broker
        self.messages += 1
        if retain:
            self.retained[topic] = payload
        if self.controller_up:
            self.to_controller(topic, payload)

    def connected(self, link: "SimLink") -> None:
        """Begins a session. A session with the same name ends, as in a real broker, and its client connects again."""
        other = self._sessions.get(link.device)
        self._sessions[link.device] = link
        if other is not None and other is not link and other.up:
            other.taken_over()

    def subscribe(self, link: "SimLink", topic: str) -> None:
        """Subscribes a link. Retained messages come first."""
        self._subscribers.setdefault(topic, {})[link.device] = link
        if topic in self.retained:
            link.deliver(topic, self.retained[topic])

    def unsubscribe(self, link: "SimLink", topic: str) -> None:
        """Ends a subscription."""
        self._subscribers.get(topic, {}).pop(link.device, None)


class SimLink:
    """The Link port of one device."""

    def __init__(self, network: Network, device: str, rng: Random) -> None:
        self.device = device
        self.up = False
        self.reachable = True
        self.boot = 0
        """The number of the start that uses it, which the last will contains."""
        self.bytes_down = self.bytes_up = 0
        self.loss: float | None = None
        """The conditions of this link alone. None: the network's."""
        self.bandwidth_bytes_s = 0.0
        """The bandwidth of this link alone. 0: the network's."""
        self._network = network
        self._rng = rng
        self._busy_until = 0.0
        self._epoch = 0
        self._receiver: Receiver | None = None
        self._waiting: list[tuple[str, bytes, bool]] = []
        self._topics: set[str] = set()

    def attach(self, receiver: Receiver) -> None:
        """Begins to connect after a boot of the device, without any earlier state."""
        self.break_off()
        self._receiver = receiver
        self._waiting.clear()
        self._connect_later()

    def detach(self) -> None:
        """Ends the link without any message: the device has lost power."""
        self.break_off()
        self._receiver = None

    def break_off(self) -> None:
        """Breaks the connection and loses what is in flight; the will follows when the broker notices."""
        self._epoch += 1
        for topic in sorted(self._topics):
            self._network.unsubscribe(self, topic)
        self._topics.clear()
        if self.up:
            self.up = False
            epoch = self._epoch
            self._network.clock.after(self._network.conditions.keepalive_s, self._will, epoch)
            if self._receiver is not None:
                self._receiver.link_down()

    def taken_over(self) -> None:
        """Ends the connection: another client has connected with this name."""
        self.break_off()
        self._connect_later()

    def set_reachable(self, reachable: bool) -> None:
        """Begins or ends a partition."""
        self.reachable = reachable
        if not reachable:
            self.break_off()
        elif self._receiver is not None and not self.up:
            self._connect_later()

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        """Queues a message. It waits while the connection is down."""
        if not self.up:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append((topic, payload, retain))
            return
        self.bytes_up += len(payload)
        self._in_flight(0.0, self._network.arrived, topic, payload, retain)

    def subscribe(self, topics: Sequence[str], *, qos: int = 1) -> None:
        """Subscribes; retained messages follow. TCP repeats what is lost at any QoS, and a broker may drop messages of
        either.
        """
        wanted = tuple(topics)
        self._topics.update(wanted)
        self._in_flight(0.0, self._subscribe, wanted)

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """Ends subscriptions."""
        for topic in topics:
            self._topics.discard(topic)
            self._network.unsubscribe(self, topic)

    def deliver(self, topic: str, payload: bytes) -> None:
        """Delivers a message from the broker to the device."""
        conditions = self._network.conditions
        if conditions.drop and self._rng.random() < conditions.drop:
            return
        self.bytes_down += len(payload)
        self._in_flight(self._queued_s(len(payload)), self._receive, topic, payload)
        if conditions.duplicate and self._rng.random() < conditions.duplicate:
            self._in_flight(0.0, self._receive, topic, payload)

    def _subscribe(self, wanted: tuple[str, ...]) -> None:
        for topic in wanted:
            if topic in self._topics:
                self._network.subscribe(self, topic)

    def _receive(self, topic: str, payload: bytes) -> None:
        if self._receiver is not None:
            self._receiver.message(topic, payload)

    def _queued_s(self, size_bytes: int) -> float:
        """Returns the seconds until the link has carried these bytes."""
        rate = self.bandwidth_bytes_s or self._network.conditions.bandwidth_bytes_s
        if not rate:
            return 0.0
        now = self._network.clock.now
        self._busy_until = max(now, self._busy_until) + size_bytes / rate
        return self._busy_until - now

    def _in_flight(self, queued_s: float, arrive: Callable[..., None], *arguments: Any) -> None:
        if self.up:
            self._network.clock.after(queued_s + self._delay_s(), self._land, self._epoch, arrive, arguments)

    def _land(self, epoch: int, arrive: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self._epoch == epoch:
            arrive(*arguments)

    def _delay_s(self) -> float:
        conditions = self._network.conditions
        delay_s = conditions.latency_s * (0.5 + self._rng.random())
        loss = conditions.loss if self.loss is None else self.loss
        while loss and self._rng.random() < loss:
            delay_s += conditions.resend_s
        return delay_s

    def _connect_later(self) -> None:
        epoch = self._epoch
        self._network.clock.after(self._network.conditions.reconnect_s * self._rng.random(), self._connect, epoch)

    def _connect(self, epoch: int) -> None:
        if self._epoch != epoch or self.up or not self.reachable or self._receiver is None:
            return
        self.up = True
        self._epoch += 1
        self._network.connected(self)
        waiting, self._waiting = self._waiting, []
        for topic, payload, retain in waiting:
            self.publish(topic, payload, retain=retain)
        self._receiver.link_up()

    def _will(self, epoch: int) -> None:
        if self._epoch == epoch and not self.up:
            gone = Presence(protocol=PROTOCOL, device=self.device, online=False, boot=self.boot)
            self._network.arrived(topics.presence(self.device), encode(gone), retain=True)
