"""Labels and metrics from MQTT topics of the same broker: JSON objects, one a message.

Decides what such a message holds. A bad message is counted; each kind of fault is logged once. Refuses to know how
labels count. Called by the network thread, so it must be quick.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from agent.config import FeedbackConfig
from agent.ports import Link
from agent.serving.slot import ModelSlot
from contract.errors import EdgewardError

_log = logging.getLogger("edgeward.agent")


class LabelMessage(msgspec.Struct):
    """A label: the id names the answer, and with it the model."""

    id: str
    label: Any


class MetricMessage(msgspec.Struct):
    """A number that the application measures, for the version that gave the answer `id`, or for the one that serves
    now.
    """

    model: str
    name: str
    value: float
    id: str = ""


class FeedbackTopics:
    """The topics that the configuration names. `find` returns the slot of an answer by its id, `slot` by its name."""

    def __init__(
        self,
        config: FeedbackConfig,
        *,
        link: Link,
        dropped: Counter[str],
        slots: Callable[[], dict[str, ModelSlot]],
        find: Callable[[str], ModelSlot],
    ) -> None:
        self._link = link
        self._dropped = dropped
        self._slots = slots
        self._find = find
        self._said: set[str] = set()
        self._topics: dict[str, Callable[[bytes], None]] = {}
        if config.labels_topic:
            self._topics[config.labels_topic] = self._label
        if config.metrics_topic:
            self._topics[config.metrics_topic] = self._metric

    def subscribe(self) -> None:
        """Subscribes to the topics."""
        if self._topics:
            self._link.subscribe(sorted(self._topics))

    def take(self, topic: str, payload: bytes) -> bool:
        """Counts a message on one of the topics. Returns whether the topic is one; never raises."""
        if (count := self._topics.get(topic)) is None:
            return False
        try:
            count(payload)
        except EdgewardError as error:
            self._refuse(topic, str(error.code), error.detail)
        except Exception as error:  # the network thread continues after any message
            self._refuse(topic, type(error).__name__, str(error))
        return True

    def _label(self, payload: bytes) -> None:
        found = msgspec.json.decode(payload, type=LabelMessage)
        self._find(found.id).feedback(found.id, found.label)

    def _metric(self, payload: bytes) -> None:
        found = msgspec.json.decode(payload, type=MetricMessage)
        slots = self._slots()
        if found.model not in slots:
            raise ValueError(f"no model {found.model[:64]!r} on this device")
        slots[found.model].metric(found.name, found.value, found.id)

    def _refuse(self, topic: str, kind: str, words: str) -> None:
        self._dropped["feedback_refused"] += 1
        if kind not in self._said:
            self._said.add(kind)
            _log.warning("feedback on %s: %s: %s", topic, kind, words[:500])
