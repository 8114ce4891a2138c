"""What others have retained on the broker: over what the controller retains there, or where nobody may retain.

Decides when each topic is put right: at once the first time, then ever more rarely while somebody goes on, so that two
who disagree do not fill the broker with their quarrel. Refuses to know what belongs on a topic, and how it gets there.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

AGAIN_MIN_S, AGAIN_MAX_S = 2.0, 300.0
"""Between two times that one topic is put right: doubled each time."""
QUIET_S = 900.0
"""A topic that nobody else has touched for so long starts anew."""
TOLD_S = 300.0
"""So long health tells of a topic: longer than AGAIN_MAX_S would say nothing new, shorter is overlooked."""
MAX_TOPICS = 1000
"""Topics that are kept account of. Whoever writes on more of them is answered by publishing everything again."""
MAX_AT_ONCE = 100
"""Topics that are put right in one look, a second apart."""
EVERYTHING = "#"
"""Stands for all topics, once there are too many to count."""


@dataclass
class _Topic:
    digest: str
    """SHA-256 of what somebody else has put there; empty where anything is too much."""
    due_at: float
    put_right_at: float = float("-inf")
    wait_s: float = AGAIN_MIN_S
    times: int = 0


class Foreign:
    """Topics on which others have retained something. `clock` gives seconds of a steady clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._topics: dict[str, _Topic] = {}
        self.count = 0
        """Times that a topic was put right since the controller started."""

    def saw(self, topic: str, payload: bytes | None) -> None:
        """Notes what somebody else has retained on a topic; None: whatever it is, nothing may be there."""
        now = self._clock()
        digest = "" if payload is None else hashlib.sha256(payload).hexdigest()
        known = self._topics.get(topic) or self._begin(topic, now)
        if known.due_at == float("inf"):  # it was put right before
            known.due_at = max(now, known.put_right_at + known.wait_s)
        known.digest = digest

    def due(self) -> list[tuple[str, str]]:
        """(topic, digest of what somebody else has put there) for those that are to be put right now."""
        now = self._clock()
        return [(name, topic.digest) for name, topic in self._topics.items() if topic.due_at <= now][:MAX_AT_ONCE]

    def put_right(self, topic: str) -> int:
        """Notes that what belongs there is published again; how many times that was by now."""
        known, now = self._topics[topic], self._clock()
        quiet = known.put_right_at + QUIET_S < now
        known.wait_s = AGAIN_MIN_S if quiet else min(2 * known.wait_s, AGAIN_MAX_S)
        known.put_right_at, known.due_at = now, float("inf")
        known.times += 1
        self.count += 1
        return known.times

    def leave(self, topic: str) -> None:
        """It is what belongs there, or nobody here knows what does. How often it was put right is not forgotten."""
        known = self._topics[topic]
        known.due_at = float("inf")
        if not known.times:
            del self._topics[topic]

    def told(self) -> Mapping[str, str]:
        """What health tells of: by topic, how often it was put right."""
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
