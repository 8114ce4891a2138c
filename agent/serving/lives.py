"""The counts, states and newest fault of sensors and sinks since the agent started.

Decides what is counted. Each count is written by one thread, of the sensor or of the sink, and read by any. Refuses
to know where rows come from. `now` is monotonic seconds.
"""

import msgspec

from contract.messages import SensorState, SinkState
from contract.protocol import MAX_DETAIL_CHARS

STARTING = "starting"
"""The state of a sensor that was not opened yet, and of a sink that was given nothing: neither well nor ill."""

SETTLED_S = 5.0
"""Seconds without a fault after which a source that was opened again counts as running, although no row has come: a
quiet source is well. A port that opens and then cannot be read fails within half a second."""


class SensorLife(msgspec.Struct):
    """The state and counts of one sensor."""

    name: str
    kind: str
    model: str
    state: str = STARTING
    rows: int = 0
    answered: int = 0
    refused: int = 0
    unserved: int = 0
    failures: int = 0
    error: str = ""
    row_at: float | None = None
    reopened_at: float | None = None
    """When the source was opened again after its newest fault; None while it is not open."""

    def opened(self, now: float) -> None:
        """Notes that the source is open. At first it runs at once; after a fault, once a row came or it has settled."""
        if self.state == "waiting":
            self.reopened_at = now
        else:
            self.state = "running"

    def row_came(self, now: float) -> None:
        """Counts a row, good or bad."""
        self.state = "running"
        self.rows += 1
        self.row_at = now

    def row_refused(self, words: str) -> None:
        """Counts a row that got no answer because of its content."""
        self.refused += 1
        self.error = words[:MAX_DETAIL_CHARS]

    def failed(self, words: str) -> None:
        """Counts a fault of the source."""
        self.state, self.reopened_at = "waiting", None
        self.failures += 1
        self.error = words[:MAX_DETAIL_CHARS]

    def told(self, now: float) -> SensorState:
        """Returns the state and counts as a message."""
        reopened_at = self.reopened_at
        is_settled = reopened_at is not None and now - reopened_at >= SETTLED_S
        return SensorState(
            name=self.name,
            kind=self.kind,
            model=self.model,
            state="running" if self.state == "waiting" and is_settled else self.state,
            rows=self.rows,
            answered=self.answered,
            refused=self.refused,
            unserved=self.unserved,
            failures=self.failures,
            error=sayable(self.error),
            row_age_s=None if self.row_at is None else round(now - self.row_at, 1),
        )


class SinkLife(msgspec.Struct):
    """The state and counts of one sink."""

    name: str
    kind: str
    state: str = STARTING
    delivered: int = 0
    undelivered: int = 0
    crowded_out: int = 0
    """Predictions that a full queue dropped before the sink got them: only the sensor's thread counts these."""
    failures: int = 0
    error: str = ""
    delivered_at: float | None = None

    def took(self, count: int, now: float) -> None:
        """Counts predictions that the sink accepted."""
        self.state = "running"
        self.delivered += count
        self.delivered_at = now

    def failed(self, words: str) -> None:
        """Counts an attempt that failed."""
        self.state = "failing"
        self.failures += 1
        self.error = words[:MAX_DETAIL_CHARS]

    def told(self, now: float) -> SinkState:
        """Returns the state and counts as a message."""
        return SinkState(
            name=self.name,
            kind=self.kind,
            state=self.state,
            delivered=self.delivered,
            undelivered=self.undelivered + self.crowded_out,
            failures=self.failures,
            error=sayable(self.error),
            delivered_age_s=None if self.delivered_at is None else round(now - self.delivered_at, 1),
        )


def sayable(words: str) -> str:
    """Returns words in a form that a message can carry: file names may hold bytes that are not text."""
    return words.encode(errors="replace").decode()
