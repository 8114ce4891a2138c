"""Retained messages of other clients on the broker: in place of the controller's, or where no client may retain.

Decides when each topic is repaired: at once the first time, then more and more rarely while a client repeats it, so
that two programs that disagree do not fill the broker. Refuses to know what belongs on a topic, and how it is
published.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

AGAIN_MIN_S, AGAIN_MAX_S = 2.0, 300.0
"""Seconds between two repairs of one topic: doubled each time."""
QUIET_S = 900.0
"""Seconds without a foreign message after which the history of a topic is forgotten."""
TOLD_S = 300.0
"""Seconds for which health reports a topic: more than AGAIN_MAX_S is not useful, and people would miss a shorter
report.
"""
MAX_TOPICS = 1000
"""The most topics that are tracked. If a client writes to more of them, everything is published again."""
MAX_AT_ONCE = 100
"""The most topics that are repaired in one look; looks are a second apart."""
EVERYTHING = "#"
"""The name for all topics, if there are too many to count."""


@dataclass
class _Topic:
    digest: str
    """SHA-256 of the foreign message; empty if any message there is foreign."""
    due_at: float
    put_right_at: float = float("-inf")
    wait_s: float = AGAIN_MIN_S
    times: int = 0


class Foreign:
    """Topics on which others have retained something. `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._topics: dict[str, _Topic] = {}
        self.count = 0
        """The number of repairs since the controller started."""

    def saw(self, topic: str, payload: bytes | None) -> None:
        """Notes a foreign retained message on a topic; None: any message there is foreign."""
        now = self._clock()
        digest = "" if payload is None else hashlib.sha256(payload).hexdigest()
        known = self._topics.get(topic) or self._begin(topic, now)
        if known.due_at == float("inf"):  # it was repaired before
            known.due_at = max(now, known.put_right_at + known.wait_s)
        known.digest = digest

    def due(self) -> list[tuple[str, str]]:
        """Returns (topic, digest of the foreign message) of each topic that must be repaired now."""
        now = self._clock()
        return [(name, topic.digest) for name, topic in self._topics.items() if topic.due_at <= now][:MAX_AT_ONCE]

    def put_right(self, topic: str) -> int:
        """Notes that the right message is published again; returns how many repairs there were."""
        known, now = self._topics[topic], self._clock()
        quiet = known.put_right_at + QUIET_S < now
        known.wait_s = AGAIN_MIN_S if quiet else min(2 * known.wait_s, AGAIN_MAX_S)
        known.put_right_at, known.due_at = now, float("inf")
        known.times += 1
        self.count += 1
        return known.times

    def leave(self, topic: str) -> None:
        """Notes that the topic holds the right message, or that the topic is unknown here. The number of repairs is
        kept.
        """
        known = self._topics[topic]
        known.due_at = float("inf")
        if not known.times:
            del self._topics[topic]

    def told(self) -> Mapping[str, str]:
        """Returns what health reports: by topic, the number of repairs."""
        recent = self._clock() - TOLD_S
        found = {name: topic.times for name, topic in self._topics.items() if topic.put_right_at >= recent}
        return {name: f"put right {times} time{'s' if times > 1 else ''}" for name, times in found.items()}

    def _begin(self, name: str, now: float) -> _Topic:
        if len(self._topics) >= MAX_TOPICS:
            for each in [
                each for each, topic in self._topics.items() if topic.put_right_at + QUIET_S < now < topic.due_at
            ]:
                del self._topics[each]
        if len(self._topics) >= MAX_TOPICS:
            name = EVERYTHING
        return self._topics.setdefault(name, _Topic("", now))
