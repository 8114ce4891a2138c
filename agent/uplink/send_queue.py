"""Messages that wait for the broker, and those that the client holds until the broker confirms them: bounded, each
once.

Decides which message the client gets next, which one replaces or repeats another, which ones are kept after a cut
connection, and which are dropped. Refuses to know MQTT, threads and clocks.
"""

from collections import Counter
from itertools import chain

import msgspec

from agent.uplink.telemetry_queue import MAX_QUEUED
from contract import topics

MAX_AT_CLIENT_BYTES = 24 * 1024
"""Unconfirmed bytes that the client may hold; a larger message is sent alone. Every later message waits for them,
also a ping: on a link of 1 kB/s for less than the 30 s of MQTT's keepalive. A link that is cut after 60 kB can
carry them.
"""
HEARTBEAT_HELD_S = 50.0
"""Seconds after which the next heartbeat is sent although the last is not confirmed: its confirmation may wait
behind chunks of 64 kB, while the link to the broker is free. Without this limit a device that fetches at 1 kB/s
would be silent for 90 s."""
MAX_WAITING_BYTES = 1 << 20
"""Bytes that may wait. Above this limit the least important message is dropped, and of these the oldest."""
MAX_WAITING = 1000
"""The most messages that may wait, of all kinds."""

RANKS = (
    topics.UP_PRESENCE, topics.UP_REPORT, topics.UP_ANSWERED, topics.UP_HEARTBEAT, topics.UP_TELEMETRY, "",
    topics.UP_CAPTURED,
)  # fmt: skip
"""Kinds of messages by importance. The empty one: messages of a sink to its own topic."""
NEWEST_ALONE = frozenset({topics.UP_PRESENCE, topics.UP_HEARTBEAT, topics.UP_CAPTURED})
"""Kinds of which one message waits: a newer one replaces an older one."""
ONE_AT_CLIENT = frozenset({topics.UP_HEARTBEAT, topics.UP_TELEMETRY, topics.UP_CAPTURED})
"""Kinds of which the client holds one. On a slow link, more of them would show an old state as if it were the
newest."""
SAID_AGAIN = frozenset({topics.UP_REPORT, topics.UP_CAPTURED})
"""Kinds that are sent again until the controller has them. The same bytes are not queued twice."""
ENDS_WITH_LINK = frozenset({topics.UP_PRESENCE, topics.UP_HEARTBEAT, topics.UP_CAPTURED})
"""Kinds that the device sends again on each connection, or keeps on flash: a cut connection drops them."""


class Unsent(msgspec.Struct, frozen=True, eq=False):
    """One message that the broker has not confirmed."""

    topic: str
    payload: bytes
    retain: bool = False
    expiry_s: int | None = None

    @property
    def kind(self) -> str:
        """The last part of a topic of the device, "" for any other topic."""
        found = topics.parse_up(self.topic)
        return found[1] if found is not None and found[1] in RANKS else ""


class SendQueue:
    """Messages by importance, each kind in its order."""

    def __init__(self, dropped: Counter[str]) -> None:
        self._waiting: dict[str, list[Unsent]] = {kind: [] for kind in RANKS}
        self._at_client: list[Unsent] = []
        self._heartbeat_at = 0.0
        """When the client got the newest heartbeat."""
        self._open = False
        self._dropped = dropped

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def at_client_bytes(self) -> int:
        """Bytes that the client holds."""
        return _size_bytes(self._at_client)

    def put(self, message: Unsent) -> None:
        """Adds a message, if the same one is not there already. Drops the least important one above a limit."""
        kind = message.kind
        waiting = self._waiting[kind]
        if kind in SAID_AGAIN and any(_is_same(message, each) for each in chain(self._at_client, waiting)):
            return
        if kind in NEWEST_ALONE:
            waiting.clear()
        waiting.append(message)
        if kind == topics.UP_TELEMETRY and len(waiting) > MAX_QUEUED:
            del waiting[0]
            self._dropped["telemetry"] += 1
        while len(self) > MAX_WAITING or sum(map(_size_bytes, self._waiting.values())) > MAX_WAITING_BYTES:
            next(queue for queue in map(self._waiting.__getitem__, reversed(RANKS)) if queue).pop(0)
            self._dropped["messages_unsent"] += 1

    def open(self) -> None:
        """Allows messages to be sent: the device has asked for its documents on this connection."""
        self._open = True

    def take(self, now: float) -> Unsent | None:
        """Moves the next message to the client and returns it; None while none may be sent. `now`:
        monotonic seconds.
        """
        if not self._open:
            return None
        for kind in RANKS:
            if not self._waiting[kind] or self._is_held(kind, now):
                continue
            message = self._waiting[kind][0]
            if self._at_client and self.at_client_bytes + len(message.payload) > MAX_AT_CLIENT_BYTES:
                return None
            self._at_client.append(self._waiting[kind].pop(0))
            self._heartbeat_at = now if kind == topics.UP_HEARTBEAT else self._heartbeat_at
            return message
        return None

    def confirmed(self, message: Unsent) -> None:
        """Removes a message that the broker has."""
        self._at_client = [each for each in self._at_client if each is not message]

    def cut(self) -> None:
        """Takes back the messages that the client held, in order, and sends none until `open`."""
        self._open = False
        held, self._at_client = self._at_client, []
        for kind in RANKS:
            before = [each for each in held if each.kind == kind]
            self._waiting[kind] = [] if kind in ENDS_WITH_LINK else [*before, *self._waiting[kind]]

    def _is_held(self, kind: str, now: float) -> bool:
        if kind == topics.UP_HEARTBEAT and now - self._heartbeat_at >= HEARTBEAT_HELD_S:
            return False
        return kind in ONE_AT_CLIENT and any(each.kind == kind for each in self._at_client)


def _is_same(one: Unsent, other: Unsent) -> bool:
    return one.topic == other.topic and one.payload == other.payload


def _size_bytes(messages: list[Unsent]) -> int:
    return sum(len(each.payload) for each in messages)
