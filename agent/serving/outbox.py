"""Predictions that wait for a sink: a bounded queue that returns batches by count and by time.

Decides the content of a batch, and what is dropped. Refuses to know the receiver. `condition`, handed in, makes it
thread-safe.
"""

from collections import Counter, deque
from collections.abc import Collection
from typing import Any

from agent.serving.capture import plain_cell
from agent.serving.rows import typed_cells
from agent.serving.slot import Prediction
from contract.captured import Cell
from contract.wire import Message, encode

MAX_WAITING = 1000
"""The number of predictions that wait for a sink. After that the oldest is dropped and counted."""


class Predicted(Message, frozen=True, omit_defaults=True):
    """One line of a sink. Values that a row does not have are left out."""

    at: float
    """Seconds since 1970."""
    model: str
    release: int
    value: str | float
    id: str = ""
    """The id of the answer, for a label that comes later."""
    key: str = ""
    confidence: float | None = None
    """The largest probability, in [0, 1]; None if the model gives none."""
    file: str = ""
    """The name of the file, of an image or a sound."""
    offset_s: float | None = None
    """The start of a clip of sound, in seconds from the sound's beginning."""
    inputs: dict[str, Cell] = {}
    """Input cells by column, of the columns that the sink's configuration names."""


def line_of(prediction: Prediction, at: float, columns: Collection[str] = (), *, with_key: bool = True) -> bytes:
    """Returns one line of a sink as JSON. `at` is seconds since 1970; `columns` are the input cells in the line."""
    row = prediction.row
    values = row.values if row is not None else {}
    manifest = prediction.manifest
    cells = (
        typed_cells(manifest, values, columns) if manifest is not None else {name: values.get(name) for name in columns}
    )
    return encode(
        Predicted(
            at=at,
            model=prediction.model,
            release=prediction.release,
            value=prediction.value,
            id=prediction.id,
            key=row.key if row is not None and with_key else "",
            confidence=prediction.confidence,
            file=row.file if row is not None else "",
            offset_s=row.offset_s if row is not None else None,
            inputs={column: plain_cell(cell) for column, cell in cells.items()},
        )
    )


class Outbox:
    """A queue, first in, first out. A batch is due when it is full, or when its oldest prediction has waited for
    `batch_s`.
    """

    def __init__(
        self,
        batch: int,
        batch_s: float,
        dropped: Counter[str],
        condition: Any,
        columns: Collection[str] = (),
        *,
        with_key: bool = True,
    ) -> None:
        self._columns = columns
        self._with_key = with_key
        self._batch = batch
        self._batch_s = batch_s
        self._dropped = dropped
        self._condition = condition
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._closed = False

    def put(self, prediction: Prediction, now: float, at: float) -> int:
        """Adds one prediction; returns how many were dropped for it. `now` is monotonic seconds, `at` seconds since
        1970.
        """
        line = line_of(prediction, at, self._columns, with_key=self._with_key)
        with self._condition:
            full = len(self._waiting) == MAX_WAITING
            if full:
                self._waiting.popleft()
                self._dropped["predictions_dropped"] += 1
            self._waiting.append((now, line))
            if len(self._waiting) in (1, self._batch):
                self._condition.notify()
        return int(full)

    def close(self) -> None:
        """Ends all waiting. `take` then returns the rest at once, and None after that."""
        with self._condition:
            self._closed = True
            self._condition.notify()

    def due_in(self, now: float) -> float | None:
        """Returns seconds until a batch is due; None while nothing waits."""
        if not self._waiting:
            return 0.0 if self._closed else None
        if self._closed or len(self._waiting) >= self._batch:
            return 0.0
        return max(0.0, self._waiting[0][0] + self._batch_s - now)

    def take(self, clock: Any) -> list[bytes] | None:
        """Waits for a batch and returns its lines; None once closed and empty. `clock` is monotonic seconds."""
        with self._condition:
            while (pause_s := self.due_in(clock())) is None or pause_s > 0:
                self._condition.wait(pause_s)
            lines = [self._waiting.popleft()[1] for _ in range(min(self._batch, len(self._waiting)))]
        return lines or None
