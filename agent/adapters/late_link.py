"""The Link port before a link exists: confirmed versions serve while paho-mqtt is still being imported (17 ms).

Decides nothing: messages before `begin` are dropped, as with a link that is down. Refuses to know which link it is.
"""

from collections.abc import Sequence

from agent.ports import Link


class LateLink:
    """Forwards calls to a link, from `begin` on. Before, it drops them."""

    def __init__(self) -> None:
        self._link: Link | None = None

    def begin(self, link: Link) -> None:
        """Sets the link to which all later calls are forwarded."""
        self._link = link

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        """Queues a message."""
        if self._link is not None:
            self._link.publish(topic, payload, qos=qos, retain=retain, expiry_s=expiry_s)

    def subscribe(self, topics: Sequence[str], *, qos: int = 1) -> None:
        """Subscribes."""
        if self._link is not None:
            self._link.subscribe(topics, qos=qos)

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """Unsubscribes; messages that were sent before may still arrive."""
        if self._link is not None:
            self._link.unsubscribe(topics)
